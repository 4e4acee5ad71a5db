/** Leases are kept from the receive to the confirmed settlement (invariant 6), and what follows when one is lost. */
import { assert, describe, it } from "@effect/vitest"
import { Consumer, LeaseKeeper, type LeaseQueue, Pipeline, RetryPolicy, Settlement } from "@millrace/core"
import { MemoryQueue, Simulation } from "@millrace/core/testing"
import { type Cause, Clock, Duration, Effect, Exit, Fiber, Runtime, Schedule, Stream } from "effect"
import { type Calls, grouped, type Line, logged, numbered, recorded, simulated } from "./support/index.js"

/** The calls that extend, and not give back: for the whole lease again. */
const extensions = (calls: Calls, lease: Duration.DurationInput) =>
  calls.of("setLease").filter(({ entries }) => entries.every(({ millis }) => millis === Duration.toMillis(lease)))

/** Runs handlers on all that the queue has until `until`, then interrupts them. */
const consume = <E, A>(
  queue: LeaseQueue.LeaseQueue<E>,
  handler: (body: string) => Effect.Effect<unknown, string>,
  options: Consumer.Options & { readonly until: Effect.Effect<A>; readonly retry?: RetryPolicy.RetryPolicy<unknown> }
) =>
  Effect.gen(function* () {
    const { retry = RetryPolicy.leave, until, ...others } = options
    const consumer = yield* Consumer.make(queue, others)
    const fiber = yield* consumer.stream.pipe(
      Pipeline.process(handler, { concurrency: 20_000, retry }),
      Stream.runDrain,
      Effect.fork
    )
    yield* until
    const stats = yield* consumer.stats
    yield* Fiber.interrupt(fiber)
    return { before: stats, after: yield* consumer.stats }
  })

const never = () => Effect.never

/** Forks, and knows how many of those fibers are not done. */
const counted = Effect.map(Effect.runtime<never>(), (runtime) => {
  let running = 0
  return {
    fibers: () => running,
    runFork: <A, E>(effect: Effect.Effect<A, E>): Fiber.RuntimeFiber<A, E> => {
      const fiber = Runtime.runFork(runtime)(effect)
      running++
      fiber.addObserver(() => running--)
      return fiber
    }
  }
})

