/**
 * How much waits in a queue, how it changes, and how long it will take: a stream of samples.
 *
 * A queue tells how many messages it holds, about and late (SQS: by up to a minute). A sample adds what follows from a
 * window of such readings: growth, rates of arrival and departure, the time to drain.
 */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { Delivery } from "./Delivery.js"
import * as InvalidOptions from "./InvalidOptions.js"
import { median, theilSen } from "./internal/data/slope.js"
import type { ErrorKind } from "./LeaseQueue.js"

export interface Counts {
  /** Waiting to be received. On ordered queues those behind one that is in flight count too. */
  readonly visible: number
  /** Leased and not settled, by any consumer. */
  readonly inFlight: number
  /** Sent with a delay that is not over. */
  readonly delayed: number
}

/** What a backlog is read from. */
export interface Source<E> {
  readonly queue: string
  readonly counts: Effect.Effect<Counts, E>
  /** The same of the queue's dead-letter queue, where it is to be read. */
  readonly deadLetters?: Effect.Effect<Counts, E> | undefined
  /** A fatal error ends the stream of samples; after any other the next reading is tried as usual. */
  readonly errorKind: (error: E) => ErrorKind
}

/**
 * Where the age of the oldest message comes from: the queue's own metrics (`reported`), or an estimate. A source that
 * does not know, or cannot be read, says `undefined`.
 */
export interface AgeSource {
  readonly kind: "reported" | "estimated"
  /** An `Age` where this one is of another kind, as when a source falls back on another. */
  readonly age: Effect.Effect<Duration.Duration | Age | undefined>
}

/** What a queue that shares fairly tells of its groups: how many it takes for noisy, and what is there of all others. */
export interface FairGroups {
  readonly noisy: number
  /** Messages of quiet groups, those without a group among them; `undefined` where the queue does not tell. */
  readonly quiet: Counts | undefined
  /** The age of their oldest message. */
  readonly quietOldest: Duration.Duration | undefined
}

export interface Options {
  /** Time between readings: from 1 second. Default 10 seconds. Each reading is one call, two with dead letters. */
  readonly every?: Duration.DurationInput | undefined
  /**
   * Over how long growth and rates are taken: at least four times `every`. Default 3 minutes, three times the minute by
   * which SQS's counts lag. A change shows after about half of it.
   */
  readonly window?: Duration.DurationInput | undefined
  /** Default: the age is not known. `ageEstimate` estimates it from what a consumer receives. */
  readonly oldest?: AgeSource | undefined
  /** Default: not known. `CloudWatchGroups` of `@millrace/sqs/cloudwatch` reads it for SQS's fair queues. */
  readonly groups?: Effect.Effect<FairGroups | undefined> | undefined
  /**
   * How many messages have left the queue for good so far, and how many have been sent: any numbers that only grow, such
   * as the `acked` of all consumers' stats. With one of them both rates are known; what others do beside is in the
   * derived one.
   */
  readonly departed?: Effect.Effect<number> | undefined
  readonly arrived?: Effect.Effect<number> | undefined
}

/** What each option may be. */
export const checks: InvalidOptions.Checks<Options> = {
  every: InvalidOptions.time({ min: "1 second" }),
  window: InvalidOptions.time(),
  oldest: InvalidOptions.having("a source of ages, such as Backlog.ageEstimate", "kind", "age"),
  groups: InvalidOptions.effect,
  departed: InvalidOptions.effect,
  arrived: InvalidOptions.effect
}

export interface Age {
  readonly duration: Duration.Duration
  /** As the queue reports it, or estimated from what was received. */
  readonly kind: AgeSource["kind"]
}

export interface Rate {
  readonly perSecond: number
  /** Counted, or derived from the other rate and the growth. */
  readonly kind: "counted" | "derived"
}

