/** The way of a settlement to the queue and of its answer to the delivery's end: each part by itself, with a queue that notes. */
import { assert, describe, it } from "@effect/vitest"
import { type LeaseQueue, Settlement } from "@millrace/core"
import { Duration } from "effect"
import { InFlight, type Owner } from "../../src/internal/lease/inFlight.js"
import { InFlightTable } from "../../src/internal/lease/inFlightTable.js"
import type { Source } from "../../src/internal/lease/source.js"
import { ConsumerMetrics } from "../../src/internal/observe/metrics.js"
import { Observer } from "../../src/internal/observe/observer.js"
import type { Reports } from "../../src/internal/observe/reports.js"
import { Ends } from "../../src/internal/settle/ends.js"
import type { Entry, Request } from "../../src/internal/settle/entry.js"
import * as HandBack from "../../src/internal/settle/handBack.js"
import * as Phase from "../../src/internal/settle/phase.js"
import * as Requests from "../../src/internal/settle/requests.js"
import { Settlements } from "../../src/internal/settle/settlements.js"

const asked = ({ message, request }: Entry): string => {
  const what = request._tag === "SetLease" ? String(Duration.toSeconds(request.duration)) : request._tag
  return `${message.id} ${what}`
}

const setLease: Request = { _tag: "SetLease", duration: Duration.zero }
const deadLetter: Request = { _tag: "DeadLetter", reason: "bad", error: undefined, attempt: 1 }

/** Deliveries `a1`, `a2`, `b1`, … of groups `a` and `b`, in flight; what is sent, told and ended is noted. */
const inFlight = (
  names: string,
  options: {
    readonly ordered?: boolean
    readonly deadLetters?: boolean
    readonly batchSize?: number
    readonly attempt?: number
  } = {}
) => {
  const { attempt = 1, batchSize = 10, deadLetters = true, ordered = true } = options
  const state = { now: 0, isEnding: false, isFull: true, share: 4, landsAtOnce: true, inOrder: 0 }
  const now = () => state.now
  const table = new InFlightTable()
  const observer = new Observer()
  /** One for each call or entry that the settler was given. */
  const sent: Array<string> = []
  const entries: Array<Entry> = []
  const told: Array<string> = []
  const extending: Array<() => void> = []
  const submit = (some: ReadonlyArray<Entry>) => {
    entries.push(...some)
    sent.push(some.map(asked).join(", "))
  }
  const keeper = {
    stop: ({ message }: InFlight, then: () => void) => {
      told.push(`${message.id} stops`)
      if (state.landsAtOnce) then()
      else extending.push(then)
    },
    release: ({ message }: InFlight) => told.push(`${message.id} is not kept`)
  }
  const settler = {
    submit: (entry: Entry) => submit([entry]),
    submitInOrder: (some: ReadonlyArray<Entry>) => {
      if (some.length > 0) state.inOrder++
      submit(some)
    }
  }
  const requests: Requests.Requests = Requests.make({
    deadLetters,
    leaseDuration: Duration.seconds(30),
    cut: (_, duration) => duration,
    onResult: (...all) => settlements.onResult(...all),
    onRefused: (...all) => settlements.onRefused(...all)
  })
  const permits = {
    get isFull() {
      return state.isFull
    },
    get share() {
      return state.share
    },
    allInFlight: 0,
    max: 10,
    release: () => told.push("a permit comes back")
  }
  const handBack = HandBack.make({ ordered, batchSize, table, requests, keeper, settler, now, permits })
  const ends = new Ends({
    now,
    table,
    keeper,
    permits,
    metrics: new ConsumerMetrics("ways"),
    observer,
    onLostHead: (head) => {
      told.push(`${head.message.id} ${head.outcome ?? "is in flight"}`)
      handBack.tailOf(head)
    },
    onEnd: () => told.push("ended")
  })
  const reports = {
    lost: ({ message }: InFlight) => told.push(`${message.id} lost`),
    ackedLate: () => told.push("acked late"),
    deferred: (millis: number) => told.push(`comes again in ${millis}`),
    unconfirmed: ({ message }: InFlight) => told.push(`${message.id} unconfirmed`),
    deadLettered: ({ message }: InFlight, reason: string) => told.push(`${message.id} dead-lettered: ${reason}`)
  } as unknown as Reports
  const settlements = new Settlements({
    ordered,
    deadLetters,
    table,
    keeper,
    settler,
    requests,
    handBack,
    ends,
    reports,
    now,
    isEnding: () => state.isEnding,
    onLost: () => told.push("something is lost")
  })
  const source = { settlements, clock: { now } } as unknown as Source<InFlight>
  const owner = {
    lose: ({ message }: InFlight) => told.push(`${message.id} is given up`),
    left: () => {},
    waits: () => true
  } as unknown as Owner
  const all = new Map<string, InFlight>()
  const receive = (name: string, of: Partial<LeaseQueue.Message> = {}) => {
    const [group = ""] = name
    const message = { id: name, group, sequence: name, attempt, ...of } as LeaseQueue.Message
    const one = new InFlight(source, message, 2, 30_000)
    one.owner = owner
    all.set(name, one)
    table.add(one)
    table.lanes.join(message.group ?? "", one)
    return one
  }
  for (const name of names.split(" ")) receive(name)
  return {
    ...{ ends, entries, handBack, observer, owner, sent, settlements, state, table, told },
    receive,
    of: (name: string): InFlight => all.get(name) ?? assert.fail(`no ${name}`),
    /** Extensions in the air are answered, one after the other. */
    land: () => extending.shift()?.(),
    drain: () => told.splice(0)
  }
}

