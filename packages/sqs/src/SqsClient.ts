/**
 * The SQS operations that Millrace uses, as Effects over plain data. No SDK class appears here, so that a leaner
 * client, the emulator or a test double can stand in.
 *
 * @see https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_Operations.html
 */
import type { SQSClient } from "@aws-sdk/client-sqs"
import * as InvalidOptions from "@millrace/core/InvalidOptions"
import type { Connections } from "@millrace/core/LeaseQueue"
import * as Config from "effect/Config"
import type { ConfigError } from "effect/ConfigError"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import type * as Redacted from "effect/Redacted"
import { type Api, service } from "./internal/api.js"
import * as Calls from "./internal/calls.js"
import { plain } from "./internal/credentials.js"
import * as Deadlines from "./internal/deadlines.js"
import { fromThrown, timedOut } from "./internal/errors.js"
import * as Http from "./internal/http.js"
import * as Operations from "./internal/operations.js"
import * as sdk from "./internal/sdk.js"
import { ServerClock } from "./internal/serverClock.js"
import { Scout } from "./internal/wire/route.js"
import * as Wire from "./internal/wire/wire.js"
import type { SqsError } from "./SqsError.js"

/** A message attribute as AWS writes it: `String`, `Number` or `Binary`, with an optional label (`Number.int`). */
export interface MessageAttribute {
  readonly DataType: string
  readonly StringValue?: string | undefined
  readonly BinaryValue?: Uint8Array | undefined
}
export type MessageAttributes = Readonly<Record<string, MessageAttribute>>

/** What can be sent, with names as in the API. */
export interface SendFields {
  readonly MessageBody: string
  readonly DelaySeconds?: number | undefined
  readonly MessageAttributes?: MessageAttributes | undefined
  /** Only `AWSTraceHeader` today. */
  readonly MessageSystemAttributes?: MessageAttributes | undefined
  readonly MessageGroupId?: string | undefined
  readonly MessageDeduplicationId?: string | undefined
}
export interface SendMessageRequest extends SendFields {
  readonly QueueUrl: string
}
export interface SendMessageResult {
  readonly MessageId: string
  readonly MD5OfMessageBody: string
  readonly MD5OfMessageAttributes?: string | undefined
  readonly MD5OfMessageSystemAttributes?: string | undefined
  readonly SequenceNumber?: string | undefined
}
export interface ReceiveMessageRequest {
  readonly QueueUrl: string
  readonly MaxNumberOfMessages?: number | undefined
  readonly WaitTimeSeconds?: number | undefined
  readonly VisibilityTimeout?: number | undefined
  readonly MessageSystemAttributeNames?: ReadonlyArray<string> | undefined
  /** The older name of `MessageSystemAttributeNames`; SQS answers with the union. */
  readonly AttributeNames?: ReadonlyArray<string> | undefined
  readonly MessageAttributeNames?: ReadonlyArray<string> | undefined
  readonly ReceiveRequestAttemptId?: string | undefined
}
export interface ReceivedMessage {
  readonly MessageId: string
  readonly ReceiptHandle: string
  readonly Body: string
  readonly MD5OfBody: string
  readonly Attributes?: Readonly<Record<string, string>> | undefined
  readonly MessageAttributes?: MessageAttributes | undefined
  readonly MD5OfMessageAttributes?: string | undefined
}
export interface BatchRequest<Entry> {
  readonly QueueUrl: string
  readonly Entries: ReadonlyArray<Entry & { readonly Id: string }>
}
export interface BatchFailure {
  readonly Id: string
  readonly Code: string
  readonly SenderFault: boolean
  readonly Message?: string | undefined
}
/** Both lists are always there; every entry is in one of them. */
export interface BatchResult<Success> {
  readonly Successful: ReadonlyArray<Success & { readonly Id: string }>
  readonly Failed: ReadonlyArray<BatchFailure>
}
export interface ReceiptEntry {
  readonly ReceiptHandle: string
}
export interface VisibilityEntry extends ReceiptEntry {
  /** In whole seconds, 0 to 43,200. */
  readonly VisibilityTimeout: number
}
export interface Page {
  readonly MaxResults?: number | undefined
  readonly NextToken?: string | undefined
}
export interface QueuePage {
  readonly QueueUrls: ReadonlyArray<string>
  readonly NextToken?: string | undefined
}
export interface MoveTask {
  /** Only while it runs. */
  readonly TaskHandle?: string | undefined
  readonly Status: string
  readonly SourceArn: string
  readonly DestinationArn?: string | undefined
  readonly MaxNumberOfMessagesPerSecond?: number | undefined
  readonly ApproximateNumberOfMessagesMoved: number
  readonly ApproximateNumberOfMessagesToMove?: number | undefined
  readonly FailureReason?: string | undefined
  readonly StartedTimestamp: number
}

