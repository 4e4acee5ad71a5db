/**
 * Receives on an ordered queue whose answer was lost, by the name under which they can be repeated: the queue answers those
 * with the same messages, instead of keeping their groups waiting for leases that nobody has.
 */
export interface Attempt {
  readonly id: string
  readonly max: number
  readonly since: number
}

/** SQS answers a repeated attempt id with the same messages for 5 minutes. */
const attemptLife = 5 * 60 * 1000

export class LostAttempts {
  #attempts: Array<Attempt> = []

  add(attempt: Attempt): void {
    this.#attempts.push(attempt)
  }

  /** One to be sent again, for so many messages at most. */
  take(max: number, now: number): Attempt | undefined {
    this.#attempts = this.#attempts.filter((attempt) => attempt.since > now - attemptLife)
    const i = this.#attempts.findIndex((attempt) => attempt.max <= max)
    return i < 0 ? undefined : this.#attempts.splice(i, 1)[0]
  }
}
