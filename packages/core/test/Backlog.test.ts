import { assert, describe, it } from "@effect/vitest"
import { Backlog, Consumer, Pipeline } from "@millrace/core"
import { MemoryQueue, Simulation } from "@millrace/core/testing"
import { Clock, Data, Duration, Effect, Either, Exit, Fiber, Random, Stream, TestClock } from "effect"
import { seeds } from "../../../test/long.js"

class ReadError extends Data.TaggedError("ReadError")<{ readonly fatal: boolean }> {}

const seconds = Effect.map(Clock.currentTimeMillis, (now) => now / 1000)

/** A queue whose counts are what `visible` says of the time in seconds. */
const source = (visible: (at: number) => Effect.Effect<number, ReadError>) => {
  const calls = { count: 0 }
  const counts = Effect.gen(function* () {
    calls.count++
    return { visible: yield* visible(yield* seconds), inFlight: 0, delayed: 0 }
  })
  return {
    calls,
    queue: "orders",
    counts,
    errorKind: (error: ReadError) => (error.fatal ? ("fatal" as const) : ("transient" as const))
  }
}

const fresh = <E>(samples: Stream.Stream<Backlog.Sample<E>, E>) =>
  Stream.filter(samples, (sample): sample is Backlog.Fresh => sample._tag === "Fresh")

/** The last of so many samples. */
const after = <E>(backlog: Backlog.Backlog<E>, n: number) =>
  Effect.map(Stream.runCollect(Stream.take(fresh(backlog.samples), n)), (samples) => {
    const last = [...samples].at(-1)
    if (last === undefined) throw new Error("no sample")
    return last
  })

