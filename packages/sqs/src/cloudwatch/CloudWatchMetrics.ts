/**
 * A consumer's own metrics in CloudWatch: what SQS cannot know of it. By `PutMetricData`, or as lines of the embedded metric
 * format, which CloudWatch Logs makes metrics of (Lambda, ECS with awslogs, the CloudWatch agent); the layer decides.
 *
 * @see https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutMetricData.html
 * @see https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
 */
import type * as Backlog from "@millrace/core/Backlog"
import * as Figures from "@millrace/core/Figures"
import * as Histogram from "@millrace/core/Histogram"
import * as InvalidOptions from "@millrace/core/InvalidOptions"
import * as Console from "effect/Console"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import { CloudWatchClient, type CloudWatchError, type MetricDatum, type Unit } from "./CloudWatchClient.js"

/** One value of one interval, or a distribution. */
export interface Measured {
  readonly name: string
  readonly unit: Unit
  readonly value: number | Histogram.Histogram
}

/** All that one consumer measured in one interval. */
export interface Batch {
  readonly namespace: string
  readonly dimensions: Readonly<Record<string, string>>
  /** In milliseconds since the epoch. */
  readonly at: number
  readonly metrics: ReadonlyArray<Measured>
}

/** Where metrics go. What fails is kept and given again with the next batches, in order. */
export interface Service {
  /** How many of the batches have arrived, from the first; an error says why the rest has not. */
  readonly send: (
    batches: ReadonlyArray<Batch>
  ) => Effect.Effect<{ readonly sent: number; readonly error: CloudWatchError | undefined }>
}

export class Sink extends Context.Tag("@millrace/sqs/CloudWatchMetrics/Sink")<Sink, Service>() {}

/** Limits of PutMetricData. A datum is counted generously: the request is compressed, its limit is not of that size. */
const mostData = 1000
const mostBytes = 900_000
const mostValues = 150
/** Of an array in the embedded metric format. */
const mostEmbedded = 100

/** The values of a histogram with their counts, in so many buckets at most. */
const valuesOf = (histogram: Histogram.Histogram, most: number) => {
  let buckets = histogram.buckets.flatMap((count, bucket) =>
    count === 0 ? [] : [{ count, value: Histogram.middleOf(bucket) }]
  )
  while (buckets.length > most) {
    buckets = buckets.flatMap((one, i) => {
      const next = buckets[i + 1]
      if (i % 2 === 1) return []
      if (next === undefined) return [one]
      const count = one.count + next.count
      return [{ count, value: (one.value * one.count + next.value * next.count) / count }]
    })
  }
  return buckets
}

const dataOf = ({ at, dimensions, metrics }: Batch): ReadonlyArray<MetricDatum> =>
  metrics.flatMap(({ name, unit, value }): ReadonlyArray<MetricDatum> => {
    const common = {
      MetricName: name,
      Unit: unit,
      Timestamp: at,
      Dimensions: Object.entries(dimensions).map(([Name, Value]) => ({ Name, Value }))
    }
    if (typeof value === "number") return [{ ...common, Value: value }]
    const values = valuesOf(value, mostValues)
    return values.length === 0
      ? []
      : [{ ...common, Values: values.map((one) => one.value), Counts: values.map((one) => one.count) }]
  })

/**
 * By `PutMetricData`: one call for each 1,000 values (or 900 KB), so one an interval. Needs `cloudwatch:PutMetricData`.
 */
export const layerPutMetricData: Layer.Layer<Sink, never, CloudWatchClient> = Layer.effect(
  Sink,
  Effect.map(CloudWatchClient, (client): Service => {
    const put = (Namespace: string, MetricData: ReadonlyArray<MetricDatum>) =>
      client.putMetricData({ Namespace, MetricData })
    return {
      send: (batches) =>
        Effect.gen(function* () {
          let sent = 0
          while (sent < batches.length) {
            const namespace = batches[sent]?.namespace ?? ""
            const data: Array<MetricDatum> = []
            let bytes = 0
            let taken = sent
            for (; taken < batches.length; taken++) {
              const batch = batches[taken]
              if (batch === undefined || batch.namespace !== namespace) break
              const more = dataOf(batch)
              bytes += JSON.stringify(more).length
              if (data.length > 0 && (data.length + more.length > mostData || bytes > mostBytes)) break
              data.push(...more)
            }
            const failed = yield* Effect.match(data.length === 0 ? Effect.void : put(namespace, data), {
              onFailure: (error) => error,
              onSuccess: () => undefined
            })
            if (failed !== undefined) return { sent, error: failed }
            sent = taken
          }
          return { sent, error: undefined }
        })
    }
  })
)

interface Embedded {
  readonly name: string
  readonly unit: Unit
  readonly value: number | ReadonlyArray<number>
}

