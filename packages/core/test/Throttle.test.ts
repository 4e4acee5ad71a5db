import { assert, describe, it } from "@effect/vitest"
import { Backlog, Throttle } from "@millrace/core"
import { Simulation } from "@millrace/core/testing"
import { Clock, Data, Duration, Effect, Either, Random, Stream } from "effect"
import { seeds } from "../../../test/long.js"

class ReadError extends Data.TaggedError("ReadError")<{ readonly fatal: boolean }> {}

type Lag = "none" | "jitter" | "most"

/**
 * A producer that sends as its rate lets it, up to `most` a second, and a consumer of `speed` a second; the counts that
 * the queue tells are late and off by up to a tenth. Steps once a second.
 */
const plant = (options: { readonly most: number; readonly speed: (at: number) => number; readonly lag: Lag }) => {
  const history: Array<number> = [0]
  const world = { sent: 0, waiting: 0, calls: 0, broken: undefined as ReadError | undefined, history }
  const counts = Effect.gen(function* () {
    world.calls++
    if (world.broken !== undefined) return yield* world.broken
    const late = options.lag === "none" ? 0 : options.lag === "most" ? 60 : yield* Random.nextIntBetween(0, 61)
    const noise = yield* Random.nextRange(0.9, 1.1)
    const then = history[Math.max(0, history.length - 1 - late)] ?? 0
    return { visible: Math.round(then * noise), inFlight: 0, delayed: 0 }
  })
  /** How long the message at the head has waited, by what was sent and what has left: in order, and exactly. */
  const sentBy: Array<number> = [0]
  const age = () => {
    if (world.waiting < 1) return 0
    const head = sentBy.findIndex((sent) => sent > world.sent - world.waiting)
    return head < 0 ? 0 : history.length - head
  }
  const errorKind = (error: ReadError) => (error.fatal ? ("fatal" as const) : ("transient" as const))
  const step = (throttle: Throttle.Throttle, until: number) =>
    Effect.gen(function* () {
      for (let at = history.length; at <= until; at++) {
        yield* Effect.sleep("1 second")
        const sent = Math.min(options.most, throttle.rate.unsafeGet())
        world.sent += sent
        world.waiting = Math.max(0, world.waiting + sent - options.speed(at))
        history.push(world.waiting)
        sentBy.push(world.sent)
      }
    })
  return { ...world, world, age, source: { queue: "orders", counts, errorKind }, step }
}

const target = 200

