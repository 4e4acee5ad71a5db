/** A message on its way: as it is sent, who is told what becomes of it, and its one result. */
import * as Either from "effect/Either"
import type { SendFields } from "../../SqsClient.js"
import type { SqsError } from "../../SqsError.js"

export interface Receipt {
  /** The message's id, as SQS gave it. */
  readonly messageId: string
  /** FIFO queues: its place in the order of its group, 20 digits that compare as text. */
  readonly sequenceNumber: string | undefined
}

export type Failure =
  /** SQS will never take this message. */
  | { readonly _tag: "Rejected"; readonly error: SqsError }
  /** Trying again is no use, or was none. */
  | { readonly _tag: "GaveUp"; readonly error: SqsError; readonly calls: number }
  /** SQS failed it and took a later message of its group: sent again, it would be behind that one. */
  | { readonly _tag: "Overtaken"; readonly error: SqsError }
  /** Closed, before it was accepted or before SQS had confirmed it. */
  | { readonly _tag: "Closed"; readonly accepted: boolean }

export type Result = Either.Either<Receipt, Failure>

export interface Entry {
  /** With the entry's id in the call that it is in: its place there. */
  readonly fields: SendFields & { Id: string }
  readonly size: number
  /** Called once. */
  onResult: (result: Result) => void
  /** It had to wait for room; now it has it, or never will, and `onResult` was told. */
  onTaken: (() => void) | undefined
  /** It is surely not in the queue and never will be, whether its sender is still there or not. */
  onUnsent: (() => void) | undefined
  /** A call that had it in it may have taken effect, and nobody knows. */
  doubtful: boolean
  /** When it had its place here. */
  acceptedAt: number
  /** Until when it may wait for others to share its call. */
  due: number
  next: Entry | undefined
}

const noop = () => {}

export const entryOf = (fields: Entry["fields"], size: number): Entry => ({
  fields,
  size,
  onResult: noop,
  onTaken: undefined,
  onUnsent: undefined,
  doubtful: false,
  acceptedAt: 0,
  due: 0,
  next: undefined
})

/** Nobody listens any more. */
export const forget = (entry: Entry): void => {
  entry.onResult = noop
  entry.onTaken = undefined
}

export const doubt = (entries: Iterable<Entry>): void => {
  for (const entry of entries) entry.doubtful = true
}

export const closedBefore: Result = Either.left({ _tag: "Closed", accepted: false })
export const closedAfter: Result = Either.left({ _tag: "Closed", accepted: true })
