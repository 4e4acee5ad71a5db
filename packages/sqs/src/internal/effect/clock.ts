/** The Clock read from callbacks. */
import type * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"

/** Milliseconds since the epoch. */
export const now: Effect.Effect<() => number> = Effect.map(
  Effect.clock,
  (clock) => () => clock.unsafeCurrentTimeMillis()
)

/** Whole milliseconds of a clock that is never stepped back. */
export const steady = (clock: Clock.Clock) => (): number => Number(clock.unsafeCurrentTimeNanos() / 1_000_000n)
