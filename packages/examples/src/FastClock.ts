/** A clock that goes faster than the wall's, so that what takes minutes can be watched. */
import { Clock, Duration, Effect } from "effect"

/** Runs an effect in a time that goes `speed` times as fast as that around it. */
export const withSpeed =
  (speed: number) =>
  <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
    Effect.clockWith((clock) => {
      const millis = clock.unsafeCurrentTimeMillis()
      const nanos = clock.unsafeCurrentTimeNanos()
      const unsafeCurrentTimeMillis = () => Math.floor(millis + (clock.unsafeCurrentTimeMillis() - millis) * speed)
      const unsafeCurrentTimeNanos = () => nanos + (clock.unsafeCurrentTimeNanos() - nanos) * BigInt(speed)
      return Effect.withClock(effect, {
        [Clock.ClockTypeId]: Clock.ClockTypeId,
        unsafeCurrentTimeMillis,
        unsafeCurrentTimeNanos,
        currentTimeMillis: Effect.sync(unsafeCurrentTimeMillis),
        currentTimeNanos: Effect.sync(unsafeCurrentTimeNanos),
        sleep: (duration) => clock.sleep(Duration.millis(Duration.toMillis(duration) / speed))
      })
    })
