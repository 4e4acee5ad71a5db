import type { LeaseQueue } from "@millrace/core"
import { Duration, Effect, Either } from "effect"

/** Watches the port from outside: what was leased to this consumer, and how each lease was ended. */
export const watched = <E>(queue: LeaseQueue.LeaseQueue<E>, maxInFlight: number) => {
  const lease = Duration.toMillis(queue.leaseDuration)
  const held = new Map<string, number>()
  const endedBy = new Map<string, string>()
  /** To be looked at in the end: what is thrown in a call is tried again, and nobody hears of it. */
  const violations: Array<string> = []
  let asked = 0
  let stopped = false
  const now = Effect.clockWith((clock) => clock.currentTimeMillis)

  const ending = <Entry>(
    how: string,
    leaseOf: (entry: Entry) => LeaseQueue.Lease,
    call: (entries: ReadonlyArray<Entry>) => Effect.Effect<ReadonlyArray<LeaseQueue.EntryResult>, E>
  ) => {
    return (entries: ReadonlyArray<Entry>) =>
      Effect.suspend(() => {
        for (const entry of entries) {
          const { handle } = leaseOf(entry)
          const before = endedBy.get(handle)
          if (before !== undefined && before !== how) {
            violations.push(`${handle} was ended by ${before}, then by ${how}`)
          }
          endedBy.set(handle, how)
        }
        return Effect.tap(call(entries), (results) => {
          results.forEach((result, i) => {
            const entry = entries[i]
            const over = Either.isRight(result) || result.left.reason === "LeaseLost"
            if (entry !== undefined && over) held.delete(leaseOf(entry).handle)
          })
        })
      })
  }

  const { deadLetter } = queue
  const spied: LeaseQueue.LeaseQueue<E> = {
    ...queue,
    receive: (request) =>
      Effect.flatMap(now, (sentAt) => {
        for (const [handle, until] of held) if (until <= sentAt) held.delete(handle)
        if (stopped) violations.push("a receive after the stop")
        if (held.size + asked + request.max > maxInFlight) {
          violations.push(
            `asked for ${request.max} with ${held.size} in flight and ${asked} asked for, of ${maxInFlight}`
          )
        }
        asked += request.max
        return queue.receive(request).pipe(
          Effect.tap((messages) =>
            Effect.map(now, (at) => {
              for (const message of messages) held.set(message.lease.handle, at + lease)
            })
          ),
          Effect.ensuring(
            Effect.sync(() => {
              asked -= request.max
            })
          )
        )
      }),
    ack: ending("ack", (entry) => entry, queue.ack),
    // An extension is for the whole lease again; nothing else here is.
    setLease: (entries) =>
      entries.every(({ duration }) => Duration.equals(duration, queue.leaseDuration))
        ? Effect.flatMap(now, (sentAt) =>
            Effect.tap(queue.setLease(entries), (results) => {
              entries.forEach((entry, i) => {
                if (!held.has(entry.lease.handle)) return
                const result = results[i]
                if (result !== undefined && Either.isRight(result)) held.set(entry.lease.handle, sentAt + lease)
              })
            })
          )
        : ending<LeaseQueue.SetLeaseEntry>("setLease", (entry) => entry.lease, queue.setLease)(entries),
    deadLetter: deadLetter && ending("deadLetter", (entry) => entry.message.lease, deadLetter)
  }
  return { queue: spied, endedBy, violations, stop: () => (stopped = true) }
}
