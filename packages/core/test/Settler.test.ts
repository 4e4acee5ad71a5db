/** How settlements reach the queue: gathered into calls, each entry with its own result. */
import { assert, describe, it } from "@effect/vitest"
import { Consumer, type LeaseQueue, Pipeline, RetryPolicy, Settler } from "@millrace/core"
import { MemoryQueue } from "@millrace/core/testing"
import { Clock, Duration, Effect, Fiber, Runtime, Schedule, Stream } from "effect"
import { grouped, numbered, recorded, simulated } from "./support/index.js"

const latest = Duration.toMillis("20 millis")

describe("a settlement", () => {
  it(
    "waits for others to share its call, and goes with the tenth at once",
    simulated(
      Effect.gen(function* () {
        const memory = yield* MemoryQueue.make()
        const { calls, queue } = recorded(memory)
        yield* memory.send([...numbered(17), "long"])
        const fiber = yield* Consumer.stream(queue, { linger: "3 seconds" }).pipe(
          // Ten end after a second, seven more after two.
          Pipeline.process(
            (body) => (body === "long" ? Effect.sleep("1 minute") : Effect.sleep(Number(body) < 10 ? 1000 : 2000)),
            { concurrency: 18 }
          ),
          Stream.runDrain,
          Effect.fork
        )
        yield* Effect.sleep("30 seconds")
        yield* Fiber.interrupt(fiber)
        assert.deepStrictEqual(
          calls.of("ack").map(({ at, ids }) => [at, ids.length]),
          [
            [1000, 10],
            [5000, 7]
          ]
        )
      })
    )
  )

  it(
    "does not wait where nothing else is in flight",
    simulated(
      Effect.gen(function* () {
        const memory = yield* MemoryQueue.make()
        const { calls, queue } = recorded(memory)
        const fiber = yield* Consumer.stream(queue, { linger: "10 seconds", maxInFlight: 1 }).pipe(
          Pipeline.process(() => Effect.sleep("1 second")),
          Stream.runDrain,
          Effect.fork
        )
        yield* memory.send(["a"])
        yield* memory.idle
        assert.isAtMost(yield* Clock.currentTimeMillis, 1000 + latest)
        assert.strictEqual(calls.of("ack").length, 1)
        yield* Fiber.interrupt(fiber)
      })
    )
  )

  it(
    "hardly waits where somebody waits for it: an ack of the user's own, the next of a group",
    simulated(
      Effect.gen(function* () {
        for (const ordered of [false, true]) {
          const memory = yield* MemoryQueue.make({ ordered, name: ordered ? "ordered" : "standard" })
          yield* memory.send(ordered ? grouped("b", ...numbered(40).map((n) => `a${n}`)) : ["b", ...numbered(40)])
          const since = yield* Clock.currentTimeMillis
          const fiber = yield* Consumer.stream(memory, { linger: "10 seconds" }).pipe(
            Pipeline.process((body, delivery) =>
              body === "b"
                ? Effect.sleep("1 minute")
                : Effect.zipRight(Effect.sleep("10 millis"), ordered ? Effect.void : delivery.ack)
            ),
            Stream.runDrain,
            Effect.fork
          )
          yield* memory.settled(40)
          assert.isAtMost((yield* Clock.currentTimeMillis) - since, 40 * (10 + latest))
          yield* Fiber.interrupt(fiber)
        }
      })
    )
  )

  it(
    "that lingers is sent before the consumer ends, however few they are",
    simulated(
      Effect.gen(function* () {
        for (const end of ["drain", "interrupt"] as const) {
          const memory = yield* MemoryQueue.make({ latency: "10 millis" })
          yield* memory.send([...numbered(3), "long"])
          const consumer = yield* Consumer.make(memory, { linger: "15 seconds" })
          const fiber = yield* consumer.stream.pipe(
            Pipeline.process((body) => (body === "long" ? Effect.sleep("1 minute") : Effect.void)),
            Stream.runDrain,
            Effect.fork
          )
          yield* Effect.sleep("1 second")
          assert.strictEqual((yield* memory.stats).acked, 0)
          if (end === "drain") {
            const report = yield* consumer.drain({ deadline: 0 })
            assert.deepStrictEqual(report, { finished: 3, released: 1, lost: 0, stranded: 0 })
          } else {
            yield* Fiber.interrupt(fiber)
          }
          const stats = yield* memory.stats
          assert.deepStrictEqual([stats.acked, stats.visible, stats.inFlight], [3, 1, 0])
        }
      })
    )
  )
})

