/** One call of the producer by itself: what each answer and each failure makes of its messages. */
import { assert, describe, it } from "@effect/vitest"
import { Simulation } from "@millrace/core/testing"
import { SqsError } from "@millrace/sqs"
import { Duration, Effect, Either, Schedule, type Scope } from "effect"
import { type Call, Calls } from "../../src/internal/send/call.js"
import { type Entry, entryOf } from "../../src/internal/send/entry.js"
import type { BatchResult, SendMessageResult } from "../../src/SqsClient.js"

const simulated =
  <E>(program: Effect.Effect<unknown, E, Scope.Scope>) =>
  () =>
    Simulation.checkInTurns({ seeds: 1, leaks: "fail", maxElapsed: "1 day" }, program)

/** What SQS says of a message: its code where it fails, with `!` where the sender is to blame; nothing at all of `?`. */
type Said = "ok" | "?" | (string & {})
/** A call's answer in the order of its messages, or how it fails. */
type Answer = ReadonlyArray<Said> | SqsError.SqsError

/** Sends messages, of the group of their first letter; the last answer is given to all calls that follow. */
const sending = (
  options: { readonly fifo?: boolean; readonly tries?: Schedule.Schedule<unknown> },
  names: ReadonlyArray<string>,
  ...answers: ReadonlyArray<Answer>
) =>
  Effect.gen(function* () {
    const clock = yield* Effect.clock
    const calls: Array<string> = []
    const results: Array<string> = []
    const host: Array<string> = []
    const open = new Set<Entry>()
    const answered = (
      entries: ReadonlyArray<{ readonly Id: string; readonly MessageBody: string }>,
      said: ReadonlyArray<Said>
    ): BatchResult<SendMessageResult> => ({
      Successful: entries.flatMap(({ Id, MessageBody }, i) =>
        said[i] === "ok" ? [{ Id, MessageId: MessageBody, MD5OfMessageBody: "", SequenceNumber: undefined }] : []
      ),
      Failed: entries.flatMap(({ Id }, i) => {
        const [code = "?", blame] = (said[i] ?? "?").split("!")
        return code === "ok" || code === "?" ? [] : [{ Id, Code: code, Message: "", SenderFault: blame !== undefined }]
      })
    })
    const running = new Calls(
      {
        client: {
          sendMessageBatch: ({ Entries }) =>
            Effect.suspend(() => {
              const answer = answers[Math.min(calls.length, answers.length - 1)] ?? []
              calls.push(Entries.map(({ MessageBody }) => MessageBody).join(" "))
              return "_tag" in answer ? Effect.fail(answer) : Effect.succeed(answered(Entries, answer))
            })
        },
        now: () => clock.unsafeCurrentTimeMillis(),
        isOpen: (entry) => open.has(entry),
        finish: (entry, result) => {
          open.delete(entry)
          const how = Either.match(result, {
            onLeft: (failure) =>
              `${failure._tag}${"calls" in failure ? ` ${failure.calls}` : ""}${"error" in failure ? ` ${failure.error._tag}` : ""}`,
            onRight: ({ messageId }) => `is ${messageId}`
          })
          results.push(`${entry.fields.MessageBody} ${how}`)
        },
        onCall: () => {},
        onRetry: (messages) => host.push(`again ${messages}`),
        leaveSlot: (call) => {
          host.push("leaves")
          call.holdsSlot = false
        },
        takeSlot: (call) =>
          Effect.sync(() => {
            host.push("takes")
            call.holdsSlot = true
          }),
        tell: () => host.push("tells")
      },
      { queueUrl: "q", fifo: options.fifo === true, retry: options.tries ?? Schedule.recurs(2) }
    )
    const batch = names.map((name) => entryOf({ Id: "", MessageBody: name, MessageGroupId: name[0] ?? "" }, 1))
    for (const entry of batch) open.add(entry)
    const call: Call = { holdsSlot: true }
    const [took] = yield* Effect.timed(running.send(call, batch))
    const doubtful = batch.flatMap(({ doubtful, fields }) => (doubtful ? [fields.MessageBody] : []))
    return { calls, results, host, doubtful, open: open.size, took: Duration.toMillis(took) }
  })

const operation = "SendMessageBatch"
const lost = new SqsError.TransportError({ operation, message: "lost" })
const tooLarge = new SqsError.TransportError({ operation, message: "too large", status: 413 })
const throttled = new SqsError.RequestThrottled({ operation, message: "throttled" })
const denied = new SqsError.AccessDenied({ operation, message: "denied" })
const invalid = new SqsError.InvalidMessageContents({ operation, message: "invalid" })
const unknown = (status: number) => new SqsError.UnknownSqsError({ operation, code: "Odd", status, message: "odd" })

