import type { InFlight } from "../lease/inFlight.js"

/** Who has permits somewhere, and for how many deliveries: parts of one message have its permit together. */
export class Holders {
  readonly #holders = new Map<InFlight, number>()
  permits = 0

  has(holder: InFlight): boolean {
    return this.#holders.has(holder)
  }

  add(holder: InFlight, permits: number): void {
    const before = this.#holders.get(holder)
    if (before === undefined) this.permits += permits
    this.#holders.set(holder, (before ?? 0) + 1)
  }

  delete(holder: InFlight, permits: number): void {
    const left = (this.#holders.get(holder) ?? 1) - 1
    if (left > 0) this.#holders.set(holder, left)
    else if (this.#holders.delete(holder)) this.permits -= permits
  }

  get isEmpty(): boolean {
    return this.#holders.size === 0
  }
}
