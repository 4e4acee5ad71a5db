import type * as Fiber from "effect/Fiber"
import type * as Scheduler from "effect/Scheduler"

/** Does what is to be done at a stretch for something that is held, and takes the time. */
export type Measure<H> = <A>(held: H, what: string, work: () => A) => A

/** Measures each turn that a fiber takes after the first, and those of the fibers that it forks. */
export class Turns<H> implements Scheduler.Scheduler {
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