/** Interrupting an operation aborts its request. None of them retries by itself. */
export interface Service {
  /** Connections in use, and calls that wait for one: known of a client of `layer` or `layerConfig`. */
  readonly connections?: Effect.Effect<Connections> | undefined
  readonly sendMessage: (request: SendMessageRequest) => Effect.Effect<SendMessageResult, SqsError>
  readonly sendMessageBatch: (
    request: BatchRequest<SendFields>
  ) => Effect.Effect<BatchResult<SendMessageResult>, SqsError>
  /**
   * `stop` completes when the caller wants no more: a client that can end a long poll without leasing to nobody (the
   * emulator in process) answers then with none; one whose request is on the wire takes no notice.
   */
  readonly receiveMessage: (
    request: ReceiveMessageRequest,
    options?: { readonly stop?: Effect.Effect<void> | undefined }
  ) => Effect.Effect<ReadonlyArray<ReceivedMessage>, SqsError>
  readonly deleteMessageBatch: (request: BatchRequest<ReceiptEntry>) => Effect.Effect<BatchResult<unknown>, SqsError>
  readonly changeMessageVisibilityBatch: (
    request: BatchRequest<VisibilityEntry>
  ) => Effect.Effect<BatchResult<unknown>, SqsError>
  /** The queue's URL. */
  readonly getQueueUrl: (request: {
    readonly QueueName: string
    readonly QueueOwnerAWSAccountId?: string | undefined
  }) => Effect.Effect<string, SqsError>
  readonly getQueueAttributes: (request: {
    readonly QueueUrl: string
    readonly AttributeNames: ReadonlyArray<string>
  }) => Effect.Effect<Readonly<Record<string, string>>, SqsError>
  readonly setQueueAttributes: (request: {
    readonly QueueUrl: string
    readonly Attributes: Readonly<Record<string, string>>
  }) => Effect.Effect<void, SqsError>
  /** The new queue's URL, or the present one's where it exists with the same attributes. */
  readonly createQueue: (request: {
    readonly QueueName: string
    readonly Attributes?: Readonly<Record<string, string>> | undefined
    readonly tags?: Readonly<Record<string, string>> | undefined
  }) => Effect.Effect<string, SqsError>
  readonly deleteQueue: (request: { readonly QueueUrl: string }) => Effect.Effect<void, SqsError>
  readonly purgeQueue: (request: { readonly QueueUrl: string }) => Effect.Effect<void, SqsError>
  readonly listQueues: (
    request: Page & { readonly QueueNamePrefix?: string | undefined }
  ) => Effect.Effect<QueuePage, SqsError>
  readonly listDeadLetterSourceQueues: (
    request: Page & { readonly QueueUrl: string }
  ) => Effect.Effect<QueuePage, SqsError>
  readonly listQueueTags: (request: {
    readonly QueueUrl: string
  }) => Effect.Effect<Readonly<Record<string, string>>, SqsError>
  readonly tagQueue: (request: {
    readonly QueueUrl: string
    readonly Tags: Readonly<Record<string, string>>
  }) => Effect.Effect<void, SqsError>
  readonly untagQueue: (request: {
    readonly QueueUrl: string
    readonly TagKeys: ReadonlyArray<string>
  }) => Effect.Effect<void, SqsError>
  /** The task's handle. */
  readonly startMessageMoveTask: (request: {
    readonly SourceArn: string
    readonly DestinationArn?: string | undefined
    readonly MaxNumberOfMessagesPerSecond?: number | undefined
  }) => Effect.Effect<string, SqsError>
  /** How many messages had been moved. */
  readonly cancelMessageMoveTask: (request: { readonly TaskHandle: string }) => Effect.Effect<number, SqsError>
  readonly listMessageMoveTasks: (request: {
    readonly SourceArn: string
    readonly MaxResults?: number | undefined
  }) => Effect.Effect<ReadonlyArray<MoveTask>, SqsError>
}

export class SqsClient extends Context.Tag("@millrace/sqs/SqsClient")<SqsClient, Service>() {}

export interface Credentials {
  readonly accessKeyId: string
  readonly secretAccessKey: Redacted.Redacted
  readonly sessionToken?: Redacted.Redacted | undefined
}

/** What may stand where credentials belong. */
export const credentialsCheck: InvalidOptions.Check = InvalidOptions.fields<Credentials>({
  accessKeyId: InvalidOptions.required(InvalidOptions.text),
  secretAccessKey: InvalidOptions.required(InvalidOptions.redacted),
  sessionToken: InvalidOptions.redacted
})

