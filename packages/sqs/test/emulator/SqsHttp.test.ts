/** The emulator through the AWS SDK, over HTTP: what a program that is not ours sees. */
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import * as Sdk from "@aws-sdk/client-sqs"
import { describe, expect, it } from "@effect/vitest"
import { Fault, SqsEmulator, SqsHttp } from "@millrace/sqs/emulator"
import { Effect, Exit, Layer, Scope } from "effect"

interface Door {
  readonly sqs: SqsEmulator.Service
  readonly http: SqsHttp.Service
  readonly sdk: Sdk.SQSClient
  /** Of a queue that is there. */
  readonly url: (name: string) => string
}

const served = (queues: Readonly<Record<string, SqsEmulator.QueueOptions>>) =>
  SqsHttp.layer({ port: 0 }).pipe(Layer.provideMerge(SqsEmulator.layer({ queues })))

const over = (
  name: string,
  queues: Readonly<Record<string, SqsEmulator.QueueOptions>>,
  run: (door: Door) => Effect.Effect<unknown, unknown>
) =>
  it.live(name, () =>
    Effect.gen(function* () {
      const sqs = yield* SqsEmulator.SqsEmulator
      const http = yield* SqsHttp.SqsHttp
      const sdk = yield* Effect.acquireRelease(
        Effect.sync(
          () =>
            new Sdk.SQSClient({
              endpoint: http.endpoint,
              region: "us-east-1",
              maxAttempts: 1,
              credentials: { accessKeyId: "any", secretAccessKey: "any" }
            })
        ),
        (sdk) => Effect.sync(() => sdk.destroy())
      )
      yield* run({ sqs, http, sdk, url: (queue) => `${http.endpoint}/000000000000/${queue}` })
    }).pipe(Effect.scoped, Effect.provide(served(queues)))
  )

const names = (error: unknown) =>
  error instanceof Sdk.SQSServiceException
    ? { name: error.name, message: error.message, status: error.$metadata.httpStatusCode }
    : { name: "not from SQS", message: String(error), status: undefined }
/** How the SDK sees a refusal. */
const refusal = (call: () => Promise<unknown>) =>
  Effect.map(Effect.flip(Effect.tryPromise(call)), (e) => names(e.error))
const succeed = <A>(call: () => Promise<A>) => Effect.promise(call)

const post = (endpoint: string, target: string | undefined, body: string, headers: Record<string, string> = {}) =>
  Effect.promise(async () => {
    const response = await fetch(endpoint, {
      method: "POST",
      body,
      headers: {
        "content-type": "application/x-amz-json-1.0",
        ...(target === undefined ? {} : { "x-amz-target": `AmazonSQS.${target}` }),
        ...headers
      }
    })
    const json: unknown = await response.json()
    return { status: response.status, json, query: response.headers.get("x-amzn-query-error") }
  })