describe("a lease is kept", () => {
  it(
    "for as long as its handler runs, and where it waits: prefetched, in a lane, in a batch, in a delay",
    simulated(
      Effect.gen(function* () {
        const memory = yield* MemoryQueue.make({ latency: "50 millis", ordered: true, leaseDuration: "10 seconds" })
        yield* memory.send(grouped("a1", "a2", "b1", "c1", "c2", "d1"))
        const failed = new Set<string>()
        const pipeline = Consumer.stream(memory).pipe(
          Pipeline.process(
            (body) =>
              body === "c1" && !failed.has(body)
                ? Effect.zipRight(
                    Effect.sync(() => failed.add(body)),
                    Effect.fail("held for 4 minutes")
                  )
                : Effect.sleep("5 minutes"),
            { concurrency: 1, retry: RetryPolicy.redeliver(Schedule.spaced("4 minutes")) }
          ),
          Stream.runDrain
        )
        const fiber = yield* Effect.fork(pipeline)
        yield* memory.idle
        assert.isAtLeast(yield* Clock.currentTimeMillis, 6 * 5 * 60_000)
        yield* Fiber.interrupt(fiber)
        const { expired, redelivered } = yield* memory.stats
        assert.deepStrictEqual([expired, redelivered], [0, 0])

        const standard = yield* MemoryQueue.make({ name: "standard", leaseDuration: "10 seconds" })
        yield* standard.send(numbered(3))
        const batches = yield* Consumer.stream(standard).pipe(
          Pipeline.processBatches(() => Effect.sleep("10 minutes"), { max: 5, within: "10 minutes" }),
          Stream.runDrain,
          Effect.fork
        )
        yield* standard.idle
        yield* Fiber.interrupt(batches)
        assert.strictEqual((yield* standard.stats).expired, 0)
      })
    )
  )

  for (const leaseDuration of ["1 second", "2 seconds", "5 seconds"] as const) {
    it(
      `of ${leaseDuration} too`,
      simulated(
        Effect.gen(function* () {
          const memory = yield* MemoryQueue.make({ latency: "100 millis", leaseDuration })
          yield* memory.send(numbered(30))
          const { after } = yield* consume(memory, never, { until: Effect.sleep("1 minute") })
          assert.deepStrictEqual([after.received, after.lost, after.released], [30, 0, 30])
          assert.strictEqual((yield* memory.stats).expired, 0)
        })
      )
    )
  }

  it(
    "by an extension that is sent while there is time to try it again, and again",
    simulated(
      Effect.gen(function* () {
        const memory = yield* MemoryQueue.make({ latency: "100 millis" })
        const { calls, queue } = recorded(memory)
        yield* memory.send(["a"])
        yield* memory.inject("setLease", { fail: "throttled" })
        yield* memory.inject("setLease", { entries: () => "Transient" })
        yield* memory.inject("setLease", { drop: "transient" })
        const { after } = yield* consume(queue, never, { until: Effect.sleep("30 seconds") })
        assert.strictEqual(after.lost, 0)
        const [first, ...again] = extensions(calls, "30 seconds").map(({ at }) => at)
        assert.isAtMost(first ?? Number.NaN, 16_000)
        assert.isAtLeast(again.length, 3)
        assert.isAtMost(again[2] ?? Number.NaN, 30_000)
      })
    )
  )

  it(
    "but not advanced before the call has succeeded: a failed extension leaves the deadline where it was",
    simulated(
      Effect.gen(function* () {
        const memory = yield* MemoryQueue.make()
        yield* memory.send(["a"])
        yield* memory.inject("setLease", { fail: "transient" }, 1000)
        const deadlines: Array<number> = []
        const consumer = yield* Consumer.make(memory)
        const fiber = yield* consumer.stream.pipe(
          Pipeline.process((_, delivery) =>
            Effect.repeat(
              Effect.sync(() => deadlines.push(delivery.deadline)),
              Schedule.spaced("5 seconds")
            )
          ),
          Stream.runDrain,
          Effect.fork
        )
        yield* Effect.sleep(29_999)
        assert.deepStrictEqual([...new Set(deadlines)], [30_000])
        assert.strictEqual((yield* consumer.stats).lost, 0)
        yield* Effect.sleep(2)
        assert.strictEqual((yield* consumer.stats).lost, 1)
        yield* Fiber.interrupt(fiber)
      })
    )
  )

  it(
    "until the delete is confirmed, however long that takes; an extension refused meanwhile is no loss",
    simulated(
      Effect.gen(function* () {
        const memory = yield* MemoryQueue.make()
        const { calls, queue } = recorded(memory)
        yield* memory.send(["a"])
        yield* memory.inject("ack", { delay: "100 seconds" })
        const kept = yield* consume(queue, () => Effect.void, { until: memory.idle })
        assert.deepStrictEqual([kept.after.acked, kept.after.lost], [1, 0])
        assert.isAtLeast(extensions(calls, "30 seconds").length, 5)
        const { expired, redelivered } = yield* memory.stats
        assert.deepStrictEqual([expired, redelivered], [0, 0])

        // The delete has taken effect and its answer is on its way: an extension now finds no message.
        const gone = yield* MemoryQueue.make({ name: "gone" })
        const late: LeaseQueue.LeaseQueue<MemoryQueue.MemoryQueueError> = {
          ...gone,
          ack: (leases) => Effect.zipLeft(gone.ack(leases), Effect.sleep("20 seconds"))
        }
        yield* gone.send(["a"])
        const after = yield* consume(late, () => Effect.void, { until: Effect.sleep("1 minute") })
        assert.deepStrictEqual([after.after.acked, after.after.lost, after.after.inFlight], [1, 0, 0])
      })
    )
  )

  it(
    "no longer than the queue allows in total: then it says so, lets the lease run out, and interrupts the handler",
    simulated(
      Effect.gen(function* () {
        const memory = yield* MemoryQueue.make({ leaseDuration: "10 minutes", latency: "1 second" })
        const { calls, queue } = recorded(memory)
        const lines: Array<Line> = []
        yield* memory.send(["a"])
        const stopped: Array<number> = []
        const handler = () =>
          Effect.onInterrupt(Effect.never, () =>
            Effect.map(Clock.currentTimeMillis, (at) => {
              stopped.push(at)
            })
          )
        const { after } = yield* consume(queue, handler, { until: Effect.sleep("12 hours") }).pipe(
          Effect.provide(logged(lines))
        )
        assert.strictEqual(after.lost, 1)
        const [at = 0] = stopped
        // Not a second past what the queue allows, and hardly less.
        assert.isAtMost(at, Duration.toMillis("12 hours"))
        assert.isAtLeast(at, Duration.toMillis("12 hours") - 5000)
        const told = lines.filter(({ level, text }) => level === "WARN" && text.includes("as long as memory allows"))
        assert.strictEqual(told.length, 1)
        // No extension that the queue would have to refuse.
        const receivedAt = 500
        for (const { at: sentAt, entries } of calls.of("setLease").filter((call) => call.at < at)) {
          for (const { millis } of entries) assert.isAtMost(sentAt + millis - receivedAt, Duration.toMillis("12 hours"))
        }
        assert.strictEqual((yield* memory.stats).expired, 1)
      }),
      { seeds: 1 }
    )
  )

  it(
    "not at all with heartbeat: false; it is still seen to be over",
    simulated(
      Effect.gen(function* () {
        const memory = yield* MemoryQueue.make()
        const { calls, queue } = recorded(memory)
        yield* memory.send(["a"])
        const { before } = yield* consume(queue, never, { heartbeat: false, until: Effect.sleep(30_001) })
        assert.deepStrictEqual([before.lost, before.received], [1, 2])
        assert.strictEqual(extensions(calls, "30 seconds").length, 0)
      })
    )
  )
})

