import type * as Clock from "effect/Clock"

/** What rounding makes of two clocks that agree, in milliseconds. */
const rounding = 2

/**
 * The time that leases and timers are judged by, in milliseconds. It is the wall clock's, with two rules: it never goes
 * back, and where the wall clock is stepped back, as NTP or a person does it, it goes on as if that had not been. A wall
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
  /** The wall clock's millisecond in which `exactly` looked last. */
  #exactAt = -Infinity

  constructor(clock: Clock.Clock) {
    this.#clock = clock
    this.#last = clock.unsafeCurrentTimeMillis()
    this.#skew = this.#measure()
  }

  /** Notices a step back of more than has passed since the last look: for what the next look puts right. */
  now(): number {
    const now = this.#clock.unsafeCurrentTimeMillis() + this.#ahead
    if (now < this.#last) return this.exactly()
    this.#last = now
    return now
  }

  /** Notices any, and costs more, once in a millisecond: for what a lease is judged by. */
  exactly(): number {
    const wall = this.#clock.unsafeCurrentTimeMillis()
    if (wall === this.#exactAt) return this.#last
    this.#exactAt = wall
    const skew = this.#measure()
    const back = skew - this.#skew
    if (Math.abs(back) > rounding) {
      this.#ahead = Math.max(this.#ahead, this.#aheadThen + back)
      this.#aheadThen = this.#ahead
      this.#skew = skew
    }
    this.#last = Math.max(this.#last, wall + this.#ahead)
    return this.#last
  }

  /** The time as it was last looked at. */
  get latest(): number {
    return this.#last
  }

  /** A time of this clock, as the wall clock has it now. */
  onTheWall(time: number): number {
    this.exactly()
    return time - this.#ahead
  }

  #measure(): number {
    return Math.round(Number(this.#clock.unsafeCurrentTimeNanos()) / 1e6) - this.#clock.unsafeCurrentTimeMillis()
  }
}
