/** What a client makes of answers that are not as SQS gives them, and of what keeps it from checking or signing. */
import { createRequire, syncBuiltinESMExports } from "node:module"
import { SQSClient } from "@aws-sdk/client-sqs"
import { assert, describe, it } from "@effect/vitest"
import { SQSService } from "@effect-aws/client-sqs"
import {
  DateTime,
  Deferred,
  Duration,
  Effect,
  Either,
  Exit,
  Fiber,
  Layer,
  Logger,
  Redacted,
  Runtime,
  TestClock,
  TestServices
} from "effect"
import { SqsClient, SqsError } from "../src/index.js"
import { refusalOf, unreadable } from "../src/internal/client/answer.js"
import * as Calls from "../src/internal/client/calls.js"
import * as Deadlines from "../src/internal/client/deadlines.js"
import { fromThrown, passes } from "../src/internal/client/errors.js"
import * as Operations from "../src/internal/client/operations.js"
import { ServerClock } from "../src/internal/client/serverClock.js"
import { finder } from "../src/internal/wire/finder.js"
import * as Http from "../src/internal/wire/http.js"
import { Scout } from "../src/internal/wire/route.js"
import * as Wire from "../src/internal/wire/transport.js"
import * as FakeServer from "./support/FakeServer.js"

const QueueUrl = "http://sqs.us-east-1.localhost/000000000000/orders"
const keys = { accessKeyId: "test", secretAccessKey: "test" }

const calls: Readonly<Record<string, (sqs: SqsClient.Service) => Effect.Effect<unknown, SqsError.SqsError>>> = {
  receiveMessage: (sqs) => sqs.receiveMessage({ QueueUrl, WaitTimeSeconds: 0 }),
  sendMessage: (sqs) => sqs.sendMessage({ QueueUrl, MessageBody: "a" }),
  sendMessageBatch: (sqs) => sqs.sendMessageBatch({ QueueUrl, Entries: [{ Id: "0", MessageBody: "a" }] }),
  deleteMessageBatch: (sqs) => sqs.deleteMessageBatch({ QueueUrl, Entries: [{ Id: "0", ReceiptHandle: "r" }] }),
  getQueueUrl: (sqs) => sqs.getQueueUrl({ QueueName: "orders" })
}

const sdkClient = (url: string) =>
  new SQSClient({ region: "us-east-1", endpoint: url, maxAttempts: 1, credentials: keys })

const clients: Readonly<Record<string, (url: string) => Layer.Layer<SqsClient.SqsClient, unknown>>> = {
  layer: FakeServer.layer,
  layerFrom: (url) => SqsClient.layerFrom(sdkClient(url)),
  fromEffectAws: (url) =>
    Layer.effect(SqsClient.SqsClient, Effect.map(SQSService, SqsClient.fromEffectAws)).pipe(
      Layer.provide(SQSService.layer({ region: "us-east-1", endpoint: url, maxAttempts: 1, credentials: keys }))
    )
}

const html = (status: number, body = "<html>please wait</html>"): FakeServer.Answer => ({
  status,
  headers: { "content-type": "text/html" },
  body
})

/** Answers to any call that are not SQS's, or not whole. */
const spoilt: Readonly<Record<string, FakeServer.Answer>> = {
  "200, HTML": html(200),
  "200, cut off": { body: '{"Messages":[{"Bo' },
  "200, a number": { body: "7" },
  "302, HTML": { ...html(302), headers: { "content-type": "text/html", location: "/login" } },
  "403, HTML": html(403),
  "404, JSON of a gateway": { status: 404, body: { message: "no route" } },
  "407, nothing": html(407, ""),
  "408, as SQS writes it": FakeServer.refusal(408, "RequestTimeout", "Your socket connection was not read."),
  "408, HTML": html(408),
  "400, a time-out": FakeServer.refusal(400, "com.amazon.coral.service#RequestTimeoutException", "timeout"),
  "413, HTML": html(413),
  "418, JSON with a code of its own": { status: 418, body: { code: 12, message: "teapot" } },
  "503, HTML": html(503)
}

