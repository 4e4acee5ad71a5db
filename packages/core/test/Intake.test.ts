/** When receives are sent, for how many, and how many at once: seen from the queue. */
import { assert, describe, it } from "@effect/vitest"
import { Consumer, type LeaseQueue, Pipeline } from "@millrace/core"
import { MemoryQueue } from "@millrace/core/testing"
import { Clock, Deferred, Duration, Effect, Fiber, Schedule, Stream } from "effect"
import { seeds } from "../../../test/long.js"
import { type Calls, deaf, grouped, jostled, numbered, recorded, type Stage, simulated } from "./support/index.js"

const hour = Duration.toMillis("1 hour")

/** A queue that answers with fewer messages than it was asked for and has, as SQS does under load. */
const short =
  (most: number) =>
  <E>(queue: LeaseQueue.LeaseQueue<E>): LeaseQueue.LeaseQueue<E> => ({
    ...queue,
    receive: (request) => queue.receive({ ...request, max: Math.min(most, request.max) })
  })

const most = (calls: Calls) => Math.max(...calls.of("receive").map(({ open }) => open))

describe("what a receive asks for", () => {
  it(
    "a full batch, with prefetched work to fill the slots meanwhile: a call for ten messages, hardly one more",
    simulated(
      Effect.gen(function* () {
        const memory = yield* MemoryQueue.make({ latency: "10 millis" })
        const { calls, queue } = recorded(memory)
        yield* memory.send(numbered(1000))
        const fiber = yield* Consumer.stream(queue, { maxInFlight: 100 }).pipe(
          Pipeline.process((body) => Effect.sleep(90 + (Number(body) % 20)), { concurrency: 20 }),
          Stream.runDrain,
          Effect.fork
        )
        yield* memory.idle
        const took = yield* Clock.currentTimeMillis
        yield* Fiber.interrupt(fiber)
        // 50 rounds of about 100 ms: the slots are busy.
        assert.isBelow(took, 1.1 * 50 * 100)
        const receives = calls.of("receive")
        assert.deepStrictEqual([...new Set(receives.map(({ max }) => max))], [10])
        assert.isAtMost(receives.length, 105)
      })
    )
  )

  it(
    "fewer where a slot would starve: nine free permits are not left idle while nothing is prefetched",
    simulated(
      Effect.gen(function* () {
        const memory = yield* MemoryQueue.make()
        const { calls, queue } = recorded(memory)
        const fiber = yield* Consumer.stream(queue, { maxInFlight: 15 }).pipe(
          Pipeline.process((body) => (body === "stuck" ? Effect.never : Effect.void), { concurrency: 15 }),
          Stream.runDrain,
          Effect.fork
        )
        yield* memory.send(Array.from({ length: 6 }, () => "stuck"))
        yield* Effect.sleep("1 second")
        yield* memory.send(numbered(9))
        yield* memory.settled(9)
        assert.isAtMost(yield* Clock.currentTimeMillis, 1100)
        yield* Fiber.interrupt(fiber)
        assert.include(
          calls.of("receive").map(({ max }) => max),
          9
        )
      })
    )
  )

  for (const maxInFlight of [1, 3, 9]) {
    it(
      `no more than maxInFlight where that is less than a batch: ${maxInFlight}`,
      simulated(
        Effect.gen(function* () {
          const memory = yield* MemoryQueue.make({ latency: "2 millis" })
          const { calls, queue } = recorded(memory)
          yield* memory.send(numbered(50))
          const fiber = yield* Consumer.stream(queue, { maxInFlight }).pipe(
            Pipeline.process(() => Effect.sleep("10 millis"), { concurrency: 50 }),
            Stream.runDrain,
            Effect.fork
          )
          yield* memory.idle
          yield* Fiber.interrupt(fiber)
          for (const { max } of calls.of("receive")) assert.isAtMost(max, maxInFlight)
          assert.strictEqual((yield* memory.stats).peakInFlight, maxInFlight)
        })
      )
    )
  }
})

