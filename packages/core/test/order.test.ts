/**
 * Invariant 5 over many seeds: a fleet of consumers on one ordered queue, with handlers that fail, and consumers that
 * drain and die. What is checked is what handlers saw and when the queue deleted.
 */
import { assert, describe, it } from "@effect/vitest"
import { Consumer, type LeaseQueue, Pipeline, RetryPolicy } from "@millrace/core"
import { MemoryQueue, Simulation } from "@millrace/core/testing"
import { Effect, Fiber, Logger, LogLevel, Random, Schedule, Stream } from "effect"
import { seeds } from "../../../test/long.js"

const fleet = (scenario: { readonly faults: boolean }) =>
  Effect.gen(function* () {
    const groups = yield* Random.nextIntBetween(1, 8)
    const messages = yield* Random.nextIntBetween(1, 80)
    const consumers = yield* Random.nextIntBetween(1, 4)
    const odds = scenario.faults ? yield* Random.nextRange(0, 0.2) : 0
    const latency = yield* Random.nextIntBetween(0, 50)
    const gone = new Set<string>()
    const queue = yield* MemoryQueue.make({
      ordered: true,
      latency,
      onEvent: (event) => {
        if (event.type === "Acked" || event.type === "DeadLettered") gone.add(event.body)
      },
      faults: ({ operation }) =>
        Effect.gen(function* () {
          if ((yield* Random.next) >= odds) return undefined
          const which = yield* Random.nextIntBetween(0, 3)
          const bad = yield* Random.nextIntBetween(0, 10)
          if (which === 0) return { fail: "throttled" as const }
          if (which === 1 && operation === "receive") return { drop: "transient" as const }
          return { entries: (_: LeaseQueue.Lease, i: number) => (i === bad ? ("Transient" as const) : undefined) }
        })
    })
    const bodies: Array<{ readonly body: string; readonly group: string }> = []
    const lengths = new Array<number>(groups).fill(0)
    for (let i = 0; i < messages; i++) {
      const group = yield* Random.nextIntBetween(0, groups)
      bodies.push({ body: `${group}/${lengths[group]}`, group: String(group) })
      lengths[group] = (lengths[group] ?? 0) + 1
    }
    yield* queue.send(bodies)

    const running = new Set<string>()
    let lost = 0
    const handler = (body: string) =>
      Effect.gen(function* () {
        const [group = "", place = ""] = body.split("/")
        if (running.has(group)) throw new Error(`two handlers of group ${group} at once, at ${body}`)
        for (let earlier = 0; earlier < Number(place); earlier++) {
          if (!gone.has(`${group}/${earlier}`)) throw new Error(`${body} began before ${group}/${earlier} was deleted`)
        }
        running.add(group)
        yield* Effect.sleep(Math.floor((yield* Random.next) ** 4 * 40_000)).pipe(
          Effect.ensuring(Effect.sync(() => running.delete(group)))
        )
        const fate = yield* Random.nextIntBetween(0, 12)
        if (fate === 0) return yield* Effect.fail("a failure")
        if (fate === 1) return yield* Effect.fail("never mind")
      })

    const broken: Array<string> = []
    const one = Effect.gen(function* () {
      const consumer = yield* Consumer.make(queue, { maxInFlight: yield* Random.nextIntBetween(1, 40) })
      const holdLimit = (yield* Random.nextBoolean) ? "0 seconds" : "5 minutes"
      yield* consumer.stream.pipe(
        Pipeline.process(handler, {
          concurrency: yield* Random.nextIntBetween(1, 10),
          holdLimit,
          retry: (failure) => {
            if (typeof failure === "object") broken.push(failure.message)
            return failure === "never mind"
              ? RetryPolicy.deadLetter
              : RetryPolicy.redeliver(Schedule.spaced("3 seconds"))
          }
        }),
        Stream.runDrain,
        Effect.raceFirst(
          Effect.gen(function* () {
            yield* Effect.sleep(yield* Random.nextIntBetween(5000, 200_000))
            if (yield* Random.nextBoolean) yield* consumer.drain({ deadline: "20 seconds" })
          })
        )
      )
      lost += (yield* consumer.stats).lost
    }).pipe(Effect.scoped)
    const workers = yield* Effect.forEach(Array.from({ length: consumers }), () => Effect.fork(Effect.forever(one)))
    yield* queue.idle
    yield* Fiber.interruptAll(workers)
    if (lost === 0) assert.deepStrictEqual(broken, [])
    assert.strictEqual(gone.size, messages)
    return lost
  }).pipe(Effect.scoped, Logger.withMinimumLogLevel(LogLevel.None))

describe("order", () => {
  it("groups of an ordered queue are worked on in order, whatever fails, drains and dies", async () => {
    await Simulation.checkInTurns({ seeds: seeds({ short: 15, long: 60 }) }, fleet({ faults: false }))
  }, 60_000)

  it("the same on a queue that fails calls and entries and loses answers", async () => {
    await Simulation.checkInTurns({ seeds: seeds({ short: 15, long: 60 }) }, fleet({ faults: true }))
  }, 60_000)
})
