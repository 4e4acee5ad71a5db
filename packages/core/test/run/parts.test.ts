/** The parts of a stage by themselves: what is ready, held, and done, and how a stage waits. */
import { assert, describe, it } from "@effect/vitest"
import { Tunable } from "@millrace/core"
import { Cause, Chunk, Effect, Exit, Fiber, Option } from "effect"
import { fork } from "../../src/internal/effect/fork.js"
import { Followers } from "../../src/internal/run/followers.js"
import { Held } from "../../src/internal/run/held.js"
import { InOrder } from "../../src/internal/run/ready.js"
import { Results } from "../../src/internal/run/results.js"
import { Signal } from "../../src/internal/run/signal.js"
import { OwnSlots, Passing } from "../../src/internal/run/slots.js"
import { simulated } from "../support/index.js"

describe("what is ready", () => {
  const shut = { flow: "probes", admits: true, onChange: () => () => {} } as const
  const open = { ...shut, flow: "all" } as const
  const rankOf = (item: string) => Number(item[0])
  const taken = (ready: InOrder<string>) => {
    const items: Array<string> = []
    for (let item = ready.shift(); item !== undefined; item = ready.shift()) items.push(item)
    return items
  }

  it("runs in the order in which it came; of queues of which some come first, theirs first", () => {
    const ready = new InOrder<string>(rankOf)
    for (const item of ["1a", "1b", "0a", "2a", "1c", "0b"]) {
      assert.isTrue(ready.admits())
      ready.push(item)
    }
    assert.deepStrictEqual([ready.size, ready.useful], [6, 6])
    assert.deepStrictEqual(taken(ready), ["0a", "0b", "1a", "1b", "1c", "2a"])
    assert.strictEqual(ready.size, 0)
  })

  it("what the gate turned back comes last as a probe, and first once the gate is open", () => {
    const ready = new InOrder<string>(rankOf)
    ready.push("0b")
    ready.ends("0a", "deferred")
    ready.ends("0x", "done")
    ready.resume(undefined)
    ready.resume(shut)
    assert.deepStrictEqual([ready.size, ready.useful, [...ready.items]], [2, 1, ["0b"]])
    assert.deepStrictEqual(taken(ready), ["0b", "0a"])
    ready.push("0b")
    ready.ends("0a", "deferred")
    ready.resume(open)
    ready.resume(open)
    assert.strictEqual(ready.useful, 2)
    assert.deepStrictEqual(taken(ready), ["0a", "0b"])
  })

  it("what is dropped runs no more, whether the gate turned it back or not; what is not there is left alone", () => {
    const ready = new InOrder<string>(rankOf)
    for (const item of ["0a", "0b", "0c"]) ready.push(item)
    ready.ends("0d", "deferred")
    ready.ends("0e", "deferred")
    for (const item of ["0b", "0d", "0z"]) ready.drop(item)
    assert.deepStrictEqual(taken(ready), ["0a", "0c", "0e"])
  })
})

describe("what is held", () => {
  it(
    "is told when it is due, or let go before",
    simulated(
      Effect.gen(function* () {
        const held = new Held<string>(yield* fork())
        const told: Array<string> = []
        const hold = (item: string, millis: number) => held.hold(item, millis, (due) => told.push(`${item} ${due}`))
        hold("a", 100)
        hold("b", 200)
        hold("c", 300)
        hold("d", 300)
        held.letGo("b")
        held.letGo("nobody")
        yield* Effect.sleep(1)
        assert.deepStrictEqual([held.size, held.has("a"), held.has("b"), ...told], [3, true, false, "b false"])
        yield* Effect.sleep(100)
        held.letAllGo()
        yield* Effect.sleep(500)
        assert.deepStrictEqual(told.toSorted(), ["a true", "b false", "c false", "d false"])
        assert.strictEqual(held.size, 0)
      })
    )
  )
})

