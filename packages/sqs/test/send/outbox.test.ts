/** The producer's lanes and its outbox by themselves, with a client that answers as told. */
import { assert, describe, it } from "@effect/vitest"
import { Tunable } from "@millrace/core"
import { Simulation } from "@millrace/core/testing"
import type { SqsError } from "@millrace/sqs"
import { Duration, Effect, Either, Exit, Schedule, type Scope } from "effect"
import { fork } from "../../src/internal/effect/fork.js"
import { type Entry, entryOf, type Result } from "../../src/internal/send/entry.js"
import { type Options, Outbox } from "../../src/internal/send/outbox.js"
import { ProducerMetrics } from "../../src/internal/send/producerMetrics.js"
import { Lanes } from "../../src/internal/send/sendLanes.js"
import { TokenBucket } from "../../src/SendRate.js"
import type { BatchResult, SendMessageResult } from "../../src/SqsClient.js"

const simulated =
  <E>(program: Effect.Effect<unknown, E, Scope.Scope>) =>
  () =>
    Simulation.checkInTurns({ seeds: 3, leaks: "fail", maxElapsed: "1 day" }, program)

/** `a1` is of group `a` where groups count. */
const message = (name: string, size = 10): Entry =>
  entryOf({ Id: "", MessageBody: name, MessageGroupId: name[0] ?? "" }, size)

const millis = Effect.clockWith((clock) => clock.currentTimeMillis)

const namesOf = (batch: ReadonlyArray<Entry>) => batch.map(({ fields }) => fields.MessageBody).join(" ")

