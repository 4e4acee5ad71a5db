import { createHash } from "node:crypto"
import type { ServerResponse } from "node:http"
import * as Net from "node:net"
import { SQSClient } from "@aws-sdk/client-sqs"
import { assert, describe, it } from "@effect/vitest"
import { SQSService } from "@effect-aws/client-sqs"
import {
  ConfigProvider,
  Context,
  Deferred,
  Duration,
  Effect,
  Either,
  Exit,
  Fiber,
  Layer,
  Redacted,
  Runtime,
  Scope,
  TestClock,
  TestServices
} from "effect"
import { SqsClient, SqsError } from "../src/index.js"
import * as FakeServer from "./support/FakeServer.js"

const QueueUrl = "http://sqs.us-east-1.localhost/000000000000/orders"
const md5 = (text: string) => createHash("md5").update(text).digest("hex")

/** A server of bare connections on a free port, until the scope closes. */
const listen = (onConnection: (socket: Net.Socket) => void) =>
  Effect.map(
    Effect.acquireRelease(
      Effect.async<Net.Server>((resume) => {
        const server = Net.createServer(onConnection)
        server.listen(0, "127.0.0.1", () => resume(Effect.succeed(server)))
      }),
      (server) => Effect.async<void>((resume) => void server.close(() => resume(Effect.void)))
    ),
    (server) => {
      const address = server.address()
      return typeof address === "object" && address !== null ? address.port : 0
    }
  )

/** One answer an operation, as SQS gives it, and what the service makes of the call and the answer. */
const operations: Record<
  string,
  {
    readonly answer: unknown
    readonly call: (sqs: SqsClient.Service) => Effect.Effect<unknown, SqsError.SqsError>
    readonly body: unknown
    readonly result: unknown
  }
