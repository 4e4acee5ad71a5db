/** Order by group: the lanes themselves, and what a consumer makes of them on ordered queues and on standard ones. */
import { assert, describe, it } from "@effect/vitest"
import { Consumer, type Delivery, Pipeline, RetryPolicy, Sequencer } from "@millrace/core"
import { MemoryQueue, Simulation } from "@millrace/core/testing"
import { Clock, type Duration, Effect, Fiber, Random, Schedule, Schema, Stream } from "effect"
import { seeds } from "../../../test/long.js"
import { grouped, numbered, recorded, type Source, simulated } from "./support/index.js"

describe("Sequencer", () => {
  const recording = (mayRun: (item: string) => boolean = () => true) => {
    const ready: Array<string> = []
    return { ready, sequencer: Sequencer.make<string>({ onReady: (item) => ready.push(item), mayRun }) }
  }

  it("tells of the first of a lane, and of the next when that is removed", () => {
    const { ready, sequencer } = recording()
    for (const item of ["a1", "a2", "b1", "a3"]) sequencer.add([item.charAt(0)], item)
    assert.deepStrictEqual(ready, ["a1", "b1"])
    sequencer.remove("a1")
    assert.deepStrictEqual(ready, ["a1", "b1", "a2"])
    sequencer.remove("a2")
    sequencer.remove("b1")
    assert.deepStrictEqual(ready, ["a1", "b1", "a2", "a3"])
  })

  it("tells of an item once, and of one in several lanes when it is first in all of them", () => {
    const { ready, sequencer } = recording()
    sequencer.add(["a"], "a1")
    sequencer.add(["b"], "b1")
    sequencer.add(["a", "b"], "ab")
    sequencer.add(["b"], "b2")
    sequencer.remove("a1")
    assert.deepStrictEqual(ready, ["a1", "b1"])
    sequencer.remove("b1")
    assert.deepStrictEqual(ready, ["a1", "b1", "ab"])
    sequencer.remove("ab")
    assert.deepStrictEqual(ready, ["a1", "b1", "ab", "b2"])
  })

  it("takes out what has not had its turn, from the middle too; what may not run holds its place until then", () => {
    const barred = new Set(["a2"])
    const { ready, sequencer } = recording((item) => !barred.has(item))
    for (const item of ["a1", "a2", "a3", "a4"]) sequencer.add(["a"], item)
    sequencer.remove("a3")
    sequencer.remove("a1")
    assert.deepStrictEqual(ready, ["a1"])
    sequencer.remove("a2")
    assert.deepStrictEqual(ready, ["a1", "a4"])
    sequencer.remove("a4")
    sequencer.remove("a4")
    assert.deepStrictEqual([sequencer.size(), sequencer.length("a"), sequencer.has("a4")], [0, 0, false])
  })

  it("leaves one of its lanes: what was behind it there moves up, and it runs once it is first in the others", () => {
    const { ready, sequencer } = recording()
    sequencer.add(["a"], "a1")
    sequencer.add(["b"], "b1")
    sequencer.add(["a", "b"], "ab")
    for (const lane of ["a", "b", "c"]) sequencer.add([lane], `${lane}2`)
    assert.deepStrictEqual(ready, ["a1", "b1", "c2"])
    sequencer.leave("c", "ab")
    sequencer.leave("a", "nobody")
    sequencer.leave("a", "ab")
    sequencer.remove("a1")
    assert.deepStrictEqual(ready, ["a1", "b1", "c2", "a2"])
    // Not told of in the lane that it left any more.
    sequencer.remove("b1")
    assert.deepStrictEqual(ready, ["a1", "b1", "c2", "a2", "ab"])
    assert.deepStrictEqual([...sequencer.in("b")], ["ab", "b2"])
    // With its last lane it has gone.
    sequencer.leave("b", "ab")
    assert.deepStrictEqual([ready.at(-1), sequencer.has("ab"), sequencer.size()], ["b2", false, 3])
  })

  it("leaves the lane that held it up, and runs", () => {
    const { ready, sequencer } = recording()
    sequencer.add(["a"], "a1")
    sequencer.add(["a", "b"], "ab")
    sequencer.leave("a", "ab")
    assert.deepStrictEqual(ready, ["a1", "ab"])
  })

  it("against a plain model, at random: one of a lane at a time, in the order of arrival", async () => {
    await Simulation.checkInTurns(
      { seeds: seeds({ short: 12, long: 50 }) },
      Effect.gen(function* () {
        const lanes = new Map<string, Array<number>>()
        const places = new Map<number, ReadonlyArray<string>>()
        const ready = new Set<number>()
        const sequencer = Sequencer.make<number>({
          onReady: (item) => {
            if (ready.has(item)) throw new Error(`${item} was told of twice`)
            ready.add(item)
          },
          mayRun: () => true
        })
        for (let i = 0; i < 300; i++) {
          if ((yield* Random.next) < 0.55 || places.size === 0) {
            const names = [...new Set(["a", "b", "c", "d"].slice(yield* Random.nextIntBetween(0, 4)))].slice(
              0,
              yield* Random.nextIntBetween(1, 3)
            )
            places.set(i, names)
            for (const name of names) lanes.set(name, [...(lanes.get(name) ?? []), i])
            sequencer.add(names, i)
          } else {
            const all = [...places.keys()]
            const item = all[yield* Random.nextIntBetween(0, all.length)] ?? 0
            for (const [name, items] of lanes)
              lanes.set(
                name,
                items.filter((other) => other !== item)
              )
            places.delete(item)
            ready.delete(item)
            sequencer.remove(item)
          }
          const first = [...places].filter(([item, names]) => names.every((name) => lanes.get(name)?.[0] === item))
          assert.deepStrictEqual([...ready].sort(), first.map(([item]) => item).sort())
          assert.strictEqual(sequencer.size(), places.size)
        }
      })
    )
  })

  it("keeps nothing of a lane that is empty: a million groups, one after the other", () => {
    const sequencer = Sequencer.make<number>({ onReady: () => {}, mayRun: () => true })
    const before = process.memoryUsage().heapUsed
    for (let i = 0; i < 1_000_000; i++) {
      sequencer.add([`group ${i}`], i)
      sequencer.remove(i)
    }
    // An empty lane costs more than 200 bytes.
    assert.isBelow((process.memoryUsage().heapUsed - before) / 1e6, 100)
  })

  it("100,000 groups, and 100,000 messages of one group", () => {
    let ready = 0
    const sequencer = Sequencer.make<number>({ onReady: () => ready++, mayRun: () => true })
    const n = 100_000
    for (let i = 0; i < n; i++) sequencer.add([`group ${i}`], i)
    for (let i = 0; i < n; i++) sequencer.add(["one"], n + i)
    assert.strictEqual(ready, n + 1)
    assert.strictEqual(sequencer.length("one"), n)
    // From the end of the long lane: taking one out costs no walk through it.
    for (let i = 2 * n - 1; i >= 0; i--) sequencer.remove(i)
    assert.strictEqual(sequencer.size(), 0)
    assert.strictEqual(sequencer.length("one"), 0)
  })
})

