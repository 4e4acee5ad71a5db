/** What the stages do elsewhere they do in a function too: each by the events of a mapping, in virtual time. */
import { assert, describe, it } from "@effect/vitest"
import { Channel, Circuit, Idempotency, Message, Pipeline, RetryPolicy } from "@millrace/core"
import { MemoryIdempotencyStore } from "@millrace/core/testing"
import { SqsProducer } from "@millrace/sqs"
import { Fault, LambdaPoller, SqsEmulator } from "@millrace/sqs/emulator"
import { SqsLambda } from "@millrace/sqs/lambda"
import { Clock, Effect, Either, Layer, Logger, LogLevel, Schedule, Schema, TestClock } from "effect"

const emulator = SqsEmulator.layer({
  queues: {
    orders: { visibilityTimeout: "60 seconds", deadLetter: { queue: "dead", maxReceiveCount: 1000 } },
    "orders.fifo": { visibilityTimeout: "60 seconds", deadLetter: { queue: "dead.fifo", maxReceiveCount: 1000 } },
    plain: { visibilityTimeout: "60 seconds" }
  }
})
const quiet = Logger.withMinimumLogLevel(LogLevel.None)
const soon = RetryPolicy.redeliver(Schedule.spaced("5 seconds"))

/** One container at a time, whose answers are heeded. */
const mapped = <E, R>(
  pipeline: SqsLambda.Pipeline<E, R>,
  { queue = "orders", ...options }: LambdaPoller.Options & { readonly queue?: string } = {}
) =>
  LambdaPoller.make(queue, SqsLambda.make(pipeline, { reportBatchItemFailures: true }), {
    reportBatchItemFailures: true,
    maximumConcurrency: 1,
    timeout: "30 seconds",
    ...options
  })

const bodiesIn = (queue: string) =>
  Effect.flatMap(SqsEmulator.SqsEmulator, (sqs) =>
    Effect.map(sqs.messages(queue), (messages) => messages.map(({ body }) => body))
  )

describe("retry policies", () => {
  it.scoped("discard: what fails is deleted, and does not come again", () =>
    Effect.gen(function* () {
      const sqs = yield* SqsEmulator.SqsEmulator
      const runs: Array<string> = []
      const poller = yield* mapped(
        Pipeline.process(
          (body: string) =>
            Effect.zipRight(
              Effect.sync(() => runs.push(body)),
              Effect.fail("no")
            ),
          {
            retry: RetryPolicy.discard
          }
        )
      )
      yield* sqs.send("orders", ["1"])
      yield* TestClock.adjust("2 minutes")
      assert.deepStrictEqual(runs, ["1"])
      assert.deepStrictEqual([...(yield* bodiesIn("orders")), ...(yield* bodiesIn("dead"))], [])
      assert.deepStrictEqual((yield* poller.invocations)[0]?.failures, [])
    }).pipe(quiet, Effect.provide(emulator))
  )

  it.scoped("deadLetter: where the queue has no dead-letter queue nothing is lost, and the others are done", () =>
    Effect.gen(function* () {
      const sqs = yield* SqsEmulator.SqsEmulator
      const poller = yield* mapped(
        Pipeline.process((body: string) => (body === "bad" ? Effect.fail("no") : Effect.void), {
          retry: RetryPolicy.deadLetter
        }),
        { queue: "plain" }
      )
      yield* sqs.send("plain", ["bad", "good"])
      yield* TestClock.adjust("40 seconds")
      assert.deepStrictEqual(yield* bodiesIn("plain"), ["bad"])
      assert.lengthOf((yield* poller.invocations)[0]?.failures ?? [], 1)
    }).pipe(quiet, Effect.provide(emulator))
  )

  it.scoped("deadLetter: calls that take a while are awaited as long as the function has time", () =>
    Effect.gen(function* () {
      const sqs = yield* SqsEmulator.SqsEmulator
      for (const operation of ["SendMessageBatch", "DeleteMessageBatch"] as const) {
        yield* sqs.faults.script(operation, Array(10).fill(Fault.delay("2 seconds")))
      }
      const poller = yield* mapped(Pipeline.process(() => Effect.fail("no"), { retry: RetryPolicy.deadLetter }))
      yield* sqs.send("orders", ["bad"])
      yield* TestClock.adjust("20 seconds")
      const [first] = yield* poller.invocations
      assert.deepStrictEqual(first?.failures, [])
      assert.deepStrictEqual([yield* bodiesIn("orders"), yield* bodiesIn("dead")], [[], ["bad"]])
    }).pipe(quiet, Effect.provide(emulator))
  )

  it.scoped(
    "poison: what cannot be read is dead-lettered by its first event, with its reason; what may succeed is not",
    () =>
      Effect.gen(function* () {
        const sqs = yield* SqsEmulator.SqsEmulator
        const runs: Array<number> = []
        const poller = yield* mapped((deliveries) =>
          deliveries.pipe(
            Pipeline.decodeJson(Schema.Number),
            Pipeline.process((n) => (runs.push(n) === 1 ? Effect.fail("not yet") : Effect.void), {
              retry: RetryPolicy.orElse(RetryPolicy.poison, soon)
            })
          )
        )
        yield* sqs.send("orders", ["{", "1"])
        yield* TestClock.adjust("10 seconds")
        assert.deepStrictEqual(runs, [1, 1])
        assert.deepStrictEqual(
          (yield* poller.invocations).map(({ failures, records }) => [records.length, failures.length]),
          [
            [2, 1],
            [1, 0]
          ]
        )
        const [letter] = yield* sqs.messages("dead")
        assert.strictEqual(letter?.body, "{")
        assert.match(JSON.stringify(letter?.attributes), /DecodeError/)
      }).pipe(quiet, Effect.provide(emulator))
  )
})