describe("Backlog", () => {
  it("growth is near the truth though every count is off by a tenth and late by up to a minute", () =>
    Simulation.checkInTurns(
      { seeds: seeds({ short: 10, long: 40 }) },
      Effect.gen(function* () {
        const growth = 18
        const backlog = yield* Backlog.make(
          source((at) =>
            Effect.gen(function* () {
              const late = yield* Random.nextRange(0, 60)
              const noise = yield* Random.nextRange(0.9, 1.1)
              return Math.round((1_000 + growth * (at - late)) * noise)
            })
          )
        )
        const rates: Array<number> = []
        yield* fresh(backlog.samples).pipe(
          Stream.take(60),
          Stream.runForEach((sample) => Effect.sync(() => sample.growth !== undefined && rates.push(sample.growth)))
        )
        // Ten minutes are three windows; a tenth of 10,000 messages is 1,000, a minute's lateness as much again.
        const mean = rates.reduce((a, b) => a + b, 0) / rates.length
        assert.approximately(mean, growth, 4)
        for (const rate of rates.slice(15)) assert.approximately(rate, growth, 13)
      })
    ))

  it.effect("nothing is said of growth before there is enough to say it by", () =>
    Effect.gen(function* () {
      const backlog = yield* Backlog.make(source((at) => Effect.succeed(at)))
      const fiber = yield* Effect.fork(Stream.runCollect(Stream.take(fresh(backlog.samples), 6)))
      yield* TestClock.adjust("50 seconds")
      const growths = [...(yield* Fiber.join(fiber))].map(({ growth }) => growth)
      assert.deepStrictEqual(growths, [undefined, undefined, undefined, undefined, undefined, 1])
    }).pipe(Effect.scoped)
  )

  it("departures counted and arrivals derived; the time to drain follows from the growth", () =>
    Simulation.checkInTurns(
      { seeds: 1 },
      Effect.gen(function* () {
        const backlog = yield* Backlog.make(
          source((at) => Effect.succeed(6_000 - 5 * at)),
          // Restarted at the 100th second: the counter begins anew.
          { departed: Effect.map(seconds, (at) => 25 * (at < 100 ? at : at - 100)) }
        )
        const sample = yield* after(backlog, 19)
        assert.deepStrictEqual(sample.departures?.kind, "counted")
        assert.approximately(sample.departures?.perSecond ?? 0, 25, 1.5)
        assert.deepStrictEqual(sample.arrivals?.kind, "derived")
        assert.approximately(sample.arrivals?.perSecond ?? 0, 20, 1.5)
        assert.strictEqual(sample.growth, -5)
        // 5,100 left at 5 a second.
        assert.deepStrictEqual(sample.timeToDrain, Duration.seconds(1_020))
      })
    ))

  it("a backlog that grows never drains; an empty one has drained", () =>
    Simulation.checkInTurns(
      { seeds: 1 },
      Effect.gen(function* () {
        const growing = yield* after(yield* Backlog.make(source((at) => Effect.succeed(at))), 10)
        assert.deepStrictEqual(growing.timeToDrain, Duration.infinity)
        const empty = yield* after(yield* Backlog.make(source(() => Effect.succeed(0))), 1)
        assert.deepStrictEqual(empty.timeToDrain, Duration.zero)
      })
    ))

  it("readings of less than half the window, on one line by chance, are not taken for growth", () =>
    Simulation.checkInTurns(
      { seeds: 1 },
      Effect.gen(function* () {
        const backlog = yield* Backlog.make(
          source((at) => Effect.succeed(1_000 + at)),
          { departed: Effect.map(seconds, (at) => 10 * at) }
        )
        const early = yield* after(backlog, 9)
        assert.deepStrictEqual(early.timeToDrain, Duration.seconds(108))
        assert.deepStrictEqual((yield* after(backlog, 2)).timeToDrain, Duration.infinity)
      })
    ))

  it("one reader serves all who listen, and nobody reads while none does", () =>
    Simulation.checkInTurns(
      { seeds: seeds({ short: 8, long: 30 }) },
      Effect.gen(function* () {
        const queue = source(() => Effect.succeed(7))
        const backlog = yield* Backlog.make(queue)
        yield* Effect.sleep("5 minutes")
        assert.strictEqual(queue.calls.count, 0)
        const listeners = yield* Effect.forEach([1, 2, 3], () => Effect.fork(Stream.runDrain(backlog.samples)))
        yield* Effect.sleep("95 seconds")
        assert.strictEqual(queue.calls.count, 10)
        // Who comes later gets the latest at once, without a reading of his own.
        assert.strictEqual((yield* backlog.sample).at, yield* Effect.map(Clock.currentTimeMillis, (now) => now - 5_000))
        yield* Fiber.interrupt(listeners[0] ?? Fiber.void)
        yield* Effect.sleep("20 seconds")
        assert.strictEqual(queue.calls.count, 12)
        yield* Fiber.interruptAll(listeners)
        yield* Effect.sleep("5 minutes")
        assert.strictEqual(queue.calls.count, 12)
        yield* backlog.sample
        assert.strictEqual(queue.calls.count, 13)
      })
    ))

  it("a reading that fails makes a stale sample with the last one known, and the next is fresh again", () =>
    Simulation.checkInTurns(
      { seeds: 1 },
      Effect.gen(function* () {
        const backlog = yield* Backlog.make(
          source((at) =>
            at === 0 || at === 20 ? Effect.fail(new ReadError({ fatal: false })) : Effect.succeed(100 + at)
          )
        )
        const samples = [...(yield* Stream.runCollect(Stream.take(backlog.samples, 4)))]
        assert.deepStrictEqual(
          samples.map((sample) =>
            sample._tag === "Fresh"
              ? sample.visible
              : { at: sample.at, last: sample.last?.visible, tag: sample.error._tag }
          ),
          [{ at: 0, last: undefined, tag: "ReadError" }, 110, { at: 20_000, last: 110, tag: "ReadError" }, 130]
        )
      })
    ))

  it("a fatal error ends the samples of all who listen", () =>
    Simulation.checkInTurns(
      { seeds: 10 },
      Effect.gen(function* () {
        const backlog = yield* Backlog.make(
          source((at) => (at < 30 ? Effect.succeed(1) : Effect.fail(new ReadError({ fatal: true }))))
        )
        const run = Effect.either(Stream.runCount(backlog.samples))
        const ends = yield* Effect.all([run, run], { concurrency: "unbounded" })
        assert.isTrue(ends.every(Either.isLeft))
      })
    ))

  it("the age is estimated from what is received, grows while nothing is, and is nothing once the queue was empty", () =>
    Simulation.checkInTurns(
      { seeds: 1, order: "fifo" },
      Effect.gen(function* () {
        const queue = yield* MemoryQueue.make()
        const estimate = yield* Backlog.ageEstimate
        const backlog = yield* Backlog.make(
          {
            ...source(() => Effect.succeed(0)),
            counts: Effect.map(queue.stats, ({ inFlight, visible }) => ({ visible, inFlight, delayed: 0 }))
          },
          { oldest: estimate }
        )
        const age = Effect.map(backlog.sample, (sample) =>
          sample._tag === "Fresh" && sample.oldest !== undefined
            ? { kind: sample.oldest.kind, seconds: Duration.toSeconds(sample.oldest.duration) }
            : undefined
        )
        assert.deepStrictEqual(yield* age, { kind: "estimated", seconds: 0 })
        yield* queue.send(Array.from({ length: 100 }, (_, i) => String(i)))
        yield* Effect.sleep("100 seconds")
        // Nothing was received: all that is known is when the queue was empty.
        assert.isUndefined(yield* age)
        // One a second: what is received last has waited for 200 seconds.
        const consumer = yield* Consumer.make(queue, { maxInFlight: 1, wait: "1 second" })
        yield* consumer.stream.pipe(
          estimate.through,
          Pipeline.process(() => Effect.sleep("1 second"), { concurrency: 1 }),
          Stream.runDrain,
          Effect.fork
        )
        yield* Effect.sleep("50 seconds")
        const half = yield* age
        assert.strictEqual(half?.kind, "estimated")
        assert.approximately(half?.seconds ?? 0, 150, 2)
        yield* Effect.sleep("5 minutes")
        assert.deepStrictEqual(yield* age, { kind: "estimated", seconds: 0 })
        // The last receipt was minutes ago, but what waits now cannot be older than the empty queue.
        yield* consumer.pause
        yield* Effect.sleep("2 seconds")
        yield* queue.send(["late"])
        yield* Effect.sleep("20 seconds")
        assert.deepStrictEqual(yield* age, { kind: "estimated", seconds: 22 })
      })
    ))

  it.each([
    [{ every: "500 millis" }, "every"],
    [{ every: "1 minute", window: "3 minutes" }, "window"]
  ] as const)("%o cannot work and is refused", (options, option) => {
    const { exit } = Simulation.run(
      1,
      Effect.flip(
        Backlog.make(
          source(() => Effect.succeed(1)),
          options
        )
      )
    )
    assert.strictEqual(Exit.isSuccess(exit) && "option" in exit.value ? exit.value.option : undefined, option)
  })

  it("the samples of many queues come as one stream, each with its name", () =>
    Simulation.checkInTurns(
      { seeds: 5 },
      Effect.gen(function* () {
        const [a, b] = yield* Effect.all([
          Backlog.make({ ...source(() => Effect.succeed(1)), queue: "a" }),
          Backlog.make({ ...source(() => Effect.succeed(2)), queue: "b" })
        ])
        const samples = yield* Stream.runCollect(Stream.take(Backlog.all([a, b]), 4))
        assert.deepStrictEqual([...samples].map(({ queue }) => queue).sort(), ["a", "a", "b", "b"])
      })
    ))
})
