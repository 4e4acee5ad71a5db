/** The producer's lanes and its outbox by themselves, with a client that answers as told. */
import { assert, describe, it } from "@effect/vitest"
import { Simulation } from "@millrace/core/testing"
import type { SqsError } from "@millrace/sqs"
import { Duration, Effect, Either, Exit, Schedule, type Scope } from "effect"
import { fork } from "../../src/internal/effect/fork.js"
import { type Entry, entryOf, type Result } from "../../src/internal/send/entry.js"
import { type Options, Outbox } from "../../src/internal/send/outbox.js"
import { ProducerMetrics } from "../../src/internal/send/producerMetrics.js"
import { Lanes } from "../../src/internal/send/sendLanes.js"
import type { BatchResult, SendMessageResult } from "../../src/SqsClient.js"

const simulated =
  <E>(program: Effect.Effect<unknown, E, Scope.Scope>) =>
  () =>
    Simulation.checkInTurns({ seeds: 3, leaks: "fail", maxElapsed: "1 day" }, program)

/** `a1` is of group `a` where groups count. */
const message = (name: string, size = 10): Entry =>
  entryOf({ Id: "", MessageBody: name, MessageGroupId: name[0] ?? "" }, size)

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

/** An outbox of a standard queue; `answer` confirms all of the oldest open call, `fail` fails these positions in passing. */
const outbox = (options: Partial<Options> = {}) =>
  Effect.gen(function* () {
    const clock = yield* Effect.clock
    const now = () => clock.unsafeCurrentTimeMillis()
    const calls: Array<string> = []
    const open: Array<{
      readonly size: number
      readonly resume: (exit: Exit.Exit<BatchResult<SendMessageResult>, SqsError.SqsError>) => void
    }> = []
    const box: Outbox = new Outbox(
      {
        client: {
          sendMessageBatch: ({ Entries }) =>
            Effect.async<BatchResult<SendMessageResult>, SqsError.SqsError>((resume) => {
              calls.push(`${now()} ${Entries.map(({ MessageBody }) => MessageBody).join(" ")}`)
              open.push({ size: Entries.length, resume })
            })
        },
        fork: yield* fork,
        now,
        metrics: new ProducerMetrics("outbox")
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
    return {
      ...{ box, calls, open, results, told },
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
      answer: answering((size) =>
        Exit.succeed({ Successful: Array.from({ length: size }, (_, i) => ok(i)), Failed: [] })
      ),
      fail: (...positions: ReadonlyArray<number>) =>
        answering((size) =>
          Exit.succeed({
            Successful: Array.from({ length: size }, (_, i) => ok(i)).filter((_, i) => !positions.includes(i)),
            Failed: positions.map((i) => ({ Id: String(i), Code: "InternalError", Message: "", SenderFault: false }))
          })
        ),
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
        const { add, answer, box, calls, of, told } = yield* outbox({ buffer: 2, bufferBytes: 100, linger: 0 })
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
        assert.includeMembers(quick.results, ["b1 sent", "b2 Closed"])
        assert.includeMembers(quick.told, ["b2 taken", "b2 unsent"])
        assert.deepStrictEqual(quick.add("c1"), [true])
        assert.include(quick.results, "c1 Closed")
        assert.include(quick.told, "c1 unsent")
        yield* quick.box.close(Duration.seconds(5))

        const slow = yield* outbox({ linger: 60_000 })
        slow.add("a1", "a2")
        const before = yield* Effect.clockWith((clock) => clock.currentTimeMillis)
        yield* slow.box.close(Duration.seconds(5))
        const after = yield* Effect.clockWith((clock) => clock.currentTimeMillis)
        assert.strictEqual(after - before, 5000)
        assert.deepStrictEqual([slow.calls.length, ...slow.results], [1, "a1 Closed", "a2 Closed"])
        // They may be in the queue.
        assert.deepStrictEqual(slow.told, [])
        assert.deepInclude(slow.box.stats, { buffered: 0, failed: 2 })
      })
    )
  )
})
