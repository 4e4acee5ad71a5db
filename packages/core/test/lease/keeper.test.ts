/** The keeper of leases by itself, to the millisecond, with a queue that answers as told. */
import { assert, describe, it } from "@effect/vitest"
import { LeaseKeeper, type LeaseQueue } from "@millrace/core"
import { Duration, Effect, Either } from "effect"
import { fork } from "../../src/internal/effect/fork.js"
import { simulated } from "../support/index.js"

interface Leased extends LeaseKeeper.Leased {
  readonly name: string
}

const done: LeaseQueue.EntryResult = Either.right(undefined)
const failed = (reason: LeaseQueue.EntryFailure["reason"]): LeaseQueue.EntryResult =>
  Either.left({ reason, message: "no" })

/** Leases of ten seconds, 100 at the longest, two to a call; every call is answered at once, unless `answers` says how. */
const keeping = (options: LeaseKeeper.Options = {}) =>
  Effect.gen(function* () {
    const clock = yield* Effect.clock
    const now = () => clock.unsafeCurrentTimeMillis()
    const told: Array<string> = []
    const calls: Array<string> = []
    const answers: Array<Effect.Effect<ReadonlyArray<LeaseQueue.EntryResult>, string>> = []
    /** In the place of a call. */
    const instead: Array<() => Effect.Effect<ReadonlyArray<LeaseQueue.EntryResult>, string>> = []
    const queue = {
      name: "q",
      leaseDuration: Duration.seconds(10),
      limits: { batchSize: 2, maxLease: Duration.seconds(100) },
      setLease: (entries: ReadonlyArray<LeaseQueue.SetLeaseEntry>) =>
        instead.shift()?.() ??
        Effect.suspend(() => {
          calls.push(
            `${now()} ${entries.map(({ duration, lease }) => `${lease.messageId}${Duration.toMillis(duration)}`).join(" ")}`
          )
          return answers.shift() ?? Effect.succeed(entries.map(() => done))
        })
    } as unknown as LeaseQueue.LeaseQueue<string>
    const keeper = new LeaseKeeper.LeaseKeeper<string, Leased>(
      {
        queue,
        now,
        runFork: yield* fork(),
        onLost: ({ name }) => told.push(`${now()} ${name} lost`),
        onLongest: ({ name }) => told.push(`${now()} ${name} longest`),
        onExtended: ({ deadline, name }) => told.push(`${name} until ${deadline}`),
        onLate: (millis) => {
          if (millis > 0) told.push(`late by ${millis}`)
        },
        onCall: () => {},
        onError: (error) => told.push(error)
      },
      options
    )
    const hold = (name: string, receivedAt = now(), receive?: number): Leased => {
      const message = { id: name, lease: { messageId: name, handle: name }, receive } as unknown as LeaseQueue.Message
      const leased = { name, message, receivedAt, deadline: receivedAt + 10_000, kept: new LeaseKeeper.Kept() }
      keeper.hold(leased)
      return leased
    }
    const end = Effect.sync(() => {
      keeper.quiesce()
    })
    return { answers, calls, hold, instead, keeper, told, now, end }
  })

