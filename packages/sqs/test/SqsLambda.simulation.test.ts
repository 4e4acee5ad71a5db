/**
 * Functions over seeds: whatever fails (polls, deletes, delays, handlers, the function's time, its answers, containers), no
 * message is lost, none is answered as done that is not, none that is done is reported, and a FIFO queue's order holds.
 */
import { assert, describe, it } from "@effect/vitest"
import { type LeaseQueue, Pipeline, RetryPolicy } from "@millrace/core"
import { Simulation } from "@millrace/core/testing"
import { SqsError } from "@millrace/sqs"
import { Fault, LambdaPoller, SqsEmulator } from "@millrace/sqs/emulator"
import { type LambdaEvent, SqsLambda } from "@millrace/sqs/lambda"
import { Clock, Effect, Logger, LogLevel, Random, Schedule } from "effect"
import { seeds } from "../../../test/long.js"

const queues = {
  orders: { visibilityTimeout: "60 seconds", deadLetter: { queue: "dead", maxReceiveCount: 1000 } },
  "orders.fifo": { visibilityTimeout: "60 seconds", deadLetter: { queue: "dead.fifo", maxReceiveCount: 1000 } }
} as const
const margin = 500

const soon = RetryPolicy.redeliver(Schedule.spaced("5 seconds"))
const denied = Fault.fail((operation) => new SqsError.AccessDenied({ operation, message: "denied" }))

/** What became of the messages, as their handler and their policy know. */
class Record {
  /** Succeeded or given up: bodies, and the receipt handles by which they came then. */
  readonly done = new Set<string>()
  readonly #running = new Map<string, number>()
  readonly disorders: Array<string> = []
  readonly #fifo: boolean

  constructor(fifo: boolean) {
    this.#fifo = fifo
  }

