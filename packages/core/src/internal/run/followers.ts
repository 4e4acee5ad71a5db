/** What failed in a batch, and what follows it in its lane there and so must wait. */
import type * as Cause from "effect/Cause"

export class Followers<D, E> {
  readonly #laneOf: (delivery: D) => string | undefined
  readonly #failed: Array<{ readonly delivery: D; readonly cause: Cause.Cause<E>; readonly followers: Array<D> }> = []
  readonly #byLane = new Map<string, Array<D>>()

  constructor(laneOf: (delivery: D) => string | undefined) {
    this.#laneOf = laneOf
  }

  get size(): number {
    return this.#failed.length
  }

  follows(delivery: D): boolean {
    const lane = this.#laneOf(delivery)
    const followers = lane === undefined ? undefined : this.#byLane.get(lane)
    followers?.push(delivery)
    return followers !== undefined
  }

  fails(delivery: D, cause: Cause.Cause<E>): void {
    const followers: Array<D> = []
    this.#failed.push({ delivery, cause, followers })
    const lane = this.#laneOf(delivery)
    if (lane !== undefined) this.#byLane.set(lane, followers)
  }

  forEach(f: (delivery: D, cause: Cause.Cause<E>, followers: ReadonlyArray<D>) => void): void {
    for (const { cause, delivery, followers } of this.#failed) f(delivery, cause, followers)
  }
}
