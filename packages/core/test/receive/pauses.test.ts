/** What keeps a receive waiting: failures, a rate, and a stop. Each part by itself. */
import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Fiber, Schedule } from "effect"
import { fork } from "../../src/internal/effect/fork.js"
import { Allowance } from "../../src/internal/receive/allowance.js"
import { BackOff } from "../../src/internal/receive/backOff.js"
import { FatalGrace } from "../../src/internal/receive/fatalGrace.js"
import { LostAttempts } from "../../src/internal/receive/lostAttempts.js"
import { OpenPolls, type Poll } from "../../src/internal/receive/openPolls.js"
import { TokenBucket, type Tokens, unlimited } from "../../src/internal/receive/tokens.js"
import { simulated } from "../support/index.js"

const clockAndFork = Effect.gen(function* () {
  const clock = yield* Effect.clock
  return { now: () => clock.unsafeCurrentTimeMillis(), fork: yield* fork() }
})

describe("fatal errors", () => {
  it("are borne from the first one on, until something has succeeded", () => {
    const grace = new FatalGrace(1000)
    assert.deepStrictEqual(
      [5000, 5999, 6000].map((now) => grace.failed(now)),
      [false, false, true]
    )
    grace.succeeded()
    assert.isFalse(grace.failed(7000))
    assert.isTrue(grace.failed(8000))
    assert.isTrue(new FatalGrace(0).failed(0))
  })
})

describe("receives whose answer was lost", () => {
  it("are repeated once, for no more than may be asked for, the oldest first, and for less than five minutes", () => {
    const lost = new LostAttempts()
    const attempt = (id: string, max: number, since = 0) => ({ id, max, since })
    lost.add(attempt("a", 10))
    lost.add(attempt("b", 4))
    lost.add(attempt("c", 4))
    assert.isUndefined(lost.take(3, 0))
    assert.strictEqual(lost.take(4, 0)?.id, "b")
    assert.strictEqual(lost.take(10, 299_999)?.id, "a")
    assert.isUndefined(lost.take(10, 300_000))
    assert.isUndefined(lost.take(10, 0))
  })
})

describe("pauses after failures", () => {
  it(
    "grow until one succeeds; each kind by its own; and one is enough at a time",
    simulated(
      Effect.gen(function* () {
        const { fork, now } = yield* clockAndFork
        const backOff = new BackOff(fork, now, Schedule.exponential("1 second"))
        const over: Array<boolean | number> = []
        const told = (isOver: boolean) => over.push(now(), isOver)
        backOff.afterFailure("no", true, told)
        assert.isTrue(backOff.isOn)
        backOff.afterFailure("no", false, told)
        backOff.afterEmpty(() => over.push(-1))
        yield* Effect.sleep("1001 millis")
        assert.isFalse(backOff.isOn)
        backOff.afterFailure("no", false, told)
        yield* Effect.sleep("2001 millis")
        assert.deepStrictEqual(over, [1000, false, 3001, false])
        assert.deepStrictEqual([backOff.throttled.at(now()), backOff.failing.at(now())], [1000, 2000])
        backOff.afterEmpty(() => over.push(now()))
        yield* Effect.sleep("250 millis")
        const [, , , , at = 0] = over
        // The pauses after empty answers begin with a fifth of a second, whatever has failed.
        assert.isAtLeast(Number(at), 3002 + 160)
        assert.isAtMost(Number(at), 3002 + 240)
        backOff.reset()
        over.length = 0
        const since = now()
        backOff.afterFailure("no", false, told)
        yield* Effect.sleep("1001 millis")
        assert.deepStrictEqual(over, [since + 1000, false])
      })
    )
  )

  it(
    "end with their schedule, which is told, and with the stop",
    simulated(
      Effect.gen(function* () {
        const { fork, now } = yield* clockAndFork
        const backOff = new BackOff(fork, now, Schedule.recurs(1))
        const over: Array<boolean> = []
        const told = (isOver: boolean) => over.push(isOver)
        backOff.afterFailure("no", false, told)
        yield* Effect.sleep("1 millis")
        backOff.afterFailure("no", false, told)
        yield* Effect.sleep("1 millis")
        assert.deepStrictEqual(over, [false, true])
        backOff.end()
        const long = new BackOff(fork, now, Schedule.spaced("1 hour"))
        long.afterFailure("no", false, told)
        yield* Effect.sleep("1 millis")
        long.end()
        yield* Effect.sleep("1 millis")
        assert.deepStrictEqual([long.isOn, ...over], [false, false, true, true])
      })
    )
  )
})