/** What handlers ran, and when. */
const track = () => {
  const ran: Array<string> = []
  const running = new Set<string>()
  const peak = { running: 0 }
  /** Fails where two of one group run at once. */
  const run =
    (group: (body: string) => string, takes: Duration.DurationInput) =>
    (body: string): Effect.Effect<void> =>
      Effect.acquireUseRelease(
        Effect.sync(() => {
          if (running.has(group(body))) throw new Error(`two of group ${group(body)} at once, at ${body}`)
          running.add(group(body))
          peak.running = Math.max(peak.running, running.size)
          ran.push(body)
        }),
        () => Effect.sleep(takes),
        () => Effect.sync(() => running.delete(group(body)))
      )
  const of = (group: string) => ran.filter((body) => body.startsWith(group))
  return { ran, run, of, peak }
}

const initial = (body: string) => body.charAt(0)

/** Works off an ordered queue; `fails` says of the handler's n-th run of a body whether it fails. */
const ordered = (
  bodies: ReadonlyArray<string>,
  fails: (body: string, run: number) => boolean,
  options: Pipeline.ProcessOptions<string, string, Delivery.Delivery<string>> &
    MemoryQueue.Options & { readonly maxInFlight?: number; readonly takes?: Duration.DurationInput }
) =>
  Effect.gen(function* () {
    const { deadLetters, faults } = options
    const memory = yield* MemoryQueue.make({ ordered: true, deadLetters, faults })
    const { calls, queue } = recorded(memory)
    yield* memory.send(grouped(...bodies))
    const { of, peak, ran, run } = track()
    const received = new Map<string, number>()
    const counts = new Map<string, number>()
    const at: Array<number> = []
    const consumer = yield* Consumer.make(queue, { maxInFlight: options.maxInFlight })
    const { concurrency, holdLimit, onFailure, retry, ackAhead, sequence } = options
    const fiber = yield* consumer.stream.pipe(
      Pipeline.process(
        (body, { message }) =>
          Effect.gen(function* () {
            received.set(body, message.attempt)
            at.push(yield* Clock.currentTimeMillis)
            const n = (counts.get(body) ?? 0) + 1
            counts.set(body, n)
            yield* run(initial, options.takes ?? 0)(body)
            if (fails(body, n)) return yield* Effect.fail("no")
          }),
        { concurrency, holdLimit, onFailure, retry, ackAhead, sequence }
      ),
      Stream.runDrain,
      Effect.fork
    )
    yield* memory.idle
    const took = yield* Clock.currentTimeMillis
    const stats = yield* consumer.stats
    yield* Fiber.interrupt(fiber)
    return { ran, of, peak, at, calls, received, took, stats, counts: yield* memory.stats }
  })

