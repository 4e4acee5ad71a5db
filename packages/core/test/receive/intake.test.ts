/** A receive from its demand to its answer: the parts of an intake, and how they work together, with a queue that answers as told. */
import { assert, describe, it } from "@effect/vitest"
import { type LeaseQueue, Tunable } from "@millrace/core"
import { Cause, Chunk, Clock, Duration, Effect, Exit, Fiber, Option, Schedule } from "effect"
import { Intake, type Options } from "../../src/Intake.js"
import { fork } from "../../src/internal/effect/fork.js"
import type { InFlight } from "../../src/internal/lease/inFlight.js"
import { InFlightTable } from "../../src/internal/lease/inFlightTable.js"
import type { Source } from "../../src/internal/lease/source.js"
import type { Steady } from "../../src/internal/lease/steady.js"
import { ConsumerMetrics } from "../../src/internal/observe/metrics.js"
import { Observer } from "../../src/internal/observe/observer.js"
import type { Reports } from "../../src/internal/observe/reports.js"
import * as Arrivals from "../../src/internal/receive/arrivals.js"
import { Demand } from "../../src/internal/receive/demand.js"
import { OpenPolls, type Poll } from "../../src/internal/receive/openPolls.js"
import { UnsharedPermits } from "../../src/internal/receive/permits.js"
import { Pollers } from "../../src/internal/receive/pollers.js"
import { Prefetched } from "../../src/internal/receive/prefetched.js"
import { simulated } from "../support/index.js"

const poll = (max: number, sentAt = 0): Poll => ({ max, sentAt, attempt: undefined, fiber: undefined })

describe("how many receives are open", () => {
  it("twice as many while what comes does not last, half as many for each empty answer, and one after a failure", () => {
    const pollers = new Pollers(0)
    const came = (runsLow: boolean, max = 100) => pollers.came(10, poll(10, 0), 20, max, () => runsLow)
    assert.strictEqual(pollers.count, 1)
    for (const expected of [2, 4, 8]) {
      came(true)
      assert.strictEqual(pollers.count, expected)
    }
    came(false)
    assert.strictEqual(pollers.count, 8)
    came(true, 9)
    assert.strictEqual(pollers.count, 9)
    pollers.cameEmpty()
    assert.strictEqual(pollers.count, 4)
    pollers.failed()
    assert.strictEqual(pollers.count, 1)
    pollers.cameEmpty()
    assert.strictEqual(pollers.count, 1)
  })

  it("one fewer where a short answer had to be waited for; short and full answers are told apart", () => {
    const pollers = new Pollers(0)
    const came = (messages: number, took: number) => pollers.came(messages, poll(10), took, 100, () => true)
    came(10, 10)
    came(10, 10)
    assert.deepStrictEqual([pollers.count, pollers.fullReceives, pollers.shortReceives], [4, 2, 0])
    came(3, 10)
    assert.deepStrictEqual([pollers.count, pollers.fullReceives, pollers.shortReceives], [8, 2, 1])
    came(3, 9000)
    assert.deepStrictEqual([pollers.count, pollers.fullReceives, pollers.shortReceives], [7, 2, 1])
    came(10, 9000)
    assert.deepStrictEqual([pollers.count, pollers.fullReceives], [14, 3])
  })

  it("what is here and on its way runs low where it lasts for less than two round trips, as fast as it is taken", () => {
    const pollers = new Pollers(0)
    assert.isFalse(pollers.runsLow(0, [], 0))
    // A tenth of a message a millisecond, and 100 ms a receive: 20 messages last for two of them.
    for (let now = 1000; now <= 60_000; now += 1000) {
      pollers.handedOver(100)
      pollers.came(10, poll(10, now - 100), now, 1, () => false)
    }
    assert.isAtMost(Math.abs(pollers.rate - 0.1), 0.001)
    assert.isTrue(pollers.runsLow(18, [], 60_000))
    assert.isFalse(pollers.runsLow(22, [], 60_000))
    assert.isTrue(pollers.runsLow(8, [poll(10, 59_900)], 60_000))
    assert.isFalse(pollers.runsLow(12, [poll(10, 59_900)], 60_000))
    // One that is open for longer waits for what is not there.
    assert.isTrue(pollers.runsLow(12, [poll(10, 59_000)], 60_000))
  })
})

