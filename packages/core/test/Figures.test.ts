/** What a consumer measures of itself, against what a program with known times must show. */
import { assert, describe, it } from "@effect/vitest"
import { Consumer, Figures, Histogram, Pipeline, RetryPolicy, Tunable } from "@millrace/core"
import { MemoryQueue } from "@millrace/core/testing"
import { Chunk, Effect, FastCheck, Fiber, Ref, Schedule, Stream } from "effect"
import { numbered, simulated } from "./support/index.js"

class Refused extends Error {
  readonly _tag = "Refused"
}

const about = (actual: number | undefined, expected: number, part = 0.05) =>
  assert.isAtMost(Math.abs((actual ?? Number.NaN) - expected), expected * part, `${actual}, not about ${expected}`)

describe("a histogram", () => {
  it("gives any quantile within 5 %, and of two readings that of the time between", () => {
    const times = FastCheck.array(FastCheck.double({ min: 0.2, max: 1e7, noNaN: true }), { minLength: 1 })
    FastCheck.assert(
      FastCheck.property(times, times, FastCheck.double({ min: 0, max: 1, noNaN: true }), (before, after, part) => {
        const between = Histogram.since(Histogram.of(before), Histogram.of([...before, ...after]))
        const sorted = [...after].sort((a, b) => a - b)
        const exact = sorted[Math.max(1, Math.ceil(part * sorted.length)) - 1] ?? Number.NaN
        about(Histogram.quantile(between, part), exact)
        about(Histogram.mean(between), after.reduce((a, b) => a + b) / after.length, 1e-6)
      })
    )
  })

  it("knows nothing where nothing was measured", () => {
    assert.isUndefined(Histogram.quantile(Histogram.empty, 0.5))
    assert.isUndefined(Histogram.mean(Histogram.empty))
  })
})