describe("the keeper", () => {
  it(
    "extends a lease when half of it is left, give or take a twentieth, until it is released",
    simulated(
      Effect.gen(function* () {
        const { calls, end, hold, keeper, told } = yield* keeping()
        const a = hold("a")
        assert.strictEqual(keeper.size, 1)
        yield* Effect.sleep(4999)
        assert.deepStrictEqual(calls, [])
        yield* Effect.sleep(1)
        yield* Effect.sleep(1)
        assert.deepStrictEqual([...calls, ...told], ["5000 a10000", "a until 15000"])
        assert.strictEqual(a.deadline, 15_000)
        yield* Effect.sleep(5600)
        const [, second = ""] = calls
        const at = Number.parseInt(second, 10)
        assert.isAtLeast(at, 9500)
        assert.isAtMost(at, 10_500)
        keeper.release(a)
        keeper.release(a)
        assert.strictEqual(keeper.size, 0)
        yield* Effect.sleep("1 minute")
        assert.lengthOf(calls, 2)
        yield* end
      })
    )
  )

  it(
    "fills its calls with what is due within a quarter of a lease, and sends none for that alone",
    simulated(
      Effect.gen(function* () {
        const { calls, end, hold, keeper } = yield* keeping()
        const all = [hold("a")]
        yield* Effect.sleep(2500)
        all.push(hold("b"))
        yield* Effect.sleep(2501)
        assert.deepStrictEqual(calls.splice(0), ["5000 a10000 b10000"])
        for (const one of all) keeper.release(one)
        const later = [hold("c")]
        yield* Effect.sleep(2501)
        later.push(hold("d"))
        yield* Effect.sleep(2501)
        assert.deepStrictEqual(calls.splice(0), ["10001 c10000"])
        for (const one of later) keeper.release(one)
        // Two are due, and full: the third has time.
        const [first, second] = [hold("e"), hold("f")]
        yield* Effect.sleep(1000)
        const third = hold("g")
        yield* Effect.sleep(4001)
        assert.deepStrictEqual(
          calls.splice(0).map((call) => call.replace(/^\d+ /, "")),
          ["e10000 f10000"]
        )
        for (const one of [first, second, third]) keeper.release(one)
        yield* end
      })
    )
  )

  it(
    "puts those of one receive into the same calls",
    simulated(
      Effect.gen(function* () {
        const { calls, end, hold, keeper } = yield* keeping()
        const all = [hold("a", 0, 1), hold("b", 0, 2), hold("c", 0, 1), hold("d", 0, 2)]
        yield* Effect.sleep(5001)
        assert.deepStrictEqual(calls.map((call) => call.replace(/^\d+ /, "").replaceAll("10000", "")).toSorted(), [
          "a c",
          "b d"
        ])
        for (const one of all) keeper.release(one)
        yield* end
      })
    )
  )

  it(
    "tries a failed extension again, sooner the less is left, and loses the lease at its deadline",
    simulated(
      Effect.gen(function* () {
        const { answers, calls, end, hold, keeper, told } = yield* keeping()
        answers.push(Effect.fail("no"), Effect.succeed([failed("Transient")]), Effect.succeed([]))
        for (let i = 0; i < 60; i++) answers.push(Effect.fail("never"))
        hold("a")
        yield* Effect.sleep(9999)
        const times = calls.map((call) => Number.parseInt(call, 10))
        // A quarter of what is left each time, a tenth of a second at least.
        assert.deepStrictEqual(times.slice(0, 5), [5000, 6250, 7187, 7890, 8417])
        const pauses = times.slice(1).map((at, i) => at - (times[i] ?? 0))
        assert.strictEqual(Math.min(...pauses), 100)
        assert.deepStrictEqual([told[0], keeper.size], ["no", 1])
        yield* Effect.sleep(2)
        assert.deepStrictEqual([told.at(-1), keeper.size], ["10000 a lost", 0])
        yield* end
      })
    )
  )

  it(
    "counts an extension from when it was sent, and takes a second answer for no other",
    simulated(
      Effect.gen(function* () {
        const { answers, calls, end, hold, keeper, told } = yield* keeping()
        answers.push(Effect.delay(Effect.succeed([done]), 3000))
        const a = hold("a")
        yield* Effect.sleep(7999)
        assert.deepStrictEqual([a.deadline, a.kept.extending, calls.length], [10_000, 1, 1])
        yield* Effect.sleep(2)
        assert.deepStrictEqual([a.deadline, a.kept.extending, ...told], [15_000, 0, "a until 15000"])
        keeper.release(a)
        yield* end
      })
    )
  )

  it(
    "loses at once what the queue has lost, and what is refused for good at its deadline, and asks for neither again",
    simulated(
      Effect.gen(function* () {
        const { answers, calls, end, hold, told } = yield* keeping()
        answers.push(Effect.succeed([failed("LeaseLost"), failed("Rejected")]))
        hold("a")
        const b = hold("b")
        yield* Effect.sleep(5001)
        assert.deepStrictEqual([...told], ["5000 a lost"])
        assert.isTrue(b.kept.final)
        yield* Effect.sleep(5000)
        assert.deepStrictEqual([...told, calls.length], ["5000 a lost", "10000 b lost", 1])
        yield* end
      })
    )
  )

  it(
    "sees without a heartbeat only that a lease is over",
    simulated(
      Effect.gen(function* () {
        const { calls, end, hold, told } = yield* keeping({ heartbeat: false })
        hold("a")
        yield* Effect.sleep(500)
        hold("b")
        yield* Effect.sleep(9499)
        assert.deepStrictEqual(told, [])
        yield* Effect.sleep(2)
        assert.deepStrictEqual(told, ["10000 a lost"])
        yield* Effect.sleep(500)
        assert.deepStrictEqual([...told, calls.length], ["10000 a lost", "10500 b lost", 0])
        yield* end
      })
    )
  )

  it(
    "never asks for more than is left of the longest lease, less two seconds; then says so once, and lets it run out",
    simulated(
      Effect.gen(function* () {
        const { calls, end, hold, keeper, now, told } = yield* keeping()
        yield* Effect.sleep(90_000)
        const since = now()
        // Received 83,000, 83,001 and 30,000 milliseconds ago: what could be won beyond their leases is a second, less, more.
        const all = [since - 87_000, since - 87_001, since - 34_000].map((receivedAt, i) => {
          const one = hold("abc"[i] ?? "", since)
          return Object.assign(one, { receivedAt, deadline: since + 10_000 })
        })
        yield* Effect.sleep(5001)
        assert.lengthOf(all, 3)
        assert.sameMembers(
          calls.splice(0).flatMap((call) => call.split(" ")),
          ["95000", "a6000", "c10000"]
        )
        assert.sameMembers(told.splice(0), ["95000 b longest", "a until 101000", "c until 105000"])
        yield* Effect.sleep(6500)
        // Nothing was to be won beyond 101,000 for the first: it is not asked for again and again.
        assert.lengthOf(calls, 1)
        const others = told.filter((text) => !text.startsWith("c"))
        assert.deepStrictEqual(
          others.map((text) => text.replace(/^\d+ /, "")),
          ["a longest", "b lost", "a lost"]
        )
        assert.deepStrictEqual(others.slice(1), ["100000 b lost", "101000 a lost"])
        for (const one of all) keeper.release(one)
        yield* end
      })
    )
  )

  it(
    "stops extending what is to go back, once nothing of it is in the air; what it lent counts too",
    simulated(
      Effect.gen(function* () {
        const { answers, calls, end, hold, keeper, told } = yield* keeping()
        const [idle, busy, lent] = [hold("a"), hold("b"), hold("c")]
        const landed: Array<string> = []
        const stop = (leased: Leased) => keeper.stop(leased, () => landed.push(leased.name))
        stop(idle)
        assert.deepStrictEqual(landed, ["a"])
        answers.push(Effect.delay(Effect.succeed([done]), 2000))
        const back = keeper.borrow(lent)
        yield* Effect.sleep(5001)
        assert.deepStrictEqual(calls, ["5000 b10000"])
        stop(busy)
        stop(lent)
        assert.deepStrictEqual(landed, ["a"])
        yield* Effect.sleep(2000)
        assert.deepStrictEqual(landed, ["a", "b"])
        back()
        assert.deepStrictEqual(landed, ["a", "b", "c"])
        keeper.borrow(lent)()
        assert.deepStrictEqual(landed, ["a", "b", "c"])
        yield* Effect.sleep("1 minute")
        // None is extended again: each is lost at its own deadline.
        assert.deepStrictEqual(told.filter((text) => text.endsWith("lost")).toSorted(), [
          "10000 a lost",
          "10000 c lost",
          "15000 b lost"
        ])
        assert.lengthOf(calls, 1)
        yield* end
      })
    )
  )

  it(
    "goes on from where somebody else has extended it to, and ignores what comes back after its end",
    simulated(
      Effect.gen(function* () {
        const { calls, end, hold, keeper } = yield* keeping()
        const a = hold("a")
        const back = keeper.borrow(a)
        yield* Effect.sleep(5500)
        assert.deepStrictEqual(calls, [])
        a.deadline = 40_000
        back()
        yield* Effect.sleep(29_000)
        assert.deepStrictEqual(calls, [])
        yield* Effect.sleep(502)
        assert.deepStrictEqual(calls, ["35000 a10000"])
        const late = keeper.borrow(a)
        keeper.release(a)
        late()
        assert.strictEqual(keeper.size, 0)
        yield* Effect.sleep("1 minute")
        assert.lengthOf(calls, 1)
        yield* end
      })
    )
  )

  it(
    "extends at once what is due where somebody else's extension did not succeed",
    simulated(
      Effect.gen(function* () {
        const { calls, end, hold, keeper } = yield* keeping()
        const a = hold("a")
        const back = keeper.borrow(a)
        yield* Effect.sleep(6000)
        assert.deepStrictEqual(calls, [])
        back()
        yield* Effect.sleep(1)
        assert.deepStrictEqual(calls, ["6000 a10000"])
        keeper.release(a)
        yield* end
      })
    )
  )

  it(
    "sends nothing for what has ended while its call waited for its turn, and no more than sixteen calls at once",
    simulated(
      Effect.gen(function* () {
        const { answers, calls, end, hold, keeper } = yield* keeping()
        for (let i = 0; i < 16; i++) answers.push(Effect.delay(Effect.succeed([done, done]), 1000))
        const all = Array.from({ length: 36 }, (_, i) => hold(`m${i}.`))
        yield* Effect.sleep(5001)
        assert.lengthOf(calls, 16)
        const [stopped, last, ...gone] = all.filter(({ name }) => !calls.some((call) => call.includes(name)))
        if (stopped === undefined || last === undefined) return assert.fail()
        let landed = 0
        for (const one of gone) keeper.release(one)
        keeper.stop(stopped, () => landed++)
        yield* Effect.sleep(1001)
        assert.deepStrictEqual([gone.length, landed, ...calls.slice(16)], [2, 1, `6000 ${last.name}10000`])
        for (const one of all) keeper.release(one)
        yield* end
      })
    )
  )

  it(
    "ends with nothing held, and calls that hang with it; not while it holds something",
    simulated(
      Effect.gen(function* () {
        const { answers, calls, end, hold, keeper } = yield* keeping()
        let interrupted = false
        answers.push(
          Effect.onInterrupt(Effect.never, () =>
            Effect.sync(() => {
              interrupted = true
            })
          )
        )
        const [a, b] = [hold("a"), hold("b", 0)]
        yield* Effect.sleep(5001)
        keeper.release(a)
        yield* end
        yield* Effect.sleep(1)
        assert.isFalse(interrupted)
        keeper.release(b)
        yield* end
        yield* Effect.sleep(1)
        assert.isTrue(interrupted)
        assert.lengthOf(calls, 1)
      })
    )
  )

  // What waits for its extension to land, as a retry does, goes on too.
  const wrong: Readonly<Record<string, () => Effect.Effect<ReadonlyArray<LeaseQueue.EntryResult>, string>>> = {
    died: () => Effect.die("a defect"),
    threw: () => {
      throw new Error("a defect")
    },
    "answered with no list": () => Effect.succeed(null as unknown as ReadonlyArray<LeaseQueue.EntryResult>),
    "answered with what is no result": () => Effect.succeed([{}] as unknown as ReadonlyArray<LeaseQueue.EntryResult>)
  }
  for (const [what, answer] of Object.entries(wrong)) {
    it(
      `tries a call that ${what} again`,
      simulated(
        Effect.gen(function* () {
          const { calls, end, hold, instead, keeper, told } = yield* keeping()
          instead.push(answer)
          const a = hold("a")
          yield* Effect.sleep(6252)
          assert.deepStrictEqual([calls.length, ...told], [1, "a until 16250"])
          // The next one is due when half of that is left.
          yield* Effect.sleep(4400)
          assert.lengthOf(calls, 1)
          yield* Effect.sleep(1200)
          assert.lengthOf(calls, 2)
          keeper.stop(a, () => told.push("stopped"))
          assert.strictEqual(told.at(-1), "stopped")
          keeper.release(a)
          yield* end
        })
      )
    )
  }
})
