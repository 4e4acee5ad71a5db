/** A stage by itself: what it pulls, starts and holds, in what order, and how it ends. Its work is done as told. */
import { assert, describe, it } from "@effect/vitest"
import { type LeaseQueue, Settlement, Tunable } from "@millrace/core"
import { Chunk, Duration, Effect, Exit, Fiber, Option, Scope, Stream } from "effect"
import { downstream } from "../../src/internal/handOver/downstream.js"
import { InFlight } from "../../src/internal/lease/inFlight.js"
import type { Source } from "../../src/internal/lease/source.js"
import { Observer } from "../../src/internal/observe/observer.js"
import { Claims } from "../../src/internal/run/claims.js"
import type { Gate } from "../../src/internal/run/gate.js"
import { OwnSlots, Passing } from "../../src/internal/run/slots.js"
import { dispatch } from "../../src/internal/run/stage.js"
import type { Slot, Work } from "../../src/internal/run/work.js"
import * as Phase from "../../src/internal/settle/phase.js"
import { simulated } from "../support/index.js"

interface Options
  extends Partial<Omit<Work<string, string, never>, "slots" | "claims" | "deliveries" | "gate" | "passedOn">> {
  readonly slots?: number
  readonly bound?: false
  /** Items are in the lanes of their first letters, but `-1` is in none. */
  readonly laned?: boolean
  readonly ackAhead?: boolean
  readonly gated?: boolean
  /** Its results are what it has passed on. */
  readonly passes?: boolean
}

/** How deep the stack is. */
const depth = (): number => {
  const { stackTraceLimit } = Error
  Error.stackTraceLimit = Number.POSITIVE_INFINITY
  const { stack = "" } = new Error()
  Error.stackTraceLimit = stackTraceLimit
  return stack.split("\n").length
}