describe("many leases", () => {
  it(
    "10,000 of them are held by one fiber, with at most a tenth as many calls a round and 5 %",
    simulated(
      Effect.gen(function* () {
        const leases = 10_000
        const memory = yield* MemoryQueue.make({ latency: "20 millis" })
        const { calls, queue } = recorded(memory)
        yield* memory.send(numbered(leases))
        const { runFork, fibers } = yield* counted
        const clock = yield* Effect.clock
        const lost: Array<string> = []
        const keeper = new LeaseKeeper.LeaseKeeper<MemoryQueue.MemoryQueueError, LeaseKeeper.Leased>({
          queue,
          runFork,
          now: () => clock.unsafeCurrentTimeMillis(),
          onLost: ({ message }) => lost.push(message.id),
          onLongest: () => {},
          onCall: () => {},
          onError: () => {}
        })
        const held: Array<LeaseKeeper.Leased> = []
        // Received over some seconds in small batches, as by a busy consumer.
        while (held.length < leases) {
          const messages = yield* memory.receive({ max: 4, wait: Duration.zero, attemptId: undefined })
          const receivedAt = clock.unsafeCurrentTimeMillis()
          for (const message of messages) {
            const leased = { message, receivedAt, deadline: receivedAt + 30_000, kept: new LeaseKeeper.Kept() }
            held.push(leased)
            keeper.hold(leased)
          }
        }
        assert.strictEqual(keeper.size, leases)
        const since = yield* Clock.currentTimeMillis
        const samples: Array<number> = []
        for (let second = 0; second < 75; second++) {
          yield* Effect.sleep("1 second")
          samples.push(fibers())
        }
        const rounds = ((yield* Clock.currentTimeMillis) - since) / 15_000
        const sent = extensions(calls, "30 seconds").filter(({ at }) => at >= since)
        // The ticker, and the calls that are in the air just then.
        assert.strictEqual(Math.min(...samples), 1)
        assert.isAtMost(Math.max(...samples), 17)
        assert.isAtMost(sent.length, rounds * (leases / 10) * 1.05)
        assert.deepStrictEqual(lost, [])
        assert.strictEqual((yield* memory.stats).expired, 0)
        for (const leased of held) keeper.release(leased)
        keeper.quiesce()
      }),
      { seeds: 1 }
    )
  )
})

