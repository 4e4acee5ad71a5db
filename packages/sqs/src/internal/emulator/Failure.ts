/**
 * An error's names and status on the wire, in both protocols.
 *
 * @see https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/CommonErrors.html
 */
import type { SqsError } from "../../SqsError.js"

export interface Failure {
  readonly status: number
  /** In the JSON protocol. */
  readonly type: string
  /** In the Query protocol; the JSON protocol has it in the header `x-amzn-query-error`. */
  readonly query: string
}

const named = (status: number, type: string, query: string): Failure => ({ status, type, query })
/** Under the name of the service. */
const sqs = (status: number, type: string, query: string): Failure => named(status, `com.amazonaws.sqs#${type}`, query)
const legacy = (name: string, status = 400): Failure => sqs(status, name, `AWS.SimpleQueueService.${name}`)
const bare = (name: string, status = 400): Failure => sqs(status, name, name)

const failures: Readonly<Record<Exclude<SqsError["_tag"], "KmsError" | "UnknownSqsError">, Failure>> = {
  QueueDoesNotExist: sqs(400, "QueueDoesNotExist", "AWS.SimpleQueueService.NonExistentQueue"),
  QueueNameExists: sqs(400, "QueueNameExists", "QueueAlreadyExists"),
  QueueDeletedRecently: legacy("QueueDeletedRecently"),
  PurgeQueueInProgress: legacy("PurgeQueueInProgress", 403),
  ReceiptHandleIsInvalid: bare("ReceiptHandleIsInvalid", 404),
  MessageNotInflight: legacy("MessageNotInflight"),
  OverLimit: bare("OverLimit", 403),
  RequestThrottled: bare("RequestThrottled", 403),
  InvalidParameterValue: sqs(400, "InvalidParameterValueException", "InvalidParameterValue"),
  MissingParameter: sqs(400, "MissingRequiredParameterException", "MissingParameter"),
  InvalidAttributeName: bare("InvalidAttributeName"),
  InvalidAttributeValue: bare("InvalidAttributeValue"),
  InvalidMessageContents: bare("InvalidMessageContents"),
  InvalidAddress: bare("InvalidAddress", 404),
  EmptyBatchRequest: legacy("EmptyBatchRequest"),
  TooManyEntriesInBatchRequest: legacy("TooManyEntriesInBatchRequest"),
  BatchEntryIdsNotDistinct: legacy("BatchEntryIdsNotDistinct"),
  InvalidBatchEntryId: legacy("InvalidBatchEntryId"),
  BatchRequestTooLong: legacy("BatchRequestTooLong"),
  UnsupportedOperation: legacy("UnsupportedOperation"),
  ResourceNotFound: sqs(404, "ResourceNotFoundException", "ResourceNotFoundException"),
  AccessDenied: sqs(403, "AccessDeniedException", "AccessDenied"),
  InvalidCredentials: sqs(403, "UnrecognizedClientException", "InvalidClientTokenId"),
  // What a client knows as no answer at all; here it must answer something.
  TransportError: sqs(503, "ServiceUnavailable", "ServiceUnavailable")
}

export const of = (error: SqsError): Failure => {
  switch (error._tag) {
    case "KmsError":
      return bare(error.code)
    case "UnknownSqsError":
      return bare(error.code, error.status)
    default:
      return failures[error._tag]
  }
}

const coral = (type: string, query: string, status: number): Failure =>
  named(status, `com.amazon.coral.service#${type}`, query)

/** What a request is refused with before SQS looks at it. */
export const before = {
  unknownOperation: coral("UnknownOperationException", "InvalidAction", 400),
  malformed: coral("SerializationException", "MalformedInput", 400),
  forbidden: coral("AccessDeniedException", "AccessDenied", 403),
  tooLong: coral("RequestEntityTooLargeException", "RequestEntityTooLarge", 413),
  broken: coral("InternalFailure", "InternalFailure", 500)
}