describe("a signal", () => {
  it(
    "wakes who waits, and is kept for who comes next; a kept one is used once",
    simulated(
      Effect.gen(function* () {
        const signal = new Signal()
        let woken = 0
        const waiting = Effect.fork(
          Effect.zipRight(
            signal.wait,
            Effect.sync(() => woken++)
          )
        )
        yield* waiting
        yield* Effect.sleep(1)
        assert.strictEqual(woken, 0)
        signal.wake()
        yield* Effect.sleep(1)
        assert.strictEqual(woken, 1)
        signal.wake()
        signal.wake()
        yield* signal.wait
        const one = yield* waiting
        yield* Effect.sleep(1)
        assert.strictEqual(woken, 1)
        // Who has gone takes none with it.
        yield* Fiber.interrupt(one)
        signal.wake()
        yield* signal.wait
        let holds = false
        const until = yield* Effect.fork(signal.until(() => holds))
        yield* Effect.sleep(1)
        signal.wake()
        yield* Effect.sleep(1)
        assert.isNull(until.unsafePoll())
        holds = true
        signal.wake()
        yield* Fiber.join(until)
        yield* signal.until(() => true)
      })
    )
  )

  it(
    "lets nobody wait for what became true as it looked, and the next one have the wake-up of one who has gone",
    simulated(
      Effect.gen(function* () {
        const signal = new Signal()
        let looks = 0
        // False at the first look, and true when it begins to wait: nobody wakes it.
        yield* signal.until(() => looks++ > 0)
        let holds = false
        const gone = yield* Effect.fork(signal.until(() => holds))
        yield* Effect.sleep(1)
        yield* Fiber.interrupt(gone)
        const next = yield* Effect.fork(signal.until(() => holds))
        yield* Effect.sleep(1)
        holds = true
        signal.wake()
        yield* Fiber.join(next)
      })
    )
  )
})

describe("results", () => {
  const made = () => {
    const taken: Array<ReadonlyArray<number>> = []
    return { results: new Results<number, string>((some) => taken.push(some)), taken }
  }

  it(
    "are taken all at once, then the end; done is only who has told its reader of an end without failure",
    simulated(
      Effect.gen(function* () {
        const { results, taken } = made()
        const first = yield* Effect.fork(results.pull)
        yield* Effect.sleep(1)
        results.push([])
        yield* Effect.sleep(1)
        assert.isNull(first.unsafePoll())
        results.push([1, 2])
        assert.strictEqual(results.length, 2)
        assert.deepStrictEqual(Chunk.toArray(yield* Fiber.join(first)), [1, 2])
        assert.strictEqual(results.length, 0)
        results.push([3])
        results.push([4])
        results.end(Exit.fail(Option.none()))
        results.end(Exit.fail(Option.some("too late")))
        assert.isFalse(results.isDone)
        assert.deepStrictEqual(Chunk.toArray(yield* results.pull), [3, 4])
        assert.deepStrictEqual(taken, [
          [1, 2],
          [3, 4]
        ])
        assert.isFalse(results.isDone)
        assert.deepStrictEqual(yield* Effect.exit(results.pull), Exit.fail(Option.none()))
        assert.isTrue(results.isDone)
        results.push([5])
        assert.isFalse(results.isDone)
      })
    )
  )

  it(
    "an end wakes who waits; a failure or a defect is not done",
    simulated(
      Effect.gen(function* () {
        for (const end of [Exit.fail(Option.some("no")), Exit.die("a defect")]) {
          const { results } = made()
          const pull = yield* Effect.fork(results.pull)
          yield* Effect.sleep(1)
          results.end(end)
          assert.isTrue(Exit.isFailure(yield* Fiber.await(pull)))
          assert.isFalse(results.isDone)
        }
        assert.isFalse(made().results.isDone)
      })
    )
  )
})

describe("slots", () => {
  it.effect("are taken and given back, and change with their number", () =>
    Effect.gen(function* () {
      const concurrency = yield* Tunable.make("concurrency", 3)
      for (const slots of [new OwnSlots(concurrency), new Passing(3)]) {
        slots.take()
        slots.take()
        assert.deepStrictEqual([slots.count, slots.taken, slots.free], [3, 2, 1])
        slots.giveBack()
        assert.deepStrictEqual([slots.taken, slots.free], [1, 2])
      }
      const own = new OwnSlots(concurrency)
      let changes = 0
      const cancel = own.onChange(() => changes++)
      yield* concurrency.set(5)
      cancel()
      assert.deepStrictEqual([own.free, own.tunable, changes], [5, concurrency, 1])
      yield* concurrency.set(Number.MAX_SAFE_INTEGER)
      assert.deepStrictEqual([own.tunable, changes], [undefined, 1])
    })
  )
})

describe("what has failed in a batch", () => {
  it("is followed by what is behind it in any of its lanes, and behind those in theirs", () => {
    // Each is in the lanes that its name has.
    const followers = new Followers<string, string>((name) => name.split("").filter((letter) => letter !== "-"))
    assert.isFalse(followers.follows("ab"))
    followers.fails("ab", Cause.fail("a failure"))
    assert.deepStrictEqual(
      ["bc", "d", "-", "ce", "e", "df"].map((name) => followers.follows(name)),
      [true, false, false, true, true, false]
    )
    followers.fails("d", Cause.fail("another"))
    assert.isTrue(followers.follows("dz"))
    const failed: Array<string> = []
    followers.forEach((name, _, behind) => failed.push(`${name}: ${behind.join(" ")}`))
    assert.deepStrictEqual(failed, ["ab: bc ce e", "d: dz"])
  })
})