describe("lanes of what is to be sent", () => {
  const lanes = (options: Partial<ConstructorParameters<typeof Lanes>[0]> = {}) => {
    const made = new Lanes({ fifo: true, maxPerGroup: 3, callBytes: 100, ...options })
    const all = new Map<string, Entry>()
    return {
      lanes: made,
      add: (...names: ReadonlyArray<string | readonly [string, number]>) => {
        for (const one of names) {
          const [name, size] = typeof one === "string" ? [one, 10] : one
          const entry = message(name, size)
          entry.due = all.size + 1
          all.set(name, entry)
          made.add(entry)
        }
      },
      of: (name: string): Entry => all.get(name) ?? assert.fail(`no ${name}`),
      form: (most = 10) => namesOf(made.form(most)),
      done: (...names: ReadonlyArray<string>) => {
        for (const name of names) made.done(all.get(name) ?? assert.fail(`no ${name}`), () => 1000)
      }
    }
  }

  it("without order are one: a call takes them as they came, as many as it holds, by number and by bytes", () => {
    const { add, form, lanes: all, done } = lanes({ fifo: false, callBytes: 100 })
    assert.deepStrictEqual([all.offered, all.isFull, all.due], [0, false, Number.POSITIVE_INFINITY])
    add("a1", "b1", "a2")
    assert.deepStrictEqual([all.offered, all.isFull, all.due], [3, false, 1])
    assert.strictEqual(form(2), "a1 b1")
    assert.deepStrictEqual([all.offered, all.due], [1, 3])
    add(["c1", 90], ["d1", 1])
    assert.isTrue(all.isFull)
    assert.strictEqual(form(), "a2 c1")
    assert.deepStrictEqual([all.offered, all.isFull], [1, false])
    done("a1", "b1", "a2", "c1")
    assert.strictEqual(form(), "d1")
    assert.deepStrictEqual([all.offered, all.due, form()], [0, Number.POSITIVE_INFINITY, ""])
    for (let i = 0; i < 9; i++) add([`e${i}`, 1])
    assert.isFalse(all.isFull)
    add(["e9", 1])
    assert.isTrue(all.isFull)
    assert.strictEqual(form().split(" ").length, 10)
  })

  it("with order have so many of a group in a call, and the next of it when those have their results", () => {
    const { add, done, form, lanes: all } = lanes({ maxPerGroup: 2 })
    add("a1", "a2", "a3", "b1")
    assert.strictEqual(all.offered, 3)
    assert.strictEqual(form(), "a1 a2 b1")
    assert.strictEqual(all.offered, 0)
    add("a4", "c1")
    assert.deepStrictEqual([all.offered, form()], [1, "c1"])
    done("a1")
    assert.strictEqual(form(), "")
    done("a2")
    assert.deepStrictEqual([all.offered, form()], [2, "a3 a4"])
    done("b1", "c1", "a3", "a4")
    add("a5", "b2")
    assert.strictEqual(form(), "a5 b2")
  })

  it("with order are not taken apart for a call that they do not fit into, but for the first one", () => {
    const { add, done, form } = lanes()
    add("a1", "a2", "b1", "b2", "b3", "c1")
    assert.strictEqual(form(4), "a1 a2 c1")
    add("d1", "d2")
    assert.strictEqual(form(2), "b1 b2")
    assert.strictEqual(form(2), "d1 d2")
    done("b1", "b2", "a1", "a2", "c1", "d1", "d2")
    assert.strictEqual(form(), "b3")
    add(["e1", 60], ["f1", 30], ["f2", 11], ["g1", 40])
    assert.strictEqual(form(), "e1 g1")
    assert.strictEqual(form(), "f1 f2")
  })

  it("with order are whole again when those of a call that took less have their results", () => {
    const { add, done, form, lanes: all } = lanes({ callBytes: 100 })
    add("a1", "a2", "a3", "a4", "a5")
    assert.deepStrictEqual([form(1), all.offered], ["a1", 0])
    add("b1", "c1")
    done("a1")
    assert.strictEqual(all.offered, 5)
    assert.strictEqual(form(5), "b1 c1 a2 a3 a4")
    done("b1", "c1", "a2", "a3", "a4")
    assert.deepStrictEqual([all.offered, form()], [1, "a5"])
    add(["d1", 30], ["d2", 30], ["d3", 30])
    assert.strictEqual(form(1), "d1")
    // What is shut counts for no call.
    add(["e1", 60], ["f1", 39])
    assert.isFalse(all.isFull)
    add(["g1", 1])
    assert.isTrue(all.isFull)
    assert.strictEqual(form(), "e1 f1 g1")
    add(["h1", 10])
    done("d1")
    assert.strictEqual(form(), "h1 d2 d3")
    done("d2", "d3", "h1", "e1")
    add("i1", "i2", "i3", "i4", "i5")
    assert.strictEqual(form(), "i1 i2 i3")
    done("i1", "i2", "i3")
    assert.strictEqual(all.offered, 2)
  })

  it("with order offer no more of a group at once than a call takes of it", () => {
    const { add, done, form, lanes: all } = lanes({ maxPerGroup: 2 })
    add("a1", "a2", "a3", "a4", "a5")
    assert.deepStrictEqual([all.offered, form()], [2, "a1 a2"])
    done("a1", "a2")
    assert.deepStrictEqual([all.offered, form()], [2, "a3 a4"])
  })

  it("wait for the first of their heads, and for none that has gone", () => {
    const { add, done, form, lanes: all } = lanes({ maxPerGroup: 1 })
    add("a1", "b1", "b2")
    assert.strictEqual(all.due, 1)
    assert.strictEqual(form(1), "a1")
    done("a1")
    assert.strictEqual(form(1), "b1")
    done("b1")
    assert.strictEqual(all.due, 3)
  })

  it("that open while others are under way may wait for what comes back with those", () => {
    const alone = lanes()
    alone.add("a1", "a2", "a3", "a4")
    alone.form()
    alone.done("a1", "a2", "a3")
    assert.strictEqual(alone.lanes.due, 4)
    const { add, done, form, lanes: all } = lanes({ maxPerGroup: 1 })
    add("a1", "a2", "b1", "b2")
    assert.strictEqual(form(), "a1 b1")
    done("a1")
    assert.strictEqual(all.due, 1000)
    done("b1")
    // Nobody else is under way then.
    assert.strictEqual(all.due, 4)
    assert.strictEqual(form(), "a2 b2")
    done("a2", "b2")
    assert.deepStrictEqual([all.offered, form()], [0, ""])
  })
})