describe("a rate", () => {
  const bucket = (burst: number | undefined, perSecond: { rate: number }) => {
    const clock = { now: 0 }
    return {
      clock,
      tokens: new TokenBucket(
        burst,
        () => perSecond.rate,
        () => clock.now
      )
    }
  }

  it("fills up to its burst, and what did not come is given back", () => {
    const { clock, tokens } = bucket(5, { rate: 10 })
    assert.deepStrictEqual([tokens.burst, tokens.available()], [5, 5])
    tokens.take(5)
    assert.strictEqual(tokens.available(), 0)
    clock.now = 199
    assert.strictEqual(tokens.available(), 1)
    clock.now = 200
    assert.strictEqual(tokens.available(), 2)
    tokens.giveBack(1)
    assert.strictEqual(tokens.available(), 3)
    tokens.take(3)
    clock.now = 10_000
    assert.strictEqual(tokens.available(), 5)
  })

  it("without a burst saves up a second's, one at least; and may be without a bound for a while", () => {
    const rate = { rate: 2.5 }
    const { clock, tokens } = bucket(undefined, rate)
    assert.strictEqual(tokens.burst, 3)
    tokens.take(3)
    rate.rate = 0.1
    assert.strictEqual(tokens.burst, 1)
    rate.rate = unlimited
    assert.deepStrictEqual([tokens.burst, tokens.available()], [unlimited, unlimited])
    tokens.take(1000)
    tokens.giveBack(10)
    rate.rate = 1
    clock.now = 1000
    assert.strictEqual(tokens.available(), 1)
  })

  it(
    "says when there are so many again",
    simulated(
      Effect.gen(function* () {
        const { now } = yield* clockAndFork
        const tokens = new TokenBucket(10, () => 10, now)
        tokens.take(10)
        yield* Effect.sleep("250 millis")
        yield* tokens.until(5)
        assert.deepStrictEqual([now(), tokens.available()], [500, 5])
        yield* tokens.until(3)
        assert.strictEqual(now(), 501, "a turn at least")
      })
    )
  )

  it(
    "a bucket that stood full gives its burst and no more, whoever takes from it without a look",
    simulated(
      Effect.gen(function* () {
        const { now } = yield* clockAndFork
        const tokens = new TokenBucket(10, () => 10, now)
        yield* Effect.sleep("1 minute")
        tokens.take(10)
        assert.strictEqual(tokens.available(), 0)
      })
    )
  )

  it(
    "of several what all of them have; one wait at a time, for the most that is wanted, until that is forgotten",
    simulated(
      Effect.gen(function* () {
        const { fork, now } = yield* clockAndFork
        const failures: Array<unknown> = []
        const two = [new TokenBucket(10, () => 10, now), new TokenBucket(4, () => 1, now)]
        const allowance = new Allowance<never>(two, fork, (cause) => failures.push(cause))
        assert.deepStrictEqual([allowance.burst, allowance.available()], [4, 4])
        const at: Array<number> = []
        allowance.await(4, () => at.push(-1))
        allowance.take(4)
        assert.deepStrictEqual(
          two.map((tokens) => tokens.available()),
          [6, 0]
        )
        allowance.giveBack(1)
        assert.strictEqual(allowance.available(), 1)
        allowance.await(3, () => at.push(now()))
        allowance.await(4, () => at.push(-2))
        allowance.await(3, () => at.push(-3))
        yield* Effect.sleep("1500 millis")
        assert.deepStrictEqual(at, [])
        // Fewer are wanted: sooner.
        allowance.await(2.5, () => at.push(now()))
        yield* Effect.sleep("10 seconds")
        assert.deepStrictEqual(at, [1501])
        assert.strictEqual(allowance.available(), 4)
        allowance.take(4)
        allowance.await(2, () => at.push(-4))
        allowance.forget()
        yield* Effect.sleep("10 seconds")
        assert.deepStrictEqual([at, failures], [[1501], []])
      })
    )
  )

  it(
    "who finds enough does not wait; a second one that wants no less has the first one's wait; a shorter one ends it",
    simulated(
      Effect.gen(function* () {
        const { fork, now } = yield* clockAndFork
        const allowance = new Allowance<never>([new TokenBucket(100, () => 1, now)], fork, () => {})
        const at: Array<string> = []
        const wait = (name: string, wanted: number) => allowance.await(wanted, () => at.push(`${name} ${now()}`))
        wait("enough", 100)
        yield* Effect.sleep("1 second")
        assert.strictEqual(allowance.available(), 100)
        allowance.take(100)
        wait("a", 3)
        wait("b", 3)
        wait("c", 4)
        yield* Effect.sleep("10 seconds")
        assert.deepStrictEqual(at, ["a 4000"])
        assert.strictEqual(allowance.available(), 10)
        allowance.take(10)
        wait("d", 90)
        wait("e", 2)
        yield* Effect.sleep("3 seconds")
        assert.deepStrictEqual(at, ["a 4000", "e 13000"])
        // Whose fiber is left would fail the test.
        wait("f", 90)
        allowance.forget()
      })
    )
  )

  it(
    "a wait that fails is told, and where not all are waited for, one is enough",
    simulated(
      Effect.gen(function* () {
        const { fork } = yield* clockAndFork
        const failures: Array<unknown> = []
        let waits = 0
        const broken: Tokens<string> = {
          burst: 10,
          available: () => 0,
          take: () => {},
          giveBack: () => {},
          waitsForAll: false,
          until: () =>
            Effect.zipRight(
              Effect.sync(() => waits++),
              Effect.delay(Effect.fail("no"), "1 second")
            )
        }
        const allowance = new Allowance<string>([broken], fork, (cause) => failures.push(cause))
        let came = 0
        allowance.await(10, () => came++)
        allowance.await(1, () => came++)
        yield* Effect.sleep("2 seconds")
        assert.deepStrictEqual([waits, came, failures.length], [1, 0, 1])
        allowance.await(1, () => came++)
        yield* Effect.sleep("2 seconds")
        assert.deepStrictEqual([waits, failures.length], [2, 2])
      })
    )
  )
})