export interface TimeoutOptions {
  /**
   * How long a call may go without an answer, beyond what a receive waits for messages; then it is aborted and fails
   * with `TransportError`. Default: 5 seconds.
   */
  readonly timeout?: Duration.DurationInput | undefined
}

export interface Options extends TimeoutOptions {
  /** Default: `AWS_REGION`, else the profile's region. */
  readonly region?: string | undefined
  /**
   * Where to send the calls, e.g. `http://localhost:4566`. Default: AWS in that region. A queue's URL only names the
   * queue, its host is not called.
   */
  readonly endpoint?: string | undefined
  /** Default: the SDK's credential chain (environment, profile, SSO, web identity, container, instance). */
  readonly credentials?: Credentials | undefined
  /**
   * The most connections that are open at a time. A long poll keeps one for as long as it waits, so give at least the
   * number of pollers and of settlements in the air. Default: 256.
   */
  readonly maxSockets?: number | undefined
}

const timeoutChecks: InvalidOptions.Checks<TimeoutOptions> = {
  timeout: InvalidOptions.time({ min: "1 millis", max: "1 day" })
}

/** What each option may be. */
export const checks: InvalidOptions.Checks<Options> = {
  ...timeoutChecks,
  region: InvalidOptions.text,
  endpoint: InvalidOptions.url,
  credentials: credentialsCheck,
  maxSockets: InvalidOptions.aWholeNumber({ min: 1 })
}

const invalid = (option: string, message: string) =>
  new InvalidOptions.InvalidOptions({ option, message: `${option} ${message}` })

const timeoutOf = ({ timeout = "5 seconds" }: TimeoutOptions): Effect.Effect<Duration.Duration> =>
  Effect.as(InvalidOptions.warnOfBareNumbers({ timeout }), Duration.decode(timeout))

const make = Effect.fnUntraced(function* (options: Options) {
  yield* InvalidOptions.check("SqsClient", options, checks)
  const timeout = yield* timeoutOf(options)
  const { credentials, endpoint, maxSockets = 256 } = options
  const clock = yield* Effect.clock
  const handler = Http.make(maxSockets)
  const scout = new Scout()
  const client = yield* Effect.acquireRelease(
    Effect.sync(() =>
      sdk.finder({ region: options.region, endpoint, credentials: credentials && plain(credentials) }, scout)
    ),
    (client) =>
      Effect.sync(() => {
        client.destroy()
        handler.destroy()
      })
  )
  yield* Effect.tryPromise({
    try: () => client.config.region(),
    catch: () =>
      options.region === undefined
        ? invalid("region", "is not given: write `region`, set AWS_REGION, or put it in the profile")
        : invalid("region", `is "${options.region}"; write one such as "us-east-1"`)
  })
  const transport = Wire.make({
    client,
    route: () => scout.route(client),
    handler,
    clock: new ServerClock(() => clock.unsafeCurrentTimeMillis())
  })
  return {
    ...service(Operations.api(Calls.make(transport, yield* Deadlines.make, timeout))),
    connections: Effect.sync(handler.connections)
  }
})

/**
 * A client of its own, destroyed with the layer's scope. It speaks SQS's protocol itself, over connections that it keeps;
 * `@aws-sdk/client-sqs` finds region, credentials and endpoint for it. It sends each call once: retrying
 * is the caller's, who knows what to do meanwhile. Options that cannot be, and a region that nobody named, fail with
 * `InvalidOptions` when the layer is built.
 */
export const layer = (options: Options = {}): Layer.Layer<SqsClient, InvalidOptions.InvalidOptions> =>
  Layer.scoped(SqsClient, make(options))

/** The first that is set; empty is how a shell or an .env file says "not set". */
const firstSet = (...names: ReadonlyArray<string>) =>
  Config.map(Config.all(names.map((name) => Config.option(Config.string(name)))), (values) =>
    values.map(Option.getOrUndefined).find((value) => value !== undefined && value !== "")
  )

const configuredEndpoint = Config.map(
  Config.all([firstSet("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS"), firstSet("AWS_ENDPOINT_URL_SQS", "AWS_ENDPOINT_URL")]),
  ([ignore = "", endpoint]) => (/^true$/i.test(ignore) ? undefined : endpoint)
)

/**
 * `layer` with its options from `Config`. Without an argument it is configured as AWS's own tools are: the region
 * from `AWS_REGION` or `AWS_DEFAULT_REGION`, the endpoint from `AWS_ENDPOINT_URL_SQS` or `AWS_ENDPOINT_URL` where
 * set and not `AWS_IGNORE_CONFIGURED_ENDPOINT_URLS` too, the rest from the SDK's chain.
 */
