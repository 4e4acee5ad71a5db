/** Facts 54 to 67 of docs/sqs-facts.md: queues and dead-letter queues. */
import { describe, expect, it } from "@effect/vitest"
import { SqsEmulator } from "@millrace/sqs/emulator"
import { Effect, Fiber, TestClock } from "effect"
import { bodies, emulated, head, ipv, on, refused, standard } from "./Harness.js"

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
        expect(yield* refused(create({ ContentBasedDeduplication: "true" }))).toBe(
          "InvalidAttributeName: Unknown Attribute ContentBasedDeduplication."
        )
        for (const [name, value] of [
          ["DeduplicationScope", "queue"],
          ["FifoThroughputLimit", "perQueue"]
        ] as const) {
          expect(yield* refused(create({ [name]: value }))).toBe(
            `InvalidAttributeName: You can specify the ${name} only when FifoQueue is set to true.`
          )
        }
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
  it.effect("fact 78: true and false in any case", () =>
    emulated({}, (sqs) =>
      Effect.gen(function* () {
        const Attributes = { FifoQueue: "True", ContentBasedDeduplication: "TRUE" }
        yield* sqs.client.createQueue({ QueueName: "a.fifo", Attributes })
        yield* sqs.client.createQueue({ QueueName: "a.fifo", Attributes: { FifoQueue: "true" } })
        const q = on(sqs, "a.fifo")
        yield* q.set({ SqsManagedSseEnabled: "False" })
        expect(yield* q.get("FifoQueue", "ContentBasedDeduplication", "SqsManagedSseEnabled")).toEqual({
          FifoQueue: "true",
          ContentBasedDeduplication: "true",
          SqsManagedSseEnabled: "false"
        })
        expect(yield* refused(q.set({ ContentBasedDeduplication: "yes" }))).toContain("InvalidAttributeValue")
      })
    )
  )
  standard("fact 79: a key of KMS turns SQS's own encryption off, and its removal does not turn it on", (q) =>
    Effect.gen(function* () {
      const encryption = q.get("KmsMasterKeyId", "KmsDataKeyReusePeriodSeconds", "SqsManagedSseEnabled")
      yield* q.set({ KmsMasterKeyId: "key", KmsDataKeyReusePeriodSeconds: "6000" })
      expect(yield* encryption).toEqual({
        KmsMasterKeyId: "key",
        KmsDataKeyReusePeriodSeconds: "6000",
        SqsManagedSseEnabled: "false"
      })
      yield* q.set({ KmsMasterKeyId: "", KmsDataKeyReusePeriodSeconds: "300" })
      expect(yield* encryption).toEqual({ SqsManagedSseEnabled: "false" })
      expect(Object.keys(yield* q.get("All"))).not.toContain("KmsDataKeyReusePeriodSeconds")
      yield* q.set({ SqsManagedSseEnabled: "true" })
      expect(yield* encryption).toEqual({ SqsManagedSseEnabled: "true" })
    })
  )
  standard("fact 80: there is one encryption at a time", (q) =>
    Effect.gen(function* () {
      expect(yield* refused(q.set({ KmsMasterKeyId: "key", SqsManagedSseEnabled: "True" }))).toBe(
        "InvalidAttributeName: You can use one type of server-side encryption (SSE) at one time. You can either enable KMS SSE or SQS SSE."
      )
      expect(yield* q.get("KmsMasterKeyId", "SqsManagedSseEnabled")).toEqual({ SqsManagedSseEnabled: "true" })
    })
  )
  it.effect("fact 81: a queue's kind is fixed", () =>
    emulated({ q: {}, "q.fifo": {} }, (sqs) =>
      Effect.gen(function* () {
        yield* on(sqs, "q.fifo").set({ FifoQueue: "true" })
        expect(yield* refused(on(sqs, "q.fifo").set({ FifoQueue: "false" }))).toBe(
          "InvalidAttributeValue: Invalid value for the parameter FifoQueue. Reason: Modifying queue type is not supported."
        )
        expect(yield* refused(on(sqs, "q").set({ FifoQueue: "true" }))).toBe(
          "InvalidAttributeName: Unknown Attribute FifoQueue."
        )
      })
    )
  )
  it.effect("fact 82: throughput per group needs deduplication per group", () =>
    emulated({ "q.fifo": {} }, (sqs) =>
      Effect.gen(function* () {
        const q = on(sqs, "q.fifo")
        const said =
          "InvalidAttributeValue: Invalid value for the parameter FifoThroughputLimit. Reason: The perMessageGroupId value is allowed only when the value for DeduplicationScope is messageGroup."
        const limit = { FifoThroughputLimit: "perMessageGroupId" }
        expect(yield* refused(q.set(limit))).toBe(said)
        const create = (Attributes: Record<string, string>) =>
          sqs.client.createQueue({ QueueName: "other.fifo", Attributes: { FifoQueue: "true", ...Attributes } })
        expect(yield* refused(create(limit))).toBe(said)
        yield* create({ ...limit, DeduplicationScope: "messageGroup" })
        yield* q.set({ ...limit, DeduplicationScope: "messageGroup" })
        expect(yield* refused(q.set({ DeduplicationScope: "queue" }))).toBe(said)
        yield* q.set({ DeduplicationScope: "queue", FifoThroughputLimit: "perQueue" })
        yield* q.set({ DeduplicationScope: "messageGroup" })
      })
    )
  )
  it.effect("numbers are kept as numbers are written", () =>
    emulated({}, (sqs) =>
      Effect.gen(function* () {
        const create = (VisibilityTimeout: string) =>
          sqs.client.createQueue({ QueueName: "q", Attributes: { VisibilityTimeout } })
        yield* create("030")
        yield* create("30")
        expect(yield* on(sqs, "q").get("VisibilityTimeout")).toEqual({ VisibilityTimeout: "30" })
        for (const value of ["", " 30", "+30", "3e1", "0x1e", "30.0", "٣٠"]) {
          expect(yield* refused(on(sqs, "q").set({ VisibilityTimeout: value })), value).toBe(
            "InvalidAttributeValue: Invalid value for the parameter VisibilityTimeout."
          )
        }
      })
    )
  )
  it.effect("names that every object has are names like others", () =>
    emulated({ constructor: {}, toString: { tags: { valueOf: "1" } } }, (sqs) =>
      Effect.gen(function* () {
        const q = on(sqs, "constructor")
        for (const name of ["constructor", "toString", "__proto__", "hasOwnProperty"]) {
          const said = `InvalidAttributeName: Unknown Attribute ${name}.`
          expect(yield* refused(q.get(name))).toBe(said)
          expect(yield* refused(q.set({ [name]: "1" }))).toBe(said)
          expect(yield* refused(q.receive(1, { AttributeNames: [name] }))).toBe(said)
          const sent = yield* q.send("a", { MessageAttributes: { [name]: { DataType: "String", StringValue: "v" } } })
          const message = head(yield* q.receive(1, { MessageAttributeNames: [name] }))
          expect(Object.keys(message.MessageAttributes ?? {})).toEqual([name])
          expect(message.MD5OfMessageAttributes).toBe(sent.MD5OfMessageAttributes)
        }
        const QueueUrl = sqs.queueUrl("toString")
        yield* sqs.client.tagQueue({ QueueUrl, Tags: Object.fromEntries([["__proto__", "2"]]) })
        expect(Object.entries(yield* sqs.client.listQueueTags({ QueueUrl }))).toEqual([
          ["valueOf", "1"],
          ["__proto__", "2"]
        ])
      })
    )
  )
  it.effect("fact 83: a Policy is a policy, of 20 statements at most with 7 actions each", () =>
    emulated({ q: {} }, (sqs) =>
      Effect.gen(function* () {
        const q = on(sqs, "q")
        const statement = { Effect: "Allow", Principal: "*", Action: "sqs:SendMessage", Resource: "any" }
        const policy = (...Statement: ReadonlyArray<unknown>) => JSON.stringify({ Version: "2012-10-17", Statement })
        const { Resource: _, ...nowhere } = statement
        for (const text of [
          "{not json",
          "[1]",
          "hello",
          "null",
          "{}",
          policy(),
          policy("a"),
          policy(nowhere),
          policy({ ...statement, Effect: "Maybe" })
        ]) {
          expect(yield* refused(q.set({ Policy: text })), text).toBe(
            "InvalidAttributeValue: Invalid value for the parameter Policy."
          )
          expect(yield* refused(sqs.client.createQueue({ QueueName: "p", Attributes: { Policy: text } }))).toContain(
            "InvalidAttributeValue"
          )
        }
        expect(yield* refused(q.set({ Policy: policy(...Array<unknown>(21).fill(statement)) }))).toBe(
          "OverLimit: 21 statements were found in the submitted policy, max allowed is 20"
        )
        const Action = Array.from({ length: 10 }, (_, n) => `sqs:A${n}`)
        expect(yield* refused(q.set({ Policy: policy({ ...statement, Action }) }))).toBe(
          "OverLimit: 10 actions were found in a statement from the submitted policy, max allowed is 7"
        )
        const long = { ...statement, Condition: { StringEquals: { "aws:x": "x".repeat(8_192) } } }
        expect(yield* refused(q.set({ Policy: policy(long) }))).toBe(
          "OverLimit: Submitted policy is over max allowed size."
        )
        const { QueueUrl } = q
        const grant = (Label: string) =>
          sqs.client.addPermission({ QueueUrl, Label, AWSAccountIds: ["111122223333"], Actions: ["SendMessage"] })
        yield* q.set({ Policy: policy(...Array<unknown>(19).fill(statement)) })
        yield* grant("a")
        expect(yield* refused(grant("b"))).toBe(
          "OverLimit: 21 statements were found in the submitted policy, max allowed is 20"
        )
        const single = JSON.stringify({ Statement: statement })
        yield* q.set({ Policy: single })
        expect(yield* q.get("Policy")).toEqual({ Policy: single })
        const spaced = JSON.stringify({ Statement: statement }, null, 2)
        yield* sqs.client.createQueue({ QueueName: "q", Attributes: { Policy: spaced } })
      })
    )
  )
  it.effect("fact 84: AddPermission takes seven actions that the owner may share, for accounts, under a label", () =>
    emulated({ q: {} }, (sqs) =>
      Effect.gen(function* () {
        const { client } = sqs
        const { QueueUrl } = on(sqs, "q")
        const request = { QueueUrl, Label: "l", AWSAccountIds: ["111122223333"], Actions: ["SendMessage"] }
        const said = (more: Partial<typeof request>) => refused(client.addPermission({ ...request, ...more }))
        expect(yield* said({ Actions: ["RemovePermission"] })).toBe(
          ipv(
            "Value SQS:RemovePermission for parameter ActionName is invalid. Reason: Only the queue owner is allowed to invoke this action."
          )
        )
        for (const action of ["SendMessageBatch", "Nonsense", "constructor"]) {
          expect(yield* said({ Actions: [action] })).toBe(
            ipv(
              `Value SQS:${action} for parameter ActionName is invalid. Reason: Please refer to the appropriate WSDL for a list of valid actions.`
            )
          )
        }
        expect(yield* said({ Actions: [] })).toBe("MissingParameter: The request must contain the parameter Actions.")
        expect(yield* said({ AWSAccountIds: [] })).toBe(
          ipv("Value [] for parameter PrincipalId is invalid. Reason: Unable to verify.")
        )
        expect(yield* said({ AWSAccountIds: ["arn:aws:iam::111122223333:user/a"] })).toContain("Unable to verify")
        const shared = ["ChangeMessageVisibility", "DeleteMessage", "GetQueueAttributes", "GetQueueUrl"]
        const Actions = [...shared, "ListDeadLetterSourceQueues", "PurgeQueue", "ReceiveMessage"]
        expect(yield* said({ Actions: [...Actions, "SendMessage"] })).toBe(
          "OverLimit: 8 Actions were found, maximum allowed is 7."
        )
        expect(yield* said({ Label: "" })).toBe("MissingParameter: The request must contain the parameter Label.")
        expect(yield* said({ Label: "a b" })).toContain("for parameter Label is invalid.")
        expect(yield* on(sqs, "q").get("Policy")).toEqual({})
        expect(yield* refused(client.removePermission({ QueueUrl, Label: "l" }))).toBe(
          ipv("Value l for parameter Label is invalid. Reason: can't find label.")
        )
        yield* client.addPermission({ ...request, Actions })
        yield* client.addPermission({ ...request, Label: "all", Actions: ["*"] })
        expect(yield* refused(client.removePermission({ QueueUrl, Label: "other" }))).toContain("can't find label")
      })
    )
  )
  standard("a statement more leaves the policy that is there as it is", (q) =>
    Effect.gen(function* () {
      const statement = { Sid: "mine", Effect: "Deny", Principal: "*", Action: "sqs:*", Resource: "*" }
      yield* q.set({ Policy: JSON.stringify({ Version: "2012-10-17", Id: "mine", Statement: statement }) })
      yield* q.permit({ Label: "l", AWSAccountIds: ["111122223333"], Actions: ["SendMessage"] })
      expect(JSON.parse((yield* q.get("Policy"))["Policy"] ?? "")).toMatchObject({
        Version: "2012-10-17",
        Id: "mine",
        Statement: [statement, { Sid: "l" }]
      })
    })
  )
  it.effect("fact 85: tags are 50 at most, of limited length and characters, and none of AWS's own", () =>
    emulated({ q: { tags: { a: "1" } } }, (sqs) =>
      Effect.gen(function* () {
        const QueueUrl = sqs.queueUrl("q")
        const tags = sqs.client.listQueueTags({ QueueUrl })
        const tag = (Tags: Readonly<Record<string, string>>) => sqs.client.tagQueue({ QueueUrl, Tags })
        const many = Object.fromEntries(Array.from({ length: 50 }, (_, n) => [`t${n}`, ""]))
        expect(yield* refused(tag(many))).toBe(ipv("Too many tags added for queue q."))
        expect(yield* refused(tag({}))).toBe("MissingParameter: The request must contain the parameter Tags.")
        const long = "InvalidParameterValue: Tag keys must be between 1 and 128 characters in length."
        expect(yield* refused(tag({ "": "v" }))).toBe(long)
        expect(yield* refused(tag({ ["k".repeat(129)]: "v" }))).toBe(long)
        expect(yield* refused(tag({ k: "v".repeat(257) }))).toBe(
          ipv("Tag values must be between 0 and 256 characters in length.")
        )
        expect(yield* refused(tag({ b: "2", "aws:k": "v" }))).toContain("reserved prefix aws:")
        expect(yield* refused(tag({ k: "AWS:v" }))).toContain("reserved prefix aws:")
        expect(yield* refused(tag({ k: "a;b" }))).toContain("Tag values can only include")
        expect(yield* refused(tag({ "k\u0001": "" }))).toContain("Tag keys can only include")
        expect(yield* tags).toEqual({ a: "1" })
        yield* tag({ ["é".repeat(128)]: "ab 1_.:/=+-@", 𝔘: "𝔘".repeat(256) })
        expect(yield* refused(sqs.client.untagQueue({ QueueUrl, TagKeys: [] }))).toBe(long)
        yield* sqs.client.untagQueue({ QueueUrl, TagKeys: ["a", "none"] })
        expect(Object.keys(yield* tags)).toHaveLength(2)
        const made = sqs.client.createQueue({ QueueName: "other", tags: { "aws:k": "v" } })
        expect(yield* refused(made)).toContain("reserved prefix aws:")
        expect((yield* sqs.client.listQueues({})).QueueUrls).toEqual([QueueUrl])
      })
    )
  )
  it.effect("fact 86: only who asks for pages gets a token, and a token is one that a page has returned", () =>
    emulated({ a1: {}, a2: {}, a3: {}, b1: { deadLetter: { queue: "a1", maxReceiveCount: 1 } } }, (sqs) =>
      Effect.gen(function* () {
        const { client } = sqs
        expect(yield* client.listQueues({})).not.toHaveProperty("NextToken")
        const { NextToken } = yield* client.listQueues({ MaxResults: 2 })
        expect(yield* client.listQueues({ MaxResults: 2, NextToken })).not.toHaveProperty("NextToken")
        expect((yield* client.listQueues({ NextToken })).QueueUrls).toHaveLength(2)
        for (const token of ["", "garbage", "YTI", `${NextToken}=`]) {
          const said = yield* refused(client.listQueues({ MaxResults: 2, NextToken: token }))
          expect(said).toContain(`InvalidParameterValue: Value ${token} for parameter NextToken is invalid.`)
        }
        for (const most of [0, -1, 1.5, 1_001]) {
          expect(yield* refused(client.listQueues({ MaxResults: most }))).toBe(
            ipv(`Value ${most} for parameter MaxResults is invalid. Reason: Must be between 1 and 1000, if provided.`)
          )
        }
        const QueueUrl = sqs.queueUrl("a1")
        expect(yield* refused(client.listDeadLetterSourceQueues({ QueueUrl, NextToken: "x" }))).toContain("NextToken")
      })
    )
  )
  it.effect("fact 87: a queue is one of its account and its region", () =>
    emulated({ q: {} }, (sqs) =>
      Effect.gen(function* () {
        const { client } = sqs
        const url = (QueueOwnerAWSAccountId: string) => client.getQueueUrl({ QueueName: "q", QueueOwnerAWSAccountId })
        expect(yield* url("000000000000")).toBe(sqs.queueUrl("q"))
        for (const owner of ["111122223333", "", "0"]) {
          expect(yield* refused(url(owner))).toBe(
            "QueueDoesNotExist: The specified queue does not exist or you do not have access to it."
          )
        }
        const send = (QueueUrl: string) => client.sendMessage({ QueueUrl, MessageBody: "a" })
        expect(yield* refused(send("http://localhost:9324/111122223333/q"))).toBe(
          "QueueDoesNotExist: The specified queue does not exist."
        )
        for (const host of ["sqs.eu-west-1.amazonaws.com", "eu-west-1.queue.amazonaws.com"]) {
          const address = `https://${host}/000000000000/q`
          expect(yield* refused(send(address))).toBe(
            `InvalidAddress: The address ${address} is not valid for this endpoint.`
          )
        }
        for (const url of [
          "q",
          "000000000000/q",
          "https://sqs.us-east-1.amazonaws.com/000000000000/q",
          "http://other/queue/q"
        ]) {
          yield* send(url)
        }
        expect(yield* refused(client.getQueueUrl({ QueueName: sqs.queueUrl("q") }))).toContain("QueueDoesNotExist")
      })
    )
  )
  it.effect("without waits a queue is purged again, and made again, at once", () =>
    Effect.flatMap(SqsEmulator.SqsEmulator, (sqs) =>
      Effect.gen(function* () {
        const q = on(sqs, "q")
        yield* q.purge
        yield* q.send("a")
        yield* q.purge
        expect(yield* q.receive()).toEqual([])
        yield* q.drop
        yield* sqs.client.createQueue({ QueueName: "q" })
      })
    ).pipe(Effect.provide(SqsEmulator.layer({ queues: { q: {} }, waits: false })))
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
        expect(yield* refused(q.set(policy("dlq.fifo")))).toContain(
          "Reason: Dead-letter queue must be same type of queue as the source."
        )
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
  it.effect(
    "fact 88: a RedrivePolicy's count is a whole number, also as a text; its target is the ARN of a queue",
    () =>
      emulated({ q: {}, dlq: {} }, (sqs) =>
        Effect.gen(function* () {
          const q = on(sqs, "q")
          const arn = "arn:aws:sqs:us-east-1:000000000000:dlq"
          const said = (policy: unknown) => {
            const text = typeof policy === "string" ? policy : JSON.stringify(policy)
            return Effect.map(refused(q.set({ RedrivePolicy: text })), (refusal) =>
              refusal.replace(ipv(`Value ${text} for parameter RedrivePolicy is invalid. Reason: `), "")
            )
          }
          for (const text of ["x", "[]", "null", '"a"', "1"]) {
            expect(yield* said(text)).toBe("Redrive policy is not a valid JSON map.")
          }
          const lacks = (name: string) => `Redrive policy does not contain mandatory attribute: ${name}.`
          expect(yield* said({})).toBe(lacks("maxReceiveCount"))
          expect(yield* said({ deadLetterTargetArn: arn })).toBe(lacks("maxReceiveCount"))
          expect(yield* said({ maxReceiveCount: 3 })).toBe(lacks("deadLetterTargetArn"))
          for (const count of [0, 1_001, 1.5, -1, true, [5], {}, "five", "0x5", "1e1", " 5"]) {
            expect(yield* said({ deadLetterTargetArn: arn, maxReceiveCount: count }), String(count)).toBe(
              `Invalid value for maxReceiveCount: ${typeof count === "string" ? count : JSON.stringify(count)}, valid values are from 1 to 1000 both inclusive.`
            )
          }
          for (const target of ["dummy", "dlq", 5, ["a"], `${arn}/x`, "arn:aws:sns:us-east-1:000000000000:dlq"]) {
            expect(yield* said({ deadLetterTargetArn: target, maxReceiveCount: 42 })).toBe(
              "Invalid value for deadLetterTargetArn."
            )
          }
          const text = JSON.stringify({ maxReceiveCount: "5", deadLetterTargetArn: arn })
          yield* q.set({ RedrivePolicy: text })
          expect(JSON.parse((yield* q.get("RedrivePolicy"))["RedrivePolicy"] ?? "")).toEqual({
            deadLetterTargetArn: arn,
            maxReceiveCount: 5
          })
          const Attributes = { RedrivePolicy: JSON.stringify({ deadLetterTargetArn: arn, maxReceiveCount: 5 }) }
          yield* sqs.client.createQueue({ QueueName: "q", Attributes })
        })
      )
  )
  standard("a RedriveAllowPolicy is checked too, and kept without what does not belong to it", (q) =>
    Effect.gen(function* () {
      const source = "arn:aws:sqs:us-east-1:000000000000:source"
      const set = (policy: unknown) => q.set({ RedriveAllowPolicy: JSON.stringify(policy) })
      for (const policy of [
        1,
        {},
        { redrivePermission: "some" },
        { redrivePermission: "allowAll", sourceQueueArns: [source] },
        { redrivePermission: "byQueue" },
        { redrivePermission: "byQueue", sourceQueueArns: [] },
        { redrivePermission: "byQueue", sourceQueueArns: source },
        { redrivePermission: "byQueue", sourceQueueArns: ["source"] },
        { redrivePermission: "byQueue", sourceQueueArns: Array<string>(11).fill(source) }
      ]) {
        expect(yield* refused(set(policy)), JSON.stringify(policy)).toContain(
          `InvalidParameterValue: Value ${JSON.stringify(policy)} for parameter RedriveAllowPolicy is invalid. Reason:`
        )
      }
      yield* set({ other: 1, sourceQueueArns: Array<string>(10).fill(source), redrivePermission: "byQueue" })
      yield* set({ redrivePermission: "denyAll" })
      expect(yield* q.get("RedriveAllowPolicy")).toEqual({ RedriveAllowPolicy: '{"redrivePermission":"denyAll"}' })
    })
  )
  it.effect("fact 89: a queue may be its own dead-letter queue; here its messages stay where they are", () =>
    emulated({ q: {} }, (sqs) =>
      Effect.gen(function* () {
        const q = on(sqs, "q")
        const policy = { deadLetterTargetArn: "arn:aws:sqs:us-east-1:000000000000:q", maxReceiveCount: "1" }
        yield* q.set({ RedrivePolicy: JSON.stringify(policy) })
        const unmade = { deadLetterTargetArn: "arn:aws:sqs:us-east-1:000000000000:new", maxReceiveCount: 1 }
        const Attributes = { RedrivePolicy: JSON.stringify(unmade) }
        expect(yield* refused(sqs.client.createQueue({ QueueName: "new", Attributes }))).toContain(
          "Dead letter target does not exist."
        )
        yield* q.send("a")
        yield* q.receive(1, { VisibilityTimeout: 0 })
        expect(bodies(yield* q.receive())).toEqual(["a"])
        expect(yield* sqs.snapshot("q")).toMatchObject({ deadLettered: 0, deadLetterQueue: "q" })
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
