/** A client of the AWS SDK for JavaScript v3 as what calls go by, for who wants it on the wire. */
import * as Sdk from "@aws-sdk/client-sqs"
import { AnswerTimes } from "./answerTimes.js"
import type { Transport } from "./calls.js"
import type { Input, Operation } from "./operations.js"
import { isOfTime, tolerated } from "./serverClock.js"

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

const dateOf = (response: unknown): unknown => Reflect.get(Object(Reflect.get(Object(response), "headers")), "date")

/**
 * A client that is not ours to change. It is asked for its credentials, which it keeps, before each call; its clock it
 * puts right by itself, and says so only where it is off then.
 */
export const transport = (client: Sdk.SQSClient, now: () => number): Transport => {
  const times = new AnswerTimes()
  /** Sends it, and tells when SQS gave its answer: the SDK's outputs have no date, so the command looks at the response. */
  const answerOf = async (operation: Operation, input: Input, abortSignal: AbortSignal): Promise<unknown> => {
    // Of any command: what they have in common is typed by each of them.
    const command = new commands[operation](input as never) as Sdk.ReceiveMessageCommand
    let LeasedAt: number | undefined
    command.middlewareStack.add(
      (next) => async (args) => {
        const sentAt = now()
        const result = await next(args)
        LeasedAt = times.givenAt(dateOf(result.response), sentAt, now())
        return result
      },
      { step: "deserialize", priority: "low" }
    )
    const output: unknown = await client.send(command, { abortSignal })
    const isReceive = operation === "ReceiveMessage" && typeof output === "object" && output !== null
    return isReceive ? { ...output, LeasedAt } : output
  }
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
        return answerOf(operation, input, controller.signal)
      })
      return { answer, call: { abort, expire: abort, clockCorrected } }
    },
    checksBodies: false
  }
}
