import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"

/**
 * Runs these at once, and waits for all, however they end. Not a concurrent `forEach`: one that is interrupted at the wrong
 * moment never ends (Effect 3.22).
 */
export const together = <A, E, R>(
  effects: ReadonlyArray<Effect.Effect<A, E, R>>
): Effect.Effect<ReadonlyArray<Exit.Exit<A, E>>, never, R> =>
  Effect.flatMap(
    Effect.forEach(effects, (effect) => Effect.fork(effect)),
    (fibers) => Effect.forEach(fibers, Fiber.await)
  )
