/**
 * One consumer of one queue: its options, its stream of deliveries, and the handle on it while it runs.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import type * as Stream from "effect/Stream"
import type * as Delivery from "./Delivery.js"
import type * as Figures from "./Figures.js"
import type * as Health from "./Health.js"
import * as InvalidOptions from "./InvalidOptions.js"
import { join } from "./internal/drain/companions.js"
import { Idle } from "./internal/drain/idle.js"
import { fork, forkScoped } from "./internal/effect/fork.js"
import { fromPull, unwrapped } from "./internal/effect/pull.js"
import * as Engine from "./internal/engine.js"
import { downstream } from "./internal/handOver/downstream.js"
import { consumerFigures, consumerStats } from "./internal/observe/consumerFigures.js"
import { consumerHealth } from "./internal/observe/consumerHealth.js"
import { Observer, type Observing } from "./internal/observe/observer.js"
import { Unobserved } from "./internal/observe/unobserved.js"
import type { OwnPermits } from "./internal/receive/sharedPermits.js"
import { unlimited } from "./internal/receive/tokens.js"
import type * as LeaseQueue from "./LeaseQueue.js"
import * as Quota from "./Quota.js"
import * as Tunable from "./Tunable.js"

/** @typeParam Q - how its quota may fail. */
export interface Options<out Q = never> {
  /** Names the consumer in metrics and logs. Default: the queue's name. */
  readonly name?: string | undefined
  /**
   * Messages in flight at once, at most: prefetched, waiting, running, and waiting for their settlement to be
   * confirmed. A ceiling, not a target. From 1 to 120,000. Default 100.
   */
  readonly maxInFlight?: number | Tunable.Tunable | undefined
  /**
   * Messages received a second, at most. `burst` is how many may come at once after a pause (default: the rate, at least
   * 1). No message is leased while it waits for its turn. Default: no limit.
   */
  readonly rate?: { readonly perSecond: number | Tunable.Tunable; readonly burst?: number | undefined } | undefined
  /**
   * What a downstream lets all processes do together: `Quota.make`. Nothing is leased while it waits for its turn. Default:
   * none.
   */
  readonly quota?: Quota.Quota<Q> | undefined
  /** How long one receive waits for a first message: from 1 second. Default: the queue's longest (SQS: 20 seconds). */
  readonly wait?: Duration.DurationInput | undefined
  /**
   * How long a settlement waits for others to share its call, at most half of the lease: less where somebody waits for
   * it, not at all where no other can come. Default 250 milliseconds.
   */
  readonly linger?: Duration.DurationInput | undefined
  /**
   * When to receive again after a failed receive; begins anew after one that succeeded. Where it ends, the stream fails
   * with the last error. Default: exponential, 200 milliseconds to 20 seconds, jittered.
   */
  readonly receiveRetry?: Schedule.Schedule<unknown> | undefined
  /** When to try failed settlements again. Default: exponential, 100 milliseconds to 5 seconds, jittered. */
  readonly settleRetry?: Schedule.Schedule<unknown> | undefined
  /**
   * How long a fatal error (no such queue, access denied, bad credentials) is retried once a message has been
   * received, or acks are; before the first message it fails the stream at once. Default 2 minutes: a queue that is deleted
   * and made anew is away for one.
   */
  readonly fatalGrace?: Duration.DurationInput | undefined
  /** How long an open receive is awaited on stop before it is aborted. Default 2 seconds. */
  readonly pollGrace?: Duration.DurationInput | undefined
  /** How long the last settlements may take at the end, before they count as lost. Default 10 seconds. */
  readonly flushWithin?: Duration.DurationInput | undefined
  /** Whether leases are extended, when half of them is over, for as long as they are in flight. Default true. */
  readonly heartbeat?: boolean | undefined
  /** Ends the stream by a drain when this completes: no new receives, running handlers finish, the rest is released. */
  readonly drainWhen?: Effect.Effect<unknown> | undefined
  /**
   * Ends the stream once the queue has been empty for so long: nothing in flight here, nothing to come of what was given back
   * with a delay, and receives that bring nothing. It looks as a receive comes back empty, which is every `wait`. What others
   * have in flight, or have sent with a delay, is not seen: make it longer than that takes. Zero: at the first receive that
   * brings nothing. Default: it does not end by itself.
   */
  readonly drainWhenIdle?: Duration.DurationInput | undefined
  /** How long handlers may go on in a drain by `drainWhen`. Default 20 seconds. */
  readonly drainDeadline?: Duration.DurationInput | undefined
  /** A delivery that no stage has claimed for so long is warned about, by its id: from 1 second. Default 1 minute. */
  readonly warnAfter?: Duration.DurationInput | undefined
  /**
   * Bytes of bodies that were opened (compressed ones), or fetched by a claim check, in messages that have not ended: the
   * next is opened while the others come to less, so that one more than this may be open. Default 8 MiB: parsed, a body
   * takes up to twenty times its bytes of the heap.
   */
  readonly maxOpenedBytes?: number | undefined
  /** A span for each call to the queue: `receive <queue>`, `ack <queue>` and so on. Default false. */
  readonly spans?: boolean | undefined
}

