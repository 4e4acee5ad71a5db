/** Our own wire beside the AWS SDK's: the same requests, from the same sources, to the same places. */
import { createHash } from "node:crypto"
import * as Sdk from "@aws-sdk/client-sqs"
import { SQSClient } from "@aws-sdk/client-sqs"
import { assert, describe, it } from "@effect/vitest"
import { DateTime, Effect, Layer } from "effect"
import { SqsClient, SqsError } from "../src/index.js"
import { ServerClock } from "../src/internal/client/serverClock.js"
import { finder } from "../src/internal/wire/finder.js"
import * as Http from "../src/internal/wire/http.js"
import { Scout } from "../src/internal/wire/route.js"
import * as Signature from "../src/internal/wire/signature.js"
import * as Wire from "../src/internal/wire/transport.js"
import * as FakeServer from "./support/FakeServer.js"

const QueueUrl = "http://sqs.us-east-1.localhost/000000000000/orders"
const md5 = (text: string) => createHash("md5").update(text).digest("hex")

/** Every operation with all that it can say, as ours and as the SDK's. */
const bytes = Uint8Array.of(0, 1, 2, 250, 255)
const attributes = {
  text: { DataType: "String", StringValue: 'ü "quoted" \\ \u2028 😀' },
  number: { DataType: "Number.int", StringValue: "7" },
  bytes: { DataType: "Binary.png", BinaryValue: bytes },
  // A part of a larger buffer: not all that lies under it is the value.
  part: { DataType: "Binary", BinaryValue: Buffer.from("..part..").subarray(2, 6) },
  none: { DataType: "String", StringValue: undefined, BinaryValue: undefined }
}
const trace = { AWSTraceHeader: { DataType: "String", StringValue: "Root=1-5759e988-bd862e3fe1be46a994272793" } }
const fields = {
  MessageBody: "<ö> & \u0009 \u2029",
  DelaySeconds: 0,
  MessageAttributes: attributes,
  MessageSystemAttributes: trace,
  MessageGroupId: "g",
  MessageDeduplicationId: "d"
}
const SourceArn = "arn:aws:sqs:us-east-1:000000000000:dead"

const operations: Readonly<
  Record<string, readonly [(sqs: SqsClient.Service) => Effect.Effect<unknown, SqsError.SqsError>, object]>
> = (() => {
  const send = { QueueUrl, ...fields }
  const sends = {
    QueueUrl,
    Entries: [
      { Id: "0", ...fields },
      { Id: "1", MessageBody: "b", DelaySeconds: undefined }
    ]
  }
  const receive = {
    QueueUrl,
    MaxNumberOfMessages: 10,
    WaitTimeSeconds: 0,
    VisibilityTimeout: 30,
    AttributeNames: ["All"],
    MessageSystemAttributeNames: ["All"],
    MessageAttributeNames: ["a.*"],
    ReceiveRequestAttemptId: "attempt"
  }
  const deletes = { QueueUrl, Entries: [{ Id: "0", ReceiptHandle: "r" }] }
  const changes = { QueueUrl, Entries: [{ Id: "0", ReceiptHandle: "r", VisibilityTimeout: 0 }] }
  const byName = { QueueName: "orders", QueueOwnerAWSAccountId: "111122223333" }
  const asked = { QueueUrl, AttributeNames: ["QueueArn", "VisibilityTimeout"] }
  const set = { QueueUrl, Attributes: { DelaySeconds: "3", RedrivePolicy: "" } }
  const create = { QueueName: "orders", Attributes: { FifoQueue: "true" }, tags: { team: "é" } }
  const page = { MaxResults: 3, NextToken: "next" }
  const start = { SourceArn, DestinationArn: SourceArn, MaxNumberOfMessagesPerSecond: 5 }
  return {
    SendMessage: [(sqs) => sqs.sendMessage(send), send],
    SendMessageBatch: [(sqs) => sqs.sendMessageBatch(sends), sends],
    ReceiveMessage: [(sqs) => sqs.receiveMessage(receive), receive],
    DeleteMessageBatch: [(sqs) => sqs.deleteMessageBatch(deletes), deletes],
    ChangeMessageVisibilityBatch: [(sqs) => sqs.changeMessageVisibilityBatch(changes), changes],
    GetQueueUrl: [(sqs) => sqs.getQueueUrl(byName), byName],
    GetQueueAttributes: [(sqs) => sqs.getQueueAttributes(asked), asked],
    SetQueueAttributes: [(sqs) => sqs.setQueueAttributes(set), set],
    CreateQueue: [(sqs) => sqs.createQueue(create), create],
    DeleteQueue: [(sqs) => sqs.deleteQueue({ QueueUrl }), { QueueUrl }],
    PurgeQueue: [(sqs) => sqs.purgeQueue({ QueueUrl }), { QueueUrl }],
    ListQueues: [(sqs) => sqs.listQueues({ QueueNamePrefix: "or", ...page }), { QueueNamePrefix: "or", ...page }],
    ListDeadLetterSourceQueues: [(sqs) => sqs.listDeadLetterSourceQueues({ QueueUrl, ...page }), { QueueUrl, ...page }],
    ListQueueTags: [(sqs) => sqs.listQueueTags({ QueueUrl }), { QueueUrl }],
    TagQueue: [(sqs) => sqs.tagQueue({ QueueUrl, Tags: { a: "b" } }), { QueueUrl, Tags: { a: "b" } }],
    UntagQueue: [(sqs) => sqs.untagQueue({ QueueUrl, TagKeys: ["a"] }), { QueueUrl, TagKeys: ["a"] }],
    StartMessageMoveTask: [(sqs) => sqs.startMessageMoveTask(start), start],
    CancelMessageMoveTask: [(sqs) => sqs.cancelMessageMoveTask({ TaskHandle: "t" }), { TaskHandle: "t" }],
    ListMessageMoveTasks: [
      (sqs) => sqs.listMessageMoveTasks({ SourceArn, MaxResults: 2 }),
      { SourceArn, MaxResults: 2 }
    ]
  }
})()

