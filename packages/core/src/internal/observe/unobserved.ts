/** Of a consumer whose figures nobody can ask for, as of a stream alone: nothing is measured, but what its own parts look at. */
import type * as Figures from "../../Figures.js"
import type * as LeaseQueue from "../../LeaseQueue.js"
import type { Observing } from "./observer.js"

const ignored = { add: () => {}, set: () => {} }

export class Unobserved implements Observing {
  readonly queued = ignored
  readonly waited = ignored
  readonly settled = ignored
  readonly full = ignored
  readonly stages = ignored
  readonly byGroup = ignored
  running = 0
  deferredFor = 0
  loopHeldBy: Figures.LoopHeld | undefined

  loopHeld(held: Figures.LoopHeld): void {
    this.loopHeldBy = held
  }

  ran(): void {}

  failed(): void {}

  received(): void {}

  gauge(): undefined {}

  timed<E>(queue: LeaseQueue.LeaseQueue<E>): LeaseQueue.LeaseQueue<E> {
    return queue
  }
}