const never = () => false
const many = (group: string, n: number) => numbered(n).map((i) => `${group}${i.padStart(3, "0")}`)

describe("an ordered queue's groups", () => {
  it(
    "one at a time and in sequence in each, side by side otherwise",
    simulated(
      Effect.gen(function* () {
        const bodies = [...many("a", 8), ...many("b", 8), ...many("c", 8)]
        const { of, peak, took } = yield* ordered(bodies, never, { takes: "1 second", concurrency: 10 })
        for (const group of ["a", "b", "c"]) assert.deepStrictEqual(of(group), many(group, 8))
        assert.strictEqual(peak.running, 3)
        assert.isBelow(took, 9000)
      })
    )
  )

  it(
    "the next begins when the delete of the one before is confirmed, and not before",
    simulated(
      Effect.gen(function* () {
        const begun = (ackAhead: boolean) =>
          Effect.gen(function* () {
            const memory = yield* MemoryQueue.make({
              ordered: true,
              faults: ({ operation }) => Effect.succeed(operation === "ack" ? { delay: "5 seconds" } : undefined)
            })
            yield* memory.send(grouped("a1", "a2"))
            const since = yield* Clock.currentTimeMillis
            const at: Array<number> = []
            const fiber = yield* Consumer.stream(memory).pipe(
              Pipeline.process(() => Effect.map(Clock.currentTimeMillis, (now) => at.push(now - since)), { ackAhead }),
              Stream.runDrain,
              Effect.fork
            )
            yield* memory.idle
            yield* Fiber.interrupt(fiber)
            return at
          })
        const [first = 0, second = 0] = yield* begun(false)
        assert.isAtLeast(second - first, 5000)
        // Who opts out does not wait for it.
        assert.deepStrictEqual(yield* begun(true), [0, 0])
      })
    )
  )

  it(
    "and not after a delete that failed: that head is lost, and its tail is given back and not run before it",
    simulated(
      Effect.gen(function* () {
        const memory = yield* MemoryQueue.make({ ordered: true })
        yield* memory.send(grouped("a1", "a2", "a3"))
        yield* memory.inject("ack", { entries: () => "LeaseLost" })
        const ran: Array<string> = []
        const consumer = yield* Consumer.make(memory)
        const fiber = yield* consumer.stream.pipe(
          Pipeline.process((body) => Effect.sync(() => ran.push(body))),
          Stream.runDrain,
          Effect.fork
        )
        yield* memory.idle
        yield* Fiber.interrupt(fiber)
        assert.deepStrictEqual(ran, ["a1", "a1", "a2", "a3"])
        const { lost, released } = yield* consumer.stats
        assert.deepStrictEqual([lost, released], [1, 2])
      })
    )
  )

  it(
    "not sequenced where the user says so; the group ids of a standard queue's fair queueing never are unless asked",
    simulated(
      Effect.gen(function* () {
        const begun = (options: { readonly ordered: boolean; readonly sequence?: "group" | "none" }) =>
          Effect.gen(function* () {
            const memory = yield* MemoryQueue.make({ ordered: options.ordered })
            yield* memory.send(grouped("a1", "a2", "a3"))
            const since = yield* Clock.currentTimeMillis
            const fiber = yield* Consumer.stream(memory).pipe(
              Pipeline.process(() => Effect.sleep("10 seconds"), { sequence: options.sequence }),
              Stream.runDrain,
              Effect.fork
            )
            yield* memory.idle
            yield* Fiber.interrupt(fiber)
            return (yield* Clock.currentTimeMillis) - since > 25_000 ? "in turn" : "at once"
          })
        assert.strictEqual(yield* begun({ ordered: true }), "in turn")
        assert.strictEqual(yield* begun({ ordered: true, sequence: "none" }), "at once")
        assert.strictEqual(yield* begun({ ordered: false }), "at once")
        assert.strictEqual(yield* begun({ ordered: false, sequence: "group" }), "in turn")
      })
    )
  )
})

