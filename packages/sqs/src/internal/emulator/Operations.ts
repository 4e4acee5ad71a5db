/**
 * What a request asks for and what its answer holds, by AWS's names of today: from the fields that one of the protocols
 * has read to the emulator's operations, and their answers back, for the protocol to write.
 */
import * as Effect from "effect/Effect"
import type { Operation } from "../../emulator/Fault.js"
import type { BatchResult, MessageAttribute, MessageAttributes, ReceivedMessage, SendFields } from "../../SqsClient.js"
import type { SqsError } from "../../SqsError.js"
import type { Api } from "./Calls.js"
import { before, type Failure } from "./Failure.js"

/** The request cannot be read: it has no meaning for SQS at all. */
export class Unreadable {
  readonly failure: Failure
  readonly message: string
  constructor(failure: Failure, message: string) {
    this.failure = failure
    this.message = message
  }
}

const unreadable = (field: string, wanted: string): Unreadable =>
  new Unreadable(before.malformed, `${field} must be ${wanted}.`)

const isRecord = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null && !Array.isArray(value)

/** The fields of a request, read by kind. What is required is left to the engine, which knows SQS's words for it. */
class Fields {
  private readonly record: Readonly<Record<string, unknown>>

  constructor(value: unknown, name: string) {
    if (!isRecord(value)) throw unreadable(name, "a JSON object")
    this.record = value
  }

  text(name: string): string | undefined {
    const value = this.record[name]
    if (value === undefined || value === null) return undefined
    if (typeof value !== "string") throw unreadable(name, "a string")
    return value
  }
  /** A text without which the engine answers that it is missing. */
  required(name: string): string {
    return this.text(name) ?? ""
  }
  number(name: string): number | undefined {
    const value = this.record[name]
    if (value === undefined || value === null) return undefined
    if (typeof value !== "number") throw unreadable(name, "a number")
    return value
  }
  list<A>(name: string, read: (item: unknown) => A): ReadonlyArray<A> | undefined {
    const value = this.record[name]
    if (value === undefined || value === null) return undefined
    if (!Array.isArray(value)) throw unreadable(name, "a list")
    return value.map(read)
  }
  texts(name: string): ReadonlyArray<string> | undefined {
    return this.list(name, (item) => {
      if (typeof item !== "string") throw unreadable(name, "a list of strings")
      return item
    })
  }
  map<A>(name: string, read: (item: unknown) => A): Readonly<Record<string, A>> | undefined {
    const value = this.record[name]
    if (value === undefined || value === null) return undefined
    if (!isRecord(value)) throw unreadable(name, "a map")
    // Not by assignment, which loses a key __proto__.
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, read(item)]))
  }
  textMap(name: string): Readonly<Record<string, string>> | undefined {
    return this.map(name, (item) => {
      if (typeof item !== "string") throw unreadable(name, "a map of strings")
      return item
    })
  }
}

const base64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/

const attribute = (value: unknown): MessageAttribute => {
  const fields = new Fields(value, "MessageAttribute")
  const binary = fields.text("BinaryValue")
  if (binary !== undefined && !base64.test(binary)) throw unreadable("BinaryValue", "base64")
  return {
    DataType: fields.required("DataType"),
    StringValue: fields.text("StringValue"),
    ...(binary === undefined ? {} : { BinaryValue: Buffer.from(binary, "base64") })
  }
}

const sendFields = (fields: Fields, trace: string | undefined): SendFields => {
  const system = fields.map("MessageSystemAttributes", attribute)
  return {
    MessageBody: fields.required("MessageBody"),
    DelaySeconds: fields.number("DelaySeconds"),
    MessageAttributes: fields.map("MessageAttributes", attribute),
    MessageSystemAttributes:
      trace === undefined ? system : { AWSTraceHeader: { DataType: "String", StringValue: trace }, ...system },
    MessageGroupId: fields.text("MessageGroupId"),
    MessageDeduplicationId: fields.text("MessageDeduplicationId")
  }
}

const encodeAttributes = (attributes: MessageAttributes) =>
  Object.fromEntries(
    Object.entries(attributes).map(([name, { BinaryValue, ...rest }]) => [
      name,
      BinaryValue === undefined ? rest : { ...rest, BinaryValue: Buffer.from(BinaryValue).toString("base64") }
    ])
  )

