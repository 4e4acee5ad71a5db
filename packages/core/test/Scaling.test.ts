/** The decision alone, by figures of every kind; then its advice, against a fleet that follows it in virtual time. */
import { assert, describe, it } from "@effect/vitest"
import { Backlog, Consumer, Pipeline, Scaling } from "@millrace/core"
import { MemoryQueue, Simulation } from "@millrace/core/testing"
import { Chunk, Clock, Data, Duration, Effect, Either, FastCheck, Random, Stream } from "effect"
import { seeds } from "../../../test/long.js"
import { numbered, simulated } from "./support/index.js"

class ReadError extends Data.TaggedError("ReadError")<{ readonly fatal: boolean }> {}

const sample = (at: number, of: Partial<Backlog.Fresh> = {}): Backlog.Fresh => ({
  _tag: "Fresh",
  queue: "orders",
  at: at * 1000,
  visible: 0,
  inFlight: 0,
  delayed: 0,
  deadLetters: undefined,
  oldest: undefined,
  growth: 0,
  arrivals: { perSecond: 0, kind: "counted" },
  departures: undefined,
  timeToDrain: Duration.zero,
  ...of
})
const stale = (at: number): Backlog.Sample => ({
  _tag: "Stale",
  queue: "orders",
  at: at * 1000,
  error: "no network",
  last: undefined
})

const planned = (strategy: Scaling.Strategy, options: Scaling.Options) =>
  Effect.runSync(Scaling.plan(strategy, options))

interface Step {
  readonly sample: Backlog.Sample
  readonly running?: number | undefined
  readonly rate?: Scaling.Rate | undefined
  readonly groups?: number | undefined
}

/** All advice on a series of readings, where the fleet follows at once. */
const advised = (plan: Scaling.Plan, steps: ReadonlyArray<Step>, running = 1): ReadonlyArray<Scaling.Advice> => {
  let state = plan.start(running)
  return steps.map((step) => {
    const { groups, rate, running = state.wanted, sample } = step
    const [advice, after] = plan.next(state, { sample, running, rate, groups })
    state = after
    return advice
  })
}
const wanted = (advice: ReadonlyArray<Scaling.Advice>) => advice.map((one) => one.wanted)
const every10 = <A>(
  values: ReadonlyArray<A>,
  of: (value: A) => Omit<Step, "sample"> & { of: Partial<Backlog.Fresh> }
) =>
  values.map((value, i) => {
    const { of: fields, ...rest } = of(value)
    return { ...rest, sample: sample(i * 10, fields) }
  })

const two: Scaling.Rate = { most: 2, now: 2 }

describe("a strategy", () => {
  it("backlog per instance: as many consumers as divide the backlog into acceptable parts", () => {
    const plan = planned(Scaling.backlogPerInstance(100), { max: 50, scaleOutCooldown: 0 })
    const steps = every10([0, 100, 101, 1_500, 4_900], (visible) => ({ of: { visible } }))
    assert.deepStrictEqual(wanted(advised(plan, steps)), [1, 1, 2, 15, 49])
  })

  it("the same by a latency: AWS's example, 1,500 messages, 0.1 s each, 10 s acceptable: 100 an instance, 15 in all", () => {
    const plan = planned(Scaling.backlogPerInstance({ latency: "10 seconds" }), { max: 50 })
    const step = { sample: sample(0, { visible: 1_500 }), rate: { most: 10, now: undefined } }
    assert.deepStrictEqual(wanted(advised(plan, [step], 10)), [15])
  })

  it("time to drain: what arrives, and what waits by its time", () => {
    const plan = planned(Scaling.timeToDrain("10 minutes"), { max: 50 })
    const arrivals = { perSecond: 7, kind: "counted" } as const
    // 7 a second, and 6,000 in 600 seconds: 17 a second, by 2 each.
    const step = { sample: sample(0, { visible: 6_000, arrivals }), rate: two }
    const [advice] = advised(plan, [step])
    assert.strictEqual(advice?.demand, 8.5)
    assert.strictEqual(advice?.wanted, 9)
  })

  it("time to drain: arrivals that nobody counts are the growth and what is done", () => {
    const plan = planned(Scaling.timeToDrain("10 minutes"), { max: 50 })
    const step = {
      sample: sample(0, { visible: 600, arrivals: undefined, growth: 3 }),
      rate: { most: 2, now: 1.5 },
      running: 4
    }
    assert.strictEqual(advised(plan, [step])[0]?.demand, (3 + 4 * 1.5 + 1) / 2)
  })
})