  /** What is not done and still in the queue comes before what is behind it: that it is to be dead-lettered is not enough. */
  begin(body: string, queued: ReadonlySet<string>): void {
    const [group = "", place] = body.split("/")
    const running = (this.#running.get(group) ?? 0) + 1
    this.#running.set(group, running)
    if (!this.#fifo) return
    if (running > 1) this.disorders.push(`${body} beside another of ${group}`)
    for (let i = 0; i < Number(place); i++) {
      const before = `${group}/${i}`
      if (!this.done.has(before) && queued.has(before)) this.disorders.push(`${body} before ${before}`)
    }
  }

  leave(body: string): void {
    const [group = ""] = body.split("/")
    this.#running.set(group, (this.#running.get(group) ?? 0) - 1)
  }
}

const handler = (
  record: Record,
  { body, lease }: LeaseQueue.Message,
  queued: Effect.Effect<ReadonlySet<string>, SqsError.SqsError>
) =>
  Effect.acquireUseRelease(
    Effect.map(queued, (bodies) => record.begin(body, bodies)),
    () =>
      Effect.gen(function* () {
        yield* Effect.sleep(yield* Random.nextIntBetween(0, 2000))
        const fate = yield* Random.next
        if (fate < 0.1) return yield* Effect.fail("no" as const)
        if (fate < 0.12) return yield* Effect.never
        if (fate < 0.14) return yield* Effect.die("bug")
        if (fate < 0.16) return yield* Effect.fail("given up" as const)
        if (fate < 0.18) return yield* Effect.fail("hopeless" as const)
        record.done.add(body).add(lease.handle)
      }),
    () => Effect.sync(() => record.leave(body))
  )

/** The function as its platform has it: it may be refused a container, its answer may be lost, and so may its container. */
const unreliable =
  (
    fn: LambdaPoller.LambdaFunction,
    look: (event: LambdaEvent.LambdaEvent, answer: unknown, began: number) => Effect.Effect<void, SqsError.SqsError>
  ) =>
  (event: LambdaEvent.LambdaEvent, context: LambdaEvent.LambdaContext) =>
    Effect.gen(function* () {
      const fate = yield* Random.next
      if (fate < 0.03) return yield* Effect.fail("TooManyRequests" as const)
      const began = yield* Clock.currentTimeMillis
      const given = fn(event, context)
      const answer = yield* Effect.isEffect(given) ? given : Effect.dieMessage("a promise, in virtual time")
      yield* look(event, answer, began)
      if (fate < 0.06) return yield* Effect.fail("the answer was lost" as const)
      if (fate < 0.08) return yield* Effect.never
      return answer
    })

const trial = (name: "orders" | "orders.fifo") =>
  Effect.gen(function* () {
    const sqs = yield* SqsEmulator.SqsEmulator
    const fifo = name === "orders.fifo"
    const odd = Effect.map(Random.next, (x) => x * 0.1)
    const record = new Record(fifo)
    const clock = yield* Effect.clock
    const now = () => clock.unsafeCurrentTimeMillis()
    const bodiesIn = (queue: string) =>
      Effect.map(sqs.messages(queue), (messages) => new Set(messages.map(({ body }) => body)))
    const deadBodies = bodiesIn(fifo ? "dead.fifo" : "dead")
    const concurrency = yield* Random.nextIntBetween(1, 12)
    const pipeline = Pipeline.process((_: string, { message }) => handler(record, message, bodiesIn(name)), {
      concurrency,
      retry: (failure, { message: { body, lease } }) => {
        if (failure === "given up") {
          record.done.add(body).add(lease.handle)
          return RetryPolicy.discard
        }
        return failure === "hopeless" ? RetryPolicy.deadLetter : soon
      }
    })
    const told = yield* Random.nextBoolean
    const timeout = 1000 * (yield* Random.nextIntBetween(3, 20))
    let shutdownAt = -1
    const wrong: Array<string> = []
    const look = (event: LambdaEvent.LambdaEvent, answer: unknown, began: number) =>
      Effect.map(deadBodies, (dead) => {
        const failures = LambdaPoller.failuresIn(answer, new Set(event.Records.map(({ messageId }) => messageId)))
        const undisturbed = shutdownAt < began && now() < began + timeout - margin
        const undone = event.Records.filter(({ receiptHandle }) => !record.done.has(receiptHandle))
        // A standard queue may have brought a message twice, and only one of them is done.
        const undoneIds = new Set(undone.map(({ messageId }) => messageId))
        for (const { body, messageId, receiptHandle } of event.Records) {
          const isReported = failures?.includes(messageId) ?? true
          if (isReported && undisturbed && !undoneIds.has(messageId)) wrong.push(`${body} is reported, and done`)
          const isDone = record.done.has(receiptHandle) || dead.has(body)
          if (!isReported && !isDone) wrong.push(`${body} is not reported, and not done`)
        }
      })
    const container = SqsLambda.make(pipeline, { reportBatchItemFailures: told, margin })
    const poller = yield* LambdaPoller.make(
      name,
      Effect.map(container, (fn) => unreliable(fn, look)),
      {
        reportBatchItemFailures: told || (yield* Random.nextBoolean),
        maximumConcurrency: yield* Random.nextIntBetween(1, 6),
        timeout,
        ...(!fifo && { window: "2 seconds", batchSize: yield* Random.nextIntBetween(1, 25) })
      }
    )
    yield* sqs.faults.random({
      fail: yield* odd,
      throttle: yield* odd,
      dropResponse: yield* odd,
      failEntry: yield* odd,
      delay: yield* odd,
      ...(!fifo && { duplicate: yield* odd })
    })
    if (yield* Random.nextBoolean) {
      const delays = yield* Random.nextIntBetween(0, 30)
      yield* sqs.faults.script("ChangeMessageVisibilityBatch", Array(delays).fill(denied))
    }
    const groups = yield* Random.nextIntBetween(1, 6)
    const count = yield* Random.nextIntBetween(1, 24)
    const bodies = Array.from({ length: count }, (_, i) => `g${i % groups}/${Math.floor(i / groups)}`)
    yield* sqs.send(
      name,
      bodies.map((body) => SqsEmulator.message(body, fifo ? { group: body.split("/")[0] ?? "" } : {}))
    )
    for (let i = yield* Random.nextIntBetween(0, 3); i > 0; i--) {
      yield* Effect.sleep(yield* Random.nextIntBetween(0, 20_000))
      shutdownAt = now()
      yield* poller.shutdown
    }
    yield* sqs.idle(name)
    assert.deepStrictEqual([...record.disorders, ...wrong], [])
    const dead = yield* deadBodies
    assert.deepStrictEqual(
      bodies.filter((body) => !record.done.has(body) && !dead.has(body)),
      []
    )
  }).pipe(Logger.withMinimumLogLevel(LogLevel.None), Effect.scoped, Effect.provide(SqsEmulator.layer({ queues })))

describe("whatever fails, over many seeds", () => {
  for (const [name, from] of [
    ["orders", 0],
    ["orders.fifo", 1000]
  ] as const) {
    it(`nothing of ${name} is lost`, { timeout: 600_000 }, () =>
      Simulation.checkInTurns({ seeds: seeds({ short: 20, long: 150 }), from }, trial(name))
    )
  }
})
