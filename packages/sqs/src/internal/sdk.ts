/** The AWS SDK for JavaScript v3 behind `Api`. The only file that knows its classes. */
import * as Sdk from "@aws-sdk/client-sqs"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type { SqsError } from "../SqsError.js"
import type { Api } from "./api.js"
import type { Deadlines } from "./deadlines.js"
import { fromThrown, timedOut } from "./errors.js"

export interface Settings {
  readonly region: string | undefined
  readonly endpoint: string | undefined
  readonly credentials: Sdk.SQSClientConfig["credentials"] | undefined
  readonly maxSockets: number
}

/** Sends one command; aborting the signal aborts its request. */
type Send = <Input extends object, Output>(
  input: Input,
  signal: AbortSignal,
  send: (input: Input, options?: { readonly abortSignal: AbortSignal }) => Promise<Output>
) => Promise<Output>

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

/** A client of our own. Each call is sent once, to the endpoint of its region (or the one given). */
export const makeClient = (settings: Settings): Sdk.SQSClient => {
  const agent = { keepAlive: true, maxSockets: settings.maxSockets }
  return withoutNotice(
    () =>
      new Sdk.SQSClient({
        ...(settings.region === undefined ? {} : { region: settings.region }),
        ...(settings.endpoint === undefined ? {} : { endpoint: settings.endpoint }),
        ...(settings.credentials === undefined ? {} : { credentials: settings.credentials }),
        maxAttempts: 1,
        cacheMiddleware: true,
        // Calls of one command share a context once the middleware is cached: the URL's host must not be kept there.
        useQueueUrlAsEndpoint: false,
        requestHandler: { httpAgent: agent, httpsAgent: agent }
      })
  )
}

/**
 * The SDK uses its cached middleware only for calls without options, and drops the cache at each call that has some;
 * an abort signal is an option. So the signal goes another way: beside the input, to a last middleware that hands it
 * to the request handler.
 */
export const sendCached = (client: Sdk.SQSClient): Send => {
  const signals = new WeakMap<object, AbortSignal>()
  client.middlewareStack.add(
    (next) => (args) => {
      const abortSignal = signals.get(args.input)
      return abortSignal === undefined
        ? next(args)
        : client.config.requestHandler
            .handle(args.request as Parameters<typeof client.config.requestHandler.handle>[0], { abortSignal })
            .then(({ response }) => ({ response, output: { $metadata: {} } }))
    },
    { step: "deserialize", priority: "low", name: "millraceAbort", override: true }
  )
  return (input, signal, send) => {
    signals.set(input, signal)
    return send(input)
  }
}

/** For a client that is not ours to change. */
export const sendPlainly: Send = (input, abortSignal, send) => send(input, { abortSignal })

/** SQS waits as the queue says where a receive does not: up to 20 seconds. */
const longestWait = 20

