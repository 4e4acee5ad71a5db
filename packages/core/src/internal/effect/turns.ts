import type * as Fiber from "effect/Fiber"
import type * as Scheduler from "effect/Scheduler"
import type { InFlight } from "../lease/inFlight.js"
import { onLoop } from "../observe/loopTime.js"

/** Measures each turn that a fiber takes after the first, and those of the fibers that it forks, as its message's. */
export class Turns implements Scheduler.Scheduler {
  readonly #held: InFlight
  readonly #what: string
  readonly #scheduler: Scheduler.Scheduler

  constructor(held: InFlight, what: string, scheduler: Scheduler.Scheduler) {
    this.#held = held
    this.#what = what
    this.#scheduler = scheduler
  }

  shouldYield(fiber: Fiber.RuntimeFiber<unknown, unknown>): number | false {
    return this.#scheduler.shouldYield(fiber)
  }

  scheduleTask(task: Scheduler.Task, priority: number, fiber?: Fiber.RuntimeFiber<unknown, unknown>): void {
    this.#scheduler.scheduleTask(() => onLoop(this.#held, this.#what, task), priority, fiber)
  }
}
