/** Forks what runs for a message: with that in the logs, its turns measured, and whatever it may throw. */
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import * as FiberRef from "effect/FiberRef"
import * as FiberRefs from "effect/FiberRefs"
import * as HashMap from "effect/HashMap"
import * as Runtime from "effect/Runtime"
import type * as Scheduler from "effect/Scheduler"
import { interruptible } from "./fork.js"
import { legibleRuntime } from "./legible.js"
import { type Running, withoutFiber } from "./running.js"

/** Does what is to be done at a stretch for something that is held, and takes the time. */
export type Measure<H> = <A>(held: H, what: string, work: () => A) => A

/** What the logs say of a message. */
export interface Named {
  readonly id: string
  readonly group?: string | undefined
  readonly attempt: number
}

/**
 * Runs an effect in a fiber of its own, for what is held where it is given, or for the first of a batch: how long that holds
 * the event loop is the first one's to answer for, and the logs name a message that is alone.
 */
export interface ForkFor<H, R> {
  <A, E>(effect: Effect.Effect<A, E, R>, held?: H, batched?: boolean): Fiber.RuntimeFiber<A, E>
  /** Begins what `make` gives, in a fiber where it needs one. */
  readonly begin: <A, E>(make: () => Effect.Effect<A, E, R>, held: H) => Running<A, E>
}

// Set as the fiber begins: `Effect.annotateLogs` would cost as much as all the rest.
export const forkFor = <H extends { readonly message: Named }, R>(
  measure: Measure<H>
): Effect.Effect<ForkFor<H, R>, never, R> =>
  Effect.map(legibleRuntime<R>(), (runtime) => {
    const runFork = Runtime.runFork(interruptible(runtime))
    const fiberRef = FiberRef.currentLogAnnotations
    const outer = FiberRefs.getOrDefault(runtime.fiberRefs, fiberRef)
    const firstAttempt = HashMap.set(outer, "attempt", 1)
    const annotations = ({ attempt, group, id }: Named) => {
      const named = attempt === 1 ? firstAttempt : HashMap.set(outer, "attempt", attempt)
      return HashMap.set(group === undefined ? named : HashMap.set(named, "group", group), "messageId", id)
    }
    const scheduler = FiberRefs.getOrDefault(runtime.fiberRefs, FiberRef.currentScheduler)
    const forked = <A, E>(effect: Effect.Effect<A, E, R>, held: H, what: string, batched: boolean) =>
      runFork(effect, {
        // The new fiber's own: `FiberRefs.updateAs` would copy all of them once more for each message.
        updateRefs: (refs, fiberId) => {
          refs.locals.set(FiberRef.currentScheduler, [[fiberId, new Turns(measure, held, what, scheduler)]])
          if (!batched) refs.locals.set(fiberRef, [[fiberId, annotations(held.message)]])
          return refs
        }
      })
    const fork = <A, E>(effect: Effect.Effect<A, E, R>, held?: H, batched = false): Fiber.RuntimeFiber<A, E> => {
      if (held === undefined) return runFork(effect)
      const what = batched ? ofBatch : ofOne
      return measure(held, what, () => forked(effect, held, what, batched))
    }
    const begin = <A, E>(make: () => Effect.Effect<A, E, R>, held: H): Running<A, E> =>
      measure(held, ofOne, () => {
        const effect = made(make)
        return withoutFiber(effect) ?? forked(effect, held, ofOne, false)
      })
    return Object.assign(fork, { begin })
  })

const ofOne = "its handler or policy"
const ofBatch = "the handler of its batch"

/** What it throws is the fiber's to die of. */
const made = <A, E, R>(make: () => Effect.Effect<A, E, R>): Effect.Effect<A, E, R> => {
  try {
    return make()
  } catch (thrown) {
    return Effect.suspend(() => {
      throw thrown
    })
  }
}

/** Measures each turn that a fiber takes after the first, and those of the fibers that it forks. */
class Turns<H> implements Scheduler.Scheduler {
  readonly #measure: Measure<H>
  readonly #held: H
  readonly #what: string
  readonly #scheduler: Scheduler.Scheduler

  constructor(measure: Measure<H>, held: H, what: string, scheduler: Scheduler.Scheduler) {
    this.#measure = measure
    this.#held = held
    this.#what = what
    this.#scheduler = scheduler
  }

  shouldYield(fiber: Fiber.RuntimeFiber<unknown, unknown>): number | false {
    return this.#scheduler.shouldYield(fiber)
  }

  scheduleTask(task: Scheduler.Task, priority: number, fiber?: Fiber.RuntimeFiber<unknown, unknown>): void {
    this.#scheduler.scheduleTask(() => this.#measure(this.#held, this.#what, task), priority, fiber)
  }
}
