/**
 * The alarms of `Alarm` as CloudWatch alarms, which watch a queue while none of its consumers runs.
 *
 * They go by SQS's own metrics, one a minute. CloudWatch has no second level to clear at: an alarm clears in the first
 * period that is well.
 *
 * @see https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutMetricAlarm.html
 * @see https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-available-cloudwatch-metrics.html
 */
import type * as Alarm from "@millrace/core/Alarm"
import * as InvalidOptions from "@millrace/core/InvalidOptions"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { ofArn } from "../internal/queue/reference.js"
import type { SqsClient } from "../SqsClient.js"
import type { SqsError } from "../SqsError.js"
import * as SqsQueue from "../SqsQueue.js"
import { CloudWatchClient, type CloudWatchError, type MetricAlarm, type MetricDataQuery } from "./CloudWatchClient.js"

export interface Options {
  /** Before each alarm's name: `<prefix><queue>: <alarm>`. Default `millrace `. */
  readonly prefix?: string | undefined
  /** The ARNs of what is to be told (an SNS topic, say) when an alarm fires, and when it clears: at most 5 each. */
  readonly onAlarm?: ReadonlyArray<string> | undefined
  readonly onClear?: ReadonlyArray<string> | undefined
  /** The time of each datum that is judged: a whole number of minutes, up to an hour. Default 1 minute. */
  readonly period?: Duration.DurationInput | undefined
}

/** What became of one alarm. */
export interface Ensured {
  readonly name: string
  readonly change: "created" | "updated" | "unchanged"
  /** The settings that were other than now. */
  readonly differences: ReadonlyArray<{ readonly setting: string; readonly before: unknown; readonly now: unknown }>
}

const refuse = (option: string, message: string) =>
  new InvalidOptions.InvalidOptions({ option, message: `${option} ${message}` })

const checks: InvalidOptions.Checks<Options> = {
  prefix: InvalidOptions.anyText,
  onAlarm: InvalidOptions.list(InvalidOptions.text),
  onClear: InvalidOptions.list(InvalidOptions.text),
  period: InvalidOptions.time()
}

type Watched = Pick<
  MetricAlarm,
  "Namespace" | "MetricName" | "Dimensions" | "Statistic" | "Period" | "Metrics" | "Threshold" | "ComparisonOperator"
>

const namespace = "AWS/SQS"
const of = (queue: string) => [{ Name: "QueueName", Value: queue }]

/** One metric above a number. */
const plain = (queue: string, MetricName: string, Threshold: number, Period: number): Watched => ({
  Namespace: namespace,
  MetricName,
  Dimensions: of(queue),
  Statistic: "Maximum",
  Period,
  Threshold,
  ComparisonOperator: "GreaterThanThreshold"
})

const metrics = {
  visible: ["ApproximateNumberOfMessagesVisible", "Maximum"],
  sent: ["NumberOfMessagesSent", "Sum"],
  deleted: ["NumberOfMessagesDeleted", "Sum"]
} as const

/** An expression over these metrics, which is 1 where it is wrong and 0 where it is well. */
const math = (
  queue: string,
  expression: string,
  used: ReadonlyArray<keyof typeof metrics>,
  Period: number
): Watched => ({
  Metrics: [
    { Id: "wrong", Expression: expression, Label: "wrong", ReturnData: true },
    ...used.map((Id): MetricDataQuery => {
      const [MetricName, Stat] = metrics[Id]
      return {
        Id,
        ReturnData: false,
        MetricStat: { Metric: { Namespace: namespace, MetricName, Dimensions: of(queue) }, Period, Stat }
      }
    })
  ],
  Threshold: 1,
  ComparisonOperator: "GreaterThanOrEqualToThreshold"
})

/** Numbers as metric math takes them: without an exponent. */
const literal = (value: number): string => (Number.isInteger(value) ? String(value) : value.toFixed(6))

