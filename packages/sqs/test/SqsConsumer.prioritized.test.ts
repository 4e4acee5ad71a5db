import { assert, describe, it } from "@effect/vitest"
import { Pipeline } from "@millrace/core"
import { Simulation } from "@millrace/core/testing"
import { SqsConsumer } from "@millrace/sqs"
import { SqsEmulator } from "@millrace/sqs/emulator"
import { Effect, Fiber, Stream } from "effect"

const bodies = (n: number) => Array.from({ length: n }, (_, i) => SqsEmulator.message({ n: i }))

describe("SqsConsumer.prioritized", () => {
  it("the first queue before the others, each settled at its own, with figures of each", () => {
    Simulation.check(
      { seeds: 2, maxElapsed: "1 hour" },
      Effect.gen(function* () {
        const sqs = yield* SqsEmulator.SqsEmulator
        yield* sqs.send("bulk", bodies(300))
        yield* sqs.send("urgent", bodies(300))
        const began: Array<string> = []
        const prioritized = yield* SqsConsumer.makePrioritized(["urgent", { queue: "bulk", name: "the rest" }], {
          maxInFlight: 100
        })
        const fiber = yield* prioritized.stream.pipe(
          Pipeline.process(
            (_, { queue }) => {
              began.push(queue)
              return Effect.sleep("100 millis")
            },
            { concurrency: 20 }
          ),
          Stream.runDrain,
          Effect.fork
        )
        yield* sqs.settled("urgent", 300)
        yield* sqs.settled("bulk", 300)
        yield* Effect.sleep("1 second")
        const last = began.lastIndexOf("urgent")
        assert.isAtMost(began.slice(0, last).filter((queue) => queue === "bulk").length, 3)
        const figures = yield* Effect.forEach(prioritized.consumers, (consumer) => consumer.figures)
        assert.deepStrictEqual(
          figures.map(({ consumer, queue, stats }) => [consumer, queue, stats.acked]),
          [
            ["urgent", "urgent", 300],
            ["the rest", "bulk", 300]
          ]
        )
        yield* Fiber.interrupt(fiber)
      }).pipe(
        Effect.scoped,
        Effect.provide(SqsEmulator.layer({ queues: { urgent: {}, bulk: {} }, latency: "10 millis" }))
      )
    )
  })

  it("refuses one queue twice, by whatever it was named", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(Stream.runDrain(SqsConsumer.prioritized(["urgent", { queue: "urgent" }])))
      assert.strictEqual(error.message, "queues has two called urgent; write each once")
    }).pipe(Effect.provide(SqsEmulator.layer({ queues: { urgent: {} } })), Effect.runPromise))
})
