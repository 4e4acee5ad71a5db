/** A delivery's way from its receive to its end, and the order of those of one lane: each by itself. */
import { assert, describe, it } from "@effect/vitest"
import { type LeaseQueue, Settlement } from "@millrace/core"
import * as Sequencer from "../../src/internal/lease/groupOrder.js"
import { InFlight, type Owner } from "../../src/internal/lease/inFlight.js"
import type { Source } from "../../src/internal/lease/source.js"
import * as Phase from "../../src/internal/settle/phase.js"

const made = () => {
  const state = { now: 0, isOver: false }
  const told: Array<string> = []
  const source = {
    clock: { now: () => state.now },
    leases: { isOver: () => state.isOver },
    settlements: {
      begins: () => told.push("begins"),
      settle: (_: InFlight, { _tag }: Settlement.Settlement, awaited: boolean) =>
        told.push(`${_tag}${awaited ? ", awaited" : ""}`)
    }
  } as unknown as Source<InFlight>
  const delivery = () => new InFlight(source, { id: "a", attempt: 3 } as LeaseQueue.Message, 0, 30_000)
  const owner = (name: string, of: Partial<Owner> = {}): Owner => ({
    interrupt: () => told.push(`${name} interrupts`),
    lose: () => told.push(`${name} loses`),
    left: () => told.push(`${name} is left`),
    waits: () => false,
    closed: false,
    ...of
  })
  return { delivery, owner, state, told, drain: () => told.splice(0) }
}

describe("a delivery in flight", () => {
  it("is handed over once, and not where it has ended before", () => {
    const { delivery, owner, state } = made()
    state.now = 7
    const [one, ended, claimed] = [delivery(), delivery(), delivery()]
    one.handOver(5)
    one.handOver(9)
    assert.deepStrictEqual([one.phase, one.handedOverAt], [Phase.HandedOver, 5])
    ended.end("lost")
    ended.handOver(5)
    assert.deepStrictEqual([ended.phase, ended.handedOverAt], [Phase.Ended, 0])
    claimed.claim(owner("a stage"))
    claimed.handOver(5)
    assert.strictEqual(claimed.phase, Phase.Claimed)
  })

  it("is claimed by one after the other, which tells the one before; not where it is settled, or its lease is over", () => {
    const { delivery, drain, owner, state } = made()
    const one = delivery()
    assert.isTrue(one.claim(owner("first")))
    one.passOn()
    const second = owner("second")
    assert.isTrue(one.claim(second))
    assert.deepStrictEqual(
      [one.phase, one.passedOn, one.owner, ...drain()],
      [Phase.Claimed, false, second, "first is left"]
    )
    state.isOver = true
    assert.isFalse(one.claim(owner("third")))
    state.isOver = false
    one.settle(Settlement.ack)
    assert.isFalse(one.claim(owner("third")))
    assert.strictEqual(one.owner, second)
    one.end("acked")
    assert.deepStrictEqual([one.owner, ...drain()], [undefined, "begins", "Ack", "second is left"])
  })

  it("is unattended from when it was handed on until a stage has it, or waits to", () => {
    const { delivery, owner, state } = made()
    const one = delivery()
    assert.isUndefined(one.unattendedSince)
    one.handOver(5)
    assert.strictEqual(one.unattendedSince, 5)
    one.awaited = true
    assert.isUndefined(one.unattendedSince)
    one.claim(owner("a stage"))
    one.awaited = false
    assert.isUndefined(one.unattendedSince)
    one.awaited = true
    state.now = 8
    one.passOn()
    assert.deepStrictEqual([one.unattendedSince, one.awaited], [8, false])
    one.settle(Settlement.ack)
    assert.isUndefined(one.unattendedSince)
    const standIn = (unattendedSince: number | undefined, isWorkedOn = false) =>
      ({ unattendedSince, isWorkedOn }) as unknown as InFlight
    const all = delivery()
    all.handOver(1)
    all.claim(owner("parts", { standIns: [standIn(9), standIn(undefined), standIn(6), standIn(7)] }))
    assert.strictEqual(all.unattendedSince, 6)
    all.end("lost")
    assert.isUndefined(all.unattendedSince)
  })

  it("is worked on while a stage has it and has not passed it on; of one that others stand for, while one of those is", () => {
    const { delivery, owner } = made()
    const one = delivery()
    assert.isFalse(one.isWorkedOn)
    one.handOver(1)
    assert.isFalse(one.isWorkedOn)
    one.claim(owner("a stage"))
    assert.isTrue(one.isWorkedOn)
    one.passOn()
    assert.isFalse(one.isWorkedOn)
    const standIn = (isWorkedOn: boolean) => ({ isWorkedOn }) as unknown as InFlight
    for (const [standIns, expected] of [
      [[standIn(false), standIn(true)], true],
      [[standIn(false)], false]
    ] as const) {
      const all = delivery()
      all.claim(owner("parts", { standIns }))
      assert.strictEqual(all.isWorkedOn, expected)
    }
    one.end("lost")
    assert.isFalse(one.isWorkedOn)
  })

  it("waits until it is claimed, and then as its owner says, until its settlement begins", () => {
    const { delivery, owner } = made()
    const one = delivery()
    assert.isTrue(one.waits)
    one.claim(owner("busy"))
    assert.isFalse(one.waits)
    one.claim(owner("idle", { waits: (delivery) => delivery === one }))
    assert.isTrue(one.waits)
    one.settle(Settlement.release)
    assert.isFalse(one.waits)
  })

  it("is settled once; who waits for its end, or for others', does not wait for a full call", () => {
    const { delivery, drain } = made()
    const outcomes: Array<Settlement.Outcome> = []
    const [plain, awaited, urgent] = [delivery(), delivery(), delivery()]
    urgent.urgent = true
    assert.isTrue(plain.settle(Settlement.ack))
    assert.isFalse(plain.settle(Settlement.release, (outcome) => outcomes.push(outcome)))
    assert.isTrue(awaited.settle(Settlement.release, (outcome) => outcomes.push(outcome)))
    assert.isTrue(urgent.settle(Settlement.leave))
    assert.deepStrictEqual(
      drain().filter((text) => text !== "begins"),
      ["Ack", "Release, awaited", "Leave, awaited"]
    )
    plain.end("acked")
    awaited.end("released")
    assert.deepStrictEqual(outcomes, ["released"])
  })

  it("counts the queue's receives and its own runs again as attempts, and knows until when it is held", () => {
    const { delivery } = made()
    const one = delivery()
    assert.deepStrictEqual([one.attempt, one.heldUntil, one.permits, one.holder], [3, 0, 1, one])
    one.failures.again()
    one.failures.again()
    one.failures.hold(500)
    assert.deepStrictEqual([one.attempt, one.heldUntil], [6, 500])
    assert.strictEqual(one.failures, one.tries)
    one.runs(4)
    assert.strictEqual(one.startedAt, 4)
    one.runs(undefined)
    assert.isUndefined(one.startedAt)
  })
})

