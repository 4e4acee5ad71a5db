/**
 * A consumer as a service of the program: it runs for as long as its Layer, and ends by a drain.
 */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Data from "effect/Data"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Consumer from "./Consumer.js"
import type { Delivery } from "./Delivery.js"
import type * as Figures from "./Figures.js"
import type * as Health from "./Health.js"
import * as InvalidOptions from "./InvalidOptions.js"
import { type Companion, companions } from "./internal/drain/companions.js"
import { interrupt } from "./internal/effect/fork.js"
import { restarted } from "./internal/effect/restarts.js"
import { within } from "./internal/effect/within.js"
import type * as LeaseQueue from "./LeaseQueue.js"
import * as Reason from "./Reason.js"
import type * as Tunable from "./Tunable.js"

export interface Options extends Consumer.Options {
  /** How long handlers may go on when the Layer is closed (SIGTERM, through the runtime). Default 20 seconds. */
  readonly drainDeadline?: Duration.DurationInput | undefined
  /**
   * What follows when the pipeline fails: a schedule starts it anew by its delays, with a consumer of its own, until
   * the schedule is over, whether it failed or died. The schedule begins anew once a consumer has run for a minute longer
   * than `fatalGrace`. Default: it does not start again. What it failed of at last, `failure` tells, and `launch` fails
   * with it.
   */
  readonly restart?: Schedule.Schedule<unknown, unknown> | undefined
}

/** What each option may be. */
export const checks: InvalidOptions.Checks<Options> = { ...Consumer.checks, restart: InvalidOptions.schedule }

/** A pipeline has failed for good: no restart has mended it. */
export class ConsumerFailed extends Data.TaggedError("ConsumerFailed")<{
  readonly queue: string
  /** What it failed with, or the defect that it died of. */
  readonly cause: unknown
  readonly message: string
}> {}

/** A running consumer, to be looked at and steered. */
export interface Served {
  readonly stats: Effect.Effect<Consumer.Stats>
  /** All that the running consumer measures of itself; one that `restart` has started begins anew. */
  readonly figures: Effect.Effect<Figures.Figures>
  readonly health: (options?: Health.Options) => Effect.Effect<Health.Health>
  readonly pause: Effect.Effect<void>
  readonly resume: Effect.Effect<void>
  /** To read and to change while it runs, and kept by `restart`: messages in flight at once, at most. */
  readonly maxInFlight: Tunable.Tunable
  /** Messages received a second, at most, kept by `restart`. `Number.MAX_SAFE_INTEGER` is no limit. */
  readonly rate: Tunable.Tunable
  /**
   * The slots of each stage of its pipeline, the first one first; none before it runs. `restart` begins with what the
   * pipeline says: a `Tunable` of your own there keeps its value.
   */
  readonly concurrency: Effect.Effect<ReadonlyArray<Tunable.Tunable>>
  /** Ends it before its Layer is closed. */
  readonly drain: (options?: {
    readonly deadline?: Duration.DurationInput | undefined
  }) => Effect.Effect<Consumer.DrainReport>
  /**
   * Completes when the pipeline has ended: drained, by `drainWhen` and `drainWhenIdle` too, or of itself. Fails with what it
   * failed of at last.
   */
  readonly ended: Effect.Effect<void, ConsumerFailed>
  /** Fails with what the pipeline failed of at last, which no restart has mended; never succeeds. */
  readonly failure: Effect.Effect<never, ConsumerFailed>
}

/** Collects what served consumers fail of, so that `launch` can fail. */
class Failures extends Context.Tag("@millrace/core/Failures")<Failures, Deferred.Deferred<never, ConsumerFailed>>() {}

/** Runs of this long, beyond `fatalGrace`, count as work: the schedule of restarts begins anew after one. */
const settledAfter = Duration.minutes(1)

/** What an interrupted pipeline may take beyond `flushWithin`. */
const ending = Duration.seconds(2)

const consumerFailed = (queue: string, cause: Cause.Cause<unknown>) => {
  const error = Cause.squash(cause)
  return new ConsumerFailed({
    queue,
    cause: error,
    message: `the pipeline of ${queue} has failed: ${Reason.of(error)}`
  })
}

