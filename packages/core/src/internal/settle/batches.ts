/**
 * Gathers entries into calls, of each operation its own: a call goes when it is full, or its first entry has lingered for
 * as long as there is reason to hope for others. Where the queue tells which receive brought a message, a call is full
 * with entries of one receive; what goes when it is due goes receive by receive, in no more calls than it takes.
 */
import type { Fork } from "../effect/fork.js"
import { Timer } from "../effect/timer.js"
import { byReceive } from "./byReceive.js"
import type { Entry, Operation } from "./entry.js"

export const operations: ReadonlyArray<Operation> = ["Ack", "SetLease", "DeadLetter"]

/** Somebody is waiting: long enough for handlers that end together, too short to be felt. In milliseconds. */
const awaitedLinger = 5

const never = Infinity

/** What it needs of the consumer that it works for. */
export interface Host {
  readonly runFork: Fork
  readonly now: () => number
  /** Entries expected each millisecond: where no other would come in time, waiting is no use. */
  readonly rate: () => number
  /** Whether anything else is in flight that could join the batch, and whether anything else could ever be. */
  readonly joiners: (pending: number) => "some" | "none yet" | "none"
}

export interface Options {
  /** In milliseconds. */
  readonly linger: number
  /** Calls without an answer, at most. */
  readonly concurrency: number
}

export class Batches {
  readonly #host: Host
  readonly #batchSize: number
  readonly #linger: number
  readonly #shortLinger: number
  readonly #concurrency: number
  /** Sends a call; calls back once, when it has had its first answer. */
  readonly #send: (operation: Operation, entries: ReadonlyArray<Entry>, onAnswer: () => void) => void
  readonly #timer: Timer
  #batches = emptyBatches()
  /** Calls that have had no answer yet. Those that are tried again hold up nothing. */
  #unanswered = 0

  constructor(
    host: Host,
    batchSize: number,
    options: Options,
    send: (operation: Operation, entries: ReadonlyArray<Entry>, onAnswer: () => void) => void
  ) {
    this.#host = host
    this.#batchSize = batchSize
    this.#linger = options.linger
    this.#shortLinger = Math.min(awaitedLinger, options.linger)
    this.#concurrency = options.concurrency
    this.#send = send
    this.#timer = new Timer(host.runFork)
  }

  /** `pending` are the entries without result, this one included. */
  add(entry: Entry, pending: number): void {
    const batch = this.#batches[entry.request._tag]
    batch.add(entry)
    if (batch.most >= this.#batchSize) {
      this.#sendDue()
    } else {
      // Enough for a call, though of several receives: who waits does not wait for the others of theirs.
      const enough = entry.awaited && batch.entries.length >= this.#batchSize
      this.#await(batch, enough ? 0 : this.#patience(entry.awaited, pending))
      if (enough) this.#sendDue()
      else this.#arm()
    }
  }

  /** It goes after so long at the latest. What joins others for as long as they linger is never due before them. */
  #await(batch: Batch, patience: number): void {
    if (patience < this.#linger || batch.due === never) {
      batch.due = Math.min(batch.due, this.#host.now() + patience)
    }
  }

  /** Sends what lingers now. */
  flush(): void {
    for (const operation of operations) {
      const batch = this.#batches[operation]
      if (batch.entries.length > 0) batch.due = -Infinity
    }
    this.#sendDue()
  }

  /** Lets it linger as little as what somebody waits for. */
  hurry(): void {
    for (const operation of operations) {
      const batch = this.#batches[operation]
      if (batch.entries.length > 0) this.#await(batch, this.#shortLinger)
    }
    this.#arm()
  }

  /** Nothing lingers: ends the timer. */
  disarm(): void {
    this.#timer.cancel()
  }

  /** Forgets what lingers: whose call ends now looks for what is due. */
  clear(): void {
    this.disarm()
    this.#batches = emptyBatches()
  }

  /** How long to wait for others, where there is reason to hope for any. */
  #patience(awaited: boolean, pending: number): number {
    const joiners = this.#host.joiners(pending)
    if (joiners === "none") return 0
    const longest = awaited ? this.#shortLinger : this.#linger
    if (this.#host.rate() * longest >= 1) return longest
    return awaited || joiners === "none yet" ? 0 : this.#linger
  }

  #sendDue(): void {
    const time = this.#host.now()
    for (const operation of operations) {
      const batch = this.#batches[operation]
      while (this.#unanswered < this.#concurrency && (batch.due <= time || batch.most >= this.#batchSize)) {
        this.#dispatch(operation, batch)
      }
    }
    this.#arm()
  }

  #dispatch(operation: Operation, batch: Batch): void {
    const entries = batch.take(this.#batchSize)
    this.#unanswered++
    this.#send(operation, entries, () => {
      this.#unanswered--
      this.#sendDue()
    })
  }

  #arm(): void {
    if (this.#unanswered >= this.#concurrency) return // the next answer looks again
    const { Ack, DeadLetter, SetLease } = this.#batches
    const due = Math.min(Ack.due, SetLease.due, DeadLetter.due)
    if (this.#timer.at <= due) return
    const wait = Math.ceil(due - this.#host.now())
    if (wait > 0) this.#timer.set(due, wait, this.#onDue)
    else this.#timer.setSoon(due, this.#onDue)
  }

  readonly #onDue = (): void => this.#sendDue()
}

class Batch {
  entries: Array<Entry> = []
  due = never
  /** The most entries that are of one receive. */
  most = 0
  readonly #ofReceive = new Map<number | undefined, number>()

  add(entry: Entry): void {
    this.entries.push(entry)
    this.#count(entry)
  }

  /** So many at most, of the receive with the most entries first. */
  take(size: number): ReadonlyArray<Entry> {
    const all = byReceive(this.entries)
    this.entries = all.slice(size)
    this.most = 0
    this.#ofReceive.clear()
    for (const entry of this.entries) this.#count(entry)
    if (this.entries.length === 0) this.due = never
    return all.slice(0, size)
  }

  #count({ message: { receive } }: Entry): void {
    const count = (this.#ofReceive.get(receive) ?? 0) + 1
    this.#ofReceive.set(receive, count)
    this.most = Math.max(this.most, count)
  }
}

const emptyBatches = (): Readonly<Record<Operation, Batch>> => ({
  Ack: new Batch(),
  SetLease: new Batch(),
  DeadLetter: new Batch()
})