/** A reading that succeeded. `at` and other instants are in milliseconds since the epoch. */
export interface Fresh extends Counts {
  readonly _tag: "Fresh"
  readonly queue: string
  readonly at: number
  /** The dead-letter queue's counts; `undefined` where it is not read. */
  readonly deadLetters: Counts | undefined
  /** The age of the oldest message that waits; `undefined` where nobody knows. */
  readonly oldest: Age | undefined
  /** What the queue tells of noisy groups, where the option `groups` is given and it is known. */
  readonly groups?: FairGroups | undefined
  /**
   * By how many messages a second `visible` grows: the median of the slopes between all readings of the window.
   * `undefined` until there are four readings over a quarter of the window.
   */
  readonly growth: number | undefined
  /** Messages a second. `undefined` where neither is counted, and until the growth is known. */
  readonly arrivals: Rate | undefined
  readonly departures: Rate | undefined
  /**
   * How long `visible` takes to become zero at the present growth: infinite while it grows. Where the growth cannot be told
   * from the noise of the counts, what waits by the rate of departures; where that is not known either `undefined`, or
   * infinite while nothing is in flight: nobody receives.
   */
  readonly timeToDrain: Duration.Duration | undefined
}

/** A reading that failed: nothing newer is known than `last`. */
export interface Stale<out E> {
  readonly _tag: "Stale"
  readonly queue: string
  readonly at: number
  readonly error: E
  /** The last reading that succeeded; `undefined` where none has yet. */
  readonly last: Fresh | undefined
}

export type Sample<E = unknown> = Fresh | Stale<E>

/**
 * @typeParam E - the fatal errors that end the samples, and the others that make them stale.
 */
export interface Backlog<out E> {
  readonly queue: string
  /**
   * A sample each `every`, beginning with the latest or at once. All who run this stream share one reader; it reads only
   * while somebody listens. Who is slow misses samples. Fails where the queue can never be read.
   */
  readonly samples: Stream.Stream<Sample<E>, E>
  /** One sample, now: the latest where somebody listens, else a reading of its own. */
  readonly sample: Effect.Effect<Sample<E>, E>
}

interface Reading extends Counts {
  readonly at: number
  readonly departed: number | undefined
  readonly arrived: number | undefined
}

/** Messages a second by a counter that may begin anew, as after a restart. */
const counted = (
  readings: ReadonlyArray<Reading>,
  of: (reading: Reading) => number | undefined
): number | undefined => {
  let sum = 0
  let before: number | undefined
  let since: number | undefined
  let until: number | undefined
  for (const reading of readings) {
    const now = of(reading)
    if (now === undefined) continue
    since ??= reading.at
    until = reading.at
    if (before !== undefined) sum += now >= before ? now - before : now
    before = now
  }
  return since === undefined || until === undefined || until === since ? undefined : (sum * 1000) / (until - since)
}

const slope = (readings: ReadonlyArray<Reading>, of: (reading: Reading) => number): number =>
  theilSen(readings.map((reading) => [reading.at / 1000, of(reading)]))?.slope ?? 0

const rateOf = (own: number | undefined, other: number | undefined, growth: number): Rate | undefined =>
  own !== undefined
    ? { perSecond: own, kind: "counted" }
    : other !== undefined
      ? { perSecond: Math.max(0, other + growth), kind: "derived" }
      : undefined

/** How far off the slope of the readings may be: one standard error, from how far they are off their line. */
const slopeError = (readings: ReadonlyArray<Reading>): number => {
  const points = readings.map(({ at, visible }) => [at / 1000, visible] as const)
  const line = theilSen(points)
  if (line === undefined) return 0
  const spread = 1.4826 * median(points.map(([x, y]) => Math.abs(y - line.at(x))))
  const middle = points.reduce((sum, [x]) => sum + x, 0) / points.length
  const width = Math.sqrt(points.reduce((sum, [x]) => sum + (x - middle) ** 2, 0))
  return width === 0 ? 0 : spread / width
}

