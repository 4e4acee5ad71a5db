/** The lanes of a stage and what it has claimed, by themselves, with deliveries that note how they are settled. */
import { assert, describe, it } from "@effect/vitest"
import { type LeaseQueue, Settlement } from "@millrace/core"
import { Duration, Effect, Exit, Fiber } from "effect"
import { isInterruptedBy, leaseLostId } from "../../src/internal/effect/interruption.js"
import { InFlight } from "../../src/internal/lease/inFlight.js"
import type { Source } from "../../src/internal/lease/source.js"
import { Observer } from "../../src/internal/observe/observer.js"
import { Claims } from "../../src/internal/run/claims.js"
import { type LaneRules, Lanes } from "../../src/internal/run/lanes.js"
import * as Phase from "../../src/internal/settle/phase.js"
import { simulated } from "../support/index.js"

const made = () => {
  const state = { now: 0, maxInFlight: 100, isOver: false }
  const settled: Array<string> = []
  const told: Array<string> = []
  const observer = new Observer()
  const sourceOf = (name: string, flushWithin = 5) =>
    ({
      clock: { now: () => state.now },
      leases: { isOver: () => state.isOver },
      demand: {
        get maxInFlight() {
          return state.maxInFlight
        },
        stop: Effect.sync(() => told.push(`${name} stops`))
      },
      settlements: {
        begins: () => {},
        settle: ({ message }: InFlight, { _tag }: Settlement.Settlement) => settled.push(`${message.id} ${_tag}`),
        overflow: () => Settlement.release
      },
      lanes: {
        join: ({ message }: InFlight, lane: string) => told.push(`${message.id} joins ${lane}`),
        hold: ({ message }: InFlight) => told.push(`${message.id} is held`)
      },
      draining: {
        flushWithin: Duration.seconds(flushWithin),
        abandon: ({ message }: InFlight) => told.push(`${message.id} is abandoned`),
        settled: (deliveries: Iterable<InFlight>) =>
          Effect.sync(() => told.push(`${name} settles ${[...deliveries].map(({ message }) => message.id).join(" ")}`))
      },
      observer
    }) as unknown as Source<InFlight>
  const source = sourceOf("q")
  const all = new Map<string, InFlight>()
  const of = (name: string, from: Source<InFlight> = source): InFlight => {
    const known = all.get(name)
    if (known !== undefined) return known
    const one = new InFlight(from, { id: name, attempt: 1 } as LeaseQueue.Message, 0, 30_000)
    all.set(name, one)
    return one
  }
  return { claims: new Claims(), of, observer, settled, sourceOf, state, told }
}

/** Items are the names of their deliveries, in the lanes of their first letters: `a1 b1` is one of two, `-1` in none. */
const laned = (
  rules: Partial<LaneRules<string>> = {},
  options: { readonly all?: boolean; readonly none?: boolean } = {}
) => {
  const parts = made()
  const ready: Array<string> = []
  const ended: Array<string> = []
  const held = new Set<string>()
  const deliveries = (item: string) => item.split(" ").map((name) => parts.of(name))
  const lanes: Lanes<string> = new Lanes<string>(
    options.none === true
      ? undefined
      : {
          of: (item) => item.split(" ").map((name) => (name.startsWith("-") ? [] : [name.charAt(0)])),
          mixed: true,
          ackAhead: false,
          ...rules
        },
    {
      claims: parts.claims,
      deliveries,
      all: options.all ?? false,
      onReady: (item) => ready.push(item),
      onEnded: (item) => {
        ended.push(item)
        lanes.remove(item)
      },
      isHeld: (item) => held.has(item)
    }
  )
  return {
    ...parts,
    ...{ ended, held, lanes },
    admit: (...items: ReadonlyArray<string>) => items.map((item) => lanes.admit(item)),
    ready: () => ready.splice(0),
    ends: (...names: ReadonlyArray<string>) => {
      for (const name of names) parts.of(name).end("acked")
    }
  }
}