/** What each option may be; `wait` and `linger` also go by what the queue allows. */
export const checks: InvalidOptions.Checks<Options> = {
  name: InvalidOptions.text,
  maxInFlight: InvalidOptions.checkedBelow,
  rate: InvalidOptions.fields<NonNullable<Options["rate"]>>({
    perSecond: InvalidOptions.checkedBelow,
    burst: InvalidOptions.aWholeNumber({ min: 1 })
  }),
  quota: Quota.check,
  wait: InvalidOptions.time(),
  linger: InvalidOptions.time(),
  receiveRetry: InvalidOptions.schedule,
  settleRetry: InvalidOptions.schedule,
  fatalGrace: InvalidOptions.time(),
  pollGrace: InvalidOptions.time(),
  flushWithin: InvalidOptions.time(),
  heartbeat: InvalidOptions.flag,
  drainWhen: InvalidOptions.effect,
  drainWhenIdle: InvalidOptions.time(),
  drainDeadline: InvalidOptions.time(),
  warnAfter: InvalidOptions.time({ min: "1 second" }),
  maxOpenedBytes: InvalidOptions.aWholeNumber({ min: 1 }),
  spans: InvalidOptions.flag
}

export type { Stats } from "./Figures.js"

export interface DrainOptions {
  readonly deadline?: Duration.DurationInput | undefined
  /**
   * What becomes of a message whose handler is interrupted: released (the default), or left to the queue's own timeout,
   * where it has had all the time that it may have.
   */
  readonly interrupted?: "release" | "leave" | undefined
  /** How long its last settlements may take, where that is not what the consumer's `flushWithin` says. */
  readonly flushWithin?: Duration.DurationInput | undefined
}

const deadlineChecks = (): InvalidOptions.Checks<Pick<DrainOptions, "deadline">> => ({
  deadline: InvalidOptions.time()
})

const drainChecks = (): InvalidOptions.Checks<DrainOptions> => ({
  ...deadlineChecks(),
  interrupted: InvalidOptions.oneOf("release", "leave"),
  flushWithin: InvalidOptions.time()
})

/** How a drain ended. */
export interface DrainReport {
  /** Settled by their handlers or their policy, in time. */
  readonly finished: number
  /** Given back to the queue. */
  readonly released: number
  /** Without a confirmed settlement; the queue delivers them again. */
  readonly lost: number
  /** Leases that an aborted receive may have left with nobody, at most. */
  readonly stranded: number
}

export interface Consumer<E> {
  /** The deliveries. Run it once; closing it stops the consumer and releases what no stage has claimed. */
  readonly stream: Stream.Stream<Delivery.Delivery<string>, E>
  /**
   * Stops receiving, lets what runs finish until `deadline` (default 20 seconds), interrupts what still runs,
   * flushes the settlements and releases the rest. The stream then ends.
   */
  readonly drain: (options?: DrainOptions) => Effect.Effect<DrainReport>
  /** What it has done so far, and what it holds. */
  readonly stats: Effect.Effect<Figures.Stats>
  /** All that it measures of itself, from its start until now. */
  readonly figures: Effect.Effect<Figures.Figures>
  /** Sends no more receives until `resume`; what is in flight goes on. */
  readonly pause: Effect.Effect<void>
  readonly resume: Effect.Effect<void>
  /** To read and to change while it runs: messages in flight at once, at most. */
  readonly maxInFlight: Tunable.Tunable
  /** Messages received a second, at most. `Number.MAX_SAFE_INTEGER` is no limit. */
  readonly rate: Tunable.Tunable
  /** The slots of each stage of its pipeline, the first one first; none before its stream runs. */
  readonly concurrency: Effect.Effect<ReadonlyArray<Tunable.Tunable>>
  /** Whether the consumer makes progress, and what stands in its way. */
  readonly health: (options?: Health.Options) => Effect.Effect<Health.Health>
}