describe("a head that fails", () => {
  const fourTimes = (body: string, run: number) => body === "a1" && run <= 4
  const bodies = ["a1", "a2", "a3", "b1", "b2"]
  const everyTen = RetryPolicy.redeliver(Schedule.spaced("10 seconds"))

  it(
    "is held by default: four retries of it leave its tail's receive count at 1, and take a slot only while they run",
    simulated(
      Effect.gen(function* () {
        const { calls, counts, of, ran, received, stats } = yield* ordered(bodies, fourTimes, {
          concurrency: 1,
          retry: everyTen
        })
        assert.deepStrictEqual(of("a"), ["a1", "a1", "a1", "a1", "a1", "a2", "a3"])
        assert.deepStrictEqual(
          bodies.map((body) => received.get(body)),
          [1, 1, 1, 1, 1]
        )
        assert.deepStrictEqual([counts.redelivered, stats.released, stats.retried], [0, 0, 0])
        // With one slot the other group ran meanwhile.
        assert.isBelow(ran.indexOf("b2"), ran.lastIndexOf("a1"))
        // Nothing but extensions.
        for (const { entries } of calls.of("setLease"))
          for (const { millis } of entries) assert.strictEqual(millis, 30_000)
      })
    )
  )

  it(
    "runs in place first where the policy says so, anew after each time that it was held",
    simulated(
      Effect.gen(function* () {
        const twice = RetryPolicy.inPlace(Schedule.intersect(Schedule.spaced("1 second"), Schedule.recurs(2)))
        const { at, of } = yield* ordered(["a1", "a2"], (body, run) => body === "a1" && run <= 7, {
          retry: twice.pipe(RetryPolicy.orElse(everyTen))
        })
        assert.strictEqual(of("a").filter((body) => body === "a1").length, 8)
        assert.deepStrictEqual(
          at.slice(1, 8).map((then, i) => then - (at[i] ?? 0)),
          [1000, 1000, 10_000, 1000, 1000, 10_000, 1000]
        )
      })
    )
  )

  it(
    "is handed back where the delay is longer than holdLimit: one call, the tail released first and the head delayed last",
    simulated(
      Effect.gen(function* () {
        const { calls, of, received, stats, took } = yield* ordered(bodies, (body, run) => body === "a1" && run <= 2, {
          holdLimit: "5 seconds",
          retry: everyTen,
          takes: "1 second"
        })
        assert.deepStrictEqual(of("a"), ["a1", "a1", "a1", "a2", "a3"])
        const [first] = calls.of("setLease")
        assert.deepStrictEqual(first?.entries, [
          { id: "memory-3", millis: 0 },
          { id: "memory-2", millis: 0 },
          { id: "memory-1", millis: 10_000 }
        ])
        assert.deepStrictEqual([stats.retried, stats.released], [2, 4])
        // Each hand-back costs each of them one receive at most: two hand-backs.
        assert.deepStrictEqual(
          bodies.map((body) => received.get(body)),
          [3, 3, 3, 1, 1]
        )
        // And no longer than the delays: the group is not stalled for a lease.
        assert.isBelow(took, 30_000)
      })
    )
  )

  it(
    "entries of a hand-back that fail are tried again, and the head stays behind them",
    simulated(
      Effect.gen(function* () {
        const memory = yield* MemoryQueue.make({ ordered: true })
        const { calls, queue } = recorded(memory)
        yield* memory.send(grouped("a1", "a2", "a3"))
        yield* memory.inject("setLease", { entries: (_, i) => (i === 1 ? "Transient" : undefined) })
        yield* memory.inject("setLease", { fail: "throttled" })
        const ran: Array<string> = []
        const fiber = yield* Consumer.stream(queue).pipe(
          Pipeline.process(
            (body) => Effect.zipRight(Effect.sleep("1 second"), ran.push(body) === 1 ? Effect.fail("no") : Effect.void),
            { holdLimit: 0, retry: everyTen }
          ),
          Stream.runDrain,
          Effect.fork
        )
        yield* memory.idle
        yield* Fiber.interrupt(fiber)
        assert.deepStrictEqual(ran, ["a1", "a1", "a2", "a3"])
        assert.deepStrictEqual(
          calls
            .of("setLease")
            .slice(0, 3)
            .map(({ entries }) => entries.map(({ id }) => id)),
          [["memory-3", "memory-2", "memory-1"], ["memory-2"], ["memory-2"]]
        )
      })
    )
  )

  it(
    "onFailure: when the policy gives it up, block gives its tail back behind it and skip goes on with it",
    simulated(
      Effect.gen(function* () {
        const leaves = (onFailure: "block" | "skip") =>
          ordered(["a1", "a2", "a3"], (body, run) => body === "a1" && run === 1, {
            retry: RetryPolicy.leave,
            onFailure,
            takes: "1 second"
          })
        const block = yield* leaves("block")
        assert.deepStrictEqual([block.ran, block.stats.released], [["a1", "a1", "a2", "a3"], 2])
        const skip = yield* leaves("skip")
        assert.deepStrictEqual([skip.ran, skip.stats.released], [["a1", "a2", "a3", "a1"], 0])
      })
    )
  )

  it(
    "dead-lettered or discarded: confirmed, then its tail runs; with no place for it, it is left and its tail waits",
    simulated(
      Effect.gen(function* () {
        const once = (body: string, run: number) => body === "a1" && run === 1
        const slow: MemoryQueue.Options = {
          faults: ({ operation }) =>
            Effect.succeed(operation === "deadLetter" || operation === "ack" ? { delay: "3 seconds" } : undefined)
        }
        for (const retry of [RetryPolicy.deadLetter, RetryPolicy.discard]) {
          const { at, ran, stats } = yield* ordered(["a1", "a2"], once, { ...slow, retry })
          assert.deepStrictEqual([ran, stats.lost, stats.released], [["a1", "a2"], 0, 0])
          assert.isAtLeast((at[1] ?? 0) - (at[0] ?? 0), 3000)
        }
        const left = yield* ordered(["a1", "a2"], once, { retry: RetryPolicy.deadLetter, deadLetters: false })
        assert.deepStrictEqual([left.ran, left.stats.left], [["a1", "a1", "a2"], 1])
      })
    )
  )

  it(
    "a body that does not decode keeps its place: nothing of its group runs before it has gone",
    simulated(
      Effect.gen(function* () {
        for (const deadLetters of [true, false]) {
          const memory = yield* MemoryQueue.make({ ordered: true, deadLetters })
          yield* memory.send([
            { body: "1", group: "a" },
            { body: "poison", group: "a" },
            { body: "3", group: "a" }
          ])
          const ran: Array<number> = []
          const fiber = yield* Consumer.stream(memory).pipe(
            Pipeline.decodeJson(Schema.Number),
            Pipeline.process((n) => Effect.sync(() => ran.push(n))),
            Stream.runDrain,
            Effect.fork
          )
          yield* Effect.sleep("10 minutes")
          yield* Fiber.interrupt(fiber)
          // With no place for dead letters it comes again and again, and its group waits for its retention to end.
          assert.deepStrictEqual(ran, deadLetters ? [1, 3] : [1])
          assert.strictEqual((yield* memory.stats).acked, ran.length)
        }
      })
    )
  )
})

