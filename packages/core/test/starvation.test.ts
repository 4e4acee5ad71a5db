/**
 * Groups that fail, however many, and those that do not: of the permits that others want, what is held for a retry keeps
 * half at most, and what goes back for it goes back in order.
 */
import { assert, describe, it } from "@effect/vitest"
import { Consumer, type Delivery, Pipeline, RetryPolicy } from "@millrace/core"
import { MemoryQueue, Simulation } from "@millrace/core/testing"
import { Clock, Effect, Fiber, Logger, LogLevel, Random, Schedule, Stream } from "effect"
import { seeds } from "../../../test/long.js"
import { recorded, type Source, simulated } from "./support/index.js"

interface Town {
  /** Groups that fail until they are told not to, and the messages of each. */
  readonly failing: number
  readonly messages: number
  readonly maxInFlight: number
  readonly stage: "process" | "mapEffect" | "processBatches"
  /** By groups of an ordered queue, or by a key on a standard one. */
  readonly ordered: boolean
  readonly retry: RetryPolicy.RetryPolicy<unknown>
}

const groupOf = (body: string) => body.split(" ")[0] ?? ""

const visit = ({ failing, maxInFlight, messages, ordered, retry, stage }: Town) =>
  Effect.gen(function* () {
    const memory = yield* MemoryQueue.make({ ordered, latency: "20 millis" })
    const { calls, queue } = recorded(memory)
    const bad = Array.from({ length: failing * messages }, (_, i) => `bad${i % failing} ${Math.floor(i / failing)}`)
    yield* memory.send(bad.map((body) => ({ body, group: groupOf(body) })))

    let down = true
    const next = new Map<string, number>()
    const receives = new Map<string, number>()
    const wrong: Array<string> = []
    const waits: Array<number> = []
    const handle = (body: string, delivery: Delivery.Delivery<string>) =>
      Effect.gen(function* () {
        const [group = "", text = ""] = body.split(" ")
        receives.set(body, delivery.message.attempt)
        if (group.startsWith("good")) {
          waits.push((yield* Clock.currentTimeMillis) - Number(text))
          return yield* Effect.sleep("20 millis")
        }
        const place = next.get(group) ?? 0
        // The handler of a batch sees what follows a failure in it, and a standard queue's order ends with a redelivery.
        if (ordered && Number(text) > place && stage !== "processBatches") wrong.push(`${body} where ${place} was next`)
        yield* Effect.sleep(yield* Random.nextIntBetween(0, 50))
        if (down) return yield* Effect.fail("the downstream of this group is down")
        next.set(group, Number(text) + 1)
      })
    const sequence = ordered ? ("auto" as const) : groupOf
    const stages = {
      process: (source: Source) => source.pipe(Pipeline.process(handle, { concurrency: 32, retry, sequence })),
      mapEffect: (source: Source) =>
        source.pipe(
          Pipeline.mapEffect((body) => Effect.succeed(body), { concurrency: 32, sequence }),
          Pipeline.process(handle, { concurrency: 32, retry, sequence })
        ),
      processBatches: (source: Source) =>
        source.pipe(
          Pipeline.processBatches(
            (bodies, deliveries) =>
              Effect.forEach(bodies, (body, i) => Effect.either(handle(body, deliveries[i] as never)), {
                concurrency: "unbounded"
              }),
            { concurrency: 32, max: 10, within: "200 millis", retry, sequence }
          )
        )
    }
    const consumer = yield* Consumer.make(queue, { maxInFlight })
    const fiber = yield* consumer.stream.pipe(stages[stage], Stream.runDrain, Effect.fork)
    yield* Effect.sleep("20 seconds")
    for (let i = 0; i < 60; i++) {
      const body = `good${i} ${yield* Clock.currentTimeMillis}`
      yield* memory.send([{ body, group: groupOf(body) }])
      yield* Effect.sleep(yield* Random.nextIntBetween(100, 2000))
    }
    yield* Effect.sleep("5 seconds")
    const held = yield* consumer.stats
    down = false
    yield* memory.idle
    yield* Fiber.interrupt(fiber)
    assert.deepStrictEqual(wrong, [], "in order")
    assert.strictEqual(waits.length, 60)
    const most = Math.max(0, ...[...receives].flatMap(([body, count]) => (body.startsWith("bad") ? count : [])))
    return { worst: Math.max(...waits), most, held, calls }
  }).pipe(Effect.scoped, Logger.withMinimumLogLevel(LogLevel.None))

