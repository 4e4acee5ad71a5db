/** A drain by itself: in what order it asks what of its consumer, how long it waits, and what it makes of what is left. */
import { assert, describe, it } from "@effect/vitest"
import { type LeaseQueue, Settlement } from "@millrace/core"
import { Duration, Effect, Fiber } from "effect"
import { Drain, type Host } from "../../src/internal/drain/drain.js"
import { fork } from "../../src/internal/effect/fork.js"
import { InFlight, type Owner } from "../../src/internal/lease/inFlight.js"
import { InFlightTable } from "../../src/internal/lease/inFlightTable.js"
import type { Source } from "../../src/internal/lease/source.js"
import * as Phase from "../../src/internal/settle/phase.js"
import { simulated } from "../support/index.js"

type Outcome = Settlement.Outcome

/** A drain of deliveries that are made as told; what is asked of its consumer is noted, and nothing is settled by itself. */
const drained = Effect.gen(function* () {
  const noted: Array<string> = []
  const clock = yield* Effect.clock
  const began = clock.unsafeCurrentTimeMillis()
  const note = (text: string) => noted.push(`${clock.unsafeCurrentTimeMillis() - began} ${text}`)
  const table = new InFlightTable()
  const refused = new Set<InFlight>()
  const counts = { acked: 0, retried: 0, released: 0, deadLettered: 0, left: 0, lost: 0, stranded: 0 }
  const source = {
    clock: { now: () => clock.unsafeCurrentTimeMillis() },
    leases: { isOver: () => false },
    settlements: {
      begins: () => {},
      settle: ({ message }: InFlight, { _tag }: Settlement.Settlement) => note(`${message.id} ${_tag}`)
    }
  } as unknown as Source<InFlight>
  const end = (delivery: InFlight, outcome: Outcome) => {
    if (delivery.outcome !== undefined) return
    note(`${delivery.message.id} is ${outcome}`)
    counts[outcome as keyof typeof counts]++
    delivery.end(outcome)
    table.delete(delivery)
    table.tellEnd()
    drain.rest()
  }
  const host = {
    runFork: yield* fork(),
    table,
    handBack: {
      release: (which: (delivery: InFlight) => boolean) => {
        const released = [...table].filter((one) => which(one) && one.beginSettling())
        note(`hands back ${released.map(({ message }) => message.id).join(" ")}`)
        return released
      }
    },
    settlements: { isRefused: (delivery: InFlight) => refused.has(delivery) },
    ends: { end },
    reports: { goesOn: ({ message }: InFlight) => note(`${message.id} goes on`) },
    metrics: { counts },
    stopReceiving: Effect.sync(() => note("stops")),
    flush: () => note("flushes"),
    onClosed: () => note("closed"),
    onOver: () => note("over")
  } as unknown as Host
  const drain: Drain = new Drain(host, Duration.seconds(5))
  const owner = (name: string, closed = false): Owner => ({
    interrupt: ({ message }) => note(`${name} interrupts ${message.id}`),
    lose: () => {},
    left: () => {},
    waits: ({ message }) => message.id.startsWith("w"),
    closed
  })
  return {
    ...{ counts, drain, noted, refused, table },
    /** In this phase, of this owner. */
    add: (id: string, phase: Phase.Phase, of?: Owner): InFlight => {
      const one = new InFlight(source, { id, attempt: 1 } as LeaseQueue.Message, 0, 30_000)
      table.add(one)
      one.phase = phase
      one.owner = of
      return one
    },
    after: (millis: number, one: InFlight, outcome: Outcome) =>
      Effect.fork(
        Effect.delay(
          Effect.sync(() => end(one, outcome)),
          millis
        )
      ),
    owner,
    said: () => noted.splice(0)
  }
})