> = {
  SendMessage: {
    call: (sqs) =>
      sqs.sendMessage({
        QueueUrl,
        MessageBody: "héllo",
        DelaySeconds: 3,
        MessageAttributes: { b: { DataType: "Binary", BinaryValue: Uint8Array.of(1, 2, 255) } }
      }),
    body: {
      QueueUrl,
      MessageBody: "héllo",
      DelaySeconds: 3,
      MessageAttributes: { b: { DataType: "Binary", BinaryValue: "AQL/" } }
    },
    answer: { MessageId: "m1", MD5OfMessageBody: md5("héllo") },
    result: {
      MessageId: "m1",
      MD5OfMessageBody: md5("héllo"),
      MD5OfMessageAttributes: undefined,
      MD5OfMessageSystemAttributes: undefined,
      SequenceNumber: undefined
    }
  },
  SendMessageBatch: {
    call: (sqs) =>
      sqs.sendMessageBatch({
        QueueUrl,
        Entries: [
          { Id: "0", MessageBody: "a" },
          { Id: "1", MessageBody: "" }
        ]
      }),
    body: {
      QueueUrl,
      Entries: [
        { Id: "0", MessageBody: "a" },
        { Id: "1", MessageBody: "" }
      ]
    },
    answer: {
      Successful: [{ Id: "0", MessageId: "m1", MD5OfMessageBody: md5("a"), SequenceNumber: "1" }],
      Failed: [{ Id: "1", Code: "EmptyValue", SenderFault: true, Message: "empty" }]
    },
    result: {
      Successful: [
        {
          Id: "0",
          MessageId: "m1",
          MD5OfMessageBody: md5("a"),
          MD5OfMessageAttributes: undefined,
          MD5OfMessageSystemAttributes: undefined,
          SequenceNumber: "1"
        }
      ],
      Failed: [{ Id: "1", Code: "EmptyValue", SenderFault: true, Message: "empty" }]
    }
  },
  ReceiveMessage: {
    call: (sqs) => sqs.receiveMessage({ QueueUrl, MaxNumberOfMessages: 10, WaitTimeSeconds: 1 }),
    body: { QueueUrl, MaxNumberOfMessages: 10, WaitTimeSeconds: 1 },
    answer: {
      Messages: [
        {
          MessageId: "m1",
          ReceiptHandle: "r1",
          Body: "a",
          MD5OfBody: md5("a"),
          Attributes: { ApproximateReceiveCount: "1" },
          MessageAttributes: { b: { DataType: "Binary", BinaryValue: "AQL/" } },
          MD5OfMessageAttributes: "x"
        }
      ]
    },
    result: [
      {
        MessageId: "m1",
        ReceiptHandle: "r1",
        Body: "a",
        MD5OfBody: md5("a"),
        Attributes: { ApproximateReceiveCount: "1" },
        MessageAttributes: { b: { DataType: "Binary", BinaryValue: Uint8Array.of(1, 2, 255) } },
        MD5OfMessageAttributes: "x"
      }
    ]
  },
  DeleteMessageBatch: {
    call: (sqs) => sqs.deleteMessageBatch({ QueueUrl, Entries: [{ Id: "0", ReceiptHandle: "r1" }] }),
    body: { QueueUrl, Entries: [{ Id: "0", ReceiptHandle: "r1" }] },
    answer: { Successful: [{ Id: "0" }] },
    result: { Successful: [{ Id: "0" }], Failed: [] }
  },
  ChangeMessageVisibilityBatch: {
    call: (sqs) =>
      sqs.changeMessageVisibilityBatch({ QueueUrl, Entries: [{ Id: "0", ReceiptHandle: "r1", VisibilityTimeout: 0 }] }),
    body: { QueueUrl, Entries: [{ Id: "0", ReceiptHandle: "r1", VisibilityTimeout: 0 }] },
    answer: { Failed: [{ Id: "0", Code: "ReceiptHandleIsInvalid", SenderFault: true }] },
    result: {
      Successful: [],
      Failed: [{ Id: "0", Code: "ReceiptHandleIsInvalid", SenderFault: true, Message: undefined }]
    }
  },
  GetQueueUrl: {
    call: (sqs) => sqs.getQueueUrl({ QueueName: "orders", QueueOwnerAWSAccountId: "000000000000" }),
    body: { QueueName: "orders", QueueOwnerAWSAccountId: "000000000000" },
    answer: { QueueUrl },
    result: QueueUrl
  },
  GetQueueAttributes: {
    call: (sqs) => sqs.getQueueAttributes({ QueueUrl, AttributeNames: ["All"] }),
    body: { QueueUrl, AttributeNames: ["All"] },
    answer: { Attributes: { VisibilityTimeout: "30" } },
    result: { VisibilityTimeout: "30" }
  },
  SetQueueAttributes: {
    call: (sqs) => sqs.setQueueAttributes({ QueueUrl, Attributes: { DelaySeconds: "1" } }),
    body: { QueueUrl, Attributes: { DelaySeconds: "1" } },
    answer: {},
    result: undefined
  },
  CreateQueue: {
    call: (sqs) => sqs.createQueue({ QueueName: "orders", Attributes: { DelaySeconds: "1" }, tags: { team: "a" } }),
    body: { QueueName: "orders", Attributes: { DelaySeconds: "1" }, tags: { team: "a" } },
    answer: { QueueUrl },
    result: QueueUrl
  },
  DeleteQueue: { call: (sqs) => sqs.deleteQueue({ QueueUrl }), body: { QueueUrl }, answer: {}, result: undefined },
  PurgeQueue: { call: (sqs) => sqs.purgeQueue({ QueueUrl }), body: { QueueUrl }, answer: {}, result: undefined },
  ListQueues: {
    call: (sqs) => sqs.listQueues({ QueueNamePrefix: "o", MaxResults: 1 }),
    body: { QueueNamePrefix: "o", MaxResults: 1 },
    answer: { QueueUrls: [QueueUrl], NextToken: "n" },
    result: { QueueUrls: [QueueUrl], NextToken: "n" }
  },
  ListDeadLetterSourceQueues: {
    call: (sqs) => sqs.listDeadLetterSourceQueues({ QueueUrl }),
    body: { QueueUrl },
    answer: { queueUrls: [QueueUrl] },
    result: { QueueUrls: [QueueUrl], NextToken: undefined }
  },
  ListQueueTags: { call: (sqs) => sqs.listQueueTags({ QueueUrl }), body: { QueueUrl }, answer: {}, result: {} },
  TagQueue: {
    call: (sqs) => sqs.tagQueue({ QueueUrl, Tags: { team: "a" } }),
    body: { QueueUrl, Tags: { team: "a" } },
    answer: {},
    result: undefined
  },
  UntagQueue: {
    call: (sqs) => sqs.untagQueue({ QueueUrl, TagKeys: ["team"] }),
    body: { QueueUrl, TagKeys: ["team"] },
    answer: {},
    result: undefined
  },
  StartMessageMoveTask: {
    call: (sqs) => sqs.startMessageMoveTask({ SourceArn: "arn:a", MaxNumberOfMessagesPerSecond: 5 }),
    body: { SourceArn: "arn:a", MaxNumberOfMessagesPerSecond: 5 },
    answer: { TaskHandle: "t" },
    result: "t"
  },
  CancelMessageMoveTask: {
    call: (sqs) => sqs.cancelMessageMoveTask({ TaskHandle: "t" }),
    body: { TaskHandle: "t" },
    answer: { ApproximateNumberOfMessagesMoved: 3 },
    result: 3
  },
  ListMessageMoveTasks: {
    call: (sqs) => sqs.listMessageMoveTasks({ SourceArn: "arn:a" }),
    body: { SourceArn: "arn:a" },
    answer: { Results: [{ Status: "RUNNING", SourceArn: "arn:a", StartedTimestamp: 1, TaskHandle: "t" }] },
    result: [
      {
        Status: "RUNNING",
        SourceArn: "arn:a",
        StartedTimestamp: 1,
        TaskHandle: "t",
        ApproximateNumberOfMessagesMoved: 0
      }
    ]
  }
}

