/** What a diagnosis says, and how it is asked for; each cause by itself is on the emulator, in packages/sqs/test. */
import { assert, describe, it } from "@effect/vitest"
import { Backlog, Consumer, Diagnosis, Figures, Pipeline, ProcessLoad, RetryPolicy } from "@millrace/core"
import { MemoryQueue } from "@millrace/core/testing"
import { Chunk, Duration, Effect, Fiber, Schedule, Stream } from "effect"
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

  /** What is named once more comes than is done and handlers take longer, where a receive is sent every so often. */
  const broken = (how: {
    readonly slots: number
    readonly every: number
    readonly before: number
    readonly after: number
    readonly stages: 1 | 2
    /** Milliseconds of a handler with so many beside it, once it is broken: 200 before. */
    readonly takes: (running: number) => number
    readonly load?: ProcessLoad.Load
  }) =>
    Effect.gen(function* () {
      const memory = yield* MemoryQueue.make({ latency: "10 millis" })
      const one = (yield* Effect.makeSemaphore(1)).withPermits(1)
      const consumer = yield* Consumer.make({
        ...memory,
        receive: (request) =>
          how.every === 0 ? memory.receive(request) : one(Effect.delay(memory.receive(request), how.every))
      })
      const comes = (perSecond: number) =>
        memory.send(numbered(1)).pipe(Effect.repeat(Schedule.fixed(1000 / perSecond)), Effect.fork)
      let running = 0
      let isBroken = false
      yield* consumer.stream.pipe(
        how.stages === 2
          ? Pipeline.mapEffect((body) => Effect.as(Effect.sleep("20 millis"), body), { concurrency: 50 })
          : (stream) => stream,
        Pipeline.process(
          () =>
            Effect.suspend(() => Effect.sleep(isBroken ? how.takes(++running) : 200 + 0 * ++running)).pipe(
              Effect.ensuring(
                Effect.sync(() => {
                  running--
                })
              )
            ),
          { concurrency: how.slots }
        ),
        Stream.runDrain,
        Effect.fork
      )
      const watched = yield* Diagnosis.of(consumer, yield* backlogOf(memory)).pipe(
        Effect.provide(
          ProcessLoad.layerOf(Effect.sync(() => (isBroken && how.load) || { utilization: 0.3, delay: 1, delayP99: 4 }))
        )
      )
      yield* comes(how.before)
      yield* Effect.sleep("2 minutes")
      isBroken = true
      yield* comes(how.after - how.before)
      const looks: Array<ReadonlyArray<string>> = []
      yield* Effect.sleep("70 seconds")
      for (let i = 0; i < 6; i++) {
        yield* Effect.sleep("10 seconds")
        looks.push(((yield* watched.now)?.findings ?? []).map(({ _tag }) => _tag))
      }
      return looks
    })

  it(
    "takes handlers for slow only where they are so with few beside them too",
    simulated(
      Effect.gen(function* () {
        // Receives come in lumps, and as many as before meet each other.
        const lumps = { slots: 40, every: 1500, before: 5, after: 10, stages: 1 } as const
        const crowd = (running: number) => 200 * Math.max(1, running / 3)
        for (const found of yield* broken({ ...lumps, takes: crowd })) assert.notInclude(found, "SlowHandler")
        for (const found of yield* broken({ ...lumps, takes: () => 500 })) {
          assert.include(found, "SlowHandler")
          assert.notInclude(found, "SaturatedDownstream")
        }
        // A loop that is full now and then explains the same.
        const load = { utilization: 0.5, delay: 16, delayP99: 400 }
        for (const found of yield* broken({ ...lumps, takes: crowd, load })) {
          assert.notInclude(found, "SlowHandler")
          assert.notInclude(found, "SaturatedDownstream")
        }
      }),
      { leaks: "interrupt", seeds: 1 }
    )
  )

  it(
    "takes handlers behind a quick stage for slow where they are so whatever is beside them",
    simulated(
      Effect.gen(function* () {
        const lumps = { slots: 40, every: 1500, before: 5, after: 10, stages: 2 } as const
        for (const found of yield* broken({ ...lumps, takes: () => 900 })) {
          assert.include(found, "SlowHandler")
          assert.notInclude(found, "SaturatedDownstream")
        }
      }),
      { leaks: "interrupt", seeds: 1 }
    )
  )

  it(
    "tells slow handlers from a full downstream by how long they took as their number grew",
    simulated(
      Effect.gen(function* () {
        // Three times as much comes at the same moment, and all slots are busy in a second.
        const rise = { slots: 12, every: 0, before: 10, after: 30, stages: 1 } as const
        for (const found of yield* broken({ ...rise, takes: () => 1000 })) {
          assert.strictEqual(found[0], "SlowHandler")
          assert.notInclude(found, "SaturatedDownstream")
        }
        for (const found of yield* broken({ ...rise, takes: (running) => 200 * Math.max(1, running / 2.4) })) {
          assert.strictEqual(found[0], "SaturatedDownstream")
          assert.notInclude(found, "SlowHandler")
        }
      }),
      { leaks: "interrupt", seeds: 1 }
    )
  )

  it(
    "knows no part of a paused consumer by what it has in flight",
    simulated(
      Effect.gen(function* () {
        const memory = yield* MemoryQueue.make({ leaseDuration: "1 hour" })
        yield* memory.send(numbered(600))
        const paused = yield* Consumer.make(memory)
        yield* paused.stream.pipe(
          Pipeline.process(() => Effect.void, { concurrency: 4 }),
          Stream.runDrain,
          Effect.fork
        )
        yield* paused.pause
        // Somebody else has 40 in flight.
        for (let i = 0; i < 4; i++) yield* memory.receive({ max: 10, wait: Duration.zero, attemptId: undefined })
        const watched = yield* Diagnosis.of(paused, yield* backlogOf(memory))
        yield* Effect.sleep("4 minutes")
        assert.isAbove((yield* watched.now)?.lag.visible ?? 0, 0.9 * (yield* memory.stats).visible)
      }).pipe(Effect.provide(ProcessLoad.layerUnknown)),
      { leaks: "interrupt", seeds: 1 }
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