describe("messages", () => {
  over("send, receive and delete, with attributes; the SDK checks the bodies' MD5", { q: {} }, ({ sdk, url, http }) =>
    Effect.gen(function* () {
      const QueueUrl = url("q")
      const found = yield* succeed(() => sdk.send(new Sdk.GetQueueUrlCommand({ QueueName: "q" })))
      expect(found.QueueUrl).toBe(`${http.endpoint}/000000000000/q`)
      const MessageAttributes = {
        text: { DataType: "String", StringValue: "é" },
        number: { DataType: "Number.int", StringValue: "1" },
        bytes: { DataType: "Binary", BinaryValue: Uint8Array.of(1, 2, 255) }
      }
      const sent = yield* succeed(() =>
        sdk.send(new Sdk.SendMessageCommand({ QueueUrl, MessageBody: "héllo", MessageAttributes }))
      )
      const { Messages } = yield* succeed(() =>
        sdk.send(
          new Sdk.ReceiveMessageCommand({
            QueueUrl,
            MessageAttributeNames: ["All"],
            MessageSystemAttributeNames: ["ApproximateReceiveCount"]
          })
        )
      )
      expect(Messages).toMatchObject([
        {
          MessageId: sent.MessageId,
          Body: "héllo",
          MD5OfBody: sent.MD5OfMessageBody,
          MD5OfMessageAttributes: sent.MD5OfMessageAttributes,
          Attributes: { ApproximateReceiveCount: "1" },
          MessageAttributes
        }
      ])
      const ReceiptHandle = Messages?.[0]?.ReceiptHandle
      yield* succeed(() =>
        sdk.send(new Sdk.ChangeMessageVisibilityCommand({ QueueUrl, ReceiptHandle, VisibilityTimeout: 100 }))
      )
      yield* succeed(() => sdk.send(new Sdk.DeleteMessageCommand({ QueueUrl, ReceiptHandle })))
      // Fact 1: an empty receive has no Messages at all.
      const empty = yield* succeed(() => sdk.send(new Sdk.ReceiveMessageCommand({ QueueUrl })))
      expect(empty).not.toHaveProperty("Messages")
    })
  )
  over("batches, with an entry's own failure", { q: {} }, ({ sdk, url }) =>
    Effect.gen(function* () {
      const QueueUrl = url("q")
      const sent = yield* succeed(() =>
        sdk.send(
          new Sdk.SendMessageBatchCommand({
            QueueUrl,
            Entries: [
              { Id: "a", MessageBody: "1" },
              { Id: "b", MessageBody: "2", DelaySeconds: 1_000 }
            ]
          })
        )
      )
      expect(sent.Successful).toMatchObject([{ Id: "a" }])
      expect(sent.Failed).toMatchObject([{ Id: "b", Code: "InvalidParameterValue", SenderFault: true }])
      const { Messages } = yield* succeed(() => sdk.send(new Sdk.ReceiveMessageCommand({ QueueUrl })))
      const ReceiptHandle = Messages?.[0]?.ReceiptHandle
      const changed = yield* succeed(() =>
        sdk.send(
          new Sdk.ChangeMessageVisibilityBatchCommand({
            QueueUrl,
            Entries: [{ Id: "a", ReceiptHandle, VisibilityTimeout: 0 }]
          })
        )
      )
      expect(changed).toMatchObject({ Successful: [{ Id: "a" }] })
      expect(changed).not.toHaveProperty("Failed")
      const deleted = yield* succeed(() =>
        sdk.send(
          new Sdk.DeleteMessageBatchCommand({
            QueueUrl,
            Entries: [
              { Id: "a", ReceiptHandle },
              { Id: "b", ReceiptHandle: "garbage" }
            ]
          })
        )
      )
      expect(deleted.Successful).toMatchObject([{ Id: "a" }])
      expect(deleted.Failed).toMatchObject([{ Id: "b", Code: "ReceiptHandleIsInvalid" }])
    })
  )
  over("a long poll waits for a message", { q: {} }, ({ sqs, sdk, url }) =>
    Effect.gen(function* () {
      const poll = yield* Effect.fork(
        succeed(() => sdk.send(new Sdk.ReceiveMessageCommand({ QueueUrl: url("q"), WaitTimeSeconds: 20 })))
      )
      yield* whenWaiting(sqs)
      yield* sqs.send("q", ["late"])
      expect((yield* poll).Messages).toMatchObject([{ Body: "late" }])
    })
  )
  over("a client that goes away ends its long poll, and no message is leased to it", { q: {} }, ({ sqs, sdk, url }) =>
    Effect.gen(function* () {
      const gone = new AbortController()
      const poll = yield* Effect.fork(
        refusal(() =>
          sdk.send(new Sdk.ReceiveMessageCommand({ QueueUrl: url("q"), WaitTimeSeconds: 20 }), {
            abortSignal: gone.signal
          })
        )
      )
      yield* whenWaiting(sqs)
      gone.abort()
      yield* poll
      yield* whenWaiting(sqs, 0)
      yield* sqs.send("q", ["kept"])
      expect(yield* sqs.snapshot("q")).toMatchObject({ visible: 1, inFlight: 0 })
    })
  )
  over(
    "fact 18 over HTTP: told to, the poll outlives its client and leases to nobody",
    { q: {} },
    ({ sqs, sdk, url }) =>
      Effect.gen(function* () {
        yield* sqs.faults.script("ReceiveMessage", [Fault.strand])
        const gone = new AbortController()
        const poll = yield* Effect.fork(
          refusal(() =>
            sdk.send(new Sdk.ReceiveMessageCommand({ QueueUrl: url("q"), WaitTimeSeconds: 20 }), {
              abortSignal: gone.signal
            })
          )
        )
        yield* whenWaiting(sqs)
        gone.abort()
        yield* poll
        yield* succeed(() => sdk.send(new Sdk.ListQueuesCommand({}))).pipe(Effect.repeatN(2))
        yield* sqs.send("q", ["stranded"])
        expect(yield* sqs.snapshot("q")).toMatchObject({ visible: 0, inFlight: 1 })
      })
  )
  over(
    "fact 35: X-Amzn-Trace-Id becomes AWSTraceHeader, and an explicit attribute wins",
    { q: {} },
    ({ http, sqs, url }) =>
      Effect.gen(function* () {
        const trace = { "x-amzn-trace-id": "Root=1-header" }
        const QueueUrl = url("q")
        const own = { AWSTraceHeader: { DataType: "String", StringValue: "Root=1-own" } }
        yield* post(http.endpoint, "SendMessage", JSON.stringify({ QueueUrl, MessageBody: "a" }), trace)
        const batch = { QueueUrl, Entries: [{ Id: "b", MessageBody: "b", MessageSystemAttributes: own }] }
        yield* post(http.endpoint, "SendMessageBatch", JSON.stringify(batch), trace)
        const messages = yield* sqs.client.receiveMessage({
          QueueUrl,
          MaxNumberOfMessages: 2,
          MessageSystemAttributeNames: ["AWSTraceHeader"]
        })
        expect(messages.map(({ Attributes }) => Attributes?.["AWSTraceHeader"])).toEqual([
          "Root=1-header",
          "Root=1-own"
        ])
      })
  )
})

