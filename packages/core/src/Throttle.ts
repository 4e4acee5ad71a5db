/**
 * How fast a producer may send, decided by the queue that it sends to: a strategy reads the backlog and sets a rate that
 * the producer follows.
 */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as SubscriptionRef from "effect/SubscriptionRef"
import type * as Backlog from "./Backlog.js"
import * as InvalidOptions from "./InvalidOptions.js"
import { theilSen } from "./internal/data/slope.js"
import { forkScoped } from "./internal/effect/fork.js"
import * as Tunable from "./Tunable.js"

/** What a strategy sees, each time that the queue has been read. */
export interface Observed {
  readonly sample: Backlog.Fresh
  /** Messages that have been sent until the reading: counted where the throttle was told how, else by the rates it has set. */
  readonly sent: number
  /** The present rate, in messages a second. */
  readonly rate: number
}

/** A strategy at work on one queue. Rates are messages a second. */
export interface Control {
  readonly initial: number
  /** Where the rate goes when the queue can no longer be read. */
  readonly lowest: number
  /** The rate from now on; `undefined` where the strategy does not look at the queue at all. */
  readonly next: ((observed: Observed) => number) | undefined
}

/** A value: it can steer many throttles. Options that cannot work are refused when the throttle is made. */
export interface Strategy {
  readonly name: string
  readonly control: Effect.Effect<Control, InvalidOptions.InvalidOptions>
}

/** Always the same rate; the queue is never read. */
export const constant = (perSecond: number): Strategy => ({
  name: "constant",
  control: Effect.map(InvalidOptions.number("constant", perSecond, { min: 0 }), (rate) => ({
    initial: rate,
    lowest: rate,
    next: undefined
  }))
})

export interface StopOptions {
  /** Messages a second while it is not stopped, of all producers together. */
  readonly rate: number
  /** How few must wait before it goes on. Default: half of the limit. */
  readonly resumeAt?: number | undefined
  /**
   * Stops also while the oldest message is older, where the backlog knows its age (its option `oldest`), and goes on at
   * half of it. Default: the age does not matter.
   */
  readonly maxAge?: Duration.DurationInput | undefined
  /** Producers that send to the queue under a throttle like this one, itself included: each takes its part. Default 1. */
  readonly producers?: number | undefined
}

/** No message is older than its retention. */
const maxAge = InvalidOptions.time({ min: "1 second", max: "14 days" })

const stopChecks: InvalidOptions.Checks<StopOptions> = {
  rate: InvalidOptions.required(InvalidOptions.aNumber({ min: 0 })),
  resumeAt: InvalidOptions.aNumber({ min: 0 }),
  maxAge,
  producers: InvalidOptions.aWholeNumber({ min: 1 })
}

/**
 * Sends at `rate`, and stops while more than `limit` messages wait, until `resumeAt` is reached. Simple, and coarse: the
 * counts lag, so that the backlog passes the limit by what is sent in that time (SQS: up to a minute).
 */
export const stopAbove = (limit: number, options: StopOptions): Strategy => ({
  name: "stopAbove",
  control: Effect.gen(function* () {
    yield* InvalidOptions.number("stopAbove", limit, { min: 0 })
    yield* InvalidOptions.check("Throttle.stopAbove", options, stopChecks)
    const rate = options.rate / (options.producers ?? 1)
    const resumeAt = yield* InvalidOptions.number("resumeAt", options.resumeAt ?? limit / 2, { min: 0, max: limit })
    const maxAge = maxAgeOf(options) ?? Infinity
    return {
      initial: rate,
      lowest: 0,
      next: (observed) => {
        const waiting = waitingIn(observed.sample)
        const age = ageIn(observed.sample)
        if (waiting > limit || age > maxAge) return 0
        return waiting <= resumeAt && age <= maxAge / 2 ? rate : observed.rate
      }
    }
  })
})