interface Reading {
  readonly visible: number
  readonly perSecond: number
  readonly most: number
  readonly inFlight: number
  readonly groups: number | undefined
  readonly fresh: boolean
}
const reading: FastCheck.Arbitrary<Reading> = FastCheck.record({
  visible: FastCheck.nat(50_000),
  perSecond: FastCheck.double({ min: 0, max: 100, noNaN: true }),
  most: FastCheck.double({ min: 0.1, max: 50, noNaN: true }),
  inFlight: FastCheck.nat(50),
  groups: FastCheck.option(FastCheck.nat(40), { nil: undefined }),
  fresh: FastCheck.boolean()
})
const stepOf = (one: Reading, i: number): Step => ({
  sample: one.fresh
    ? sample(i * 10, {
        visible: one.visible,
        inFlight: one.inFlight,
        arrivals: { perSecond: one.perSecond, kind: "counted" }
      })
    : stale(i * 10),
  rate: { most: one.most, now: undefined },
  groups: one.groups
})
const strategy = FastCheck.constantFrom(
  Scaling.backlogPerInstance(50),
  Scaling.backlogPerInstance({ latency: "1 minute" }),
  Scaling.timeToDrain("5 minutes")
)
const bounds = FastCheck.tuple(FastCheck.nat(10), FastCheck.integer({ min: 1, max: 60 })).map(([min, more]) => ({
  min,
  max: min + more
}))
const readings = FastCheck.array(reading, { minLength: 1, maxLength: 80 })

