/** Calls before the work begins are tried again as receives are: one that is throttled or lost ends nothing. */
import { assert, describe, it } from "@effect/vitest"
import { Pipeline, type Served } from "@millrace/core"
import { SqsBacklog, type SqsClient, SqsConsumer, SqsDeadLetter, SqsError, SqsProducer, SqsQueue } from "@millrace/sqs"
import { Fault, SqsEmulator } from "@millrace/sqs/emulator"
import { Chunk, Context, Effect, Either, Fiber, Layer, Logger, Schedule, type Scope, Stream, TestClock } from "effect"

class Orders extends Context.Tag("Orders")<Orders, Served.Served>() {}

const queues = { dlq: {}, orders: { deadLetter: { queue: "dlq", maxReceiveCount: 3 } } }
const handle = Pipeline.process(() => Effect.void)

type Start = Effect.Effect<unknown, unknown, SqsClient.SqsClient | Scope.Scope>

/** Each ends by itself once its look-ups are done. */
const starts: Readonly<Record<string, Start>> = {
  "SqsConsumer.stream": SqsConsumer.stream("orders").pipe(handle, Stream.take(1), Stream.runDrain),
  "SqsConsumer.make": SqsConsumer.make("orders"),
  "SqsConsumer.layer": Layer.build(
    SqsConsumer.layer(Orders, "orders", (deliveries) => handle(deliveries), { restart: Schedule.spaced("1 second") })
  ),
  "SqsProducer.make": SqsProducer.make("orders"),
  "SqsQueue.resolve": SqsQueue.resolve("orders"),
  "SqsQueue.ensure": SqsQueue.ensure("orders", {
    deadLetter: { queue: "dlq", maxReceiveCount: 4 },
    visibilityTimeout: "1 minute",
    tags: { team: "a" },
    update: true
  }),
  "SqsBacklog.make": SqsBacklog.make("orders", { deadLetters: true }),
  "SqsDeadLetter.peek": SqsDeadLetter.peek("orders"),
  "SqsDeadLetter.sendBack": SqsDeadLetter.sendBack("dlq"),
  "SqsDeadLetter.moveAll": Stream.runDrain(SqsDeadLetter.moveAll("dlq")),
  "SqsDeadLetter.cancelMove": SqsDeadLetter.cancelMove("dlq")
}

const logged = () => {
  const said: Array<string> = []
  const logger = Logger.make(({ logLevel, message }) => logLevel.label === "WARN" && said.push(String(message)))
  return { said, layer: Logger.replace(Logger.defaultLogger, logger) }
}

describe.each(Object.entries(starts))("%s", (name, start) => {
  it.scoped("goes on after look-ups that were throttled, or had no answer", () =>
    Effect.gen(function* () {
      const sqs = yield* SqsEmulator.SqsEmulator
      yield* sqs.send("orders", ["one"])
      for (const operation of ["GetQueueUrl", "GetQueueAttributes"] as const) {
        yield* sqs.faults.script(operation, [Fault.throttle, Fault.dropResponse])
      }
      for (const operation of ["SetQueueAttributes", "TagQueue", "ListQueueTags"] as const) {
        yield* sqs.faults.script(operation, [Fault.dropResponse])
      }
      yield* sqs.faults.script("ReceiveMessage", [Fault.throttle])
      const fiber = yield* Effect.fork(Effect.either(start))
      for (let i = 0; i < 40 && fiber.unsafePoll() === null; i++) yield* TestClock.adjust("2 seconds")
      assert.isTrue(Either.isRight(yield* Fiber.join(fiber)), name)
    }).pipe(Effect.provide(SqsEmulator.layer({ queues })))
  )

  it.scoped("what is for good fails at once", () =>
    Effect.gen(function* () {
      const sqs = yield* SqsEmulator.SqsEmulator
      const denied = Fault.fail((operation) => new SqsError.AccessDenied({ operation, message: "no" }))
      yield* sqs.faults.script("GetQueueUrl", [denied])
      assert.isTrue(Either.isLeft(yield* Effect.either(start)), name)
      assert.strictEqual((yield* sqs.calls).GetQueueUrl, 1)
    }).pipe(Effect.provide(SqsEmulator.layer({ queues })))
  )
})

describe("how long", () => {
  const outage = (start: Start, minutes: number) =>
    Effect.gen(function* () {
      const { layer, said } = logged()
      const sqs = yield* SqsEmulator.SqsEmulator
      yield* sqs.send("orders", ["one"])
      yield* sqs.faults.random({ throttle: 1 })
      const fiber = yield* Effect.fork(Effect.provide(Effect.either(start), layer))
      yield* TestClock.adjust(`${minutes} minutes`)
      const lasted = fiber.unsafePoll() === null
      yield* sqs.faults.clear
      yield* TestClock.adjust("40 seconds")
      return { lasted, ended: yield* Fiber.join(fiber), said }
    }).pipe(Effect.scoped, Effect.provide(SqsEmulator.layer({ queues })))
  const { "SqsConsumer.stream": stream, "SqsConsumer.layer": layer, "SqsProducer.make": producer } = starts

  it.effect("a consumer waits for its queue as long as it would for messages, and warns once", () =>
    Effect.gen(function* () {
      for (const start of [stream, layer]) {
        const { ended, lasted, said } = yield* outage(start ?? Effect.void, 3)
        assert.isTrue(lasted && Either.isRight(ended))
        assert.strictEqual(said.filter((line) => /could not look up orders, trying again: /.test(line)).length, 1)
      }
    })
  )

  it.effect("what somebody waits for is given up after a minute, with the error", () =>
    Effect.gen(function* () {
      const { ended, lasted } = yield* outage(producer ?? Effect.void, 2)
      assert.isFalse(lasted)
      assert.strictEqual(Either.isLeft(ended) && Reflect.get(Object(ended.left), "_tag"), "RequestThrottled")
    })
  )

  it.effect("`receiveRetry` says it too", () =>
    Effect.gen(function* () {
      const impatient = SqsConsumer.stream("orders", { receiveRetry: Schedule.recurs(2) })
      const { ended, lasted } = yield* outage(Stream.runCollect(impatient).pipe(Effect.map(Chunk.size)), 1)
      assert.isTrue(!lasted && Either.isLeft(ended))
    })
  )
})