/** Answers of the right kind that lack something. */
const lacking: ReadonlyArray<readonly [call: string, body: unknown]> = [
  ["receiveMessage", { Messages: [null] }],
  ["receiveMessage", { Messages: "none" }],
  ["receiveMessage", { Messages: [{}] }],
  ["receiveMessage", { Messages: [{ MessageId: "m", Body: "a", MD5OfBody: "0cc175b9c0f1b6a831c399e269772661" }] }],
  ["sendMessage", {}],
  ["sendMessageBatch", { Successful: [null] }],
  ["sendMessageBatch", { Successful: 7 }],
  ["sendMessageBatch", { Failed: [null] }],
  ["deleteMessageBatch", { Successful: [null] }],
  ["getQueueUrl", {}]
]

describe.each(Object.entries(clients))("answers that are not SQS's: %s", (name, layer) => {
  it.scopedLive("are transient errors of every call, whatever their status, and end it", () =>
    Effect.gen(function* () {
      let answer: FakeServer.Answer = {}
      const server = yield* FakeServer.make(() => answer)
      yield* Effect.gen(function* () {
        const sqs = yield* SqsClient.SqsClient
        for (const [what, given] of Object.entries(spoilt)) {
          // The SDK takes any JSON for an answer without fields.
          if (what === "200, a number" && name !== "layer") continue
          answer = given
          for (const [name, call] of Object.entries(calls)) {
            const error = yield* Effect.flip(Effect.timeout(call(sqs), "3 seconds"))
            assert.strictEqual(error._tag, "TransportError", `${name}: ${what}`)
            if (error._tag === "TransportError") assert.strictEqual(SqsError.kind(error), "transient")
          }
        }
        for (const [name, body] of lacking) {
          answer = { body }
          const call = calls[name] ?? (() => Effect.void)
          const error = yield* Effect.flip(Effect.timeout(call(sqs), "3 seconds"))
          assert.strictEqual(error._tag, "TransportError", `${name}: ${JSON.stringify(body)}`)
        }
        answer = html(429)
        const slower = yield* Effect.flip(sqs.receiveMessage({ QueueUrl }))
        assert.strictEqual(SqsError.kind(slower), "throttled")
      }).pipe(Effect.provide(layer(server.url)))
    })
  )
})

describe.each(Object.entries(clients))("what an answer says: %s", (name, layer) => {
  const answered = <A>(body: unknown, call: (sqs: SqsClient.Service) => Effect.Effect<A, SqsError.SqsError>) =>
    Effect.gen(function* () {
      const server = yield* FakeServer.make(() => ({ body }))
      return yield* Effect.flatMap(SqsClient.SqsClient, call).pipe(Effect.provide(Layer.orDie(layer(server.url))))
    })

  it.scopedLive("a send's that names no message is doubtful, and says so", () =>
    Effect.gen(function* () {
      const sends: ReadonlyArray<readonly [call: string, body: unknown]> = [
        ["sendMessage", {}],
        ["sendMessage", { MD5OfMessageBody: "0cc175b9c0f1b6a831c399e269772661" }],
        ["sendMessageBatch", { Successful: [{ Id: "0", MD5OfMessageBody: "0cc175b9c0f1b6a831c399e269772661" }] }]
      ]
      // The SDK looks at the body's checksum first.
      const says =
        name === "layer"
          ? /it has no MessageId, and the message may have been sent\./
          : /has no MessageId, and the message may have been sent\.|InvalidChecksumError.*took effect is not known/
      for (const [call, body] of sends) {
        const error = yield* Effect.flip(answered(body, calls[call] ?? (() => Effect.void)))
        assert.match(error.message, says)
        assert.deepStrictEqual([error._tag, SqsError.kind(error)], ["TransportError", "transient"])
      }
    })
  )

  it.scopedLive("a queue's URL is one of http or https: no call goes anywhere else", () =>
    Effect.gen(function* () {
      const lookUps: ReadonlyArray<(sqs: SqsClient.Service) => Effect.Effect<string, SqsError.SqsError>> = [
        (sqs) => sqs.getQueueUrl({ QueueName: "orders" }),
        (sqs) => sqs.createQueue({ QueueName: "orders" })
      ]
      for (const lookUp of lookUps) {
        for (const given of ["javascript:alert(1)", "file:///etc/passwd", "/000000000000/orders", "orders"]) {
          const error = yield* Effect.flip(answered({ QueueUrl: given }, lookUp))
          assert.match(error.message, /its QueueUrl is no URL of http or https/)
          assert.strictEqual(SqsError.kind(error), "transient")
        }
        assert.strictEqual(yield* answered({ QueueUrl }, lookUp), QueueUrl)
      }
    })
  )
})