describe("how many receives are open", () => {
  for (const maxInFlight of [1, 10, 10_000]) {
    it(
      `an idle queue costs one long poll at a time, 180 calls an hour, with maxInFlight ${maxInFlight}`,
      simulated(
        Effect.gen(function* () {
          const memory = yield* MemoryQueue.make()
          const { calls, queue } = recorded(memory)
          const fiber = yield* Consumer.stream(queue, { maxInFlight }).pipe(
            Pipeline.process(() => Effect.void, { concurrency: 100 }),
            Stream.runDrain,
            Effect.fork
          )
          yield* Effect.sleep(hour - 1)
          assert.strictEqual(calls.of("receive").length, 180)
          assert.strictEqual(most(calls), 1)
          yield* Fiber.interrupt(fiber)
        })
      )
    )
  }

  it(
    "more of them under load, also where the queue answers short; and one again when it is quiet",
    simulated(
      Effect.gen(function* () {
        const memory = yield* MemoryQueue.make({ latency: "50 millis" })
        const { calls, queue } = recorded(short(3)(memory))
        const fiber = yield* Consumer.stream(queue, { maxInFlight: 500 }).pipe(
          Pipeline.process(() => Effect.sleep("10 millis"), { concurrency: 100 }),
          Stream.runDrain,
          Effect.fork
        )
        yield* memory.send(numbered(3000))
        yield* memory.idle
        // One receive at a time would bring 60 messages a second: 50 seconds.
        assert.isBelow(yield* Clock.currentTimeMillis, 10_000)
        assert.isAbove(most(calls), 5)
        yield* Effect.sleep("2 minutes")
        const quiet = yield* Clock.currentTimeMillis
        yield* Effect.sleep("10 minutes")
        const later = calls.of("receive").filter(({ at }) => at > quiet)
        assert.isAtMost(Math.max(...later.map(({ open }) => open)), 1)
        assert.isAtMost(later.length, 31)
        yield* Fiber.interrupt(fiber)
      })
    )
  )

  it(
    "no more than the permits allow: an open receive reserves what it asks for",
    simulated(
      Effect.gen(function* () {
        const memory = yield* MemoryQueue.make({ latency: "50 millis" })
        const { calls, queue } = recorded(short(1)(memory))
        yield* memory.send(numbered(500))
        const fiber = yield* Consumer.stream(queue, { maxInFlight: 30 }).pipe(
          Pipeline.process(() => Effect.void, { concurrency: 100 }),
          Stream.runDrain,
          Effect.fork
        )
        yield* memory.idle
        yield* Fiber.interrupt(fiber)
        assert.strictEqual(most(calls), 3)
      })
    )
  )
})

describe("an open receive", () => {
  for (const [load, concurrency, messages] of [
    ["heavy", 50, 1000],
    ["light", 2, 300]
  ] as const) {
    it(
      `that stays empty does not hold back what others bring: ${load} load`,
      simulated(
        Effect.gen(function* () {
          const memory = yield* MemoryQueue.make({ latency: "20 millis" })
          let receives = 0
          const queue: LeaseQueue.LeaseQueue<MemoryQueue.MemoryQueueError> = {
            ...memory,
            // One of them waits for 20 seconds and finds nothing, though there is enough.
            receive: (request) =>
              ++receives === 50 ? Effect.as(Effect.sleep("20 seconds"), []) : short(4)(memory).receive(request)
          }
          yield* memory.send(numbered(messages))
          const fiber = yield* Consumer.stream(queue, { maxInFlight: 200 }).pipe(
            Pipeline.process(() => Effect.sleep("10 millis"), { concurrency }),
            Stream.runDrain,
            Effect.fork
          )
          yield* memory.idle
          assert.isAbove(receives, 50)
          assert.isBelow(yield* Clock.currentTimeMillis, 10_000)
          yield* Fiber.interrupt(fiber)
        })
      )
    )
  }

  it(
    "is awaited for pollGrace when the consumer stops; what it brings is given back",
    simulated(
      Effect.gen(function* () {
        const memory = yield* MemoryQueue.make()
        const queue = deaf(memory)
        const consumer = yield* Consumer.make(queue, { pollGrace: "5 seconds" })
        const fiber = yield* Effect.fork(Stream.runDrain(consumer.stream))
        yield* Effect.sleep("1 second")
        yield* Effect.fork(Effect.delay(memory.send(["late"]), "4 seconds"))
        yield* Fiber.interrupt(fiber)
        assert.strictEqual(yield* Clock.currentTimeMillis, 5000)
        const stats = yield* memory.stats
        assert.deepStrictEqual([stats.visible, stats.inFlight, stats.released], [1, 0, 1])
        assert.strictEqual((yield* consumer.stats).stranded, 0)
      })
    )
  )

  it(
    "is aborted after pollGrace, and what it may have leased to nobody is counted",
    simulated(
      Effect.gen(function* () {
        const memory = yield* MemoryQueue.make({ strandAborted: true })
        const consumer = yield* Consumer.make(deaf(memory), { pollGrace: "5 seconds" })
        const fiber = yield* Effect.fork(Stream.runDrain(consumer.stream))
        yield* Effect.sleep("1 second")
        // A finalizer cannot be interrupted: the time limit must hold in it too.
        yield* Fiber.interrupt(fiber)
        assert.strictEqual(yield* Clock.currentTimeMillis, 6000)
        assert.strictEqual((yield* consumer.stats).stranded, 10)
        const report = yield* consumer.drain()
        assert.strictEqual(report.stranded, 0)
        yield* Effect.sleep("20 seconds")
      })
    )
  )

  it(
    "leaves no timer behind when it answers empty as the consumer stops",
    simulated(
      Effect.gen(function* () {
        const memory = yield* MemoryQueue.make()
        const fiber = yield* Effect.fork(Stream.runDrain(Consumer.stream(memory)))
        yield* Effect.sleep("100 millis")
        yield* Fiber.interrupt(fiber)
        assert.strictEqual(yield* Clock.currentTimeMillis, 100)
      })
    )
  )
})

