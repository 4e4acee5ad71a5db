/** What is in flight, by lane, and how long a lease can be kept: each part by itself. */
import { assert, describe, it } from "@effect/vitest"
import type { LeaseQueue } from "@millrace/core"
import { Duration, Effect, Fiber } from "effect"
import type { InFlight } from "../../src/internal/lease/inFlight.js"
import { InFlightTable } from "../../src/internal/lease/inFlightTable.js"
import { type Lane, LaneTable, type Member } from "../../src/internal/lease/laneTable.js"
import * as LeaseLimits from "../../src/internal/lease/leaseLimits.js"
import { Tries } from "../../src/internal/lease/tries.js"
import type { Entry } from "../../src/internal/settle/entry.js"
import { simulated } from "../support/index.js"

class One implements Member<One> {
  readonly message: { readonly id: string; readonly sequence?: string | undefined }
  heldUntil = 0
  startedAt: number | undefined = undefined
  waits = true
  isSettling = false
  lane: Lane<One> | undefined = undefined

  constructor(id: string) {
    this.message = { id, sequence: id }
  }
}

const idsOf = (members: Iterable<One>) => [...members].map(({ message }) => message.id).join(" ")

/** The lanes `a`, `b`, … with their messages `a1`, `a2`, …. */
const lanes = (...names: ReadonlyArray<string>) => {
  const table = new LaneTable<One>()
  const all = new Map<string, One>()
  for (const name of names) {
    const one = new One(name)
    all.set(name, one)
    table.join(name[0] ?? "", one)
  }
  const of = (id: string): One => {
    const one = all.get(id)
    if (one === undefined) throw new Error(`no ${id}`)
    return one
  }
  return {
    table,
    of,
    settles: (id: string) => {
      of(id).isSettling = true
      table.settles(of(id))
    },
    holds: (id: string, until = 1000) => {
      of(id).heldUntil = until
      table.hold(of(id))
    },
    excess: (most: number, now = 0) => {
      const { heads, tails } = table.excess(most, now)
      return [tails.map(idsOf), idsOf(heads)]
    }
  }
}

describe("lanes in flight", () => {
  it("a message is in its first lane until it ends, in the order in which it came", () => {
    const { of, table } = lanes("a1", "b1", "a2")
    assert.deepStrictEqual([table.size, [...table].map(({ name }) => name)], [2, ["a", "b"]])
    table.join("b", of("a2"))
    assert.strictEqual(idsOf(table.in("a")), "a1 a2")
    assert.strictEqual(idsOf(table.in("b")), "b1")
    assert.strictEqual(of("a1").lane?.staying, 2)
    table.leave(of("a1"))
    assert.strictEqual(idsOf(table.in("a")), "a2")
    table.leave(of("a2"))
    assert.deepStrictEqual([table.size, idsOf(table.in("a"))], [1, ""])
    const stranger = new One("x")
    for (const f of ["failed", "hold", "settles", "leave"] as const) table[f](stranger)
    assert.deepStrictEqual([table.size, table.held], [1, 0])
  })

  it("a lane in which something failed holds all of its permits, until that is settled", () => {
    const { holds, of, settles, table } = lanes("a1", "a2", "a3", "b1")
    settles("a1")
    assert.strictEqual(table.held, 0)
    holds("a2")
    assert.strictEqual(table.held, 2)
    table.join("a", new One("a4"))
    assert.strictEqual(table.held, 3)
    holds("a2")
    holds("a3")
    assert.strictEqual(table.held, 3)
    settles("a2")
    assert.strictEqual(table.held, 2)
    settles("a3")
    assert.strictEqual(table.held, 0)
    assert.strictEqual(of("a1").lane?.staying, 1)
    settles("b1")
    assert.strictEqual(table.held, 0)
  })

  it("what failed and comes again holds its lane from the start, until it succeeds; the latest 10,000 are remembered", () => {
    const { of, table } = lanes("a1", "b1")
    table.failed(of("a1"))
    table.join("c", new One("a1"))
    assert.strictEqual(table.held, 1)
    table.succeeded(of("a1"))
    table.join("d", new One("a1"))
    assert.strictEqual(table.held, 1)
    const fail = (id: string) => {
      const one = new One(id)
      table.join("e", one)
      table.failed(one)
    }
    fail("x")
    fail("y")
    fail("x")
    for (let i = 0; i < 9998; i++) fail(`n${i}`)
    let joined = 0
    const isSuspect = (id: string) => {
      const before = table.held
      table.join(`new ${joined++}`, new One(id))
      return table.held > before
    }
    assert.deepStrictEqual(["x", "y"].map(isSuspect), [true, true])
    fail("one more")
    assert.deepStrictEqual(["x", "y", "n0"].map(isSuspect), [true, false, true])
  })

  it("what is too much goes back: tails first, the oldest failure's first and latest first, as much as must", () => {
    const { excess, holds } = lanes("a1", "a2", "a3", "b1", "b2", "b3", "c1", "c2")
    holds("b1")
    holds("a1")
    assert.deepStrictEqual(excess(6), [[], ""])
    assert.deepStrictEqual(excess(5), [["b3"], ""])
    assert.deepStrictEqual(excess(3), [["b3 b2", "a3"], ""])
    assert.deepStrictEqual(excess(1), [["b3 b2", "a3 a2"], "b1"])
    assert.deepStrictEqual(excess(0), [["b3 b2", "a3 a2"], "b1 a1"])
  })

  it("of a tail only what waits, and nothing before what does not or has failed; what is being settled is passed over", () => {
    const { excess, holds, of, settles } = lanes("a1", "a2", "a3", "a4", "a5", "a6")
    holds("a1")
    settles("a5")
    of("a3").waits = false
    assert.deepStrictEqual(excess(0), [["a6 a4"], "a1"])
    of("a3").waits = true
    holds("a2")
    assert.deepStrictEqual(excess(0), [["a6 a4 a3"], "a1 a2"])
    of("a6").waits = false
    assert.deepStrictEqual(excess(0), [[], "a1 a2"])
    // By the queue's own order, however they came.
    const mixed = lanes("a1", "a4", "a2", "a3")
    mixed.holds("a1")
    assert.deepStrictEqual(mixed.excess(0), [["a4 a3 a2"], "a1"])
    // Where the queue has no order of its own, the last that came goes first.
    const standard = lanes("a1", "a2", "a3", "a4")
    for (const id of ["a1", "a2", "a3", "a4"]) Object.assign(standard.of(id), { message: { id } })
    standard.holds("a1")
    assert.deepStrictEqual(standard.excess(0), [["a4 a3 a2"], "a1"])
  })

  it("of a lane whose failed message is settled nothing goes back", () => {
    const { excess, holds, settles } = lanes("a1", "a2", "b1", "b2")
    holds("a1")
    holds("b1")
    settles("a1")
    assert.deepStrictEqual(excess(0), [["b2"], "b1"])
  })

  it("heads that run, or are due, stay; and are not looked at again before they are held again", () => {
    const { excess, holds, of } = lanes("a1", "b1", "c1")
    for (const id of ["a1", "b1", "c1"]) holds(id, 1000)
    of("a1").startedAt = 5
    assert.deepStrictEqual(excess(1, 999), [[], "b1 c1"])
    of("a1").startedAt = undefined
    assert.deepStrictEqual(excess(0, 999), [[], "b1 c1"])
    assert.deepStrictEqual(excess(0, 1000), [[], ""])
    holds("a1", 2000)
    assert.deepStrictEqual(excess(0, 1000), [[], "a1"])
    // The one that was held last comes last.
    holds("b1", 2000)
    holds("a1", 2000)
    assert.deepStrictEqual(excess(0, 1000), [[], "b1 a1"])
  })
})