describe("Throttle", () => {
  it.each(["none", "jitter", "most"] as const)(
    "20 a second against 2: the backlog comes to its target and stays, with noise and lag (%s)",
    (lag) =>
      Simulation.check(
        { seeds: seeds({ short: 6, long: 20 }) },
        Effect.gen(function* () {
          const { source, step, world } = plant({ most: 20, speed: () => 2, lag })
          const throttle = yield* Throttle.make(
            yield* Backlog.make(source),
            Throttle.targetBacklog(target, { max: 20 })
          )
          yield* step(throttle, 2_400)
          const settled = world.history.slice(900)
          assert.isAtLeast(Math.min(...settled), 0.7 * target)
          assert.isAtMost(Math.max(...settled), 1.3 * target)
          assert.isAtMost(Math.max(...world.history), 1.5 * target)
        })
      )
  )

  it("it follows a consumer that becomes three times as fast, then six times as slow", () =>
    Simulation.check(
      { seeds: seeds({ short: 5, long: 15 }) },
      Effect.gen(function* () {
        const speed = (at: number) => (at < 1_200 ? 2 : at < 2_400 ? 6 : 1)
        const { source, step, world } = plant({ most: 20, speed, lag: "jitter" })
        const throttle = yield* Throttle.make(yield* Backlog.make(source), Throttle.targetBacklog(600, { max: 20 }))
        yield* step(throttle, 3_900)
        for (const [from, until] of [
          [1_000, 1_200],
          [2_100, 2_400],
          [3_700, 3_900]
        ]) {
          const settled = world.history.slice(from, until)
          assert.isAtLeast(Math.min(...settled), 0.6 * 600)
          assert.isAtMost(Math.max(...settled), 1.4 * 600)
        }
      })
    ))

  it("consumers that were starved are found out: the rate goes up until the queue is no longer empty", () =>
    Simulation.check(
      { seeds: 10 },
      Effect.gen(function* () {
        const { source, step, world } = plant({ most: 1_000, speed: () => 50, lag: "jitter" })
        const throttle = yield* Throttle.make(
          yield* Backlog.make(source),
          Throttle.targetBacklog(1_500, { max: 1_000, initial: 1 })
        )
        yield* step(throttle, 2_400)
        const settled = world.history.slice(1_800)
        assert.isAtLeast(Math.min(...settled), 1_000)
        assert.isAtMost(Math.max(...settled), 2_000)
      })
    ))

  it("a producer that sends less than it may is counted, so that the rate does not run away from it", () =>
    Simulation.check(
      { seeds: 10 },
      Effect.gen(function* () {
        // It has 2 a second to send, as much as is consumed, with the target reached.
        const { source, step, world } = plant({ most: 2, speed: () => 2, lag: "jitter" })
        world.waiting = target
        world.history.fill(target)
        const backlog = yield* Backlog.make(source)
        const strategy = Throttle.targetBacklog(target, { max: 1_000, initial: 4 })
        const throttle = yield* Throttle.make(backlog, strategy, { sent: Effect.sync(() => world.sent) })
        yield* step(throttle, 900)
        assert.approximately(throttle.rate.unsafeGet(), 2, 1)
      })
    ))

  const reported = (seconds: () => number): Backlog.AgeSource => ({
    kind: "reported",
    age: Effect.sync(() => Duration.seconds(seconds()))
  })

  it.each([true, false])("no more waits than leaves within maxAge, as the speed changes (age known: %s)", (known) =>
    Simulation.check(
      { seeds: 10 },
      Effect.gen(function* () {
        const speed = (at: number) => (at < 1_800 ? 2 : 6)
        const { age, source, step, world } = plant({ most: 20, speed, lag: "jitter" })
        const backlog = yield* Backlog.make(source, known ? { oldest: reported(age) } : {})
        yield* step(
          yield* Throttle.make(backlog, Throttle.targetBacklog(5_000, { max: 20, maxAge: "2 minutes" })),
          1_800
        )
        const slow = world.history.slice(1_200)
        assert.isAtLeast(Math.min(...slow), 0.6 * 2 * 120)
        assert.isAtMost(Math.max(...slow), 1.4 * 2 * 120)
        assert.isAtMost(age(), 1.4 * 120)
      })
    )
  )

  it("where some wait longer than the rest, as behind a busy group, the age brings the backlog down further", () =>
    Simulation.check(
      { seeds: 5 },
      Effect.gen(function* () {
        const { age, source, step, world } = plant({ most: 20, speed: () => 4, lag: "jitter" })
        // The oldest is twice as old as it would be in order.
        const backlog = yield* Backlog.make(source, { oldest: reported(() => 2 * age()) })
        const throttle = yield* Throttle.make(backlog, Throttle.targetBacklog(5_000, { max: 20, maxAge: "4 minutes" }))
        yield* step(throttle, 2_400)
        const settled = world.history.slice(1_800)
        // By the rate alone it would be 4 a second for 240 seconds.
        assert.isAtMost(Math.max(...settled), 0.7 * 4 * 240)
        assert.isAtLeast(Math.min(...settled), 0.3 * 4 * 240)
      })
    ))

  it("stopAbove stops while the oldest is too old, until it is half as old", () =>
    Simulation.check(
      { seeds: 1 },
      Effect.gen(function* () {
        const ages = [0, 60, 61, 50, 31, 30, 0, 61]
        let i = 0
        const backlog = yield* Backlog.make(
          {
            queue: "orders",
            counts: Effect.succeed({ visible: 10, inFlight: 0, delayed: 0 }),
            errorKind: () => "transient" as const
          },
          { oldest: reported(() => ages[i++] ?? 0) }
        )
        const throttle = yield* Throttle.make(backlog, Throttle.stopAbove(100, { rate: 20, maxAge: "1 minute" }))
        const rates: Array<number> = []
        for (const _ of ages) {
          yield* Effect.sleep("1 second")
          rates.push(throttle.rate.unsafeGet())
          yield* Effect.sleep("9 seconds")
        }
        assert.deepStrictEqual(rates, [20, 20, 0, 0, 0, 20, 20, 0])
      })
    ))

  it("the rate stays within its bounds, and is left alone by changes that are too small", () =>
    Simulation.check(
      { seeds: 10 },
      Effect.gen(function* () {
        const { source, step } = plant({ most: 20, speed: (at) => (at < 900 ? 0 : 50), lag: "jitter" })
        const throttle = yield* Throttle.make(
          yield* Backlog.make(source),
          Throttle.targetBacklog(target, { min: 0.5, max: 8, deadband: 0.2 })
        )
        const rates: Array<number> = []
        yield* throttle.changes.pipe(
          Stream.runForEach(({ rate }) => Effect.sync(() => rates.push(rate))),
          Effect.forkScoped
        )
        yield* step(throttle, 1_800)
        assert.strictEqual(Math.min(...rates), 0.5)
        assert.strictEqual(Math.max(...rates), 8)
        for (const [i, rate] of rates.entries()) {
          const before = rates[i - 1] ?? 0
          if (i > 0 && rate > 0.5 && rate < 8) assert.isAbove(Math.abs(rate - before) / before, 0.2)
        }
      })
    ))

  it.each([
    [1, "given"],
    [3, "given"],
    [8, "given"],
    [1, "found"],
    [3, "found"],
    [8, "found"]
  ] as const)(
    "%i producers together keep the target, none making good the error of all: their number is %s",
    (producers, how) =>
      Simulation.check(
        { seeds: 3 },
        Effect.gen(function* () {
          const { source, world } = plant({ most: 0, speed: () => 0, lag: "jitter" })
          const of = Throttle.targetBacklog(1_000, {
            max: 60,
            ...(how === "given" ? { producers } : { initial: 1_000 / 120 / producers })
          })
          let departed = 0
          const backlog = yield* Backlog.make(source, how === "found" ? { departed: Effect.sync(() => departed) } : {})
          const sent: Array<number> = Array.from({ length: producers }, () => 0)
          const throttles = yield* Effect.forEach(sent, (_, i) =>
            Throttle.make(backlog, of, { sent: Effect.sync(() => sent[i] ?? 0) })
          )
          for (let at = 1; at <= 3_600; at++) {
            yield* Effect.sleep("1 second")
            throttles.forEach((throttle, i) => {
              sent[i] = (sent[i] ?? 0) + throttle.rate.unsafeGet()
              world.waiting += throttle.rate.unsafeGet()
            })
            departed += Math.min(20, world.waiting)
            world.waiting = Math.max(0, world.waiting - 20)
            world.history.push(world.waiting)
          }
          const settled = world.history.slice(900)
          const mean = settled.reduce((a, b) => a + b, 0) / settled.length / 1_000
          const says = `mean ${mean.toFixed(2)}, peak ${(Math.max(...world.history) / 1_000).toFixed(2)} of the target`
          assert.isTrue(mean >= 0.9 && mean <= 1.1, says)
          assert.isAtMost(Math.max(...world.history), 1_600, says)
        })
      )
  )

  it("a lone producer that pauses keeps its part, whatever noise there is where nothing arrives", () => {
    const { next } = Effect.runSync(Throttle.targetBacklog(1_000, { max: 60 }).control)
    let rate = 10
    let sent = 0
    const rates = Array.from({ length: 100 }, (_, i) => {
      const pauses = i >= 40
      sent += pauses ? 0 : 100
      // Half a minute of lag and a window of three: from 21 readings after the last send on, none is to be seen.
      const perSecond = !pauses ? 10 : i >= 65 && i % 2 === 0 ? 0.3 : 0
      const sample: Backlog.Fresh = {
        _tag: "Fresh",
        queue: "orders",
        at: i * 10_000,
        visible: 500,
        inFlight: 0,
        delayed: 0,
        deadLetters: undefined,
        oldest: undefined,
        growth: 0,
        arrivals: { perSecond, kind: "derived" },
        departures: undefined,
        timeToDrain: undefined
      }
      rate = next?.({ sample, sent, rate }) ?? rate
      return rate
    })
    // All of what is missing within the horizon: its part of it is all.
    for (const one of rates.slice(65)) assert.closeTo(one, 500 / 120, 0.01)
  })

  it("stopAbove stops over its limit, and begins again when half is left", () =>
    Simulation.check(
      { seeds: 1 },
      Effect.gen(function* () {
        const counts = [0, 100, 101, 80, 60, 50, 51, 99, 100, 101, 51]
        let i = 0
        const backlog = yield* Backlog.make({
          queue: "orders",
          counts: Effect.sync(() => ({ visible: counts[i++] ?? 0, inFlight: 0, delayed: 0 })),
          errorKind: () => "transient" as const
        })
        const throttle = yield* Throttle.make(backlog, Throttle.stopAbove(100, { rate: 20 }))
        const rates: Array<number> = []
        for (const _ of counts) {
          yield* Effect.sleep("1 second")
          rates.push(throttle.rate.unsafeGet())
          yield* Effect.sleep("9 seconds")
        }
        assert.deepStrictEqual(rates, [20, 20, 0, 0, 0, 20, 20, 20, 20, 0, 0])
      })
    ))

  it("constant never reads the queue", () =>
    Simulation.check(
      { seeds: 1 },
      Effect.gen(function* () {
        const { source, step, world } = plant({ most: 20, speed: () => 2, lag: "none" })
        const throttle = yield* Throttle.make(yield* Backlog.make(source), Throttle.constant(7))
        yield* step(throttle, 300)
        assert.strictEqual(throttle.rate.unsafeGet(), 7)
        assert.strictEqual(world.calls, 0)
      })
    ))

  it.each([
    ["a reading that fails", false],
    ["a fatal error", true]
  ])("%s: the last rate is held for two minutes, then it is the lowest, until the queue can be read", (_, fatal) =>
    Simulation.check(
      { seeds: 10 },
      Effect.gen(function* () {
        const { source, step, world } = plant({ most: 20, speed: () => 2, lag: "jitter" })
        const throttle = yield* Throttle.make(
          yield* Backlog.make(source),
          Throttle.targetBacklog(target, { min: 0.25, max: 20 })
        )
        const told: Array<string> = []
        yield* throttle.changes.pipe(
          Stream.map(({ _tag }) => _tag),
          Stream.changes,
          Stream.runForEach((tag) => Effect.sync(() => told.push(tag))),
          Effect.forkScoped
        )
        yield* step(throttle, 900)
        const rate = throttle.rate.unsafeGet()
        world.broken = new ReadError({ fatal })
        yield* step(throttle, 1_005)
        const held = yield* throttle.status
        assert.strictEqual(held._tag, "Holding")
        assert.isAbove(held.rate, 1)
        assert.strictEqual(held.rate, throttle.rate.unsafeGet())
        assert.approximately(held.rate, rate, rate)
        yield* step(throttle, 1_025)
        assert.deepStrictEqual(yield* throttle.status, { _tag: "Blind", rate: 0.25, error: world.broken })
        assert.strictEqual(throttle.rate.unsafeGet(), 0.25)
        world.broken = undefined
        yield* step(throttle, 3_000)
        assert.deepStrictEqual(told, ["Steering", "Holding", "Blind", "Steering"])
        assert.isAtLeast(Math.min(...world.history.slice(2_400)), 0.7 * target)
        assert.isAtMost(Math.max(...world.history.slice(2_400)), 1.3 * target)
      })
    )
  )

  it("a reading that never ends counts as one that fails", () =>
    Simulation.check(
      { seeds: 5 },
      Effect.gen(function* () {
        const backlog = yield* Backlog.make({
          queue: "orders",
          counts: Effect.never,
          errorKind: () => "transient" as const
        })
        const throttle = yield* Throttle.make(backlog, Throttle.stopAbove(100, { rate: 20 }), { holdFor: "1 minute" })
        yield* Effect.sleep("59 seconds")
        assert.strictEqual(throttle.rate.unsafeGet(), 20)
        yield* Effect.sleep("2 seconds")
        assert.strictEqual(throttle.rate.unsafeGet(), 0)
      })
    ))

  it("nothing steers any more when the scope is closed", () =>
    Simulation.check(
      { seeds: 5, leaks: "fail" },
      Effect.gen(function* () {
        const { source, world } = plant({ most: 20, speed: () => 2, lag: "none" })
        const backlog = yield* Backlog.make(source)
        yield* Effect.scoped(
          Effect.zipRight(Throttle.make(backlog, Throttle.targetBacklog(10, { max: 20 })), Effect.sleep("5 minutes"))
        )
        const calls = world.calls
        assert.isAbove(calls, 10)
        yield* Effect.sleep("5 minutes")
        assert.strictEqual(world.calls, calls)
        assert.strictEqual(yield* Clock.currentTimeMillis, 600_000)
      })
    ))

  it.each([
    [Throttle.constant(-1), "constant"],
    [Throttle.stopAbove(10, { rate: 1, resumeAt: 11 }), "resumeAt"],
    [Throttle.stopAbove(10, { rate: 1, maxAge: 0 }), "maxAge"],
    [Throttle.targetBacklog(10, { max: 1, maxAge: Duration.infinity }), "maxAge"],
    [Throttle.targetBacklog(0, { max: 1 }), "targetBacklog"],
    [Throttle.targetBacklog(10, { max: 1, min: 2 }), "min"],
    [Throttle.targetBacklog(10, { max: 1, initial: 2 }), "initial"],
    [Throttle.targetBacklog(10, { max: 1, horizon: Duration.zero }), "horizon"]
  ] as const)("what cannot work is refused: %#", (strategy, option) => {
    const { source } = plant({ most: 1, speed: () => 1, lag: "none" })
    const made = Effect.flatMap(Backlog.make(source), (backlog) => Throttle.make(backlog, strategy))
    const refused = Effect.runSync(Effect.scoped(Effect.either(made)))
    assert.strictEqual(Either.isLeft(refused) ? refused.left.option : undefined, option)
  })
})
