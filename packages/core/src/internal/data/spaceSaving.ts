/**
 * Which keys have most of something, of however many: so many are counted at a time, and a new one takes the place of the
 * least, with its count as the error that it may have (Metwally et al., "Efficient computation of frequent and top-k
 * elements in data streams", 2005). A key with more than a `capacity`th of all is never missing.
 *
 * What was counted long ago weighs less: half after each `halfLife`.
 */
import { Heap } from "./heap.js"

interface Counter {
  key: string
  count: number
  /** As much of the count may be another key's. */
  error: number
  place: number
}

export interface Share {
  readonly key: string
  /** Its part of all, from 0 to 1: at least this, and at most `atMost`. */
  readonly atLeast: number
  readonly atMost: number
}

/** Weights grow with time instead of counts shrinking; before they are too large for a number all of them are scaled. */
const mostGrowth = 2 ** 40

export class SpaceSaving {
  readonly #capacity: number
  readonly #halfLife: number
  readonly #counters = new Map<string, Counter>()
  readonly #least = new Heap<Counter>(
    (a, b) => a.count < b.count,
    (counter, place) => {
      counter.place = place
    }
  )
  #total = 0
  #since: number | undefined

  /** @param halfLife - in milliseconds. */
  constructor(capacity: number, halfLife: number) {
    this.#capacity = capacity
    this.#halfLife = halfLife
  }

  get size(): number {
    return this.#counters.size
  }

  add(key: string, amount: number, now: number): void {
    if (!(amount > 0)) return
    const grown = amount * this.#growth(now)
    this.#total += grown
    const known = this.#counters.get(key)
    if (known !== undefined) {
      known.count += grown
      this.#least.moved(known.place)
      return
    }
    const least = this.#counters.size < this.#capacity ? undefined : this.#least.peek
    if (least === undefined) {
      const counter: Counter = { key, count: grown, error: 0, place: -1 }
      this.#counters.set(key, counter)
      this.#least.push(counter)
      return
    }
    this.#counters.delete(least.key)
    least.key = key
    least.error = least.count
    least.count += grown
    this.#counters.set(key, least)
    this.#least.moved(least.place)
  }

  /** What a key has of all, as far as that is known. */
  of(key: string): Share {
    const counter = this.#counters.get(key)
    const most = counter?.count ?? (this.#counters.size < this.#capacity ? 0 : (this.#least.peek?.count ?? 0))
    return this.#share(key, counter === undefined ? 0 : counter.count - counter.error, most)
  }

  /** The largest, the first of them first. */
  largest(n: number): ReadonlyArray<Share> {
    return [...this.#counters.values()]
      .sort((a, b) => b.count - b.error - (a.count - a.error))
      .slice(0, n)
      .map(({ count, error, key }) => this.#share(key, count - error, count))
  }

  #share(key: string, atLeast: number, atMost: number): Share {
    return this.#total === 0
      ? { key, atLeast: 0, atMost: 0 }
      : { key, atLeast: Math.max(0, atLeast / this.#total), atMost: Math.min(1, atMost / this.#total) }
  }

  #growth(now: number): number {
    this.#since ??= now
    const growth = 2 ** (Math.max(0, now - this.#since) / this.#halfLife)
    if (growth < mostGrowth) return growth
    // All by the same factor: the heap stays as it is.
    for (const counter of this.#counters.values()) {
      counter.count /= growth
      counter.error /= growth
    }
    this.#total /= growth
    this.#since = now
    return 1
  }
}
