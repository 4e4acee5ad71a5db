/** Fibers that are forked from callbacks, and interrupted from them. */
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import * as FiberId from "effect/FiberId"
import * as Runtime from "effect/Runtime"
import * as RuntimeFlags from "effect/RuntimeFlags"
import type * as Scope from "effect/Scope"
import type { Running } from "./running.js"

export type Fork<R = never> = <A, E>(effect: Effect.Effect<A, E, R>) => Fiber.RuntimeFiber<A, E>

/** Captured where finalizers may not be interrupted, maybe; what is forked must be. */
export const interruptible: <R>(runtime: Runtime.Runtime<R>) => Runtime.Runtime<R> = Runtime.enableRuntimeFlag(
  RuntimeFlags.Interruption
)

/** Forks as from here. */
export const fork = <R = never>(): Effect.Effect<Fork<R>, never, R> =>
  Effect.map(Effect.runtime<R>(), (runtime) => Runtime.runFork(interruptible(runtime)))

/**
 * Forks for as long as the scope lasts, which ends it by interrupting it: also where what opens the scope may not be
 * interrupted, which a fork would have from there.
 */
export const forkScoped = <A, E, R>(
  effect: Effect.Effect<A, E, R>
): Effect.Effect<Fiber.RuntimeFiber<A, E>, never, R | Scope.Scope> => Effect.forkScoped(Effect.interruptible(effect))

/** Interrupts what runs, where anything does, and does not wait for its end. */
export const interrupt = (running: Running<unknown, unknown> | undefined, by: FiberId.FiberId = FiberId.none): void => {
  running?.unsafeInterruptAsFork(by)
}