const drainTime = (
  visible: number,
  growth: number,
  error: number,
  departures: Rate | undefined,
  nobodyReceives: boolean
): Duration.Duration | undefined => {
  if (visible === 0) return Duration.zero
  if (Math.abs(growth) > 3 * error && growth !== 0) {
    return growth < 0 ? Duration.seconds(visible / -growth) : Duration.infinity
  }
  if (departures === undefined) return nobodyReceives ? Duration.infinity : undefined
  return departures.perSecond <= 0 ? Duration.infinity : Duration.seconds(visible / departures.perSecond)
}

/** The readings of the window, and what follows from them. */
class History {
  readonly #window: number
  #readings: Array<Reading> = []
  #emptyAt = -Infinity

  constructor(window: number) {
    this.#window = window
  }

  add(reading: Reading): void {
    this.#readings = this.#readings.filter(({ at }) => at > reading.at - this.#window - 1)
    this.#readings.push(reading)
    if (reading.visible + reading.inFlight + reading.delayed === 0) this.#emptyAt = reading.at
  }

  age(now: number, source: AgeSource["kind"], read: Duration.Duration | Age | undefined): Age | undefined {
    const kind = read === undefined || Duration.isDuration(read) ? source : read.kind
    const age = read === undefined || Duration.isDuration(read) ? read : read.duration
    if (kind === "reported") return age && { duration: age, kind }
    // Nothing waits for longer than since the queue was empty, whatever was received before.
    const sinceEmpty = now - this.#emptyAt
    if (sinceEmpty === 0) return { duration: Duration.zero, kind }
    return age && { duration: Duration.min(age, Duration.millis(sinceEmpty)), kind }
  }

  figures(): Pick<Fresh, "growth" | "arrivals" | "departures" | "timeToDrain"> {
    const readings = this.#readings
    const first = readings[0]
    const last = readings.at(-1)
    const visible = last?.visible ?? 0
    if (first === undefined || last === undefined || readings.length < 4 || last.at - first.at < this.#window / 4) {
      return {
        growth: undefined,
        arrivals: undefined,
        departures: undefined,
        timeToDrain: visible === 0 ? Duration.zero : undefined
      }
    }
    const growth = slope(readings, (reading) => reading.visible)
    const arrived = counted(readings, (reading) => reading.arrived)
    const departed = counted(readings, (reading) => reading.departed)
    const all =
      arrived === undefined && departed === undefined
        ? 0
        : slope(readings, ({ delayed, inFlight, visible }) => visible + inFlight + delayed)
    const departures = rateOf(departed, arrived, -all)
    return {
      growth,
      arrivals: rateOf(arrived, departed, all),
      departures,
      timeToDrain: drainTime(
        visible,
        growth,
        // A few readings are on one line by chance.
        last.at - first.at < this.#window / 2 ? Infinity : slopeError(readings),
        departures,
        readings.every(({ inFlight }) => inFlight === 0)
      )
    }
  }
}

const orUndefined = <A>(effect: Effect.Effect<A> | undefined): Effect.Effect<A | undefined> =>
  effect ?? Effect.succeed(undefined)

/**
 * The backlog of one queue. Nothing is read before its samples are run. Its reader ends with the scope, or when nobody
 * listens any more.
 *
 * Cost: one call each `every` while anybody listens, however many do; by default 360 an hour (SQS:
 * `GetQueueAttributes`), twice that with dead letters.
 */
