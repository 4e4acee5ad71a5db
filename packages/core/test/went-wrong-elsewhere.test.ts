/**
 * What has gone wrong in other consumers of such queues, each as a test of its name. The note in each says which line it
 * stands on: without that line it fails, and that was tried. What concerns SQS's own rules (entry ids, 1 MiB, group ids
 * on standard queues) is tested beside the SQS package.
 */
import { assert, describe, it } from "@effect/vitest"
import { Consumer, type LeaseQueue, Pipeline, RetryPolicy } from "@millrace/core"
import { MemoryQueue } from "@millrace/core/testing"
import { Clock, Effect, Fiber, Schedule, Schema, Stream } from "effect"
import { deaf, grouped, numbered, recorded, simulated } from "./support/index.js"

const run = (stream: Stream.Stream<unknown, unknown>) => Effect.fork(Stream.runDrain(stream))

describe("what went wrong elsewhere", () => {
  it(
    "permits leaked when decoding failed",
    // `this.intake.release()` in `Engine.#end`, the one place where a permit comes back, whatever the end was.
    simulated(
      Effect.gen(function* () {
        const memory = yield* MemoryQueue.make()
        yield* memory.send([...numbered(50).map((n) => `poison ${n}`), "7"])
        const consumer = yield* Consumer.make(memory, { maxInFlight: 5 })
        const fiber = yield* run(
          consumer.stream.pipe(
            Pipeline.decodeJson(Schema.Number),
            Pipeline.process(() => Effect.void)
          )
        )
        yield* memory.idle
        yield* Effect.sleep("1 second")
        assert.strictEqual((yield* consumer.stats).inFlight, 0)
        yield* Fiber.interrupt(fiber)
        const { acked, deadLettered } = yield* memory.stats
        assert.deepStrictEqual([acked, deadLettered], [1, 50])
      })
    )
  )

  it(
    "one slow message starved a queue",
    // `this.#running--` and `this.#pump()` in `Dispatcher.#vacate`: a slot is free as soon as its own handler has ended.
    simulated(
      Effect.gen(function* () {
        const memory = yield* MemoryQueue.make()
        yield* memory.send(["slow", ...numbered(200)])
        const fiber = yield* run(
          Consumer.stream(memory, { maxInFlight: 20 }).pipe(
            Pipeline.process((body) => Effect.sleep(body === "slow" ? "1 hour" : "100 millis"), { concurrency: 2 })
          )
        )
        yield* memory.settled(200)
        assert.isBelow(yield* Clock.currentTimeMillis, 30_000)
        yield* Fiber.interrupt(fiber)
      })
    )
  )

  it(
    "an empty 20 s poll held back what others brought",
    // `if (this.#starving) this.#wake()` in `Intake.#succeeded`: each answer is handed over as it comes.
    simulated(
      Effect.gen(function* () {
        const memory = yield* MemoryQueue.make({ latency: "20 millis" })
        let receives = 0
        const queue: LeaseQueue.LeaseQueue<MemoryQueue.MemoryQueueError> = {
          ...memory,
          receive: (request) =>
            ++receives === 40
              ? Effect.as(Effect.sleep("20 seconds"), [])
              : memory.receive({ ...request, max: Math.min(3, request.max) })
        }
        yield* memory.send(numbered(400))
        const fiber = yield* run(
          Consumer.stream(queue, { maxInFlight: 200 }).pipe(Pipeline.process(() => Effect.void, { concurrency: 50 }))
        )
        yield* memory.idle
        assert.isBelow(yield* Clock.currentTimeMillis, 10_000)
        yield* Fiber.interrupt(fiber)
      })
    )
  )

  it(
    "one failed entry dropped the successful ones",
    // `else if (Either.isRight(result)) finish(entry, true)` in `Settler`: each entry has its own result.
    simulated(
      Effect.gen(function* () {
        const memory = yield* MemoryQueue.make()
        const { calls, queue } = recorded(memory)
        yield* memory.send(numbered(10))
        yield* memory.inject("ack", { entries: (_, i) => (i === 4 ? "Transient" : undefined) })
        const consumer = yield* Consumer.make(queue)
        const fiber = yield* run(consumer.stream.pipe(Pipeline.process(() => Effect.void)))
        yield* memory.settled(9)
        yield* memory.idle
        yield* Fiber.interrupt(fiber)
        assert.deepStrictEqual(
          calls.of("ack").map(({ ids }) => ids),
          [numbered(10, 1).map((n) => `memory-${n}`), ["memory-5"]]
        )
      })
    )
  )

  it(
    "acks below the batch threshold were lost at shutdown",
    // `this.settler.flush()` in `Engine.settled`.
    simulated(
      Effect.gen(function* () {
        const memory = yield* MemoryQueue.make()
        yield* memory.send([...numbered(3), "long"])
        const fiber = yield* run(
          Consumer.stream(memory, { linger: "15 seconds" }).pipe(
            Pipeline.process((body) => (body === "long" ? Effect.never : Effect.void))
          )
        )
        yield* Effect.sleep("1 second")
        yield* Fiber.interrupt(fiber)
        assert.strictEqual((yield* memory.stats).acked, 3)
      })
    )
  )

  it(
    "a delete on a stale handle seemed to succeed, and both consumers called the message theirs",
    // `if (deadline <= now)` in `LeaseKeeper.#tick`: our own clock says when a lease is over, whatever the queue answers.
    simulated(
      Effect.gen(function* () {
        const memory = yield* MemoryQueue.make()
        yield* memory.send(["a"])
        const first = yield* Consumer.make(memory, { heartbeat: false })
        const second = yield* Consumer.make(memory)
        const handler = () => Effect.sleep("40 seconds")
        const fiber = yield* run(first.stream.pipe(Stream.take(1), Pipeline.process(handler)))
        yield* Effect.sleep("31 seconds")
        const other = yield* run(Pipeline.process(handler)(second.stream))
        yield* memory.idle
        yield* Fiber.interruptAll([fiber, other])
        const [a, b] = [yield* first.stats, yield* second.stats]
        assert.deepStrictEqual([a.acked, a.ackedLate, a.lost], [0, 0, 1])
        assert.deepStrictEqual([b.acked, b.lost], [1, 0])
      })
    )
  )

  it(
    "a heartbeat outlived a retry, and overwrote it",
    // `if (leased.kept.extending > 0) leased.kept.onLanded = then` in `LeaseKeeper.stop`.
    simulated(
      Effect.gen(function* () {
        const memory = yield* MemoryQueue.make()
        yield* memory.send(["a"])
        // The extension of 15 s takes effect at 23 s; the handler fails at 16 s, and shall run again 20 s later.
        yield* memory.inject("setLease", { delay: "8 seconds" })
        const at: Array<number> = []
        const fiber = yield* run(
          Consumer.stream(memory).pipe(
            Pipeline.process(
              () =>
                Effect.gen(function* () {
                  if (at.push(yield* Clock.currentTimeMillis) > 1) return
                  yield* Effect.sleep("16 seconds")
                  return yield* Effect.fail("no")
                }),
              { retry: RetryPolicy.redeliver(Schedule.spaced("20 seconds")) }
            )
          )
        )
        yield* memory.idle
        yield* Fiber.interrupt(fiber)
        // Not 30 s after the extension.
        assert.isAtMost(at[1] ?? Number.NaN, 45_000)
      })
    )
  )

  it(
    "a lease's deadline was advanced before the call had succeeded, and a lost lease went unseen",
    // `leased.deadline = deadline` stands in `LeaseKeeper.#answered`, where the entry has succeeded. Moved to where the
    // call is sent, this fails.
    simulated(
      Effect.gen(function* () {
        const memory = yield* MemoryQueue.make()
        yield* memory.send(["a"])
        yield* memory.inject("setLease", { fail: "transient" }, 1000)
        const consumer = yield* Consumer.make(memory)
        const fiber = yield* run(consumer.stream.pipe(Pipeline.process(() => Effect.never)))
        yield* Effect.sleep("31 seconds")
        assert.strictEqual((yield* consumer.stats).lost, 1)
        yield* Fiber.interrupt(fiber)
      })
    )
  )

  it(
    "visibility timeouts of 5 s and less were not extended in time",
    // `leased.deadline - this.#lease * (0.5 + jitter)` in `LeaseKeeper.#due`: in parts of the lease, not in seconds.
    simulated(
      Effect.gen(function* () {
        for (const leaseDuration of ["1 second", "3 seconds", "5 seconds"] as const) {
          const memory = yield* MemoryQueue.make({ name: leaseDuration, leaseDuration, latency: "50 millis" })
          const { calls, queue } = recorded(memory)
          yield* memory.send(numbered(12))
          const fiber = yield* run(
            Consumer.stream(queue).pipe(Pipeline.process(() => Effect.sleep("30 seconds"), { concurrency: 4 }))
          )
          yield* memory.idle
          yield* Fiber.interrupt(fiber)
          const { expired, redelivered } = yield* memory.stats
          assert.deepStrictEqual([expired, redelivered], [0, 0])
          // Nor all the time: 90 s of 12 messages at most, each about twice a lease.
          const extended = calls.of("setLease").reduce((sum, { entries }) => sum + entries.length, 0)
          assert.isAtMost(extended, (12 * 90 * 2.5) / Number.parseInt(leaseDuration, 10))
        }
      })
    )
  )

  it(
    "a failure on a FIFO queue did not halt its group",
    // `mayRun` in `Dispatcher`'s Sequencer and the place that a held item keeps in it; `[...this.#tail(delivery)…]` in
    // `Engine.settle` where it is handed back.
    simulated(
      Effect.gen(function* () {
        for (const holdLimit of ["5 minutes", "0 seconds"] as const) {
          const memory = yield* MemoryQueue.make({ ordered: true, name: holdLimit })
          yield* memory.send(grouped("a1", "a2", "a3"))
          const ran: Array<string> = []
          const fiber = yield* run(
            Consumer.stream(memory).pipe(
              Pipeline.process((body) => (ran.push(body) <= 3 ? Effect.fail("no") : Effect.void), {
                holdLimit,
                retry: RetryPolicy.redeliver(Schedule.spaced("1 second"))
              })
            )
          )
          yield* memory.idle
          yield* Fiber.interrupt(fiber)
          assert.deepStrictEqual(ran, ["a1", "a1", "a1", "a1", "a2", "a3"])
        }
      })
    )
  )

  it(
    "a failure on a FIFO queue stalled its group for a full timeout",
    // `this.settler.submitInOrder(…)` in `Engine.#giveBack`: what is handed back is released, not left to time out.
    simulated(
      Effect.gen(function* () {
        const memory = yield* MemoryQueue.make({ ordered: true, leaseDuration: "10 minutes" })
        yield* memory.send(grouped(...numbered(8).map((n) => `a${n}`)))
        let runs = 0
        const fiber = yield* run(
          Consumer.stream(memory).pipe(
            Pipeline.process(() => (++runs <= 3 ? Effect.fail("no") : Effect.void), {
              holdLimit: 0,
              retry: RetryPolicy.redeliver(Schedule.spaced("1 second"))
            })
          )
        )
        yield* memory.idle
        assert.isAtMost(yield* Clock.currentTimeMillis, 10_000)
        yield* Fiber.interrupt(fiber)
      })
    )
  )

  it(
    "an undecodable head was skipped, so that order broke",
    // `Exit.fail(decodeError(…))` in `Pipeline.decode`: it flows on in its place; and `goes` in `Engine.settle`, where
    // there is no place for dead letters.
    simulated(
      Effect.gen(function* () {
        for (const deadLetters of [true, false]) {
          const memory = yield* MemoryQueue.make({ ordered: true, deadLetters, name: String(deadLetters) })
          yield* memory.inject("deadLetter", { delay: "5 seconds" })
          yield* memory.send([
            { body: "poison", group: "a" },
            { body: "2", group: "a" }
          ])
          const ranAfter: Array<number> = []
          const fiber = yield* run(
            Consumer.stream(memory).pipe(
              Pipeline.decodeJson(Schema.Number),
              Pipeline.process(() => Effect.map(memory.stats, ({ deadLettered }) => ranAfter.push(deadLettered)))
            )
          )
          yield* Effect.sleep("10 minutes")
          yield* Fiber.interrupt(fiber)
          assert.deepStrictEqual(ranAfter, deadLetters ? [1] : [])
        }
      })
    )
  )

  it(
    "a head's retries burnt its tail's receive counts, until the tail was dead-lettered untried",
    // `return after.hold(delay)` in `failureTreatment`: the head is held, and nothing is given back.
    simulated(
      Effect.gen(function* () {
        const memory = yield* MemoryQueue.make({ ordered: true, maxAttempts: 3 })
        yield* memory.send(grouped("a1", "a2", "a3"))
        const ran: Array<string> = []
        const fiber = yield* run(
          Consumer.stream(memory).pipe(
            Pipeline.process((body) => (ran.push(body) <= 6 ? Effect.fail("no") : Effect.void), {
              retry: RetryPolicy.redeliver(Schedule.spaced("1 minute"))
            })
          )
        )
        yield* memory.idle
        yield* Fiber.interrupt(fiber)
        const { acked, deadLettered } = yield* memory.stats
        assert.deepStrictEqual([acked, deadLettered], [3, 0])
        assert.deepStrictEqual(ran.slice(6), ["a1", "a2", "a3"])
      })
    )
  )

  it(
    "a long poll was aborted, and the server leased to nobody",
    // `within(this.#idle, this.#pollGrace)` in `Intake.stop`: the answer is awaited, and what it brings is released.
    simulated(
      Effect.gen(function* () {
        const memory = yield* MemoryQueue.make({ strandAborted: true })
        const fiber = yield* run(Consumer.stream(deaf(memory)))
        yield* Effect.sleep("1 second")
        const stopped = yield* Effect.fork(Fiber.interrupt(fiber))
        yield* Effect.sleep("1 second")
        yield* memory.send(["came late"])
        yield* Fiber.join(stopped)
        yield* Effect.sleep("1 second")
        const { inFlight, visible } = yield* memory.stats
        assert.deepStrictEqual([inFlight, visible], [0, 1])
      })
    )
  )

  it(
    "what was released while the own poll was open came straight back",
    // `claims.stopReceiving` in `Dispatcher.close`, before anything is released.
    simulated(
      Effect.gen(function* () {
        const memory = yield* MemoryQueue.make()
        yield* memory.send(["running"])
        const polls = { wait: "3 seconds", pollGrace: "5 seconds" } as const
        const fiber = yield* run(Consumer.stream(deaf(memory), polls).pipe(Pipeline.process(() => Effect.never)))
        yield* Effect.sleep("1 second")
        assert.strictEqual((yield* memory.stats).waiting, 1)
        yield* Fiber.interrupt(fiber)
        yield* Effect.sleep("30 seconds")
        const { inFlight, redelivered, visible } = yield* memory.stats
        assert.deepStrictEqual([inFlight, visible, redelivered], [0, 1, 0])
      })
    )
  )

  it(
    "a handler's timeout did not stop the handler, and it went on beside its next run",
    // `limited(handler(body, delivery), options.timeout, delivery)` in `Pipeline.process`: the fiber is interrupted.
    simulated(
      Effect.gen(function* () {
        const memory = yield* MemoryQueue.make()
        yield* memory.send(["a"])
        let running = 0
        let most = 0
        let runs = 0
        const fiber = yield* run(
          Consumer.stream(memory).pipe(
            Pipeline.process(
              () =>
                Effect.acquireUseRelease(
                  Effect.sync(() => {
                    most = Math.max(most, ++running)
                  }),
                  () => (++runs < 3 ? Effect.sleep("1 hour") : Effect.void),
                  () => Effect.sync(() => running--)
                ),
              { timeout: "5 seconds", retry: RetryPolicy.redeliver(Schedule.spaced("1 second")) }
            )
          )
        )
        yield* memory.idle
        assert.isAtMost(yield* Clock.currentTimeMillis, 15_000)
        yield* Fiber.interrupt(fiber)
        assert.deepStrictEqual([most, running], [1, 0])
      })
    )
  )

  it(
    "pollers ramped up on full batches only, where the queue answers short under load",
    // `took <= this.#prompt()` in `Intake.#learn`: a prompt answer is one that did not wait, however short it is.
    simulated(
      Effect.gen(function* () {
        const memory = yield* MemoryQueue.make({ latency: "100 millis" })
        const queue: LeaseQueue.LeaseQueue<MemoryQueue.MemoryQueueError> = {
          ...memory,
          receive: (request) => memory.receive({ ...request, max: 1 })
        }
        yield* memory.send(numbered(500))
        const fiber = yield* run(
          Consumer.stream(queue, { maxInFlight: 200 }).pipe(Pipeline.process(() => Effect.void, { concurrency: 100 }))
        )
        yield* memory.idle
        // One receive at a time would bring ten a second: 50 seconds.
        assert.isBelow(yield* Clock.currentTimeMillis, 15_000)
        yield* Fiber.interrupt(fiber)
      })
    )
  )
})
