/**
 * How many consumers a queue needs: advice from its backlog, the rate of one consumer and what is to be reached. It
 * starts and stops nothing by itself; whoever runs the consumers follows it.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import type * as Backlog from "./Backlog.js"
import * as Figures from "./Figures.js"
import * as InvalidOptions from "./InvalidOptions.js"

/** What one consumer does, in messages a second. */
export interface Rate {
  /** With all its slots busy. */
  readonly most: number
  /** At present; `undefined` where that is not measured. */
  readonly now: number | undefined
}

/** What is known when the queue has been read. */
export interface Observed {
  readonly sample: Backlog.Fresh
  /** Consumers that run. */
  readonly running: number
  /** Of one of them; `undefined` while it is not known. */
  readonly rate: Rate | undefined
}

/** How many consumers a reading calls for, as a real number; or what must be known before that can be said. */
export type Demand = number | { readonly unknown: string }

/** A value: it can be used for many queues. Options that cannot work are refused when the advice begins. */
export interface Strategy {
  readonly name: string
  /** @internal */
  readonly ready: Effect.Effect<(observed: Observed) => Demand, InvalidOptions.InvalidOptions>
}

/** A strategy of one's own. */
export const make = (name: string, demand: (observed: Observed) => Demand): Strategy => ({
  name,
  ready: Effect.succeed(demand)
})

const rateUnknown: Demand = { unknown: "the rate of one consumer is not known yet" }

/**
 * So many messages may wait for each consumer that runs: a number, or as many as one consumer does in `latency`, by its
 * measured rate. It looks at nothing else: while nothing waits it takes consumers away, whatever arrives, and brings them
 * back once enough wait. Where the rate of arrivals is known, `timeToDrain` is steadier.
 *
 * AWS's rule, which calls the number the acceptable backlog per instance.
 *
 * @see https://docs.aws.amazon.com/autoscaling/ec2/userguide/as-using-sqs-queue.html
 */
export const backlogPerInstance = (acceptable: number | { readonly latency: Duration.DurationInput }): Strategy => ({
  name: "backlogPerInstance",
  ready:
    typeof acceptable === "number"
      ? Effect.map(
          InvalidOptions.number("backlogPerInstance", acceptable, { min: 0.001 }),
          (each) =>
            ({ sample }) =>
              sample.visible / each
        )
      : Effect.map(
          InvalidOptions.duration("backlogPerInstance: latency", acceptable.latency, { min: "1 second", max: "1 day" }),
          (latency) =>
            ({ rate, sample }) =>
              sample.visible === 0
                ? 0
                : rate === undefined
                  ? rateUnknown
                  : sample.visible / (rate.most * Duration.toSeconds(latency))
        )
})

/**
 * What waits is to be done within `target`, and what arrives meanwhile too: (arrivals + backlog / `target`) / rate of one.
 * Under a steady load the number is steady. Arrivals are those of the backlog, where it counts what arrived or departed,
 * else its growth and what the consumers do by their measured rate; with neither the number is held.
 */
export const timeToDrain = (target: Duration.DurationInput): Strategy => ({
  name: "timeToDrain",
  ready: Effect.map(
    InvalidOptions.duration("timeToDrain", target, { min: "1 second", max: "1 day" }),
    (within) =>
      ({ rate, running, sample }) => {
        if (rate === undefined) return rateUnknown
        const { arrivals, growth, visible } = sample
        const arriving =
          arrivals?.perSecond ??
          (growth === undefined || rate.now === undefined ? undefined : Math.max(0, growth + running * rate.now))
        return arriving !== undefined
          ? (arriving + visible / Duration.toSeconds(within)) / rate.most
          : growth === undefined
            ? { unknown: "the rate of arrivals is not known yet" }
            : { unknown: "the rate of arrivals is not known: let the backlog count what departs, or measure the rate" }
      }
  )
})

