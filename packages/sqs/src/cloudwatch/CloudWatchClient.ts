/**
 * The CloudWatch operations that Millrace uses, as Effects over plain data. No SDK class appears in the service, so that a
 * test double can stand in. Importing this module needs `@aws-sdk/client-cloudwatch`.
 *
 * @see https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_Operations.html
 */
import * as Sdk from "@aws-sdk/client-cloudwatch"
import * as InvalidOptions from "@millrace/core/InvalidOptions"
import type { ErrorKind } from "@millrace/core/LeaseQueue"
import * as Context from "effect/Context"
import * as Data from "effect/Data"
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { credentialsCheck, plain } from "../internal/client/credentials.js"
import type { Credentials } from "../SqsClient.js"

/** A CloudWatch call failed. */
export class CloudWatchError extends Data.TaggedError("CloudWatchError")<{
  /** The operation that failed, e.g. `PutMetricData`. */
  readonly operation: string
  /** AWS's name, such as `AccessDenied`; `TransportError` where there was no answer. */
  readonly code: string
  /** Whether to call less often, to call again, or to change something first. */
  readonly kind: ErrorKind
  readonly message: string
  readonly cause?: unknown
}> {}

export interface Dimension {
  readonly Name: string
  readonly Value: string
}
/** One value, or many with how often each was seen: at most 150 of them. */
export interface MetricDatum {
  readonly MetricName: string
  readonly Dimensions: ReadonlyArray<Dimension>
  /** In milliseconds since the epoch. */
  readonly Timestamp: number
  readonly Unit: Unit
  readonly Value?: number | undefined
  readonly Values?: ReadonlyArray<number> | undefined
  readonly Counts?: ReadonlyArray<number> | undefined
}
export type Unit = "Count" | "Percent" | "Milliseconds" | "Seconds" | "Count/Second"

export interface Metric {
  readonly Namespace: string
  readonly MetricName: string
  readonly Dimensions: ReadonlyArray<Dimension>
}
/** A series of an alarm by metric math: a metric, or an expression of others. */
export interface MetricDataQuery {
  readonly Id: string
  readonly Expression?: string | undefined
  readonly Label?: string | undefined
  readonly ReturnData: boolean
  readonly MetricStat?:
    | { readonly Metric: Metric; readonly Period: number; readonly Stat: "Sum" | "Average" | "Maximum" }
    | undefined
}
/** An alarm: on one metric, or by metric math (`Metrics`). */
export interface MetricAlarm extends Partial<Metric> {
  readonly AlarmName: string
  readonly AlarmDescription: string
  readonly ActionsEnabled: boolean
  readonly AlarmActions: ReadonlyArray<string>
  readonly OKActions: ReadonlyArray<string>
  readonly Statistic?: "Sum" | "Average" | "Maximum" | undefined
  /** In seconds. */
  readonly Period?: number | undefined
  readonly Metrics?: ReadonlyArray<MetricDataQuery> | undefined
  readonly EvaluationPeriods: number
  readonly DatapointsToAlarm: number
  readonly Threshold: number
  readonly ComparisonOperator: "GreaterThanThreshold" | "GreaterThanOrEqualToThreshold"
  readonly TreatMissingData: "notBreaching" | "breaching" | "ignore" | "missing"
}

/** Interrupting an operation aborts its request. None of them retries by itself. */
export interface Service {
  /** At most 1,000 data, and 1 MB. */
  readonly putMetricData: (request: {
    readonly Namespace: string
    readonly MetricData: ReadonlyArray<MetricDatum>
  }) => Effect.Effect<void, CloudWatchError>
  /** Replaces an alarm of the same name, all of it. */
  readonly putMetricAlarm: (alarm: MetricAlarm) => Effect.Effect<void, CloudWatchError>
  /** Those of these metric alarms that exist, with what the service says of each, by the names above. At most 100 names. */
  readonly describeAlarms: (request: {
    readonly AlarmNames: ReadonlyArray<string>
  }) => Effect.Effect<ReadonlyArray<Readonly<Record<string, unknown>>>, CloudWatchError>
  /** The maximum of each period in which anything was measured. Times in milliseconds since the epoch, `Period` in seconds. */
  readonly getMaximums: (
    request: Metric & { readonly StartTime: number; readonly EndTime: number; readonly Period: number }
  ) => Effect.Effect<ReadonlyArray<{ readonly at: number; readonly maximum: number }>, CloudWatchError>
}

export class CloudWatchClient extends Context.Tag("@millrace/sqs/CloudWatchClient")<CloudWatchClient, Service>() {}

