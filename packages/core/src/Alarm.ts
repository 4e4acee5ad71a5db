/**
 * Alarms over the samples of a backlog: values that fire once when something is wrong for long enough, and clear once
 * when it is well again for long enough. Between their two levels nothing happens, so that noise makes none flap.
 */
import * as Chunk from "effect/Chunk"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import type * as Backlog from "./Backlog.js"
import * as InvalidOptions from "./InvalidOptions.js"
import { median } from "./internal/data/slope.js"

/**
 * What one sample says: `wrong` speaks for firing, `well` for clearing, `between` for neither. `undefined`: the sample
 * does not have what the alarm looks at.
 */
export type Verdict = "wrong" | "between" | "well" | undefined

export interface Hold {
  /** How long it must be wrong before the alarm fires. Zero: the first sample decides. Default 1 minute. */
  readonly for?: Duration.DurationInput | undefined
  /** How long it must be well before the alarm clears. Default 2 minutes. */
  readonly clearFor?: Duration.DurationInput | undefined
}

/** What an alarm is about, as data: for a service that is to watch the same. Ages and times in milliseconds. */
export type Rule =
  | { readonly _tag: "Backlog"; readonly above: number; readonly growingBy: number }
  | { readonly _tag: "Oldest"; readonly above: number }
  | { readonly _tag: "TimeToDrain"; readonly above: number; readonly atLeast: number }
  | { readonly _tag: "DeadLetters"; readonly above: number }
  | { readonly _tag: "InFlight"; readonly above: number }
  | { readonly _tag: "NoProgress" }

/** How the backlog of a queue has swayed of late. A backlog that sways is not one that grows. */
export interface Sway {
  /** Messages that wait: the median of the last five samples, so that a count that is off does not matter. */
  readonly lately: number
  /** The least that this was within an hour. */
  readonly least: number
}

/** How an alarm judges, and what it says of a sample. */
export interface Judge {
  /** `undefined`: only `judge` can tell. */
  readonly rule?: Rule | undefined
  readonly judge: (sample: Backlog.Fresh, sway: Sway) => Verdict
  readonly describe: (sample: Backlog.Fresh) => string
}

/** A value: it can be used on many backlogs, on each of which it fires and clears by itself. */
export interface Alarm {
  readonly name: string
  /** How it judges; `for` and `clearFor` in milliseconds. Refuses options that cannot work. */
  readonly ready: Effect.Effect<
    Judge & { readonly for: number; readonly clearFor: number },
    InvalidOptions.InvalidOptions
  >
}

/** An alarm has fired, or cleared. */
export interface Event {
  readonly _tag: "Fired" | "Cleared"
  readonly alarm: string
  readonly queue: string
  /** In milliseconds since the epoch. */
  readonly at: number
  /** The figures behind it, in a sentence. */
  readonly message: string
  readonly sample: Backlog.Fresh
}

/** What each option of an alarm may be; the levels also go by each other. */
const holdChecks: InvalidOptions.Checks<Hold> = {
  for: InvalidOptions.time({ max: "7 days" }),
  clearFor: InvalidOptions.time({ max: "7 days" })
}

const holding = <O extends Hold>(
  name: string,
  options: O,
  checks: InvalidOptions.Checks<NoInfer<O>>,
  judge: Effect.Effect<Judge, InvalidOptions.InvalidOptions>,
  defaults: Hold = { for: "1 minute", clearFor: "2 minutes" }
): Alarm => ({
  name,
  ready: Effect.gen(function* () {
    yield* InvalidOptions.check(`the alarm "${name}"`, options, checks, `${name}: `)
    const millis = (option: "for" | "clearFor") => Duration.toMillis(options[option] ?? defaults[option] ?? 0)
    return { ...(yield* judge), for: millis("for"), clearFor: millis("clearFor") }
  })
})

/** An alarm of one's own. */
export const make = (name: string, judge: Judge, hold: Hold = {}): Alarm =>
  holding(name, hold, holdChecks, Effect.succeed(judge))