describe("fair shares", () => {
  for (const [where, ordered] of [
    ["of an ordered queue", true],
    ["by a key of the body", false]
  ] as const) {
    it(
      `a hot group takes one slot and at most half of the permits, and its overflow goes back: ${where}`,
      simulated(
        Effect.gen(function* () {
          const memory = yield* MemoryQueue.make({ ordered, latency: "10 millis" })
          const { ran, run, of } = track()
          // The hot group alone would fill all permits.
          yield* memory.send(grouped(...many("a", 200)))
          const consumer = yield* Consumer.make(memory, { maxInFlight: 40 })
          const fiber = yield* consumer.stream.pipe(
            Pipeline.process((body) => run(initial, body.startsWith("a") ? "1 second" : "10 millis")(body), {
              concurrency: 10,
              sequence: ordered ? "auto" : initial
            }),
            Stream.runDrain,
            Effect.fork
          )
          yield* Effect.sleep("5 seconds")
          assert.isAtMost((yield* consumer.stats).inFlight, 21)
          const since = yield* Clock.currentTimeMillis
          const before = ran.length
          yield* memory.send(grouped(...many("b", 20), ...many("c", 20)))
          while (of("b").length + of("c").length < 40) yield* Effect.sleep("100 millis")
          // They did not wait for the 200 seconds of the hot group.
          assert.isAtMost((yield* Clock.currentTimeMillis) - since, 15_000)
          assert.isAtMost(ran.length - before, 60)
          yield* memory.idle
          yield* Fiber.interrupt(fiber)
          // A standard queue's order holds until a redelivery, and the overflow is one.
          assert.deepStrictEqual(ordered ? of("a") : of("a").sort(), many("a", 200))
        }),
        { seeds: 1 }
      )
    )
  }

  it(
    "100,000 groups at once through a consumer, each in order",
    simulated(
      Effect.gen(function* () {
        const groups = 100_000
        const memory = yield* MemoryQueue.make({ ordered: true })
        yield* memory.send(
          (function* () {
            for (let group = 0; group < groups; group++) yield { body: `${group} 0`, group: String(group) }
            for (let group = 0; group < groups; group += 10) yield { body: `${group} 1`, group: String(group) }
          })()
        )
        const next = new Uint8Array(groups)
        let wrong = 0
        const fiber = yield* Consumer.stream(memory, { maxInFlight: 1000 }).pipe(
          Pipeline.process(
            (body) =>
              Effect.sync(() => {
                const [group = "", place = ""] = body.split(" ")
                if (next[Number(group)] !== Number(place)) wrong++
                next[Number(group)] = Number(place) + 1
              }),
            { concurrency: 100 }
          ),
          Stream.runDrain,
          Effect.fork
        )
        yield* memory.idle
        yield* Fiber.interrupt(fiber)
        assert.strictEqual(wrong, 0)
      }),
      { seeds: 1, maxWakes: 50_000_000 }
    ),
    120_000
  )
})

