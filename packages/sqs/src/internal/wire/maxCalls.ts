/**
 * So many calls at a time, and no more: the others stand in line, the first one first, until a place is free. A pool of
 * undici's keeps such a bound for itself alone; pools that are closing have connections beside it, and over a proxy without
 * tunnels there is none.
 */
export class MaxCalls {
  readonly max: number
  readonly #line = new Set<() => void>()
  #taken = 0

  constructor(max: number) {
    this.max = max
  }

  get taken(): number {
    return this.#taken
  }

  get waiting(): number {
    return this.#line.size
  }

  /** Begins now, or as its turn comes. */
  enter(begin: () => void): void {
    if (this.#taken === this.max) {
      this.#line.add(begin)
      return
    }
    this.#taken++
    begin()
  }

  /** Once for each that has entered: out of the line, or out of its place. */
  leave(begin: () => void): void {
    if (this.#line.delete(begin)) return
    // undici takes a connection for free a turn after its answer: a call that came sooner would have another one opened.
    queueMicrotask(() => setImmediate(() => this.#free()))
  }

  #free(): void {
    const [next] = this.#line
    if (next === undefined) {
      this.#taken--
      return
    }
    this.#line.delete(next)
    next()
  }
}
