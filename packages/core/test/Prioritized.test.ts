/** Several queues as one stream, with one bound and shared slots: strictly by rank, or by weight. */
import { assert, describe, it } from "@effect/vitest"
import { Pipeline, Prioritized, RetryPolicy, Tunable } from "@millrace/core"
import { MemoryQueue, Simulation } from "@millrace/core/testing"
import { Cause, Clock, Data, Effect, Exit, Fiber, Logger, LogLevel, Random, Schedule, Stream } from "effect"
import { type Line, logged, numbered, recorded, simulated } from "./support/index.js"

const queueOf = (name: string, messages: number) =>
  Effect.tap(MemoryQueue.make({ name, latency: "20 millis" }), (queue) => queue.send(numbered(messages)))

const slots = 20

/** Handles with so many slots, and says of which queue each was, and when. */
const handled = (
  stream: ReturnType<typeof Prioritized.stream<MemoryQueue.MemoryQueueError>>,
  began: Array<{ readonly queue: string; readonly body: string; readonly at: number }>,
  millis: readonly [number, number] = [50, 150]
) =>
  stream.pipe(
    Pipeline.process(
      (body, { queue }) =>
        Effect.gen(function* () {
          began.push({ queue, body, at: yield* Clock.currentTimeMillis })
          yield* Effect.sleep(yield* Random.nextIntBetween(...millis))
        }),
      { concurrency: slots }
    ),
    Stream.runDrain
  )

class No extends Data.TaggedError("No") {}

