/**
 * The invariants of a consumer, over many seeds: handlers of any length that succeed, fail and die, a queue that fails
 * calls, loses answers and fails entries, and a consumer that ends at any moment. What is checked is what the queue
 * sees, never what the consumer says of itself.
 */
import { assert, describe, it } from "@effect/vitest"
import { Consumer, type LeaseQueue, Pipeline, RetryPolicy } from "@millrace/core"
import { MemoryQueue, Simulation } from "@millrace/core/testing"
import { Effect, Fiber, Logger, LogLevel, Random, Schedule, Stream } from "effect"
import { seeds } from "../../../test/long.js"
import { watched } from "./support/watched.js"

interface Scenario {
  readonly faults: boolean
  readonly end: "interrupt" | "drain" | "finish"
}

const consume = (scenario: Scenario) =>
  Effect.gen(function* () {
    const messages = yield* Random.nextIntBetween(1, 120)
    const maxInFlight = yield* Random.nextIntBetween(1, 40)
    const concurrency = yield* Random.nextIntBetween(1, 30)
    const odds = scenario.faults ? yield* Random.nextRange(0, 0.3) : 0
    const latency = yield* Random.nextIntBetween(0, 50)
    const acked: Array<string> = []
    const expired: Array<string> = []
    const queue = yield* MemoryQueue.make({
      latency,
      leaseDuration: "30 seconds",
      strandAborted: scenario.faults,
      onEvent: (event) => {
        if (event.type === "Acked") acked.push(event.id)
        if (event.type === "Expired") expired.push(`${event.id}/${event.attempt}`)
      },
      faults: () =>
        Effect.gen(function* () {
          if ((yield* Random.next) >= odds) return undefined
          const kind = (yield* Random.nextBoolean) ? ("throttled" as const) : ("transient" as const)
          const which = yield* Random.nextIntBetween(0, 4)
          const bad = yield* Random.nextIntBetween(0, 10)
          if (which === 0) return { fail: kind }
          if (which === 1) return { drop: kind }
          if (which === 2) return { delay: bad * 1000 }
          return { entries: (_: LeaseQueue.Lease, i: number) => (i === bad ? ("Transient" as const) : undefined) }
        })
    })
    yield* queue.send(Array.from({ length: messages }, (_, i) => String(i)))
    const watch = watched(queue, maxInFlight)
    const done = new Set<string>()
    let running = 0
    const consumer = yield* Consumer.make(watch.queue, { maxInFlight })
    const fiber = yield* consumer.stream.pipe(
      Pipeline.process(
        (_, delivery) =>
          Effect.gen(function* () {
            running++
            if (running > concurrency) watch.violations.push(`${running} handlers at once, of ${concurrency}`)
            yield* Effect.sleep(Math.floor((yield* Random.next) ** 4 * 5000))
            const fate = yield* Random.nextIntBetween(0, 10)
            if (fate === 0) return yield* Effect.fail("a failure")
            if (fate === 1) return yield* Effect.dieMessage("a defect")
            done.add(delivery.message.id)
          }).pipe(Effect.ensuring(Effect.sync(() => running--))),
        { concurrency, retry: RetryPolicy.redeliver(Schedule.spaced("2 seconds")) }
      ),
      Stream.runDrain,
      Effect.fork
    )
    const early = Effect.flatMap(Random.nextIntBetween(0, 20_000), (millis) => Effect.sleep(millis))
    if (scenario.end === "finish") {
      yield* queue.idle
    } else {
      yield* Effect.race(early, queue.idle)
    }
    if (scenario.end === "interrupt") {
      yield* Fiber.interrupt(fiber)
      watch.stop()
    } else {
      yield* consumer.drain({ deadline: "10 seconds" })
      watch.stop()
      yield* Fiber.join(fiber)
    }
    yield* Effect.sleep("10 minutes")

    assert.deepStrictEqual(watch.violations, [])
    assert.strictEqual(running, 0, "no handler is left running")
    for (const id of acked) assert.isTrue(done.has(id), `${id} was deleted and no handler had finished it`)
    const stats = yield* queue.stats
    assert.strictEqual(stats.acked + stats.visible + stats.deadLettered, messages, "every message is somewhere")
    if (scenario.end === "finish") assert.strictEqual(acked.length, messages, "all were worked off")
    if (!scenario.faults) {
      assert.deepStrictEqual(
        expired.filter((handle) => watch.endedBy.get(handle) !== "setLease"),
        [],
        "no lease ran out but by its retry's delay"
      )
      assert.strictEqual(new Set(acked).size, acked.length)
    }
    const own = yield* consumer.stats
    assert.strictEqual(own.inFlight, 0, "every permit is back")
    const ends = own.acked + own.retried + own.released + own.deadLettered + own.left + own.lost
    assert.strictEqual(ends, own.received, "every delivery ended once")
    assert.isAtMost(own.peakInFlight, maxInFlight)
  }).pipe(Effect.scoped, Logger.withMinimumLogLevel(LogLevel.None))

describe("invariants", () => {
  for (const faults of [false, true]) {
    for (const end of ["finish", "drain", "interrupt"] as const) {
      it(`bound, demand, one settlement, no loss: ${faults ? "a queue that fails" : "a sound queue"}, ended by ${end}`, async () => {
        await Simulation.checkInTurns(
          { seeds: seeds({ short: 15, long: 60 }), leaks: "fail" },
          consume({ faults, end })
        )
      }, 60_000)
    }
  }
})
