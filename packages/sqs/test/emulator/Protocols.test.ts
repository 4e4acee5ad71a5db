/** The same of each client: today's SDK by JSON, older ones by the Query protocol, and the AWS CLI where it is installed. */
import { describe, expect, it } from "@effect/vitest"
import { Fault, SqsHttp } from "@millrace/sqs/emulator"
import { Effect } from "effect"
import { aws, by, clients, commandLines, refusal, served, whenWaiting } from "./Clients.js"

const arn = (queue: string) => `arn:aws:sqs:us-east-1:000000000000:${queue}`

for (const [name, make] of Object.entries(clients)) {
  describe(name, () => {
    it.live("sends, receives, changes and deletes, with attributes of each type and any text", () =>
      by(make, { q: {} }, async ({ call }, url) => {
        const QueueUrl = url("q")
        const MessageBody = "a <b> & \"c\" 'd' é 😀\r\n\t ]]> &amp; &#13;"
        const MessageAttributes = {
          "text.1": { DataType: "String", StringValue: "<é & \r>" },
          number: { DataType: "Number.int", StringValue: "1" },
          bytes: { DataType: "Binary", BinaryValue: Buffer.from([0, 1, 2, 255]) }
        }
        const MessageSystemAttributes = { AWSTraceHeader: { DataType: "String", StringValue: "Root=1-own" } }
        const sent = await call("SendMessage", {
          QueueUrl,
          MessageBody,
          MessageAttributes,
          MessageSystemAttributes,
          DelaySeconds: 0
        })
        expect(sent.MD5OfMessageSystemAttributes).toHaveLength(32)
        const { Messages } = await call("ReceiveMessage", {
          QueueUrl,
          MaxNumberOfMessages: 10,
          WaitTimeSeconds: 1,
          AttributeNames: ["All"],
          MessageAttributeNames: ["All"]
        })
        expect(Messages).toHaveLength(1)
        const [{ Attributes, MessageAttributes: got, ReceiptHandle, ...message }] = Messages
        expect(message).toEqual({
          Body: MessageBody,
          MD5OfBody: sent.MD5OfMessageBody,
          MD5OfMessageAttributes: sent.MD5OfMessageAttributes,
          MessageId: sent.MessageId
        })
        expect(Attributes).toMatchObject({ ApproximateReceiveCount: "1", AWSTraceHeader: "Root=1-own" })
        expect(Object.keys(got).sort()).toEqual(["bytes", "number", "text.1"])
        expect(got["text.1"]).toMatchObject(MessageAttributes["text.1"])
        expect(got.number).toMatchObject(MessageAttributes.number)
        expect(Buffer.from(got.bytes.BinaryValue)).toEqual(MessageAttributes.bytes.BinaryValue)
        await call("ChangeMessageVisibility", { QueueUrl, ReceiptHandle, VisibilityTimeout: 100 })
        const some = { QueueUrl, AttributeNames: [], MessageAttributeNames: [] }
        expect((await call("ReceiveMessage", some)).Messages ?? []).toEqual([])
        await call("DeleteMessage", { QueueUrl, ReceiptHandle })
      })
    )
    it.live("batches, with an entry's own failure", () =>
      by(make, { q: {} }, async ({ call }, url) => {
        const QueueUrl = url("q")
        const text = { DataType: "String", StringValue: "v" }
        const sent = await call("SendMessageBatch", {
          QueueUrl,
          Entries: [
            { Id: "a", MessageBody: "1", MessageAttributes: { x: text, y: text } },
            { Id: "b", MessageBody: "2", DelaySeconds: 1_000 }
          ]
        })
        expect(sent.Successful).toMatchObject([{ Id: "a" }])
        expect(sent.Successful[0].MD5OfMessageAttributes).toHaveLength(32)
        expect(sent.Failed).toMatchObject([{ Id: "b", Code: "InvalidParameterValue", SenderFault: true }])
        const { Messages } = await call("ReceiveMessage", { QueueUrl, MessageAttributeNames: ["x", "none"] })
        expect(Object.keys(Messages[0].MessageAttributes)).toEqual(["x"])
        const [{ ReceiptHandle }] = Messages
        const changed = await call("ChangeMessageVisibilityBatch", {
          QueueUrl,
          Entries: [{ Id: "a", ReceiptHandle, VisibilityTimeout: 60 }]
        })
        expect(changed.Successful).toMatchObject([{ Id: "a" }])
        expect(changed.Failed ?? []).toEqual([])
        const deleted = await call("DeleteMessageBatch", {
          QueueUrl,
          Entries: [
            { Id: "a", ReceiptHandle },
            { Id: "b", ReceiptHandle: "garbage" }
          ]
        })
        expect(deleted.Successful).toMatchObject([{ Id: "a" }])
        expect(deleted.Failed).toMatchObject([{ Id: "b", Code: "ReceiptHandleIsInvalid" }])
      })
    )
    it.live("queues with attributes, tags and permissions", () =>
      by(make, {}, async ({ call }, url) => {
        const created = await call("CreateQueue", {
          QueueName: "dlq",
          Attributes: { DelaySeconds: "1", VisibilityTimeout: "7" },
          tags: { a: "1", b: "" }
        })
        const QueueUrl = url("dlq")
        expect(created.QueueUrl).toBe(QueueUrl)
        expect((await call("GetQueueUrl", { QueueName: "dlq" })).QueueUrl).toBe(QueueUrl)
        expect((await call("ListQueueTags", { QueueUrl })).Tags).toEqual({ a: "1", b: "" })
        await call("TagQueue", { QueueUrl, Tags: { c: "a/b é" } })
        await call("UntagQueue", { QueueUrl, TagKeys: ["a", "b"] }).catch(() => {})
        expect((await call("ListQueueTags", { QueueUrl })).Tags).toEqual({ c: "a/b é" })
        const RedrivePolicy = JSON.stringify({ deadLetterTargetArn: arn("dlq"), maxReceiveCount: 3 })
        await call("CreateQueue", { QueueName: "source", Attributes: { RedrivePolicy } })
        await call("SetQueueAttributes", { QueueUrl: url("source"), Attributes: { DelaySeconds: "2" } })
        const AttributeNames = ["DelaySeconds", "RedrivePolicy"]
        const described = await call("GetQueueAttributes", { QueueUrl: url("source"), AttributeNames })
        expect(described.Attributes).toEqual({ DelaySeconds: "2", RedrivePolicy })
        expect((await call("ListDeadLetterSourceQueues", { QueueUrl })).queueUrls).toEqual([url("source")])
        const first = await call("ListQueues", { MaxResults: 1 })
        expect(first.QueueUrls).toEqual([url("dlq")])
        const rest = await call("ListQueues", { MaxResults: 1, NextToken: first.NextToken })
        expect(rest.QueueUrls).toEqual([url("source")])
        const permission = { QueueUrl, Label: "l", AWSAccountIds: ["111122223333"], Actions: ["SendMessage"] }
        await call("AddPermission", permission)
        const policy = await call("GetQueueAttributes", { QueueUrl, AttributeNames: ["Policy"] })
        expect(JSON.parse(policy.Attributes.Policy).Statement).toMatchObject([{ Sid: "l" }])
        await call("RemovePermission", { QueueUrl, Label: "l" })
        await call("PurgeQueue", { QueueUrl })
        await call("DeleteQueue", { QueueUrl })
        expect((await call("ListQueues", { QueueNamePrefix: "d" })).QueueUrls ?? []).toEqual([])
      })
    )
    it.live("FIFO queues and move tasks", () =>
      by(make, { "q.fifo": { deadLetter: { queue: "dlq.fifo", maxReceiveCount: 1 } } }, async ({ call }, url) => {
        const fields = { MessageGroupId: "g", MessageDeduplicationId: "d" }
        const sent = await call("SendMessage", { QueueUrl: url("dlq.fifo"), MessageBody: "a", ...fields })
        expect(sent.SequenceNumber).toHaveLength(20)
        const SourceArn = arn("dlq.fifo")
        const task = { SourceArn, DestinationArn: arn("q.fifo"), MaxNumberOfMessagesPerSecond: 5 }
        await call("StartMessageMoveTask", task)
        expect((await call("ListMessageMoveTasks", { SourceArn })).Results).toMatchObject([
          { Status: "COMPLETED", ...task, ApproximateNumberOfMessagesMoved: 1, ApproximateNumberOfMessagesToMove: 1 }
        ])
        const { Messages } = await call("ReceiveMessage", { QueueUrl: url("q.fifo"), AttributeNames: ["All"] })
        expect(Messages).toMatchObject([{ Body: "a", Attributes: fields }])
      })
    )
    it.live("errors have their names, words, status and the request's id", () =>
      by(make, { q: {} }, async ({ call, protocol }, url, sqs) => {
        const QueueUrl = url("q")
        const requestId = expect.stringMatching(/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/)
        const legacy = (code: string) => expect.stringMatching(new RegExp(`^(AWS\\.SimpleQueueService\\.)?${code}$`))
        const version = protocol === "Query" ? " for this wsdl version." : "."
        expect(await refusal(call("GetQueueUrl", { QueueName: "none" }))).toEqual({
          code: legacy("(QueueDoesNotExist|NonExistentQueue)"),
          message: `The specified queue does not exist${version}`,
          status: 400,
          requestId
        })
        expect(await refusal(call("DeleteMessage", { QueueUrl, ReceiptHandle: "<&>" }))).toEqual({
          code: "ReceiptHandleIsInvalid",
          message: 'The input receipt handle "<&>" is not a valid receipt handle.',
          status: 404,
          requestId
        })
        expect(await refusal(call("SendMessageBatch", { QueueUrl, Entries: [] }))).toMatchObject({
          code: legacy("EmptyBatchRequest"),
          status: 400
        })
        expect(await refusal(call("ReceiveMessage", { QueueUrl, MaxNumberOfMessages: 11 }))).toMatchObject({
          code: "InvalidParameterValue",
          message:
            "Value 11 for parameter MaxNumberOfMessages is invalid. Reason: Must be between 1 and 10, if provided."
        })
        expect(await refusal(call("SendMessage", { QueueUrl, MessageBody: "" }))).toMatchObject({
          code: "MissingParameter",
          message: "The request must contain the parameter MessageBody."
        })
        expect(await refusal(call("SetQueueAttributes", { QueueUrl, Attributes: { Nonsense: "1" } }))).toMatchObject({
          code: "InvalidAttributeName",
          message: "Unknown Attribute Nonsense."
        })
        await call("PurgeQueue", { QueueUrl })
        expect(await refusal(call("PurgeQueue", { QueueUrl }))).toMatchObject({
          code: legacy("PurgeQueueInProgress"),
          status: 403
        })
        const script = sqs.faults.script("ListQueues", [Fault.throttle, Fault.dropResponse])
        await Effect.runPromise(script)
        expect(await refusal(call("ListQueues"))).toMatchObject({ code: "RequestThrottled", status: 403 })
        expect(await refusal(call("ListQueues"))).toMatchObject({ status: 503 })
      })
    )
    it.live("a success has the request's id", () =>
      by(make, {}, async ({ call }) => {
        const answer = await call("ListQueues")
        expect(answer.$metadata?.requestId ?? answer.$response?.requestId).toMatch(/^[0-9a-f-]{36}$/)
      })
    )
  })
}