describe("a decision, whatever the readings", () => {
  it("stays within its bounds, and changes nothing that it does not say", () => {
    FastCheck.assert(
      FastCheck.property(strategy, bounds, readings, FastCheck.nat(80), (strategy, { max, min }, all, running) => {
        const advice = advised(planned(strategy, { min, max }), all.map(stepOf), running)
        let before = Math.max(min, Math.min(max, running))
        for (const one of advice) {
          assert.isAtLeast(one.wanted, min)
          assert.isAtMost(one.wanted, max)
          assert.strictEqual(Math.sign(one.wanted - before), one._tag === "Out" ? 1 : one._tag === "In" ? -1 : 0)
          before = one.wanted
        }
      }),
      { numRuns: 500 }
    )
  })

  it("grows with the backlog: of two readings after the same past, the longer queue is never given fewer", () => {
    FastCheck.assert(
      FastCheck.property(strategy, bounds, readings, FastCheck.nat(50_000), (strategy, options, all, more) => {
        const plan = planned(strategy, options)
        const last = all.at(-1)
        if (last === undefined) return
        const steps = (visible: number) => [...all.slice(0, -1), { ...last, fresh: true, visible }].map(stepOf)
        const fewer = advised(plan, steps(last.visible)).at(-1)?.wanted ?? 0
        const longer = advised(plan, steps(last.visible + more)).at(-1)?.wanted ?? 0
        assert.isAtLeast(longer, fewer)
      }),
      { numRuns: 500 }
    )
  })

  it("gives what its target takes, where the bounds and the cooldowns allow it", () => {
    FastCheck.assert(
      FastCheck.property(bounds, readings, ({ max, min }, all) => {
        const steps = all.map(stepOf).map((step) => ({ ...step, groups: undefined }))
        const plan = planned(Scaling.timeToDrain("5 minutes"), { min, max, scaleOutCooldown: 0 })
        for (const [i, { sample: seen, wanted }] of advised(plan, steps).entries()) {
          const rate = steps[i]?.rate?.most ?? 0
          if (steps[i]?.sample._tag === "Stale" || seen === undefined || wanted === max) continue
          const spare = wanted * rate - (seen.arrivals?.perSecond ?? 0)
          // What waits is done in the time, with what arrives meanwhile.
          assert.isAtMost(seen.visible, spare * 300 + 1e-6)
        }
      }),
      { numRuns: 500 }
    )
  })

  it("keeps its cooldowns: no two additions within the one, and nothing taken away until the other is over", () => {
    FastCheck.assert(
      FastCheck.property(strategy, bounds, readings, (strategy, options, all) => {
        const changes = advised(
          planned(strategy, { ...options, scaleOutCooldown: "45 seconds", scaleInCooldown: "2 minutes" }),
          all.map(stepOf)
        ).filter(({ _tag }) => _tag === "Out" || _tag === "In")
        let changedAt = 0
        let outAt = Number.NEGATIVE_INFINITY
        for (const { _tag, at } of changes) {
          if (_tag === "Out") assert.isAtLeast(at - outAt, 45_000)
          if (_tag === "In") assert.isAtLeast(at - changedAt, 120_000)
          if (_tag === "Out") outAt = at
          changedAt = at
        }
      }),
      { numRuns: 500 }
    )
  })

  it("never goes beyond what the groups allow, while they are known and steady", () => {
    FastCheck.assert(
      FastCheck.property(
        strategy,
        readings,
        FastCheck.integer({ min: 1, max: 40 }),
        FastCheck.integer({ min: 1, max: 8 }),
        (strategy, all, groups, groupsPerConsumer) => {
          const plan = planned(strategy, { max: 60, groupsPerConsumer })
          const steps = all.map((one, i) => stepOf({ ...one, groups }, i))
          for (const one of advised(plan, steps)) {
            assert.isAtMost(one.wanted, Math.ceil(groups / groupsPerConsumer))
          }
        }
      ),
      { numRuns: 500 }
    )
  })
})