describe("open receives at a stop", () => {
  const poll = (fiber: Fiber.RuntimeFiber<unknown, unknown> | undefined = undefined): Poll => ({
    max: 10,
    sentAt: 0,
    attempt: undefined,
    fiber
  })

  it(
    "are told of it, once each, those that come later too; who has gone is not",
    simulated(
      Effect.gen(function* () {
        const polls = new OpenPolls()
        const told: Array<string> = []
        const waits = (name: string) =>
          Effect.fork(
            Effect.zipRight(
              polls.stop,
              Effect.sync(() => told.push(name))
            )
          )
        yield* waits("a")
        const gone = yield* waits("gone")
        yield* Effect.sleep(1)
        yield* Fiber.interrupt(gone)
        assert.isFalse(polls.stopping)
        polls.beginStopping()
        polls.beginStopping()
        yield* waits("b")
        yield* Effect.sleep(1)
        assert.deepStrictEqual([polls.stopping, ...told], [true, "a", "b"])
      })
    )
  )

  it(
    "are awaited for the grace, then aborted; what they bring is awaited in any case",
    simulated(
      Effect.gen(function* () {
        const { fork, now } = yield* clockAndFork
        const polls = new OpenPolls()
        yield* polls.end(Duration.seconds(1))
        assert.strictEqual(now(), 0)
        const receives = (millis: number) => {
          const one = poll(fork(Effect.sleep(millis)))
          polls.add(one)
          one.fiber?.addObserver(() => {
            polls.delete(one)
            polls.settled()
          })
        }
        receives(300)
        receives(400)
        assert.strictEqual([...polls].length, 2)
        polls.beginStopping()
        yield* polls.end(Duration.seconds(1))
        assert.deepStrictEqual([now(), polls.size], [400, 0])
        receives(60_000)
        receives(100)
        yield* polls.end(Duration.seconds(1))
        assert.deepStrictEqual([now(), polls.size], [1400, 0])
      })
    )
  )

  it(
    "that end before the stop do not end it",
    simulated(
      Effect.gen(function* () {
        const { now } = yield* clockAndFork
        const polls = new OpenPolls()
        const one = poll()
        polls.add(one)
        const end = yield* Effect.fork(polls.end(Duration.seconds(1)))
        yield* Effect.sleep("500 millis")
        polls.settled()
        polls.beginStopping()
        polls.settled()
        yield* Effect.sleep("100 millis")
        polls.delete(one)
        polls.settled()
        yield* Fiber.join(end)
        assert.strictEqual(now(), 600)
      })
    )
  )
})
