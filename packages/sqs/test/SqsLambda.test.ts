/** A pipeline as a Lambda function, driven by an event source mapping over the emulator, in virtual time. */
import {
  BatchProcessor,
  EventType,
  processPartialResponse,
  SqsFifoPartialProcessorAsync
} from "@aws-lambda-powertools/batch"
import { SQSClient } from "@aws-sdk/client-sqs"
import { assert, describe, it } from "@effect/vitest"
import { Pipeline, RetryPolicy } from "@millrace/core"
import { SqsError } from "@millrace/sqs"
import { Fault, LambdaPoller, SqsEmulator } from "@millrace/sqs/emulator"
import { type LambdaEvent, SqsLambda } from "@millrace/sqs/lambda"
import type { Context, SQSBatchResponse, SQSEvent, SQSHandler, SQSRecord } from "aws-lambda"
import {
  Clock,
  Deferred,
  Effect,
  Exit,
  Fiber,
  Layer,
  Logger,
  LogLevel,
  Schedule,
  Schema,
  Stream,
  TestClock
} from "effect"
import { afterAll, beforeAll, vi } from "vitest"
import * as Environment from "./support/Environment.js"
import * as FakeServer from "./support/FakeServer.js"

const handled: SqsLambda.Pipeline<unknown, never> = Pipeline.process(() => Effect.void)
const soon = RetryPolicy.redeliver(Schedule.spaced("5 seconds"))

const record = (id: string, fields: { readonly group?: string; readonly source?: string } = {}): SQSRecord => ({
  messageId: id,
  receiptHandle: `handle of ${id}`,
  body: id,
  md5OfBody: "",
  attributes: {
    ApproximateReceiveCount: "1",
    SentTimestamp: "0",
    SenderId: "me",
    ApproximateFirstReceiveTimestamp: "0",
    ...(fields.group !== undefined && { MessageGroupId: fields.group, SequenceNumber: id.padStart(20, "0") })
  },
  messageAttributes: {},
  eventSource: fields.source ?? "aws:sqs",
  eventSourceARN: `arn:aws:sqs:us-east-1:000000000000:orders${fields.group === undefined ? "" : ".fifo"}`,
  awsRegion: "us-east-1"
})

const queues = {
  orders: { visibilityTimeout: "60 seconds", deadLetter: { queue: "dead", maxReceiveCount: 1000 } },
  "orders.fifo": { visibilityTimeout: "60 seconds", deadLetter: { queue: "dead.fifo", maxReceiveCount: 1000 } }
} as const
const silent = Logger.minimumLogLevel(LogLevel.None)
const emulator = SqsEmulator.layer({ queues })
const time = (millis: number) => ({ getRemainingTimeInMillis: () => millis })
const failuresOf = ({ batchItemFailures }: LambdaEvent.LambdaResponse) =>
  batchItemFailures.map(({ itemIdentifier }) => itemIdentifier)

describe("types", () => {
  it("a handler is an SQSHandler, and takes and gives what @types/aws-lambda says", () => {
    const handler = SqsLambda.handler(handled, { layer: emulator })
    const ofTypes: SQSHandler = handler
    const ofEvent: (event: SQSEvent, context: Context) => Promise<SQSBatchResponse> = handler
    assert.strictEqual<unknown>(ofTypes, ofEvent)
  })

  it("options that cannot work are refused when the handler is made", () => {
    assert.throws(() => SqsLambda.handler(handled, { margin: -1 }), /margin is -1/)
  })
})

// Handlers of all tests listen; who else does keeps the process alive, as vitest's worker must stay.
const listener = () => {}
beforeAll(() => {
  process.on("SIGTERM", listener)
})
afterAll(() => {
  process.removeListener("SIGTERM", listener)
})

