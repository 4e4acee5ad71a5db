/**
 * The AWS SDK for JavaScript v3: what finds region, credentials and endpoint for our own wire, and a transport for who
 * wants its client on the wire.
 */
import * as Sdk from "@aws-sdk/client-sqs"
import type { Transport } from "./calls.js"
import type { Operation } from "./operations.js"
import { isOfTime, tolerated } from "./serverClock.js"
import type { Scout } from "./wire/route.js"

export interface Settings {
  readonly region: string | undefined
  readonly endpoint: string | undefined
  readonly credentials: Sdk.SQSClientConfig["credentials"] | undefined
}

/**
 * The notice that this Node version will be dropped one day is for who maintains the program, not for each who runs
 * it: the SDK's own switch is on while the client is made, and nothing else is silenced.
 */
export const withoutNotice = <A>(make: () => A): A => {
  const name = "AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED"
  const before = process.env[name]
  process.env[name] = "true"
  try {
    return make()
  } finally {
    if (before === undefined) delete process.env[name]
    else process.env[name] = before
  }
}

/** A client that sends nothing: it is asked where calls go and with which credentials. */
export const finder = ({ credentials, endpoint, region }: Settings, scout: Scout): Sdk.SQSClient =>
  withoutNotice(
    () =>
      new Sdk.SQSClient({
        ...(region === undefined ? {} : { region }),
        ...(endpoint === undefined ? {} : { endpoint }),
        ...(credentials === undefined ? {} : { credentials }),
        maxAttempts: 1,
        requestHandler: scout
      })
  )

/** As a client of the SDK sends it. The inputs only name our types otherwise: mutable arrays, enums of strings. */
const commands: Readonly<Record<Operation, new (input: never) => object>> = {
  CancelMessageMoveTask: Sdk.CancelMessageMoveTaskCommand,
  ChangeMessageVisibilityBatch: Sdk.ChangeMessageVisibilityBatchCommand,
  CreateQueue: Sdk.CreateQueueCommand,
  DeleteMessageBatch: Sdk.DeleteMessageBatchCommand,
  DeleteQueue: Sdk.DeleteQueueCommand,
  GetQueueAttributes: Sdk.GetQueueAttributesCommand,
  GetQueueUrl: Sdk.GetQueueUrlCommand,
  ListDeadLetterSourceQueues: Sdk.ListDeadLetterSourceQueuesCommand,
  ListMessageMoveTasks: Sdk.ListMessageMoveTasksCommand,
  ListQueueTags: Sdk.ListQueueTagsCommand,
  ListQueues: Sdk.ListQueuesCommand,
  PurgeQueue: Sdk.PurgeQueueCommand,
  ReceiveMessage: Sdk.ReceiveMessageCommand,
  SendMessage: Sdk.SendMessageCommand,
  SendMessageBatch: Sdk.SendMessageBatchCommand,
  SetQueueAttributes: Sdk.SetQueueAttributesCommand,
  StartMessageMoveTask: Sdk.StartMessageMoveTaskCommand,
  TagQueue: Sdk.TagQueueCommand,
  UntagQueue: Sdk.UntagQueueCommand
}

/**
 * A client that is not ours to change. It is asked for its credentials, which it keeps, before each call; its clock it
 * puts right by itself, and says so only where it is off then.
 */
export const transport = (client: Sdk.SQSClient): Transport => {
  const ready = async () => {
    try {
      await client.config.credentials()
    } catch {
      // The call says so too, if it needs any.
    }
  }
  return {
    send: (operation, input, onSent) => {
      const controller = new AbortController()
      const abort = () => controller.abort()
      let offset = 0
      const clockCorrected = (refusal: unknown) =>
        isOfTime(String(Reflect.get(Object(refusal), "name"))) &&
        Math.abs(client.config.systemClockOffset - offset) > tolerated
      const answer = ready().then(() => {
        offset = client.config.systemClockOffset
        onSent()
        return client.send(new commands[operation](input as never) as never, { abortSignal: controller.signal })
      })
      return { answer, call: { abort, expire: abort, clockCorrected } }
    },
    checksBodies: false
  }
}