const staged = ({ ackAhead = false, bound, gated, laned, passes, slots = 2, ...work }: Options = {}) =>
  Effect.gen(function* () {
    const clock = yield* Effect.clock
    const now = () => clock.unsafeCurrentTimeMillis()
    const noted: Array<string> = []
    const wanted: Array<number> = []
    const note = (text: string) => noted.push(text)
    const observer = new Observer()
    const demand = {
      bound: yield* Tunable.make("maxInFlight", 100),
      maxInFlight: 100,
      wants: (count: number) => wanted.push(count),
      stop: Effect.sync(() => note("stops"))
    }
    const source = {
      clock: { now },
      queue: { name: "q", rank: 0, groups: true, ordered: false, maxAttempts: undefined },
      leases: { isOver: () => false },
      demand,
      settlements: {
        begins: () => {},
        settle: ({ message }: InFlight, { _tag }: Settlement.Settlement) => note(`${message.id} ${_tag}`),
        overflow: () => Settlement.release
      },
      lanes: { join: () => {}, hold: ({ message }: InFlight) => note(`${message.id} is held`) },
      draining: {
        flushWithin: Duration.seconds(5),
        abandon: ({ message }: InFlight) => note(`${message.id} is abandoned`),
        settled: (deliveries: Iterable<InFlight>) =>
          Effect.sync(() => note(`settles ${[...deliveries].map(({ message }) => message.id).join(" ")}`)),
        endsIn: () => note("ends here"),
        endIsOver: () => Effect.sync(() => note("is over"))
      },
      reports: { blockedLoop: () => {}, overShare: () => note("over share") },
      observer
    } as unknown as Source<InFlight>
    const all = new Map<string, InFlight>()
    const of = (name: string): InFlight => {
      const known = all.get(name)
      if (known !== undefined) return known
      const one = new InFlight(source, { id: name, attempt: 1, group: name[0] } as LeaseQueue.Message, 0, 30_000)
      all.set(name, one)
      return one
    }

    const concurrency = yield* Tunable.make("concurrency", slots)
    let listeners = 0
    const own = bound === false ? new Passing(slots) : new OwnSlots(concurrency)
    const onChange = own.onChange.bind(own)
    own.onChange = (listener) => {
      listeners++
      const cancel = onChange(listener)
      return () => {
        listeners--
        cancel()
      }
    }
    const state = { flow: "all" as Gate["flow"], admits: true }
    const told = new Set<() => void>()
    const gate: Gate = {
      get flow() {
        return state.flow
      },
      get admits() {
        return state.admits
      },
      onChange: (listener) => {
        told.add(listener)
        return () => told.delete(listener)
      }
    }

    const claims = new Claims()
    const running = new Map<string, Slot<string>>()
    const pulls: Array<(exit: Exit.Exit<Chunk.Chunk<string>, Option.Option<string>>) => void> = []
    let pulled = 0
    const upstream = Stream.fromPull(
      Effect.map(downstream.get, ({ onStart }) => {
        note(onStart(source) ? "begins" : "refused")
        return Effect.async<Chunk.Chunk<string>, Option.Option<string>>((resume) => {
          pulled++
          pulls.push((exit) => resume(exit))
        })
      })
    )
    const stage = dispatch(upstream, () => ({
      slots: own,
      claims,
      deliveries: (item) => item.split(" ").map(of),
      lanes:
        laned === true
          ? {
              of: (item) => item.split(" ").map((name) => (name.startsWith("-") ? [] : [name.charAt(0)])),
              mixed: true,
              ackAhead
            }
          : undefined,
      gate: gated === true ? gate : undefined,
      passedOn: passes === true ? of : undefined,
      settles: true,
      start: (item, slot) => {
        note(`starts ${item}`)
        running.set(item, slot)
        claims.claim(of(item.split(" ")[0] ?? ""))
      },
      ...work
    }))
    const scope = yield* Scope.fork(yield* Effect.scope, { _tag: "Sequential" } as never)
    const pull = yield* Scope.extend(Stream.toPull(stage), scope)
    const turn = Effect.sleep(1)
    const slotOf = (item: string) => running.get(item) ?? assert.fail(`${item} does not run`)
    return {
      ...{ all, claims, concurrency, demand, noted, observer, of, own, state, turn },
      slot: slotOf,
      said: () => noted.splice(0),
      /** How many it told its consumer that it wants, lately. */
      wants: () => wanted.splice(0).at(-1),
      listeners: () => [listeners, told.size],
      pulled: () => pulled,
      change: (flow: Gate["flow"], admits = flow !== "none") => {
        Object.assign(state, { flow, admits })
        for (const listener of told) listener()
      },
      give: (...items: ReadonlyArray<string>) =>
        Effect.zipRight(
          Effect.sync(() => pulls.shift()?.(Exit.succeed(Chunk.fromIterable(items)))),
          turn
        ),
      ends: (failure?: string) =>
        Effect.zipRight(
          Effect.sync(() => pulls.shift()?.(Exit.fail(Option.fromNullable(failure)))),
          turn
        ),
      /** Takes what has come once. */
      take: Effect.map(Effect.exit(pull), (exit) =>
        Exit.isSuccess(exit)
          ? Chunk.toReadonlyArray(exit.value).join(" ")
          : Exit.match(exit, { onFailure: String, onSuccess: String })
      ),
      pull,
      close: Scope.close(scope, Exit.void)
    }
  })

/** With a reader that takes what comes. */
const read = (options: Options = {}) =>
  Effect.gen(function* () {
    const bench = yield* staged(options)
    const results: Array<string> = []
    const reader = yield* Effect.fork(
      Effect.exit(Effect.forever(Effect.map(bench.pull, (some) => results.push(...some))))
    )
    yield* bench.turn
    bench.said()
    return { ...bench, reader, results }
  })

const names = (count: number, from = 0) => Array.from({ length: count }, (_, i) => `-${from + i}`)

