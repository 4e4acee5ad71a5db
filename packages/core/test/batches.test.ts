/**
 * Batches in lanes: what a batch may hold up, and what it may not. Each was tried without its line in processBatches or
 * in the stage's `#admit`.
 */
import { assert, describe, it } from "@effect/vitest"
import { Consumer, Pipeline, RetryPolicy } from "@millrace/core"
import { MemoryQueue } from "@millrace/core/testing"
import { Clock, Duration, Effect, Either, Fiber, Schedule, Schema, Stream } from "effect"
import { grouped, recorded, simulated } from "./support/index.js"

const everyTen = RetryPolicy.redeliver(Schedule.spaced("10 seconds"))

/** What a batch handler was given, batch by batch, and when, in seconds. */
const track = () => {
  const ran: Array<readonly [at: number, bodies: string]> = []
  const took = (bodies: ReadonlyArray<string>) =>
    Effect.map(Clock.currentTimeMillis, (now) => {
      ran.push([Math.round(now / 1000), bodies.join(" ")])
    })
  return { ran, took }
}

/** The first time for these it fails, then not. */
const failsOnce = (...bodies: ReadonlyArray<string>) => {
  const left = new Set(bodies)
  return (body: string) => (left.delete(body) ? Either.left(`not ${body}`) : Either.right(body))
}

describe("a message that fails in a batch, in its lane", () => {
  it(
    "is held with what follows it, and no other lane waits: nothing is given back, no receive is spent",
    simulated(
      Effect.gen(function* () {
        const memory = yield* MemoryQueue.make({ ordered: true })
        const { calls, queue } = recorded(memory)
        yield* memory.send(grouped("a1", "a2", "b1", "c1"))
        yield* Effect.fork(Effect.delay(memory.send(grouped("a3")), "3 seconds"))
        const { ran, took } = track()
        const answer = failsOnce("a1")
        const results: Array<string> = []
        const fiber = yield* Consumer.stream(queue).pipe(
          Pipeline.processBatches((bodies) => Effect.as(took(bodies), bodies.map(answer)), {
            max: 4,
            within: "1 second",
            retry: everyTen
          }),
          Stream.runForEach((result) => Effect.sync(() => results.push(result))),
          Effect.fork
        )
        yield* memory.idle
        yield* Effect.sleep("1 second")
        yield* Fiber.interrupt(fiber)
        assert.deepStrictEqual(ran.slice(0, 2), [
          [0, "a1 a2 b1 c1"],
          [10, "a1 a2"]
        ])
        assert.deepStrictEqual(results, ["b1", "c1", "a1", "a2", "a3"])
        assert.deepStrictEqual(calls.of("setLease"), [])
        assert.strictEqual((yield* memory.stats).redelivered, 0)
      })
    )
  )

  it(
    "keeps no slot and none of the other lanes of its batch meanwhile",
    simulated(
      Effect.gen(function* () {
        const memory = yield* MemoryQueue.make({ ordered: true })
        yield* memory.send(grouped("a1", "b1"))
        yield* Effect.fork(Effect.delay(memory.send(grouped("b2", "d1")), "3 seconds"))
        const { ran, took } = track()
        const answer = failsOnce("a1")
        const fiber = yield* Consumer.stream(memory).pipe(
          Pipeline.processBatches((bodies) => Effect.as(took(bodies), bodies.map(answer)), { max: 2, retry: everyTen }),
          Stream.runDrain,
          Effect.fork
        )
        yield* memory.idle
        yield* Fiber.interrupt(fiber)
        assert.deepStrictEqual(ran, [
          [0, "a1 b1"],
          [3, "b2 d1"],
          [10, "a1"]
        ])
      })
    )
  )

  it(
    "runs at its own time, where several of a batch are held",
    simulated(
      Effect.gen(function* () {
        const memory = yield* MemoryQueue.make({ ordered: true })
        yield* memory.send(grouped("a1", "a2", "b1", "b2", "c1"))
        const { ran, took } = track()
        const answer = failsOnce("a1", "b1")
        const fiber = yield* Consumer.stream(memory).pipe(
          Pipeline.processBatches((bodies) => Effect.as(took(bodies), bodies.map(answer)), {
            max: 5,
            retry: (_, { message }) =>
              RetryPolicy.redeliver(Schedule.spaced(message.body === "a1" ? "20 seconds" : "5 seconds"))
          }),
          Stream.runDrain,
          Effect.fork
        )
        yield* memory.idle
        yield* Fiber.interrupt(fiber)
        assert.deepStrictEqual(ran, [
          [0, "a1 a2 b1 b2 c1"],
          [5, "b1 b2"],
          [20, "a1 a2"]
        ])
      })
    )
  )

  it(
    "goes back with its group where the delay is longer than holdLimit, the head last; and so it does in a drain",
    simulated(
      Effect.gen(function* () {
        for (const [holdLimit, drainAt] of [
          ["5 seconds", undefined],
          ["5 minutes", "2 seconds"]
        ] as const) {
          const memory = yield* MemoryQueue.make({ ordered: true, name: holdLimit })
          const { calls, queue } = recorded(memory)
          yield* memory.send(grouped("a1", "a2", "a3"))
          const consumer = yield* Consumer.make(queue)
          const fiber = yield* consumer.stream.pipe(
            Pipeline.processBatches((bodies) => Effect.succeed(bodies.map((body) => Either.left(body))), {
              max: 3,
              holdLimit,
              retry: everyTen
            }),
            Stream.runDrain,
            Effect.fork
          )
          if (drainAt === undefined) {
            yield* Effect.sleep("1 second")
          } else {
            yield* Effect.sleep(drainAt)
            const since = yield* Clock.currentTimeMillis
            yield* consumer.drain()
            assert.isBelow((yield* Clock.currentTimeMillis) - since, 1000)
          }
          const head = drainAt === undefined ? Duration.toMillis("10 seconds") : 0
          assert.deepStrictEqual(
            calls.of("setLease").flatMap(({ entries }) => entries.map(({ id, millis }) => [id.slice(-1), millis])),
            [
              ["3", 0],
              ["2", 0],
              ["1", head]
            ]
          )
          yield* Fiber.interrupt(fiber)
        }
      })
    )
  )
})

