/** What is ready by whose turn it is, by itself: what may come in, what waits for the gate, and what goes back. */
import { assert, describe, it } from "@effect/vitest"
import { type LeaseQueue, Settlement, type Tunable } from "@millrace/core"
import { InFlight } from "../../src/internal/lease/inFlight.js"
import type { Source } from "../../src/internal/lease/source.js"
import type { Gate } from "../../src/internal/run/gate.js"
import { InTurn } from "../../src/internal/run/inTurn.js"
import type { ShareRules } from "../../src/internal/run/shareRules.js"

interface Options extends Partial<Pick<ShareRules<string>, "byGroup" | "untilEnded">> {
  readonly ordered?: boolean
  readonly waiting?: number
  readonly concurrency?: number
  readonly maxAttempts?: number
}

/** Keys are the first letters of items; `-1` has none, and `a1!` is in its ninth attempt. */
const made = ({
  byGroup = false,
  concurrency = 9,
  maxAttempts,
  ordered = false,
  untilEnded = false,
  waiting = 50
}: Options = {}) => {
  const told: Array<string> = []
  const source = {
    clock: { now: () => 0 },
    queue: { name: "q", ordered, maxAttempts },
    demand: { bound: { unsafeGet: () => 100 } as Tunable.Tunable },
    settlements: {
      begins: () => {},
      settle: ({ message }: InFlight, { _tag }: Settlement.Settlement) => told.push(`${message.id} ${_tag}`),
      overflow: () => Settlement.release
    },
    reports: { overShare: () => told.push("over share") }
  } as unknown as Source<InFlight>
  const all = new Map<string, InFlight>()
  const of = (name: string): InFlight => {
    const one =
      all.get(name) ??
      new InFlight(source, { id: name, attempt: name.endsWith("!") ? 9 : 1 } as LeaseQueue.Message, 0, 30_000)
    all.set(name, one)
    return one
  }
  const inTurn = new InTurn<string>(
    {
      key: (item) => (item.startsWith("-") ? undefined : item[0]),
      terms: () => ({ concurrency, rate: undefined, weight: 1, waiting }),
      byGroup,
      refuses: () => undefined,
      untilEnded
    },
    (item) => (item === "nothing" ? undefined : of(item)),
    (text) => told.push(text)
  )
  return {
    ...{ inTurn, of },
    told: () => told.splice(0),
    admit: (...items: ReadonlyArray<string>) =>
      items.map((item) => {
        const isIn = inTurn.admits(item)
        if (isIn) inTurn.push(item)
        return isIn
      }),
    taken: () => {
      const items: Array<string> = []
      for (let item = inTurn.shift(); item !== undefined; item = inTurn.shift()) items.push(item)
      return items
    }
  }
}

const gate = (flow: Gate["flow"]): Gate => ({ flow, admits: true, onChange: () => () => {} })