describe("strict", () => {
  it(
    "with all full the first has 99 % until it is empty; then the next; and the floor keeps the last from starving",
    simulated(
      Effect.gen(function* () {
        const first = yield* queueOf("first", 3000)
        const second = yield* queueOf("second", 1000)
        const third = yield* queueOf("third", 1000)
        const began: Array<{ readonly queue: string; readonly body: string; readonly at: number }> = []
        const fiber = yield* Effect.fork(
          handled(Prioritized.stream([first, second, third].map((queue) => ({ queue }))), began)
        )
        yield* first.settled(3000)
        const until = began.findLastIndex(({ queue }) => queue === "first") + 1
        const others = until - 3000
        assert.isAtMost(others / until, 0.01, `${others} of the others before the first was empty`)
        // One of 250 for each of them, and what was asked for as the first one ended.
        assert.isAtLeast(began.slice(0, until).filter(({ queue }) => queue === "third").length, 8)
        yield* second.settled(1000)
        assert.isAtMost(began.slice(until, until + 900).filter(({ queue }) => queue === "third").length, 18)
        yield* third.settled(1000)
        yield* Fiber.interrupt(fiber)
        for (const queue of [first, second, third]) assert.strictEqual((yield* queue.stats).inFlight, 0)
      }),
      { seeds: 2 }
    )
  )

  it(
    "a floor of 0 gives the later ones nothing, and they lease nothing",
    simulated(
      Effect.gen(function* () {
        const first = yield* queueOf("first", 2000)
        const second = recorded(yield* queueOf("second", 1000))
        const began: Array<{ readonly queue: string; readonly body: string; readonly at: number }> = []
        const fiber = yield* Effect.fork(
          handled(Prioritized.stream([{ queue: first }, { queue: second.queue }], { floor: 0 }), began)
        )
        yield* Effect.sleep("6 seconds")
        assert.isAbove(began.length, 1000)
        assert.deepStrictEqual(new Set(began.map(({ queue }) => queue)), new Set(["first"]))
        assert.strictEqual(second.calls.of("receive").length, 0)
        yield* Fiber.interrupt(fiber)
      }),
      { seeds: 2 }
    )
  )

  for (const how of ["paused", "drained"] as const) {
    it(
      `one that is ${how} keeps nothing back from those behind it`,
      simulated(
        Effect.gen(function* () {
          const [first, second, third] = [
            yield* queueOf("first", 5000),
            yield* queueOf("second", 5000),
            yield* queueOf("third", 5000)
          ]
          const prioritized = yield* Prioritized.make(
            [first, second, third].map((queue) => ({ queue })),
            { floor: 0, maxInFlight: 30 }
          )
          const began: Array<{ readonly queue: string; readonly body: string; readonly at: number }> = []
          const fiber = yield* Effect.fork(handled(prioritized.stream, began))
          yield* Effect.sleep("3 seconds")
          assert.deepStrictEqual(new Set(began.map(({ queue }) => queue)), new Set(["first"]))
          const [one] = prioritized.consumers
          assert.isDefined(one)
          if (how === "paused") yield* one.pause
          else yield* one.drain()
          const until = yield* Effect.map(Clock.currentTimeMillis, (now) => now + 500)
          yield* Effect.sleep("10 seconds")
          const after = began.filter(({ at }) => at > until)
          assert.deepStrictEqual(new Set(after.map(({ queue }) => queue)), new Set(["second"]))
          assert.isAtLeast(after.length, 700, "the slots are busy")
          if (how === "paused") {
            yield* one.resume
            yield* Effect.sleep("5 seconds")
            const last = began.slice(-slots)
            assert.deepStrictEqual(new Set(last.map(({ queue }) => queue)), new Set(["first"]))
          }
          yield* Fiber.interrupt(fiber)
        }),
        { seeds: 2 }
      )
    )
  }

  it(
    "the room of a receive that is kept for the first ones is the later ones' while those are paused",
    simulated(
      Effect.gen(function* () {
        const prioritized = yield* Prioritized.make(
          [{ queue: yield* queueOf("first", 100) }, { queue: yield* queueOf("second", 100) }],
          { floor: 0, maxInFlight: 20 }
        )
        const [first, second] = prioritized.consumers
        assert.isDefined(first)
        assert.isDefined(second)
        yield* first.pause
        const fiber = yield* prioritized.stream.pipe(
          Pipeline.process(() => Effect.never, { concurrency: slots }),
          Stream.runDrain,
          Effect.fork
        )
        yield* Effect.sleep("5 seconds")
        assert.strictEqual((yield* second.stats).inFlight, 20)
        yield* Fiber.interrupt(fiber)
      })
    )
  )

  it("an urgent message that comes while the low queue is full waits for a running handler, and not for what is prefetched", () => {
    Simulation.check(
      { seeds: 6, maxElapsed: "1 day", maxWakes: 5_000_000 },
      Effect.gen(function* () {
        let received = 0
        const urgent = yield* MemoryQueue.make({
          name: "urgent",
          latency: "20 millis",
          onEvent: ({ at, type }) => {
            if (type === "Received") received = at
          }
        })
        const low = yield* queueOf("low", 3000)
        const began: Array<{ readonly queue: string; readonly body: string; readonly at: number }> = []
        const fiber = yield* Effect.fork(
          handled(Prioritized.stream([{ queue: urgent }, { queue: low }]), began, [500, 1500])
        )
        yield* Effect.sleep("5 seconds")
        const waits: Array<number> = []
        for (let i = 0; i < 20; i++) {
          yield* Effect.sleep(yield* Random.nextIntBetween(500, 1500))
          const sentAt = yield* Clock.currentTimeMillis
          yield* urgent.send([`${i}`])
          yield* Effect.sleep("2 seconds")
          const at = began.findIndex(({ body, queue }) => queue === "urgent" && body === `${i}`)
          assert.isAtLeast(at, 0, "it ran")
          waits.push((began[at]?.at ?? 0) - sentAt)
          // Its answer takes 10 milliseconds more. From then on it waits for what the stage has taken already, and no more.
          const overtaken = began.slice(0, at).filter((one) => one.at > received + 10)
          assert.isAtMost(overtaken.length, slots / 4)
        }
        // A slot comes free each 50 milliseconds, and a receive takes 20.
        assert.isAtMost(Math.max(...waits), 600)
        yield* Fiber.interrupt(fiber)
      })
    )
  }, 30_000)
})

describe("groups that fail", () => {
  it(
    "leave room for the good ones, in whichever of the queues they are",
    simulated(
      Effect.gen(function* () {
        const make = (name: string) => MemoryQueue.make({ name, ordered: true, latency: "20 millis" })
        const [first, second] = [yield* make("first"), yield* make("second")]
        const send = (queue: MemoryQueue.MemoryQueue, body: string, count: number) =>
          queue.send(numbered(count).map((n) => ({ body, group: `${body}${n}` })))
        const good = { first: 0, second: 0 }
        const prioritized = yield* Prioritized.make([{ queue: first }, { queue: second }], { maxInFlight: 20 })
        const fiber = yield* prioritized.stream.pipe(
          Pipeline.process(
            (body, { queue }) =>
              Effect.suspend(() => {
                if (body === "bad") return Effect.fail(new No())
                good[queue === "first" ? "first" : "second"]++
                return Effect.void
              }),
            { concurrency: 10, retry: RetryPolicy.redeliver(Schedule.spaced("2 minutes")) }
          ),
          Stream.runDrain,
          Effect.fork
        )
        for (const queue of [second, first]) {
          yield* send(queue, "bad", 12)
          yield* Effect.sleep("2 seconds")
        }
        for (const queue of [first, second]) yield* send(queue, "good", 30)
        yield* Effect.sleep("1 minute")
        assert.deepStrictEqual(good, { first: 30, second: 30 })
        yield* Fiber.interrupt(fiber)
      }).pipe(Logger.withMinimumLogLevel(LogLevel.None))
    )
  )
})

