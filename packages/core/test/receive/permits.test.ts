/** The permits by themselves: of one queue, and of several that share a bound. */
import { assert, describe, it } from "@effect/vitest"
import { Tunable } from "@millrace/core"
import { Effect } from "effect"
import { fork } from "../../src/internal/effect/fork.js"
import { UnsharedPermits } from "../../src/internal/receive/permits.js"
import { type Member, SharedPermits } from "../../src/internal/receive/sharedPermits.js"
import { strict, weighted } from "../../src/internal/receive/turns.js"
import { simulated } from "../support/index.js"

describe("permits of one queue", () => {
  it.effect("what is in flight and what is asked for come to the bound; what did not come, or has ended, is free", () =>
    Effect.gen(function* () {
      const bound = yield* Tunable.make("maxInFlight", 20)
      const permits = new UnsharedPermits(bound)
      permits.reserve(10)
      permits.reserve(7)
      assert.deepStrictEqual([permits.free, permits.inFlight, permits.isFull], [3, 0, false])
      permits.answered(10, 4)
      assert.deepStrictEqual([permits.free, permits.inFlight, permits.allInFlight], [9, 4, 4])
      permits.reserve(9)
      assert.isTrue(permits.isFull)
      permits.release()
      assert.deepStrictEqual([permits.free, permits.inFlight, permits.isFull], [1, 3, false])
      yield* bound.set(15)
      assert.deepStrictEqual([permits.free, permits.max, permits.share], [-4, 15, 15])
      assert.isTrue(permits.isFull)
    })
  )
})

interface State {
  prefetched: number
  receives: boolean
  idleSince: number | undefined
  pokes: number
  wanted: number
}

/** Three queues with 30 permits together, ten a receive. */
const three = (isStrict: boolean, floor = 0) =>
  Effect.gen(function* () {
    const clock = yield* Effect.clock
    const bound = yield* Tunable.make("maxInFlight", 30)
    const turns = isStrict ? strict(3, floor) : weighted([1, 1, 1])
    const shared = new SharedPermits({
      maxInFlight: bound,
      members: 3,
      batchSize: 10,
      strict: isStrict,
      turns,
      now: () => clock.unsafeCurrentTimeMillis(),
      fork: yield* fork()
    })
    const states = shared.all.map((own): State => {
      const state: State = { prefetched: 0, receives: true, idleSince: 0, pokes: 0, wanted: 0 }
      own.member = {
        poke: () => state.pokes++,
        wants: (deliveries) => {
          state.wanted = deliveries
        },
        prefetched: () => state.prefetched,
        receives: () => state.receives,
        idleSince: () => state.idleSince
      } satisfies Member
      return state
    })
    const [first, second, third] = shared.all
    const [one, two, last] = states
    if (!first || !second || !third || !one || !two || !last) throw new Error("three were asked for")
    return { bound, first, second, third, one, two, last, shared, states, turns }
  })