describe("figures of a consumer", () => {
  it(
    "tell for how long it has put back what comes again",
    simulated(
      Effect.gen(function* () {
        const memory = yield* MemoryQueue.make()
        yield* memory.send(numbered(30))
        const consumer = yield* Consumer.make(memory)
        const before = yield* consumer.figures
        yield* consumer.stream.pipe(
          Pipeline.process((n) => (Number(n) % 3 === 0 ? Effect.fail(new Refused()) : Effect.void), {
            concurrency: 4,
            retry: RetryPolicy.redeliver(Schedule.spaced("40 seconds"))
          }),
          Stream.runDrain,
          Effect.fork
        )
        yield* Effect.sleep("30 seconds")
        const interval = Figures.since(before, yield* consumer.figures)
        assert.strictEqual(interval.stats.retried, 10)
        assert.strictEqual(interval.deferredFor, 10 * 40_000)
        const next = Figures.since(yield* consumer.figures, yield* consumer.figures)
        assert.strictEqual(next.deferredFor, 0)
        assert.strictEqual(Figures.join([interval, next]).deferredFor, 10 * 40_000)
      }),
      { leaks: "interrupt" }
    )
  )

  it(
    "tell how busy its slots were, what its handlers and calls took, and how many ran together",
    simulated(
      Effect.gen(function* () {
        const memory = yield* MemoryQueue.make({ latency: "20 millis" })
        yield* memory.send(numbered(400))
        const consumer = yield* Consumer.make(memory, { name: "figures.test", maxInFlight: 40 })
        const fiber = yield* consumer.stream.pipe(
          Pipeline.process(() => Effect.sleep("200 millis"), { concurrency: 4 }),
          Stream.runDrain,
          Effect.fork
        )
        yield* Effect.sleep("1 second")
        const before = yield* consumer.figures
        yield* Effect.sleep("10 seconds")
        const interval = Figures.since(before, yield* consumer.figures)
        yield* memory.idle
        yield* Effect.sleep("10 seconds")
        const idle = yield* consumer.figures
        yield* consumer.drain()
        yield* Fiber.join(fiber)

        assert.strictEqual(interval.seconds, 10)
        assert.strictEqual(interval.stats.handled, 200)
        const [stage] = interval.stages
        assert.strictEqual(interval.stages.length, 1)
        assert.strictEqual(stage?.slots, 4)
        about(stage?.busy, 1, 0.001)
        assert.strictEqual(stage?.slotTime, 40_000)
        about(Histogram.quantile(interval.handler, 0.99), 200)
        about(Histogram.mean(interval.calls.ack), 20)
        about(Histogram.mean(idle.calls.receive), 20)
        // One that begins as another ends may count one fewer.
        const atFour = interval.byRunning.find(({ running }) => running === 4)
        assert.isAtLeast(atFour?.handlers ?? 0, 180)
        assert.strictEqual(atFour?.time, (atFour?.handlers ?? 0) * 200)
        assert.isAtMost(interval.starvedFor, 1000)
        assert.strictEqual(idle.stages[0]?.running, 0)
        assert.isAtLeast(idle.starvedFor, 9000)
        assert.strictEqual(idle.fullReceives, 40)
        assert.isUndefined(idle.oldestInFlight)
        // From the receive to the start: what was prefetched waited for a slot.
        assert.isAbove(Histogram.quantile(interval.waited, 0.5) ?? 0, 100)
        assert.isAtLeast(Histogram.quantile(interval.settled, 0.5) ?? 0, 300)
      })
    )
  )

  it(
    "say how long all permits were taken, and follow slots that are changed",
    simulated(
      Effect.gen(function* () {
        const memory = yield* MemoryQueue.make()
        yield* memory.send(numbered(100))
        const concurrency = yield* Tunable.make("concurrency", 5)
        const consumer = yield* Consumer.make(memory, { maxInFlight: 10 })
        yield* consumer.stream.pipe(
          Pipeline.process(() => Effect.never, { concurrency }),
          Stream.runDrain,
          Effect.fork
        )
        yield* Effect.sleep("10 seconds")
        yield* concurrency.set(10)
        yield* Effect.sleep("10 seconds")
        const { fullFor, stages } = yield* consumer.figures
        about(fullFor, 20_000, 0.01)
        assert.strictEqual(stages[0]?.slots, 10)
        about(stages[0]?.slotTime, 150_000, 0.01)
        about(stages[0]?.busyTime, 150_000, 0.01)
        yield* consumer.drain({ deadline: 0 })
      })
    )
  )

  it(
    "name what failed, by error and by message, and calls that failed by kind",
    simulated(
      Effect.gen(function* () {
        const memory = yield* MemoryQueue.make()
        yield* memory.inject("receive", { fail: "throttled" })
        yield* memory.send(["bad", "good", "defect"])
        const consumer = yield* Consumer.make(memory)
        const fiber = yield* consumer.stream.pipe(
          Pipeline.process(
            (body) =>
              body === "bad"
                ? Effect.fail(new Refused())
                : body === "defect"
                  ? Effect.dieMessage("a defect")
                  : Effect.void,
            { retry: RetryPolicy.discard }
          ),
          Stream.runDrain,
          Effect.fork
        )
        yield* memory.idle
        const figures = yield* consumer.figures
        yield* consumer.drain()
        yield* Fiber.join(fiber)
        assert.deepStrictEqual(figures.failures, { Refused: 1, HandlerDefect: 1 })
        assert.deepStrictEqual(
          figures.recentFailures.map(({ attempt, error }) => [attempt, error]),
          [
            [1, "Refused"],
            [1, "HandlerDefect"]
          ]
        )
        assert.deepStrictEqual(figures.failedCalls, { throttled: 1, transient: 0, fatal: 0 })
      })
    )
  )

  for (const ordered of [true, false]) {
    it(
      `show the groups with most in flight and their heads, of ${ordered ? "an ordered" : "a standard"} queue`,
      simulated(
        Effect.gen(function* () {
          const memory = yield* MemoryQueue.make({ ordered })
          yield* memory.send(Array.from({ length: 8 }, (_, i) => ({ body: `hot ${i}`, group: "hot" })))
          yield* memory.send([{ body: "cold", group: "cold" }])
          const consumer = yield* Consumer.make(memory)
          yield* consumer.stream.pipe(
            Pipeline.process((body) => (body === "cold" ? Effect.void : Effect.never)),
            Stream.runDrain,
            Effect.fork
          )
          yield* Effect.sleep("5 seconds")
          const { groups, groupsInFlight } = yield* consumer.figures
          assert.strictEqual(groupsInFlight, 1)
          const [hot, ...others] = groups
          assert.deepStrictEqual(others, [])
          assert.deepInclude(hot, { group: "hot", inFlight: 8 })
          about(hot?.share, 8 / 9, 0.01)
          assert.isTrue(hot?.head.running)
          yield* consumer.drain({ deadline: 0 })
        })
      )
    )
  }

  it(
    "come as intervals, none of them across a new start",
    simulated(
      Effect.gen(function* () {
        const memory = yield* MemoryQueue.make()
        const consumer = yield* Consumer.make(memory)
        const starts = yield* Ref.make(0)
        // The third reading is of another consumer.
        const figures = Effect.flatMap(
          Ref.updateAndGet(starts, (n) => n + 1),
          (n) => Effect.map(consumer.figures, (all) => ({ ...all, startedAt: n < 3 ? 1 : 2 }))
        )
        const intervals = yield* Figures.intervals(figures, { every: "5 seconds" }).pipe(
          Stream.take(3),
          Stream.runCollect
        )
        assert.deepStrictEqual(
          Chunk.toReadonlyArray(intervals).map(({ seconds, startedAt }: Figures.Interval & { startedAt?: number }) => [
            seconds,
            startedAt
          ]),
          [
            [5, 1],
            [5, 2],
            [5, 2]
          ]
        )
        const refused = yield* Effect.flip(Stream.runHead(Figures.intervals(figures, { every: 0 })))
        assert.match(refused.message, /every/)
      })
    )
  )
})
