/** The emulator through the AWS SDK, over HTTP: what a program that is not ours sees. */
import { once } from "node:events"
import { createServer } from "node:http"
import { type AddressInfo, connect, type Socket } from "node:net"
import * as Sdk from "@aws-sdk/client-sqs"
import { describe, expect, it } from "@effect/vitest"
import { Fault, SqsEmulator, SqsHttp } from "@millrace/sqs/emulator"
import { Effect, Exit, Fiber, Layer, Scope } from "effect"
import { served, whenWaiting } from "./Clients.js"

interface Door {
  readonly sqs: SqsEmulator.Service
  readonly http: SqsHttp.Service
  readonly sdk: Sdk.SQSClient
  /** Of a queue that is there. */
  readonly url: (name: string) => string
}

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
    }).pipe(Effect.scoped, Effect.provide(served({ queues })))
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
      expect(yield* post(endpoint, undefined, "{}")).toMatchObject({
        status: 400,
        json: { message: "There is no x-amz-target header." }
      })
      expect(yield* post(endpoint, "ReceiveMessage", "{}")).toMatchObject({
        json: { message: "The request must contain the parameter QueueUrl." }
      })
      const huge = "x".repeat(9 * 1_048_576)
      expect(yield* post(endpoint, "SendMessage", huge)).toMatchObject({ status: 413 })
    })
  )
})

/** One request, byte for byte, and all that is answered until the connection ends. */
const raw = (port: number, request: string | Uint8Array) =>
  Effect.promise(
    () =>
      new Promise<string>((resolve, reject) => {
        const socket = connect(port, "127.0.0.1", () => socket.write(request))
        let answer = ""
        socket.on("data", (chunk) => {
          answer += chunk
        })
        socket.on("close", () => resolve(answer))
        socket.on("error", reject)
      })
  )