/** A line of the embedded metric format. */
const lineOf = ({ at, dimensions, metrics, namespace }: Batch): string => {
  const known = metrics.flatMap(({ name, unit, value }): ReadonlyArray<Embedded> => {
    if (typeof value === "number") return [{ name, unit, value }]
    // Of a distribution the format takes up to 100 values and no counts: as many that are spread alike.
    const count = Math.min(value.count, mostEmbedded)
    const values = Array.from({ length: count }, (_, i) => Histogram.quantile(value, (i + 0.5) / count) ?? 0)
    return count === 0 ? [] : [{ name, unit, value: values }]
  })
  return JSON.stringify({
    _aws: {
      Timestamp: at,
      CloudWatchMetrics: [
        {
          Namespace: namespace,
          Dimensions: [Object.keys(dimensions)],
          Metrics: known.map(({ name, unit }) => ({ Name: name, Unit: unit }))
        }
      ]
    },
    ...dimensions,
    ...Object.fromEntries(known.map(({ name, value }) => [name, value]))
  })
}

/**
 * As a line of JSON an interval on the Console (stdout). No call and no permission of the program: what collects its logs
 * sends them to CloudWatch Logs. Of a distribution of more than 100 values a line holds 100 of its quantiles, so that its
 * percentiles are right and its SampleCount is not.
 */
export const layerEmbedded: Layer.Layer<Sink> = Layer.succeed(Sink, {
  send: (batches) =>
    Effect.as(
      Effect.forEach(batches, (batch) => Console.log(lineOf(batch)), { discard: true }),
      { sent: batches.length, error: undefined }
    )
})

export interface Options {
  /** Default `Millrace`. It may not begin with `AWS/`. */
  readonly namespace?: string | undefined
  /** Dimensions beside `Queue` and `Consumer`, at most 28. Each combination of values is a metric that AWS bills. */
  readonly dimensions?: Readonly<Record<string, string>> | undefined
  /** Time between two data, from 10 seconds. Default 1 minute, the resolution of CloudWatch's standard metrics. */
  readonly every?: Duration.DurationInput | undefined
  /** For `Backlog` and `BacklogPerConsumer`. Costs no call where somebody listens to its samples anyway. */
  readonly backlog?: Backlog.Backlog<unknown> | undefined
  /** How many consumers share the queue: the backlog is divided by it. Default 1. */
  readonly consumers?: Effect.Effect<number> | undefined
  /** How many intervals are kept while they cannot be sent; then the oldest are dropped. Default 60. */
  readonly keep?: number | undefined
}

const counts = {
  Received: "received",
  Redelivered: "redelivered",
  Handled: "handled",
  Failed: "failed",
  Acked: "acked",
  Retried: "retried",
  Released: "released",
  DeadLettered: "deadLettered",
  Lost: "lost",
  ReceiveErrors: "receiveErrors",
  SettleErrors: "settleErrors"
} as const

/** What an interval says, and what the backlog does. Where nothing was measured there is no value rather than a zero. */
export const metricsOf = (
  interval: Figures.Interval,
  backlog?: Backlog.Sample | undefined,
  consumers = 1
): ReadonlyArray<Measured> => {
  const { fullFor, handler, seconds, settled, stages, stats } = interval
  const count = (name: string, value: number): Measured => ({ name, unit: "Count", value })
  const percent = (name: string, value: number): Measured => ({ name, unit: "Percent", value: 100 * value })
  const visible = backlog?._tag === "Fresh" ? backlog.visible : undefined
  const oldest = backlog?._tag === "Fresh" ? backlog.oldest : undefined
  return [
    ...Object.entries(counts).map(([name, of]) => count(name, stats[of])),
    count("InFlight", stats.inFlight),
    ...(stages.length === 0 ? [] : [percent("Utilisation", Math.min(1, Math.max(...stages.map(({ busy }) => busy))))]),
    percent("PermitsTaken", Math.min(1, fullFor / 1000 / seconds)),
    ...(stats.received === 0 ? [] : [percent("RedeliveryRate", stats.redelivered / stats.received)]),
    ...(handler.count === 0 ? [] : [{ name: "HandlerTime", unit: "Milliseconds", value: handler } as const]),
    ...(settled.count === 0 ? [] : [{ name: "SettleTime", unit: "Milliseconds", value: settled } as const]),
    ...(visible === undefined
      ? []
      : [count("Backlog", visible), count("BacklogPerConsumer", visible / Math.max(1, consumers))]),
    ...(oldest === undefined
      ? []
      : [{ name: "OldestMessage", unit: "Seconds", value: Duration.toSeconds(oldest.duration) } as const])
  ]
}

const refuse = (option: string, message: string) =>
  new InvalidOptions.InvalidOptions({ option, message: `${option} ${message}` })

/** @internal */
export const checks: InvalidOptions.Checks<Options> = {
  namespace: InvalidOptions.anyText,
  dimensions: InvalidOptions.record(InvalidOptions.required(InvalidOptions.anyText)),
  every: InvalidOptions.time({ min: "10 seconds", max: "1 hour" }),
  backlog: InvalidOptions.having("what Backlog.make or SqsBacklog.make gives", "sample", "queue"),
  consumers: InvalidOptions.effect,
  keep: InvalidOptions.aWholeNumber({ min: 1, max: 1440 })
}

