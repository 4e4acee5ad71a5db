/**
 * The operations as AWS's own clients answer them: everything optional, absent lists left out. `service` turns such an
 * API into our `Service`, for the AWS SDK and for @effect-aws/client-sqs alike.
 */
import * as Effect from "effect/Effect"
import type { SqsError } from "../../SqsError.js"
import { unreadable } from "./errors.js"
import type * as Client from "./service.js"

type Strings = Readonly<Record<string, string | undefined>>

interface Sent {
  readonly MessageId?: string | undefined
  readonly MD5OfMessageBody?: string | undefined
  readonly MD5OfMessageAttributes?: string | undefined
  readonly MD5OfMessageSystemAttributes?: string | undefined
  readonly SequenceNumber?: string | undefined
}
interface Attribute {
  readonly DataType?: string | undefined
  readonly StringValue?: string | undefined
  readonly BinaryValue?: Uint8Array | undefined
}
interface Received {
  readonly MessageId?: string | undefined
  readonly ReceiptHandle?: string | undefined
  readonly Body?: string | undefined
  readonly MD5OfBody?: string | undefined
  readonly Attributes?: Strings | undefined
  readonly MessageAttributes?: Readonly<Record<string, Attribute>> | undefined
  readonly MD5OfMessageAttributes?: string | undefined
}
interface Failure {
  readonly Id?: string | undefined
  readonly Code?: string | undefined
  readonly SenderFault?: boolean | undefined
  readonly Message?: string | undefined
}
interface Batch<Success> {
  readonly Successful?: ReadonlyArray<Success> | undefined
  readonly Failed?: ReadonlyArray<Failure> | undefined
}
interface Entry {
  readonly Id?: string | undefined
}
interface Queues {
  readonly QueueUrls?: ReadonlyArray<string> | undefined
  readonly NextToken?: string | undefined
}
interface Task {
  readonly TaskHandle?: string | undefined
  readonly Status?: string | undefined
  readonly SourceArn?: string | undefined
  readonly DestinationArn?: string | undefined
  readonly MaxNumberOfMessagesPerSecond?: number | undefined
  readonly ApproximateNumberOfMessagesMoved?: number | undefined
  readonly ApproximateNumberOfMessagesToMove?: number | undefined
  readonly FailureReason?: string | undefined
  readonly StartedTimestamp?: number | undefined
}

/** AWS's inputs may leave anything out. */
type Loose<A> = A extends Uint8Array ? A : { readonly [K in keyof A]?: Loose<A[K]> | undefined }
type Operation = Exclude<keyof Client.Service, "connections">
type Input<Name extends Operation> = Loose<Parameters<Client.Service[Name]>[0]>

/** Methods, not functions: AWS's inputs differ otherwise in name only (mutable arrays, enums of strings). */
export interface Api<E> {
  sendMessage(input: Input<"sendMessage">): Effect.Effect<Sent, E>
  sendMessageBatch(input: Input<"sendMessageBatch">): Effect.Effect<Batch<Sent & Entry>, E>
  receiveMessage(
    input: Input<"receiveMessage">
  ): Effect.Effect<
    { readonly Messages?: ReadonlyArray<Received> | undefined; readonly LeasedAt?: number | undefined },
    E
  >
  deleteMessageBatch(input: Input<"deleteMessageBatch">): Effect.Effect<Batch<Entry>, E>
  changeMessageVisibilityBatch(input: Input<"changeMessageVisibilityBatch">): Effect.Effect<Batch<Entry>, E>
  getQueueUrl(input: Input<"getQueueUrl">): Effect.Effect<{ readonly QueueUrl?: string | undefined }, E>
  getQueueAttributes(
    input: Input<"getQueueAttributes">
  ): Effect.Effect<{ readonly Attributes?: Strings | undefined }, E>
  setQueueAttributes(input: Input<"setQueueAttributes">): Effect.Effect<unknown, E>
  createQueue(input: Input<"createQueue">): Effect.Effect<{ readonly QueueUrl?: string | undefined }, E>
  deleteQueue(input: Input<"deleteQueue">): Effect.Effect<unknown, E>
  purgeQueue(input: Input<"purgeQueue">): Effect.Effect<unknown, E>
  listQueues(input: Input<"listQueues">): Effect.Effect<Queues, E>
  listDeadLetterSourceQueues(
    input: Input<"listDeadLetterSourceQueues">
  ): Effect.Effect<
    { readonly queueUrls?: ReadonlyArray<string> | undefined; readonly NextToken?: string | undefined },
    E
  >
  listQueueTags(input: Input<"listQueueTags">): Effect.Effect<{ readonly Tags?: Strings | undefined }, E>
  tagQueue(input: Input<"tagQueue">): Effect.Effect<unknown, E>
  untagQueue(input: Input<"untagQueue">): Effect.Effect<unknown, E>
  startMessageMoveTask(
    input: Input<"startMessageMoveTask">
  ): Effect.Effect<{ readonly TaskHandle?: string | undefined }, E>
  cancelMessageMoveTask(
    input: Input<"cancelMessageMoveTask">
  ): Effect.Effect<{ readonly ApproximateNumberOfMessagesMoved?: number | undefined }, E>
  listMessageMoveTasks(
    input: Input<"listMessageMoveTasks">
  ): Effect.Effect<{ readonly Results?: ReadonlyArray<Task> | undefined }, E>
}