export interface Options {
  /** Default: `AWS_REGION`, else the profile's region. */
  readonly region?: string | undefined
  /** Default: CloudWatch in that region. */
  readonly endpoint?: string | undefined
  /** Default: the SDK's credential chain. */
  readonly credentials?: Credentials | undefined
  /** How long a call may go without an answer. Default 5 seconds. */
  readonly timeout?: Duration.DurationInput | undefined
}

const throttled = /^(Throttl|TooManyRequests|RequestLimitExceeded|LimitExceeded|SlowDown|BandwidthLimit)/
const field = (value: unknown, name: string): unknown =>
  typeof value === "object" && value !== null && name in value ? Reflect.get(value, name) : undefined

const fromThrown =
  (operation: string) =>
  (cause: unknown): CloudWatchError => {
    const status = field(field(cause, "$metadata"), "httpStatusCode")
    const name = String(field(cause, "name") ?? "Unknown").replace(/Exception$/, "")
    const said = String(field(cause, "message") ?? "")
    const credentials = /CredentialsProvider|TokenProvider/.test(name)
    const answered = typeof status === "number" || field(cause, "$fault") !== undefined
    const code = answered || credentials ? name : "TransportError"
    const kind: ErrorKind =
      throttled.test(name) || status === 429
        ? "throttled"
        : !credentials && (!answered || (typeof status === "number" && status >= 500))
          ? "transient"
          : "fatal"
    const hint = /^(AccessDenied|NotAuthorized|UnauthorizedOperation)/.test(name)
      ? ` Allow cloudwatch:${operation} in the caller's IAM policy.`
      : code === "TransportError"
        ? " Check the network, the region and the endpoint."
        : ""
    return new CloudWatchError({ operation, code, kind, cause, message: `${operation}: ${said || name}.${hint}` })
  }

const checks: InvalidOptions.Checks<Options> = {
  region: InvalidOptions.text,
  endpoint: InvalidOptions.url,
  credentials: credentialsCheck,
  timeout: InvalidOptions.time({ min: "1 millis", max: "1 hour" })
}

const dateOf = (millis: number) => DateTime.toDateUtc(DateTime.unsafeMake(millis))

/** What the SDK takes is mutable, and knows no `undefined`. */
const dimensionsOf = (dimensions: ReadonlyArray<Dimension> | undefined): Array<Sdk.Dimension> =>
  (dimensions ?? []).map(({ Name, Value }) => ({ Name, Value }))

const datumOf = ({ Counts, Dimensions, Timestamp, Value, Values, ...rest }: MetricDatum): Sdk.MetricDatum => ({
  ...rest,
  Dimensions: dimensionsOf(Dimensions),
  Timestamp: dateOf(Timestamp),
  ...(Value === undefined ? {} : { Value }),
  ...(Values === undefined ? {} : { Values: [...Values] }),
  ...(Counts === undefined ? {} : { Counts: [...Counts] })
})

const alarmInput = (alarm: MetricAlarm): Sdk.PutMetricAlarmCommandInput => {
  const { AlarmActions, Dimensions, Metrics, MetricName, Namespace, OKActions, Period, Statistic, ...rest } = alarm
  return {
    ...rest,
    AlarmActions: [...AlarmActions],
    OKActions: [...OKActions],
    ...(Metrics === undefined
      ? { Namespace, MetricName, Statistic, Period, Dimensions: dimensionsOf(Dimensions) }
      : {
          Metrics: Metrics.map(({ Expression, Id, Label, MetricStat, ReturnData }) => ({
            Id,
            ReturnData,
            ...(Label === undefined ? {} : { Label }),
            ...(Expression === undefined ? {} : { Expression }),
            ...(MetricStat === undefined
              ? {}
              : {
                  MetricStat: {
                    Period: MetricStat.Period,
                    Stat: MetricStat.Stat,
                    Metric: { ...MetricStat.Metric, Dimensions: dimensionsOf(MetricStat.Metric.Dimensions) }
                  }
                })
          }))
        })
  }
}

const text = (value: string | undefined) => value ?? ""
const dimensionsFrom = (dimensions: ReadonlyArray<Sdk.Dimension> | undefined): ReadonlyArray<Dimension> =>
  (dimensions ?? []).map(({ Name, Value }) => ({ Name: text(Name), Value: text(Value) }))