export interface Options {
  /** The fewest consumers. With 0 the last one goes when nothing waits or is in flight. Default 1. */
  readonly min?: number | undefined
  /** The most. */
  readonly max: number
  /**
   * The fewest once the queue could not be read for a minute, since the last reading or, where there has been none, the
   * first advice: nobody would see a crowd that comes just then. From `min` to `max`. Default `min`: the number is held.
   */
  readonly floor?: number | undefined
  /** After more consumers were advised, how long until still more may be. Default 1 minute. */
  readonly scaleOutCooldown?: Duration.DurationInput | undefined
  /**
   * Fewer are advised only when every reading of this time has called for fewer, and no other number was advised within
   * it. Default 5 minutes. It is damped: twice as long, and then four times, where those that went were called back within
   * three times of it; half again once they have stayed away for that long.
   */
  readonly scaleInCooldown?: Duration.DurationInput | undefined
  /**
   * How much more than is called for must be left when consumers go, as a part of it: the distance between the two levels
   * at which they come and go. Default 0.2.
   */
  readonly slack?: number | undefined
  /**
   * On ordered queues: how many groups have messages, as far as somebody knows. One group is worked on by one handler at
   * a time, so that more consumers than groups find nothing to do. `undefined`: not known.
   */
  readonly groups?: Effect.Effect<number | undefined> | undefined
  /** How many groups one consumer works on at a time: its slots. Default 1. */
  readonly groupsPerConsumer?: number | undefined
}

const checks: InvalidOptions.Checks<Options> = {
  min: InvalidOptions.aWholeNumber({ min: 0 }),
  max: InvalidOptions.required(InvalidOptions.aWholeNumber({ min: 1 })),
  floor: InvalidOptions.aWholeNumber({ min: 0 }),
  scaleOutCooldown: InvalidOptions.time({ max: "1 day" }),
  scaleInCooldown: InvalidOptions.time({ max: "1 day" }),
  slack: InvalidOptions.aNumber({ min: 0, max: 10 }),
  groups: InvalidOptions.effect,
  groupsPerConsumer: InvalidOptions.aWholeNumber({ min: 1 })
}

const strategyCheck = InvalidOptions.having('a strategy, such as Scaling.timeToDrain("10 minutes")', "ready")

/** What is known of the fleet. */
export interface Fleet {
  /** Consumers that run. Default: as many as were advised. */
  readonly running?: Effect.Effect<number> | undefined
  /** Of one consumer: a number known beforehand, of messages a second, or as `measured`. Default: not known. */
  readonly rate?: number | Effect.Effect<Rate | undefined> | undefined
}

const fleetChecks: InvalidOptions.Checks<Fleet> = {
  running: InvalidOptions.effect,
  rate: InvalidOptions.either(InvalidOptions.aNumber({ min: 0.000_001 }), InvalidOptions.effect)
}

/** How many consumers there should be, and why. */
export interface Advice {
  /**
   * - `Out`, `In`: more, or fewer, than before.
   * - `Keep`: as many as before.
   * - `Held`: as many as before, because what is needed to say more is not known.
   */
  readonly _tag: "Out" | "In" | "Keep" | "Held"
  readonly queue: string
  /** In milliseconds since the epoch. */
  readonly at: number
  readonly wanted: number
  /** In a sentence, without the name of the queue. */
  readonly reason: string
  /** What the reading called for, without bounds and cooldowns; `undefined` where that is not known. */
  readonly demand: number | undefined
  readonly running: number
  /** The last that was read; `undefined` where nothing has been. */
  readonly sample: Backlog.Fresh | undefined
}

/** One value of an advice. */
export interface Measured {
  readonly name: "WantedInstances" | "RunningInstances" | "BacklogPerInstance"
  readonly unit: "Count"
  readonly value: number
}

/**
 * An advice as metrics, to be published where an autoscaler looks for them. `BacklogPerInstance` is the messages that wait for
 * each consumer that runs, which AWS's target tracking goes by; where the queue could not be read it is left out, rather than
 * told anew from an old reading.
 */