describe("a call that fails", () => {
  it(
    "in passing is sent again whole, with its slot, and what a lost answer may have done is in doubt",
    simulated(
      Effect.gen(function* () {
        assert.deepInclude(yield* sending({}, ["a", "b"], lost, ["ok", "ok"]), {
          calls: ["a b", "a b"],
          results: ["a is a", "b is b"],
          host: ["tells", "again 2"],
          doubtful: ["a", "b"]
        })
        assert.deepInclude(yield* sending({}, ["a"], throttled, ["ok"]), { results: ["a is a"], doubtful: [] })
        assert.deepInclude(yield* sending({}, ["a", "b"], throttled), {
          calls: ["a b", "a b", "a b"],
          results: ["a GaveUp 3 RequestThrottled", "b GaveUp 3 RequestThrottled"],
          host: ["tells", "again 2", "tells", "again 2", "tells"],
          open: 0
        })
      })
    )
  )

  it(
    "for good is not sent again",
    simulated(
      Effect.gen(function* () {
        for (const error of [denied, unknown(403)]) {
          assert.deepInclude(yield* sending({}, ["a", "b"], error), {
            calls: ["a b"],
            results: [`a GaveUp 1 ${error._tag}`, `b GaveUp 1 ${error._tag}`]
          })
        }
      })
    )
  )

  it(
    "because of one of its messages sends each by itself, in order, and gives up that one",
    simulated(
      Effect.gen(function* () {
        for (const error of [invalid, unknown(400), unknown(413)]) {
          assert.deepInclude(yield* sending({}, ["a", "b", "c"], error, ["ok"], error, ["ok"]), {
            calls: ["a b c", "a", "b", "c"],
            results: ["a is a", `b Rejected ${error._tag}`, "c is c"]
          })
        }
      })
    )
  )

  it(
    "since it is too large for something on the way sends each by itself, and one alone again",
    simulated(
      Effect.gen(function* () {
        assert.deepInclude(yield* sending({ tries: Schedule.recurs(1) }, ["a", "b"], tooLarge, ["ok"], tooLarge), {
          calls: ["a b", "a", "b", "b"],
          results: ["a is a", "b GaveUp 2 TransportError"]
        })
      })
    )
  )

  it(
    "is given up on an ordered queue before SQS forgets what it has seen",
    simulated(
      Effect.gen(function* () {
        yield* Effect.sleep("1 hour")
        const tries = Schedule.spaced("1 minute").pipe(Schedule.intersect(Schedule.recurs(10)))
        assert.deepInclude(yield* sending({ fifo: true, tries }, ["a"], lost), {
          results: ["a GaveUp 5 TransportError"],
          took: 300_000
        })
        assert.deepInclude(yield* sending({ tries }, ["a"], lost), { results: ["a GaveUp 11 TransportError"] })
      })
    )
  )
})

describe("an answer", () => {
  it(
    "gives each message its own result; what failed in passing is sent again without its slot meanwhile",
    simulated(
      Effect.gen(function* () {
        const names = ["a", "b", "c", "d", "e", "f"]
        const said = ["ok", "InternalError", "Odd!", "Odd", "AccessDenied", "RequestThrottled!"]
        assert.deepInclude(yield* sending({}, names, said, ["ok", "ok", "ok"]), {
          calls: ["a b c d e f", "b d f"],
          results: ["a is a", "c Rejected UnknownSqsError", "e GaveUp 1 AccessDenied", "b is b", "d is d", "f is f"],
          host: ["leaves", "tells", "takes", "again 3"],
          doubtful: ["b", "d"]
        })
      })
    )
  )

  it(
    "that leaves a message out leaves it in doubt, and it is sent again; in the end it says what SQS said last",
    simulated(
      Effect.gen(function* () {
        assert.deepInclude(yield* sending({}, ["a", "b"], ["ok", "?"], ["ok"]), {
          calls: ["a b", "b"],
          results: ["a is a", "b is b"],
          doubtful: ["b"]
        })
        assert.deepInclude(yield* sending({}, ["a", "b", "c"], ["ok", "RequestThrottled", "?"], ["ok", "ok"]), {
          calls: ["a b c", "b c"],
          doubtful: ["c"]
        })
        assert.deepInclude(yield* sending({}, ["a"], ["?"]), { results: ["a GaveUp 3 TransportError"] })
        assert.deepInclude(yield* sending({}, ["a"], ["?"], ["RequestThrottled"]), {
          results: ["a GaveUp 3 RequestThrottled"]
        })
      })
    )
  )

  it(
    "that has taken a later one of its group gives up the earlier, on an ordered queue; those behind go again",
    simulated(
      Effect.gen(function* () {
        const said = ["InternalError", "ok", "InternalError", "InternalError"]
        assert.deepInclude(yield* sending({ fifo: true }, ["a1", "a2", "a3", "b1"], said, ["ok", "ok"]), {
          calls: ["a1 a2 a3 b1", "a3 b1"],
          results: ["a2 is a2", "a1 Overtaken UnknownSqsError", "a3 is a3", "b1 is b1"]
        })
        assert.deepInclude(yield* sending({}, ["a1", "a2", "a3", "b1"], said, ["ok", "ok", "ok"]), {
          calls: ["a1 a2 a3 b1", "a1 a3 b1"]
        })
      })
    )
  )
})
