/** `drainWhenIdle`: a consumer ends once its queue is empty, and not before; what it can know of is done by then. */
import { assert, describe, it } from "@effect/vitest"
import { Consumer, Pipeline, Prioritized, RetryPolicy, Served } from "@millrace/core"
import { MemoryQueue, Simulation } from "@millrace/core/testing"
import { Clock, Context, Effect, Fiber, Logger, LogLevel, Random, Schedule, Stream } from "effect"
import { numbered, simulated } from "./support/index.js"

class Orders extends Context.Tag("test/idle/Orders")<Orders, Served.Served>() {}

const minutes = Effect.map(Clock.currentTimeMillis, (millis) => millis / 60_000)
const quick = () => Effect.sleep("1 second")

/** When it ended, in minutes. */
const until = <E>(stream: Stream.Stream<unknown, E>) => Effect.zipRight(Stream.runDrain(stream), minutes)

describe("a consumer that ends when idle", () => {
  it(
    "ends once nothing has come for so long, after a receive that came back empty; no receive is cut off",
    simulated(
      Effect.gen(function* () {
        const queue = yield* MemoryQueue.make({ strandAborted: true })
        yield* queue.send(numbered(25))
        const consumer = yield* Consumer.make(queue, { drainWhenIdle: "1 minute" })
        const ended = yield* until(consumer.stream.pipe(Pipeline.process(quick)))
        // Work of 3 seconds, then receives of 20 seconds.
        assert.isAtLeast(ended, 1)
        assert.isAtMost(ended, 1.5)
        assert.strictEqual((yield* queue.stats).acked, 25)
        assert.strictEqual((yield* consumer.stats).stranded, 0)
        // A queue that was empty from the start, and a time of nothing.
        const none = yield* MemoryQueue.make()
        const since = yield* minutes
        const at = yield* until(Pipeline.process(quick)(Consumer.stream(none, { drainWhenIdle: 0, wait: "1 second" })))
        assert.approximately(at - since, 1 / 60, 0.001)
        assert.strictEqual((yield* none.stats).calls.receive, 1)
      })
    )
  )

  it(
    "goes on while a handler runs, while something comes now and then, and while it is paused",
    simulated(
      Effect.gen(function* () {
        const queue = yield* MemoryQueue.make()
        yield* queue.send(["slow"])
        const consumer = yield* Consumer.make(queue, { drainWhenIdle: "30 seconds" })
        const fiber = yield* Effect.fork(
          until(
            consumer.stream.pipe(Pipeline.process((body) => Effect.sleep(body === "slow" ? "5 minutes" : "1 second")))
          )
        )
        yield* Effect.sleep("4 minutes")
        assert.isNull(fiber.unsafePoll())
        yield* Effect.sleep("1 minute")
        for (let i = 0; i < 10; i++) {
          yield* Effect.sleep("25 seconds")
          yield* queue.send([`${i}`])
        }
        yield* Effect.sleep("5 seconds")
        assert.isNull(fiber.unsafePoll())
        yield* consumer.pause
        yield* Effect.sleep("10 minutes")
        assert.isNull(fiber.unsafePoll())
        yield* consumer.resume
        const resumed = yield* minutes
        assert.isAtLeast((yield* Fiber.join(fiber)) - resumed, 0.5)
        assert.strictEqual((yield* queue.stats).acked, 11)
      })
    )
  )

  it(
    "waits for what it has given back with a delay, or left, and for what a lost answer has leased to nobody",
    simulated(
      Effect.gen(function* () {
        for (const [policy, lease] of [
          [RetryPolicy.redeliver(Schedule.spaced("10 minutes")), "30 seconds"],
          [RetryPolicy.leave, "9 minutes"]
        ] as const) {
          const queue = yield* MemoryQueue.make({ leaseDuration: lease })
          yield* queue.send(["again"])
          const tried: Array<number> = []
          yield* Consumer.stream(queue, { drainWhenIdle: "10 seconds" }).pipe(
            Pipeline.process((_, { attempt }) => (tried.push(attempt) < 3 ? Effect.fail("no") : Effect.void), {
              retry: policy,
              holdLimit: 0
            }),
            Stream.runDrain
          )
          assert.deepStrictEqual([tried.length, (yield* queue.stats).acked], [3, 1])
        }
        const lossy = yield* MemoryQueue.make({ leaseDuration: "5 minutes" })
        yield* lossy.inject("receive", { drop: "transient" })
        yield* lossy.send(["unheard"])
        yield* until(Pipeline.process(quick)(Consumer.stream(lossy, { drainWhenIdle: "10 seconds" })))
        assert.strictEqual((yield* lossy.stats).acked, 1)
      })
    )
  )

  it(
    "goes on where a receive brought only what was over by the time its answer was read",
    simulated(
      Effect.gen(function* () {
        const queue = yield* MemoryQueue.make({ leaseDuration: "10 seconds" })
        yield* queue.send(["late"])
        let reads = 0
        const receive: typeof queue.receive = (request) =>
          Effect.gen(function* () {
            const messages = yield* queue.receive(request)
            const leasedAt = yield* Clock.currentTimeMillis
            if (reads++ === 0) yield* Effect.sleep("11 seconds")
            return messages.map((message) => ({ ...message, leasedAt }))
          })
        yield* until(Pipeline.process(quick)(Consumer.stream({ ...queue, receive }, { drainWhenIdle: 0 })))
        assert.strictEqual((yield* queue.stats).acked, 1)
      }).pipe(Logger.withMinimumLogLevel(LogLevel.None))
    )
  )

  it(
    "of several queues ends when all of them are empty",
    simulated(
      Effect.gen(function* () {
        for (const weight of [undefined, 1]) {
          const urgent = yield* MemoryQueue.make({ name: "urgent" })
          const bulk = yield* MemoryQueue.make({ name: "bulk" })
          yield* bulk.send(numbered(3))
          const began = yield* minutes
          const fiber = yield* Effect.fork(
            until(
              Prioritized.stream(
                [urgent, bulk].map((queue) => ({ queue, weight })),
                { drainWhenIdle: "1 minute" }
              ).pipe(Pipeline.process((_, { queue }) => Effect.sleep(queue === "bulk" ? "3 minutes" : "1 second")))
            )
          )
          yield* Effect.sleep("2 minutes")
          assert.isNull(fiber.unsafePoll())
          yield* urgent.send(["late"])
          const ended = (yield* Fiber.join(fiber)) - began
          assert.isAtLeast(ended, 4)
          assert.isAtMost(ended, 4.5)
          assert.deepStrictEqual([(yield* urgent.stats).acked, (yield* bulk.stats).acked], [1, 3])
        }
      })
    )
  )

  it(
    "served: its handle tells the end, and a failure instead",
    simulated(
      Effect.gen(function* () {
        const queue = yield* MemoryQueue.make()
        yield* queue.send(numbered(3))
        const served = (options: Served.Options, fails: boolean) =>
          Effect.gen(function* () {
            yield* (yield* Orders).ended
            return yield* minutes
          }).pipe(
            Effect.provide(
              Served.layer(
                Orders,
                Effect.succeed(queue),
                (deliveries): Stream.Stream<unknown, unknown> =>
                  fails ? Stream.fail("gone") : deliveries.pipe(Pipeline.process(quick)),
                options
              )
            )
          )
        assert.isAtMost(yield* served({ drainWhenIdle: "1 minute", restart: Schedule.forever }, false), 1.5)
        assert.strictEqual((yield* queue.stats).acked, 3)
        assert.strictEqual((yield* Effect.flip(served({}, true)))._tag, "ConsumerFailed")
      }).pipe(Logger.withMinimumLogLevel(LogLevel.None))
    )
  )
})

