/** `share` on the stages: what each key may have, and that no invariant is lost for it. */
import { assert, describe, it } from "@effect/vitest"
import { Consumer, type Delivery, Pipeline, RetryPolicy, type Share } from "@millrace/core"
import { MemoryQueue, Simulation } from "@millrace/core/testing"
import { Clock, Data, Effect, Either, Fiber, Logger, LogLevel, Random, Schedule, Stream } from "effect"
import { type Line, logged, recorded, type Source, simulated } from "../support/index.js"

class No extends Data.TaggedError("No") {}

type Handler = (body: string, delivery: Delivery.Delivery<string>) => Effect.Effect<void, No>
type Options = Pipeline.ConcurrencyOptions<string> & { readonly retry?: RetryPolicy.RetryPolicy<unknown> }

const stages = {
  process: (handler: Handler, options: Options) => Pipeline.process(handler, options),
  mapEffect:
    (handler: Handler, { retry, ...options }: Options) =>
    (source: Source) =>
      source.pipe(Pipeline.mapEffect(handler, options), Pipeline.settle({ retry })),
  processBatches: (handler: Handler, options: Options) =>
    Pipeline.processBatches(
      (bodies: ReadonlyArray<string>, deliveries: ReadonlyArray<Delivery.Delivery<string>>) =>
        Effect.forEach(
          bodies,
          (body, i): Effect.Effect<Either.Either<void, No>> => {
            const delivery = deliveries[i]
            return delivery === undefined
              ? Effect.succeed(Either.left(new No()))
              : Effect.either(handler(body, delivery))
          },
          { concurrency: deliveries[0]?.message.group === undefined ? "unbounded" : 1 }
        ),
      { ...options, concurrency: 4, max: 5, within: "50 millis" }
    )
} as const

const names = ["process", "mapEffect", "processBatches"] as const
const tenantOf = (body: string) => body.slice(0, 1)

