/** What the queue answers to a call of settlements, and what becomes of each entry: by itself, with a queue that answers as told. */
import { assert, describe, it } from "@effect/vitest"
import type { LeaseQueue } from "@millrace/core"
import { Duration, Effect, Either, Schedule } from "effect"
import { fork } from "../../src/internal/effect/fork.js"
import type { Entry, Request } from "../../src/internal/settle/entry.js"
import { NoLoss } from "../../src/internal/settle/noLoss.js"
import { simulated } from "../support/index.js"

type Answer = Effect.Effect<ReadonlyArray<LeaseQueue.EntryResult>, "fatal" | "transient">

const done: LeaseQueue.EntryResult = Either.right(undefined)
const failed = (reason: LeaseQueue.EntryFailure["reason"]): LeaseQueue.EntryResult =>
  Either.left({ reason, message: "no" })

/** Answers its calls, one after the other, as told; with everything done where it is not told. */
const answering = (...answers: ReadonlyArray<Answer>) =>
  Effect.gen(function* () {
    const clock = yield* Effect.clock
    const now = () => clock.unsafeCurrentTimeMillis()
    const events: Array<string> = []
    let n = 0
    const answer = (what: string, ids: ReadonlyArray<string>): Answer =>
      Effect.suspend(() => {
        events.push(`${now()} ${what} ${ids.join("")}`)
        return answers[n++] ?? Effect.succeed(ids.map(() => done))
      })
    const queue = {
      name: "q",
      limits: { batchSize: 2, ordered: false },
      errorKind: (error: string) => error,
      ack: (leases: ReadonlyArray<LeaseQueue.Lease>) =>
        answer(
          "ack",
          leases.map(({ messageId }) => messageId)
        ),
      setLease: (entries: ReadonlyArray<LeaseQueue.SetLeaseEntry>) =>
        answer(
          "set",
          entries.map(
            ({ duration, lease, left }) =>
              `${lease.messageId}${Duration.toSeconds(duration)}${left === true ? "left" : ""}`
          )
        ),
      deadLetter: (entries: ReadonlyArray<LeaseQueue.DeadLetterEntry>) =>
        answer(
          "letter",
          entries.map(({ attempt, message, reason }) => `${message.id}${reason}${attempt}`)
        )
    } as unknown as LeaseQueue.LeaseQueue<"fatal" | "transient">
    const host = {
      queue,
      runFork: yield* fork(),
      now,
      onCall: () => {},
      onError: (error: string, operation: string) => events.push(`${operation} fails: ${error}`),
      onSuccess: () => events.push("answered"),
      onResults: () => events.push("results")
    }
    const noLoss = new NoLoss(host, Schedule.spaced("1 second"))
    const entry = (
      id: string,
      request: Request = { _tag: "Ack" },
      {
        deadline = 60_000,
        refusable = false,
        over = () => false
      }: { deadline?: number; refusable?: boolean; over?: () => boolean } = {}
    ): Entry => {
      const message: Partial<LeaseQueue.Message> = { id, lease: { messageId: id, handle: id } }
      const made: Entry = {
        message: message as LeaseQueue.Message,
        request,
        deadline: () => deadline,
        over,
        onResult: (confirmed) => events.push(`${id} ${confirmed}`),
        onRefused: refusable ? () => events.push(`${id} refused`) : undefined,
        awaited: false
      }
      noLoss.take(made)
      return made
    }
    return { entry, events, host, noLoss, queue }
  })

const setLease: Request = { _tag: "SetLease", duration: Duration.seconds(3) }
const deadLetter: Request = { _tag: "DeadLetter", reason: "!", error: undefined, attempt: 7 }
const isWorthIt = (event: string) => /^\d|true|false|refused/.test(event)