export const layerConfig = (
  config: Config.Config.Wrap<Options> = {
    region: firstSet("AWS_REGION", "AWS_DEFAULT_REGION"),
    endpoint: configuredEndpoint
  }
): Layer.Layer<SqsClient, ConfigError | InvalidOptions.InvalidOptions> =>
  Layer.scoped(SqsClient, Effect.flatMap(Config.unwrap(config), make))

/**
 * Over an SDK client that exists, or that an Effect makes; whoever made it destroys it. Give it `maxAttempts: 1`, or
 * its retries hide throttling and outlast leases, and sockets enough: the SDK's default is 50.
 */
export const layerFrom = <E = never, R = never>(
  client: SQSClient | Effect.Effect<SQSClient, E, R>,
  options: TimeoutOptions = {}
): Layer.Layer<SqsClient, E | InvalidOptions.InvalidOptions, R> =>
  Layer.scoped(
    SqsClient,
    Effect.gen(function* () {
      yield* InvalidOptions.check("SqsClient.layerFrom", options, timeoutChecks)
      const timeout = yield* timeoutOf(options)
      const given = Effect.isEffect(client) ? yield* client : client
      return service(Operations.api(Calls.make(sdk.transport(given), yield* Deadlines.make, timeout)))
    })
  )

/** The operations of `SQSService` in @effect-aws/client-sqs that we use. */
export interface EffectAwsService extends Api<unknown> {}

/** The SDK says so of its own clock, which a refusal has put right: the call may go again. */
const clockCorrected = (refusal: unknown): boolean =>
  Reflect.get(Object(Reflect.get(Object(refusal), "$metadata")), "clockSkewCorrected") === true

/**
 * Over the service of @effect-aws/client-sqs:
 *
 * ```ts
 * Layer.effect(SqsClient.SqsClient, Effect.map(SQSService, SqsClient.fromEffectAws))
 * ```
 *
 * Give its layer `maxAttempts: 1`. A call that has no answer within 5 seconds, beyond what a receive waits, fails with
 * `TransportError`.
 */
export const fromEffectAws = (aws: EffectAwsService): Service => {
  const call = <A>(operation: string, effect: Effect.Effect<A, unknown>, waitSeconds = 0) => {
    const millis = 5000 + waitSeconds * 1000
    return effect.pipe(
      Effect.retry({ times: 1, while: clockCorrected }),
      Effect.mapError(fromThrown(operation)),
      Effect.timeoutFail({ duration: millis, onTimeout: () => timedOut(operation, millis) })
    )
  }
  return service({
    sendMessage: (r) => call("SendMessage", aws.sendMessage(r)),
    sendMessageBatch: (r) => call("SendMessageBatch", aws.sendMessageBatch(r)),
    receiveMessage: (r) => call("ReceiveMessage", aws.receiveMessage(r), r.WaitTimeSeconds ?? 20),
    deleteMessageBatch: (r) => call("DeleteMessageBatch", aws.deleteMessageBatch(r)),
    changeMessageVisibilityBatch: (r) => call("ChangeMessageVisibilityBatch", aws.changeMessageVisibilityBatch(r)),
    getQueueUrl: (r) => call("GetQueueUrl", aws.getQueueUrl(r)),
    getQueueAttributes: (r) => call("GetQueueAttributes", aws.getQueueAttributes(r)),
    setQueueAttributes: (r) => call("SetQueueAttributes", aws.setQueueAttributes(r)),
    createQueue: (r) => call("CreateQueue", aws.createQueue(r)),
    deleteQueue: (r) => call("DeleteQueue", aws.deleteQueue(r)),
    purgeQueue: (r) => call("PurgeQueue", aws.purgeQueue(r)),
    listQueues: (r) => call("ListQueues", aws.listQueues(r)),
    listDeadLetterSourceQueues: (r) => call("ListDeadLetterSourceQueues", aws.listDeadLetterSourceQueues(r)),
    listQueueTags: (r) => call("ListQueueTags", aws.listQueueTags(r)),
    tagQueue: (r) => call("TagQueue", aws.tagQueue(r)),
    untagQueue: (r) => call("UntagQueue", aws.untagQueue(r)),
    startMessageMoveTask: (r) => call("StartMessageMoveTask", aws.startMessageMoveTask(r)),
    cancelMessageMoveTask: (r) => call("CancelMessageMoveTask", aws.cancelMessageMoveTask(r)),
    listMessageMoveTasks: (r) => call("ListMessageMoveTasks", aws.listMessageMoveTasks(r))
  })
}
