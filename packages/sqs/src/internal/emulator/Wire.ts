/**
 * AWS JSON 1.0: requests as they come over HTTP to the emulator's operations, and their answers back.
 *
 * @see https://smithy.io/2.0/aws/protocols/aws-json-1_0-protocol.html
 */
import * as Effect from "effect/Effect"
import type { Operation } from "../../emulator/Fault.js"
import type { BatchResult, MessageAttribute, MessageAttributes, ReceivedMessage, SendFields } from "../../SqsClient.js"
import type { SqsError } from "../../SqsError.js"
import type { Api } from "./Calls.js"

/** The request cannot be read: it has no meaning for SQS at all. */
export class Unreadable {
  readonly type: string
  readonly message: string
  constructor(type: "SerializationException" | "UnknownOperationException", message: string) {
    this.type = type
    this.message = message
  }
}

const unreadable = (field: string, wanted: string): Unreadable =>
  new Unreadable("SerializationException", `${field} must be ${wanted}.`)

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
    const read1: Record<string, A> = {}
    for (const key of Object.keys(value)) read1[key] = read(value[key])
    return read1
  }
  textMap(name: string): Readonly<Record<string, string>> | undefined {
    return this.map(name, (item) => {
      if (typeof item !== "string") throw unreadable(name, "a map of strings")
      return item
    })
  }
}

const attribute = (value: unknown): MessageAttribute => {
  const fields = new Fields(value, "MessageAttribute")
  const binary = fields.text("BinaryValue")
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
const empty = (): Record<string, never> => ({})

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
    Effect.map(api.deleteMessage({ ...queueUrl(fields), ReceiptHandle: fields.required("ReceiptHandle") }), empty),
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
    Effect.map(
      api.changeMessageVisibility({
        ...queueUrl(fields),
        ReceiptHandle: fields.required("ReceiptHandle"),
        VisibilityTimeout: fields.number("VisibilityTimeout") ?? Number.NaN
      }),
      empty
    ),
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
    Effect.map(api.getQueueUrl({ QueueName: fields.required("QueueName") }), (url) => ({
      QueueUrl: reachable(url, context)
    })),
  GetQueueAttributes: (api, fields) =>
    Effect.map(
      api.getQueueAttributes({ ...queueUrl(fields), AttributeNames: fields.texts("AttributeNames") ?? [] }),
      (attributes) => (Object.keys(attributes).length === 0 ? {} : { Attributes: attributes })
    ),
  SetQueueAttributes: (api, fields) =>
    Effect.map(api.setQueueAttributes({ ...queueUrl(fields), Attributes: fields.textMap("Attributes") ?? {} }), empty),
  CreateQueue: (api, fields, context) =>
    Effect.map(
      api.createQueue({
        QueueName: fields.required("QueueName"),
        Attributes: fields.textMap("Attributes"),
        tags: fields.textMap("tags") ?? fields.textMap("Tags")
      }),
      (url) => ({ QueueUrl: reachable(url, context) })
    ),
  DeleteQueue: (api, fields) => Effect.map(api.deleteQueue(queueUrl(fields)), empty),
  PurgeQueue: (api, fields) => Effect.map(api.purgeQueue(queueUrl(fields)), empty),
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
  TagQueue: (api, fields) =>
    Effect.map(api.tagQueue({ ...queueUrl(fields), Tags: fields.textMap("Tags") ?? {} }), empty),
  UntagQueue: (api, fields) =>
    Effect.map(api.untagQueue({ ...queueUrl(fields), TagKeys: fields.texts("TagKeys") ?? [] }), empty),
  AddPermission: (api, fields) =>
    Effect.map(
      api.addPermission({
        ...queueUrl(fields),
        Label: fields.required("Label"),
        AWSAccountIds: fields.texts("AWSAccountIds") ?? [],
        Actions: fields.texts("Actions") ?? []
      }),
      empty
    ),
  RemovePermission: (api, fields) =>
    Effect.map(api.removePermission({ ...queueUrl(fields), Label: fields.required("Label") }), empty),
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

const isOperation = (name: string): name is Operation => Object.hasOwn(handlers, name)

const prefix = "AmazonSQS."

/** Runs a request. Throws `Unreadable`. */
export const handle = (
  api: Api,
  target: string | undefined,
  body: string,
  context: Context
): Effect.Effect<unknown, SqsError> => {
  if (target === undefined) {
    throw new Unreadable(
      "UnknownOperationException",
      "There is no x-amz-target header. The emulator speaks AWS JSON 1.0, as AWS's current SDKs do, and not the older Query protocol: update the SDK or the CLI."
    )
  }
  const operation = target.startsWith(prefix) ? target.slice(prefix.length) : target
  if (!isOperation(operation)) {
    throw new Unreadable("UnknownOperationException", `SQS has no operation ${operation}.`)
  }
  let parsed: unknown
  try {
    parsed = JSON.parse(body === "" ? "{}" : body)
  } catch {
    throw new Unreadable("SerializationException", "The request's body is not JSON.")
  }
  return handlers[operation](api, new Fields(parsed, "The request"), context)
}

/** An error as SQS puts it on the wire. */
export interface Failure {
  readonly status: number
  /** The name in the body, as the JSON protocol's model has it. */
  readonly type: string
  /** The name in `x-amzn-query-error`, as the Query protocol had it. */
  readonly query: string
}

const named = (status: number, type: string, query: string): Failure => ({ status, type, query })
const legacy = (name: string, status = 400): Failure => named(status, name, `AWS.SimpleQueueService.${name}`)
const bare = (name: string, status = 400): Failure => named(status, name, name)

const failures: Readonly<Record<Exclude<SqsError["_tag"], "KmsError" | "UnknownSqsError">, Failure>> = {
  QueueDoesNotExist: named(400, "QueueDoesNotExist", "AWS.SimpleQueueService.NonExistentQueue"),
  QueueNameExists: named(400, "QueueNameExists", "QueueAlreadyExists"),
  QueueDeletedRecently: legacy("QueueDeletedRecently"),
  PurgeQueueInProgress: legacy("PurgeQueueInProgress", 403),
  ReceiptHandleIsInvalid: bare("ReceiptHandleIsInvalid", 404),
  MessageNotInflight: legacy("MessageNotInflight"),
  OverLimit: bare("OverLimit", 403),
  RequestThrottled: bare("RequestThrottled", 403),
  InvalidParameterValue: named(400, "InvalidParameterValueException", "InvalidParameterValue"),
  MissingParameter: named(400, "MissingRequiredParameterException", "MissingParameter"),
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
  ResourceNotFound: named(404, "ResourceNotFoundException", "ResourceNotFoundException"),
  AccessDenied: named(403, "AccessDeniedException", "AccessDenied"),
  InvalidCredentials: named(403, "UnrecognizedClientException", "InvalidClientTokenId"),
  // What a client knows as no answer at all; here it must answer something.
  TransportError: named(503, "ServiceUnavailable", "ServiceUnavailable")
}

export const failure = (error: SqsError): Failure => {
  switch (error._tag) {
    case "KmsError":
      return bare(error.code)
    case "UnknownSqsError":
      return bare(error.code, error.status)
    default:
      return failures[error._tag]
  }
}