// Seed 19941 of the simulation.
it(
  "what a policy has given back, with what is behind it, is not handed to the handler of its batch",
  simulated(
    Effect.gen(function* () {
      const memory = yield* MemoryQueue.make({ ordered: true })
      yield* memory.send([
        { body: "not JSON", group: "a" },
        { body: "2", group: "a" },
        { body: "3", group: "b" }
      ])
      const ran: Array<ReadonlyArray<number>> = []
      const fiber = yield* Consumer.stream(memory).pipe(
        Pipeline.decodeJson(Schema.Number),
        Pipeline.processBatches((bodies) => Effect.sync(() => void ran.push(bodies)), {
          max: 3,
          sequence: "none",
          retry: RetryPolicy.leave
        }),
        Stream.runDrain,
        Effect.fork
      )
      yield* Effect.sleep("500 millis")
      yield* Fiber.interrupt(fiber)
      assert.deepStrictEqual(ran, [[3]])
    })
  )
)

it(
  "ackAhead: a batch does not overtake a dead letter that is not confirmed, nor one that is to come again",
  simulated(
    Effect.gen(function* () {
      const memory = yield* MemoryQueue.make({ ordered: true, latency: "2 seconds" })
      yield* memory.send(grouped("a1", "a2", "a3"))
      const { ran, took } = track()
      const fiber = yield* Consumer.stream(memory, { linger: 0 }).pipe(
        Pipeline.processBatches(
          (bodies) =>
            Effect.as(
              took(bodies),
              bodies.map((body) => (body === "a1" ? Either.left("no") : Either.right(body)))
            ),
          { max: 1, ackAhead: true, retry: RetryPolicy.deadLetter }
        ),
        Stream.runDrain,
        Effect.fork
      )
      yield* memory.idle
      yield* Fiber.interrupt(fiber)
      // a3 does not wait for the ack of a2, and a2 waits for the end of a1.
      assert.deepStrictEqual(ran, [
        [2, "a1"],
        [4, "a2"],
        [4, "a3"]
      ])
    })
  )
)

it(
  "one hot key takes at most half of the permits, in batches too",
  simulated(
    Effect.gen(function* () {
      const memory = yield* MemoryQueue.make({ latency: "10 millis" })
      yield* memory.send(grouped(...Array.from({ length: 200 }, (_, i) => `a${i + 1}`)))
      const begun: Array<string> = []
      const consumer = yield* Consumer.make(memory, { maxInFlight: 40 })
      const fiber = yield* consumer.stream.pipe(
        Pipeline.processBatches(
          (bodies) =>
            Effect.zipRight(
              Effect.sync(() => begun.push(...bodies)),
              Effect.sleep("1 minute")
            ),
          {
            max: 10,
            within: "100 millis",
            concurrency: 4,
            sequence: (body) => body.slice(0, 1)
          }
        ),
        Stream.runDrain,
        Effect.fork
      )
      yield* Effect.sleep("3 seconds")
      // The share, and what is not in a lane yet: half a batch.
      assert.isBelow((yield* consumer.stats).inFlight, 30)
      yield* memory.send(grouped("b1"))
      yield* Effect.sleep("4 seconds")
      assert.include(begun, "b1")
      yield* Fiber.interrupt(fiber)
    }),
    { seeds: 2 }
  )
)

it(
  "behind a stage, a batch is no reason to receive more: that says itself how much it has use for",
  simulated(
    Effect.gen(function* () {
      const memory = yield* MemoryQueue.make({ latency: "20 millis" })
      yield* memory.send(Array.from({ length: 1000 }, () => "x"))
      const consumer = yield* Consumer.make(memory, { maxInFlight: 400 })
      const fiber = yield* consumer.stream.pipe(
        Pipeline.mapEffect(() => Effect.sleep("5 seconds"), { concurrency: 1 }),
        Pipeline.processBatches(() => Effect.void, { max: 100, within: "1 second" }),
        Stream.runDrain,
        Effect.fork
      )
      yield* Effect.sleep("1 minute")
      // One that runs, one that waits for its acks, and what one receive gives.
      assert.isAtMost((yield* consumer.stats).peakInFlight, 12)
      yield* Fiber.interrupt(fiber)
    })
  )
)