describe("a call that fails", () => {
  const everySecond = { settleRetry: Schedule.spaced("1 second"), linger: 0 } as const

  it(
    "in part: the entries that succeeded are settled, the others alone are tried again",
    simulated(
      Effect.gen(function* () {
        const memory = yield* MemoryQueue.make()
        const { calls, queue } = recorded(memory)
        yield* memory.send(numbered(10))
        yield* memory.inject("ack", { entries: (_, i) => (i % 3 === 1 ? "Transient" : undefined) })
        yield* memory.inject("ack", { entries: (_, i) => (i === 0 ? "Transient" : undefined) })
        const fiber = yield* Consumer.stream(queue, { ...everySecond, linger: "1 second" }).pipe(
          Pipeline.process(() => Effect.void),
          Stream.runDrain,
          Effect.fork
        )
        yield* memory.settled(7)
        const since = yield* Clock.currentTimeMillis
        yield* memory.idle
        assert.strictEqual((yield* Clock.currentTimeMillis) - since, 2000)
        yield* Fiber.interrupt(fiber)
        assert.deepStrictEqual(
          calls.of("ack").map(({ ids }) => ids.length),
          [10, 3, 1]
        )
        assert.strictEqual((yield* memory.stats).redelivered, 0)
      })
    )
  )

  it(
    "whole, or whose answer is lost: all its entries are tried again, and none is worked on twice",
    simulated(
      Effect.gen(function* () {
        const memory = yield* MemoryQueue.make()
        yield* memory.send(numbered(10))
        yield* memory.inject("ack", { fail: "throttled" }, 2)
        yield* memory.inject("ack", { drop: "transient" })
        const consumer = yield* Consumer.make(memory, everySecond)
        let handled = 0
        const fiber = yield* consumer.stream.pipe(
          Pipeline.process(() => Effect.sync(() => handled++)),
          Stream.runDrain,
          Effect.fork
        )
        yield* Effect.sleep("10 seconds")
        yield* Fiber.interrupt(fiber)
        assert.strictEqual(handled, 10)
        const { acked, lost, settleErrors } = yield* consumer.stats
        assert.deepStrictEqual([acked, lost, settleErrors], [10, 0, 3])
      })
    )
  )

  it(
    "for good: it is given up when the lease is over, except that a standard queue's ack is tried once more then",
    simulated(
      Effect.gen(function* () {
        const cases = [
          { ordered: false, last: 11_000 },
          { ordered: true, last: 10_000 }
        ]
        for (const { last, ordered } of cases) {
          const memory = yield* MemoryQueue.make({ leaseDuration: "10500 millis", ordered })
          const { calls, queue } = recorded(memory)
          yield* memory.send(ordered ? grouped("a") : ["a"])
          yield* memory.inject("ack", { fail: "transient" }, 100)
          const since = yield* Clock.currentTimeMillis
          const consumer = yield* Consumer.make(queue, { ...everySecond, heartbeat: false, flushWithin: "1 minute" })
          const fiber = yield* consumer.stream.pipe(
            Stream.take(1),
            Pipeline.process(() => Effect.void),
            Stream.runDrain,
            Effect.fork
          )
          yield* Fiber.join(fiber)
          const tried = calls.of("ack").map(({ at }) => at - since)
          assert.strictEqual(tried.at(-1), last)
          assert.strictEqual(tried.length, last / 1000 + 1)
          assert.strictEqual((yield* consumer.stats).lost, 1)
        }
      })
    )
  )

  it(
    "fatally, time and again, ends the stream: a consumer that can receive and never delete must not look well",
    simulated(
      Effect.gen(function* () {
        const memory = yield* MemoryQueue.make()
        yield* memory.send(numbered(3))
        yield* memory.inject("ack", { fail: "fatal" }, 1000)
        const error = yield* Consumer.stream(memory, { ...everySecond, fatalGrace: "20 seconds" }).pipe(
          Pipeline.process(() => Effect.void),
          Stream.runDrain,
          Effect.flip
        )
        assert.strictEqual(error._tag, "MemoryQueueError")
        assert.isAtLeast(yield* Clock.currentTimeMillis, 20_000)
        assert.isAtMost(yield* Clock.currentTimeMillis, 35_000)
      })
    )
  )
})

