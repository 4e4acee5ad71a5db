/**
 * Every object of options that the package takes, and every place where a queue's name belongs, as plain JavaScript and
 * configurations give them: what TypeScript refuses is refused at run time too.
 */
import { join } from "node:path"
import { S3Client } from "@aws-sdk/client-s3"
import { SQSClient } from "@aws-sdk/client-sqs"
import { assert, describe, it } from "@effect/vitest"
import { Channel, type Served as Handle, Message } from "@millrace/core"
import { Context, Effect, Layer, Logger, Predicate, Schema, type Scope, Stream } from "effect"
import { type Row, refusalOf, testCoverage, testRows } from "../../../test/support/options.js"
import {
  CloudWatchAge,
  CloudWatchAlarms,
  CloudWatchClient,
  CloudWatchGroups,
  CloudWatchMetrics,
  CloudWatchScaling
} from "../src/cloudwatch/index.js"
import { LambdaPoller, SqsEmulator, SqsHttp } from "../src/emulator/index.js"
import {
  ObjectStore,
  SendRate,
  SqsAsyncApi,
  SqsBacklog,
  SqsClaimCheck,
  SqsClient,
  SqsConsumer,
  SqsDeadLetter,
  SqsEncoding,
  SqsEnvelope,
  SqsLeaseQueue,
  SqsProducer,
  SqsQueue
} from "../src/index.js"
import { SqsLambda } from "../src/lambda/index.js"
import * as S3ObjectStore from "../src/S3ObjectStore.js"
import * as FakeCloudWatch from "./support/FakeCloudWatch.js"

const sdkClient = new SQSClient({ region: "eu-west-1" })
const s3Client = new S3Client({ region: "eu-west-1" })

type Needs =
  | SqsClient.SqsClient
  | SqsEmulator.SqsEmulator
  | CloudWatchClient.CloudWatchClient
  | CloudWatchMetrics.Sink
  | ObjectStore.ObjectStore

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
const ofChannel = producer.filter((name) => !["codec", "group", "deduplicationId"].includes(name))

const leaseQueue = ["visibilityTimeout", "receiveRetry", "encodings"]
const prioritized = [
  "maxInFlight",
  "wait",
  "linger",
  "settleRetry",
  "fatalGrace",
  "pollGrace",
  "flushWithin",
  "heartbeat",
  "drainWhen",
  "drainWhenIdle",
  "drainDeadline",
  "warnAfter",
  "maxOpenedBytes",
  "spans",
  ...leaseQueue
]
const consumer = ["name", "rate", "quota", ...prioritized]
const invocation = ["name", "margin", "reportBatchItemFailures", "encodings", "maxOpenedBytes", "spans"]
const emulatedQueue = [
  "visibilityTimeout",
  "delay",
  "retention",
  "receiveWait",
  "deadLetter",
  "contentBasedDeduplication",
  "deduplicationScope",
  "attributes",
  "tags"
]
const odds = [
  "fail",
  "throttle",
  "dropResponse",
  "failEntry",
  "shortReceive",
  "duplicate",
  "strand",
  "delay",
  "maxDelay"
]

class Served extends Context.Tag("Served")<Served, Handle.Served>() {}

const Placed = Message.make("Placed", { schema: Schema.String })
const channel = Channel.make("orders", { messages: [Placed] })

/** Where no region is given, the machine's is looked for. */
const withRegion = (given: unknown) => (Predicate.isRecord(given) ? { region: "eu-west-1", ...given } : given) as never

const faults = Effect.map(SqsEmulator.SqsEmulator, (sqs) => sqs.faults)