export interface TargetOptions {
  /** The fastest that may be sent. */
  readonly max: number
  /** The slowest, and where the rate goes when the queue cannot be read. Default 0. */
  readonly min?: number | undefined
  /** Before the queue is known. Default: what reaches the target in `horizon` though nobody consumes. */
  readonly initial?: number | undefined
  /** In what time a difference to the target is to be made good. Shorter is quicker and less steady. Default 2 minutes. */
  readonly horizon?: Duration.DurationInput | undefined
  /** Over how long the rate of departures is taken. Default 3 minutes. */
  readonly window?: Duration.DurationInput | undefined
  /**
   * How long the oldest message may wait: keeps no more waiting than leaves in that time, where that is less than the
   * target, and fewer still while the oldest is older, where the backlog knows its age (its option `oldest`). Default: the
   * age does not matter.
   */
  readonly maxAge?: Duration.DurationInput | undefined
  /** By how much the queue's counts are late on average. Default 30 seconds: SQS's are late by up to a minute. */
  readonly lag?: Duration.DurationInput | undefined
  /**
   * Producers that send to the queue under a throttle like this one, itself included. Each sees the whole error and makes
   * good its part of it; if each made good the whole, they would overshoot together. `max`, `min` and `initial` are this
   * one's. Default: found, where the backlog knows its arrivals (it counts what `departed` or `arrived`), by the part of them
   * that this producer sends, and last sent while it sends nothing; else 1. Until the backlog knows its growth, for a quarter
   * of its window, a fiftieth of the error is made good, since nobody can tell yet.
   */
  readonly producers?: number | undefined
  /** Changes by a smaller share than this are not made. Default 0.05. */
  readonly deadband?: number | undefined
}

const targetChecks: InvalidOptions.Checks<TargetOptions> = {
  max: InvalidOptions.required(InvalidOptions.aNumber({ min: 0.001 })),
  min: InvalidOptions.aNumber({ min: 0 }),
  initial: InvalidOptions.aNumber({ min: 0 }),
  horizon: InvalidOptions.time({ min: "10 seconds", max: "1 hour" }),
  window: InvalidOptions.time({ min: "10 seconds", max: "1 hour" }),
  maxAge,
  lag: InvalidOptions.time({ max: "1 hour" }),
  deadband: InvalidOptions.aNumber({ min: 0, max: 1 }),
  producers: InvalidOptions.aWholeNumber({ min: 1 })
}

/**
 * Keeps about `target` messages waiting: sends as fast as messages leave, and what brings the backlog back to its target
 * within `horizon`. What leaves is the slope of the counts less what was sent, by medians, so that neither the noise nor
 * the lag of the counts matters much; what other producers send counts against it.
 *
 * Choose a target of at least two minutes of work. A smaller one holds too, but a change of the consumers' speed then
 * empties the queue or passes the target before the counts can show it. While the queue is empty the speed of its
 * consumers cannot be seen: the rate then goes up by half a minute.
 */
export const targetBacklog = (target: number, options: TargetOptions): Strategy => ({
  name: "targetBacklog",
  control: Effect.gen(function* () {
    yield* InvalidOptions.number("targetBacklog", target, { min: 1 })
    yield* InvalidOptions.check("Throttle.targetBacklog", options, targetChecks)
    const { deadband = 0.05, max } = options
    const min = yield* InvalidOptions.number("min", options.min ?? 0, { min: 0, max })
    const horizon = Duration.toSeconds(options.horizon ?? "2 minutes")
    const window = Duration.toSeconds(options.window ?? "3 minutes")
    const lag = Duration.toSeconds(options.lag ?? "30 seconds")
    const maxAge = maxAgeOf(options)
    const { producers } = options
    const within = (rate: number) => Math.min(max, Math.max(min, rate))
    const initial = yield* InvalidOptions.number(
      "initial",
      options.initial ?? within(target / horizon / (producers ?? 1)),
      {
        min,
        max
      }
    )

    /** What `partOf` gave when this producer sent last. */
    let lastPart: number | undefined
    let seen: Array<{ readonly at: number; readonly sent: number; readonly waiting: number }> = []
    /** What had been sent at an instant, as far as is known. */
    const sentAt = (at: number): number => {
      const after = seen.findIndex((one) => one.at >= at)
      const b = seen[after]
      const a = seen[after - 1]
      if (b === undefined) return seen.at(-1)?.sent ?? 0
      return a === undefined ? b.sent : a.sent + ((b.sent - a.sent) * (at - a.at)) / (b.at - a.at)
    }
    return {
      initial,
      lowest: min,
      next: ({ rate, sample, sent }) => {
        const now = sample.at / 1000
        const before = seen.at(-1)
        if (before !== undefined && before.at >= now) return rate
        // One lag more than the window: its oldest count speaks of what was sent before it.
        seen = seen.filter(({ at }) => at >= now - window - lag)
        seen.push({ at: now, sent, waiting: waitingIn(sample) })
        const recent = seen.filter(({ at }) => at >= now - window)
        const first = recent[0]
        if (first === undefined || recent.length < 4 || now - first.at < window / 6) return rate
        // A count that is late by `lag` is to be compared with what had been sent then: the rest is what has left.
        const left = theilSen(recent.map(({ at, waiting }) => [at, waiting - sentAt(at - lag)]))
        if (left === undefined) return rate
        const leaving = Math.max(0, -left.slope)
        const waiting = Math.max(0, left.at(now + lag) + sent)
        const age = ageIn(sample)
        const room = maxAge === undefined ? target : Math.min(target, leaving * maxAge)
        // As many as wait now have made the oldest so old.
        const goal = maxAge === undefined || age === 0 ? room : Math.min(room, (waiting * maxAge) / age)
        // What the queue loses beyond what this one sends, and what is missing, all producers make good together.
        const own = theilSen(recent.map(({ at }) => [at, sentAt(at - lag)]))?.slope ?? rate
        // Who sends nothing has no part to be seen: what little comes may be noise.
        if (own > 0) lastPart = partOf(own, sample)
        const part = producers === undefined ? (lastPart ?? partOf(own, sample)) : 1 / producers
        const steered = own + (leaving - own + (goal - waiting) / horizon) * part
        const starved =
          (maxAge === undefined || age <= maxAge) && recent.slice(-3).every((one) => one.waiting <= room / 10)
        const wanted = within(starved ? Math.max(steered, rate * 1.5 ** ((now - (before?.at ?? now)) / 60)) : steered)
        return wanted === min || wanted === max || Math.abs(wanted - rate) > deadband * rate ? wanted : rate
      }
    }
  })
})