/** Wrong over `above`, well at `clearAt` or under it: by default four fifths of `above`. */
const levels = Effect.fnUntraced(function* (name: string, above: number, clearAt = above * 0.8) {
  yield* InvalidOptions.number(`${name}: above`, above, { min: 0 })
  yield* InvalidOptions.number(`${name}: clearAt`, clearAt, { min: 0, max: above })
  return (value: number): Verdict => (value > above ? "wrong" : value <= clearAt ? "well" : "between")
})

const rounded = (duration: Duration.Duration): string =>
  Duration.isFinite(duration) ? Duration.format(Duration.seconds(Math.round(Duration.toSeconds(duration)))) : "for ever"

const growing = (growth: number | undefined): string =>
  growth === undefined ? "" : `, ${growth < 0 ? "shrinking" : "growing"} by ${Math.abs(growth).toFixed(1)} a second`

/** A backlog that is being worked off is under its limit by then, in seconds. */
const soon = 10 * 60

/**
 * More than `above` messages wait, and more come than go, or what waits will not be under `above` within ten minutes, as
 * after a jump that stays. It stays fired while they are worked off, until `clearAt` (by
 * default four fifths of `above`) is reached, so that it does not come and go with the growth.
 */
export const backlog = (
  options: {
    readonly above: number
    readonly clearAt?: number | undefined
    /** Growth that is put up with, in messages a second. Default 0. */
    readonly growingBy?: number | undefined
  } & Hold
): Alarm =>
  holding(
    "backlog",
    options,
    {
      ...holdChecks,
      above: InvalidOptions.required(InvalidOptions.aNumber({ min: 0 })),
      clearAt: InvalidOptions.aNumber({ min: 0 }),
      growingBy: InvalidOptions.aNumber({ min: 0 })
    },
    Effect.gen(function* () {
      const level = yield* levels("backlog", options.above, options.clearAt)
      const growingBy = options.growingBy ?? 0
      return {
        rule: { _tag: "Backlog", above: options.above, growingBy },
        judge: ({ growth, visible }) => {
          const verdict = level(visible)
          if (verdict !== "wrong") return verdict
          if (growth === undefined) return undefined
          if (growth > growingBy) return "wrong"
          // A jump that stays grows no more, and is not worked off either.
          return growingBy === 0 && visible + growth * soon > options.above ? "wrong" : "between"
        },
        describe: ({ growth, visible }) => `${visible} messages wait${growing(growth)}; the limit is ${options.above}`
      }
    })
  )

/**
 * The oldest message has waited for longer than `above`. Wants a backlog with `oldest`. `clearAt`: by default four fifths
 * of `above`.
 */
export const oldest = (
  options: {
    readonly above: Duration.DurationInput
    readonly clearAt?: Duration.DurationInput | undefined
  } & Hold
): Alarm =>
  holding(
    "oldest",
    options,
    {
      ...holdChecks,
      above: InvalidOptions.required(InvalidOptions.time({ max: "14 days" })),
      clearAt: InvalidOptions.time({ max: "14 days" })
    },
    Effect.gen(function* () {
      const above = Duration.decode(options.above)
      const clearAt =
        options.clearAt === undefined
          ? Duration.times(above, 0.8)
          : yield* InvalidOptions.duration("oldest: clearAt", options.clearAt, { max: above })
      const level = yield* levels("oldest", Duration.toMillis(above), Duration.toMillis(clearAt))
      return {
        rule: { _tag: "Oldest", above: Duration.toMillis(above) },
        judge: ({ oldest }) => oldest && level(Duration.toMillis(oldest.duration)),
        describe: ({ oldest }) =>
          oldest === undefined
            ? "the age of the oldest message is not known"
            : `the oldest message has waited ${rounded(oldest.duration)}${oldest.kind === "estimated" ? " (estimated)" : ""}; the limit is ${rounded(above)}`
      }
    })
  )

/** So many times the least of an hour is more than sway, where nobody counts what departs. */
const grown = 2.5