export const metricsOf = ({ at, running, sample, wanted }: Advice): ReadonlyArray<Measured> => [
  { name: "WantedInstances", unit: "Count", value: wanted },
  { name: "RunningInstances", unit: "Count", value: running },
  ...(sample?.at === at
    ? [{ name: "BacklogPerInstance", unit: "Count", value: sample.visible / Math.max(1, running) } as const]
    : [])
]

/** What is remembered from one reading to the next. Times are in milliseconds. */
export interface State {
  readonly wanted: number
  /** When the first sample came, stale ones too, when the last one did, and when more were advised last. */
  readonly begunAt: number | undefined
  readonly at: number | undefined
  readonly outAt: number | undefined
  /** How long the backlog has been seen, gaps apart, and how long it had been when another number was advised last. */
  readonly seen: number
  readonly changedAtSeen: number
  /** How long it had been when fewer were advised last, and how often `scaleInCooldown` must pass before they are again. */
  readonly inAtSeen: number | undefined
  readonly damping: number
  /** What the readings of the last damped `scaleInCooldown` of that time called for, and the most that their groups allowed. */
  readonly recent: ReadonlyArray<{ readonly seen: number; readonly demand: number; readonly most: number }>
}

/** What a decision is made from: a sample, stale or fresh, and what is known of the fleet at that time. */
export interface Seen {
  readonly sample: Backlog.Sample
  readonly running: number
  readonly rate: Rate | undefined
  readonly groups: number | undefined
}

/** The decision, apart from where its figures come from: `next` is pure. */
export interface Plan {
  /** With so many consumers, brought within the bounds. */
  readonly start: (running: number) => State
  readonly next: (state: State, seen: Seen) => readonly [Advice, State]
}

/** The most that a cooldown is lengthened to, and within how many of them those that went are called back too soon. */
const mostDamping = 4
const tooSoon = 3

/** A queue that could not be read for so long has a crowd that nobody sees, for all that is known; in milliseconds. */
const unseen = 60_000

/** Calls for a consumer, and for no work of it. */
const least = 1e-9
const consumers = (n: number) => (n === 0 ? "none" : n <= 1 ? "1 consumer" : `${Number(n.toFixed(1))} consumers`)