describe("a decision", () => {
  const perTen = (options: Partial<Scaling.Options> = {}) =>
    planned(Scaling.backlogPerInstance(10), { max: 20, ...options })

  it("consumers go only when all readings of five minutes called for fewer, and a fifth more than these is left", () => {
    const steps = every10([100, ...Array.from({ length: 80 }, (_, i) => (i === 20 ? 60 : 20))], (visible) => ({
      of: { visible }
    }))
    const advice = advised(perTen(), steps)
    const changes = advice.filter(({ _tag }) => _tag === "In" || _tag === "Out")
    // Ten at 0 s. The busiest reading after it, 60 messages at 210 s, calls for 6, and 7.2 are left; five minutes later
    // it is forgotten.
    assert.deepStrictEqual(
      changes.map(({ at, wanted }) => [at / 1000, wanted]),
      [
        [0, 10],
        [300, 8],
        [600, 3]
      ]
    )
  })

  it("nothing that wavers between the two levels moves it", () => {
    // 86 to 100 messages call for 9 and for 10; fewer than 10 are left only under 75.
    const steps = every10([100, ...Array.from({ length: 500 }, (_, i) => 86 + ((i * 7) % 15))], (visible) => ({
      of: { visible }
    }))
    assert.deepStrictEqual(new Set(wanted(advised(perTen(), steps))), new Set([10]))
  })

  it("a queue that cannot be read changes nothing, says so, and its time does not count as quiet", () => {
    const steps: ReadonlyArray<Step> = [
      { sample: sample(0, { visible: 100 }) },
      ...Array.from({ length: 100 }, (_, i) => ({ sample: stale((i + 1) * 10) })),
      ...Array.from({ length: 32 }, (_, i) => ({ sample: sample(1_010 + i * 10) }))
    ]
    const advice = advised(perTen(), steps)
    for (const one of advice.slice(1, 101)) {
      assert.deepInclude(one, { _tag: "Held", wanted: 10, reason: "the queue cannot be read" })
    }
    assert.strictEqual(advice.find(({ _tag }) => _tag === "In")?.at, 1_300_000)
  })

  it("a floor is advised once the queue could not be read for a minute, and no fewer are held", () => {
    const last = sample(0, { visible: 30 })
    const unread = (at: number): Step => ({
      sample: { _tag: "Stale", queue: "orders", at: at * 1000, error: "no network", last }
    })
    const steps = [{ sample: last }, unread(10), unread(50), unread(60), unread(70)]
    const advice = advised(perTen({ floor: 8 }), steps)
    assert.deepStrictEqual(wanted(advice), [3, 3, 3, 8, 8])
    assert.deepInclude(advice[3], {
      _tag: "Out",
      reason: "the queue cannot be read: no fewer than 8 meanwhile",
      demand: undefined
    })
    assert.deepInclude(advice[4], { _tag: "Held", reason: "the queue cannot be read" })
    assert.deepStrictEqual(wanted(advised(perTen({ floor: 2 }), steps)), [3, 3, 3, 3, 3])
  })

  it("where nothing has been read yet, the floor's minute begins with the first advice", () => {
    const steps = [100, 110, 150, 160, 170].map((at) => ({ sample: stale(at) }))
    assert.deepStrictEqual(wanted(advised(perTen({ floor: 8 }), steps)), [1, 1, 1, 8, 8])
  })

  it("those that were called back soon go later the next time, and as soon as ever once they stayed away", () => {
    // Five are called for, then none; from 420 s on five again, and none after it, in turns.
    const quiet = (readings: number) => Array.from({ length: readings }, () => 0)
    const values = [50, ...quiet(40), 50, ...quiet(80), 50, ...quiet(130), 50, ...quiet(600), 50, ...quiet(80)]
    const changes = advised(
      perTen(),
      every10(values, (visible) => ({ of: { visible } }))
    ).filter(({ _tag }) => _tag === "In" || _tag === "Out")
    const away = changes.flatMap(({ _tag, at }, i) => (_tag === "In" ? [(at - (changes[i - 1]?.at ?? 0)) / 1000] : []))
    assert.deepStrictEqual(away, [300, 600, 1_200, 1_200, 600])
  })

  it("a rate that is not known holds the number; from none, one is begun with to be measured", () => {
    const plan = planned(Scaling.timeToDrain("1 minute"), { min: 0, max: 9 })
    const full = { sample: sample(0, { visible: 1_000 }) }
    assert.deepInclude(advised(plan, [full], 3)[0], {
      _tag: "Held",
      wanted: 3,
      reason: "the rate of one consumer is not known yet"
    })
    const [first, second] = advised(plan, [full, { sample: sample(10, { visible: 1_000 }) }], 0)
    assert.deepInclude(first, { _tag: "Out", wanted: 1 })
    assert.deepInclude(second, { _tag: "Held", wanted: 1 })
    assert.deepInclude(advised(plan, [{ sample: sample(0) }], 0)[0], { _tag: "Held", wanted: 0 })
  })

  it("arrivals that nobody counts or measures hold the number, and it says what to give", () => {
    const plan = planned(Scaling.timeToDrain("1 minute"), { max: 9 })
    const rate = { most: 2, now: undefined }
    const [known, notYet] = advised(
      plan,
      [
        { sample: sample(0, { arrivals: undefined }), rate },
        { sample: sample(10, { arrivals: undefined, growth: undefined }), rate }
      ],
      3
    )
    assert.deepInclude(known, { _tag: "Held", wanted: 3 })
    assert.match(known?.reason ?? "", /let the backlog count what departs/)
    assert.deepInclude(notYet, { _tag: "Held", reason: "the rate of arrivals is not known yet" })
  })

  it("with a minimum of 0 the last goes when nothing waits, and not while a message is in flight", () => {
    const plan = perTen({ min: 0 })
    const held = every10(Array.from({ length: 100 }), () => ({ of: { inFlight: 1 } }))
    assert.strictEqual(advised(plan, held, 4).at(-1)?.wanted, 1)
    const empty = every10(Array.from({ length: 100 }), () => ({ of: {} }))
    assert.strictEqual(advised(plan, empty, 4).at(-1)?.wanted, 0)
  })

  it("consumers that the groups no longer keep busy go, once they have been too few for long enough", () => {
    const steps = Array.from({ length: 40 }, (_, i) => ({
      sample: sample(i * 10, { visible: 900 }),
      groups: i < 5 ? 10 : 3
    }))
    const advice = advised(perTen(), steps)
    assert.deepStrictEqual(new Set(wanted(advice)), new Set([10, 3]))
    // The last reading of ten groups was at 40 s.
    assert.strictEqual(advice.find(({ _tag }) => _tag === "In")?.at, 340_000)
  })

  it("is told as metrics: how many are wanted and run, and what waits for each, unless that could not be read", () => {
    const [none, fresh, unread] = advised(
      perTen({ min: 0 }),
      [
        { sample: sample(0, { visible: 7 }), running: 0 },
        { sample: sample(60, { visible: 90 }), running: 4 },
        {
          sample: { _tag: "Stale", queue: "orders", at: 70_000, error: "no network", last: sample(60, { visible: 90 }) }
        }
      ],
      0
    ).map((advice) => Object.fromEntries(Scaling.metricsOf(advice).map(({ name, value }) => [name, value])))
    assert.deepStrictEqual(none, { WantedInstances: 1, RunningInstances: 0, BacklogPerInstance: 7 })
    assert.deepStrictEqual(fresh, { WantedInstances: 9, RunningInstances: 4, BacklogPerInstance: 22.5 })
    assert.deepStrictEqual(unread, { WantedInstances: 9, RunningInstances: 9 })
  })

  it("says why", () => {
    const reasons = advised(perTen({ groupsPerConsumer: 2 }), [
      { sample: sample(0, { visible: 41 }) },
      { sample: sample(10, { visible: 90 }) },
      { sample: sample(70, { visible: 900 }) },
      { sample: sample(140, { visible: 900 }), groups: 5 }
    ]).map(({ reason }) => reason)
    assert.deepStrictEqual(reasons, [
      "41 messages wait and call for 4.1 consumers",
      "90 messages wait and call for 9 consumers; some were added a moment ago",
      "900 messages wait and call for 90 consumers; no more than 20 are allowed",
      "900 messages wait and call for 90 consumers; 5 groups keep no more than 3 busy"
    ])
  })

  it.each([
    [Scaling.backlogPerInstance(0), { max: 1 }, "backlogPerInstance"],
    [Scaling.backlogPerInstance({ latency: 0 }), { max: 1 }, "backlogPerInstance: latency"],
    [Scaling.timeToDrain(0), { max: 1 }, "timeToDrain"],
    [Scaling.timeToDrain("1 minute"), { max: 0 }, "max"],
    [Scaling.timeToDrain("1 minute"), { min: 3, max: 2 }, "min"],
    [Scaling.timeToDrain("1 minute"), { max: 2, scaleOutCooldown: "2 days" }, "scaleOutCooldown"],
    [Scaling.timeToDrain("1 minute"), { max: 2, scaleInCooldown: "2 days" }, "scaleInCooldown"],
    [Scaling.timeToDrain("1 minute"), { max: 2, floor: 3 }, "floor"],
    [Scaling.timeToDrain("1 minute"), { min: 2, max: 4, floor: 1 }, "floor"],
    [Scaling.timeToDrain("1 minute"), { max: 2, slack: -1 }, "slack"],
    [Scaling.timeToDrain("1 minute"), { max: 2, groupsPerConsumer: 0 }, "groupsPerConsumer"]
  ] as const)("refuses what cannot work: %#", (strategy, options, option) => {
    const refused = Effect.runSync(Effect.either(Scaling.plan(strategy, options)))
    assert.strictEqual(Either.isLeft(refused) ? refused.left.option : undefined, option)
  })
})

