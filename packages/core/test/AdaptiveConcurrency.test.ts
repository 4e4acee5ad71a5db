/**
 * The controller on real consumers, in virtual time, against downstreams whose best concurrency is known: how much of
 * the best throughput it gets, over seeds, and what must not fool it.
 */
import { setImmediate } from "node:timers/promises"
import { assert, describe, it } from "@effect/vitest"
import { AdaptiveConcurrency, Consumer, Pipeline, RetryPolicy, Tunable } from "@millrace/core"
import { MemoryQueue, Simulation } from "@millrace/core/testing"
import { Clock, Data, Duration, Effect, Either, Fiber, Random, Ref, Schedule, type Scope, Stream } from "effect"
import { seeds } from "../../../test/long.js"
import { numbered } from "./support/index.js"

class Overloaded extends Data.TaggedError("Overloaded") {}

/** What a downstream is like. It can be changed while it is in use. */
interface Downstream {
  /** A call alone, in seconds. */
  readonly alone: number
  /**
   * By how much a call is slower where `n` run at once, by Gunther's universal scalability law: waiting for each other,
   * and agreeing with each other. The throughput n / slowness(n) is best at one n and falls beyond.
   */
  readonly slowness: (n: number) => number
  /** So many are served at once, the others wait: throughput rises to this and then stays. */
  readonly servers?: number | undefined
  /** The share of calls that is refused where so many run. */
  readonly refused?: ((n: number) => number) | undefined
  /** So many are let in at once, and every other is refused. */
  readonly admitted?: number | undefined
  /** The share of calls that takes a minute where so many run. */
  readonly hanging?: ((n: number) => number) | undefined
  /** Of mean 1: by what a call differs from others. */
  readonly noise: Effect.Effect<number>
}

const usl = (best: number, contention = 0.05) => {
  const coherence = (1 - contention) / best ** 2
  return (n: number) => 1 + contention * (n - 1) + coherence * n * (n - 1)
}

const even = Effect.map(Random.next, (x) => 0.5 + x)
const exponential = Effect.map(Random.next, (x) => -Math.log(1 - x))
/** Pareto with infinite variance: one in a thousand takes 33 times as long as the mean. */
const heavy = Effect.map(Random.next, (x) => Math.min(50, 0.36 * (1 - x) ** (-1 / 1.5)))

const perSecond = ({ alone, slowness }: Downstream, n: number) => n / (alone * slowness(n))
const best = (downstream: Downstream, max = 64) =>
  Math.max(...Array.from({ length: max }, (_, i) => perSecond(downstream, i + 1)))

interface Run {
  readonly concurrency: Tunable.Tunable
  readonly adaptive: AdaptiveConcurrency.AdaptiveConcurrency
  readonly downstream: Ref.Ref<Downstream>
  /** Messages a second that succeed in a time from now. */
  readonly throughput: (over: Duration.DurationInput) => Effect.Effect<number>
  /** Of the calls in a time from now, the share that fails. */
  readonly failing: (over: Duration.DurationInput) => Effect.Effect<number>
}

/** A consumer with the controller, and a queue that is kept full unless `arrivals` says how many come a second. */
const running = (
  initial: Downstream,
  options: {
    readonly from?: number
    readonly arrivals?: number
    readonly timeout?: Duration.DurationInput
    readonly maxInFlight?: number
  } & Partial<AdaptiveConcurrency.Options> = {}
) =>
  Effect.gen(function* () {
    const { arrivals, from = 4, maxInFlight = 100, timeout, ...rest } = options
    const downstream = yield* Ref.make(initial)
    const memory = yield* MemoryQueue.make({ latency: "10 millis" })
    yield* Effect.gen(function* () {
      const { sent, visible } = yield* memory.stats
      yield* memory.send(numbered(arrivals ?? Math.max(0, 3000 - visible)).map((body) => `${sent}/${body}`))
    }).pipe(Effect.repeat(Schedule.spaced(arrivals === undefined ? "5 seconds" : "1 second")), Effect.forkScoped)
    const concurrency = yield* Tunable.make("concurrency", from)
    const consumer = yield* Consumer.make(memory, { maxInFlight })
    let calls = 0
    const freeAt: Array<number> = []
    const call = Effect.gen(function* () {
      const {
        admitted = Number.POSITIVE_INFINITY,
        alone,
        hanging,
        noise,
        refused,
        servers,
        slowness
      } = yield* downstream.get
      calls++
      if ((yield* Random.next) < (refused?.(calls) ?? 0)) return yield* new Overloaded()
      if (calls > admitted) {
        // It takes its time to be told so, and nothing of what there is to be had.
        calls--
        yield* Effect.sleep("100 millis").pipe(Effect.ensuring(Effect.sync(() => calls++)))
        return yield* new Overloaded()
      }
      if ((yield* Random.next) < (hanging?.(calls) ?? 0)) return yield* Effect.sleep("1 minute")
      const work = 1000 * alone * slowness(calls) * (yield* noise)
      if (servers === undefined) return yield* Effect.sleep(work)
      // First come, first served, by the server that is free first.
      const now = yield* Clock.currentTimeMillis
      const earliest = Math.min(...Array.from({ length: servers }, (_, i) => freeAt[i] ?? 0))
      const server = Array.from({ length: servers }, (_, i) => freeAt[i] ?? 0).indexOf(earliest)
      freeAt[server] = Math.max(now, earliest) + work
      yield* Effect.sleep(Math.max(now, earliest) + work - now)
    }).pipe(Effect.ensuring(Effect.sync(() => calls--)))
    const adaptive = yield* AdaptiveConcurrency.make(concurrency, consumer.figures, { max: 64, ...rest })
    yield* consumer.stream.pipe(
      Pipeline.process(() => call, { concurrency, timeout, retry: RetryPolicy.discard }),
      Stream.runDrain,
      Effect.forkScoped
    )
    return {
      concurrency,
      adaptive,
      downstream,
      throughput: (over) =>
        Effect.gen(function* () {
          const before = yield* consumer.stats
          yield* Effect.sleep(over)
          return ((yield* consumer.stats).handled - before.handled) / Duration.toSeconds(over)
        }),
      failing: (over) =>
        Effect.gen(function* () {
          const before = yield* consumer.stats
          yield* Effect.sleep(over)
          const after = yield* consumer.stats
          const failed = after.failed - before.failed
          return failed / Math.max(1, failed + after.handled - before.handled)
        })
    } satisfies Run
  })

