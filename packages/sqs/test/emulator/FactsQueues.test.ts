/** Facts 54 to 67 of docs/sqs-facts.md: queues and dead-letter queues. */
import { describe, expect, it } from "@effect/vitest"
import { Effect, Fiber, TestClock } from "effect"
import { bodies, emulated, head, on, refused, standard } from "./Harness.js"

describe("queues", () => {
  it.effect("fact 54: defaults", () =>
    emulated({ q: {}, "q.fifo": {} }, (sqs) =>
      Effect.gen(function* () {
        const defaults = {
          VisibilityTimeout: "30",
          MessageRetentionPeriod: "345600",
          DelaySeconds: "0",
          MaximumMessageSize: "1048576",
          ReceiveMessageWaitTimeSeconds: "0",
          SqsManagedSseEnabled: "true"
        }
        const computed = {
          ApproximateNumberOfMessages: "0",
          ApproximateNumberOfMessagesNotVisible: "0",
          ApproximateNumberOfMessagesDelayed: "0",
          CreatedTimestamp: "0",
          LastModifiedTimestamp: "0"
        }
        expect(yield* on(sqs, "q").get("All")).toEqual({
          ...defaults,
          ...computed,
          QueueArn: "arn:aws:sqs:us-east-1:000000000000:q"
        })
        expect(yield* on(sqs, "q.fifo").get("All")).toEqual({
          ...defaults,
          ...computed,
          QueueArn: "arn:aws:sqs:us-east-1:000000000000:q.fifo",
          FifoQueue: "true",
          ContentBasedDeduplication: "false",
          DeduplicationScope: "queue",
          FifoThroughputLimit: "perQueue"
        })
        expect(yield* refused(on(sqs, "q").get("Nonsense"))).toBe("InvalidAttributeName: Unknown Attribute Nonsense.")
      })
    )
  )
  it.effect("fact 55: creating again is fine unless a named attribute differs", () =>
    emulated({ q: { delay: "5 seconds" } }, ({ client, queueUrl }) =>
      Effect.gen(function* () {
        const create = (Attributes: Record<string, string>) => client.createQueue({ QueueName: "q", Attributes })
        expect(yield* create({})).toBe(queueUrl("q"))
        expect(yield* create({ DelaySeconds: "5", VisibilityTimeout: "30" })).toBe(queueUrl("q"))
        expect(yield* refused(create({ DelaySeconds: "6" }))).toBe(
          "QueueNameExists: A queue already exists with the same name and a different value for attribute DelaySeconds"
        )
      })
    )
  )
  it.effect("fact 56: a deleted queue's name is free after 60 seconds", () =>
    emulated({ q: {} }, (sqs) =>
      Effect.gen(function* () {
        const create = sqs.client.createQueue({ QueueName: "q" })
        yield* on(sqs, "q").drop
        yield* TestClock.adjust("59 seconds")
        expect(yield* refused(create)).toBe(
          "QueueDeletedRecently: You must wait 60 seconds after deleting a queue before you can create another with the same name."
        )
        yield* TestClock.adjust("1 seconds")
        yield* create
      })
    )
  )
  it.effect("fact 57: a queue's name", () =>
    emulated({}, ({ client }) =>
      Effect.gen(function* () {
        const create = (QueueName: string, Attributes = {}) => client.createQueue({ QueueName, Attributes })
        for (const name of ["", "a b", "a.b", "a.fifo", "x".repeat(81)]) {
          expect(yield* refused(create(name))).toBe(
            "InvalidParameterValue: Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length"
          )
        }
        expect(yield* refused(create("a", { FifoQueue: "true" }))).toContain("must end with .fifo suffix")
        yield* create("x".repeat(80))
        yield* create(`${"x".repeat(75)}.fifo`, { FifoQueue: "true" })
      })
    )
  )
  it.effect("fact 58: a standard queue has no attributes of FIFO queues", () =>
    emulated({ q: {} }, (sqs) =>
      Effect.gen(function* () {
        const create = (Attributes: Record<string, string>) => sqs.client.createQueue({ QueueName: "a", Attributes })
        expect(yield* refused(create({ FifoQueue: "false" }))).toBe(
          "InvalidAttributeName: Unknown Attribute FifoQueue."
        )
        expect(yield* refused(create({ ContentBasedDeduplication: "true" }))).toContain("Unknown Attribute")
        expect(yield* refused(on(sqs, "q").set({ FifoQueue: "true" }))).toContain("Unknown Attribute FifoQueue.")
      })
    )
  )
  standard("fact 59: an attribute out of range", (q) =>
    Effect.gen(function* () {
      const ranges = {
        DelaySeconds: ["-1", "901", "x"],
        VisibilityTimeout: ["-1", "43201", "1.5"],
        MessageRetentionPeriod: ["59", "1209601"],
        MaximumMessageSize: ["1023", "1048577"],
        ReceiveMessageWaitTimeSeconds: ["21"],
        SqsManagedSseEnabled: ["maybe"]
      }
      for (const [name, values] of Object.entries(ranges)) {
        for (const value of values) {
          expect(yield* refused(q.set({ [name]: value }))).toBe(
            `InvalidAttributeValue: Invalid value for the parameter ${name}.`
          )
        }
      }
    })
  )
  it.effect("fact 60: a queue that is not there, and polls on one that goes", () =>
    emulated({ q: {} }, (sqs) =>
      Effect.gen(function* () {
        const said = "QueueDoesNotExist: The specified queue does not exist."
        expect(yield* refused(on(sqs, "other").receive())).toBe(said)
        expect(yield* refused(sqs.client.getQueueUrl({ QueueName: "other" }))).toBe(said)
        const poll = yield* Effect.fork(refused(on(sqs, "q").receive(1, { WaitTimeSeconds: 20 })))
        yield* TestClock.adjust("1 seconds")
        yield* on(sqs, "q").drop
        expect(yield* Fiber.join(poll)).toBe(said)
      })
    )
  )
  it.effect("fact 61: a purge takes everything, once in 60 seconds", () =>
    emulated({ q: {} }, (sqs) =>
      Effect.gen(function* () {
        const q = on(sqs, "q")
        yield* q.send("in flight")
        const message = head(yield* q.receive())
        yield* q.send("visible")
        yield* q.send("delayed", { DelaySeconds: 5 })
        yield* q.purge
        expect(yield* sqs.snapshot("q")).toMatchObject({ visible: 0, inFlight: 0, delayed: 0, purged: 3 })
        yield* q.remove(message)
        yield* TestClock.adjust("59 seconds")
        expect(yield* q.receive()).toEqual([])
        expect(yield* refused(q.purge)).toBe(
          "PurgeQueueInProgress: Only one PurgeQueue operation on q is allowed every 60 seconds."
        )
        yield* TestClock.adjust("1 seconds")
        yield* q.purge
      })
    )
  )
  it.effect("fact 62: retention ends messages in flight too, and their delete succeeds", () =>
    emulated({ q: { retention: "1 minute", visibilityTimeout: "1 hour" } }, (sqs) =>
      Effect.gen(function* () {
        const q = on(sqs, "q")
        yield* q.send("a")
        yield* q.send("b")
        const message = head(yield* q.receive(1))
        yield* TestClock.adjust("59 seconds")
        expect(yield* sqs.messages("q")).toHaveLength(2)
        yield* TestClock.adjust("1 seconds")
        expect(yield* sqs.messages("q")).toEqual([])
        expect(yield* sqs.snapshot("q")).toMatchObject({ visible: 0, inFlight: 0, expired: 2 })
        yield* q.remove(message)
      })
    )
  )
  it.effect("fact 63: tags", () =>
    emulated({ q: {}, tagged: { tags: { team: "orders" } } }, (sqs) =>
      Effect.gen(function* () {
        const QueueUrl = sqs.queueUrl("q")
        expect(yield* sqs.client.listQueueTags({ QueueUrl })).toEqual({})
        expect(yield* sqs.client.listQueueTags({ QueueUrl: sqs.queueUrl("tagged") })).toEqual({ team: "orders" })
        yield* sqs.client.tagQueue({ QueueUrl, Tags: { a: "1", b: "2" } })
        yield* sqs.client.untagQueue({ QueueUrl, TagKeys: ["a"] })
        expect(yield* sqs.client.listQueueTags({ QueueUrl })).toEqual({ b: "2" })
      })
    )
  )
  it.effect("fact 63: AddPermission builds the Policy, RemovePermission takes it down", () =>
    emulated({ q: {} }, (sqs) =>
      Effect.gen(function* () {
        const q = on(sqs, "q")
        const { QueueUrl } = q
        const request = { QueueUrl, Label: "l", AWSAccountIds: ["111122223333"], Actions: ["SendMessage"] }
        yield* sqs.client.addPermission(request)
        expect(JSON.parse((yield* q.get("Policy"))["Policy"] ?? "")).toEqual({
          Version: "2008-10-17",
          Id: "arn:aws:sqs:us-east-1:000000000000:q/SQSDefaultPolicy",
          Statement: [
            {
              Sid: "l",
              Effect: "Allow",
              Principal: { AWS: "arn:aws:iam::111122223333:root" },
              Action: "SQS:SendMessage",
              Resource: "arn:aws:sqs:us-east-1:000000000000:q"
            }
          ]
        })
        expect(yield* refused(sqs.client.addPermission(request))).toContain("Already exists.")
        yield* sqs.client.removePermission({ QueueUrl, Label: "l" })
        expect(yield* q.get("Policy")).toEqual({})
      })
    )
  )
  it.effect("fact 64: an empty RedrivePolicy removes it", () =>
    emulated({ q: { deadLetter: { queue: "dlq", maxReceiveCount: 1 } } }, (sqs) =>
      Effect.gen(function* () {
        const q = on(sqs, "q")
        expect(Object.keys(yield* q.get("RedrivePolicy"))).toEqual(["RedrivePolicy"])
        yield* q.set({ RedrivePolicy: "" })
        expect(yield* q.get("RedrivePolicy")).toEqual({})
        yield* q.send("a")
        yield* q.receive(1, { VisibilityTimeout: 0 })
        expect(yield* q.receive()).toHaveLength(1)
      })
    )
  )
  it.effect("queues are listed by prefix, in pages", () =>
    emulated({ a1: {}, a2: {}, a3: {}, b1: {} }, ({ client, queueUrl }) =>
      Effect.gen(function* () {
        const first = yield* client.listQueues({ QueueNamePrefix: "a", MaxResults: 2 })
        expect(first.QueueUrls).toEqual([queueUrl("a1"), queueUrl("a2")])
        const second = yield* client.listQueues({ QueueNamePrefix: "a", MaxResults: 2, NextToken: first.NextToken })
        expect(second).toEqual({ QueueUrls: [queueUrl("a3")] })
      })
    )
  )
})

