/**
 * Settles deliveries in as few calls as it can: acks, changes of a lease and dead letters are each gathered into calls
 * of at most `limits.batchSize` entries, by size or a short linger, and every entry has its own result. Entries that
 * failed are tried again alone, while their lease lives.
 */
import * as Duration from "effect/Duration"
import * as Schedule from "effect/Schedule"
import { Batches, type Host as BatchesHost } from "./internal/settle/batches.js"
import type { Entry } from "./internal/settle/entry.js"
import { type Host as CallsHost, NoLoss } from "./internal/settle/noLoss.js"

export type { Entry, Request } from "./internal/settle/entry.js"

export interface Options {
  /** How long an entry may wait for others to share its call. Default 250 milliseconds. */
  readonly linger?: Duration.DurationInput | undefined
  /** When to try failed entries again. Default: exponential from 100 milliseconds to 5 seconds, jittered. */
  readonly retry?: Schedule.Schedule<unknown> | undefined
  /** Calls under way at once. Default 16. */
  readonly concurrency?: number | undefined
}

export interface Settler {
  /** Takes an entry; never waits. What is taken is bounded by the permits of those that hand it in. */
  readonly submit: (entry: Entry) => void
  /** Takes entries that the queue must see in this order: in calls of their own, one after another. */
  readonly submitInOrder: (entries: ReadonlyArray<Entry>) => void
  /** Sends what lingers now. */
  readonly flush: () => void
  /** Somebody waits for the permits of what lingers: it lingers as little as what somebody waits for. */
  readonly hurry: () => void
  /** Entries taken and without result. */
  readonly pending: () => number
  /** Nothing more will come: ends the timer where nothing lingers, and all fibers where all that is taken is over. */
  readonly quiesce: () => void
  /** Gives up what is without result, as lost, and ends all fibers. */
  readonly abandon: () => void
}

/** What it needs of the consumer that it works for. */
export interface Host<E> extends BatchesHost, CallsHost<E> {}

export const defaultRetry = Schedule.exponential("100 millis").pipe(
  Schedule.union(Schedule.spaced("5 seconds")),
  Schedule.jittered
)

export const make = <E>(host: Host<E>, options: Options = {}): Settler => {
  const calls = new NoLoss(host, options.retry ?? defaultRetry)
  const batches = new Batches(
    host,
    host.queue.limits.batchSize,
    { linger: Duration.toMillis(options.linger ?? "250 millis"), concurrency: options.concurrency ?? 16 },
    (operation, entries, onAnswer) => calls.send(operation, entries, onAnswer)
  )
  const abandon = () => {
    batches.clear()
    calls.abandon()
  }
  return {
    submit: (entry) => {
      calls.take(entry)
      batches.add(entry, calls.pending)
    },
    submitInOrder: (entries) => {
      const [first] = entries
      if (first === undefined) return
      for (const entry of entries) calls.take(entry)
      calls.sendInOrder(first.request._tag, entries)
    },
    flush: () => batches.flush(),
    hurry: () => batches.hurry(),
    pending: () => calls.pending,
    quiesce: () => {
      if (calls.pending === 0) batches.disarm()
      else if (calls.isOver) abandon()
    },
    abandon
  }
}