describe("a drain", () => {
  it(
    "stops the receives, hands back what does not run, waits for what does, and then for the settlements",
    simulated(
      Effect.gen(function* () {
        const { add, after, counts, drain, owner, said } = yield* drained
        counts.acked = 3
        counts.left = 1
        const stage = owner("stage")
        const waiting = [add("p", Phase.Prefetched), add("h", Phase.HandedOver), add("w", Phase.Claimed, stage)]
        const [first, second] = [add("a", Phase.Claimed, stage), add("b", Phase.Claimed, stage)]
        for (const [i, outcome] of (["acked", "retried", "deadLettered", "left", "released"] as const).entries()) {
          yield* after(2000 + i, add(`${i}`, Phase.Settling), outcome)
        }
        for (const [i, one] of waiting.entries()) yield* after(10 + i, one, "released")
        yield* after(1000, first, "acked")
        yield* after(1500, second, "lost")
        assert.isFalse(drain.isEnding)
        const report = yield* drain.run(Duration.seconds(10))
        assert.isTrue(drain.isEnding)
        assert.deepStrictEqual(report, { finished: 5, released: 4, lost: 1, stranded: 0 })
        assert.deepStrictEqual(said(), [
          "0 stops",
          "0 hands back p h w",
          ...["p", "h", "w"].map((id, i) => `${10 + i} ${id} is released`),
          "1000 a is acked",
          "1500 b is lost",
          // Nothing runs any more.
          "1500 flushes",
          ...["acked", "retried", "deadLettered", "left", "released"].map((how, i) => `${2000 + i} ${i} is ${how}`)
        ])
        // Nothing is left: it waits for nothing.
        yield* drain.run(Duration.seconds(10))
        assert.deepStrictEqual(said(), ["2004 stops", "2004 hands back "])
      })
    )
  )

  it(
    "interrupts at its deadline what runs, and releases what nobody answers for; what goes on then counts as lost",
    simulated(
      Effect.gen(function* () {
        const { add, after, drain, owner, said } = yield* drained
        const runs = add("a", Phase.Claimed, owner("stage"))
        add("b", Phase.Claimed, owner("stage")).startedAt = 0
        add("c", Phase.Claimed, owner("stage"))
        add("d", Phase.Claimed, owner("gone", true))
        add("e", Phase.Claimed)
        add("s", Phase.Settling)
        yield* after(2500, runs, "released")
        const report = yield* drain.run(Duration.seconds(2), "leave", Duration.seconds(1))
        assert.deepStrictEqual([drain.afterStop, Duration.toMillis(drain.flushWithin)], [Settlement.leave, 1000])
        assert.deepStrictEqual(said(), [
          "0 stops",
          "0 hands back ",
          "2000 stage interrupts a",
          "2000 stage interrupts b",
          "2000 stage interrupts c",
          "2000 d Release",
          "2000 e Release",
          "2500 a is released",
          "3000 b goes on",
          "3000 b is lost",
          "3000 c is lost",
          "3000 flushes",
          ...["d", "e", "s"].map((id) => `4000 ${id} is lost`)
        ])
        assert.deepInclude(report, { finished: 0, released: 1, lost: 5 })
        // As an earlier one has said, where it says nothing.
        yield* drain.run(Duration.zero)
        assert.deepStrictEqual([drain.afterStop, Duration.toMillis(drain.flushWithin)], [Settlement.leave, 1000])
        yield* drain.run(Duration.zero, "release")
        assert.strictEqual(drain.afterStop, Settlement.release)
      })
    )
  )

  it(
    "does not wait for what the queue refuses, and waits no longer than it must",
    simulated(
      Effect.gen(function* () {
        const { add, after, drain, refused, said } = yield* drained
        const [a, b, c] = [add("a", Phase.Settling), add("b", Phase.Settling), add("c", Phase.Settling)]
        refused.add(a)
        yield* drain.settled([a])
        assert.deepStrictEqual(said(), ["0 a is lost"])
        yield* after(100, b, "acked")
        yield* after(200, c, "acked")
        const settling = yield* Effect.fork(drain.settled([b, c]))
        yield* Effect.sleep(1)
        assert.isTrue(drain.isEnding)
        yield* Fiber.join(settling)
        assert.isFalse(drain.isEnding)
        assert.deepStrictEqual(said(), ["0 flushes", "100 b is acked", "200 c is acked"])
        const late = add("d", Phase.Settling)
        yield* drain.settled([late, late])
        assert.deepStrictEqual(said(), ["200 flushes", "5200 d is lost"])
        assert.isFalse(drain.isEnding)
      })
    )
  )

  it(
    "may begin where nobody waits for it; what a stage gives up is lost, once, and its handler may go on",
    simulated(
      Effect.gen(function* () {
        const { add, drain, owner, said } = yield* drained
        const [a, b] = [add("a", Phase.Claimed, owner("stage")), add("b", Phase.Claimed, owner("stage"))]
        drain.start(Duration.zero)
        yield* Effect.sleep(1)
        assert.isTrue(drain.begun)
        assert.include(said(), "0 stage interrupts a")
        a.startedAt = 0
        drain.abandon(a)
        drain.abandon(a)
        drain.abandon(b)
        assert.deepStrictEqual(said(), ["1 a goes on", "1 a is lost", "1 b is lost"])
      })
    )
  )
})

describe("a reader that goes", () => {
  it(
    "is a drain of what no stage has claimed; the end of the last stage one of what is nobody's",
    simulated(
      Effect.gen(function* () {
        const { add, after, drain, owner, said } = yield* drained
        assert.isFalse(drain.hasSettler)
        const [one, two] = [{}, {}]
        drain.endsIn(one)
        drain.endsIn(two)
        assert.isTrue(drain.hasSettler)
        const [unclaimed, waits] = [add("h", Phase.HandedOver), add("w", Phase.Claimed, owner("stage"))]
        const [orphan, passed] = [add("o", Phase.Claimed), add("c", Phase.Claimed, owner("gone", true))]
        drain.rest()
        // With a stage that is there, and while the reader is, nothing is nobody's.
        yield* drain.endIsOver(one)
        assert.deepStrictEqual(said(), [])
        drain.endsIn(one)
        yield* after(100, unclaimed, "released")
        yield* drain.closeSource
        assert.isTrue(drain.sourceClosed && drain.isEnding)
        assert.deepStrictEqual(said(), ["0 stops", "0 hands back h", "0 flushes", "100 h is released", "100 closed"])
        yield* drain.endIsOver(one)
        assert.deepStrictEqual(said(), [])
        const late = add("p", Phase.Prefetched)
        for (const [i, each] of [orphan, passed, late].entries()) yield* after(100 + i, each, "released")
        yield* drain.endIsOver(two)
        assert.deepStrictEqual(said(), [
          "100 hands back o c p",
          "100 flushes",
          ...["o", "c", "p"].map((id, i) => `${200 + i} ${id} is released`)
        ])
        yield* after(100, waits, "acked")
        yield* Effect.sleep(200)
        assert.deepStrictEqual(said(), ["302 w is acked", "302 over"])
        yield* drain.endIsOver(two)
        assert.deepStrictEqual(said(), ["402 hands back ", "402 over"])
      })
    )
  )

  it(
    "is over at once where nothing is in flight, also where its last stage goes first",
    simulated(
      Effect.gen(function* () {
        const { drain, said } = yield* drained
        drain.endsIn(drain)
        yield* drain.endIsOver(drain)
        assert.deepStrictEqual(said(), [])
        yield* drain.closeSource
        assert.deepStrictEqual(said(), ["0 stops", "0 hands back ", "0 closed", "0 over"])
      })
    )
  )
})