/** A producer that has sent next to nothing still makes good so much. */
const leastPart = 0.02

/** The part of all arrivals that this producer sends, which is its part of the error too: those of all of them make one. */
const partOf = (own: number, { arrivals, growth }: Backlog.Fresh): number =>
  growth === undefined
    ? leastPart
    : arrivals === undefined || arrivals.perSecond <= 0
      ? 1
      : Math.min(1, Math.max(leastPart, own / arrivals.perSecond))

/** Delayed messages wait too. */
const waitingIn = ({ delayed, visible }: Backlog.Fresh): number => visible + delayed

/** In seconds; an age that nobody knows stops nothing. */
const ageIn = ({ oldest }: Backlog.Fresh): number => (oldest === undefined ? 0 : Duration.toSeconds(oldest.duration))

/** In seconds. */
const maxAgeOf = ({ maxAge }: { readonly maxAge?: Duration.DurationInput | undefined }) =>
  maxAge === undefined ? undefined : Duration.toSeconds(maxAge)

/**
 * How a throttle fares.
 *
 * - `Steering`: by a reading of the queue, or without need of one.
 * - `Holding`: the queue cannot be read; the last rate stays, until `until` (milliseconds since the epoch).
 * - `Blind`: it could not be read for too long; the rate is the strategy's lowest.
 */
export type Status = { readonly rate: number } & (
  | { readonly _tag: "Steering" }
  | { readonly _tag: "Holding"; readonly until: number; readonly error: unknown }
  | { readonly _tag: "Blind"; readonly error: unknown }
)

export interface Options {
  /** How long the last rate is held while the queue cannot be read. Default 2 minutes. */
  readonly holdFor?: Duration.DurationInput | undefined
  /**
   * How many messages have been sent so far, by any number that only grows. Without it the producer is taken to send all
   * that its rate lets it; one that has often less to send should be counted.
   */
  readonly sent?: Effect.Effect<number> | undefined
}

const checks: InvalidOptions.Checks<Options> = {
  holdFor: InvalidOptions.time({ max: "1 day" }),
  sent: InvalidOptions.effect
}

const strategyCheck = InvalidOptions.having(
  "a strategy, such as Throttle.targetBacklog(1_000, { max: 200 })",
  "control"
)

export interface Throttle {
  /** Messages a second: to be given to the producer as its rate. Zero: send nothing. */
  readonly rate: Tunable.Tunable
  readonly status: Effect.Effect<Status>
  /** The present status, and each that follows. */
  readonly changes: Stream.Stream<Status>
}