describe("share", () => {
  for (const stage of names) {
    it(`${stage}: a key has no more at once than it may, and no permit is lost (with faults)`, () => {
      Simulation.check(
        { seeds: 3, maxElapsed: "1 day", maxWakes: 1_000_000 },
        Effect.gen(function* () {
          const memory = yield* MemoryQueue.make({
            latency: "20 millis",
            faults: ({ operation }) =>
              Effect.map(Random.next, (x) =>
                x < 0.05
                  ? { fail: "transient" as const }
                  : x < 0.07 && operation === "ack"
                    ? { drop: "transient" as const }
                    : undefined
              )
          })
          const most = yield* Random.nextIntBetween(1, 4)
          const maxInFlight = yield* Random.nextIntBetween(12, 60)
          const running = new Map<string, number>()
          const share: Share.Options<string> = {
            key: tenantOf,
            concurrency: most,
            waiting: yield* Random.nextIntBetween(1, 30),
            weight: (key) => (key === "b" ? 3 : 1),
            rate: (key) => (key === "c" ? { perSecond: 5, burst: 2 } : undefined)
          }
          const began: Array<number> = []
          /** Not thrown in a handler: its own policy would take care of that. */
          const broken: Array<string> = []
          const handler: Handler = (body) =>
            Effect.gen(function* () {
              const key = tenantOf(body)
              const now = (running.get(key) ?? 0) + 1
              running.set(key, now)
              if (key === "c") began.push(yield* Clock.currentTimeMillis)
              if (now > most) broken.push(`${now} of ${key} at once, of ${most}`)
              yield* Effect.sleep(yield* Random.nextIntBetween(1, 200))
              if ((yield* Random.next) < 0.1) return yield* new No()
            }).pipe(
              Effect.ensuring(Effect.sync(() => running.set(tenantOf(body), (running.get(tenantOf(body)) ?? 1) - 1)))
            )
          const retry = RetryPolicy.redeliver(Schedule.spaced("1 second"))
          const consumer = yield* Consumer.make(memory, { maxInFlight })
          const fiber = yield* consumer.stream.pipe(
            stages[stage](handler, { concurrency: 10, retry, share }),
            Stream.runDrain,
            Effect.fork
          )
          yield* memory.send(Array.from({ length: 150 }, (_, i) => `a ${i}`))
          yield* memory.send(Array.from({ length: 30 }, (_, i) => `${"bcde".charAt(i % 4)} ${i}`))
          yield* memory.idle
          assert.deepStrictEqual(broken, [])
          const { peakInFlight } = yield* consumer.stats
          assert.isAtMost(peakInFlight, maxInFlight)
          // A burst of two, then five a second: batches begin all their messages together.
          const sorted = began.sort((x, y) => x - y)
          if (stage !== "processBatches") {
            for (const [i, at] of sorted.entries()) {
              const within = sorted.filter((other) => other >= at && other < at + 1000).length
              assert.isAtMost(within, 2 + 5, `from the ${i}th of c on`)
            }
          }
          yield* Fiber.interrupt(fiber)
          assert.strictEqual((yield* memory.stats).inFlight, 0)
          assert.strictEqual((yield* consumer.stats).inFlight, 0)
        }).pipe(Effect.scoped, Logger.withMinimumLogLevel(LogLevel.None))
      )
    }, 60_000)

    it(`${stage}: of an ordered queue nothing is overtaken, whatever goes back`, () => {
      Simulation.check(
        { seeds: 3, maxElapsed: "1 day", maxWakes: 1_000_000 },
        Effect.gen(function* () {
          const memory = yield* MemoryQueue.make({ ordered: true, latency: "20 millis" })
          const next = new Map<string, number>()
          const overtaken: Array<string> = []
          const handler: Handler = (body, { message: { group = "" } }) =>
            Effect.gen(function* () {
              const place = Number(body.split(" ")[1])
              if (place > (next.get(group) ?? 0)) overtaken.push(`by ${body} of ${group}`)
              yield* Effect.sleep(yield* Random.nextIntBetween(1, 100))
              // What follows a failure in its batch runs too, and is not acked.
              if (stage !== "processBatches" && (yield* Random.next) < 0.05) return yield* new No()
              next.set(group, place + 1)
            })
          const key = (yield* Random.nextBoolean) ? ("group" as const) : tenantOf
          const consumer = yield* Consumer.make(memory, { maxInFlight: 20 })
          const fiber = yield* consumer.stream.pipe(
            stages[stage](handler, {
              concurrency: 6,
              retry: RetryPolicy.redeliver(Schedule.spaced("1 second")),
              share: { key, concurrency: 2, waiting: 3 }
            }),
            Stream.runDrain,
            Effect.fork
          )
          // Tenant a has six groups and most of the messages, b and c have one each.
          for (let i = 0; i < 20; i++) {
            yield* memory.send(Array.from({ length: 6 }, (_, g) => ({ body: `a ${i}`, group: `a${g}` })))
            if (i < 5) yield* memory.send(["b", "c"].map((tenant) => ({ body: `${tenant} ${i}`, group: tenant })))
          }
          yield* memory.idle
          yield* Fiber.interrupt(fiber)
          assert.deepStrictEqual(overtaken, [])
          assert.deepStrictEqual([...next.values()].sort(), [20, 20, 20, 20, 20, 20, 5, 5])
          if (key !== "group") assert.isAbove((yield* consumer.stats).overShare, 0)
          assert.strictEqual((yield* memory.stats).deadLettered, 0)
        }).pipe(Effect.scoped, Logger.withMinimumLogLevel(LogLevel.None))
      )
    }, 60_000)
  }

  it(
    "on an ordered queue the head of a group stays away for a second at least, whatever is here behind it",
    simulated(
      Effect.gen(function* () {
        const memory = yield* MemoryQueue.make({ ordered: true, latency: "20 millis", maxAttempts: 20 })
        const { calls, queue } = recorded(memory)
        for (let i = 0; i < 5; i++) {
          yield* memory.send(Array.from({ length: 8 }, (_, g) => ({ body: `a ${i}`, group: `a${g}` })))
        }
        const consumer = yield* Consumer.make(queue, { maxInFlight: 40 })
        const fiber = yield* consumer.stream.pipe(
          Pipeline.process(() => Effect.sleep("1 second"), {
            concurrency: 8,
            share: { key: tenantOf, concurrency: 1, waiting: 2 }
          }),
          Stream.runDrain,
          Effect.fork
        )
        yield* Effect.sleep("20 seconds")
        yield* Fiber.interrupt(fiber)
        // The first eight messages are the heads of their groups.
        const first = new Set(Array.from({ length: 8 }, (_, i) => `memory-${i + 1}`))
        const away = calls
          .of("setLease")
          .filter(({ at }) => at < 20_000)
          .flatMap(({ entries }) => entries.flatMap(({ id, millis }) => (first.has(id) ? [millis] : [])))
        assert.isAbove(away.length, 0)
        assert.isAtLeast(Math.min(...away), 1000)
        // One a second is worked on, and 1.25 come again: the last of eight does not wait for what only follows the others.
        assert.isAtMost(Math.max(...away), 9000 / 1.25)
        const received = calls.of("receive").reduce((sum, { answered }) => sum + (answered?.count ?? 0), 0)
        assert.isAtMost(received, 300)
      })
    )
  )

  it(
    "one key never has all permits: another's message comes in and runs at once",
    simulated(
      Effect.gen(function* () {
        const memory = yield* MemoryQueue.make({ latency: "20 millis" })
        yield* memory.send(Array.from({ length: 100 }, () => ({ body: "x", group: "noisy" })))
        const began: Array<string> = []
        const consumer = yield* Consumer.make(memory, { maxInFlight: 40 })
        const fiber = yield* consumer.stream.pipe(
          Pipeline.process(
            (_, { message }) => {
              began.push(message.group ?? "")
              return Effect.sleep(message.group === "noisy" ? "1 hour" : "1 second")
            },
            { concurrency: 40, share: {} }
          ),
          Stream.runDrain,
          Effect.fork
        )
        yield* Effect.sleep("5 seconds")
        assert.isAtMost(began.length, 36)
        yield* memory.send([{ body: "x", group: "quiet" }])
        yield* Effect.sleep("5 seconds")
        assert.include(began, "quiet")
        yield* Fiber.interrupt(fiber)
      })
    )
  )

  it(
    "what waits for its rate goes back when the consumer is drained, and at an early end",
    simulated(
      Effect.gen(function* () {
        for (const early of [true, false]) {
          const memory = yield* MemoryQueue.make({ latency: "20 millis" })
          yield* memory.send(Array.from({ length: 100 }, () => ({ body: "x", group: "a" })))
          const consumer = yield* Consumer.make(memory, { maxInFlight: 50 })
          const fiber = yield* consumer.stream.pipe(
            Pipeline.process(() => Effect.void, { share: { rate: { perSecond: 1, burst: 1 } } }),
            Stream.runDrain,
            Effect.fork
          )
          yield* Effect.sleep("3500 millis")
          const { acked } = yield* consumer.stats
          assert.isAtMost(acked, 4)
          if (early) yield* Fiber.interrupt(fiber)
          else yield* consumer.drain({ deadline: "1 second" })
          yield* Fiber.await(fiber)
          const { inFlight } = yield* consumer.stats
          assert.strictEqual(inFlight, 0)
          assert.strictEqual((yield* memory.stats).acked, (yield* consumer.stats).acked)
        }
      })
    )
  )

  it(
    "receives are spared where the queue allows few, and that is said",
    simulated(
      Effect.gen(function* () {
        const memory = yield* MemoryQueue.make({ latency: "20 millis", maxAttempts: 3 })
        yield* memory.send(Array.from({ length: 400 }, () => ({ body: "x", group: "noisy" })))
        const lines: Array<Line> = []
        yield* Effect.gen(function* () {
          const fiber = yield* Consumer.stream(memory, { maxInFlight: 50 }).pipe(
            Pipeline.process(() => Effect.sleep("100 millis"), { concurrency: 10, share: {} }),
            Stream.runDrain,
            Effect.fork
          )
          yield* memory.idle
          yield* Fiber.interrupt(fiber)
        }).pipe(Effect.provide(logged(lines)))
        const { acked, deadLettered } = yield* memory.stats
        assert.deepStrictEqual([acked, deadLettered], [400, 0])
        const warnings = lines.filter(({ level }) => level === "WARN").map(({ text }) => text)
        assert.deepStrictEqual(warnings, [
          "share gives messages back that are over their key's share, which costs each a receive, and memory takes a message away after 3: it gives none back more than once; raise maxReceiveCount to 10 or more"
        ])
      })
    )
  )

  it(
    "by group, where messages have none: nothing is shared, and that is said once",
    simulated(
      Effect.gen(function* () {
        const memory = yield* MemoryQueue.make()
        yield* memory.send(Array.from({ length: 300 }, () => "x"))
        const lines: Array<Line> = []
        yield* Consumer.stream(memory).pipe(
          Pipeline.process(() => Effect.void, { share: {} }),
          Stream.take(300),
          Stream.runDrain,
          Effect.provide(logged(lines))
        )
        assert.deepStrictEqual(
          lines.filter(({ level }) => level === "WARN").map(({ text }) => text),
          [
            "share goes by the message group, and none of the first 100 messages of memory has one: nothing is shared. Send with a group, or say whose a message is by share.key"
          ]
        )
      })
    )
  )

  it(
    "by group is refused on a queue without groups, before anything is received",
    simulated(
      Effect.gen(function* () {
        const memory = yield* MemoryQueue.make()
        yield* memory.send(["x"])
        const queue = { ...memory, limits: { ...memory.limits, groups: false } }
        for (const stage of names) {
          const error = yield* Consumer.stream(queue).pipe(
            stages[stage](() => Effect.void, { share: {} }),
            Stream.runDrain,
            Effect.flip
          )
          assert.strictEqual(
            error instanceof Error && error.message,
            "share.key is missing, and the messages of memory have no groups; write a function of the body that says whose a message is"
          )
        }
        assert.strictEqual((yield* memory.stats).calls.receive, 0)
      })
    )
  )
})
