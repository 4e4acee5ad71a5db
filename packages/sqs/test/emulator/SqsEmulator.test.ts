import { expect, it } from "@effect/vitest"
import { SqsClient } from "@millrace/sqs"
import { SqsEmulator } from "@millrace/sqs/emulator"
import { Effect, Fiber, Layer, Option, TestClock } from "effect"
import { bodies, emulated, head, on } from "./Harness.js"

const queue = "order-processing-queue"
const entries = (messages: ReadonlyArray<{ readonly ReceiptHandle: string }>) =>
  messages.map(({ ReceiptHandle }, position) => ({ Id: String(position), ReceiptHandle }))

it.scoped("a program's SqsClient and its test's handle see the same queue", () =>
  Effect.gen(function* () {
    const sqs = yield* SqsEmulator.SqsEmulator
    const client = yield* SqsClient.SqsClient
    const QueueUrl = yield* client.getQueueUrl({ QueueName: queue })
    expect(QueueUrl).toBe("http://localhost:9324/000000000000/order-processing-queue")
    yield* sqs.send(queue, [{ order_id: 1 }, "plain"])
    const idle = yield* Effect.fork(sqs.idle(queue))
    const settled = yield* Effect.fork(sqs.settled(queue, 2))
    const received = yield* client.receiveMessage({ QueueUrl, MaxNumberOfMessages: 10 })
    expect(received.map((message) => message.Body)).toEqual(['{"order_id":1}', "plain"])
    expect(yield* sqs.snapshot(queue)).toMatchObject({ visible: 0, inFlight: 2, delayed: 0, sent: 2, receives: 2 })
    expect(yield* Fiber.poll(settled)).toEqual(Option.none())
    const [first, second] = entries(received)
    if (first === undefined || second === undefined) throw new Error("two messages were sent")
    yield* client.deleteMessageBatch({ QueueUrl, Entries: [first] })
    yield* Effect.yieldNow()
    expect(yield* Fiber.poll(settled)).toEqual(Option.none())
    yield* client.deleteMessageBatch({ QueueUrl, Entries: [second] })
    yield* Fiber.join(settled)
    yield* Fiber.join(idle)
    expect((yield* sqs.snapshot(queue)).lastDeleted.map(({ body }) => body)).toEqual(['{"order_id":1}', "plain"])
    expect(yield* sqs.calls).toEqual({ GetQueueUrl: 1, ReceiveMessage: 1, DeleteMessageBatch: 2 })
  }).pipe(Effect.provide(SqsEmulator.layer({ queues: { [queue]: {} } })))
)

it.scoped("a long poll waits in virtual time, and wakes for a message, for a delay's end, or at its own end", () =>
  Effect.gen(function* () {
    const sqs = yield* SqsEmulator.SqsEmulator
    const poll = yield* Effect.fork(
      sqs.client.receiveMessage({ QueueUrl: sqs.queueUrl(queue), WaitTimeSeconds: 20, VisibilityTimeout: 0 })
    )
    yield* TestClock.adjust("19 seconds")
    expect(yield* Fiber.poll(poll)).toEqual(Option.none())
    yield* TestClock.adjust("1 seconds")
    expect(yield* Fiber.join(poll)).toEqual([])
    const second = yield* Effect.fork(sqs.client.receiveMessage({ QueueUrl: sqs.queueUrl(queue), WaitTimeSeconds: 20 }))
    yield* TestClock.adjust("1 seconds")
    yield* sqs.send(queue, [SqsEmulator.message("later", { delay: "5 seconds" })])
    yield* TestClock.adjust("4 seconds")
    expect(yield* Fiber.poll(second)).toEqual(Option.none())
    yield* TestClock.adjust("1 seconds")
    expect((yield* Fiber.join(second)).map((message) => message.Body)).toEqual(["later"])
  }).pipe(Effect.provide(SqsEmulator.layer({ queues: { [queue]: {} } })))
)

it.effect("what is sent by hand may have attributes, a group, a delay; a FIFO queue needs no deduplication id", () =>
  emulated({ q: {}, "q.fifo": {} }, (sqs) =>
    Effect.gen(function* () {
      yield* sqs.send("q", [
        SqsEmulator.message({ a: 1 }, { attributes: { s: "x", n: 1, b: Uint8Array.of(1) }, delay: "2 seconds" })
      ])
      expect(yield* sqs.messages("q")).toMatchObject([
        {
          body: '{"a":1}',
          state: "delayed",
          visibleAt: 2_000,
          attributes: {
            s: { DataType: "String", StringValue: "x" },
            n: { DataType: "Number", StringValue: "1" },
            b: { DataType: "Binary", BinaryValue: Uint8Array.of(1) }
          }
        }
      ])
      const same = SqsEmulator.message("same", { group: "g" })
      yield* sqs.send("q.fifo", [same, same])
      expect(bodies(yield* on(sqs, "q.fifo").receive())).toEqual(["same", "same"])
    })
  )
)

it.effect("polls are answered in the order in which they came", () =>
  emulated({ q: {} }, (sqs) =>
    Effect.gen(function* () {
      const polls = yield* Effect.forEach([1, 2, 3], () =>
        Effect.zipLeft(Effect.fork(on(sqs, "q").receive(10, { WaitTimeSeconds: 20 })), Effect.yieldNow())
      )
      yield* TestClock.adjust("1 seconds")
      for (const [position, poll] of polls.entries()) {
        expect((yield* sqs.snapshot("q")).waiting).toBe(3 - position)
        yield* sqs.send("q", [`m${position}`])
        expect(bodies(yield* Fiber.join(poll))).toEqual([`m${position}`])
      }
    })
  )
)

