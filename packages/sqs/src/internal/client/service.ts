/**
 * SQS as Millrace uses it: a few operations as Effects over plain data, named as in the API.
 *
 * @see https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_Operations.html
 */
import type { Connections } from "@millrace/core/LeaseQueue"
import type * as Effect from "effect/Effect"
import type { SqsError } from "../../SqsError.js"

/** A message attribute as AWS writes it: `String`, `Number` or `Binary`, with an optional label (`Number.int`). */
export interface MessageAttribute {
  readonly DataType: string
  readonly StringValue?: string | undefined
  readonly BinaryValue?: Uint8Array | undefined
}
export type MessageAttributes = Readonly<Record<string, MessageAttribute>>

/** What can be sent, with names as in the API. */
export interface SendFields {
  readonly MessageBody: string
  readonly DelaySeconds?: number | undefined
  readonly MessageAttributes?: MessageAttributes | undefined
  /** Only `AWSTraceHeader` today. */
  readonly MessageSystemAttributes?: MessageAttributes | undefined
  readonly MessageGroupId?: string | undefined
  readonly MessageDeduplicationId?: string | undefined
}
export interface SendMessageRequest extends SendFields {
  readonly QueueUrl: string
}
export interface SendMessageResult {
  readonly MessageId: string
  readonly MD5OfMessageBody: string
  readonly MD5OfMessageAttributes?: string | undefined
  readonly MD5OfMessageSystemAttributes?: string | undefined
  readonly SequenceNumber?: string | undefined
}
export interface ReceiveMessageRequest {
  readonly QueueUrl: string
  readonly MaxNumberOfMessages?: number | undefined
  readonly WaitTimeSeconds?: number | undefined
  readonly VisibilityTimeout?: number | undefined
  readonly MessageSystemAttributeNames?: ReadonlyArray<string> | undefined
  /** The older name of `MessageSystemAttributeNames`; SQS answers with the union. */
  readonly AttributeNames?: ReadonlyArray<string> | undefined
  readonly MessageAttributeNames?: ReadonlyArray<string> | undefined
  readonly ReceiveRequestAttemptId?: string | undefined
}
export interface ReceivedMessage {
  readonly MessageId: string
  readonly ReceiptHandle: string
  readonly Body: string
  readonly MD5OfBody: string
  readonly Attributes?: Readonly<Record<string, string>> | undefined
  readonly MessageAttributes?: MessageAttributes | undefined
  readonly MD5OfMessageAttributes?: string | undefined
  /**
   * Not of the API: when SQS gave the answer, at the earliest, in milliseconds since the epoch by this computer's clock.
   * Known of a client of `layer` or `layerConfig`.
   */
  readonly LeasedAt?: number | undefined
}
export interface BatchRequest<Entry> {
  readonly QueueUrl: string
  readonly Entries: ReadonlyArray<Entry & { readonly Id: string }>
}
export interface BatchFailure {
  readonly Id: string
  readonly Code: string
  readonly SenderFault: boolean
  readonly Message?: string | undefined
}
/** Both lists are always there; every entry is in one of them. */
export interface BatchResult<Success> {
  readonly Successful: ReadonlyArray<Success & { readonly Id: string }>
  readonly Failed: ReadonlyArray<BatchFailure>
}
export interface ReceiptEntry {
  readonly ReceiptHandle: string
}
export interface VisibilityEntry extends ReceiptEntry {
  /** In whole seconds, 0 to 43,200. */
  readonly VisibilityTimeout: number
}
export interface Page {
  readonly MaxResults?: number | undefined
  readonly NextToken?: string | undefined
}
export interface QueuePage {
  readonly QueueUrls: ReadonlyArray<string>
  readonly NextToken?: string | undefined
}
export interface MoveTask {
  /** Only while it runs. */
  readonly TaskHandle?: string | undefined
  readonly Status: string
  readonly SourceArn: string
  readonly DestinationArn?: string | undefined
  readonly MaxNumberOfMessagesPerSecond?: number | undefined
  readonly ApproximateNumberOfMessagesMoved: number
  readonly ApproximateNumberOfMessagesToMove?: number | undefined
  readonly FailureReason?: string | undefined
  readonly StartedTimestamp: number
}

