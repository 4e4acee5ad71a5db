/**
 * What every `LeaseQueue` must do, as test cases for an implementation's own tests. No test framework is needed: a case
 * is a name and an Effect that fails with what went wrong.
 *
 * @example
 * import { it } from "@effect/vitest"
 *
 * for (const { effect, name } of Conformance.cases(harness, { ordered: false, deadLetters: true })) {
 *   it.scoped(name, () => effect)
 * }
 */
import * as Data from "effect/Data"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type * as Scope from "effect/Scope"
import type { Attribute, EntryResult, Lease, LeaseQueue, Message } from "../LeaseQueue.js"

/** What is sent: `attributes` reach the receiver as they are, `group` only matters where the queue is ordered. */
export interface Outgoing {
  readonly body: string
  readonly group?: string | undefined
  readonly attributes?: Readonly<Record<string, Attribute>> | undefined
}

/** A queue, empty and used by nobody else, and what a test can do to it. */
export interface Harness<E> {
  readonly queue: LeaseQueue<E>
  /** Sends these, in this order; they are visible when it is done. */
  readonly send: (messages: ReadonlyArray<Outgoing>) => Effect.Effect<unknown, unknown>
  /** Lets time pass: `TestClock.adjust`, or `Effect.sleep` on a live clock. Its fibers have had their turn after it. */
  readonly pass: (duration: Duration.Duration) => Effect.Effect<unknown>
  /** The bodies of the dead letters; required where the queue keeps them. */
  readonly deadLetters?: Effect.Effect<ReadonlyArray<string>, unknown> | undefined
}

export interface Traits {
  /** Adds what only ordered queues promise. */
  readonly ordered: boolean
  /** Adds what queues with a place for dead letters promise. */
  readonly deadLetters: boolean
}

export interface Case<E, R> {
  readonly name: string
  readonly effect: Effect.Effect<void, E, R>
}

/** The queue does not do what the port promises. */
export class ConformanceError extends Data.TaggedError("ConformanceError")<{
  readonly expected: unknown
  readonly actual: unknown
  readonly message: string
}> {}

/** Bodies to tell messages apart by. */
const numbered = (count: number, group = "a"): ReadonlyArray<Outgoing> =>
  Array.from({ length: count }, (_, i) => ({ body: `${group}${i + 1}`, group }))

const bodies = (messages: ReadonlyArray<Message>): ReadonlyArray<string> => messages.map(({ body }) => body)

const leases = (messages: ReadonlyArray<Message>): ReadonlyArray<Lease> => messages.map(({ lease }) => lease)

/** An entry's result as a word: `ok`, or the reason why not. */
const outcome = (result: EntryResult): string => (result._tag === "Right" ? "ok" : result.left.reason)

const show = (value: unknown): string => JSON.stringify(value) ?? String(value)

const check = (holds: boolean, says: string, actual: unknown, expected: unknown) =>
  holds
    ? Effect.void
    : Effect.fail(
        new ConformanceError({ expected, actual, message: `${says}: expected ${show(expected)}, got ${show(actual)}` })
      )

const equal = <A>(says: string, actual: A, expected: A) =>
  check(show(actual) === show(expected), says, actual, expected)

const oneOf = <A>(says: string, actual: A, expected: ReadonlyArray<A>) =>
  check(expected.includes(actual), says, actual, `one of ${expected.join(", ")}`)

const sorted = (items: Iterable<string>): ReadonlyArray<string> => [...items].sort()

