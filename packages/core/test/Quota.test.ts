/** A downstream's quota that several processes hold together, by a limiter that they share. */
import * as RateLimiter from "@effect/experimental/RateLimiter"
import { assert, describe, it } from "@effect/vitest"
import { Consumer, InvalidOptions, Pipeline, Quota } from "@millrace/core"
import { MemoryQueue, Simulation } from "@millrace/core/testing"
import { Clock, Data, Duration, Effect, Exit, Fiber, Random, type Scope, Stream } from "effect"
import type { Tokens } from "../src/internal/receive/tokens.js"
import { type Line, logged, recorded, simulated } from "./support/index.js"

class Unplugged extends Data.TaggedError("Unplugged")<{ readonly message: string }> {}

const limiter = Effect.provide(RateLimiter.make, RateLimiter.layerStoreMemory)

/** A limiter that can be cut off. */
const cuttable = Effect.map(limiter, (whole) => {
  const line = { cut: false, calls: 0 }
  const cut: Quota.Limiter = {
    consume: (request) =>
      Effect.suspend((): Effect.Effect<RateLimiter.ConsumeResult, Unplugged | RateLimiter.RateLimiterError> => {
        line.calls++
        return line.cut ? Effect.fail(new Unplugged({ message: "connect ECONNREFUSED" })) : whole.consume(request)
      })
  }
  return { line, limiter: cut }
})

/** A process of its own, on a queue of its own that is never empty: when its handlers began. */
const process = (quota: Quota.Quota, begun: Array<number>, messages = 20_000) =>
  Effect.gen(function* () {
    const memory = yield* MemoryQueue.make({ latency: "20 millis" })
    const { calls, queue } = recorded(memory)
    yield* memory.send(Array.from({ length: messages }, (_, i) => `${i}`))
    const consumer = yield* Consumer.make(queue, { quota, maxInFlight: 200 })
    const fiber = yield* consumer.stream.pipe(
      Pipeline.process(
        () =>
          Effect.flatMap(Clock.currentTimeMillis, (now) => {
            begun.push(now)
            return Effect.sleep("50 millis")
          }),
        { concurrency: 100 }
      ),
      Stream.runDrain,
      Effect.fork
    )
    return { calls, consumer, fiber, memory }
  })

const once = <E>(program: Effect.Effect<unknown, E, Scope.Scope>) => simulated(program, { seeds: 1 })

