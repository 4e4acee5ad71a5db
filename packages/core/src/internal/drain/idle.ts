/**
 * When a consumer ends by itself: its queue is empty, as far as one can know who only receives from it. For so long nothing
 * has been in flight here, no receive has brought anything, nothing that was given back with a delay was still to come, and
 * no receive has failed that may have leased something to nobody; and the latest one came back empty. It looks as a receive
 * comes back empty: so that one is never cut off; others that are open end as in any drain.
 */

/** What it needs of each consumer. */
export interface Member {
  readonly now: () => number
  /** It receives, and nothing of it is in flight here. */
  readonly rests: () => boolean
  readonly drain: () => void
}

/** Of one consumer, or of those of several queues that are consumed as one: they end together. */
export class Idle {
  readonly #time: number
  readonly #parts: Array<IdlePart> = []
  #over = false

  /** In milliseconds. */
  constructor(time: number) {
    this.#time = time
  }

  part(): IdlePart {
    const part = new IdlePart(() => this.#look())
    this.#parts.push(part)
    return part
  }

  #look(): void {
    const since = Math.max(...this.#parts.map((part) => part.since))
    const all = this.#parts.every(
      ({ emptyAt, member }) => member?.rests() && emptyAt >= since && member.now() - since >= this.#time
    )
    if (!all || this.#over) return
    this.#over = true
    for (const { member } of this.#parts) member?.drain()
  }
}

/** What one consumer tells. */
export class IdlePart {
  readonly #look: () => void
  member: Member | undefined
  /** Since when its queue may have been empty; later than now where something is still to come. */
  since = -Infinity
  emptyAt = -Infinity

  constructor(look: () => void) {
    this.#look = look
  }

  /** There was something, or may be, until then. */
  busyUntil(time: number): void {
    if (time > this.since) this.since = time
  }

  cameEmpty(time: number): void {
    this.emptyAt = time
    this.#look()
  }
}
