/**
 * The right to run handlers, so many at once: what a stage asks before it starts one. A stage knows of its slots no more
 * than `Slots`; where they come from, and who else has a part in them, is an implementation's.
 */
import type { Tunable } from "../../Tunable.js"

export interface Slots {
  /** How many there are for this stage now, at most. */
  readonly count: number
  /** How many of them it has taken. */
  readonly taken: number
  /** How many more it may take now; none, or less, where their number was lowered. */
  readonly free: number
  /** What changes how many there are; none where they are without a bound, and so none are ever busy. */
  readonly tunable: Tunable | undefined
  readonly take: () => void
  readonly giveBack: () => void
  /** Calls back when some may have come free by another's hand, or `count` has changed, until it is cancelled. */
  readonly onChange: (listener: () => void) => () => void
}

/** As many for each stage as it says. */
export class OwnSlots implements Slots {
  readonly #concurrency: Tunable
  taken = 0

  constructor(concurrency: Tunable) {
    this.#concurrency = concurrency
  }

  get count(): number {
    return this.#concurrency.unsafeGet()
  }

  get free(): number {
    return this.count - this.taken
  }

  get tunable(): Tunable | undefined {
    return this.count === Number.MAX_SAFE_INTEGER ? undefined : this.#concurrency
  }

  take(): void {
    this.taken++
  }

  giveBack(): void {
    this.taken--
  }

  onChange(listener: () => void): () => void {
    return this.#concurrency.unsafeSubscribe(listener)
  }
}

/** Of a stage that only passes things on: so many at once, and no handler is ever busy. */
export class Passing implements Slots {
  readonly count: number
  readonly tunable = undefined
  taken = 0

  constructor(count: number) {
    this.count = count
  }

  get free(): number {
    return this.count - this.taken
  }

  take(): void {
    this.taken++
  }

  giveBack(): void {
    this.taken--
  }

  onChange(): () => void {
    return () => {}
  }
}