const watched = (
  rule: Alarm.Rule,
  queue: string,
  deadLetters: string | undefined,
  period: number
): Effect.Effect<readonly [Watched, string], InvalidOptions.InvalidOptions> => {
  switch (rule._tag) {
    case "Backlog":
      return Effect.succeed([
        math(
          queue,
          `IF(visible > ${literal(rule.above)} AND FILL(sent, 0) - FILL(deleted, 0) > ${literal(rule.growingBy * period)}, 1, 0)`,
          ["visible", "sent", "deleted"],
          period
        ),
        `more than ${rule.above} messages wait and more come than go`
      ])
    case "Oldest":
      return Effect.succeed([
        plain(queue, "ApproximateAgeOfOldestMessage", rule.above / 1000, period),
        `the oldest message has waited for longer than ${Duration.format(rule.above)}`
      ])
    case "TimeToDrain":
      return Effect.succeed([
        math(
          queue,
          `IF(visible >= ${literal(rule.atLeast)} AND (FILL(deleted, 0) - FILL(sent, 0)) * ${literal(rule.above / 1000 / period)} < visible, 1, 0)`,
          ["visible", "sent", "deleted"],
          period
        ),
        `at the present rate it takes longer than ${Duration.format(rule.above)} to drain`
      ])
    case "DeadLetters":
      return deadLetters === undefined
        ? Effect.fail(refuse("alarms", `has one on the dead letters, and ${queue} has no dead-letter queue`))
        : Effect.succeed([
            plain(deadLetters, "ApproximateNumberOfMessagesVisible", rule.above, period),
            `the dead-letter queue ${deadLetters} holds more than ${rule.above} messages`
          ])
    case "InFlight":
      return Effect.succeed([
        plain(queue, "ApproximateNumberOfMessagesNotVisible", rule.above, period),
        `more than ${rule.above} messages are in flight, near what the queue allows`
      ])
    case "NoProgress":
      return Effect.succeed([
        math(queue, "IF(visible > 0 AND FILL(deleted, 0) < 1, 1, 0)", ["visible", "deleted"], period),
        "messages wait and none leaves the queue"
      ])
  }
}

/** What CloudWatch takes as a name: 1 to 255 characters, none of them a control character. */
const nameOf = (prefix: string, queue: string, alarm: string): Effect.Effect<string, InvalidOptions.InvalidOptions> => {
  const name = `${prefix}${queue}: ${alarm}`
  return name.length <= 255 && !/\p{Cc}/u.test(name)
    ? Effect.succeed(name)
    : Effect.fail(
        refuse(
          "prefix",
          `and the names give ${JSON.stringify(name)}; an alarm's name has 1 to 255 characters, none of control`
        )
      )
}

const arns = (option: "onAlarm" | "onClear", given: ReadonlyArray<string> = []) =>
  given.length > 5
    ? Effect.fail(refuse(option, `has ${given.length}; CloudWatch takes 5`))
    : Effect.forEach(given, (arn) =>
        /^arn:[\w-]+:[\w-]+:/.test(arn)
          ? Effect.succeed(arn)
          : Effect.fail(
              refuse(option, `has "${arn}"; write an ARN such as "arn:aws:sns:eu-west-1:123456789012:on-call"`)
            )
      )

/** How CloudWatch is to watch a queue. Fails with `InvalidOptions` where an alarm or an option cannot be put so. */
export const definitions = (
  queue: { readonly name: string; readonly deadLetters?: string | undefined },
  alarms: ReadonlyArray<Alarm.Alarm>,
  options: Options = {}
): Effect.Effect<ReadonlyArray<MetricAlarm>, InvalidOptions.InvalidOptions> =>
  Effect.gen(function* () {
    yield* InvalidOptions.check("CloudWatchAlarms", options, checks)
    const period = Duration.toSeconds(options.period ?? "1 minute")
    if (!(period % 60 === 0 && period >= 60 && period <= 3600)) {
      return yield* refuse(
        "period",
        'must be a whole number of minutes, up to an hour, since SQS\'s metrics come once a minute; write "1 minute"'
      )
    }
    const AlarmActions = yield* arns("onAlarm", options.onAlarm)
    const OKActions = yield* arns("onClear", options.onClear)
    const seen = new Set<string>()
    return yield* Effect.forEach(alarms, (alarm) =>
      Effect.gen(function* () {
        const ready = yield* alarm.ready
        if (ready.rule === undefined) {
          return yield* refuse(
            "alarms",
            `has "${alarm.name}", which only its own function can judge: CloudWatch cannot`
          )
        }
        const AlarmName = yield* nameOf(options.prefix ?? "millrace ", queue.name, alarm.name)
        if (seen.has(AlarmName)) {
          return yield* refuse("alarms", `has two called "${alarm.name}": ensure the second with another prefix`)
        }
        seen.add(AlarmName)
        const [what, description] = yield* watched(ready.rule, queue.name, queue.deadLetters, period)
        const periods = Math.max(1, Math.ceil(ready.for / 1000 / period))
        // CloudWatch's own limit; an hour's periods may go on for a week.
        if (periods * period > (period < 3600 ? 86_400 : 604_800)) {
          return yield* refuse(
            "for",
            `of "${alarm.name}" is ${Duration.format(ready.for)}; CloudWatch takes a day in all, a week with a period of an hour`
          )
        }
        return {
          AlarmName,
          AlarmDescription: `${queue.name}: ${description}`,
          ActionsEnabled: true,
          AlarmActions,
          OKActions,
          EvaluationPeriods: periods,
          DatapointsToAlarm: periods,
          // An idle queue has no data, and is well.
          TreatMissingData: "notBreaching",
          ...what
        } satisfies MetricAlarm
      })
    )
  })