describe("what is prefetched", () => {
  const made = () => {
    const taken: Array<number> = []
    const clock = { now: 0 }
    const prefetched = new Prefetched<number, string>({ now: () => clock.now, most: 3, onDemand: (n) => taken.push(n) })
    const pull = Effect.map(prefetched.pull, Chunk.toReadonlyArray)
    return { clock, prefetched, pull, taken }
  }

  it(
    "is handed over as much as is wanted, at most a batch, the oldest first; a reader that finds nothing is told of, and waits",
    simulated(
      Effect.gen(function* () {
        const { clock, prefetched, pull, taken } = made()
        prefetched.wants(2)
        prefetched.push([1, 2, 3])
        assert.deepStrictEqual([yield* pull, prefetched.length, prefetched.isStarving], [[1, 2], 1, false])
        prefetched.wants(10)
        prefetched.push([4, 5, 6])
        assert.deepStrictEqual([yield* pull, yield* pull, prefetched.length], [[3, 4, 5], [6], 0])
        assert.deepStrictEqual(taken.splice(0), [2, 3, 1])
        clock.now = 5
        const reader = yield* Effect.fork(pull)
        yield* Effect.sleep(1)
        assert.deepStrictEqual([prefetched.isStarving, taken.splice(0)], [true, [0]])
        clock.now = 9
        prefetched.push([7])
        assert.deepStrictEqual(
          [yield* Fiber.join(reader), prefetched.isStarving, prefetched.starved.at(20)],
          [[7], false, 4]
        )
        assert.deepStrictEqual(taken, [1])
      })
    )
  )

  it(
    "is not handed over while nothing is wanted; that something is wanted again is news",
    simulated(
      Effect.gen(function* () {
        const { prefetched, pull, taken } = made()
        assert.deepStrictEqual([prefetched.wanted, prefetched.wants(0), prefetched.wants(0)], [1, false, false])
        prefetched.push([1])
        const reader = yield* Effect.fork(pull)
        yield* Effect.sleep(1)
        assert.isNull(reader.unsafePoll())
        assert.deepStrictEqual([prefetched.wants(1), prefetched.wants(2)], [true, false])
        assert.deepStrictEqual(yield* Fiber.join(reader), [1])
        prefetched.wants(0)
        const idle = yield* Effect.fork(pull)
        yield* Effect.sleep(1)
        taken.length = 0
        prefetched.wants(1)
        yield* Effect.sleep(1)
        // With nothing here it is not woken.
        assert.deepStrictEqual([idle.unsafePoll(), taken], [null, []])
        yield* Fiber.interrupt(idle)
      })
    )
  )

  it(
    "a reader that has gone starves no more, as long as there is no other",
    simulated(
      Effect.gen(function* () {
        const { prefetched, pull } = made()
        const served = yield* Effect.fork(pull)
        yield* Effect.sleep(1)
        prefetched.push([1])
        yield* Fiber.join(served)
        const [one, other] = [yield* Effect.fork(pull), yield* Effect.fork(pull)]
        yield* Effect.sleep(1)
        yield* Fiber.interrupt(one)
        assert.isTrue(prefetched.isStarving)
        yield* Fiber.interrupt(other)
        assert.isFalse(prefetched.isStarving)
      })
    )
  )

  it(
    "once it closes stays for its owner; the end is told to all readers, and the first failure before it",
    simulated(
      Effect.gen(function* () {
        const { prefetched, pull } = made()
        prefetched.close()
        prefetched.push([1])
        const readers = [yield* Effect.fork(pull), yield* Effect.fork(pull)]
        yield* Effect.sleep(1)
        assert.deepStrictEqual(
          readers.map((reader) => reader.unsafePoll()),
          [null, null]
        )
        prefetched.end()
        for (const reader of readers) assert.deepStrictEqual(yield* Fiber.await(reader), Exit.fail(Option.none()))
        assert.strictEqual(prefetched.length, 0)
        const failing = made()
        failing.prefetched.push([1])
        failing.prefetched.fail(Cause.fail("first"))
        failing.prefetched.fail(Cause.fail("second"))
        failing.prefetched.end()
        assert.deepStrictEqual(yield* Effect.exit(failing.pull), Exit.fail(Option.some("first")))
        assert.deepStrictEqual(failing.prefetched.failure, Cause.fail("first"))
      })
    )
  )
})

