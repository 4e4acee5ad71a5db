/** The AWS SDK for JavaScript v3 behind `Api`. The only file that knows its classes. */
import * as Sdk from "@aws-sdk/client-sqs"
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type { SqsError } from "../SqsError.js"
import { unreadable } from "./answer.js"
import type { Api } from "./api.js"
import type { Echo } from "./checksums.js"
import * as Checksums from "./checksums.js"
import type { Deadlines } from "./deadlines.js"
import { fromThrown, noCredentialsYet, timedOut, unreadable as unreadableAnswer } from "./errors.js"
import { Abort, type Handler } from "./http.js"
import { isOfTime, type ServerClock, tolerated } from "./serverClock.js"
import * as Signature from "./signature.js"

export interface Settings {
  readonly region: string | undefined
  readonly endpoint: string | undefined
  readonly credentials: Sdk.SQSClientConfig["credentials"] | undefined
  readonly requestHandler: Handler
  readonly clock: ServerClock
}

/** One command on its way. */
interface Call {
  /** Ends its request. */
  abort(): void
  /** Ends its request, which had no answer in its time. */
  expire(): void
  /** Whether it was refused for the time that it was signed at, which is put right now. */
  clockCorrected(refusal: unknown): boolean
}

/** How calls go through a client. */
interface Way {
  /** Sends one command. `onSent` tells when there are credentials and the request goes out. */
  readonly send: <Input extends object, Output>(
    input: Input,
    send: (input: Input, options?: { readonly abortSignal: AbortSignal }) => Promise<Output>,
    onSent: () => void
  ) => { readonly answer: Promise<Output>; readonly call: Call }
  /** Whether bodies are held against their MD5s here, and not by the client. */
  readonly checksBodies: boolean
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

/** Name and version of the SDK and of what it runs on, as the SDK writes them, but once and not for each call. */
const userAgent = async ({ defaultUserAgentProvider, userAgentAppId }: Sdk.SQSClient["config"]): Promise<string> => {
  const [pairs, app] = await Promise.all([defaultUserAgentProvider(), userAgentAppId()])
  return [...pairs, ...(app === undefined ? [] : [[`app/${app}`] as const])]
    .map(([name, version]) => (version === undefined ? name : `${name}${name.includes("/") ? "#" : "/"}${version}`))
    .map((part) => part.replace(/[^!-~]/g, "-"))
    .join(" ")
}

type RequestSigner = Awaited<ReturnType<Sdk.SQSClient["config"]["signer"]>>

const dateOf = (clock: ServerClock): Date => DateTime.toDateUtc(DateTime.unsafeMake(clock.now()))

/** Signs the calls of SQS; one that looks otherwise (an endpoint with a path) is left to the SDK's signer. */
const signing = (config: Sdk.SQSClient["config"], clock: ServerClock, otherwise: RequestSigner): RequestSigner => {
  const sign = Signature.make()
  return {
    sign: async (request, options) => {
      const { method, path, query = {} } = request
      if (method !== "POST" || path !== "/" || Object.keys(query).length > 0) {
        // It reads the credentials first, which may take its time: the date would be of before.
        await config.credentials()
        return otherwise.sign(request, { ...options, signingDate: dateOf(clock) })
      }
      const [credentials, region] = await Promise.all([config.credentials(), options?.signingRegion ?? config.region()])
      sign(request, credentials, region, dateOf(clock))
      return request
    }
  }
}

/**
 * A client of our own. Each call is sent once, to the endpoint of its region (or the one given). What the SDK does anew
 * for each call and we have no use for is left out: a third of the CPU time of a call.
 */
export const makeClient = (settings: Settings): Sdk.SQSClient => {
  const client = withoutNotice(
    () =>
      new Sdk.SQSClient({
        ...(settings.region === undefined ? {} : { region: settings.region }),
        ...(settings.endpoint === undefined ? {} : { endpoint: settings.endpoint }),
        ...(settings.credentials === undefined ? {} : { credentials: settings.credentials }),
        maxAttempts: 1,
        cacheMiddleware: true,
        // Calls of one command share a context once the middleware is cached: the URL's host must not be kept there.
        useQueueUrlAsEndpoint: false,
        // Checked here instead.
        md5: false,
        requestHandler: settings.requestHandler
      })
  )
  const { config, middlewareStack } = client
  // The SDK makes a signer for each call. One does for all: it asks for the credentials each time.
  const makeSigner = config.signer
  let signer: RequestSigner | undefined
  config.signer = async (scheme) => {
    signer ??= signing(config, settings.clock, await makeSigner(scheme))
    return signer
  }
  // There is one attempt here and nothing to count. The middleware that signs stands where this one's name is.
  middlewareStack.remove("retryMiddleware")
  middlewareStack.add((next) => next, { name: "retryMiddleware", step: "finalizeRequest", priority: "high" })
  middlewareStack.remove("loggerMiddleware")
  middlewareStack.remove("queueUrlMiddleware")
  middlewareStack.remove("getUserAgentMiddleware")
  let agent: string | undefined
  middlewareStack.add(
    (next) => async (args) => {
      const { headers } = args.request as HttpRequest
      agent ??= await userAgent(config)
      headers["user-agent"] = agent
      return next(args)
    },
    { name: "millraceUserAgent", step: "build" }
  )
  return client
}

type HttpRequest = Parameters<Handler["handle"]>[0]

/** When a request says that it was signed. */
const signedAt = ({ headers }: HttpRequest): number => {
  const date = headers["x-amz-date"] ?? headers["X-Amz-Date"] ?? ""
  return Date.parse(date.replace(/^(....)(..)(..)T(..)(..)(..)Z$/, "$1-$2-$3T$4:$5:$6Z"))
}

/** What throws at once rejects. */
const promised = <A>(run: () => Promise<A>): Promise<A> => {
  try {
    return run()
  } catch (cause) {
    return Promise.reject(cause)
  }
}

/** A call of `ofOurs`. */
class Outgoing extends Abort implements Call {
  readonly #handler: Handler
  readonly onSent: () => void
  /** As the signer's clock learned from its answer. */
  corrected = false