/**
 * At the present rate the backlog will not be gone in less than `above`, or never. A backlog that neither grows nor shrinks
 * takes what waits by the rate of departures, where the backlog knows that. Where it does not, and somebody receives, growth
 * and shrinking count once two and a half times as many wait as at the least in the last hour; until then it may be sway.
 *
 * So without `departed` only what grows to two and a half times within an hour is told: a backlog that grows slower never
 * is, nor one that drains slowly from the start. Let the backlog count departures, or add `Alarm.backlog`.
 *
 * A backlog of fewer than `atLeast` messages (default 100) is well: there the growth is noise. `clearAt`: by default four
 * fifths of `above`.
 */
export const timeToDrain = (
  options: {
    readonly above: Duration.DurationInput
    readonly clearAt?: Duration.DurationInput | undefined
    readonly atLeast?: number | undefined
  } & Hold
): Alarm =>
  holding(
    "time to drain",
    options,
    {
      ...holdChecks,
      above: InvalidOptions.required(InvalidOptions.time({ max: "14 days" })),
      clearAt: InvalidOptions.time({ max: "14 days" }),
      atLeast: InvalidOptions.aNumber({ min: 0 })
    },
    Effect.gen(function* () {
      const above = Duration.decode(options.above)
      const clearAt =
        options.clearAt === undefined
          ? Duration.times(above, 0.8)
          : yield* InvalidOptions.duration("time to drain: clearAt", options.clearAt, { max: above })
      const level = yield* levels("time to drain", Duration.toMillis(above), Duration.toMillis(clearAt))
      const atLeast = options.atLeast ?? 100
      return {
        rule: { _tag: "TimeToDrain", above: Duration.toMillis(above), atLeast },
        judge: ({ departures, growth, inFlight, timeToDrain, visible }, { lately, least }) => {
          if (visible < atLeast) return "well"
          if (timeToDrain === undefined) return growth === undefined ? undefined : "between"
          // What leaves at such a rate is soon gone, however the backlog sways about what it holds. A jump looks like growth
          // for as long as it is within the window: that growth stays shows in what waits.
          const leaving = departures?.perSecond ?? 0
          if (leaving > 0 && level((visible / leaving) * 1000) === "well") {
            return (growth ?? 0) < leaving ? "well" : "between"
          }
          const verdict = level(Duration.toMillis(timeToDrain))
          return verdict === "wrong" &&
            departures === undefined &&
            inFlight > 0 &&
            lately < grown * Math.max(least, atLeast)
            ? "between"
            : verdict
        },
        describe: ({ growth, timeToDrain, visible }) =>
          `${visible} messages wait${growing(growth)}: ${
            timeToDrain === undefined ? "" : `${rounded(timeToDrain)} to drain; `
          }the limit is ${rounded(above)}`
      }
    })
  )

/**
 * The dead-letter queue holds more than `above` messages (default none). Wants a backlog that reads its dead letters.
 * Fires at the first sample unless `for` says otherwise; clears when `clearAt` (default `above`) is reached.
 */
export const deadLetters = (
  options: { readonly above?: number | undefined; readonly clearAt?: number | undefined } & Hold = {}
): Alarm =>
  holding(
    "dead letters",
    options,
    { ...holdChecks, above: InvalidOptions.aNumber({ min: 0 }), clearAt: InvalidOptions.aNumber({ min: 0 }) },
    Effect.gen(function* () {
      const { above = 0, clearAt = above } = options
      const level = yield* levels("dead letters", above, clearAt)
      return {
        rule: { _tag: "DeadLetters", above } as const,
        judge: ({ deadLetters }) => deadLetters && level(deadLetters.visible),
        describe: ({ deadLetters }) =>
          `the dead-letter queue holds ${deadLetters?.visible ?? "an unknown number of"} messages; the limit is ${above}`
      }
    }),
    { for: 0, clearFor: "2 minutes" }
  )

