/** A binary heap: the least item first. Items that are told their place can be removed or moved in O(log n). */
export class Heap<A> {
  readonly #items: Array<A> = []
  readonly #less: (a: A, b: A) => boolean
  readonly #placed: (item: A, index: number) => void

  /** @param placed - told each item's index whenever it moves, and -1 once it has left. */
  constructor(less: (a: A, b: A) => boolean, placed: (item: A, index: number) => void = () => {}) {
    this.#less = less
    this.#placed = placed
  }

  get size(): number {
    return this.#items.length
  }

  /** In no order. */
  get items(): ReadonlyArray<A> {
    return this.#items
  }

  get peek(): A | undefined {
    return this.#items[0]
  }

  push(item: A): void {
    this.#items.push(item)
    this.#up(item, this.#items.length - 1)
  }

  pop(): A | undefined {
    const top = this.#items[0]
    if (top !== undefined) this.removeAt(0)
    return top
  }

  removeAt(index: number): void {
    const item = this.#items[index]
    if (item === undefined) return
    const last = this.#items.pop()
    if (last === undefined) return
    this.#placed(item, -1)
    if (item !== last) this.#settle(last, index)
  }

  /** The item at `index` has a new rank. */
  moved(index: number): void {
    const item = this.#items[index]
    if (item !== undefined) this.#settle(item, index)
  }

  #settle(item: A, index: number): void {
    if (this.#up(item, index) === index) this.#down(item, index)
  }

  #up(item: A, from: number): number {
    const items = this.#items
    let index = from
    while (index > 0) {
      const above = (index - 1) >> 1
      const parent = items[above] as A
      if (!this.#less(item, parent)) break
      this.#put(parent, index)
      index = above
    }
    this.#put(item, index)
    return index
  }

  #down(item: A, from: number): void {
    const items = this.#items
    const half = items.length >> 1
    let index = from
    while (index < half) {
      let below = 2 * index + 1
      let child = items[below] as A
      const right = items[below + 1]
      if (right !== undefined && this.#less(right, child)) {
        child = right
        below += 1
      }
      if (!this.#less(child, item)) break
      this.#put(child, index)
      index = below
    }
    this.#put(item, index)
  }

  #put(item: A, index: number): void {
    this.#items[index] = item
    this.#placed(item, index)
  }
}
