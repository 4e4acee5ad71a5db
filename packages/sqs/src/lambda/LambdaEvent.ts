/**
 * What Lambda's event source mapping gives to a function that takes from an SQS queue, and what it wants for an answer.
 * The types are those of `@types/aws-lambda`, as far as they are used: values of either fit the other.
 *
 * @see https://docs.aws.amazon.com/lambda/latest/dg/with-sqs.html
 */
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"

/** A message attribute: binary ones are base64. */
export interface LambdaAttribute {
  readonly dataType: string
  readonly stringValue?: string | undefined
  readonly binaryValue?: string | undefined
}

/** What SQS says of a message, all of it as text. */
export interface LambdaSystemAttributes {
  readonly ApproximateReceiveCount: string
  readonly SentTimestamp: string
  readonly SenderId: string
  readonly ApproximateFirstReceiveTimestamp: string
  readonly AWSTraceHeader?: string | undefined
  readonly SequenceNumber?: string | undefined
  readonly MessageGroupId?: string | undefined
  readonly MessageDeduplicationId?: string | undefined
  readonly DeadLetterQueueSourceArn?: string | undefined
}

export interface LambdaRecord {
  readonly messageId: string
  readonly receiptHandle: string
  readonly body: string
  readonly attributes: LambdaSystemAttributes
  readonly messageAttributes: { readonly [name: string]: LambdaAttribute }
  readonly md5OfBody: string
  readonly md5OfMessageAttributes?: string | undefined
  /** `aws:sqs`. */
  readonly eventSource: string
  /** The queue's ARN. */
  readonly eventSourceARN: string
  readonly awsRegion: string
}

export interface LambdaEvent {
  readonly Records: ReadonlyArray<LambdaRecord>
}

/** What a function is told of its invocation, as far as it is looked at. */
export interface LambdaContext {
  readonly getRemainingTimeInMillis: () => number
  readonly invokedFunctionArn?: string | undefined
}

/**
 * The messages that come again; all others are deleted. With none, or without the list, all are.
 *
 * @see https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html
 */
export interface LambdaResponse {
  batchItemFailures: Array<{ itemIdentifier: string }>
}

/** What the function was invoked with is not an event of SQS's. Nothing was done. */
export class NotAnSqsEvent extends Data.TaggedError("NotAnSqsEvent")<{ readonly message: string }> {}

const member = (value: unknown, name: string): unknown =>
  typeof value === "object" && value !== null ? Reflect.get(value, name) : undefined

const refuse = (problem: string) =>
  Effect.fail(
    new NotAnSqsEvent({
      message: `the function was invoked with ${problem}; it takes the events of an SQS queue: invoke it by an event source mapping, or with a body such as {"Records":[{"messageId":"1","receiptHandle":"1","body":"…","attributes":{"ApproximateReceiveCount":"1"},"messageAttributes":{},"eventSource":"aws:sqs","eventSourceARN":"arn:aws:sqs:eu-west-1:123456789012:orders","awsRegion":"eu-west-1"}]}`
    })
  )

const isRecord = (value: unknown): value is LambdaRecord =>
  ["messageId", "receiptHandle", "body", "eventSourceARN"].every((name) => typeof member(value, name) === "string") &&
  typeof member(value, "attributes") === "object"

/** The records of an event, all of one queue; fails with `NotAnSqsEvent` where it is another's. */
export const parse = (event: unknown): Effect.Effect<ReadonlyArray<LambdaRecord>, NotAnSqsEvent> => {
  const given = member(event, "Records")
  if (!Array.isArray(given)) {
    const source = member(event, "source") ?? member(event, "eventSource")
    const names = typeof event === "object" && event !== null ? Object.keys(event).slice(0, 5).join(", ") : ""
    return refuse(
      typeof source === "string"
        ? `an event of ${source}`
        : typeof event === "object"
          ? `an event without Records${names === "" ? "" : ` (it has ${names})`}`
          : `a ${typeof event}`
    )
  }
  const records: ReadonlyArray<unknown> = given
  for (const record of records) {
    const source = member(record, "eventSource") ?? member(record, "EventSource")
    if (source !== "aws:sqs") return refuse(`a record of ${typeof source === "string" ? source : "nobody's"}`)
  }
  if (!records.every(isRecord)) return refuse("a record without messageId, receiptHandle, body, attributes or ARN")
  const queues = new Set(records.map(({ eventSourceARN }) => eventSourceARN))
  return queues.size > 1 ? refuse(`records of several queues (${[...queues].join(", ")})`) : Effect.succeed(records)
}