describe("all that is in flight", () => {
  const delivery = (receivedAt: number, group?: string) =>
    ({ receivedAt, lane: undefined, message: { group } }) as unknown as InFlight

  it("of a queue without order also by group: a group is there as long as something of it is", () => {
    const table = new InFlightTable()
    const [a1, b1, a2, none] = [delivery(1, "a"), delivery(2, "b"), delivery(3, "a"), delivery(4)]
    for (const one of [a1, b1, a2]) table.groups.join(one.message.group ?? "", one)
    table.delete(none)
    assert.deepStrictEqual(
      [...table.groups].map(({ members, name }) => [name, ...members]),
      [
        ["a", a1, a2],
        ["b", b1]
      ]
    )
    table.delete(a1)
    table.delete(b1)
    table.delete(b1)
    assert.deepStrictEqual([[...table.groups.in("a")], [...table.groups.in("b")], table.groups.size], [[a2], [], 1])
  })

  it(
    "is counted, at most and since when; who waits is woken when it holds, each by its own",
    simulated(
      Effect.gen(function* () {
        const table = new InFlightTable()
        assert.isUndefined(table.oldest)
        const [a, b] = [delivery(20), delivery(10)]
        table.add(a)
        table.add(b)
        assert.deepStrictEqual([table.size, table.peak, table.oldest, [...table].length], [2, 2, 10, 2])
        const woken: Array<string> = []
        const asked: Array<string> = []
        const wait = (name: string, size: number) =>
          Effect.fork(
            Effect.zipRight(
              table.until(() => {
                asked.push(name)
                return table.size <= size
              }),
              Effect.sync(() => woken.push(name))
            )
          )
        yield* wait("two", 2)
        yield* wait("one", 1)
        yield* wait("none", 0)
        const gone = yield* wait("gone", 1)
        yield* Effect.sleep(1)
        yield* Fiber.interrupt(gone)
        asked.length = 0
        table.tellEnd()
        // Who has gone, or has been woken, is not asked again.
        assert.deepStrictEqual(asked.splice(0).toSorted(), ["none", "one"])
        table.delete(b)
        yield* Effect.sleep(1)
        assert.deepStrictEqual(woken, ["two"])
        table.tellEnd()
        yield* Effect.sleep(1)
        assert.deepStrictEqual(woken, ["two", "one"])
        table.tellEnd()
        assert.deepStrictEqual(asked.splice(0).toSorted(), ["none", "none", "one"])
        assert.deepStrictEqual([table.size, table.peak, table.oldest], [1, 2, 20])
        table.delete(a)
        table.tellEnd()
        table.tellEnd()
        yield* Effect.sleep(1)
        assert.deepStrictEqual(woken, ["two", "one", "none"])
      })
    )
  )
})

