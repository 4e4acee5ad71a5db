/** A doubly linked list through its members' own fields: adding and removing any of them costs O(1). */
export interface Linked<T> {
  previous: T | undefined
  next: T | undefined
}

export class List<T extends Linked<T>> {
  head: T | undefined
  tail: T | undefined
  size = 0

  append(item: T): void {
    item.previous = this.tail
    item.next = undefined
    if (this.tail === undefined) this.head = item
    else this.tail.next = item
    this.tail = item
    this.size++
  }

  /** The item must be in this list. */
  remove(item: T): void {
    if (item.previous === undefined) this.head = item.next
    else item.previous.next = item.next
    if (item.next === undefined) this.tail = item.previous
    else item.next.previous = item.previous
    item.previous = undefined
    item.next = undefined
    this.size--
  }
}