/**
 * Almost as many messages are in flight as the queue allows; at the limit a standard queue refuses receives (`OverLimit`)
 * and a FIFO queue silently returns nothing.
 *
 * @see https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html
 */
export const inFlight = (
  options: {
    /** What the queue allows. Default 120,000, SQS's limit; older documents and regions have 20,000 for FIFO queues. */
    readonly limit?: number | undefined
    /** Shares of the limit. Default 0.9; clears at four fifths of it. */
    readonly above?: number | undefined
    readonly clearAt?: number | undefined
  } & Hold = {}
): Alarm =>
  holding(
    "in flight",
    options,
    {
      ...holdChecks,
      above: InvalidOptions.aNumber({ min: 0 }),
      clearAt: InvalidOptions.aNumber({ min: 0 }),
      limit: InvalidOptions.aNumber({ min: 1 })
    },
    Effect.gen(function* () {
      const limit = options.limit ?? 120_000
      const above = yield* InvalidOptions.number("in flight: above", options.above ?? 0.9, { min: 0, max: 1 })
      const level = yield* levels("in flight", above, options.clearAt)
      return {
        rule: { _tag: "InFlight", above: limit * above },
        judge: ({ inFlight }) => level(inFlight / limit),
        describe: ({ inFlight }) => `${inFlight} messages are in flight; the queue allows ${limit}`
      }
    })
  )

/**
 * Messages wait and none leaves the queue, for `for` (default 5 minutes). With a backlog that knows its departures: none
 * departs. Without: nobody has any in flight, and the backlog does not shrink.
 */
export const noProgress = (options: Hold = {}): Alarm =>
  holding(
    "no progress",
    options,
    holdChecks,
    Effect.succeed<Judge>({
      rule: { _tag: "NoProgress" },
      judge: ({ departures, growth, inFlight, timeToDrain, visible }) => {
        if (visible === 0) return "well"
        if (departures?.kind === "counted") return departures.perSecond > 0 ? "well" : "wrong"
        if (inFlight > 0) return "well"
        // Where it shrinks by more than the noise of the counts there is an end to it; that somebody receives is better told.
        const ends = timeToDrain !== undefined && Duration.isFinite(timeToDrain)
        return growth === undefined ? undefined : growth < 0 && ends ? "between" : "wrong"
      },
      describe: ({ inFlight, visible }) =>
        `${visible} messages wait, ${inFlight} are in flight, and ${inFlight === 0 ? "nobody receives" : "none is done"}`
    }),
    { for: "5 minutes", clearFor: "30 seconds" }
  )

/** What one queue has held within an hour. */
class Swaying {
  #waited: ReadonlyArray<readonly [at: number, visible: number]> = []
  #medians: ReadonlyArray<readonly [at: number, visible: number]> = []

