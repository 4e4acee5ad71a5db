/** Facts 68 to 72 of docs/sqs-facts.md: move tasks. */
import { describe, expect, it } from "@effect/vitest"
import type { SqsClient } from "@millrace/sqs"
import { SqsEmulator } from "@millrace/sqs/emulator"
import { Effect, Fiber, TestClock } from "effect"
import { bodies, emulated, head, ipv, on, refused } from "./Harness.js"

const arn = (name: string) => `arn:aws:sqs:us-east-1:000000000000:${name}`
const SourceArn = arn("dlq")

/** Queues whose dead letters go to `dlq`, and one beside them. */
const queues = {
  q: { deadLetter: { queue: "dlq", maxReceiveCount: 1 } },
  r: { deadLetter: { queue: "dlq", maxReceiveCount: 1 } },
  elsewhere: {}
}

/** Sends to a queue and lets SQS dead-letter it. */
const deadLetter = (sqs: SqsEmulator.Service, queue: string, ...sent: ReadonlyArray<string>) =>
  Effect.gen(function* () {
    yield* sqs.send(queue, sent)
    for (let n = 0; n < sent.length; n += 10) yield* on(sqs, queue).receive(10, { VisibilityTimeout: 0 })
    expect(yield* on(sqs, queue).receive()).toEqual([])
  })

const moving = (sqs: SqsEmulator.Service) => ({
  start: (request: Partial<Parameters<SqsClient.Service["startMessageMoveTask"]>[0]> = {}) =>
    sqs.client.startMessageMoveTask({ SourceArn, ...request }),
  latest: Effect.map(sqs.client.listMessageMoveTasks({ SourceArn }), ([task]) => task),
  cancel: (TaskHandle: string) => sqs.client.cancelMessageMoveTask({ TaskHandle })
})

const held = (sqs: SqsEmulator.Service, queue: string) =>
  Effect.map(sqs.messages(queue), (messages) => messages.map(({ body }) => body))

