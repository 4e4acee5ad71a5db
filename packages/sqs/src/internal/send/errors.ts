/** What may become of a message but being sent, and how it is said. */
import * as Data from "effect/Data"
import type { ObjectStoreError } from "../../ObjectStore.js"
import type { SqsError } from "../../SqsError.js"
import type { SqsQueue } from "../../SqsQueue.js"
import type { Entry, Failure } from "./entry.js"

/**
 * The message can never be sent as it is; nothing else failed with it.
 *
 * - `NotEncodable`: the codec refused the body, or a function of the options threw.
 * - `TooLarge`: body and attributes have more bytes than SQS takes; `size` says how many.
 * - `Invalid`: SQS would refuse the body, an attribute, an id or the delay; it was not sent.
 * - `Refused`: SQS refused it.
 */
export class MessageRejected extends Data.TaggedError("MessageRejected")<{
  readonly reason: "NotEncodable" | "TooLarge" | "Invalid" | "Refused"
  /** As it was given. */
  readonly input: unknown
  /** In bytes, as SQS counts them, where it was encoded. */
  readonly size: number | undefined
  readonly message: string
  readonly cause?: unknown
}> {}

/** Trying again was no use: the schedule has ended, or the error is one that does not pass (`error` says which). */
export class SendFailed extends Data.TaggedError("SendFailed")<{
  readonly input: unknown
  readonly error: SqsError
  readonly message: string
}> {}

/** The producer's scope is closed. */
export class ProducerClosed extends Data.TaggedError("ProducerClosed")<{
  readonly input: unknown
  /** It was accepted and not confirmed within `flushTimeout`: it may be in the queue or not. */
  readonly accepted: boolean
  readonly message: string
}> {}

/** The claim check could not put the body into its store, and so the message was not sent. */
export class BodyNotStored extends Data.TaggedError("BodyNotStored")<{
  readonly input: unknown
  readonly error: ObjectStoreError
  readonly message: string
}> {}

/** What may become of a message but being sent. Each has the message as it was given, in `input`. */
export type ProducerError = MessageRejected | SendFailed | BodyNotStored | ProducerClosed

/** The error of an entry that the outbox has given up. */
export const errorOf = (queue: SqsQueue, input: unknown, { fields, size }: Entry, failure: Failure): ProducerError => {
  const { MessageDeduplicationId: id, MessageGroupId: group } = fields
  const named = [
    ...(group === undefined ? [] : [`of group ${JSON.stringify(group)}`]),
    ...(id === undefined ? [] : [`with deduplication id ${JSON.stringify(id)}`])
  ]
  const what = ["a message", ...named, `for ${queue.name}`].join(" ")
  switch (failure._tag) {
    case "Rejected":
      return new MessageRejected({
        reason: "Refused",
        input,
        size,
        message: `${what} of ${size} bytes was refused: ${failure.error.message}`,
        cause: failure.error
      })
    case "GaveUp":
      return new SendFailed({
        input,
        error: failure.error,
        message: `${what} could not be sent in ${failure.calls} ${failure.calls === 1 ? "call" : "calls"}${
          failure.error._tag === "TransportError" ? " (one whose answer was lost may have brought it)" : ""
        }: ${failure.error.message}`
      })
    case "Overtaken":
      return new SendFailed({
        input,
        error: failure.error,
        message: `${what} was not taken by SQS, which took a later one of its group in the same call; sent again it would come after that one, so it is not. With maxPerGroup: 1 messages wait for each other instead: ${failure.error.message}`
      })
    case "Closed":
      return new ProducerClosed({
        input,
        accepted: failure.accepted,
        message: failure.accepted
          ? `${what} was not confirmed before the producer closed; it may be in the queue. A longer flushTimeout waits longer`
          : `${what} was not sent: the producer is closed`
      })
  }
}
