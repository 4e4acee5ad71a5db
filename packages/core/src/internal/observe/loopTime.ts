/**
 * Who holds the event loop. While the JavaScript of one message runs no lease is extended, of this message or any other, and
 * nothing else of the process gets its turn: what takes long at a stretch is told to the consumer.
 */
import type * as Fiber from "effect/Fiber"
import type * as Scheduler from "effect/Scheduler"
import type { InFlight } from "../lease/inFlight.js"

/** How long a stretch may take untold, in milliseconds: half of a lease, and no more than this. */
export const longestStretch = (leaseMillis: number): number => Math.min(5000, leaseMillis / 2)

/** How long the stretches took that lie inside of the one that is measured: each is told of its own time. */
let inside = 0

/** Does what one message asks of the thread at once, and tells its consumer where that took long. */
export const onLoop = <A>(held: InFlight, what: string, work: () => A): A => {
  const { custodian } = held
  const outside = inside
  inside = 0
  const startedAt = custodian.now()
  try {
    return work()
  } finally {
    const millis = custodian.now() - startedAt
    const own = millis - inside
    inside = outside + millis
    if (own > longestStretch(custodian.leaseMillis)) custodian.heldLoop(held, what, own)
  }
}

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
