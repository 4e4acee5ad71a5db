/** Stands at one consumer's port to the queue and judges what it asks for, by what it has been answered. */
import type { LeaseQueue } from "@millrace/core"
import type { SqsError } from "@millrace/sqs"
import { Duration, Effect, Either } from "effect"
import type { Book, Settled } from "./Book.js"

type Queue = LeaseQueue.LeaseQueue<SqsError.SqsError>

export interface Watch {
  readonly queue: Queue
  /** No receive is in order from now on, until the same is allowed again. */
  readonly forbid: (why: string) => void
  readonly allow: (why: string) => void
  readonly settledBy: (handle: string) => Settled | undefined
}

export const make = (
  queue: Queue,
  options: {
    readonly name: string
    readonly bound: () => number
    readonly book: Book
    readonly now: () => number
    /** Leases are over by the consumer's own clock: it is as far ahead of the others'. */
    readonly ahead: () => number
    /** Milliseconds by which the Clock has jumped at this very moment. */
    readonly jumpedBy: () => number
    /** Whether what looks like an extension may have given the message back. */
    readonly lenient: boolean
    readonly broken: (what: string) => void
    readonly note: (what: () => string) => void
  }
): Watch => {
  const { ahead, book, bound, broken, jumpedBy, lenient, name, note, now } = options
  const lease = Duration.toMillis(queue.leaseDuration)
  /** What this consumer must believe to be in flight, and until when. */
  const held = new Map<string, number>()
  const settled = new Map<string, Settled>()
  /** What could not be dead-lettered is left to the queue, which looks like an extension. */
  const refused = new Set<string>()
  let asked = 0
  const forbidden = new Map<string, number>()

  const settle = (how: string, { handle, messageId }: LeaseQueue.Lease): void => {
    const before = settled.get(handle)?.how
    if (before !== undefined && before !== how)
      broken(`one settlement: ${name} ended ${messageId} by ${before}, then ${how}`)
    book.settledAsItRuns(handle, `${name} ended ${messageId} by ${how}`)
    if (before === undefined) settled.set(handle, { how, at: now() })
  }

  const answered = (
    what: string,
    leases: ReadonlyArray<LeaseQueue.Lease>,
    results: ReadonlyArray<LeaseQueue.EntryResult>
  ) =>
    note(
      () =>
        `${name} ${what} ${leases.map((lease, i) => `${lease.handle.split("+").slice(1).join("+")} ${results[i] && Either.isLeft(results[i]) ? results[i].left.reason : "done"}`).join(", ")}`
    )

  const ends = (leases: ReadonlyArray<LeaseQueue.Lease>, results: ReadonlyArray<LeaseQueue.EntryResult>): void => {
    leases.forEach(({ handle }, i) => {
      const result = results[i]
      if (result !== undefined && (Either.isRight(result) || result.left.reason === "LeaseLost")) held.delete(handle)
    })
  }

  const { deadLetter } = queue
  return {
    settledBy: (handle) => settled.get(handle),
    forbid: (why) => {
      forbidden.set(why, now())
    },
    allow: (why) => {
      forbidden.delete(why)
    },
    queue: {
      ...queue,
      receive: (request) =>
        Effect.suspend(() => {
          const sentAt = now()
          for (const [handle, until] of held) if (until <= sentAt + ahead()) held.delete(handle)
          // What was decided at the moment itself may be sent at the same moment.
          for (const [why, since] of forbidden) {
            if (sentAt - jumpedBy() > since) broken(`demand: ${name} received though it was ${why}`)
          }
          if (held.size + asked + request.max > bound()) {
            broken(
              `bound: ${name} asked for ${request.max} with ${held.size} in flight and ${asked} asked for, of ${bound()}`
            )
          }
          asked += request.max
          return queue.receive(request).pipe(
            Effect.tap((messages) =>
              Effect.sync(() => {
                for (const {
                  lease: { handle }
                } of messages)
                  held.set(handle, now() + ahead() + lease)
              })
            ),
            Effect.ensuring(
              Effect.sync(() => {
                asked -= request.max
              })
            )
          )
        }),
      ack: (leases) =>
        Effect.suspend(() => {
          for (const each of leases) {
            settle("ack", each)
            if (!book.mayDelete(each.handle)) broken(`no loss: ${name} deleted ${each.messageId} unhandled`)
          }
          return Effect.map(queue.ack(leases), (results) => {
            answered("ack", leases, results)
            ends(leases, results)
            return results
          })
        }),
      setLease: (entries) =>
        Effect.suspend(() => {
          const sentAt = now() + ahead() - jumpedBy()
          const [extensions, others] = [true, false].map((is) =>
            entries.filter(({ duration }) => Duration.equals(duration, queue.leaseDuration) === is)
          )
          for (const { duration, lease } of others ?? []) settle(`setLease ${Duration.format(duration)}`, lease)
          for (const { lease } of extensions ?? []) {
            const by = settled.get(lease.handle)?.how
            if (by !== undefined && by !== "ack") broken(`lease: ${name} extended ${lease.messageId} after ${by}`)
          }
          return Effect.map(queue.setLease(entries), (results) => {
            answered(
              `sets ${entries.map(({ duration }) => Duration.toSeconds(duration)).join(" ")} s:`,
              entries.map(({ lease }) => lease),
              results
            )
            entries.forEach((entry, i) => {
              const { handle } = entry.lease
              const result = results[i]
              const until = held.get(handle)
              if (result === undefined || until === undefined) return
              const extends_ = Duration.equals(entry.duration, queue.leaseDuration)
              const over = !extends_ || lenient || refused.has(handle) || book.wasLeft(handle)
              if (Either.isLeft(result)) {
                if (result.left.reason === "LeaseLost") held.delete(handle)
              } else if (over || until <= now() + ahead()) held.delete(handle)
              else held.set(handle, sentAt + lease)
            })
            return results
          })
        }),
      deadLetter:
        deadLetter &&
        ((entries) =>
          Effect.suspend(() => {
            const leases = entries.map(({ message }) => message.lease)
            for (const each of leases) settle("deadLetter", each)
            const refuse = ({ handle }: LeaseQueue.Lease) => {
              settled.delete(handle)
              refused.add(handle)
            }
            return deadLetter(entries).pipe(
              Effect.tapError((error) =>
                Effect.sync(() => {
                  if (queue.errorKind(error) === "fatal") leases.forEach(refuse)
                })
              ),
              Effect.map((results) => {
                answered("deadLetter", leases, results)
                leases.forEach((each, i) => {
                  const result = results[i]
                  if (result !== undefined && Either.isLeft(result) && result.left.reason === "Rejected") refuse(each)
                })
                ends(leases, results)
                return results
              })
            )
          }))
    }
  }
}