export const make = <E>(
  source: Source<E>,
  options: Options = {}
): Effect.Effect<Backlog<E>, InvalidOptions.InvalidOptions, Scope.Scope> =>
  Effect.gen(function* () {
    yield* InvalidOptions.check("a backlog", options, checks)
    const every = Duration.decode(options.every ?? "10 seconds")
    const window = yield* InvalidOptions.duration(
      "window",
      options.window ?? Duration.max("3 minutes", Duration.times(every, 18)),
      { min: Duration.times(every, 4) }
    )
    const history = new History(Duration.toMillis(window))
    let last: Fresh | undefined

    const read = Effect.gen(function* () {
      const counts = yield* source.counts
      const deadLetters = source.deadLetters && (yield* source.deadLetters)
      const departed = yield* orUndefined(options.departed)
      const arrived = yield* orUndefined(options.arrived)
      const age = yield* orUndefined(options.oldest?.age)
      const groups = yield* orUndefined(options.groups)
      const at = yield* Clock.currentTimeMillis
      history.add({ ...counts, at, departed, arrived })
      const fresh: Fresh = {
        _tag: "Fresh",
        queue: source.queue,
        at,
        ...counts,
        deadLetters,
        oldest: options.oldest === undefined ? undefined : history.age(at, options.oldest.kind, age),
        groups,
        ...history.figures()
      }
      last = fresh
      return fresh
    })
    const next: Effect.Effect<Sample<E>, E> = Effect.catchIf(
      read,
      (error) => source.errorKind(error) !== "fatal",
      (error) =>
        Effect.map(Clock.currentTimeMillis, (at): Stale<E> => ({ _tag: "Stale", queue: source.queue, at, error, last }))
    )
    const samples = yield* Stream.repeatEffectWithSchedule(next, Schedule.fixed(every)).pipe(
      Stream.share({ capacity: 16, strategy: "sliding", replay: 1 })
    )
    return {
      queue: source.queue,
      samples,
      sample: Effect.flatMap(
        Stream.runHead(samples),
        Option.match({ onNone: () => Effect.dieMessage("samples do not end"), onSome: Effect.succeed })
      )
    }
  })

/** The samples of many queues as they come; each says which `queue` it is of. Fails where one of them fails. */
export const all = <E>(backlogs: ReadonlyArray<Backlog<E>>): Stream.Stream<Sample<E>, E> =>
  Stream.mergeAll(
    backlogs.map(({ samples }) => samples),
    { concurrency: "unbounded" }
  )

/** Estimates the age of the oldest message from the messages that a consumer receives. */
export interface AgeEstimate extends AgeSource {
  /** A stage for the consumer's deliveries, or for those of several: it changes nothing, and looks at when they were sent. */
  readonly through: <A, F, E, R>(deliveries: Stream.Stream<Delivery<A, F>, E, R>) => Stream.Stream<Delivery<A, F>, E, R>
}

/** How far apart receipts may be to count as one look at the head of the queue, in milliseconds. */
const glance = 10_000

/**
 * An estimate for the option `oldest`: how long the messages received of late had waited, the longest of the last ten
 * seconds of receipts, and the time since, for what is now at the head waits on. It costs no call and no permission, and
 * is off where the queue is not nearly in order of sending. Unknown until something has been received.
 *
 * Messages received more than three times are not looked at, as SQS's own metric leaves out a message that fails again
 * and again.
 *
 * @see https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-available-cloudwatch-metrics.html
 */
export const ageEstimate: Effect.Effect<AgeEstimate> = Effect.sync(() => {
  /** The longest wait seen in a second, by second. */
  let glances: Array<{ readonly at: number; waited: number }> = []
  const note = (now: number, sentAt: number) => {
    const second = Math.floor(now / 1000) * 1000
    const waited = now - sentAt
    const latest = glances.at(-1)
    if (latest?.at === second) {
      latest.waited = Math.max(latest.waited, waited)
    } else {
      glances = glances.filter(({ at }) => at > now - glance)
      glances.push({ at: second, waited })
    }
  }
  return {
    kind: "estimated",
    age: Effect.map(Clock.currentTimeMillis, (now) => {
      const latest = glances.at(-1)
      return latest === undefined
        ? undefined
        : Duration.millis(Math.max(0, now - latest.at - 1000) + Math.max(...glances.map(({ waited }) => waited)))
    }),
    through: Stream.mapChunksEffect((deliveries) =>
      Effect.map(Clock.currentTimeMillis, (now) => {
        for (const { message } of deliveries) {
          if (message.sentAt !== undefined && message.attempt <= 3) note(now, message.sentAt)
        }
        return deliveries
      })
    )
  }
})