/** What the cases are written in: the harness with the few things that most of them do. */
const toolkit = <E>({ deadLetters, pass, queue, send }: Harness<E>) => {
  const receive = (max = queue.limits.batchSize, wait: Duration.Duration = Duration.zero, attemptId?: string) =>
    queue.receive({ max, wait, attemptId })
  return {
    queue,
    pass,
    receive,
    send: (messages: ReadonlyArray<Outgoing>) => Effect.orDie(send(messages)),
    deadLetters: Effect.orDie(deadLetters ?? Effect.die("The harness has no deadLetters")),
    /** Until a lease given now has run out. */
    passLease: pass(Duration.times(queue.leaseDuration, 1.1)),
    /** A receive may answer with fewer messages than there are; so it takes a few. */
    receiveAll: (count: number) =>
      Effect.gen(function* () {
        const all: Array<Message> = []
        for (let i = 0; i < 50 && all.length < count; i++) all.push(...(yield* receive()))
        yield* check(all.length >= count, "messages received", bodies(all), `${count} messages`)
        return all
      }),
    receiveOne: Effect.gen(function* () {
      const [message] = yield* receive(1)
      return (
        message ?? (yield* new ConformanceError({ expected: 1, actual: 0, message: "expected a message, got none" }))
      )
    }),
    /** A receive that waits, and has begun to. */
    poll: (seconds: number) =>
      receive(undefined, Duration.seconds(seconds)).pipe(Effect.fork, Effect.zipLeft(pass(Duration.seconds(1)))),
    /** What a poll has answered by now; one that still waits would hang the test. */
    answer: (polling: Fiber.RuntimeFiber<ReadonlyArray<Message>, E>) =>
      pass(Duration.seconds(1)).pipe(
        Effect.zipRight(
          Effect.suspend(() => check(polling.unsafePoll() !== null, "the receive", "still waiting", "an answer"))
        ),
        Effect.zipRight(Fiber.join(polling)),
        Effect.map(bodies)
      ),
    nothing: (says: string) => Effect.flatMap(receive(), (messages) => equal(says, bodies(messages), [])),
    setLease: (entries: ReadonlyArray<Lease>, duration: Duration.DurationInput) =>
      Effect.map(queue.setLease(entries.map((lease) => ({ lease, duration: Duration.decode(duration) }))), (results) =>
        results.map(outcome)
      ),
    ack: (entries: ReadonlyArray<Lease>) => Effect.map(queue.ack(entries), (results) => results.map(outcome))
  }
}

type Toolkit<E> = ReturnType<typeof toolkit<E>>

type Body = <E>(kit: Toolkit<E>) => Effect.Effect<void, ConformanceError | E, Scope.Scope>

const garbage = ({ messageId }: Lease): Lease => ({ messageId, handle: "garbage" })

