import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type * as Option from "effect/Option"

/**
 * Waits so long at most, in finalizers too: what waits there cannot be interrupted unless it says so. It waits in a fiber
 * that is nobody's child: an interruption that comes while a finalizer waits is passed on to all children at once, and
 * the rest of the finalizer would be skipped.
 */
export const within = <A, E, R>(
  wait: Effect.Effect<A, E, R>,
  duration: Duration.Duration
): Effect.Effect<Option.Option<A>, E, R> =>
  Effect.uninterruptibleMask((restore) =>
    Effect.flatMap(Effect.forkDaemon(Effect.interruptible(Effect.timeoutOption(wait, duration))), (waiting) =>
      Effect.onInterrupt(restore(Fiber.join(waiting)), () => Fiber.interrupt(waiting))
    )
  )
