/**
 * Invariant 1 (bound): what is in flight, and what the open receives have asked for, come to `maxInFlight` at most when a
 * receive is sent. A permit comes back only through `release`, which the owner of the deliveries calls when the queue has
 * confirmed their end, or their lease is over.
 */
import type { Tunable } from "../../Tunable.js"

export class Permits {
  readonly #maxInFlight: Tunable
  #inFlight = 0
  #reserved = 0

  constructor(maxInFlight: Tunable) {
    this.#maxInFlight = maxInFlight
  }

  get max(): number {
    return this.#maxInFlight.unsafeGet()
  }

  get inFlight(): number {
    return this.#inFlight
  }

  /** None, or less, where the bound was lowered. */
  get free(): number {
    return this.max - this.#inFlight - this.#reserved
  }

  /** A receive asks for so many. */
  reserve(asked: number): void {
    this.#reserved += asked
  }

  /** It has its answer: so many have come. */
  answered(asked: number, came: number): void {
    this.#reserved -= asked
    this.#inFlight += came
  }

  release(): void {
    this.#inFlight--
  }
}
