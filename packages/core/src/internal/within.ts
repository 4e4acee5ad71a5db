import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Option from "effect/Option"

/** Waits so long at most, in finalizers too: what waits there cannot be interrupted unless it says so. */
export const within = <A, E, R>(
  wait: Effect.Effect<A, E, R>,
  duration: Duration.Duration
): Effect.Effect<Option.Option<A>, E, R> => Effect.timeoutOption(Effect.interruptible(wait), duration)