/** Until so many polls wait at the emulator: requests and their ends travel for real. */
const whenWaiting = (sqs: SqsEmulator.Service, polls = 1) =>
  Effect.promise(() => new Promise<void>((resolve) => setImmediate(resolve))).pipe(
    Effect.zipRight(sqs.snapshot("q")),
    Effect.repeat({ until: ({ waiting }) => waiting === polls })
  )

describe("queues", () => {
  over("are created, listed, described, tagged, purged and deleted", {}, ({ sdk, url }) =>
    Effect.gen(function* () {
      const send = <A>(call: () => Promise<A>) => succeed(call)
      const created = yield* send(() =>
        sdk.send(new Sdk.CreateQueueCommand({ QueueName: "dlq", Attributes: { DelaySeconds: "1" }, tags: { a: "1" } }))
      )
      const QueueUrl = url("dlq")
      expect(created.QueueUrl).toBe(QueueUrl)
      const deadLetterTargetArn = "arn:aws:sqs:us-east-1:000000000000:dlq"
      yield* send(() =>
        sdk.send(
          new Sdk.CreateQueueCommand({
            QueueName: "source",
            Attributes: { RedrivePolicy: JSON.stringify({ deadLetterTargetArn, maxReceiveCount: 3 }) }
          })
        )
      )
      const listed = yield* send(() => sdk.send(new Sdk.ListQueuesCommand({ QueueNamePrefix: "d" })))
      expect(listed.QueueUrls).toEqual([QueueUrl])
      const sources = yield* send(() => sdk.send(new Sdk.ListDeadLetterSourceQueuesCommand({ QueueUrl })))
      expect(sources.queueUrls).toEqual([url("source")])
      yield* send(() =>
        sdk.send(new Sdk.SetQueueAttributesCommand({ QueueUrl, Attributes: { VisibilityTimeout: "7" } }))
      )
      const described = yield* send(() =>
        sdk.send(new Sdk.GetQueueAttributesCommand({ QueueUrl, AttributeNames: ["DelaySeconds", "VisibilityTimeout"] }))
      )
      expect(described.Attributes).toEqual({ DelaySeconds: "1", VisibilityTimeout: "7" })
      yield* send(() => sdk.send(new Sdk.TagQueueCommand({ QueueUrl, Tags: { b: "2" } })))
      yield* send(() => sdk.send(new Sdk.UntagQueueCommand({ QueueUrl, TagKeys: ["a"] })))
      const tagged = yield* send(() => sdk.send(new Sdk.ListQueueTagsCommand({ QueueUrl })))
      expect(tagged.Tags).toEqual({ b: "2" })
      const untagged = yield* send(() => sdk.send(new Sdk.ListQueueTagsCommand({ QueueUrl: url("source") })))
      expect(untagged).not.toHaveProperty("Tags")
      yield* send(() =>
        sdk.send(
          new Sdk.AddPermissionCommand({
            QueueUrl,
            Label: "l",
            AWSAccountIds: ["111122223333"],
            Actions: ["SendMessage"]
          })
        )
      )
      yield* send(() => sdk.send(new Sdk.RemovePermissionCommand({ QueueUrl, Label: "l" })))
      yield* send(() => sdk.send(new Sdk.PurgeQueueCommand({ QueueUrl })))
      yield* send(() => sdk.send(new Sdk.DeleteQueueCommand({ QueueUrl })))
      const left = yield* send(() => sdk.send(new Sdk.ListQueuesCommand({})))
      expect(left.QueueUrls).toEqual([url("source")])
    })
  )
})

