/**
 * The SQS operations that Millrace uses, as Effects over plain data. No SDK class appears here, so that a leaner
 * client, the emulator or a test double can stand in.
 *
 * @see https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_Operations.html
 */
import type { SQSClient } from "@aws-sdk/client-sqs"
import * as InvalidOptions from "@millrace/core/InvalidOptions"
import * as Config from "effect/Config"
import type { ConfigError } from "effect/ConfigError"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import type { Api } from "./internal/client/api.js"
import * as Calls from "./internal/client/calls.js"
import { type Credentials, credentialsCheck, plain } from "./internal/client/credentials.js"
import * as Deadlines from "./internal/client/deadlines.js"
import { fromThrown, timedOut } from "./internal/client/errors.js"
import * as Operations from "./internal/client/operations.js"
import * as sdk from "./internal/client/sdk.js"
import { ServerClock } from "./internal/client/serverClock.js"
import type { Service } from "./internal/client/service.js"
import { SqsClient } from "./internal/client/tag.js"
import * as Clock from "./internal/effect/clock.js"
import { finder } from "./internal/wire/finder.js"
import * as Http from "./internal/wire/http.js"
import { Scout } from "./internal/wire/route.js"
import * as Wire from "./internal/wire/transport.js"

export { type Credentials, credentialsCheck } from "./internal/client/credentials.js"
export type * from "./internal/client/service.js"
export { SqsClient }

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

const proxyVariables = ["HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"]

/** Most programs have no proxy, and do not load what one takes. Fails where calls to the endpoint would go by none that can be. */
const proxiesFor = (endpoint: string): Effect.Effect<Http.Proxies | undefined, InvalidOptions.InvalidOptions> =>
  Effect.suspend(() => {
    if (proxyVariables.every((name) => (process.env[name] ?? "") === "")) return Effect.succeed(undefined)
    const option = endpoint.startsWith("https:") ? "HTTPS_PROXY" : "HTTP_PROXY"
    return Effect.flatMap(
      Effect.promise(() => import("./internal/wire/proxy.js")),
      ({ dispatcher, fits }) =>
        fits(endpoint)
          ? Effect.succeed(dispatcher)
          : invalid(option, "(or ALL_PROXY) names no HTTP proxy: write a URL such as http://proxy.example:3128")
    )
  })

/** Where the SDK sends calls that are given no endpoint, as far as the environment and the region tell. */
const foundEndpoint = (region: string): Effect.Effect<string> =>
  configuredEndpoint.pipe(
    Effect.withConfigProvider(ConfigProvider.fromEnv()),
    Effect.orElseSucceed(() => undefined),
    Effect.map((found) => found ?? `https://sqs.${region}.amazonaws.com${region.startsWith("cn-") ? ".cn" : ""}`)
  )

const make = Effect.fnUntraced(function* (options: Options) {
  yield* InvalidOptions.check("SqsClient", options, checks)
  const timeout = yield* timeoutOf(options)
  const { credentials, endpoint, maxSockets = 256 } = options
  const now = yield* Clock.now
  const scout = new Scout()
  const client = yield* Effect.acquireRelease(
    Effect.sync(() =>
      finder({ region: options.region, endpoint, credentials: credentials && plain(credentials) }, scout)
    ),
    (client) => Effect.sync(() => client.destroy())
  )
  const region = yield* Effect.tryPromise({
    try: () => client.config.region(),
    catch: () =>
      options.region === undefined
        ? invalid("region", "is not given: write `region`, set AWS_REGION, or put it in the profile")
        : invalid("region", `is "${options.region}"; write one such as "us-east-1"`)
  })
  const proxies = yield* proxiesFor(endpoint ?? (yield* foundEndpoint(region)))
  const handler = yield* Effect.acquireRelease(
    Effect.sync(() => Http.make(maxSockets, proxies)),
    ({ destroy }) => Effect.sync(destroy)
  )
  const transport = Wire.make({
    client,
    route: () => scout.route(client),
    handler,
    clock: new ServerClock(now),
    now
  })
  return {
    ...Operations.service(Calls.make(transport, yield* Deadlines.make, timeout)),
    connections: Effect.sync(handler.connections)
  }
})

/**
 * A client of its own, destroyed with the layer's scope. It speaks SQS's protocol itself, over connections that it keeps;
 * `@aws-sdk/client-sqs` finds region, credentials and endpoint for it. `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY` are
 * followed as by the AWS CLI. It sends each call once: retrying is the caller's, who knows what to do meanwhile. Options that cannot be, and a region that nobody named, fail with
 * `InvalidOptions` when the layer is built.
 */
export const layer = (options: Options = {}): Layer.Layer<SqsClient, InvalidOptions.InvalidOptions> =>
  Layer.scoped(SqsClient, make(options))

/** The first that is set; empty is how a shell or an .env file says "not set". */
const firstSet = (...names: ReadonlyArray<string>) =>
  Config.map(Config.all(names.map((name) => Config.option(Config.string(name)))), (values) =>
    values.map(Option.getOrUndefined).find((value) => value !== undefined && value !== "")
  )

/** As AWS's own tools find the region: `AWS_REGION`, else `AWS_DEFAULT_REGION`. */
export const configuredRegion: Config.Config<string | undefined> = /* @__PURE__ */ firstSet(
  "AWS_REGION",
  "AWS_DEFAULT_REGION"
)

/**
 * As AWS's own tools find the endpoint: `AWS_ENDPOINT_URL_SQS`, else `AWS_ENDPOINT_URL`; neither where
 * `AWS_IGNORE_CONFIGURED_ENDPOINT_URLS` is `true`.
 */
export const configuredEndpoint: Config.Config<string | undefined> = Config.map(
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
    region: configuredRegion,
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
      return Operations.service(Calls.make(sdk.transport(given, yield* Clock.now), yield* Deadlines.make, timeout))
    })
  )

/** The operations of `SQSService` in @effect-aws/client-sqs that we use. */
export interface EffectAwsService extends Api<unknown> {}

/** The SDK says so of its own clock, which a refusal has put right: the call may go again. */
const clockCorrected = (refusal: unknown): boolean => {
  try {
    return Reflect.get(Object(Reflect.get(Object(refusal), "$metadata")), "clockSkewCorrected") === true
  } catch {
    // It throws when it is looked at.
    return false
  }
}

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
export const fromEffectAws = (aws: EffectAwsService): Service =>
  Operations.service(
    <Output>(
      operation: Operations.Operation,
      input: Operations.Input,
      { waitSeconds = 0 }: Operations.Options<Output> = {}
    ) => {
      const millis = 5000 + waitSeconds * 1000
      return answerOf<Output>(aws, operation, input).pipe(
        Effect.retry({ times: 1, while: clockCorrected }),
        Effect.mapError(fromThrown(operation)),
        Effect.timeoutFail({ duration: millis, onTimeout: () => timedOut(operation, millis) })
      )
    }
  )

/** Its methods are called as the operations are, but for the first letter; their types say so of each by itself. */
const answerOf = <Output>(aws: EffectAwsService, operation: Operations.Operation, input: Operations.Input) => {
  const method = `${operation.charAt(0).toLowerCase()}${operation.slice(1)}` as Uncapitalize<Operations.Operation>
  return aws[method](input as never) as Effect.Effect<Output, unknown>
}