describe("demand", () => {
  it(
    "handlers that are stuck stop the polling; it goes on when a slot would starve",
    simulated(
      Effect.gen(function* () {
        const memory = yield* MemoryQueue.make({ latency: "10 millis" })
        const { calls, queue } = recorded(memory)
        const gate = yield* Deferred.make<void>()
        yield* memory.send(numbered(1000))
        const consumer = yield* Consumer.make(queue, { maxInFlight: 400 })
        const fiber = yield* consumer.stream.pipe(
          Pipeline.process((body) => (Number(body) < 500 ? Effect.sleep("10 millis") : Deferred.await(gate)), {
            concurrency: 20
          }),
          Stream.runDrain,
          Effect.fork
        )
        yield* Effect.sleep("1 minute")
        const before = calls.of("receive").length
        const { inFlight } = yield* consumer.stats
        // 20 run and some are here for the next, by far not all that the permits allow.
        assert.isAtMost(inFlight, 100)
        yield* Effect.sleep("10 minutes")
        assert.strictEqual(calls.of("receive").length, before, "while all slots are stuck")
        yield* Deferred.succeed(gate, undefined)
        yield* memory.settled(1000).pipe(Effect.timeout("10 seconds"))
        yield* Fiber.interrupt(fiber)
      })
    )
  )

  it(
    "permits that come back one by one are gathered: a receive for ten when ten are free, none for one",
    simulated(
      Effect.gen(function* () {
        const memory = yield* MemoryQueue.make({ latency: "10 millis" })
        const { calls, queue } = recorded(memory)
        yield* memory.send(numbered(400))
        const fiber = yield* Consumer.stream(queue, { maxInFlight: 40 }).pipe(
          // One ends each 10 ms, and 20 more wait for it.
          Pipeline.process(() => Effect.sleep("200 millis"), { concurrency: 20 }),
          Stream.runDrain,
          Effect.fork
        )
        yield* memory.settled(380)
        yield* Fiber.interrupt(fiber)
        const full = calls.of("receive").filter(({ max }) => max === 10).length
        assert.isAtLeast(full / calls.of("receive").length, 0.9)
      })
    )
  )

  it(
    "a slow consumer takes little ahead of what it works off, and leaves the rest to a fast one beside it",
    simulated(
      Effect.gen(function* () {
        const memory = yield* MemoryQueue.make({ latency: "20 millis" })
        yield* memory.send(numbered(2000))
        const slow = yield* Consumer.make(memory, { maxInFlight: 500 })
        const fast = yield* Consumer.make(memory, { maxInFlight: 500 })
        const run = (consumer: typeof slow, takes: Duration.DurationInput, concurrency: number) =>
          Effect.fork(Stream.runDrain(Pipeline.process(() => Effect.sleep(takes), { concurrency })(consumer.stream)))
        const fibers = [yield* run(slow, "2 seconds", 5), yield* run(fast, "20 millis", 50)]
        yield* memory.idle
        // The slow one has what it runs and a batch or two: at most 10 seconds of work.
        assert.isAtMost((yield* slow.stats).peakInFlight, 25)
        assert.isBelow(yield* Clock.currentTimeMillis, 12_000)
        yield* Fiber.interruptAll(fibers)
      })
    )
  )

  it(
    "nothing is received before the stream is run, nor before its reader asks",
    simulated(
      Effect.gen(function* () {
        const memory = yield* MemoryQueue.make()
        const { calls, queue } = recorded(memory)
        yield* memory.send(numbered(100))
        yield* Effect.scoped(
          Effect.gen(function* () {
            const pull = yield* Stream.toPull(Consumer.stream(queue))
            yield* Effect.sleep("1 minute")
            assert.strictEqual(calls.of("receive").length, 0)
            yield* pull
            yield* Effect.sleep("10 minutes")
            assert.strictEqual(calls.of("receive").length, 1)
          })
        )
      })
    )
  )
})

