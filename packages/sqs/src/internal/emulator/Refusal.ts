/**
 * Why SQS refuses a call, before it is known which operation asked. Thrown inside the engine and turned into an
 * `SqsError` at its door; a batch turns it into a failed entry.
 */
import * as SqsError from "../../SqsError.js"

const errors = {
  QueueDoesNotExist: SqsError.QueueDoesNotExist,
  QueueNameExists: SqsError.QueueNameExists,
  QueueDeletedRecently: SqsError.QueueDeletedRecently,
  PurgeQueueInProgress: SqsError.PurgeQueueInProgress,
  ReceiptHandleIsInvalid: SqsError.ReceiptHandleIsInvalid,
  OverLimit: SqsError.OverLimit,
  InvalidParameterValue: SqsError.InvalidParameterValue,
  MissingParameter: SqsError.MissingParameter,
  InvalidAddress: SqsError.InvalidAddress,
  InvalidAttributeName: SqsError.InvalidAttributeName,
  InvalidAttributeValue: SqsError.InvalidAttributeValue,
  InvalidMessageContents: SqsError.InvalidMessageContents,
  EmptyBatchRequest: SqsError.EmptyBatchRequest,
  TooManyEntriesInBatchRequest: SqsError.TooManyEntriesInBatchRequest,
  BatchEntryIdsNotDistinct: SqsError.BatchEntryIdsNotDistinct,
  InvalidBatchEntryId: SqsError.InvalidBatchEntryId,
  BatchRequestTooLong: SqsError.BatchRequestTooLong,
  ResourceNotFound: SqsError.ResourceNotFound
}

export class Refusal {
  readonly tag: keyof typeof errors
  readonly message: string
  /** The code of a batch's failed entry, where it is not the error's name. */
  readonly entryCode: string

  constructor(tag: keyof typeof errors, message: string, entryCode: string = tag) {
    this.tag = tag
    this.message = message
    this.entryCode = entryCode
  }

  toError(operation: string): SqsError.SqsError {
    return new errors[this.tag]({ operation, message: this.message })
  }
}

export const invalid = (message: string): Refusal => new Refusal("InvalidParameterValue", message)

export const invalidValue = (parameter: string, value: unknown, reason: string): Refusal =>
  invalid(`Value ${value} for parameter ${parameter} is invalid. Reason: ${reason}`)

export const missing = (parameter: string): Refusal =>
  new Refusal("MissingParameter", `The request must contain the parameter ${parameter}.`)

export const unknownAttribute = (name: string): Refusal =>
  new Refusal("InvalidAttributeName", `Unknown Attribute ${name}.`)