const encodeMessage = (message: ReceivedMessage) =>
  message.MessageAttributes === undefined
    ? message
    : { ...message, MessageAttributes: encodeAttributes(message.MessageAttributes) }

/** Lists without members are left out, as AWS does. */
const encodeBatch = ({ Successful, Failed }: BatchResult<unknown>) => ({
  ...(Successful.length === 0 ? {} : { Successful }),
  ...(Failed.length === 0 ? {} : { Failed })
})

/** What of an HTTP request matters beside its body. */
export interface Context {
  /** `host:port`, by which the client reaches the emulator. */
  readonly host: string | undefined
  readonly trace: string | undefined
}

type Handler = (api: Api, fields: Fields, context: Context) => Effect.Effect<unknown, SqsError>

/** The queue's URL as this client can reach it. */
const reachable = (url: string, { host }: Context): string =>
  host === undefined ? url : url.replace(/^https?:\/\/[^/]+/, `http://${host}`)

const queueUrl = (fields: Fields) => ({ QueueUrl: fields.required("QueueUrl") })
const page = (fields: Fields) => ({ MaxResults: fields.number("MaxResults"), NextToken: fields.text("NextToken") })

const handlers: Readonly<Record<Operation, Handler>> = {
  SendMessage: (api, fields, { trace }) => api.sendMessage({ ...queueUrl(fields), ...sendFields(fields, trace) }),
  SendMessageBatch: (api, fields, { trace }) =>
    Effect.map(
      api.sendMessageBatch({
        ...queueUrl(fields),
        Entries:
          fields.list("Entries", (item) => {
            const entry = new Fields(item, "Entries")
            return { Id: entry.required("Id"), ...sendFields(entry, trace) }
          }) ?? []
      }),
      encodeBatch
    ),
  ReceiveMessage: (api, fields) =>
    Effect.map(
      api.receiveMessage({
        ...queueUrl(fields),
        MaxNumberOfMessages: fields.number("MaxNumberOfMessages"),
        WaitTimeSeconds: fields.number("WaitTimeSeconds"),
        VisibilityTimeout: fields.number("VisibilityTimeout"),
        MessageSystemAttributeNames: fields.texts("MessageSystemAttributeNames"),
        AttributeNames: fields.texts("AttributeNames"),
        MessageAttributeNames: fields.texts("MessageAttributeNames"),
        ReceiveRequestAttemptId: fields.text("ReceiveRequestAttemptId")
      }),
      (messages) => (messages.length === 0 ? {} : { Messages: messages.map(encodeMessage) })
    ),
  DeleteMessage: (api, fields) =>
    api.deleteMessage({ ...queueUrl(fields), ReceiptHandle: fields.required("ReceiptHandle") }),
  DeleteMessageBatch: (api, fields) =>
    Effect.map(
      api.deleteMessageBatch({
        ...queueUrl(fields),
        Entries:
          fields.list("Entries", (item) => {
            const entry = new Fields(item, "Entries")
            return { Id: entry.required("Id"), ReceiptHandle: entry.required("ReceiptHandle") }
          }) ?? []
      }),
      encodeBatch
    ),
  ChangeMessageVisibility: (api, fields) =>
    api.changeMessageVisibility({
      ...queueUrl(fields),
      ReceiptHandle: fields.required("ReceiptHandle"),
      VisibilityTimeout: fields.number("VisibilityTimeout") ?? Number.NaN
    }),
  ChangeMessageVisibilityBatch: (api, fields) =>
    Effect.map(
      api.changeMessageVisibilityBatch({
        ...queueUrl(fields),
        Entries:
          fields.list("Entries", (item) => {
            const entry = new Fields(item, "Entries")
            return {
              Id: entry.required("Id"),
              ReceiptHandle: entry.required("ReceiptHandle"),
              VisibilityTimeout: entry.number("VisibilityTimeout") ?? Number.NaN
            }
          }) ?? []
      }),
      encodeBatch
    ),
  GetQueueUrl: (api, fields, context) =>
    Effect.map(
      api.getQueueUrl({
        QueueName: fields.required("QueueName"),
        QueueOwnerAWSAccountId: fields.text("QueueOwnerAWSAccountId")
      }),
      (url) => ({ QueueUrl: reachable(url, context) })
    ),
  GetQueueAttributes: (api, fields) =>
    Effect.map(
      api.getQueueAttributes({ ...queueUrl(fields), AttributeNames: fields.texts("AttributeNames") ?? [] }),
      (attributes) => (Object.keys(attributes).length === 0 ? {} : { Attributes: attributes })
    ),
  SetQueueAttributes: (api, fields) =>
    api.setQueueAttributes({ ...queueUrl(fields), Attributes: fields.textMap("Attributes") ?? {} }),
  CreateQueue: (api, fields, context) =>
    Effect.map(
      api.createQueue({
        QueueName: fields.required("QueueName"),
        Attributes: fields.textMap("Attributes"),
        tags: fields.textMap("tags") ?? fields.textMap("Tags")
      }),
      (url) => ({ QueueUrl: reachable(url, context) })
    ),
  DeleteQueue: (api, fields) => api.deleteQueue(queueUrl(fields)),
  PurgeQueue: (api, fields) => api.purgeQueue(queueUrl(fields)),
  ListQueues: (api, fields, context) =>
    Effect.map(
      api.listQueues({ ...page(fields), QueueNamePrefix: fields.text("QueueNamePrefix") }),
      ({ QueueUrls, NextToken }) => ({
        ...(QueueUrls.length === 0 ? {} : { QueueUrls: QueueUrls.map((url) => reachable(url, context)) }),
        NextToken
      })
    ),
  ListDeadLetterSourceQueues: (api, fields, context) =>
    Effect.map(
      api.listDeadLetterSourceQueues({ ...page(fields), ...queueUrl(fields) }),
      ({ QueueUrls, NextToken }) => ({ queueUrls: QueueUrls.map((url) => reachable(url, context)), NextToken })
    ),
  ListQueueTags: (api, fields) =>
    Effect.map(api.listQueueTags(queueUrl(fields)), (tags) => (Object.keys(tags).length === 0 ? {} : { Tags: tags })),
  TagQueue: (api, fields) => api.tagQueue({ ...queueUrl(fields), Tags: fields.textMap("Tags") ?? {} }),
  UntagQueue: (api, fields) => api.untagQueue({ ...queueUrl(fields), TagKeys: fields.texts("TagKeys") ?? [] }),
  AddPermission: (api, fields) =>
    api.addPermission({
      ...queueUrl(fields),
      Label: fields.required("Label"),
      AWSAccountIds: fields.texts("AWSAccountIds") ?? [],
      Actions: fields.texts("Actions") ?? []
    }),
  RemovePermission: (api, fields) => api.removePermission({ ...queueUrl(fields), Label: fields.required("Label") }),
  StartMessageMoveTask: (api, fields) =>
    Effect.map(
      api.startMessageMoveTask({
        SourceArn: fields.required("SourceArn"),
        DestinationArn: fields.text("DestinationArn"),
        MaxNumberOfMessagesPerSecond: fields.number("MaxNumberOfMessagesPerSecond")
      }),
      (TaskHandle) => ({ TaskHandle })
    ),
  CancelMessageMoveTask: (api, fields) =>
    Effect.map(
      api.cancelMessageMoveTask({ TaskHandle: fields.required("TaskHandle") }),
      (ApproximateNumberOfMessagesMoved) => ({ ApproximateNumberOfMessagesMoved })
    ),
  ListMessageMoveTasks: (api, fields) =>
    Effect.map(
      api.listMessageMoveTasks({ SourceArn: fields.required("SourceArn"), MaxResults: fields.number("MaxResults") }),
      (Results) => ({ Results })
    )
}

export const isOperation = (name: string): name is Operation => Object.hasOwn(handlers, name)

/** Runs a request, read by one of the protocols; `undefined` is the answer without content. Throws `Unreadable`. */
export const run = (
  api: Api,
  operation: Operation,
  input: unknown,
  context: Context
): Effect.Effect<unknown, SqsError> => handlers[operation](api, new Fields(input, "The request"), context)
