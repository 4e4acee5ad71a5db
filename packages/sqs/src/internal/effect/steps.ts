/** A Schedule stepped by hand, between other things. */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"

export interface Steps<in In> {
  /** Waits as the schedule says; false where it has ended. */
  readonly next: (input: In) => Effect.Effect<boolean>
}

export const steps = <In>(schedule: Schedule.Schedule<unknown, In>): Effect.Effect<Steps<In>> =>
  Effect.map(Schedule.driver(schedule), (driver) => ({
    next: (input) => Effect.map(Effect.option(driver.next(input)), Option.isSome)
  }))
