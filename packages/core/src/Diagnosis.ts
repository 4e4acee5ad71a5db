/**
 * Why the queue is behind: from what a consumer measures of itself, samples of the backlog and the load of the process,
 * a ranked list of findings, each with its evidence in numbers, what to change, and why that works.
 *
 * All is reckoned in slots. The rate that is required (what comes, and the backlog cleared in time) takes so many of
 * them; so many did useful work. What is missing was idle for want of messages, spent on runs that failed, or on work
 * that took longer than it used to, or was never there. The score of a finding is the part of it that it explains.
 */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as PubSub from "effect/PubSub"
import * as Ref from "effect/Ref"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type * as Backlog from "./Backlog.js"
import * as Figures from "./Figures.js"
import * as InvalidOptions from "./InvalidOptions.js"
import { diagnose } from "./internal/advise/diagnose.js"
import type { Diagnosis } from "./internal/advise/finding.js"
import type { Limits } from "./internal/advise/known.js"
import { isWell } from "./internal/advise/norm.js"
import { type Probe, probeOf, remember } from "./internal/advise/probes.js"
import { busiestOf } from "./internal/advise/slots.js"
import { forkScoped } from "./internal/effect/fork.js"
import { type Load, ProcessLoad } from "./ProcessLoad.js"

export type {
  Cause,
  Change,
  CircuitOpen,
  ConnectionsExhausted,
  CpuBound,
  Diagnosis,
  Finding,
  Found,
  HotGroup,
  InFlightWindowFull,
  IntakeTooSmall,
  Lag,
  NoisyTenant,
  Paused,
  ProducerBurst,
  RateLimited,
  Retries,
  SaturatedDownstream,
  Severity,
  SlowCalls,
  SlowHandler,
  StuckGroup,
  Throttled,
  TooFewSlots,
  VisibilityTimeoutTooShort
} from "./internal/advise/finding.js"
export { render } from "./internal/advise/render.js"

export interface Options {
  /** What is judged: the latest so much. From 5 seconds. Default 1 minute. */
  readonly window?: Duration.DurationInput | undefined
  /** A backlog that is gone within this time is none to worry about. From 1 second. Default 2 minutes. */
  readonly drainWithin?: Duration.DurationInput | undefined
  /** In flight at once, as the queue allows. Default 120,000; FIFO queues in some regions: 20,000. */
  readonly inFlightLimit?: number | undefined
  /**
   * Consumers like this one that share the queue, itself included. Default: by its part of what the queue has in flight.
   */
  readonly consumers?: number | undefined
}

const checks: InvalidOptions.Checks<Options> = {
  window: InvalidOptions.time({ min: "5 seconds" }),
  drainWithin: InvalidOptions.time({ min: "1 second" }),
  inFlightLimit: InvalidOptions.aWholeNumber({ min: 1 }),
  consumers: InvalidOptions.aWholeNumber({ min: 1 })
}

const limitsOf = ({ drainWithin = "2 minutes", inFlightLimit = 120_000, window = "1 minute" }: Options): Limits => ({
  window: Duration.toMillis(window),
  drainWithin: Duration.toMillis(drainWithin),
  inFlightLimit
})

/**
 * The diagnosis of the end of what is given, each oldest first: the intervals in `window` are judged, those before are
 * what the consumer is compared with. Ten minutes of intervals of ten seconds are plenty. Without samples the backlog is
 * reckoned from how long the received messages had waited, and without a load nothing is said of the CPU.
 *
 * `undefined` where there is no interval. Fails with `InvalidOptions` where an option cannot work.
 */