describe("permits that are shared", () => {
  it(
    "what all have in flight and have asked for comes to one bound",
    simulated(
      Effect.gen(function* () {
        const { first, second, shared, third } = yield* three(false)
        first.reserve(10)
        second.reserve(10)
        assert.deepStrictEqual([third.free, third.isFull, third.max, third.share], [10, false, 30, 10])
        first.answered(10, 6)
        second.answered(10, 10)
        second.reserve(10)
        assert.deepStrictEqual([first.allInFlight, second.inFlight, shared.reserved], [16, 10, 10])
        // Four are free, and the room of a receive is kept for the first one.
        assert.deepStrictEqual([first.free, third.free, third.isFull], [4, -6, false])
        first.reserve(4)
        assert.isTrue(third.isFull)
        second.release()
        assert.strictEqual(second.inFlight, 9)
        assert.isFalse(third.isFull)
        shared.end()
      })
    )
  )

  it(
    "a later one never takes the room of a receive that one before it may need, unless that one is paused or has asked",
    simulated(
      Effect.gen(function* () {
        const { bound, first, one, second, third } = yield* three(false)
        yield* bound.set(24)
        // A third of 24 for each receive.
        assert.deepStrictEqual([first.free, second.free, third.free], [8, 8, 8])
        second.reserve(8)
        second.answered(8, 8)
        assert.deepStrictEqual([first.free, second.free, third.free], [8, 8, 0])
        one.receives = false
        assert.deepStrictEqual([second.free, third.free], [8, 8])
        one.receives = true
        first.reserve(8)
        assert.deepStrictEqual([second.free, third.free], [8, 0])
        assert.isTrue(second.receives)
        second.member = undefined
        assert.isTrue(second.receives)
        yield* bound.set(1)
        assert.isAtMost(first.free, 0)
      })
    )
  )

  it(
    "strictly, a later one waits until those before it had less to give than was asked, or keep a receive waiting",
    simulated(
      Effect.gen(function* () {
        const { first, last, one, second, shared, third, two } = yield* three(true)
        assert.deepStrictEqual([first.precedence, second.precedence, third.precedence], [0, 1, 2])
        assert.deepStrictEqual([first.free, second.free], [10, 0])
        first.reserve(10)
        assert.isFalse(first.leavesRoom)
        yield* Effect.sleep("99 millis")
        assert.strictEqual(second.free, 0)
        yield* Effect.sleep("1 millis")
        // It has waited for a tenth of a second: its queue has no more.
        assert.isTrue(first.leavesRoom)
        assert.deepStrictEqual([second.free, third.free], [10, 0])
        first.answered(10, 10)
        assert.deepStrictEqual([first.leavesRoom, second.free], [false, 0])
        first.reserve(5)
        first.answered(5, 4)
        assert.deepStrictEqual([first.leavesRoom, second.free], [true, 6])
        one.prefetched = 1
        assert.deepStrictEqual([first.leavesRoom, second.free], [false, 0])
        one.receives = false
        assert.isTrue(first.leavesRoom)
        two.receives = false
        assert.strictEqual(third.free, 10)
        last.receives = false
        shared.end()
      })
    )
  )

  it(
    "not strictly, nobody waits for that, and none comes before another",
    simulated(
      Effect.gen(function* () {
        const { first, second, third } = yield* three(false)
        assert.deepStrictEqual([first.precedence, second.precedence, third.precedence], [0, 0, 0])
        assert.strictEqual(second.free, 10)
      })
    )
  )

  it(
    "one that is owed a turn may ask for one message meanwhile, and is told when that may have changed",
    simulated(
      Effect.gen(function* () {
        const { second, shared, states, turns } = yield* three(true, 0.5)
        turns.took(0, 1)
        assert.strictEqual(second.free, 0)
        turns.took(0, 1)
        assert.strictEqual(second.free, 1)
        assert.deepStrictEqual(
          states.map(({ pokes }) => pokes),
          [0, 0, 0]
        )
        yield* Effect.sleep("101 millis")
        assert.deepStrictEqual(
          states.map(({ pokes }) => pokes),
          [1, 1, 1]
        )
        yield* Effect.sleep("1 second")
        assert.deepStrictEqual(
          states.map(({ pokes }) => pokes),
          [1, 1, 1]
        )
        assert.strictEqual(second.free, 1)
        shared.end()
        yield* Effect.sleep("1 second")
        assert.strictEqual(states[0]?.pokes, 1)
      })
    )
  )

  it(
    "one that is owed a turn never goes beyond the bound for it",
    simulated(
      Effect.gen(function* () {
        const { first, second, turns } = yield* three(true, 0.5)
        turns.took(0, 2)
        first.reserve(30)
        assert.isTrue(turns.isOwed(1))
        assert.strictEqual(second.free, 0)
        first.reserve(1)
        assert.isAtMost(second.free, 0)
      })
    )
  )

  it(
    "each change is told to all, once for all that change at once; and nothing after the end",
    simulated(
      Effect.gen(function* () {
        const { first, second, shared, states } = yield* three(false)
        const pokes = () => states.map(({ pokes }) => pokes)
        first.reserve(5)
        for (const change of [
          () => first.answered(5, 5),
          () => first.release(),
          () => {
            first.changed()
            second.changed()
          }
        ]) {
          const [before = 0] = pokes()
          change()
          yield* Effect.sleep("1 millis")
          assert.deepStrictEqual(pokes(), [before + 1, before + 1, before + 1])
        }
        first.wants(7)
        assert.deepStrictEqual(
          states.map(({ wanted }) => wanted),
          [7, 7, 7]
        )
        second.changed()
        shared.end()
        yield* Effect.sleep("1 millis")
        assert.deepStrictEqual(pokes(), [3, 3, 3])
      })
    )
  )

  it(
    "all are idle since the last of them is, and not while one is at work",
    simulated(
      Effect.gen(function* () {
        const { last, one, second, two } = yield* three(false)
        one.idleSince = 5
        two.idleSince = 7
        last.idleSince = 6
        assert.strictEqual(second.idleSince, 7)
        last.idleSince = undefined
        assert.isUndefined(second.idleSince)
      })
    )
  )
})