/**
 * Consumers of 2 a second each, and what arrives; the counts that the queue tells are late by up to a minute and off by up
 * to a tenth. A consumer takes half a minute to start. Steps once a second.
 */
const fleet = (arrivals: (at: number) => number) => {
  const history: Array<number> = [0]
  const world = {
    waiting: 0,
    done: 0,
    running: 1,
    consumerSeconds: 0,
    broken: undefined as ReadError | undefined,
    history
  }
  const starting: Array<{ readonly at: number; readonly wanted: number }> = []
  const counts = Effect.gen(function* () {
    if (world.broken !== undefined) return yield* world.broken
    const late = yield* Random.nextIntBetween(0, 61)
    const noise = yield* Random.nextRange(0.9, 1.1)
    return {
      visible: Math.round((history[Math.max(0, history.length - 1 - late)] ?? 0) * noise),
      inFlight: world.running,
      delayed: 0
    }
  })
  const step = (until: number) =>
    Effect.gen(function* () {
      for (let at = history.length; at <= until; at++) {
        yield* Effect.sleep("1 second")
        while (starting[0] !== undefined && starting[0].at + 30 <= at) world.running = starting.shift()?.wanted ?? 1
        world.waiting += arrivals(at)
        const done = Math.min(world.waiting, world.running * 2)
        world.waiting -= done
        world.done += done
        world.consumerSeconds += world.running
        history.push(world.waiting)
      }
    })
  const follow = ({ wanted }: Scaling.Advice) =>
    Effect.map(Clock.currentTimeMillis, (now) => {
      if (wanted < world.running) world.running = wanted
      else starting.push({ at: now / 1000, wanted })
    })
  const backlog = Backlog.make(
    {
      queue: "orders",
      counts,
      errorKind: (error: ReadError) => (error.fatal ? ("fatal" as const) : ("transient" as const))
    },
    { departed: Effect.sync(() => world.done) }
  )
  return { world, step, follow, backlog }
}