it("what is there is done before an idle consumer ends, whatever the queue fails", async () => {
  await Simulation.checkInTurns(
    { seeds: 20, leaks: "fail", maxElapsed: "1 day" },
    Effect.gen(function* () {
      const total = yield* Random.nextIntBetween(0, 25)
      const odds = yield* Random.nextRange(0, 0.3)
      const ordered = yield* Random.nextBoolean
      const queue = yield* MemoryQueue.make({
        ordered,
        leaseDuration: "1 minute",
        latency: yield* Random.nextIntBetween(0, 50),
        faults: () =>
          Effect.map(Effect.zip(Random.next, Random.nextIntBetween(0, 3)), ([p, kind]) => {
            if (p >= odds) return undefined
            if (kind === 0) return { drop: "transient" as const }
            return { fail: kind === 1 ? ("throttled" as const) : ("transient" as const) }
          })
      })
      yield* queue.send(numbered(total).map((body, i) => ({ body, group: `${i % 3}` })))
      const retry = RetryPolicy.redeliver(Schedule.spaced(yield* Random.nextIntBetween(0, 120_000)))
      const consumer = yield* Consumer.make(queue, {
        maxInFlight: yield* Random.nextIntBetween(1, 20),
        drainWhenIdle: (yield* Random.nextBoolean) ? 0 : "1 minute"
      })
      yield* consumer.stream.pipe(
        Pipeline.process(
          () =>
            Effect.gen(function* () {
              yield* Effect.sleep(yield* Random.nextIntBetween(0, 5000))
              if ((yield* Random.next) < 0.3) return yield* Effect.fail("no")
            }),
          { concurrency: 5, retry, holdLimit: (yield* Random.nextBoolean) ? 0 : "5 minutes" }
        ),
        Stream.runDrain
      )
      assert.strictEqual((yield* queue.stats).acked, total)
      assert.strictEqual((yield* consumer.stats).inFlight, 0)
    }).pipe(Effect.scoped, Logger.withMinimumLogLevel(LogLevel.None))
  )
}, 60_000)
