/**
 * Entries by the receives that brought their messages, where the queue tells: an ordered queue wants those of one receive
 * in the same call (SQS: fact 100).
 */
import type * as LeaseQueue from "../../LeaseQueue.js"

interface OfMessage {
  readonly message: Pick<LeaseQueue.Message, "receive">
}

/** The receive with the most entries first, so that full calls hold one; each with its entries in their order. */
export const byReceive = <A extends OfMessage>(entries: ReadonlyArray<A>): ReadonlyArray<A> => {
  if (entries.every(({ message }) => message.receive === entries[0]?.message.receive)) return entries
  const receives = new Map<number | undefined, Array<A>>()
  for (const entry of entries) {
    const of = receives.get(entry.message.receive)
    if (of === undefined) receives.set(entry.message.receive, [entry])
    else of.push(entry)
  }
  return [...receives.values()].sort((a, b) => b.length - a.length).flat()
}
