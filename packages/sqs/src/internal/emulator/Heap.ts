/**
 * Timers by the instant they are due. A timer knows its place in the heap, so that one is cancelled in O(log n) and
 * none is left behind.
 */
export class Timer<out Owner> {
  /** Its place in the heap; -1 when it is in none. */
  slot = -1
  readonly owner: Owner
  /** Orders timers that are due at the same instant. */
  readonly order: number
  at: number

  constructor(owner: Owner, order: number, at: number) {
    this.owner = owner
    this.order = order
    this.at = at
  }
}

const before = (a: Timer<unknown>, b: Timer<unknown>): boolean => a.at < b.at || (a.at === b.at && a.order < b.order)

export class Heap<Owner> {
  private readonly timers: Array<Timer<Owner>> = []

  peek(): Timer<Owner> | undefined {
    return this.timers[0]
  }

  /** Adds a timer, or moves one whose `at` has changed. */
  put(timer: Timer<Owner>): void {
    if (timer.slot === -1) {
      timer.slot = this.timers.length
      this.timers.push(timer)
    }
    this.up(timer)
    this.down(timer)
  }

  remove(timer: Timer<Owner>): void {
    const slot = timer.slot
    if (slot === -1) return
    timer.slot = -1
    const last = this.timers.pop()
    if (last === undefined || last === timer) return
    this.place(last, slot)
    this.up(last)
    this.down(last)
  }

  private place(timer: Timer<Owner>, slot: number): void {
    this.timers[slot] = timer
    timer.slot = slot
  }

  private up(timer: Timer<Owner>): void {
    while (timer.slot > 0) {
      const slot = timer.slot
      const above = (slot - 1) >> 1
      const parent = this.timers[above]
      if (parent === undefined || !before(timer, parent)) return
      this.place(parent, slot)
      this.place(timer, above)
    }
  }

  private down(timer: Timer<Owner>): void {
    for (;;) {
      const slot = timer.slot
      const left = this.timers[2 * slot + 1]
      const right = this.timers[2 * slot + 2]
      const child = right !== undefined && left !== undefined && before(right, left) ? right : left
      if (child === undefined || !before(child, timer)) return
      const below = child.slot
      this.place(child, slot)
      this.place(timer, below)
    }
  }
}