describe("a receive that fails", () => {
  const paces = Schedule.exponential("100 millis").pipe(Schedule.union(Schedule.spaced("1 second")))

  for (const kind of ["throttled", "transient"] as const) {
    it(
      `is tried again after longer and longer pauses, of which each success is the end: ${kind}`,
      simulated(
        Effect.gen(function* () {
          const memory = yield* MemoryQueue.make()
          const { calls, queue } = recorded(memory)
          yield* memory.inject("receive", { fail: kind }, 6)
          const fiber = yield* Consumer.stream(queue, { receiveRetry: paces }).pipe(
            Pipeline.process(() => Effect.void),
            Stream.runDrain,
            Effect.fork
          )
          const times = () => calls.of("receive").map(({ at }) => at)
          yield* Effect.sleep("5 seconds")
          assert.deepStrictEqual(times(), [0, 100, 300, 700, 1500, 2500, 3500])
          // The seventh waits for messages in vain until 23.5 s: a success all the same.
          yield* memory.inject("receive", { fail: kind }, 2)
          yield* Effect.sleep("20 seconds")
          assert.deepStrictEqual(times().slice(7), [23_500, 23_600, 23_800])
          // And the eleventh brings a message.
          yield* memory.inject("receive", { fail: kind }, 2)
          yield* memory.send(["a"])
          yield* Effect.sleep("1 second")
          yield* Fiber.interrupt(fiber)
          assert.deepStrictEqual(times().slice(10), [25_000, 25_100, 25_300])
        })
      )
    )
  }

  it(
    "at the end of the schedule that its user gave, the stream fails with its error",
    simulated(
      Effect.gen(function* () {
        const memory = yield* MemoryQueue.make()
        yield* memory.inject("receive", { fail: "transient" }, 10)
        const receiveRetry = Schedule.intersect(Schedule.spaced("1 second"), Schedule.recurs(3))
        const error = yield* Effect.flip(Stream.runDrain(Consumer.stream(memory, { receiveRetry })))
        assert.strictEqual(error._tag, "MemoryQueueError")
        assert.strictEqual(yield* Clock.currentTimeMillis, 3000)
      })
    )
  )

  it(
    "an answer that is empty at once does not make a hot loop, nor does it use up the user's schedule",
    simulated(
      Effect.gen(function* () {
        const memory = yield* MemoryQueue.make()
        const { calls, queue } = recorded({ ...memory, receive: () => Effect.succeed([]) })
        const fiber = yield* Consumer.stream(queue, { receiveRetry: Schedule.recurs(1) }).pipe(
          Stream.runDrain,
          Effect.fork
        )
        yield* Effect.sleep("1 hour")
        assert.isAtMost(calls.of("receive").length, 300)
        assert.isNull(fiber.unsafePoll())
        yield* Fiber.interrupt(fiber)
      })
    )
  )

  it(
    "is the stream's failure at once where it is fatal and no message has come yet",
    simulated(
      Effect.gen(function* () {
        const memory = yield* MemoryQueue.make()
        yield* memory.inject("receive", { fail: "fatal" }, 2)
        const error = yield* Effect.flip(Stream.runDrain(Consumer.stream(memory)))
        assert.strictEqual(error._tag, "MemoryQueueError")
        assert.strictEqual(yield* Clock.currentTimeMillis, 0)
      })
    )
  )

  it(
    "is tried again for fatalGrace where it is fatal later: a rotated key is no reason to end",
    simulated(
      Effect.gen(function* () {
        const memory = yield* MemoryQueue.make()
        const receiveRetry = Schedule.spaced("1 second")
        const options = { receiveRetry, fatalGrace: "10 seconds" } as const
        const fiber = yield* Consumer.stream(memory, options).pipe(
          Pipeline.process(() => Effect.void),
          Stream.runDrain,
          Effect.fork
        )
        yield* memory.send(["a"])
        yield* memory.settled(1)
        // Each time a success comes before the grace is over, and the grace begins anew.
        for (let i = 2; i <= 4; i++) {
          yield* memory.inject("receive", { fail: "fatal" }, 9)
          yield* memory.send(["a"])
          yield* memory.settled(i)
          yield* Effect.sleep("10 seconds")
          assert.isNull(fiber.unsafePoll())
        }
        yield* memory.inject("receive", { fail: "fatal" }, 100)
        yield* memory.send(["a"])
        const since = yield* Clock.currentTimeMillis
        const error = yield* Effect.flip(Fiber.join(fiber))
        assert.strictEqual(error._tag, "MemoryQueueError")
        assert.strictEqual((yield* Clock.currentTimeMillis) - since, 10_000)
      })
    )
  )
})

