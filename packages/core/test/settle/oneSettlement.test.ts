/** The one end of a delivery, and how entries become calls: each by itself. */
import { assert, describe, it } from "@effect/vitest"
import type { Settlement } from "@millrace/core"
import { Effect } from "effect"
import { fork } from "../../src/internal/effect/fork.js"
import { Batches, type Host, type Options } from "../../src/internal/settle/batches.js"
import { byReceive } from "../../src/internal/settle/byReceive.js"
import type { Entry, Operation } from "../../src/internal/settle/entry.js"
import { OneSettlement } from "../../src/internal/settle/oneSettlement.js"
import * as Phase from "../../src/internal/settle/phase.js"
import { plainMessage, simulated } from "../support/index.js"

class Delivery extends OneSettlement {
  readonly told: Array<string> = []
  protected begins(): void {
    this.told.push(`begins in ${this.phase}`)
  }
  protected ends(): void {
    this.told.push(`ends in ${this.phase} as ${this.outcome}`)
  }
}

describe("a delivery", () => {
  it("ends once: its settlement begins once, and who waits for its end is told once, after its owner", () => {
    const delivery = new Delivery()
    const outcomes: Array<Settlement.Outcome> = []
    delivery.onEnded((outcome) => {
      outcomes.push(outcome)
      delivery.told.push("told")
    })
    delivery.onEnded((outcome) => outcomes.push(outcome))
    assert.deepStrictEqual([delivery.isSettling, delivery.outcome], [false, undefined])
    assert.isTrue(delivery.beginSettling())
    assert.deepStrictEqual([delivery.isSettling, delivery.phase], [true, Phase.Settling])
    assert.isFalse(delivery.beginSettling())
    assert.isTrue(delivery.end("acked"))
    assert.deepStrictEqual([delivery.isSettling, delivery.phase, delivery.outcome], [true, Phase.Ended, "acked"])
    assert.isFalse(delivery.end("lost"))
    assert.isFalse(delivery.beginSettling())
    assert.strictEqual(delivery.outcome, "acked")
    assert.deepStrictEqual(outcomes, ["acked", "acked"])
    delivery.onEnded((outcome) => outcomes.push(outcome))
    assert.deepStrictEqual(outcomes, ["acked", "acked", "acked"])
    assert.deepStrictEqual(delivery.told, ["begins in 3", "ends in 4 as acked", "told"])
  })

  it("that ends without a settlement closes the door to any", () => {
    const delivery = new Delivery()
    assert.isTrue(delivery.end("lost"))
    assert.isFalse(delivery.beginSettling())
    assert.deepStrictEqual(delivery.told, ["begins in 3", "ends in 4 as lost"])
  })
})

const entry = (
  id: string,
  {
    awaited = false,
    receive,
    tag = "Ack"
  }: Partial<{ awaited: boolean; receive: number; tag: "Ack" | "DeadLetter" }> = {}
): Entry => ({
  message: { ...plainMessage(id), receive },
  request: tag === "Ack" ? { _tag: "Ack" } : { _tag: "DeadLetter", reason: "", error: undefined, attempt: 1 },
  deadline: () => Number.POSITIVE_INFINITY,
  over: () => false,
  onResult: () => {},
  awaited
})

describe("entries by their receives", () => {
  it("the receive with the most comes first, each with its entries in their order", () => {
    const entries = [1, 2, 2, undefined, 3, 2, 3].map((receive, i) => ({ message: { receive }, i }))
    assert.deepStrictEqual(
      byReceive(entries).map(({ i }) => i),
      [1, 2, 5, 4, 6, 0, 3]
    )
    const same = [7, 7, 7].map((receive, i) => ({ message: { receive }, i }))
    assert.strictEqual(byReceive(same), same)
    assert.deepStrictEqual(byReceive([]), [])
  })
})

/** Batches of ten, with what they sent; `answer` answers the oldest call. */
const gathering = (options: Partial<Options> = {}, host: Partial<Host> = {}) =>
  Effect.gen(function* () {
    const clock = yield* Effect.clock
    const now = () => clock.unsafeCurrentTimeMillis()
    const calls: Array<readonly [number, Operation, string]> = []
    const open: Array<() => void> = []
    const batches = new Batches(
      { runFork: yield* fork(), now, rate: () => 1, joiners: () => "some", ...host },
      10,
      { linger: 100, concurrency: 2, ...options },
      (operation, entries, onAnswer) => {
        calls.push([now(), operation, entries.map(({ message }) => message.id).join("")])
        open.push(onAnswer)
      }
    )
    return {
      batches,
      calls,
      add: (ids: string, how?: Parameters<typeof entry>[1]) => {
        for (const id of ids) batches.add(entry(id, how), ids.length)
      },
      answer: () => open.shift()?.(),
      answerAll: () => {
        for (const onAnswer of open.splice(0)) onAnswer()
      }
    }
  })