/** Checks the options. Fails with `InvalidOptions` where one cannot work. */
export const plan = (strategy: Strategy, options: Options): Effect.Effect<Plan, InvalidOptions.InvalidOptions> =>
  Effect.gen(function* () {
    yield* InvalidOptions.argument("strategy", strategy, strategyCheck)
    yield* InvalidOptions.check("scaling", options, checks)
    const demandOf = yield* strategy.ready
    const { groupsPerConsumer: perConsumer = 1, max, slack = 0.2 } = options
    const min = yield* InvalidOptions.wholeNumber("min", options.min ?? Math.min(1, max), { min: 0, max })
    const floor = yield* InvalidOptions.wholeNumber("floor", options.floor ?? min, { min, max })
    const outCooldown = Duration.toMillis(options.scaleOutCooldown ?? "1 minute")
    const inCooldown = Duration.toMillis(options.scaleInCooldown ?? "5 minutes")

    const next: Plan["next"] = (state, { groups, rate, running, sample }) => {
      const { at, queue } = sample
      const fresh = sample._tag === "Fresh" ? sample : sample.last
      const advise = (_tag: Advice["_tag"], wanted: number, reason: string, demand?: number): Advice => ({
        _tag,
        queue,
        at,
        wanted,
        reason,
        demand,
        running,
        sample: fresh
      })
      const begunAt = state.begunAt ?? at
      const blind: State = { ...state, begunAt, at }
      if (sample._tag === "Stale") {
        return state.wanted >= floor || at - (fresh?.at ?? begunAt) < unseen
          ? [advise("Held", state.wanted, "the queue cannot be read"), blind]
          : [
              advise("Out", floor, `the queue cannot be read: no fewer than ${floor} meanwhile`),
              { ...blind, wanted: floor, outAt: at, changedAtSeen: state.seen }
            ]
      }
      const called = demandOf({ sample, running, rate })
      if (typeof called !== "number") {
        // The first consumer is there to be measured.
        return state.wanted === 0 && sample.visible > 0
          ? [
              advise("Out", 1, `${called.unknown}: one consumer to begin with`),
              { ...blind, wanted: 1, outAt: at, changedAtSeen: state.seen }
            ]
          : [advise("Held", state.wanted, called.unknown), blind]
      }
      // A lease is kept by the consumer that holds it: while one is in flight the last does not go.
      const demand = sample.inFlight > 0 ? Math.max(called, least) : called
      const allowed = groups === undefined ? Infinity : Math.ceil(Math.max(1, groups) / perConsumer)
      const most = Math.max(min, Math.min(max, allowed))
      const seen = state.seen + (at - (state.at ?? at))
      const cooldown = inCooldown * state.damping
      const reading = { seen, demand, most }
      const recent = [...state.recent.filter((one) => one.seen > seen - mostDamping * inCooldown), reading]
      const keep: State = { ...blind, seen, recent }
      const away = state.inAtSeen === undefined ? undefined : seen - state.inAtSeen
      const stayed = away !== undefined && away >= tooSoon * cooldown
      const damping = stayed ? Math.max(1, state.damping / 2) : state.damping
      const up = Math.max(min, Math.min(most, Math.ceil(demand)))
      // What the busiest reading called for, and some more: else they would be called back at once.
      const judged = recent.filter((one) => one === reading || one.seen > seen - cooldown)
      const busiest = Math.ceil(Math.max(...judged.map((one) => one.demand)) * (1 + slack))
      const down = Math.max(min, Math.min(Math.max(...judged.map((one) => one.most)), busiest))
      const why =
        `${sample.visible} messages wait and call for ${consumers(demand)}` +
        (Math.ceil(demand) <= most
          ? ""
          : allowed < max
            ? `; ${groups} groups keep no more than ${most} busy`
            : `; no more than ${max} are allowed`)
      if (up > state.wanted) {
        return state.outAt !== undefined && at - state.outAt < outCooldown
          ? [advise("Keep", state.wanted, `${why}; some were added a moment ago`, demand), keep]
          : [
              advise("Out", up, why, demand),
              {
                ...keep,
                wanted: up,
                outAt: at,
                changedAtSeen: seen,
                inAtSeen: undefined,
                // Called back, and too soon.
                damping: away === undefined || stayed ? damping : Math.min(mostDamping, 2 * damping)
              }
            ]
      }
      return down < state.wanted && seen - state.changedAtSeen >= cooldown
        ? [advise("In", down, why, demand), { ...keep, wanted: down, changedAtSeen: seen, inAtSeen: seen, damping }]
        : [advise("Keep", state.wanted, why, demand), keep]
    }
    return {
      start: (running) => ({
        wanted: Math.max(min, Math.min(max, Math.round(running))),
        begunAt: undefined,
        at: undefined,
        outAt: undefined,
        seen: 0,
        changedAtSeen: 0,
        inAtSeen: undefined,
        damping: 1,
        recent: []
      }),
      next
    }
  })

/**
 * Advice at each reading of a backlog, the first at once, for as long as the stream runs. While the queue cannot be read,
 * or the rate is not known, the number stays and the advice says why; where the samples have ended by a fatal error they
 * are begun again every minute.
 *
 * Fails with `InvalidOptions` where an option, or one of the strategy's, cannot work. Costs what the backlog costs.
 *
 * @example
 * const backlog = yield* SqsBacklog.make("orders")
 * yield* Scaling.advice(backlog, Scaling.timeToDrain("10 minutes"), { max: 20 }, { rate: 12 }).pipe(
 *   Stream.runForEach(({ wanted }) => setDesiredCount(wanted))
 * )
 */