describe("a receive whose answer was lost", () => {
  const lost = (ordered: boolean, kind: LeaseQueue.ErrorKind, pause: Duration.DurationInput = "1 second") =>
    Effect.gen(function* () {
      const memory = yield* MemoryQueue.make({ ordered, leaseDuration: "10 minutes" })
      const { calls, queue } = recorded(memory)
      yield* memory.send(grouped("a1", "a2", "b1"))
      yield* memory.inject("receive", { drop: kind })
      const fiber = yield* Consumer.stream(queue, { receiveRetry: Schedule.spaced(pause) }).pipe(
        Pipeline.process(() => Effect.void),
        Stream.runDrain,
        Effect.fork
      )
      yield* memory.idle
      const took = yield* Clock.currentTimeMillis
      yield* Fiber.interrupt(fiber)
      const receives = calls.of("receive")
      return {
        took,
        redelivered: (yield* memory.stats).redelivered,
        ids: receives.map(({ attemptId }) => attemptId)
      }
    })

  it(
    "is repeated on an ordered queue with the same attempt id, and brings the same messages at once",
    simulated(
      Effect.gen(function* () {
        const { ids, redelivered, took } = yield* lost(true, "transient")
        assert.isString(ids[0])
        assert.strictEqual(ids[1], ids[0])
        assert.notStrictEqual(ids[2], ids[0])
        // Without that they would be away until their leases end, in 10 minutes.
        assert.deepStrictEqual([took, redelivered], [1000, 0])
      })
    )
  )

  it(
    "is not repeated after five minutes, which is for how long SQS knows the attempt id",
    simulated(
      Effect.gen(function* () {
        const { ids } = yield* lost(true, "transient", "6 minutes")
        assert.notStrictEqual(ids[1], ids[0])
      })
    )
  )

  it(
    "is not repeated where it was throttled, which leases nothing: the next has an attempt id of its own",
    simulated(
      Effect.gen(function* () {
        const { ids } = yield* lost(true, "throttled")
        assert.isString(ids[1])
        assert.notStrictEqual(ids[1], ids[0])
      })
    )
  )

  it(
    "has no attempt id on a queue that is not ordered",
    simulated(
      Effect.gen(function* () {
        const { ids, took } = yield* lost(false, "transient")
        assert.deepStrictEqual(
          ids.filter((id) => id !== undefined),
          []
        )
        assert.strictEqual(took, Duration.toMillis("10 minutes"))
      })
    )
  )
})

describe("wake-ups", () => {
  // What comes after a fiber has looked for work and before it waits for it must not be slept over. Without the second
  // look in `Intake.#untilWoken`, in `Dispatcher.#untilDriverWoken` or in `Filling.#untilChanged` most seeds sleep on.
  const stages: Readonly<Record<string, Stage>> = {
    process: Pipeline.process(() => Effect.yieldNow(), { concurrency: 1 }),
    processBatches: Pipeline.processBatches(() => Effect.void, { max: 1 }),
    settle: (self) =>
      self.pipe(
        Pipeline.mapEffect(() => Effect.void, { concurrency: 1 }),
        Pipeline.settle()
      )
  }
  for (const [name, stage] of Object.entries(stages)) {
    it(
      `none is lost, wherever a fiber loses its turn: ${name}`,
      simulated(
        jostled(
          Effect.gen(function* () {
            const memory = yield* MemoryQueue.make()
            const fiber = yield* Consumer.stream(memory).pipe(stage, Stream.runDrain, Effect.fork)
            for (let i = 1; i <= 10; i++) {
              yield* memory.send(["a", "b", "c"])
              yield* memory.settled(3 * i)
            }
            yield* Fiber.interrupt(fiber)
            assert.isAtMost(yield* Clock.currentTimeMillis, 10_000)
          })
        ),
        { seeds: seeds({ short: 10, long: 30 }), maxElapsed: "1 hour" }
      )
    )
  }
})

