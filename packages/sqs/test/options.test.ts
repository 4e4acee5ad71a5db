/**
 * Options of the producer and of CloudWatch's modules, as plain JavaScript and configurations give them: what TypeScript
 * refuses is refused at run time too.
 */
import { assert, describe, it } from "@effect/vitest"
import { InvalidOptions } from "@millrace/core"
import { Cause, Effect, Exit, Layer, Logger, Predicate, Schedule, type Scope, Stream } from "effect"
import {
  CloudWatchAge,
  CloudWatchAlarms,
  CloudWatchClient,
  CloudWatchMetrics,
  CloudWatchScaling
} from "../src/cloudwatch/index.js"
import { SqsEmulator } from "../src/emulator/index.js"
import { SqsBacklog, SqsClient, SqsConsumer, SqsEncoding, SqsProducer } from "../src/index.js"
import * as FakeCloudWatch from "./support/FakeCloudWatch.js"

type Needs = Scope.Scope | SqsClient.SqsClient | CloudWatchClient.CloudWatchClient | CloudWatchMetrics.Sink

/** What it is, its options, and how it is made. */
type Row = readonly [
  what: string,
  names: ReadonlyArray<string>,
  use: (options: never) => Effect.Effect<unknown, unknown, Needs>
]

const producer = [
  "name",
  "codec",
  "encoding",
  "claimCheck",
  "attributes",
  "group",
  "deduplicationId",
  "delay",
  "trace",
  "spans",
  "linger",
  "concurrency",
  "buffer",
  "bufferBytes",
  "maxCallBytes",
  "maxPerGroup",
  "retry",
  "rate",
  "flushTimeout"
]

/** Where no region is given, the machine's is looked for. */
const withRegion = (given: unknown) => (Predicate.isRecord(given) ? { region: "eu-west-1", ...given } : given) as never

const rows: ReadonlyArray<Row> = [
  ["SqsProducer.make", producer, (o) => SqsProducer.make("q", o)],
  ["SqsProducer.sink", producer, (o) => Stream.run(Stream.empty, SqsProducer.sink("q", o))],
  ["SqsProducer.through", producer, (o) => Stream.runDrain(SqsProducer.through("q", o)(Stream.empty))],
  [
    "SqsClient.layer",
    ["region", "endpoint", "credentials", "maxSockets", "timeout"],
    (o) => Layer.build(SqsClient.layer(withRegion(o)))
  ],
  ["SqsEncoding.gzip", ["above", "level", "maxBytes"], (o) => SqsEncoding.gzip(o)],
  [
    "SqsBacklog.make",
    ["every", "window", "oldest", "departed", "arrived", "deadLetters"],
    (o) => SqsBacklog.make("q", o)
  ],
  ["CloudWatchAge.make", ["otherwise"], (o) => CloudWatchAge.make("q", o)],
  ["CloudWatchAlarms.ensure", ["prefix", "onAlarm", "onClear", "period"], (o) => CloudWatchAlarms.ensure("q", [], o)],
  [
    "CloudWatchMetrics.publish",
    ["namespace", "dimensions", "every", "backlog", "consumers", "keep"],
    (o) => Effect.flatMap(SqsConsumer.make("q"), ({ figures }) => CloudWatchMetrics.publish(figures, o))
  ],
  [
    "CloudWatchScaling.publish",
    ["namespace", "dimensions", "every"],
    (o) => Stream.runDrain(CloudWatchScaling.publish(o)(Stream.empty))
  ],
  [
    "CloudWatchClient.layer",
    ["region", "endpoint", "credentials", "timeout"],
    (o) => Layer.build(CloudWatchClient.layer(withRegion(o)))
  ]
]

const services = Layer.suspend(() => {
  const cloudWatch = FakeCloudWatch.make().layer
  return Layer.mergeAll(
    SqsEmulator.layer({ queues: { q: {} } }),
    cloudWatch,
    Layer.provide(CloudWatchMetrics.layerPutMetricData, cloudWatch)
  )
})

const refusalOf = (use: Row[2], options: unknown) =>
  // As JavaScript gives them: no type says what they are.
  Effect.scoped(use(options as never)).pipe(
    Effect.provide(services),
    Effect.exit,
    Effect.map((exit) => {
      const error = Exit.isFailure(exit) ? Cause.squash(exit.cause) : undefined
      return error instanceof InvalidOptions.InvalidOptions ? error : undefined
    })
  )