/** Runs over seeds; between them the test runner is given its turn. */
const overSeeds =
  <E>(count: number, program: (seed: number) => Effect.Effect<unknown, E, Scope.Scope>) =>
  async () => {
    for (let from = 0; from < seeds({ short: 1, long: count }); from++) {
      Simulation.check({ seeds: 1, from, order: "fifo", maxWakes: 20_000_000 }, program)
      await setImmediate()
    }
  }

const good: Downstream = { alone: 0.4, slowness: usl(16), noise: even }

/** The throughput of each window, as a part of the best. */
const parts = (run: Run, downstream: Downstream, windows: number) =>
  Effect.map(Effect.replicateEffect(run.throughput("5 minutes"), windows), (rates) =>
    rates.map((rate) => rate / best(downstream))
  )
const atLeast = (parts: ReadonlyArray<number>, least: number, what: string) =>
  assert.isTrue(
    parts.every((part) => part >= least),
    `${what}: ${parts.map((part) => `${Math.round(100 * part)} %`).join(", ")} of the best`
  )

describe("on a downstream whose throughput is best at 16 and falls beyond", () => {
  for (const [name, from, noise] of [
    ["from below, with handlers that vary", 2, even],
    ["from far above, with handlers that vary a lot", 60, exponential]
  ] as const) {
    it(
      `settles within a quarter of the best, ${name}; stays there; and follows when the best halves, or the speed`,
      overSeeds(3, () =>
        Effect.gen(function* () {
          const downstream = { ...good, noise }
          const run = yield* running(downstream, { from })
          yield* Effect.sleep("8 minutes")
          atLeast(yield* parts(run, downstream, 2), 0.75, "settled")
          const halved = { ...downstream, slowness: usl(8) }
          yield* Ref.set(run.downstream, halved)
          yield* Effect.sleep("6 minutes")
          atLeast(yield* parts(run, halved, 1), 0.75, "best at 8")
          assert.isAtMost((yield* run.adaptive.state).concurrency, 16)
          const slow = { ...downstream, alone: 0.8 }
          yield* Ref.set(run.downstream, slow)
          yield* Effect.sleep("6 minutes")
          atLeast(yield* parts(run, slow, 1), 0.75, "best at 16, at half the speed")
        })
      ),
      300_000
    )
  }

  it(
    "is not fooled by a few handlers that take very long",
    overSeeds(2, () =>
      Effect.gen(function* () {
        const downstream = { ...good, noise: heavy }
        const run = yield* running(downstream, { from: 4 })
        yield* Effect.sleep("10 minutes")
        const rates = yield* parts(run, downstream, 4)
        atLeast([rates.reduce((a, b) => a + b) / rates.length], 0.75, "over 20 minutes")
      })
    ),
    300_000
  )
})