describe("a stage pulls", () => {
  it(
    "what is of use: a few more than there are free slots, and nothing while enough is ready",
    simulated(
      Effect.gen(function* () {
        const { give, of, pulled, said, slot, turn, wants } = yield* read({ slots: 8 })
        assert.strictEqual(pulled(), 1)
        yield* give(...names(3))
        assert.deepStrictEqual([said(), wants(), pulled()], [names(3).map((name) => `starts ${name}`), 7, 2])
        yield* give(...names(6, 3))
        assert.deepStrictEqual([said().length, wants(), pulled()], [5, 1, 3])
        // What waits here for a slot is not forgotten.
        assert.deepStrictEqual([of("-7").awaited, of("-8").awaited], [false, true])
        // One is ready, which may be; with two there are enough.
        yield* give(...names(1, 9))
        assert.deepStrictEqual([said(), wants(), pulled()], [[], undefined, 3])
        slot("-0").done()
        yield* turn
        assert.deepStrictEqual([said(), wants(), pulled()], [["starts -8"], 1, 4])
        yield* give()
        assert.deepStrictEqual([wants(), pulled()], [1, 5])
      })
    )
  )

  it(
    "and gives all results of a run, however many they are",
    simulated(
      Effect.gen(function* () {
        // A function is called with some 100,000 arguments at most.
        const many = 200_000
        const { give, take } = yield* staged({
          slots: 1,
          start: (item, slot) => slot.done(Array.from({ length: many }, () => item))
        })
        const taken = yield* Effect.fork(take)
        yield* Effect.sleep(1)
        yield* give("-1")
        assert.strictEqual((yield* Fiber.join(taken)).split(" ").length, many)
      }),
      { seeds: 1 }
    )
  )

  it(
    "and starts nothing where too many results are not taken",
    simulated(
      Effect.gen(function* () {
        for (const [slots, most] of [
          [4, 8],
          [20, 20]
        ] as const) {
          const { give, pulled, said, take } = yield* staged({
            slots,
            start: (item, slot) => slot.done([item])
          })
          const first = yield* Effect.fork(take)
          yield* Effect.sleep(1)
          yield* give("-first")
          assert.strictEqual(yield* Fiber.join(first), "-first")
          yield* give(...names(most - 1))
          assert.strictEqual(pulled(), 3)
          yield* give("-last")
          // That one fills what may wait.
          assert.strictEqual(pulled(), 3)
          assert.strictEqual((yield* take).split(" ").length, most)
          yield* Effect.sleep(1)
          assert.strictEqual(pulled(), 4)
          said()
        }
        const many = yield* staged({ slots: 4, start: (item, slot) => slot.done([item]) })
        const first = yield* Effect.fork(many.take)
        yield* Effect.sleep(1)
        yield* many.give("-first")
        yield* Fiber.join(first)
        yield* many.give(...names(30))
        for (const count of [8, 8, 8, 6]) {
          assert.strictEqual((yield* many.take).split(" ").length, count)
          yield* many.turn
        }
      })
    )
  )

  it(
    "and starts more where slots are added, until it is closed",
    simulated(
      Effect.gen(function* () {
        const { close, concurrency, give, listeners, observer, said } = yield* read({ slots: 1, gated: true })
        yield* give("-1", "-2", "-3")
        assert.deepStrictEqual(said(), ["starts -1"])
        const [gauge] = observer.stages
        assert.deepInclude(gauge?.stage, { slots: 1, running: 1, waiting: 2, circuit: "all" })
        yield* concurrency.set(2)
        assert.deepStrictEqual(said(), ["starts -2"])
        assert.deepInclude(gauge?.stage, { slots: 2, running: 2, waiting: 1 })
        assert.deepStrictEqual(listeners(), [1, 1])
        yield* Effect.fork(close)
        yield* Effect.sleep("1 minute")
        assert.deepStrictEqual(listeners(), [0, 0])
        assert.strictEqual(gauge?.stage.slots, 0)
      })
    )
  )

  it(
    "and without a bound is no stage of the figures; only what is not claimed yet tells its consumer",
    simulated(
      Effect.gen(function* () {
        const { give, observer, of, said, wants } = yield* read({ slots: 4, bound: false })
        of("-1").phase = Phase.Claimed
        yield* give("-1")
        assert.deepStrictEqual([said(), observer.stages.size, wants()], [["starts -1"], 0, undefined])
        yield* give("-2")
        assert.strictEqual(wants(), 3)
      })
    )
  )

  it(
    "and its stack does not grow with how many end as they start",
    simulated(
      Effect.gen(function* () {
        const depths: Array<number> = []
        const { give, results } = yield* read({
          slots: 1,
          start: (item, slot) => {
            depths.push(depth())
            slot.done([item])
          }
        })
        yield* give(...names(8))
        assert.lengthOf(results, 8)
        assert.strictEqual(depths.at(-1), depths[1])
      })
    )
  )

  it(
    "and starts also what is settled already: its work knows what comes of it",
    simulated(
      Effect.gen(function* () {
        const { give, of, said } = yield* read()
        of("-1").settle(Settlement.release)
        said()
        yield* give("-1")
        assert.deepStrictEqual(said(), ["starts -1"])
      })
    )
  )

  it(
    "and gives its work the means to run for one of them, whose slot is free again when that is done or has failed",
    simulated(
      Effect.gen(function* () {
        const { give, results, turn } = yield* read({
          slots: 1,
          start: (item, slot, runFork) => {
            runFork(
              Effect.delay(
                Effect.sync(() => (item === "-1" ? slot.failed([item]) : slot.done([item]))),
                1
              )
            )
          }
        })
        yield* give("-1", "-2")
        yield* turn
        yield* turn
        assert.deepStrictEqual(results, ["-1", "-2"])
      })
    )
  )

  it(
    "the results that it has passed on are told so when they are taken",
    simulated(
      Effect.gen(function* () {
        const bench = yield* staged({ passes: true, start: (item, slot) => slot.done([item]) })
        const first = yield* Effect.fork(bench.take)
        yield* Effect.sleep(1)
        yield* bench.give("-1")
        yield* Fiber.join(first)
        yield* bench.give("-2")
        assert.deepStrictEqual([bench.of("-1").passedOn, bench.of("-2").passedOn], [true, false])
        yield* bench.take
        assert.isTrue(bench.of("-2").passedOn)
      })
    )
  )

  it(
    "from consumers that it is told of as they start, and ends at once where it cannot work for one",
    simulated(
      Effect.gen(function* () {
        const told: Array<string> = []
        const bench = yield* staged({
          knows: ({ queue }) => told.push(`knows ${queue.name}`),
          onStart: ({ queue }) => told.push(`${queue.name} starts`)
        })
        yield* Effect.fork(bench.take)
        yield* bench.turn
        assert.deepStrictEqual(
          [told, bench.said()],
          [
            ["knows q", "q starts"],
            ["ends here", "begins"]
          ]
        )
        yield* bench.close
        assert.deepStrictEqual(bench.said(), ["is over"])
        const refusal = { message: "no" } as never
        const refused = yield* staged({ share: { ...shares, refuses: () => refusal } })
        assert.include(yield* refused.take, "no")
        assert.deepStrictEqual(refused.said(), ["refused"])
      })
    )
  )
})