describe("calls", () => {
  it(
    "go when they are full, or their first entry has lingered: each operation by its own",
    simulated(
      Effect.gen(function* () {
        const { add, answerAll, calls } = yield* gathering()
        add("abcdefghij")
        assert.deepStrictEqual(calls, [[0, "Ack", "abcdefghij"]])
        add("k")
        add("x", { tag: "DeadLetter" })
        yield* Effect.sleep(50)
        add("l")
        yield* Effect.sleep(49)
        assert.strictEqual(calls.length, 1)
        answerAll()
        yield* Effect.sleep(2)
        assert.deepStrictEqual(calls.slice(1), [
          [100, "Ack", "kl"],
          [100, "DeadLetter", "x"]
        ])
        answerAll()
        yield* Effect.sleep(1000)
        assert.strictEqual(calls.length, 3)
      })
    )
  )

  it(
    "whose result is awaited linger for five milliseconds; what comes later is due no later",
    simulated(
      Effect.gen(function* () {
        const { add, answerAll, batches, calls } = yield* gathering()
        add("a")
        yield* Effect.sleep(10)
        add("b", { awaited: true })
        add("c")
        yield* Effect.sleep(6)
        assert.deepStrictEqual(calls, [[15, "Ack", "abc"]])
        answerAll()
        add("d")
        batches.hurry()
        batches.hurry()
        yield* Effect.sleep(6)
        assert.deepStrictEqual(calls.slice(1), [[21, "Ack", "d"]])
        answerAll()
        add("e")
        batches.flush()
        batches.flush()
        assert.deepStrictEqual(calls.slice(2), [[22, "Ack", "e"]])
        yield* Effect.sleep(1000)
        assert.strictEqual(calls.length, 3)
      })
    )
  )

  it(
    "wait for nobody where nobody can join, or none will come in time and one waits",
    simulated(
      Effect.gen(function* () {
        const at = (host: Partial<Host>, awaited: boolean, linger = 100) =>
          Effect.gen(function* () {
            const { add, calls } = yield* gathering({ linger }, host)
            const since = yield* Effect.clockWith((clock) => clock.currentTimeMillis)
            add("a", { awaited })
            yield* Effect.sleep(500)
            return (calls[0]?.[0] ?? Number.NaN) - since
          })
        const slow = () => 0.001
        assert.strictEqual(yield* at({ joiners: () => "none" }, false), 0)
        assert.strictEqual(yield* at({ joiners: () => "none yet" }, false), 100)
        assert.strictEqual(yield* at({ joiners: () => "none yet", rate: slow }, false), 0)
        assert.strictEqual(yield* at({ rate: slow }, false), 100)
        assert.strictEqual(yield* at({ rate: slow }, true), 0)
        assert.strictEqual(yield* at({}, true), 5)
        assert.strictEqual(yield* at({}, true, 2), 2)
      })
    )
  )

  it(
    "are so many at once: what is due then goes with the next answer",
    simulated(
      Effect.gen(function* () {
        const { add, answer, calls } = yield* gathering()
        add("abcdefghij".repeat(3))
        add("k")
        yield* Effect.sleep(200)
        assert.deepStrictEqual(
          calls.map(([at]) => at),
          [0, 0]
        )
        answer()
        assert.deepStrictEqual(calls[2], [200, "Ack", "abcdefghij"])
        answer()
        assert.deepStrictEqual(calls[3], [200, "Ack", "k"])
        yield* Effect.sleep(200)
        assert.strictEqual(calls.length, 4)
        // What is not due then goes when it is.
        add("l")
        yield* Effect.sleep(50)
        answer()
        yield* Effect.sleep(51)
        assert.deepStrictEqual(calls.slice(4), [[500, "Ack", "l"]])
      })
    )
  )

  it(
    "are full with entries of one receive; who waits does not wait for the others of theirs",
    simulated(
      Effect.gen(function* () {
        const { add, answerAll, batches, calls } = yield* gathering()
        add("abcdefghi", { receive: 1 })
        add("123", { receive: 2 })
        assert.deepStrictEqual(calls, [])
        add("j", { receive: 1 })
        assert.deepStrictEqual(calls, [[0, "Ack", "abcdefghij"]])
        answerAll()
        yield* Effect.sleep(101)
        assert.deepStrictEqual(calls.slice(1), [[100, "Ack", "123"]])
        answerAll()
        add("456", { receive: 6 })
        add("ABCDEFGHIJ", { receive: 7 })
        add("7890123", { receive: 6 })
        assert.deepStrictEqual(calls.splice(2), [
          [101, "Ack", "ABCDEFGHIJ"],
          [101, "Ack", "4567890123"]
        ])
        answerAll()
        add("klmno", { receive: 3, awaited: true })
        add("pqrs", { receive: 4, awaited: true })
        assert.strictEqual(calls.length, 2)
        add("t", { receive: 4, awaited: true })
        assert.deepStrictEqual(calls.slice(2), [[101, "Ack", "klmnopqrst"]])
        add("u", { receive: 5 })
        yield* Effect.sleep(50)
        assert.strictEqual(calls.length, 3)
        batches.disarm()
      })
    )
  )

  it(
    "that have not gone do not go once they are forgotten, or the timer is ended",
    simulated(
      Effect.gen(function* () {
        const { add, answerAll, batches, calls } = yield* gathering()
        add("a")
        batches.clear()
        yield* Effect.sleep(200)
        answerAll()
        batches.flush()
        assert.deepStrictEqual(calls, [])
        add("b")
        batches.disarm()
        yield* Effect.sleep(200)
        assert.deepStrictEqual(calls, [])
        batches.flush()
        assert.deepStrictEqual(calls, [[400, "Ack", "b"]])
        answerAll()
        // No timer is left behind.
        add("c")
        batches.clear()
      })
    )
  )
})