describe("options", () => {
  for (const [what, names, use] of rows) {
    it.effect(`${what}: a name that is not there is refused, and the one that was meant is told`, () =>
      Effect.gen(function* () {
        assert.strictEqual(yield* refusalOf(use, {}), undefined)
        for (const name of names) {
          const refused = yield* refusalOf(use, { [`${name}x`]: undefined })
          assert.include(refused?.message, `did you mean ${name}?`)
        }
      })
    )

    it.effect(`${what}: values of no type that an option can have are refused, by its name`, () =>
      Effect.gen(function* () {
        for (const name of names) {
          for (const value of [null, Symbol("x"), -1, Number.NaN, [null], Schedule.forever]) {
            if (name === "retry" && Schedule.isSchedule(value)) continue
            const refused = yield* refusalOf(use, { [name]: value })
            assert.include(refused?.option, name, `${name}: ${String(value)}`)
          }
        }
        for (const value of [null, 5, "fast"]) assert.isDefined(yield* refusalOf(use, value))
      })
    )
  }
})

/** Sends to an emulated queue, and what was logged at warning and above meanwhile. */
const sending = (messages: ReadonlyArray<unknown>, options: SqsProducer.Options = {}) =>
  Effect.gen(function* () {
    const lines: Array<string> = []
    const keep = Logger.make<unknown, void>(({ logLevel, message }) => {
      if (logLevel.ordinal >= 30_000) lines.push(String(message))
    })
    const results = yield* Effect.gen(function* () {
      const made = yield* SqsProducer.make("q", { linger: 0, ...options })
      return yield* Effect.forEach(messages, (message) => Effect.either(made.send(message)))
    }).pipe(Effect.scoped, Effect.provide(Layer.merge(services, Logger.replace(Logger.defaultLogger, keep))))
    return { lines, results }
  })

describe("messages", () => {
  it.effect("with fields of other names or types are rejected, and the one that was meant is told", () =>
    Effect.gen(function* () {
      const fields: ReadonlyArray<readonly [object, string]> = [
        [{ delaySeconds: 3 }, "delaySeconds is not an option of a message; there are"],
        [{ groups: "a" }, "did you mean group?"],
        [{ group: 5 }, "group is 5; write a text"],
        [{ delay: "soon" }, 'delay is "soon"; write a time'],
        [{ delay: -1 }, "delay is -1 milliseconds; write a time"],
        [{ attributes: { x: null } }, "attributes.x is null; write a text"]
      ]
      const { results } = yield* sending(fields.map(([given]) => SqsProducer.message("a", given)))
      for (const [i, [, says]] of fields.entries()) {
        const result = results[i]
        assert.strictEqual(result?._tag, "Left")
        if (result?._tag !== "Left") return
        assert.include(result.left, { _tag: "MessageRejected", reason: "Invalid" })
        assert.include(result.left.message, says)
      }
    })
  )

  it.effect("of other libraries' shapes are warned about once, and sent as they are", () =>
    Effect.gen(function* () {
      for (const foreign of [
        { body: "a", delaySeconds: 3 },
        { id: "1", body: "a", groupId: "g" },
        { MessageBody: "a" }
      ]) {
        const { lines, results } = yield* sending([foreign, foreign])
        assert.strictEqual(lines.length, 1)
        assert.match(
          lines[0] ?? "",
          /looks like one of another library.*SqsProducer\.message\(body, \{ attributes, group/
        )
        assert.deepStrictEqual(
          results.map(({ _tag }) => _tag),
          ["Right", "Right"]
        )
      }
      // A body of one's own may be called so; with a codec it is known to be meant.
      const codec: SqsProducer.Codec<unknown> = { encode: SqsProducer.plain.encode }
      assert.deepStrictEqual((yield* sending([{ body: "a", delaySeconds: 3 }], { codec })).lines, [])
      assert.deepStrictEqual((yield* sending([{ id: 1, body: "a mail" }])).lines, [])
    })
  )

  it.effect("with a bare number for a delay are warned about, and so is the producer's own", () =>
    Effect.gen(function* () {
      const says = 'delay is 30, and a number is milliseconds; write "30 seconds" if seconds are meant'
      const own = yield* sending([SqsProducer.message("a", { delay: 30 }), SqsProducer.message("b", { delay: 30 })])
      assert.strictEqual(own.lines.length, 1)
      assert.include(own.lines[0], says)
      assert.include((yield* sending(["a"], { delay: 30 })).lines[0], says)
      assert.deepStrictEqual((yield* sending(["a"], { delay: "30 millis" })).lines, [])
    })
  )
})
