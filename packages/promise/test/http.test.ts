/** Over the network, where the other end is not ours: the emulator's server, and the AWS SDK's own client beside us. */
import {
  DeleteMessageCommand,
  GetQueueAttributesCommand,
  ReceiveMessageCommand,
  SendMessageCommand,
  SQSClient
} from "@aws-sdk/client-sqs"
import { type Context, consume, produce } from "@millrace/promise"
import { SqsEmulator, SqsHttp } from "@millrace/sqs/emulator"
import { Layer, ManagedRuntime } from "effect"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { z } from "zod"

const served = ManagedRuntime.make(
  SqsHttp.layer({ port: 0 }).pipe(
    Layer.provideMerge(SqsEmulator.layer({ queues: { orders: {}, shipped: {}, "mine.fifo": {} } }))
  )
)
const account = { region: "us-east-1", credentials: { accessKeyId: "any", secretAccessKey: "any" } }
let endpoint: string
let sdk: SQSClient

beforeAll(async () => {
  endpoint = (await served.runPromise(SqsHttp.SqsHttp)).endpoint
  sdk = new SQSClient({ ...account, endpoint, maxAttempts: 1 })
})

afterAll(async () => {
  sdk.destroy()
  await served.dispose()
})

const latch = () => {
  let open = () => {}
  const opened = new Promise<void>((resolve) => {
    open = resolve
  })
  return { open: () => open(), opened }
}

const urlOf = (queue: string) => `${endpoint}/000000000000/${queue}`

const holds = async (queue: string) => {
  const { Attributes } = await sdk.send(
    new GetQueueAttributesCommand({
      QueueUrl: urlOf(queue),
      AttributeNames: ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    })
  )
  return Object.values(Attributes ?? {}).map(Number)
}

const Order = z.object({ id: z.number() })

describe.each([
  ["a connection of its own", "own", () => ({ ...account, endpoint })],
  ["a client of the SDK", "sdk", () => ({ client: sdk })]
])("by %s", (_, run, connection) => {
  it("handles what the SDK and produce sent, and the SDK reads what produce sent", async () => {
    const orders = await produce({ queue: urlOf("orders"), ...connection() })
    const shipped = await produce({ queue: "shipped", ...connection() })
    await sdk.send(
      new SendMessageCommand({
        QueueUrl: urlOf("orders"),
        MessageBody: JSON.stringify({ id: 1 }),
        MessageAttributes: {
          source: { DataType: "String", StringValue: "shop" },
          seal: { DataType: "Binary", BinaryValue: Uint8Array.of(1, 2) }
        }
      })
    )
    await orders.send({ id: 2 }, { attributes: { source: "here", weight: 1.5 } })
    const seen = new Map<number, Context["message"]>()
    const both = latch()
    const consumer = consume({
      queue: "orders",
      ...connection(),
      schema: Order,
      logger: false,
      pollGrace: 0,
      handler: async ({ id }, { message }) => {
        await shipped.send({ shipped: id }, { attributes: { source: "consumer", id, seal: Uint8Array.of(3) } })
        seen.set(id, message)
        if (seen.size === 2) both.open()
      }
    })
    await consumer.start()
    await both.opened
    expect(await consumer.stop()).toMatchObject({ released: 0, lost: 0 })
    expect(seen.get(1)?.attributes).toEqual({
      source: { type: "String", value: "shop" },
      seal: { type: "Binary", value: Uint8Array.of(1, 2) }
    })
    expect(seen.get(2)?.attributes).toMatchObject({
      source: { value: "here" },
      weight: { type: "Number", value: "1.5" }
    })
    expect(await holds("orders")).toEqual([0, 0])

    const bodies: Array<unknown> = []
    while (bodies.length < 2) {
      const { Messages = [] } = await sdk.send(
        new ReceiveMessageCommand({
          QueueUrl: urlOf("shipped"),
          MaxNumberOfMessages: 10,
          WaitTimeSeconds: 1,
          MessageAttributeNames: ["All"]
        })
      )
      expect(Messages).not.toEqual([])
      for (const { Body = "", MessageAttributes, ReceiptHandle } of Messages) {
        const body = JSON.parse(Body)
        bodies.push(body)
        expect(MessageAttributes).toEqual({
          source: { DataType: "String", StringValue: "consumer" },
          id: { DataType: "Number", StringValue: String(body.shipped) },
          seal: { DataType: "Binary", BinaryValue: Uint8Array.of(3) }
        })
        await sdk.send(new DeleteMessageCommand({ QueueUrl: urlOf("shipped"), ReceiptHandle }))
      }
    }
    expect(bodies).toEqual(expect.arrayContaining([{ shipped: 1 }, { shipped: 2 }]))
    await Promise.all([orders.close(), shipped.close()])
    expect(await holds("shipped")).toEqual([0, 0])
  })

  it("a handler that throws keeps its message, and the SDK's group goes on in order", async () => {
    for (const body of ["first", "second"]) {
      await sdk.send(
        new SendMessageCommand({
          QueueUrl: urlOf("mine.fifo"),
          MessageBody: body,
          MessageGroupId: "g",
          MessageDeduplicationId: `${body}-${run}`
        })
      )
    }
    const ran: Array<string> = []
    const done = latch()
    const consumer = consume({
      queue: "mine.fifo",
      ...connection(),
      logger: false,
      pollGrace: 0,
      retry: { delay: 50, jitter: false },
      handler: async (body, { attempt, message }) => {
        ran.push(`${message.group}: ${body} ${attempt}`)
        if (ran.length === 1) throw new Error("not yet")
        if (body === "second") done.open()
      }
    })
    await consumer.start()
    await done.opened
    await consumer.stop()
    expect(ran).toEqual(["g: first 1", "g: first 2", "g: second 1"])
    expect(await holds("mine.fifo")).toEqual([0, 0])
  })
})

it("start rejects with AWS's name for a queue that is not there, over the network too", async () => {
  // The SDK has written into the credentials that it shares with us.
  expect(account.credentials).toHaveProperty("$source")
  const consumer = consume({ queue: "nowhere", ...account, endpoint, logger: false, handler: () => {} })
  await expect(consumer.start()).rejects.toMatchObject({ name: "SqsCallError", code: "QueueDoesNotExist" })
})
