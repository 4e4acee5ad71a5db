/** Fibers that are forked, watched and interrupted from callbacks, which have no fiber of their own. */
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as FiberId from "effect/FiberId"
import * as FiberSet from "effect/FiberSet"
import * as Runtime from "effect/Runtime"
import * as RuntimeFlags from "effect/RuntimeFlags"
import type * as Scope from "effect/Scope"

export type Forked<A = void> = Fiber.RuntimeFiber<A>
export type Fork = <A>(effect: Effect.Effect<A>) => Forked<A>

/**
 * Forks as from here. That may be in an uninterruptible region, of a Layer for instance; what is forked can be
 * interrupted all the same.
 */
export const fork: Effect.Effect<Fork> = /* @__PURE__ */ Effect.map(
  /* @__PURE__ */ Effect.runtime<never>(),
  (runtime) => Runtime.runFork(Runtime.enableRuntimeFlag(runtime, RuntimeFlags.Interruption))
)

/** The same, for as long as the scope is open, which interrupts what still runs then. */
export const scopedFork: Effect.Effect<Fork, never, Scope.Scope> = FiberSet.makeRuntime<never>()

/** Told once the fiber has ended. */
export const onEnd = <A>(fiber: Forked<A>, f: (exit: Exit.Exit<A>) => void): void => fiber.addObserver(f)

/** Does not wait for its end. */
export const interrupt = (fiber: Forked<unknown> | undefined): void => fiber?.unsafeInterruptAsFork(FiberId.none)
