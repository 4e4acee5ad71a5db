// @effect-diagnostics floatingEffect:off
// What must not compile is not run.
import { assert, describe, it } from "@effect/vitest"
import { Circuit, Consumer, type Delivery, Pipeline, RetryPolicy } from "@millrace/core"
import { MemoryQueue, Simulation } from "@millrace/core/testing"
import {
  Chunk,
  Clock,
  Data,
  Duration,
  Effect,
  Either,
  Exit,
  Fiber,
  Logger,
  LogLevel,
  Random,
  Ref,
  Schedule,
  Scope,
  Stream,
  TestClock
} from "effect"
import { seeds } from "../../../test/long.js"

class Down extends Data.TaggedError("Down")<{}> {}
class OutOfStock extends Data.TaggedError("OutOfStock")<{}> {}

const quiet = Logger.withMinimumLogLevel(LogLevel.None)
const tag = <A>(circuit: Circuit.Circuit<A>) => Effect.map(circuit.state, ({ _tag }) => _tag)
const fails = Effect.fail(new Down())
const bodies = (n: number, from = 0) => Array.from({ length: n }, (_, i) => `m${from + i}`)

describe("Circuit", () => {
  it.scoped("opens at its rate and not below its minimum, refuses, probes and closes", () =>
    Effect.gen(function* () {
      const circuit = yield* Circuit.make({
        trips: ["Down"],
        threshold: { rate: 0.5, minimum: 4 },
        probeAfter: "10 seconds"
      })
      yield* Effect.repeatN(Effect.ignore(circuit.run(fails)), 2)
      assert.strictEqual(yield* tag(circuit), "Closed", "three of three: below the minimum")
      yield* circuit.run(Effect.void)
      assert.strictEqual(yield* tag(circuit), "Closed", "a success opens nothing")
      yield* Effect.ignore(circuit.run(fails))
      assert.deepStrictEqual(yield* circuit.state, { _tag: "Open", until: 10_000 })

      let tried = false
      const refused = yield* Effect.flip(circuit.run(Effect.sync(() => (tried = true))))
      assert.isFalse(tried)
      assert.strictEqual(refused._tag, "CircuitOpen")
      assert.strictEqual(refused.until, 10_000)
      assert.match(refused.message, /circuit is open for another 10s: nothing was tried/)

      yield* TestClock.adjust("10 seconds")
      assert.strictEqual(yield* tag(circuit), "HalfOpen")
      yield* circuit.run(Effect.void)
      assert.strictEqual(yield* tag(circuit), "Closed")
      yield* Effect.ignore(circuit.run(fails))
      assert.strictEqual(yield* tag(circuit), "Closed", "what it had counted is forgotten")
    }).pipe(quiet)
  )

  it.scoped("failures that do not trip count as well; those out of the window do not count at all", () =>
    Effect.gen(function* () {
      const circuit = yield* Circuit.make({
        trips: ["Down"],
        threshold: { rate: 0.5, minimum: 2, window: "10 seconds" }
      })
      yield* Effect.repeatN(Effect.ignore(circuit.run(Effect.fail(new OutOfStock()))), 9)
      yield* Effect.ignore(circuit.run(fails))
      assert.strictEqual(yield* tag(circuit), "Closed", "one of eleven")
      yield* TestClock.adjust("11 seconds")
      yield* Effect.ignore(circuit.run(fails))
      assert.strictEqual(yield* tag(circuit), "Closed", "one of one")
      yield* Effect.ignore(circuit.run(fails))
      assert.strictEqual(yield* tag(circuit), "Open", "two of two")
    }).pipe(quiet)
  )

  it.scoped(
    "half open, so many run at once and all must succeed; each failure waits for the schedule's next delay",
    () =>
      Effect.gen(function* () {
        const circuit = yield* Circuit.make({
          trips: ["Down"],
          threshold: { minimum: 1 },
          probeAfter: Schedule.exponential("1 second"),
          probes: 2
        })
        yield* Effect.ignore(circuit.run(fails))
        yield* TestClock.adjust("1 second")
        yield* circuit.run(Effect.void)
        assert.strictEqual(yield* tag(circuit), "HalfOpen", "one of two probes")
        yield* Effect.ignore(circuit.run(fails))
        assert.deepStrictEqual(yield* circuit.state, { _tag: "Open", until: 3000 })
        yield* TestClock.adjust("2 seconds")
        const probes = yield* Effect.forEach([1, 2], () => Effect.fork(circuit.run(Effect.sleep("1 second"))))
        yield* TestClock.adjust(0)
        assert.isTrue(Exit.isFailure(yield* Effect.exit(circuit.run(Effect.void))), "a third does not start")
        yield* TestClock.adjust("1 second")
        yield* Fiber.joinAll(probes)
        assert.strictEqual(yield* tag(circuit), "Closed")
        yield* Effect.ignore(circuit.run(fails))
        assert.deepStrictEqual(yield* circuit.state, { _tag: "Open", until: 5000 }, "the schedule begins anew")
      }).pipe(quiet)
  )

  it.scoped("a probe that is interrupted gives its place back; a run from before counts for nothing", () =>
    Effect.gen(function* () {
      const circuit = yield* Circuit.make({ trips: ["Down"], threshold: { minimum: 1 }, probeAfter: "1 second" })
      const early = yield* Effect.fork(circuit.run(Effect.zipRight(Effect.sleep("5 seconds"), fails)))
      yield* TestClock.adjust(0)
      yield* Effect.ignore(circuit.run(fails))
      yield* TestClock.adjust("1 second")
      const probe = yield* Effect.fork(circuit.run(Effect.never))
      yield* TestClock.adjust("4 seconds")
      assert.isTrue(Exit.isFailure(yield* Fiber.await(early)))
      assert.strictEqual(yield* tag(circuit), "HalfOpen", "the early run failed late")
      yield* Fiber.interrupt(probe)
      yield* circuit.run(Effect.void)
      assert.strictEqual(yield* tag(circuit), "Closed")
    }).pipe(quiet)
  )

  it.scoped("opened by hand it stays open until it is closed by hand; changes tell it all", () =>
    Effect.gen(function* () {
      const circuit = yield* Circuit.make({ trips: ["Down"], threshold: { minimum: 1 }, probeAfter: "1 second" })
      const seen = yield* Effect.fork(Stream.runCollect(Stream.take(circuit.changes, 6)))
      yield* TestClock.adjust(0)
      yield* Effect.ignore(circuit.run(fails))
      yield* circuit.open
      yield* TestClock.adjust("1 day")
      assert.deepStrictEqual(yield* circuit.state, { _tag: "Open", until: undefined })
      yield* circuit.close
      yield* Effect.ignore(circuit.run(fails))
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(
        Chunk.toReadonlyArray(yield* Fiber.join(seen)).map((state) =>
          state._tag === "Open" ? `Open ${state.until === undefined ? "by hand" : "for a while"}` : state._tag
        ),
        ["Closed", "Open for a while", "Open by hand", "Closed", "Open for a while", "HalfOpen"]
      )
    }).pipe(quiet)
  )

  it.scoped("options that cannot work are refused, and once its scope has closed it stands in nobody's way", () =>
    Effect.gen(function* () {
      for (const bad of [
        { threshold: { rate: 0 } },
        { threshold: { rate: 1.1 } },
        { threshold: { minimum: 0 } },
        { threshold: { window: "10 millis" } },
        { probes: 0 },
        { probeAfter: "13 hours" }
      ] as const) {
        assert.strictEqual((yield* Effect.flip(Circuit.make({ trips: ["Down"], ...bad })))._tag, "InvalidOptions")
      }
      const scope = yield* Scope.make()
      const circuit = yield* Scope.extend(Circuit.make({ trips: ["Down"], threshold: { minimum: 1 } }), scope)
      yield* Effect.ignore(circuit.run(fails))
      yield* Scope.close(scope, Exit.void)
      yield* circuit.run(Effect.void)
    }).pipe(quiet)
  )

  it("tags are checked where the failures are named, and a circuit for other failures does not fit", () => {
    Circuit.make<Down | OutOfStock>({ trips: ["Down", "OutOfStock"] })
    // @ts-expect-error no failure has this tag
    Circuit.make<Down | OutOfStock>({ trips: ["Dwn"] })
    const downs = Circuit.make({ trips: (failure: Down) => failure._tag === "Down" })
    Effect.flatMap(downs, (circuit) => circuit.run(fails))
    // @ts-expect-error it cannot judge this failure
    Effect.flatMap(downs, (circuit) => circuit.run(Effect.fail(new OutOfStock())))
  })
})

