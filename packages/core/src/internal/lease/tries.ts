/** What its failures leave on a delivery; none before the first. */
export class Tries {
  /** Runs again of our own, beyond the attempts that the queue has counted: in the slot, and of these since it was held. */
  inPlace = 0
  inARow = 0
  /** Runs again after having been held. */
  holds = 0
  /** When it runs again, where it is held for it, in milliseconds. */
  heldUntil = 0
  /** It failed in a stage before the one that settles it: only another receive runs that one again. */
  runsElsewhere = false
  /** Its group goes on though it failed: the user said so. */
  skipped = false

  /** It runs again in its slot. */
  again(): void {
    this.inPlace++
    this.inARow++
  }

  /** It runs again then, and leaves its slot to others meanwhile. */
  hold(until: number): void {
    this.holds++
    this.inARow = 0
    this.heldUntil = until
  }
}