/** @internal What can be changed while a consumer runs, as its options have it; `least` is the smallest bound. */
export const tunables = ({ maxInFlight = 100, rate }: Options<unknown>, least = 1) =>
  Effect.gen(function* () {
    return {
      maxInFlight: yield* Tunable.from("maxInFlight", maxInFlight, { min: least, max: 120_000, whole: true }),
      rate: {
        perSecond: yield* Tunable.from("rate.perSecond", rate === undefined ? unlimited : rate.perSecond, {
          min: 0.001
        }),
        burst: rate?.burst
      }
    }
  })

const settingsOf = <Q>(
  queue: Pick<LeaseQueue.LeaseQueue<never>, "name" | "limits" | "leaseDuration">,
  options: Options<Q>
) =>
  Effect.gen(function* () {
    yield* InvalidOptions.check("a consumer", options, checks)
    const { drainDeadline, drainWhenIdle, fatalGrace, flushWithin, pollGrace } = options
    yield* InvalidOptions.warnOfBareNumbers({ drainDeadline, drainWhenIdle, fatalGrace, flushWithin, pollGrace })
    const settings: Omit<Engine.Settings<Q>, "permits" | "idle"> = {
      ...(yield* tunables(options)),
      name: options.name ?? queue.name,
      wait: yield* InvalidOptions.duration("wait", options.wait ?? queue.limits.maxWait, {
        min: "1 second",
        max: queue.limits.maxWait
      }),
      linger: yield* InvalidOptions.duration("linger", options.linger ?? "250 millis", {
        max: Duration.times(queue.leaseDuration, 0.5)
      }),
      quota: options.quota,
      receiveRetry: options.receiveRetry,
      settleRetry: options.settleRetry,
      pollGrace: Duration.decode(pollGrace ?? "2 seconds"),
      flushWithin: Duration.decode(flushWithin ?? "10 seconds"),
      fatalGrace: Duration.decode(fatalGrace ?? "2 minutes"),
      heartbeat: options.heartbeat ?? true,
      warnAfter: Duration.decode(options.warnAfter ?? "1 minute"),
      maxOpenedBytes: options.maxOpenedBytes ?? 8 * 1_048_576,
      spans: options.spans ?? false
    }
    return settings
  })

// A drain has no error of its own: a deadline that is none is a defect.
const deadlineBy = <O extends Pick<DrainOptions, "deadline">>(
  options: O,
  checks: InvalidOptions.Checks<O>,
  standard: Duration.DurationInput
): Effect.Effect<Duration.Duration> =>
  Effect.orDie(
    Effect.map(InvalidOptions.check("drain", options, checks), () => Duration.decode(options.deadline ?? standard))
  )

/** @internal Of a drain that has no other option. */
export const deadlineOf = (
  options: Pick<DrainOptions, "deadline"> = {},
  standard: Duration.DurationInput
): Effect.Effect<Duration.Duration> => deadlineBy(options, deadlineChecks(), standard)

/** @internal One that has not been run yet. */
export interface Made<E, Q, O extends Observing> {
  readonly engine: Engine.Engine<E | Q, O>
  readonly settings: Engine.Settings<Q>
  /** The slots of the stages of its pipeline, as its stream was run last. */
  readonly slots: () => ReadonlyArray<Tunable.Tunable>
  /** `joins` where it is drained with the pipeline that it is a part of. */
  readonly stream: (joins: boolean) => Stream.Stream<Delivery.Delivery<string>, E | Q>
}

/** @internal What ends consumers that are idle, where they are to end so. */
export const idleOf = ({ drainWhenIdle }: Options<unknown>): Idle | undefined =>
  drainWhenIdle === undefined ? undefined : new Idle(Duration.toMillis(drainWhenIdle))

/** @internal Measures, for a handle that can be asked for figures. */
export const observed = (): Observer => new Observer()

/** @internal Where there is no handle. */
export const unobserved = (): Unobserved => new Unobserved()