describe("a lost lease", () => {
  /** One message whose handler takes so long, on a queue that refuses extensions. */
  const losing = (
    handler: (delivery: { readonly ended: (cause: Cause.Cause<unknown>) => void }) => Effect.Effect<unknown, string>,
    options: {
      readonly ordered?: boolean
      readonly until: Effect.Effect<unknown>
      readonly retry?: RetryPolicy.RetryPolicy<unknown>
    }
  ) =>
    Effect.gen(function* () {
      const memory = yield* MemoryQueue.make({ ordered: options.ordered ?? false })
      const { calls, queue } = recorded(memory)
      yield* memory.send([{ body: "a", group: "a" }])
      yield* memory.inject("setLease", { fail: "throttled" }, 10_000)
      const causes: Array<Cause.Cause<unknown>> = []
      const ended = (cause: Cause.Cause<unknown>) => causes.push(cause)
      const result = yield* consume(queue, () => handler({ ended }), {
        // Only the permit of the lost one can receive it again.
        maxInFlight: 1,
        flushWithin: 0,
        retry: options.retry ?? RetryPolicy.leave,
        until: options.until
      })
      return { ...result, calls, causes, queue: yield* memory.stats }
    })

  it(
    "interrupts its handler, which can tell why; it counts as lost and its permit comes back",
    simulated(
      Effect.gen(function* () {
        const { before, causes } = yield* losing(
          ({ ended }) =>
            Effect.onExit(Effect.sleep("40 seconds"), (exit) =>
              Effect.sync(() => {
                if (Exit.isFailure(exit)) ended(exit.cause)
              })
            ),
          { until: Effect.sleep(30_001) }
        )
        // It has come again, and that one is in flight; the end interrupts it.
        assert.deepStrictEqual(causes.map(Settlement.isLeaseLost), [true, false])
        assert.deepStrictEqual([before.received, before.lost, before.inFlight, before.released], [2, 1, 1, 0])
      })
    )
  )

  it(
    "is told apart from a drain, which interrupts too",
    simulated(
      Effect.gen(function* () {
        const memory = yield* MemoryQueue.make()
        yield* memory.send(["a"])
        const causes: Array<boolean> = []
        yield* consume(
          memory,
          () =>
            Effect.onExit(Effect.never, (exit) =>
              Effect.sync(() => {
                if (Exit.isFailure(exit)) causes.push(Settlement.isLeaseLost(exit.cause))
              })
            ),
          { until: Effect.sleep("1 second") }
        )
        assert.deepStrictEqual(causes, [false])
      })
    )
  )

  for (const ordered of [false, true]) {
    it(
      `that nobody has noticed before the handler succeeded, as after a pause of the machine: ${
        ordered ? "an ordered queue refuses the ack, and it counts as lost" : "a standard queue may take the late ack"
      }`,
      simulated(
        Effect.gen(function* () {
          const memory = yield* MemoryQueue.make({ ordered })
          const { calls, queue } = recorded(memory)
          yield* memory.send([{ body: "a", group: "a" }])
          const { after } = yield* consume(queue, () => Effect.sleep("11 seconds"), {
            // Nobody receives the message again before its ack.
            receiveRetry: Schedule.spaced("1 hour"),
            until: Effect.sleep("1 second").pipe(
              Effect.zipRight(memory.inject("receive", { fail: "throttled" }, 1000)),
              Effect.zipRight(Effect.sleep("9 seconds")),
              Effect.zipRight(Simulation.jump("1 minute")),
              Effect.zipRight(Effect.sleep("2 seconds"))
            )
          })
          assert.strictEqual(calls.of("ack").length, 1)
          assert.deepStrictEqual(
            [after.acked, after.ackedLate, after.lost, (yield* memory.stats).acked],
            ordered ? [0, 0, 1, 0] : [1, 1, 0, 1]
          )
        })
      )
    )
  }

  it(
    "has no other settlement after it: what its handler or its policy want is too late",
    simulated(
      Effect.gen(function* () {
        const { before, calls } = yield* losing(
          () => Effect.uninterruptible(Effect.zipRight(Effect.sleep("35 seconds"), Effect.fail("no"))),
          { until: Effect.sleep("36 seconds"), retry: RetryPolicy.deadLetter }
        )
        assert.strictEqual(calls.of("deadLetter").length, 0)
        assert.deepStrictEqual([before.lost, before.deadLettered, before.retried, before.released], [1, 0, 0, 0])
        // Its handler goes on where it may not be interrupted.
        yield* Effect.sleep("1 minute")
      })
    )
  )

  it(
    "also by a refusal of the queue, before our own clock says so",
    simulated(
      Effect.gen(function* () {
        const memory = yield* MemoryQueue.make()
        yield* memory.send(["a"])
        yield* memory.inject("setLease", { entries: () => "LeaseLost" })
        const { before } = yield* consume(memory, never, { until: Effect.sleep("20 seconds") })
        assert.deepStrictEqual([before.lost, before.inFlight], [1, 0])
      })
    )
  )
})