  constructor(handler: Handler, onSent: () => void) {
    super()
    this.#handler = handler
    this.onSent = onSent
  }

  expire(): void {
    this.abort()
    this.#handler.dropIdle()
  }

  clockCorrected(): boolean {
    return this.corrected
  }
}

/**
 * For a client of `makeClient`, made with the same settings. The SDK uses its cached middleware only for calls without
 * options, and drops the cache at each call that has some; an abort signal is an option. So it goes another way: beside
 * the input, to a last middleware that hands it to the request handler.
 */
export const ofOurs = (client: Sdk.SQSClient, { clock, requestHandler }: Settings): Way => {
  const calls = new WeakMap<object, Outgoing>()
  client.middlewareStack.add(
    (next) => (args) => {
      const call = calls.get(args.input)
      if (call === undefined) return next(args)
      const request = args.request as HttpRequest
      call.onSent()
      return requestHandler.handle(request, { abortSignal: call }).then(({ response }) => {
        const problem = unreadable(response)
        if (problem !== undefined) throw problem
        if (response.statusCode >= 400) call.corrected = clock.learn(response, signedAt(request))
        return { response, output: { $metadata: {} } }
      })
    },
    { step: "deserialize", priority: "low", name: "millraceAbort", override: true }
  )
  return {
    send: (input, send, onSent) => {
      const call = new Outgoing(requestHandler, onSent)
      calls.set(input, call)
      return { answer: promised(() => send(input)), call }
    },
    checksBodies: true
  }
}

/**
 * For a client that is not ours to change. It is asked for its credentials, which it keeps, before each call; its clock it
 * puts right by itself, and says so only where it is off then.
 */
export const ofAnother = (client: Sdk.SQSClient): Way => {
  const ready = async () => {
    try {
      await client.config.credentials()
    } catch {
      // The call says so too, if it needs any.
    }
  }
  return {
    send: (input, send, onSent) => {
      const controller = new AbortController()
      const abort = () => controller.abort()
      let offset = 0
      const clockCorrected = (refusal: unknown) =>
        isOfTime(String(Reflect.get(Object(refusal), "name"))) &&
        Math.abs(client.config.systemClockOffset - offset) > tolerated
      const answer = ready().then(() => {
        offset = client.config.systemClockOffset
        onSent()
        return send(input, { abortSignal: controller.signal })
      })
      return { answer, call: { abort, expire: abort, clockCorrected } }
    },
    checksBodies: false
  }
}

/** SQS waits as the queue says where a receive does not: up to 20 seconds. */
const longestWait = 20

/** How long the source of credentials may take, in milliseconds: a sign-on, or another process. */
const credentialsWithin = 60_000

const echoesOfBatch = (
  { Entries = [] }: Sdk.SendMessageBatchCommandInput,
  { Successful = [] }: Sdk.SendMessageBatchCommandOutput
): ReadonlyArray<Echo> => {
  const bodies = new Map(Entries.map(({ Id, MessageBody }) => [Id, MessageBody]))
  return Successful.filter(({ Id }) => bodies.has(Id)).map((sent) => [
    sent.MessageId,
    bodies.get(sent.Id),
    sent.MD5OfMessageBody
  ])
}

export const api = (
  client: Sdk.SQSClient,
  { checksBodies, send }: Way,
  deadlines: Deadlines,
  timeout: Duration.Duration
): Api<SqsError> => {
  const timeoutMillis = Duration.toMillis(timeout)
  const check = Checksums.make()
  const call = <Input extends object, Output>(
    operation: string,
    input: Input,
    run: (input: Input, options?: { readonly abortSignal: AbortSignal }) => Promise<Output>,
    {
      echoes,
      waitSeconds = 0
    }: { readonly echoes?: (output: Output) => ReadonlyArray<Echo>; readonly waitSeconds?: number } = {}
  ): Effect.Effect<Output, SqsError> => {
    const millis = waitSeconds * 1000 + timeoutMillis
    const failed = fromThrown(operation)
    // Nothing throws in a callback of the promise: such a call would never end.
    const read = (output: Output): Effect.Effect<Output, SqsError> => {
      if (echoes === undefined || !checksBodies) return Effect.succeed(output)
      try {
        return Effect.mapBoth(check(echoes(output)), { onSuccess: () => output, onFailure: failed })
      } catch (cause) {
        return Effect.fail(unreadableAnswer(operation, "it is not of the form that it should have", cause))
      }
    }
    const attempt = (again: boolean): Effect.Effect<Output, SqsError> =>
      Effect.async((resume) => {
        // A source of credentials has a time of its own.
        let answered = deadlines(credentialsWithin, () => {
          resume(Effect.fail(noCredentialsYet(operation, credentialsWithin)))
          call.abort()
        })
        const { answer, call } = send(input, run, () => {
          answered()
          answered = deadlines(millis, () => {
            resume(Effect.fail(timedOut(operation, millis)))
            call.expire()
          })
        })
        answer.then(
          (output) => {
            answered()
            resume(read(output))
          },
          (cause) => {
            answered()
            resume(again && call.clockCorrected(cause) ? attempt(false) : Effect.fail(failed(cause)))
          }
        )
        return Effect.sync(() => {
          answered()
          call.abort()
        })
      })
    return attempt(true)
  }
  // A copy each: `ofOurs` knows a call by its input. The SDK's inputs only name our types otherwise (mutable arrays,
  // enums of strings).
  return {
    sendMessage: (r) =>
      call(
        "SendMessage",
        { ...r } as Sdk.SendMessageCommandInput,
        (i, o) => client.send(new Sdk.SendMessageCommand(i), o),
        { echoes: (sent) => [[sent.MessageId, r.MessageBody, sent.MD5OfMessageBody]] }
      ),
    sendMessageBatch: (r) => {
      const input = { ...r } as Sdk.SendMessageBatchCommandInput
      return call("SendMessageBatch", input, (i, o) => client.send(new Sdk.SendMessageBatchCommand(i), o), {
        echoes: (sent) => echoesOfBatch(input, sent)
      })
    },
    receiveMessage: (r) =>
      call(
        "ReceiveMessage",
        { ...r } as Sdk.ReceiveMessageCommandInput,
        (i, o) => client.send(new Sdk.ReceiveMessageCommand(i), o),
        {
          waitSeconds: r.WaitTimeSeconds ?? longestWait,
          echoes: ({ Messages = [] }) => Messages.map(({ Body, MD5OfBody, MessageId }) => [MessageId, Body, MD5OfBody])
        }
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
