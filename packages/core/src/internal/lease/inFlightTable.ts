/** All that a consumer has in flight, by lane and by group too, and who waits for some of it to end. */
import * as Effect from "effect/Effect"
import { GroupTable } from "./groupTable.js"
import type { InFlight } from "./inFlight.js"
import { LaneTable } from "./laneTable.js"

interface Waiter {
  readonly done: () => boolean
  readonly wake: () => void
}

export class InFlightTable {
  readonly #all = new Set<InFlight>()
  /** Of an ordered queue the lanes are its groups. */
  readonly lanes = new LaneTable<InFlight>()
  /** Of a queue without order, whose lanes are others. */
  readonly groups = new GroupTable<InFlight>()
  /** The most that there have been at once. */
  peak = 0
  #waiters: Array<Waiter> = []

  get size(): number {
    return this.#all.size
  }

  [Symbol.iterator](): IterableIterator<InFlight> {
    return this.#all.values()
  }

  add(delivery: InFlight): void {
    this.#all.add(delivery)
    this.peak = Math.max(this.peak, this.#all.size)
  }

  /** It has ended. */
  delete(delivery: InFlight): void {
    this.#all.delete(delivery)
    this.lanes.leave(delivery)
    this.groups.leave(delivery)
  }

  /** When the oldest was received. */
  get oldest(): number | undefined {
    let oldest: number | undefined
    for (const { receivedAt } of this.#all) oldest = Math.min(oldest ?? receivedAt, receivedAt)
    return oldest
  }

  /** Completes when that holds, which is asked at each end. */
  until(done: () => boolean): Effect.Effect<void> {
    return Effect.async<void>((resume) => {
      if (done()) return resume(Effect.void)
      const waiter = { done, wake: () => resume(Effect.void) }
      this.#waiters.push(waiter)
      return Effect.sync(() => {
        this.#waiters = this.#waiters.filter((other) => other !== waiter)
      })
    })
  }

  /** One has ended, and all that belongs to that is done. */
  tellEnd(): void {
    if (this.#waiters.length === 0) return
    const ready = this.#waiters.filter((waiter) => waiter.done())
    if (ready.length === 0) return
    this.#waiters = this.#waiters.filter((waiter) => !ready.includes(waiter))
    for (const waiter of ready) waiter.wake()
  }
}
