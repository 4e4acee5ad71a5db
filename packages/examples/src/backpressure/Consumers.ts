/** Two ways to consume the same queue. */
import { type Consumer, Pipeline, type ProcessLoad } from "@millrace/core"
import { SqsClient, SqsConsumer, type SqsError } from "@millrace/sqs"
import { Effect, Schema, type Scope, Stream } from "effect"
import { Order, queue } from "./Orders.js"

export type Handler = (order: Order) => Effect.Effect<void>

/** Who looks at the consumer while it runs. */
export type Watch = (
  consumer: Consumer.Consumer<SqsError.SqsError>
) => Effect.Effect<void, SqsConsumer.ConsumerError, SqsClient.SqsClient | ProcessLoad.ProcessLoad | Scope.Scope>

/** As Millrace does it: what is not being worked on stays in the queue, where it is safe. */
export const ours =
  (options: { readonly concurrency: number; readonly maxInFlight: number }) => (handle: Handler, watch: Watch) =>
    Effect.scoped(
      Effect.gen(function* () {
        const consumer = yield* SqsConsumer.make(queue, { maxInFlight: options.maxInFlight })
        yield* watch(consumer)
        yield* consumer.stream.pipe(
          Pipeline.decodeJson(Order),
          Pipeline.process(handle, { concurrency: options.concurrency }),
          Stream.runDrain
        )
      })
    )

/**
 * As one writes it first: receive whatever there is, keep it in memory, work on one after another, delete each when it
 * is done. Nothing tells the receives that the work cannot keep up, and every message in memory has 30 seconds.
 */
export const naive = (handle: Handler) =>
  Effect.gen(function* () {
    const client = yield* SqsClient.SqsClient
    const QueueUrl = yield* client.getQueueUrl({ QueueName: queue })
    const decode = Schema.decodeUnknown(Schema.parseJson(Order))
    yield* Stream.repeatEffect(client.receiveMessage({ QueueUrl, MaxNumberOfMessages: 10, WaitTimeSeconds: 20 })).pipe(
      Stream.flattenIterables,
      Stream.buffer({ capacity: "unbounded" }),
      Stream.runForEach(({ Body, ReceiptHandle }) =>
        decode(Body).pipe(
          Effect.flatMap(handle),
          Effect.zipRight(client.deleteMessageBatch({ QueueUrl, Entries: [{ Id: "0", ReceiptHandle }] }))
        )
      )
    )
  })
