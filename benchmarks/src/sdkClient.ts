/** The AWS SDK as all contestants use it, and the loop that one writes by hand around it. */
import {
  DeleteMessageBatchCommand,
  type Message,
  ReceiveMessageCommand,
  SQS,
  type SQSClient
} from "@aws-sdk/client-sqs"
import { SqsClient } from "@millrace/sqs"
import { Effect, Layer, Redacted, type Scope } from "effect"
import { ours } from "./Benchmark.js"
import type { Server } from "./Server.js"

const region = "us-east-1"
const credentials = { accessKeyId: "any", secretAccessKey: "any" }
const maxSockets = 256

/** What a user's own client can be given of the settings that `SqsClient.layer` makes its client with. */
export const client = ({ endpoint }: Server): Effect.Effect<SQS, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const agent = { keepAlive: true, maxSockets }
      return new SQS({
        region,
        endpoint,
        credentials,
        maxAttempts: 1,
        cacheMiddleware: true,
        useQueueUrlAsEndpoint: false,
        requestHandler: { httpAgent: agent, httpsAgent: agent }
      })
    }),
    (sqs) => Effect.sync(() => sqs.destroy())
  )

export const layer = ({ endpoint }: Server): Layer.Layer<SqsClient.SqsClient> =>
  SqsClient.layer({
    region,
    endpoint,
    credentials: { accessKeyId: credentials.accessKeyId, secretAccessKey: Redacted.make(credentials.secretAccessKey) },
    maxSockets
  }).pipe(Layer.orDie)

/** What the client of `SqsClient.layer` does beyond those. */
export const clientNote = `${ours}'s client is an SQSClient too; it brings its own request handler and signer, checks the MD5s of bodies itself, and leaves out the SDK's retries, log and user agent a call`

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
export const rawLoops = (server: Server, pollers: number, handle: Handle): Effect.Effect<void, never, Scope.Scope> =>
  Effect.flatMap(client(server), (sqs) =>
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
