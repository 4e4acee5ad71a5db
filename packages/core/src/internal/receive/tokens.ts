import * as Effect from "effect/Effect"

/** The right to receive so many messages. */
export interface Tokens<out E> {
  /** There are never more. */
  readonly burst: number
  readonly available: () => number
  readonly take: (n: number) => void
  /** What was asked for and did not come. */
  readonly giveBack: (n: number) => void
  /** Whether `until` waits for all of so many: who has use for fewer meanwhile asks anew. */
  readonly waitsForAll: boolean
  /** Completes when there are more, or may be so many. */
  readonly until: (n: number) => Effect.Effect<void, E>
}

/** The rate that is none. */
export const unlimited = Number.MAX_SAFE_INTEGER

/** Fills at a rate, up to a burst (of a second, where none is given). */
export class TokenBucket implements Tokens<never> {
  readonly waitsForAll = true
  readonly #burst: number | undefined
  readonly #perSecond: () => number
  readonly #now: () => number
  #tokens: number
  #at: number

  constructor(burst: number | undefined, perSecond: () => number, now: () => number) {
    this.#burst = burst
    this.#perSecond = perSecond
    this.#now = now
    this.#tokens = this.burst
    this.#at = now()
  }

  get #isUnlimited(): boolean {
    return this.#perSecond() === unlimited
  }

  get burst(): number {
    return this.#isUnlimited ? unlimited : (this.#burst ?? Math.max(1, Math.ceil(this.#perSecond())))
  }

  #fill(): void {
    const now = this.#now()
    this.#tokens = Math.min(this.burst, this.#tokens + ((now - this.#at) * this.#perSecond()) / 1000)
    this.#at = now
  }

  available(): number {
    if (this.#isUnlimited) return unlimited
    this.#fill()
    // A millisecond's rounding must not cost a turn.
    return Math.floor(this.#tokens + 1e-6)
  }

  // What has come is counted first: a bucket that stood full would be filled anew by the time that it did.
  take(n: number): void {
    if (this.#isUnlimited) return
    this.#fill()
    this.#tokens -= n
  }

  giveBack(n: number): void {
    if (!this.#isUnlimited) this.#tokens += n
  }

  until(n: number): Effect.Effect<void> {
    return Effect.suspend(() => {
      this.#fill()
      return Effect.sleep(Math.max(1, Math.ceil(((n - this.#tokens) * 1000) / this.#perSecond())))
    })
  }
}