const ok = (position: number): SendMessageResult & { readonly Id: string } => ({
  Id: String(position),
  MessageId: `id ${position}`,
  MD5OfMessageBody: "",
  SequenceNumber: undefined
})

/** Figures that go into a list, so many calls and so many in the buffer, in place of Effect's metrics. */
class Told extends ProducerMetrics {
  readonly figures: Array<string> = []
  override tell(...[{ calls, sent }, buffered]: Parameters<ProducerMetrics["tell"]>): void {
    this.figures.push(`${calls} calls ${sent} sent ${buffered} buffered`)
  }
}

const confirmed = (size: number): BatchResult<SendMessageResult> => ({
  Successful: Array.from({ length: size }, (_, i) => ok(i)),
  Failed: []
})

/** How deep the stack is. */
const depth = (): number => {
  const { stackTraceLimit } = Error
  Error.stackTraceLimit = Number.POSITIVE_INFINITY
  const { stack = "" } = new Error()
  Error.stackTraceLimit = stackTraceLimit
  return stack.split("\n").length
}

/**
 * An outbox of a standard queue; `answer` confirms all of the oldest open call, `fail` fails these positions in passing,
 * `refuse` for good. From `atOnce` on, each call has its answer when it is sent.
 */
const outbox = (options: Partial<Options> = {}) =>
  Effect.gen(function* () {
    const clock = yield* Effect.clock
    const now = () => clock.unsafeCurrentTimeMillis()
    const calls: Array<string> = []
    const metrics = new Told("outbox")
    let isAtOnce = false
    const depths: Array<number> = []
    const open: Array<{
      readonly size: number
      readonly resume: (exit: Exit.Exit<BatchResult<SendMessageResult>, SqsError.SqsError>) => void
    }> = []
    const box: Outbox = new Outbox(
      {
        client: {
          sendMessageBatch: ({ Entries }) =>
            Effect.suspend(() => {
              calls.push(`${now()} ${Entries.map(({ MessageBody }) => MessageBody).join(" ")}`)
              if (isAtOnce) {
                depths.push(depth())
                return Effect.succeed(confirmed(Entries.length))
              }
              return Effect.async<BatchResult<SendMessageResult>, SqsError.SqsError>((resume) => {
                open.push({ size: Entries.length, resume })
              })
            })
        },
        fork: yield* fork,
        now,
        metrics
      },
      {
        queueUrl: "q",
        fifo: false,
        retry: Schedule.spaced("1 second"),
        maxPerGroup: 10,
        callBytes: 1000,
        linger: 20,
        concurrency: 1,
        buffer: 100,
        bufferBytes: 10_000,
        rate: undefined,
        ...options
      }
    )
    yield* Effect.addFinalizer(() => box.close(Duration.zero))
    const results: Array<string> = []
    const told: Array<string> = []
    const said = (result: Result) => (Either.isRight(result) ? "sent" : result.left._tag)
    const entries = new Map<string, Entry>()
    const answering = (exit: (size: number) => Exit.Exit<BatchResult<SendMessageResult>, SqsError.SqsError>) =>
      Effect.zipRight(
        Effect.sync(() => {
          const call = open.shift()
          call?.resume(exit(call.size))
        }),
        Effect.sleep(1)
      )
    const failing = (SenderFault: boolean, positions: ReadonlyArray<number>) =>
      answering((size) =>
        Exit.succeed({
          Successful: confirmed(size).Successful.filter((_, i) => !positions.includes(i)),
          Failed: positions.map((i) => ({ Id: String(i), Code: "InternalError", Message: "", SenderFault }))
        })
      )
    return {
      ...{ box, calls, depths, open, results, told },
      figures: metrics.figures,
      atOnce: () => {
        isAtOnce = true
      },
      of: (name: string): Entry => entries.get(name) ?? assert.fail(`no ${name}`),
      add: (...names: ReadonlyArray<string | readonly [string, number]>) =>
        names.map((one) => {
          const [name, size] = typeof one === "string" ? [one, 10] : one
          const entry = message(name, size)
          entries.set(name, entry)
          entry.onResult = (result) => results.push(`${name} ${said(result)}`)
          entry.onTaken = () => told.push(`${name} taken`)
          entry.onUnsent = () => told.push(`${name} unsent`)
          return box.add(entry)
        }),
      answer: answering((size) => Exit.succeed(confirmed(size))),
      fail: (...positions: ReadonlyArray<number>) => failing(false, positions),
      refuse: (...positions: ReadonlyArray<number>) => failing(true, positions),
      die: answering(() => Exit.die("a defect"))
    }
  })

