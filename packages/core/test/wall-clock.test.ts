/**
 * A wall clock that is stepped, as NTP or a person does it, while timers go on. Tried with a consumer that goes by the
 * wall clock (`Engine.now`): leases run out, receives and batches wait for an hour, and the times told are of before.
 */
import { assert, describe, it } from "@effect/vitest"
import { Consumer, type LeaseQueue, Pipeline, RetryPolicy } from "@millrace/core"
import { MemoryQueue } from "@millrace/core/testing"
import { Clock, Duration, Effect, Fiber, Random, Schedule, Stream } from "effect"
import { seeds } from "../../../test/long.js"
import { Steady } from "../src/internal/lease/steady.js"
import { grouped, numbered, simulated } from "./support/index.js"

/** A clock whose wall time can be stepped. */
const steppable = Effect.map(Effect.clock, (world) => {
  let stepped = 0
  const clock: Clock.Clock = {
    [Clock.ClockTypeId]: Clock.ClockTypeId,
    unsafeCurrentTimeMillis: () => world.unsafeCurrentTimeMillis() + stepped,
    unsafeCurrentTimeNanos: () => world.unsafeCurrentTimeNanos(),
    currentTimeMillis: Effect.map(world.currentTimeMillis, (now) => now + stepped),
    currentTimeNanos: world.currentTimeNanos,
    sleep: (duration) => world.sleep(duration)
  }
  const step = (duration: Duration.DurationInput, direction: "back" | "ahead") => {
    stepped += (direction === "back" ? -1 : 1) * Duration.toMillis(duration)
  }
  return { clock, step, world }
})

/** The queue is elsewhere: no step of ours is its own. */
const elsewhere = <E>(queue: LeaseQueue.LeaseQueue<E>, world: Clock.Clock): LeaseQueue.LeaseQueue<E> => ({
  ...queue,
  receive: (request) => Effect.withClock(queue.receive(request), world),
  ack: (leases) => Effect.withClock(queue.ack(leases), world),
  setLease: (entries) => Effect.withClock(queue.setLease(entries), world)
})

describe("a wall clock that is stepped back", () => {
  it(
    "lets no lease run out: by seconds or by an hour, whenever it is",
    simulated(
      Effect.gen(function* () {
        const { clock, step, world } = yield* steppable
        const memory = yield* MemoryQueue.make({ latency: "50 millis", ordered: true, leaseDuration: "10 seconds" })
        yield* memory.send(grouped("a1", "a2", "b1", "b2", "c1"))
        const fiber = yield* Consumer.stream(elsewhere(memory, world)).pipe(
          Pipeline.process(() => Effect.sleep("1 minute"), { concurrency: 2 }),
          Stream.runDrain,
          Effect.withClock(clock),
          Effect.fork
        )
        const meddle = Effect.gen(function* () {
          yield* Effect.sleep(yield* Random.nextIntBetween(0, 20_000))
          step([300, 4000, 9000, 3_600_000][yield* Random.nextIntBetween(0, 4)] ?? 0, "back")
        })
        const meddler = yield* Effect.fork(Effect.forever(meddle))
        yield* memory.idle
        yield* Effect.zipRight(Fiber.interrupt(meddler), Fiber.interrupt(fiber))
        const { acked, expired, redelivered } = yield* memory.stats
        assert.deepStrictEqual([acked, expired, redelivered], [5, 0, 0])
      }),
      { seeds: seeds({ short: 8, long: 30 }) }
    )
  )

  it(
    "delays nothing: receives by rate, batches, retries, settlements",
    simulated(
      Effect.gen(function* () {
        const { clock, step, world } = yield* steppable
        const memory = yield* MemoryQueue.make({ latency: "50 millis" })
        yield* memory.send(numbered(30))
        const failed = new Set<string>()
        const fiber = yield* Consumer.stream(elsewhere(memory, world), { rate: { perSecond: 5, burst: 5 } }).pipe(
          Pipeline.processBatches(
            (bodies) =>
              Effect.suspend(() => {
                const again = bodies.some((body) => failed.has(body))
                for (const body of bodies) failed.add(body)
                return again ? Effect.void : Effect.fail("once")
              }),
            { max: 50, within: "700 millis", retry: RetryPolicy.redeliver(Schedule.spaced("1 second")) }
          ),
          Stream.runDrain,
          Effect.withClock(clock),
          Effect.fork
        )
        const meddler = yield* Effect.fork(
          Effect.forever(
            Effect.zipLeft(
              Effect.sleep("790 millis"),
              Effect.sync(() => step("1 hour", "back"))
            )
          )
        )
        yield* memory.idle
        yield* Effect.zipRight(Fiber.interrupt(meddler), Fiber.interrupt(fiber))
        assert.isBelow(yield* Clock.currentTimeMillis, 30_000)
      }),
      { seeds: seeds({ short: 8, long: 30 }) }
    )
  )

  it(
    "is what a delivery's deadline and the last receive are told by",
    simulated(
      Effect.gen(function* () {
        const { clock, step, world } = yield* steppable
        const memory = yield* MemoryQueue.make({ leaseDuration: "30 seconds" })
        const consumer = yield* Effect.withClock(Consumer.make(elsewhere(memory, world)), clock)
        const left: Array<number> = []
        const fiber = yield* consumer.stream.pipe(
          Pipeline.process((_, delivery) =>
            Effect.sync(() => left.push(delivery.deadline - clock.unsafeCurrentTimeMillis()))
          ),
          Stream.runDrain,
          Effect.withClock(clock),
          Effect.fork
        )
        for (const body of ["a", "b"]) {
          yield* memory.send([body])
          yield* memory.idle
          step("1 hour", "back")
        }
        assert.deepStrictEqual(left, [30_000, 30_000])
        const { lastReceive } = yield* consumer.health()
        assert.isAtMost(lastReceive ?? Number.NaN, clock.unsafeCurrentTimeMillis())
        yield* Fiber.interrupt(fiber)
      })
    )
  )
})

describe("the steady clock", () => {
  it("never goes back, takes no notice of a step back, and follows one ahead", () => {
    let wall = 1_000_000
    let passed = 0
    const steady = new Steady({
      [Clock.ClockTypeId]: Clock.ClockTypeId,
      unsafeCurrentTimeMillis: () => wall,
      unsafeCurrentTimeNanos: () => BigInt(passed) * 1_000_000n,
      currentTimeMillis: Effect.sync(() => wall),
      currentTimeNanos: Effect.sync(() => BigInt(passed) * 1_000_000n),
      sleep: () => Effect.void
    })
    const pass = (millis: number) => {
      wall += millis
      passed += millis
    }
    pass(100)
    assert.strictEqual(steady.now(), 1_000_100)
    // By less than has passed since the last look: only the monotonic clock tells.
    pass(500)
    wall -= 400
    assert.strictEqual(steady.now(), 1_000_200)
    assert.strictEqual(steady.exactly(), 1_000_600)
    assert.strictEqual(steady.onTheWall(steady.now()), wall)
    // By more: seen at once, and counted once.
    wall -= 3_600_000
    pass(10)
    assert.strictEqual(steady.now(), 1_000_610)
    assert.strictEqual(steady.exactly(), 1_000_610)
    // The machine has slept.
    wall += 60_000
    assert.strictEqual(steady.now(), 1_060_610)
    assert.strictEqual(steady.exactly(), 1_060_610)
    pass(1)
    assert.strictEqual(steady.exactly(), 1_060_611)
  })
})