describe("tags and attributes", () => {
  it.scopedLive("are kept by any name", () =>
    Effect.gen(function* () {
      const server = yield* FakeServer.make(({ operation }) => ({
        body: operation === "ListQueueTags" ? '{"Tags":{"__proto__":"a","b":"c"}}' : '{"Attributes":{"__proto__":"a"}}'
      }))
      yield* Effect.gen(function* () {
        const sqs = yield* SqsClient.SqsClient
        assert.deepStrictEqual(Object.entries(yield* sqs.listQueueTags({ QueueUrl })), [
          ["__proto__", "a"],
          ["b", "c"]
        ])
        const attributes = yield* sqs.getQueueAttributes({ QueueUrl, AttributeNames: ["All"] })
        assert.deepStrictEqual(Object.entries(attributes), [["__proto__", "a"]])
      }).pipe(Effect.provide(FakeServer.layer(server.url)))
    })
  )
})

describe("credentials with a line break, as a file or a store of secrets adds one", () => {
  const broken = {
    accessKeyId: { ...keys, accessKeyId: "test\n" },
    secretAccessKey: { ...keys, secretAccessKey: "test\n" },
    sessionToken: { ...keys, sessionToken: "test\n" }
  }

  it.scopedLive("are refused before anything is sent, and by what is wrong", () =>
    Effect.gen(function* () {
      const server = yield* FakeServer.make(() => ({ body: {} }))
      const refusal = (layer: Layer.Layer<SqsClient.SqsClient, unknown>) =>
        Effect.flatMap(SqsClient.SqsClient, (sqs) => sqs.purgeQueue({ QueueUrl })).pipe(
          Effect.flip,
          Effect.provide(Layer.orDie(layer))
        )
      for (const [name, { accessKeyId, secretAccessKey, ...rest }] of Object.entries(broken)) {
        const credentials = {
          accessKeyId,
          secretAccessKey: Redacted.make(secretAccessKey),
          ...("sessionToken" in rest && { sessionToken: Redacted.make(rest.sessionToken) })
        }
        const ours = yield* refusal(SqsClient.layer({ ...FakeServer.options(server.url), credentials }))
        assert.strictEqual(ours._tag, "InvalidCredentials")
        assert.match(ours.message, new RegExp(`${name} has a character.*a line break`))
        assert.notInclude(ours.message, "test")
      }
      for (const credentials of [broken.accessKeyId, broken.sessionToken]) {
        const theirs = yield* refusal(
          SqsClient.layerFrom(new SQSClient({ region: "us-east-1", endpoint: server.url, maxAttempts: 1, credentials }))
        )
        assert.strictEqual(theirs._tag, "InvalidCredentials")
        assert.match(theirs.message, /a line break/)
      }
      assert.strictEqual(server.calls.length, 0)
    })
  )
})

