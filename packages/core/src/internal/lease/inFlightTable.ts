/** All that a consumer has in flight, by lane and by group too, and who waits for some of it to end. */
import type * as Effect from "effect/Effect"
import { Waiters } from "../effect/waiters.js"
import { GroupTable } from "./groupTable.js"
import type { InFlight } from "./inFlight.js"
import { LaneTable } from "./laneTable.js"

export class InFlightTable {
  readonly #all = new Set<InFlight>()
  /** Of an ordered queue the lanes are its groups. */
  readonly lanes = new LaneTable<InFlight>()
  /** Of a queue without order, whose lanes are others. */
  readonly groups = new GroupTable<InFlight>()
  /** The most that there have been at once. */
  peak = 0
  readonly #waiters = new Waiters()

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
    return this.#waiters.until(done)
  }

  /** One has ended, and all that belongs to that is done. */
  tellEnd(): void {
    this.#waiters.look()
  }
}
