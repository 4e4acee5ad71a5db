/** What a consumer tells of itself: figures, Effect metrics tagged by consumer, and lines at debug. */
import { assert, describe, it } from "@effect/vitest"
import { Consumer, Pipeline, RetryPolicy } from "@millrace/core"
import { MemoryQueue } from "@millrace/core/testing"
import { Effect, Fiber, Logger, LogLevel, Metric, MetricState, Schedule, Stream } from "effect"
import { type Line, logged, numbered, simulated } from "./support/index.js"

/** The metrics of one consumer, by name. */
const metricsOf = (consumer: string) =>
  Effect.map(Metric.snapshot, (pairs) => {
    const all = new Map<string, MetricState.MetricState.Untyped>()
    for (const { metricKey, metricState } of pairs) {
      const labels = metricKey.tags.map(({ key, value }) => `${key}=${value}`)
      if (labels.length === 1 && labels[0] === `consumer=${consumer}`) all.set(metricKey.name, metricState)
    }
    const counter = (name: string) => {
      const state = all.get(`millrace_${name}`)
      if (state === undefined || !MetricState.isCounterState(state)) throw new Error(`no counter millrace_${name}`)
      return Number(state.count)
    }
    const gauge = (name: string) => {
      const state = all.get(`millrace_${name}`)
      if (state === undefined || !MetricState.isGaugeState(state)) throw new Error(`no gauge millrace_${name}`)
      return Number(state.value)
    }
    const histogram = (name: string) => {
      const state = all.get(`millrace_${name}_seconds`)
      if (state === undefined || !MetricState.isHistogramState(state)) throw new Error(`no histogram ${name}`)
      return { count: state.count, min: state.min, max: state.max, sum: state.sum }
    }
    return { all, counter, gauge, histogram }
  })

// The registry is one for the process: each run has a consumer of its own.
let consumers = 0
const unique = () => `metrics.test ${++consumers}`

