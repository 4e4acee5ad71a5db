/** The pauses of a schedule, one after another, without waiting for them. */
import * as Effect from "effect/Effect"
import type * as Schedule from "effect/Schedule"
import * as ScheduleDecision from "effect/ScheduleDecision"
import * as ScheduleIntervals from "effect/ScheduleIntervals"

export class Delays<in In> {
  readonly #schedule: Schedule.Schedule<unknown, In>
  #state: unknown

  constructor(schedule: Schedule.Schedule<unknown, In>) {
    this.#schedule = schedule
    this.#state = schedule.initial
  }

  /** The next one, in milliseconds, if it began at this time; none where the schedule is over. */
  next(now: number, input: In): Effect.Effect<number | undefined> {
    return Effect.map(this.#schedule.step(now, input, this.#state), ([state, , decision]) => {
      if (ScheduleDecision.isDone(decision)) return undefined
      this.#state = state
      return Math.max(0, ScheduleIntervals.start(decision.intervals) - now)
    })
  }

  /** Begins anew. */
  reset(): void {
    this.#state = this.#schedule.initial
  }
}
