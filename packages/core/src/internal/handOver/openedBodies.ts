import * as Effect from "effect/Effect"
import { Waiters } from "../effect/waiters.js"

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
  readonly #waiters = new Waiters()
  #saidFull = false

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
      this.#waiters.look()
    })
  }

  /** Waits until another may be opened, or this one has ended meanwhile. */
  untilRoom(delivery: Ending): Effect.Effect<void> {
    const goesOn = () => this.hasRoom || delivery.outcome !== undefined
    const until: Effect.Effect<void> = Effect.suspend(() => {
      if (goesOn()) return Effect.void
      if (!this.#saidFull) {
        this.#saidFull = true
        this.#onFull()
      }
      delivery.onEnded(() => this.#waiters.look())
      // Another that waited may take the room first.
      return Effect.zipRight(this.#waiters.until(goesOn), until)
    })
    return until
  }
}