const rows: ReadonlyArray<Row<Needs>> = [
  {
    what: "SqsProducer.make",
    of: ["options.Options"],
    names: producer,
    free: ["attributes", "group", "deduplicationId"],
    use: (o) => SqsProducer.make("q", o)
  },
  {
    what: "SqsProducer.sink",
    names: producer,
    free: ["attributes", "group", "deduplicationId"],
    use: (o) => Stream.run(Stream.empty, SqsProducer.sink("q", o))
  },
  {
    what: "SqsProducer.through",
    names: producer,
    free: ["attributes", "group", "deduplicationId"],
    use: (o) => Stream.runDrain(SqsProducer.through("q", o)(Stream.empty))
  },
  {
    what: "SqsProducer.forChannel",
    of: ["options.ChannelOptions"],
    names: ofChannel,
    free: ["attributes"],
    use: (o) => SqsProducer.forChannel("q", channel, o)
  },
  {
    what: "SendRate.make",
    of: ["SendRate.Options"],
    names: ["perSecond", "burst"],
    least: { perSecond: 1 },
    use: (o) => SendRate.make(o)
  },
  {
    what: "SqsClient.layer",
    of: ["SqsClient.Options"],
    names: ["region", "endpoint", "credentials", "maxSockets", "timeout"],
    free: ["region"],
    use: (o) => Layer.build(SqsClient.layer(withRegion(o)))
  },
  {
    what: "SqsClient.layerFrom",
    of: ["SqsClient.TimeoutOptions"],
    names: ["timeout"],
    use: (o) => Layer.build(SqsClient.layerFrom(sdkClient, o))
  },
  {
    what: "SqsEncoding.gzip",
    of: ["SqsEncoding.GzipOptions"],
    names: ["above", "level", "maxBytes"],
    use: (o) => SqsEncoding.gzip(o)
  },
  { what: "SqsConsumer.make", of: ["SqsConsumer.Options"], names: consumer, use: (o) => SqsConsumer.make("q", o) },
  {
    what: "SqsConsumer.stream",
    names: consumer,
    use: (o) => Stream.runDrain(Stream.take(SqsConsumer.stream("full", o), 1))
  },
  {
    what: "SqsConsumer.layer",
    names: [...consumer, "restart"],
    use: (o) => Layer.build(SqsConsumer.layer(Served, "q", Stream.take(0), o))
  },
  {
    what: "SqsConsumer.makePrioritized",
    of: ["SqsConsumer.PrioritizedOptions"],
    names: [...prioritized, "floor"],
    use: (o) => SqsConsumer.makePrioritized(["q", "full"], o)
  },
  {
    what: "SqsLeaseQueue.make",
    of: ["SqsLeaseQueue.Options"],
    names: leaseQueue,
    use: (o) => SqsLeaseQueue.make("q", o)
  },
  { what: "SqsQueue.resolve", of: ["resolve.ResolveOptions"], names: ["retry"], use: (o) => SqsQueue.resolve("q", o) },
  {
    what: "SqsQueue.ensure",
    of: ["ensure.EnsureOptions"],
    names: [
      "fifo",
      "visibilityTimeout",
      "retention",
      "delay",
      "contentBasedDeduplication",
      "attributes",
      "tags",
      "deadLetter",
      "update"
    ],
    free: ["tags", "attributes"],
    use: (o) => SqsQueue.ensure("q", o)
  },
  {
    what: "SqsQueue.ensure: deadLetter",
    names: ["queue", "maxReceiveCount"],
    least: { maxReceiveCount: 3 },
    free: ["queue"],
    use: (o) => SqsQueue.ensure("new", { deadLetter: o })
  },
  {
    what: "SqsDeadLetter.peek",
    of: ["SqsDeadLetter.PeekOptions"],
    names: ["max", "encodings"],
    use: (o) => Effect.timeout(SqsDeadLetter.peek("full", o), 0)
  },
  {
    what: "SqsDeadLetter.stream",
    names: consumer,
    use: (o) => Stream.runDrain(Stream.take(SqsDeadLetter.stream("full", o), 1))
  },
  {
    what: "SqsDeadLetter.sendBack",
    of: ["SqsDeadLetter.SendBackOptions"],
    names: ["to", "filter", "edit", "encodings", "max", "perSecond", "visibilityTimeout", "retry"],
    free: ["to"],
    use: (o) => Effect.timeout(SqsDeadLetter.sendBack("q", o), 0)
  },
  {
    what: "SqsDeadLetter.moveAll",
    of: ["SqsDeadLetter.MoveOptions", "SqsDeadLetter.WatchOptions"],
    names: ["to", "perSecond", "poll"],
    free: ["to"],
    use: (o) => Stream.runDrain(Stream.take(SqsDeadLetter.moveAll("q", o), 1))
  },
  {
    what: "SqsClaimCheck.make",
    of: ["SqsClaimCheck.Options"],
    names: ["bucket", "prefix", "above", "buckets", "accept", "maxBytes", "deleteAfterAck", "retry"],
    least: { bucket: "bodies" },
    free: ["bucket"],
    use: (o) => SqsClaimCheck.make(o)
  },
  {
    what: "SqsClaimCheck.fetch",
    of: ["SqsClaimCheck.FetchOptions"],
    names: ["concurrency"],
    use: (o) =>
      Effect.flatMap(SqsClaimCheck.make({ bucket: "bodies" }), (claimCheck) =>
        Stream.runDrain(SqsClaimCheck.fetch(claimCheck, o)(Stream.empty))
      )
  },
  {
    what: "S3ObjectStore.layer",
    of: ["S3ObjectStore.Options"],
    names: ["region", "endpoint", "forcePathStyle", "credentials", "bucketOwner", "timeout"],
    free: ["region"],
    use: (o) => Layer.build(S3ObjectStore.layer(withRegion(o)))
  },
  {
    what: "S3ObjectStore.make",
    names: ["bucketOwner", "timeout"],
    use: (o) => S3ObjectStore.make(s3Client, o)
  },
  {
    what: "SqsAsyncApi.bindings",
    of: ["SqsAsyncApi.Options"],
    names: [
      "visibilityTimeout",
      "retention",
      "delay",
      "deadLetter",
      "tags",
      "wait",
      "deduplicationScope",
      "fifoThroughputLimit"
    ],
    free: ["tags"],
    use: (o) => Effect.sync(() => SqsAsyncApi.bindings("q.fifo", o))
  },
  {
    what: "SqsEnvelope.detailType",
    names: ["source"],
    least: { source: "shop" },
    free: ["source"],
    use: (o) => Effect.sync(() => SqsEnvelope.detailType(o))
  },
  {
    what: "SqsBacklog.make",
    of: ["SqsBacklog.Options"],
    names: ["every", "window", "oldest", "groups", "departed", "arrived", "deadLetters"],
    use: (o) => SqsBacklog.make("q", o)
  },
  {
    what: "CloudWatchAge.make",
    of: ["CloudWatchAge.Options"],
    names: ["otherwise"],
    use: (o) => CloudWatchAge.make("q", o)
  },
  {
    what: "CloudWatchAlarms.ensure",
    of: ["CloudWatchAlarms.Options"],
    names: ["prefix", "onAlarm", "onClear", "period"],
    free: ["prefix"],
    use: (o) => CloudWatchAlarms.ensure("q", [], o)
  },
  {
    what: "CloudWatchMetrics.publish",
    of: ["CloudWatchMetrics.Options"],
    names: ["namespace", "dimensions", "every", "backlog", "consumers", "keep"],
    free: ["namespace", "dimensions"],
    use: (o) => Effect.flatMap(SqsConsumer.make("q"), ({ figures }) => CloudWatchMetrics.publish(figures, o))
  },
  {
    what: "CloudWatchScaling.publish",
    of: ["CloudWatchScaling.Options"],
    names: ["namespace", "dimensions", "every"],
    free: ["namespace", "dimensions"],
    use: (o) => Stream.runDrain(CloudWatchScaling.publish(o)(Stream.empty))
  },
  {
    what: "CloudWatchClient.layer",
    of: ["CloudWatchClient.Options"],
    names: ["region", "endpoint", "credentials", "timeout"],
    free: ["region"],
    use: (o) => Layer.build(CloudWatchClient.layer(withRegion(o)))
  },
  {
    what: "SqsLambda.make",
    of: ["invocation.Options"],
    names: invocation,
    use: (o) => SqsLambda.make(Stream.take(0), o)
  },
  {
    what: "SqsLambda.handler",
    of: ["SqsLambda.HandlerOptions"],
    names: [...invocation, "layer"],
    use: (o) => Effect.sync(() => SqsLambda.handler(Stream.take(0), o))
  },
  {
    what: "SqsEmulator.make",
    of: ["SqsEmulator.Options"],
    names: ["queues", "latency", "region", "accountId", "url", "keepDeleted", "inFlightLimit", "waits"],
    use: (o) => SqsEmulator.make(o)
  },
  {
    what: "SqsEmulator.make: a queue",
    of: ["SqsEmulator.QueueOptions"],
    names: emulatedQueue,
    free: ["attributes", "tags"],
    use: (o) => SqsEmulator.make({ queues: { orders: o } })
  },
  {
    what: "SqsEmulator.make: deadLetter of a queue",
    names: ["queue", "maxReceiveCount"],
    least: { queue: "dead", maxReceiveCount: 3 },
    free: ["queue"],
    use: (o) => SqsEmulator.make({ queues: { orders: { deadLetter: o } } })
  },
  {
    what: "SqsHttp.make",
    of: ["SqsHttp.Options"],
    names: ["port", "host", "allowedHosts", "maxConnections"],
    free: ["host"],
    least: { port: 0 },
    use: (o) => SqsHttp.make(o)
  },
  {
    what: "LambdaPoller.make",
    of: ["LambdaPoller.Options"],
    names: ["batchSize", "window", "maximumConcurrency", "reportBatchItemFailures", "timeout"],
    use: (o) =>
      LambdaPoller.make(
        "q",
        Effect.succeed(() => Effect.void),
        o
      )
  },
  {
    what: "faults.script: a fault",
    names: ["delay", "fail", "dropResponse", "failEntries", "atMost", "duplicate", "strand"],
    use: (o) => Effect.flatMap(faults, ({ script }) => script("DeleteMessageBatch", [o]))
  },
  {
    what: "faults.random",
    names: odds,
    use: (o) => Effect.flatMap(faults, ({ random }) => random(o))
  }
]

