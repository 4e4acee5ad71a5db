import { assert, describe, it } from "@effect/vitest"
import { Pipeline, RetryPolicy, type Served } from "@millrace/core"
import { SqsConsumer } from "@millrace/sqs"
import { SqsEmulator } from "@millrace/sqs/emulator"
import { Context, Effect, Schedule, Schema, Stream } from "effect"

class Orders extends Context.Tag("test/Orders")<Orders, Served.Served>() {}

const Order = Schema.Struct({ order_id: Schema.Number, item: Schema.String, quantity: Schema.Number })

describe("SqsConsumer", () => {
  it.effect("the pipeline of the README runs against the emulator without time having to pass", () =>
    Effect.gen(function* () {
      const fulfilled: Array<number> = []
      const program = SqsConsumer.stream("order-processing-queue", { maxInFlight: 200 }).pipe(
        Pipeline.decodeJson(Order),
        Pipeline.process((order) => Effect.sync(() => fulfilled.push(order.order_id)), {
          concurrency: 64,
          retry: RetryPolicy.redeliver(Schedule.exponential("1 second").pipe(Schedule.jittered), { attempts: 5 }).pipe(
            RetryPolicy.orElse(RetryPolicy.deadLetter)
          )
        }),
        Stream.runDrain
      )
      const sqs = yield* SqsEmulator.SqsEmulator
      yield* sqs.send("order-processing-queue", [{ order_id: 1, item: "widget", quantity: 1 }])
      yield* Effect.fork(program)
      yield* sqs.settled("order-processing-queue", 1)
      assert.deepStrictEqual(fulfilled, [1])
    }).pipe(Effect.provide(SqsEmulator.layer({ queues: { "order-processing-queue": {} } })))
  )

  it.effect("as a Layer it works in the background and is drained when the Layer closes", () =>
    Effect.gen(function* () {
      const sqs = yield* SqsEmulator.SqsEmulator
      yield* sqs.send("orders", [1, 2, 3])
      yield* Effect.gen(function* () {
        const orders = yield* Orders
        yield* sqs.settled("orders", 3)
        assert.isTrue((yield* orders.health()).healthy)
      }).pipe(
        Effect.provide(
          SqsConsumer.layer(
            Orders,
            "orders",
            Pipeline.process(() => Effect.void)
          )
        )
      )
      assert.strictEqual((yield* sqs.snapshot("orders")).inFlight, 0)
    }).pipe(Effect.provide(SqsEmulator.layer({ queues: { orders: {} } })))
  )

  it.effect("a queue that does not exist fails the stream at once, by AWS's name", () =>
    SqsConsumer.stream("no-such-queue").pipe(
      Stream.runDrain,
      Effect.flip,
      Effect.map((error) => assert.strictEqual(error._tag, "QueueDoesNotExist")),
      Effect.provide(SqsEmulator.layer({}))
    )
  )
})
