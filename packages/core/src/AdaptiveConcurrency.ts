/**
 * Finds how many handlers to run at once, and follows as that changes: an optional controller of a stage's `concurrency`,
 * for a downstream whose best is not known or not constant.
 *
 * It climbs the hill of throughput, as the thread pool of .NET does. The slots go up and down by a fifth, by the clock, and
 * what the larger number got done is compared with what the smaller one did. While a tenth more slots bring about 2 %
 * more, the middle moves up; where they bring less, nothing, or harm, it moves down: so it stays at the knee of a
 * downstream that only queues, and before the peak of one that becomes slower. Only successes count as done, and the share
 * of handlers that succeed counts again: more done at the price of more failures is not better.
 *
 * Comparing what gets done, not how long it takes, needs no idea of a normal latency (as TCP Vegas and the gradients of
 * Netflix's concurrency-limits do): work that is slow by nature, or a few handlers that take very long, look alike on both
 * sides. Differences that could be chance are not acted upon.
 *
 * @see https://learn.microsoft.com/en-us/dotnet/core/runtime-config/threading
 * @see https://github.com/Netflix/concurrency-limits
 */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as SubscriptionRef from "effect/SubscriptionRef"
import * as Figures from "./Figures.js"
import * as InvalidOptions from "./InvalidOptions.js"
import { Climber, type State } from "./internal/advise/climber.js"
import { forkScoped } from "./internal/effect/fork.js"
import type * as Tunable from "./Tunable.js"

export interface Options {
  /** The most handlers at once. The consumer's `maxInFlight` must let so many run. */
  readonly max: number
  /** The fewest. Default 1. */
  readonly min?: number | undefined
  /**
   * Half of how long each number of slots is tried: from 1 second, default 10 seconds. Longer by itself where handlers are
   * slow, so that a few have ended, and where few messages are done. The same for all that share a downstream.
   */
  readonly every?: Duration.DurationInput | undefined
  /**
   * Failures that say that the downstream has too much to do, by the tag or name of the error. Where more than `tolerance`
   * of the handlers end so, the slots go down by three tenths at once. Default: `HandlerTimeout`. Whatever the errors
   * are, it backs off where more than half of the handlers fail.
   */
  readonly overload?: ReadonlyArray<string> | undefined
  /** A share of the handlers, from 0 to 1. Default 0.05. */
  readonly tolerance?: number | undefined
  /** Which of the consumer's stages is controlled, by its place in `Figures.stages`. Default 0, the first. */
  readonly stage?: number | undefined
}

const checks: InvalidOptions.Checks<Options> = {
  max: InvalidOptions.required(InvalidOptions.aWholeNumber({ min: 2 })),
  min: InvalidOptions.aWholeNumber({ min: 1 }),
  every: InvalidOptions.time({ min: "1 second", max: "1 hour" }),
  overload: InvalidOptions.list(InvalidOptions.text),
  tolerance: InvalidOptions.aNumber({ min: 0, max: 1 }),
  stage: InvalidOptions.aWholeNumber({ min: 0 })
}

export type { State } from "./internal/advise/climber.js"

const check = (options: Options) =>
  Effect.gen(function* () {
    yield* InvalidOptions.check("AdaptiveConcurrency", options, checks)
    const { every = "10 seconds", max, min = 1, overload = ["HandlerTimeout"], stage = 0, tolerance = 0.05 } = options
    yield* InvalidOptions.wholeNumber("min", min, { min: 1, max: max - 1 })
    return { max, min, every: Duration.toMillis(every), overload, tolerance, stage }
  })

export interface AdaptiveConcurrency {
  readonly state: Effect.Effect<State>
  /** The present state, and each that follows, one each `every`. */
  readonly changes: Stream.Stream<State>
}

/**
 * Controls a stage's `concurrency` by the figures of its consumer, for as long as the scope lasts; afterwards the number
 * stays as it is. It begins at the number that the tunable has. Costs no call.
 *
 * It sees one consumer. Several that share a downstream go up and down together, by the clock: so each finds what more
 * slots of all would bring, and they share it about evenly. That needs the same `every`, clocks that agree to a tenth of
 * it, and handlers that take about as long; otherwise give each its part of what the downstream bears as `max`.
 *
 * Fails with `InvalidOptions` where an option cannot work, or the tunable refuses a number from `min` to `max`.
 *
 * @example
 * const concurrency = yield* Tunable.make("concurrency", 8)
 * const consumer = yield* SqsConsumer.make("orders", { maxInFlight: 200 })
 * yield* AdaptiveConcurrency.make(concurrency, consumer.figures, { max: 64 })
 * yield* consumer.stream.pipe(Pipeline.process(fulfil, { concurrency }), Stream.runDrain)
 */
export const make = (
  concurrency: Tunable.Tunable,
  figures: Effect.Effect<Figures.Figures>,
  options: Options
): Effect.Effect<AdaptiveConcurrency, InvalidOptions.InvalidOptions, Scope.Scope> =>
  Effect.gen(function* () {
    const checked = yield* check(options)
    const before = yield* concurrency.get
    const initial = Math.min(checked.max, Math.max(checked.min, Math.round(before)))
    // Refused by the tunable here, rather than in the middle of its work.
    yield* Effect.forEach([checked.min, checked.max, initial], (value) => concurrency.set(value)).pipe(
      Effect.tapError(() => Effect.ignore(concurrency.set(before)))
    )
    const controller = new Climber(initial, checked)
    const state = yield* SubscriptionRef.make<State>({
      _tag: "Held",
      concurrency: initial,
      gain: undefined,
      reason: "nothing has been measured yet"
    })
    const step = (interval: Figures.Interval) =>
      Effect.gen(function* () {
        const decision = controller.next(interval)
        const last = yield* state.get
        yield* concurrency.set(decision.slots)
        yield* SubscriptionRef.set(state, decision.state)
        if (decision.state._tag === "BackedOff") {
          yield* Effect.logWarning(
            `${interval.consumer}: ${decision.state.reason}; concurrency goes from ${last.concurrency} to ${decision.state.concurrency}`
          )
        } else if (decision.state.concurrency !== last.concurrency) {
          yield* Effect.logDebug(
            `${interval.consumer}: ${decision.state.reason}; concurrency goes from ${last.concurrency} to ${decision.state.concurrency}`
          )
        }
      })
    // Bounds and interval were checked.
    const now = yield* Clock.currentTimeMillis
    yield* Figures.intervals(figures, { every: checked.every }).pipe(
      Stream.runForEach(step),
      Effect.orDie,
      // With the multiples of `every`, as all that share the downstream.
      Effect.delay(checked.every - (now % checked.every)),
      forkScoped
    )
    return { state: state.get, changes: state.changes }
  })