describe("metrics of a consumer", () => {
  it(
    "the gauges of two of one name are what both hold together, and nothing once they have ended",
    simulated(
      Effect.gen(function* () {
        const name = unique()
        const held = Effect.map(metricsOf(name), ({ gauge }) => gauge("in_flight"))
        assert.strictEqual(
          yield* Effect.zipRight(Effect.scoped(Consumer.make(yield* MemoryQueue.make(), { name })), held),
          0
        )
        const running = yield* Effect.forEach([3, 4], (messages) =>
          Effect.gen(function* () {
            const memory = yield* MemoryQueue.make()
            yield* memory.send(numbered(messages))
            return yield* Consumer.stream(memory, { name }).pipe(
              Pipeline.process(() => Effect.never),
              Stream.runDrain,
              Effect.fork
            )
          })
        )
        yield* Effect.sleep("1 second")
        assert.strictEqual(yield* held, 7)
        const [first, second] = running
        if (first !== undefined) yield* Fiber.interrupt(first)
        assert.strictEqual(yield* held, 4)
        if (second !== undefined) yield* Fiber.interrupt(second)
        assert.strictEqual(yield* held, 0)
        assert.strictEqual((yield* metricsOf(name)).gauge("prefetched"), 0)
      })
    )
  )

  it(
    "a stream that is run twice from one handle is warned about, once for each run too many",
    simulated(
      Effect.gen(function* () {
        const lines: Array<Line> = []
        const memory = yield* MemoryQueue.make()
        yield* Effect.gen(function* () {
          const consumer = yield* Consumer.make(memory)
          const run = Effect.fork(Stream.runDrain(Pipeline.process(() => Effect.void)(consumer.stream)))
          const fibers = [yield* run, yield* run]
          yield* Effect.sleep("1 second")
          yield* consumer.drain()
          yield* Fiber.joinAll(fibers)
        }).pipe(Effect.scoped, Effect.provide(logged(lines)))
        assert.lengthOf(
          lines.filter(({ text }) => text.includes("is run once more")),
          1
        )
      })
    )
  )

  it(
    "count what happened, each of them tagged with its name and no other's, and agree with its own figures",
    simulated(
      Effect.gen(function* () {
        const name = unique()
        const other = unique()
        const memory = yield* MemoryQueue.make({
          latency: "10 millis",
          faults: ({ operation }) =>
            Effect.succeed(
              operation === "setLease"
                ? { entries: ({ handle }) => (handle === "memory-5/1" ? "LeaseLost" : undefined) }
                : undefined
            )
        })
        yield* memory.send(["fails", "dies", "ok", "ok", "lost"])
        yield* memory.inject("receive", { fail: "throttled" })
        yield* memory.inject("ack", { fail: "transient" })
        const failed = new Set<string>()
        const consumer = yield* Consumer.make(memory, { name })
        yield* Effect.scoped(Consumer.make(memory, { name: other }))
        const fiber = yield* consumer.stream.pipe(
          Pipeline.process(
            (body) =>
              Effect.gen(function* () {
                yield* Effect.sleep("2 seconds")
                if (failed.has(body) || body === "ok") return
                failed.add(body)
                if (body === "dies") return yield* Effect.dieMessage("a defect")
                if (body === "fails") return yield* Effect.fail("a failure")
                return yield* Effect.never
              }),
            {
              retry: (failure) =>
                failure === "a failure" ? RetryPolicy.redeliver(Schedule.spaced("3 seconds")) : RetryPolicy.deadLetter
            }
          ),
          Stream.runDrain,
          Effect.fork
        )
        yield* memory.idle
        yield* Effect.sleep("1 second")
        const { gauge } = yield* metricsOf(name)
        assert.strictEqual(gauge("in_flight"), 0)
        yield* Fiber.interrupt(fiber)
        const stats = yield* consumer.stats
        const { counter, histogram } = yield* metricsOf(name)
        const counters = {
          received: 7,
          redelivered: 2,
          handled: 4,
          failed: 2,
          acked: 4,
          retried: 1,
          deadLettered: 1,
          lost: 1,
          released: 0,
          left: 0,
          receiveErrors: 1,
          settleErrors: 1
        } as const
        for (const [key, expected] of Object.entries(counters)) {
          const metric = key.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)
          assert.strictEqual(counter(metric), expected, metric)
          assert.strictEqual(stats[key as keyof typeof counters], expected, key)
        }
        assert.strictEqual(counter("polls"), stats.polls)
        assert.strictEqual(counter("settle_calls"), stats.settleCalls)
        // 6 handlers of 2 seconds; the lost one is not among them.
        const handler = histogram("handler")
        assert.deepStrictEqual([handler.count, handler.min, handler.max], [6, 2, 2])
        assert.strictEqual(histogram("settle").count, 7)
        assert.strictEqual(histogram("queue").count, 7)
        // Each counter is there from the start, so that an exporter sees it rise from zero.
        const untouched = [...(yield* metricsOf(other)).all.values()].filter(MetricState.isCounterState)
        assert.strictEqual(untouched.length, 26)
        for (const { count } of untouched) assert.strictEqual(Number(count), 0)
      })
    )
  )

  it(
    "tell how long a message waited in the queue, and from its receive to its end",
    simulated(
      Effect.gen(function* () {
        const name = unique()
        const memory = yield* MemoryQueue.make()
        yield* memory.send(["a"])
        yield* Effect.sleep("40 seconds")
        const fiber = yield* Consumer.stream(memory, { name }).pipe(
          Pipeline.process(() => Effect.sleep("3 seconds")),
          Stream.runDrain,
          Effect.fork
        )
        yield* memory.idle
        yield* Fiber.interrupt(fiber)
        const { histogram } = yield* metricsOf(name)
        assert.deepStrictEqual(histogram("queue"), { count: 1, min: 40, max: 40, sum: 40 })
        assert.isAtLeast(histogram("settle").min, 3)
        assert.isAtMost(histogram("settle").max, 3.1)
      })
    )
  )

  it(
    "show what is in flight while it is",
    simulated(
      Effect.gen(function* () {
        const name = unique()
        const memory = yield* MemoryQueue.make()
        yield* memory.send(numbered(5))
        const fiber = yield* Consumer.stream(memory, { name }).pipe(
          Pipeline.process(() => Effect.never, { concurrency: 5 }),
          Stream.runDrain,
          Effect.fork
        )
        yield* Effect.sleep("1 second")
        assert.strictEqual((yield* metricsOf(name)).gauge("in_flight"), 5)
        yield* Fiber.interrupt(fiber)
        assert.strictEqual((yield* metricsOf(name)).gauge("in_flight"), 0)
      })
    )
  )

  it(
    "count extensions and what an hour of nothing costs",
    simulated(
      Effect.gen(function* () {
        const name = unique()
        const memory = yield* MemoryQueue.make()
        yield* memory.send(["a"])
        const fiber = yield* Consumer.stream(memory, { name }).pipe(
          Pipeline.process(() => Effect.sleep("65 seconds")),
          Stream.runDrain,
          Effect.fork
        )
        yield* memory.idle
        yield* Effect.sleep("1 hour")
        yield* Fiber.interrupt(fiber)
        const { counter } = yield* metricsOf(name)
        assert.isAtLeast(counter("extend_calls"), 4)
        assert.isAtMost(counter("extend_calls"), 5)
        assert.strictEqual(counter("extended"), counter("extend_calls"))
        assert.isAtMost(counter("polls"), 186)
        assert.isAtLeast(counter("empty_polls"), counter("polls") - 2)
      })
    )
  )
})

