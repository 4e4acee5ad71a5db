import { assert, describe, it } from "@effect/vitest"
import { Pipeline, RetryPolicy, type Served } from "@millrace/core"
import { SqsClient, SqsConsumer } from "@millrace/sqs"
import { SqsEmulator, SqsHttp } from "@millrace/sqs/emulator"
import { Context, Effect, Fiber, Layer, Redacted, Schedule, Schema, Stream } from "effect"

class Orders extends Context.Tag("test/Orders")<Orders, Served.Served>() {}

const Order = Schema.Struct({ order_id: Schema.Number, item: Schema.String, quantity: Schema.Number })

describe("SqsConsumer", () => {
  it.effect("the pipeline of the README runs against the emulator without time having to pass", () =>
    Effect.gen(function* () {
      const fulfilled: Array<number> = []
      const program = SqsConsumer.stream("order-processing-queue", { maxInFlight: 200 }).pipe(
        Pipeline.decodeJson(Order),
        Pipeline.process((order) => Effect.sync(() => fulfilled.push(order.order_id)), {
          concurrency: 64,
          retry: RetryPolicy.redeliver(Schedule.exponential("1 second").pipe(Schedule.jittered), { attempts: 5 }).pipe(
            RetryPolicy.orElse(RetryPolicy.deadLetter)
          )
        }),
        Stream.runDrain
      )
      const sqs = yield* SqsEmulator.SqsEmulator
      yield* sqs.send("order-processing-queue", [{ order_id: 1, item: "widget", quantity: 1 }])
      yield* Effect.fork(program)
      yield* sqs.settled("order-processing-queue", 1)
      assert.deepStrictEqual(fulfilled, [1])
    }).pipe(Effect.provide(SqsEmulator.layer({ queues: { "order-processing-queue": {} } })))
  )

  it.effect("as a Layer it works in the background and is drained when the Layer closes", () =>
    Effect.gen(function* () {
      const sqs = yield* SqsEmulator.SqsEmulator
      yield* sqs.send("orders", [1, 2, 3])
      yield* Effect.gen(function* () {
        const orders = yield* Orders
        yield* sqs.settled("orders", 3)
        assert.isTrue((yield* orders.health()).healthy)
      }).pipe(
        Effect.provide(
          SqsConsumer.layer(
            Orders,
            "orders",
            Pipeline.process(() => Effect.void)
          )
        )
      )
      assert.strictEqual((yield* sqs.snapshot("orders")).inFlight, 0)
    }).pipe(Effect.provide(SqsEmulator.layer({ queues: { orders: {} } })))
  )

  it.effect("a queue that does not exist fails the stream at once, by AWS's name", () =>
    SqsConsumer.stream("no-such-queue").pipe(
      Stream.runDrain,
      Effect.flip,
      Effect.map((error) => assert.strictEqual(error._tag, "QueueDoesNotExist")),
      Effect.provide(SqsEmulator.layer({}))
    )
  )
})

const queues = { "jobs.fifo": { deadLetter: { queue: "dead.fifo", maxReceiveCount: 20 } } }
const emulator = SqsEmulator.layer({ queues })

const overHttp = Layer.unwrapEffect(
  Effect.map(SqsHttp.SqsHttp, ({ endpoint }) =>
    SqsClient.layer({
      region: "us-east-1",
      endpoint,
      credentials: { accessKeyId: "test", secretAccessKey: Redacted.make("test") }
    })
  )
).pipe(Layer.provide(SqsHttp.layer({ port: 0 })), Layer.provideMerge(emulator))

// What only the wire shows (names of errors, encodings, a batch's results, an aborted poll) must change nothing of it.
describe.each([
  ["in process", emulator],
  ["through the AWS SDK, over HTTP", overHttp]
])("a pipeline on a FIFO queue, %s", (_, layer) => {
  it.scopedLive("retries, dead-letters, keeps the order of its groups and drains", () =>
    Effect.gen(function* () {
      const sqs = yield* SqsEmulator.SqsEmulator
      const groups = ["a", "b", "c", "d"]
      const jobs = Array.from({ length: 60 }, (_, i) => ({ group: groups[i % 4] ?? "", n: i }))
      yield* sqs.send("jobs.fifo", [
        ...jobs.map((job) => SqsEmulator.message(JSON.stringify(job), { group: job.group })),
        SqsEmulator.message("not JSON", { group: "a" }),
        SqsEmulator.message(JSON.stringify({ group: "a", n: 100 }), { group: "a" })
      ])
      const done: Array<{ readonly group: string; readonly n: number }> = []
      const failed = new Set<number>()
      const consumer = yield* SqsConsumer.make("jobs.fifo", { maxInFlight: 20 })
      const fiber = yield* consumer.stream.pipe(
        Pipeline.decodeJson(Schema.Struct({ group: Schema.String, n: Schema.Number })),
        Pipeline.process(
          (job) =>
            Effect.suspend(() => {
              if (job.n === 9) return Effect.fail("never" as const)
              if (job.n % 10 === 3 && !failed.has(job.n)) {
                failed.add(job.n)
                return Effect.fail("once" as const)
              }
              done.push(job)
              return Effect.void
            }),
          {
            retry: RetryPolicy.match({ DecodeError: RetryPolicy.deadLetter }).pipe(
              RetryPolicy.orElse(RetryPolicy.redeliver(Schedule.spaced("1 millis"), { attempts: 3 })),
              RetryPolicy.orElse(RetryPolicy.deadLetter)
            )
          }
        ),
        Stream.runDrain,
        Effect.fork
      )
      yield* sqs.settled("jobs.fifo", 62)
      const report = yield* consumer.drain()
      yield* Fiber.join(fiber)
      for (const group of groups) {
        const expected = [...jobs, { group: "a", n: 100 }].filter((job) => job.group === group && job.n !== 9)
        assert.deepStrictEqual(
          done.filter((job) => job.group === group),
          expected
        )
      }
      const dead = yield* sqs.messages("dead.fifo")
      assert.deepStrictEqual(dead.map(({ body }) => body).sort(), ["not JSON", JSON.stringify(jobs[9])].sort())
      assert.strictEqual(report.lost, 0)
      assert.strictEqual((yield* sqs.snapshot("jobs.fifo")).inFlight, 0)
    }).pipe(Effect.provide(layer))
  )
})
