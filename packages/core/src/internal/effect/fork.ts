/** Fibers that are forked from callbacks, and interrupted from them. */
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import * as FiberId from "effect/FiberId"
import * as Runtime from "effect/Runtime"
import * as RuntimeFlags from "effect/RuntimeFlags"

export type Fork<R = never> = <A, E>(effect: Effect.Effect<A, E, R>) => Fiber.RuntimeFiber<A, E>

/** Captured where finalizers may not be interrupted, maybe; what is forked must be. */
export const interruptible: <R>(runtime: Runtime.Runtime<R>) => Runtime.Runtime<R> = Runtime.enableRuntimeFlag(
  RuntimeFlags.Interruption
)

/** Forks as from here. */
export const fork = <R = never>(): Effect.Effect<Fork<R>, never, R> =>
  Effect.map(Effect.runtime<R>(), (runtime) => Runtime.runFork(interruptible(runtime)))

/** Interrupts a fiber, where there is one, and does not wait for it. */
export const interrupt = (
  fiber: Fiber.RuntimeFiber<unknown, unknown> | undefined,
  by: FiberId.FiberId = FiberId.none
): void => {
  fiber?.unsafeInterruptAsFork(by)
}