describe("the AWS CLI", () => {
  for (const file of commandLines) {
    it.live(
      `${file} creates, sends, receives and is refused`,
      () =>
        Effect.gen(function* () {
          const { endpoint } = yield* SqsHttp.SqsHttp
          const run = (...args: ReadonlyArray<string>) => Effect.promise(() => aws(file, endpoint, ...args))
          const url = `${endpoint}/000000000000/q`
          const created = yield* run(
            "create-queue",
            "--queue-name",
            "q",
            "--attributes",
            "DelaySeconds=0",
            "--tags",
            "a=b"
          )
          expect(created).toMatchObject({ code: 0, json: { QueueUrl: url } })
          const sent = yield* run("send-message", "--queue-url", url, "--message-body", "<é>")
          expect(sent.code, sent.stderr).toBe(0)
          const received = yield* run("receive-message", "--queue-url", url, "--attribute-names", "All")
          expect(received.json).toMatchObject({
            Messages: [{ Body: "<é>", Attributes: { ApproximateReceiveCount: "1" } }]
          })
          const refused = yield* run("get-queue-url", "--queue-name", "none")
          expect(refused.stderr).toContain("AWS.SimpleQueueService.NonExistentQueue")
        }).pipe(Effect.provide(served())),
      60_000
    )
  }
  it.skipIf(commandLines.size > 0)("is not installed, so that it is not tried (apt-get install awscli)", () => {})
})

it.live("both protocols are at the same queues", () =>
  by(clients["@aws-sdk/client-sqs"], { q: {} }, async (today, url) => {
    const older = clients["aws-sdk@2.1490"](new URL(url("q")).origin)
    await older.call("SendMessage", { QueueUrl: url("q"), MessageBody: "a" })
    expect((await today.call("ReceiveMessage", { QueueUrl: url("q") })).Messages).toMatchObject([{ Body: "a" }])
  })
)

it.live("a long poll of the Query protocol waits for a message", () =>
  by(clients["aws-sdk@2.1490"], { q: {} }, async ({ call }, url, sqs) => {
    const poll = call("ReceiveMessage", { QueueUrl: url("q"), WaitTimeSeconds: 20 })
    await Effect.runPromise(Effect.zipRight(whenWaiting(sqs), sqs.send("q", ["late"])))
    expect((await poll).Messages).toMatchObject([{ Body: "late" }])
  })
)