describe("one call does not hold up others", () => {
  it(
    "a delete that hangs",
    simulated(
      Effect.gen(function* () {
        const memory = yield* MemoryQueue.make()
        yield* memory.send(numbered(40))
        yield* memory.inject("ack", { delay: "2 minutes" })
        const fiber = yield* Consumer.stream(memory, { maxInFlight: 40 }).pipe(
          Pipeline.process((body) => Effect.sleep(Number(body)), { concurrency: 40 }),
          Stream.runDrain,
          Effect.fork
        )
        yield* memory.settled(30)
        assert.isBelow(yield* Clock.currentTimeMillis, 1000)
        yield* memory.idle
        yield* Fiber.interrupt(fiber)
      })
    )
  )

  it(
    "entries that the queue fails again and again: they wait for their next try outside of the calls under way",
    simulated(
      Effect.gen(function* () {
        const never = new Set(["memory-1", "memory-2"])
        const memory = yield* MemoryQueue.make({
          faults: ({ operation }) =>
            Effect.succeed(
              operation === "ack"
                ? { entries: (lease) => (never.has(lease.messageId) ? "Transient" : undefined) }
                : undefined
            )
        })
        yield* memory.send(numbered(6))
        const fiber = yield* Consumer.stream(memory, { maxInFlight: 10, linger: 0 }).pipe(
          // Each in a call of its own; two calls may be under way.
          Pipeline.process((body) => Effect.sleep(1000 * Number(body))),
          Stream.runDrain,
          Effect.fork
        )
        yield* memory.settled(4)
        assert.isAtMost(yield* Clock.currentTimeMillis, 5000 + latest)
        never.clear()
        yield* memory.idle
        yield* Fiber.interrupt(fiber)
      })
    )
  )

  it(
    "and yet slow deletes push back: what is unconfirmed keeps its permit, and nothing more is received for it",
    simulated(
      Effect.gen(function* () {
        const memory = yield* MemoryQueue.make({
          faults: ({ operation }) => Effect.succeed(operation === "ack" ? { delay: "5 seconds" } : undefined)
        })
        const { calls, queue } = recorded(memory)
        yield* memory.send(numbered(200))
        const fiber = yield* Consumer.stream(queue, { maxInFlight: 20 }).pipe(
          Pipeline.process(() => Effect.void, { concurrency: 100 }),
          Stream.runDrain,
          Effect.fork
        )
        yield* Effect.sleep(4999)
        assert.strictEqual(calls.of("receive").length, 2)
        yield* memory.idle
        assert.isAtLeast(yield* Clock.currentTimeMillis, 50_000)
        assert.strictEqual((yield* memory.stats).peakInFlight, 20)
        yield* Fiber.interrupt(fiber)
      })
    )
  )
})

describe("at the end of a consumer", () => {
  it(
    "what the queue does not confirm within flushWithin counts as lost, and no fiber is left to try it",
    simulated(
      Effect.gen(function* () {
        for (const fault of [{ delay: "1 hour" }, { fail: "transient" }] as const) {
          const memory = yield* MemoryQueue.make()
          yield* memory.send(["done", "running"])
          yield* memory.inject("ack", fault, 100)
          yield* memory.inject("setLease", fault, 100)
          const consumer = yield* Consumer.make(memory, { flushWithin: "3 seconds", linger: "1 second" })
          const fiber = yield* consumer.stream.pipe(
            Pipeline.process((body) => (body === "done" ? Effect.void : Effect.never)),
            Stream.runDrain,
            Effect.fork
          )
          yield* Effect.sleep("500 millis")
          const since = yield* Clock.currentTimeMillis
          // Both the stage and the source wait for what they answer for, one after the other at worst.
          yield* Fiber.interrupt(fiber)
          assert.isAtMost((yield* Clock.currentTimeMillis) - since, 6000)
          const { acked, inFlight, lost } = yield* consumer.stats
          assert.deepStrictEqual([acked, inFlight, lost], [0, 0, 2])
        }
      })
    )
  )
})