describe("lanes of a stage", () => {
  it("an item waits until what is before it in each of its lanes has ended; meanwhile it is claimed, and waits", () => {
    const { admit, claims, ended, ends, lanes, of, ready, told } = laned()
    assert.deepStrictEqual(admit("a1", "a2 b1", "b2", "c1"), [true, true, true, true])
    assert.deepStrictEqual([ready(), lanes.size, lanes.has("b2")], [["a1", "c1"], 4, true])
    assert.deepStrictEqual([claims.held.size, of("a2").waits, of("a2").urgent], [5, true, true])
    assert.deepStrictEqual(told, ["a1 joins a", "a2 joins a", "b1 joins b", "b2 joins b", "c1 joins c"])
    ends("a1")
    assert.deepStrictEqual([ready(), ended], [["a2 b1"], ["a1"]])
    // One of two has ended: its lane goes on, the other does not.
    admit("a3")
    ends("a2")
    assert.deepStrictEqual([ready(), ended, lanes.has("a2 b1")], [["a3"], ["a1"], true])
    ends("b1")
    assert.deepStrictEqual([ready(), ended], [["b2"], ["a1", "a2 b1"]])
    ends("b2", "a3", "c1")
    assert.strictEqual(lanes.size, 0)
  })

  it("two of a lane in one item leave it together", () => {
    const { admit, ends, ready } = laned()
    admit("a1 a2 b1", "a3")
    assert.deepStrictEqual(ready(), ["a1 a2 b1"])
    ends("a1")
    assert.deepStrictEqual(ready(), [])
    ends("a2")
    assert.deepStrictEqual(ready(), ["a3"])
  })

  it("what has no lane waits for nobody, and is not claimed; where everything may wait, it is", () => {
    const free = laned()
    assert.deepStrictEqual(free.admit("-1", "-2"), [false, false])
    assert.deepStrictEqual([free.claims.held.size, free.ready(), free.lanes.has("-1")], [0, [], false])
    for (const options of [{ all: true }, { all: true, none: true }]) {
      const { admit, claims, ended, ends, lanes, of, ready, told } = laned({}, options)
      assert.deepStrictEqual(admit("-1"), [false])
      assert.deepStrictEqual(
        [claims.held.size, of("-1").waits, of("-1").urgent, ready(), told],
        [1, true, false, [], []]
      )
      ends("-1")
      assert.deepStrictEqual([ended, lanes.size], [["-1"], 0])
    }
    const none = laned({}, { none: true })
    assert.deepStrictEqual([...none.admit("a1"), none.claims.held.size], [false, 0])
    none.lanes.hold("a1")
    none.lanes.remove("a1")
    const partly = laned()
    assert.deepStrictEqual(
      [...partly.admit("-1 a1"), partly.of("-1").urgent, partly.of("a1").urgent],
      [true, false, true]
    )
    const ahead = laned({ ackAhead: true })
    ahead.admit("a1")
    assert.isFalse(ahead.of("a1").urgent)
  })

  it("what is settled already does not come in, and nothing waits for it", () => {
    const { admit, claims, ended, lanes, of, ready } = laned()
    of("a1").settle(Settlement.release)
    of("b1").settle(Settlement.release)
    assert.deepStrictEqual(admit("a1", "b1 b2"), [true, true])
    assert.deepStrictEqual([ready(), claims.held.size, lanes.size], [["b1 b2"], 1, 1])
    assert.deepStrictEqual(ended, [])
    // What goes back while it waits holds its lane until that is confirmed, and never runs.
    admit("c1", "c2", "c3")
    of("c2").settle(Settlement.release)
    of("c1").end("acked")
    assert.deepStrictEqual(ready(), ["c1"])
    of("c2").end("released")
    assert.deepStrictEqual(ready(), ["c3"])
  })

  it("a lane has half of the permits at most: what is more goes back", () => {
    const { admit, ends, of, settled, state, told } = laned()
    state.maxInFlight = 5
    assert.deepStrictEqual(admit("a1", "a2", "a3", "b1"), [true, true, true, true])
    assert.deepStrictEqual(settled, [])
    admit("a4")
    assert.deepStrictEqual(settled, ["a4 Release"])
    assert.notInclude(told, "a4 joins a")
    ends("a1")
    admit("a5")
    assert.deepStrictEqual(settled, ["a4 Release"])
    // Parts of one message have one permit.
    Object.assign(of("a6"), { holder: of("a5") })
    admit("a6")
    assert.deepStrictEqual(settled, ["a4 Release"])
    ends("a6")
    admit("a7")
    assert.deepStrictEqual(settled, ["a4 Release", "a7 Release"])
    ends("a5")
    admit("a8")
    assert.lengthOf(settled, 2)
    ends("a2", "a3", "a8")
    state.maxInFlight = 1
    admit("a9")
    assert.lengthOf(settled, 2)
  })

  it("one that stands for several has the permits of all in a lane of its own, and one for each in each of several", () => {
    const admitted = (first: ReadonlyArray<string>, permits: number, maxInFlight: number) => {
      const { admit, of, settled, state } = laned({ of: (item) => [item === "first" ? first : ["a"]] })
      state.maxInFlight = maxInFlight
      Object.defineProperty(of("first"), "permits", { value: permits })
      admit("first", "next")
      return settled.length === 0
    }
    assert.isFalse(admitted(["a"], 3, 6))
    assert.isTrue(admitted(["a"], 2, 6))
    assert.isTrue(admitted(["a", "b"], 3, 6))
    assert.isFalse(admitted(["a", "a", "b"], 3, 4))
    assert.isTrue(admitted(["a", "a", "b"], 3, 6))
  })

  it("what is settled already is not held", () => {
    const { admit, lanes, of, told } = laned()
    admit("a1")
    of("a1").failures.hold(500)
    of("a1").settle(Settlement.release)
    told.length = 0
    lanes.hold("a1")
    assert.deepStrictEqual(told, [])
  })

  it("what is to run again is held; of items in several lanes what is behind it goes back, where it would hold up others", () => {
    const { admit, of, settled, state, told, held, lanes, ends } = laned()
    admit("a1", "a2", "a3 b1", "a4 a5", "a6 c1")
    told.length = 0
    lanes.hold("a1")
    assert.deepStrictEqual([told, settled], [[], []])
    of("a1").failures.hold(500)
    of("c1").settle(Settlement.release)
    state.now = 499
    settled.length = 0
    lanes.hold("a1")
    assert.deepStrictEqual(told, ["a1 is held"])
    assert.deepStrictEqual(settled, ["a3 Release"])
    held.add("a1")
    admit("a7 d1", "a8")
    assert.deepStrictEqual(settled, ["a3 Release", "a7 Release"])
    state.now = 500
    lanes.hold("a1")
    assert.deepStrictEqual(
      told.filter((text) => text.endsWith("held")),
      ["a1 is held"]
    )
    of("a1").failures.hold(900)
    ends("a1")
    lanes.hold("a1")
    assert.lengthOf(settled, 2)
    const one = laned({ mixed: false })
    one.admit("a1", "a2 b1")
    one.of("a1").failures.hold(500)
    one.held.add("a1")
    one.lanes.hold("a1")
    one.admit("a3 b2")
    assert.deepStrictEqual(one.settled, [])
    assert.include(one.told, "a1 is held")
  })
})