describe("what is logged", () => {
  it(
    "a queue that fails is warned about once a streak, and what follows is at debug",
    simulated(
      Effect.gen(function* () {
        const lines: Array<Line> = []
        const memory = yield* MemoryQueue.make()
        yield* Effect.gen(function* () {
          yield* memory.inject("receive", { fail: "throttled" }, 5)
          const fiber = yield* Consumer.stream(memory).pipe(
            Pipeline.process(() => Effect.void),
            Stream.runDrain,
            Effect.fork
          )
          yield* Effect.sleep("2 minutes")
          yield* memory.inject("receive", { fail: "transient" }, 2)
          yield* Effect.sleep("2 minutes")
          yield* Fiber.interrupt(fiber)
        }).pipe(Effect.provide(logged(lines)), Logger.withMinimumLogLevel(LogLevel.Debug))
        const failures = lines.filter(({ text }) => text.includes("could not receive from memory"))
        assert.deepStrictEqual(
          failures.map(({ level }) => level),
          ["WARN", "DEBUG", "DEBUG", "DEBUG", "DEBUG", "WARN", "DEBUG"]
        )
        assert.include(failures[0]?.text, "(throttled)")
        assert.include(failures[5]?.text, "(transient)")
      })
    )
  )

  it(
    "a handler's failure is at debug with its cause, and a body never is",
    simulated(
      Effect.gen(function* () {
        const lines: Array<Line> = []
        const memory = yield* MemoryQueue.make()
        yield* memory.send(["SECRET body"])
        const fiber = yield* Consumer.stream(memory).pipe(
          Pipeline.process(() => Effect.fail("no"), { retry: RetryPolicy.deadLetter }),
          Stream.runDrain,
          Effect.fork,
          Effect.provide(logged(lines)),
          Logger.withMinimumLogLevel(LogLevel.All)
        )
        yield* memory.idle
        yield* Fiber.interrupt(fiber)
        const failed = lines.find(({ text }) => text.startsWith("handler failed"))
        assert.strictEqual(failed?.level, "DEBUG")
        assert.strictEqual(failed?.annotations["messageId"], "memory-1")
        for (const { text } of lines) assert.notInclude(text, "SECRET")
      })
    )
  )
})