describe("a retry, a release", () => {
  // An extension takes 8 seconds; one second after it was sent, its delivery ends.
  const endings: Readonly<Record<string, (consumer: Consumer.Consumer<unknown>) => Effect.Effect<unknown, unknown>>> = {
    "an ack": () => Effect.void,
    "a retry": () => Effect.fail("retry"),
    "a dead letter": () => Effect.fail("deadLetter"),
    "a leave": () => Effect.fail("leave"),
    "a defect": () => Effect.dieMessage("a bug"),
    "its own interruption": () => Effect.interrupt,
    "a drain": (consumer) => Effect.zipRight(Effect.forkDaemon(consumer.drain({ deadline: 0 })), Effect.never),
    "the end of the stream": () => Effect.never
  }
  for (const [how, end] of Object.entries(endings)) {
    it(
      `never outlives the delivery: ${how}`,
      simulated(
        Effect.gen(function* () {
          const memory = yield* MemoryQueue.make()
          const { calls, queue } = recorded(memory)
          yield* memory.send(["a"])
          yield* memory.inject("setLease", { delay: "8 seconds" })
          const consumer = yield* Consumer.make(queue, { linger: 0 })
          const fiber = yield* consumer.stream.pipe(
            Pipeline.process(
              () =>
                consumer.pause.pipe(
                  Effect.zipRight(Effect.sleep("17 seconds")),
                  Effect.zipRight(Effect.mapError(end(consumer), String))
                ),
              {
                retry: (failure) =>
                  failure === "retry"
                    ? RetryPolicy.redeliver(Schedule.spaced("3 seconds"))
                    : failure === "leave"
                      ? RetryPolicy.leave
                      : RetryPolicy.deadLetter
              }
            ),
            Stream.runDrain,
            Effect.fork
          )
          yield* Effect.sleep("17 seconds")
          const [extension] = extensions(calls, "30 seconds")
          assert.isBelow(extension?.at ?? Number.NaN, 17_000)
          if (how === "the end of the stream") yield* Effect.forkDaemon(Fiber.interrupt(fiber))
          yield* Effect.sleep("2 minutes")
          // Once: but for a leave, which asks for the same time.
          assert.lengthOf(extensions(calls, "30 seconds"), how === "a leave" ? 2 : 1)
          const others = calls.all.filter(({ operation, at }) => operation !== "receive" && at >= 17_000)
          assert.lengthOf(others, 1)
          // It is waited for, where it would undo what follows.
          if (how !== "an ack") assert.isAtLeast(others[0]?.at ?? 0, (extension?.at ?? 0) + 8000)
          const { inFlight } = yield* consumer.stats
          assert.strictEqual(inFlight, 0)
          yield* Fiber.interrupt(fiber)
        })
      )
    )
  }

  it(
    "waits for the extension that is in the air, so that it cannot be overwritten by it; and none follows",
    simulated(
      Effect.gen(function* () {
        const memory = yield* MemoryQueue.make()
        const { calls, queue } = recorded(memory)
        yield* memory.send(["a"])
        // The extension of 15 s takes effect at 25 s; the handler fails at 20 s.
        yield* memory.inject("setLease", { delay: "10 seconds" })
        let runs = 0
        const started: Array<number> = []
        const { before } = yield* consume(
          queue,
          () =>
            Effect.gen(function* () {
              started.push(yield* Clock.currentTimeMillis)
              if (++runs > 1) return
              yield* Effect.sleep("20 seconds")
              return yield* Effect.fail("no")
            }),
          { retry: RetryPolicy.redeliver(Schedule.spaced("2 seconds")), until: memory.idle }
        )
        const sent = calls.of("setLease").flatMap(({ at, entries }) => entries.map(({ millis }) => [at, millis]))
        assert.deepStrictEqual(
          sent.map(([, millis]) => millis),
          [30_000, 2000]
        )
        const [extended = [], retried = []] = sent
        assert.isAtLeast(retried[0] ?? 0, (extended[0] ?? 0) + 10_000)
        // Visible again after the delay, and not after the lease that the extension asked for.
        assert.strictEqual(started[1], (retried[0] ?? 0) + 2000)
        assert.deepStrictEqual([before.retried, before.lost], [1, 0])
      })
    )
  )

  it(
    "waits for the handler's own extension too, and for both where there are two",
    simulated(
      Effect.gen(function* () {
        const memory = yield* MemoryQueue.make()
        const { calls, queue } = recorded(memory)
        yield* memory.send(["a"])
        // The keeper's own is sent at 15 s and answered at 25 s, the handler's at 16 s and 36 s.
        yield* memory.inject("setLease", { delay: "10 seconds" })
        yield* memory.inject("setLease", { delay: "20 seconds" })
        const started: Array<number> = []
        const consumer = yield* Consumer.make(queue)
        const fiber = yield* consumer.stream.pipe(
          Pipeline.process(
            (_, delivery) =>
              Effect.gen(function* () {
                if (started.push(yield* Clock.currentTimeMillis) > 1) return
                yield* Effect.sleep("16 seconds")
                // Asked for, and not waited for: the handler times out.
                yield* delivery.extend("10 minutes")
              }),
            { timeout: "17 seconds", retry: RetryPolicy.redeliver(Schedule.spaced("2 seconds")) }
          ),
          Stream.runDrain,
          Effect.fork
        )
        yield* memory.idle
        yield* Fiber.interrupt(fiber)
        const sent = calls.of("setLease").map(({ entries }) => entries.map(({ millis }) => millis))
        assert.deepStrictEqual(sent, [[30_000], [600_000], [2000]])
        assert.isAtLeast(calls.of("setLease")[2]?.at ?? 0, 36_000)
        assert.isAtMost(started[1] ?? 0, 40_000)
      })
    )
  )
})

