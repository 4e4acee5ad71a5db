import { describe, expect, it } from "@effect/vitest"
import { MemoryQueue, Simulation } from "@millrace/core/testing"
import { Clock, Deferred, Duration, Effect, Exit, Fiber, Random, TestClock } from "effect"
import { seeds } from "../../../../test/long.js"

const now = { max: 10, wait: Duration.zero, attemptId: undefined }
const longPoll = { ...now, wait: Duration.seconds(20) }

describe("MemoryQueue", () => {
  it.effect("refuses illegal options when it is made", () =>
    Effect.gen(function* () {
      for (const options of [
        { batchSize: 0 },
        { batchSize: 1.5 },
        { leaseDuration: 0 },
        { leaseDuration: "13 hours" },
        { maxAttempts: 0 }
      ] as const) {
        expect(Exit.isFailure(yield* Effect.exit(MemoryQueue.make(options)))).toBe(true)
      }
    })
  )

  it.effect("an ordered queue refuses a message without a group", () =>
    Effect.gen(function* () {
      const queue = yield* MemoryQueue.make({ ordered: true })
      expect(Exit.isFailure(yield* Effect.exit(queue.send(["a"])))).toBe(true)
    })
  )

  it.effect("a failed call has no effect, a dropped one has: its messages are leased to nobody", () =>
    Effect.gen(function* () {
      const queue = yield* MemoryQueue.make()
      yield* queue.send(["a"])
      yield* queue.inject("receive", { fail: "throttled" })
      const failed = yield* Effect.flip(queue.receive(now))
      expect([failed._tag, queue.errorKind(failed)]).toEqual(["MemoryQueueError", "throttled"])
      expect((yield* queue.stats).inFlight).toBe(0)
      yield* queue.inject("receive", { drop: "transient" })
      expect(queue.errorKind(yield* Effect.flip(queue.receive(now)))).toBe("transient")
      expect((yield* queue.stats).inFlight).toBe(1)
      expect(yield* queue.receive(now)).toEqual([])
      yield* TestClock.adjust("30 seconds")
      expect(yield* queue.receive(now)).toMatchObject([{ body: "a", attempt: 2 }])
    })
  )

  it.effect("entries fail one by one, and faults are used up in order", () =>
    Effect.gen(function* () {
      const queue = yield* MemoryQueue.make()
      yield* queue.send(["a", "b"])
      const leases = (yield* queue.receive(now)).map((message) => message.lease)
      yield* queue.inject("ack", { fail: "transient" }, 2)
      yield* queue.inject("ack", { entries: (_, index) => (index === 0 ? "Transient" : undefined) })
      yield* Effect.flip(queue.ack(leases))
      yield* Effect.flip(queue.ack(leases))
      expect(yield* queue.ack(leases)).toMatchObject([{ left: { reason: "Transient" } }, { _tag: "Right" }])
      expect(yield* queue.stats).toMatchObject({ acked: 1, inFlight: 1, calls: { ack: 3 } })
    })
  )

  it.effect("latency: half before a call takes effect, half before its answer", () =>
    Effect.gen(function* () {
      const queue = yield* MemoryQueue.make({ latency: "10 millis" })
      yield* queue.send(["a"])
      const receive = yield* Effect.fork(queue.receive(now))
      yield* TestClock.adjust("4 millis")
      expect((yield* queue.stats).inFlight).toBe(0)
      yield* TestClock.adjust("1 millis")
      expect((yield* queue.stats).inFlight).toBe(1)
      expect(receive.unsafePoll()).toBe(null)
      yield* TestClock.adjust("5 millis")
      expect(yield* Fiber.join(receive)).toHaveLength(1)
    })
  )

  it.effect("an aborted long poll is withdrawn, or strands what comes when told to", () =>
    Effect.gen(function* () {
      for (const strandAborted of [false, true]) {
        const queue = yield* MemoryQueue.make({ strandAborted })
        const poll = yield* Effect.fork(queue.receive(longPoll))
        yield* TestClock.adjust("1 second")
        yield* Fiber.interrupt(poll)
        yield* queue.send(["a"])
        yield* TestClock.adjust("1 second")
        expect((yield* queue.stats).inFlight).toBe(strandAborted ? 1 : 0)
      }
    })
  )

  it.effect("a long poll that is told to stop answers with nothing, at once", () =>
    Effect.gen(function* () {
      const queue = yield* MemoryQueue.make()
      const stop = yield* Deferred.make<void>()
      const poll = yield* Effect.fork(queue.receive({ ...longPoll, stop: Deferred.await(stop) }))
      yield* TestClock.adjust("1 second")
      expect(poll.unsafePoll()).toBe(null)
      yield* Deferred.succeed(stop, undefined)
      expect(yield* Fiber.join(poll)).toEqual([])
      yield* queue.send(["a"])
      expect(yield* queue.stats).toMatchObject({ visible: 1, inFlight: 0, emptyReceives: 1 })
    })
  )

  it.effect("an uninterruptible receive waits on when it is interrupted, and keeps what it leases", () =>
    Effect.gen(function* () {
      const queue = yield* MemoryQueue.make()
      for (const stop of [undefined, Effect.never]) {
        const request = stop === undefined ? longPoll : { ...longPoll, stop }
        const received: Array<string> = []
        const poll = yield* queue.receive(request).pipe(
          Effect.tap((messages) => Effect.sync(() => received.push(...messages.map(({ body }) => body)))),
          Effect.uninterruptible,
          Effect.fork
        )
        yield* TestClock.adjust("1 second")
        yield* Fiber.interruptFork(poll)
        yield* queue.send(["a"])
        yield* Fiber.await(poll)
        expect(received).toEqual(["a"])
      }
    })
  )

  it("what is leased is answered, in whatever order sends and stops come, also to who cannot be interrupted", () =>
    Simulation.check(
      { seeds: seeds({ short: 50, long: 200 }), leaks: "fail" },
      Effect.gen(function* () {
        const queue = yield* MemoryQueue.make()
        const received: Array<string> = []
        const stop = yield* Deferred.make<void>()
        const poll = queue.receive({ ...longPoll, max: 1, stop: Deferred.await(stop) }).pipe(
          Effect.tap((messages) => Effect.sync(() => received.push(...messages.map(({ id }) => id)))),
          Effect.uninterruptible
        )
        const polls = yield* Effect.forEach([1, 2, 3, 4], () => Effect.fork(poll))
        yield* Effect.fork(Deferred.succeed(stop, undefined))
        yield* Effect.fork(queue.send(["a", "b"]))
        yield* Fiber.awaitAll(polls)
        expect((yield* queue.stats).inFlight).toBe(received.length)
        expect(new Set(received).size).toBe(received.length)
      })
    ))

  it("a send never slips past a receive that is about to wait", () =>
    Simulation.check(
      { seeds: seeds({ short: 25, long: 100 }) },
      Effect.gen(function* () {
        const queue = yield* MemoryQueue.make()
        for (let i = 0; i < 50; i++) {
          const poll = yield* Effect.fork(queue.receive(longPoll))
          yield* Effect.fork(queue.send(["a"]))
          expect(yield* Fiber.join(poll)).toHaveLength(1)
          expect(yield* Clock.currentTimeMillis).toBe(0)
        }
      })
    ))

  it.effect("maxLease is the longest in total, from the receive on", () =>
    Effect.gen(function* () {
      const queue = yield* MemoryQueue.make({ maxLease: "40 seconds" })
      yield* queue.send(["a"])
      const entries = (yield* queue.receive(now)).map(({ lease }) => ({ lease, duration: Duration.seconds(30) }))
      yield* TestClock.adjust("10 seconds")
      expect(yield* queue.setLease(entries)).toMatchObject([{ _tag: "Right" }])
      yield* TestClock.adjust("1 seconds")
      expect(yield* queue.setLease(entries)).toMatchObject([{ left: { reason: "Rejected" } }])
    })
  )

  it.effect("a script of faults can be drawn from Random", () =>
    Effect.gen(function* () {
      const queue = yield* MemoryQueue.make({
        faults: () => Effect.map(Random.nextBoolean, (fails) => (fails ? { fail: "transient" } : undefined))
      })
      const calls = Effect.replicateEffect(Effect.isSuccess(queue.receive(now)), 50)
      const first = yield* calls.pipe(Effect.withRandom(Random.make("seed")))
      expect(new Set(first)).toEqual(new Set([true, false]))
      expect(yield* calls.pipe(Effect.withRandom(Random.make("seed")))).toEqual(first)
    })
  )

  it.effect("settled and idle wait for acks and dead letters, not for receives", () =>
    Effect.gen(function* () {
      const queue = yield* MemoryQueue.make()
      yield* queue.send(["a", "b"])
      const settled = yield* Effect.fork(queue.settled(1))
      const idle = yield* Effect.fork(queue.idle)
      const [first, second] = yield* queue.receive(now)
      if (first === undefined || second === undefined || queue.deadLetter === undefined) throw new Error("unreachable")
      yield* Effect.yieldNow()
      expect([settled.unsafePoll(), idle.unsafePoll()]).toEqual([null, null])
      yield* queue.ack([first.lease])
      yield* Fiber.join(settled)
      expect(idle.unsafePoll()).toBe(null)
      yield* queue.deadLetter([{ message: second, reason: "because" }])
      yield* Fiber.join(idle)
    })
  )

  it.effect("maxAttempts: the receive that would exceed it dead-letters the message, and its group goes on", () =>
    Effect.gen(function* () {
      const queue = yield* MemoryQueue.make({ ordered: true, maxAttempts: 2 })
      yield* queue.send([
        { body: "poison", group: "g" },
        { body: "next", group: "g" }
      ])
      for (const attempt of [1, 2]) {
        expect(yield* queue.receive({ ...now, max: 1 })).toMatchObject([{ body: "poison", attempt }])
        yield* TestClock.adjust("30 seconds")
      }
      expect(yield* queue.receive({ ...now, max: 1 })).toMatchObject([{ body: "next" }])
      expect(yield* queue.deadLetters).toMatchObject([{ message: { body: "poison", attempt: 2 } }])
    })
  )

  it.effect("counts what happens", () =>
    Effect.gen(function* () {
      const events: Array<string> = []
      const queue = yield* MemoryQueue.make({ onEvent: ({ type, id, at }) => events.push(`${at} ${type} ${id}`) })
      yield* queue.send(["a", "b", "c"])
      const [a, b, c] = yield* queue.receive(now)
      if (a === undefined || b === undefined || c === undefined) throw new Error("unreachable")
      yield* queue.ack([a.lease])
      yield* queue.setLease([{ lease: b.lease, duration: Duration.zero }])
      yield* queue.setLease([{ lease: c.lease, duration: Duration.seconds(5) }])
      yield* TestClock.adjust("6 seconds")
      yield* queue.receive(now)
      // c's first lease is over and it is leased anew: the old handle deletes nothing.
      yield* queue.ack([c.lease])
      expect(yield* queue.receive(now)).toEqual([])
      expect(yield* queue.stats).toEqual({
        sent: 3,
        visible: 0,
        inFlight: 2,
        peakInFlight: 3,
        acked: 1,
        deadLettered: 0,
        staleAcks: 1,
        redelivered: 2,
        expired: 1,
        released: 1,
        calls: { receive: 3, ack: 2, setLease: 2, deadLetter: 0 },
        emptyReceives: 1,
        waiting: 0
      })
      expect(events).toEqual([
        "0 Sent memory-1",
        "0 Sent memory-2",
        "0 Sent memory-3",
        "0 Received memory-1",
        "0 Received memory-2",
        "0 Received memory-3",
        "0 Acked memory-1",
        "0 Released memory-2",
        "0 LeaseSet memory-3",
        "5000 Expired memory-3",
        "6000 Received memory-2",
        "6000 Received memory-3"
      ])
    })
  )
})