describe("whose answer it is", () => {
  it("a refusal is what SQS names, in a header or the body", () => {
    const refused = (headers: Record<string, string>, body: string) => refusalOf({ statusCode: 400, headers, body })
    assert.strictEqual(refused({ "x-amzn-query-error": "OverLimit;Sender" }, "<html>"), "OverLimit")
    assert.strictEqual(refused({ "x-amzn-errortype": "OverLimit:http://x" }, ""), "OverLimit")
    assert.strictEqual(refused({}, '{"__type":"com.amazonaws.sqs#OverLimit"}'), "com.amazonaws.sqs#OverLimit")
    for (const body of ["", "null", "[]", "{}", '{"__type":7}', '{"message":"no"}', "<html>"]) {
      assert.isUndefined(refused({}, body), body)
      assert.match(unreadable({ statusCode: 400, headers: {}, body })?.message ?? "", /status 400/)
    }
    assert.isUndefined(unreadable({ statusCode: 200, headers: {}, body: Buffer.from(" \n{}") }))
    assert.isUndefined(unreadable({ statusCode: 200, headers: {}, body: "" }), "some operations answer nothing")
  })

  it("throttling and time-outs are known by all names that the SDK has", () => {
    for (const name of [
      "BandwidthLimitExceeded",
      "EC2ThrottledException",
      "LimitExceededException",
      "PriorRequestNotComplete",
      "ProvisionedThroughputExceededException",
      "RequestLimitExceeded",
      "RequestThrottled",
      "RequestThrottledException",
      "SlowDown",
      "ThrottledException",
      "Throttling",
      "ThrottlingException",
      "TooManyRequestsException",
      "TransactionInProgressException"
    ]) {
      assert.strictEqual(passes(name), "throttled", name)
    }
    assert.strictEqual(passes("RequestTimeout"), "transient")
    assert.strictEqual(passes("RequestTimeoutException"), "transient")
    assert.isUndefined(passes("InvalidParameterValue"))
    assert.isUndefined(passes("SomethingNew"))
  })
})

describe("a Node without MD5", () => {
  const withoutMd5 = Effect.acquireRelease(
    Effect.sync(() => {
      // Types know only what cannot be written: the modules are as Node made them.
      const crypto = createRequire(import.meta.url)("node:crypto")
      const { createHash, hash } = crypto
      const refusing =
        (f: (...args: ReadonlyArray<unknown>) => unknown) =>
        (name: string, ...rest: ReadonlyArray<unknown>) => {
          if (/md5/i.test(name)) {
            throw Object.assign(new Error("digital envelope routines::unsupported"), {
              code: "ERR_OSSL_EVP_UNSUPPORTED"
            })
          }
          return f(name, ...rest)
        }
      crypto.createHash = refusing(createHash)
      crypto.hash = refusing(hash)
      syncBuiltinESMExports()
      return { crypto, createHash, hash }
    }),
    ({ createHash, crypto, hash }) =>
      Effect.sync(() => {
        Object.assign(crypto, { createHash, hash })
        syncBuiltinESMExports()
      })
  )
  const sent = { MessageId: "m1", MD5OfMessageBody: "0cc175b9c0f1b6a831c399e269772661" }
  const received = { MessageId: "m1", ReceiptHandle: "r1", Body: "a", MD5OfBody: "0cc175b9c0f1b6a831c399e269772661" }

  it.scopedLive("sends and receives without the check, and says so once", () =>
    Effect.gen(function* () {
      yield* withoutMd5
      const said: Array<string> = []
      const logger = Logger.make(({ message }) => said.push(String(message)))
      const server = yield* FakeServer.make(({ operation }) => ({
        body:
          operation === "ReceiveMessage"
            ? { Messages: [received] }
            : operation === "SendMessage"
              ? sent
              : { Successful: [{ Id: "0", ...sent }] }
      }))
      yield* Effect.gen(function* () {
        const sqs = yield* SqsClient.SqsClient
        assert.strictEqual((yield* sqs.receiveMessage({ QueueUrl })).length, 1)
        assert.strictEqual((yield* sqs.sendMessage({ QueueUrl, MessageBody: "a" })).MessageId, "m1")
        const batch = yield* sqs.sendMessageBatch({ QueueUrl, Entries: [{ Id: "0", MessageBody: "a" }] })
        assert.strictEqual(batch.Successful.length, 1)
      }).pipe(Effect.provide(Layer.merge(FakeServer.layer(server.url), Logger.replace(Logger.defaultLogger, logger))))
      assert.strictEqual(said.length, 1)
      assert.match(said[0] ?? "", /no MD5/)
    })
  )

  it("a client of the SDK's, which checks by itself, is told how not to", () => {
    const cause = Object.assign(new Error("digital envelope routines::unsupported"), {
      code: "ERR_OSSL_EVP_UNSUPPORTED"
    })
    assert.match(fromThrown("ReceiveMessage")(cause).message, /md5: false/)
  })
})

