/** The input: the real webhook deliveries of @octokit/webhooks-examples, as often as it takes, sent in tens. */
import { createRequire } from "node:module"
import { SqsClient, SqsError, type SqsQueue } from "@millrace/sqs"
import { Effect, Option, Schedule, Schema, Stream } from "effect"
import { Record } from "./Record.js"
import { Webhook } from "./Webhook.js"

const Examples = Schema.Array(Schema.Struct({ name: Schema.String, examples: Schema.Array(Schema.Unknown) }))

/** One of each: 329 of 58 events, 1 to 27 KB. Read as `require` does: Node 20 warns of JSON that is imported. */
const examples = Effect.suspend(() =>
  Schema.decodeUnknown(Examples)(createRequire(import.meta.url)("@octokit/webhooks-examples"))
).pipe(
  Effect.orDie,
  Effect.map((events) => events.flatMap(({ examples, name }) => examples.map((payload) => ({ event: name, payload }))))
)

interface Entry {
  readonly Id: string
  readonly MessageBody: string
  readonly MessageGroupId?: string
  readonly MessageDeduplicationId?: string
}

/**
 * By repository. Most of the examples come from one, so every 40 count as forks of their own: else a group would be all
 * the queue.
 */
const groupOf = (payload: unknown, fork: number): string => {
  const { repository } = Option.getOrElse(Schema.decodeUnknownOption(Webhook.fields.payload)(payload), () => ({
    repository: undefined
  }))
  return `${repository?.full_name ?? "(none)"}/${fork}`
}

const patience = {
  while: SqsError.retryable,
  schedule: Schedule.intersect(Schedule.jittered(Schedule.exponential("200 millis")), Schedule.recurs(8))
}

/** Sends a batch; of one that is taken in part, the rest again. */
const sendBatch = (
  queue: SqsQueue.SqsQueue,
  entries: ReadonlyArray<Entry>
): Effect.Effect<void, SqsError.SqsError, SqsClient.SqsClient | Record> =>
  Effect.gen(function* () {
    const client = yield* SqsClient.SqsClient
    const record = yield* Record
    const send = client.sendMessageBatch({ QueueUrl: queue.url, Entries: entries })
    const { Failed, Successful } = yield* Effect.retry(send, patience)
    yield* record.sent(Successful.map(({ MessageId }) => MessageId))
    if (Failed.length === 0) return
    const failed = new Set(Failed.map(({ Id }) => Id))
    yield* Effect.sleep("200 millis")
    yield* sendBatch(
      queue,
      entries.filter(({ Id }) => failed.has(Id))
    )
  })

/** Sends `count` webhooks, all examples in turn, and notes the ids that the queue gave them. */
export const send = (queue: SqsQueue.SqsQueue, count: number) =>
  Effect.gen(function* () {
    const all = yield* examples
    const webhook = (n: number): Entry => {
      const example = all[n % all.length]
      const entry = { Id: String(n), MessageBody: JSON.stringify({ ...example, delivery: `webhook-${n}` }) }
      if (!queue.fifo) return entry
      const group = groupOf(example?.payload, Math.floor(n / 40))
      return { ...entry, MessageGroupId: group, MessageDeduplicationId: entry.Id }
    }
    yield* Stream.range(0, count - 1).pipe(
      Stream.map(webhook),
      Stream.rechunk(10),
      Stream.chunks,
      Stream.mapEffect((batch) => sendBatch(queue, [...batch]), { concurrency: queue.fifo ? 1 : 4 }),
      Stream.runDrain
    )
    yield* (yield* Record).allSent
  })