export const judge = (
  evidence: {
    readonly intervals: ReadonlyArray<Figures.Interval>
    readonly samples?: ReadonlyArray<Backlog.Sample> | undefined
    /** Of the time that is judged. */
    readonly load?: Load | undefined
  },
  options: Options = {}
): Effect.Effect<Diagnosis | undefined, InvalidOptions.InvalidOptions> =>
  Effect.map(InvalidOptions.check("Diagnosis.judge", options, checks), () =>
    diagnose(
      {
        intervals: evidence.intervals,
        samples: fresh(evidence.samples ?? []),
        load: evidence.load,
        well: evidence.intervals.filter(isWell),
        onset: evidence.intervals.reduce<ReadonlyArray<Figures.Interval>>(beginning(limitsOf(options).window), []),
        probes: evidence.intervals.reduce<ReadonlyArray<Probe>>(probed, []),
        consumers: options.consumers
      },
      limitsOf(options)
    )
  )

const probed = (probes: ReadonlyArray<Probe>, interval: Figures.Interval): ReadonlyArray<Probe> =>
  remember(probes, probeOf(interval, busiestOf(interval)))

/** The intervals in which it began to be behind, kept for as long as it is. */
const beginning =
  (window: number) =>
  (onset: ReadonlyArray<Figures.Interval>, interval: Figures.Interval): ReadonlyArray<Figures.Interval> =>
    isWell(interval) ? [] : interval.to - (onset[0]?.from ?? interval.from) > window ? onset : [...onset, interval]

const fresh = (samples: ReadonlyArray<Backlog.Sample>): ReadonlyArray<Backlog.Fresh> =>
  samples.flatMap((sample) => (sample._tag === "Fresh" ? [sample] : []))

/** What has figures: `Consumer`, `Served`, or an effect that gives them. */
export type Source = { readonly figures: Effect.Effect<Figures.Figures> } | Effect.Effect<Figures.Figures>

export interface WatchOptions extends Options {
  /** Time between readings of the figures: from 1 second, at most a quarter of `window`. Default 10 seconds. */
  readonly every?: Duration.DurationInput | undefined
  /** For how long readings are remembered, to be compared with: at least twice `window`. Default 10 minutes. */
  readonly memory?: Duration.DurationInput | undefined
}

/** What each option may be; `every` and `memory` also go by `window`. */
export const watchChecks: InvalidOptions.Checks<WatchOptions> = {
  ...checks,
  every: InvalidOptions.time(),
  memory: InvalidOptions.time()
}

export interface Watched {
  /** The diagnosis of this moment; `undefined` in the first seconds. */
  readonly now: Effect.Effect<Diagnosis | undefined>
  /** One after each reading. */
  readonly changes: Stream.Stream<Diagnosis>
}

interface Memory {
  readonly figures: Figures.Figures
  readonly intervals: ReadonlyArray<Figures.Interval>
  readonly samples: ReadonlyArray<Backlog.Fresh>
  readonly loads: ReadonlyArray<Load & { readonly at: number }>
  /** Kept beyond `memory`: what it was like when it was well, and what so many slots got done. */
  readonly well: ReadonlyArray<Figures.Interval>
  readonly onset: ReadonlyArray<Figures.Interval>
  readonly probes: ReadonlyArray<Probe>
}

const average = (loads: ReadonlyArray<Load>): Load | undefined => {
  if (loads.length === 0) return undefined
  const mean = (of: (load: Load) => number) => loads.reduce((sum, load) => sum + of(load), 0) / loads.length
  return {
    utilization: mean(({ utilization }) => utilization),
    delay: mean(({ delay }) => delay),
    delayP99: Math.max(...loads.map(({ delayP99 }) => delayP99))
  }
}

/**
 * Watches a consumer and its backlog until the scope is closed, so that a diagnosis has something to compare with. It
 * costs the calls of the backlog's samples and none besides. A backlog that cannot be read is warned about, and done
 * without.
 *
 * Fails with `InvalidOptions` where an option cannot work.
 *
 * @example
 * const watched = yield* Diagnosis.of(yield* Orders, yield* SqsBacklog.make("orders"))
 * const diagnosis = yield* watched.now
 */