describe("circuit", () => {
  it.scoped(
    "open: what was not tried is reported, no policy is asked, and events wait for it until their time is over",
    () =>
      Effect.gen(function* () {
        const sqs = yield* SqsEmulator.SqsEmulator
        let up = false
        const runs: Array<readonly [string, number]> = []
        const circuit = yield* Circuit.make({ trips: ["Down"], threshold: { minimum: 1 }, probeAfter: "20 seconds" })
        const poller = yield* mapped(
          Pipeline.process(
            (body: string) =>
              Effect.flatMap(Clock.currentTimeMillis, (now) => {
                runs.push([body, now])
                return up ? Effect.void : Effect.fail({ _tag: "Down" } as const)
              }),
            { circuit, concurrency: 1, retry: RetryPolicy.deadLetter }
          ),
          { timeout: "10 seconds" }
        )
        yield* sqs.send("orders", ["1", "2", "3"])
        yield* TestClock.adjust("19 seconds")
        assert.lengthOf(runs, 1)
        const [first] = yield* poller.invocations
        assert.lengthOf(first?.failures ?? [], 3)
        assert.isAtLeast(first?.millis ?? 0, 9000)
        up = true
        yield* TestClock.adjust("2 minutes")
        assert.deepStrictEqual(
          runs
            .slice(1)
            .map(([body]) => body)
            .toSorted(),
          ["1", "2", "3"]
        )
        assert.isAtLeast(runs[1]?.[1] ?? 0, 20_000)
        assert.deepStrictEqual([...(yield* bodiesIn("orders")), ...(yield* bodiesIn("dead"))], [])
      }).pipe(quiet, Effect.provide(emulator))
  )
})

