/** A batch's entries: what fits into one call, and what has become of each. */
import type * as LeaseQueue from "@millrace/core/LeaseQueue"
import * as Either from "effect/Either"
import type { BatchResult } from "../../SqsClient.js"
import { passes, plainName } from "../client/errors.js"
import { longestMessage } from "./limits.js"

export const done: LeaseQueue.EntryResult = Either.void
export const unanswered: LeaseQueue.EntryResult = Either.left({
  reason: "Transient",
  message: "SQS answered without this entry"
})

/** What SQS says of a handle whose lease is over: after a delete, and on FIFO queues after its visibility timeout. */
const leaseIsOver = /does not exist or is not available for visibility timeout change|receipt handle has expired/i

const failureOf = (code: string, senderFault: boolean, said: string | undefined): LeaseQueue.EntryFailure => {
  const name = plainName(code)
  const message = said === undefined || said === "" ? name : `${name}: ${said}`
  return name === "ReceiptHandleIsInvalid" || name === "MessageNotInflight" || leaseIsOver.test(said ?? "")
    ? { reason: "LeaseLost", message }
    : { reason: senderFault && passes(name) === undefined ? "Rejected" : "Transient", message }
}

/** Entry ids are positions, so that equal messages do not clash. One that SQS does not mention may be tried again. */
export const inOrder = (count: number, result: BatchResult<unknown>): Array<LeaseQueue.EntryResult> => {
  const results: Array<LeaseQueue.EntryResult> = new Array(count).fill(unanswered)
  for (const { Id } of result.Successful) results[Number(Id)] = done
  for (const entry of result.Failed) {
    results[Number(entry.Id)] = Either.left(failureOf(entry.Code, entry.SenderFault, entry.Message))
  }
  return results
}

/** Runs of entries, in order, that fit into one call: its total size is limited too. */
export const bySize = <A extends { readonly size: number }>(entries: ReadonlyArray<A>): Array<Array<A>> => {
  const runs: Array<Array<A>> = []
  let room = 0
  for (const entry of entries) {
    const last = runs.at(-1)
    if (last === undefined || entry.size > room) {
      runs.push([entry])
      room = longestMessage - entry.size
    } else {
      last.push(entry)
      room -= entry.size
    }
  }
  return runs
}