const effectAws = (endpoint: string) =>
  Layer.effect(SqsClient.SqsClient, Effect.map(SQSService, SqsClient.fromEffectAws)).pipe(
    Layer.provide(
      SQSService.layer({
        region: "us-east-1",
        endpoint,
        maxAttempts: 1,
        credentials: { accessKeyId: "test", secretAccessKey: "test" }
      })
    )
  )

const sdkClient = (endpoint: string) =>
  new SQSClient({
    region: "us-east-1",
    endpoint,
    maxAttempts: 1,
    credentials: { accessKeyId: "test", secretAccessKey: "test" }
  })

describe.each([
  ["layer", FakeServer.layer],
  ["layerFrom", (endpoint: string) => SqsClient.layerFrom(sdkClient(endpoint))],
  ["fromEffectAws", effectAws]
])("SqsClient over HTTP: %s", (_, layer) => {
  it.scopedLive("every operation sends its request and gives its answer as plain data", () =>
    Effect.gen(function* () {
      const server = yield* FakeServer.make(({ operation }) => ({ body: operations[operation]?.answer }))
      yield* Effect.gen(function* () {
        const sqs = yield* SqsClient.SqsClient
        for (const [operation, { body, call, result }] of Object.entries(operations)) {
          const answer = yield* call(sqs)
          // By the clock, and a client's own.
          if (Array.isArray(answer)) for (const each of answer) Reflect.deleteProperty(Object(each), "LeasedAt")
          assert.deepStrictEqual(answer, result, operation)
          const seen = server.calls.at(-1)
          assert.strictEqual(seen?.operation, operation)
          assert.deepStrictEqual(seen?.body, body, operation)
        }
      }).pipe(Effect.provide(layer(server.url)))
      assert.strictEqual(server.calls.length, Object.keys(operations).length, "each call is sent once")
    })
  )

  it.scopedLive("an empty receive has no Messages key (fact 1)", () =>
    Effect.gen(function* () {
      const server = yield* FakeServer.make(() => ({ body: {} }))
      const messages = yield* Effect.flatMap(SqsClient.SqsClient, (sqs) => sqs.receiveMessage({ QueueUrl })).pipe(
        Effect.provide(layer(server.url))
      )
      assert.deepStrictEqual(messages, [])
    })
  )

  it.scopedLive("AWS's names become tags, with the query header and without it", () =>
    Effect.gen(function* () {
      const cases: ReadonlyArray<readonly [status: number, type: string, header: string, tag: string, kind: string]> = [
        [400, "QueueDoesNotExist", "AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist", "fatal"],
        [400, "QueueNameExists", "QueueAlreadyExists", "QueueNameExists", "fatal"],
        [400, "QueueDeletedRecently", "AWS.SimpleQueueService.QueueDeletedRecently", "QueueDeletedRecently", "fatal"],
        [403, "PurgeQueueInProgress", "AWS.SimpleQueueService.PurgeQueueInProgress", "PurgeQueueInProgress", "fatal"],
        [404, "ReceiptHandleIsInvalid", "ReceiptHandleIsInvalid", "ReceiptHandleIsInvalid", "fatal"],
        [400, "MessageNotInflight", "AWS.SimpleQueueService.MessageNotInflight", "MessageNotInflight", "fatal"],
        [404, "InvalidAddress", "InvalidAddress", "InvalidAddress", "fatal"],
        [403, "OverLimit", "OverLimit", "OverLimit", "throttled"],
        [403, "RequestThrottled", "RequestThrottled", "RequestThrottled", "throttled"],
        [400, "ThrottlingException", "Throttling", "RequestThrottled", "throttled"],
        [400, "InvalidParameterValueException", "InvalidParameterValue", "InvalidParameterValue", "fatal"],
        [400, "MissingRequiredParameterException", "MissingParameter", "MissingParameter", "fatal"],
        [400, "InvalidAttributeName", "InvalidAttributeName", "InvalidAttributeName", "fatal"],
        [400, "InvalidAttributeValue", "InvalidAttributeValue", "InvalidAttributeValue", "fatal"],
        [400, "InvalidMessageContents", "InvalidMessageContents", "InvalidMessageContents", "fatal"],
        [400, "EmptyBatchRequest", "AWS.SimpleQueueService.EmptyBatchRequest", "EmptyBatchRequest", "fatal"],
        [
          400,
          "TooManyEntriesInBatchRequest",
          "AWS.SimpleQueueService.TooManyEntriesInBatchRequest",
          "TooManyEntriesInBatchRequest",
          "fatal"
        ],
        [
          400,
          "BatchEntryIdsNotDistinct",
          "AWS.SimpleQueueService.BatchEntryIdsNotDistinct",
          "BatchEntryIdsNotDistinct",
          "fatal"
        ],
        [400, "InvalidBatchEntryId", "AWS.SimpleQueueService.InvalidBatchEntryId", "InvalidBatchEntryId", "fatal"],
        [400, "BatchRequestTooLong", "AWS.SimpleQueueService.BatchRequestTooLong", "BatchRequestTooLong", "fatal"],
        [400, "UnsupportedOperation", "AWS.SimpleQueueService.UnsupportedOperation", "UnsupportedOperation", "fatal"],
        [404, "ResourceNotFoundException", "ResourceNotFoundException", "ResourceNotFound", "fatal"],
        [400, "KmsAccessDenied", "KMS.AccessDeniedException", "KmsError", "fatal"],
        [400, "KmsDisabled", "KMS.DisabledException", "KmsError", "fatal"],
        [400, "KmsInvalidKeyUsage", "KMS.InvalidKeyUsageException", "KmsError", "fatal"],
        [400, "KmsInvalidState", "KMS.InvalidStateException", "KmsError", "fatal"],
        [400, "KmsNotFound", "KMS.NotFoundException", "KmsError", "fatal"],
        [403, "KmsOptInRequired", "KMS.OptInRequired", "KmsError", "fatal"],
        [400, "KmsThrottled", "KMS.ThrottlingException", "KmsError", "throttled"],
        [403, "AccessDeniedException", "AccessDenied", "AccessDenied", "fatal"],
        [403, "InvalidClientTokenId", "InvalidClientTokenId", "InvalidCredentials", "fatal"],
        [400, "UnrecognizedClientException", "UnrecognizedClientException", "InvalidCredentials", "fatal"],
        [403, "InvalidSignatureException", "SignatureDoesNotMatch", "InvalidCredentials", "fatal"],
        [403, "ExpiredTokenException", "ExpiredToken", "InvalidCredentials", "fatal"],
        [403, "InvalidSecurity", "InvalidSecurity", "InvalidCredentials", "fatal"],
        [403, "MissingAuthenticationTokenException", "MissingAuthenticationToken", "InvalidCredentials", "fatal"],
        [400, "SomethingNew", "SomethingNew", "UnknownSqsError", "fatal"],
        [500, "InternalError", "InternalError", "UnknownSqsError", "transient"]
      ]
      let answer: FakeServer.Answer = {}
      const server = yield* FakeServer.make(() => answer)
      yield* Effect.gen(function* () {
        const sqs = yield* SqsClient.SqsClient
        for (const [status, type, header, tag, kind] of cases) {
          for (const queryError of [undefined, header]) {
            answer = FakeServer.refusal(status, type, "What AWS says.", queryError)
            const error = yield* Effect.flip(sqs.receiveMessage({ QueueUrl, WaitTimeSeconds: 0 }))
            const form = `${type} ${queryError}`
            assert.strictEqual(error._tag, tag, form)
            assert.strictEqual(SqsError.kind(error), kind, form)
            assert.strictEqual(SqsError.retryable(error), kind !== "fatal", form)
            assert.match(error.message, /^ReceiveMessage: What AWS says\./, form)
          }
        }
      }).pipe(Effect.provide(layer(server.url)))
      assert.strictEqual(server.calls.length, 2 * cases.length, "the SDK repeats nothing")
    })
  )

  it.scopedLive("an interrupted receive aborts its request, and only its own", () =>
    Effect.gen(function* () {
      const runtime = yield* Effect.runtime()
      const arrived = yield* Deferred.make<FakeServer.Call>()
      const closed = yield* Deferred.make<boolean>()
      const other = yield* Deferred.make<FakeServer.Call>()
      const server = yield* FakeServer.make((call) => {
        if (call.body.MaxNumberOfMessages === 1) {
          call.response.on("close", () => Deferred.unsafeDone(closed, Exit.succeed(call.response.writableEnded)))
          Deferred.unsafeDone(arrived, Exit.succeed(call))
        } else Deferred.unsafeDone(other, Exit.succeed(call))
        return undefined
      })
      yield* Effect.gen(function* () {
        const sqs = yield* SqsClient.SqsClient
        const fiber = Runtime.runFork(runtime)(sqs.receiveMessage({ QueueUrl, MaxNumberOfMessages: 1 }))
        const stays = yield* Effect.fork(sqs.receiveMessage({ QueueUrl, MaxNumberOfMessages: 2 }))
        yield* Deferred.await(arrived)
        const unharmed = yield* Deferred.await(other)
        yield* Fiber.interrupt(fiber)
        assert.isFalse(yield* Deferred.await(closed), "closed before it was answered")
        unharmed.response.end("{}")
        assert.deepStrictEqual(yield* Fiber.join(stays), [])
      }).pipe(Effect.provide(layer(server.url)))
    })
  )

  it.scopedLive("a 5xx without a name, and an answer that is not SQS's, are told apart from AWS's errors", () =>
    Effect.gen(function* () {
      let answer: FakeServer.Answer = { status: 503, body: {} }
      const server = yield* FakeServer.make(() => answer)
      yield* Effect.gen(function* () {
        const sqs = yield* SqsClient.SqsClient
        const unavailable = yield* Effect.flip(sqs.receiveMessage({ QueueUrl }))
        assert.strictEqual(unavailable._tag, "TransportError")
        answer = { status: 502, headers: { "content-type": "text/html" }, body: "<html>Bad gateway</html>" }
        const gateway = yield* Effect.flip(sqs.receiveMessage({ QueueUrl }))
        assert.strictEqual(SqsError.kind(gateway), "transient")
      }).pipe(Effect.provide(layer(server.url)))
    })
  )

  it.scopedLive("nobody listening is a TransportError that asks whether the emulator runs", () =>
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      const { url } = yield* Scope.extend(
        FakeServer.make(() => undefined),
        scope
      )
      yield* Scope.close(scope, Exit.void)
      const error = yield* Effect.flatMap(SqsClient.SqsClient, (sqs) => sqs.receiveMessage({ QueueUrl })).pipe(
        Effect.provide(Layer.orDie(layer(url))),
        Effect.flip
      )
      assert.strictEqual(error._tag, "TransportError")
      assert.match(error.message, /ECONNREFUSED.*127\.0\.0\.1:\d+.*is the emulator running/)
      assert.strictEqual(SqsError.kind(error), "transient")
    })
  )
})