const always: Readonly<Record<string, Body>> = {
  "a message arrives as it was sent": ({ queue, receiveOne, send }) =>
    Effect.gen(function* () {
      const attributes: Record<string, Attribute> = {
        text: { type: "String", value: "ünï 🎉" },
        count: { type: "Number", value: "42" }
      }
      const body = '{"text":"ünï 🎉\\n"}'
      yield* send([{ body, group: "a", attributes }])
      const message = yield* receiveOne
      yield* equal("body", message.body, body)
      yield* equal("attempt", message.attempt, 1)
      yield* equal("the lease's message", message.lease.messageId, message.id)
      yield* equal("text attribute", message.attributes["text"]?.value, "ünï 🎉")
      yield* equal("number attribute", message.attributes["count"], attributes["count"])
      if (queue.limits.ordered) yield* equal("group", message.group, "a")
    }),

  "a receive answers with at most `max` messages, and the others come after": ({ queue, receive, receiveAll, send }) =>
    Effect.gen(function* () {
      const count = queue.limits.batchSize + 2
      yield* send(Array.from({ length: count }, (_, i) => ({ body: `${i}`, group: `${i}` })))
      const first = yield* receive(3)
      yield* check(first.length >= 1 && first.length <= 3, "messages received", first.length, "1 to 3")
      const rest = yield* receiveAll(count - first.length)
      yield* equal(
        "all bodies, each once",
        sorted(bodies([...first, ...rest])),
        sorted(Array.from({ length: count }, (_, i) => `${i}`))
      )
    }),

  "a receive of more than `batchSize` is refused, or answers with no more than that": ({ queue, receive, send }) =>
    Effect.gen(function* () {
      const { batchSize } = queue.limits
      yield* send(Array.from({ length: batchSize + 1 }, (_, i) => ({ body: `${i}`, group: `${i}` })))
      const received = yield* receive(batchSize + 1).pipe(
        Effect.map((messages) => messages.length),
        Effect.catchAllCause(() => Effect.succeed(0))
      )
      yield* check(received <= batchSize, "messages received", received, `at most ${batchSize}`)
    }),

  "without a wait an empty queue answers at once": ({ nothing }) => nothing("messages of an empty queue"),

  "an empty queue answers when the wait is over, and not before": ({ answer, pass, poll }) =>
    Effect.gen(function* () {
      const polling = yield* poll(3)
      yield* equal("answered after a third of the wait", polling.unsafePoll() !== null, false)
      yield* pass(Duration.seconds(2.5))
      yield* equal("messages of an empty queue", yield* answer(polling), [])
    }),

  "a waiting receive wakes on a send": ({ answer, poll, send }) =>
    Effect.gen(function* () {
      const polling = yield* poll(20)
      yield* send([{ body: "late", group: "a" }])
      yield* equal("bodies", yield* answer(polling), ["late"])
    }),

  "a waiting receive wakes when a lease runs out": ({ answer, pass, poll, receiveOne, send, setLease }) =>
    Effect.gen(function* () {
      yield* send(numbered(1))
      const { lease } = yield* receiveOne
      yield* setLease([lease], "3 seconds")
      const polling = yield* poll(20)
      yield* equal("answered before", polling.unsafePoll() !== null, false)
      yield* pass(Duration.seconds(2.5))
      yield* equal("bodies", yield* answer(polling), ["a1"])
    }),

  "a waiting receive wakes when a lease that was shortened meanwhile runs out": ({
    answer,
    pass,
    poll,
    receiveOne,
    send,
    setLease
  }) =>
    Effect.gen(function* () {
      yield* send(numbered(1))
      const { lease } = yield* receiveOne
      yield* setLease([lease], "15 seconds")
      const polling = yield* poll(10)
      yield* setLease([lease], "2 seconds")
      yield* pass(Duration.seconds(1.5))
      yield* equal("bodies", yield* answer(polling), ["a1"])
    }),

  "a waiting receive wakes when a message is given back": ({ answer, poll, receiveOne, send, setLease }) =>
    Effect.gen(function* () {
      yield* send(numbered(1))
      const { lease } = yield* receiveOne
      const polling = yield* poll(20)
      yield* setLease([lease], 0)
      yield* equal("bodies", yield* answer(polling), ["a1"])
    }),

  "a waiting receive that is told to stop answers with nothing, or goes on as if untold": ({
    pass,
    queue,
    receive,
    send
  }) =>
    Effect.gen(function* () {
      const stop = yield* Deferred.make<void>()
      const wait = Duration.seconds(20)
      const polling = yield* Effect.fork(
        queue.receive({ max: queue.limits.batchSize, wait, attemptId: undefined, stop: Deferred.await(stop) })
      )
      yield* pass(Duration.seconds(1))
      yield* equal("answered before", polling.unsafePoll() !== null, false)
      yield* Deferred.succeed(stop, undefined)
      yield* pass(Duration.seconds(1))
      const stopped = polling.unsafePoll() !== null
      yield* send([{ body: "late", group: "a" }])
      yield* pass(Duration.seconds(1))
      const polled = bodies(polling.unsafePoll() === null ? [] : yield* Fiber.join(polling))
      yield* equal("what the stopped receive brought", polled, stopped ? [] : ["late"])
      yield* equal("what is left for the next", bodies(yield* receive()), stopped ? ["late"] : [])
      yield* Fiber.interrupt(polling)
    }),

  "a leased message is hidden until its lease runs out, then comes again: the next attempt, with a new lease": ({
    nothing,
    pass,
    passLease,
    queue,
    receiveOne,
    send
  }) =>
    Effect.gen(function* () {
      yield* send(numbered(1))
      const first = yield* receiveOne
      yield* nothing("while it is leased")
      yield* pass(Duration.times(queue.leaseDuration, 0.5))
      yield* nothing("in the middle of its lease")
      yield* passLease
      const second = yield* receiveOne
      yield* equal("id", second.id, first.id)
      yield* equal("attempt", second.attempt, 2)
      yield* equal("the same lease again", second.lease.handle === first.lease.handle, false)
    }),

  "every receive counts as an attempt and gives a lease of its own": ({ receiveOne, send, setLease }) =>
    Effect.gen(function* () {
      yield* send(numbered(1))
      const handles = new Set<string>()
      for (const attempt of [1, 2, 3, 4]) {
        const message = yield* receiveOne
        yield* equal("attempt", message.attempt, attempt)
        handles.add(message.lease.handle)
        yield* equal("given back", yield* setLease([message.lease], 0), ["ok"])
      }
      yield* equal("different leases", handles.size, 4)
    }),

  "an acked message is gone for good": ({ ack, nothing, passLease, receiveAll, send }) =>
    Effect.gen(function* () {
      yield* send(numbered(2))
      yield* equal("acks", yield* ack(leases(yield* receiveAll(2))), ["ok", "ok"])
      yield* nothing("after the ack")
      yield* passLease
      yield* nothing("after the lease would have run out")
    }),

  "a repeated ack is harmless": ({ ack, receiveAll, receiveOne, send }) =>
    Effect.gen(function* () {
      yield* send([{ body: "done", group: "a" }])
      const { lease } = yield* receiveOne
      yield* equal("the first", yield* ack([lease]), ["ok"])
      yield* send([{ body: "other", group: "b" }])
      const [again = "nothing"] = yield* ack([lease])
      yield* oneOf("the second", again, ["ok", "LeaseLost"])
      yield* equal("what is left", bodies(yield* receiveAll(1)), ["other"])
    }),

  "acks: results stand in the order of the entries, and a lease that never was fails alone": ({
    ack,
    nothing,
    passLease,
    receiveAll,
    send
  }) =>
    Effect.gen(function* () {
      yield* send(numbered(3))
      const [a, b, c] = leases(yield* receiveAll(3))
      if (a === undefined || b === undefined || c === undefined) return
      yield* equal("results", yield* ack([a, garbage(b), c]), ["ok", "LeaseLost", "ok"])
      yield* equal("the one left", yield* ack([garbage(b), b]), ["LeaseLost", "ok"])
      yield* passLease
      yield* nothing("when all are acked")
    }),

  "setLease: results stand in the order of the entries, and a lease that never was fails alone": ({
    pass,
    receiveAll,
    send,
    setLease
  }) =>
    Effect.gen(function* () {
      yield* send([1, 2, 3].map((i) => ({ body: `${i}`, group: `${i}` })))
      const messages = yield* receiveAll(3)
      const [a, b, c] = leases(messages)
      if (a === undefined || b === undefined || c === undefined) return
      yield* equal("results", yield* setLease([a, garbage(b), c], "1 second"), ["ok", "LeaseLost", "ok"])
      yield* pass(Duration.seconds(1.1))
      const expected = sorted(bodies(messages.filter(({ lease }) => lease !== b)))
      yield* equal("what is visible again", sorted(bodies(yield* receiveAll(2))), expected)
    }),

  "setLease extends from now, not from the old end": ({ nothing, pass, queue, receiveOne, send, setLease }) =>
    Effect.gen(function* () {
      const part = (share: number) => pass(Duration.times(queue.leaseDuration, share))
      yield* send(numbered(1))
      const { lease } = yield* receiveOne
      yield* part(0.5)
      yield* equal("extended", yield* setLease([lease], queue.leaseDuration), ["ok"])
      yield* part(0.75)
      yield* nothing("after the old end")
      yield* part(0.4)
      yield* equal("attempt, after the new end", (yield* receiveOne).attempt, 2)
    }),

  "setLease shortens a lease too": ({ nothing, pass, receiveOne, send, setLease }) =>
    Effect.gen(function* () {
      yield* send(numbered(1))
      const { lease } = yield* receiveOne
      yield* setLease([lease], "2 seconds")
      yield* pass(Duration.seconds(1))
      yield* nothing("before the new end")
      yield* pass(Duration.seconds(1.5))
      yield* equal("attempt, after the new end", (yield* receiveOne).attempt, 2)
    }),

  "setLease of zero makes the message visible at once": ({ receiveOne, send, setLease }) =>
    Effect.gen(function* () {
      yield* send(numbered(1))
      const { lease } = yield* receiveOne
      yield* equal("given back", yield* setLease([lease], 0), ["ok"])
      yield* equal("attempt", (yield* receiveOne).attempt, 2)
    }),

  "a lease longer than `maxLease` is rejected, and the lease stays as it was": ({
    nothing,
    passLease,
    queue,
    receiveOne,
    send,
    setLease
  }) =>
    Effect.gen(function* () {
      yield* send(numbered(1))
      const { lease } = yield* receiveOne
      const tooLong = Duration.sum(queue.limits.maxLease, Duration.seconds(1))
      yield* equal("result", yield* setLease([lease], tooLong), ["Rejected"])
      yield* nothing("while it is leased")
      yield* passLease
      yield* equal("attempt, after the lease", (yield* receiveOne).attempt, 2)
    }),

  "more entries than `batchSize` are refused, and none takes effect": ({ ack, queue, receiveAll, send, setLease }) =>
    Effect.gen(function* () {
      const count = queue.limits.batchSize + 1
      yield* send(Array.from({ length: count }, (_, i) => ({ body: `${i}`, group: `${i}` })))
      const all = leases(yield* receiveAll(count))
      for (const [name, call] of [
        ["ack", Effect.exit(ack(all))],
        ["setLease", Effect.exit(setLease(all, 0))]
      ] as const) {
        yield* equal(name, (yield* call)._tag, "Failure")
      }
      yield* equal("still leased", yield* setLease(all.slice(0, -1), 0), Array(count - 1).fill("ok"))
      yield* equal("not acked", (yield* receiveAll(count - 1)).length, count - 1)
    }),

  "receives at the same time never lease a message twice": ({ queue, receive, send }) =>
    Effect.gen(function* () {
      const count = queue.limits.batchSize * 3
      yield* send(Array.from({ length: count }, (_, i) => ({ body: `${i}`, group: `${i % 7}` })))
      const received = yield* Effect.all(
        Array.from({ length: 12 }, () => receive(4)),
        { concurrency: "unbounded" }
      )
      const ids = received.flat().map(({ id }) => id)
      yield* equal("messages leased twice", ids.length - new Set(ids).size, 0)
      yield* check(ids.length > 0, "messages received", ids.length, "some")
    })
}

