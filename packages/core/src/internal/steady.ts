import type * as Clock from "effect/Clock"

/** What rounding makes of two clocks that agree, in milliseconds. */
const rounding = 2

/**
 * The time that leases and timers are judged by, in milliseconds. It is the wall clock's, with two rules: it never goes
 * back, and where the wall clock is stepped back, as NTP or a person does, it goes on as if that had not been. A wall
 * clock that is ahead, as after the machine has slept, is believed: sooner given up than held in vain.
 */
export class Steady {
  readonly #clock: Clock.Clock
  /** How far the wall clock has been stepped back, all together. */
  #ahead = 0
  #last: number
  /** The monotonic clock against the wall clock as it was last seen, and `#ahead` at that time. */
  #skew: number
  #aheadThen = 0

  constructor(clock: Clock.Clock) {
    this.#clock = clock
    this.#last = clock.unsafeCurrentTimeMillis()
    this.#skew = this.#measure()
  }

  /** Cheap. Of a step back it notices what is more than the time since the last look. */
  now(): number {
    const now = this.#clock.unsafeCurrentTimeMillis() + this.#ahead
    if (now >= this.#last) {
      this.#last = now
    } else {
      this.#ahead += this.#last - now
    }
    return this.#last
  }

  /** The same, and misses nothing. */
  exactly(): number {
    const skew = this.#measure()
    const back = skew - this.#skew
    if (Math.abs(back) > rounding) {
      this.#ahead = Math.max(this.#ahead, this.#aheadThen + back)
      this.#aheadThen = this.#ahead
      this.#skew = skew
    }
    return this.now()
  }

  /** A time of this clock, as the wall clock has it now. */
  onTheWall(time: number): number {
    this.exactly()
    return time - this.#ahead
  }

  #measure(): number {
    return Number(this.#clock.unsafeCurrentTimeNanos() / 1_000_000n) - this.#clock.unsafeCurrentTimeMillis()
  }
}
