/**
 * What has gone wrong in other consumers of SQS and has to do with its own rules, each as a test of its name. The note in
 * each says which line it stands on: without that line it fails, and that was tried. The rest of the list is tested in
 * core.
 */
import { assert, describe, it } from "@effect/vitest"
import { Consumer, Pipeline, RetryPolicy } from "@millrace/core"
import { Effect, Fiber, Stream, TestClock } from "effect"
import { Fault, SqsEmulator } from "../src/emulator/index.js"
import { SqsConsumer, SqsLeaseQueue } from "../src/index.js"

describe("what went wrong elsewhere, on SQS", () => {
  it.effect(
    "message ids were used as batch entry ids, and a message received twice rejected the whole call",
    // `Id: String(position)` in `SqsLeaseQueue`'s ack.
    () =>
      Effect.gen(function* () {
        const sqs = yield* SqsEmulator.SqsEmulator
        yield* sqs.send("orders", ["a", "b", "c"])
        // A standard queue delivers at least once: here each message a second time, while the first is in flight.
        yield* sqs.faults.script("ReceiveMessage", [Fault.duplicate])
        const consumer = yield* Consumer.make(yield* SqsLeaseQueue.make("orders"), { linger: "5 seconds" })
        const fiber = yield* consumer.stream.pipe(
          Pipeline.process(() => Effect.sleep("1 second")),
          Stream.runDrain,
          Effect.fork
        )
        for (let i = 0; i < 12; i++) yield* TestClock.adjust("1 second")
        const { acked, inFlight, settleErrors } = yield* consumer.stats
        assert.deepStrictEqual([acked, inFlight, settleErrors], [6, 0, 0])
        assert.strictEqual((yield* sqs.calls).DeleteMessageBatch, 1)
        yield* Fiber.interruptFork(fiber)
      }).pipe(Effect.scoped, Effect.provide(SqsEmulator.layer({ queues: { orders: {} } })))
  )

  it.effect(
    "a MessageGroupId was refused on standard queues, or made them wait for each other",
    // `message.group !== undefined && { MessageGroupId: message.group }` in `SqsLeaseQueue`'s dead letters, and
    // `custodian.ordered || sequence === "group"` in core's `Pipeline`.
    () =>
      Effect.gen(function* () {
        const sqs = yield* SqsEmulator.SqsEmulator
        const body = (name: string) => SqsEmulator.message(name, { group: "tenant-1" })
        yield* sqs.send("orders", [body("a"), body("bad"), body("c")])
        const seen: Array<string | undefined> = []
        let running = 0
        let most = 0
        const fiber = yield* SqsConsumer.stream("orders").pipe(
          Pipeline.process(
            (name, { message }) =>
              Effect.gen(function* () {
                seen.push(message.group)
                most = Math.max(most, ++running)
                yield* Effect.sleep("1 second")
                running--
                if (name === "bad") return yield* Effect.fail("no")
              }),
            { retry: RetryPolicy.deadLetter }
          ),
          Stream.runDrain,
          Effect.fork
        )
        yield* TestClock.adjust("1 second")
        yield* TestClock.adjust("1 second")
        assert.deepStrictEqual(seen, ["tenant-1", "tenant-1", "tenant-1"])
        assert.strictEqual(most, 3)
        const [letter, ...more] = yield* sqs.messages("dead")
        assert.deepStrictEqual([letter?.body, letter?.group, more.length], ["bad", "tenant-1", 0])
        yield* Fiber.interruptFork(fiber)
      }).pipe(
        Effect.provide(
          SqsEmulator.layer({ queues: { dead: {}, orders: { deadLetter: { queue: "dead", maxReceiveCount: 5 } } } })
        )
      )
  )

  it.effect(
    "batches were bounded by their count only, and ten large messages made a call that SQS refuses",
    // `entry.size > room` in `bySize` (facts 20, 21).
    () =>
      Effect.gen(function* () {
        const sqs = yield* SqsEmulator.SqsEmulator
        const large = "x".repeat(300_000)
        for (let i = 0; i < 10; i++) yield* sqs.send("orders", [`${i}${large}`])
        const fiber = yield* SqsConsumer.stream("orders").pipe(
          Pipeline.process(() => Effect.fail("no"), { retry: RetryPolicy.deadLetter }),
          Stream.runDrain,
          Effect.fork
        )
        for (let i = 0; i < 3; i++) yield* TestClock.adjust("1 second")
        const snapshot = yield* sqs.snapshot("orders")
        assert.deepStrictEqual([snapshot.inFlight, snapshot.visible], [0, 0])
        assert.strictEqual((yield* sqs.snapshot("dead")).visible, 10)
        yield* Fiber.interruptFork(fiber)
      }).pipe(
        Effect.provide(
          SqsEmulator.layer({ queues: { dead: {}, orders: { deadLetter: { queue: "dead", maxReceiveCount: 5 } } } })
        )
      )
  )
})