/** A round trip is 20 milliseconds, and a batch waits 200 for its others. */
const soon = 1500

describe("failing groups", () => {
  for (const stage of ["process", "mapEffect", "processBatches"] as const) {
    it(`a healthy one waits no longer, however many fail: ${stage}`, async () => {
      await Simulation.checkInTurns(
        { seeds: seeds({ short: 4, long: 12 }), maxElapsed: "1 day", maxWakes: 20_000_000 },
        Effect.gen(function* () {
          const failing = yield* Random.nextIntBetween(0, 60)
          const messages = yield* Random.nextIntBetween(1, 15)
          const maxInFlight = yield* Random.nextIntBetween(20, 100)
          const retry = (yield* Random.nextBoolean)
            ? RetryPolicy.standard
            : RetryPolicy.redeliver(Schedule.spaced("10 seconds"))
          const { most, worst } = yield* visit({ failing, maxInFlight, messages, ordered: true, retry, stage })
          assert.isAtMost(worst, soon, `${failing} groups of ${messages} fail, with ${maxInFlight} permits`)
          // While all their heads have room none goes back, and what is behind them does so once.
          if (failing <= Math.floor(maxInFlight / 2)) assert.isAtMost(most, 2)
        })
      )
    }, 60_000)

    it(`nor where a key of a standard queue's bodies sets the order: ${stage}`, async () => {
      await Simulation.checkInTurns(
        { seeds: seeds({ short: 2, long: 4 }), maxElapsed: "1 day", maxWakes: 20_000_000 },
        Effect.gen(function* () {
          const failing = yield* Random.nextIntBetween(10, 40)
          const retry = RetryPolicy.standard
          const { worst } = yield* visit({ failing, maxInFlight: 60, messages: 10, ordered: false, retry, stage })
          assert.isAtMost(worst, soon, `${failing} keys fail`)
        })
      )
    }, 60_000)
  }

  it(
    "nothing goes back while nobody wants its permits",
    simulated(
      Effect.gen(function* () {
        const retry = RetryPolicy.redeliver(Schedule.spaced("10 seconds"))
        const { calls, held, most } = yield* visit({
          failing: 9,
          messages: 10,
          maxInFlight: 120,
          ordered: true,
          stage: "process",
          retry
        })
        assert.deepStrictEqual([held.released, held.retried, most], [0, 0, 1])
        assert.isAtLeast(held.inFlight, 90)
        for (const { entries } of calls.of("setLease"))
          for (const { millis } of entries) assert.strictEqual(millis, 30_000)
      })
    )
  )

  it(
    "tails go back before heads, the last first, and no more than must; then the head that was held the longest",
    simulated(
      Effect.gen(function* () {
        const memory = yield* MemoryQueue.make({ ordered: true })
        const { calls, queue } = recorded(memory)
        const consumer = yield* Consumer.make(queue, { maxInFlight: 8 })
        const fiber = yield* consumer.stream.pipe(
          Pipeline.process(() => Effect.fail("no"), { retry: RetryPolicy.redeliver(Schedule.spaced("1 minute")) }),
          Stream.runDrain,
          Effect.fork
        )
        const sent: Array<string> = []
        const send = (...bodies: ReadonlyArray<string>) => {
          sent.push(...bodies)
          return Effect.zipRight(
            memory.send(bodies.map((body) => ({ body, group: body.charAt(0) }))),
            Effect.sleep("1 second")
          )
        }
        const back = () =>
          calls
            .of("setLease")
            .flatMap(({ entries }) => entries)
            .filter(({ millis }) => millis !== 30_000)
            .map(({ id, millis }) => `${sent[Number(id.split("-")[1]) - 1]} ${millis}`)
        yield* send("a1", "a2", "a3", "a4")
        assert.deepStrictEqual(back(), [])
        // Four may stay, now that somebody waits for permits.
        yield* send("b1", "b2", "b3", "b4")
        assert.deepStrictEqual(back(), ["a4 0", "a3 0", "a2 0", "b4 0"])
        for (const body of ["c1", "d1", "e1"]) yield* send(body)
        assert.strictEqual(back().length, 4)
        yield* send("f1")
        assert.deepStrictEqual(back().slice(4), ["b3 0", "b2 0", "a1 55000", "b1 56000"])
        yield* Fiber.interrupt(fiber)
      })
    )
  )
})