describe("move tasks", () => {
  over(
    "facts 68 to 72 at the SDK: started, listed and cancelled",
    { q: { deadLetter: { queue: "dlq", maxReceiveCount: 1 } } },
    ({ sqs, sdk }) =>
      Effect.gen(function* () {
        yield* sqs.send("dlq", ["a", "b"])
        const SourceArn = "arn:aws:sqs:us-east-1:000000000000:dlq"
        const DestinationArn = "arn:aws:sqs:us-east-1:000000000000:q"
        const { TaskHandle } = yield* succeed(() =>
          sdk.send(new Sdk.StartMessageMoveTaskCommand({ SourceArn, DestinationArn, MaxNumberOfMessagesPerSecond: 1 }))
        )
        const task = {
          SourceArn,
          DestinationArn,
          MaxNumberOfMessagesPerSecond: 1,
          ApproximateNumberOfMessagesMoved: 1,
          ApproximateNumberOfMessagesToMove: 2,
          StartedTimestamp: expect.any(Number)
        }
        const list = succeed(() => sdk.send(new Sdk.ListMessageMoveTasksCommand({ SourceArn })))
        expect((yield* list).Results).toEqual([{ ...task, TaskHandle, Status: "RUNNING" }])
        const cancelled = yield* succeed(() => sdk.send(new Sdk.CancelMessageMoveTaskCommand({ TaskHandle })))
        expect(cancelled.ApproximateNumberOfMessagesMoved).toBe(1)
        expect((yield* list).Results).toEqual([{ ...task, Status: "CANCELLED" }])
        expect(
          yield* refusal(() => sdk.send(new Sdk.CancelMessageMoveTaskCommand({ TaskHandle: "foobar" })))
        ).toMatchObject({ name: "InvalidParameterValue", message: "Value for parameter TaskHandle is invalid." })
      })
  )
})