describe("dead-letter queues", () => {
  const redriven = { queue: "dlq", maxReceiveCount: 2 }

  it.effect("fact 65: the receive that would exceed maxReceiveCount moves the message and does not return it", () =>
    emulated({ q: { deadLetter: redriven } }, (sqs) =>
      Effect.gen(function* () {
        const q = on(sqs, "q")
        yield* q.send("poison")
        yield* q.receive(1, { VisibilityTimeout: 0 })
        yield* q.receive(1, { VisibilityTimeout: 0 })
        yield* q.send("good")
        expect(yield* sqs.snapshot("dlq")).toMatchObject({ visible: 0 })
        expect(bodies(yield* q.receive(1))).toEqual(["good"])
        expect(yield* sqs.snapshot("q")).toMatchObject({ visible: 0, deadLettered: 1, deadLetterQueue: "dlq" })
        expect(yield* sqs.snapshot("dlq")).toMatchObject({ visible: 1 })
      })
    )
  )
  it.effect("fact 66: id and attributes stay, the receive count goes on, the source is named", () =>
    emulated({ q: { deadLetter: redriven } }, (sqs) =>
      Effect.gen(function* () {
        const q = on(sqs, "q")
        yield* q.send("a", { MessageAttributes: { k: { DataType: "String", StringValue: "v" } } })
        const first = head(yield* q.receive(1, { VisibilityTimeout: 0 }))
        yield* q.receive(1, { VisibilityTimeout: 0 })
        const poll = yield* Effect.fork(on(sqs, "dlq").receive(1, { WaitTimeSeconds: 20 }))
        yield* TestClock.adjust("1 seconds")
        expect(yield* q.receive()).toEqual([])
        const dead = head(yield* Fiber.join(poll))
        expect(dead.MessageId).toBe(first.MessageId)
        expect(dead.MessageAttributes).toEqual(first.MessageAttributes)
        expect(first.Attributes).not.toHaveProperty("DeadLetterQueueSourceArn")
        expect(dead.Attributes).toMatchObject({
          ApproximateReceiveCount: "3",
          DeadLetterQueueSourceArn: "arn:aws:sqs:us-east-1:000000000000:q"
        })
      })
    )
  )
  it.effect("fact 67: a FIFO source's group stays usable", () =>
    emulated({ "q.fifo": { deadLetter: { queue: "dlq.fifo", maxReceiveCount: 1 } } }, (sqs) =>
      Effect.gen(function* () {
        const q = on(sqs, "q.fifo")
        yield* q.sendTo("g", "poison", "next")
        yield* q.change(head(yield* q.receive(1)), 0)
        expect(bodies(yield* q.receive())).toEqual(["next"])
        yield* q.sendTo("g", "later")
        yield* TestClock.adjust("30 seconds")
        expect(bodies(yield* q.receive())).toEqual(["later"])
        expect(bodies(yield* on(sqs, "dlq.fifo").receive())).toEqual(["poison", "next"])
      })
    )
  )
  it.effect("a source is refused whose dead-letter queue is not there, of another kind, or does not allow it", () =>
    emulated({ q: {}, dlq: {}, "dlq.fifo": {} }, (sqs) =>
      Effect.gen(function* () {
        const q = on(sqs, "q")
        const policy = (name: string, maxReceiveCount = 1) => ({
          RedrivePolicy: JSON.stringify({
            deadLetterTargetArn: `arn:aws:sqs:us-east-1:000000000000:${name}`,
            maxReceiveCount
          })
        })
        expect(yield* refused(q.set(policy("none")))).toContain("Reason: Dead letter target does not exist.")
        expect(yield* refused(q.set(policy("dlq.fifo")))).toContain("of the same type")
        expect(yield* refused(q.set(policy("dlq", 0)))).toContain("valid values are from 1 to 1000 both inclusive.")
        yield* on(sqs, "dlq").set({ RedriveAllowPolicy: JSON.stringify({ redrivePermission: "denyAll" }) })
        expect(yield* refused(q.set(policy("dlq")))).toContain("does not allow this queue")
        const sourceQueueArns = ["arn:aws:sqs:us-east-1:000000000000:q"]
        yield* on(sqs, "dlq").set({
          RedriveAllowPolicy: JSON.stringify({ redrivePermission: "byQueue", sourceQueueArns })
        })
        yield* q.set(policy("dlq"))
        const sources = yield* sqs.client.listDeadLetterSourceQueues({ QueueUrl: sqs.queueUrl("dlq") })
        expect(sources.QueueUrls).toEqual([sqs.queueUrl("q")])
      })
    )
  )
  it.effect("retention goes on counting in a standard dead-letter queue", () =>
    emulated({ q: { deadLetter: { queue: "dlq", maxReceiveCount: 1 } }, dlq: { retention: "2 minutes" } }, (sqs) =>
      Effect.gen(function* () {
        const q = on(sqs, "q")
        yield* q.send("a")
        yield* q.receive(1, { VisibilityTimeout: 0 })
        yield* TestClock.adjust("90 seconds")
        yield* q.receive()
        expect(yield* sqs.messages("dlq")).toHaveLength(1)
        yield* TestClock.adjust("30 seconds")
        expect(yield* sqs.messages("dlq")).toEqual([])
      })
    )
  )
})