  see({ at, visible }: Backlog.Fresh): Sway {
    const since = ([then]: readonly [at: number, visible: number]) => then > at - hour
    this.#waited = [...this.#waited.filter(since).slice(-4), [at, visible]]
    const lately = median(this.#waited.map(([, waited]) => waited))
    this.#medians = [...this.#medians.filter(since), [at, lately]]
    return { lately, least: this.#medians.reduce((least, [, waited]) => Math.min(least, waited), lately) }
  }
}

/** In milliseconds. */
const hour = 3_600_000

/** One alarm on one queue. */
class Watch {
  fired = false
  /** How long the samples have spoken for a change, and when the last sample came; in milliseconds. */
  #held: number | undefined
  #lastAt: number | undefined
  /** How long it has had nothing to judge by. */
  #blind = 0
  #warned = false

  readonly name: string
  readonly ready: Effect.Effect.Success<Alarm["ready"]>

  constructor(name: string, ready: Effect.Effect.Success<Alarm["ready"]>) {
    this.name = name
    this.ready = ready
  }

  /** Whether it changes, or warns that it is blind. What time a failed reading leaves unseen does not count. */
  see(sample: Backlog.Sample, sway: Sway | undefined): "changed" | "blind" | undefined {
    const passed = sample.at - (this.#lastAt ?? sample.at)
    this.#lastAt = sample.at
    if (sample._tag === "Stale" || sway === undefined) return undefined
    const verdict = this.ready.judge(sample, sway)
    if (verdict === undefined) {
      this.#blind += passed
      if (this.#warned || this.#blind < blindAfter) return undefined
      this.#warned = true
      return "blind"
    }
    this.#blind = 0
    if (verdict !== (this.fired ? "well" : "wrong")) {
      this.#held = undefined
      return undefined
    }
    this.#held = this.#held === undefined ? 0 : this.#held + passed
    if (this.#held < (this.fired ? this.ready.clearFor : this.ready.for)) return undefined
    this.#held = undefined
    this.fired = !this.fired
    return "changed"
  }
}

const alarmsCheck = InvalidOptions.list(
  InvalidOptions.having("an alarm, such as Alarm.backlog({ above: 1_000 })", "ready")
)

/** In milliseconds. */
const blindAfter = 10 * 60_000

/**
 * Turns the samples of a queue, or of many, into what the alarms have to say. Each alarm fires once on a queue before it
 * clears on it. An alarm that has nothing to judge by for ten minutes, as when the dead letters are not read, is warned
 * about in the log.
 *
 * Fails with `InvalidOptions` where an alarm cannot work, and with what the samples fail with.
 *
 * @example
 * backlog.samples.pipe(
 *   Alarm.events([Alarm.backlog({ above: 1_000 }), Alarm.deadLetters()]),
 *   Stream.runForEach((event) => page(event.message))
 * )
 */
export const events =
  (alarms: ReadonlyArray<Alarm>) =>
  <E, R>(samples: Stream.Stream<Backlog.Sample, E, R>): Stream.Stream<Event, E | InvalidOptions.InvalidOptions, R> =>
    Stream.unwrap(
      Effect.map(
        Effect.zipRight(
          InvalidOptions.argument("alarms", alarms, alarmsCheck),
          Effect.forEach(alarms, ({ name, ready }) => Effect.map(ready, (checked) => [name, checked] as const))
        ),
        (checked) => {
          const queues = new Map<string, { readonly swaying: Swaying; readonly watches: ReadonlyArray<Watch> }>()
          return Stream.mapConcatChunkEffect(samples, (sample) =>
            Effect.gen(function* () {
              const watched = queues.get(sample.queue) ?? {
                swaying: new Swaying(),
                watches: checked.map(([name, ready]) => new Watch(name, ready))
              }
              queues.set(sample.queue, watched)
              const sway = sample._tag === "Fresh" ? watched.swaying.see(sample) : undefined
              const happened: Array<Event> = []
              for (const watch of watched.watches) {
                const seen = watch.see(sample, sway)
                if (seen === "blind") {
                  yield* Effect.logWarning(
                    `the alarm "${watch.name}" on ${sample.queue} has had nothing to judge by for ten minutes: give its backlog what it looks at`
                  )
                } else if (seen === "changed" && sample._tag === "Fresh") {
                  happened.push({
                    _tag: watch.fired ? "Fired" : "Cleared",
                    alarm: watch.name,
                    queue: sample.queue,
                    at: sample.at,
                    message: `${sample.queue}: ${watch.ready.describe(sample)}`,
                    sample
                  })
                }
              }
              return Chunk.unsafeFromArray(happened)
            })
          )
        }
      )
    )

/**
 * Calls `hook` when an alarm fires or clears, one call after another, for as long as the samples last: fork it beside the
 * consumer.
 */
export const watch =
  <A, E2, R2>(alarms: ReadonlyArray<Alarm>, hook: (event: Event) => Effect.Effect<A, E2, R2>) =>
  <E, R>(
    samples: Stream.Stream<Backlog.Sample, E, R>
  ): Effect.Effect<void, E | E2 | InvalidOptions.InvalidOptions, R | R2> =>
    Stream.runForEach(events(alarms)(samples), hook)
