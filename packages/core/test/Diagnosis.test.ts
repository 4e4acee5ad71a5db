/** What a diagnosis says, and how it is asked for; each cause by itself is on the emulator, in packages/sqs/test. */
import { assert, describe, it } from "@effect/vitest"
import { Backlog, Consumer, Diagnosis, Figures, Pipeline, ProcessLoad, RetryPolicy } from "@millrace/core"
import { MemoryQueue } from "@millrace/core/testing"
import { Chunk, Effect, Fiber, Schedule, Stream } from "effect"
import { numbered, simulated } from "./support/index.js"

const backlogOf = ({ stats }: MemoryQueue.MemoryQueue) =>
  Backlog.make({
    queue: "memory",
    counts: Effect.map(stats, ({ inFlight, visible }) => ({ visible, inFlight, delayed: 0 })),
    errorKind: () => "transient"
  })

/** 20 messages a second for handlers of 200 ms: four slots' work. */
const working = (slots: number) =>
  Effect.gen(function* () {
    const memory = yield* MemoryQueue.make({ latency: "10 millis" })
    const consumer = yield* Consumer.make(memory)
    yield* memory.send(numbered(2)).pipe(Effect.repeat(Schedule.fixed("100 millis")), Effect.fork)
    yield* consumer.stream.pipe(
      Pipeline.process(() => Effect.sleep("200 millis"), { concurrency: slots }),
      Stream.runDrain,
      Effect.fork
    )
    const backlog = yield* backlogOf(memory)
    return { consumer, backlog }
  })

