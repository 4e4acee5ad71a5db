/**
 * Every object of options that the package takes, with the names of its options: what TypeScript refuses is refused at run
 * time too, since JavaScript and configurations call it as well. An options interface without a row here fails the test.
 */
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import {
  AdaptiveConcurrency,
  Alarm,
  AsyncApi,
  Backlog,
  Channel,
  Circuit,
  CloudEvents,
  Consumer,
  type Delivery,
  Diagnosis,
  Envelope,
  Figures,
  Idempotency,
  IdempotencyStore,
  Message,
  Pipeline,
  Prioritized,
  ProcessLoad,
  Quota,
  RetryPolicy,
  Scaling,
  Served,
  Throttle,
  Tunable
} from "@millrace/core"
import { MemoryIdempotencyStore, MemoryQueue, Simulation } from "@millrace/core/testing"
import { Cause, Context, Effect, Exit, Layer, Logger, Schedule, Schema, type Scope, Stream } from "effect"
import { type Row, refusalOf, testCoverage, testRows } from "../../../test/support/options.js"

type Use = (options: never) => Effect.Effect<unknown, unknown, Scope.Scope>

/** What it is, its options, what it needs at least, and how it is used. */
type Entry = readonly [what: string, names: ReadonlyArray<string>, least: object, use: Use]

const consumer = [
  "name",
  "maxInFlight",
  "rate",
  "quota",
  "wait",
  "linger",
  "receiveRetry",
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
  "spans"
]
const concurrency = ["concurrency", "sequence", "ackAhead", "share"]
const share = ["key", "concurrency", "rate", "weight", "waiting"]
const process = [...concurrency, "retry", "timeout", "holdLimit", "onFailure", "circuit", "span", "once"]
const batch = ["max", "maxBytes", "within"]
const hold = ["for", "clearFor"]
const levels = ["above", "clearAt", ...hold]

const withConsumer = <A, E>(
  f: (made: Consumer.Consumer<MemoryQueue.MemoryQueueError>) => Effect.Effect<A, E, Scope.Scope>
) =>
  Effect.gen(function* () {
    return yield* f(yield* Consumer.make(yield* MemoryQueue.make()))
  })

const stage = (
  f: (source: Stream.Stream<Delivery.Delivery<string>>) => Stream.Stream<unknown, unknown>
): Effect.Effect<void, unknown> => Stream.runDrain(f(Stream.empty))

const backlogOf = Backlog.make({
  queue: "q",
  counts: Effect.succeed({ visible: 0, inFlight: 0, delayed: 0 }),
  errorKind: () => "transient"
})

const alarm = (made: Alarm.Alarm) => made.ready

class Orders extends Context.Tag("Orders")<Orders, Served.Served>() {}

const nothing = () => Effect.void

const Placed = Message.make("Placed", { schema: Schema.String })
const channel = Channel.make("orders", { messages: [Placed] })

/** What may be any text. */
const free = new Set([
  ...["title", "version", "description"].map((name) => `AsyncApi.document.${name}`),
  "Channel.make.description",
  "Message.make.description",
  "Idempotency.run.key",
  ...["source", "prefix", "subject"].map((name) => `CloudEvents.structured.${name}`),
  ...["type", "version", "data"].map((name) => `Envelope.fields.${name}`)
])