describe("the outbox", () => {
  it(
    "sends when a call is full, or its first message has lingered; so many calls at once",
    simulated(
      Effect.gen(function* () {
        const { add, answer, box, calls, results } = yield* outbox()
        const many = Array.from({ length: 12 }, (_, i) => `m${i}`)
        assert.isTrue(add(...many).every((taken) => taken))
        yield* Effect.sleep(1)
        assert.deepStrictEqual(calls.splice(0), [`0 ${many.slice(0, 10).join(" ")}`])
        yield* Effect.sleep(100)
        assert.deepInclude(box.stats, { buffered: 12, waiting: 0, inFlight: 1, calls: 1, sent: 0 })
        yield* answer
        assert.deepStrictEqual(
          [calls.splice(0).map((call) => call.replace(/^\d+ /, "")), results.length],
          [["m10 m11"], 10]
        )
        yield* answer
        add("a1")
        const since = 103
        yield* Effect.sleep(10)
        add("a2")
        yield* Effect.sleep(8)
        assert.deepStrictEqual(calls, [])
        yield* Effect.sleep(4)
        assert.deepStrictEqual(calls, [`${since + 20} a1 a2`])
        yield* answer
        assert.deepInclude(box.stats, { buffered: 0, inFlight: 0, calls: 3, sent: 14 })
        yield* Effect.sleep("1 second")
        assert.lengthOf(calls, 1)
      })
    )
  )

  it(
    "accepts no more than its bounds, one message alone excepted; who waits goes in turn, and whoever has gone is not sent",
    simulated(
      Effect.gen(function* () {
        const { add, answer, box, calls, of, results, told } = yield* outbox({ buffer: 2, bufferBytes: 100, linger: 0 })
        assert.deepStrictEqual(add(["large", 150], ["a1", 1], ["a2", 1], ["a3", 1], ["gone", 1]), [
          true,
          false,
          false,
          false,
          false
        ])
        assert.deepInclude(box.stats, { buffered: 1, waiting: 4 })
        box.withdraw(of("gone"))
        box.withdraw(of("gone"))
        assert.deepStrictEqual(told.splice(0), ["gone unsent"])
        // One that is accepted is sent, though nobody waits for it.
        box.withdraw(of("large"))
        yield* Effect.sleep(1)
        yield* answer
        assert.deepStrictEqual(results, [])
        assert.deepStrictEqual(told.splice(0), ["a1 taken", "a2 taken"])
        assert.deepInclude(box.stats, { buffered: 2, waiting: 1 })
        yield* answer
        yield* answer
        assert.deepStrictEqual(told.splice(0), ["a3 taken"])
        assert.deepStrictEqual(
          calls.map((call) => call.replace(/^\d+ /, "")),
          ["large", "a1 a2", "a3"]
        )
        assert.deepStrictEqual(add(["b1", 60], ["b2", 40], ["b3", 1]), [true, true, false])
        yield* Effect.sleep(1)
        yield* answer
        yield* Effect.sleep(1)
        yield* answer
        assert.deepInclude(box.stats, { buffered: 0, waiting: 0, inFlight: 0 })
      })
    )
  )

  it(
    "sends what failed in passing again after a pause, in which others may go; it goes before those that wait",
    simulated(
      Effect.gen(function* () {
        const { add, answer, box, calls, fail, results } = yield* outbox({ linger: 0 })
        add("a1", "a2")
        yield* Effect.sleep(1)
        yield* fail(1)
        assert.deepStrictEqual([results, box.stats.inFlight], [["a1 sent"], 0])
        add("b1")
        yield* Effect.sleep(1)
        assert.strictEqual(box.stats.inFlight, 1)
        yield* Effect.sleep("2 seconds")
        add("c1")
        yield* Effect.sleep(1)
        assert.lengthOf(calls, 2)
        yield* answer
        assert.strictEqual(box.stats.inFlight, 1)
        yield* answer
        yield* answer
        assert.deepStrictEqual(
          calls.map((call) => call.replace(/^\d+ /, "")),
          ["a1 a2", "b1", "a2", "c1"]
        )
        assert.deepInclude(box.stats, { buffered: 0, inFlight: 0, calls: 4, sent: 4, failed: 0, retried: 1 })
      })
    )
  )

  it(
    "gives those of a call that dies up, and goes on",
    simulated(
      Effect.gen(function* () {
        const { add, answer, box, die, results, told } = yield* outbox({ linger: 0 })
        add("a1")
        yield* Effect.sleep(1)
        add("b1")
        yield* die
        yield* answer
        assert.deepStrictEqual([results, told], [["a1 GaveUp", "b1 sent"], []])
        assert.deepInclude(box.stats, { buffered: 0, inFlight: 0, sent: 1, failed: 1 })
      })
    )
  )

  it(
    "that closes sends what it has without lingering, and refuses what comes or waits; what has no result in time is in doubt",
    simulated(
      Effect.gen(function* () {
        const quick = yield* outbox({ linger: 60_000, buffer: 1 })
        quick.add("b1", "b2")
        yield* Effect.sleep(1)
        yield* Effect.fork(Effect.delay(quick.answer, "1 second"))
        yield* quick.box.close(Duration.seconds(5))
        // It is over with the last result, and not when the time is.
        assert.strictEqual(yield* millis, 1001)
        assert.deepStrictEqual(quick.results, ["b2 Closed", "b1 sent"])
        assert.deepStrictEqual(quick.told, ["b2 taken", "b2 unsent"])
        assert.deepStrictEqual(quick.add("c1"), [true])
        assert.include(quick.results, "c1 Closed")
        assert.include(quick.told, "c1 unsent")
        yield* quick.box.close(Duration.seconds(5))

        const alone = yield* outbox({ linger: 60_000 })
        alone.add("a1")
        yield* Effect.fork(Effect.delay(alone.answer, "1 second"))
        yield* alone.box.close(Duration.seconds(5))
        assert.deepStrictEqual(alone.results, ["a1 sent"])

        const slow = yield* outbox({ linger: 60_000 })
        slow.add(...Array.from({ length: 11 }, (_, i) => `a${i}`))
        const before = yield* millis
        yield* slow.box.close(Duration.seconds(5))
        assert.strictEqual((yield* millis) - before, 5000)
        assert.deepStrictEqual([slow.calls.length, slow.results.length, slow.results[10]], [1, 11, "a10 Closed"])
        yield* Effect.sleep("1 second")
        // What was not sent by then is not sent after.
        assert.lengthOf(slow.calls, 1)
        // They may be in the queue.
        assert.deepStrictEqual(slow.told, [])
        assert.deepInclude(slow.box.stats, { buffered: 0, failed: 11 })
      })
    )
  )

  it(
    "lets nobody overtake who waits for room, and what waits behind one that goes has its turn",
    simulated(
      Effect.gen(function* () {
        const { add, answer, box, calls, of, told } = yield* outbox({ bufferBytes: 100, linger: 60_000 })
        assert.deepStrictEqual(add(["a1", 60], ["large", 60], ["a2", 10]), [true, false, false])
        yield* Effect.sleep(1)
        // Whoever waits makes what is there go at once.
        assert.deepStrictEqual(calls, ["0 a1"])
        box.withdraw(of("large"))
        assert.deepStrictEqual(told, ["large unsent", "a2 taken"])
        yield* answer
        assert.deepInclude(box.stats, { buffered: 1, waiting: 0, inFlight: 0 })
      })
    )
  )

  it(
    "holds ten messages a call, however many there are",
    simulated(
      Effect.gen(function* () {
        const { add, answer, calls } = yield* outbox()
        add(...Array.from({ length: 35 }, (_, i) => `m${i}`))
        yield* Effect.sleep(1)
        for (let i = 0; i < 3; i++) yield* answer
        // The last ones linger.
        yield* Effect.sleep(20)
        assert.deepStrictEqual(
          calls.map((call) => call.split(" ").length - 1),
          [10, 10, 10, 5]
        )
      })
    )
  )

  it(
    "sends what lingers when another call has ended, in its time",
    simulated(
      Effect.gen(function* () {
        const { add, answer, calls } = yield* outbox()
        add("a1")
        yield* Effect.sleep(25)
        add("b1")
        yield* Effect.sleep(5)
        yield* answer
        yield* Effect.sleep("1 second")
        assert.deepStrictEqual(calls, ["20 a1", "45 b1"])
      })
    )
  )

  it(
    "sends the next of a group when the first has its result, and lets it linger for what others bring back",
    simulated(
      Effect.gen(function* () {
        const { add, answer, calls } = yield* outbox({ fifo: true, maxPerGroup: 1, concurrency: 3 })
        add("a1", "a2")
        yield* Effect.sleep(21)
        add("b1")
        yield* Effect.sleep(24)
        yield* answer
        yield* Effect.sleep("1 second")
        assert.deepStrictEqual(calls, ["20 a1", "41 b1", "65 a2"])
      })
    )
  )

  it(
    "tells what is surely not in the queue, where somebody listens",
    simulated(
      Effect.gen(function* () {
        const { add, box, of, refuse, results, told } = yield* outbox({ linger: 0 })
        add("a1", "a2")
        of("a1").onUnsent = undefined
        yield* Effect.sleep(1)
        yield* refuse(0, 1)
        assert.deepStrictEqual([results, told], [["a1 Rejected", "a2 Rejected"], ["a2 unsent"]])
        assert.deepInclude(box.stats, { buffered: 0, failed: 2, inFlight: 0 })
      })
    )
  )

  // Not in a simulation, where a fiber begins by a wake.
  it.scoped("goes on where calls end as they begin, and its stack does not grow with how many they are", () =>
    Effect.gen(function* () {
      const { add, atOnce, box, depths, open } = yield* outbox({ buffer: 1 })
      add(...Array.from({ length: 50 }, (_, i) => `m${i}`))
      assert.deepInclude(box.stats, { buffered: 1, waiting: 49, inFlight: 1 })
      atOnce()
      open[0]?.resume(Exit.succeed(confirmed(1)))
      yield* Effect.repeatN(Effect.yieldNow(), 3)
      // The last one lingers.
      assert.deepInclude(box.stats, { buffered: 1, waiting: 0, inFlight: 0, sent: 49 })
      assert.strictEqual(depths.at(-1), depths[1])
    })
  )

  it(
    "lets what is ready begin in a pause at once, and tries again at the end of it where nothing else runs",
    simulated(
      Effect.gen(function* () {
        const { add, answer, calls, fail } = yield* outbox({ linger: 0 })
        add("a1")
        yield* Effect.sleep(1)
        add("b1")
        yield* fail(0)
        assert.deepStrictEqual(calls.splice(0), ["0 a1", "1 b1"])
        yield* answer
        yield* Effect.sleep("5 seconds")
        assert.deepStrictEqual(calls, ["1001 a1"])
      })
    )
  )

  it(
    "tells its figures when a call begins and ends, when the buffer is full, and when it has closed",
    simulated(
      Effect.gen(function* () {
        const { add, answer, figures } = yield* outbox({ linger: 0, buffer: 2 })
        add("a1")
        yield* Effect.sleep(1)
        assert.deepStrictEqual(figures.splice(0), ["1 calls 0 sent 1 buffered"])
        add("a2")
        assert.deepStrictEqual(figures.splice(0), [])
        add("a3")
        assert.deepStrictEqual(figures.splice(0), ["1 calls 0 sent 2 buffered"])
        add("a4")
        assert.deepStrictEqual(figures.splice(0), [])
        yield* answer
        assert.strictEqual(figures.at(-1), "2 calls 1 sent 2 buffered")
        yield* answer
        yield* answer
        assert.strictEqual(figures.at(-1), "3 calls 4 sent 0 buffered")

        const none = new TokenBucket(1, yield* Tunable.make("rate", 0, { min: 0 }), 0)
        none.take({ wake: () => {} }, 1, 0)
        const shut = yield* outbox({ rate: none })
        shut.add("a1")
        yield* shut.box.close(Duration.zero)
        assert.deepStrictEqual(shut.figures, ["0 calls 0 sent 0 buffered"])
      })
    )
  )
})

