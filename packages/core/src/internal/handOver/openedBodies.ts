import * as Effect from "effect/Effect"

/** What has a body, and an end. */
interface Ending {
  readonly outcome: unknown
  readonly onEnded: (f: () => void) => void
}

/**
 * The bytes of bodies that were opened or fetched and whose deliveries have not ended: a consumer's `maxOpenedBytes`. One
 * is opened while the others come to less than that, whatever it becomes, so that any body has its turn; the next waits.
 */
export class OpenedBodies {
  readonly #most: number
  readonly #onFull: () => void
  #bytes = 0
  readonly #waiting = new Set<() => void>()

  /** `onFull` is told once, when something waits for the first time. */
  constructor(most: number, onFull: () => void) {
    this.#most = most
    this.#onFull = onFull
  }

  get bytes(): number {
    return this.#bytes
  }

  get hasRoom(): boolean {
    return this.#bytes < this.#most
  }

  /** The body of this delivery is open from now until it ends. */
  take(delivery: Ending, bytes: number): void {
    this.#bytes += bytes
    delivery.onEnded(() => {
      this.#bytes -= bytes
      if (this.hasRoom) for (const wake of [...this.#waiting]) wake()
    })
  }

  /** Waits until another may be opened, or this one has ended meanwhile. */
  untilRoom(delivery: Ending): Effect.Effect<void> {
    return Effect.suspend(() =>
      this.hasRoom || delivery.outcome !== undefined
        ? Effect.void
        : Effect.zipRight(this.#untilSomeEnd(delivery), this.untilRoom(delivery))
    )
  }

  #saidFull = false

  #untilSomeEnd(delivery: Ending): Effect.Effect<void> {
    return Effect.async<void>((resume) => {
      // It may have lost its turn since it looked.
      if (this.hasRoom || delivery.outcome !== undefined) return resume(Effect.void)
      if (!this.#saidFull) {
        this.#saidFull = true
        this.#onFull()
      }
      const wake = () => {
        this.#waiting.delete(wake)
        resume(Effect.void)
      }
      this.#waiting.add(wake)
      delivery.onEnded(wake)
      return Effect.sync(() => void this.#waiting.delete(wake))
    })
  }
}