/** The schedule sees what the pipeline failed of. */
const withCause = (schedule: Schedule.Schedule<unknown, unknown>) =>
  Schedule.mapInput(schedule, (error: unknown) => (error instanceof ConsumerFailed ? error.cause : error))

const plus = (a: Consumer.DrainReport, b: Consumer.DrainReport): Consumer.DrainReport => ({
  finished: a.finished + b.finished,
  released: a.released + b.released,
  lost: a.lost + b.lost,
  stranded: a.stranded + b.stranded
})

const described = ({ finished, lost, released, stranded }: Consumer.DrainReport): string =>
  `${finished} finished, ${released} released, ${lost} lost${
    stranded === 0
      ? ""
      : `. A receive that waited for messages was aborted: where any came for it just then, at most ${stranded}, nobody has them until their visibility timeout is over (\`pollGrace\` is how long it is awaited)`
  }`

const run = <E, E2, R>(
  queue: LeaseQueue.LeaseQueue<E>,
  pipeline: (deliveries: Stream.Stream<Delivery<string>, E>) => Stream.Stream<unknown, E2, R>,
  options: Options
) =>
  Effect.gen(function* () {
    yield* InvalidOptions.check("a served consumer", options, checks)
    const drainDeadline = Duration.decode(options.drainDeadline ?? "20 seconds")
    const fatalGrace = Duration.decode(options.fatalGrace ?? "2 minutes")
    const flushWithin = Duration.decode(options.flushWithin ?? "10 seconds")
    const failed = yield* Deferred.make<never, ConsumerFailed>()
    const failures = yield* Effect.serviceOption(Failures)
    const scope = yield* Scope.make()
    const tunables = yield* Consumer.tunables(options)
    const start = Scope.extend(
      Consumer.make(queue, { ...InvalidOptions.only(Consumer.checks, options), ...tunables }),
      scope
    )
    const others = new Set<Companion<Consumer.DrainReport>>()
    let current = yield* start
    let state: "new" | "running" | "failed" | "draining" = "new"
    let failure: ConsumerFailed | undefined
    const attempt = Effect.gen(function* () {
      // A consumer's stream runs once: each start after the first takes a new one.
      if (state === "failed") current = yield* start
      if (state === "draining") return
      state = "running"
      failure = undefined
      yield* Stream.runDrain(pipeline(current.stream))
    }).pipe(
      Effect.catchAllCause((cause) =>
        Effect.zipRight(
          Effect.logError(`the consumer of ${queue.name} has failed`, cause),
          Effect.suspend(() => {
            if (state === "draining") return Effect.void
            state = "failed"
            failure = consumerFailed(queue.name, cause)
            return Effect.fail(failure)
          })
        )
      ),
      (self) => companions.locally(self, others)
    )
    const running =
      options.restart === undefined
        ? attempt
        : // Errors that are retried for `fatalGrace` before they end a consumer are no work.
          restarted(attempt, withCause(options.restart), Duration.sum(fatalGrace, settledAfter))
    // No scope awaits it: one that does not end would be awaited without end.
    const fiber = yield* Effect.forkDaemon(
      Effect.tapError(running, (error) =>
        Effect.zipRight(
          Deferred.fail(failed, error),
          Option.match(failures, { onNone: () => Effect.void, onSome: (all) => Deferred.fail(all, error) })
        )
      )
    )

    /** What is left of a pipeline whose consumers are drained has until `deadline`, is interrupted, and let go at last. */
    const end = (deadline: Duration.Duration) =>
      Effect.gen(function* () {
        if (Option.isSome(yield* within(Fiber.await(fiber), Duration.max(deadline, flushWithin)))) return
        yield* Effect.logWarning(
          `the pipeline of ${queue.name} does not end with its source, though that is drained: it is interrupted`
        )
        interrupt(fiber)
        if (Option.isSome(yield* within(Fiber.await(fiber), Duration.sum(flushWithin, ending)))) return
        yield* Effect.logWarning(
          `the pipeline of ${queue.name} cannot be interrupted and is let go as it runs: look for Effect.uninterruptible, or a loop that never waits, in its handlers and stages`
        )
      })
    const drain = (deadline: Duration.Duration) =>
      Effect.gen(function* () {
        const since = yield* Clock.currentTimeMillis
        const waitsForRestart = state === "failed"
        state = "draining"
        const draining = yield* Effect.forEach([...others], (other) => Effect.forkDaemon(other.drain(deadline)))
        const own = yield* current.drain({ deadline })
        const reports = yield* Effect.forEach(draining, (fiber) => Fiber.join(fiber))
        const report = reports.reduce(plus, own)
        const elapsed = Duration.millis((yield* Clock.currentTimeMillis) - since)
        yield* waitsForRestart ? Fiber.interrupt(fiber) : end(Duration.subtract(deadline, elapsed))
        yield* Effect.logInfo(`the consumer of ${queue.name} is drained: ${described(report)}`)
        return report
      })
    yield* Effect.addFinalizer(() =>
      Effect.zipRight(
        Effect.when(drain(drainDeadline), () => fiber.unsafePoll() === null),
        Scope.close(scope, Exit.void)
      )
    )
    const served: Served = {
      stats: Effect.suspend(() => current.stats),
      figures: Effect.suspend(() => current.figures),
      health: (healthOptions) =>
        Effect.map(
          Effect.suspend(() => current.health(healthOptions)),
          (health) =>
            failure === undefined
              ? health
              : { ...health, healthy: false, problems: [failure.message, ...health.problems] }
        ),
      pause: Effect.suspend(() => current.pause),
      resume: Effect.suspend(() => current.resume),
      maxInFlight: tunables.maxInFlight,
      rate: tunables.rate.perSecond,
      concurrency: Effect.suspend(() => current.concurrency),
      drain: (drainOptions) => Effect.flatMap(Consumer.deadlineOf(drainOptions, drainDeadline), drain),
      ended: Effect.flatMap(Fiber.await(fiber), (exit) =>
        Exit.isFailure(exit) && exit.cause._tag === "Fail" ? Effect.fail(exit.cause.error) : Effect.void
      ),
      failure: Deferred.await(failed)
    }
    return served
  })

/**
 * Runs a pipeline over a queue for the life of the Layer, and gives a handle to it under a tag of the user's own. When
 * the Layer is closed, by SIGTERM or SIGINT through the runtime for instance, the consumer is drained: no new receives,
 * handlers finish until `drainDeadline`, the rest is released; the report is logged. Consumers that the pipeline merges
 * are drained with it. A pipeline that does not end then is interrupted, and let go where that does not end it either.
 *
 * Fails with `InvalidOptions` where an option cannot work, and with what `queue` fails with.
 *
 * @example
 * class Orders extends Context.Tag("Orders")<Orders, Served.Served>() {}
 * const OrdersLive = Served.layer(Orders, queue, (deliveries) => deliveries.pipe(
 *   Pipeline.decodeJson(Order),
 *   Pipeline.process(fulfil)
 * ))
 */
export const layer = <I, E, EQ, RQ, E2, R>(
  tag: Context.Tag<I, Served>,
  queue: Effect.Effect<LeaseQueue.LeaseQueue<E>, EQ, RQ>,
  pipeline: (deliveries: Stream.Stream<Delivery<string>, E>) => Stream.Stream<unknown, E2, R>,
  options: Options = {}
): Layer.Layer<I, EQ | InvalidOptions.InvalidOptions, Exclude<RQ | R, Scope.Scope>> =>
  Layer.scoped(
    tag,
    Effect.flatMap(queue, (leaseQueue) => run(leaseQueue, pipeline, options))
  )

/**
 * Builds a Layer and keeps it until it is interrupted, as `Layer.launch` does, or until a consumer in it has failed for
 * good: then it closes the Layer and fails with `ConsumerFailed`, whose `cause` is what the consumer failed of.
 */
export const launch = <A, E, R>(app: Layer.Layer<A, E, R>): Effect.Effect<never, E | ConsumerFailed, R> =>
  Effect.gen(function* () {
    const failures = yield* Deferred.make<never, ConsumerFailed>()
    return yield* Effect.scoped(
      Effect.zipRight(Layer.build(Layer.provide(app, Layer.succeed(Failures, failures))), Deferred.await(failures))
    )
  })
