/** Two ways to treat what cannot be done. */
import { Pipeline, RetryPolicy } from "@millrace/core"
import { SqsClient, SqsConsumer } from "@millrace/sqs"
import { Effect, Schedule, Schema, Stream } from "effect"
import { Order, type OutOfStock, queue } from "./Orders.js"

export type Handler = (order: Order) => Effect.Effect<void, OutOfStock>

/** What does not decode goes to the dead letters at once; what fails after three attempts, with the reason. */
const again = RetryPolicy.redeliver(Schedule.exponential("1 second"), { attempts: 3 })
const unreadable = RetryPolicy.match({ DecodeError: RetryPolicy.deadLetter })
const retry = unreadable.pipe(RetryPolicy.orElse(again), RetryPolicy.orElse(RetryPolicy.deadLetter))

export const ours = (handle: Handler) =>
  SqsConsumer.stream(queue, { maxInFlight: 20 }).pipe(
    Pipeline.decodeJson(Order),
    Pipeline.process(handle, { concurrency: 4, retry }),
    Stream.runDrain
  )

/** Four loops that delete what they have done, and leave the rest to its visibility timeout. */
export const naive = (handle: Handler) =>
  Effect.gen(function* () {
    const client = yield* SqsClient.SqsClient
    const QueueUrl = yield* client.getQueueUrl({ QueueName: queue })
    const decode = Schema.decodeUnknown(Schema.parseJson(Order))
    const once = Effect.gen(function* () {
      for (const { Body, ReceiptHandle } of yield* client.receiveMessage({ QueueUrl, WaitTimeSeconds: 20 })) {
        const done = yield* Effect.isSuccess(Effect.flatMap(decode(Body), handle))
        if (done) yield* client.deleteMessageBatch({ QueueUrl, Entries: [{ Id: "0", ReceiptHandle }] })
      }
    })
    yield* Effect.all(
      Array.from({ length: 4 }, () => Effect.forever(once)),
      { concurrency: 4, discard: true }
    )
  })