export const of = <E>(
  source: Source,
  backlog: Backlog.Backlog<E> | undefined,
  options: WatchOptions = {}
): Effect.Effect<Watched, InvalidOptions.InvalidOptions, ProcessLoad | Scope.Scope> =>
  Effect.gen(function* () {
    yield* InvalidOptions.check("Diagnosis.of", options, watchChecks)
    const limits = limitsOf(options)
    const every = yield* InvalidOptions.duration(
      "every",
      options.every ?? Duration.millis(Math.min(10_000, limits.window / 4)),
      {
        min: "1 second",
        max: Duration.millis(limits.window / 4)
      }
    )
    const memory = Duration.toMillis(
      yield* InvalidOptions.duration(
        "memory",
        options.memory ?? Duration.max("10 minutes", Duration.millis(2 * limits.window)),
        {
          min: Duration.millis(2 * limits.window)
        }
      )
    )
    const read = Effect.isEffect(source) ? source : source.figures
    const load = yield* (yield* ProcessLoad).meter
    const first = yield* read
    const state = yield* Ref.make<Memory>({
      figures: first,
      intervals: [],
      samples: [],
      loads: [],
      well: [],
      onset: [],
      probes: []
    })

    /** What is known now, the time since the last reading included. */
    const withLatest = ({ figures: before, intervals, ...rest }: Memory, figures: Figures.Figures): Memory => ({
      ...rest,
      figures,
      intervals:
        Figures.continues(before, figures) && figures.at > before.at
          ? [...intervals, Figures.since(before, figures)]
          : intervals
    })
    const judged = ({ intervals, loads, onset, probes, samples, well }: Memory): Diagnosis | undefined => {
      const end = intervals.at(-1)?.to ?? 0
      const recent = loads.filter(({ at }) => at > end - limits.window)
      return diagnose(
        { intervals, samples, load: average(recent), well, onset, probes, consumers: options.consumers },
        limits
      )
    }

    const forgetting = (all: Memory, now: number): Memory => ({
      ...all,
      intervals: all.intervals.filter(({ to }) => to > now - memory),
      samples: all.samples.filter(({ at }) => at > now - memory),
      loads: all.loads.filter(({ at }) => at > now - memory)
    })
    const mostWell = Math.ceil(memory / Duration.toMillis(every))
    /** With an interval that has ended. */
    const remembering = (before: Memory, all: Memory): Memory => {
      const interval = all.intervals.at(-1)
      if (interval === undefined || all.intervals.length === before.intervals.length) return all
      return {
        ...all,
        well: isWell(interval) ? [...all.well.slice(1 - mostWell), interval] : all.well,
        onset: beginning(limits.window)(all.onset, interval),
        probes: probed(all.probes, interval)
      }
    }
    const look = Effect.gen(function* () {
      const figures = yield* read
      const at = yield* Clock.currentTimeMillis
      const loaded = yield* load
      return yield* Ref.updateAndGet(state, (all) => {
        const next = remembering(all, withLatest(all, figures))
        return forgetting(loaded === undefined ? next : { ...next, loads: [...next.loads, { ...loaded, at }] }, at)
      })
    })
    if (backlog !== undefined) {
      yield* backlog.samples.pipe(
        Stream.runForEach((sample) =>
          sample._tag === "Fresh"
            ? Ref.update(state, (all) => ({ ...all, samples: [...all.samples, sample] }))
            : Effect.void
        ),
        Effect.tapErrorCause((cause) =>
          Effect.logWarning(`the backlog of ${backlog.queue} can not be read; the diagnosis does without it`, cause)
        ),
        Effect.ignore,
        forkScoped
      )
    }
    const diagnoses = yield* PubSub.sliding<Diagnosis>(16)
    yield* look.pipe(
      Effect.flatMap((all) => {
        const diagnosis = judged(all)
        return diagnosis === undefined ? Effect.void : diagnoses.publish(diagnosis)
      }),
      Effect.schedule(Schedule.fixed(every)),
      forkScoped
    )
    return {
      changes: Stream.fromPubSub(diagnoses),
      now: Effect.zipWith(Ref.get(state), read, (all, figures) => judged(withLatest(all, figures)))
    }
  })
