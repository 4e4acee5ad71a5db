/**
 * A consumer as a service of the program: it runs for as long as its Layer, and ends by a drain.
 */
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import type * as Schedule from "effect/Schedule"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Consumer from "./Consumer.js"
import type { Delivery } from "./Delivery.js"
import type * as Figures from "./Figures.js"
import type * as Health from "./Health.js"
import * as InvalidOptions from "./InvalidOptions.js"
import type * as LeaseQueue from "./LeaseQueue.js"
import type * as Tunable from "./Tunable.js"

export interface Options extends Consumer.Options {
  /** How long handlers may go on when the Layer is closed (SIGTERM, through the runtime). Default 20 seconds. */
  readonly drainDeadline?: Duration.DurationInput | undefined
  /**
   * What follows when the pipeline fails: a schedule starts it anew by its delays, with a consumer of its own, until
   * the schedule is over. Default: it does not start again. What it failed of at last, `failure` tells, and `launch`
   * fails with it.
   */
  readonly restart?: Schedule.Schedule<unknown, unknown> | undefined
}

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
  /** Fails with what the pipeline failed of at last, which no restart has mended; never succeeds. */
  readonly failure: Effect.Effect<never, unknown>
}

/** Collects what served consumers fail of, so that `launch` can fail. */
class Failures extends Context.Tag("@millrace/core/Failures")<Failures, Deferred.Deferred<never, unknown>>() {}

const run = <E, E2, R>(
  queue: LeaseQueue.LeaseQueue<E>,
  pipeline: (deliveries: Stream.Stream<Delivery<string>, E>) => Stream.Stream<unknown, E2, R>,
  options: Options
) =>
  Effect.gen(function* () {
    const drainDeadline = yield* InvalidOptions.duration("drainDeadline", options.drainDeadline ?? "20 seconds", {})
    const failed = yield* Deferred.make<never, unknown>()
    const failures = yield* Effect.serviceOption(Failures)
    const scope = yield* Scope.make()
    const tunables = yield* Consumer.tunables(options)
    const start = Scope.extend(Consumer.make(queue, { ...options, ...tunables }), scope)
    let current = yield* start
    let state: "new" | "running" | "failed" | "draining" = "new"
    const attempt = Effect.gen(function* () {
      // A consumer's stream runs once: each start after the first takes a new one.
      if (state === "failed") current = yield* start
      if (state === "draining") return
      state = "running"
      yield* Stream.runDrain(pipeline(current.stream))
    }).pipe(
      Effect.catchAllCause((cause) =>
        Effect.zipRight(
          Effect.logError(`the consumer of ${queue.name} has failed`, cause),
          Effect.suspend(() => {
            if (state === "draining") return Effect.void
            state = "failed"
            return Effect.failCause(cause)
          })
        )
      )
    )
    const running = options.restart === undefined ? attempt : Effect.retry(attempt, options.restart)
    const fiber = yield* Effect.forkIn(
      Effect.tapErrorCause(running, (cause) =>
        Effect.zipRight(
          Deferred.failCause(failed, cause),
          Option.match(failures, { onNone: () => Effect.void, onSome: (all) => Deferred.failCause(all, cause) })
        )
      ),
      scope
    )
    const drain = (deadline: Duration.Duration) =>
      Effect.suspend(() => {
        const waitsForRestart = state === "failed"
        state = "draining"
        return Effect.zipLeft(
          current.drain({ deadline }),
          waitsForRestart ? Fiber.interrupt(fiber) : Fiber.await(fiber)
        )
      }).pipe(
        Effect.tap((report) =>
          Effect.logInfo(
            `the consumer of ${queue.name} is drained: ${report.finished} finished, ${report.released} released, ${report.lost} lost, at most ${report.stranded} stranded`
          )
        )
      )
    yield* Effect.addFinalizer(() =>
      Effect.zipRight(
        Effect.when(drain(drainDeadline), () => fiber.unsafePoll() === null),
        Scope.close(scope, Exit.void)
      )
    )
    const served: Served = {
      stats: Effect.suspend(() => current.stats),
      figures: Effect.suspend(() => current.figures),
      health: (healthOptions) => Effect.suspend(() => current.health(healthOptions)),
      pause: Effect.suspend(() => current.pause),
      resume: Effect.suspend(() => current.resume),
      maxInFlight: tunables.maxInFlight,
      rate: tunables.rate.perSecond,
      concurrency: Effect.suspend(() => current.concurrency),
      drain: (drainOptions) => drain(Duration.decode(drainOptions?.deadline ?? drainDeadline)),
      failure: Deferred.await(failed)
    }
    return served
  })

/**
 * Runs a pipeline over a queue for the life of the Layer, and gives a handle to it under a tag of the user's own. When
 * the Layer is closed, by SIGTERM or SIGINT through the runtime for instance, the consumer is drained: no new receives,
 * handlers finish until `drainDeadline`, the rest is released; the report is logged.
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
 * good: then it closes the Layer and fails with what the consumer failed of.
 */
export const launch = <A, E, R>(app: Layer.Layer<A, E, R>): Effect.Effect<never, unknown, R> =>
  Effect.gen(function* () {
    const failures = yield* Deferred.make<never, unknown>()
    return yield* Effect.scoped(
      Effect.zipRight(Layer.build(Layer.provide(app, Layer.succeed(Failures, failures))), Deferred.await(failures))
    )
  })
