/**
 * What may run as soon as there is a slot, in its order. What the gate has turned back keeps its place before the others,
 * but as a probe it comes last: one that trips for its own sake must not be all that is tried.
 */
import type { Gate } from "./gate.js"

export class Ready<A> {
  readonly items: Array<A> = []
  readonly #deferred: Array<A> = []

  get size(): number {
    return this.items.length + this.#deferred.length
  }

  push(item: A): void {
    this.items.push(item)
  }

  /** The gate has turned it back. */
  defer(item: A): void {
    this.#deferred.push(item)
  }

  /** The gate may be open. */
  resume(gate: Gate | undefined): void {
    if (this.#deferred.length > 0 && gate?.flow === "all") this.items.unshift(...this.#deferred.splice(0))
  }

  /** The next one; there must be one. */
  shift(): A {
    return (this.items.length > 0 ? this.items : this.#deferred).shift() as A
  }

  drop(item: A): void {
    remove(this.items, item)
    remove(this.#deferred, item)
  }
}

const remove = <A>(items: Array<A>, item: A): void => {
  const i = items.indexOf(item)
  if (i >= 0) items.splice(i, 1)
}
