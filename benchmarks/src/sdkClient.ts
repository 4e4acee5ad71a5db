/** The AWS SDK as all contestants use it, and the loop that one writes by hand around it. */
import {
  DeleteMessageBatchCommand,
  type Message,
  ReceiveMessageCommand,
  SQS,
  type SQSClient
} from "@aws-sdk/client-sqs"
import { SqsClient } from "@millrace/sqs"
import { UndiciHttpHandler } from "@smithy/undici-http-handler"
import { Effect, Layer, Redacted, type Scope } from "effect"
import { ours } from "./Benchmark.js"
import type { Server } from "./Server.js"

const region = "us-east-1"
const credentials = { accessKeyId: "any", secretAccessKey: "any" }
const maxSockets = 256

/** What the SDK sends its requests by: `node:http` as it comes, or undici, the fastest that there is for it. */
export type Transport = "node:http" | "undici"

const agent = { keepAlive: true, maxSockets }

/** The SDK's client with all that a user can set to make it fast. */
export const client = (
  { endpoint }: Server,
  transport: Transport = "node:http"
): Effect.Effect<SQS, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.sync(
      () =>
        new SQS({
          region,
          endpoint,
          credentials,
          maxAttempts: 1,
          cacheMiddleware: true,
          useQueueUrlAsEndpoint: false,
          requestHandler: transport === "undici" ? new UndiciHttpHandler() : { httpAgent: agent, httpsAgent: agent }
        })
    ),
    (sqs) => Effect.sync(() => sqs.destroy())
  )

export const layer = ({ endpoint }: Server): Layer.Layer<SqsClient.SqsClient> =>
  SqsClient.layer({
    region,
    endpoint,
    credentials: { accessKeyId: credentials.accessKeyId, secretAccessKey: Redacted.make(credentials.secretAccessKey) },
    maxSockets
  }).pipe(Layer.orDie)

/** What the client of `SqsClient.layer` is. */
export const clientNote = `${ours}'s client speaks SQS's protocol itself, over undici; the SDK finds region, credentials and endpoint for it`

export type Handle = (body: string) => Promise<void>

/** What every message is asked for: its attributes are how a consumer knows of attempts. */
export const everything = {
  MessageSystemAttributeNames: ["All"],
  MessageAttributeNames: ["All"]
} satisfies Partial<ReceiveMessageCommand["input"]>

/** Receives ten, handles them all, deletes them all, and again. */
const poll = async (sqs: SQSClient, { queueUrl }: Server, handle: Handle, stop: AbortSignal): Promise<void> => {
  while (!stop.aborted) {
    const { Messages = [] } = await sqs.send(
      new ReceiveMessageCommand({ QueueUrl: queueUrl, MaxNumberOfMessages: 10, WaitTimeSeconds: 20, ...everything })
    )
    await Promise.all(Messages.map((message: Message) => handle(message.Body ?? "")))
    await sqs.send(
      new DeleteMessageBatchCommand({
        QueueUrl: queueUrl,
        Entries: Messages.map(({ ReceiptHandle }, i) => ({ Id: String(i), ReceiptHandle }))
      })
    )
  }
}

/** So many of these loops, until they are interrupted; they end their round first. */
export const rawLoops = (
  server: Server,
  pollers: number,
  handle: Handle,
  transport?: Transport
): Effect.Effect<void, never, Scope.Scope> =>
  Effect.flatMap(client(server, transport), (sqs) =>
    Effect.async<void>((resume) => {
      const stop = new AbortController()
      const loops = Promise.all(Array.from({ length: pollers }, () => poll(sqs, server, handle, stop.signal)))
      loops.then(
        () => resume(Effect.void),
        (error) => resume(Effect.die(error))
      )
      return Effect.promise(async () => {
        stop.abort()
        await loops
      })
    })
  )
