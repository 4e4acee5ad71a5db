/**
 * The handlers' own record, which the invariants are judged by: what ran when, on whose lease, and how it ended. What a
 * killed consumer's handlers still do does not count.
 */
import type { Delivery } from "@millrace/core/Delivery"
import type { Decision } from "@millrace/core/RetryPolicy"
import type { SqsEmulator } from "@millrace/sqs/emulator"
import type { Order } from "./Scenario.js"

/** A message that a handler is given, and what it is sequenced by beside its group. */
export interface Item {
  readonly delivery: Delivery<unknown, unknown>
  readonly key: string | undefined
}

export interface Run extends Item {
  readonly worker: Worker
  /** All that the same run has been given: a batch may hold a group's messages in a row. */
  readonly together: ReadonlyArray<Delivery<unknown, unknown>>
}

/** A consumer, as far as its handlers concern. */
export interface Worker {
  readonly name: string
  /** Runs at once, at most, as far as it is bounded. */
  readonly concurrency: number
  readonly isDead: () => boolean
  /** Its wall clock. */
  readonly clock: () => number
}

/** How a consumer has ended a lease, and when first. */
export interface Settled {
  readonly how: string
  readonly at: number
}

export interface Book {
  /** Takes down that a handler of these begins, while the queue holds `messages`. Nothing where the worker is dead. */
  readonly begin: (
    worker: Worker,
    items: ReadonlyArray<Item>,
    messages: ReadonlyArray<SqsEmulator.Message>
  ) => ReadonlyArray<Run>
  readonly succeed: (run: Run) => void
  readonly end: (runs: ReadonlyArray<Run>) => void
  readonly decide: (worker: Worker, delivery: Delivery<unknown, unknown>, decision: Decision["_tag"]) => void
  /** A consumer was killed, and its handlers with it. */
  readonly bury: (worker: Worker) => void
  /** The consumer settles what is still running: right only where the handler is being interrupted, and ends now. */
  readonly settledAsItRuns: (handle: string, what: string) => void
  /** Whether the message of this lease may be deleted. */
  readonly mayDelete: (handle: string) => boolean
  readonly wasLeft: (handle: string) => boolean
  /** By body: handled with success at least once; given up by the policy. */
  readonly succeeded: ReadonlySet<string>
  readonly discarded: ReadonlySet<string>
  readonly running: () => number
}

const handleOf = ({ message }: Delivery<unknown, unknown>) => message.lease.handle
const nameOf = ({ message }: Delivery<unknown, unknown>) => `${message.body} (attempt ${message.attempt})`

