/**
 * Once, over many seeds: duplicates, consumers that come and go, and a store whose calls fail, hang, and take effect with
 * their answer lost. What is checked is what handlers did and what the queue and the store know.
 */
import { assert, describe, it } from "@effect/vitest"
import { Consumer, Idempotency, IdempotencyStore, Pipeline, RetryPolicy } from "@millrace/core"
import { MemoryIdempotencyStore, MemoryQueue, Simulation } from "@millrace/core/testing"
import { Duration, Effect, Fiber, Logger, LogLevel, Random, Schedule, Stream } from "effect"
import { seeds } from "../../../test/long.js"

/** Sometimes a call fails, loses its answer, is late, or never answers. */
const troubled = (odds: number) => (): Effect.Effect<MemoryIdempotencyStore.Fault | undefined> =>
  Effect.gen(function* () {
    if ((yield* Random.next) >= odds) return undefined
    const which = yield* Random.nextIntBetween(0, 4)
    return [{ fail: true }, { drop: true }, { hang: true }, { delay: "1500 millis" as const }][which]
  })

const work = (scenario: { readonly consumersEnd: boolean; readonly batches: boolean }) =>
  Effect.gen(function* () {
    const ordered = yield* Random.nextBoolean
    const keys = yield* Random.nextIntBetween(1, 15)
    const queue = yield* MemoryQueue.make({
      ordered,
      leaseDuration: "12 seconds",
      latency: yield* Random.nextIntBetween(0, 40),
      faults: () =>
        Effect.map(Random.next, (chance) =>
          scenario.consumersEnd && chance < 0.1 ? { fail: "transient" as const } : undefined
        )
    })
    const faults = troubled(yield* Random.nextRange(0, 0.2))
    const store = yield* MemoryIdempotencyStore.make({
      latency: yield* Random.nextIntBetween(0, 40),
      faults,
      batchSize: 5
    })
    const running = new Set<string>()
    const successes = new Map<string, number>()

    const handle = (key: string) =>
      Effect.gen(function* () {
        assert.isFalse(running.has(key), `${key} is worked on twice at once`)
        assert.notStrictEqual((yield* store.records).get(key)?._tag, "Done", `${key} was done`)
        running.add(key)
        yield* Effect.sleep(Math.floor((yield* Random.next) ** 3 * 30_000))
        if ((yield* Random.nextIntBetween(0, 6)) === 0) return yield* Effect.fail("a failure")
        successes.set(key, (successes.get(key) ?? 0) + 1)
        return `${key} is done`
      }).pipe(Effect.ensuring(Effect.sync(() => running.delete(key))))

    const once = Idempotency.by((body: string) => body, { callTimeout: "1 second" })
    const retry = RetryPolicy.redeliver(Schedule.spaced("1 second"))
    const stage = scenario.batches
      ? Pipeline.processBatches(
          (bodies: ReadonlyArray<string>) => Effect.forEach(bodies, (body) => Effect.either(handle(body))),
          { max: 4, within: "200 millis", concurrency: 2, once, retry }
        )
      : Pipeline.process(handle, { concurrency: yield* Random.nextIntBetween(1, 8), once, retry })
    const consume = Consumer.stream(queue, { maxInFlight: 20 }).pipe(
      stage,
      Stream.runDrain,
      Effect.provideService(IdempotencyStore.IdempotencyStore, store)
    )
    const bodies: Array<string> = []
    for (let i = 0; i < keys; i++) {
      for (let n = yield* Random.nextIntBetween(1, 4); n > 0; n--) bodies.push(`key ${i}`)
    }
    const groups = yield* Random.nextIntBetween(1, 6)
    const messages = yield* Effect.forEach(bodies, (body) =>
      Effect.map(Random.nextIntBetween(0, groups), (group) => ({ body, group: `group ${group}` }))
    )
    yield* queue.send(messages)
    const ending = Effect.gen(function* () {
      const fiber = yield* Effect.fork(consume)
      yield* Effect.sleep((yield* Random.nextIntBetween(1, 20)) * 1000)
      yield* Fiber.interrupt(fiber)
    })
    if (scenario.consumersEnd) yield* ending.pipe(Effect.repeatN(3), Effect.fork)
    const lasting = yield* Effect.forEach([1, 2], () => Effect.fork(consume))
    yield* queue.idle
    yield* Effect.forEach(lasting, Fiber.interrupt)
    assert.strictEqual((yield* queue.stats).acked, bodies.length)
    for (const key of new Set(bodies)) {
      if (!scenario.consumersEnd) assert.strictEqual(successes.get(key), 1, `successes of ${key}`)
      assert.isAtLeast(successes.get(key) ?? 0, 1, `successes of ${key}`)
    }
  }).pipe(Logger.withMinimumLogLevel(LogLevel.None))

describe("each key is worked on once", () => {
  const options = { seeds: seeds({ short: 25, long: 150 }), maxElapsed: Duration.hours(4) }
  for (const batches of [false, true]) {
    const what = batches ? "in batches" : "one by one"
    it(`${what}: one success a key, whatever the store does`, () =>
      Simulation.checkInTurns(options, work({ consumersEnd: false, batches })))
    it(`${what}: never two at once, never again when it is done, and nothing is lost, whoever ends`, () =>
      Simulation.checkInTurns(options, work({ consumersEnd: true, batches })))
  }
})
