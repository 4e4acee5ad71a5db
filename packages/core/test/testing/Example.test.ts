// The examples of docs/testing.md.
import { describe, expect, it } from "@effect/vitest"
import { Consumer, Pipeline, RetryPolicy } from "@millrace/core"
import { MemoryQueue, Simulation } from "@millrace/core/testing"
import { Effect, Fiber, Random, Schedule, Stream, TestClock } from "effect"

const retry = RetryPolicy.redeliver(Schedule.spaced("5 seconds"), { attempts: 3 }).pipe(
  RetryPolicy.orElse(RetryPolicy.deadLetter)
)

describe("testing a pipeline", () => {
  it.effect("a payment that fails is tried again after five seconds", () =>
    Effect.gen(function* () {
      const queue = yield* MemoryQueue.make()
      const tried: Array<string> = []
      const pay = (id: string) =>
        Effect.suspend(() => {
          tried.push(id)
          return tried.length === 1 ? Effect.fail("declined") : Effect.void
        })

      const pipeline = yield* Consumer.stream(queue).pipe(
        Pipeline.process(pay, { concurrency: 8, retry }),
        Stream.runDrain,
        Effect.fork
      )
      yield* queue.send(["order-1"])
      yield* TestClock.adjust("1 second")
      expect(tried).toEqual(["order-1"])
      yield* TestClock.adjust("5 seconds")
      expect(tried).toEqual(["order-1", "order-1"])
      yield* queue.settled(1)
      expect(yield* queue.stats).toMatchObject({ acked: 1, deadLettered: 0 })
      yield* Fiber.interrupt(pipeline)
    })
  )

  it("whatever fails, every order is paid or dead-lettered", () =>
    Simulation.check(
      { seeds: 25 },
      Effect.gen(function* () {
        // Three calls of twenty go wrong; which ones the seed says.
        const faults: ReadonlyArray<MemoryQueue.Fault> = [
          { fail: "throttled" }, // and has no effect
          { drop: "transient" }, // takes effect, but its answer is lost
          { delay: "3 seconds" }
        ]
        const queue = yield* MemoryQueue.make({
          latency: "8 millis",
          faults: () => Effect.map(Random.nextIntBetween(0, 20), (i) => faults[i])
        })
        const paid = new Set<string>()
        const pay = (id: string) =>
          Effect.gen(function* () {
            yield* Effect.sleep(yield* Random.nextIntBetween(1, 2000))
            if ((yield* Random.next) < 0.2) return yield* Effect.fail("declined")
            paid.add(id)
          })

        yield* Consumer.stream(queue).pipe(
          Pipeline.process(pay, { concurrency: 8, retry }),
          Stream.runDrain,
          Effect.forkScoped
        )
        yield* queue.send(Array.from({ length: 50 }, (_, i) => `order-${i}`))
        yield* queue.idle
        const dead = (yield* queue.deadLetters).map(({ message }) => message.body)
        expect(new Set([...paid, ...dead]).size).toBe(50)
      })
    ))
})
