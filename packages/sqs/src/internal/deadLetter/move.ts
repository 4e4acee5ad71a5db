/**
 * Moves messages to the dead-letter queue: a copy is sent first, and the message deleted after. A crash between the two
 * leaves it in both queues, never in none.
 */
import type * as LeaseQueue from "@millrace/core/LeaseQueue"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import type { SqsClient } from "../../SqsClient.js"
import type { SqsError } from "../../SqsError.js"
import type * as SqsQueue from "../../SqsQueue.js"
import { bySize, done, inOrder } from "../message/entries.js"
import { ofArn, ownerOf } from "../queue/reference.js"
import { copyOf } from "./copy.js"

/** How many messages to remember that are in the dead-letter queue and not yet deleted from their own. */
const remembered = 1000

export const moving = (
  client: SqsClient["Type"],
  queue: SqsQueue.SqsQueue,
  target: SqsQueue.DeadLetterTarget,
  ack: LeaseQueue.LeaseQueue<SqsError>["ack"]
): NonNullable<LeaseQueue.LeaseQueue<SqsError>["deadLetter"]> => {
  const { account, name } = ofArn(target.arn)
  // Looked up at the first use: who never dead-letters needs no permission for it.
  let url: string | undefined
  const targetUrl = Effect.suspend(() =>
    url === undefined
      ? Effect.tap(
          client.getQueueUrl({ QueueName: name, QueueOwnerAWSAccountId: account && ownerOf(account) }),
          (found) => {
            url = found
          }
        )
      : Effect.succeed(url)
  )
  // A delete that failed is tried again with its entry; the message must not be sent twice for it.
  const sent = new Set<string>()

  const send = (entries: ReadonlyArray<LeaseQueue.DeadLetterEntry>, results: Array<LeaseQueue.EntryResult>) =>
    Effect.gen(function* () {
      const unsent = entries
        .map((entry, position) => ({ ...copyOf(entry, queue), id: entry.message.id, position }))
        .filter(({ id }) => !sent.has(id))
      if (unsent.length === 0) return
      const QueueUrl = yield* targetUrl
      for (const run of bySize(unsent)) {
        const answer = yield* client.sendMessageBatch({
          QueueUrl,
          Entries: run.map(({ fields }, index) => ({ ...fields, Id: String(index) }))
        })
        for (const [index, result] of inOrder(run.length, answer).entries()) {
          const entry = run[index]
          if (entry === undefined) continue
          results[entry.position] = result
          if (Either.isRight(result)) sent.add(entry.id)
        }
      }
      for (const id of sent) {
        if (sent.size <= remembered) break
        sent.delete(id)
      }
    })

  return (entries) =>
    Effect.gen(function* () {
      const results = entries.map(() => done)
      yield* send(entries, results)
      const stored = [...results.keys()].filter((position) => results[position] === done)
      const leases = stored.flatMap((position) => entries[position]?.message.lease ?? [])
      const deleted = yield* ack(leases)
      for (const [index, result] of deleted.entries()) {
        const position = stored[index]
        if (position === undefined) continue
        results[position] = result
        const over = Either.isRight(result) || result.left.reason !== "Transient"
        const id = entries[position]?.message.id
        if (over && id !== undefined) sent.delete(id)
      }
      return results
    })
}