const shares = {
  key: (item: string) => item[0],
  terms: () => ({ concurrency: Number.POSITIVE_INFINITY, rate: undefined, weight: 1, waiting: 50 }),
  byGroup: false,
  refuses: () => undefined,
  untilEnded: false
}

describe("a stage with lanes", () => {
  it(
    "starts what is behind one when that has ended, or with `ackAhead` when it is done; never behind one that failed",
    simulated(
      Effect.gen(function* () {
        for (const ackAhead of [false, true]) {
          const { give, of, said, slot, turn } = yield* read({ slots: 4, laned: true, ackAhead })
          yield* give("a1", "a2", "b1", "b2", "-1")
          assert.deepStrictEqual(said(), ["starts a1", "starts b1", "starts -1"])
          slot("a1").done()
          slot("b1").failed()
          yield* turn
          assert.deepStrictEqual(said(), ackAhead ? ["starts a2"] : [])
          of("b1").end("acked")
          assert.deepStrictEqual(said(), ["starts b2"])
          if (!ackAhead) of("a1").end("acked")
          assert.deepStrictEqual(said(), ackAhead ? [] : ["starts a2"])
        }
      })
    )
  )

  it(
    "holds one that is to run again: its slot is another's, its lane waits; what ends meanwhile runs no more",
    simulated(
      Effect.gen(function* () {
        const { claims, give, of, results, said, slot, turn } = yield* read({ slots: 1, laned: true })
        yield* give("a1", "a2", "b1")
        of("a1").failures.hold(1000)
        assert.isUndefined(slot("a1").defer)
        assert.isUndefined(slot("a1").wait)
        slot("a1").hold?.(1000, ["a1 failed"])
        yield* turn
        assert.isTrue(claims.waits(of("a1")))
        assert.deepStrictEqual([said(), results], [["starts a1", "starts b1", "a1 is held"], ["a1 failed"]])
        slot("b1").done(["b1"])
        of("b1").end("acked")
        yield* Effect.sleep(900)
        assert.deepStrictEqual(said(), [])
        yield* Effect.sleep(100)
        assert.deepStrictEqual(said(), ["starts a1"])
        slot("a1").hold?.(1000)
        of("a1").end("lost")
        assert.deepStrictEqual(said(), ["starts a2"])
        slot("a2").done()
        yield* Effect.sleep("2 seconds")
        assert.deepStrictEqual(said(), [])
        // In no lane nothing waits for it: there is nothing to hold.
        yield* give("-1")
        assert.isUndefined(slot("-1").hold)
      })
    )
  )

  it(
    "does not note that one waits which is settled already",
    simulated(
      Effect.gen(function* () {
        const { claims, give, of, slot } = yield* read({ slots: 1, laned: true })
        yield* give("a1")
        of("a1").settle(Settlement.release)
        slot("a1").hold?.(1000)
        assert.isFalse(claims.waits(of("a1")))
      })
    )
  )

  it(
    "counts in its figures what waits in them",
    simulated(
      Effect.gen(function* () {
        const { give, observer } = yield* read({ slots: 2, laned: true })
        yield* give("a1", "a2", "a3", "b1")
        const [gauge] = observer.stages
        assert.deepInclude(gauge?.stage, { slots: 2, running: 2, waiting: 2 })
      })
    )
  )
})