const rows: ReadonlyArray<Entry> = [
  ["Consumer.make", consumer, {}, (o) => Effect.flatMap(MemoryQueue.make(), (queue) => Consumer.make(queue, o))],
  [
    "Consumer.stream",
    consumer,
    {},
    (o) =>
      Effect.gen(function* () {
        const queue = yield* MemoryQueue.make()
        yield* queue.send(["a"])
        yield* Stream.runDrain(Stream.take(Consumer.stream(queue, o), 1))
      })
  ],
  [
    "Prioritized.stream",
    [...consumer.filter((name) => name !== "name" && name !== "rate" && name !== "quota"), "floor"],
    {},
    (o) =>
      Effect.gen(function* () {
        const queue = yield* MemoryQueue.make()
        yield* queue.send(["a"])
        yield* Stream.runDrain(Stream.take(Prioritized.stream([{ queue }], o), 1))
      })
  ],
  ["drain", ["deadline", "interrupted", "flushWithin"], {}, (o) => withConsumer((made) => made.drain(o))],
  ["health", ["stuckFactor", "stuckAfter", "staleAfter"], {}, (o) => withConsumer((made) => made.health(o))],
  [
    "Served.layer",
    [...consumer, "restart"],
    {},
    (o) => Layer.build(Served.layer(Orders, MemoryQueue.make(), Stream.take(0), o))
  ],
  ["Pipeline.mapEffect", concurrency, {}, (o) => stage(Pipeline.mapEffect(nothing, o))],
  ["Pipeline.process: share", share, {}, (o) => stage(Pipeline.process(nothing, { share: o }))],
  ["Pipeline.process", process, {}, (o) => stage(Pipeline.process(nothing, o))],
  [
    "Pipeline.route",
    ["concurrency", "sequence", "ackAhead", "retry", "holdLimit", "onFailure", "span"],
    {},
    (o) => stage(Pipeline.route(channel, { Placed: nothing }, o))
  ],
  [
    "Message.make",
    ["schema", "version", "group", "deduplicationId", "description"],
    { schema: Schema.String },
    (o) => Effect.sync(() => Message.make("Placed", o))
  ],
  [
    "Channel.make",
    ["messages", "envelope", "description"],
    { messages: [Placed] },
    (o) => Effect.sync(() => Channel.make("orders", o))
  ],
  [
    "AsyncApi.document",
    ["title", "version", "description"],
    { title: "Shop", version: "1.0.0" },
    (o) => Effect.sync(() => AsyncApi.document([], o))
  ],
  [
    "CloudEvents.structured",
    ["source", "prefix", "subject"],
    { source: "/orders" },
    (o) => Effect.sync(() => CloudEvents.structured(o))
  ],
  ["Envelope.fields", ["type", "version", "data"], {}, (o) => Effect.sync(() => Envelope.fields(o))],
  ["Pipeline.settle", ["retry"], {}, (o) => stage(Pipeline.settle(o))],
  ["Pipeline.merge", ["weights"], {}, (o) => Stream.runDrain(Pipeline.merge([Stream.empty], o))],
  [
    "Quota.make",
    ["name", "limit", "window", "burst", "otherwise", "timeout"],
    { name: "api", limit: 1, otherwise: "wait" },
    (o) => Quota.make({ consume: () => Effect.never }, o)
  ],
  ["Pipeline.coalesce", ["key", "within", "fold"], { key: "group" }, (o) => stage(Pipeline.coalesce(o))],
  ["Pipeline.batch", batch, { max: 2 }, (o) => stage(Pipeline.batch(o))],
  ["Pipeline.processBatches", [...process, ...batch], { max: 2 }, (o) => stage(Pipeline.processBatches(nothing, o))],
  ["RetryPolicy.redeliver", ["attempts"], {}, (o) => Effect.sync(() => RetryPolicy.redeliver(Schedule.forever, o))],
  [
    "Idempotency.by",
    ["payload", "keepFor", "callTimeout", "whenStoreFails", "result"],
    {},
    (o) => Effect.sync(() => Idempotency.by(() => "key", o))
  ],
  [
    "Idempotency.run",
    ["key", "payload", "result", "holdFor", "keepFor", "callTimeout"],
    { key: "key", result: Schema.Void },
    (o: Idempotency.RunOptions<void, void, never>) =>
      Effect.flatMap(MemoryIdempotencyStore.make(), (store) =>
        Effect.provideService(Idempotency.run(o)(Effect.void), IdempotencyStore.IdempotencyStore, store)
      )
  ],
  [
    "MemoryIdempotencyStore.make",
    ["batchSize", "resultBytes", "latency", "faults"],
    {},
    (o) => MemoryIdempotencyStore.make(o)
  ],
  ["Circuit.make", ["name", "trips", "threshold", "probeAfter", "probes"], { trips: ["A"] }, (o) => Circuit.make(o)],
  ["Circuit.make: threshold", ["rate", "minimum", "window"], {}, (o) => Circuit.make({ trips: [], threshold: o })],
  [
    "Backlog.make",
    ["every", "window", "oldest", "groups", "departed", "arrived"],
    {},
    (o) => Backlog.make({ queue: "q", counts: Effect.never, errorKind: () => "transient" }, o)
  ],
  ["Alarm.make", hold, {}, (o) => alarm(Alarm.make("a", { judge: () => "well", describe: () => "" }, o))],
  ["Alarm.backlog", [...levels, "growingBy"], { above: 1 }, (o) => alarm(Alarm.backlog(o))],
  ["Alarm.oldest", levels, { above: 1 }, (o) => alarm(Alarm.oldest(o))],
  ["Alarm.timeToDrain", [...levels, "atLeast"], { above: 1 }, (o) => alarm(Alarm.timeToDrain(o))],
  ["Alarm.deadLetters", levels, {}, (o) => alarm(Alarm.deadLetters(o))],
  ["Alarm.inFlight", [...levels, "limit"], {}, (o) => alarm(Alarm.inFlight(o))],
  ["Alarm.noProgress", hold, {}, (o) => alarm(Alarm.noProgress(o))],
  [
    "Throttle.stopAbove",
    ["rate", "resumeAt", "maxAge", "producers"],
    { rate: 1 },
    (o) => Throttle.stopAbove(10, o).control
  ],
  [
    "Throttle.targetBacklog",
    ["max", "min", "initial", "horizon", "window", "maxAge", "lag", "deadband", "producers"],
    { max: 10 },
    (o) => Throttle.targetBacklog(10, o).control
  ],
  [
    "Throttle.make",
    ["holdFor", "sent"],
    {},
    (o) => Effect.flatMap(backlogOf, (backlog) => Throttle.make(backlog, Throttle.constant(1), o))
  ],
  [
    "Scaling.plan",
    ["min", "max", "floor", "scaleOutCooldown", "scaleInCooldown", "slack", "groups", "groupsPerConsumer"],
    { max: 3 },
    (o) => Scaling.plan(Scaling.timeToDrain("1 minute"), o)
  ],
  [
    "Scaling.advice: fleet",
    ["running", "rate"],
    {},
    (o) =>
      Effect.flatMap(backlogOf, (backlog) =>
        Stream.runHead(Scaling.advice(backlog, Scaling.timeToDrain("1 minute"), { max: 3 }, o))
      )
  ],
  ["Scaling.measured", ["window"], {}, (o) => Scaling.measured(Effect.never, o)],
  ["Figures.intervals", ["every"], {}, (o) => Stream.runDrain(Figures.intervals(Effect.interrupt, o))],
  [
    "AdaptiveConcurrency.make",
    ["max", "min", "every", "overload", "tolerance", "stage"],
    { max: 10 },
    (o) =>
      withConsumer((made) =>
        Effect.flatMap(Tunable.make("slots", 5), (slots) => AdaptiveConcurrency.make(slots, made.figures, o))
      )
  ],
  [
    "Diagnosis.judge",
    ["window", "drainWithin", "inFlightLimit", "consumers"],
    {},
    (o) => Diagnosis.judge({ intervals: [] }, o)
  ],
  [
    "Diagnosis.of",
    ["window", "drainWithin", "inFlightLimit", "consumers", "every", "memory"],
    {},
    (o) => withConsumer((made) => Effect.provide(Diagnosis.of(made, undefined, o), ProcessLoad.layerUnknown))
  ],
  [
    "MemoryQueue.make",
    [
      "name",
      "ordered",
      "leaseDuration",
      "maxLease",
      "maxWait",
      "batchSize",
      "deadLetters",
      "maxAttempts",
      "latency",
      "strandAborted",
      "faults",
      "onEvent"
    ],
    {},
    (o) => MemoryQueue.make(o)
  ],
  [
    "Simulation.run",
    ["order", "startAt", "maxWakes", "maxElapsed", "leaks"],
    {},
    (o) => Effect.sync(() => Simulation.run(1, Effect.void, o))
  ],
  [
    "Simulation.check",
    ["order", "startAt", "maxWakes", "maxElapsed", "leaks", "seeds", "from"],
    {},
    (o) => Effect.sync(() => Simulation.check(o, Effect.void))
  ]
]