describe("many retries", () => {
  it(
    "share calls",
    simulated(
      Effect.gen(function* () {
        const memory = yield* MemoryQueue.make()
        const { calls, queue } = recorded(memory)
        yield* memory.send(numbered(100))
        const failed = new Set<string>()
        const fiber = yield* Consumer.stream(queue).pipe(
          Pipeline.process(
            (body) =>
              failed.has(body)
                ? Effect.void
                : Effect.zipRight(
                    Effect.sync(() => failed.add(body)),
                    Effect.fail("no")
                  ),
            { concurrency: 100, retry: RetryPolicy.redeliver(Schedule.spaced("10 seconds")) }
          ),
          Stream.runDrain,
          Effect.fork
        )
        yield* memory.idle
        yield* Fiber.interrupt(fiber)
        assert.isAtMost(calls.of("setLease").length, 12)
        assert.isAtMost(calls.of("ack").length, 12)
      })
    )
  )
})

describe("a port that breaks its word", () => {
  it(
    "a call that throws holds no permit for ever",
    simulated(
      Effect.gen(function* () {
        const memory = yield* MemoryQueue.make({ leaseDuration: "5 seconds" })
        let dies = true
        const queue: LeaseQueue.LeaseQueue<MemoryQueue.MemoryQueueError> = {
          ...memory,
          ack: (leases) => {
            if (dies) throw new Error("a bug of the port")
            return memory.ack(leases)
          }
        }
        yield* memory.send(numbered(2))
        const consumer = yield* Consumer.make(queue, { maxInFlight: 2, heartbeat: false, linger: 0 })
        const fiber = yield* consumer.stream.pipe(
          Pipeline.process(() => Effect.void),
          Stream.runDrain,
          Effect.fork
        )
        yield* Effect.sleep("1 second")
        dies = false
        yield* memory.idle.pipe(Effect.timeout("1 minute"))
        yield* Fiber.interrupt(fiber)
        assert.strictEqual((yield* consumer.stats).inFlight, 0)
      })
    )
  )
})

describe("an answer", () => {
  it(
    "that does not mention an entry has not confirmed it: that one is settled again, alone",
    simulated(
      Effect.gen(function* () {
        const memory = yield* MemoryQueue.make()
        const { calls, queue } = recorded(memory)
        let asked = 0
        const forgetful: LeaseQueue.LeaseQueue<MemoryQueue.MemoryQueueError> = {
          ...queue,
          // The first call deletes all but the last, of which its answer says nothing.
          ack: (leases) => (asked++ === 0 ? queue.ack(leases.slice(0, -1)) : queue.ack(leases))
        }
        yield* memory.send(numbered(10))
        const consumer = yield* Consumer.make(forgetful)
        const fiber = yield* consumer.stream.pipe(
          Pipeline.process(() => Effect.void),
          Stream.runDrain,
          Effect.fork
        )
        yield* Effect.sleep("10 seconds")
        yield* Fiber.interrupt(fiber)
        assert.deepStrictEqual(
          calls.of("ack").map(({ ids }) => ids.length),
          [9, 1]
        )
        const { acked, redelivered } = yield* memory.stats
        const own = yield* consumer.stats
        assert.deepStrictEqual([acked, redelivered, own.acked, own.lost], [10, 0, 10, 0])
      })
    )
  )
})