const ofOrdered: Readonly<Record<string, Body>> = {
  "ordered: a receive brings the run of a group, in sequence": ({ receive, send }) =>
    Effect.gen(function* () {
      yield* send(numbered(4))
      const messages = yield* receive()
      yield* equal("bodies", bodies(messages), ["a1", "a2", "a3", "a4"])
      const sequences = messages.map(({ sequence }) => sequence ?? "")
      yield* equal("sequences compare as text", sequences, sorted(new Set(sequences)))
    }),

  "ordered: a leased head holds its group back, and no other": ({ ack, nothing, receive, send }) =>
    Effect.gen(function* () {
      yield* send(numbered(3))
      const head = yield* receive(1)
      yield* equal("the head", bodies(head), ["a1"])
      yield* send(numbered(2, "b"))
      yield* equal("the other group", bodies(yield* receive()), ["b1", "b2"])
      yield* nothing("of a group whose head is leased")
      yield* ack(leases(head))
      yield* equal("the rest, when the head is acked", bodies(yield* receive()), ["a2", "a3"])
    }),

  "ordered: the ack of the head wakes a waiting receive": ({ answer, ack, poll, receive, send }) =>
    Effect.gen(function* () {
      yield* send(numbered(2))
      const head = yield* receive(1)
      const polling = yield* poll(20)
      yield* equal("answered before", polling.unsafePoll() !== null, false)
      yield* ack(leases(head))
      yield* equal("bodies", yield* answer(polling), ["a2"])
    }),

  "ordered: while any of a batch is leased, what was sent later waits": ({ ack, nothing, receive, send }) =>
    Effect.gen(function* () {
      yield* send(numbered(3))
      const [a1, ...others] = leases(yield* receive())
      yield* send([{ body: "a4", group: "a" }])
      if (a1 !== undefined) yield* ack([a1])
      yield* nothing("while a2 and a3 are leased")
      yield* ack(others)
      yield* equal("when all are acked", bodies(yield* receive()), ["a4"])
    }),

  "ordered: given back in reverse sequence, a run comes again in order": ({ receive, send, setLease }) =>
    Effect.gen(function* () {
      yield* send(numbered(4))
      const run = yield* receive()
      yield* setLease(leases(run).toReversed(), 0)
      const again = yield* receive()
      yield* equal("bodies", bodies(again), ["a1", "a2", "a3", "a4"])
      yield* equal(
        "attempts",
        again.map(({ attempt }) => attempt),
        [2, 2, 2, 2]
      )
    }),

  "ordered: a tail that was given back waits for its leased head": ({ ack, nothing, receive, send, setLease }) =>
    Effect.gen(function* () {
      yield* send(numbered(3))
      const [head, ...tail] = leases(yield* receive())
      yield* setLease(tail.toReversed(), 0)
      yield* nothing("while the head is leased")
      if (head !== undefined) yield* ack([head])
      yield* equal("when the head is acked", bodies(yield* receive()), ["a2", "a3"])
    }),

  "ordered: a head that was given back comes again, though later ones are leased": ({ receive, send, setLease }) =>
    Effect.gen(function* () {
      yield* send(numbered(3))
      const [head] = leases(yield* receive())
      if (head !== undefined) yield* setLease([head], 0)
      yield* equal("bodies", bodies(yield* receive()), ["a1"])
    }),

  "ordered: when leases run out around one that was extended, only the earlier comes again": ({
    passLease,
    queue,
    receive,
    send,
    setLease
  }) =>
    Effect.gen(function* () {
      yield* send(numbered(3))
      const [, middle] = leases(yield* receive())
      if (middle !== undefined) yield* setLease([middle], Duration.times(queue.leaseDuration, 4))
      yield* passLease
      yield* equal("bodies", bodies(yield* receive()), ["a1"])
    }),

  "ordered: a run whose leases ran out comes again in order": ({ passLease, receive, send }) =>
    Effect.gen(function* () {
      yield* send(numbered(4))
      yield* receive()
      yield* passLease
      yield* equal("bodies", bodies(yield* receive()), ["a1", "a2", "a3", "a4"])
    }),

  "ordered: an ack after the lease ran out fails, and the message stays": ({ ack, passLease, receiveOne, send }) =>
    Effect.gen(function* () {
      yield* send(numbered(1))
      const { lease } = yield* receiveOne
      yield* passLease
      yield* equal("the late ack", yield* ack([lease]), ["LeaseLost"])
      const again = yield* receiveOne
      yield* equal("attempt", again.attempt, 2)
      yield* equal("the old lease's ack", yield* ack([lease]), ["LeaseLost"])
      yield* equal("the new lease's ack", yield* ack([again.lease]), ["ok"])
    }),

  "ordered: a receive repeated by its attempt id brings the same messages": ({
    ack,
    nothing,
    passLease,
    receive,
    send
  }) =>
    Effect.gen(function* () {
      yield* send([...numbered(2), ...numbered(2, "b")])
      const first = yield* receive(3, Duration.zero, "attempt-1")
      const again = yield* receive(3, Duration.zero, "attempt-1")
      yield* check(first.length > 0, "messages received", first.length, "some")
      yield* equal("bodies", bodies(again), bodies(first))
      const other = yield* receive(undefined, Duration.zero, "attempt-2")
      yield* equal(
        "of those, also under another attempt id",
        bodies(other).filter((body) => bodies(first).includes(body)),
        []
      )
      const all = leases([...again, ...other])
      yield* equal("acks of the repeat's leases", yield* ack(all), Array(all.length).fill("ok"))
      yield* passLease
      const rest = yield* receive()
      yield* equal("all bodies", sorted(bodies([...first, ...other, ...rest])), ["a1", "a2", "b1", "b2"])
      if (rest.length > 0) yield* ack(leases(rest))
      yield* nothing("when all are acked")
    }),

  "ordered: many groups, worked on in any order: each comes in its own": ({ ack, queue, receive, send, setLease }) =>
    Effect.gen(function* () {
      const groups = ["a", "b", "c", "d", "e"]
      const outgoing = Array.from({ length: 12 }, (_, i) =>
        groups.map((group) => ({ body: `${group}${i + 1}`, group }))
      )
      for (const messages of outgoing) yield* send(messages)
      const done: Record<string, Array<string>> = Object.fromEntries(groups.map((group) => [group, []]))
      for (let turn = 0; turn < 500; turn++) {
        const messages = yield* receive(1 + (turn % queue.limits.batchSize))
        if (messages.length === 0) break
        // Every third receive is given back whole.
        if (turn % 3 === 2) {
          yield* setLease(leases(messages).toReversed(), 0)
        } else {
          for (const { body, group = "" } of messages) done[group]?.push(body)
          yield* ack(leases(messages))
        }
      }
      for (const group of groups) {
        yield* equal(`group ${group}`, done[group] ?? [], bodies12(group))
      }
    })
}

