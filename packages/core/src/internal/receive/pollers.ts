/**
 * How many receives are worth having open, and when the next one is due: learned from what they bring, how long they take,
 * and how fast it is taken. Estimates all, which the permits bound, whatever they say.
 */
import type { Poll } from "./openPolls.js"

/** How fast an average of rates forgets, in milliseconds. */
const memory = 1000

/** A receive's round trip until one has been seen, and the longest that is believed, in milliseconds. */
const firstRoundTrip = 50
const longestRoundTrip = 5000
const longestGuess = 1000

export class Pollers {
  /** How many receives may be open at once just now. */
  count = 1
  /** What a receive takes that does not have to wait for messages, in milliseconds. */
  #roundTrip = firstRoundTrip
  /** Which part of what it asks for such a receive brings: SQS answers short under load. */
  #fill = 1
  /** Messages handed over each millisecond. */
  rate = 0
  #handedOver = 0
  #rateSince: number
  /** Receives that brought all they asked for, and those that brought less though none had to be waited for. */
  fullReceives = 0
  shortReceives = 0

  constructor(now: number) {
    this.#rateSince = now
  }

  /** Whether what is here and on its way lasts for less than about a receive's round trip. */
  runsLow(prefetched: number, open: Iterable<Poll>, now: number): boolean {
    let asked = 0
    // A receive that takes longer waits for messages that are not there yet.
    for (const poll of open) if (now - poll.sentAt <= this.#prompt()) asked += poll.max
    return prefetched + asked * this.#fill < 2 * this.rate * this.#roundTrip
  }

  #prompt(): number {
    return 2 * this.#roundTrip + 1
  }

  handedOver(messages: number): void {
    this.#handedOver += messages
  }

  /** Each empty answer halves them: a quiet queue is left with one. */
  cameEmpty(): void {
    this.count = Math.max(1, this.count >> 1)
  }

  failed(): void {
    this.count = 1
  }

  /** An answer with messages; `max` are as many as can be of use, and `runsLow` asks with them. */
  came(messages: number, poll: Poll, now: number, max: number, runsLow: () => boolean): void {
    const took = now - poll.sentAt
    // A full batch never waited for messages; a short one did if it took longer than a round trip.
    const prompt = messages === poll.max || took <= this.#prompt()
    if (took < this.#roundTrip) this.#roundTrip = took
    else if (prompt) this.#roundTrip += (Math.min(took, longestRoundTrip) - this.#roundTrip) / 5
    else this.#roundTrip = Math.max(this.#roundTrip, Math.min(this.#roundTrip * 1.05 + 0.1, longestGuess))
    if (prompt) this.#fill += (messages / poll.max - this.#fill) / 5
    if (messages === poll.max) this.fullReceives++
    else if (prompt) this.shortReceives++
    this.#learnRate(now)
    if (!prompt) this.count = Math.max(1, this.count - 1)
    else if (runsLow()) this.count = Math.min(this.count * 2, max)
  }

  #learnRate(now: number): void {
    const elapsed = now - this.#rateSince
    if (elapsed <= 0) return
    const recent = this.#handedOver / elapsed
    this.rate += (recent - this.rate) * Math.min(1, elapsed / memory + 0.1)
    this.#rateSince = now
    this.#handedOver = 0
  }
}