const lines = (...lines: ReadonlyArray<string>) => [...lines, "Connection: close", "", ""].join("\r\n")
const requestId = /^x-amzn-requestid: [0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\r$/im

describe("who may call", () => {
  const asked = (headers: ReadonlyArray<string>) => lines("GET /?Action=ListQueues HTTP/1.1", ...headers)
  const status = (port: number, ...headers: ReadonlyArray<string>) =>
    Effect.map(raw(port, asked(headers)), (answer) => Number(answer.split(" ")[1]))

  over("an address, a name without a dot and a private one; no name of the web", {}, ({ http: { port } }) =>
    Effect.gen(function* () {
      for (const host of [
        "localhost",
        "LOCALHOST:1",
        "127.0.0.1:1",
        "[::1]:1",
        "192.0.2.7",
        "sqs",
        "a.localhost",
        "host.docker.internal",
        "sqs.default.svc.cluster.local"
      ]) {
        expect(yield* status(port, `Host: ${host}`), host).toBe(200)
      }
      for (const host of [
        "evil.example",
        "evil.example:9324",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "localhost@evil.example",
        "a b",
        "["
      ]) {
        expect(yield* status(port, `Host: ${host}`), host).toBe(403)
      }
      const refused = yield* raw(
        port,
        lines("POST / HTTP/1.1", "Host: evil.example", "Content-Length: 0", "x-amz-target: AmazonSQS.ListQueues")
      )
      expect(refused).toContain('{"__type":"com.amazon.coral.service#AccessDeniedException"')
      expect(refused).toContain("does not answer to the host evil.example")
      expect(refused).toMatch(requestId)
    })
  )
  over("a client that was welcome before does not open the door to another", {}, ({ http: { port } }) =>
    Effect.gen(function* () {
      for (const [host, wanted] of [
        ["localhost", 200],
        ["evil.example", 403],
        ["evil.example", 403],
        ["localhost", 200],
        ["evil.example", 403]
      ] as const) {
        expect(yield* status(port, `Host: ${host}`)).toBe(wanted)
      }
      expect(yield* status(port, "Host: localhost", "Origin: http://evil.example")).toBe(403)
    })
  )
  over("no page of another site, by its origin or by what browsers say of a request", {}, ({ http: { port } }) =>
    Effect.gen(function* () {
      const here = "Host: localhost"
      expect(yield* status(port, here, "Origin: http://localhost:3000")).toBe(200)
      expect(yield* status(port, here, "Origin: http://127.0.0.1:3000")).toBe(200)
      expect(yield* status(port, "Host: 192.0.2.7", "Origin: http://192.0.2.7")).toBe(200)
      for (const site of [
        "http://evil.example",
        "https://192.0.2.7",
        "http://[2001:db8::1]:80",
        "null",
        "file://localhost"
      ]) {
        expect(yield* status(port, here, `Origin: ${site}`), site).toBe(403)
      }
      expect(yield* status(port, here, "Sec-Fetch-Site: cross-site")).toBe(403)
      expect(yield* status(port, here, "Sec-Fetch-Site: same-origin")).toBe(200)
    })
  )
  it.live("a name that is allowed", () =>
    Effect.gen(function* () {
      const { port } = yield* SqsHttp.SqsHttp
      expect(yield* status(port, "Host: SQS.example.com:80")).toBe(200)
      expect(yield* status(port, "Host: other.example.com")).toBe(403)
    }).pipe(Effect.provide(served({}, { allowedHosts: ["sqs.Example.com"] })))
  )
})

// Those that wait for a request to be given up do so side by side.
describe.concurrent("the server", () => {
  over("fact 91: every answer has an id of its own, errors too", { q: {} }, ({ http: { port }, sqs }) =>
    Effect.gen(function* () {
      const ids = new Set<string>()
      const json = (target: string, body: string) =>
        `POST / HTTP/1.1\r\nHost: localhost\r\nx-amz-target: AmazonSQS.${target}\r\nContent-Length: ${body.length}\r\nConnection: close\r\n\r\n${body}`
      yield* sqs.faults.script("ListQueues", [Fault.none, Fault.fail()])
      const requests: ReadonlyArray<readonly [status: number, request: string]> = [
        [200, json("ListQueues", "{}")],
        [503, json("ListQueues", "{}")],
        [400, json("ListQueues", "{")],
        [400, json("Nonsense", "{}")],
        [400, json("SendMessage", "{}")],
        [200, lines("GET /health HTTP/1.1", "Host: localhost")],
        [404, lines("GET / HTTP/1.1", "Host: localhost")],
        [403, lines("GET / HTTP/1.1", "Host: evil.example")],
        [400, lines("GET / HTTP/1.1")],
        [400, "nonsense\r\n\r\n"],
        [431, lines("GET / HTTP/1.1", `Host: ${"x".repeat(20_000)}`)]
      ]
      for (const [status, request] of requests) {
        const answer = yield* raw(port, request)
        expect(answer.split(" ")[1], request).toBe(String(status))
        expect(answer, request).toMatch(requestId)
        ids.add(requestId.exec(answer)?.[0] ?? "")
      }
      expect(ids.size).toBe(requests.length)
    })
  )
  over("says that it is well", {}, ({ http: { endpoint, port } }) =>
    Effect.gen(function* () {
      const response = yield* Effect.promise(() => fetch(`${endpoint}/health`))
      expect([response.status, yield* Effect.promise(() => response.json())]).toEqual([200, { status: "ok" }])
      expect(yield* raw(port, lines("HEAD /health?any HTTP/1.1", "Host: localhost"))).toMatch(/^HTTP\/1.1 200 OK/)
    })
  )
  over("a target that is no path is refused, a whole URL is read", {}, ({ http: { port } }) =>
    Effect.gen(function* () {
      for (const target of [
        "http://[",
        "*",
        "ftp://localhost/",
        "a",
        "/%zz?Action=PurgeQueue",
        "//%ff?Action=ListQueues"
      ]) {
        const answer = yield* raw(port, lines(`GET ${target} HTTP/1.1`, "Host: localhost"))
        expect(answer.split(" ")[1], target).toBe("400")
        expect(answer, target).toMatch(requestId)
      }
      const whole = "http://localhost/?Action=ListQueues"
      expect(yield* raw(port, lines(`GET ${whole} HTTP/1.1`, "Host: localhost"))).toContain("<ListQueuesResponse")
    })
  )
  over("a body that is not UTF-8 is refused, and nothing is sent", { q: {} }, ({ http: { port }, sqs, url }) =>
    Effect.gen(function* () {
      const body = Buffer.concat([
        Buffer.from(`{"QueueUrl":"${url("q")}","MessageBody":"`),
        Buffer.of(0xff),
        Buffer.from('"}')
      ])
      const head = `POST / HTTP/1.1\r\nHost: localhost\r\nx-amz-target: AmazonSQS.SendMessage\r\nContent-Length: ${body.length}\r\nConnection: close\r\n\r\n`
      const answer = yield* raw(port, Buffer.concat([Buffer.from(head), body]))
      expect(answer).toContain("400 Bad Request")
      expect(answer).toContain("#SerializationException")
      expect(yield* sqs.snapshot("q")).toMatchObject({ sent: 0 })
    })
  )
  over("a binary value that is no base64 is refused", { q: {} }, ({ http, url }) =>
    Effect.gen(function* () {
      for (const BinaryValue of ["!", "YQ", "Y===", "YQ==="]) {
        const MessageAttributes = { x: { DataType: "Binary", BinaryValue } }
        const body = JSON.stringify({ QueueUrl: url("q"), MessageBody: "a", MessageAttributes })
        expect(yield* post(http.endpoint, "SendMessage", body)).toMatchObject({
          status: 400,
          json: { message: "BinaryValue must be base64." }
        })
      }
    })
  )
  over("a name that every object has is a message attribute's as any other", { q: {} }, ({ http, url }) =>
    Effect.gen(function* () {
      const QueueUrl = url("q")
      const send = `{"QueueUrl":"${QueueUrl}","MessageBody":"x","MessageAttributes":{"__proto__":{"DataType":"String","StringValue":"v"}}}`
      expect(yield* post(http.endpoint, "SendMessage", send)).toMatchObject({
        json: { MD5OfMessageAttributes: expect.stringMatching(/^[0-9a-f]{32}$/) }
      })
      const receive = JSON.stringify({ QueueUrl, MessageAttributeNames: ["All"] })
      const text = yield* Effect.map(post(http.endpoint, "ReceiveMessage", receive), ({ json }) => JSON.stringify(json))
      expect(text).toContain('"MessageAttributes":{"__proto__":{"DataType":"String","StringValue":"v"}}')
    })
  )
  over("a request half sent is not waited for", {}, ({ http: { port } }) =>
    Effect.gen(function* () {
      const began = performance.now()
      const [half, silent] = yield* Effect.all([raw(port, "POST / HTTP/1.1\r\nHost: localhost\r\n"), raw(port, "")], {
        concurrency: 2
      })
      expect(performance.now() - began).toBeLessThan(8_000)
      for (const answer of [half, silent]) {
        expect(answer).toContain("408 Request Timeout")
        expect(answer).toMatch(requestId)
      }
    })
  )
  over("a body that does not come is not waited for", {}, ({ http: { port } }) =>
    Effect.gen(function* () {
      const began = performance.now()
      const answer = yield* raw(port, "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 50\r\n\r\n{")
      expect(performance.now() - began).toBeLessThan(15_000)
      expect(answer).toContain("408 Request Timeout")
    })
  )
  it.live("no more connections than it was told, but for those that idle", () =>
    Effect.gen(function* () {
      const { port } = yield* SqsHttp.SqsHttp
      const ask = "GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
      const open = Effect.promise(
        () =>
          new Promise<{ readonly answered: boolean; readonly socket: Socket }>((resolve) => {
            const socket = connect(port, "127.0.0.1", () => socket.write(ask))
            socket.on("data", () => resolve({ answered: true, socket }))
            socket.on("close", () => resolve({ answered: false, socket }))
            socket.on("error", () => {})
          })
      )
      const first = yield* Effect.all([open, open])
      expect(first.map(({ answered }) => answered)).toEqual([true, true])
      const gone = Effect.promise(() => Promise.all(first.map(({ socket }) => once(socket, "close"))))
      const waiting = yield* Effect.fork(gone)
      expect((yield* open).answered).toBe(false)
      yield* Fiber.join(waiting)
      const later = yield* open
      expect(later.answered).toBe(true)
      later.socket.destroy()
    }).pipe(Effect.provide(served({}, { maxConnections: 2 })))
  )
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
      expect((yield* build({ port: 70_000 })).message).toBe("port is 70000; write a port from 0 (a free one) to 65535")
      expect((yield* build({ maxConnections: 0 })).message).toContain(
        "maxConnections is 0; write a whole number of at least 1"
      )
      expect(yield* build({ port: 0, host: "192.0.2.1" })).toMatchObject({ _tag: "CannotListen" })
    })
  )
  it.live("closes at once though a long poll is open", () =>
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      const { sqs, http } = yield* Effect.all({ sqs: SqsEmulator.SqsEmulator, http: SqsHttp.SqsHttp }).pipe(
        Effect.provide(yield* Layer.buildWithScope(served({ queues: { q: {} } }), scope))
      )
      const body = JSON.stringify({ QueueUrl: `${http.endpoint}/000000000000/q`, WaitTimeSeconds: 20 })
      const poll = yield* Effect.fork(Effect.exit(post(http.endpoint, "ReceiveMessage", body)))
      yield* whenWaiting(sqs)
      yield* Scope.close(scope, Exit.void)
      yield* poll
    })
  )
})