describe("SqsClient", () => {
  it.scopedLive("a body whose MD5 is wrong or missing is a transient error, received or sent", () =>
    Effect.gen(function* () {
      const received = { MessageId: "m1", ReceiptHandle: "r1", Body: "a" }
      const sent = { MessageId: "m1" }
      const entry = { Id: "0", MessageId: "m1" }
      const sound = { Id: "1", MessageId: "m2", MD5OfMessageBody: md5("b") }
      const receive = (sqs: SqsClient.Service) => sqs.receiveMessage({ QueueUrl })
      const send = (sqs: SqsClient.Service) => sqs.sendMessage({ QueueUrl, MessageBody: "a" })
      const sendBatch = (sqs: SqsClient.Service) =>
        sqs.sendMessageBatch({
          QueueUrl,
          Entries: [
            { Id: "0", MessageBody: "a" },
            { Id: "1", MessageBody: "b" }
          ]
        })
      const cases: ReadonlyArray<
        readonly [body: unknown, call: (sqs: SqsClient.Service) => Effect.Effect<unknown, SqsError.SqsError>]
      > = [
        [{ Messages: [{ ...received, MD5OfBody: md5("b") }] }, receive],
        [{ Messages: [received] }, receive],
        [{ ...sent, MD5OfMessageBody: md5("b") }, send],
        [sent, send],
        [{ Successful: [{ ...entry, MD5OfMessageBody: md5("b") }, sound] }, sendBatch],
        [{ Successful: [entry, sound] }, sendBatch]
      ]
      for (const [body, call] of cases) {
        const server = yield* FakeServer.make(() => ({ body }))
        const error = yield* Effect.flatMap(SqsClient.SqsClient, call).pipe(
          Effect.provide(FakeServer.layer(server.url)),
          Effect.flip
        )
        assert.strictEqual(error._tag, "TransportError")
        assert.match(error.message, /Invalid MD5 checksum on messages: m1\./)
      }
    })
  )

  it.scopedLive("an answer that is cut off is a transient error, and so is a kept connection that was closed", () =>
    Effect.gen(function* () {
      const cutOff: Array<(response: ServerResponse) => void> = [
        (response) => response.writeHead(200, { "content-length": "100" }).write('{"Messages":'),
        (response) => response.writeHead(200).write("{}"),
        () => {}
      ]
      const server = yield* FakeServer.make(({ operation, request, response }) => {
        if (operation === "PurgeQueue") return { body: {} }
        cutOff.shift()?.(response)
        setImmediate(() => request.socket.destroy())
        return undefined
      })
      yield* Effect.gen(function* () {
        const sqs = yield* SqsClient.SqsClient
        for (const _ of [...cutOff]) {
          const error = yield* Effect.flip(sqs.receiveMessage({ QueueUrl }))
          assert.strictEqual(error._tag, "TransportError")
          assert.match(error.message, /other side closed/)
          // The next call has a connection that works, which is kept for the one after it.
          assert.deepStrictEqual(yield* sqs.purgeQueue({ QueueUrl }), undefined)
        }
      }).pipe(Effect.provide(FakeServer.layer(server.url)))
    })
  )

  it.scopedLive("an https endpoint is spoken to in TLS", () =>
    Effect.gen(function* () {
      const first = yield* Deferred.make<number | undefined>()
      const port = yield* listen((socket) =>
        socket.once("data", (bytes) => {
          Deferred.unsafeDone(first, Exit.succeed(bytes[0]))
          socket.destroy()
        })
      )
      const error = yield* Effect.flatMap(SqsClient.SqsClient, (sqs) => sqs.receiveMessage({ QueueUrl })).pipe(
        Effect.provide(FakeServer.layer(`https://127.0.0.1:${port}`)),
        Effect.flip
      )
      assert.strictEqual(error._tag, "TransportError")
      assert.strictEqual(yield* Deferred.await(first), 22, "a handshake record")
    })
  )

  it.scopedLive("it tells how many calls wait for a connection", () =>
    Effect.gen(function* () {
      const arrived = yield* Deferred.make<void>()
      const server = yield* FakeServer.make(() => {
        Deferred.unsafeDone(arrived, Exit.void)
        return undefined
      })
      const sqs = yield* SqsClient.SqsClient.pipe(
        Effect.provide(yield* Layer.build(SqsClient.layer({ ...FakeServer.options(server.url), maxSockets: 1 })))
      )
      const connections = sqs.connections ?? Effect.dieMessage("it tells nothing")
      assert.deepStrictEqual(yield* connections, { max: 1, open: 0, waiting: 0 })
      const poll = yield* Effect.fork(sqs.receiveMessage({ QueueUrl }))
      yield* Deferred.await(arrived)
      assert.deepStrictEqual(yield* connections, { max: 1, open: 1, waiting: 0 })
      const ack = yield* Effect.fork(sqs.deleteMessageBatch({ QueueUrl, Entries: [{ Id: "0", ReceiptHandle: "r" }] }))
      yield* Effect.repeat(Effect.delay(connections, "5 millis"), { until: ({ waiting }) => waiting === 1 })
      yield* Fiber.interrupt(ack)
      yield* Effect.repeat(Effect.delay(connections, "5 millis"), { until: ({ waiting }) => waiting === 0 })
      yield* Fiber.interrupt(poll)
      yield* Effect.repeat(Effect.delay(connections, "5 millis"), { until: ({ open }) => open === 0 })
    })
  )

  it.scopedLive("its scope destroys the client and its connections; a client that was given stays alive", () =>
    Effect.gen(function* () {
      const server = yield* FakeServer.make(() => ({ body: {} }))
      const gone = yield* Deferred.make<void>()
      server.server.on("connection", (socket) => socket.on("close", () => Deferred.unsafeDone(gone, Exit.void)))
      const receive = Effect.flatMap(SqsClient.SqsClient, (sqs) => sqs.receiveMessage({ QueueUrl }))
      yield* Effect.provide(receive, FakeServer.layer(server.url))
      yield* Deferred.await(gone)

      const client = yield* Effect.acquireRelease(
        Effect.sync(() => sdkClient(server.url)),
        (client) => Effect.sync(() => client.destroy())
      )
      let destroyed = 0
      const destroy = client.destroy.bind(client)
      client.destroy = () => {
        destroyed++
        destroy()
      }
      yield* Effect.provide(receive, SqsClient.layerFrom(Effect.succeed(client)))
      assert.strictEqual(destroyed, 0)
    })
  )

  it.scopedLive("an answer that a given client does not have is none: nothing is made of it", () =>
    Effect.gen(function* () {
      const client = sdkClient("http://localhost:1")
      client.send = async () => undefined
      const receive = Effect.flatMap(SqsClient.SqsClient, (sqs) => Effect.either(sqs.receiveMessage({ QueueUrl })))
      const answer = yield* Effect.provide(receive, SqsClient.layerFrom(client))
      assert.strictEqual(answer._tag === "Left" && answer.left._tag, "TransportError")
    })
  )

  it.scoped("a receive is given its wait and 5 seconds, by Effect's clock", () =>
    Effect.gen(function* () {
      const arrived = yield* Deferred.make<void>()
      let aborted = false
      const server = yield* TestServices.provideLive(
        FakeServer.make(({ response }) => {
          response.on("close", () => {
            aborted = true
          })
          Deferred.unsafeDone(arrived, Exit.void)
          return undefined
        })
      )
      const sqs = Context.get(yield* Layer.build(FakeServer.layer(server.url)), SqsClient.SqsClient)
      const gone = yield* Deferred.make<void>()
      server.server.on("connection", (socket) => socket.on("close", () => Deferred.unsafeDone(gone, Exit.void)))
      const fiber = yield* Effect.fork(Effect.either(sqs.receiveMessage({ QueueUrl, WaitTimeSeconds: 20 })))
      yield* Deferred.await(arrived)
      yield* TestClock.adjust("24999 millis")
      assert.isNull(fiber.unsafePoll())
      yield* TestClock.adjust("1 millis")
      const result = yield* Fiber.join(fiber)
      assert.isTrue(Either.isLeft(result) && result.left._tag === "TransportError")
      assert.match(Either.isLeft(result) ? result.left.message : "", /^ReceiveMessage: no answer in 25 s/)
      yield* Deferred.await(gone)
      assert.isTrue(aborted, "its request is aborted")
    })
  )

  it.effect("options that cannot work are refused when the layer is built", () =>
    Effect.gen(function* () {
      const refused = (options: SqsClient.Options) =>
        Effect.map(
          Effect.flip(Effect.scoped(Layer.build(SqsClient.layer({ region: "us-east-1", ...options })))),
          (error) => [error._tag, error.option]
        )
      assert.deepStrictEqual(yield* refused({ maxSockets: 0 }), ["InvalidOptions", "maxSockets"])
      assert.deepStrictEqual(yield* refused({ maxSockets: 1.5 }), ["InvalidOptions", "maxSockets"])
      assert.deepStrictEqual(yield* refused({ endpoint: "localhost:4566" }), ["InvalidOptions", "endpoint"])
      assert.deepStrictEqual(yield* refused({ endpoint: "http://localhost:4566/?x=1" }), ["InvalidOptions", "endpoint"])
      assert.deepStrictEqual(yield* refused({ timeout: 0 }), ["InvalidOptions", "timeout"])
      assert.deepStrictEqual(yield* refused({ timeout: Duration.infinity }), ["InvalidOptions", "timeout"])
      assert.deepStrictEqual(yield* refused({ region: "us east 1" }), ["InvalidOptions", "region"])
    })
  )

  it.scopedLive("layerConfig reads region and endpoint by AWS's names, and takes an empty one for unset", () =>
    Effect.gen(function* () {
      const server = yield* FakeServer.make(() => ({ body: {} }))
      const provider = ConfigProvider.fromMap(
        new Map([
          ["AWS_REGION", ""],
          ["AWS_DEFAULT_REGION", "eu-west-3"],
          ["AWS_ENDPOINT_URL", server.url]
        ])
      )
      const before = { ...process.env }
      process.env["AWS_ACCESS_KEY_ID"] = "from-the-chain"
      process.env["AWS_SECRET_ACCESS_KEY"] = "secret"
      yield* Effect.flatMap(SqsClient.SqsClient, (sqs) => sqs.receiveMessage({ QueueUrl })).pipe(
        Effect.provide(SqsClient.layerConfig()),
        Effect.withConfigProvider(provider),
        Effect.ensuring(
          Effect.sync(() => {
            process.env = before
          })
        )
      )
      assert.match(server.calls[0]?.headers.authorization ?? "", /Credential=from-the-chain\/\d+\/eu-west-3\/sqs/)
    })
  )

  it.scopedLive("credentials that are given sign the call, and no error shows the secret", () =>
    Effect.gen(function* () {
      const server = yield* FakeServer.make(() =>
        FakeServer.refusal(403, "InvalidClientTokenId", "The security token included in the request is invalid.")
      )
      const error = yield* Effect.flatMap(SqsClient.SqsClient, (sqs) => sqs.getQueueUrl({ QueueName: "orders" })).pipe(
        Effect.provide(
          SqsClient.layer({
            ...FakeServer.options(server.url),
            credentials: {
              accessKeyId: "AKIDEXAMPLE",
              secretAccessKey: Redacted.make("very-secret"),
              sessionToken: Redacted.make("token")
            }
          })
        ),
        Effect.flip
      )
      assert.strictEqual(error._tag, "InvalidCredentials")
      assert.match(error.message, /^GetQueueUrl: The security token.*AWS_ACCESS_KEY_ID/)
      assert.match(server.calls[0]?.headers.authorization ?? "", /Credential=AKIDEXAMPLE\//)
      assert.strictEqual(server.calls[0]?.headers["x-amz-security-token"], "token")
      assert.notInclude(JSON.stringify(error), "very-secret")
    })
  )
})