describe("runs again", () => {
  it("are counted in place, in a row, and by holding", () => {
    const tries = new Tries()
    tries.again()
    tries.again()
    assert.deepStrictEqual([tries.inPlace, tries.inARow, tries.holds], [2, 2, 0])
    tries.hold(500)
    assert.deepStrictEqual([tries.inPlace, tries.inARow, tries.holds, tries.heldUntil], [2, 0, 1, 500])
    tries.again()
    assert.deepStrictEqual([tries.inPlace, tries.inARow], [3, 1])
  })
})

describe("how long a lease can be kept", () => {
  const hour = 3_600_000

  const limits = (heartbeat: boolean, maxHold?: Duration.Duration) => {
    const clock = { now: 0 }
    const over: Array<unknown> = []
    const sent: Array<Entry> = []
    const landed: Array<unknown> = []
    const queueLimits = { maxLease: Duration.hours(12), maxHold } as Partial<LeaseQueue.Limits> as LeaseQueue.Limits
    const host = {
      queue: { limits: queueLimits },
      clock: { now: () => clock.now, exactly: () => clock.now },
      keeper: { borrow: (delivery: unknown) => () => landed.push(delivery) },
      settler: { submit: (entry: Entry) => sent.push(entry) },
      onOver: (delivery: unknown) => over.push(delivery)
    } as unknown as LeaseLimits.Host
    return { clock, landed, limits: LeaseLimits.make(host, heartbeat), over, sent }
  }

  const delivery = (receivedAt: number, deadline: number) =>
    ({ receivedAt, deadline, isSettling: false, message: { id: "a" } }) as unknown as InFlight

  it("is over at its deadline, and then it ends as lost", () => {
    const { clock, limits: leases, over } = limits(true)
    const one = delivery(0, 1000)
    clock.now = 999
    assert.isFalse(leases.isOver(one))
    assert.deepStrictEqual(over, [])
    clock.now = 1000
    assert.isTrue(leases.isOver(one))
    assert.deepStrictEqual(over, [one])
  })

  it("with extensions to a minute before the longest lease, without to its deadline, and never beyond what the queue allows to hold", () => {
    assert.strictEqual(limits(true).limits.keptUntil(delivery(5, 1000)), 5 + 12 * hour - 60_000)
    assert.strictEqual(limits(false).limits.keptUntil(delivery(5, 1000)), 1000)
    const short = limits(true, Duration.seconds(10))
    short.clock.now = 500
    assert.strictEqual(short.limits.keptUntil(delivery(5, 1000)), 10_500)
    assert.strictEqual(limits(false, Duration.seconds(10)).limits.keptUntil(delivery(5, 1000)), 1000)
  })

  it("what is asked for is cut to what is left of the longest lease, two seconds before its end, and never below nothing", () => {
    const { clock, limits: leases } = limits(true)
    const cut = (millis: number) => Duration.toMillis(leases.cut(delivery(1000, 2000), Duration.millis(millis)))
    assert.strictEqual(cut(5000), 5000)
    clock.now = 1000 + 12 * hour - 5000
    assert.strictEqual(cut(5000), 3000)
    clock.now = 1000 + 12 * hour
    assert.strictEqual(cut(5000), 0)
  })

  it("an extension by hand counts from when it was sent, once it is confirmed; it lands in any case, and who waits is told", () => {
    const { clock, landed, limits: leases, sent } = limits(true)
    const told: Array<boolean> = []
    let extended = 0
    const one = delivery(0, 1000)
    one.follower = { leaseExtended: () => extended++ }
    clock.now = 100
    leases.extend(one, 30_000, (confirmed) => told.push(confirmed))
    const [entry] = sent
    if (entry === undefined) throw new Error("nothing was sent")
    assert.deepStrictEqual([entry.deadline(), entry.over(), entry.awaited], [1000, false, true])
    assert.deepStrictEqual(entry.request, { _tag: "SetLease", duration: Duration.seconds(30) })
    clock.now = 600
    entry.onResult(true)
    assert.deepStrictEqual([one.deadline, entry.deadline(), extended], [30_100, 30_100, 1])
    entry.onResult(false)
    assert.deepStrictEqual([one.deadline, extended], [30_100, 1])
    assert.deepStrictEqual([told, landed.length], [[true, false], 2])
  })
})