export const api = (
  client: Sdk.SQSClient,
  send: Send,
  deadlines: Deadlines,
  timeout: Duration.Duration
): Api<SqsError> => {
  const timeoutMillis = Duration.toMillis(timeout)
  const call = <Input extends object, Output>(
    operation: string,
    input: Input,
    run: (input: Input, options?: { readonly abortSignal: AbortSignal }) => Promise<Output>,
    waitSeconds = 0
  ): Effect.Effect<Output, SqsError> => {
    const millis = waitSeconds * 1000 + timeoutMillis
    return Effect.async<Output, SqsError>((resume) => {
      const controller = new AbortController()
      const answered = deadlines(millis, () => {
        resume(Effect.fail(timedOut(operation, millis)))
        controller.abort()
      })
      send(input, controller.signal, run).then(
        (output) => {
          answered()
          resume(Effect.succeed(output))
        },
        (cause) => {
          answered()
          resume(Effect.fail(fromThrown(operation)(cause)))
        }
      )
      return Effect.sync(() => {
        answered()
        controller.abort()
      })
    })
  }
  // A copy each: `sendCached` knows a call by its input. The SDK's inputs only name our types otherwise (mutable
  // arrays, enums of strings).
  return {
    sendMessage: (r) =>
      call("SendMessage", { ...r } as Sdk.SendMessageCommandInput, (i, o) =>
        client.send(new Sdk.SendMessageCommand(i), o)
      ),
    sendMessageBatch: (r) =>
      call("SendMessageBatch", { ...r } as Sdk.SendMessageBatchCommandInput, (i, o) =>
        client.send(new Sdk.SendMessageBatchCommand(i), o)
      ),
    receiveMessage: (r) =>
      call(
        "ReceiveMessage",
        { ...r } as Sdk.ReceiveMessageCommandInput,
        (i, o) => client.send(new Sdk.ReceiveMessageCommand(i), o),
        r.WaitTimeSeconds ?? longestWait
      ),
    deleteMessageBatch: (r) =>
      call("DeleteMessageBatch", { ...r } as Sdk.DeleteMessageBatchCommandInput, (i, o) =>
        client.send(new Sdk.DeleteMessageBatchCommand(i), o)
      ),
    changeMessageVisibilityBatch: (r) =>
      call("ChangeMessageVisibilityBatch", { ...r } as Sdk.ChangeMessageVisibilityBatchCommandInput, (i, o) =>
        client.send(new Sdk.ChangeMessageVisibilityBatchCommand(i), o)
      ),
    getQueueUrl: (r) =>
      call("GetQueueUrl", { ...r } as Sdk.GetQueueUrlCommandInput, (i, o) =>
        client.send(new Sdk.GetQueueUrlCommand(i), o)
      ),
    getQueueAttributes: (r) =>
      call("GetQueueAttributes", { ...r } as Sdk.GetQueueAttributesCommandInput, (i, o) =>
        client.send(new Sdk.GetQueueAttributesCommand(i), o)
      ),
    setQueueAttributes: (r) =>
      call("SetQueueAttributes", { ...r } as Sdk.SetQueueAttributesCommandInput, (i, o) =>
        client.send(new Sdk.SetQueueAttributesCommand(i), o)
      ),
    createQueue: (r) =>
      call("CreateQueue", { ...r } as Sdk.CreateQueueCommandInput, (i, o) =>
        client.send(new Sdk.CreateQueueCommand(i), o)
      ),
    deleteQueue: (r) =>
      call("DeleteQueue", { ...r } as Sdk.DeleteQueueCommandInput, (i, o) =>
        client.send(new Sdk.DeleteQueueCommand(i), o)
      ),
    purgeQueue: (r) =>
      call("PurgeQueue", { ...r } as Sdk.PurgeQueueCommandInput, (i, o) =>
        client.send(new Sdk.PurgeQueueCommand(i), o)
      ),
    listQueues: (r) =>
      call("ListQueues", { ...r } as Sdk.ListQueuesCommandInput, (i, o) =>
        client.send(new Sdk.ListQueuesCommand(i), o)
      ),
    listDeadLetterSourceQueues: (r) =>
      call("ListDeadLetterSourceQueues", { ...r } as Sdk.ListDeadLetterSourceQueuesCommandInput, (i, o) =>
        client.send(new Sdk.ListDeadLetterSourceQueuesCommand(i), o)
      ),
    listQueueTags: (r) =>
      call("ListQueueTags", { ...r } as Sdk.ListQueueTagsCommandInput, (i, o) =>
        client.send(new Sdk.ListQueueTagsCommand(i), o)
      ),
    tagQueue: (r) =>
      call("TagQueue", { ...r } as Sdk.TagQueueCommandInput, (i, o) => client.send(new Sdk.TagQueueCommand(i), o)),
    untagQueue: (r) =>
      call("UntagQueue", { ...r } as Sdk.UntagQueueCommandInput, (i, o) =>
        client.send(new Sdk.UntagQueueCommand(i), o)
      ),
    startMessageMoveTask: (r) =>
      call("StartMessageMoveTask", { ...r } as Sdk.StartMessageMoveTaskCommandInput, (i, o) =>
        client.send(new Sdk.StartMessageMoveTaskCommand(i), o)
      ),
    cancelMessageMoveTask: (r) =>
      call("CancelMessageMoveTask", { ...r } as Sdk.CancelMessageMoveTaskCommandInput, (i, o) =>
        client.send(new Sdk.CancelMessageMoveTaskCommand(i), o)
      ),
    listMessageMoveTasks: (r) =>
      call("ListMessageMoveTasks", { ...r } as Sdk.ListMessageMoveTasksCommandInput, (i, o) =>
        client.send(new Sdk.ListMessageMoveTasksCommand(i), o)
      )
  }
}