/**
 * Steers a rate by a strategy for as long as the scope lasts, with the samples of a backlog that others may listen to as
 * well. A backlog whose samples have ended by a fatal error is tried again every minute. While it cannot be read, the log
 * and the status say so, and the rate is held for `holdFor`, then goes to the strategy's lowest.
 *
 * Fails with `InvalidOptions` where an option, or one of the strategy's, cannot work.
 *
 * @example
 * const backlog = yield* SqsBacklog.make("orders")
 * const throttle = yield* Throttle.make(backlog, Throttle.targetBacklog(1_000, { max: 200 }))
 * // throttle.rate is the producer's `rate`
 */
export const make = <E>(
  backlog: Backlog.Backlog<E>,
  strategy: Strategy,
  options: Options = {}
): Effect.Effect<Throttle, InvalidOptions.InvalidOptions, Scope.Scope> =>
  Effect.gen(function* () {
    yield* InvalidOptions.argument("strategy", strategy, strategyCheck)
    yield* InvalidOptions.check("a throttle", options, checks)
    const control = yield* strategy.control
    const holdFor = Duration.toMillis(options.holdFor ?? "2 minutes")
    const rate = yield* Tunable.make("rate", control.initial, { min: 0 })
    const status = yield* SubscriptionRef.make<Status>({ _tag: "Steering", rate: control.initial })
    const { next } = control
    if (next === undefined) return { rate, status: status.get, changes: status.changes }

    const begunAt = yield* Clock.currentTimeMillis
    let freshAt = begunAt
    let failed: unknown = "it has not been read yet"
    let allowed = 0
    let changedAt = begunAt
    const set = (to: number) =>
      Effect.gen(function* () {
        const now = yield* Clock.currentTimeMillis
        allowed += (rate.unsafeGet() * (now - changedAt)) / 1000
        changedAt = now
        // A strategy's rates are within its bounds, which were checked.
        yield* Effect.orDie(rate.set(to))
      })
    const say = (now: Status) =>
      Effect.gen(function* () {
        const before = yield* status.get
        if (before._tag === now._tag && before.rate === now.rate) return
        yield* SubscriptionRef.set(status, now)
        if (before._tag === now._tag) return
        yield* now._tag === "Holding"
          ? Effect.logWarning(
              `the backlog of ${backlog.queue} cannot be read; ${now.rate.toFixed(1)} messages a second go on for at most ${Duration.format(Duration.millis(holdFor))}`,
              now.error
            )
          : now._tag === "Blind"
            ? Effect.logError(
                `the backlog of ${backlog.queue} could not be read for ${Duration.format(Duration.millis(holdFor))}: only ${now.rate.toFixed(1)} messages a second are sent until it can`,
                now.error
              )
            : Effect.logInfo(`the backlog of ${backlog.queue} can be read again`)
      })
    const see = (sample: Backlog.Sample<E>) =>
      Effect.gen(function* () {
        if (sample._tag === "Stale") return yield* lost(sample.error)
        freshAt = sample.at
        const { _tag } = yield* status.get
        yield* set(rate.unsafeGet())
        const sent = options.sent === undefined ? allowed : yield* options.sent
        // A rate that stood at its lowest says nothing of the consumers: the strategy goes on from where it begins.
        yield* set(next({ sample, sent, rate: _tag === "Blind" ? control.initial : rate.unsafeGet() }))
        yield* say({ _tag: "Steering", rate: rate.unsafeGet() })
      })
    const lost = (error: unknown) =>
      Effect.gen(function* () {
        failed = error
        if ((yield* status.get)._tag !== "Blind") {
          yield* say({ _tag: "Holding", rate: rate.unsafeGet(), until: freshAt + holdFor, error })
        }
      })
    /** Looks at the clock, not at the samples: a reading that never ends brings none. */
    const watchdog = Effect.gen(function* () {
      for (;;) {
        const now = yield* Clock.currentTimeMillis
        const due = freshAt + holdFor
        if (now < due) {
          yield* Effect.sleep(due - now)
        } else {
          yield* set(control.lowest)
          yield* say({ _tag: "Blind", rate: control.lowest, error: failed })
          yield* Stream.runHead(Stream.filter(status.changes, ({ _tag }) => _tag === "Steering"))
        }
      }
    })
    yield* forkScoped(watchdog)
    yield* Stream.runForEach(backlog.samples, see).pipe(
      Effect.tapError(lost),
      Effect.retry(Schedule.spaced("1 minute")),
      forkScoped
    )
    return { rate, status: status.get, changes: status.changes }
  })