describe("a key function on a standard queue", () => {
  it(
    "messages of equal keys run one at a time, as they came; others are not held up, nor is one without a key",
    simulated(
      Effect.gen(function* () {
        const memory = yield* MemoryQueue.make()
        const bodies = ["a1", "-1", "b1", "a2", "b2", "-2", "a3"]
        yield* memory.send(bodies)
        const { of, run, ran } = track()
        const group = (body: string) => (body.startsWith("-") ? body : initial(body))
        const fiber = yield* Consumer.stream(memory).pipe(
          Pipeline.process((body) => run(group, "1 second")(body), {
            sequence: (body) => (body.startsWith("-") ? undefined : initial(body))
          }),
          Stream.runDrain,
          Effect.fork
        )
        yield* memory.idle
        assert.isBelow(yield* Clock.currentTimeMillis, 4000)
        yield* Fiber.interrupt(fiber)
        assert.deepStrictEqual(
          [of("a"), of("b")],
          [
            ["a1", "a2", "a3"],
            ["b1", "b2"]
          ]
        )
        assert.deepStrictEqual(ran.slice(0, 4).sort(), ["-1", "-2", "a1", "b1"])
      })
    )
  )

  it(
    "a failure holds its key's others, and not for longer than its policy says",
    simulated(
      Effect.gen(function* () {
        const memory = yield* MemoryQueue.make()
        yield* memory.send(["a1", "a2", "b1"])
        const ran: Array<string> = []
        const fiber = yield* Consumer.stream(memory).pipe(
          Pipeline.process(
            (body) => {
              ran.push(body)
              return ran.length === 1 ? Effect.fail("once") : Effect.void
            },
            { concurrency: 1, sequence: initial, retry: RetryPolicy.redeliver(Schedule.spaced("10 seconds")) }
          ),
          Stream.runDrain,
          Effect.fork
        )
        yield* memory.idle
        yield* Fiber.interrupt(fiber)
        assert.deepStrictEqual(ran, ["a1", "b1", "a1", "a2"])
      })
    )
  )

  it(
    "a hot key's overflow stays away for a moment, rather than come straight back in a hot loop",
    simulated(
      Effect.gen(function* () {
        const memory = yield* MemoryQueue.make({ latency: "5 millis" })
        const { calls, queue } = recorded(memory)
        yield* memory.send(many("a", 100))
        const fiber = yield* Consumer.stream(queue, { maxInFlight: 20 }).pipe(
          Pipeline.process(() => Effect.sleep("1 second"), { sequence: initial }),
          Stream.runDrain,
          Effect.fork
        )
        yield* Effect.sleep("20 seconds")
        assert.isAtMost(calls.of("receive").length, 150)
        yield* memory.idle
        yield* Fiber.interrupt(fiber)
      })
    )
  )
})