/**
 * AWS's target tracking on the backlog of each: averages of a minute; more as soon as one is over the target, fewer when all
 * of 15 minutes were a tenth under it, and no other number was set in these.
 */
const tracking = ({ backlog, follow, world }: ReturnType<typeof fleet>, target: number, max: number) =>
  Effect.gen(function* () {
    const said: Array<number> = []
    let wanted = world.running
    let changedAt = 0
    let minutes: ReadonlyArray<number> = []
    const set = (at: number, to: number, sample: Backlog.Fresh) => {
      if (to === wanted) return Effect.void
      said.push(to - wanted)
      wanted = to
      changedAt = at
      const advice = {
        _tag: "Keep",
        queue: "orders",
        at,
        wanted,
        reason: "",
        demand: undefined,
        running: 0,
        sample
      } as const
      return follow(advice)
    }
    yield* (yield* backlog).samples.pipe(
      Stream.filter((seen): seen is Backlog.Fresh => seen._tag === "Fresh"),
      Stream.grouped(6),
      Stream.runForEach((samples) => {
        const sample = Chunk.unsafeLast(samples)
        const each = [...samples].reduce((sum, { visible }) => sum + visible / 6, 0) / world.running
        minutes = [...minutes.slice(-14), each]
        const most = Math.max(...minutes)
        if (each > target) return set(sample.at, Math.min(max, Math.ceil((world.running * each) / target)), sample)
        return minutes.length === 15 && most < 0.9 * target && sample.at - changedAt >= 900_000
          ? set(sample.at, Math.max(1, Math.ceil((world.running * most) / target)), sample)
          : Effect.void
      }),
      Effect.forkScoped
    )
    return said
  })

/** What was advised, in the order of time, while the fleet follows. */
const led = (
  { backlog, follow, world }: ReturnType<typeof fleet>,
  strategy: Scaling.Strategy,
  options: Scaling.Options = { max: 30 }
) =>
  Effect.gen(function* () {
    const said: Array<Scaling.Advice> = []
    yield* Scaling.advice(yield* backlog, strategy, options, {
      rate: 2,
      running: Effect.sync(() => world.running)
    }).pipe(
      Scaling.changes,
      Stream.runForEach((advice) => {
        said.push(advice)
        return follow(advice)
      }),
      Effect.forkScoped
    )
    return said
  })