describe("one event", () => {
  const failing = (bad: ReadonlySet<string>, fifo: boolean) => {
    const pipeline = Pipeline.process((body: string) => (bad.has(body) ? Effect.fail("bad" as const) : Effect.void), {
      retry: soon,
      concurrency: fifo ? 3 : 5
    })
    return SqsLambda.handler(pipeline, { layer: Layer.merge(emulator, silent), reportBatchItemFailures: true })
  }

  it("the same items are reported as by Powertools", async () => {
    for (let seed = 0; seed < 12; seed++) {
      const fifo = seed % 2 === 1
      const records = Array.from({ length: 10 }, (_, i) =>
        record(String(i), fifo ? { group: `g${(i * 7 + seed) % 3}` } : {})
      )
      const bad = new Set(records.map(({ messageId }) => messageId).filter((id) => (Number(id) * 13 + seed) % 4 === 0))
      const handle = async ({ body }: SQSRecord) => {
        if (bad.has(body)) throw new Error("bad")
      }
      const event = { Records: records }
      const theirs = await (fifo
        ? processPartialResponse(event, handle, new SqsFifoPartialProcessorAsync(), {
            throwOnFullBatchFailure: false,
            skipGroupOnError: true
          })
        : processPartialResponse(event, handle, new BatchProcessor(EventType.SQS), { throwOnFullBatchFailure: false }))
      const ours = await failing(bad, fifo)({ Records: records }, time(5000))
      assert.deepStrictEqual(
        failuresOf(ours).toSorted(),
        theirs.batchItemFailures.map(({ itemIdentifier }) => itemIdentifier).toSorted(),
        `seed ${seed}`
      )
    }
  })

  it("an event of something else, and none at all, are refused by what they are", async () => {
    const handler = SqsLambda.handler(handled, { layer: emulator })
    const given = (event: unknown) => handler(event as SQSEvent, time(5000))
    const problems = await Promise.all(
      [{ Records: [record("1", { source: "aws:s3" })] }, { source: "aws.events" }, { key1: "value1" }, null].map(
        (event) =>
          given(event).then(
            () => "answered",
            (error: unknown) => `${Reflect.get(Object(error), "_tag")} ${Reflect.get(Object(error), "message")}`
          )
      )
    )
    assert.match(problems[0] ?? "", /NotAnSqsEvent.*a record of aws:s3/)
    assert.match(problems[1] ?? "", /an event of aws.events/)
    assert.match(problems[2] ?? "", /it has key1/)
    assert.match(problems[3] ?? "", /an event without Records/)
  })

  it("the layer is built once for all events, and again where that failed", async () => {
    let builds = 0
    const layer = Layer.effectDiscard(
      Effect.suspend(() => (++builds === 1 ? Effect.fail("not yet" as const) : Effect.void))
    ).pipe(Layer.provideMerge(emulator))
    const handler = SqsLambda.handler(handled, { layer })
    const event = { Records: [record("1")] }
    assert.strictEqual(await handler(event, time(5000)).catch((error: unknown) => error), "not yet")
    for (let i = 0; i < 3; i++) assert.deepStrictEqual(await handler(event, time(5000)), { batchItemFailures: [] })
    assert.strictEqual(builds, 2)
  })
  it("on SIGTERM what is under way is answered as not done, its layer is closed, and nothing more is taken", async () => {
    const order: Array<string> = []
    let began = () => {}
    const beginning = new Promise<void>((resolve) => {
      began = resolve
    })
    const handler = SqsLambda.handler(
      Pipeline.process(() => Effect.zipRight(Effect.sync(began), Effect.never)),
      {
        layer: Layer.scopedDiscard(Effect.addFinalizer(() => Effect.sync(() => order.push("closed")))).pipe(
          Layer.provideMerge(Layer.merge(emulator, silent))
        ),
        reportBatchItemFailures: true
      }
    )
    const answer = handler({ Records: [record("1")] }, time(60_000)).finally(() => order.push("answered"))
    await beginning
    process.emit("SIGTERM", "SIGTERM")
    assert.deepStrictEqual(failuresOf(await answer), ["1"])
    await vi.waitFor(() => assert.deepStrictEqual(order.toSorted(), ["answered", "closed"]))
    const late = await handler({ Records: [record("2")] }, time(60_000)).then(
      () => "answered",
      () => "refused"
    )
    assert.strictEqual(late, "refused")
  })

  it("on SIGTERM a client of its own lasts until the events that need it are answered", async () => {
    const answers: Readonly<Record<string, (body: FakeServer.Call["body"]) => object>> = {
      GetQueueUrl: () => ({ QueueUrl: "http://sqs.us-east-1.localhost/000000000000/orders" }),
      GetQueueAttributes: () => ({ Attributes: { QueueArn: record("1").eventSourceARN, VisibilityTimeout: "60" } }),
      ChangeMessageVisibilityBatch: ({ Entries }) => ({
        Successful: Entries.map(({ Id }: { readonly Id: string }) => ({ Id })),
        Failed: []
      })
    }
    await Effect.runPromise(
      Effect.gen(function* () {
        const { calls, url } = yield* FakeServer.make(({ body, operation }) => ({
          body: answers[operation]?.(body) ?? {}
        }))
        yield* Environment.set({
          AWS_REGION: "us-east-1",
          AWS_ENDPOINT_URL_SQS: url,
          AWS_ACCESS_KEY_ID: "key",
          AWS_SECRET_ACCESS_KEY: "secret"
        })
        const delayed = () => calls.filter(({ operation }) => operation === "ChangeMessageVisibilityBatch").length
        const began = yield* Deferred.make<void>()
        const disposed: Array<number> = []
        const handler = SqsLambda.handler(
          Pipeline.process(
            (body: string) =>
              body === "bad"
                ? Effect.fail("bad" as const)
                : Effect.zipRight(Deferred.succeed(began, undefined), Effect.never),
            { retry: soon }
          ),
          {
            layer: Layer.merge(
              silent,
              Layer.scopedDiscard(Effect.addFinalizer(() => Effect.sync(() => disposed.push(1))))
            ),
            reportBatchItemFailures: true
          }
        )
        yield* Effect.promise(() => handler({ Records: [record("bad")] }, time(5000)))
        assert.strictEqual(delayed(), 1)
        const answer = handler({ Records: [record("never")] }, time(60_000))
        yield* Deferred.await(began)
        const destroy = vi.spyOn(SQSClient.prototype, "destroy").mockImplementation(() => {
          throw new Error("it does not close")
        })
        process.emit("SIGTERM", "SIGTERM")
        assert.deepStrictEqual(failuresOf(yield* Effect.promise(() => answer)), ["never"])
        assert.strictEqual(delayed(), 2)
        yield* Effect.promise(() =>
          vi.waitFor(() => {
            assert.isAbove(destroy.mock.calls.length, 0)
            assert.lengthOf(disposed, 1)
          })
        ).pipe(Effect.ensuring(Effect.sync(() => destroy.mockRestore())))
      }).pipe(Effect.scoped)
    )
  })

  it("on SIGTERM the process ends when the last of its handlers has closed, and not before", async () => {
    // Those of other tests.
    process.emit("SIGTERM", "SIGTERM")
    await new Promise<void>((resolve) => setImmediate(resolve))
    const others = process.rawListeners("SIGTERM")
    process.removeAllListeners("SIGTERM")
    const exit = vi.spyOn(process, "exit").mockImplementation((() => undefined) as () => never)
    try {
      let finish = () => {}
      const finishing = new Promise<void>((resolve) => {
        finish = resolve
      })
      const closed: Array<string> = []
      const closing = (name: string, until: Promise<void>) =>
        SqsLambda.handler(handled, {
          layer: Layer.scopedDiscard(
            Effect.addFinalizer(() => Effect.promise(() => until.then(() => void closed.push(name))))
          ).pipe(Layer.provideMerge(emulator))
        })
      for (const handler of [closing("first", Promise.resolve()), closing("second", finishing)]) {
        await handler({ Records: [record("1")] }, time(5000))
      }
      assert.strictEqual(process.listenerCount("SIGTERM"), 1)
      process.emit("SIGTERM", "SIGTERM")
      await vi.waitFor(() => assert.deepStrictEqual(closed, ["first"]))
      await new Promise<void>((resolve) => setImmediate(resolve))
      assert.strictEqual(exit.mock.calls.length, 0)
      await closing("third", Promise.resolve())({ Records: [record("1")] }, time(5000))
      assert.strictEqual(process.listenerCount("SIGTERM"), 0, "one that is made meanwhile is closed with the others")
      finish()
      await vi.waitFor(() => assert.strictEqual(exit.mock.calls.length, 1))
      assert.deepStrictEqual(closed, ["first", "second", "third"])
    } finally {
      exit.mockRestore()
      for (const other of others) process.on("SIGTERM", other as NodeJS.SignalsListener)
    }
  })
})