describe("a stage that foresees", () => {
  it(
    "is told of what waits for a slot; what has to wait runs again, in a lane or not, unless it has ended",
    simulated(
      Effect.gen(function* () {
        const foreseen: Array<string> = []
        const { give, of, said, slot, turn } = yield* read({
          slots: 1,
          laned: true,
          foresee: (item) => foreseen.push(item)
        })
        yield* give("-1", "-2")
        assert.deepStrictEqual([foreseen, of("-2").awaited, of("-1").awaited], [["-2"], true, false])
        slot("-1").wait?.(1000)
        yield* turn
        assert.deepStrictEqual(said(), ["starts -1", "starts -2"])
        slot("-2").wait?.(500)
        yield* Effect.sleep(499)
        assert.deepStrictEqual(said(), [])
        yield* Effect.sleep(2)
        assert.deepStrictEqual(said(), ["starts -2"])
        slot("-2").wait?.(3000)
        yield* Effect.sleep(500)
        assert.deepStrictEqual(said(), ["starts -1"])
        of("-2").end("lost")
        slot("-1").done()
        yield* Effect.sleep("5 seconds")
        assert.deepStrictEqual(said(), [])
      })
    )
  )

  it(
    "lets what is in no lane go when all of it has ended",
    simulated(
      Effect.gen(function* () {
        const { ends, give, of, said, slot, reader, turn } = yield* read({ slots: 1, foresee: () => {} })
        yield* give("-1 -2")
        slot("-1 -2").wait?.(10_000)
        yield* turn
        yield* ends()
        of("-1").end("lost")
        yield* turn
        assert.isNull(reader.unsafePoll())
        of("-2").end("lost")
        yield* turn
        assert.isNotNull(reader.unsafePoll())
        assert.deepStrictEqual(said(), ["starts -1 -2"])
      })
    )
  )
})