describe("errors", () => {
  over("have their names, messages and status at the SDK", { q: {} }, ({ sdk, url, sqs }) =>
    Effect.gen(function* () {
      const QueueUrl = url("q")
      expect(yield* refusal(() => sdk.send(new Sdk.GetQueueUrlCommand({ QueueName: "none" })))).toEqual({
        name: "QueueDoesNotExist",
        message: "The specified queue does not exist.",
        status: 400
      })
      expect(
        yield* refusal(() => sdk.send(new Sdk.DeleteMessageCommand({ QueueUrl, ReceiptHandle: "garbage" })))
      ).toEqual({
        name: "ReceiptHandleIsInvalid",
        message: 'The input receipt handle "garbage" is not a valid receipt handle.',
        status: 404
      })
      const many = Array.from({ length: 11 }, (_, n) => ({ Id: String(n), MessageBody: "a" }))
      expect(
        yield* refusal(() => sdk.send(new Sdk.SendMessageBatchCommand({ QueueUrl, Entries: many })))
      ).toMatchObject({ name: "TooManyEntriesInBatchRequest", status: 400 })
      expect(
        yield* refusal(() => sdk.send(new Sdk.ReceiveMessageCommand({ QueueUrl, MaxNumberOfMessages: 11 })))
      ).toMatchObject({ name: "InvalidParameterValue", status: 400 })
      expect(yield* refusal(() => sdk.send(new Sdk.SendMessageCommand({ QueueUrl, MessageBody: "" })))).toMatchObject({
        name: "MissingParameter",
        status: 400
      })
      yield* succeed(() => sdk.send(new Sdk.PurgeQueueCommand({ QueueUrl })))
      expect(yield* refusal(() => sdk.send(new Sdk.PurgeQueueCommand({ QueueUrl })))).toMatchObject({
        name: "PurgeQueueInProgress",
        status: 403
      })
      expect(
        yield* refusal(() => sdk.send(new Sdk.StartMessageMoveTaskCommand({ SourceArn: "arn:aws:sqs:us-east-1:0:q" })))
      ).toMatchObject({ name: "ResourceNotFoundException", status: 404 })
      yield* sqs.faults.script("ReceiveMessage", [Fault.throttle, Fault.dropResponse])
      const receive = () => sdk.send(new Sdk.ReceiveMessageCommand({ QueueUrl }))
      expect(yield* refusal(receive)).toMatchObject({ name: "RequestThrottled", status: 403 })
      expect(yield* refusal(receive)).toMatchObject({ status: 503 })
    })
  )
  over("come in both forms, for clients with the query header and without", { q: {} }, ({ http, url }) =>
    Effect.gen(function* () {
      expect(yield* post(http.endpoint, "ReceiveMessage", JSON.stringify({ QueueUrl: url("none") }))).toEqual({
        status: 400,
        json: { __type: "com.amazonaws.sqs#QueueDoesNotExist", message: "The specified queue does not exist." },
        query: "AWS.SimpleQueueService.NonExistentQueue;Sender"
      })
      expect(yield* post(http.endpoint, "SendMessage", JSON.stringify({ QueueUrl: url("q") }))).toMatchObject({
        json: { __type: "com.amazonaws.sqs#MissingRequiredParameterException" },
        query: "MissingParameter;Sender"
      })
    })
  )
  over("say what is wrong with a request that is none", { q: {} }, ({ http, url }) =>
    Effect.gen(function* () {
      const { endpoint } = http
      expect(yield* post(endpoint, "ReceiveMessage", "{")).toMatchObject({
        status: 400,
        json: { __type: "com.amazon.coral.service#SerializationException" }
      })
      const wrong = JSON.stringify({ QueueUrl: url("q"), MaxNumberOfMessages: "many" })
      expect(yield* post(endpoint, "ReceiveMessage", wrong)).toMatchObject({
        status: 400,
        json: { message: "MaxNumberOfMessages must be a number." }
      })
      expect(yield* post(endpoint, "toString", "{}")).toMatchObject({
        json: { __type: "com.amazon.coral.service#UnknownOperationException" }
      })
      expect(yield* post(endpoint, undefined, "Action=ListQueues")).toMatchObject({
        status: 400,
        json: { message: expect.stringContaining("update the SDK") }
      })
      expect(yield* post(endpoint, "ReceiveMessage", "{}")).toMatchObject({
        json: { message: "The request must contain the parameter QueueUrl." }
      })
      const huge = "x".repeat(9 * 1_048_576)
      expect(yield* post(endpoint, "SendMessage", huge)).toMatchObject({ status: 413 })
    })
  )
})

describe("the server", () => {
  it.scopedLive("a port in use is an error that names it", () =>
    Effect.gen(function* () {
      const taken = yield* Effect.acquireRelease(
        Effect.async<AddressInfo & { readonly close: () => void }>((resume) => {
          const server = createServer()
          server.listen(0, "127.0.0.1", () => {
            const address = server.address()
            if (address !== null && typeof address !== "string") {
              resume(Effect.succeed({ ...address, close: () => server.close() }))
            }
          })
        }),
        ({ close }) => Effect.sync(close)
      )
      const error = yield* Effect.flip(
        Layer.build(SqsHttp.layer({ port: taken.port }).pipe(Layer.provide(SqsEmulator.layer())))
      )
      expect(error._tag).toBe("PortInUse")
      expect(error.message).toContain(`Port ${taken.port} of 127.0.0.1 is in use.`)
    })
  )
  it.scopedLive("a port or a host that cannot be is refused", () =>
    Effect.gen(function* () {
      const build = (options: SqsHttp.Options) =>
        Effect.flip(Layer.build(SqsHttp.layer(options).pipe(Layer.provide(SqsEmulator.layer()))))
      expect((yield* build({ port: 70_000 })).message).toBe("port must be from 0 (a free one) to 65535, not 70000.")
      expect(yield* build({ port: 0, host: "192.0.2.1" })).toMatchObject({ _tag: "CannotListen" })
    })
  )
  it.live("closes at once though a long poll is open", () =>
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      const { sqs, http } = yield* Effect.all({ sqs: SqsEmulator.SqsEmulator, http: SqsHttp.SqsHttp }).pipe(
        Effect.provide(yield* Layer.buildWithScope(served({ q: {} }), scope))
      )
      const body = JSON.stringify({ QueueUrl: `${http.endpoint}/000000000000/q`, WaitTimeSeconds: 20 })
      const poll = yield* Effect.fork(Effect.exit(post(http.endpoint, "ReceiveMessage", body)))
      yield* whenWaiting(sqs)
      yield* Scope.close(scope, Exit.void)
      yield* poll
    })
  )
})