const sdkClient = (endpoint: string) =>
  Effect.acquireRelease(
    Effect.sync(
      () =>
        new SQSClient({
          region: "us-east-1",
          endpoint,
          credentials: { accessKeyId: "test", secretAccessKey: "test" },
          maxAttempts: 1,
          md5: false
        })
    ),
    (client) => Effect.sync(() => client.destroy())
  )

/** What of a request SQS reads. */
const seen = ({ body, headers, request }: FakeServer.Call) => ({
  method: request.method,
  url: request.url,
  body,
  headers: Object.fromEntries(
    ["content-type", "host", "x-amz-target", "x-amzn-query-mode", "content-length"].map((name) => [name, headers[name]])
  )
})

describe("wire", () => {
  it.scopedLive("each operation goes out as the AWS SDK sends it", () =>
    Effect.gen(function* () {
      const server = yield* FakeServer.make(() => ({ body: {} }))
      const sdk = yield* sdkClient(server.url)
      const sqs = yield* SqsClient.SqsClient.pipe(Effect.provide(yield* Layer.build(FakeServer.layer(server.url))))
      for (const [name, [ours, input]] of Object.entries(operations)) {
        const Command = Reflect.get(Sdk, `${name}Command`)
        yield* Effect.promise(() => sdk.send(new Command(input)).catch(() => undefined))
        const theirs = server.calls.splice(0)
        yield* Effect.ignore(ours(sqs))
        const mine = server.calls.splice(0)
        assert.lengthOf(theirs, 1, name)
        assert.deepStrictEqual(mine.map(seen), theirs.map(seen), name)
      }
    })
  )

  it.scopedLive("what is received is what the AWS SDK makes of the same answer", () =>
    Effect.gen(function* () {
      const Messages = [
        {
          MessageId: "m",
          ReceiptHandle: "r",
          Body: "é",
          MD5OfBody: md5("é"),
          Attributes: { ApproximateReceiveCount: "1" },
          MessageAttributes: {
            bytes: { DataType: "Binary", BinaryValue: Buffer.from(bytes).toString("base64") },
            part: { DataType: "Binary.x", BinaryValue: "AQL/" },
            text: { DataType: "String", StringValue: "t" }
          }
        }
      ]
      const server = yield* FakeServer.make(() => ({ body: JSON.stringify({ Messages }) }))
      const sdk = yield* sdkClient(server.url)
      const theirs = yield* Effect.promise(() => sdk.send(new Sdk.ReceiveMessageCommand({ QueueUrl })))
      const ours = yield* Effect.flatMap(SqsClient.SqsClient, (sqs) => sqs.receiveMessage({ QueueUrl })).pipe(
        Effect.provide(FakeServer.layer(server.url))
      )
      const plain = (attributes: Readonly<Record<string, Sdk.MessageAttributeValue | undefined>> = {}) =>
        Object.entries(attributes).map(([name, value]) => [
          name,
          value?.DataType,
          value?.StringValue,
          value?.BinaryValue && [...value.BinaryValue]
        ])
      assert.deepStrictEqual(plain(ours[0]?.MessageAttributes), plain(theirs.Messages?.[0]?.MessageAttributes))
      assert.strictEqual(ours[0]?.Body, theirs.Messages?.[0]?.Body)
    })
  )

  it.scopedLive("a refusal is the error that the AWS SDK's is, whichever way SQS states its name", () =>
    Effect.gen(function* () {
      const refusals = [
        FakeServer.refusal(400, "QueueDoesNotExist", "gone", "AWS.SimpleQueueService.NonExistentQueue"),
        FakeServer.refusal(400, "QueueDoesNotExist", "gone"),
        {
          status: 403,
          headers: { "x-amzn-errortype": "RequestThrottled:http://internal/" },
          body: { message: "slow" }
        },
        FakeServer.refusal(500, "InternalFailure", "oh"),
        FakeServer.refusal(403, "OverLimit", "much", "OverLimit"),
        { status: 503, body: { __type: "ServiceUnavailable", Message: "later" } }
      ]
      let next = 0
      const server = yield* FakeServer.make(() => refusals[next] ?? {})
      const sdk = yield* sdkClient(server.url)
      const ours = yield* SqsClient.SqsClient.pipe(Effect.provide(yield* Layer.build(FakeServer.layer(server.url))))
      const theirs = yield* SqsClient.SqsClient.pipe(Effect.provide(yield* Layer.build(SqsClient.layerFrom(sdk))))
      const error = (sqs: SqsClient.Service) => Effect.flip(sqs.purgeQueue({ QueueUrl }))
      for (; next < refusals.length; next++) {
        const [mine, other] = [yield* error(ours), yield* error(theirs)]
        assert.strictEqual(mine._tag, other._tag, JSON.stringify(refusals[next]))
        assert.strictEqual(SqsError.kind(mine), SqsError.kind(other))
        assert.strictEqual(mine.message, other.message)
      }
    })
  )

  it.scopedLive("each call is signed with the credentials of its time, and says which SDK found them", () =>
    Effect.gen(function* () {
      const server = yield* FakeServer.make(() => ({ body: {} }))
      let asked = 0
      const scout = new Scout()
      const client = finder(
        {
          region: "us-east-1",
          endpoint: server.url,
          credentials: async () => ({
            accessKeyId: `key-${++asked}`,
            secretAccessKey: "secret",
            expiration: DateTime.toDateUtc(DateTime.unsafeMake(0))
          })
        },
        scout
      )
      const handler = Http.make(1)
      yield* Effect.addFinalizer(() => Effect.sync(handler.destroy))
      const { send } = Wire.make({
        client,
        route: () => scout.route(client),
        handler,
        clock: new ServerClock(() => 1_800_000_000_000),
        now: () => 1_800_000_000_000
      })
      const keys: Array<string | undefined> = []
      for (let i = 0; i < 2; i++) {
        yield* Effect.promise(() => send("PurgeQueue", { QueueUrl }, () => {}).answer)
        const { authorization, "user-agent": agent } = server.calls[i]?.headers ?? {}
        keys.push(/Credential=([^/]+)/.exec(authorization ?? "")?.[1])
        assert.match(agent ?? "", /^aws-sdk-js\/3\.\d+\.\d+ ua\/[\d.]+ os\/\S+#\S+ lang\/js md\/nodejs#\d+/)
      }
      assert.notStrictEqual(keys[0], keys[1])
      assert.strictEqual(server.calls.length, 2, "the SDK's own call is never sent")
    })
  )

  it.live("the route is the AWS SDK's: regions, China, FIPS, dual stack, an endpoint with a path", () =>
    Effect.gen(function* () {
      const routeOf = (config: object) =>
        Effect.promise(async () => {
          const scout = new Scout()
          const client = new SQSClient({
            credentials: { accessKeyId: "test", secretAccessKey: "test" },
            ...config,
            requestHandler: scout
          })
          const { hostname, path, port, protocol, region } = await scout.route(client)
          return [`${protocol}//${hostname}${port === undefined ? "" : `:${port}`}${path}`, region]
        })
      const cases: ReadonlyArray<readonly [object, ReadonlyArray<string>]> = [
        [{ region: "eu-west-3" }, ["https://sqs.eu-west-3.amazonaws.com/", "eu-west-3"]],
        [{ region: "cn-north-1" }, ["https://sqs.cn-north-1.amazonaws.com.cn/", "cn-north-1"]],
        [{ region: "us-east-1", useFipsEndpoint: true }, ["https://sqs-fips.us-east-1.amazonaws.com/", "us-east-1"]],
        [{ region: "eu-west-1", useDualstackEndpoint: true }, ["https://sqs.eu-west-1.api.aws/", "eu-west-1"]],
        [{ region: "us-east-1", endpoint: "http://[::1]:9324/a b" }, ["http://[::1]:9324/a%20b/", "us-east-1"]]
      ]
      for (const [config, expected] of cases) assert.deepStrictEqual(yield* routeOf(config), expected)
    })
  )

  it.scopedLive("a source of credentials that failed is asked again", () =>
    Effect.gen(function* () {
      const server = yield* FakeServer.make(() => ({ body: {} }))
      const scout = new Scout()
      let fails = true
      const client = finder(
        {
          region: "us-east-1",
          endpoint: server.url,
          credentials: async () => {
            if (fails) throw new Error("not yet")
            return { accessKeyId: "key", secretAccessKey: "secret" }
          }
        },
        scout
      )
      assert.match(
        String(yield* Effect.flip(Effect.tryPromise({ try: () => scout.route(client), catch: String }))),
        /not yet/
      )
      fails = false
      assert.strictEqual((yield* Effect.promise(() => scout.route(client))).hostname, "127.0.0.1")
    })
  )

  it.scopedLive("an endpoint with a path is called there, with the signature that the SDK writes for it", () =>
    Effect.gen(function* () {
      const server = yield* FakeServer.make(() => ({ body: {} }))
      yield* Effect.flatMap(SqsClient.SqsClient, (sqs) => sqs.purgeQueue({ QueueUrl })).pipe(
        Effect.provide(FakeServer.layer(`${server.url}/sqs/a b`))
      )
      const [call] = server.calls
      assert.strictEqual(call?.request.url, "/sqs/a%20b/")
      const headers: Record<string, string> = {}
      for (const name of ["content-type", "content-length", "host", "x-amz-target", "user-agent"]) {
        headers[name] = String(call?.headers[name])
      }
      const time = String(call?.headers["x-amz-date"]).replace(/^(....)(..)(..)T(..)(..)(..)Z$/, "$1-$2-$3T$4:$5:$6Z")
      const signer = yield* Effect.flatMap(sdkClient(server.url), (client) =>
        Effect.promise(() => client.config.signer())
      )
      const signed = yield* Effect.promise(() =>
        signer.sign(
          {
            protocol: "http:",
            hostname: headers["host"] ?? "",
            method: "POST",
            path: "/sqs/a%20b/",
            query: {},
            headers,
            body: JSON.stringify(call?.body)
          },
          {
            signingDate: DateTime.toDateUtc(DateTime.unsafeMake(time)),
            unsignableHeaders: new Set(["content-length", "x-amz-content-sha256"])
          }
        )
      )
      assert.strictEqual(call?.headers.authorization, signed.headers["authorization"])
    })
  )

  it("signs a path as it stands in the request, encoded once more", () => {
    const sign = Signature.make()
    const of = (path: string | undefined) => {
      const headers: Record<string, string> = { host: "localhost" }
      sign({ headers, path }, { accessKeyId: "a", secretAccessKey: "b" }, "r", 0)
      return headers["authorization"]
    }
    assert.strictEqual(of(undefined), of("/"))
    assert.notStrictEqual(of("/a%20b/"), of("/a b/"))
  })
})