describe("a stage with a gate", () => {
  it(
    "asks for nothing while it is shut, and looks for the end all the same; for one where only probes may start",
    simulated(
      Effect.gen(function* () {
        const { change, claims, give, of, pulled, said, slot, turn, wants } = yield* read({ slots: 4, gated: true })
        yield* give("-1")
        assert.deepStrictEqual([said(), wants()], [["starts -1"], 4])
        assert.isUndefined(slot("-1").hold)
        change("none")
        yield* turn
        assert.deepStrictEqual([wants(), pulled()], [0, 2])
        slot("-1").defer?.()
        yield* turn
        assert.deepStrictEqual([said(), claims.waits(of("-1"))], [[], true])
        yield* give("-2")
        assert.deepStrictEqual([said(), wants(), pulled()], [[], 0, 3])
        change("probes")
        assert.deepStrictEqual([said(), wants()], [["starts -2", "starts -1"], 1])
        slot("-1").defer?.()
        change("probes", false)
        yield* give("-3", "-4")
        assert.deepStrictEqual([said().filter((text) => text !== "starts -1"), wants()], [[], 0])
        change("all")
        assert.strictEqual(wants(), 4 + 1 - 4)
        of("-1").end("lost")
      })
    )
  )

  it(
    "starts what it turned back before the others, once it is open",
    simulated(
      Effect.gen(function* () {
        const { change, give, said, slot } = yield* read({ slots: 1, gated: true })
        yield* give("-1", "-2")
        change("all", false)
        slot("-1").defer?.()
        change("all")
        assert.deepStrictEqual(said(), ["starts -1", "starts -1"])
      })
    )
  )

  it(
    "that is shut pulls for the end where nothing is ready, or its consumers know that nothing is wanted",
    simulated(
      Effect.gen(function* () {
        const bench = yield* staged({ gated: true })
        bench.change("none")
        yield* Effect.fork(bench.take)
        yield* bench.turn
        assert.strictEqual(bench.pulled(), 1)
        // Of another stage: its consumer is told by that one.
        bench.of("-1").phase = Phase.Claimed
        yield* bench.give("-1")
        assert.strictEqual(bench.pulled(), 1)
        const first = yield* staged({ gated: true })
        first.change("none")
        yield* Effect.fork(first.take)
        yield* first.turn
        yield* first.give("-1")
        assert.deepStrictEqual([first.pulled(), first.wants()], [2, 0])
      })
    )
  )

  it(
    "ends when nothing runs, though its gate is shut",
    simulated(
      Effect.gen(function* () {
        const { change, ends, give, reader, slot, turn } = yield* read({ slots: 2, gated: true })
        yield* give("-1")
        yield* ends()
        change("none")
        slot("-1").done()
        yield* turn
        assert.isNotNull(reader.unsafePoll())
      })
    )
  )

  it(
    "drops what has ended before it could start",
    simulated(
      Effect.gen(function* () {
        const { change, ends, give, of, reader, said, turn } = yield* read({ slots: 1, gated: true })
        change("none")
        yield* give("-1", "-2")
        yield* ends()
        of("-1").end("lost")
        of("-2").end("lost")
        yield* turn
        assert.isNotNull(reader.unsafePoll())
        change("all")
        assert.deepStrictEqual(said(), [])
      })
    )
  )
})