describe("whose turn it is", () => {
  const all = () => true

  it("strictly, the first that has something; what is owed to a later one comes first, one at a time, the last one's before", () => {
    const turns = strict(3, 0.25)
    assert.deepStrictEqual(turns.next(all), { member: 0, most: Number.POSITIVE_INFINITY })
    assert.strictEqual(turns.next((member) => member > 0)?.member, 1)
    assert.isUndefined(turns.next(() => false))
    turns.took(0, 3)
    assert.isFalse(turns.isOwed(1))
    turns.took(0, 1)
    assert.deepStrictEqual([0, 1, 2].map(turns.isOwed), [false, true, true])
    assert.deepStrictEqual(turns.next(all), { member: 2, most: 1 })
    turns.took(2, 1)
    assert.deepStrictEqual(turns.next(all), { member: 1, most: 1 })
    assert.strictEqual(turns.next((member) => member !== 1)?.member, 0)
    turns.took(1, 1)
    assert.deepStrictEqual([0, 1, 2].map(turns.isOwed), [false, false, false])
    // What the second had counts for the third; and no more than one is ever owed.
    turns.took(0, 100)
    turns.took(2, 1)
    assert.isFalse(turns.isOwed(2))
    turns.took(2, 5)
    turns.took(0, 4)
    assert.isTrue(turns.isOwed(2))
  })

  it("strictly, nothing is owed for what was had to the one that had it, nor to those before it", () => {
    const turns = strict(3, 1)
    turns.took(1, 1)
    assert.deepStrictEqual([0, 1, 2].map(turns.isOwed), [false, false, true])
  })

  it("by weight, each has its part while all have something", () => {
    const turns = weighted([3, 1])
    const had = [0, 0]
    for (let i = 0; i < 400; i++) {
      const turn = turns.next(all)
      if (turn === undefined) throw new Error("nobody's turn")
      had[turn.member] = (had[turn.member] ?? 0) + 1
      turns.took(turn.member, 1)
      assert.isFalse(turns.isOwed(turn.member))
    }
    assert.deepStrictEqual(had, [300, 100])
    assert.isUndefined(turns.next(() => false))
    assert.strictEqual(turns.next((member) => member === 1)?.member, 1)
  })

  it("by weight, one that had nothing makes good a hundred deliveries, and no more", () => {
    const turns = weighted([1, 1])
    for (let i = 0; i < 1000; i++) turns.took(0, 1)
    let first = 0
    while (turns.next(all)?.member === 1) {
      turns.took(1, 1)
      first++
    }
    assert.isAtLeast(first, 99)
    assert.isAtMost(first, 101)
  })
})
