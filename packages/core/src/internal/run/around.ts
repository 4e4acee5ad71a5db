/**
 * What runs around the handlers of a pipeline. It holds for the stages that are opened within it, and each of them asks for it
 * as it starts; without any, a handler is what its stage was given.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Stream from "effect/Stream"
import type { Delivery } from "../../Delivery.js"
import * as Local from "../effect/local.js"
import { fromPull, toPull } from "../effect/pull.js"
import { effectOf } from "../userCode/answer.js"

/** What a handler runs on: one delivery, or those of a batch. */
export type Deliveries = readonly [Delivery<unknown, unknown>, ...ReadonlyArray<Delivery<unknown, unknown>>]

/** What it fails with of its own is in the type of the deliveries, as what an earlier stage fails with. */
export type Around = <A, E, R>(handler: Effect.Effect<A, E, R>, deliveries: Deliveries) => Effect.Effect<A, E, R>

/** What holds where a stage is opened. */
export const around: Local.Local<Around | undefined> = Local.make<Around | undefined>(undefined)

/** A handler within what is around it. `stage` names the function that took it. */
export const within = <Args extends ReadonlyArray<unknown>, A, E, R>(
  wrap: Around | undefined,
  stage: string,
  handler: (...args: Args) => Effect.Effect<A, E, R>,
  deliveries: (...args: Args) => ReadonlyArray<Delivery<unknown, unknown>>
): ((...args: Args) => Effect.Effect<A, E, R>) =>
  wrap === undefined
    ? handler
    : (...args) => {
        const [first, ...others] = deliveries(...args)
        const run = Effect.suspend(() => effectOf(handler(...args), stage))
        return first === undefined ? run : wrap(run, [first, ...others])
      }

/** The handlers of `pipeline`, and no others, run within `middleware`. */
export const aroundStage = <A, E, EX, RX, B, EX2, RX2, R>(
  self: Stream.Stream<Delivery<A, E>, EX, RX>,
  middleware: <A2, E2, R2>(handler: Effect.Effect<A2, E2, R2>, deliveries: Deliveries) => Effect.Effect<A2, E2, R2 | R>,
  pipeline: (self: Stream.Stream<Delivery<A, E>, EX, RX>) => Stream.Stream<B, EX2, RX2>
): Stream.Stream<B, EX2, RX2 | R> =>
  fromPull(
    Effect.gen(function* () {
      const outer = yield* around.get
      const context = yield* Effect.context<R>()
      const own: Around = <A2, E2, R2>(handler: Effect.Effect<A2, E2, R2>, deliveries: Deliveries) => {
        const inner = Effect.suspend(() => effectOf(middleware(handler, deliveries), "Pipeline.around"))
        // What the pipeline has been given within is there for the middleware too, and what that provides for the handler.
        const run = Effect.mapInputContext(inner, (within: Context.Context<R2>) => Context.merge(context, within))
        return outer === undefined ? run : outer(run, deliveries)
      }
      const outside = fromPull(Effect.map(toPull(self), (pull) => around.locally(pull, outer)))
      const pull = yield* toPull(pipeline(outside))
      return around.locally(pull, own)
    })
  )