const isWhole = (values: Strings): values is Readonly<Record<string, string>> => {
  for (const name in values) if (values[name] === undefined) return false
  return true
}

/** As they are where nothing is left out, as in every message. Not by assignment, as below: a tag may be called `__proto__`. */
const strings = (values: Strings = {}): Readonly<Record<string, string>> =>
  isWhole(values)
    ? values
    : Object.fromEntries(Object.entries(values).filter((entry): entry is [string, string] => entry[1] !== undefined))

/** What every answer of SQS's has: one without it is not SQS's, or not whole. */
const required = (value: string | undefined, name: string): string => {
  if (typeof value === "string" && value !== "") return value
  throw new Error(`it has no ${name}`)
}

/** Calls go to it: another scheme is not one of SQS's, whoever has answered. */
const url = ({ QueueUrl }: { readonly QueueUrl?: string | undefined }): string => {
  const given = required(QueueUrl, "QueueUrl")
  const protocol = URL.canParse(given) ? new URL(given).protocol : undefined
  if (protocol === "https:" || protocol === "http:") return given
  throw new Error("its QueueUrl is no URL of http or https")
}

const sentId = ({ MessageId }: Sent): string => required(MessageId, "MessageId, and the message may have been sent")

const sent = (result: Sent): Client.SendMessageResult => ({
  MessageId: sentId(result),
  MD5OfMessageBody: result.MD5OfMessageBody ?? "",
  MD5OfMessageAttributes: result.MD5OfMessageAttributes,
  MD5OfMessageSystemAttributes: result.MD5OfMessageSystemAttributes,
  SequenceNumber: result.SequenceNumber
})

/** Field by field: there are ten in a call, and a spread of each would be felt. */
const sentEntry = (entry: Sent & Entry): Client.SendMessageResult & { readonly Id: string } => ({
  Id: required(entry.Id, "Id"),
  MessageId: sentId(entry),
  MD5OfMessageBody: entry.MD5OfMessageBody ?? "",
  MD5OfMessageAttributes: entry.MD5OfMessageAttributes,
  MD5OfMessageSystemAttributes: entry.MD5OfMessageSystemAttributes,
  SequenceNumber: entry.SequenceNumber
})

/** Not by assignment: an attribute may be called `__proto__`. */
const attributes = (values: Readonly<Record<string, Attribute>>): Client.MessageAttributes =>
  Object.fromEntries(
    Object.entries(values).map(([name, value]) => [name, { ...value, DataType: value.DataType ?? "String" }])
  )

const received = (message: Received, leasedAt: number | undefined): Client.ReceivedMessage => ({
  MessageId: required(message.MessageId, "MessageId"),
  ReceiptHandle: required(message.ReceiptHandle, "ReceiptHandle"),
  Body: required(message.Body, "Body"),
  MD5OfBody: message.MD5OfBody ?? "",
  Attributes: message.Attributes && strings(message.Attributes),
  MessageAttributes: message.MessageAttributes && attributes(message.MessageAttributes),
  MD5OfMessageAttributes: message.MD5OfMessageAttributes,
  LeasedAt: leasedAt
})

