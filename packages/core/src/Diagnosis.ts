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
import { attribute } from "./internal/advise/attribution.js"
import * as Findings from "./internal/advise/findings.js"
import type { Known, Limits } from "./internal/advise/known.js"
import { measure } from "./internal/advise/lag.js"
import { isWell } from "./internal/advise/norm.js"
import { type Probe, probeOf, remember } from "./internal/advise/probes.js"
import { busiestOf } from "./internal/advise/slots.js"
import { type Load, ProcessLoad } from "./ProcessLoad.js"

/** One thing to change. */
export interface Change {
  /** A sentence, with the numbers to set. */
  readonly text: string
  /** The option or attribute that it speaks of, and what to set it to, where it is a number. Durations in milliseconds. */
  readonly setting: string | undefined
  readonly to: number | undefined
}

/** @typeParam Evidence - the figures behind it: rates a second, times in milliseconds, parts from 0 to 1. */
export interface Found<Tag extends string, Evidence> {
  readonly _tag: Tag
  /** The part of the lag that it explains, from 0 to 1; of what is wrong without a lag, the part of messages concerned. */
  readonly score: number
  readonly severity: Severity
  readonly title: string
  readonly figures: Evidence
  /** The figures in a sentence. */
  readonly evidence: string
  readonly advice: ReadonlyArray<Change>
  /** Why that works. */
  readonly why: string
  /** Where the documentation speaks of it: the name of a page in docs/diagnosis. */
  readonly page: string
}

/** From the score: a half or more, a fifth or more, less. */
export type Severity = "high" | "medium" | "low"

/** All slots are busy with work that takes as long as ever, and more comes than they can do. */
export type TooFewSlots = Found<
  "TooFewSlots",
  {
    readonly slots: number
    readonly busy: number
    readonly needed: number
    readonly handlerTime: number
    readonly throughput: number
    readonly arrivals: number
    readonly utilization: number | undefined
  }
>

/** The one thread that runs all handlers has no time left. */
export type CpuBound = Found<
  "CpuBound",
  { readonly utilization: number; readonly delay: number; readonly delayP99: number; readonly throughput: number }
>

/** Handlers take longer than they used to. */
export type SlowHandler = Found<
  "SlowHandler",
  { readonly handlerTime: number; readonly usual: number; readonly slots: number; readonly needed: number }
>

/** The more handlers run at once, the longer each takes: what they call is full. */
export type SaturatedDownstream = Found<
  "SaturatedDownstream",
  {
    readonly running: number
    readonly handlerTime: number
    readonly few: number
    readonly fewTime: number
    /** The least concurrency that gives the present rate. */
    readonly best: number
    readonly throughput: number
  }
>

/** Calls to the queue take long, or fail, so that slots wait for messages. */
export type SlowCalls = Found<
  "SlowCalls",
  {
    readonly receiveTime: number | undefined
    readonly ackTime: number | undefined
    readonly usual: number | undefined
    readonly handlerTime: number | undefined
    readonly failed: number
    readonly busy: number
  }
>

/** Calls wait for a connection of the client. */
export type ConnectionsExhausted = Found<
  "ConnectionsExhausted",
  { readonly max: number; readonly open: number; readonly waiting: number; readonly callTime: number }
>

/** Leases end before the work does. */
export type VisibilityTimeoutTooShort = Found<
  "VisibilityTimeoutTooShort",
  {
    readonly visibilityTimeout: number
    readonly p99: number | undefined
    readonly lost: number
    readonly redelivered: number
    readonly received: number
    readonly heartbeat: boolean
    readonly extendErrors: number
  }
>

/** The queue refuses calls for their rate. */
export type Throttled = Found<
  "Throttled",
  { readonly throttled: number; readonly calls: number; readonly throttledFor: number; readonly busy: number }
>

/** Receives bring too little, though messages wait: too few permits, or short answers. */
export type IntakeTooSmall = Found<
  "IntakeTooSmall",
  {
    readonly brought: number | undefined
    readonly batchSize: number
    readonly maxInFlight: number
    readonly slots: number
    readonly busy: number
    readonly fullFor: number
  }
