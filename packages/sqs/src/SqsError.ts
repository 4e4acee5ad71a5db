/**
 * Errors of SQS calls, tagged with AWS's own names, so that `Effect.catchTag("QueueDoesNotExist", …)` works.
 */
import type { LeaseQueue } from "@millrace/core"
import * as Data from "effect/Data"

interface Fields {
  /** The operation that failed, e.g. `ReceiveMessage`. */
  readonly operation: string
  /** What AWS said, and what to do about it where we know. */
  readonly message: string
  readonly cause?: unknown
}

/** The queue is not there: wrong name, region or account, or deleted. */
export class QueueDoesNotExist extends Data.TaggedError("QueueDoesNotExist")<Fields> {}
/** A queue of that name exists with other attributes. */
export class QueueNameExists extends Data.TaggedError("QueueNameExists")<Fields> {}
/** A queue of that name was deleted less than 60 seconds ago. */
export class QueueDeletedRecently extends Data.TaggedError("QueueDeletedRecently")<Fields> {}
/** One purge a queue every 60 seconds. */
export class PurgeQueueInProgress extends Data.TaggedError("PurgeQueueInProgress")<Fields> {}
/** The receipt handle is not one of this queue. */
export class ReceiptHandleIsInvalid extends Data.TaggedError("ReceiptHandleIsInvalid")<Fields> {}
/** The message is not in flight. */
export class MessageNotInflight extends Data.TaggedError("MessageNotInflight")<Fields> {}
/** Too many messages in flight: about 120,000 a standard queue. */
export class OverLimit extends Data.TaggedError("OverLimit")<Fields> {}
/** SQS asks for fewer calls a second. */
export class RequestThrottled extends Data.TaggedError("RequestThrottled")<Fields> {}
/** The queue's URL does not belong to the region or the service that was called. */
export class InvalidAddress extends Data.TaggedError("InvalidAddress")<Fields> {}
export class InvalidParameterValue extends Data.TaggedError("InvalidParameterValue")<Fields> {}
export class MissingParameter extends Data.TaggedError("MissingParameter")<Fields> {}
export class InvalidAttributeName extends Data.TaggedError("InvalidAttributeName")<Fields> {}
export class InvalidAttributeValue extends Data.TaggedError("InvalidAttributeValue")<Fields> {}
export class InvalidMessageContents extends Data.TaggedError("InvalidMessageContents")<Fields> {}
export class EmptyBatchRequest extends Data.TaggedError("EmptyBatchRequest")<Fields> {}
export class TooManyEntriesInBatchRequest extends Data.TaggedError("TooManyEntriesInBatchRequest")<Fields> {}
export class BatchEntryIdsNotDistinct extends Data.TaggedError("BatchEntryIdsNotDistinct")<Fields> {}
export class InvalidBatchEntryId extends Data.TaggedError("InvalidBatchEntryId")<Fields> {}
export class BatchRequestTooLong extends Data.TaggedError("BatchRequestTooLong")<Fields> {}
export class UnsupportedOperation extends Data.TaggedError("UnsupportedOperation")<Fields> {}
/** A move task's source or destination is not there. */
export class ResourceNotFound extends Data.TaggedError("ResourceNotFound")<Fields> {}
/** The queue's KMS key refuses, is disabled or is not there. */
export class KmsError extends Data.TaggedError("KmsError")<Fields & { readonly code: string }> {}
/** The caller may not do this: the IAM or queue policy refuses. */
export class AccessDenied extends Data.TaggedError("AccessDenied")<Fields> {}
/** There are no credentials, or AWS does not accept them: unknown, expired, or signed wrongly. */
export class InvalidCredentials extends Data.TaggedError("InvalidCredentials")<Fields> {}
/**
 * No answer of SQS's: connection, DNS, TLS, time out, an answer that is not whole, or one of something on the way, whose
 * `status` it then has. The call may have taken effect.
 */
export class TransportError extends Data.TaggedError("TransportError")<
  Fields & { readonly status?: number | undefined }
> {}
/** AWS's own name, where it is none of the above. */
export class UnknownSqsError extends Data.TaggedError("UnknownSqsError")<
  Fields & { readonly code: string; readonly status: number | undefined }
> {}

export type SqsError =
  | QueueDoesNotExist
  | QueueNameExists
  | QueueDeletedRecently
  | PurgeQueueInProgress
  | ReceiptHandleIsInvalid
  | MessageNotInflight
  | OverLimit
  | RequestThrottled
  | InvalidAddress
  | InvalidParameterValue
  | MissingParameter
  | InvalidAttributeName
  | InvalidAttributeValue
  | InvalidMessageContents
  | EmptyBatchRequest
  | TooManyEntriesInBatchRequest
  | BatchEntryIdsNotDistinct
  | InvalidBatchEntryId
  | BatchRequestTooLong
  | UnsupportedOperation
  | ResourceNotFound
  | KmsError
  | AccessDenied
  | InvalidCredentials
  | TransportError
  | UnknownSqsError

/** The one place that decides whether trying again can help. */
export const kind = (error: SqsError): LeaseQueue.ErrorKind => {
  switch (error._tag) {
    case "RequestThrottled":
    case "OverLimit":
      return "throttled"
    case "TransportError":
      return "transient"
    case "UnknownSqsError":
      return error.status === undefined || error.status >= 500 ? "transient" : "fatal"
    case "KmsError":
      return error.code === "KmsThrottled" ? "throttled" : "fatal"
    default:
      return "fatal"
  }
}

/** Whether the same call may succeed later. */
export const retryable = (error: SqsError): boolean => kind(error) !== "fatal"