/** As it is: what other tools have set, and we never do, compares as different. */
const alarmFrom = (alarm: Sdk.MetricAlarm): Readonly<Record<string, unknown>> => ({
  ...alarm,
  Dimensions: dimensionsFrom(alarm.Dimensions),
  Metrics: alarm.Metrics?.map((query) => ({
    ...query,
    MetricStat: query.MetricStat && {
      ...query.MetricStat,
      Metric: { ...query.MetricStat.Metric, Dimensions: dimensionsFrom(query.MetricStat.Metric?.Dimensions) }
    }
  }))
})

const service = (client: Sdk.CloudWatchClient, timeout: Duration.Duration): Service => {
  const call = <A>(
    operation: string,
    send: (abortSignal: AbortSignal) => Promise<A>
  ): Effect.Effect<A, CloudWatchError> =>
    Effect.tryPromise({ try: send, catch: fromThrown(operation) }).pipe(
      Effect.timeoutFail({
        duration: timeout,
        onTimeout: () =>
          new CloudWatchError({
            operation,
            code: "TransportError",
            kind: "transient",
            message: `${operation}: no answer in ${Duration.format(timeout)}. Check the network and the endpoint.`
          })
      })
    )
  return {
    putMetricData: ({ MetricData, Namespace }) =>
      Effect.asVoid(
        call("PutMetricData", (abortSignal) =>
          client.send(new Sdk.PutMetricDataCommand({ Namespace, MetricData: MetricData.map(datumOf) }), { abortSignal })
        )
      ),
    putMetricAlarm: (alarm) =>
      Effect.asVoid(
        call("PutMetricAlarm", (abortSignal) =>
          client.send(new Sdk.PutMetricAlarmCommand(alarmInput(alarm)), { abortSignal })
        )
      ),
    describeAlarms: ({ AlarmNames }) =>
      call("DescribeAlarms", (abortSignal) =>
        client.send(
          new Sdk.DescribeAlarmsCommand({ AlarmNames: [...AlarmNames], AlarmTypes: ["MetricAlarm"], MaxRecords: 100 }),
          { abortSignal }
        )
      ).pipe(Effect.map(({ MetricAlarms = [] }) => MetricAlarms.map(alarmFrom))),
    getMaximums: ({ Dimensions, EndTime, StartTime, ...rest }) =>
      call("GetMetricStatistics", (abortSignal) =>
        client.send(
          new Sdk.GetMetricStatisticsCommand({
            ...rest,
            Dimensions: dimensionsOf(Dimensions),
            StartTime: dateOf(StartTime),
            EndTime: dateOf(EndTime),
            Statistics: ["Maximum"]
          }),
          { abortSignal }
        )
      ).pipe(
        Effect.map(({ Datapoints = [] }) =>
          Datapoints.flatMap(({ Maximum, Timestamp }) =>
            Maximum === undefined || Timestamp === undefined ? [] : [{ at: Timestamp.getTime(), maximum: Maximum }]
          )
        )
      )
  }
}

/**
 * A client over `@aws-sdk/client-cloudwatch`, which is yours to install: `npm install @aws-sdk/client-cloudwatch`. It
 * sends each call once and is destroyed with the layer's scope. Fails with `InvalidOptions` where an option cannot work, or
 * nobody named a region.
 */
export const layer = (options: Options = {}): Layer.Layer<CloudWatchClient, InvalidOptions.InvalidOptions> =>
  Layer.scoped(
    CloudWatchClient,
    Effect.gen(function* () {
      yield* InvalidOptions.check("CloudWatchClient", options, checks)
      const { credentials, endpoint, region } = options
      yield* InvalidOptions.warnOfBareNumbers({ timeout: options.timeout })
      const timeout = Duration.decode(options.timeout ?? "5 seconds")
      const client = yield* Effect.acquireRelease(
        Effect.sync(
          () =>
            new Sdk.CloudWatchClient({
              ...(region === undefined ? {} : { region }),
              ...(endpoint === undefined ? {} : { endpoint }),
              ...(credentials && { credentials: plain(credentials) }),
              maxAttempts: 1
            })
        ),
        (made) => Effect.sync(() => made.destroy())
      )
      yield* Effect.tryPromise({
        try: () => client.config.region(),
        catch: () =>
          new InvalidOptions.InvalidOptions({
            option: "region",
            message: "region is not given, or cannot be one: write `region`, or set AWS_REGION"
          })
      })
      return service(client, timeout)
    })
  )

/** Over an SDK client that exists; whoever made it destroys it. Give it `maxAttempts: 1`, or its retries delay ours. */
export const layerFrom = (client: Sdk.CloudWatchClient): Layer.Layer<CloudWatchClient> =>
  Layer.succeed(CloudWatchClient, service(client, Duration.seconds(5)))
