/**
 * When something that has failed starts again: by a schedule, which begins anew once it had run for a while. So the pauses
 * grow while it does not come up, and failures that are hours apart do not add up.
 */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"

/**
 * Runs it until it succeeds, is told to stop, or the schedule is over: then it fails with the last failure, defects and
 * interruptions from within included. The schedule is given the error, and begins anew after a run of `settledAfter`.
 */
export const restarted = <A, E, R>(
  run: Effect.Effect<A, E, R>,
  schedule: Schedule.Schedule<unknown, unknown>,
  settledAfter: Duration.Duration
): Effect.Effect<A, E, R> =>
  Effect.gen(function* () {
    const driver = yield* Schedule.driver(schedule)
    while (true) {
      const startedAt = yield* Clock.currentTimeMillis
      const exit = yield* Effect.exit(run)
      if (Exit.isSuccess(exit)) return exit.value
      const ranFor = (yield* Clock.currentTimeMillis) - startedAt
      if (ranFor >= Duration.toMillis(settledAfter)) yield* driver.reset
      if (Option.isNone(yield* Effect.option(driver.next(Cause.squash(exit.cause))))) return yield* exit
    }
  })
