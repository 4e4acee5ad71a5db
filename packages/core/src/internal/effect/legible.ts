import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Runtime from "effect/Runtime"
import * as Tracer from "effect/Tracer"
import { attempt } from "../userCode/attempt.js"

/** Effect asks of what was thrown whether it is one of its own: a Proxy that throws then leaves the fiber without an end. */
const legible = (thrown: unknown): unknown => {
  if (typeof thrown !== "object" || thrown === null) return thrown
  return attempt(() => "_tag" in thrown || true, false)
    ? thrown
    : new Error("it threw a value that cannot be looked at")
}

/** Each step of a fiber goes by its tracer, and so does what the step throws. */
const legibly = (tracer: Tracer.Tracer): Tracer.Tracer =>
  Tracer.make({
    span: (...args) => tracer.span(...args),
    context: (step, fiber) => {
      try {
        return tracer.context(step, fiber)
      } catch (thrown) {
        throw legible(thrown)
      }
    }
  })

/** Runs what the user gave, which may throw anything: it dies of that, and never hangs. */
export const runsLegibly = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.flatMap(Effect.tracer, (tracer) => Effect.withTracer(effect, legibly(tracer)))

/** A runtime whose fibers run so. */
export const legibleRuntime = <R>(): Effect.Effect<Runtime.Runtime<R>, never, R> =>
  // Its end is the stage's to tell of: Effect writes of an unhandled error as the fiber ends, and a logger that throws on
  // it there leaves the fiber without an end too.
  Effect.withUnhandledErrorLogLevel(runsLegibly(Effect.runtime<R>()), Option.none())