const leaving = (delivery: InFlight, settlement: Settlement.Settlement) => ({ delivery, settlement, awaited: false })

describe("what goes back", () => {
  it("takes what is behind it in its group along, the last first and itself last; that is not worked on any more", () => {
    const { drain, handBack, of, sent } = inFlight("a1 a2 a3 a4 b1")
    of("a3").beginSettling()
    of("a2").beginSettling()
    handBack.withTail(leaving(of("a2"), Settlement.retry("7 seconds")))
    assert.deepStrictEqual(sent, ["a4 0, a2 7"])
    assert.deepStrictEqual(drain(), ["a4 is given up", "a4 stops", "a2 stops"])
    assert.deepStrictEqual([of("a1").isSettling, of("a4").isSettling, of("b1").isSettling], [false, true, false])
  })

  it("goes alone where its group need not wait for it: on a queue without order, skipped, or without a place in a group", () => {
    const standard = inFlight("a1 a2", { ordered: false })
    standard.handBack.withTail(leaving(standard.of("a1"), Settlement.release))
    assert.deepStrictEqual(standard.sent, ["a1 0"])
    standard.handBack.tailOf(standard.of("a1"))
    const { handBack, of, receive, sent } = inFlight("a1 a2 b1 c1")
    of("a1").failures.skipped = true
    handBack.tailOf(of("a1"))
    handBack.withTail(leaving(of("a1"), Settlement.leave))
    handBack.withTail(leaving(receive("a0", { sequence: undefined }), Settlement.release))
    handBack.withTail(leaving(receive("b0", { group: undefined }), Settlement.release))
    assert.deepStrictEqual(sent, ["a1 30", "a0 0", "b0 0"])
    // What has failed, and is not skipped, is no exception.
    handBack.withTail(leaving({ ...of("a1"), tries: of("b1").failures } as InFlight, Settlement.release))
    assert.deepStrictEqual(standard.sent, ["a1 0"])
  })

  it("waits for all extensions in the air, and then goes in one call in order", () => {
    const { handBack, land, of, sent, state } = inFlight("a1 a2")
    state.landsAtOnce = false
    handBack.withTail(leaving(of("a1"), Settlement.release))
    land()
    assert.deepStrictEqual(sent, [])
    land()
    assert.deepStrictEqual(sent, ["a2 0, a1 0"])
  })

  it("of a head that is lost only the tail; nothing is sent where there is none", () => {
    const { handBack, of, sent, told } = inFlight("a1 a2 a3 b1")
    handBack.tailOf(of("b1"))
    assert.deepStrictEqual([sent, told], [[], []])
    of("a1").failures.hold(1)
    handBack.tailOf(of("a1"))
    assert.deepStrictEqual([...sent, of("a1").isSettling], ["a3 0, a2 0", false])
  })

  it("many at once: each that is asked for with its tail, once; several to a call, and no run in two", () => {
    const { handBack, of, sent } = inFlight("a1 a2 b1 b2 c1 d1", { batchSize: 4 })
    of("d1").beginSettling()
    const released = handBack.release(({ message: { id } }) => id !== "a2" && id !== "c1")
    assert.deepStrictEqual(
      released.map(({ message }) => message.id),
      ["a2", "a1", "b2", "b1"]
    )
    assert.deepStrictEqual(sent, ["a2 0, a1 0, b2 0, b1 0"])
    const small = inFlight("a1 a2 b1 b2 c1", { batchSize: 3 })
    small.handBack.release(() => true)
    assert.deepStrictEqual(small.sent, ["a2 0, a1 0", "b2 0, b1 0, c1 0"])
    const standard = inFlight("a1 a2 a3", { ordered: false })
    assert.lengthOf(
      standard.handBack.release(({ message: { id } }) => id === "a1"),
      1
    )
    assert.deepStrictEqual(standard.sent, ["a1 0"])
  })

  it("to make room: where no permit is free, and failed lanes hold more than half of the share, and no more than that", () => {
    const held = (ordered: boolean, attempt: number) => {
      const all = inFlight("a1 a2 a3 b1", { ordered, attempt })
      for (const name of ["a1", "b1"]) {
        all.of(name).failures.hold(9000)
        all.table.lanes.hold(all.of(name))
      }
      all.state.now = 2000
      return all
    }
    const { handBack, of, owner, sent, state } = held(true, 3)
    state.isFull = false
    handBack.makeRoom()
    assert.deepStrictEqual(sent, [])
    state.isFull = true
    state.share = 9
    handBack.makeRoom()
    assert.deepStrictEqual(sent, [])
    state.share = 7
    handBack.makeRoom()
    assert.deepStrictEqual(sent.splice(0), ["a3 0"])
    // Heads keep what is left of their delay, and go after what is behind them.
    Object.assign(of("a2"), { phase: Phase.Claimed, owner: { ...owner, waits: () => false } })
    state.share = 1
    handBack.makeRoom()
    assert.deepStrictEqual(sent, ["a2 0, a1 7, b1 7"])
    handBack.makeRoom()
    assert.lengthOf(sent, 1)
    // A queue without order would send a tail again at once.
    for (const [attempt, wait] of [
      [1, 2],
      [3, 8],
      [30, 300]
    ] as const) {
      const standard = held(false, attempt)
      standard.state.share = 7
      standard.handBack.makeRoom()
      assert.deepStrictEqual(standard.sent, [`a3 ${wait}`])
    }
  })
})