describe("of the bound that they share", () => {
  it(
    "each knows when it is taken whole, by whichever of them, and says so where the stream is stuck",
    simulated(
      Effect.gen(function* () {
        const lines: Array<Line> = []
        const prioritized = yield* Prioritized.make(
          [
            { queue: yield* queueOf("first", 100), weight: 1 },
            { queue: yield* queueOf("second", 100), weight: 1 }
          ],
          { maxInFlight: 10, warnAfter: "10 seconds" }
        ).pipe(Effect.provide(logged(lines)))
        // Nobody settles them.
        const fiber = yield* Effect.fork(Stream.runDrain(prioritized.stream))
        yield* Effect.sleep("1 minute")
        const figures = yield* Effect.forEach(prioritized.consumers, (consumer) => consumer.figures)
        assert.deepStrictEqual(
          figures.map(({ stats }) => stats.inFlight),
          [5, 5]
        )
        for (const { fullFor } of figures) assert.isAtLeast(fullFor, 58_000)
        for (const queue of ["first", "second"]) {
          assert.isTrue(
            lines.some(({ text }) => text.startsWith(`the stream of ${queue} is stuck: all 10 permits are taken`)),
            queue
          )
        }
        yield* Fiber.interrupt(fiber)
      })
    )
  )
})

describe("weighted", () => {
  it(
    "weights 6:3:1 come out within 5 %, and one that is empty leaves its part to the others",
    simulated(
      Effect.gen(function* () {
        const weights = { a: 6, b: 3, c: 1 }
        const queues = yield* Effect.forEach(Object.keys(weights), (name) => queueOf(name, 2500))
        const began: Array<{ readonly queue: string; readonly body: string; readonly at: number }> = []
        const fiber = yield* Effect.fork(
          handled(Prioritized.stream(queues.map((queue, i) => ({ queue, weight: Object.values(weights)[i] }))), began)
        )
        while (began.length < 2600) yield* Effect.sleep("100 millis")
        const window = began.slice(300, 2300)
        for (const [name, weight] of Object.entries(weights)) {
          const part = window.filter(({ queue }) => queue === name).length / window.length
          assert.closeTo(part / (weight / 10), 1, 0.05, name)
        }
        yield* Effect.forEach(queues, ({ idle }) => idle)
        yield* Fiber.interrupt(fiber)
      }),
      { seeds: 2 }
    )
  )
})