const quiet = Logger.withMinimumLogLevel(LogLevel.None)

describe("in virtual time", () => {
  it.scoped("what runs when the time is over, and what did not begin, is reported", () =>
    Effect.gen(function* () {
      const fn = yield* SqsLambda.make(
        Pipeline.process((body: string) => (body === "2" ? Effect.never : Effect.sleep("1 second")), {
          concurrency: 1
        }),
        { reportBatchItemFailures: true }
      )
      const answer = yield* Effect.fork(fn({ Records: ["1", "2", "3"].map((id) => record(id)) }, time(10_000)))
      yield* TestClock.adjust("8 seconds")
      assert.isNull(answer.unsafePoll())
      yield* TestClock.adjust("2 seconds")
      const exit = answer.unsafePoll()
      assert.deepStrictEqual(
        exit,
        Exit.succeed({ batchItemFailures: [{ itemIdentifier: "2" }, { itemIdentifier: "3" }] })
      )
    }).pipe(quiet, Effect.provide(emulator))
  )

  it.scoped(
    "where the mapping takes no notice of answers, nothing is lost: what is done is deleted, and it fails",
    () =>
      Effect.gen(function* () {
        const sqs = yield* SqsEmulator.SqsEmulator
        const pipeline = Pipeline.process((body: string) => (body === "bad" ? Effect.fail("bad") : Effect.void), {
          retry: soon
        })
        const poller = yield* LambdaPoller.make("orders", SqsLambda.make(pipeline), { timeout: "10 seconds" })
        yield* sqs.send("orders", ["good", "bad", "fine"])
        yield* TestClock.adjust("3 seconds")
        assert.deepStrictEqual(
          (yield* sqs.messages("orders")).map(({ body }) => body),
          ["bad"]
        )
        const [first] = yield* poller.invocations
        assert.strictEqual(first?.outcome, "failed")
      }).pipe(quiet, Effect.provide(emulator))
  )

  it.scoped(
    "a failed message comes again after its policy's delay, and a body that does not decode is dead-lettered",
    () =>
      Effect.gen(function* () {
        const sqs = yield* SqsEmulator.SqsEmulator
        const runs: Array<number> = []
        const pipeline: SqsLambda.Pipeline<unknown, never> = (deliveries) =>
          deliveries.pipe(
            Pipeline.decodeJson(Schema.Number),
            Pipeline.process(
              () =>
                Effect.flatMap(Clock.currentTimeMillis, (now) => {
                  runs.push(now)
                  return Effect.fail("no" as const)
                }),
              {
                retry: RetryPolicy.redeliver(Schedule.spaced("5 seconds"), { attempts: 3 }).pipe(
                  RetryPolicy.orElse(RetryPolicy.deadLetter)
                )
              }
            ),
            Stream.orDie
          )
        yield* LambdaPoller.make("orders", SqsLambda.make(pipeline, { reportBatchItemFailures: true }), {
          reportBatchItemFailures: true,
          timeout: "10 seconds"
        })
        yield* sqs.send("orders", ["1"])
        yield* TestClock.adjust("1 minute")
        assert.deepStrictEqual(runs, [0, 5000, 10_000])
        assert.deepStrictEqual(
          (yield* sqs.messages("dead")).map(({ body }) => body),
          ["1"]
        )
      }).pipe(quiet, Effect.provide(emulator))
  )
  it.scoped("where no delay may be set, that is said once, and messages come again by the queue's own timeout", () =>
    Effect.gen(function* () {
      const sqs = yield* SqsEmulator.SqsEmulator
      const warnings: Array<string> = []
      const logger = Logger.make(({ logLevel, message }) => {
        if (logLevel._tag === "Warning") warnings.push(String(message))
      })
      const denied = Fault.fail((operation) => new SqsError.AccessDenied({ operation, message: "denied" }))
      yield* sqs.faults.script("ChangeMessageVisibilityBatch", Array(20).fill(denied))
      const runs: Array<number> = []
      const pipeline = Pipeline.process(
        () => Effect.flatMap(Clock.currentTimeMillis, (now) => Effect.fail(String(runs.push(now)))),
        { retry: soon }
      )
      yield* LambdaPoller.make("orders", SqsLambda.make(pipeline, { reportBatchItemFailures: true }), {
        reportBatchItemFailures: true,
        timeout: "10 seconds",
        maximumConcurrency: 1
      }).pipe(Effect.provide(Logger.replace(Logger.defaultLogger, logger)))
      yield* sqs.send("orders", ["1"])
      yield* TestClock.adjust("150 seconds")
      assert.deepStrictEqual(runs, [0, 60_000, 120_000])
      assert.strictEqual(warnings.filter((text) => text.includes("sqs:ChangeMessageVisibility")).length, 1)
    }).pipe(Effect.provide(emulator))
  )
})

