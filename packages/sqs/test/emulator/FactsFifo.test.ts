/** Facts 39 to 53 of docs/sqs-facts.md: FIFO queues. */
import { describe, expect, it } from "@effect/vitest"
import { SqsEmulator } from "@millrace/sqs/emulator"
import { Effect, Fiber, TestClock } from "effect"
import { bodies, emulated, fifo, head, ipv, on, refused, still } from "./Harness.js"

describe("FIFO", () => {
  fifo("fact 39: sends to a blocked group stay blocked; the delete of the blocker wakes a poll", (q) =>
    Effect.gen(function* () {
      yield* q.sendTo("g", "1")
      const blocker = head(yield* q.receive())
      const poll = yield* Effect.fork(q.receive(10, { WaitTimeSeconds: 20 }))
      yield* TestClock.adjust("1 seconds")
      yield* q.sendTo("g", "2")
      yield* still(poll)
      yield* q.remove(blocker)
      expect(bodies(yield* Fiber.join(poll))).toEqual(["2"])
    })
  )
  fifo("fact 40: a batch drains one group first", (q) =>
    Effect.gen(function* () {
      yield* q.sendTo("g1", "g1-m1")
      yield* q.sendTo("g2", "g2-m1")
      yield* q.sendTo("g1", "g1-m2", "g1-m3")
      yield* q.sendTo("g2", "g2-m2")
      expect(bodies(yield* q.receive(4))).toEqual(["g1-m1", "g1-m2", "g1-m3", "g2-m1"])
      expect(yield* q.receive(4)).toEqual([])
    })
  )
  fifo("fact 41: only the delete of all that is in flight frees the group", (q) =>
    Effect.gen(function* () {
      yield* q.sendTo("g", "1", "2", "3")
      const taken = yield* q.receive(2)
      yield* q.remove(head(taken))
      expect(yield* q.receive()).toEqual([])
      yield* q.remove(head(taken, 1))
      expect(bodies(yield* q.receive())).toEqual(["3"])
    })
  )
  fifo("fact 42: a head made visible again is delivered though a later one is in flight, behind other groups", (q) =>
    Effect.gen(function* () {
      yield* q.sendTo("g1", "g1-m1", "g1-m2", "g1-m3")
      const taken = yield* q.receive(2)
      yield* q.sendTo("g2", "g2-m1")
      yield* q.change(head(taken), 0)
      expect(bodies(yield* q.receive(1))).toEqual(["g2-m1"])
      expect(bodies(yield* q.receive())).toEqual(["g1-m1"])
    })
  )
  fifo("fact 43: of three in flight with the middle one extended, only the earlier comes back", (q) =>
    Effect.gen(function* () {
      yield* q.sendTo("g", "1", "2", "3")
      const taken = yield* q.receive()
      yield* q.change(head(taken, 1), 60)
      yield* TestClock.adjust("30 seconds")
      expect(bodies(yield* q.receive())).toEqual(["1"])
      yield* TestClock.adjust("30 seconds")
      expect(bodies(yield* q.receive())).toEqual(["1", "2", "3"])
    })
  )
  fifo("fact 44: a batch whose leases ended comes back in order", (q) =>
    Effect.gen(function* () {
      yield* q.sendTo("g", "1", "2", "3", "4")
      yield* q.receive(3)
      yield* TestClock.adjust("30 seconds")
      expect(bodies(yield* q.receive())).toEqual(["1", "2", "3", "4"])
    })
  )
  fifo("fact 45: a message has a group; without one the whole batch is refused", (q) =>
    Effect.gen(function* () {
      expect(yield* refused(q.send("a", { MessageDeduplicationId: "a" }))).toBe(
        "MissingParameter: The request must contain the parameter MessageGroupId."
      )
      expect(
        yield* refused(
          q.sendBatch({ MessageGroupId: "g", MessageDeduplicationId: "a" }, { MessageDeduplicationId: "b" })
        )
      ).toBe(ipv("The request must contain the parameter MessageGroupId."))
      expect(yield* q.receive()).toEqual([])
    })
  )
  fifo("fact 46: without content-based deduplication a message has a deduplication id", (q) =>
    Effect.gen(function* () {
      const said = ipv(
        "The queue should either have ContentBasedDeduplication enabled or MessageDeduplicationId provided explicitly"
      )
      expect(yield* refused(q.send("a", { MessageGroupId: "g" }))).toBe(said)
      expect(
        yield* refused(q.sendBatch({ MessageGroupId: "g", MessageDeduplicationId: "a" }, { MessageGroupId: "g" }))
      ).toBe(said)
      expect(yield* q.receive()).toEqual([])
    })
  )
  it.effect("content-based deduplication goes by the body, and a given id wins over it", () =>
    emulated({ "q.fifo": { contentBasedDeduplication: true } }, (sqs) =>
      Effect.gen(function* () {
        const q = on(sqs, "q.fifo")
        yield* q.send("a", { MessageGroupId: "g" })
        yield* q.send("a", { MessageGroupId: "g" })
        yield* q.send("a", { MessageGroupId: "g", MessageDeduplicationId: "other" })
        yield* q.send("b", { MessageGroupId: "g" })
        expect(bodies(yield* q.receive())).toEqual(["a", "a", "b"])
      })
    )
  )
  it.effect("fact 47: only the queue delays; a message's own delay is refused, zero means the queue's", () =>
    emulated({ "q.fifo": { delay: "5 seconds" } }, (sqs) =>
      Effect.gen(function* () {
        const q = on(sqs, "q.fifo")
        const fields = { MessageGroupId: "g", MessageDeduplicationId: "a" }
        expect(yield* refused(q.send("a", { ...fields, DelaySeconds: 2 }))).toBe(
          ipv(
            "Value 2 for parameter DelaySeconds is invalid. Reason: The request include parameter that is not valid for this queue type."
          )
        )
        yield* q.send("a", { ...fields, DelaySeconds: 0 })
        yield* TestClock.adjust("4 seconds")
        expect(yield* q.receive()).toEqual([])
        yield* TestClock.adjust("1 seconds")
        expect(bodies(yield* q.receive())).toEqual(["a"])
      })
    )
  )
  it.effect("a changed delay of a FIFO queue holds for messages that wait already", () =>
    emulated({ "q.fifo": { delay: "15 minutes" } }, (sqs) =>
      Effect.gen(function* () {
        const q = on(sqs, "q.fifo")
        yield* q.sendTo("g", "a")
        yield* TestClock.adjust("10 seconds")
        yield* q.set({ DelaySeconds: "10" })
        expect(bodies(yield* q.receive())).toEqual(["a"])
      })
    )
  )
  fifo("fact 48: a duplicate within 5 minutes answers with the first one's ids, also after its delete", (q) =>
    Effect.gen(function* () {
      const [first] = yield* q.sendTo("g", "a")
      yield* q.remove(head(yield* q.receive()))
      yield* TestClock.adjust("299 seconds")
      const [again] = yield* q.sendTo("g", "a")
      expect(again).toEqual(first)
      expect(yield* q.receive()).toEqual([])
      yield* TestClock.adjust("1 seconds")
      const [later] = yield* q.sendTo("g", "a")
      expect(later?.MessageId).not.toBe(first?.MessageId)
      expect(bodies(yield* q.receive())).toEqual(["a"])
    })
  )
  it.effect("facts 49 and 50: the scope is the queue or the group, for ever the one of the queue's creation", () =>
    emulated({ "queue.fifo": {}, "group.fifo": { deduplicationScope: "messageGroup" } }, (sqs) =>
      Effect.gen(function* () {
        for (const [name, count] of [
          ["queue.fifo", 1],
          ["group.fifo", 2]
        ] as const) {
          const q = on(sqs, name)
          yield* q.set({ DeduplicationScope: count === 1 ? "messageGroup" : "queue" })
          yield* q.sendTo("g1", "a")
          yield* q.sendTo("g2", "a")
          yield* q.sendTo("g1", "a")
          expect(yield* q.receive()).toHaveLength(count)
        }
      })
    )
  )
  fifo("fact 51: a purge forgets deduplication", (q) =>
    Effect.gen(function* () {
      yield* q.sendTo("g", "a")
      yield* q.purge
      expect(yield* q.receive()).toEqual([])
      yield* q.sendTo("g", "a")
      expect(bodies(yield* q.receive())).toEqual(["a"])
    })
  )
  it.effect("fact 52: sequence numbers have 20 digits, increase, and are for FIFO queues only", () =>
    emulated({ q: {}, "q.fifo": {} }, (sqs) =>
      Effect.gen(function* () {
        const sent = yield* on(sqs, "q.fifo").sendTo("g", "a", "b", "c")
        const numbers = sent.map(({ SequenceNumber }) => SequenceNumber ?? "")
        for (const number of numbers) expect(number).toMatch(/^\d{20}$/)
        expect([...new Set(numbers)].sort()).toEqual(numbers)
        expect(yield* on(sqs, "q").send("a")).not.toHaveProperty("SequenceNumber")
      })
    )
  )
  fifo("fact 53: blocked messages count as visible", (q) =>
    Effect.gen(function* () {
      yield* q.sendTo("g", "1", "2", "3")
      yield* q.receive(1)
      expect(yield* q.get("ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible")).toEqual({
        ApproximateNumberOfMessages: "2",
        ApproximateNumberOfMessagesNotVisible: "1"
      })
    })
  )
  it.effect("a delayed message holds back the later ones of its group", () =>
    emulated({ "q.fifo": { delay: "5 seconds" } }, (sqs) =>
      Effect.gen(function* () {
        const q = on(sqs, "q.fifo")
        yield* q.sendTo("g", "1")
        yield* TestClock.adjust("1 seconds")
        yield* q.sendTo("g", "2")
        yield* TestClock.adjust("4 seconds")
        expect(bodies(yield* q.receive())).toEqual(["1"])
      })
    )
  )
})