/** Which row stands for which interface. */
const covered = [
  ["Consumer.Options", "Consumer.make"],
  ["Consumer.DrainOptions", "drain"],
  ["AsyncApi.Options", "AsyncApi.document"],
  ["Channel.Options", "Channel.make"],
  ["CloudEvents.Options", "CloudEvents.structured"],
  ["Envelope.FieldOptions", "Envelope.fields"],
  ["Message.Options", "Message.make"],
  ["Pipeline.RouteOptions", "Pipeline.route"],
  ["Health.Options", "health"],
  ["Served.Options", "Served.layer"],
  ["Pipeline.ConcurrencyOptions", "Pipeline.mapEffect"],
  ["Pipeline.SettleOptions", "Pipeline.settle"],
  ["Pipeline.ProcessOptions", "Pipeline.process"],
  ["Pipeline.BatchOptions", "Pipeline.batch"],
  ["Pipeline.CoalesceOptions", "Pipeline.coalesce"],
  ["Pipeline.ProcessBatchesOptions", "Pipeline.processBatches"],
  ["Prioritized.Options", "Prioritized.stream"],
  ["Share.Options", "Pipeline.process: share"],
  ["Pipeline.MergeOptions", "Pipeline.merge"],
  ["Quota.Options", "Quota.make"],
  ["Circuit.Options", "Circuit.make"],
  ["Backlog.Options", "Backlog.make"],
  ["Throttle.StopOptions", "Throttle.stopAbove"],
  ["Throttle.TargetOptions", "Throttle.targetBacklog"],
  ["Throttle.Options", "Throttle.make"],
  ["Scaling.Options", "Scaling.plan"],
  ["Scaling.MeasuredOptions", "Scaling.measured"],
  ["AdaptiveConcurrency.Options", "AdaptiveConcurrency.make"],
  ["Diagnosis.Options", "Diagnosis.judge"],
  ["Diagnosis.WatchOptions", "Diagnosis.of"],
  ["MemoryQueue.Options", "MemoryQueue.make"],
  ["MemoryIdempotencyStore.Options", "MemoryIdempotencyStore.make"],
  ["Idempotency.KeyOptions", "Idempotency.by"],
  ["Idempotency.Options", "Idempotency.by"],
  ["Idempotency.RunOptions", "Idempotency.run"],
  ["Pipeline.OnceOptions", "Pipeline.process"],
  ["Simulation.Options", "Simulation.run"],
  ["Simulation.CheckOptions", "Simulation.check"]
] as const

