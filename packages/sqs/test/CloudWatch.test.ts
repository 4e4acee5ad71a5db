/** CloudWatch behind its interface, in virtual time; then each operation through the AWS SDK against a server. */

import * as Http from "node:http"
import { gunzipSync } from "node:zlib"
import { assert, describe, it } from "@effect/vitest"
import { Alarm, type Backlog, Figures, Histogram, Pipeline } from "@millrace/core"
import { Simulation } from "@millrace/core/testing"
import { Clock, Console, Duration, Effect, Either, Exit, Layer, Logger, Redacted, Scope, Stream } from "effect"
import {
  CloudWatchAge,
  CloudWatchAlarms,
  CloudWatchClient,
  CloudWatchGroups,
  CloudWatchMetrics
} from "../src/cloudwatch/index.js"
import { SqsEmulator } from "../src/emulator/index.js"
import { SqsBacklog, type SqsClient, SqsConsumer } from "../src/index.js"
import * as FakeCloudWatch from "./support/FakeCloudWatch.js"

const queue = "orders"
const queues: SqsEmulator.Options = {
  queues: { [queue]: { deadLetter: { queue: "orders-dlq", maxReceiveCount: 5 } }, bare: {} }
}
const numbered = (n: number) => Array.from({ length: n }, (_, i) => String(i))

type Fake = ReturnType<typeof FakeCloudWatch.make>

/** In virtual time, with the emulator and a CloudWatch in memory. */
const emulated =
  <E>(
    program: (
      fake: Fake
    ) => Effect.Effect<
      unknown,
      E,
      SqsEmulator.SqsEmulator | SqsClient.SqsClient | CloudWatchClient.CloudWatchClient | Scope.Scope
    >
  ) =>
  () =>
    Simulation.check(
      { seeds: 3 },
      Effect.suspend(() => {
        const fake = FakeCloudWatch.make()
        return Effect.scoped(program(fake)).pipe(Effect.provide(Layer.merge(SqsEmulator.layer(queues), fake.layer)))
      })
    )

/** What is logged at warning and above, in order. */
const warnings = <A, E, R>(program: (lines: Array<string>) => Effect.Effect<A, E, R>) => {
  const lines: Array<string> = []
  const logger = Logger.make<unknown, void>(({ logLevel, message }) => {
    if (logLevel.ordinal >= 30_000) lines.push(String(Array.isArray(message) ? message[0] : message))
  })
  return Effect.provide(program(lines), Logger.replace(Logger.defaultLogger, logger))
}

/** A consumer of handlers that take 100 milliseconds, 4 at a time. */
const working = Effect.gen(function* () {
  const consumer = yield* SqsConsumer.make(queue, { maxInFlight: 20 })
  yield* consumer.stream.pipe(
    Pipeline.process(() => Effect.sleep("100 millis"), { concurrency: 4 }),
    Stream.runDrain,
    Effect.forkScoped
  )
  return consumer
})

const put = CloudWatchMetrics.layerPutMetricData