>

/** The consumer's own `rate` holds it back. */
export type RateLimited = Found<
  "RateLimited",
  { readonly rate: number; readonly received: number; readonly arrivals: number; readonly required: number }
>

/** Work is spent on messages that fail: a few poisonous ones, or all of them. */
export type Retries = Found<
  "Retries",
  {
    readonly failed: number
    readonly runs: number
    readonly redelivered: number
    readonly received: number
    /** The part of the handlers' time that failed runs took. */
    readonly wasted: number
    /** The commonest error. */
    readonly error: string | undefined
    readonly poison: ReadonlyArray<{ readonly messageId: string; readonly failures: number }>
  }
>

/** Order lets too few messages be worked on at once. */
export type HotGroup = Found<
  "HotGroup",
  {
    readonly group: string | undefined
    /** Its part of what was received of late. */
    readonly share: number
    readonly activeGroups: number
    readonly slots: number
    readonly busy: number
    /** Groups of equal size that the required rate takes, at least. */
    readonly suggestedGroups: number
  }
>

/** The head of a group does not get done, and all behind it waits. */
export type StuckGroup = Found<
  "StuckGroup",
  {
    readonly group: string
    readonly messageId: string
    readonly age: number
    readonly attempt: number
    readonly failures: number
    readonly running: boolean
    readonly stuckGroups: number
  }
>

/** The queue hands out no more until something in flight is settled. */
export type InFlightWindowFull = Found<
  "InFlightWindowFull",
  { readonly inFlight: number; readonly limit: number; readonly own: number }
>

/** More came than usual; the consumer is as quick as ever. */
export type ProducerBurst = Found<
  "ProducerBurst",
  {
    readonly arrivals: number
    readonly usual: number
    readonly throughput: number
    readonly excess: number
    /** When the backlog is gone, should no more come than usual, in milliseconds since the epoch. */
    readonly clearAt: number | undefined
  }
>

export type Paused = Found<"Paused", { readonly pausedFor: number; readonly visible: number }>

export type CircuitOpen = Found<
  "CircuitOpen",
  { readonly state: Figures.Stage["circuit"]; readonly failed: number; readonly error: string | undefined }
>

export type Finding =
  | TooFewSlots
  | CpuBound
  | SlowHandler
  | SaturatedDownstream
  | SlowCalls
  | ConnectionsExhausted
  | VisibilityTimeoutTooShort
  | Throttled
  | IntakeTooSmall
  | RateLimited
  | Retries
  | HotGroup
  | StuckGroup
  | InFlightWindowFull
  | ProducerBurst
  | Paused
  | CircuitOpen

export type Cause = Finding["_tag"]

/** How far the queue is behind. Rates are messages a second, this consumer's alone. */
export interface Lag {
  readonly visible: number
  readonly growth: number
  readonly arrivals: number
  readonly throughput: number
  /** At which the backlog would be gone in time. */
  readonly required: number
  /** How long the messages received of late had waited, in milliseconds: the median. */
  readonly waited: number | undefined
}

export interface Diagnosis {
  readonly consumer: string
  readonly queue: string
  /** The time that is judged, in milliseconds since the epoch. */
  readonly from: number
  readonly at: number
  /**
   * - `healthy`: it keeps up, and nothing is wrong.
   * - `attention`: it keeps up, and something is wrong.
   * - `behind`: more comes than it does, or the backlog will not be gone in time.
   */
  readonly verdict: "healthy" | "attention" | "behind"
  readonly lag: Lag
  /** The weightiest first. None: healthy, or behind for a reason that no figure shows. */
  readonly findings: ReadonlyArray<Finding>
}

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

/** What counts for a finding: this part of the lag at least. */
const least = 0.1