describe("what a stage has claimed", () => {
  it("is its own until it has ended; the most patient of its consumers says how long to wait", () => {
    const { claims, of, sourceOf, state } = made()
    const [a, b] = [of("a"), of("b", sourceOf("other", 9))]
    const impatient = of("c", sourceOf("third", 1))
    assert.deepStrictEqual(
      [a, b, impatient].map((one) => claims.claim(one)),
      [true, true, true]
    )
    assert.strictEqual(Duration.toSeconds(claims.patience), 9)
    claims.waitsFromNow(a)
    assert.deepStrictEqual([claims.waits(a), claims.waits(b)], [true, false])
    a.end("acked")
    assert.deepStrictEqual([claims.waits(a), claims.held.has(a), claims.held.has(b)], [false, false, true])
    state.isOver = true
    const late = of("d")
    assert.deepStrictEqual([claims.claim(late), claims.held.has(late)], [false, false])
  })

  it(
    "runs in a fiber that a stop or a lost lease interrupts; what does not run is released",
    simulated(
      Effect.gen(function* () {
        const { claims, observer, of, settled, state, told } = made()
        const [a, b, c] = [of("a"), of("b"), of("c")]
        for (const one of [a, b, c]) claims.claim(one)
        const running = yield* Effect.fork(Effect.never)
        const deciding = yield* Effect.fork(Effect.never)
        state.now = 40
        claims.runs(a, running, state.now)
        assert.deepStrictEqual([a.startedAt, a.startedWith, observer.running], [40, 1, 1])
        assert.strictEqual(observer.waited.histogram.sum, 40)
        claims.decides(b, deciding)
        claims.abandonWorking()
        assert.deepStrictEqual(told, ["a is abandoned", "b is abandoned"])
        claims.lose(b)
        claims.interruptAll()
        assert.deepStrictEqual(settled, ["c Release"])
        const [exit, decided] = [yield* Fiber.await(running), yield* Fiber.await(deciding)]
        assert.deepStrictEqual(
          [claims.stopped(running, exit), claims.stopped(deciding, decided), claims.stopped(running, Exit.void)],
          [true, true, false]
        )
        const other = yield* Effect.fork(Effect.interrupt)
        assert.isFalse(claims.stopped(other, yield* Fiber.await(other)))
        const failing = yield* Effect.fork(Effect.fail("no"))
        assert.isFalse(claims.stopped(failing, yield* Fiber.await(failing)))
        claims.rests(a)
        claims.rests(b)
        assert.deepStrictEqual([a.startedAt, observer.running], [undefined, 0])
        claims.interrupt(a)
        claims.lose(b)
        assert.deepStrictEqual([settled, b.phase], [["c Release", "a Release"], Phase.Claimed])
        // A run in place is no first wait.
        a.end("released")
        const again = of("again")
        claims.claim(again)
        again.failures.again()
        claims.runs(again, running, 40)
        assert.strictEqual(observer.waited.histogram.count, 1)
      })
    )
  )

  it(
    "is stopped by a lost lease, which is told from a stop and from what it fails with itself",
    simulated(
      Effect.gen(function* () {
        const { claims, of } = made()
        const one = of("a")
        claims.claim(one)
        const running = yield* Effect.fork(Effect.never)
        claims.runs(one, running, 0)
        claims.lose(one)
        const exit = yield* Fiber.await(running)
        assert.isTrue(Exit.isFailure(exit) && isInterruptedBy(exit.cause, leaseLostId))
        assert.deepStrictEqual(
          [claims.stopped(running, exit), claims.stopped(running, Exit.fail("its own"))],
          [true, false]
        )
      })
    )
  )

  it(
    "ends by consumer: its receives first, then its deliveries",
    simulated(
      Effect.gen(function* () {
        const { claims, of, sourceOf, told } = made()
        const other = sourceOf("other")
        for (const one of [of("a"), of("x", other), of("b")]) claims.claim(one)
        yield* claims.stopReceiving
        assert.sameMembers(told.splice(0), ["q stops", "other stops"])
        yield* claims.settled
        assert.sameMembers(told, ["q settles a b", "other settles x"])
      })
    )
  )
})