describe("metrics", () => {
  it(
    "of each minute go out in one call, as CloudWatch takes them: counts, shares, and times as distributions",
    emulated((fake) =>
      Effect.gen(function* () {
        const sqs = yield* SqsEmulator.SqsEmulator
        yield* sqs.send(queue, numbered(4000))
        const consumer = yield* working
        const backlog = yield* SqsBacklog.make(queue)
        yield* CloudWatchMetrics.publish(consumer.figures, {
          backlog,
          consumers: Effect.succeed(2),
          dimensions: { Environment: "test" }
        }).pipe(Effect.provide(put))
        yield* Effect.sleep("61 seconds")
        assert.strictEqual(fake.calls.length, 1)
        const of = (name: string) => fake.data.find((datum) => datum.MetricName === name)
        const handled = (yield* consumer.stats).handled
        assert.approximately(of("Handled")?.Value ?? 0, handled, 50)
        assert.approximately(of("Utilisation")?.Value ?? 0, 100, 2)
        assert.strictEqual(of("Utilisation")?.Unit, "Percent")
        assert.strictEqual(of("Lost")?.Value, 0)
        assert.strictEqual(of("RedeliveryRate")?.Value, 0)
        const waiting = of("Backlog")?.Value ?? 0
        assert.isAbove(waiting, 1000)
        assert.strictEqual(of("BacklogPerConsumer")?.Value, waiting / 2)
        const times = of("HandlerTime")
        assert.isUndefined(times?.Value)
        assert.strictEqual(
          (times?.Counts ?? []).reduce((a, b) => a + b, 0),
          of("Handled")?.Value
        )
        assert.isTrue((times?.Values ?? []).every((value) => Math.abs(value - 100) < 10))
        assert.deepStrictEqual(of("Handled")?.Dimensions, [
          { Name: "Queue", Value: queue },
          { Name: "Consumer", Value: queue },
          { Name: "Environment", Value: "test" }
        ])
        assert.isTrue(fake.data.every(({ Timestamp, namespace }) => namespace === "Millrace" && Timestamp <= 61_000))
        yield* Effect.sleep("5 minutes")
        assert.strictEqual(fake.calls.length, 6)
      })
    )
  )

  it(
    "that cannot be sent are kept, up to a bound, and sent when they can: with one warning, and the consumer goes on",
    emulated((fake) =>
      warnings((lines) =>
        Effect.gen(function* () {
          const sqs = yield* SqsEmulator.SqsEmulator
          yield* sqs.send(queue, numbered(10_000))
          const consumer = yield* working
          fake.failing.set("putMetricData", "transient")
          yield* CloudWatchMetrics.publish(consumer.figures, { keep: 5 }).pipe(Effect.provide(put))
          yield* Effect.sleep("481 seconds")
          assert.strictEqual(fake.data.length, 0)
          assert.strictEqual(lines.length, 1)
          fake.failing.clear()
          yield* Effect.sleep("2 minutes")
          const times = [...new Set(fake.data.map(({ Timestamp }) => Timestamp / 60_000))]
          assert.deepStrictEqual(times.map(Math.round), [5, 6, 7, 8, 9, 10])
          // Nothing twice.
          assert.strictEqual(fake.data.filter(({ MetricName }) => MetricName === "Handled").length, 6)
          assert.strictEqual((yield* consumer.stats).handled, 10_000)
        })
      )
    )
  )

  it(
    "what is left is sent at the end of the scope, and a sink that never answers does not hold it up for long",
    emulated((fake) =>
      Effect.gen(function* () {
        const sqs = yield* SqsEmulator.SqsEmulator
        yield* sqs.send(queue, numbered(100))
        const consumer = yield* working
        const first = yield* Scope.make()
        yield* CloudWatchMetrics.publish(consumer.figures).pipe(Effect.provide(put), Scope.extend(first))
        yield* Effect.sleep("20 seconds")
        assert.strictEqual(fake.data.length, 0)
        yield* Scope.close(first, Exit.void)
        assert.strictEqual(fake.data.find(({ MetricName }) => MetricName === "Handled")?.Value, 100)

        const second = yield* Scope.make()
        const silent = Layer.succeed(CloudWatchMetrics.Sink, { send: () => Effect.never })
        yield* CloudWatchMetrics.publish(consumer.figures).pipe(Effect.provide(silent), Scope.extend(second))
        yield* Effect.sleep("10 seconds")
        const before = yield* Clock.currentTimeMillis
        yield* Scope.close(second, Exit.void)
        assert.isAtMost((yield* Clock.currentTimeMillis) - before, 5000)
      })
    )
  )

  it("of many intervals are split by CloudWatch's limits: 1,000 data and 1 MB a call, 150 values a datum", () => {
    const fake = FakeCloudWatch.make()
    const wide = Histogram.of(Array.from({ length: 3000 }, (_, i) => 0.1 * 1.01 ** i))
    const batch = (at: number, metrics: number): CloudWatchMetrics.Batch => ({
      namespace: "Millrace",
      dimensions: { Queue: queue, Note: "x".repeat(1000) },
      at,
      metrics: [
        ...Array.from({ length: metrics }, (_, i) => ({ name: `Metric${i}`, unit: "Count" as const, value: i })),
        { name: "Times", unit: "Milliseconds", value: wide }
      ]
    })
    return Effect.gen(function* () {
      const sink = yield* CloudWatchMetrics.Sink
      const answer = yield* sink.send(Array.from({ length: 60 }, (_, i) => batch(i, 99)))
      assert.deepStrictEqual(answer, { sent: 60, error: undefined })
      assert.strictEqual(fake.data.length, 6000)
      assert.isAbove(fake.calls.length, 6)
      const times = fake.data.find(({ MetricName }) => MetricName === "Times")
      assert.isAtMost(times?.Values?.length ?? 0, 150)
      assert.strictEqual(
        times?.Counts?.reduce((a, b) => a + b, 0),
        3000
      )
    }).pipe(Effect.provide(Layer.provide(put, fake.layer)), Effect.runPromise)
  })

  it(
    "as the embedded metric format: a line of JSON an interval, which names each metric that it has",
    emulated(() =>
      Effect.gen(function* () {
        const sqs = yield* SqsEmulator.SqsEmulator
        yield* sqs.send(queue, numbered(4000))
        const consumer = yield* working
        const lines: Array<string> = []
        const spied = { ...(yield* Effect.console), log: (line: string) => Effect.sync(() => lines.push(line)) }
        yield* CloudWatchMetrics.publish(consumer.figures, { namespace: "Shop" }).pipe(
          Effect.provide(CloudWatchMetrics.layerEmbedded),
          Console.withConsole(spied as never)
        )
        yield* Effect.sleep("121 seconds")
        assert.strictEqual(lines.length, 2)
        const line = JSON.parse(lines[0] ?? "")
        assert.strictEqual(line._aws.Timestamp, 60_000)
        const [{ Dimensions, Metrics, Namespace }] = line._aws.CloudWatchMetrics
        assert.strictEqual(Namespace, "Shop")
        assert.deepStrictEqual(Dimensions, [["Queue", "Consumer"]])
        assert.deepStrictEqual([line.Queue, line.Consumer], [queue, queue])
        for (const { Name } of Metrics) assert.isTrue(Name in line, Name)
        assert.approximately(line.Handled, 2400, 50)
        assert.strictEqual(line.HandlerTime.length, 100)
        assert.isTrue(line.HandlerTime.every((value: number) => Math.abs(value - 100) < 10))
      })
    )
  )

  it(
    "nothing measured, no value: a rate of nothing received is not zero",
    emulated(() =>
      Effect.gen(function* () {
        const consumer = yield* working
        const before = yield* consumer.figures
        yield* Effect.sleep("1 minute")
        const interval = Figures.since(before, yield* consumer.figures)
        const names = CloudWatchMetrics.metricsOf(interval).map(({ name }) => name)
        for (const name of ["RedeliveryRate", "HandlerTime", "SettleTime", "Backlog"]) assert.notInclude(names, name)
        assert.include(names, "Received")
      })
    )
  )

  it("options that CloudWatch would refuse are refused when it is made", () =>
    Effect.gen(function* () {
      const refused = (options: CloudWatchMetrics.Options) =>
        CloudWatchMetrics.publish(Effect.die("not read"), options).pipe(
          Effect.flip,
          Effect.map(({ option }) => option),
          Effect.provide(CloudWatchMetrics.layerEmbedded),
          Effect.scoped
        )
      assert.strictEqual(yield* refused({ namespace: "AWS/SQS" }), "namespace")
      assert.strictEqual(yield* refused({ namespace: "a b" }), "namespace")
      assert.strictEqual(yield* refused({ dimensions: { Queue: "x" } }), "dimensions")
      assert.strictEqual(yield* refused({ dimensions: { Stage: "" } }), "dimensions")
      assert.strictEqual(yield* refused({ dimensions: { Stage: "é" } }), "dimensions")
      assert.strictEqual(yield* refused({ every: "1 second" }), "every")
      assert.strictEqual(yield* refused({ keep: 0 }), "keep")
    }).pipe(Effect.runPromise))
})