describe("what arrives", () => {
  it("is in flight with its lease counted from its answer, by group; what was over by then is not, and its permit comes back", () => {
    const arrive = (ordered: boolean, messages: ReadonlyArray<Partial<LeaseQueue.Message>>) => {
      const told: Array<string> = []
      const table = new InFlightTable()
      const metrics = new ConsumerMetrics("arrivals")
      const observer = new Observer()
      const arrived = Arrivals.make({
        source: { queue: { ordered, leaseMillis: 30_000 } } as unknown as Source<InFlight>,
        // The wall clock is ahead by a thousand seconds.
        clock: { exactly: () => 50_000, onTheWall: (time: number) => time + 1_000_000 } as unknown as Steady,
        table,
        keeper: { hold: ({ message }) => told.push(`${message.id} is kept`) },
        permits: { allInFlight: 0, max: 10 },
        metrics,
        observer,
        reports: {
          overOnArrival: (id: string, age: number) => told.push(`${id} is over for ${age}`)
        } as unknown as Reports,
        onGone: () => told.push("a permit comes back")
      })
      const deliveries = arrived(messages.map((one) => ({ attempt: 1, ...one }) as LeaseQueue.Message))
      return { deliveries, metrics, observer, table, told }
    }
    const leased = (at: number) => 1_000_000 + at
    const { deliveries, metrics, observer, table, told } = arrive(true, [
      { id: "a", group: "g", sentAt: leased(49_000) },
      { id: "b", leasedAt: leased(45_000), attempt: 2, sentAt: leased(0) },
      { id: "late", leasedAt: leased(20_000) },
      { id: "c", leasedAt: leased(20_001) },
      // Said by a clock that was ahead.
      { id: "d", leasedAt: leased(60_000) }
    ])
    assert.deepStrictEqual(told, [
      "a is kept",
      "b is kept",
      "late is over for 30000",
      "a permit comes back",
      "c is kept",
      "d is kept"
    ])
    assert.deepStrictEqual(
      [...table].map(({ deadline, message, receivedAt }) => [message.id, receivedAt, deadline]),
      [
        ["a", 50_000, 80_000],
        ["b", 45_000, 75_000],
        ["c", 20_001, 50_001],
        ["d", 50_000, 80_000]
      ]
    )
    assert.strictEqual(deliveries.length, 4)
    assert.deepStrictEqual([table.lanes.size, table.groups.size], [1, 0])
    const { emptyPolls, received, redelivered } = metrics.counts
    assert.deepStrictEqual([emptyPolls, received, redelivered], [0, 5, 1])
    assert.deepStrictEqual([observer.queued.histogram.count, observer.queued.histogram.sum], [1, 1000])
    const standard = arrive(false, [{ id: "a", group: "g" }, { id: "b" }])
    assert.deepStrictEqual([standard.table.lanes.size, standard.table.groups.size, standard.table.size], [0, 1, 2])
    assert.strictEqual(arrive(false, []).metrics.counts.emptyPolls, 1)
  })
})

