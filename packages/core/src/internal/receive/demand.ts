/**
 * Invariant 2 (demand): `look` is the only place that sends a receive. It asks for no more than there are permits (and
 * tokens, where the rate is limited), and sends none while nothing is wanted downstream, while it is paused, after a
 * failure before its time, or on the way to the end. As long as a full batch may come none is sent for less, since every
 * call is billed: fewer only where a slot would starve.
 */
import { Stopwatch } from "../observe/observer.js"
import type { Allowance } from "./allowance.js"
import type { BackOff } from "./backOff.js"
import type { OpenPolls } from "./openPolls.js"
import type { Permits } from "./permits.js"
import type { Pollers } from "./pollers.js"
import type { Prefetched } from "./prefetched.js"

/** What it goes by. */
export interface Parts {
  readonly permits: Permits
  readonly allowance: Pick<Allowance<unknown>, "burst" | "available" | "await">
  readonly pollers: Pollers
  readonly polls: OpenPolls
  readonly prefetched: Prefetched<unknown, unknown>
  readonly backOff: BackOff
  readonly batchSize: number
  readonly now: () => number
  /** Sends a receive for so many. */
  readonly poll: (max: number) => void
  /** A reader waits, and no permit is free. */
  readonly onStarved: () => void
}

export class Demand {
  readonly #parts: Parts
  #paused = false
  readonly pausing = new Stopwatch()

  constructor(parts: Parts) {
    this.#parts = parts
  }

  get paused(): boolean {
    return this.#paused
  }

  pause(): void {
    this.#paused = true
    this.pausing.set(true, this.#parts.now())
  }

  resume(): void {
    this.#paused = false
    this.pausing.set(false, this.#parts.now())
    this.look()
  }

  /** What a receive may ask for. */
  #free(): number {
    const { allowance, permits } = this.#parts
    return Math.min(permits.free, allowance.available())
  }

  /** Sends the receives that are worth sending now. */
  readonly look = (): void => {
    const { allowance, backOff, batchSize, onStarved, permits, poll, pollers, polls, prefetched } = this.#parts
    while (!polls.stopping && !this.#paused && !backOff.isOn && prefetched.failure === undefined) {
      if (prefetched.wanted === 0 || polls.size >= pollers.count) return
      // Nothing is here or open and a reader waits, or what is here will not last until the next answer.
      const starving = prefetched.isStarving && polls.size === 0 && prefetched.length === 0
      if (!starving && !this.runsLow()) return
      const full = Math.min(batchSize, permits.max, allowance.burst)
      const free = this.#free()
      if (free >= full) poll(full)
      else if (free > 0 && starving) poll(free)
      else {
        if (starving) onStarved()
        allowance.await(starving ? 1 : full, this.look)
        return
      }
    }
  }

  runsLow(): boolean {
    const { now, pollers, polls, prefetched } = this.#parts
    return pollers.runsLow(prefetched.length, polls, now())
  }
}