describe("a fleet that follows the advice", () => {
  it("does not flap at a steady load, noise and lag and all, by time to drain", () =>
    Simulation.checkInTurns(
      { seeds: seeds({ short: 3, long: 15 }) },
      Effect.gen(function* () {
        const orders = fleet(() => 11)
        const said = yield* led(orders, Scaling.timeToDrain("5 minutes"))
        yield* orders.step(3_600)
        const settled = said.length
        yield* orders.step(3 * 3_600)
        // Two hours: at most twice up to a spike of the noise, and back.
        assert.isAtMost(said.length - settled, 4)
        assert.isAtLeast(orders.world.running, 6)
        assert.isAtMost(orders.world.running, 9)
      })
    ))

  it("keeps near the acceptable backlog at a steady load, by backlog per instance", () =>
    Simulation.checkInTurns(
      { seeds: seeds({ short: 3, long: 15 }) },
      Effect.gen(function* () {
        const orders = fleet(() => 11)
        const said = yield* led(orders, Scaling.backlogPerInstance(120))
        yield* orders.step(3_600)
        const settled = said.length
        yield* orders.step(3 * 3_600)
        // It does not know of the load while nothing waits, so it goes down and comes back: the seldomer the oftener it did.
        const away = said.slice(settled).filter(({ _tag }) => _tag === "In")
        assert.isAtMost(away.length, 10)
        // 11 a second for the minute that the counts lag, the half that a consumer takes to start, and one to see it.
        const most = Math.max(...orders.world.history.slice(3_600))
        assert.isAtMost(most, 11 * 120 + 6 * 120)
      })
    ))

  it("turns round no oftener than AWS's target tracking does at the same target, with no more consumers and no longer queue", () =>
    Simulation.checkInTurns(
      { seeds: seeds({ short: 1, long: 2 }) },
      Effect.gen(function* () {
        const turns = (changes: ReadonlyArray<number>) =>
          changes.filter((change, i) => i > 0 && Math.sign(change) !== Math.sign(changes[i - 1] ?? change)).length
        const [ours, theirs] = [fleet(() => 11), fleet(() => 11)]
        const said = yield* led(ours, Scaling.backlogPerInstance(120))
        const tracked = yield* tracking(theirs, 120, 30)
        yield* Effect.all([ours.step(4 * 3_600), theirs.step(4 * 3_600)], { concurrency: "unbounded" })
        const changes = said
          .map(({ wanted }, i) => wanted - (said[i - 1]?.wanted ?? 1))
          .filter((change) => change !== 0)
        assert.isAtMost(turns(changes), turns(tracked))
        assert.isAtMost(ours.world.consumerSeconds, theirs.world.consumerSeconds)
        const longest = ({ history }: { readonly history: ReadonlyArray<number> }) => Math.max(...history.slice(3_600))
        assert.isAtMost(longest(ours.world), 1.2 * longest(theirs.world))
      })
    ))

  it("does not follow a load that sways by a third within twenty minutes, by time to drain", () =>
    Simulation.checkInTurns(
      { seeds: seeds({ short: 1, long: 2 }) },
      Effect.gen(function* () {
        const orders = fleet((at) => 14 + 5 * Math.sin((2 * Math.PI * at) / 1_200))
        const said = yield* led(orders, Scaling.timeToDrain("10 minutes"))
        yield* orders.step(2 * 3_600)
        const settled = said.length
        yield* orders.step(4 * 3_600)
        assert.isAtMost(said.slice(settled).filter(({ _tag }) => _tag === "In").length, 2)
      })
    ))

  it("works off a peak in its target time, and comes back to what the load takes", () =>
    Simulation.checkInTurns(
      { seeds: seeds({ short: 3, long: 15 }) },
      Effect.gen(function* () {
        // 4 a second, but 40 for ten minutes.
        const orders = fleet((at) => (at >= 1_800 && at < 2_400 ? 40 : 4))
        yield* led(orders, Scaling.timeToDrain("10 minutes"), { max: 60 })
        yield* orders.step(7_200)
        const { history, running } = orders.world
        assert.isAbove(Math.max(...history), 2_000)
        // The target, and what the counts lag and a consumer takes to start.
        assert.isAtMost(Math.max(...history.slice(2_400 + 600 + 120)), 200)
        assert.isAtLeast(running, 2)
        assert.isAtMost(running, 5)
      })
    ))

  it.each([false, true])("holds while the queue cannot be read (fatal: %s), and goes on after it", (fatal) =>
    Simulation.checkInTurns(
      { seeds: seeds({ short: 2, long: 5 }) },
      Effect.gen(function* () {
        const orders = fleet((at) => (at < 1_800 ? 10 : 30))
        const said = yield* led(orders, Scaling.timeToDrain("5 minutes"))
        yield* orders.step(1_800)
        orders.world.broken = new ReadError({ fatal })
        const { running } = orders.world
        yield* orders.step(3_000)
        assert.deepInclude(said.at(-1), { _tag: "Held", wanted: running, reason: "the queue cannot be read" })
        assert.strictEqual(orders.world.running, running)
        assert.isDefined(said.at(-1)?.sample)
        orders.world.broken = undefined
        yield* orders.step(4_800)
        assert.isAtLeast(orders.world.running, 15)
      })
    )
  )

  it("refuses a rate that cannot be", () => {
    const refused = Effect.gen(function* () {
      const backlog = yield* fleet(() => 1).backlog
      return yield* Stream.runDrain(Scaling.advice(backlog, Scaling.timeToDrain("1 minute"), { max: 2 }, { rate: 0 }))
    }).pipe(Effect.scoped, Effect.either, Effect.runSync)
    assert.strictEqual(Either.isLeft(refused) ? refused.left.option : undefined, "rate")
  })
})