const everyAlarm = [
  Alarm.backlog({ above: 1000, growingBy: 0.5, for: "5 minutes" }),
  Alarm.oldest({ above: "5 minutes" }),
  Alarm.timeToDrain({ above: "1 hour" }),
  Alarm.deadLetters(),
  Alarm.inFlight({ limit: 20_000 }),
  Alarm.noProgress()
]
const onCall = "arn:aws:sns:eu-west-1:123456789012:on-call"

describe("alarms", () => {
  it(
    "are created, left alone, and changed where their settings are: each says which",
    emulated((fake) =>
      Effect.gen(function* () {
        const ensure = (alarms: ReadonlyArray<Alarm.Alarm>, options?: CloudWatchAlarms.Options) =>
          Effect.map(CloudWatchAlarms.ensure(queue, alarms, options), (all) => all.map(({ change }) => change))
        const puts = () => fake.calls.filter(({ operation }) => operation === "putMetricAlarm").length
        assert.deepStrictEqual(yield* ensure(everyAlarm, { onAlarm: [onCall] }), Array(6).fill("created"))
        assert.strictEqual(puts(), 6)
        assert.deepStrictEqual(yield* ensure(everyAlarm, { onAlarm: [onCall] }), Array(6).fill("unchanged"))
        assert.strictEqual(puts(), 6)
        const [, ...rest] = everyAlarm
        const changed = yield* CloudWatchAlarms.ensure(
          queue,
          [Alarm.backlog({ above: 2000, for: "5 minutes" }), ...rest],
          {
            onAlarm: [onCall]
          }
        )
        assert.deepStrictEqual(
          changed.map(({ change }) => change),
          ["updated", ...Array(5).fill("unchanged")]
        )
        assert.deepStrictEqual(
          changed[0]?.differences.map(({ setting }) => setting),
          ["AlarmDescription", "Metrics"]
        )
        assert.strictEqual(puts(), 7)
        assert.deepStrictEqual(yield* ensure(everyAlarm.slice(1)), Array(5).fill("updated"))
      })
    )
  )

  it(
    "on the oldest message alone are warned about: CloudWatch leaves out what a standard queue handed out three times",
    emulated(() =>
      Effect.gen(function* () {
        const said: Array<string> = []
        const logger = Logger.make(({ message }) => void said.push(String(message)))
        const ensure = (...alarms: ReadonlyArray<Alarm.Alarm>) =>
          Effect.map(
            Effect.provide(CloudWatchAlarms.ensure(queue, alarms), Logger.replace(Logger.defaultLogger, logger)),
            () => said.splice(0).filter((line) => line.includes("received three times")).length
          )
        const oldest = Alarm.oldest({ above: "5 minutes" })
        assert.strictEqual(yield* ensure(oldest), 1)
        assert.strictEqual(yield* ensure(oldest, Alarm.deadLetters()), 0)
        assert.strictEqual(yield* ensure(Alarm.noProgress()), 0)
      })
    )
  )

  it(
    "go by SQS's metrics of the queue, or of its dead-letter queue, and by metric math where one number is not enough",
    emulated((fake) =>
      Effect.gen(function* () {
        yield* CloudWatchAlarms.ensure(queue, everyAlarm, { onAlarm: [onCall], onClear: [onCall] })
        const of = (name: string) => fake.alarms.get(`millrace orders: ${name}`)
        const backlog = of("backlog")
        assert.strictEqual(
          backlog?.Metrics?.find(({ ReturnData }) => ReturnData)?.Expression,
          "IF(visible > 1000 AND FILL(sent, 0) - FILL(deleted, 0) > 30, 1, 0)"
        )
        assert.deepStrictEqual(
          backlog?.Metrics?.flatMap(({ MetricStat }) =>
            MetricStat === undefined ? [] : [[MetricStat.Metric.MetricName, MetricStat.Stat, MetricStat.Period]]
          ),
          [
            ["ApproximateNumberOfMessagesVisible", "Maximum", 60],
            ["NumberOfMessagesSent", "Sum", 60],
            ["NumberOfMessagesDeleted", "Sum", 60]
          ]
        )
        assert.deepInclude(backlog, { EvaluationPeriods: 5, DatapointsToAlarm: 5, Threshold: 1 })
        assert.deepInclude(of("oldest"), {
          Namespace: "AWS/SQS",
          MetricName: "ApproximateAgeOfOldestMessage",
          Dimensions: [{ Name: "QueueName", Value: queue }],
          Statistic: "Maximum",
          Threshold: 300,
          ComparisonOperator: "GreaterThanThreshold",
          TreatMissingData: "notBreaching",
          AlarmActions: [onCall],
          OKActions: [onCall]
        })
        assert.strictEqual(
          of("time to drain")?.Metrics?.[0]?.Expression,
          "IF(visible >= 100 AND (FILL(deleted, 0) - FILL(sent, 0)) * 60 < visible, 1, 0)"
        )
        assert.deepInclude(of("dead letters"), {
          MetricName: "ApproximateNumberOfMessagesVisible",
          Dimensions: [{ Name: "QueueName", Value: "orders-dlq" }],
          Threshold: 0,
          EvaluationPeriods: 1
        })
        assert.deepInclude(of("in flight"), { MetricName: "ApproximateNumberOfMessagesNotVisible", Threshold: 18_000 })
        assert.strictEqual(
          of("no progress")?.Metrics?.[0]?.Expression,
          "IF(visible > 0 AND FILL(deleted, 0) < 1, 1, 0)"
        )
        assert.strictEqual(of("no progress")?.EvaluationPeriods, 5)
      })
    )
  )

  it(
    "that cannot be put so are refused, and nothing has been changed",
    emulated((fake) =>
      Effect.gen(function* () {
        const refused = (alarms: ReadonlyArray<Alarm.Alarm>, options: CloudWatchAlarms.Options = {}, of = queue) =>
          CloudWatchAlarms.ensure(of, alarms, options).pipe(
            Effect.flip,
            Effect.map((error) => (error._tag === "InvalidOptions" ? error.option : error._tag))
          )
        const one = [Alarm.backlog({ above: 1000 })]
        assert.strictEqual(yield* refused(one, { prefix: "x".repeat(250) }), "prefix")
        assert.strictEqual(yield* refused(one, { prefix: "line\n" }), "prefix")
        assert.strictEqual(yield* refused(one, { period: "10 seconds" }), "period")
        assert.strictEqual(yield* refused(one, { period: "90 seconds" }), "period")
        assert.strictEqual(yield* refused(one, { onAlarm: ["on-call"] }), "onAlarm")
        assert.strictEqual(yield* refused(one, { onClear: Array(6).fill(onCall) }), "onClear")
        assert.strictEqual(yield* refused([...one, ...one]), "alarms")
        assert.strictEqual(yield* refused([Alarm.deadLetters()], {}, "bare"), "alarms")
        assert.strictEqual(yield* refused([Alarm.oldest({ above: "1 hour", for: "2 days" })]), "for")
        const custom = Alarm.make("mine", { judge: () => "well", describe: () => "" })
        assert.strictEqual(yield* refused([...one, custom]), "alarms")
        assert.strictEqual(yield* refused(one, {}, "no-such-queue"), "QueueDoesNotExist")
        assert.strictEqual(fake.calls.length, 0)
      })
    )
  )
})

