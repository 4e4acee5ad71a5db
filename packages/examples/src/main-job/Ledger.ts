/**
 * Stands at the emulator's door and writes down what passes: which messages went out, which were settled, how many were
 * out at once. The consumer under test knows nothing of it.
 */
import type { SqsEmulator } from "@millrace/sqs/emulator"
import { Effect } from "effect"

type Client = SqsEmulator.Service["client"]

export interface Ledger {
  /** The same service, watched. */
  readonly client: Client
  readonly acks: ReadonlyMap<string, number>
  readonly peakInFlight: () => number
}

/**
 * `failing`: messages whose handler failed and of which the queue has not been told. A new visibility timeout for one of
 * them is a retry, which ends its delivery; for any other it is an extension, and the message is still out.
 */
export const make = (client: Client, failing: Set<string>): Ledger => {
  const messageOf = new Map<string, string>()
  const acks = new Map<string, number>()
  const out = new Set<string>()
  let peak = 0

  const ended = (id: string) => {
    failing.delete(id)
    out.delete(id)
  }
  /** The messages of those entries that took effect. */
  const effective = <E extends { readonly Id: string; readonly ReceiptHandle: string }>(
    entries: ReadonlyArray<E>,
    successful: ReadonlyArray<{ readonly Id: string }>
  ) => {
    const ids = new Set(successful.map(({ Id }) => Id))
    return entries.flatMap((entry) => {
      const message = messageOf.get(entry.ReceiptHandle)
      return ids.has(entry.Id) && message !== undefined ? [{ ...entry, message }] : []
    })
  }

  return {
    acks,
    peakInFlight: () => peak,
    client: {
      ...client,
      receiveMessage: (request, options) =>
        Effect.tap(client.receiveMessage(request, options), (messages) =>
          Effect.sync(() => {
            for (const { MessageId, ReceiptHandle } of messages) {
              messageOf.set(ReceiptHandle, MessageId)
              out.add(MessageId)
            }
            peak = Math.max(peak, out.size)
          })
        ),
      deleteMessageBatch: (request) =>
        Effect.tap(client.deleteMessageBatch(request), ({ Successful }) =>
          Effect.sync(() => {
            for (const { message } of effective(request.Entries, Successful)) {
              acks.set(message, (acks.get(message) ?? 0) + 1)
              ended(message)
            }
          })
        ),
      changeMessageVisibilityBatch: (request) =>
        Effect.tap(client.changeMessageVisibilityBatch(request), ({ Successful }) =>
          Effect.sync(() => {
            for (const { VisibilityTimeout, message } of effective(request.Entries, Successful)) {
              if (VisibilityTimeout === 0 || failing.has(message)) ended(message)
            }
          })
        )
    }
  }
}
