/**
 * SQS's operations, each as one call by its name: what it sends, how long it may wait, which bodies its answer speaks of,
 * and how that is read. By what the call goes, ours over HTTP or a client of the AWS SDK, is the caller's.
 */
import * as Effect from "effect/Effect"
import type { SqsError } from "../../SqsError.js"
import * as Api from "./api.js"
import type { Echo } from "./checksums.js"
import { unreadable } from "./errors.js"
import type { Service } from "./service.js"

export type Operation =
  | "CancelMessageMoveTask"
  | "ChangeMessageVisibilityBatch"
  | "CreateQueue"
  | "DeleteMessageBatch"
  | "DeleteQueue"
  | "GetQueueAttributes"
  | "GetQueueUrl"
  | "ListDeadLetterSourceQueues"
  | "ListMessageMoveTasks"
  | "ListQueueTags"
  | "ListQueues"
  | "PurgeQueue"
  | "ReceiveMessage"
  | "SendMessage"
  | "SendMessageBatch"
  | "SetQueueAttributes"
  | "StartMessageMoveTask"
  | "TagQueue"
  | "UntagQueue"

/** What a call says, by the API's own names of fields. */
export type Input = object

export interface Options<in Output> {
  /** How long SQS may wait before it answers, in seconds. */
  readonly waitSeconds?: number
  /** The bodies that the answer speaks of, with their MD5s. */
  readonly echoes?: (output: Output) => ReadonlyArray<Echo>
}

/** Makes one call. What its answer lacks of `Output`, whoever reads it has to see: SQS leaves out what is empty. */
export type Call = <Output>(
  operation: Operation,
  input: Input,
  options?: Options<Output>
) => Effect.Effect<Output, SqsError>

/** SQS waits as the queue says where a receive does not: up to 20 seconds. */
const longestWait = 20

/** What names no message is no echo of one: that it does not is said by whoever reads it. */
const echoesOfBatch = (
  entries: ReadonlyArray<{ readonly Id: string; readonly MessageBody: string } | undefined>,
  successful: ReadonlyArray<Api.Sent & Api.Entry>
): ReadonlyArray<Echo> => {
  const bodies = new Map(entries.map((entry) => [entry?.Id, entry?.MessageBody]))
  return successful
    .filter(({ Id, MessageId }) => MessageId !== undefined && bodies.has(Id))
    .map((sent) => [sent.MessageId, bodies.get(sent.Id), sent.MD5OfMessageBody])
}

export const service = (call: Call): Service => {
  /** An answer that cannot be read is an error as any other, whatever it is that it lacks. */
  const answered =
    <In extends Input, Output, A>(
      operation: Operation,
      read: (answer: Output) => A,
      options?: (input: In) => Options<Output>
    ) =>
    (input: In): Effect.Effect<A, SqsError> =>
      Effect.flatMap(call<Output>(operation, input, options?.(input)), (answer) => {
        try {
          return Effect.succeed(read(answer))
        } catch (cause) {
          return Effect.fail(unreadable(operation, cause instanceof Error ? cause.message : String(cause), cause))
        }
      })
  const done = (operation: Operation) => (input: Input) => Effect.asVoid(call(operation, input))
  return {
    sendMessage: answered("SendMessage", Api.sent, ({ MessageBody }) => ({
      echoes: ({ MD5OfMessageBody, MessageId }) =>
        MessageId === undefined ? [] : [[MessageId, MessageBody, MD5OfMessageBody]]
    })),
    sendMessageBatch: answered("SendMessageBatch", Api.sentBatch, ({ Entries }) => ({
      echoes: ({ Successful = [] }) => echoesOfBatch(Entries, Successful)
    })),
    receiveMessage: answered("ReceiveMessage", Api.messages, ({ WaitTimeSeconds = longestWait }) => ({
      waitSeconds: WaitTimeSeconds,
      echoes: ({ Messages = [] }) => Messages.map(({ Body, MD5OfBody, MessageId }) => [MessageId, Body, MD5OfBody])
    })),
    deleteMessageBatch: answered("DeleteMessageBatch", Api.plainBatch),
    changeMessageVisibilityBatch: answered("ChangeMessageVisibilityBatch", Api.plainBatch),
    getQueueUrl: answered("GetQueueUrl", Api.url),
    getQueueAttributes: answered("GetQueueAttributes", Api.attributes),
    setQueueAttributes: done("SetQueueAttributes"),
    createQueue: answered("CreateQueue", Api.url),
    deleteQueue: done("DeleteQueue"),
    purgeQueue: done("PurgeQueue"),
    listQueues: answered("ListQueues", Api.queues),
    listDeadLetterSourceQueues: answered("ListDeadLetterSourceQueues", Api.sources),
    listQueueTags: answered("ListQueueTags", Api.tags),
    tagQueue: done("TagQueue"),
    untagQueue: done("UntagQueue"),
    startMessageMoveTask: answered("StartMessageMoveTask", Api.started),
    cancelMessageMoveTask: answered("CancelMessageMoveTask", Api.cancelled),
    listMessageMoveTasks: answered("ListMessageMoveTasks", Api.tasks)
  }
}