/** As an HTTP header has it. */
const dateOf = (millis: number): string => DateTime.toDateUtc(DateTime.unsafeMake(millis)).toUTCString()

describe("a clock that is wrong", () => {
  /** Refuses what was signed more than 15 minutes from its own time, which is `ahead()` of ours. */
  const strict = (ahead: () => number, name = "InvalidSignatureException", date = true) =>
    Effect.map(Effect.clock, (clock) => (call: FakeServer.Call): FakeServer.Answer => {
      const now = clock.unsafeCurrentTimeMillis() + ahead()
      const text = String(call.headers["x-amz-date"])
      const signedAt = Date.parse(text.replace(/^(....)(..)(..)T(..)(..)(..)Z$/, "$1-$2-$3T$4:$5:$6Z"))
      const headers: Record<string, string> = date ? { date: dateOf(now) } : { date: "" }
      if (Math.abs(signedAt - now) <= 15 * 60_000) return { headers, body: {} }
      return { ...FakeServer.refusal(403, name, "Signature expired"), headers }
    })
  const hour = 3_600_000
  const receive = (sqs: SqsClient.Service) => Effect.either(sqs.receiveMessage({ QueueUrl, WaitTimeSeconds: 0 }))

  describe.each(["layer", "layerFrom", "fromEffectAws"])("%s", (name) => {
    it.scopedLive("is put right by the refusal's date, and the call goes again, also after a later step", () =>
      Effect.gen(function* () {
        let ahead = hour
        const server = yield* FakeServer.make(yield* strict(() => ahead))
        yield* Effect.gen(function* () {
          const sqs = yield* SqsClient.SqsClient
          // Side by side: each of them is refused, whichever learns first.
          const first = yield* Effect.all([receive(sqs), receive(sqs), receive(sqs)], { concurrency: "unbounded" })
          assert.isTrue(first.every(Either.isRight))
          const before = server.calls.length
          assert.isTrue(Either.isRight(yield* receive(sqs)))
          assert.strictEqual(server.calls.length, before + 1, "the clock is right from then on")
          ahead = -2 * hour
          assert.isTrue(Either.isRight(yield* receive(sqs)))
          // The SDK does not tell of a clock that is right again.
          if (name === "fromEffectAws") return
          ahead = 0
          assert.isTrue(Either.isRight(yield* receive(sqs)))
        }).pipe(Effect.provide(clients[name]?.(server.url) ?? Layer.die("no client")))
      })
    )
  })

  it.scopedLive("a refusal that the clock does not explain is one, and is not tried again", () =>
    Effect.gen(function* () {
      const refusal = FakeServer.refusal(403, "InvalidSignatureException", "The secret is wrong")
      const server = yield* FakeServer.make(() => refusal)
      const result = yield* Effect.flatMap(SqsClient.SqsClient, receive).pipe(
        Effect.provide(FakeServer.layer(server.url))
      )
      assert.strictEqual(Either.isLeft(result) && result.left._tag, "InvalidCredentials")
      assert.strictEqual(server.calls.length, 1)
    })
  )

  it.scopedLive("one that is still refused after the correction fails, after two calls", () =>
    Effect.gen(function* () {
      let calls = 0
      const server = yield* FakeServer.make(() => ({
        ...FakeServer.refusal(403, "RequestTimeTooSkewed", "no"),
        headers: { date: dateOf(hour * ++calls * 1000) }
      }))
      const result = yield* Effect.flatMap(SqsClient.SqsClient, receive).pipe(
        Effect.provide(FakeServer.layer(server.url))
      )
      assert.isTrue(Either.isLeft(result))
      assert.strictEqual(server.calls.length, 2)
    })
  )

  it("learns only from refusals of a signature's time, by what the call was signed with", () => {
    let now = 1_000_000_000
    const clock = new ServerClock(() => now)
    const answer = (statusCode: number, type: string, date: string | undefined) => ({
      statusCode,
      headers: { "x-amzn-errortype": type, ...(date !== undefined && { date }) },
      body: ""
    })
    const later = dateOf(now + hour)
    assert.isFalse(clock.learn(answer(200, "RequestExpired", later), now))
    assert.isFalse(clock.learn(answer(400, "QueueDoesNotExist", later), now))
    assert.isFalse(clock.learn(answer(403, "RequestExpired", undefined), now))
    assert.isFalse(clock.learn(answer(403, "RequestExpired", "soon"), now))
    assert.isFalse(clock.learn(answer(403, "RequestExpired", later), now + hour - 60_000), "signed in time")
    assert.strictEqual(clock.now(), now)
    assert.isTrue(clock.learn(answer(403, "RequestExpired", later), now))
    assert.strictEqual(clock.now(), now + hour)
    // What was signed before that is refused too, and goes again.
    now += 1000
    assert.isTrue(clock.learn(answer(403, "RequestExpired", later), now - 1000))
  })
})

