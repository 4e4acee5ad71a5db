import { assert, describe, it } from "@effect/vitest"
import { Alarm, Backlog, type Delivery, Pipeline, Throttle } from "@millrace/core"
import { Simulation } from "@millrace/core/testing"
import { Duration, Effect, Fiber, Stream } from "effect"
import { Fault, SqsEmulator } from "../src/emulator/index.js"
import { SqsBacklog, type SqsClient, SqsConsumer } from "../src/index.js"

const queue = "orders"

const emulated = <A, E>(
  program: Effect.Effect<A, E, SqsEmulator.SqsEmulator | SqsClient.SqsClient>,
  options: SqsEmulator.Options = { queues: { [queue]: { deadLetter: { queue: "orders-dlq", maxReceiveCount: 1 } } } }
) => Simulation.check({ seeds: 3 }, Effect.provide(program, SqsEmulator.layer(options)))

const numbered = (n: number) => Array.from({ length: n }, (_, i) => String(i))

describe("SqsBacklog", () => {
  it("visible, in flight, delayed, and the dead letters, as the queue tells them", () =>
    emulated(
      Effect.gen(function* () {
        const sqs = yield* SqsEmulator.SqsEmulator
        yield* sqs.send(queue, numbered(30))
        yield* sqs.send(queue, [SqsEmulator.message("later", { delay: "10 minutes" })])
        yield* sqs.send("orders-dlq", numbered(2))
        const backlog = yield* SqsBacklog.make(queue, { deadLetters: true })
        yield* Effect.fork(
          SqsConsumer.stream(queue, { maxInFlight: 10 }).pipe(
            Pipeline.process(() => Effect.never),
            Stream.runDrain
          )
        )
        yield* Effect.sleep("1 second")
        const sample = yield* backlog.sample
        assert.deepInclude(sample, { _tag: "Fresh", visible: 20, inFlight: 10, delayed: 1 })
        assert.deepInclude(sample, { deadLetters: { visible: 2, inFlight: 0, delayed: 0 } })
      }).pipe(Effect.scoped)
    ))

  it("one call a reading, two with dead letters, whoever listens, and none when nobody does", () =>
    emulated(
      Effect.gen(function* () {
        const sqs = yield* SqsEmulator.SqsEmulator
        const calls = Effect.map(sqs.calls, ({ GetQueueAttributes = 0 }) => GetQueueAttributes)
        const one = yield* SqsBacklog.make(queue)
        const two = yield* SqsBacklog.make(queue, { deadLetters: true })
        const before = yield* calls
        const listen = (backlog: Backlog.Backlog<unknown>) => Effect.fork(Stream.runDrain(backlog.samples))
        const three = yield* Effect.all([listen(one), listen(one), listen(one)])
        yield* Effect.sleep("55 seconds")
        assert.strictEqual((yield* calls) - before, 6)
        yield* Fiber.interruptAll(three)
        const also = yield* listen(two)
        yield* Effect.sleep("55 seconds")
        assert.strictEqual((yield* calls) - before, 6 + 12)
        yield* Fiber.interrupt(also)
        yield* Effect.sleep("5 minutes")
        assert.strictEqual((yield* calls) - before, 6 + 12)
      }).pipe(Effect.scoped)
    ))

  it("throttling makes samples stale; a queue that was deleted ends them with its error", () =>
    emulated(
      Effect.gen(function* () {
        const sqs = yield* SqsEmulator.SqsEmulator
        const backlog = yield* SqsBacklog.make(queue)
        yield* sqs.send(queue, numbered(3))
        yield* sqs.faults.script("GetQueueAttributes", [Fault.none, Fault.throttle])
        const tags: Array<string> = []
        const run = yield* Effect.fork(
          Effect.flip(Stream.runForEach(backlog.samples, ({ _tag }) => Effect.sync(() => tags.push(_tag))))
        )
        yield* Effect.sleep("25 seconds")
        assert.deepStrictEqual(tags, ["Fresh", "Stale", "Fresh"])
        yield* sqs.client.deleteQueue({ QueueUrl: sqs.queueUrl(queue) })
        assert.strictEqual((yield* Fiber.join(run))._tag, "QueueDoesNotExist")
      }).pipe(Effect.scoped)
    ))

  it("a queue without dead letters refuses to read them", () =>
    emulated(
      Effect.gen(function* () {
        const refused = yield* Effect.flip(Effect.scoped(SqsBacklog.make("plain", { deadLetters: true })))
        assert.strictEqual(refused._tag, "InvalidQueue")
        assert.match(refused.message, /no dead-letter queue/)
      }),
      { queues: { plain: {} } }
    ))

  it("rates, age and alarms of a consumer that is too slow: 20 a second come and 2 are done", () =>
    emulated(
      Effect.gen(function* () {
        const sqs = yield* SqsEmulator.SqsEmulator
        const consumer = yield* SqsConsumer.make(queue, { maxInFlight: 10 })
        const estimate = yield* Backlog.ageEstimate
        const backlog = yield* SqsBacklog.make(queue, {
          oldest: estimate,
          departed: Effect.map(consumer.stats, ({ acked }) => acked)
        })
        const handle = (_: string, __: Delivery.Delivery<string>) => Effect.sleep("500 millis")
        yield* Effect.fork(
          consumer.stream.pipe(estimate.through, Pipeline.process(handle, { concurrency: 1 }), Stream.runDrain)
        )
        yield* Effect.fork(Effect.forever(Effect.zipRight(sqs.send(queue, numbered(20)), Effect.sleep("1 second"))))
        const alarms = [Alarm.backlog({ above: 1_000 }), Alarm.oldest({ above: "2 minutes" }), Alarm.noProgress()]
        const fired: Array<string> = []
        yield* Effect.fork(
          backlog.samples.pipe(
            Alarm.watch(alarms, ({ _tag, alarm }) => Effect.sync(() => fired.push(`${_tag} ${alarm}`)))
          )
        )
        yield* Effect.sleep("5 minutes")
        const sample = yield* backlog.sample
        if (sample._tag !== "Fresh") return assert.fail("stale")
        assert.approximately(sample.growth ?? 0, 18, 0.5)
        assert.approximately(sample.departures?.perSecond ?? 0, 2, 0.2)
        assert.approximately(sample.arrivals?.perSecond ?? 0, 20, 0.7)
        // The 600th was sent in the 30th second, and is being worked on in the 300th.
        assert.strictEqual(sample.oldest?.kind, "estimated")
        assert.approximately(Duration.toSeconds(sample.oldest?.duration ?? 0), 270, 12)
        assert.deepStrictEqual(fired, ["Fired backlog", "Fired oldest"])
      }).pipe(Effect.scoped)
    ))

  it("of two queues, alarms on what is stuck, dead or nearly full fire once and clear once, each on its own queue", () =>
    emulated(
      Effect.gen(function* () {
        const sqs = yield* SqsEmulator.SqsEmulator
        const [stuck, other] = yield* Effect.all([
          SqsBacklog.make(queue, { deadLetters: true }),
          SqsBacklog.make("other")
        ])
        const heard: Array<string> = []
        yield* Effect.fork(
          Backlog.all([stuck, other]).pipe(
            Alarm.watch(
              [
                Alarm.noProgress(),
                Alarm.deadLetters(),
                Alarm.inFlight({ limit: 20 }),
                Alarm.timeToDrain({ above: "10 minutes" })
              ],
              ({ _tag, alarm, queue }) => Effect.sync(() => heard.push(`${queue}: ${alarm} ${_tag}`))
            )
          )
        )
        // Nobody receives, and a message is dead; of the other queue 19 of 20 are in flight.
        yield* sqs.send(queue, numbered(200))
        yield* sqs.send("orders-dlq", ["dead"])
        yield* sqs.send("other", numbered(19))
        const held = yield* Effect.fork(
          SqsConsumer.stream("other", { maxInFlight: 19 }).pipe(
            Pipeline.process(() => Effect.sleep("8 minutes"), { concurrency: 19 }),
            Stream.runDrain
          )
        )
        yield* Effect.sleep("10 minutes")
        assert.deepStrictEqual([...heard].sort(), [
          "orders: dead letters Fired",
          "orders: no progress Fired",
          "orders: time to drain Fired",
          "other: in flight Fired"
        ])
        yield* Fiber.interrupt(held)
        yield* sqs.client.purgeQueue({ QueueUrl: sqs.queueUrl("orders-dlq") })
        const working = yield* Effect.fork(
          SqsConsumer.stream(queue).pipe(
            Pipeline.process(() => Effect.sleep("1 second")),
            Stream.runDrain
          )
        )
        yield* Effect.sleep("10 minutes")
        yield* Fiber.interrupt(working)
        assert.strictEqual(new Set(heard).size, heard.length)
        assert.strictEqual(heard.length, 8)
      }).pipe(Effect.scoped),
      { queues: { [queue]: { deadLetter: { queue: "orders-dlq", maxReceiveCount: 1 } }, other: {} } }
    ))

  it("a producer throttled by the queue's backlog keeps it at its target", () =>
    emulated(
      Effect.gen(function* () {
        const sqs = yield* SqsEmulator.SqsEmulator
        const throttle = yield* Throttle.make(
          yield* SqsBacklog.make(queue),
          Throttle.targetBacklog(200, { max: 20, min: 0.1 })
        )
        yield* Effect.fork(
          SqsConsumer.stream(queue, { maxInFlight: 10 }).pipe(
            Pipeline.process(() => Effect.sleep("500 millis"), { concurrency: 1 }),
            Stream.runDrain
          )
        )
        yield* Effect.fork(
          Effect.forever(
            Effect.flatMap(throttle.rate.get, (rate) =>
              Effect.zipRight(sqs.send(queue, ["order"]), Effect.sleep(1000 / rate))
            )
          )
        )
        yield* Effect.sleep("15 minutes")
        for (let i = 0; i < 15; i++) {
          assert.approximately((yield* sqs.snapshot(queue)).visible, 200, 50)
          yield* Effect.sleep("1 minute")
        }
      }).pipe(Effect.scoped)
    ))
})