/** A downstream that can be switched off, and a consumer that depends on it. */
const setup = (options: {
  readonly ordered?: boolean
  readonly holdLimit?: "0 seconds"
  readonly probeAfter?: "10 seconds" | "20 minutes"
  readonly maxInFlight?: number
  readonly minimum?: number
}) =>
  Effect.gen(function* () {
    const queue = yield* MemoryQueue.make({
      ordered: options.ordered ?? false,
      leaseDuration: "30 seconds",
      latency: "8 millis"
    })
    const up = yield* Ref.make(false)
    const circuit = yield* Circuit.make({
      trips: ["Down"],
      threshold: { minimum: options.minimum ?? 1 },
      probeAfter: options.probeAfter ?? "10 seconds"
    })
    const tried: Array<string> = []
    const attempts: Array<number> = []
    const handler = (body: string, delivery: Delivery.Delivery<string>) =>
      Effect.gen(function* () {
        tried.push(body)
        attempts.push(delivery.attempt)
        yield* Effect.sleep("100 millis")
        if (!(yield* up.get)) return yield* new Down()
        if (body === "poison") return yield* new Down()
      })
    const consumer = yield* Consumer.make(queue, { maxInFlight: options.maxInFlight ?? 20 })
    const run = yield* consumer.stream.pipe(
      Pipeline.process(handler, {
        concurrency: 2,
        circuit,
        holdLimit: options.holdLimit,
        // One failure that counts, and it is in the dead letters.
        retry: RetryPolicy.deadLetter
      }),
      Stream.runDrain,
      Effect.fork
    )
    return { queue, up, circuit, tried, attempts, consumer, run }
  })

