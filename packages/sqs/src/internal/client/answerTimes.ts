/**
 * When SQS gave an answer. The leases in it run from then, and it may lie in its socket for as long as the process is
 * suspended (a paused VM, a laptop that sleeps) or its event loop is blocked.
 *
 * SQS's clock is estimated by the `Date` of all answers: each was given after its call was sent and before its first bytes
 * were seen, which bounds how far this computer's clock is ahead. `Date` counts in whole seconds.
 */
const second = 1000

export class AnswerTimes {
  /** How far this computer's clock is ahead of SQS's, in milliseconds. */
  #least = -Infinity
  #most = Infinity
  /** The last `Date`, and what it says: all answers of a second have the same. */
  #date: unknown
  #then = Number.NaN

  /**
   * The earliest time at which an answer may have been given, where it is surely older than it looks; else when its first
   * bytes were seen. All in milliseconds since the epoch, by this computer's clock.
   */
  givenAt(date: unknown, sentAt: number, seenAt: number): number {
    if (date !== this.#date) {
      this.#date = date
      this.#then = typeof date === "string" ? Date.parse(date) : Number.NaN
    }
    const then = this.#then
    if (Number.isNaN(then)) return seenAt
    const least = sentAt - then - second
    const most = seenAt - then
    // One of the clocks was set meanwhile: what was known of them holds no more.
    const anew = least > this.#most || most < this.#least
    this.#least = anew ? least : Math.max(least, this.#least)
    this.#most = anew ? most : Math.min(most, this.#most)
    return seenAt > then + second + this.#most ? Math.max(sentAt, then + this.#least) : seenAt
  }
}