describe("the age of the oldest message", () => {
  it(
    "is CloudWatch's where it can be read, once a minute, and the estimate where not: each sample says which",
    emulated((fake) =>
      Effect.gen(function* () {
        const sqs = yield* SqsEmulator.SqsEmulator
        yield* sqs.send(queue, numbered(50))
        const estimate: Backlog.AgeSource = { kind: "estimated", age: Effect.succeed(Duration.seconds(7)) }
        const oldest = yield* CloudWatchAge.make(queue, { otherwise: estimate })
        const backlog = yield* SqsBacklog.make(queue, { oldest })
        const seen = Effect.map(backlog.sample, (sample) =>
          sample._tag === "Fresh" && sample.oldest !== undefined
            ? [sample.oldest.kind, Duration.toSeconds(sample.oldest.duration)]
            : undefined
        )
        // Nothing reported yet.
        assert.deepStrictEqual(yield* seen, ["estimated", 7])
        yield* Effect.sleep("10 minutes")
        fake.maximums.push({ at: 9 * 60_000, maximum: 240 }, { at: 8 * 60_000, maximum: 999 })
        assert.deepStrictEqual(yield* seen, ["reported", 240])
        const calls = fake.calls.length
        yield* Effect.sleep("30 seconds")
        assert.strictEqual((yield* seen)?.[0], "reported")
        assert.strictEqual(fake.calls.length, calls)
        assert.deepInclude(fake.calls.at(-1)?.request, {
          Namespace: "AWS/SQS",
          MetricName: "ApproximateAgeOfOldestMessage",
          Dimensions: [{ Name: "QueueName", Value: queue }],
          Period: 60
        })
        // What is old says nothing any more.
        yield* Effect.sleep("10 minutes")
        assert.deepStrictEqual(yield* seen, ["estimated", 7])
      })
    )
  )

  it(
    "without permission is the estimate, with one warning, and CloudWatch is not asked all the time",
    emulated((fake) =>
      warnings((lines) =>
        Effect.gen(function* () {
          fake.failing.set("getMaximums", "fatal")
          const estimate: Backlog.AgeSource = { kind: "estimated", age: Effect.succeed(Duration.seconds(7)) }
          const withEstimate = yield* CloudWatchAge.make(queue, { otherwise: estimate })
          const without = yield* CloudWatchAge.make(queue)
          for (let i = 0; i < 30; i++) {
            assert.deepStrictEqual(yield* withEstimate.age, { duration: Duration.seconds(7), kind: "estimated" })
            yield* Effect.sleep("1 minute")
          }
          assert.strictEqual(fake.calls.length, 3)
          assert.strictEqual(lines.length, 1)
          assert.include(lines[0], "estimated")
          assert.isUndefined(yield* without.age)
          assert.include(lines[1], "not known")
        })
      )
    )
  )
})