describe("both", () => {
  it("one bound for all, each settles at its own queue, and nothing is lost (with faults)", () => {
    Simulation.check(
      { seeds: 10, maxElapsed: "1 day", maxWakes: 5_000_000 },
      Effect.gen(function* () {
        const names = ["a", "b", "c"].slice(0, yield* Random.nextIntBetween(1, 4))
        const queues = yield* Effect.forEach(names, (name) =>
          MemoryQueue.make({
            name,
            latency: "20 millis",
            ordered: name === "b",
            faults: ({ operation }) =>
              Effect.map(Random.next, (x) =>
                x < 0.05
                  ? { fail: "transient" as const }
                  : x < 0.07 && operation === "ack"
                    ? { drop: "transient" as const }
                    : undefined
              )
          })
        )
        const maxInFlight = yield* Random.nextIntBetween(3, 40)
        const byWeight = yield* Random.nextBoolean
        const prioritized = yield* Prioritized.make(
          queues.map((queue, i) => ({ queue, weight: byWeight ? i + 1 : undefined })),
          { maxInFlight }
        )
        let most = 0
        const fiber = yield* prioritized.stream.pipe(
          Pipeline.process(
            () =>
              Effect.gen(function* () {
                const stats = yield* Effect.forEach(prioritized.consumers, (consumer) => consumer.stats)
                most = Math.max(
                  most,
                  stats.reduce((sum, { inFlight }) => sum + inFlight, 0)
                )
                yield* Effect.sleep(yield* Random.nextIntBetween(1, 200))
                if ((yield* Random.next) < 0.1) return yield* new No()
              }),
            { concurrency: 8, retry: RetryPolicy.redeliver(Schedule.spaced("1 second")) }
          ),
          Stream.runDrain,
          Effect.fork
        )
        for (let i = 0; i < 20; i++) {
          for (const queue of queues) {
            const count = yield* Random.nextIntBetween(0, 8)
            yield* queue.send(Array.from({ length: count }, () => ({ body: "x", group: "g" })))
          }
          yield* Effect.sleep(yield* Random.nextIntBetween(0, 500))
        }
        yield* Effect.forEach(queues, ({ idle }) => idle)
        assert.isAtMost(most, maxInFlight)
        for (const [i, queue] of queues.entries()) {
          const { acked, sent } = yield* queue.stats
          assert.strictEqual(acked, sent)
          const figures = yield* prioritized.consumers[i]?.figures ?? Effect.die("no consumer")
          assert.strictEqual(figures.queue, names[i])
          assert.isAtLeast(figures.stats.received, sent)
        }
        const reports = yield* prioritized.drain()
        assert.strictEqual(reports.length, names.length)
        yield* Fiber.await(fiber)
      }).pipe(Effect.scoped, Logger.withMinimumLogLevel(LogLevel.None))
    )
  }, 60_000)

  it(
    "nobody waits for another's long poll",
    simulated(
      Effect.gen(function* () {
        const [first, second] = [yield* queueOf("first", 0), yield* queueOf("second", 0)]
        const began: Array<{ readonly queue: string; readonly body: string; readonly at: number }> = []
        const fiber = yield* Effect.fork(
          handled(Prioritized.stream([{ queue: first }, { queue: second }], { maxInFlight: 10 }), began, [1, 2])
        )
        for (const queue of [second, first, second]) {
          yield* Effect.sleep("3 seconds")
          const sentAt = yield* Clock.currentTimeMillis
          yield* queue.send(["x"])
          yield* Effect.sleep("1 second")
          assert.isAtMost((began.at(-1)?.at ?? Number.POSITIVE_INFINITY) - sentAt, 150)
        }
        assert.strictEqual(began.length, 3)
        yield* Fiber.interrupt(fiber)
      })
    )
  )

  it(
    "a bound of the user's own that is lowered below one for each queue counts as that",
    simulated(
      Effect.gen(function* () {
        const [a, b] = [yield* queueOf("a", 0), yield* queueOf("b", 3)]
        const maxInFlight = yield* Tunable.make("mine", 10)
        yield* maxInFlight.set(1)
        const tooFew = yield* Effect.flip(
          Prioritized.make([{ queue: a }, { queue: b }], { maxInFlight }).pipe(Effect.scoped)
        )
        assert.include(tooFew.message, "maxInFlight is 1; write a whole number from 2 to 120000")
        yield* maxInFlight.set(10)
        const prioritized = yield* Prioritized.make([{ queue: a }, { queue: b }], { maxInFlight })
        yield* maxInFlight.set(1)
        assert.strictEqual(yield* prioritized.maxInFlight.get, 2)
        const fiber = yield* Effect.fork(Stream.runDrain(Pipeline.process(() => Effect.void)(prioritized.stream)))
        // Nobody waits for the other's long poll.
        yield* Effect.timeout(b.settled(3), "5 seconds")
        yield* Fiber.interrupt(fiber)
      })
    )
  )

  it.scoped("refuses what cannot work", () =>
    Effect.gen(function* () {
      const a = yield* MemoryQueue.make({ name: "a" })
      const b = yield* MemoryQueue.make({ name: "b" })
      const refused = (queues: ReadonlyArray<Prioritized.Queue<never>>, options: Prioritized.Options = {}) =>
        Effect.map(Effect.flip(Stream.runDrain(Prioritized.stream(queues, options))), ({ message }) => message)
      const q = (queue: unknown, weight?: number) => ({ queue: queue as Prioritized.Queue<never>["queue"], weight })
      assert.strictEqual(yield* refused([]), "queues is empty; write the queues, the first one first")
      assert.strictEqual(yield* refused([q(a), q(a)]), "queues has two called a; write each once")
      assert.strictEqual(
        yield* refused([q(a, 1), q(b)]),
        "weight is given for 1 of 2 queues; write one for each, or none"
      )
      assert.strictEqual(
        yield* refused([q(a, 1), q(b, 1)], { floor: 0.01 }),
        "floor is given beside weights, which are floors themselves; leave one of them out"
      )
      assert.strictEqual(
        yield* refused([q(a), q(b)], { maxInFlight: 1 }),
        "maxInFlight is 1; write a whole number from 2 to 120000: each of the 2 queues has a receive open"
      )
      const prioritized = yield* Prioritized.make([{ queue: a }, { queue: b }])
      const tooFew = yield* Effect.flip(prioritized.maxInFlight.set(1))
      assert.strictEqual(tooFew.message, "maxInFlight is 1; write a whole number from 2 to 120000")
      const ignored = yield* Effect.exit(prioritized.drain({ deadline: 0, interrupted: "leave" } as object))
      assert.isTrue(Exit.isFailure(ignored) && Cause.pretty(ignored.cause).includes("interrupted"))
      assert.match(yield* refused([q({})]), /^queues\[0\]\.queue is an object; write a LeaseQueue$/)
    })
  )
})
