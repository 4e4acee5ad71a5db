/** What failed in a batch, and what follows it in its lane there and so must wait. */
import type * as Cause from "effect/Cause"

export class Followers<D, E> {
  readonly #lanesOf: (delivery: D) => ReadonlyArray<string>
  readonly #failed: Array<{ readonly delivery: D; readonly cause: Cause.Cause<E>; readonly followers: Array<D> }> = []
  readonly #byLane = new Map<string, Array<D>>()

  constructor(lanesOf: (delivery: D) => ReadonlyArray<string>) {
    this.#lanesOf = lanesOf
  }

  get size(): number {
    return this.#failed.length
  }

  follows(delivery: D): boolean {
    const lanes = this.#lanesOf(delivery)
    const lane = lanes.find((lane) => this.#byLane.has(lane))
    const followers = lane === undefined ? undefined : this.#byLane.get(lane)
    if (followers === undefined) return false
    followers.push(delivery)
    // What is behind it in another lane of its own waits for the same.
    for (const other of lanes) if (!this.#byLane.has(other)) this.#byLane.set(other, followers)
    return true
  }

  fails(delivery: D, cause: Cause.Cause<E>): void {
    const followers: Array<D> = []
    this.#failed.push({ delivery, cause, followers })
    for (const lane of this.#lanesOf(delivery)) this.#byLane.set(lane, followers)
  }

  forEach(f: (delivery: D, cause: Cause.Cause<E>, followers: ReadonlyArray<D>) => void): void {
    for (const { cause, delivery, followers } of this.#failed) f(delivery, cause, followers)
  }
}