/** Made by consumers alone. */
const machinery = ["Intake", "LeaseKeeper", "Settler", "groupOrder", "batches"].map((name) => `${name}.Options`)

const table: ReadonlyArray<Row<never>> = rows.map(([what, names, least, use]) => ({
  what,
  of: covered.flatMap(([of, row]) => (row === what ? [of] : [])),
  names,
  least,
  free: names.filter((name) => free.has(`${what}.${name}`)),
  anything: what === "Idempotency.run" ? ["payload"] : [],
  use
}))

describe("options", () => {
  testRows(table, Layer.empty)
  testCoverage(join(import.meta.dirname, "../src"), table, machinery)
})

/** The messages logged at warning and above. */
const warningsOf = <A, E>(effect: Effect.Effect<A, E>) =>
  Effect.gen(function* () {
    const lines: Array<string> = []
    const keep = Logger.make(({ logLevel, message }) => {
      if (logLevel.ordinal >= 30_000) lines.push(String(message))
    })
    yield* Effect.exit(Effect.provide(effect, Logger.replace(Logger.defaultLogger, keep)))
    return lines
  })

describe("options that work, and are most likely not what was meant", () => {
  const handled = (
    stage: (source: Stream.Stream<Delivery.Delivery<string>, unknown>) => Stream.Stream<unknown, unknown>,
    maxInFlight: number
  ) =>
    Effect.gen(function* () {
      const queue = yield* MemoryQueue.make()
      yield* queue.send(["a"])
      return yield* warningsOf(
        Effect.timeout(Stream.runDrain(stage(Consumer.stream(queue, { maxInFlight }))), "1 minute")
      )
    })
  const run = <A, E>(effect: Effect.Effect<A, E>) => {
    const { exit } = Simulation.run(1, effect)
    if (Exit.isFailure(exit)) throw Cause.squash(exit.cause)
    return exit.value
  }

  it("a bare number below a second, where seconds are usual", () => {
    const [line, ...more] = run(handled(Pipeline.process(nothing, { timeout: 30 }), 20))
    assert.strictEqual(
      line,
      'timeout is 30, and a number is milliseconds; write "30 seconds" if seconds are meant, and "30 millis" if not'
    )
    assert.deepStrictEqual(more, [])
    assert.deepStrictEqual(run(handled(Pipeline.process(nothing, { timeout: "30 millis" }), 20)), [])
  })

  it("batches that can never be full", () => {
    const [line, ...more] = run(handled(Pipeline.processBatches(nothing, { max: 100 }), 50))
    assert.match(line ?? "", /^max is 100, and at most 50 messages of memory are in flight: .*raise maxInFlight/)
    assert.deepStrictEqual(more, [])
    assert.deepStrictEqual(run(handled(Pipeline.processBatches(nothing, { max: 50 }), 50)), [])
  })

  it("more slots than there can be messages", () => {
    const [line] = run(handled(Pipeline.process(nothing, { concurrency: 64 }), 10))
    assert.match(line ?? "", /^concurrency is 64, and at most 10 messages of memory are in flight: .*raise maxInFlight/)
  })

  it("more slots than there can be messages, of a stage that passes them on", () => {
    const mapped = (concurrency: number) =>
      run(
        handled((deliveries) => Pipeline.process(nothing)(Pipeline.mapEffect(nothing, { concurrency })(deliveries)), 10)
      )
    const [line, ...more] = mapped(64)
    assert.match(line ?? "", /^concurrency is 64, and at most 10 messages of memory are in flight: .*raise maxInFlight/)
    assert.deepStrictEqual(more, [])
    assert.deepStrictEqual(mapped(10), [])
  })

  it("counts the queues together where several are merged", () => {
    const two = run(
      Effect.gen(function* () {
        const a = yield* MemoryQueue.make({ name: "a" })
        const b = yield* MemoryQueue.make({ name: "b" })
        yield* a.send(["x"])
        const both = Stream.merge(Consumer.stream(a, { maxInFlight: 10 }), Consumer.stream(b, { maxInFlight: 10 }))
        return yield* warningsOf(Stream.runDrain(Stream.take(Pipeline.process(nothing, { concurrency: 20 })(both), 1)))
      })
    )
    assert.deepStrictEqual(two, [])
  })
})

describe("a policy's place", () => {
  const refused = (retry: unknown) => refusalOf((o) => stage(Pipeline.process(nothing, o)), { retry })

  it.effect("takes no number of attempts and no Schedule, and says what it takes", () =>
    Effect.gen(function* () {
      const write =
        'write a RetryPolicy, such as RetryPolicy.redeliver(Schedule.exponential("1 second"), { attempts: 5 })'
      assert.include(yield* refused(3), `retry is 3; ${write}`)
      assert.include(yield* refused(Schedule.recurs(3)), `retry is a Schedule; ${write}`)
    })
  )

  it("throws where a policy is made of what is none", () => {
    const wrong = 3 as never
    for (const make of [
      () => RetryPolicy.redeliver(wrong),
      () => RetryPolicy.inPlace(wrong),
      () => RetryPolicy.orElse(RetryPolicy.discard, wrong),
      () => RetryPolicy.match<{ readonly _tag: "A" }>({ A: wrong })
    ]) {
      assert.throws(make, /is 3; write a /)
    }
  })
})