describe("credentials that take their time", () => {
  const waiting = (
    make: (url: string, credentials: () => Promise<typeof keys>) => Layer.Layer<SqsClient.SqsClient, unknown>
  ) =>
    Effect.gen(function* () {
      const runtime = yield* Effect.runtime<never>()
      const signedOn = yield* Deferred.make<typeof keys>()
      const arrived = yield* Deferred.make<void>()
      const server = yield* TestServices.provideLive(
        FakeServer.make(() => {
          Deferred.unsafeDone(arrived, Exit.void)
          return undefined
        })
      )
      const context = yield* Layer.build(make(server.url, () => Runtime.runPromise(runtime)(Deferred.await(signedOn))))
      const fiber = yield* Effect.flatMap(SqsClient.SqsClient, (sqs) =>
        Effect.fork(Effect.either(sqs.getQueueUrl({ QueueName: "orders" })))
      ).pipe(Effect.provide(context))
      return { signedOn, arrived, fiber, calls: server.calls }
    })
  const ours = (url: string, credentials: () => Promise<typeof keys>) =>
    Layer.scoped(
      SqsClient.SqsClient,
      Effect.gen(function* () {
        const scout = new Scout()
        const client = finder({ region: "us-east-1", endpoint: url, credentials }, scout)
        const handler = Http.make(1)
        yield* Effect.addFinalizer(() => Effect.sync(handler.destroy))
        const wire = Wire.make({
          client,
          route: () => scout.route(client),
          handler,
          clock: new ServerClock(() => 0),
          now: () => 0
        })
        return Operations.service(Calls.make(wire, yield* Deadlines.make, Duration.seconds(5)))
      })
    )
  const another = (url: string, credentials: () => Promise<typeof keys>) =>
    SqsClient.layerFrom(new SQSClient({ region: "us-east-1", endpoint: url, maxAttempts: 1, credentials }))

  describe.each([
    ["layer", ours],
    ["layerFrom", another]
  ] as const)("%s", (_, make) => {
    it.scoped("are waited for without using up the call's own time", () =>
      Effect.gen(function* () {
        const { arrived, calls, fiber, signedOn } = yield* waiting(make)
        yield* TestClock.adjust("50 seconds")
        assert.isNull(fiber.unsafePoll())
        yield* Deferred.succeed(signedOn, keys)
        yield* Deferred.await(arrived)
        yield* TestClock.adjust("4999 millis")
        assert.isNull(fiber.unsafePoll(), "the call has its five seconds from here on")
        yield* TestClock.adjust("1 millis")
        const result = yield* Fiber.join(fiber)
        assert.match(Either.isLeft(result) ? result.left.message : "", /no answer in 5 s/)
        assert.strictEqual(calls.length, 1)
      })
    )

    it.scoped("are not waited for without end", () =>
      Effect.gen(function* () {
        const { calls, fiber } = yield* waiting(make)
        yield* TestClock.adjust("60 seconds")
        const result = yield* Fiber.join(fiber)
        assert.match(Either.isLeft(result) ? result.left.message : "", /no credentials in 60 s/)
        assert.strictEqual(Either.isLeft(result) && SqsError.kind(result.left), "transient")
        assert.strictEqual(calls.length, 0)
      })
    )
  })
})