describe("move tasks", () => {
  it.effect("fact 68: the source must be a dead-letter queue, and both queues must be there", () =>
    emulated(queues, (sqs) =>
      Effect.gen(function* () {
        const { start } = moving(sqs)
        expect(yield* refused(start({ SourceArn: arn("elsewhere"), DestinationArn: arn("q") }))).toBe(
          ipv("Source queue must be configured as a Dead Letter Queue.")
        )
        expect(yield* refused(start({ DestinationArn: arn("none") }))).toBe(
          "ResourceNotFound: The resource that you specified for the DestinationArn parameter doesn't exist."
        )
        const noSource = "ResourceNotFound: The resource that you specified for the SourceArn parameter doesn't exist."
        expect(yield* refused(start({ SourceArn: arn("none") }))).toBe(noSource)
        expect(yield* refused(sqs.client.listMessageMoveTasks({ SourceArn: arn("none") }))).toBe(noSource)
        for (const MaxNumberOfMessagesPerSecond of [0, 501, 1.5]) {
          expect(yield* refused(start({ MaxNumberOfMessagesPerSecond }))).toContain("Must be between 1 and 500")
        }
        expect(yield* refused(start({ DestinationArn: SourceArn }))).toContain("cannot be the destination")
        expect(yield* sqs.client.listMessageMoveTasks({ SourceArn })).toEqual([])
      })
    )
  )

  it.effect("fact 69: one active task a source; the next may start when it is over", () =>
    emulated(queues, (sqs) =>
      Effect.gen(function* () {
        const { start } = moving(sqs)
        yield* deadLetter(sqs, "q", "a", "b", "c")
        const slowly = { DestinationArn: arn("elsewhere"), MaxNumberOfMessagesPerSecond: 1 }
        yield* start(slowly)
        expect(yield* refused(start())).toBe(
          ipv(
            "There is already a task running. Only one active task is allowed for a source queue arn at a given time."
          )
        )
        yield* TestClock.adjust("2 seconds")
        yield* start(slowly)
        const tasks = yield* sqs.client.listMessageMoveTasks({ SourceArn, MaxResults: 10 })
        expect(tasks.map(({ StartedTimestamp }) => StartedTimestamp)).toEqual([2_000, 0])
        expect(yield* refused(sqs.client.listMessageMoveTasks({ SourceArn, MaxResults: 11 }))).toContain("MaxResults")
      })
    )
  )

  it.effect("fact 70: without a destination each message returns to its own source, as a new message", () =>
    emulated(queues, (sqs) =>
      Effect.gen(function* () {
        yield* deadLetter(sqs, "q", "of q", "of q as well")
        yield* deadLetter(sqs, "r", "of r")
        const [before] = yield* sqs.messages("dlq")
        yield* TestClock.adjust("1 minute")
        yield* moving(sqs).start()
        const back = yield* on(sqs, "q").receive()
        expect(bodies(back)).toEqual(["of q", "of q as well"])
        expect(bodies(yield* on(sqs, "r").receive())).toEqual(["of r"])
        expect(yield* held(sqs, "dlq")).toEqual([])
        expect(yield* sqs.snapshot("dlq")).toMatchObject({ moved: 3, deleted: 0 })
        expect(head(back).MessageId).not.toBe(before?.id)
        expect(head(back).Attributes).toMatchObject({ ApproximateReceiveCount: "1", SentTimestamp: "60000" })
        expect(head(back).Attributes).not.toHaveProperty("DeadLetterQueueSourceArn")
        expect(yield* moving(sqs).latest).toEqual({
          Status: "COMPLETED",
          SourceArn,
          ApproximateNumberOfMessagesMoved: 3,
          ApproximateNumberOfMessagesToMove: 3,
          StartedTimestamp: 60_000
        })
      })
    )
  )
  it.effect("fact 70: a message that was sent to the dead-letter queue by hand has no source to return to", () =>
    emulated(queues, (sqs) =>
      Effect.gen(function* () {
        yield* deadLetter(sqs, "q", "of q")
        yield* sqs.send("dlq", ["by hand"])
        const { latest, start } = moving(sqs)
        yield* start()
        expect(yield* latest).toMatchObject({ Status: "FAILED", FailureReason: "CouldNotDetermineMessageSource" })
        expect(yield* held(sqs, "q")).toEqual(["of q"])
        expect(yield* held(sqs, "dlq")).toEqual(["by hand"])
        yield* start({ DestinationArn: arn("elsewhere") })
        expect(yield* latest).toMatchObject({ Status: "COMPLETED", DestinationArn: arn("elsewhere") })
        expect(yield* held(sqs, "elsewhere")).toEqual(["by hand"])
      })
    )
  )
  it.effect("a long poll on the destination wakes; attributes and group come along; leased messages stay", () =>
    emulated(
      { "q.fifo": { deadLetter: { queue: "dlq.fifo", maxReceiveCount: 1 } }, standard: {}, "elsewhere.fifo": {} },
      (sqs) =>
        Effect.gen(function* () {
          const attributes = { k: "v" }
          yield* sqs.send("dlq.fifo", [
            SqsEmulator.message("leased", { group: "busy" }),
            SqsEmulator.message("1", { group: "g", attributes }),
            SqsEmulator.message("2", { group: "g" })
          ])
          yield* on(sqs, "dlq.fifo").receive(1)
          const poll = yield* Effect.fork(on(sqs, "elsewhere.fifo").receive(10, { WaitTimeSeconds: 20 }))
          yield* TestClock.adjust("1 seconds")
          const start = (DestinationArn: string) => moving(sqs).start({ SourceArn: arn("dlq.fifo"), DestinationArn })
          expect(yield* refused(start(arn("standard")))).toContain("both be FIFO")
          yield* start(arn("elsewhere.fifo"))
          const first = head(yield* Fiber.join(poll))
          expect(first).toMatchObject({ Body: "1", Attributes: { MessageGroupId: "g" } })
          expect(first.MessageAttributes).toEqual({ k: { DataType: "String", StringValue: "v" } })
          expect(yield* held(sqs, "elsewhere.fifo")).toEqual(["1", "2"])
          expect(yield* held(sqs, "dlq.fifo")).toEqual(["leased"])
        })
    )
  )

  it.effect("fact 71: the handle is base64 of task id and source, and is listed only while the task runs", () =>
    emulated(queues, (sqs) =>
      Effect.gen(function* () {
        const { cancel, latest, start } = moving(sqs)
        yield* deadLetter(sqs, "q", "a", "b")
        const handle = yield* start({ MaxNumberOfMessagesPerSecond: 1 })
        const fields = JSON.parse(Buffer.from(handle, "base64").toString())
        expect(fields).toEqual({
          taskId: expect.stringMatching(/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-/),
          sourceArn: SourceArn
        })
        expect(yield* latest).toMatchObject({ Status: "RUNNING", TaskHandle: handle })
        yield* TestClock.adjust("1 seconds")
        expect(yield* latest).toMatchObject({ Status: "COMPLETED" })
        expect(yield* latest).not.toHaveProperty("TaskHandle")
        const handleOf = (fields: object) => Buffer.from(JSON.stringify(fields)).toString("base64")
        expect(yield* refused(cancel("foobar"))).toBe(ipv("Value for parameter TaskHandle is invalid."))
        expect(yield* refused(cancel(handleOf({ ...fields, sourceArn: arn("none") })))).toContain("SourceArn parameter")
        expect(yield* refused(cancel(handleOf({ ...fields, taskId: "none" })))).toBe(
          "ResourceNotFound: Task does not exist."
        )
        expect(yield* refused(cancel(handle))).toBe("ResourceNotFound: Task does not exist.")
      })
    )
  )

  it.effect("fact 72: the rate is honoured", () =>
    emulated(queues, (sqs) =>
      Effect.gen(function* () {
        yield* deadLetter(sqs, "q", "a", "b", "c", "d", "e", "f", "g")
        yield* moving(sqs).start({ MaxNumberOfMessagesPerSecond: 3 })
        const moved = Effect.map(sqs.snapshot("dlq"), ({ moved }) => moved)
        expect(yield* moved).toBe(1)
        yield* TestClock.adjust("999 millis")
        expect(yield* moved).toBe(3)
        yield* TestClock.adjust("1 seconds")
        expect(yield* moved).toBe(6)
        yield* TestClock.adjust("1 seconds")
        expect(yield* moved).toBe(7)
      })
    )
  )
  it.effect("fact 72: a task without a rate, and a fast one, move at most 500 a second", () =>
    emulated(queues, (sqs) =>
      Effect.gen(function* () {
        yield* deadLetter(sqs, "q", ...Array.from({ length: 1_200 }, (_, n) => String(n)))
        yield* moving(sqs).start()
        yield* TestClock.adjust("999 millis")
        expect(yield* sqs.snapshot("dlq")).toMatchObject({ moved: 500 })
        yield* TestClock.adjust("2 seconds")
        expect(yield* sqs.snapshot("dlq")).toMatchObject({ moved: 1_200 })
      })
    )
  )
  it.effect("fact 72: a cancelled task moves no more, and what it moved stays", () =>
    emulated(queues, (sqs) =>
      Effect.gen(function* () {
        const { cancel, latest, start } = moving(sqs)
        yield* deadLetter(sqs, "q", "a", "b", "c", "d")
        const handle = yield* start({ MaxNumberOfMessagesPerSecond: 1 })
        yield* TestClock.adjust("1 seconds")
        expect(yield* cancel(handle)).toBe(2)
        yield* TestClock.adjust("10 seconds")
        expect(yield* latest).toMatchObject({
          Status: "CANCELLED",
          ApproximateNumberOfMessagesMoved: 2,
          ApproximateNumberOfMessagesToMove: 4,
          MaxNumberOfMessagesPerSecond: 1
        })
        expect(yield* latest).not.toHaveProperty("TaskHandle")
        expect(yield* held(sqs, "q")).toEqual(["a", "b"])
        expect(yield* held(sqs, "dlq")).toEqual(["c", "d"])
      })
    )
  )
  it.effect("fact 72: a destination that is deleted makes the task fail, and the rest stays", () =>
    emulated(queues, (sqs) =>
      Effect.gen(function* () {
        const { latest, start } = moving(sqs)
        yield* deadLetter(sqs, "q", "a", "b")
        yield* start({ DestinationArn: arn("elsewhere"), MaxNumberOfMessagesPerSecond: 1 })
        yield* on(sqs, "elsewhere").drop
        yield* TestClock.adjust("1 seconds")
        expect(yield* latest).toMatchObject({
          Status: "FAILED",
          FailureReason: "AWS.SimpleQueueService.NonExistentQueue",
          ApproximateNumberOfMessagesMoved: 1
        })
        expect(yield* held(sqs, "dlq")).toEqual(["b"])
      })
    )
  )
  it.effect("messages that come while a task runs are not moved: a failing consumer makes no endless loop", () =>
    emulated(queues, (sqs) =>
      Effect.gen(function* () {
        yield* deadLetter(sqs, "q", "a", "b")
        yield* moving(sqs).start({ MaxNumberOfMessagesPerSecond: 1 })
        yield* deadLetter(sqs, "r", "later")
        yield* TestClock.adjust("10 seconds")
        expect(yield* held(sqs, "dlq")).toEqual(["later"])
      })
    )
  )
})
