/**
 * SQS's operations, each as one call by its name: what it sends, how long it may wait, and which bodies its answer
 * speaks of. By what the call goes, ours over HTTP or a client of the AWS SDK, is the caller's.
 */
import type * as Effect from "effect/Effect"
import type { SqsError } from "../../SqsError.js"
import type { Api } from "./api.js"
import type { Echo } from "./checksums.js"

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

interface Sent {
  readonly Id?: string | undefined
  readonly MessageId?: string | undefined
  readonly MD5OfMessageBody?: string | undefined
}

/** What names no message is no echo of one: that it does not is said by whoever reads it. */
const echoesOfBatch = (
  entries: ReadonlyArray<{ readonly Id?: string | undefined; readonly MessageBody?: string | undefined } | undefined>,
  successful: ReadonlyArray<Sent>
): ReadonlyArray<Echo> => {
  const bodies = new Map(entries.map((entry) => [entry?.Id, entry?.MessageBody]))
  return successful
    .filter(({ Id, MessageId }) => MessageId !== undefined && bodies.has(Id))
    .map((sent) => [sent.MessageId, bodies.get(sent.Id), sent.MD5OfMessageBody])
}

export const api = (call: Call): Api<SqsError> => ({
  sendMessage: (r) =>
    call("SendMessage", r, {
      echoes: ({ MD5OfMessageBody, MessageId }: Sent) =>
        MessageId === undefined ? [] : [[MessageId, r.MessageBody, MD5OfMessageBody]]
    }),
  sendMessageBatch: (r) =>
    call("SendMessageBatch", r, {
      echoes: ({ Successful = [] }: { readonly Successful?: ReadonlyArray<Sent> }) =>
        echoesOfBatch(r.Entries ?? [], Successful)
    }),
  receiveMessage: (r) =>
    call("ReceiveMessage", r, {
      waitSeconds: r.WaitTimeSeconds ?? longestWait,
      echoes: ({ Messages = [] }: Received) =>
        Messages.map(({ Body, MD5OfBody, MessageId }): Echo => [MessageId, Body, MD5OfBody])
    }),
  deleteMessageBatch: (r) => call("DeleteMessageBatch", r),
  changeMessageVisibilityBatch: (r) => call("ChangeMessageVisibilityBatch", r),
  getQueueUrl: (r) => call("GetQueueUrl", r),
  getQueueAttributes: (r) => call("GetQueueAttributes", r),
  setQueueAttributes: (r) => call("SetQueueAttributes", r),
  createQueue: (r) => call("CreateQueue", r),
  deleteQueue: (r) => call("DeleteQueue", r),
  purgeQueue: (r) => call("PurgeQueue", r),
  listQueues: (r) => call("ListQueues", r),
  listDeadLetterSourceQueues: (r) => call("ListDeadLetterSourceQueues", r),
  listQueueTags: (r) => call("ListQueueTags", r),
  tagQueue: (r) => call("TagQueue", r),
  untagQueue: (r) => call("UntagQueue", r),
  startMessageMoveTask: (r) => call("StartMessageMoveTask", r),
  cancelMessageMoveTask: (r) => call("CancelMessageMoveTask", r),
  listMessageMoveTasks: (r) => call("ListMessageMoveTasks", r)
})

interface Received {
  readonly Messages?: ReadonlyArray<{
    readonly MessageId?: string | undefined
    readonly Body?: string | undefined
    readonly MD5OfBody?: string | undefined
  }>
}