describe("the rate of a consumer", () => {
  it(
    "is what it did, and what it would with all its slots busy; the latter is remembered",
    simulated(
      Effect.gen(function* () {
        const memory = yield* MemoryQueue.make()
        const consumer = yield* Consumer.make(memory, { maxInFlight: 40 })
        yield* consumer.stream.pipe(
          Pipeline.process(() => Effect.sleep("1 second"), { concurrency: 10 }),
          Stream.runDrain,
          Effect.forkScoped
        )
        let current = consumer
        const rate = yield* Scaling.measured(
          Effect.suspend(() => current.figures),
          { window: "1 minute" }
        )
        assert.isUndefined(yield* rate)
        yield* Effect.sleep("1 second")
        assert.isUndefined(yield* rate)
        // Half of what it could do: five a second.
        for (let i = 0; i < 120; i++) {
          yield* memory.send(numbered(5))
          yield* Effect.sleep("1 second")
          if (i % 10 === 0) yield* rate
        }
        const half = yield* rate
        assert.approximately(half?.now ?? 0, 5, 0.5)
        assert.approximately(half?.most ?? 0, 10, 0.5)
        yield* Effect.sleep("10 seconds")
        yield* rate
        yield* Effect.sleep("70 seconds")
        yield* rate
        yield* Effect.sleep("10 seconds")
        const idle = yield* rate
        assert.strictEqual(idle?.now, 0)
        assert.approximately(idle?.most ?? 0, 10, 0.5)
        yield* consumer.drain({ deadline: 0 })

        // Another in its place, as after a restart: its counts begin at zero.
        current = yield* Consumer.make(memory)
        assert.deepStrictEqual(yield* rate, { most: idle?.most ?? 0, now: 0 })
        yield* Effect.sleep("10 seconds")
        assert.deepStrictEqual(yield* rate, { most: idle?.most ?? 0, now: 0 })
      })
    )
  )
})