const inTime = (name: string, program: () => Effect.Effect<void, unknown>) =>
  it(name, async () => {
    await Simulation.checkInTurns({ seeds: 5, leaks: "fail" }, program())
  })

describe("process with a circuit", () => {
  for (const ordered of [false, true]) {
    inTime(
      `${ordered ? "ordered" : "standard"}: while it is open nothing starts, nothing is received, no attempt is burnt; then all is done`,
      () =>
        Effect.gen(function* () {
          const { attempts, circuit, queue, tried, up } = yield* setup({ ordered, maxInFlight: 1000 })
          const messages = bodies(200).map((body, i) => ({ body, group: `g${i % 40}` }))
          yield* queue.send(messages)
          yield* Effect.sleep("9 seconds")
          assert.strictEqual(yield* tag(circuit), "Open")
          assert.strictEqual(tried.length, 2, "two tripped it; nothing has started since")
          const { calls } = yield* queue.stats
          yield* Effect.sleep("200 seconds")
          const later = yield* queue.stats
          assert.isAtLeast(tried.length, 15, "it probed")
          assert.isAtMost(tried.length, 2 + 20 + 1, "and only so")
          assert.isAtMost(
            later.calls.receive - calls.receive,
            1 + tried.length / 2,
            "a receive for two probes, at most"
          )
          yield* Ref.set(up, true)
          yield* Effect.sleep("60 seconds")
          const end = yield* queue.stats
          assert.strictEqual(end.acked, 200)
          assert.strictEqual(end.deadLettered, 0)
          assert.strictEqual(end.redelivered, 0, "held here: no receive was spent")
          assert.deepStrictEqual(new Set(attempts), new Set([1]))
          if (ordered) {
            for (let group = 0; group < 40; group++) {
              const order = tried.map((body) => Number(body.slice(1))).filter((i) => i % 40 === group)
              assert.deepStrictEqual(
                order,
                [...order].sort((a, b) => a - b),
                "each group in order"
              )
            }
          }
        }).pipe(Effect.scoped, quiet)
    )
  }

  inTime("a longer delay than holdLimit gives back, a group in order, and its messages come again after it", () =>
    Effect.gen(function* () {
      const { attempts, queue, tried, up } = yield* setup({ ordered: true, probeAfter: "20 minutes" })
      yield* queue.send(["a0", "b0", "a1", "a2"].map((body) => ({ body, group: body.slice(0, 1) })))
      yield* Effect.sleep("5 seconds")
      assert.deepStrictEqual(tried, ["a0", "b0"])
      assert.strictEqual((yield* queue.stats).inFlight, 2, "the two heads are away for the circuit's delay")
      yield* Ref.set(up, true)
      yield* Effect.sleep("21 minutes")
      assert.strictEqual((yield* queue.stats).acked, 4)
      assert.deepStrictEqual(
        tried.filter((body) => body.startsWith("a")),
        ["a0", "a0", "a1", "a2"]
      )
      assert.isAtMost(Math.max(...attempts), 2)
    }).pipe(Effect.scoped, quiet)
  )

  inTime("a message that trips for its own sake keeps no other from being the probe, and then meets its policy", () =>
    Effect.gen(function* () {
      const { circuit, queue, tried, up } = yield* setup({ minimum: 3 })
      yield* Ref.set(up, true)
      yield* queue.send(["poison", "poison", "poison"])
      yield* Effect.sleep("25 seconds")
      assert.strictEqual(yield* tag(circuit), "Open", "nothing else to try")
      yield* queue.send(["good"])
      yield* Effect.sleep("40 seconds")
      assert.isTrue(tried.includes("good"))
      assert.strictEqual((yield* queue.stats).acked, 1)
      yield* queue.send(bodies(10))
      yield* Effect.sleep("2 minutes")
      const stats = yield* queue.stats
      assert.strictEqual(stats.acked, 11)
      assert.strictEqual(stats.deadLettered, 3)
    }).pipe(Effect.scoped, quiet)
  )

  inTime("a drain does not wait for it: what it keeps is released and the stream ends", () =>
    Effect.gen(function* () {
      const { consumer, queue, run } = yield* setup({})
      yield* queue.send(bodies(30))
      yield* Effect.sleep("5 seconds")
      const [took, exit] = yield* Effect.timed(
        Effect.zipRight(consumer.drain({ deadline: "20 seconds" }), Fiber.await(run))
      )
      assert.isBelow(Duration.toSeconds(took), 5, "nothing runs")
      assert.isTrue(Exit.isSuccess(exit))
      const stats = yield* queue.stats
      assert.strictEqual(stats.inFlight, 0)
      assert.strictEqual(stats.visible, 30)
    }).pipe(Effect.scoped, quiet)
  )

  inTime("while it is open the queue is not asked, not even where nothing is left here", () =>
    Effect.gen(function* () {
      const queue = yield* MemoryQueue.make({ latency: "8 millis" })
      const circuit = yield* Circuit.make({ trips: ["Down"] })
      yield* circuit.open
      yield* queue.send(["first"])
      const consumer = yield* Consumer.make(queue)
      yield* consumer.stream.pipe(
        Pipeline.process(() => Effect.void, { circuit }),
        Stream.runDrain,
        Effect.fork
      )
      yield* Effect.sleep("1 second")
      yield* queue.send(bodies(50))
      yield* Effect.sleep("1 hour")
      assert.strictEqual((yield* queue.stats).calls.receive, 1)
      yield* circuit.close
      yield* queue.settled(51)
    }).pipe(Effect.scoped, quiet)
  )

  for (const behind of [false, true]) {
    inTime(
      `opened by hand, ${behind ? "behind another stage, " : ""}next to nothing is received; a drain ends it all the same`,
      () =>
        Effect.gen(function* () {
          const queue = yield* MemoryQueue.make({ latency: "8 millis" })
          const circuit = yield* Circuit.make({ trips: ["Down"] })
          yield* circuit.open
          yield* queue.send(bodies(500))
          const consumer = yield* Consumer.make(queue, { maxInFlight: 400 })
          let handled = 0
          const stream = behind ? consumer.stream.pipe(Pipeline.mapEffect(Effect.succeed)) : consumer.stream
          const run = yield* stream.pipe(
            Pipeline.process(() => Effect.sync(() => handled++), { circuit, concurrency: 200 }),
            Stream.runDrain,
            Effect.fork
          )
          yield* Effect.sleep("1 minute")
          assert.strictEqual(handled, 0)
          assert.isAtMost((yield* queue.stats).calls.receive, behind ? 4 : 1, "before it knows whom it takes from")
          yield* circuit.close
          yield* Effect.sleep("100 millis")
          assert.isAbove(handled, 0)
          yield* circuit.open
          const { calls } = yield* queue.stats
          yield* Effect.sleep("1 minute")
          const later = yield* queue.stats
          assert.isAtMost(later.calls.receive - calls.receive, behind ? 4 : 1, "what was on its way")
          yield* circuit.close
          yield* queue.settled(400)
          yield* circuit.open
          const [took, exit] = yield* Effect.timed(Effect.zipRight(consumer.drain(), Fiber.await(run)))
          assert.isTrue(Exit.isSuccess(exit))
          assert.isBelow(Duration.toSeconds(took), 5)
          const end = yield* queue.stats
          assert.strictEqual(end.inFlight, 0)
          assert.strictEqual(end.acked + end.visible, 500)
        }).pipe(Effect.scoped, quiet)
    )
  }

  inTime("batches: one run each, and what failed is given back for the circuit's delay, not dead-lettered", () =>
    Effect.gen(function* () {
      const queue = yield* MemoryQueue.make()
      const up = yield* Ref.make(false)
      const circuit = yield* Circuit.make({ trips: ["Down"], threshold: { minimum: 1 }, probeAfter: "10 seconds" })
      let runs = 0
      yield* queue.send(bodies(20))
      yield* Consumer.stream(queue).pipe(
        Pipeline.processBatches(
          (batch) =>
            Effect.gen(function* () {
              runs++
              if (yield* up.get) return
              return batch.map((_, i) => (i === 0 ? Either.right(0) : Either.left(new Down())))
            }),
          { max: 10, circuit, retry: RetryPolicy.deadLetter }
        ),
        Stream.runDrain,
        Effect.fork
      )
      yield* Effect.sleep("9 seconds")
      assert.strictEqual(runs, 1)
      assert.strictEqual((yield* queue.stats).acked, 1)
      yield* Ref.set(up, true)
      yield* Effect.sleep("1 minute")
      const stats = yield* queue.stats
      assert.strictEqual(stats.acked, 20)
      assert.strictEqual(stats.deadLettered, 0)
    }).pipe(Effect.scoped, quiet)
  )

  inTime("batches: what is to run again in place does not while it is open: it is given back for its delay", () =>
    Effect.gen(function* () {
      const queue = yield* MemoryQueue.make()
      const circuit = yield* Circuit.make({ trips: ["Down"], threshold: { minimum: 1 }, probeAfter: "10 seconds" })
      const ran: Array<string> = []
      let failing = true
      yield* queue.send(["odd", "even"])
      yield* Consumer.stream(queue).pipe(
        Pipeline.processBatches(
          (batch: ReadonlyArray<string>) =>
            Effect.map(Clock.currentTimeMillis, (now) => {
              ran.push(`${Math.floor(now / 1000)}: ${batch.join(" ")}`)
              return batch.map((body) => (failing && body === "odd" ? Either.left(new OutOfStock()) : Either.right(0)))
            }),
          { max: 2, circuit, retry: RetryPolicy.inPlace(Schedule.spaced("5 seconds")) }
        ),
        Stream.runDrain,
        Effect.fork
      )
      yield* Effect.sleep("4 seconds")
      // Another stage that shares it has found it down.
      yield* Effect.ignore(circuit.run(Effect.fail(new Down())))
      failing = false
      yield* Effect.sleep("8 seconds")
      assert.deepStrictEqual(ran, ["0: odd even"])
      yield* Effect.sleep("8 seconds")
      // It comes again at 14, and its batch waits a second for more.
      assert.deepStrictEqual(ran.slice(1), ["15: odd"])
      const { acked, deadLettered } = yield* queue.stats
      assert.deepStrictEqual([acked, deadLettered], [2, 0])
    }).pipe(Effect.scoped, quiet)
  )

  it("over many seeds: through any number of outages every message is done once it is up, in its group's order", async () => {
    await Simulation.checkInTurns(
      { seeds: seeds({ short: 15, long: 60 }), leaks: "fail" },
      Effect.gen(function* () {
        const ordered = yield* Random.nextBoolean
        const queue = yield* MemoryQueue.make({ ordered, latency: "8 millis" })
        const circuit = yield* Circuit.make({
          trips: ["Down"],
          threshold: { minimum: yield* Random.nextIntBetween(1, 6), window: "20 seconds" },
          probes: yield* Random.nextIntBetween(1, 3)
        })
        let up = true
        const last = new Map<string, number>()
        const broken: Array<string> = []
        const handler = (body: string) =>
          Effect.gen(function* () {
            const [group = "", place = ""] = body.split("/")
            if (ordered && Number(place) > (last.get(group) ?? -1) + 1) broken.push(body)
            yield* Effect.sleep(yield* Random.nextIntBetween(1, 500))
            if (!up) return yield* new Down()
            last.set(group, Number(place))
          })
        yield* Effect.gen(function* () {
          const consumer = yield* Consumer.make(queue, { maxInFlight: yield* Random.nextIntBetween(1, 40) })
          yield* consumer.stream.pipe(
            Pipeline.process(handler, {
              concurrency: yield* Random.nextIntBetween(1, 8),
              circuit,
              holdLimit: (yield* Random.nextBoolean) ? "0 seconds" : "5 minutes",
              retry: RetryPolicy.redeliver(Schedule.spaced("2 seconds"))
            }),
            Stream.runDrain,
            Effect.forkScoped
          )
          yield* queue.send(
            Array.from({ length: 100 }, (_, i) => ({ body: `${i % 7}/${Math.floor(i / 7)}`, group: `${i % 7}` }))
          )
          for (let outage = 0; outage < 3; outage++) {
            yield* Effect.sleep(yield* Random.nextIntBetween(100, 2000))
            up = false
            yield* Effect.sleep(yield* Random.nextIntBetween(1000, 200_000))
            up = true
          }
          yield* queue.idle
          const stats = yield* consumer.stats
          assert.deepStrictEqual(broken, [])
          assert.strictEqual((yield* queue.stats).acked, 100)
          assert.isAtMost(stats.peakInFlight, stats.maxInFlight)
        }).pipe(Effect.scoped)
      }).pipe(Effect.scoped, quiet)
    )
  }, 60_000)
})