describe("the outbox with a rate", () => {
  it(
    "takes no more than it, and gives back what a call had no room for",
    simulated(
      Effect.gen(function* () {
        const rate = new TokenBucket(3, yield* Tunable.make("rate", 1, { min: 0 }), 0)
        const { add, atOnce, calls } = yield* outbox({ rate, callBytes: 100, linger: 0 })
        atOnce()
        add(["a1", 60], ["a2", 60])
        yield* Effect.sleep(1)
        add(["b1", 60], ["b2", 60])
        yield* Effect.sleep(1499)
        add(["c1", 60])
        yield* Effect.sleep("10 seconds")
        assert.deepStrictEqual(calls, ["0 a1", "0 a2", "1001 b1", "1001 b2", "2001 c1"])
      })
    )
  )

  it(
    "asks for no more at once than its burst",
    simulated(
      Effect.gen(function* () {
        const rate = new TokenBucket(2, yield* Tunable.make("rate", 1, { min: 0 }), 0)
        const { add, atOnce, calls } = yield* outbox({ rate, linger: 0 })
        atOnce()
        add("a1", "a2", "a3", "a4")
        yield* Effect.sleep("10 seconds")
        assert.deepStrictEqual(calls, ["0 a1 a2", "2000 a3 a4"])
      })
    )
  )

  it(
    "of zero waits until it is raised, and whoever closes leaves the line to the next",
    simulated(
      Effect.gen(function* () {
        const perSecond = yield* Tunable.make("rate", 0, { min: 0 })
        const rate = new TokenBucket(1, perSecond, 0)
        const first = yield* outbox({ rate, linger: 0 })
        const second = yield* outbox({ rate, linger: 0 })
        first.atOnce()
        second.atOnce()
        first.add("a1", "a2")
        yield* Effect.sleep(1)
        second.add("b1")
        yield* Effect.sleep("1 minute")
        assert.deepStrictEqual([first.calls, second.calls], [["0 a1"], []])
        yield* first.box.close(Duration.zero)
        yield* perSecond.set(1)
        yield* Effect.sleep("10 seconds")
        assert.deepStrictEqual([first.calls, second.calls], [["0 a1"], ["61001 b1"]])
      })
    )
  )
})