/** Names and values of dimensions: ASCII that can be seen, 1 to 255 (1,024) characters, no colon at the start. */
const visibleAscii = /^(?!:)[\x20-\x7e]*[\x21-\x7e][\x20-\x7e]*$/

/** @internal */
export const check = (options: Options) =>
  Effect.gen(function* () {
    yield* InvalidOptions.check("CloudWatchMetrics", options, checks)
    const namespace = options.namespace ?? "Millrace"
    if (!/^[0-9A-Za-z.\-_/#:]{1,255}$/.test(namespace) || namespace.startsWith(":") || namespace.startsWith("AWS/")) {
      return yield* refuse(
        "namespace",
        `is ${JSON.stringify(namespace)}; write 1 to 255 of letters, digits and . - _ / #, not beginning with AWS/`
      )
    }
    const dimensions = Object.entries(options.dimensions ?? {})
    if (dimensions.length > 28)
      return yield* refuse("dimensions", `are ${dimensions.length}; CloudWatch takes 28 beside ours`)
    for (const [name, value] of dimensions) {
      if (name === "Queue" || name === "Consumer")
        return yield* refuse("dimensions", `may not name ${name}: it is there`)
      if (!visibleAscii.test(name) || name.length > 255 || !visibleAscii.test(value) || value.length > 1024) {
        return yield* refuse(
          "dimensions",
          `has ${JSON.stringify(name)}: ${JSON.stringify(value)}; write ASCII, 1 to 255 characters for the name, 1 to 1,024 for the value`
        )
      }
    }
    const every = Duration.decode(options.every ?? "1 minute")
    return { namespace, dimensions: Object.fromEntries(dimensions), every, keep: options.keep ?? 60 }
  })

/**
 * Publishes a consumer's figures each `every`, for as long as the scope lasts, and what is left at its end. What cannot be
 * sent is kept for the next time, `keep` intervals at most, with a warning once a streak; the consumer never hears of it.
 *
 * Cost: one call of `PutMetricData` an interval, or none (`layerEmbedded`); and some 20 custom metrics a consumer, which AWS
 * bills by the month.
 *
 * Fails with `InvalidOptions` where an option cannot work.
 *
 * @example
 * const consumer = yield* SqsConsumer.make("orders")
 * yield* CloudWatchMetrics.publish(consumer.figures)
 */
export const publish = (
  figures: Effect.Effect<Figures.Figures>,
  options: Options = {}
): Effect.Effect<void, InvalidOptions.InvalidOptions, Sink | Scope.Scope> =>
  Effect.gen(function* () {
    const sink = yield* Sink
    const { dimensions, every, keep, namespace } = yield* check(options)
    let before = yield* figures
    let pending: ReadonlyArray<Batch> = []
    let dropped = 0
    let failing = false

    const measure = Effect.gen(function* () {
      const now = yield* figures
      // A consumer that was started anew begins a new series.
      const interval = now.startedAt === before.startedAt && now.at > before.at ? Figures.since(before, now) : undefined
      before = now
      if (interval === undefined) return
      const backlog =
        options.backlog === undefined
          ? undefined
          : yield* options.backlog.sample.pipe(
              Effect.timeout("10 seconds"),
              Effect.catchAllCause(() => Effect.succeed(undefined))
            )
      const consumers = options.consumers === undefined ? 1 : yield* options.consumers
      const batch: Batch = {
        namespace,
        dimensions: { Queue: now.queue, Consumer: now.consumer, ...dimensions },
        at: now.at,
        metrics: metricsOf(interval, backlog, consumers)
      }
      dropped += Math.max(0, pending.length + 1 - keep)
      pending = [...pending, batch].slice(-keep)
    })
    const send = Effect.gen(function* () {
      if (pending.length === 0) return
      const { error, sent } = yield* sink.send(pending)
      pending = pending.slice(sent)
      if (error !== undefined) {
        const log = failing ? Effect.logDebug : Effect.logWarning
        failing = true
        yield* log(`metrics could not be published, and are kept for the next time: ${error.message}`)
      } else if (failing) {
        failing = false
        yield* Effect.logInfo(
          `metrics can be published again${dropped === 0 ? "" : `; the oldest ${dropped} intervals were dropped meanwhile`}`
        )
        dropped = 0
      }
    })
    // Nothing here may stop the consumer, defects of a sink included.
    const guarded = (effect: Effect.Effect<void>) =>
      Effect.catchAllCause(effect, (cause) => Effect.logWarning("metrics could not be published", cause))
    const turn = Effect.zipRight(guarded(measure), guarded(send))

    yield* Effect.addFinalizer(() => Effect.ignore(Effect.timeout(Effect.interruptible(turn), "5 seconds")))
    yield* Effect.sleep(every).pipe(
      Effect.zipRight(Effect.repeat(turn, Schedule.fixed(every))),
      Effect.interruptible,
      Effect.forkScoped
    )
  })
