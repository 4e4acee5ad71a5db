/** Fibers that are forked from callbacks, and interrupted from them. */
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import * as FiberId from "effect/FiberId"
import * as FiberRef from "effect/FiberRef"
import * as FiberRefs from "effect/FiberRefs"
import * as HashMap from "effect/HashMap"
import * as Runtime from "effect/Runtime"
import * as RuntimeFlags from "effect/RuntimeFlags"
import type * as LeaseQueue from "../../LeaseQueue.js"
import type { InFlight } from "../lease/inFlight.js"
import { onLoop } from "../observe/loopTime.js"
import { legibleRuntime } from "./legible.js"
import { Turns } from "./turns.js"

export type Fork<R = never> = <A, E>(effect: Effect.Effect<A, E, R>) => Fiber.RuntimeFiber<A, E>

/**
 * Runs an effect in a fiber of its own, for one delivery or a batch of them where it is given: how long that holds the event
 * loop is the first one's to answer for, and the logs name a delivery that is alone.
 */
export type RunFork<R> = <A, E>(
  effect: Effect.Effect<A, E, R>,
  held?: InFlight,
  batched?: boolean
) => Fiber.RuntimeFiber<A, E>

// Captured where finalizers may not be interrupted, maybe; what is forked must be.
const interruptible = Runtime.enableRuntimeFlag(RuntimeFlags.Interruption)

/** Forks as from here. */
export const fork = <R = never>(): Effect.Effect<Fork<R>, never, R> =>
  Effect.map(Effect.runtime<R>(), (runtime) => Runtime.runFork(interruptible(runtime)))

/** Forks what runs for deliveries, which may throw anything. */
export const forkFor = <R>(): Effect.Effect<RunFork<R>, never, R> =>
  Effect.map(legibleRuntime<R>(), (runtime) => annotatedFork(interruptible(runtime)))

// Set as the fiber begins: `Effect.annotateLogs` would cost as much as all the rest.
const annotatedFork = <R>(runtime: Runtime.Runtime<R>): RunFork<R> => {
  const runFork = Runtime.runFork(runtime)
  const fiberRef = FiberRef.currentLogAnnotations
  const outer = FiberRefs.getOrDefault(runtime.fiberRefs, fiberRef)
  const firstAttempt = HashMap.set(outer, "attempt", 1)
  const annotations = ({ attempt, group, id }: LeaseQueue.Message) => {
    const named = attempt === 1 ? firstAttempt : HashMap.set(outer, "attempt", attempt)
    return HashMap.set(group === undefined ? named : HashMap.set(named, "group", group), "messageId", id)
  }
  const scheduler = FiberRefs.getOrDefault(runtime.fiberRefs, FiberRef.currentScheduler)
  return (effect, held, batched = false) => {
    if (held === undefined) return runFork(effect)
    const what = batched ? "the handler of its batch" : "its handler or policy"
    return onLoop(held, what, () =>
      runFork(effect, {
        // The new fiber's own: `FiberRefs.updateAs` would copy all of them once more for each message.
        updateRefs: (refs, fiberId) => {
          refs.locals.set(FiberRef.currentScheduler, [[fiberId, new Turns(held, what, scheduler)]])
          if (!batched) refs.locals.set(fiberRef, [[fiberId, annotations(held.message)]])
          return refs
        }
      })
    )
  }
}

/** Interrupts a fiber, where there is one, and does not wait for it. */
export const interrupt = (
  fiber: Fiber.RuntimeFiber<unknown, unknown> | undefined,
  by: FiberId.FiberId = FiberId.none
) => {
  fiber?.unsafeInterruptAsFork(by)
}