describe("Quota", () => {
  it("is held within 2 % by all processes together, and used up", () => {
    Simulation.check(
      { seeds: 3, maxElapsed: "1 hour", maxWakes: 5_000_000 },
      Effect.gen(function* () {
        const limit = yield* Random.nextIntBetween(50, 250)
        const quota = yield* Quota.make(yield* limiter, { name: "api", limit, otherwise: "wait" })
        const begun: Array<number> = []
        for (let i = 0; i < 3; i++) yield* process(quota, begun)
        yield* Effect.sleep("20 seconds")
        const said = `${begun.length} began in 20 s of ${limit} a second`
        assert.isAtMost(begun.length, 20 * limit * 1.02, said)
        assert.isAtLeast(begun.length, 20 * limit * 0.98, said)
      }).pipe(Effect.scoped)
    )
  }, 60_000)

  for (const [limit, processes] of [
    [1, 1],
    [5, 10],
    [20, 30]
  ] as const) {
    it(
      `a quota of ${limit} a second is used up by ${processes} processes, however small the part of each`,
      once(
        Effect.gen(function* () {
          const whole = yield* limiter
          let tokens = 0
          const slow: Quota.Limiter = {
            consume: (request) =>
              Effect.delay(
                Effect.suspend(() => {
                  tokens += request.tokens
                  return whole.consume(request)
                }),
                "2 millis"
              )
          }
          const quota = yield* Quota.make(slow, { name: "api", limit, otherwise: "wait" })
          const begun: Array<number> = []
          for (let i = 0; i < processes; i++) yield* process(quota, begun, 300)
          yield* Effect.sleep("60 seconds")
          const said = `${begun.length} began in a minute with ${tokens} tokens`
          assert.isAtMost(begun.length, 60 * limit * 1.02 + 1, said)
          assert.isAtLeast(begun.length, 60 * limit * 0.95, said)
          // Each waits for one.
          assert.isAtLeast(begun.length, tokens - 2 * processes, said)
        })
      )
    )
  }

  it(
    "nothing is leased while it waits for its turn",
    simulated(
      Effect.gen(function* () {
        const quota = yield* Quota.make(yield* limiter, { name: "api", limit: 20, otherwise: "wait" })
        const begun: Array<number> = []
        const { consumer } = yield* process(quota, begun)
        for (let i = 0; i < 50; i++) {
          yield* Effect.sleep("217 millis")
          const { inFlight, received } = yield* consumer.stats
          // What runs takes 50 milliseconds, and its ack lingers for 250: nothing waits.
          assert.isAtMost(inFlight, 10 + 20 * 0.4)
          assert.isAtMost(received - begun.length, 10)
        }
      })
    )
  )

  it(
    "wait: while the limiter cannot be reached nothing is received, which is said once; and then it goes on",
    once(
      Effect.gen(function* () {
        const { limiter, line } = yield* cuttable
        const quota = yield* Quota.make(limiter, { name: "api", limit: 100, otherwise: "wait" })
        const begun: Array<number> = []
        const lines: Array<Line> = []
        yield* Effect.provide(
          Effect.gen(function* () {
            yield* process(quota, begun)
            yield* Effect.sleep("5 seconds")
            line.cut = true
            yield* Effect.sleep("2 minutes")
            line.cut = false
            yield* Effect.sleep("40 seconds")
          }),
          logged(lines)
        )
        const during = begun.filter((at) => at > 5500 && at <= 125_000).length
        assert.strictEqual(during, 0)
        assert.isAtLeast(begun.length, 2000)
        const said = lines.filter(({ text }) => text.includes("quota api"))
        assert.deepStrictEqual(
          said.map(({ level, text }) => `${level} ${text}`),
          [
            "WARN the limiter of the quota api cannot be reached, and nothing is received until it answers: Unplugged: connect ECONNREFUSED",
            "INFO the limiter of the quota api is reached again"
          ]
        )
      })
    )
  )

  it(
    "a rate: while it cannot be reached, this process's own part",
    once(
      Effect.gen(function* () {
        const { limiter, line } = yield* cuttable
        const quota = yield* Quota.make(limiter, { name: "api", limit: 100, otherwise: { perSecond: 10, burst: 1 } })
        const begun: Array<number> = []
        yield* process(quota, begun)
        yield* Effect.sleep("5 seconds")
        line.cut = true
        yield* Effect.sleep("100 seconds")
        line.cut = false
        yield* Effect.sleep("40 seconds")
        const during = begun.filter((at) => at > 10_000 && at <= 105_000).length
        assert.isAtMost(during, 95 * 10 + 1)
        assert.isAtLeast(during, 95 * 10 * 0.9)
        assert.isAtLeast(begun.filter((at) => at > 125_000).length, 2000 * 0.95)
      })
    )
  )

  it(
    "fail: the stream ends with QuotaUnreachable once the limiter has been tried for its time",
    simulated(
      Effect.gen(function* () {
        const { limiter, line } = yield* cuttable
        const quota = yield* Quota.make(limiter, { name: "api", limit: 100, otherwise: "fail", timeout: "3 seconds" })
        const memory = yield* MemoryQueue.make()
        yield* memory.send(Array.from({ length: 1000 }, (_, i) => `${i}`))
        const fiber = yield* Consumer.stream(memory, { quota }).pipe(
          Pipeline.process(() => Effect.void),
          Stream.runDrain,
          Effect.fork
        )
        yield* Effect.sleep("1 second")
        line.cut = true
        const [took, exit] = yield* Effect.timed(Fiber.await(fiber))
        assert.deepStrictEqual(
          Exit.mapError(exit, (error) => [error._tag, error.message]),
          Exit.fail([
            "QuotaUnreachable",
            "the limiter of the quota api cannot be reached, and the stream ends: Unplugged: connect ECONNREFUSED"
          ])
        )
        assert.isAtMost(Duration.toMillis(took), 4000)
        assert.strictEqual((yield* memory.stats).inFlight, 0)
      })
    )
  )

  it("a limiter that hangs, or throws, counts as not reachable", () =>
    simulated(
      Effect.gen(function* () {
        for (const consume of [() => Effect.never, () => Effect.die(new Error("no such command"))]) {
          const quota = yield* Quota.make({ consume }, { name: "api", limit: 1, otherwise: "fail" })
          const memory = yield* MemoryQueue.make()
          const failed = yield* Effect.flip(Stream.runDrain(Consumer.stream(memory, { quota })))
          assert.strictEqual(failed._tag, "QuotaUnreachable")
        }
      })
    )())

  it(
    "a limiter that cannot be interrupted is not waited for either",
    simulated(
      Effect.gen(function* () {
        const consume = () => Effect.uninterruptible(Effect.as(Effect.sleep("1 minute"), { delay: Duration.zero }))
        const quota = yield* Quota.make({ consume }, { name: "api", limit: 1, otherwise: "fail" })
        const memory = yield* MemoryQueue.make()
        const [took, failed] = yield* Effect.timed(Effect.flip(Stream.runDrain(Consumer.stream(memory, { quota }))))
        assert.strictEqual(failed._tag, "QuotaUnreachable")
        assert.isAtMost(Duration.toMillis(took), 2100)
        yield* Effect.sleep("2 minutes")
      })
    )
  )

  describe("this process's own part", () => {
    const own = Effect.gen(function* () {
      const quota = yield* Quota.make(
        { consume: () => Effect.fail(new Unplugged({ message: "no" })) },
        { name: "api", limit: 100, otherwise: { perSecond: 1, burst: 10 } }
      )
      const clock = yield* Effect.clock
      const { tokens: tokensOf } = quota as Quota.Quota & { readonly tokens: (now: () => number) => Tokens<never> }
      const tokens = tokensOf(() => clock.unsafeCurrentTimeMillis())
      yield* tokens.until(1)
      assert.strictEqual(tokens.available(), 10)
      return tokens
    })

    it(
      "is waited for until all that is wanted is there",
      simulated(
        Effect.gen(function* () {
          const tokens = yield* own
          tokens.take(5)
          const [took] = yield* Effect.timed(tokens.until(10))
          assert.strictEqual(tokens.available(), 10)
          assert.isAtLeast(Duration.toMillis(took), 4900)
        })
      )
    )

    it(
      "has back what was taken of it and did not come",
      simulated(
        Effect.gen(function* () {
          const tokens = yield* own
          tokens.take(10)
          tokens.giveBack(4)
          assert.strictEqual(tokens.available(), 4)
        })
      )
    )
  })

  it.effect("refuses what cannot work, and says what to write", () =>
    Effect.gen(function* () {
      const refused = (options: object, given: unknown = { consume: () => Effect.never }) =>
        Effect.map(
          Effect.flip(Quota.make(given as Quota.Limiter, options as Quota.Options)),
          (error) => error instanceof InvalidOptions.InvalidOptions && error.message
        )
      const whole = { name: "api", limit: 10, otherwise: "wait" }
      assert.strictEqual(
        yield* refused({ name: "api", limit: 10 }),
        'otherwise is missing; write "wait" or "fail", or an object with perSecond, burst'
      )
      assert.strictEqual(yield* refused({ ...whole, limit: 0.5 }), "limit is 0.5; write a whole number of at least 1")
      assert.strictEqual(yield* refused({ ...whole, burst: 11 }), "burst is 11; write a whole number from 1 to 10")
      assert.strictEqual(
        yield* refused({ ...whole, otherwise: { perSecond: 0 } }),
        "otherwise.perSecond is 0; write a number of at least 0.001"
      )
      assert.strictEqual(
        yield* refused(whole, {}),
        "limiter is an object; write a RateLimiter of @effect/experimental, or what has its consume"
      )
    })
  )
})