describe("on a downstream that serves 16 at once and lets the others wait", () => {
  it(
    "finds the 16, from too few and from far too many, and keeps no queue there",
    overSeeds(2, (seed) =>
      Effect.gen(function* () {
        const run = yield* running(
          { alone: 1, slowness: () => 1, noise: even, servers: 16 },
          { from: seed % 2 === 0 ? 60 : 3, every: "20 seconds" }
        )
        yield* Effect.sleep("20 minutes")
        for (let i = 0; i < 3; i++) {
          const part = (yield* run.throughput("5 minutes")) / 16
          assert.isAtLeast(part, 0.75)
          const { concurrency } = yield* run.adaptive.state
          assert.isTrue(concurrency >= 10 && concurrency <= 40, `${concurrency} slots`)
        }
      })
    ),
    300_000
  )
})

describe("errors", () => {
  const refusing = (above: number): Downstream => ({
    alone: 0.4,
    slowness: () => 1,
    noise: even,
    refused: (n) => (n > above ? 0.5 : 0)
  })

  it(
    "that are named as overload make it back off at once, and it goes on below",
    overSeeds(2, () =>
      Effect.gen(function* () {
        const run = yield* running(refusing(20), { from: 60, overload: ["Overloaded"] })
        const states: Array<AdaptiveConcurrency.State> = []
        yield* Effect.forkScoped(
          Stream.runForEach(run.adaptive.changes, (state) => Effect.sync(() => states.push(state)))
        )
        yield* Effect.sleep("2 minutes")
        assert.isTrue(states.some(({ _tag }) => _tag === "BackedOff"))
        assert.isAtMost((yield* run.adaptive.state).concurrency, 22)
        const rate = yield* run.throughput("10 minutes")
        assert.isAtLeast(rate, 0.75 * (20 / 0.4))
      })
    ),
    120_000
  )

  it(
    "of timeouts need not be named",
    overSeeds(2, () =>
      Effect.gen(function* () {
        // Over 12 at once, some calls hang: too few of them for the throughput to tell.
        const run = yield* running(
          { alone: 0.5, slowness: () => 1, noise: even, hanging: (n) => (n > 12 ? 0.1 : 0) },
          { from: 30, timeout: "1 second" }
        )
        const reasons: Array<string> = []
        yield* Effect.forkScoped(
          Stream.runForEach(run.adaptive.changes, ({ _tag, reason }) =>
            Effect.sync(() => (_tag === "BackedOff" ? reasons.push(reason) : 0))
          )
        )
        yield* Effect.sleep("2 minutes")
        assert.match(reasons[0] ?? "", /ended in overload/)
        assert.isAtMost((yield* run.adaptive.state).concurrency, 14)
        yield* Effect.sleep("5 minutes")
        assert.isAtLeast(yield* run.throughput("5 minutes"), 0.6 * (12 / 0.5))
      })
    ),
    120_000
  )

  it(
    "of a hard limit: it stays close below, and what is refused is little",
    overSeeds(2, () =>
      Effect.gen(function* () {
        const limit = 20
        const hard = { alone: 0.4, slowness: () => 1, noise: even, admitted: limit }
        const run = yield* running(hard, { from: 4, overload: ["Overloaded"] })
        yield* Effect.sleep("5 minutes")
        const refusals = yield* Effect.fork(run.failing("10 minutes"))
        const rates = yield* Effect.replicateEffect(run.throughput("5 minutes"), 2)
        atLeast(
          rates.map((rate) => rate / (limit / 0.4)),
          0.88,
          "a hard limit"
        )
        const refused = yield* Fiber.join(refusals)
        assert.isAtMost(refused, 0.05)
      })
    ),
    120_000
  )

  it(
    "of any other kind are not worth more work done, so that it stays where they are few",
    overSeeds(3, () =>
      Effect.gen(function* () {
        // Quick to fail: counted as done, more slots would look better and better.
        const run = yield* running(
          { alone: 0.4, slowness: () => 1, noise: even, refused: (n) => Math.min(0.45, Math.max(0, (n - 10) / 20)) },
          { from: 4, every: "5 seconds" }
        )
        yield* Effect.sleep("6 minutes")
        assert.isAtMost((yield* run.adaptive.state).concurrency, 24)
      })
    ),
    120_000
  )

  it(
    "of most handlers take it to its least, whatever they are",
    overSeeds(3, () =>
      Effect.gen(function* () {
        const run = yield* running({ ...good, refused: () => 0.9 }, { from: 32, min: 2 })
        yield* Effect.sleep("5 minutes")
        assert.strictEqual((yield* run.adaptive.state).concurrency, 2)
      })
    )
  )
})