export const make = (options: {
  readonly order: Order
  readonly now: () => number
  /** When the Clock last jumped: what begins at that very moment could not know. */
  readonly jumpedAt: () => number | undefined
  readonly settledBy: (handle: string) => Settled | undefined
  readonly broken: (what: string) => void
  readonly note: (what: () => string) => void
}): Book => {
  const { broken, jumpedAt, note, now, order, settledBy } = options
  const running = new Map<string, Run>()
  const overtaken = new Map<string, { readonly at: number; readonly what: string }>()
  const succeeded = new Set<string>()
  const discarded = new Set<string>()
  const mayDelete = new Set<string>()
  const left = new Set<string>()

  /** With which a message has been in a batch: what fails of a batch runs again before the rest is deleted. */
  const mates = new Map<string, Set<string>>()

  const check = (run: Run, messages: ReadonlyArray<SqsEmulator.Message>): void => {
    const { delivery, key, together, worker } = run
    const { message } = delivery
    const what = `${worker.name} began ${nameOf(delivery)}`
    const settled = settledBy(message.lease.handle)
    // It may have been given back when its fiber was about to run, and to be interrupted.
    if (settled !== undefined && settled.at < now()) {
      broken(`one settlement: ${what} after it had been settled by ${settled.how}`)
    }
    const over = worker.clock() - delivery.deadline
    if (over >= 0 && jumpedAt() !== now()) {
      broken(`lease: ${what} though its lease had been over for ${over} ms by its own clock`)
    }
    if (running.has(message.lease.handle)) broken(`one settlement: ${what} while it ran already`)
    /** As the queue has it. */
    const holds = (of: Delivery<unknown, unknown>): boolean =>
      messages.some(
        ({ id, receiveCount, state, visibleAt = 0 }) =>
          id === of.message.id && receiveCount === of.message.attempt && state === "inFlight" && visibleAt > now()
      )
    const known = mates.get(message.lease.handle) ?? new Set<string>()
    for (const mate of together) known.add(handleOf(mate)).add(mate.message.id)
    mates.set(message.lease.handle, known)
    const others = [...running.values()].filter((other) => !known.has(handleOf(other.delivery)))
    if (key !== undefined) {
      const other = others.find((other) => other.worker === worker && other.key === key)
      // A message that was delivered twice is in flight for as long as either of the two keeps it.
      const kept = other !== undefined && other.delivery.deadline > worker.clock()
      if (kept && holds(other.delivery) && holds(delivery)) {
        broken(`order: ${what} while it ran ${nameOf(other.delivery)} of the same key`)
      }
    }
    const { group, sequence } = message
    if (order === "none" || order === "skip" || group === undefined || sequence === undefined) return
    const waits = (body: string) => order === "strict" || !(succeeded.has(body) || discarded.has(body))
    const earlier = messages.find(
      (other) =>
        other.group === group && (other.sequenceNumber ?? "") < sequence && waits(other.body) && !known.has(other.id)
    )
    if (earlier !== undefined) broken(`order: ${what} before ${earlier.body} of its group was gone`)
    // Ahead of its ack, the next may run while one that was handled comes again.
    const other = waits(message.body) ? others.find((other) => other.delivery.message.group === group) : undefined
    if (other !== undefined && holds(other.delivery) && holds(delivery)) {
      broken(`order: ${what} while ${other.worker.name} ran ${nameOf(other.delivery)} of its group`)
    }
  }

  return {
    begin: (worker, items, messages) => {
      if (worker.isDead()) return []
      const together = items.map(({ delivery }) => delivery)
      note(() => `${worker.name} begins ${together.map(nameOf).join(", ")}`)
      const runs = items.map((item) => ({ ...item, worker, together }))
      for (const run of runs) check(run, messages)
      for (const run of runs) running.set(handleOf(run.delivery), run)
      const own = [...running.values()].filter((run) => run.worker === worker)
      const atOnce = new Set(own.map(({ together }) => together)).size
      if (atOnce > worker.concurrency) {
        broken(`slots: ${worker.name} ran ${atOnce} handlers at once, of ${worker.concurrency}`)
      }
      return runs
    },
    succeed: ({ delivery, worker }) => {
      if (worker.isDead()) return
      note(() => `${worker.name} has handled ${nameOf(delivery)}`)
      succeeded.add(delivery.message.body)
      mayDelete.add(handleOf(delivery))
    },
    end: (runs) => {
      for (const { delivery, worker } of runs) {
        const handle = handleOf(delivery)
        running.delete(handle)
        const { at, what } = overtaken.get(handle) ?? { at: now(), what: "" }
        if (at < now() && jumpedAt() !== now() && !worker.isDead()) {
          broken(`one settlement: ${what} while its handler ran`)
        }
      }
    },
    decide: (worker, delivery, decision) => {
      if (worker.isDead()) return
      note(() => `${worker.name} decides on ${nameOf(delivery)}: ${decision}`)
      if (decision === "Leave") left.add(handleOf(delivery))
      if (decision !== "Ack") return
      discarded.add(delivery.message.body)
      mayDelete.add(handleOf(delivery))
    },
    bury: (worker) => {
      for (const [handle, run] of running) if (run.worker === worker) running.delete(handle)
    },
    settledAsItRuns: (handle, what) => {
      if (running.has(handle)) overtaken.set(handle, { at: now(), what })
    },
    mayDelete: (handle) => mayDelete.has(handle),
    wasLeft: (handle) => left.has(handle),
    succeeded,
    discarded,
    running: () => running.size
  }
}