const failure = (entry: Failure): Client.BatchFailure => ({
  Id: required(entry.Id, "Id"),
  Code: entry.Code ?? "Unknown",
  SenderFault: entry.SenderFault ?? false,
  Message: entry.Message
})

const batch =
  <A, Success>(success: (entry: A & Entry) => Success & { readonly Id: string }) =>
  (result: Batch<A & Entry>): Client.BatchResult<Success> => ({
    Successful: (result.Successful ?? []).map(success),
    Failed: (result.Failed ?? []).map(failure)
  })
const sentBatch = batch(sentEntry)
const plainBatch = batch((entry: Entry) => ({ Id: required(entry.Id, "Id") }))

const task = (result: Task): Client.MoveTask => ({
  ...result,
  Status: result.Status ?? "",
  SourceArn: result.SourceArn ?? "",
  ApproximateNumberOfMessagesMoved: result.ApproximateNumberOfMessagesMoved ?? 0,
  StartedTimestamp: result.StartedTimestamp ?? 0
})

/** An answer that cannot be read is an error as any other, whatever it is that it lacks. */
const read = <A, B>(
  operation: string,
  answer: Effect.Effect<A, SqsError>,
  f: (answer: A) => B
): Effect.Effect<B, SqsError> =>
  Effect.flatMap(answer, (given) => {
    try {
      return Effect.succeed(f(given))
    } catch (cause) {
      return Effect.fail(unreadable(operation, cause instanceof Error ? cause.message : String(cause), cause))
    }
  })

export const service = (api: Api<SqsError>): Client.Service => ({
  sendMessage: (request) => read("SendMessage", api.sendMessage(request), sent),
  sendMessageBatch: (request) => read("SendMessageBatch", api.sendMessageBatch(request), sentBatch),
  receiveMessage: (request) =>
    read("ReceiveMessage", api.receiveMessage(request), ({ LeasedAt, Messages = [] }) =>
      Messages.map((message) => received(message, LeasedAt))
    ),
  deleteMessageBatch: (request) => read("DeleteMessageBatch", api.deleteMessageBatch(request), plainBatch),
  changeMessageVisibilityBatch: (request) =>
    read("ChangeMessageVisibilityBatch", api.changeMessageVisibilityBatch(request), plainBatch),
  getQueueUrl: (request) => read("GetQueueUrl", api.getQueueUrl(request), url),
  getQueueAttributes: (request) =>
    read("GetQueueAttributes", api.getQueueAttributes(request), (r) => strings(r.Attributes)),
  setQueueAttributes: (request) => Effect.asVoid(api.setQueueAttributes(request)),
  createQueue: (request) => read("CreateQueue", api.createQueue(request), url),
  deleteQueue: (request) => Effect.asVoid(api.deleteQueue(request)),
  purgeQueue: (request) => Effect.asVoid(api.purgeQueue(request)),
  listQueues: (request) =>
    read("ListQueues", api.listQueues(request), (r) => ({ QueueUrls: r.QueueUrls ?? [], NextToken: r.NextToken })),
  listDeadLetterSourceQueues: (request) =>
    read("ListDeadLetterSourceQueues", api.listDeadLetterSourceQueues(request), (r) => ({
      QueueUrls: r.queueUrls ?? [],
      NextToken: r.NextToken
    })),
  listQueueTags: (request) => read("ListQueueTags", api.listQueueTags(request), (r) => strings(r.Tags)),
  tagQueue: (request) => Effect.asVoid(api.tagQueue(request)),
  untagQueue: (request) => Effect.asVoid(api.untagQueue(request)),
  startMessageMoveTask: (request) =>
    read("StartMessageMoveTask", api.startMessageMoveTask(request), (r) => r.TaskHandle ?? ""),
  cancelMessageMoveTask: (request) =>
    read("CancelMessageMoveTask", api.cancelMessageMoveTask(request), (r) => r.ApproximateNumberOfMessagesMoved ?? 0),
  listMessageMoveTasks: (request) =>
    read("ListMessageMoveTasks", api.listMessageMoveTasks(request), (r) => (r.Results ?? []).map(task))
})