describe("the settler by itself", () => {
  interface World extends Settler.Options {
    readonly rate?: number
    readonly joiners?: "some" | "none yet" | "none"
    /** What a call takes. */
    readonly takes?: Duration.DurationInput
    readonly faults?: MemoryQueue.Options["faults"]
    /** Whether a call throws, and not its effect. */
    readonly throws?: () => boolean
  }

  /** A settler for `n` messages that are leased, what it has sent, and the result of each entry that it was given. */
  const settling = (n: number, { joiners = "some", faults, rate = 0, takes = 0, throws, ...options }: World) =>
    Effect.gen(function* () {
      const memory = yield* MemoryQueue.make({ batchSize: 100, faults })
      yield* memory.send(numbered(n))
      const messages = yield* memory.receive({ max: n, wait: Duration.zero, attemptId: undefined })
      const { calls, queue } = recorded(memory)
      const clock = yield* Effect.clock
      const runtime = yield* Effect.runtime<never>()
      let open = 0
      let most = 0
      const told: Array<string> = []
      const settler = Settler.make(
        {
          queue: {
            ...queue,
            limits: { ...queue.limits, batchSize: 10 },
            ack: (leases) => {
              if (throws?.() === true) throw new Error("a bug of the port")
              return Effect.suspend(() => {
                most = Math.max(most, ++open)
                return Effect.zipRight(Effect.sleep(takes), queue.ack(leases))
              }).pipe(Effect.ensuring(Effect.sync(() => open--)))
            }
          },
          runFork: Runtime.runFork(runtime),
          now: () => clock.unsafeCurrentTimeMillis(),
          rate: () => rate,
          joiners: () => joiners,
          onCall: () => {},
          onError: () => {},
          onResults: () => told.push(`${results.size} by ${clock.unsafeCurrentTimeMillis()}`),
          onSuccess: () => {}
        },
        options
      )
      const results = new Map<number, boolean>()
      const submit = (i: number, entry: Partial<Settler.Entry> = {}) => {
        const message = messages[i]
        if (message === undefined) throw new Error(`there is no message ${i}`)
        settler.submit({
          message,
          request: { _tag: "Ack" },
          deadline: () => 30_000,
          over: () => false,
          awaited: false,
          onResult: (confirmed) => results.set(i, confirmed),
          ...entry
        })
      }
      const sent = () => calls.of("ack").map(({ at, ids }) => `${ids.length} at ${at}`)
      return { settler, submit, sent, results, told, most: () => most }
    })

  it(
    "has no more than `concurrency` calls under way, and sends the next with an answer",
    simulated(
      Effect.gen(function* () {
        const { most, results, sent, settler, submit } = yield* settling(45, { concurrency: 2, takes: "1 second" })
        for (let i = 0; i < 45; i++) submit(i)
        assert.strictEqual(settler.pending(), 45)
        yield* Effect.sleep("10 seconds")
        assert.deepStrictEqual(sent(), ["10 at 1000", "10 at 1000", "10 at 2000", "10 at 2000", "5 at 3000"])
        assert.strictEqual(most(), 2)
        assert.deepStrictEqual([settler.pending(), [...results.values()].every(Boolean)], [0, true])
      })
    )
  )

  it(
    "lets an entry linger for others where some may come: less where it is awaited, not at all in vain",
    simulated(
      Effect.gen(function* () {
        const fast = 1
        const slow = 0.001
        const cases: ReadonlyArray<readonly [boolean, "some" | "none yet" | "none", number, number]> = [
          [false, "some", slow, 250],
          [false, "some", fast, 250],
          [false, "none yet", fast, 250],
          [false, "none yet", slow, 0],
          [false, "none", fast, 0],
          [true, "some", fast, 5],
          [true, "some", slow, 0],
          [true, "none", fast, 0]
        ]
        for (const [awaited, joiners, rate, millis] of cases) {
          const { sent, submit } = yield* settling(1, { joiners, rate })
          const since = yield* Clock.currentTimeMillis
          submit(0, { awaited })
          yield* Effect.sleep("1 second")
          assert.deepStrictEqual(sent(), [`1 at ${since + millis}`], `${awaited} ${joiners} ${rate}`)
        }
      })
    )
  )

  it(
    "hurries: what lingers goes as soon as what is awaited would, and what is due sooner is not put off",
    simulated(
      Effect.gen(function* () {
        const { sent, settler, submit } = yield* settling(3, {})
        settler.hurry()
        submit(0)
        yield* Effect.sleep("100 millis")
        settler.hurry()
        yield* Effect.sleep("100 millis")
        assert.deepStrictEqual(sent(), ["1 at 105"])
        submit(1)
        yield* Effect.sleep("248 millis")
        settler.hurry()
        yield* Effect.sleep("1 second")
        assert.deepStrictEqual(sent(), ["1 at 105", "1 at 450"])
      })
    )
  )

  it(
    "flushes what lingers at once, and has nothing to send after that",
    simulated(
      Effect.gen(function* () {
        const { sent, settler, submit } = yield* settling(3, {})
        settler.flush()
        submit(0)
        submit(1)
        settler.flush()
        yield* Effect.sleep("1 second")
        assert.deepStrictEqual(sent(), ["2 at 0"])
      })
    )
  )

  it(
    "gives up all that it has when it is told to: what lingers, and what is in the air; and leaves no fiber",
    simulated(
      Effect.gen(function* () {
        const { results, sent, settler, submit } = yield* settling(12, { takes: "1 hour" })
        for (let i = 0; i < 12; i++) submit(i)
        yield* Effect.sleep("100 millis")
        settler.abandon()
        assert.deepStrictEqual([settler.pending(), results.size, [...results.values()].some(Boolean)], [0, 12, false])
        yield* Effect.sleep("1 second")
        assert.deepStrictEqual(sent(), [])
        // It is of use again.
        submit(0)
        settler.flush()
        assert.strictEqual(settler.pending(), 1)
        settler.abandon()
      })
    )
  )

  it(
    "quiesces only where nothing is left to be told",
    simulated(
      Effect.gen(function* () {
        let over = false
        const { results, settler, submit } = yield* settling(2, { takes: "1 hour" })
        submit(0, { over: () => over })
        settler.flush()
        yield* Effect.sleep("1 second")
        settler.quiesce()
        assert.strictEqual(settler.pending(), 1)
        over = true
        settler.quiesce()
        assert.deepStrictEqual([settler.pending(), results.get(0)], [0, false])
      })
    )
  )

  it(
    "tries again while the lease lives, at the last pace where the schedule ends; an ack once more after that",
    simulated(
      Effect.gen(function* () {
        const { results, sent, submit } = yield* settling(2, {
          joiners: "none",
          retry: Schedule.recurs(1),
          faults: ({ operation }) => Effect.succeed(operation === "ack" ? { fail: "transient" } : undefined)
        })
        submit(0, { deadline: () => 2500 })
        yield* Effect.sleep("10 seconds")
        assert.deepStrictEqual(sent(), ["1 at 0", "1 at 0", "1 at 1000", "1 at 2000", "1 at 3000"])
        assert.strictEqual(results.get(0), false)
        // What has ended by other means is let go.
        submit(1, { deadline: () => 60_000, over: () => true })
        yield* Effect.sleep("10 seconds")
        assert.strictEqual(sent().length, 6)
        assert.strictEqual(results.get(1), false)
      })
    )
  )

  it(
    "goes on after a call that died: its entries are given up, and its place is free",
    simulated(
      Effect.gen(function* () {
        let calls = 0
        const { results, submit } = yield* settling(2, {
          joiners: "none",
          concurrency: 1,
          throws: () => ++calls === 1
        })
        submit(0)
        yield* Effect.sleep("1 second")
        submit(1)
        yield* Effect.sleep("1 second")
        assert.deepStrictEqual(
          [...results],
          [
            [0, false],
            [1, true]
          ]
        )
      })
    )
  )

  it(
    "tells when results have come, so that their permits are used: confirmed, refused, lost, and given up after a while",
    simulated(
      Effect.gen(function* () {
        const answers: Record<string, MemoryQueue.Fault | undefined> = {
          confirmed: undefined,
          "a lease that is lost": { entries: () => "LeaseLost" },
          "refused, the entry": { entries: () => "Rejected" },
          "refused, the call": { fail: "fatal" }
        }
        for (const [how, fault] of Object.entries(answers)) {
          const isRefused = how.startsWith("refused")
          const { results, settler, submit, told } = yield* settling(1, {
            faults: ({ operation }) => Effect.succeed(operation === "receive" ? undefined : fault)
          })
          const since = yield* Clock.currentTimeMillis
          let refused = 0
          submit(0, {
            deadline: () => since + 30_000,
            ...(isRefused ? { request: { _tag: "SetLease", duration: Duration.zero } } : {}),
            onRefused: () => refused++
          })
          settler.flush()
          yield* Effect.sleep("5 seconds")
          assert.deepStrictEqual([results.get(0), refused], isRefused ? [undefined, 1] : [how === "confirmed", 0], how)
          assert.include(told, `${isRefused ? 0 : 1} by ${since}`, how)
          assert.strictEqual(settler.pending(), 0, how)
        }
        const { results, submit, told } = yield* settling(1, {
          faults: ({ operation }) => Effect.succeed(operation === "ack" ? { fail: "transient" } : undefined),
          retry: Schedule.spaced("1 second")
        })
        const since = yield* Clock.currentTimeMillis
        submit(0, { deadline: () => since + 2500 })
        yield* Effect.sleep("10 seconds")
        assert.deepStrictEqual([results.get(0), told.length], [false, 1])
      })
    )
  )
})
