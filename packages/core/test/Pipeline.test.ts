import { assert, describe, it } from "@effect/vitest"
import { Consumer, Pipeline } from "@millrace/core"
import { MemoryQueue } from "@millrace/core/testing"
import { Chunk, Effect, Fiber, Schema, Stream, TestClock } from "effect"

const Order = Schema.Struct({ order_id: Schema.Number })
const orders = (n: number, from = 0) => Array.from({ length: n }, (_, i) => JSON.stringify({ order_id: from + i }))

describe("process", () => {
  it.effect("handles and acks every message, without time having to pass", () =>
    Effect.gen(function* () {
      const queue = yield* MemoryQueue.make()
      yield* queue.send(orders(25))
      const program = Consumer.stream(queue).pipe(
        Pipeline.decodeJson(Order),
        Pipeline.process((order) => Effect.succeed(order.order_id), { concurrency: 5 }),
        Stream.take(25),
        Stream.runCollect
      )
      const results = yield* program
      assert.deepStrictEqual(
        [...results].sort((a, b) => a - b),
        Array.from({ length: 25 }, (_, i) => i)
      )
      const stats = yield* queue.stats
      assert.strictEqual(stats.acked, 25)
      assert.strictEqual(stats.inFlight, 0)
    })
  )

  it.effect("take(3) upstream ends the source while handlers still run, and they are acked", () =>
    Effect.gen(function* () {
      const queue = yield* MemoryQueue.make()
      yield* queue.send(orders(20))
      const fiber = yield* Consumer.stream(queue).pipe(
        Stream.take(3),
        Pipeline.process((body) => Effect.as(Effect.sleep("10 seconds"), body)),
        Stream.runCollect,
        Effect.fork
      )
      yield* TestClock.adjust("10 seconds")
      assert.strictEqual(Chunk.size(yield* Fiber.join(fiber)), 3)
      const stats = yield* queue.stats
      assert.strictEqual(stats.acked, 3)
      assert.strictEqual(stats.inFlight, 0)
      assert.strictEqual(stats.visible, 17)
    })
  )
})
