/** A schedule that is gone through step by step. */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"

export interface Steps<in In> {
  /** Waits as the schedule says; false, at once, where it is over. */
  readonly next: (input: In) => Effect.Effect<boolean>
  /** Begins anew. */
  readonly reset: Effect.Effect<void>
}

export const steps = <In>(schedule: Schedule.Schedule<unknown, In>): Effect.Effect<Steps<In>> =>
  Effect.map(Schedule.driver(schedule), (driver) => ({
    next: (input) => Effect.map(Effect.option(driver.next(input)), Option.isSome),
    reset: driver.reset
  }))