/** Of parts that hold each other's options; nobody writes them. */
const machinery = ["operations.Options", "sendLanes.Options", "call.Options", "outbox.Options"]

const services = Layer.suspend(() => {
  const cloudWatch = FakeCloudWatch.make().layer
  return Layer.mergeAll(
    SqsEmulator.layer({ queues: { q: {}, full: {} } }),
    cloudWatch,
    Layer.provide(CloudWatchMetrics.layerPutMetricData, cloudWatch),
    Layer.succeed(ObjectStore.ObjectStore, {
      put: () => Effect.void,
      get: () => Effect.succeed(""),
      delete: () => Effect.void
    })
  ).pipe(
    Layer.tap((context) =>
      Context.get(context, SqsEmulator.SqsEmulator).send("full", Array.from({ length: 100 }, String))
    )
  )
})

describe("options", () => {
  testRows(rows, Layer.orDie(services))
  testCoverage(join(import.meta.dirname, "../src"), rows, machinery)
})

describe("a queue", () => {
  it.scoped("among several: other options than its own are refused", () =>
    Effect.gen(function* () {
      const refused = (queue: object) => refusalOf((given) => SqsConsumer.makePrioritized([given]), queue)
      assert.include(yield* refused({ queue: "q", wieght: 3 }), "did you mean queues[0].weight?")
      assert.include(yield* refused({ queue: "q", weight: "3" }), 'queues[0].weight is "3"; write ')
      assert.include(yield* refused({ queue: "q", name: 5 }), "queues[0].name is 5; write ")
    }).pipe(Effect.provide(services))
  )

  it.scoped("the faults of an emulator are of operations that there are", () =>
    Effect.gen(function* () {
      const script = (operation: unknown) =>
        refusalOf((given) => Effect.flatMap(faults, ({ script }) => script(given, [])), operation)
      for (const operation of ["RecieveMessage", undefined, 5]) {
        assert.include(yield* script(operation), 'write an operation of SQS, such as "ReceiveMessage"')
      }
      const random = (operations: unknown) =>
        refusalOf((given) => Effect.flatMap(faults, ({ random }) => random({}, given)), operations)
      assert.include(yield* random(["RecieveMessage"]), "operations[0] is ")
      assert.include(yield* random("ReceiveMessage"), "operations is ")
    }).pipe(Effect.provide(services))
  )

  /** What takes one, and gives it as it was given to. */
  const takers: Readonly<Record<string, (queue: never) => Effect.Effect<unknown, unknown, Needs | Scope.Scope>>> = {
    "SqsProducer.make": (queue) => SqsProducer.make(queue),
    "SqsProducer.forChannel": (queue) => SqsProducer.forChannel(queue, channel),
    "SqsConsumer.make": (queue) => SqsConsumer.make(queue),
    "SqsConsumer.stream": (queue) => Stream.runDrain(SqsConsumer.stream(queue)),
    "SqsConsumer.layer": (queue) => Layer.build(SqsConsumer.layer(Served, queue, Stream.take(0))),
    "SqsConsumer.prioritized": (queue) => Stream.runDrain(SqsConsumer.prioritized([queue])),
    "SqsLeaseQueue.make": (queue) => SqsLeaseQueue.make(queue),
    "SqsQueue.resolve": (queue) => SqsQueue.resolve(queue),
    "SqsQueue.ensure": (queue) => SqsQueue.ensure(queue),
    "SqsDeadLetter.peek": (queue) => SqsDeadLetter.peek(queue),
    "SqsDeadLetter.sendBack": (queue) => SqsDeadLetter.sendBack(queue),
    "SqsDeadLetter.moveAll": (queue) => Stream.runDrain(SqsDeadLetter.moveAll(queue)),
    "SqsDeadLetter.cancelMove": (queue) => SqsDeadLetter.cancelMove(queue),
    "SqsBacklog.make": (queue) => SqsBacklog.make(queue),
    "CloudWatchAge.make": (queue) => CloudWatchAge.make(queue),
    "CloudWatchGroups.make": (queue) => CloudWatchGroups.make(queue),
    "CloudWatchAlarms.ensure": (queue) => CloudWatchAlarms.ensure(queue, []),
    "LambdaPoller.make": (queue) =>
      LambdaPoller.make(
        queue,
        Effect.succeed(() => Effect.void)
      )
  }
  for (const [what, take] of Object.entries(takers)) {
    it.scoped(`${what}: refuses what is none, before anything is called`, () =>
      Effect.gen(function* () {
        for (const value of [undefined, null, 5, "", {}, [], Symbol("q"), { name: "q" }]) {
          const refused = yield* refusalOf(take, value)
          assert.match(refused ?? "", /[wW]rite /, String(value))
        }
        assert.deepStrictEqual(yield* Effect.flatMap(SqsEmulator.SqsEmulator, (sqs) => sqs.calls), {})
      }).pipe(Effect.provide(services))
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