describe("a settlement", () => {
  it("of an ack goes at once; before anything else the extensions stop", () => {
    const { drain, land, of, sent, settlements, state } = inFlight("a1 a2 b1 c1", { ordered: false })
    state.landsAtOnce = false
    settlements.settle(of("a1"), Settlement.ack, false)
    assert.deepStrictEqual([...sent.splice(0), ...drain()], ["a1 Ack"])
    settlements.settle(of("a2"), Settlement.retry("5 seconds"), true)
    settlements.settle(of("b1"), Settlement.deadLetter("bad"), false)
    assert.deepStrictEqual([...sent, ...drain()], ["a2 stops", "b1 stops"])
    land()
    land()
    // Each may share a call with others.
    assert.deepStrictEqual([...sent, state.inOrder], ["a2 5", "b1 DeadLetter", 0])
  })

  it("that gives back to an ordered queue takes its tail along; an ack, and a dead letter that has a place, does not", () => {
    const { of, receive, sent, settlements, state } = inFlight("a1 a2 b1 b2 c1 c2")
    settlements.settle(of("a1"), Settlement.ack, false)
    settlements.settle(of("b1"), Settlement.deadLetter("bad"), false)
    settlements.settle(of("c1"), Settlement.retry("5 seconds"), false)
    settlements.settle(receive("c0", { group: undefined }), Settlement.release, false)
    assert.deepStrictEqual([...sent, state.inOrder], ["a1 Ack", "b1 DeadLetter", "c2 0, c1 5", "c0 0", 1])
    const noPlace = inFlight("a1 a2", { deadLetters: false })
    noPlace.settlements.settle(noPlace.of("a1"), Settlement.deadLetter("bad"), false)
    assert.deepStrictEqual(noPlace.sent, ["a2 0, a1 30"])
  })

  it("that begins frees its lane's permits, where something in it had failed", () => {
    const { of, settlements, table } = inFlight("a1 a2")
    table.lanes.hold(of("a1"))
    assert.strictEqual(table.lanes.held, 2)
    settlements.begins(of("a1"))
    assert.strictEqual(table.lanes.held, 0)
  })

  it("whose answer is there ends the delivery: as it was meant, or as lost", () => {
    const { drain, of, settlements, state, told } = inFlight("a1 b1 c1 d1 e1 f1 g1 h1", { ordered: false })
    const kept = (name: string) => [`${name} is not kept`, "a permit comes back", "ended"]
    const ends = (name: string) => [`${name} is in flight`, ...kept(name)]
    settlements.onResult(of("a1"), { _tag: "Ack" }, "acked", true)
    assert.deepStrictEqual([of("a1").outcome, ...drain()], ["acked", ...kept("a1")])
    settlements.onResult(of("b1"), setLease, "retried", false)
    assert.deepStrictEqual([of("b1").outcome, ...drain()], ["lost", "b1 unconfirmed", ...ends("b1")])
    settlements.onResult(of("c1"), deadLetter, "deadLettered", true)
    assert.deepStrictEqual([of("c1").outcome, ...drain()], ["deadLettered", "c1 dead-lettered: bad", ...kept("c1")])
    settlements.onResult(of("d1"), deadLetter, "deadLettered", false)
    assert.deepStrictEqual([of("d1").outcome, ...drain()], ["lost", "d1 unconfirmed", ...ends("d1")])
    // To the millisecond at its deadline a lease is not over.
    for (const [name, at, outcome] of [
      ["e1", 30_000, "acked"],
      ["f1", 30_001, "released"],
      ["g1", 30_001, "acked"]
    ] as const) {
      state.now = at
      settlements.onResult(of(name), setLease, outcome, true)
    }
    assert.deepStrictEqual(
      told.filter((text) => text === "acked late"),
      ["acked late"]
    )
    assert.deepStrictEqual(told.slice(-5, -3), ["acked late", `comes again in ${Duration.toMillis(setLease.duration)}`])
    drain()
    settlements.onResult(of("h1"), { _tag: "Ack" }, "acked", false)
    assert.notInclude(told, "acked late")
  })

  it("that the queue refuses: a dead letter is left, with its tail; anything else ends with its lease, or with the consumer", () => {
    const { drain, of, sent, settlements, state } = inFlight("a1 a2 b1 c1 d1")
    for (const name of ["a1", "b1", "c1", "d1"]) of(name).beginSettling()
    settlements.onRefused(of("a1"), deadLetter)
    assert.deepStrictEqual(sent, ["a2 0, a1 30"])
    drain()
    settlements.onRefused(of("b1"), setLease)
    assert.deepStrictEqual([of("b1").outcome, settlements.isRefused(of("b1")), ...drain()], [undefined, true])
    settlements.lost(of("c1"))
    assert.deepStrictEqual([of("c1").outcome, ...drain()], [undefined])
    settlements.lost(of("b1"))
    assert.strictEqual(of("b1").outcome, "lost")
    assert.notInclude(drain(), "b1 lost")
    state.isEnding = true
    settlements.onRefused(of("c1"), setLease)
    state.isEnding = false
    state.now = 30_000
    settlements.onRefused(of("d1"), setLease)
    assert.deepStrictEqual(
      [of("c1").outcome, of("d1").outcome, settlements.isRefused(of("d1"))],
      ["lost", "lost", false]
    )
    assert.lengthOf(
      drain().filter((text) => text === "something is lost"),
      2
    )
  })

  it("that never began: a lost lease is told, its work stopped, and what is behind it goes back", () => {
    const { of, sent, settlements, told } = inFlight("a1 a2")
    settlements.lost(of("a1"))
    assert.strictEqual(of("a1").outcome, "lost")
    assert.deepStrictEqual(sent, ["a2 0"])
    assert.deepStrictEqual(told.slice(0, 3), ["a1 lost", "a1 is given up", "a1 is in flight"])
    assert.deepStrictEqual(told.slice(-3), ["a permit comes back", "ended", "something is lost"])
  })

  it("after a lost lease is an ack of a queue without order, counted apart", () => {
    const { ends, entries, of, sent, settlements, told } = inFlight("a1 b1", { ordered: false })
    settlements.ackLate(of("a1"))
    ends.end(of("a1"), "lost")
    ends.end(of("b1"), "released")
    settlements.ackLate(of("a1"))
    settlements.ackLate(of("b1"))
    assert.deepStrictEqual(sent, ["a1 Ack"])
    const [entry] = entries
    assert.deepStrictEqual([entry?.deadline(), entry?.over(), entry?.awaited], [30_000, false, false])
    entry?.onResult(false)
    assert.notInclude(told, "acked late")
    entry?.onResult(true)
    assert.include(told, "acked late")
    const ordered = inFlight("a1")
    ordered.ends.end(ordered.of("a1"), "lost")
    ordered.settlements.ackLate(ordered.of("a1"))
    assert.deepStrictEqual(ordered.sent, [])
  })
})

describe("an end", () => {
  it("comes once: the permit comes back, nothing of it is kept, and who waits for that is told", () => {
    const { drain, ends, observer, of, state, table } = inFlight("a1 b1")
    let tellings = 0
    table.tellEnd = () => {
      tellings++
    }
    assert.deepStrictEqual([ends.latest, ends.none], [0, true])
    state.now = 5
    let left = -1
    of("a1").onEnded(() => {
      left = table.size
    })
    ends.end(of("a1"), "acked")
    assert.deepStrictEqual(drain(), ["a1 is not kept", "a permit comes back", "ended"])
    // Who is told of the end of one finds it in flight no more as soon as that is told to all.
    assert.deepStrictEqual([left, table.size, ends.latest, ends.none, of("a1").outcome], [2, 1, 5, false, "acked"])
    assert.deepStrictEqual([[...table.lanes.in("a")], tellings, observer.settled.histogram.sum], [[], 1, 3])
    ends.end(of("a1"), "lost")
    assert.deepStrictEqual(drain(), [])
    ends.end(of("b1"), "lost")
    assert.deepStrictEqual(drain(), ["b1 is in flight", "b1 is not kept", "a permit comes back", "ended"])
  })
})
