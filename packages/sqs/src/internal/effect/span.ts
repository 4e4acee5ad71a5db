/** The span that runs now, without a step of a fiber for it. */
import * as Effect from "effect/Effect"
import type * as Tracer from "effect/Tracer"

export const withSpan = <A, E, R>(
  f: (span: Tracer.AnySpan | undefined) => Effect.Effect<A, E, R>
): Effect.Effect<A, E, R> => Effect.withFiberRuntime((fiber) => f(fiber.currentSpan))