describe("a diagnosis", () => {
  it(
    "says how many slots are missing, now and after each reading",
    simulated(
      Effect.gen(function* () {
        const { backlog, consumer } = yield* working(2)
        const watched = yield* Diagnosis.of(consumer, backlog)
        const changes = yield* Effect.fork(Stream.runCollect(Stream.take(watched.changes, 6)))
        assert.isUndefined(yield* watched.now)
        yield* Effect.sleep("2 minutes")
        const diagnosis = yield* watched.now
        assert.strictEqual(diagnosis?.verdict, "behind")
        const [first, ...rest] = diagnosis?.findings ?? []
        assert.strictEqual(first?._tag, "TooFewSlots")
        assert.deepStrictEqual(rest, [])
        if (first?._tag !== "TooFewSlots") return
        assert.closeTo(first.figures.busy, 1, 0.02)
        assert.closeTo(first.figures.arrivals, 20, 1)
        assert.closeTo(first.figures.throughput, 10, 1)
        const [change] = first.advice
        assert.strictEqual(change?.setting, "concurrency")
        assert.isAtLeast(change?.to ?? 0, 5)
        assert.strictEqual(Chunk.size(yield* Fiber.join(changes)), 6)
        assert.include(Diagnosis.render(diagnosis as Diagnosis.Diagnosis), "1. Too few slots (explains 100 %)")
      }).pipe(Effect.provide(ProcessLoad.layerUnknown)),
      { leaks: "interrupt" }
    )
  )

  it(
    "takes what it has put back itself for no other consumer's",
    simulated(
      Effect.gen(function* () {
        const memory = yield* MemoryQueue.make({ latency: "10 millis" })
        const consumer = yield* Consumer.make(memory)
        // 20 a second come, two slots do 10, and half of them fail and are not seen for 30 seconds.
        yield* memory.send(numbered(2)).pipe(Effect.repeat(Schedule.fixed("100 millis")), Effect.fork)
        let runs = 0
        yield* consumer.stream.pipe(
          Pipeline.process(
            () => Effect.zipRight(Effect.sleep("200 millis"), runs++ % 2 === 0 ? Effect.fail("no") : Effect.void),
            { concurrency: 2, retry: RetryPolicy.redeliver(Schedule.spaced("30 seconds")) }
          ),
          Stream.runDrain,
          Effect.fork
        )
        const backlog = yield* backlogOf(memory)
        const watched = yield* Diagnosis.of(consumer, backlog)
        yield* Effect.sleep("4 minutes")
        const { inFlight, visible } = yield* memory.stats
        assert.isAbove(inFlight, 5 * (yield* consumer.figures).stats.inFlight)
        const { lag } = (yield* watched.now) as Diagnosis.Diagnosis
        assert.isAbove(lag.visible, 0.7 * visible)
        assert.isAbove(lag.required, 15 + (0.7 * visible) / 120)
      }).pipe(Effect.provide(ProcessLoad.layerUnknown)),
      { leaks: "interrupt", seeds: 1 }
    )
  )

  it(
    "finds nothing where the consumer keeps up",
    simulated(
      Effect.gen(function* () {
        const { backlog, consumer } = yield* working(8)
        const watched = yield* Diagnosis.of(consumer, backlog)
        yield* Effect.sleep("2 minutes")
        const diagnosis = yield* watched.now
        assert.strictEqual(diagnosis?.verdict, "healthy")
        assert.deepStrictEqual(diagnosis?.findings, [])
      }).pipe(Effect.provide(ProcessLoad.layerUnknown)),
      { leaks: "interrupt" }
    )
  )

  it(
    "takes what comes more and more, for good, for no burst, where nobody reads the backlog",
    simulated(
      Effect.gen(function* () {
        const memory = yield* MemoryQueue.make({ latency: "10 millis" })
        const consumer = yield* Consumer.make(memory)
        // The slots do 12 a second: 10 come, and then 16.
        const comes = (perSecond: number, seconds: number) =>
          memory
            .send(numbered(1))
            .pipe(Effect.repeat(Schedule.fixed(1000 / perSecond)), Effect.timeoutOption(seconds * 1000))
        yield* consumer.stream.pipe(
          Pipeline.process(() => Effect.sleep("500 millis"), { concurrency: 6 }),
          Stream.runDrain,
          Effect.fork
        )
        const watched = yield* Diagnosis.of(consumer, undefined)
        yield* comes(10, 180)
        const looks: Array<ReadonlyArray<string>> = []
        yield* Effect.fork(comes(16, 300))
        yield* Effect.sleep("110 seconds")
        for (let i = 0; i < 15; i++) {
          yield* Effect.sleep("10 seconds")
          looks.push(((yield* watched.now)?.findings ?? []).map(({ _tag }) => _tag))
        }
        for (const [i, found] of looks.entries()) assert.deepStrictEqual(found, ["TooFewSlots"], `look ${i}`)
      }).pipe(Effect.provide(ProcessLoad.layerUnknown)),
      { leaks: "interrupt", seeds: 1 }
    )
  )

  it(
    "says how many slots clear a burst that would stay for long, and none for one that is soon gone",
    simulated(
      Effect.gen(function* () {
        const advised = (messages: number) =>
          Effect.gen(function* () {
            const memory = yield* MemoryQueue.make({ latency: "10 millis" })
            const consumer = yield* Consumer.make(memory)
            // 10 a second come, and the slots do hardly more.
            yield* memory.send(numbered(1)).pipe(Effect.repeat(Schedule.fixed("100 millis")), Effect.fork)
            yield* consumer.stream.pipe(
              Pipeline.process(() => Effect.sleep("350 millis"), { concurrency: 4 }),
              Stream.runDrain,
              Effect.fork
            )
            const backlog = yield* backlogOf(memory)
            const watched = yield* Diagnosis.of(consumer, backlog)
            yield* Effect.sleep("3 minutes")
            yield* memory.send(numbered(messages))
            yield* Effect.sleep("100 seconds")
            const [first] = (yield* watched.now)?.findings ?? []
            assert.strictEqual(first?._tag, "ProducerBurst")
            return first?.advice.find(({ setting }) => setting === "concurrency")?.to
          })
        const slots = yield* advised(3000)
        // 10 a second, and 3000 within ten minutes.
        assert.isAtLeast(slots ?? 0, 0.8 * 15 * 0.35)
        assert.isAtMost(slots ?? 0, 16)
        assert.isUndefined(yield* advised(400))
      }).pipe(Effect.provide(ProcessLoad.layerUnknown)),
      { leaks: "interrupt", seeds: 1 }
    )
  )

  it(
    "reckons the backlog from how long messages had waited, where nobody reads it",
    simulated(
      Effect.gen(function* () {
        const { consumer } = yield* working(2)
        const intervals = yield* Effect.fork(Stream.runCollect(Stream.take(Figures.intervals(consumer.figures), 12)))
        const diagnosis = yield* Diagnosis.judge({ intervals: Chunk.toReadonlyArray(yield* Fiber.join(intervals)) })
        assert.strictEqual(diagnosis?.verdict, "behind")
        assert.strictEqual(diagnosis?.findings[0]?._tag, "TooFewSlots")
      }),
      { leaks: "interrupt" }
    )
  )

  it(
    "refuses a window that is too short to judge by",
    simulated(
      Effect.gen(function* () {
        const error = yield* Effect.flip(Diagnosis.judge({ intervals: [] }, { window: "1 second" }))
        assert.strictEqual(error.option, "window")
        assert.isUndefined(yield* Diagnosis.judge({ intervals: [] }))
      })
    )
  )
})

it.live("the load of this process is a part of the time", () =>
  Effect.gen(function* () {
    const look = yield* (yield* ProcessLoad.ProcessLoad).meter
    const load = yield* look
    assert.isAtLeast(load?.utilization ?? -1, 0)
    assert.isAtMost(load?.utilization ?? 2, 1)
    assert.isAtLeast(load?.delayP99 ?? -1, 0)
  }).pipe(Effect.provide(ProcessLoad.layer), Effect.scoped)
)
