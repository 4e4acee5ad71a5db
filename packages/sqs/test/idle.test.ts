/** A consumer of SQS that ends once its queue is empty; several that end together. */
import { assert, it } from "@effect/vitest"
import { Pipeline, RetryPolicy } from "@millrace/core"
import { Simulation } from "@millrace/core/testing"
import { SqsConsumer } from "@millrace/sqs"
import { SqsEmulator } from "@millrace/sqs/emulator"
import { Clock, Effect, Logger, LogLevel, Schedule, Stream } from "effect"

const bodies = (n: number) => Array.from({ length: n }, (_, i) => SqsEmulator.message({ n: i }))
const minutes = Effect.map(Clock.currentTimeMillis, (millis) => millis / 60_000)

it("drainWhenIdle: what is there is done, retries included, and then the program ends", () => {
  Simulation.check(
    { seeds: 2, maxElapsed: "1 hour" },
    Effect.gen(function* () {
      const sqs = yield* SqsEmulator.SqsEmulator
      yield* sqs.send("orders", bodies(30))
      let failed = 0
      yield* SqsConsumer.stream("orders", { drainWhenIdle: "30 seconds" }).pipe(
        Pipeline.process(
          () => Effect.zipRight(Effect.sleep("1 second"), failed++ < 5 ? Effect.fail("no") : Effect.void),
          { retry: RetryPolicy.redeliver(Schedule.spaced("5 minutes")), holdLimit: 0 }
        ),
        Stream.runDrain
      )
      yield* sqs.settled("orders", 30)
      assert.isAtMost(yield* minutes, 7)
      const began = yield* minutes
      yield* sqs.send("urgent", bodies(3))
      yield* sqs.send("orders", bodies(20))
      yield* SqsConsumer.prioritized(["urgent", "orders"], { drainWhenIdle: "1 minute" }).pipe(
        Pipeline.process(() => Effect.sleep("30 seconds"), { concurrency: 10 }),
        Stream.runDrain
      )
      yield* sqs.settled("urgent", 3)
      yield* sqs.settled("orders", 50)
      assert.isAtMost((yield* minutes) - began, 4)
    }).pipe(
      Effect.scoped,
      Effect.provide(SqsEmulator.layer({ queues: { urgent: {}, orders: {} }, latency: "10 millis" })),
      Logger.withMinimumLogLevel(LogLevel.None)
    )
  )
})
