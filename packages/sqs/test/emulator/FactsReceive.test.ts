/** Facts 1 to 18 of docs/sqs-facts.md: receive and visibility. */
import { describe, expect, it } from "@effect/vitest"
import { Fault, SqsEmulator } from "@millrace/sqs/emulator"
import { Effect, Fiber, TestClock } from "effect"
import { bodies, emulated, fifo, head, ipv, on, refused, standard, still } from "./Harness.js"

describe("receive and visibility", () => {
  standard("fact 2: WaitTimeSeconds is 0 to 20", (q) =>
    Effect.gen(function* () {
      expect(yield* refused(q.receive(1, { WaitTimeSeconds: 21 }))).toBe(
        ipv("Value 21 for parameter WaitTimeSeconds is invalid. Reason: Must be >= 0 and <= 20, if provided.")
      )
    })
  )
  standard("fact 3: MaxNumberOfMessages is 1 to 10", (q) =>
    Effect.gen(function* () {
      expect(yield* refused(q.receive(11))).toBe(
        ipv("Value 11 for parameter MaxNumberOfMessages is invalid. Reason: Must be between 1 and 10, if provided.")
      )
      expect(yield* refused(q.receive(0))).toContain("Value 0 for parameter MaxNumberOfMessages")
    })
  )
  standard("fact 4: a long poll answers with its first message and waits for no second", (q) =>
    Effect.gen(function* () {
      const poll = yield* Effect.fork(q.receive(10, { WaitTimeSeconds: 20 }))
      yield* TestClock.adjust("3 seconds")
      yield* still(poll)
      yield* q.send("a")
      expect(bodies(yield* Fiber.join(poll))).toEqual(["a"])
    })
  )
  it.effect("fact 5: the queue's wait is the default", () =>
    emulated({ q: { receiveWait: "5 seconds" } }, (sqs) =>
      Effect.gen(function* () {
        const poll = yield* Effect.fork(on(sqs, "q").receive())
        yield* TestClock.adjust("4 seconds")
        yield* still(poll)
        yield* TestClock.adjust("1 seconds")
        expect(yield* Fiber.join(poll)).toEqual([])
      })
    )
  )
  standard("fact 6: a long poll wakes when a visibility timeout ends, and each receive has its own handle", (q) =>
    Effect.gen(function* () {
      yield* q.send("a")
      const first = head(yield* q.receive(1, { VisibilityTimeout: 5 }))
      const poll = yield* Effect.fork(q.receive(1, { WaitTimeSeconds: 20 }))
      yield* TestClock.adjust("4999 millis")
      yield* still(poll)
      yield* TestClock.adjust("1 millis")
      const second = head(yield* Fiber.join(poll))
      expect(second.MessageId).toBe(first.MessageId)
      expect(second.ReceiptHandle).not.toBe(first.ReceiptHandle)
    })
  )
  standard("fact 6: a long poll wakes when a delay ends", (q) =>
    Effect.gen(function* () {
      yield* q.send("a", { DelaySeconds: 5 })
      const poll = yield* Effect.fork(q.receive(1, { WaitTimeSeconds: 20 }))
      yield* TestClock.adjust("4999 millis")
      yield* still(poll)
      yield* TestClock.adjust("1 millis")
      expect(bodies(yield* Fiber.join(poll))).toEqual(["a"])
    })
  )
  standard("fact 7: a receive's own VisibilityTimeout holds for that receive only", (q) =>
    Effect.gen(function* () {
      yield* q.send("a")
      yield* q.receive(1, { VisibilityTimeout: 0 })
      expect(yield* q.receive(1)).toHaveLength(1)
      yield* TestClock.adjust("29 seconds")
      expect(yield* q.receive(1)).toHaveLength(0)
      yield* TestClock.adjust("1 seconds")
      expect(yield* q.receive(1)).toHaveLength(1)
    })
  )
  standard("fact 8: an older handle makes the message visible too, and the change does not stick to it", (q) =>
    Effect.gen(function* () {
      yield* q.send("a")
      const older = head(yield* q.receive(1, { VisibilityTimeout: 0 }))
      yield* q.receive(1)
      yield* q.change(older, 0)
      expect(yield* q.receive(1)).toHaveLength(1)
      yield* TestClock.adjust("29 seconds")
      expect(yield* q.receive(1)).toHaveLength(0)
    })
  )
  standard("fact 9: a change counts from now", (q) =>
    Effect.gen(function* () {
      yield* q.send("a")
      const message = head(yield* q.receive(1))
      yield* TestClock.adjust("20 seconds")
      yield* q.change(message, 15)
      yield* TestClock.adjust("14 seconds")
      expect(yield* q.receive(1)).toHaveLength(0)
      yield* TestClock.adjust("1 seconds")
      expect(yield* q.receive(1)).toHaveLength(1)
    })
  )
  standard("fact 10: on a standard queue a change after the lease's end succeeds and changes nothing", (q) =>
    Effect.gen(function* () {
      yield* q.send("a")
      const message = head(yield* q.receive(1))
      yield* TestClock.adjust("30 seconds")
      yield* q.change(message, 100)
      expect(yield* q.receive(1)).toHaveLength(1)
    })
  )
  standard("fact 11: a change after the delete is refused", (q) =>
    Effect.gen(function* () {
      yield* q.send("a")
      const message = head(yield* q.receive(1))
      yield* q.remove(message)
      expect(yield* refused(q.change(message, 10))).toBe(
        ipv(
          `Value ${message.ReceiptHandle} for parameter ReceiptHandle is invalid. Reason: Message does not exist or is not available for visibility timeout change.`
        )
      )
    })
  )
  it.effect("fact 12: a handle that is none, or of another queue, is invalid", () =>
    emulated({ q: {}, other: {} }, (sqs) =>
      Effect.gen(function* () {
        const q = on(sqs, "q")
        yield* q.send("a")
        const message = head(yield* q.receive(1))
        const garbage = { ...message, ReceiptHandle: "garbage" }
        const said = 'ReceiptHandleIsInvalid: The input receipt handle "garbage" is not a valid receipt handle.'
        expect(yield* refused(q.remove(garbage))).toBe(said)
        expect(yield* refused(q.change(garbage, 1))).toBe(said)
        expect((yield* q.removeAll([garbage, message])).Failed).toMatchObject([
          { Id: "e0", Code: "ReceiptHandleIsInvalid", SenderFault: true }
        ])
        expect(yield* refused(on(sqs, "other").remove(message))).toContain("is not a valid receipt handle.")
      })
    )
  )
  standard("fact 13: a repeated delete succeeds", (q) =>
    Effect.gen(function* () {
      yield* q.send("a")
      const message = head(yield* q.receive(1))
      yield* q.remove(message)
      yield* q.remove(message)
      expect((yield* q.removeAll([message])).Failed).toEqual([])
    })
  )
  standard("fact 14: on a standard queue an expired handle still deletes", (q) =>
    Effect.gen(function* () {
      yield* q.send("a")
      const message = head(yield* q.receive(1))
      yield* TestClock.adjust("31 seconds")
      yield* q.remove(message)
      expect(yield* q.receive(1)).toHaveLength(0)
    })
  )
  standard("a delete by a handle that a later receive made stale succeeds, and the message stays", (q) =>
    Effect.gen(function* () {
      yield* q.send("a")
      const message = head(yield* q.receive(1))
      yield* TestClock.adjust("30 seconds")
      yield* q.receive(1)
      yield* q.remove(message)
      yield* TestClock.adjust("30 seconds")
      expect(yield* q.receive(1)).toHaveLength(1)
    })
  )
  fifo("fact 15: on a FIFO queue an expired handle does not delete; an extended one does", (q) =>
    Effect.gen(function* () {
      yield* q.sendTo("g", "a")
      const message = head(yield* q.receive(1))
      yield* q.change(message, 60)
      yield* TestClock.adjust("59 seconds")
      yield* q.remove(message)
      yield* q.sendTo("g", "b")
      const expired = head(yield* q.receive(1))
      yield* TestClock.adjust("30 seconds")
      const said = ipv(
        `Value ${expired.ReceiptHandle} for parameter ReceiptHandle is invalid. Reason: The receipt handle has expired.`
      )
      expect(yield* refused(q.remove(expired))).toBe(said)
      expect(yield* refused(q.change(expired, 10))).toContain("not available for visibility timeout change")
      yield* q.receive(1)
      expect(yield* refused(q.remove(expired))).toBe(said)
    })
  )
  standard("fact 16: a lease lasts 12 hours in total at most", (q) =>
    Effect.gen(function* () {
      yield* q.send("a")
      const message = head(yield* q.receive(1))
      yield* TestClock.adjust("10 seconds")
      expect(yield* refused(q.change(message, 43_191))).toBe(
        ipv(
          "Value 43191 for parameter VisibilityTimeout is invalid. Reason: Total VisibilityTimeout for the message is beyond the limit [43200 seconds]"
        )
      )
      yield* q.change(message, 43_190)
    })
  )
  it.effect(
    "fact 17: 120,000 in flight are too many: an error on a standard queue, silence in a long poll and on a FIFO queue",
    () =>
      emulated({ q: {}, "q.fifo": {} }, (sqs) =>
        Effect.gen(function* () {
          const [q, f] = [on(sqs, "q"), on(sqs, "q.fifo")]
          const fill = Array.from({ length: 12_000 })
          yield* sqs.send(
            "q",
            Array.from({ length: 120_001 }, () => "a")
          )
          const first = head(yield* q.receive(10))
          yield* Effect.forEach(fill.slice(1), () => q.receive(10), { discard: true })
          expect(yield* refused(q.receive(1))).toContain("OverLimit")
          const poll = yield* Effect.fork(q.receive(1, { WaitTimeSeconds: 20 }))
          yield* TestClock.adjust("1 seconds")
          yield* still(poll)
          yield* q.remove(first)
          expect(bodies(yield* Fiber.join(poll))).toEqual(["a"])
          yield* sqs.send(
            "q.fifo",
            Array.from({ length: 120_001 }, () => SqsEmulator.message("a", { group: "g" }))
          )
          yield* Effect.forEach(fill, () => f.receive(10), { discard: true })
          expect(yield* f.receive(1)).toEqual([])
        })
      ),
    60_000
  )
  it.effect("fact 18: a long poll whose client went away may still lease a message to nobody", () =>
    emulated({ q: {} }, (sqs) =>
      Effect.gen(function* () {
        const q = on(sqs, "q")
        const counts = Effect.map(sqs.snapshot("q"), ({ visible, inFlight }) => ({ visible, inFlight }))
        yield* sqs.faults.script("ReceiveMessage", [Fault.none, Fault.strand])
        for (const inFlight of [0, 1]) {
          const poll = yield* Effect.fork(q.receive(1, { WaitTimeSeconds: 20 }))
          yield* TestClock.adjust("1 seconds")
          yield* Fiber.interrupt(poll)
          yield* q.send("a")
          expect(yield* counts).toEqual({ visible: 1, inFlight })
        }
        // Once only: what is sent after that stays.
        yield* q.send("a")
        expect(yield* counts).toEqual({ visible: 2, inFlight: 1 })
      })
    )
  )
  standard("fact 77: on a standard queue what comes back is before what was sent later", (q) =>
    Effect.gen(function* () {
      yield* q.send("first")
      yield* q.receive(1, { VisibilityTimeout: 3 })
      yield* TestClock.adjust("1 seconds")
      yield* q.send("second")
      yield* q.send("third", { DelaySeconds: 1 })
      yield* q.send("fourth")
      yield* TestClock.adjust("3 seconds")
      const messages = yield* q.receive()
      expect(bodies(messages)).toEqual(["first", "second", "third", "fourth"])
      // What is given back at once goes to the end: the choice that lets a look at a queue see all of it.
      for (const position of [3, 1]) yield* q.change(head(messages, position), 0)
      yield* TestClock.adjust("30 seconds")
      expect(bodies(yield* q.receive())).toEqual(["first", "third", "fourth", "second"])
    })
  )
})
