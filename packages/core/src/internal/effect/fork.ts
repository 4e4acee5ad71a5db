/** Fibers that are forked from callbacks, and interrupted from them. */
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import * as FiberId from "effect/FiberId"
import * as Runtime from "effect/Runtime"
import * as RuntimeFlags from "effect/RuntimeFlags"
import type { Running } from "./running.js"

export type Fork<R = never> = <A, E>(effect: Effect.Effect<A, E, R>) => Fiber.RuntimeFiber<A, E>

/** Captured where finalizers may not be interrupted, maybe; what is forked must be. */
export const interruptible: <R>(runtime: Runtime.Runtime<R>) => Runtime.Runtime<R> = Runtime.enableRuntimeFlag(
  RuntimeFlags.Interruption
)

/** Forks as from here. */
export const fork = <R = never>(): Effect.Effect<Fork<R>, never, R> =>
  Effect.map(Effect.runtime<R>(), (runtime) => Runtime.runFork(interruptible(runtime)))

/** Interrupts what runs, where anything does, and does not wait for its end. */
export const interrupt = (running: Running<unknown, unknown> | undefined, by: FiberId.FiberId = FiberId.none): void => {
  running?.unsafeInterruptAsFork(by)
}
