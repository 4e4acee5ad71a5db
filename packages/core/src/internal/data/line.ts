/** A line that is joined at either end and left from anywhere, each at once, however long it is. */
export class Line<A extends Standing<A>> {
  first: A | undefined
  last: A | undefined
  size = 0

  push(one: A): void {
    one.line = this
    one.ahead = this.last
    if (this.last === undefined) this.first = one
    else this.last.behind = one
    this.last = one
    this.size++
  }

  unshift(one: A): void {
    one.line = this
    one.behind = this.first
    if (this.first === undefined) this.last = one
    else this.first.ahead = one
    this.first = one
    this.size++
  }

  /** Nothing where it does not stand in this line. */
  remove(one: A): void {
    if (one.line !== this) return
    const { ahead, behind } = one
    if (ahead === undefined) this.first = behind
    else ahead.behind = behind
    if (behind === undefined) this.last = ahead
    else behind.ahead = ahead
    one.line = undefined
    one.ahead = undefined
    one.behind = undefined
    this.size--
  }

  *[Symbol.iterator](): Iterator<A> {
    for (let one = this.first; one !== undefined; one = one.behind) yield one
  }
}

/** What can stand in one line at a time. */
export interface Standing<A extends Standing<A>> {
  line: Line<A> | undefined
  ahead: A | undefined
  behind: A | undefined
}