describe("a stage that shares", () => {
  it(
    "starts in time what waits for its key's rate, and claims what waits",
    simulated(
      Effect.gen(function* () {
        const share = {
          ...shares,
          terms: () => ({ ...shares.terms(), rate: { perSecond: 1, burst: 1 } })
        }
        const { all, give, said, slot, turn, wants } = yield* read({ slots: 4, share })
        yield* give("a1", "a2", "a3", "b1")
        assert.deepStrictEqual(said(), ["starts a1", "starts b1"])
        assert.strictEqual(all.get("a2")?.phase, Phase.Claimed)
        assert.isFalse(all.get("a2")?.awaited)
        for (const name of ["a1", "b1"]) slot(name).done()
        yield* Effect.sleep(900)
        assert.deepStrictEqual(said(), [])
        yield* Effect.sleep(100)
        assert.deepStrictEqual(said(), ["starts a2"])
        all.get("a3")?.end("lost")
        yield* Effect.sleep("5 seconds")
        assert.deepStrictEqual(said(), [])
        yield* give("b2")
        assert.deepStrictEqual(said(), ["starts b2"])
        assert.isDefined(wants())
        yield* turn
      })
    )
  )
})

describe("a stage that shares, and more", () => {
  const share = { ...shares, terms: () => ({ ...shares.terms(), rate: { perSecond: 0.01, burst: 1 } }) }

  it(
    "lets a key have its next when one is done, has failed or is held; or only when it has ended",
    simulated(
      Effect.gen(function* () {
        const one = { ...shares, terms: () => ({ ...shares.terms(), concurrency: 1 }) }
        const { give, results, said, slot, turn } = yield* read({ slots: 3, share: one, foresee: () => {} })
        yield* give("a1", "a2", "a3", "a4")
        assert.deepStrictEqual(said(), ["starts a1"])
        slot("a1").done(["a1"])
        assert.deepStrictEqual(said(), ["starts a2"])
        slot("a2").failed(["a2"])
        assert.deepStrictEqual(said(), ["starts a3"])
        slot("a3").wait?.(1000)
        assert.deepStrictEqual(said(), ["starts a4"])
        yield* turn
        assert.deepStrictEqual(results, ["a1", "a2"])
        const late = yield* read({ slots: 3, share: { ...one, untilEnded: true } })
        yield* late.give("a1", "a2")
        late.slot("a1").done()
        yield* turn
        assert.deepStrictEqual(late.said(), ["starts a1"])
        late.of("a1").end("acked")
        assert.deepStrictEqual(late.said(), ["starts a2"])
      })
    )
  )

  it(
    "leaves no timer behind when it ends early",
    simulated(
      Effect.gen(function* () {
        const { close, give, slot } = yield* read({ share })
        yield* give("a1", "a2")
        slot("a1").done()
        yield* close
      })
    )
  )

  it(
    "foresees what waits, but for what went back from its lane, which takes no room",
    simulated(
      Effect.gen(function* () {
        const foreseen: Array<string> = []
        const { all, demand, give, said } = yield* read({
          share: { ...share, terms: () => ({ ...share.terms(), waiting: 2 }) },
          laned: true,
          foresee: (item) => foreseen.push(item)
        })
        demand.maxInFlight = 2
        yield* give("a1", "a2")
        assert.deepStrictEqual(said(), ["starts a1", "a2 Release"])
        all.get("a1")?.end("acked")
        foreseen.length = 0
        demand.maxInFlight = 100
        yield* give("a3", "b1", "a4", "a5")
        assert.deepStrictEqual(foreseen, ["a3"])
        assert.deepStrictEqual(said(), ["starts b1", "over share", "a5 Retry"])
      })
    )
  )
})