describe("demand", () => {
  const made = () => {
    const state = {
      ...{ free: 30, max: 30, burst: 100, tokens: 100, isOn: false, low: false, now: 0 },
      prefetched: { wanted: 1, isStarving: true, length: 0, failure: undefined as unknown }
    }
    const told: Array<string> = []
    const polls = new OpenPolls()
    const pollers = new Pollers(0)
    pollers.runsLow = () => state.low
    const demand = new Demand({
      permits: {
        get free() {
          return state.free
        },
        get max() {
          return state.max
        }
      } as never,
      allowance: {
        get burst() {
          return state.burst
        },
        available: () => state.tokens,
        await: (wanted) => told.push(`waits for ${wanted}`)
      },
      pollers,
      polls,
      prefetched: state.prefetched as never,
      backOff: {
        get isOn() {
          return state.isOn
        }
      } as never,
      batchSize: 10,
      now: () => state.now,
      poll: (max) => {
        told.push(`asks for ${max}`)
        state.free -= max
        polls.add(poll(max))
      },
      onStarved: () => told.push("starved")
    })
    const looks = () => {
      demand.look()
      return told.splice(0)
    }
    return { demand, pollers, polls, state, told, looks }
  }

  it("of a reader that waits is one receive for a batch; more where what is here will not last, as many as are worth it", () => {
    const { looks, pollers, state } = made()
    assert.deepStrictEqual(looks(), ["asks for 10"])
    pollers.count = 3
    assert.deepStrictEqual(looks(), [])
    state.low = true
    assert.deepStrictEqual(looks(), ["asks for 10", "asks for 10"])
    pollers.count = 9
    // Nobody starves while one is open: it waits for a batch's tokens.
    state.free = 9
    assert.deepStrictEqual(looks(), ["waits for 10"])
  })

  it("where a slot would starve asks for fewer, as far as there are permits and tokens; and says so where there are none", () => {
    const { looks, polls, state } = made()
    const again = () => {
      for (const one of polls) polls.delete(one)
      return looks()
    }
    state.free = 4
    assert.deepStrictEqual(again(), ["asks for 4"])
    state.free = 0
    assert.deepStrictEqual(again(), ["starved", "waits for 1"])
    state.free = 30
    state.tokens = 3
    assert.deepStrictEqual(again(), ["asks for 3"])
    state.tokens = 100
    state.max = 6
    assert.deepStrictEqual(again(), ["asks for 6"])
    state.max = 30
    state.burst = 2
    assert.deepStrictEqual(again(), ["asks for 2"])
    state.burst = 100
    state.prefetched.length = 1
    assert.deepStrictEqual(again(), [])
    state.low = true
    assert.deepStrictEqual(again(), ["asks for 10"])
  })

  it("is none while nothing is wanted, in a pause, after a failure, before its end, or on a stop", () => {
    for (const shut of [
      ({ state }: ReturnType<typeof made>) => {
        state.prefetched.wanted = 0
      },
      ({ demand }: ReturnType<typeof made>) => demand.pause(),
      ({ state }: ReturnType<typeof made>) => {
        state.isOn = true
      },
      ({ state }: ReturnType<typeof made>) => {
        state.prefetched.failure = Cause.empty
      },
      ({ polls }: ReturnType<typeof made>) => {
        polls.stopping = true
      }
    ]) {
      const all = made()
      shut(all)
      assert.deepStrictEqual(all.looks(), [])
    }
    const { demand, state, told } = made()
    demand.pause()
    state.now = 7
    assert.isTrue(demand.paused)
    demand.resume()
    assert.deepStrictEqual([demand.paused, demand.pausing.at(20), ...told], [false, 7, "asks for 10"])
  })
})

/** An intake and what it asks of its queue; `answer` answers the oldest receive that is open. */
const intake = (
  options: Partial<Omit<Options, "maxInFlight" | "rate">> & { readonly burst?: number; readonly most?: number } = {},
  ordered = false
) =>
  Effect.gen(function* () {
    const clock = yield* Effect.clock
    const now = () => clock.unsafeCurrentTimeMillis()
    const bound = yield* Tunable.make("maxInFlight", options.most ?? 100)
    const perSecond = yield* Tunable.make("perSecond", 1)
    const { burst, most, ...others } = options
    const asked: Array<{
      readonly at: number
      readonly max: number
      readonly id: string | undefined
      readonly wait: number
    }> = []
    let subscribers = 0
    const open: Array<(exit: Exit.Exit<ReadonlyArray<string>, string>) => void> = []
    const told: Array<string> = []
    const queue = {
      name: "q",
      limits: { batchSize: 10, maxWait: Duration.seconds(20), ordered },
      errorKind: (error: string) => (error === "fatal" || error === "throttled" ? error : "transient"),
      receive: ({ attemptId, max, wait }: LeaseQueue.ReceiveRequest) =>
        Effect.async<unknown, string>((resume) => {
          asked.push({ at: now(), max, id: attemptId, wait: Duration.toSeconds(wait) })
          open.push((exit) => resume(Exit.map(exit, (ids) => ids.map((id) => ({ id })))))
        })
    } as unknown as LeaseQueue.LeaseQueue<string>
    const made = new Intake<string, string>(
      {
        queue,
        runFork: yield* fork(),
        now,
        onMessages: (messages) => messages.map(({ id }) => id),
        onStarved: () => told.push("starved"),
        onPoll: () => {},
        onError: (error, kind, again) => told.push(`${error} ${kind}${again ? ", again" : ""}`),
        onFailure: (cause) => told.push(`ends: ${Cause.squash(cause)}`),
        onStranded: (messages) => told.push(`${messages} stranded`)
      },
      {
        maxInFlight: Object.assign(Object.create(bound), {
          unsafeSubscribe: (f: () => void) => {
            subscribers++
            const unsubscribe = bound.unsafeSubscribe(f)
            return () => {
              subscribers--
              unsubscribe()
            }
          }
        }),
        rate: burst === undefined ? undefined : { perSecond, burst },
        retry: Schedule.spaced("1 second"),
        ...others
      }
    )
    const settle = Effect.sleep(1)
    return {
      ...{ asked, bound, intake: made, perSecond, told, open },
      subscribers: () => subscribers,
      /** Reads on and on. */
      read: Effect.zipLeft(Effect.fork(Effect.forever(made.pull)), settle),
      pull: Effect.map(made.pull, Chunk.toReadonlyArray),
      answer: (n: number) =>
        Effect.zipRight(
          Effect.sync(() => open.shift()?.(Exit.succeed(Array.from({ length: n }, String)))),
          settle
        ),
      fail: (error: string) =>
        Effect.zipRight(
          Effect.sync(() => open.shift()?.(Exit.fail(error))),
          settle
        ),
      die: Effect.zipRight(
        Effect.sync(() => open.shift()?.(Exit.die("a defect"))),
        settle
      ),
      drain: () => told.splice(0)
    }
  })

