/**
 * The operations as AWS answers them, by whatever client: everything optional, absent lists left out. And how each answer
 * is read: what our `Service` says of it. What cannot be read throws.
 */
import type * as Effect from "effect/Effect"
import type * as Client from "./service.js"

export type Strings = Readonly<Record<string, string | undefined>>

export interface Sent {
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
export interface Received {
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
export interface Batch<Success> {
  readonly Successful?: ReadonlyArray<Success> | undefined
  readonly Failed?: ReadonlyArray<Failure> | undefined
}
export interface Entry {
  readonly Id?: string | undefined
}
export interface Messages {
  readonly Messages?: ReadonlyArray<Received> | undefined
  readonly LeasedAt?: number | undefined
}
export interface Queue {
  readonly QueueUrl?: string | undefined
}
export interface Queues {
  readonly QueueUrls?: ReadonlyArray<string> | undefined
  readonly NextToken?: string | undefined
}
export interface Sources {
  readonly queueUrls?: ReadonlyArray<string> | undefined
  readonly NextToken?: string | undefined
}
export interface Attributes {
  readonly Attributes?: Strings | undefined
}
export interface Tags {
  readonly Tags?: Strings | undefined
}
export interface Task {
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
export interface Started {
  readonly TaskHandle?: string | undefined
}
export interface Cancelled {
  readonly ApproximateNumberOfMessagesMoved?: number | undefined
}
export interface Tasks {
  readonly Results?: ReadonlyArray<Task> | undefined
}

/** AWS's inputs may leave anything out. */
type Loose<A> = A extends Uint8Array ? A : { readonly [K in keyof A]?: Loose<A[K]> | undefined }
type Operation = Exclude<keyof Client.Service, "connections">
type Input<Name extends Operation> = Loose<Parameters<Client.Service[Name]>[0]>

/** Methods, not functions: AWS's inputs differ otherwise in name only (mutable arrays, enums of strings). */
export interface Api<E> {
  sendMessage(input: Input<"sendMessage">): Effect.Effect<Sent, E>
  sendMessageBatch(input: Input<"sendMessageBatch">): Effect.Effect<Batch<Sent & Entry>, E>
  receiveMessage(input: Input<"receiveMessage">): Effect.Effect<Messages, E>
  deleteMessageBatch(input: Input<"deleteMessageBatch">): Effect.Effect<Batch<Entry>, E>
  changeMessageVisibilityBatch(input: Input<"changeMessageVisibilityBatch">): Effect.Effect<Batch<Entry>, E>
  getQueueUrl(input: Input<"getQueueUrl">): Effect.Effect<Queue, E>
  getQueueAttributes(input: Input<"getQueueAttributes">): Effect.Effect<Attributes, E>
  setQueueAttributes(input: Input<"setQueueAttributes">): Effect.Effect<unknown, E>
  createQueue(input: Input<"createQueue">): Effect.Effect<Queue, E>
  deleteQueue(input: Input<"deleteQueue">): Effect.Effect<unknown, E>
  purgeQueue(input: Input<"purgeQueue">): Effect.Effect<unknown, E>
  listQueues(input: Input<"listQueues">): Effect.Effect<Queues, E>
  listDeadLetterSourceQueues(input: Input<"listDeadLetterSourceQueues">): Effect.Effect<Sources, E>
  listQueueTags(input: Input<"listQueueTags">): Effect.Effect<Tags, E>
  tagQueue(input: Input<"tagQueue">): Effect.Effect<unknown, E>
  untagQueue(input: Input<"untagQueue">): Effect.Effect<unknown, E>
  startMessageMoveTask(input: Input<"startMessageMoveTask">): Effect.Effect<Started, E>
  cancelMessageMoveTask(input: Input<"cancelMessageMoveTask">): Effect.Effect<Cancelled, E>
  listMessageMoveTasks(input: Input<"listMessageMoveTasks">): Effect.Effect<Tasks, E>
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
export const url = ({ QueueUrl }: Queue): string => {
  const given = required(QueueUrl, "QueueUrl")
  const protocol = URL.canParse(given) ? new URL(given).protocol : undefined
  if (protocol === "https:" || protocol === "http:") return given
  throw new Error("its QueueUrl is no URL of http or https")
}

export const attributes = ({ Attributes }: Attributes): Readonly<Record<string, string>> => strings(Attributes)
export const tags = ({ Tags }: Tags): Readonly<Record<string, string>> => strings(Tags)

export const queues = ({ NextToken, QueueUrls }: Queues): Client.QueuePage => ({
  QueueUrls: QueueUrls ?? [],
  NextToken
})
export const sources = ({ NextToken, queueUrls: QueueUrls }: Sources): Client.QueuePage =>
  queues({ QueueUrls, NextToken })

export const sent = (result: Sent): Client.SendMessageResult => ({
  MessageId: required(result.MessageId, "MessageId, and the message may have been sent"),
  MD5OfMessageBody: result.MD5OfMessageBody ?? "",
  MD5OfMessageAttributes: result.MD5OfMessageAttributes,
  MD5OfMessageSystemAttributes: result.MD5OfMessageSystemAttributes,
  SequenceNumber: result.SequenceNumber
})

/** By assignment: there are ten in a call, and a spread of each would be felt. */
const sentEntry = (entry: Sent & Entry): Client.SendMessageResult & { readonly Id: string } => {
  const Id = required(entry.Id, "Id")
  return Object.assign(sent(entry), { Id })
}

/** Not by assignment: an attribute may be called `__proto__`. */
const messageAttributes = (values: Readonly<Record<string, Attribute>>): Client.MessageAttributes =>
  Object.fromEntries(
    Object.entries(values).map(([name, value]) => [name, { ...value, DataType: value.DataType ?? "String" }])
  )

const message = (received: Received, leasedAt: number | undefined): Client.ReceivedMessage => ({
  MessageId: required(received.MessageId, "MessageId"),
  ReceiptHandle: required(received.ReceiptHandle, "ReceiptHandle"),
  Body: required(received.Body, "Body"),
  MD5OfBody: received.MD5OfBody ?? "",
  Attributes: received.Attributes && strings(received.Attributes),
  MessageAttributes: received.MessageAttributes && messageAttributes(received.MessageAttributes),
  MD5OfMessageAttributes: received.MD5OfMessageAttributes,
  LeasedAt: leasedAt
})

export const messages = ({ LeasedAt, Messages = [] }: Messages): ReadonlyArray<Client.ReceivedMessage> =>
  Messages.map((received) => message(received, LeasedAt))

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
export const sentBatch = batch(sentEntry)
export const plainBatch = batch((entry: Entry) => ({ Id: required(entry.Id, "Id") }))

const task = (result: Task): Client.MoveTask => ({
  ...result,
  Status: result.Status ?? "",
  SourceArn: result.SourceArn ?? "",
  ApproximateNumberOfMessagesMoved: result.ApproximateNumberOfMessagesMoved ?? 0,
  StartedTimestamp: result.StartedTimestamp ?? 0
})
export const started = ({ TaskHandle }: Started): string => TaskHandle ?? ""
export const cancelled = (answer: Cancelled): number => answer.ApproximateNumberOfMessagesMoved ?? 0
export const tasks = ({ Results }: Tasks): ReadonlyArray<Client.MoveTask> => (Results ?? []).map(task)
