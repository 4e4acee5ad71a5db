/** Runs an effect again by a schedule, and says so: before each wait, and not where the schedule is over. */
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import * as ScheduleDecision from "effect/ScheduleDecision"

export const retried = <A, E, R>(
  effect: Effect.Effect<A, E, R>,
  schedule: Schedule.Schedule<unknown, unknown>,
  options: { readonly while: (error: E) => boolean; readonly onRetry: Effect.Effect<void> }
): Effect.Effect<A, E, R> =>
  Effect.retry(
    effect,
    schedule.pipe(
      Schedule.whileInput(options.while),
      Schedule.onDecision((_, decision) => (ScheduleDecision.isDone(decision) ? Effect.void : options.onRetry))
    )
  )