/** The same text for the same setting, in whatever order CloudWatch gives it, and with what it leaves out. */
const canonical = (value: unknown): string => {
  if (Array.isArray(value)) return `[${value.map(canonical).sort().join()}]`
  if (typeof value !== "object" || value === null) return JSON.stringify(value) ?? "[]"
  const fields = Object.entries(value).filter(([, field]) => field !== undefined)
  return `{${fields
    .map(([name, field]) => `${name}:${canonical(field)}`)
    .sort()
    .join()}}`
}

const settings = [
  "AlarmDescription",
  "ActionsEnabled",
  "AlarmActions",
  "OKActions",
  "Namespace",
  "MetricName",
  "Dimensions",
  "Statistic",
  "Period",
  "Metrics",
  "EvaluationPeriods",
  "DatapointsToAlarm",
  "Threshold",
  "ComparisonOperator",
  "TreatMissingData"
] as const satisfies ReadonlyArray<keyof MetricAlarm>

/**
 * Creates the alarms on a queue, given by name, URL or ARN; changes those of the same name whose settings differ, and leaves
 * alone those that are as they should be: run it at each start. What it did is said of each, and logged.
 *
 * Cost: one `DescribeAlarms` for each 100, one `PutMetricAlarm` for each that differs, and what the queue's lookup costs. AWS
 * bills each alarm by the month; one by metric math for each metric in it. Needs `cloudwatch:DescribeAlarms` and
 * `cloudwatch:PutMetricAlarm`.
 *
 * Fails with `InvalidOptions` where an alarm cannot be put so (`Alarm.make`), nothing having been changed.
 *
 * @example
 * yield* CloudWatchAlarms.ensure("orders", [Alarm.backlog({ above: 1_000 }), Alarm.deadLetters()], {
 *   onAlarm: ["arn:aws:sns:eu-west-1:123456789012:on-call"]
 * })
 */
export const ensure = (
  queue: string | SqsQueue.SqsQueue,
  alarms: ReadonlyArray<Alarm.Alarm>,
  options: Options = {}
): Effect.Effect<
  ReadonlyArray<Ensured>,
  CloudWatchError | InvalidOptions.InvalidOptions | SqsError | SqsQueue.InvalidQueue,
  CloudWatchClient | SqsClient
> =>
  Effect.gen(function* () {
    const client = yield* CloudWatchClient
    const found = yield* SqsQueue.resolve(queue)
    const deadLetters = found.deadLetter && ofArn(found.deadLetter.arn).name
    const rules = yield* Effect.forEach(alarms, ({ ready }) => Effect.map(ready, ({ rule }) => rule?._tag))
    if (!found.fifo && rules.includes("Oldest") && !rules.includes("DeadLetters")) {
      yield* Effect.logWarning(
        `the alarm on the oldest message of ${found.name} does not see what was received three times or more and was not deleted (CloudWatch leaves it out on standard queues): add Alarm.deadLetters()${deadLetters === undefined ? " and give the queue a dead-letter queue" : ""}`
      )
    }
    const wanted = yield* definitions({ name: found.name, deadLetters }, alarms, options)
    const names = wanted.map(({ AlarmName }) => AlarmName)
    const pages = Array.from({ length: Math.ceil(names.length / 100) }, (_, i) => names.slice(100 * i, 100 * (i + 1)))
    const present = new Map(
      (yield* Effect.forEach(pages, (AlarmNames) => client.describeAlarms({ AlarmNames })))
        .flat()
        .map((alarm) => [alarm["AlarmName"], alarm] as const)
    )
    return yield* Effect.forEach(wanted, (alarm) =>
      Effect.gen(function* () {
        const before = present.get(alarm.AlarmName)
        const differences =
          before === undefined
            ? []
            : settings
                .filter((setting) => canonical(before[setting]) !== canonical(alarm[setting]))
                .map((setting) => ({ setting, before: before[setting], now: alarm[setting] }))
        const change = before === undefined ? "created" : differences.length > 0 ? "updated" : "unchanged"
        if (change !== "unchanged") {
          yield* client.putMetricAlarm(alarm)
          yield* Effect.logInfo(
            `the alarm "${alarm.AlarmName}" was ${change}${differences.length === 0 ? "" : `: ${differences.map(({ setting }) => setting).join(", ")}`}`
          )
        }
        const ensured: Ensured = { name: alarm.AlarmName, change, differences }
        return ensured
      })
    )
  }).pipe(Effect.withSpan("CloudWatchAlarms.ensure"))