describe("a rate", () => {
  it(
    "counts what came, not what was asked for: receives that bring little or nothing use nothing up",
    simulated(
      Effect.gen(function* () {
        const memory = yield* MemoryQueue.make({ latency: "10 millis" })
        const rate = { perSecond: 1, burst: 10 }
        const fiber = yield* Consumer.stream(short(1)(memory), { rate, wait: "1 second" }).pipe(
          Pipeline.process(() => Effect.void),
          Stream.runDrain,
          Effect.fork
        )
        yield* memory.inject("receive", { fail: "throttled" }, 2)
        // Each receive has asked for all that there are tokens for, and has brought nothing.
        yield* Effect.sleep("1 minute")
        const since = yield* Clock.currentTimeMillis
        yield* memory.send(numbered(10))
        yield* memory.idle
        // One a call, out of the burst.
        assert.isAtMost((yield* Clock.currentTimeMillis) - since, 3000)
        yield* Fiber.interrupt(fiber)
      })
    )
  )
})

describe("messages a second", () => {
  /** How many were received by the end of each second. */
  const counts = (
    rate: NonNullable<Consumer.Options["rate"]>,
    seconds: number,
    between: (consumer: Consumer.Consumer<unknown>, second: number) => Effect.Effect<unknown, unknown> = () =>
      Effect.void
  ) =>
    Effect.gen(function* () {
      const memory = yield* MemoryQueue.make()
      yield* memory.send(numbered(2000))
      const consumer = yield* Consumer.make(memory, { rate, maxInFlight: 1000 })
      const fiber = yield* consumer.stream.pipe(
        Pipeline.process(() => Effect.void, { concurrency: 100 }),
        Stream.runDrain,
        Effect.fork
      )
      const received: Array<number> = []
      for (let i = 0; i < seconds; i++) {
        yield* between(consumer, i)
        yield* Effect.sleep("1 second")
        received.push((yield* consumer.stats).received)
      }
      yield* Fiber.interrupt(fiber)
      return received
    })

  it(
    "after a burst, as many as the rate says and no more, whatever the queue has",
    simulated(
      Effect.gen(function* () {
        const received = yield* counts({ perSecond: 7, burst: 20 }, 20)
        for (const [i, n] of received.entries()) {
          assert.isAtMost(n, 20 + 7 * (i + 1))
          // It waits for a token where a slot would starve, and for no full batch.
          assert.isAtLeast(n, 20 + 7 * (i + 1) - 1)
        }
        // A second's worth is the burst where none is given, and none comes of a long wait but that.
        for (const [i, n] of (yield* counts({ perSecond: 7 }, 3)).entries()) assert.approximately(n, 7 * (i + 2), 1)
      })
    )
  )

  it(
    "one that starves waits for one token, though a full batch was waited for before",
    simulated(
      Effect.gen(function* () {
        const memory = yield* MemoryQueue.make({ latency: "1 second" })
        yield* memory.send(numbered(100))
        const consumer = yield* Consumer.make(memory, { rate: { perSecond: 0.1, burst: 10 } })
        const fiber = yield* consumer.stream.pipe(
          Pipeline.process(() => Effect.sleep("500 millis"), { concurrency: 4 }),
          Stream.runDrain,
          Effect.fork
        )
        for (let i = 1; i <= 6; i++) {
          yield* Effect.sleep("10 seconds")
          assert.approximately((yield* consumer.stats).received, 10 + i, 1)
        }
        yield* Fiber.interrupt(fiber)
      })
    )
  )

  it(
    "follows the rate as it is changed, also while it waits by the old one",
    simulated(
      Effect.gen(function* () {
        const received = yield* counts({ perSecond: 0.01, burst: 1 }, 10, (consumer, second) =>
          second === 4 ? consumer.rate.set(50) : second === 7 ? consumer.rate.set(Number.MAX_SAFE_INTEGER) : Effect.void
        )
        assert.deepStrictEqual(received.slice(0, 4), [1, 1, 1, 1])
        for (const [i, n] of received.slice(4, 7).entries()) assert.approximately(n, 50 * (i + 1), 3)
        assert.strictEqual(received[7], 2000)
      })
    )
  )
})
