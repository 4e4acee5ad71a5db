/** The latest so many values, for their quantiles: a ring, sorted when it is asked. */
export class Quantiles {
  readonly #ring = new Float64Array(1024)
  #count = 0

  add(value: number): void {
    this.#ring[this.#count++ % this.#ring.length] = value
  }

  /** `undefined` before the first value. */
  at(quantile: number): number | undefined {
    const size = Math.min(this.#count, this.#ring.length)
    if (size === 0) return undefined
    return this.#ring.slice(0, size).sort()[Math.min(size - 1, Math.floor(quantile * size))]
  }
}