const bodies12 = (group: string): ReadonlyArray<string> => numbered(12, group).map(({ body }) => body)

const ofDeadLetters: Readonly<Record<string, Body>> = {
  "dead letters: a message is moved once, with its body": ({
    deadLetters,
    nothing,
    passLease,
    queue,
    receiveOne,
    send
  }) =>
    Effect.gen(function* () {
      if (queue.deadLetter === undefined) return yield* check(false, "deadLetter", undefined, "a function")
      yield* send([{ body: "poison ü", group: "a" }])
      const message = yield* receiveOne
      const results = yield* queue.deadLetter([{ message, reason: "it is poison" }])
      yield* equal("result", results.map(outcome), ["ok"])
      yield* nothing("after it was moved")
      yield* passLease
      yield* nothing("after its lease would have run out")
      yield* equal("the dead letters", yield* deadLetters, ["poison ü"])
    }),

  "dead letters: results stand in the order of the entries, and what is not moved comes again": ({
    deadLetters,
    passLease,
    queue,
    receiveAll,
    send
  }) =>
    Effect.gen(function* () {
      if (queue.deadLetter === undefined) return yield* check(false, "deadLetter", undefined, "a function")
      yield* send([1, 2, 3].map((i) => ({ body: `${i}`, group: `${i}` })))
      const [a, b, c] = yield* receiveAll(3)
      if (a === undefined || b === undefined || c === undefined) return
      const results = yield* queue.deadLetter([a, c].map((message) => ({ message, reason: "it is poison" })))
      yield* equal("results", results.map(outcome), ["ok", "ok"])
      yield* passLease
      yield* equal("what comes again", bodies(yield* receiveAll(1)), [b.body])
      yield* equal("the dead letters", sorted(yield* deadLetters), sorted([a.body, c.body]))
    })
}