const diagnose = (known: Known, limits: Limits): Diagnosis | undefined => {
  const lag = measure(known, limits)
  if (lag === undefined) return undefined
  const attribution = attribute(lag)
  const whole = [...attribution.slots.values()].reduce((sum, slots) => sum + slots, 0)
  const scores = new Map(attribution.notable)
  if (lag.behind) {
    for (const [cause, slots] of attribution.slots) {
      const score = whole === 0 ? 0 : slots / whole
      const notable = attribution.notable.get(cause) ?? 0
      if (score >= least) scores.set(cause, score)
      // Named for its own sake, it explains no more of the lag than it does.
      else if (notable > 0) scores.set(cause, Math.min(notable, Math.max(score, 0.01)))
    }
    for (const [cause, notable] of attribution.notable) {
      if (!attribution.slots.has(cause)) scores.set(cause, Math.min(notable, 0.09))
    }
  }
  const findings = [...scores]
    .map(([cause, score]) => Findings.describe(cause, score, lag, attribution))
    .sort((a, b) => b.score - a.score)
  return {
    consumer: lag.now.consumer,
    queue: lag.now.queue,
    from: lag.now.from,
    at: lag.now.to,
    verdict: lag.behind ? "behind" : findings.length > 0 ? "attention" : "healthy",
    lag: {
      visible: lag.visible,
      growth: lag.growth,
      arrivals: lag.arrivals,
      throughput: lag.throughput,
      required: lag.required,
      waited: Findings.medianQueued(lag)
    },
    findings
  }
}

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
        probes: evidence.intervals.reduce<ReadonlyArray<Probe>>(probed, []),
        consumers: options.consumers
      },
      limitsOf(options)
    )
  )

const probed = (probes: ReadonlyArray<Probe>, interval: Figures.Interval): ReadonlyArray<Probe> =>
  remember(probes, probeOf(interval, busiestOf(interval)))

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
    const judged = ({ intervals, loads, probes, samples, well }: Memory): Diagnosis | undefined => {
      const end = intervals.at(-1)?.to ?? 0
      const recent = loads.filter(({ at }) => at > end - limits.window)
      return diagnose({ intervals, samples, load: average(recent), well, probes, consumers: options.consumers }, limits)
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
        Effect.forkScoped
      )
    }
    const diagnoses = yield* PubSub.sliding<Diagnosis>(16)
    yield* look.pipe(
      Effect.flatMap((all) => {
        const diagnosis = judged(all)
        return diagnosis === undefined ? Effect.void : diagnoses.publish(diagnosis)
      }),
      Effect.schedule(Schedule.fixed(every)),
      Effect.forkScoped
    )
    return {
      changes: Stream.fromPubSub(diagnoses),
      now: Effect.zipWith(Ref.get(state), read, (all, figures) => judged(withLatest(all, figures)))
    }
  })

/** As lines of plain text, for a terminal or a log. */
export const render = (diagnosis: Diagnosis): string => {
  const { number, perSecond, percent, time } = Findings
  const { findings, lag, queue, verdict } = diagnosis
  const figures = `${perSecond(lag.arrivals)} come, ${perSecond(lag.throughput)} are done, ${number(lag.visible)} wait${
    lag.waited === undefined ? "" : `, received after ${time(lag.waited)}`
  }`
  const head =
    verdict === "healthy"
      ? `${queue} is healthy: ${figures}.`
      : verdict === "attention"
        ? `${queue} keeps up (${figures}), but:`
        : `${queue} is behind: ${figures}.`
  if (verdict === "behind" && findings.length === 0) {
    return `${head}\nNo figure of this consumer shows why: look at the other consumers of the queue.`
  }
  const lines = findings.flatMap(({ advice, evidence, score, title, why }, i) => [
    "",
    `${i + 1}. ${title}${verdict === "behind" ? ` (explains ${percent(score)})` : ""}`,
    `   ${evidence}`,
    ...advice.map(({ text }) => `   → ${text}`),
    `   Why: ${why}`
  ])
  return [head, ...lines].join("\n")
}