describe("the groups of a fair queue", () => {
  const report = (fake: Fake, at: number, values: Readonly<Record<string, number>>) => {
    for (const [metric, maximum] of Object.entries(values)) fake.maximums.push({ metric, at, maximum })
  }

  it(
    "are CloudWatch's, read once a minute while the backlog is, and not known where it has none",
    emulated((fake) =>
      Effect.gen(function* () {
        const backlog = yield* SqsBacklog.make(queue, { groups: yield* CloudWatchGroups.make(queue) })
        const seen = Effect.map(backlog.sample, (sample) => (sample._tag === "Fresh" ? sample.groups : sample))
        assert.isUndefined(yield* seen)
        yield* Effect.sleep("10 minutes")
        report(fake, 8 * 60_000, { ApproximateNumberOfNoisyGroups: 9 })
        report(fake, 9 * 60_000, {
          ApproximateNumberOfNoisyGroups: 2,
          ApproximateNumberOfMessagesVisibleInQuietGroups: 30,
          ApproximateNumberOfMessagesNotVisibleInQuietGroups: 4,
          ApproximateNumberOfMessagesDelayedInQuietGroups: 1,
          ApproximateAgeOfOldestMessageInQuietGroups: 15
        })
        const groups = { noisy: 2, quiet: { visible: 30, inFlight: 4, delayed: 1 }, quietOldest: Duration.seconds(15) }
        assert.deepStrictEqual(yield* seen, groups)
        const calls = fake.calls.length
        yield* Effect.sleep("30 seconds")
        assert.deepStrictEqual(yield* seen, groups)
        assert.strictEqual(fake.calls.length, calls)
        // What is old says nothing any more.
        yield* Effect.sleep("10 minutes")
        assert.isUndefined(yield* seen)
        report(fake, 21 * 60_000, { ApproximateNumberOfNoisyGroups: 0 })
        yield* Effect.sleep("1 minute")
        assert.deepStrictEqual(yield* seen, { noisy: 0, quiet: undefined, quietOldest: undefined })
      })
    )
  )

  it(
    "without permission are not known, with one warning; a FIFO queue has none",
    emulated((fake) =>
      warnings((lines) =>
        Effect.gen(function* () {
          fake.failing.set("getMaximums", "fatal")
          const groups = yield* CloudWatchGroups.make(queue)
          for (let i = 0; i < 30; i++) {
            assert.isUndefined(yield* groups)
            yield* Effect.sleep("1 minute")
          }
          assert.strictEqual(lines.length, 1)
          assert.include(lines[0], "noisy groups")
          const refused = yield* Effect.either(CloudWatchGroups.make("orders.fifo"))
          assert.include(refused._tag === "Left" ? refused.left.message : "", "leave CloudWatchGroups out")
        })
      )
    )
  )
})