describe("connections that were silent", () => {
  it.scopedLive("after a time-out those that are kept are closed, and the next call opens one of its own", () =>
    Effect.gen(function* () {
      const seen = new Map<object, number>()
      // Answers the first call of a connection, and is silent on it ever after.
      const server = yield* FakeServer.make(({ request }) => {
        const count = (seen.get(request.socket) ?? 0) + 1
        seen.set(request.socket, count)
        return count === 1 ? { body: {} } : undefined
      })
      yield* Effect.gen(function* () {
        const sqs = yield* SqsClient.SqsClient
        const purge = Effect.either(sqs.purgeQueue({ QueueUrl }))
        const many = yield* Effect.all(
          Array.from({ length: 5 }, () => purge),
          { concurrency: "unbounded" }
        )
        assert.isTrue(many.every(Either.isRight))
        assert.isTrue(Either.isLeft(yield* purge), "on one that is silent")
        assert.isTrue(Either.isRight(yield* purge), "not on another of them")
        assert.strictEqual(seen.size, 6)
      }).pipe(Effect.provide(SqsClient.layer({ ...FakeServer.options(server.url), timeout: "2 seconds" })))
    })
  )
})

describe("what a given client throws", () => {
  const hostile: ReadonlyArray<readonly [string, object]> = [
    [
      "a name that cannot be read",
      Object.defineProperty({}, "name", {
        get: () => {
          throw new Error("not to be read")
        }
      })
    ],
    ["a name that is no text", { name: Object.create(null) }],
    [
      "a proxy that throws",
      new Proxy(
        {},
        {
          get: () => {
            throw new Error("not to be read")
          }
        }
      )
    ]
  ]

  it.live.each(hostile)(
    "%s ends its call in a failure",
    ([, thrown]) =>
      Effect.gen(function* () {
        const client = sdkClient("http://127.0.0.1:1")
        client.send = () => Promise.reject(thrown)
        const failed = (sqs: SqsClient.Service) =>
          Effect.map(Effect.flip(sqs.purgeQueue({ QueueUrl })), (error) =>
            assert.strictEqual(error._tag, "TransportError")
          )
        yield* Effect.flatMap(SqsClient.SqsClient, failed).pipe(Effect.provide(SqsClient.layerFrom(client)))
        yield* Effect.flatMap(SQSService, (aws) =>
          failed(SqsClient.fromEffectAws({ ...aws, purgeQueue: () => Effect.fail(thrown) }))
        ).pipe(Effect.provide(SQSService.layer({ region: "us-east-1", credentials: keys })))
      }),
    5000
  )

  it("is told where it is text alone, and said to be no reason where there is none", () => {
    assert.include(fromThrown("PurgeQueue")("no network").message, "PurgeQueue: no network.")
    assert.include(fromThrown("PurgeQueue")(undefined).message, "PurgeQueue: no reason given.")
  })
})