describe("the end of the function's time", () => {
  it.scoped("whatever does not answer, the event is answered before it", () =>
    Effect.gen(function* () {
      const sqs = yield* SqsEmulator.SqsEmulator
      // Lambda, as long as it takes.
      const { url } = yield* FakeServer.make(() => undefined)
      yield* Environment.set({
        AWS_ENDPOINT_URL_LAMBDA: url,
        AWS_ACCESS_KEY_ID: "key",
        AWS_SECRET_ACCESS_KEY: "secret"
      })
      const late = Array(20).fill(Fault.delay("1 hour"))
      yield* sqs.faults.script("ChangeMessageVisibilityBatch", late)
      yield* sqs.faults.script("DeleteMessageBatch", late)
      const fn = yield* SqsLambda.make(
        Pipeline.process(
          (body: string) =>
            body === "done" ? Effect.void : body === "never" ? Effect.never : Effect.fail("bad" as const),
          { retry: soon, concurrency: 3 }
        )
      )
      const invocation = {
        ...time(10_000),
        invokedFunctionArn: "arn:aws:lambda:us-east-1:000000000000:function:fulfil"
      }
      const records = ["done", "bad", "never"].map((id) => record(id))
      const answer = yield* Effect.fork(fn({ Records: records }, invocation))
      for (let millis = 0; millis < 9_900; millis += 100) yield* TestClock.adjust("100 millis")
      const exit = answer.unsafePoll()
      assert.isTrue(exit !== null && Exit.isFailure(exit))
      assert.match(String(exit), /MessagesFailed/)
    }).pipe(quiet, Effect.provide(emulator))
  )

  it.scoped("an event that is interrupted interrupts its pipeline", () =>
    Effect.gen(function* () {
      const began = yield* Deferred.make<void>()
      const ended = yield* Deferred.make<void>()
      const fn = yield* SqsLambda.make((deliveries) =>
        Stream.concat(
          Stream.drain(handled(deliveries)),
          Stream.fromEffect(
            Deferred.succeed(began, undefined).pipe(
              Effect.zipRight(Effect.never),
              Effect.onInterrupt(() => Deferred.succeed(ended, undefined))
            )
          )
        )
      )
      const answer = yield* Effect.fork(fn({ Records: [record("1")] }, time(60_000)))
      yield* Deferred.await(began)
      yield* Fiber.interrupt(answer)
      yield* Deferred.await(ended)
    }).pipe(quiet, Effect.provide(emulator))
  )
})

describe("LambdaPoller", () => {
  it.scoped("polls that fail at once, while a batch is gathered, are not repeated at once", () =>
    Effect.gen(function* () {
      const sqs = yield* SqsEmulator.SqsEmulator
      const broken = Fault.fail((operation) => new SqsError.TransportError({ operation, message: "refused" }))
      yield* sqs.send("orders", ["1"])
      yield* sqs.faults.script("ReceiveMessage", [Fault.none, ...Array(100).fill(broken)])
      const poller = yield* LambdaPoller.make("orders", SqsLambda.make(handled), {
        window: "10 seconds",
        batchSize: 20,
        maximumConcurrency: 1
      })
      yield* TestClock.adjust("9999 millis")
      assert.isAtMost((yield* sqs.calls).ReceiveMessage ?? 0, 12)
      yield* TestClock.adjust("1 second")
      assert.lengthOf(yield* poller.invocations, 1)
    }).pipe(quiet, Effect.provide(emulator))
  )
})
