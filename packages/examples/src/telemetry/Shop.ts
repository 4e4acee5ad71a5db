/** A shop that sends orders to a queue and fulfils them, with a span for each step. */
import { Pipeline, RetryPolicy } from "@millrace/core"
import { SqsConsumer, SqsProducer } from "@millrace/sqs"
import { SqsEmulator } from "@millrace/sqs/emulator"
import { Data, Effect, Schedule, Schema, Stream } from "effect"

export const queue = "orders"
export const orders = 20

const Order = Schema.Struct({ id: Schema.Number, item: Schema.String })

class OutOfStock extends Data.TaggedError("OutOfStock") {}

/** The sender's span: its id travels with the message, and the consumer's span is linked to it. */
const sending = Effect.withSpan(`send ${queue}`, {
  kind: "producer",
  attributes: {
    "messaging.system": "aws_sqs",
    "messaging.operation.name": "send",
    "messaging.operation.type": "send",
    "messaging.destination.name": queue
  }
})

const sell = Effect.gen(function* () {
  const producer = yield* SqsProducer.make(queue)
  yield* Effect.forEach(
    Array.from({ length: orders }, (_, id) => ({ id, item: id === 7 ? "unicorn" : "widget" })),
    (order) => sending(producer.send(order)),
    { concurrency: "unbounded", discard: true }
  )
}).pipe(Effect.scoped)

const fulfil = ({ item }: typeof Order.Type) =>
  Effect.gen(function* () {
    yield* Effect.sleep("20 millis").pipe(Effect.withSpan("pick from the shelf"))
    if (item === "unicorn") return yield* new OutOfStock()
  })

/** Ends when all orders are done; the unicorn is discarded after its second attempt. */
export const program = Effect.gen(function* () {
  const sqs = yield* SqsEmulator.SqsEmulator
  yield* sell
  yield* SqsConsumer.stream(queue, { spans: true, drainWhen: Effect.orDie(sqs.settled(queue, orders)) }).pipe(
    Pipeline.decodeJson(Order),
    Pipeline.process(fulfil, {
      span: true,
      retry: RetryPolicy.inPlace(Schedule.recurs(1)).pipe(RetryPolicy.orElse(RetryPolicy.discard))
    }),
    Stream.runDrain
  )
}).pipe(Effect.provide(SqsEmulator.layer({ queues: { [queue]: {} }, latency: "5 millis" })))