describe("a stage ends", () => {
  it(
    "with its upstream when all that it began is done and settled, with its failure where that failed",
    simulated(
      Effect.gen(function* () {
        for (const failure of [undefined, "no"]) {
          const { ends, give, reader, results, said, slot, turn } = yield* read({ laned: true })
          yield* give("a1", "a2")
          yield* ends(failure)
          assert.isNull(reader.unsafePoll())
          slot("a1").done(["a1"])
          yield* turn
          assert.isNull(reader.unsafePoll())
          assert.deepStrictEqual(said(), ["starts a1"])
          assert.deepStrictEqual(results, ["a1"])
          yield* Fiber.interrupt(reader)
        }
      })
    )
  )

  it(
    "waits for what it holds, and then for its settlements",
    simulated(
      Effect.gen(function* () {
        const { ends, give, of, reader, said, slot, turn } = yield* read({ laned: true })
        yield* give("a1")
        slot("a1").hold?.(1000)
        yield* ends()
        yield* Effect.sleep(1000)
        assert.isNull(reader.unsafePoll())
        slot("a1").done()
        yield* turn
        assert.isNull(reader.unsafePoll())
        said()
        of("a1").end("acked")
        yield* turn
        assert.deepStrictEqual(yield* Effect.map(Fiber.join(reader), Exit.isFailure), true)
        const other = yield* read()
        yield* other.give("-1")
        yield* other.ends()
        other.said()
        other.slot("-1").done()
        yield* turn
        assert.deepStrictEqual(other.said(), ["settles -1"])
        const passing = yield* read({ settles: false })
        yield* passing.give("-1")
        yield* passing.ends()
        passing.said()
        passing.slot("-1").done()
        yield* turn
        assert.deepStrictEqual(passing.said(), [])
      })
    )
  )

  it(
    "early: it interrupts what runs, lets go of what it holds, releases what is left, and waits for that",
    simulated(
      Effect.gen(function* () {
        const { claims, close, give, of, said, slot, turn } = yield* read({ slots: 1, laned: true })
        yield* give("a1", "a2", "b1", "-1", "-2")
        assert.deepStrictEqual(said(), ["starts a1"])
        slot("a1").hold?.(10_000)
        yield* turn
        said()
        const closing = yield* Effect.fork(close)
        yield* turn
        assert.deepStrictEqual(said(), ["stops", "a1 Release", "a2 Release", "b1 Release", "-1 Release", "-2 Release"])
        assert.isFalse(claims.closed)
        // It waits for b1, which runs, and starts nothing in its place.
        slot("b1").done()
        yield* turn
        assert.isFalse(said().some((text) => text.startsWith("starts")))
        yield* Fiber.join(closing)
        assert.isTrue(claims.closed)
        assert.strictEqual(of("-1").phase, Phase.Settling)
      })
    )
  )

  it(
    "early, and releases also what has ended unsettled since it was interrupted",
    simulated(
      Effect.gen(function* () {
        const { claims, close, give, of, said, slot } = yield* read({ slots: 1 })
        yield* give("-1")
        const handler = yield* Effect.fork(Effect.never)
        claims.runs(of("-1"), handler, 0)
        handler.addObserver(() => {
          claims.rests(of("-1"))
          slot("-1").done()
        })
        said()
        const [took] = yield* Effect.timed(close)
        assert.strictEqual(Duration.toMillis(took), 0)
        assert.deepStrictEqual(said(), ["stops", "-1 Release", "settles -1"])
      })
    )
  )

  it(
    "early, and waits no longer for what does not end than its consumers allow",
    simulated(
      Effect.gen(function* () {
        const { claims, close, give, of, said, slot } = yield* read({ slots: 1 })
        yield* give("-1")
        const never = yield* Effect.fork(Effect.uninterruptible(Effect.delay(Effect.void, "1 minute")))
        claims.runs(of("-1"), never, 0)
        said()
        const [took] = yield* Effect.timed(close)
        assert.strictEqual(Duration.toSeconds(took), 5)
        assert.deepStrictEqual(said(), ["stops", "-1 is abandoned", "settles -1"])
        slot("-1").done()
        yield* Fiber.await(never)
      })
    )
  )

  it(
    "once: what has ended and was told releases nothing more",
    simulated(
      Effect.gen(function* () {
        const { claims, close, ends, give, of, said, slot, turn } = yield* read({})
        yield* give("-1")
        slot("-1").done()
        of("-1").end("acked")
        yield* ends()
        yield* turn
        said()
        yield* close
        assert.deepStrictEqual([said(), claims.closed], [[], true])
      })
    )
  )
})
