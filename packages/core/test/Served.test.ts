import { assert, describe, it } from "@effect/vitest"
import { Pipeline, RetryPolicy, Served } from "@millrace/core"
import { MemoryQueue, Simulation } from "@millrace/core/testing"
import { Context, type Duration, Effect, Exit, Fiber, Layer, Schedule, Scope, TestClock } from "effect"

class Orders extends Context.Tag("test/Orders")<Orders, Served.Served>() {}

const numbered = (n: number) => Array.from({ length: n }, (_, i) => String(i))

describe("Served", () => {
  it.effect("closing the Layer drains: what runs finishes, the rest is released, nothing is lost", () =>
    Effect.gen(function* () {
      const queue = yield* MemoryQueue.make()
      yield* queue.send(numbered(30))
      const finished: Array<string> = []
      const app = Served.layer(
        Orders,
        Effect.succeed(queue),
        Pipeline.process(
          (body: string) =>
            Effect.zipRight(
              Effect.sleep("5 seconds"),
              Effect.sync(() => finished.push(body))
            ),
          {
            concurrency: 4
          }
        )
      )
      const scope = yield* Scope.make()
      yield* Scope.extend(Layer.build(app), scope)
      yield* TestClock.adjust("1 second")
      const closing = yield* Effect.fork(Scope.close(scope, Exit.void))
      yield* TestClock.adjust("4 seconds")
      yield* Fiber.join(closing)
      const stats = yield* queue.stats
      assert.strictEqual(finished.length, 4)
      assert.strictEqual(stats.acked, 4)
      assert.strictEqual(stats.inFlight, 0)
      assert.strictEqual(stats.visible, 26)
    })
  )

  it.effect("handlers that outlast the deadline are interrupted and their messages released", () =>
    Effect.gen(function* () {
      const queue = yield* MemoryQueue.make()
      yield* queue.send(numbered(3))
      const app = Served.layer(
        Orders,
        Effect.succeed(queue),
        Pipeline.process(() => Effect.never),
        {
          drainDeadline: "7 seconds"
        }
      )
      const scope = yield* Scope.make()
      const context = yield* Scope.extend(Layer.build(app), scope)
      yield* TestClock.adjust("1 second")
      const report = yield* Effect.fork(Context.get(context, Orders).drain())
      yield* TestClock.adjust("7 seconds")
      assert.deepStrictEqual(yield* Fiber.join(report), { finished: 0, released: 3, lost: 0, stranded: 0 })
      yield* Scope.close(scope, Exit.void)
      assert.strictEqual((yield* queue.stats).visible, 3)
    })
  )

  it.effect("a failed pipeline starts anew by the schedule, and launch fails once the schedule is over", () =>
    Effect.gen(function* () {
      const queue = yield* MemoryQueue.make()
      yield* queue.inject("receive", { fail: "fatal" }, 10)
      const app = Served.layer(
        Orders,
        Effect.succeed(queue),
        Pipeline.process(() => Effect.void),
        {
          restart: Schedule.intersect(Schedule.spaced("1 minute"), Schedule.recurs(3))
        }
      )
      const running = yield* Effect.fork(Effect.exit(Served.launch(app)))
      yield* TestClock.adjust("3 minutes")
      assert.isTrue(Exit.isFailure(yield* Fiber.join(running)))
      assert.strictEqual((yield* queue.stats).calls.receive, 4)
    })
  )

  it.effect("a pipeline that failed once works on after its restart", () =>
    Effect.gen(function* () {
      const queue = yield* MemoryQueue.make()
      yield* queue.send(numbered(5))
      yield* queue.inject("receive", { fail: "fatal" })
      const app = Served.layer(
        Orders,
        Effect.succeed(queue),
        Pipeline.process(() => Effect.void),
        {
          restart: Schedule.spaced("1 minute")
        }
      )
      const scope = yield* Scope.make()
      yield* Scope.extend(Layer.build(app), scope)
      yield* TestClock.adjust("1 minute")
      yield* queue.idle
      yield* Scope.close(scope, Exit.void)
    })
  )

  it.effect("pause sends no more receives, resume goes on", () =>
    Effect.gen(function* () {
      const queue = yield* MemoryQueue.make()
      const app = Served.layer(
        Orders,
        Effect.succeed(queue),
        Pipeline.process(() => Effect.void)
      )
      yield* Effect.gen(function* () {
        const orders = yield* Orders
        yield* orders.pause
        yield* TestClock.adjust("1 minute")
        yield* queue.send(numbered(3))
        yield* TestClock.adjust("1 minute")
        assert.strictEqual((yield* queue.stats).acked, 0)
        assert.isTrue((yield* orders.health()).paused)
        yield* orders.resume
        yield* queue.settled(3)
      }).pipe(Effect.provide(app))
    })
  )

  it.effect("health tells of a stuck handler and of receives that fail", () =>
    Effect.gen(function* () {
      const queue = yield* MemoryQueue.make()
      yield* queue.send(["stuck"])
      const app = Served.layer(
        Orders,
        Effect.succeed(queue),
        Pipeline.process(() => Effect.never, { retry: RetryPolicy.leave }),
        { drainDeadline: 0 }
      )
      yield* Effect.gen(function* () {
        const orders = yield* Orders
        yield* TestClock.adjust("50 seconds")
        assert.isTrue((yield* orders.health()).healthy)
        yield* queue.inject("receive", { fail: "transient" }, 1000)
        yield* TestClock.adjust("5 minutes")
        const health = yield* orders.health()
        assert.isFalse(health.healthy)
        assert.strictEqual(health.stuck.length, 1)
        assert.strictEqual(health.problems.length, 2)
      }).pipe(Effect.provide(app))
    })
  )

  it.effect("the rate bounds what is received a second, and nothing is leased while it waits", () =>
    Effect.gen(function* () {
      const queue = yield* MemoryQueue.make()
      yield* queue.send(numbered(1000))
      const app = Served.layer(
        Orders,
        Effect.succeed(queue),
        Pipeline.process(() => Effect.void),
        {
          rate: { perSecond: 5, burst: 10 }
        }
      )
      yield* Effect.gen(function* () {
        yield* TestClock.adjust("1 second")
        yield* TestClock.adjust("19 seconds")
        const stats = yield* queue.stats
        assert.isAtMost(stats.acked + stats.inFlight, 10 + 20 * 5)
        assert.isAtLeast(stats.acked, 20 * 5)
        assert.isAtMost(stats.inFlight, 5, "only what waits for its ack is leased")
      }).pipe(Effect.provide(app))
    })
  )

  it("its bound, its rate and the slots of its stages are read and changed while it runs; a restart keeps the first two", () =>
    Simulation.checkInTurns(
      { seeds: 3, leaks: "fail" },
      Effect.gen(function* () {
        const queue = yield* MemoryQueue.make({ latency: "10 millis" })
        const app = Served.layer(
          Orders,
          Effect.succeed(queue),
          (deliveries) =>
            deliveries.pipe(
              Pipeline.mapEffect(() => Effect.void, { concurrency: 7 }),
              Pipeline.process(() => Effect.sleep("1 second"), { concurrency: 2 })
            ),
          { maxInFlight: 20, restart: Schedule.spaced("1 second"), fatalGrace: 0 }
        )
        const served = Context.get(yield* Layer.build(app), Orders)
        const handledIn = (duration: Duration.DurationInput) =>
          Effect.gen(function* () {
            const { handled } = yield* served.stats
            yield* Effect.sleep(duration)
            return (yield* served.stats).handled - handled
          })
        yield* queue.send(Array.from({ length: 500 }, (_, i) => String(i)))
        yield* Effect.sleep("2 seconds")
        const slots = yield* served.concurrency
        assert.deepStrictEqual(
          slots.map((each) => each.unsafeGet()),
          [7, 2]
        )
        assert.strictEqual(yield* served.maxInFlight.get, 20)
        assert.strictEqual(yield* served.rate.get, Number.MAX_SAFE_INTEGER)

        // Each message runs in both stages: the first of them takes no time.
        assert.approximately((yield* handledIn("10 seconds")) / 2, 20, 5)
        yield* slots[1]?.set(10) ?? Effect.void
        assert.approximately((yield* handledIn("10 seconds")) / 2, 100, 15)
        yield* served.rate.set(3)
        yield* Effect.sleep("10 seconds")
        assert.approximately((yield* handledIn("10 seconds")) / 2, 30, 8)
        // What waits for its turn by the old rate waits no longer.
        yield* served.rate.set(0.01)
        yield* Effect.sleep("10 seconds")
        yield* served.rate.set(0.02)
        yield* served.rate.set(3)
        yield* Effect.sleep("2 seconds")
        assert.isAtLeast((yield* handledIn("10 seconds")) / 2, 22)
        yield* served.rate.set(Number.MAX_SAFE_INTEGER)
        yield* served.maxInFlight.set(5)
        yield* Effect.sleep("1 second")
        assert.isAtMost((yield* handledIn("10 seconds")) / 2, 55)
        assert.isAtLeast((yield* handledIn("10 seconds")) / 2, 35)
        // What was received without a limit is not owed to a later one.
        yield* served.rate.set(4)
        assert.isAtLeast((yield* handledIn("5 seconds")) / 2, 15)
        assert.isTrue(Exit.isFailure(yield* Effect.exit(served.maxInFlight.set(2.5))))

        const before = yield* served.concurrency
        yield* queue.inject("receive", { fail: "fatal" }, 1)
        yield* Effect.sleep("1 minute")
        assert.notStrictEqual((yield* served.concurrency)[1], before[1])
        assert.strictEqual((yield* served.stats).maxInFlight, 5)
        assert.strictEqual(served.maxInFlight.unsafeGet(), 5)
      })
    ))
})
