/**
 * Invariant 1 (bound): what is in flight, and what the open receives have asked for, come to `maxInFlight` at most when a
 * receive is sent. A permit comes back only through `release`, which the owner of the deliveries calls when the queue has
 * confirmed their end, or their lease is over.
 */
import type { Tunable } from "../../Tunable.js"

export interface Permits {
  readonly max: number
  readonly inFlight: number
  /** Of all who share them. */
  readonly allInFlight: number
  /** Whether all are in flight or asked for, by whoever shares them. */
  readonly isFull: boolean
  /** Its part of them: all, where nobody shares them. */
  readonly share: number
  /** None, or less, where the bound was lowered. */
  readonly free: number
  /** A receive asks for so many. */
  readonly reserve: (asked: number) => void
  /** It has its answer: so many have come. */
  readonly answered: (asked: number, came: number) => void
  readonly release: () => void
  /** It is paused, or goes on, or has stopped. */
  readonly changed: () => void
}

/** Those of one queue alone. */
export class UnsharedPermits implements Permits {
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

  get allInFlight(): number {
    return this.#inFlight
  }

  get isFull(): boolean {
    return this.free <= 0
  }

  get share(): number {
    return this.max
  }

  get free(): number {
    return this.max - this.#inFlight - this.#reserved
  }

  reserve(asked: number): void {
    this.#reserved += asked
  }

  answered(asked: number, came: number): void {
    this.#reserved -= asked
    this.#inFlight += came
  }

  release(): void {
    this.#inFlight--
  }

  changed(): void {}
}