describe("what is ready by whose turn it is", () => {
  it("is what has come, but for what is nothing or is settled", () => {
    const { admit, inTurn, of, taken } = made()
    of("a2").settle(Settlement.release)
    assert.deepStrictEqual(admit("a1", "a2", "nothing", "-1"), [true, false, false, true])
    assert.strictEqual(inTurn.size, 2)
    assert.sameMembers(taken(), ["a1", "-1"])
  })

  it("is first, once the gate is open, what that turned back, and as a probe it is last", () => {
    const { admit, inTurn, taken } = made()
    admit("a1", "a2", "a3")
    assert.deepStrictEqual([inTurn.shift(), inTurn.shift()], ["a1", "a2"])
    inTurn.ends("a1", "deferred")
    inTurn.ends("a2", "deferred")
    assert.deepStrictEqual([inTurn.size, inTurn.useful], [3, 1])
    inTurn.resume(undefined)
    inTurn.resume(gate("probes"))
    assert.deepStrictEqual([...inTurn.items], ["a3"])
    assert.deepStrictEqual(taken(), ["a3", "a1", "a2"])
    inTurn.ends("a3", "done")
    for (const item of ["a1", "a2"]) inTurn.ends(item, "deferred")
    admit("a4")
    inTurn.resume(gate("all"))
    assert.strictEqual(inTurn.size, 3)
    assert.deepStrictEqual(taken(), ["a1", "a2", "a4"])
    inTurn.resume(gate("all"))
    assert.deepStrictEqual(taken(), [])
  })

  it("is nothing that has only been held, or that has gone", () => {
    const { admit, inTurn, taken } = made()
    admit("a1", "a2", "a3")
    assert.deepStrictEqual(taken(), ["a1", "a2", "a3"])
    inTurn.ends("a1", "held")
    inTurn.ends("a2", "deferred")
    inTurn.ends("a3", "deferred")
    inTurn.drop("a2")
    assert.deepStrictEqual([inTurn.size, taken()], [1, ["a3"]])
  })

  it("is the next of a key when one is done; where slots are kept until the end, when that has ended or waits again", () => {
    const once = made({ concurrency: 1 })
    once.admit("a1", "a2")
    assert.deepStrictEqual(once.taken(), ["a1"])
    once.inTurn.ends("a1", "done")
    assert.deepStrictEqual(once.taken(), ["a2"])
    const kept = made({ concurrency: 1, untilEnded: true })
    kept.admit("a1", "a2", "a3")
    assert.deepStrictEqual(kept.taken(), ["a1"])
    kept.inTurn.ends("a1", "done")
    assert.deepStrictEqual(kept.taken(), [])
    kept.inTurn.drop("a1")
    assert.deepStrictEqual(kept.taken(), ["a2"])
    kept.inTurn.ends("a2", "held")
    assert.deepStrictEqual(kept.taken(), ["a3"])
  })
})

describe("what is over its key's share", () => {
  const lane = (of: (name: string) => InFlight, ...names: ReadonlyArray<string>) => {
    for (const name of names) Object.assign(of(name), { lane: { members: names.map(of) } })
  }

  it("goes back for as long as its key needs; on an ordered queue behind what its group has here", () => {
    const plain = made({ waiting: 1 })
    lane(plain.of, "a1", "a2")
    assert.deepStrictEqual(plain.admit("a1", "a2"), [true, false])
    assert.deepStrictEqual(plain.told(), ["over share", "a2 Retry"])
    const ordered = made({ waiting: 1, ordered: true })
    lane(ordered.of, "a1", "a2")
    ordered.admit("a1", "a2")
    assert.deepStrictEqual(ordered.told(), ["over share", "a2 Release"])
    // What is before it in its group goes back as well: it is the first one of those that come again.
    const leaving = made({ waiting: 1, ordered: true })
    leaving.admit("a1")
    lane(leaving.of, "a2", "a3")
    leaving.of("a2").settle(Settlement.release)
    leaving.told()
    leaving.admit("a3")
    assert.deepStrictEqual(leaving.told(), ["over share", "a3 Retry"])
  })
})

describe("a queue that takes messages away", () => {
  it("has what it would take away next kept here, whatever room there is", () => {
    const { admit, told } = made({ waiting: 1, maxAttempts: 9 })
    assert.deepStrictEqual(admit("a1", "a2!", "a3"), [true, true, false])
    assert.deepStrictEqual(told(), ["over share", "a3 Retry"])
  })

  it("soon, is warned of once", () => {
    const { admit, told } = made({ maxAttempts: 3 })
    admit("a1", "a2")
    const said = told()
    assert.lengthOf(said, 1)
    assert.include(said[0], "q takes a message away after 3")
  })
})

describe("a queue without groups", () => {
  const many = (prefix: string, count: number) => Array.from({ length: count }, (_, i) => `${prefix}${i}`)

  it("is warned of once, after a hundred messages without any, and never where one had a group", () => {
    const none = made({ byGroup: true })
    none.admit(...many("-", 99))
    assert.deepStrictEqual(none.told(), [])
    none.admit("-99")
    assert.lengthOf(none.told(), 1)
    none.admit(...many("-x", 150))
    assert.deepStrictEqual(none.told(), [])
    const some = made({ byGroup: true })
    some.admit("a1", ...many("-", 150))
    assert.deepStrictEqual(some.told(), [])
  })
})