it.effect("settled and idle count what was dead-lettered, and fail when their queue is deleted", () =>
  emulated({ q: { deadLetter: { queue: "dlq", maxReceiveCount: 1 } } }, (sqs) =>
    Effect.gen(function* () {
      const q = on(sqs, "q")
      yield* sqs.send("q", ["a"])
      const settled = yield* Effect.fork(sqs.settled("q", 1))
      const idle = yield* Effect.fork(sqs.idle("q"))
      yield* q.receive(1, { VisibilityTimeout: 0 })
      yield* q.receive()
      yield* Fiber.join(settled)
      yield* Fiber.join(idle)
      const never = yield* Effect.fork(Effect.flip(sqs.settled("q", 2)))
      yield* Effect.yieldNow()
      yield* q.drop
      expect((yield* Fiber.join(never))._tag).toBe("QueueDoesNotExist")
    })
  )
)

it.effect("only the latest deleted messages are kept", () =>
  Effect.gen(function* () {
    const sqs = yield* SqsEmulator.SqsEmulator
    const q = on(sqs, "q")
    for (let n = 0; n < 20; n++) {
      yield* q.send(String(n))
      yield* q.remove(head(yield* q.receive()))
      const kept = (yield* sqs.snapshot("q")).lastDeleted.map(({ body }) => body)
      expect(kept).toEqual([n - 2, n - 1, n].filter((each) => each >= 0).map(String))
    }
  }).pipe(Effect.provide(SqsEmulator.layer({ queues: { q: {} }, keepDeleted: 3 })))
)

it.effect("each call takes the latency", () =>
  Effect.gen(function* () {
    const sqs = yield* SqsEmulator.SqsEmulator
    const call = yield* Effect.fork(on(sqs, "q").send("a"))
    yield* TestClock.adjust("7 millis")
    expect(yield* Fiber.poll(call)).toEqual(Option.none())
    expect((yield* sqs.snapshot("q")).visible).toBe(1)
    yield* TestClock.adjust("1 millis")
    yield* Fiber.join(call)
  }).pipe(Effect.provide(SqsEmulator.layer({ queues: { q: {} }, latency: "8 millis" })))
)

it.effect("a poll that was interrupted leaves no trace", () =>
  emulated({ q: {} }, (sqs) =>
    Effect.gen(function* () {
      const poll = yield* Effect.fork(on(sqs, "q").receive(1, { WaitTimeSeconds: 20 }))
      yield* TestClock.adjust("1 seconds")
      yield* Fiber.interrupt(poll)
      yield* sqs.send("q", ["a"])
      expect(yield* sqs.snapshot("q")).toMatchObject({ visible: 1, inFlight: 0, waiting: 0 })
    })
  )
)

it.effect("options that cannot be are refused with what to write instead", () =>
  Effect.gen(function* () {
    const said = (options: SqsEmulator.Options) =>
      Effect.map(Effect.flip(Effect.scoped(Layer.build(SqsEmulator.layer(options)))), ({ message }) => message)
    expect(yield* said({ queues: { q: { contentBasedDeduplication: true } } })).toBe(
      'queues["q"] has settings of a FIFO queue: call it "q.fifo", or leave them out.'
    )
    expect(yield* said({ queues: { "q.fifo": { deadLetter: { queue: "dlq", maxReceiveCount: 1 } } } })).toBe(
      'queues["q.fifo"] is FIFO, so its dead-letter queue must be FIFO too: call it "dlq.fifo".'
    )
    expect(yield* said({ queues: { q: { deadLetter: { queue: "dlq.fifo", maxReceiveCount: 1 } } } })).toContain(
      'call it "dlq".'
    )
    expect(yield* said({ queues: { q: { deadLetter: { queue: "dlq", maxReceiveCount: 0 } } } })).toContain(
      "queues.q.deadLetter.maxReceiveCount is 0; write a whole number from 1 to 1000"
    )
    expect(yield* said({ queues: { q: { visibilityTimeout: "1500 millis" } } })).toBe(
      'queues["q"].visibilityTimeout must be whole seconds.'
    )
    expect(yield* said({ queues: { q: { delay: "16 minutes" } } })).toContain("queues.q.delay is")
    const wrong: ReadonlyArray<readonly [unknown, string]> = [
      [{ queues: { q: { visibilityTimout: "1 second" } } }, "did you mean queues.q.visibilityTimeout?"],
      [{ queues: { q: { attributes: { DelaySeconds: 5 } } } }, "queues.q.attributes.DelaySeconds is 5; write a text"],
      [{ wait: false }, "wait is not an option of SqsEmulator; did you mean waits?"],
      [{ waits: "no" }, 'waits is "no"; write true or false'],
      [{ region: "EU" }, 'region is "EU"; write a region, such as "us-east-1"'],
      [{ latency: "Infinity" }, "latency is"]
    ]
    for (const [options, expected] of wrong) expect(yield* said(options as SqsEmulator.Options)).toContain(expected)
    expect(yield* said({ queues: { "a b": {} } })).toContain('queues["a b"]: Can only include')
    expect(yield* said({ queues: { q: { attributes: { Nonsense: "1" } } } })).toContain("Unknown Attribute Nonsense.")
    expect(yield* said({ accountId: "1" })).toContain("12 digits")
  })
)