describe("who shares its permits", () => {
  it(
    "is told of its pause, of the end of that, and of its stop, once each",
    simulated(
      Effect.gen(function* () {
        let changes = 0
        class Watched extends UnsharedPermits {
          override changed() {
            changes++
          }
        }
        const permits = new Watched(yield* Tunable.make("maxInFlight", 10))
        const { intake: made } = yield* intake({ permits })
        const steps = [() => made.pause(), () => made.resume()]
        for (const [i, step] of steps.entries()) {
          step()
          assert.strictEqual(changes, i + 1)
        }
        yield* made.stop
        yield* made.stop
        assert.strictEqual(changes, 3)
      })
    )
  )
})

describe("a receive", () => {
  it(
    "holds permits and tokens for all that it asks for; those for what does not come are free again",
    simulated(
      Effect.gen(function* () {
        const { answer, asked, intake: made, read } = yield* intake({ burst: 14, most: 18 })
        assert.isUndefined(made.receivingSince)
        const reader = yield* read
        assert.deepStrictEqual([asked.map(({ max }) => max), asked[0]?.wait, made.inFlight], [[10], 20, 0])
        const since = made.receivingSince
        assert.isDefined(since)
        yield* answer(3)
        // Eleven tokens are left, and fifteen permits.
        assert.deepStrictEqual([asked.map(({ max }) => max), made.inFlight], [[10, 10], 3])
        yield* answer(8)
        // Three tokens are left, and seven permits.
        assert.deepStrictEqual([asked.map(({ max }) => max), made.inFlight], [[10, 10, 3], 11])
        made.release()
        assert.strictEqual(made.inFlight, 10)
        assert.strictEqual(made.lastReceive, asked[2]?.at)
        yield* Fiber.interrupt(reader)
        yield* answer(3)
        assert.isUndefined(made.receivingSince)
        assert.strictEqual(made.prefetched, 3)
        yield* made.stop
      })
    )
  )

  it(
    "that came back empty at once is not followed by another at once; one that waited is",
    simulated(
      Effect.gen(function* () {
        const { answer, asked, intake: made, read } = yield* intake()
        yield* read
        yield* answer(0)
        assert.lengthOf(asked, 1)
        assert.isDefined(made.receivingSince)
        yield* Effect.sleep("300 millis")
        assert.lengthOf(asked, 2)
        const hasWaited = (millis: number) =>
          Effect.flatMap(Clock.currentTimeMillis, (now) => Effect.sleep((asked.at(-1)?.at ?? 0) + millis - now))
        yield* hasWaited(499)
        yield* answer(0)
        assert.lengthOf(asked, 2)
        yield* Effect.sleep("600 millis")
        assert.lengthOf(asked, 3)
        yield* hasWaited(500)
        yield* answer(0)
        assert.lengthOf(asked, 4)
        // The pauses have begun anew.
        yield* answer(0)
        yield* Effect.sleep("250 millis")
        assert.lengthOf(asked, 5)
        yield* Effect.fork(made.stop)
        yield* Effect.sleep(1)
        yield* answer(0)
        yield* Effect.sleep("1 minute")
        assert.lengthOf(asked, 5)
      })
    )
  )

  it(
    "that fails is sent again after a pause; one that brought something ends the pauses",
    simulated(
      Effect.gen(function* () {
        const {
          answer,
          asked,
          drain,
          fail,
          intake: made,
          read
        } = yield* intake({
          retry: Schedule.exponential("1 second")
        })
        yield* read
        yield* fail("transient")
        assert.deepStrictEqual([asked.length, ...drain()], [1, "transient transient, again"])
        yield* Effect.sleep("1001 millis")
        assert.lengthOf(asked, 2)
        yield* answer(1)
        yield* fail("throttled")
        assert.deepStrictEqual(drain(), ["throttled throttled, again"])
        yield* Effect.sleep("1001 millis")
        assert.lengthOf(asked, 4)
        assert.deepStrictEqual([made.throttled.at(1e6), made.failing.at(1e6)], [1000, 1000])
        yield* Effect.fork(made.stop)
        yield* Effect.sleep(1)
        yield* fail("transient")
        assert.deepStrictEqual(drain(), ["transient transient"])
        yield* Effect.sleep("1 hour")
        assert.lengthOf(asked, 4)
        // The stop does not leave a pause behind.
        const other = yield* intake({ retry: Schedule.spaced("1 hour"), wait: "3 seconds" })
        yield* other.read
        assert.strictEqual(other.asked[0]?.wait, 3)
        yield* other.fail("transient")
        yield* other.intake.stop
      })
    )
  )

  it(
    "ends the stream once the schedule is over, with the error",
    simulated(
      Effect.gen(function* () {
        const { drain, fail, intake: made, pull } = yield* intake({ retry: Schedule.recurs(0) })
        const reader = yield* Effect.fork(pull)
        yield* Effect.sleep(1)
        yield* fail("transient")
        assert.deepStrictEqual(yield* Fiber.await(reader), Exit.fail(Option.some("transient")))
        assert.deepStrictEqual(
          [made.failure, ...drain()],
          ["transient", "transient transient, again", "ends: transient"]
        )
        made.fail("another")
        assert.deepStrictEqual([made.failure, ...drain()], ["transient"])
        yield* made.stop
      })
    )
  )

  it(
    "that fails for good ends the stream at once before the first message, and after the grace later",
    simulated(
      Effect.gen(function* () {
        const first = yield* intake()
        yield* first.read
        yield* first.answer(0)
        yield* Effect.sleep("1 second")
        yield* first.fail("fatal")
        assert.deepStrictEqual(first.drain(), ["fatal fatal", "ends: fatal"])
        yield* first.intake.stop
        const { answer, drain, fail, intake: made, read } = yield* intake({ fatalGrace: "10 seconds" })
        yield* read
        yield* answer(1)
        yield* fail("fatal")
        yield* Effect.sleep("5 seconds")
        yield* fail("fatal")
        yield* Effect.sleep("2 seconds")
        yield* answer(1)
        yield* fail("fatal")
        yield* Effect.sleep("9 seconds")
        yield* fail("fatal")
        assert.deepStrictEqual(
          drain(),
          Array.from({ length: 4 }, () => "fatal fatal, again")
        )
        yield* Effect.sleep("1 second")
        yield* fail("fatal")
        assert.deepStrictEqual(drain(), ["fatal fatal", "ends: fatal"])
        yield* made.stop
      })
    )
  )

  it(
    "of an ordered queue whose answer was lost is sent again by its name, with what it asked for; any other has a new one",
    simulated(
      Effect.gen(function* () {
        const { answer, asked, bound, fail, intake: made, read } = yield* intake({}, true)
        yield* read
        yield* fail("transient")
        yield* bound.set(12)
        yield* Effect.sleep("1 second")
        yield* fail("throttled")
        yield* Effect.sleep("1 second")
        yield* fail("transient")
        yield* Effect.sleep("1 second")
        yield* answer(4)
        const ids = asked.map(({ id }) => id)
        assert.isDefined(ids[0])
        assert.deepStrictEqual([ids[1], ids[3]], [ids[0], ids[2]])
        assert.strictEqual(new Set(ids).size, 3)
        // For no more than there are permits for.
        assert.deepStrictEqual(
          asked.map(({ max }) => max),
          [10, 10, 10, 10, 8]
        )
        yield* made.stop
        const standard = yield* intake()
        yield* standard.read
        yield* standard.fail("transient")
        yield* Effect.sleep("1 second")
        assert.deepStrictEqual(
          standard.asked.map(({ id }) => id),
          [undefined, undefined]
        )
        yield* standard.intake.stop
      })
    )
  )

  it(
    "that dies ends the stream with its defect",
    simulated(
      Effect.gen(function* () {
        const { die, drain, intake: made, read } = yield* intake()
        const reader = yield* read
        yield* die
        assert.isTrue(Exit.isFailure(yield* Fiber.await(reader)))
        assert.deepStrictEqual(drain(), ["ends: a defect"])
        yield* made.stop
      })
    )
  )
})