describe("the user's own extension", () => {
  it(
    "moves the deadline by what it says; the keeper goes on from there",
    simulated(
      Effect.gen(function* () {
        const memory = yield* MemoryQueue.make()
        const { calls, queue } = recorded(memory)
        yield* memory.send(["a"])
        const deadlines: Array<number> = []
        const consumer = yield* Consumer.make(queue)
        const fiber = yield* consumer.stream.pipe(
          Pipeline.process((_, delivery) =>
            Effect.gen(function* () {
              deadlines.push(delivery.deadline)
              yield* delivery.extend("10 minutes")
              deadlines.push(delivery.deadline)
              yield* Effect.sleep("20 minutes")
            })
          ),
          Stream.runDrain,
          Effect.fork
        )
        yield* Effect.sleep("9 minutes")
        assert.strictEqual(calls.of("setLease").length, 1)
        yield* memory.idle
        yield* Fiber.interrupt(fiber)
        assert.deepStrictEqual(deadlines, [30_000, 600_000])
        assert.deepStrictEqual([(yield* memory.stats).expired, (yield* consumer.stats).lost], [0, 0])
      })
    )
  )

  it(
    "is cut to what is left of the longest lease, rather than refused for ever",
    simulated(
      Effect.gen(function* () {
        const memory = yield* MemoryQueue.make()
        const { calls, queue } = recorded(memory)
        yield* memory.send(["a"])
        const fiber = yield* Consumer.stream(queue).pipe(
          Pipeline.process((_, delivery) => Effect.zipRight(Effect.sleep("1 hour"), delivery.extend("13 hours"))),
          Stream.runDrain,
          Effect.fork
        )
        yield* memory.idle
        yield* Fiber.interrupt(fiber)
        const asked = calls.of("setLease").at(-1)?.entries[0]?.millis ?? 0
        assert.isAtMost(asked, Duration.toMillis("11 hours"))
        assert.isAtLeast(asked, Duration.toMillis("11 hours") - 5000)
      }),
      { seeds: 1 }
    )
  )
})