describe("through several stages", () => {
  it(
    "a group's order holds from mapEffect to settle: the next begins when the one before is settled",
    simulated(
      Effect.gen(function* () {
        const memory = yield* MemoryQueue.make({ ordered: true })
        yield* memory.send(grouped("a1", "b1", "a2", "b2", "a3"))
        const { of, run } = track()
        const gone: Array<string> = []
        const stage = (source: Source) =>
          source.pipe(
            Pipeline.mapEffect((body) =>
              Effect.zipRight(
                Effect.sync(() => {
                  const before = `${initial(body)}${Number(body.charAt(1)) - 1}`
                  if (!before.endsWith("0") && !gone.includes(before)) throw new Error(`${body} before ${before}`)
                }),
                Effect.as(run(initial, "1 second")(body), body)
              )
            ),
            Pipeline.settle(),
            Stream.tap((body) => Effect.sync(() => gone.push(body)))
          )
        const fiber = yield* Effect.fork(Stream.runDrain(stage(Consumer.stream(memory))))
        yield* memory.idle
        yield* Fiber.interrupt(fiber)
        assert.deepStrictEqual(
          [of("a"), of("b")],
          [
            ["a1", "a2", "a3"],
            ["b1", "b2"]
          ]
        )
      })
    )
  )
})
