/**
 * What may run as soon as there is a slot, in its order. What the gate has turned back keeps its place before the others,
 * but as a probe it comes last: one that trips for its own sake must not be all that is tried.
 */
import type { Gate } from "./gate.js"

/**
 * It runs no more: it is done with, or the gate has turned it back, or it is pushed again after a while, whether a handler
 * ran on it (`held`) or not.
 */
export type HowEnded = "done" | "deferred" | "held" | "notRun"

export interface Ready<A> {
  /** What is here, what the gate has turned back included. */
  readonly size: number
  /** How many of them the stage can count on: it asks for no more than it has use for beside them. */
  readonly useful: number
  /** What waits for nothing but a slot. */
  readonly items: Iterable<A>
  /** Whether it may come in; where not, it has been sent back. */
  readonly admits: (item: A) => boolean
  readonly push: (item: A) => void
  /** The gate may be open. */
  readonly resume: (gate: Gate | undefined) => void
  /** The next one, if any may run. */
  readonly shift: () => A | undefined
  readonly ends: (item: A, how: HowEnded) => void
  readonly drop: (item: A) => void
}

/** The first one that came is the next; of queues of which some come first, the first of those. */
export class InOrder<A> implements Ready<A> {
  readonly #rankOf: (item: A) => number
  readonly items: Array<A> = []
  readonly #deferred: Array<A> = []

  constructor(rankOf: (item: A) => number) {
    this.#rankOf = rankOf
  }

  get size(): number {
    return this.items.length + this.#deferred.length
  }

  get useful(): number {
    return this.items.length
  }

  admits(): boolean {
    return true
  }

  push(item: A): void {
    const rank = this.#rankOf(item)
    let place = this.items.length
    while (place > 0 && this.#rankOf(this.items[place - 1] as A) > rank) place--
    if (place === this.items.length) this.items.push(item)
    else this.items.splice(place, 0, item)
  }

  resume(gate: Gate | undefined): void {
    if (gate?.flow === "all") this.items.unshift(...this.#deferred.splice(0))
  }

  shift(): A | undefined {
    return (this.items.length > 0 ? this.items : this.#deferred).shift()
  }

  ends(item: A, how: HowEnded): void {
    if (how === "deferred") this.#deferred.push(item)
  }

  drop(item: A): void {
    remove(this.items, item)
    remove(this.#deferred, item)
  }
}

export const remove = <A>(items: Array<A>, item: A): void => {
  const i = items.indexOf(item)
  if (i >= 0) items.splice(i, 1)
}