describe("once", () => {
  it.scoped("what was done by an event whose answer was lost is not done again by the next", () =>
    Effect.gen(function* () {
      const sqs = yield* SqsEmulator.SqsEmulator
      const runs: Array<string> = []
      let answers = 0
      const container = SqsLambda.make(
        Pipeline.process((body: string) => Effect.sync(() => runs.push(body)), {
          once: Idempotency.by((body) => body)
        }),
        { reportBatchItemFailures: true }
      )
      const poller = yield* LambdaPoller.make(
        "orders",
        Effect.map(
          container,
          (fn): LambdaPoller.LambdaFunction =>
            (event, context) =>
              Effect.tap(fn(event, context), () => (answers++ === 0 ? Effect.dieMessage("lost") : Effect.void))
        ),
        { reportBatchItemFailures: true, maximumConcurrency: 1 }
      )
      yield* sqs.send("orders", ["1", "2"])
      yield* TestClock.adjust("70 seconds")
      assert.deepStrictEqual(
        (yield* poller.invocations).map(({ outcome, records }) => [outcome, records.length]),
        [
          ["failed", 2],
          ["answered", 2]
        ]
      )
      assert.deepStrictEqual(runs.toSorted(), ["1", "2"])
      assert.deepStrictEqual(yield* bodiesIn("orders"), [])
    }).pipe(quiet, Effect.provide(Layer.merge(emulator, MemoryIdempotencyStore.layer())))
  )

  it.scoped("what another container is doing is given back for a while, and not done twice", () =>
    Effect.gen(function* () {
      const sqs = yield* SqsEmulator.SqsEmulator
      let runs = 0
      const poller = yield* mapped(
        Pipeline.process(
          () =>
            Effect.zipRight(
              Effect.sync(() => runs++),
              Effect.sleep("8 seconds")
            ),
          {
            once: Idempotency.by(() => "ship 1", { payload: "any" })
          }
        ),
        { batchSize: 1, maximumConcurrency: 2 }
      )
      yield* sqs.send("orders", ["1", "1 again"])
      yield* TestClock.adjust("25 seconds")
      assert.strictEqual(runs, 1)
      // An event for each five seconds of the other's work, and none that waits for it.
      const events = yield* poller.invocations
      assert.deepStrictEqual(
        events.map(({ at, millis }) => [at, millis]),
        [
          [0, 0],
          [5000, 0],
          [0, 8000],
          [10_000, 0]
        ]
      )
      assert.deepStrictEqual(yield* bodiesIn("orders"), [])
    }).pipe(quiet, Effect.provide(Layer.merge(emulator, MemoryIdempotencyStore.layer())))
  )
})

describe("shares", () => {
  const keyOf = (body: string) => body.split("/")[0]
  const noisy = ["noisy/1", "noisy/2", "noisy/3", "noisy/4", "noisy/5", "noisy/6", "quiet/1"]

  it.scoped("a key that has much in an event leaves slots to the others, and all of it is done", () =>
    Effect.gen(function* () {
      const sqs = yield* SqsEmulator.SqsEmulator
      const begun: Array<readonly [string, number]> = []
      const poller = yield* mapped(
        Pipeline.process(
          (body: string) =>
            Effect.flatMap(Clock.currentTimeMillis, (now) => {
              begun.push([body, now])
              return Effect.sleep("1 second")
            }),
          { concurrency: 3, share: { key: keyOf, concurrency: 2 } }
        )
      )
      yield* sqs.send("orders", noisy)
      yield* TestClock.adjust("10 seconds")
      const at = (time: number) => begun.filter(([, began]) => began === time).map(([body]) => keyOf(body))
      assert.deepStrictEqual(at(0).toSorted(), ["noisy", "noisy", "quiet"])
      assert.deepStrictEqual(at(1000), ["noisy", "noisy"])
      assert.lengthOf(begun, noisy.length)
      assert.deepStrictEqual((yield* poller.invocations)[0]?.failures, [])
    }).pipe(quiet, Effect.provide(emulator))
  )

  it.scoped("what its rate does not let begin in the function's time is reported, and done by later events", () =>
    Effect.gen(function* () {
      const sqs = yield* SqsEmulator.SqsEmulator
      const done: Array<readonly [string, number]> = []
      const poller = yield* mapped(
        Pipeline.process((body: string) => Effect.map(Clock.currentTimeMillis, (now) => done.push([body, now])), {
          share: { key: keyOf, rate: { perSecond: 1, burst: 1 } }
        }),
        { timeout: "4 seconds" }
      )
      yield* sqs.send("orders", noisy)
      yield* TestClock.adjust("2999 millis")
      assert.deepStrictEqual(
        done.map(([, at]) => at),
        [0, 0, 1000, 2000]
      )
      yield* TestClock.adjust("3 minutes")
      const [first] = yield* poller.invocations
      assert.isAtLeast(first?.failures.length ?? 0, 2)
      assert.deepStrictEqual(done.map(([body]) => body).toSorted(), noisy)
      assert.deepStrictEqual(yield* bodiesIn("orders"), [])
    }).pipe(quiet, Effect.provide(emulator))
  )
})

