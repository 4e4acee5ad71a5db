/**
 * When something that has failed starts again: by a schedule, which begins anew once it had run for a while. So the pauses
 * grow while it does not come up, and failures that are hours apart do not add up.
 */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Schedule from "effect/Schedule"
import { steps } from "./steps.js"

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
    const pauses = yield* steps(schedule)
    while (true) {
      const startedAt = yield* Clock.currentTimeMillis
      const exit = yield* Effect.exit(run)
      if (Exit.isSuccess(exit)) return exit.value
      const ranFor = (yield* Clock.currentTimeMillis) - startedAt
      if (ranFor >= Duration.toMillis(settledAfter)) yield* pauses.reset
      if (!(yield* pauses.next(Cause.squash(exit.cause)))) return yield* exit
    }
  })