describe("where its slots are not the limit", () => {
  it(
    "it holds: an idle queue, and one that has less than its slots could do, make it drift nowhere",
    overSeeds(2, (seed) =>
      Effect.gen(function* () {
        const run = yield* running(
          { alone: 0.4, slowness: () => 1, noise: exponential },
          { from: 12, arrivals: seed % 2 === 0 ? 0 : 15 }
        )
        const seen = new Set<number>()
        yield* Effect.forkScoped(
          Stream.runForEach(run.adaptive.changes, ({ concurrency }) => Effect.sync(() => seen.add(concurrency)))
        )
        yield* Effect.sleep("20 minutes")
        assert.deepStrictEqual([...seen], [12])
        const state = yield* run.adaptive.state
        assert.strictEqual(state._tag, "Held")
        assert.strictEqual(yield* run.concurrency.get, 12)
      })
    ),
    120_000
  )

  it(
    "it says so, and where permits are, it says that",
    overSeeds(2, () =>
      Effect.gen(function* () {
        const run = yield* running(good, { from: 30, maxInFlight: 10 })
        yield* Effect.sleep("2 minutes")
        const { _tag, concurrency, reason } = yield* run.adaptive.state
        assert.deepStrictEqual([_tag, concurrency], ["Held", 30])
        assert.include(reason, "maxInFlight")
      })
    )
  )
})

describe("the number", () => {
  it(
    "goes up and down by the clock, whenever it began, so that consumers do it together",
    overSeeds(2, () =>
      Effect.gen(function* () {
        const moved: Array<number> = []
        const began = (after: number) =>
          Effect.gen(function* () {
            yield* Effect.sleep(after)
            const run = yield* running(good, { from: 10 })
            yield* run.adaptive.changes.pipe(
              Stream.drop(1),
              Stream.runForEach(() => Effect.map(Clock.currentTimeMillis, (now) => moved.push(now % 10_000))),
              Effect.forkScoped
            )
            // Whether the slots are the more or the fewer of those that it tries, in each interval.
            yield* Effect.sleep(25_000 - after)
            return yield* Effect.forEach(numbered(30), () =>
              Effect.zipRight(
                Effect.sleep("10 seconds"),
                Effect.zipWith(run.concurrency.get, run.adaptive.state, (slots, { concurrency }) =>
                  Math.sign(slots - concurrency)
                )
              )
            )
          })
        const [one = [], other = []] = yield* Effect.all([began(0), began(13_700)], { concurrency: "unbounded" })
        assert.deepStrictEqual([...new Set(moved)], [0])
        const told = one.flatMap((sign, i) => (sign === 0 || other[i] === 0 ? [] : [sign === other[i]]))
        assert.isAbove(told.length, 20)
        assert.isAbove(told.filter((same) => same).length, 0.9 * told.length, `${one} and ${other}`)
      })
    ),
    120_000
  )

  it(
    "never leaves the bounds, and stays as it is when the scope has ended",
    overSeeds(3, () =>
      Effect.gen(function* () {
        const concurrency = yield* Tunable.make("concurrency", 3)
        const memory = yield* MemoryQueue.make()
        yield* memory.send(numbered(20_000))
        const consumer = yield* Consumer.make(memory)
        const seen = new Set<number>()
        concurrency.unsafeSubscribe(() => seen.add(concurrency.unsafeGet()))
        yield* consumer.stream.pipe(
          Pipeline.process(() => Effect.sleep("500 millis"), { concurrency }),
          Stream.runDrain,
          Effect.forkScoped
        )
        yield* Effect.scoped(
          Effect.zipRight(
            AdaptiveConcurrency.make(concurrency, consumer.figures, { min: 4, max: 12, every: "2 seconds" }),
            Effect.sleep("5 minutes")
          )
        )
        assert.isTrue([...seen].every((n) => n >= 4 && n <= 12))
        assert.isTrue(seen.has(12))
        const left = yield* concurrency.get
        yield* Effect.sleep("2 minutes")
        assert.strictEqual(yield* concurrency.get, left)
      })
    )
  )

  it(
    "and options that cannot work are refused, before anything is changed",
    overSeeds(1, () =>
      Effect.gen(function* () {
        const concurrency = yield* Tunable.make("concurrency", 4, { min: 1, max: 20 })
        const consumer = yield* Consumer.make(yield* MemoryQueue.make())
        const refused = (options: AdaptiveConcurrency.Options) =>
          Effect.map(
            Effect.either(AdaptiveConcurrency.make(concurrency, consumer.figures, options)),
            Either.match({ onLeft: ({ option }) => option, onRight: () => "made" })
          )
        assert.strictEqual(yield* refused({ max: 1 }), "max")
        assert.strictEqual(yield* refused({ max: 8, min: 8 }), "min")
        assert.strictEqual(yield* refused({ max: 8, every: "10 millis" }), "every")
        assert.strictEqual(yield* refused({ max: 8, tolerance: 5 }), "tolerance")
        assert.strictEqual(yield* refused({ max: 8, stage: -1 }), "stage")
        assert.strictEqual(yield* refused({ max: 21 }), "concurrency")
        assert.strictEqual(yield* concurrency.get, 4)
        assert.strictEqual(yield* refused({ max: 20 }), "made")
      })
    )
  )
})