describe("what the queue says of an extension", () => {
  it(
    "counts from when it was asked, not from when it answers: a slow answer does not make the lease longer",
    simulated(
      Effect.gen(function* () {
        const memory = yield* MemoryQueue.make({ leaseDuration: "30 seconds" })
        const slow: LeaseQueue.LeaseQueue<MemoryQueue.MemoryQueueError> = {
          ...memory,
          setLease: (entries) => Effect.zipLeft(memory.setLease(entries), Effect.sleep("12 seconds"))
        }
        const { calls, queue } = recorded(slow)
        yield* memory.send(["a"])
        yield* consume(queue, never, { until: Effect.sleep("5 minutes") })
        const times = calls.of("setLease").map(({ at }) => at)
        assert.isAtLeast(times.length, 15)
        // Each is sent half a lease after the one before, give or take the jitter, and not half a lease after its answer.
        for (const [i, at] of times.slice(1, -1).entries()) assert.isAtMost(at - (times[i] ?? 0), 17_000)
      })
    )
  )

  it(
    "refused for good, it is not asked again: the lease runs out where it is, and its handler is interrupted then",
    simulated(
      Effect.gen(function* () {
        const memory = yield* MemoryQueue.make({ leaseDuration: "30 seconds", maxAttempts: 1 })
        const { calls, queue } = recorded(memory)
        yield* memory.inject("setLease", { entries: () => "Rejected" }, 100)
        yield* memory.send(["a"])
        const { before } = yield* consume(queue, never, { until: Effect.sleep("2 minutes") })
        assert.strictEqual(calls.of("setLease").length, 1)
        assert.strictEqual(before.lost, 1)
      })
    )
  )
})

describe("a lease that is over", () => {
  it(
    "while its delete is out is no loss: the answer decides",
    simulated(
      Effect.gen(function* () {
        for (const heartbeat of [true, false]) {
          const memory = yield* MemoryQueue.make({ leaseDuration: "30 seconds" })
          const slow: LeaseQueue.LeaseQueue<MemoryQueue.MemoryQueueError> = {
            ...memory,
            ack: (leases) => Effect.zipLeft(memory.ack(leases), Effect.sleep("1 minute"))
          }
          yield* memory.send(["a"])
          const { before } = yield* consume(slow, () => Effect.void, { heartbeat, until: Effect.sleep("2 minutes") })
          assert.deepStrictEqual([before.acked, before.lost, before.inFlight], [1, 0, 0])
        }
      })
    )
  )

  it(
    "is not worked on, however late it is taken: it comes again",
    simulated(
      Effect.gen(function* () {
        const memory = yield* MemoryQueue.make({ leaseDuration: "30 seconds" })
        const began: Array<readonly [at: number, attempt: number]> = []
        yield* memory.send(["a"])
        const consumer = yield* Consumer.make(memory, { heartbeat: false })
        const fiber = yield* consumer.stream.pipe(
          // As it happens to a process that is suspended here: to the millisecond when the lease ends.
          Stream.tap(({ message }) => (message.attempt === 1 ? Effect.sleep("30 seconds") : Effect.void)),
          Pipeline.process((_, { message }) =>
            Effect.map(Clock.currentTimeMillis, (at) => began.push([at, message.attempt]))
          ),
          Stream.runDrain,
          Effect.fork
        )
        yield* memory.idle
        yield* Fiber.interrupt(fiber)
        assert.deepStrictEqual(
          began.map(([, attempt]) => attempt),
          [2]
        )
        assert.strictEqual((yield* consumer.stats).lost, 1)
      }),
      { seeds: 10 }
    )
  )
})