/** Interrupting an operation aborts its request. None of them retries by itself. */
export interface Service {
  /** Connections in use, and calls that wait for one: known of a client of `layer` or `layerConfig`. */
  readonly connections?: Effect.Effect<Connections> | undefined
  readonly sendMessage: (request: SendMessageRequest) => Effect.Effect<SendMessageResult, SqsError>
  readonly sendMessageBatch: (
    request: BatchRequest<SendFields>
  ) => Effect.Effect<BatchResult<SendMessageResult>, SqsError>
  /**
   * `stop` completes when the caller wants no more: a client that can end a long poll without leasing to nobody (the
   * emulator in process) answers then with none; one whose request is on the wire takes no notice.
   */
  readonly receiveMessage: (
    request: ReceiveMessageRequest,
    options?: { readonly stop?: Effect.Effect<void> | undefined }
  ) => Effect.Effect<ReadonlyArray<ReceivedMessage>, SqsError>
  readonly deleteMessageBatch: (request: BatchRequest<ReceiptEntry>) => Effect.Effect<BatchResult<unknown>, SqsError>
  readonly changeMessageVisibilityBatch: (
    request: BatchRequest<VisibilityEntry>
  ) => Effect.Effect<BatchResult<unknown>, SqsError>
  /** The queue's URL. */
  readonly getQueueUrl: (request: {
    readonly QueueName: string
    readonly QueueOwnerAWSAccountId?: string | undefined
  }) => Effect.Effect<string, SqsError>
  readonly getQueueAttributes: (request: {
    readonly QueueUrl: string
    readonly AttributeNames: ReadonlyArray<string>
  }) => Effect.Effect<Readonly<Record<string, string>>, SqsError>
  readonly setQueueAttributes: (request: {
    readonly QueueUrl: string
    readonly Attributes: Readonly<Record<string, string>>
  }) => Effect.Effect<void, SqsError>
  /** The new queue's URL, or the present one's where it exists with the same attributes. */
  readonly createQueue: (request: {
    readonly QueueName: string
    readonly Attributes?: Readonly<Record<string, string>> | undefined
    readonly tags?: Readonly<Record<string, string>> | undefined
  }) => Effect.Effect<string, SqsError>
  readonly deleteQueue: (request: { readonly QueueUrl: string }) => Effect.Effect<void, SqsError>
  readonly purgeQueue: (request: { readonly QueueUrl: string }) => Effect.Effect<void, SqsError>
  readonly listQueues: (
    request: Page & { readonly QueueNamePrefix?: string | undefined }
  ) => Effect.Effect<QueuePage, SqsError>
  readonly listDeadLetterSourceQueues: (
    request: Page & { readonly QueueUrl: string }
  ) => Effect.Effect<QueuePage, SqsError>
  readonly listQueueTags: (request: {
    readonly QueueUrl: string
  }) => Effect.Effect<Readonly<Record<string, string>>, SqsError>
  readonly tagQueue: (request: {
    readonly QueueUrl: string
    readonly Tags: Readonly<Record<string, string>>
  }) => Effect.Effect<void, SqsError>
  readonly untagQueue: (request: {
    readonly QueueUrl: string
    readonly TagKeys: ReadonlyArray<string>
  }) => Effect.Effect<void, SqsError>
  /** The task's handle. */
  readonly startMessageMoveTask: (request: {
    readonly SourceArn: string
    readonly DestinationArn?: string | undefined
    readonly MaxNumberOfMessagesPerSecond?: number | undefined
  }) => Effect.Effect<string, SqsError>
  /** How many messages had been moved. */
  readonly cancelMessageMoveTask: (request: { readonly TaskHandle: string }) => Effect.Effect<number, SqsError>
  readonly listMessageMoveTasks: (request: {
    readonly SourceArn: string
    readonly MaxResults?: number | undefined
  }) => Effect.Effect<ReadonlyArray<MoveTask>, SqsError>
}
