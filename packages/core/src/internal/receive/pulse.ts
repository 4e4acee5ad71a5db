/**
 * Whether the process has run all the while that a receive was open. While it is suspended, or its event loop is held, an
 * answer may lie in its socket, and the leases in it run; a timer that comes late tells of that.
 */
import type { Fork } from "../effect/fork.js"
import { Timer } from "../effect/timer.js"

/** After a gap it beats again so soon, in milliseconds: what had come meanwhile has been read by then. */
const soon = 1000

export class Pulse {
  readonly #timer: Timer
  readonly #now: () => number
  readonly #usual: number
  #interval: number
  #beatAt = 0
  /** The last beat before a gap that has just ended. */
  #heldSince: number | undefined

  /** Beats four times a lease, so that a gap is seen while half of one is left. */
  constructor(runFork: Fork, now: () => number, leaseMillis: number) {
    this.#timer = new Timer(runFork)
    this.#now = now
    this.#usual = leaseMillis / 4
    this.#interval = this.#usual
  }

  /** A receive is open. */
  start(): void {
    if (this.#timer.isSet) return
    this.#heldSince = undefined
    this.#beat()
  }

  /** None is. */
  stop(): void {
    this.#timer.cancel()
  }

  /** Since when what is read now may have waited to be read; `undefined` where it was read as it came. */
  get heldSince(): number | undefined {
    return this.#isLate() ? this.#beatAt : this.#heldSince
  }

  #isLate(): boolean {
    return this.#now() - this.#beatAt > 1.25 * this.#interval
  }

  #beat(): void {
    this.#beatAt = this.#now()
    this.#interval = this.#heldSince === undefined ? this.#usual : Math.min(this.#usual, soon)
    this.#timer.set(this.#beatAt + this.#interval, this.#interval, () => {
      this.#heldSince = this.#isLate() ? this.#beatAt : undefined
      this.#beat()
    })
  }
}