describe("what the queue answers", () => {
  it(
    "each entry has its own result; what failed is tried again alone, and what the answer does not mention too",
    simulated(
      Effect.gen(function* () {
        const { entry, events, noLoss } = yield* answering(Effect.succeed([failed("Transient"), done]))
        const entries = [entry("a"), entry("b"), entry("c")]
        assert.strictEqual(noLoss.pending, 3)
        assert.isFalse(noLoss.isOver)
        let answers = 0
        noLoss.send("Ack", entries, () => answers++)
        yield* Effect.sleep("500 millis")
        assert.deepStrictEqual(events, ["0 ack abc", "answered", "b true", "results"])
        assert.deepStrictEqual([answers, noLoss.pending], [1, 2])
        yield* Effect.sleep("10 seconds")
        assert.deepStrictEqual(events.slice(4), ["1000 ack ac", "answered", "a true", "c true", "results"])
        assert.deepStrictEqual([answers, noLoss.pending, noLoss.isOver], [1, 0, true])
      })
    )
  )

  it(
    "a lost lease is a result; a rejected entry is refused, but for an ack, which is tried again",
    simulated(
      Effect.gen(function* () {
        const { entry, events, noLoss } = yield* answering(
          Effect.succeed([failed("LeaseLost"), failed("Rejected"), failed("Rejected")]),
          Effect.succeed([failed("Rejected")])
        )
        noLoss.send(
          "SetLease",
          [entry("a", setLease), entry("b", setLease), entry("c", setLease, { refusable: true })],
          () => {}
        )
        yield* Effect.sleep("5 seconds")
        assert.deepStrictEqual(events.filter(isWorthIt), ["0 set a3b3c3", "a false", "b false", "c refused"])
        events.length = 0
        noLoss.send("Ack", [entry("d", undefined, { refusable: true })], () => {})
        yield* Effect.sleep("5 seconds")
        assert.deepStrictEqual(events.filter(isWorthIt), ["5000 ack d", "6000 ack d", "d true"])
      })
    )
  )

  it(
    "a call that may not be made is refused at once, but for an ack; one that failed otherwise is made again",
    simulated(
      Effect.gen(function* () {
        const { entry, events, noLoss } = yield* answering(
          Effect.fail("fatal"),
          Effect.fail("transient"),
          Effect.succeed([done]),
          Effect.fail("fatal")
        )
        noLoss.send("SetLease", [entry("a", setLease, { refusable: true })], () => {})
        yield* Effect.sleep("3 seconds")
        assert.deepStrictEqual(events, ["0 set a3", "SetLease fails: fatal", "a refused", "results"])
        events.length = 0
        noLoss.send("DeadLetter", [entry("b", deadLetter)], () => {})
        yield* Effect.sleep("3 seconds")
        assert.deepStrictEqual(events.filter(isWorthIt), ["3000 letter b!7", "4000 letter b!7", "b true"])
        events.length = 0
        noLoss.send("Ack", [entry("c")], () => {})
        yield* Effect.sleep("3 seconds")
        assert.deepStrictEqual(events.filter(isWorthIt), ["6000 ack c", "7000 ack c", "c true"])
        noLoss.send("SetLease", [entry("d", { _tag: "SetLease", duration: Duration.zero, left: true })], () => {})
        yield* Effect.sleep("1 second")
        assert.include(events, "9000 set d0left")
      })
    )
  )

  it(
    "nothing is tried again after its lease, but for an ack that was tried within it, once; or where it has ended otherwise",
    simulated(
      Effect.gen(function* () {
        const never: Answer = Effect.fail("transient")
        const { entry, events, noLoss, queue } = yield* answering(never, never, never, never, never, never, never)
        let isOver = false
        noLoss.send(
          "SetLease",
          [entry("a", setLease, { deadline: 1500 }), entry("b", setLease, { over: () => isOver })],
          () => {}
        )
        yield* Effect.sleep("500 millis")
        isOver = true
        yield* Effect.sleep("1 second")
        isOver = false
        assert.deepStrictEqual(events.filter(isWorthIt), ["0 set a3b3", "b false", "1000 set a3"])
        yield* Effect.sleep("1 second")
        assert.deepStrictEqual(events.filter(isWorthIt).slice(3), ["a false"])
        assert.strictEqual(events.at(-1), "results")
        events.length = 0
        noLoss.send("Ack", [entry("c", undefined, { deadline: 3000 })], () => {})
        yield* Effect.sleep("10 seconds")
        assert.deepStrictEqual(events.filter(isWorthIt), ["2500 ack c", "3500 ack c", "c false"])
        events.length = 0
        Object.assign(queue.limits, { ordered: true })
        noLoss.send("Ack", [entry("d", undefined, { deadline: 13_000 })], () => {})
        yield* Effect.sleep("10 seconds")
        assert.deepStrictEqual(events.filter(isWorthIt), ["12500 ack d", "d false"])
      })
    )
  )

  it(
    "a schedule that ends goes on at a second; a defect of the port ends its entries as lost, and who waits is told once",
    simulated(
      Effect.gen(function* () {
        const { entry, events, host } = yield* answering(
          Effect.fail("transient"),
          Effect.fail("transient"),
          Effect.die("a defect")
        )
        const noLoss = new NoLoss(host, Schedule.stop)
        let answers = 0
        const one = entry("a")
        noLoss.take(one)
        noLoss.send("Ack", [one], () => answers++)
        yield* Effect.sleep("1500 millis")
        assert.deepStrictEqual(events.filter(isWorthIt), ["0 ack a", "1000 ack a"])
        assert.strictEqual(answers, 1)
        yield* Effect.sleep("1 second")
        // What the port died of may be over.
        assert.deepStrictEqual(events.filter(isWorthIt).slice(2), ["2000 ack a"])
        yield* Effect.sleep("1 second")
        assert.deepStrictEqual(events.filter(isWorthIt).slice(3), ["3000 ack a", "a true"])
        events.length = 0
        const letter = entry("b", deadLetter)
        noLoss.take(letter)
        Object.assign(host.queue, {
          deadLetter: () => {
            throw new Error("the port itself bites")
          }
        })
        noLoss.send("DeadLetter", [letter], () => answers++)
        yield* Effect.sleep("10 seconds")
        assert.deepStrictEqual(events.slice(-2), ["b false", "results"])
        assert.deepStrictEqual([answers, noLoss.pending], [2, 0])
      })
    )
  )

  it(
    "in order means one call after the other, each with all of its results",
    simulated(
      Effect.gen(function* () {
        const slow = (results: ReadonlyArray<LeaseQueue.EntryResult>): Answer =>
          Effect.delay(Effect.succeed(results), "100 millis")
        const { entry, events, noLoss } = yield* answering(slow([done, failed("Transient")]))
        noLoss.sendInOrder(
          "SetLease",
          ["a", "b", "c"].map((id) => entry(id, setLease))
        )
        yield* Effect.sleep("5 seconds")
        assert.deepStrictEqual(events.filter(isWorthIt), [
          "0 set a3b3",
          "a true",
          "1100 set b3",
          "b true",
          "1100 set c3",
          "c true"
        ])
      })
    )
  )

  it(
    "what is abandoned is lost, once, and its calls are ended; all is over where each is",
    simulated(
      Effect.gen(function* () {
        const { entry, events, noLoss } = yield* answering(Effect.never, Effect.never)
        let isOver = false
        noLoss.send(
          "Ack",
          [entry("a", undefined, { over: () => isOver }), entry("b", undefined, { over: () => true })],
          () => {}
        )
        assert.isFalse(noLoss.isOver)
        isOver = true
        assert.isTrue(noLoss.isOver)
        yield* Effect.sleep("1 second")
        noLoss.abandon()
        assert.deepStrictEqual([events.filter(isWorthIt), noLoss.pending], [["0 ack ab", "a false", "b false"], 0])
        yield* Effect.sleep("1 second")
        assert.deepStrictEqual(events.filter(isWorthIt), ["0 ack ab", "a false", "b false"])
      })
    )
  )
})
