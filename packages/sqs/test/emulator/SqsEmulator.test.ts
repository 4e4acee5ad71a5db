import { expect, it } from "@effect/vitest"
import { SqsClient } from "@millrace/sqs"
import { SqsEmulator } from "@millrace/sqs/emulator"
import { Effect, Fiber, Option, TestClock } from "effect"

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