export const advice = <E>(
  backlog: Backlog.Backlog<E>,
  strategy: Strategy,
  options: Options,
  fleet: Fleet = {}
): Stream.Stream<Advice, InvalidOptions.InvalidOptions> =>
  Stream.unwrap(
    Effect.gen(function* () {
      const { next, start } = yield* plan(strategy, options)
      yield* InvalidOptions.check("a fleet", fleet, fleetChecks)
      const { rate: given } = fleet
      const known = typeof given === "number" ? given : undefined
      let last: Backlog.Fresh | undefined
      let state: State | undefined
      const see = (sample: Backlog.Sample) =>
        Effect.gen(function* () {
          if (sample._tag === "Fresh") last = sample
          const running = yield* fleet.running ?? Effect.succeed(state?.wanted ?? options.min ?? 1)
          const rate =
            known !== undefined
              ? { most: known, now: undefined }
              : given === undefined || typeof given === "number"
                ? undefined
                : yield* given
          const groups = options.groups && (yield* options.groups)
          const [said, after] = next(state ?? start(running), { sample, running, rate, groups })
          state = after
          return said
        })
      const samples = (): Stream.Stream<Backlog.Sample> =>
        Stream.catchAll(backlog.samples, (error) =>
          Stream.concat(
            Stream.fromEffect(
              Effect.clockWith((clock) =>
                Effect.map(
                  clock.currentTimeMillis,
                  (at): Backlog.Sample => ({ _tag: "Stale", queue: backlog.queue, at, error, last })
                )
              )
            ),
            Stream.unwrap(Effect.as(Effect.sleep("1 minute"), Stream.suspend(samples)))
          )
        )
      return Stream.mapEffect(samples(), see)
    })
  )

/** Advice that differs from the one before: in the number, or in whether it is held. The first is among them. */
export const changes = <E, R>(advised: Stream.Stream<Advice, E, R>): Stream.Stream<Advice, E, R> =>
  Stream.changesWith(
    advised,
    (before, now) => before.wanted === now.wanted && (before._tag === "Held") === (now._tag === "Held")
  )

export interface MeasuredOptions {
  /** Over how long the rates are taken, from 10 seconds on. Default 3 minutes. */
  readonly window?: Duration.DurationInput | undefined
}

/**
 * The rate of a running consumer, from its figures: what it acked in the last `window`, and what it would have, had the
 * busiest of its stages had no free slot. The latter is remembered while nothing is done, and across a restart;
 * `undefined` until something was. A handler that becomes slower as more run at once does less than this says.
 *
 * Read it at intervals, as `advice` does; it costs no call.
 */
export const measured = (
  figures: Effect.Effect<Figures.Figures>,
  options: MeasuredOptions = {}
): Effect.Effect<Effect.Effect<Rate | undefined>, InvalidOptions.InvalidOptions> =>
  Effect.map(
    InvalidOptions.check("Scaling.measured", options, {
      window: InvalidOptions.time({ min: "10 seconds", max: "1 day" })
    }),
    () => {
      const window = Duration.toMillis(options.window ?? "3 minutes")
      let readings: ReadonlyArray<Figures.Figures> = []
      let most: number | undefined
      return Effect.map(figures, (now) => {
        const kept = readings.filter(({ at, startedAt }) => startedAt === now.startedAt && at >= now.at - window)
        const first = kept[0]
        readings = [...kept, now]
        if (first === undefined || first.at === now.at) return most === undefined ? undefined : { most, now: 0 }
        const { seconds, stages, stats } = Figures.since(first, now)
        const done = stats.acked / seconds
        const busy = Math.max(0, ...stages.map((stage) => stage.busy))
        if (done > 0 && busy > 0) most = done / Math.min(1, busy)
        return most === undefined ? undefined : { most, now: done }
      })
    }
  )