const ofBoth: Readonly<Record<string, Body>> = {
  "ordered: a dead-lettered head frees its group": ({ queue, receive, receiveOne, send }) =>
    Effect.gen(function* () {
      if (queue.deadLetter === undefined) return yield* check(false, "deadLetter", undefined, "a function")
      yield* send(numbered(2))
      yield* queue.deadLetter([{ message: yield* receiveOne, reason: "it is poison" }])
      yield* equal("bodies", bodies(yield* receive()), ["a2"])
    })
}

/**
 * The cases for a queue with these traits, one fresh harness each. They rely on leases of at least 4 seconds, waits in
 * whole seconds and nothing else happening to the queue; on a live clock each takes a few leases' time.
 */
export const cases = <E, E2, R>(
  harness: Effect.Effect<Harness<E>, E2, R>,
  { deadLetters, ordered }: Traits
): ReadonlyArray<Case<ConformanceError | E | E2, Exclude<R, Scope.Scope>>> =>
  Object.entries({
    "the queue says what it is": ({ queue }: Toolkit<E>) =>
      Effect.zipRight(
        equal("limits.ordered", queue.limits.ordered, ordered),
        equal("has deadLetter", queue.deadLetter !== undefined, deadLetters)
      ),
    ...always,
    ...(ordered ? ofOrdered : {}),
    ...(deadLetters ? ofDeadLetters : {}),
    ...(ordered && deadLetters ? ofBoth : {})
  }).map(([name, body]) => ({
    name,
    effect: harness.pipe(
      Effect.flatMap((made) => body(toolkit(made))),
      Effect.scoped
    )
  }))