/** @internal `shared`: what it shares with other queues. */
export const makeOne = <E, O extends Observing, Q = never>(
  queue: LeaseQueue.LeaseQueue<E>,
  options: Options<Q>,
  observer: () => O,
  shared?: { readonly permits: OwnPermits | undefined; readonly idle: Idle | undefined }
): Effect.Effect<Made<E, Q, O>, InvalidOptions.InvalidOptions> =>
  Effect.gen(function* () {
    const checked = yield* settingsOf(queue, options)
    const idle = (shared === undefined ? idleOf(options) : shared.idle)?.part()
    const settings = { ...checked, permits: shared?.permits, idle }
    const forked = yield* fork()
    const engine = Engine.make(queue, settings, yield* Effect.clock, forked, observer())
    const { drain } = engine
    const drainDeadline = Duration.decode(options.drainDeadline ?? "20 seconds")
    if (idle !== undefined) {
      idle.member = {
        now: () => engine.source.clock.now(),
        rests: engine.rests,
        drain: () => {
          forked(Effect.logInfo(`${queue.name} is empty: its consumer ends, as \`drainWhenIdle\` says`))
          drain.start(drainDeadline)
        }
      }
    }
    let slots: ReadonlyArray<Tunable.Tunable> = []
    let runs = 0
    const pull = (joins: boolean) =>
      Effect.gen(function* () {
        yield* Effect.addFinalizer(() => drain.closeSource)
        if (runs++ > 0) {
          yield* Effect.logWarning(
            `the stream of the consumer of ${queue.name} is run once more: its permits, figures and drain are one, and the first run that ends stops them all; make a consumer for each pipeline`
          )
        }
        if (joins) yield* join({ drain: (deadline) => drain.run(deadline) })
        const further = yield* downstream.get
        slots = further.slots
        if (!further.onStart(engine.source)) return Effect.fail(Option.none())
        idle?.busyUntil(engine.source.clock.now())
        if (options.drainWhen !== undefined) {
          // The drain outlives the source, which it ends: its deadline is for the stages after it.
          yield* forkScoped(
            Effect.zipRight(
              options.drainWhen,
              Effect.sync(() => drain.start(drainDeadline))
            )
          )
        }
        return engine.pull
      })
    return { engine, settings, slots: () => slots, stream: (joins) => fromPull(pull(joins)) }
  })

/**
 * A consumer with a handle: its stream, its figures, and a drain on request. Closing the scope is a drain with deadline
 * zero: everything still in flight, claimed or not, is interrupted and released.
 *
 * Fails with `InvalidOptions` where an option cannot work.
 */
export const make = <E, Q = never>(
  queue: LeaseQueue.LeaseQueue<E>,
  options: Options<Q> = {}
): Effect.Effect<Consumer<E | Q>, InvalidOptions.InvalidOptions, Scope.Scope> =>
  Effect.flatMap(makeOne(queue, options, observed), handleOf)

/** @internal Its handle, for as long as the scope lasts. */
export const handleOf = <E, Q>({
  engine,
  settings,
  slots,
  stream
}: Made<E, Q, Observer>): Effect.Effect<Consumer<E | Q>, never, Scope.Scope> =>
  Effect.as(
    Effect.addFinalizer(() => engine.drain.run(Duration.zero)),
    {
      stream: stream(false),
      drain: (drainOptions = {}) =>
        Effect.flatMap(deadlineBy(drainOptions, drainChecks(), "20 seconds"), (deadline) =>
          engine.drain.run(
            deadline,
            drainOptions.interrupted,
            drainOptions.flushWithin === undefined ? undefined : Duration.decode(drainOptions.flushWithin)
          )
        ),
      stats: Effect.sync(() => consumerStats(engine.known)),
      figures: consumerFigures(engine.known),
      pause: Effect.sync(engine.pause),
      resume: Effect.sync(engine.resume),
      maxInFlight: settings.maxInFlight,
      rate: settings.rate.perSecond,
      concurrency: Effect.sync(slots),
      health: (healthOptions = {}) => Effect.sync(() => consumerHealth(engine.known, healthOptions))
    }
  )

/**
 * The queue as a stream of deliveries. Nothing is received before the stream is run and asks; how fast the queue is
 * polled is decided by how fast deliveries are taken and settled. When the stream closes, what no stage has claimed is
 * released.
 *
 * Fails with `InvalidOptions` where an option cannot work, and with the queue's error where it is fatal.
 */
export const stream = <E, Q = never>(
  queue: LeaseQueue.LeaseQueue<E>,
  options: Options<Q> = {}
): Stream.Stream<Delivery.Delivery<string>, E | Q | InvalidOptions.InvalidOptions> =>
  unwrapped(Effect.map(makeOne(queue, options, unobserved), ({ stream }) => stream(true)))

/**
 * A stream that an effect gives, for a queue that has to be looked up first: what `Stream.unwrap` does, at no cost for what
 * flows through it, since the stage that reads it pulls from the consumer itself.
 */
export const unwrap: <A, E, R, E2, R2>(
  self: Effect.Effect<Stream.Stream<A, E, R>, E2, R2>
) => Stream.Stream<A, E | E2, R | Exclude<R2, Scope.Scope>> = unwrapped