describe("an order of lanes", () => {
  const sequencer = (mayRun: (item: string) => boolean = () => true) => {
    const ready: Array<string> = []
    return {
      lanes: Sequencer.make<string>({ onReady: (item) => ready.push(item), mayRun }),
      ready: () => ready.splice(0)
    }
  }

  it("an item is ready, told once, when it is the first in all of its lanes", () => {
    const { lanes, ready } = sequencer()
    lanes.add(["a", "b"], "1")
    lanes.add(["b"], "2")
    lanes.add(["a", "b"], "3")
    lanes.add(["c"], "4")
    assert.deepStrictEqual(ready(), ["1", "4"])
    assert.deepStrictEqual([lanes.size(), lanes.length("b"), [...lanes.in("a")]], [4, 3, ["1", "3"]])
    lanes.remove("1")
    assert.deepStrictEqual([lanes.has("1"), lanes.has("2"), ...ready()], [false, true, "2"])
    lanes.remove("1")
    lanes.remove("nobody")
    assert.deepStrictEqual(ready(), [])
    lanes.remove("2")
    assert.deepStrictEqual(ready(), ["3"])
    lanes.remove("3")
    assert.deepStrictEqual([ready(), lanes.size(), lanes.length("a"), [...lanes.in("a")]], [[], 1, 0, []])
  })

  it("an item leaves one lane and stays in the others: it may be ready by that, and what was behind it too", () => {
    const { lanes, ready } = sequencer()
    lanes.add(["a"], "1")
    lanes.add(["a", "b"], "2")
    lanes.add(["b"], "3")
    assert.deepStrictEqual(ready(), ["1"])
    lanes.leave("c", "2")
    lanes.leave("b", "1")
    lanes.leave("a", "nobody")
    assert.deepStrictEqual([lanes.length("a"), lanes.length("b"), ...ready()], [2, 2])
    lanes.leave("a", "2")
    assert.deepStrictEqual([lanes.has("2"), [...lanes.in("a")], ...ready()], [true, ["1"], "2"])
    lanes.leave("b", "2")
    assert.deepStrictEqual([lanes.has("2"), lanes.size(), ...ready()], [false, 2, "3"])
  })

  it("what may not run holds its lane, and is ready once it has moved up and may", () => {
    let mayRun = false
    const { lanes, ready } = sequencer((item) => item !== "2" || mayRun)
    lanes.add(["a"], "1")
    lanes.add(["a"], "2")
    lanes.add(["a"], "3")
    lanes.remove("1")
    assert.deepStrictEqual(ready(), ["1"])
    mayRun = true
    lanes.leave("b", "2")
    assert.deepStrictEqual(ready(), [])
    lanes.remove("2")
    assert.deepStrictEqual(ready(), ["3"])
  })
})