// biome-ignore lint/suspicious/noExplicitAny: a test reads of it what it likes
type Bodies = Record<string, any>

describe("through the AWS SDK", () => {
  /** Answers each operation, and keeps what was sent. */
  const server = (answers: Readonly<Record<string, { readonly status?: number; readonly body: unknown }>>) =>
    Effect.acquireRelease(
      Effect.async<{ url: string; bodies: Bodies; close: () => void }>((resume) => {
        const bodies: Bodies = {}
        const http = Http.createServer(async (request, response) => {
          const chunks: Array<Buffer> = []
          for await (const chunk of request) chunks.push(chunk)
          const raw = Buffer.concat(chunks)
          const operation = String(request.headers["x-amz-target"]).replace(/^.*\./, "")
          assert.strictEqual(request.headers["content-type"], "application/x-amz-json-1.0")
          bodies[operation] = JSON.parse(
            (request.headers["content-encoding"] === "gzip" ? gunzipSync(raw) : raw).toString()
          )
          const { body, status = 200 } = answers[operation] ?? { status: 500, body: {} }
          response.writeHead(status, { "content-type": "application/x-amz-json-1.0" })
          response.end(JSON.stringify(body))
        })
        http.listen(0, "127.0.0.1", () => {
          const address = http.address()
          const port = typeof address === "object" && address !== null ? address.port : 0
          resume(
            Effect.succeed({
              url: `http://127.0.0.1:${port}`,
              bodies,
              close: () => {
                http.closeAllConnections()
                http.close()
              }
            })
          )
        })
      }),
      ({ close }) => Effect.sync(close)
    )
  const over = <A, E>(
    answers: Parameters<typeof server>[0],
    use: (cloudWatch: CloudWatchClient.Service, bodies: Bodies) => Effect.Effect<A, E>
  ) =>
    Effect.gen(function* () {
      const { bodies, url } = yield* server(answers)
      const layer = CloudWatchClient.layer({
        region: "us-east-1",
        endpoint: url,
        credentials: { accessKeyId: "test", secretAccessKey: Redacted.make("test") }
      })
      return yield* Effect.flatMap(CloudWatchClient.CloudWatchClient, (client) => use(client, bodies)).pipe(
        Effect.provide(layer)
      )
    }).pipe(Effect.scoped, Effect.runPromise)

  const Dimensions = [{ Name: "QueueName", Value: queue }]

  it("PutMetricData", () =>
    over({ PutMetricData: { body: {} } }, (client, bodies) =>
      Effect.gen(function* () {
        const datum = { MetricName: "Handled", Dimensions, Timestamp: 1_700_000_000_000, Unit: "Count" } as const
        yield* client.putMetricData({ Namespace: "Millrace", MetricData: [{ ...datum, Value: 5 }] })
        assert.deepStrictEqual(bodies["PutMetricData"], {
          Namespace: "Millrace",
          MetricData: [{ ...datum, Timestamp: 1_700_000_000, Value: 5 }]
        })
        // Over 10 KB the SDK compresses it.
        const many = Array.from({ length: 500 }, () => ({ ...datum, Values: [1, 2], Counts: [3, 4] }))
        yield* client.putMetricData({ Namespace: "Millrace", MetricData: many })
        assert.strictEqual(bodies["PutMetricData"].MetricData.length, 500)
        assert.deepStrictEqual(bodies["PutMetricData"].MetricData[499].Counts, [3, 4])
      })
    ))

  it("PutMetricAlarm and DescribeAlarms: what was put is found unchanged", () =>
    over({ PutMetricAlarm: { body: {} }, DescribeAlarms: { body: { MetricAlarms: [] } } }, (client, bodies) =>
      Effect.gen(function* () {
        const [byMath, plain] = yield* CloudWatchAlarms.definitions({ name: queue }, everyAlarm.slice(0, 2))
        if (byMath === undefined || plain === undefined) return assert.fail("no alarms")
        assert.deepStrictEqual(yield* client.describeAlarms({ AlarmNames: [plain.AlarmName] }), [])
        assert.deepStrictEqual(bodies["DescribeAlarms"].AlarmNames, [plain.AlarmName])
        for (const alarm of [byMath, plain]) {
          yield* client.putMetricAlarm(alarm)
          assert.deepStrictEqual(bodies["PutMetricAlarm"], JSON.parse(JSON.stringify(alarm)))
        }
      })
    ))

  it("an alarm that the service describes is compared field by field", () =>
    Effect.gen(function* () {
      const [, alarm] = yield* CloudWatchAlarms.definitions({ name: queue }, everyAlarm.slice(0, 2))
      yield* Effect.promise(() =>
        over(
          {
            DescribeAlarms: {
              body: {
                MetricAlarms: [
                  { ...alarm, AlarmArn: "arn:aws:cloudwatch:x", StateValue: "OK", InsufficientDataActions: [] }
                ]
              }
            }
          },
          (client) =>
            Effect.gen(function* () {
              const ensured = yield* CloudWatchAlarms.ensure(queue, everyAlarm.slice(1, 2)).pipe(
                Effect.provideService(CloudWatchClient.CloudWatchClient, client),
                Effect.provide(SqsEmulator.layer(queues))
              )
              assert.deepStrictEqual(
                ensured.map(({ change }) => change),
                ["unchanged"]
              )
            })
        )
      )
    }).pipe(Effect.runPromise))

  it("GetMetricStatistics", () =>
    over(
      {
        GetMetricStatistics: {
          body: { Label: "x", Datapoints: [{ Timestamp: 1_700_000_000, Maximum: 42, Unit: "Seconds" }] }
        }
      },
      (client, bodies) =>
        Effect.gen(function* () {
          const points = yield* client.getMaximums({
            Namespace: "AWS/SQS",
            MetricName: "ApproximateAgeOfOldestMessage",
            Dimensions,
            StartTime: 1_699_999_700_000,
            EndTime: 1_700_000_060_000,
            Period: 60
          })
          assert.deepStrictEqual(points, [{ at: 1_700_000_000_000, maximum: 42 }])
          assert.deepInclude(bodies["GetMetricStatistics"], {
            StartTime: 1_699_999_700,
            EndTime: 1_700_000_060,
            Period: 60,
            Statistics: ["Maximum"]
          })
        })
    ))

  it("errors say what AWS said, whether to try again, and what to do", () =>
    over(
      {
        PutMetricData: { status: 400, body: { __type: "Throttling", message: "Rate exceeded" } },
        PutMetricAlarm: { status: 400, body: { __type: "AccessDenied", message: "not authorized" } },
        DescribeAlarms: { status: 503, body: {} }
      },
      (client) =>
        Effect.gen(function* () {
          const [alarm] = yield* CloudWatchAlarms.definitions({ name: queue }, everyAlarm.slice(0, 1))
          if (alarm === undefined) return assert.fail("no alarm")
          const datum = { MetricName: "M", Dimensions, Timestamp: 0, Unit: "Count", Value: 1 } as const
          const throttled = yield* Effect.flip(client.putMetricData({ Namespace: "M", MetricData: [datum] }))
          assert.strictEqual(throttled.kind, "throttled")
          assert.include(throttled.message, "Rate exceeded")
          const denied = yield* Effect.flip(client.putMetricAlarm(alarm))
          assert.deepStrictEqual([denied.kind, denied.code], ["fatal", "AccessDenied"])
          assert.include(denied.message, "cloudwatch:PutMetricAlarm")
          const down = yield* Effect.flip(client.describeAlarms({ AlarmNames: ["x"] }))
          assert.strictEqual(down.kind, "transient")
        })
    ))

  it("options that cannot be are refused", () =>
    Effect.gen(function* () {
      const refused = (options: CloudWatchClient.Options) =>
        Effect.map(Effect.either(Effect.scoped(Layer.build(CloudWatchClient.layer(options)))), (result) =>
          Either.isLeft(result) ? result.left.option : undefined
        )
      assert.strictEqual(yield* refused({ region: "us-east-1", endpoint: "localhost" }), "endpoint")
      assert.strictEqual(yield* refused({ region: "us-east-1", timeout: 0 }), "timeout")
      assert.isUndefined(yield* refused({ region: "us-east-1" }))
    }).pipe(Effect.runPromise))
})
