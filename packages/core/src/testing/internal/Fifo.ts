/** What stands in a `Fifo` carries its own link, so that a million of them cost no array to shift. */
export interface Linked<A> {
  next: A | undefined
}

export class Fifo<A extends Linked<A>> {
  #head: A | undefined
  #tail: A | undefined

  get peek(): A | undefined {
    return this.#head
  }

  push(item: A): void {
    item.next = undefined
    if (this.#tail === undefined) this.#head = item
    else this.#tail.next = item
    this.#tail = item
  }

  shift(): A | undefined {
    const item = this.#head
    if (item === undefined) return undefined
    this.#head = item.next
    if (this.#head === undefined) this.#tail = undefined
    item.next = undefined
    return item
  }
}
