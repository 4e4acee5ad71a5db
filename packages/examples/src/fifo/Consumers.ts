/** Three ways to treat a booking that fails on a FIFO queue. */
import { Pipeline, RetryPolicy } from "@millrace/core"
import { SqsClient, SqsConsumer } from "@millrace/sqs"
import { Effect, Schedule, Schema, Stream } from "effect"
import { Booking, type Locked, queue } from "./Accounts.js"

export type Handler = (booking: Booking) => Effect.Effect<void, Locked>

/** As Millrace does it: the group waits, leased, behind its head, which is tried again. The other groups go on. */
export const ours = (handle: Handler) =>
  SqsConsumer.stream(queue, { maxInFlight: 40 }).pipe(
    Pipeline.decodeJson(Booking),
    Pipeline.process(handle, { concurrency: 8, retry: RetryPolicy.redeliver(Schedule.spaced("2 seconds")) }),
    Stream.runDrain
  )

/** A loop that works through a receive, one after another; `failed` says what becomes of the rest of a receive. */
const loop = (handle: Handler, failed: "goes on" | "gives back") =>
  Effect.gen(function* () {
    const client = yield* SqsClient.SqsClient
    const QueueUrl = yield* client.getQueueUrl({ QueueName: queue })
    const decode = Schema.decodeUnknown(Schema.parseJson(Booking))
    const receive = client.receiveMessage({ QueueUrl, MaxNumberOfMessages: 10, WaitTimeSeconds: 20 })
    const once = Effect.gen(function* () {
      const messages = yield* receive
      for (const [i, { Body, ReceiptHandle }] of messages.entries()) {
        const done = yield* Effect.isSuccess(Effect.flatMap(decode(Body), handle))
        if (done) {
          yield* client.deleteMessageBatch({ QueueUrl, Entries: [{ Id: "0", ReceiptHandle }] })
        } else if (failed === "gives back") {
          const Entries = messages
            .slice(i)
            .map(({ ReceiptHandle }, n) => ({ Id: String(n), ReceiptHandle, VisibilityTimeout: 0 }))
          yield* client.changeMessageVisibilityBatch({ QueueUrl, Entries })
          return
        }
      }
    })
    return yield* Effect.forever(once)
  })

/** What failed is left to its visibility timeout, and the loop goes on with the next. */
export const goesOn = (handle: Handler) => loop(handle, "goes on")

/** What failed is given back at once, and all that came behind it, so that nothing overtakes it. */
export const givesBack = (handle: Handler) => loop(handle, "gives back")