describe("routes", () => {
  const OrderPlaced = Message.make("OrderPlaced", { schema: Schema.Struct({ order: Schema.String }) })
  const OrderCancelled = Message.make("OrderCancelled", { schema: Schema.Struct({ order: Schema.String }) })
  const shop = Channel.make("shop", { messages: [OrderPlaced, OrderCancelled] })

  it.scoped(
    "each message of an event goes to its handler with its own policy, and an unknown one to the dead letters",
    () =>
      Effect.gen(function* () {
        const sqs = yield* SqsEmulator.SqsEmulator
        const producer = yield* SqsProducer.forChannel("orders", shop, { linger: 0 })
        yield* producer.send(OrderPlaced.of({ order: "1" }))
        yield* producer.send(OrderCancelled.of({ order: "2" }))
        yield* sqs.send("orders", ['{"order":"3"}'])
        const placed: Array<string> = []
        const poller = yield* mapped(
          Pipeline.route(
            shop,
            {
              OrderPlaced: ({ order }) => Effect.sync(() => placed.push(order)),
              OrderCancelled: { handler: () => Effect.fail("no"), retry: RetryPolicy.discard }
            },
            { retry: RetryPolicy.deadLetter }
          )
        )
        yield* TestClock.adjust("10 seconds")
        assert.deepStrictEqual(placed, ["1"])
        assert.deepStrictEqual(yield* bodiesIn("dead"), ['{"order":"3"}'])
        assert.deepStrictEqual(yield* bodiesIn("orders"), [])
        assert.deepStrictEqual((yield* poller.invocations)[0]?.failures, [])
      }).pipe(quiet, Effect.provide(emulator))
  )
})

describe("batches", () => {
  it.scoped("the last one of an event waits for no more, and only the message that failed is reported", () =>
    Effect.gen(function* () {
      const sqs = yield* SqsEmulator.SqsEmulator
      const sizes: Array<number> = []
      const poller = yield* mapped(
        Pipeline.processBatches(
          (bodies: ReadonlyArray<string>) =>
            Effect.sync(() => {
              sizes.push(bodies.length)
              return bodies.map((body) => (body === "13" ? Either.left("no") : Either.void))
            }),
          { max: 10, within: "20 seconds", retry: RetryPolicy.redeliver(Schedule.spaced("5 minutes")) }
        ),
        { batchSize: 25, window: "1 second" }
      )
      yield* sqs.send(
        "orders",
        Array.from({ length: 25 }, (_, i) => String(i))
      )
      yield* TestClock.adjust("3 seconds")
      assert.deepStrictEqual(sizes, [10, 10, 5])
      assert.lengthOf((yield* poller.invocations)[0]?.failures ?? [], 1)
      assert.deepStrictEqual(yield* bodiesIn("orders"), ["13"])
    }).pipe(quiet, Effect.provide(emulator))
  )

  it.scoped(
    "on a FIFO queue what follows a failed message in its group is reported with it, whatever its own result",
    () =>
      Effect.gen(function* () {
        const sqs = yield* SqsEmulator.SqsEmulator
        let fails = true
        const done: Array<string> = []
        const poller = yield* mapped(
          Pipeline.processBatches(
            (bodies: ReadonlyArray<string>) =>
              Effect.sync(() =>
                bodies.map((body) => {
                  if (body === "a/1" && fails) return Either.left("no")
                  done.push(body)
                  return Either.void
                })
              ),
            { max: 10, retry: soon }
          ),
          { queue: "orders.fifo" }
        )
        const bodies = ["a/0", "b/0", "a/1", "a/2", "b/1"]
        yield* sqs.send(
          "orders.fifo",
          bodies.map((body) => SqsEmulator.message(body, { group: body.charAt(0) }))
        )
        yield* TestClock.adjust("1 second")
        assert.lengthOf((yield* poller.invocations)[0]?.failures ?? [], 2)
        assert.deepStrictEqual(yield* bodiesIn("orders.fifo"), ["a/1", "a/2"])
        fails = false
        yield* TestClock.adjust("10 seconds")
        assert.deepStrictEqual(done.slice(-2), ["a/1", "a/2"])
        assert.deepStrictEqual(yield* bodiesIn("orders.fifo"), [])
      }).pipe(quiet, Effect.provide(emulator))
  )
})
