/** AsyncAPI's own parser on the document of channels that SQS queues carry, with each envelope and the queues' bindings. */
import { Parser } from "@asyncapi/parser"
import { describe, expect, it } from "@effect/vitest"
import { AsyncApi, Channel, CloudEvents, Envelope, Message } from "@millrace/core"
import { SqsAsyncApi, SqsEnvelope } from "@millrace/sqs"
import { Schema } from "effect"

class Order extends Schema.Class<Order>("Order")({ id: Schema.NonEmptyString, lines: Schema.Array(Schema.Int) }) {}

const PlacedV1 = Message.make("Placed", { schema: Schema.Struct({ id: Schema.String }) })
const Placed = Message.make("Placed", { version: 2, schema: Order, description: "Ordered." }).pipe(
  Message.lift(PlacedV1, ({ id }) => new Order({ id, lines: [] }))
)
const Cancelled = Message.make("Cancelled", {
  schema: Schema.Struct({ id: Schema.String, at: Schema.Date, why: Schema.optional(Schema.Unknown) })
})

const envelopes = {
  attributes: Envelope.attributes(),
  fields: Envelope.fields(),
  apart: Envelope.fields({ data: "data" }),
  structured: CloudEvents.structured({ source: "/shop", prefix: "com.example." }),
  binary: CloudEvents.binary({ source: "/shop" }),
  detailType: SqsEnvelope.detailType({ source: "shop" })
}

const settings: SqsAsyncApi.Options = {
  visibilityTimeout: "1 minute",
  retention: "14 days",
  delay: "5 seconds",
  wait: "20 seconds",
  deadLetter: { maxReceiveCount: 5 },
  tags: { team: "shop" }
}

const document = AsyncApi.document(
  Object.entries(envelopes).flatMap(([name, envelope], i): ReadonlyArray<AsyncApi.Operation> => {
    const channel = Channel.make(name, { messages: [Placed, Cancelled], envelope, description: "Orders." })
    const queue = i % 2 === 0 ? `${name}-orders` : `${name}-orders.fifo`
    const more =
      i % 2 === 0 ? {} : ({ deduplicationScope: "messageGroup", fifoThroughputLimit: "perMessageGroupId" } as const)
    const bindings = SqsAsyncApi.bindings(queue, { ...settings, ...more })
    return [
      { action: "send", channel, queue, bindings },
      { action: "receive", channel, queue, bindings }
    ]
  }),
  { title: "Shop", version: "1.0.0", description: "What the shop sends and receives." }
)

const parser = new Parser()

/** What the parser finds, but for its advice to use the newest version of AsyncAPI. */
const problemsOf = async (of: unknown): Promise<ReadonlyArray<string>> =>
  (await parser.validate(JSON.parse(JSON.stringify(of)))).flatMap(({ code, message, path }) =>
    code === "asyncapi-latest-version" ? [] : [`${code} ${path.join("/")}: ${message}`]
  )

it("the parser of AsyncAPI finds nothing wrong in it, and finds what is", async () => {
  expect(await problemsOf(document)).toEqual([])
  const wrong = await problemsOf({
    ...document,
    channels: {
      ...document.channels,
      attributes: { ...document.channels["attributes"], bindings: { sqs: { queue: {} } } }
    }
  })
  expect(wrong.join()).toContain('must have required property "name"')
}, 60_000)

describe("the bindings of a queue", () => {
  it("are its settings in AsyncAPI's form", () => {
    expect(SqsAsyncApi.bindings("orders")).toEqual({
      sqs: { queue: { name: "orders", fifoQueue: false }, bindingVersion: "0.2.0" }
    })
    const arn = "arn:aws:sqs:eu-west-1:123456789012:dead.fifo"
    const { sqs } = SqsAsyncApi.bindings("https://sqs.eu-west-1.amazonaws.com/123456789012/orders.fifo", {
      ...settings,
      deadLetter: { queue: arn, maxReceiveCount: 3 },
      deduplicationScope: "messageGroup"
    })
    expect(sqs?.["queue"]).toEqual({
      name: "orders.fifo",
      fifoQueue: true,
      deduplicationScope: "messageGroup",
      deliveryDelay: 5,
      visibilityTimeout: 60,
      receiveMessageWaitTime: 20,
      messageRetentionPeriod: 1_209_600,
      redrivePolicy: { deadLetterQueue: { arn }, maxReceiveCount: 3 },
      tags: { team: "shop" }
    })
    const dlq = (queue: string) => SqsAsyncApi.bindings(queue, { deadLetter: { maxReceiveCount: 5 } })
    expect(dlq("orders.fifo")["sqs"]).toMatchObject({
      queue: { redrivePolicy: { deadLetterQueue: { name: "orders-dlq.fifo" } } }
    })
    expect(dlq("orders")["sqs"]).toMatchObject({
      queue: { redrivePolicy: { deadLetterQueue: { name: "orders-dlq" } } }
    })
  })

  it("are refused where no queue can be so", () => {
    const refused = (queue: unknown, options: unknown = {}) => {
      try {
        SqsAsyncApi.bindings(queue as string, options as SqsAsyncApi.Options)
      } catch (error) {
        return (error as Error).message
      }
      return "nothing"
    }
    expect(refused("or ders")).toContain("has characters")
    expect(refused(undefined)).toContain("the queue is undefined")
    expect(refused("orders", { deduplicationScope: "queue" })).toContain("is for FIFO queues")
    expect(refused("orders.fifo", { fifoThroughputLimit: "perGroup" })).toContain('"perMessageGroupId"')
    expect(refused("orders", { visibilityTimeout: "1500 millis" })).toContain("write whole seconds")
    expect(refused("orders", { visibilityTimeout: "13 hours" })).toContain("a time from")
    expect(refused("orders", { deadLetter: { queue: "a b", maxReceiveCount: 1 } })).toContain("has characters")
    const both = "SQS wants both FIFO, or neither"
    expect(refused("orders.fifo", { deadLetter: { queue: "dead", maxReceiveCount: 1 } })).toContain(both)
    expect(refused("orders", { deadLetter: { queue: "dead.fifo", maxReceiveCount: 1 } })).toContain(both)
    expect(refused("a".repeat(80))).toBe("nothing")
    expect(refused("orders", { visibilityTimout: "1 minute" })).toContain("did you mean visibilityTimeout?")
  })
})