describe("ReceiveRequestAttemptId", () => {
  const attempt = { ReceiveRequestAttemptId: "attempt-1" }
  const shape = (q: ReturnType<typeof on>) => Effect.map(q.receive(2, attempt), (messages) => messages)

  fifo("repeats the same messages under the same handles, and leases them anew", (q) =>
    Effect.gen(function* () {
      yield* q.sendTo("g", "1", "2", "3")
      const first = yield* shape(q)
      yield* TestClock.adjust("20 seconds")
      expect(yield* shape(q)).toEqual(first)
      yield* TestClock.adjust("29 seconds")
      expect(yield* q.receive()).toEqual([])
      yield* q.removeAll(first)
      expect(bodies(yield* q.receive())).toEqual(["3"])
    })
  )
  fifo("is a new receive once a message was changed or deleted, or its lease ended", (q) =>
    Effect.gen(function* () {
      yield* q.sendTo("g", "1", "2", "3")
      const first = yield* shape(q)
      yield* q.change(head(first), 60)
      expect(yield* shape(q)).toEqual([])
      yield* q.removeAll(first)
      const third = yield* shape(q)
      expect(bodies(third)).toEqual(["3"])
      yield* TestClock.adjust("30 seconds")
      expect(head(yield* shape(q)).ReceiptHandle).not.toBe(head(third).ReceiptHandle)
    })
  )
  it.effect("is forgotten after 5 minutes", () =>
    emulated({ "q.fifo": { visibilityTimeout: "1 hour" } }, (sqs) =>
      Effect.gen(function* () {
        const q = on(sqs, "q.fifo")
        yield* sqs.send("q.fifo", [SqsEmulator.message("1", { group: "g" })])
        yield* shape(q)
        yield* TestClock.adjust("300 seconds")
        expect(yield* shape(q)).toEqual([])
      })
    )
  )
})