describe("an intake", () => {
  it(
    "has more receives open while what they bring does not last, half as many after an empty one, and one after a failure",
    simulated(
      Effect.gen(function* () {
        const { answer, fail, intake: made, open, read } = yield* intake({ most: 10_000 })
        yield* read
        const grow = Effect.gen(function* () {
          for (let i = 0; i < 8; i++) yield* answer(10)
          assert.isAtLeast(open.length, 2)
        })
        yield* grow
        assert.isAbove(made.rate, 0)
        // As long as one is open, it is the same stretch.
        const since = made.receivingSince
        yield* answer(1)
        assert.isAtLeast(open.length, 1)
        assert.strictEqual(made.receivingSince, since)
        while (open.length > 0) yield* fail("transient")
        yield* Effect.sleep("1 second")
        assert.lengthOf(open, 1)
        yield* grow
        while (open.length > 0) yield* answer(0)
        yield* Effect.sleep("300 millis")
        assert.lengthOf(open, 1)
        yield* made.stop
      })
    )
  )

  it(
    "awaits its open receives on a stop, then aborts them; what they bring is for its owner, and nothing more is sent",
    simulated(
      Effect.gen(function* () {
        const {
          answer,
          asked,
          bound,
          drain,
          intake: made,
          pull,
          subscribers
        } = yield* intake({ pollGrace: "5 seconds" })
        const reader = yield* Effect.fork(pull)
        yield* Effect.sleep(1)
        assert.strictEqual(subscribers(), 1)
        const stop = yield* Effect.fork(made.stop)
        yield* Effect.sleep("4 seconds")
        assert.deepStrictEqual([made.receives, stop.unsafePoll()], [false, null])
        yield* answer(7)
        yield* Fiber.join(stop)
        assert.deepStrictEqual(yield* Fiber.await(reader), Exit.fail(Option.none()))
        assert.deepStrictEqual([made.inFlight, subscribers(), ...drain()], [7, 0])
        made.fail("late")
        assert.deepStrictEqual(drain(), [])
        yield* bound.set(50)
        made.poke()
        assert.lengthOf(asked, 1)
        const slow = yield* intake({ pollGrace: "5 seconds" })
        yield* slow.read
        yield* slow.intake.stop
        yield* slow.intake.stop
        assert.deepStrictEqual(slow.drain(), ["10 stranded"])
      })
    )
  )

  it(
    "looks again when its bound or its rate is changed, when it is resumed, and when something is wanted again",
    simulated(
      Effect.gen(function* () {
        const { answer, asked, bound, drain, intake: made, perSecond, read } = yield* intake({ burst: 20, most: 10 })
        yield* read
        yield* answer(10)
        assert.deepStrictEqual([asked.length, ...drain()], [1, "starved"])
        yield* bound.set(20)
        yield* Effect.sleep(1)
        assert.lengthOf(asked, 2)
        yield* answer(10)
        yield* bound.set(100)
        yield* Effect.sleep(1)
        assert.lengthOf(asked, 2)
        // Who waits for a token at the old rate waits no longer than at the new one.
        yield* perSecond.set(100)
        yield* Effect.sleep("15 millis")
        assert.lengthOf(asked, 3)
        made.pause()
        assert.deepStrictEqual([made.paused, made.receives], [true, false])
        yield* answer(1)
        yield* Effect.sleep("10 seconds")
        assert.lengthOf(asked, 3)
        made.wanted = 0
        made.resume()
        assert.deepStrictEqual([made.paused, made.receives, made.wanted, asked.length], [false, true, 0, 3])
        made.wanted = 5
        yield* Effect.sleep(1)
        assert.lengthOf(asked, 4)
        yield* made.stop
      })
    )
  )
})
