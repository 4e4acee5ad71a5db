import { brotliCompressSync, brotliDecompressSync } from "node:zlib"
import { assert, describe, expect, it } from "@effect/vitest"
import { Pipeline, RetryPolicy } from "@millrace/core"
import { ObjectStore, SqsClaimCheck, SqsClient, SqsConsumer, SqsEncoding, SqsProducer } from "@millrace/sqs"
import { Fault, SqsEmulator } from "@millrace/sqs/emulator"
import { Effect, Either, Exit, Fiber, Layer, Schedule, Schema, Scope, Stream, TestClock } from "effect"

const Order = Schema.Struct({ id: Schema.Number, note: Schema.String })
const order = (id: number, length = 2000) => ({ id, note: "x".repeat(length) })
const atOnce = { linger: 0 } satisfies SqsProducer.Options
const range = (n: number) => Array.from({ length: n }, (_, i) => i)

/** A store in memory that can be made to fail, and tells what was asked of it. */
class Store {
  readonly calls: Array<string> = []
  /** Failures of the next calls of an operation; `undefined` lets one pass. */
  readonly faults: Record<"put" | "get" | "delete", Array<"passing" | "lasting" | undefined>> = {
    put: [],
    get: [],
    delete: []
  }
  readonly memory: ObjectStore.Memory
  constructor(memory: ObjectStore.Memory) {
    this.memory = memory
  }
  #call(operation: "put" | "get" | "delete", object: ObjectStore.ObjectId) {
    return Effect.suspend(() => {
      this.calls.push(operation)
      const fault = this.faults[operation].shift()
      return fault === undefined
        ? Effect.void
        : new ObjectStore.ObjectStoreError({ operation, object, retryable: fault === "passing", message: fault })
    })
  }
  get service(): ObjectStore.Service {
    const { memory } = this
    return {
      put: (object, text) => Effect.zipRight(this.#call("put", object), memory.put(object, text)),
      get: (object, maxBytes) => Effect.zipRight(this.#call("get", object), memory.get(object, maxBytes)),
      delete: (object) => Effect.zipRight(this.#call("delete", object), memory.delete(object))
    }
  }
  get objects() {
    return Effect.map(this.memory.objects, (objects) => [...objects.values()])
  }
}

const queues = { q: { deadLetter: { queue: "dead", maxReceiveCount: 5 } }, dead: {}, "q.fifo": {} }

const test = (
  name: string,
  run: (
    sqs: SqsEmulator.Service,
    store: Store
  ) => Effect.Effect<unknown, unknown, Scope.Scope | SqsClient.SqsClient | ObjectStore.ObjectStore>,
  more: Readonly<Record<string, SqsEmulator.QueueOptions>> = {}
) =>
  it.scoped(name, () =>
    Effect.gen(function* () {
      const store = new Store(yield* ObjectStore.makeMemory)
      yield* Effect.flatMap(SqsEmulator.SqsEmulator, (sqs) => run(sqs, store)).pipe(
        Effect.provide(SqsEmulator.layer({ queues: { ...queues, ...more } })),
        Effect.provideService(ObjectStore.ObjectStore, store.service)
      )
    })
  )

const claimCheckOf = (options: Partial<SqsClaimCheck.Options> = {}) =>
  SqsClaimCheck.make({ bucket: "bodies", above: 1000, accept: () => true, ...options })

/** Consumes "q" in the background; what was handled stands in the array. */
const consuming = (
  claimCheck: SqsClaimCheck.SqsClaimCheck,
  queue = "q",
  encodings: ReadonlyArray<SqsEncoding.Encoding> = SqsEncoding.standard
) =>
  Effect.gen(function* () {
    const handled: Array<number> = []
    yield* SqsConsumer.stream(queue, { encodings }).pipe(
      SqsClaimCheck.fetch(claimCheck),
      Pipeline.decodeJson(Order),
      Pipeline.process(({ id }) => Effect.sync(() => handled.push(id))),
      Stream.runDrain,
      Effect.forkScoped
    )
    return handled
  })

const pointerTo = (key: string, bucket = "bodies") =>
  JSON.stringify(["software.amazon.payloadoffloading.PayloadS3Pointer", { s3BucketName: bucket, s3Key: key }])
const pointing = (body: string, attribute = "ExtendedPayloadSize") =>
  SqsEmulator.message(body, { attributes: { [attribute]: 2000 } })

describe("what is sent", () => {
  test("over the threshold a pointer as the Extended Client Library writes it; the body is in the store", (sqs, store) =>
    Effect.gen(function* () {
      const claimCheck = yield* claimCheckOf({ prefix: "orders/" })
      const producer = yield* SqsProducer.make("q", { ...atOnce, claimCheck, attributes: { kind: "order" } })
      yield* producer.send(order(1))
      yield* producer.send(order(2, 100))
      const [large, small] = yield* sqs.messages("q")
      const [[name, text] = []] = yield* store.memory.objects
      assert.strictEqual(text, JSON.stringify(order(1)))
      assert.match(name ?? "", /^bodies\/orders\/[a-z0-9-]+$/)
      assert.strictEqual(large?.body, pointerTo(name?.slice("bodies/".length) ?? ""))
      expect(large?.attributes).toEqual({
        kind: { DataType: "String", StringValue: "order" },
        ExtendedPayloadSize: { DataType: "Number", StringValue: String(JSON.stringify(order(1)).length) }
      })
      assert.strictEqual(small?.body, JSON.stringify(order(2, 100)))
      assert.deepStrictEqual(Object.keys(small?.attributes ?? {}), ["kind"])
      const handled = yield* consuming(claimCheck)
      yield* sqs.settled("q", 2)
      assert.deepStrictEqual(handled.sort(), [1, 2])
      assert.deepStrictEqual(store.calls, ["put", "get"])
    }))

  test("the threshold counts body and attributes, and what equals it is sent whole", (sqs, store) =>
    Effect.gen(function* () {
      const producer = yield* SqsProducer.make("q", { ...atOnce, claimCheck: yield* claimCheckOf() })
      // An attribute "a" of one byte makes 1 + 6 + 1.
      yield* producer.send(SqsProducer.message("x".repeat(992), { attributes: { a: "b" } }))
      assert.deepStrictEqual(yield* store.objects, [])
      yield* producer.send(SqsProducer.message("x".repeat(993), { attributes: { a: "b" } }))
      assert.deepStrictEqual(yield* store.objects, ["x".repeat(993)])
      assert.strictEqual((yield* sqs.messages("q")).length, 2)
    }))

  test(
    "by default only what the queue does not take goes to the store",
    (sqs, store) =>
      Effect.gen(function* () {
        const claimCheck = yield* SqsClaimCheck.make({ bucket: "bodies" })
        for (const [queue, most] of [
          ["q", 1_048_576],
          ["small", 2048]
        ] as const) {
          const producer = yield* SqsProducer.make(queue, { ...atOnce, claimCheck })
          yield* producer.send("x".repeat(most))
          assert.strictEqual((yield* store.objects).length, 0)
          yield* producer.send("x".repeat(most + 1))
          assert.strictEqual((yield* store.objects).length, 1)
          assert.strictEqual((yield* sqs.messages(queue)).length, 2)
          for (const name of (yield* store.memory.objects).keys()) {
            yield* store.memory.delete({ bucket: "bodies", key: name.slice("bodies/".length) })
          }
        }
      }),
    { small: { attributes: { MaximumMessageSize: "2048" } } }
  )

  test("compressed first: only what is still too large goes to the store, as it was compressed", (sqs, store) =>
    Effect.gen(function* () {
      const claimCheck = yield* claimCheckOf()
      const encoding = yield* SqsEncoding.gzip()
      const producer = yield* SqsProducer.make("q", { ...atOnce, claimCheck, encoding })
      yield* producer.send(order(1, 10_000))
      assert.deepStrictEqual(yield* store.objects, [])
      yield* producer.send(order(2, 5_000_000))
      assert.strictEqual((yield* store.objects).length, 1)
      assert.isBelow((yield* store.objects)[0]?.length ?? 0, 10_000)
      const handled = yield* consuming(claimCheck)
      yield* sqs.settled("q", 2)
      assert.deepStrictEqual(handled.sort(), [1, 2])
    }))

  test("ten attributes leave no room for the pointer's; larger than maxBytes is too large", (_, store) =>
    Effect.gen(function* () {
      const producer = yield* SqsProducer.make("q", { ...atOnce, claimCheck: yield* claimCheckOf({ maxBytes: 5000 }) })
      const ten = Object.fromEntries(range(10).map((i) => [`a${i}`, i]))
      const crowded = yield* Effect.flip(producer.send(SqsProducer.message("x".repeat(2000), { attributes: ten })))
      expect(crowded).toMatchObject({ _tag: "MessageRejected", reason: "Invalid" })
      assert.include(crowded.message, "has 10 attributes")
      expect(yield* Effect.flip(producer.send("x".repeat(5001)))).toMatchObject({ reason: "TooLarge" })
      assert.deepStrictEqual(store.calls, [])
    }))

  test("without a claim check, too large is an error with the size that names it", () =>
    Effect.gen(function* () {
      const producer = yield* SqsProducer.make("q", atOnce)
      const error = yield* Effect.flip(producer.send("x".repeat(1_048_577)))
      expect(error).toMatchObject({ _tag: "MessageRejected", reason: "TooLarge", size: 1_048_577 })
      assert.include(error.message, "claimCheck")
    }))

  test(
    "FIFO: equal content is a duplicate though each pointer is another",
    (sqs) =>
      Effect.gen(function* () {
        const claimCheck = yield* claimCheckOf()
        const options = { ...atOnce, claimCheck, group: "g" }
        for (const queue of ["content.fifo", "q.fifo"]) {
          const producer = yield* SqsProducer.make(queue, {
            ...options,
            ...(queue === "q.fifo" && { deduplicationId: "content" as const })
          })
          yield* producer.send(order(1))
          yield* producer.send(order(1))
          yield* producer.send(order(2))
          assert.strictEqual((yield* sqs.snapshot(queue)).sent, 2)
        }
      }),
    { "content.fifo": { contentBasedDeduplication: true } }
  )
})

describe("what is read", () => {
  test("pointers of Java's versions old and new, of Python, and of squiss-ts", (sqs, store) =>
    Effect.gen(function* () {
      const claimCheck = yield* claimCheckOf()
      for (const i of range(4)) {
        yield* store.memory.put({ bucket: "bodies", key: `k${i}` }, JSON.stringify(order(i)))
      }
      const squiss = brotliCompressSync(JSON.stringify(order(4))).toString("base64")
      yield* store.memory.put({ bucket: "bodies", key: "k4" }, squiss)
      yield* sqs.send("q", [
        pointing(pointerTo("k0")),
        pointing(
          '["com.amazon.sqs.javamessaging.MessageS3Pointer",{"s3BucketName":"bodies","s3Key":"k1"}]',
          "SQSLargePayloadSize"
        ),
        pointing('["software.amazon.payloadoffloading.PayloadS3Pointer", {"s3BucketName": "bodies", "s3Key": "k2"}]'),
        pointing('{"uploadSize":2000,"bucket":"bodies","key":"k3"}', "__SQS_S3__"),
        SqsEmulator.message('{"uploadSize":90,"bucket":"bodies","key":"k4"}', {
          attributes: { __SQS_S3__: 90, __SQS_GZIP__: 1 }
        })
      ])
      const brotli: SqsEncoding.Encoding = {
        attributes: { __SQS_GZIP__: 1 },
        encode: (text) => text,
        decode: (body) => Either.right(brotliDecompressSync(Buffer.from(body, "base64")).toString())
      }
      const handled = yield* consuming(claimCheck, "q", [brotli])
      yield* TestClock.adjust("1 second")
      yield* sqs.settled("q", 5)
      assert.deepStrictEqual(handled.sort(), [0, 1, 2, 3, 4])
    }))

  // Whoever may send to the queue could read, and delete, with the consumer's rights.
  const foreign: ReadonlyArray<readonly [options: Partial<SqsClaimCheck.Options>, key: string]> = [
    [{}, "payroll"],
    [{}, "reports/2026.csv"],
    [{}, "../secrets/k"],
    [{ prefix: "orders/" }, "payroll"],
    [{ prefix: "orders/" }, "orders/../payroll"],
    [{ prefix: "orders/" }, "orders/reports/2026"],
    [{ prefix: "orders/" }, "orders/"],
    // A key that climbs is refused whatever the user accepts: a server that resolves it leaves the bucket.
    [{ accept: () => true }, "orders/../../secrets/k"],
    [{ accept: () => true }, "./k"]
  ]
  for (const [options, key] of foreign) {
    test(`a pointer to ${key} ${JSON.stringify(Object.keys(options))} is poison: not fetched, nor deleted`, (sqs, store) =>
      Effect.gen(function* () {
        yield* store.memory.put({ bucket: "bodies", key }, JSON.stringify(order(1)))
        yield* sqs.send("q", [pointing(pointerTo(key))])
        const claimCheck = yield* SqsClaimCheck.make({
          bucket: "bodies",
          above: 1000,
          deleteAfterAck: true,
          ...options
        })
        assert.deepStrictEqual(yield* consuming(claimCheck), [])
        yield* sqs.settled("q", 1)
        const [dead] = yield* sqs.messages("dead")
        assert.strictEqual(dead?.attributes["millrace-dead-letter-error"]?.StringValue, "DecodeError")
        assert.deepStrictEqual(store.calls, [])
        assert.lengthOf(yield* store.objects, 1)
      }))
  }
  for (const [options, key] of [
    [{}, "lx3a-1b2c-9z8y-0"],
    [{}, "0a1b2c3d-0000-4000-8000-0123456789ab"],
    [{ prefix: "orders/" }, "orders/42_a"],
    [{ accept: ({ key }: ObjectStore.ObjectId) => key.startsWith("old/") }, "old/2019/x.json"]
  ] as const) {
    test(`a pointer to ${key} is followed`, (sqs, store) =>
      Effect.gen(function* () {
        yield* store.memory.put({ bucket: "bodies", key }, JSON.stringify(order(7)))
        yield* sqs.send("q", [pointing(pointerTo(key))])
        const handled = yield* consuming(yield* SqsClaimCheck.make({ bucket: "bodies", above: 1000, ...options }))
        yield* sqs.settled("q", 1)
        assert.deepStrictEqual(handled, [7])
      }))
  }

  const poisons: ReadonlyArray<readonly [name: string, body: string, reason: string]> = [
    ["an object that is not there", pointerTo("gone"), "there is no object gone in the bucket bodies"],
    ["a bucket that was not named", pointerTo("k", "secrets"), "`buckets`"],
    ["an object that is too large", pointerTo("huge"), "has more than 5000 bytes"],
    ["a pointer that is none", '{"order":1}', "it is no pointer"],
    ["a pointer that is no JSON", "order 1", "it is no pointer"]
  ]
  for (const [name, body, reason] of poisons) {
    test(`${name} is poison: dead-lettered with the reason, the pointer kept`, (sqs, store) =>
      Effect.gen(function* () {
        yield* store.memory.put({ bucket: "bodies", key: "huge" }, "x".repeat(5001))
        yield* store.memory.put({ bucket: "secrets", key: "k" }, JSON.stringify(order(1)))
        yield* sqs.send("q", [pointing(body)])
        const handled = yield* consuming(yield* claimCheckOf({ maxBytes: 5000 }))
        yield* sqs.settled("q", 1)
        const [dead] = yield* sqs.messages("dead")
        assert.strictEqual(dead?.body, body)
        assert.strictEqual(dead?.attributes["ExtendedPayloadSize"]?.StringValue, "2000")
        assert.strictEqual(dead?.attributes["millrace-dead-letter-error"]?.StringValue, "DecodeError")
        assert.include(dead?.attributes["millrace-dead-letter-reason"]?.StringValue, reason)
        assert.deepStrictEqual(handled, [])
      }))
  }

  test("buckets that were named are fetched from", (sqs, store) =>
    Effect.gen(function* () {
      yield* store.memory.put({ bucket: "elsewhere", key: "k" }, JSON.stringify(order(1)))
      yield* sqs.send("q", [pointing(pointerTo("k", "elsewhere"))])
      const handled = yield* consuming(yield* claimCheckOf({ buckets: ["elsewhere"] }))
      yield* sqs.settled("q", 1)
      assert.deepStrictEqual(handled, [1])
    }))

  test("without the stage a decode stage says what is missing", (sqs) =>
    Effect.gen(function* () {
      yield* sqs.send("q", [pointing(pointerTo("k"))])
      yield* SqsConsumer.stream("q").pipe(
        Pipeline.decodeJson(Schema.Unknown),
        Pipeline.process(() => Effect.void),
        Stream.runDrain,
        Effect.forkScoped
      )
      yield* sqs.settled("q", 1)
      const [dead] = yield* sqs.messages("dead")
      assert.include(dead?.attributes["millrace-dead-letter-reason"]?.StringValue, "put SqsClaimCheck.fetch before")
    }))

  test("a fetch that fails for a passing reason is tried again in place", (sqs, store) =>
    Effect.gen(function* () {
      const claimCheck = yield* claimCheckOf()
      yield* (yield* SqsProducer.make("q", { ...atOnce, claimCheck })).send(order(1))
      store.faults.get.push("passing", "passing", "passing", "passing")
      const handled = yield* consuming(claimCheck)
      yield* TestClock.adjust("3 seconds")
      yield* sqs.settled("q", 1)
      assert.deepStrictEqual(handled, [1])
      assert.strictEqual((yield* sqs.snapshot("q")).receives, 1)
    }))

  for (const fault of ["passing", "lasting"] as const) {
    test(`a ${fault} failure that outlasts it is delivered again later: it is no poison`, (sqs, store) =>
      Effect.gen(function* () {
        const claimCheck = yield* claimCheckOf({ retry: Schedule.recurs(2) })
        yield* (yield* SqsProducer.make("q", { ...atOnce, claimCheck })).send(order(1))
        store.faults.get.push(...(fault === "passing" ? [fault, fault, fault] : [fault]))
        const handled = yield* consuming(claimCheck)
        yield* TestClock.adjust(0)
        assert.deepStrictEqual(store.faults.get, [])
        yield* TestClock.adjust("5 seconds")
        yield* sqs.settled("q", 1)
        assert.deepStrictEqual(handled, [1])
        assert.strictEqual((yield* sqs.snapshot("q")).receives, 2)
        assert.deepStrictEqual(yield* sqs.messages("dead"), [])
      }))
  }

  test("a policy sees which of the two it was", (sqs, store) =>
    Effect.gen(function* () {
      store.faults.get.push("lasting")
      yield* store.memory.put({ bucket: "bodies", key: "k" }, "1")
      yield* sqs.send("q", [pointing(pointerTo("k"))])
      const failures: Array<string> = []
      yield* SqsConsumer.stream("q").pipe(
        SqsClaimCheck.fetch(yield* claimCheckOf()),
        Pipeline.decodeJson(Order),
        Pipeline.process(() => Effect.void, {
          retry: (failure) => {
            failures.push(failure._tag)
            return failure._tag === "ObjectStoreError" ? RetryPolicy.redeliver(Schedule.spaced(0)) : RetryPolicy.discard
          }
        }),
        Stream.runDrain,
        Effect.forkScoped
      )
      yield* sqs.settled("q", 1)
      assert.deepStrictEqual(failures, ["ObjectStoreError", "DecodeError"])
    }))

  test("it fetches no more than the next stage has use for", (_, store) =>
    Effect.gen(function* () {
      const claimCheck = yield* claimCheckOf()
      const producer = yield* SqsProducer.make("q", { ...atOnce, claimCheck })
      yield* Stream.fromIterable(range(100)).pipe(
        Stream.map((i) => order(i)),
        Stream.run(producer.sink)
      )
      yield* SqsConsumer.stream("q", { maxInFlight: 100 }).pipe(
        SqsClaimCheck.fetch(claimCheck, { concurrency: 5 }),
        Pipeline.process(() => Effect.never, { concurrency: 2 }),
        Stream.runDrain,
        Effect.forkScoped
      )
      yield* TestClock.adjust("1 second")
      const gets = store.calls.filter((call) => call === "get").length
      assert.isAtLeast(gets, 2)
      assert.isAtMost(gets, 30)
    }))

  it.effect("options that cannot be are refused", () =>
    Effect.gen(function* () {
      for (const [options, option] of [
        [{ bucket: "" }, "bucket"],
        [{ bucket: "b", prefix: "a b" }, "prefix"],
        [{ bucket: "b", above: -1 }, "above"],
        [{ bucket: "b", maxBytes: 0 }, "maxBytes"]
      ] as const) {
        const error = yield* Effect.flip(SqsClaimCheck.make(options))
        expect(error).toMatchObject({ _tag: "InvalidOptions", option })
      }
    }).pipe(Effect.scoped, Effect.provide(ObjectStore.layerMemory))
  )
})

describe("deleting after the ack", () => {
  test("only when the queue has confirmed it", (sqs, store) =>
    Effect.gen(function* () {
      const claimCheck = yield* claimCheckOf({ deleteAfterAck: true })
      yield* (yield* SqsProducer.make("q", { ...atOnce, claimCheck })).send(order(1))
      yield* sqs.faults.script("DeleteMessageBatch", [Fault.throttle])
      const handled = yield* consuming(claimCheck)
      yield* TestClock.adjust(0)
      assert.deepStrictEqual(handled, [1])
      assert.strictEqual((yield* sqs.calls).DeleteMessageBatch, 1)
      assert.strictEqual((yield* store.objects).length, 1)
      yield* TestClock.adjust("5 seconds")
      yield* sqs.settled("q", 1)
      assert.deepStrictEqual(yield* store.objects, [])
    }))

  test("not by default", (sqs, store) =>
    Effect.gen(function* () {
      const claimCheck = yield* claimCheckOf()
      yield* (yield* SqsProducer.make("q", { ...atOnce, claimCheck })).send(order(1))
      yield* consuming(claimCheck)
      yield* sqs.settled("q", 1)
      yield* TestClock.adjust("1 minute")
      assert.strictEqual((yield* store.objects).length, 1)
    }))

  test("not what is delivered again, or dead-lettered", (sqs, store) =>
    Effect.gen(function* () {
      const claimCheck = yield* claimCheckOf({ deleteAfterAck: true })
      const producer = yield* SqsProducer.make("q", { ...atOnce, claimCheck })
      yield* producer.send(order(1))
      let runs = 0
      yield* SqsConsumer.stream("q").pipe(
        SqsClaimCheck.fetch(claimCheck),
        Pipeline.process(() => Effect.suspend(() => Effect.fail(++runs)), {
          retry: (run) => (run === 1 ? RetryPolicy.redeliver(Schedule.spaced("1 second")) : RetryPolicy.deadLetter)
        }),
        Stream.runDrain,
        Effect.forkScoped
      )
      yield* TestClock.adjust("2 seconds")
      yield* sqs.settled("q", 1)
      assert.strictEqual(runs, 2)
      assert.strictEqual((yield* store.objects).length, 1)
      // There it is still to be read.
      const fromDead = yield* consuming(claimCheck, "dead")
      yield* sqs.settled("dead", 1)
      assert.deepStrictEqual(fromDead, [1])
    }))

  test("a delete that fails is tried again, for good it is left to the bucket's lifecycle", (sqs, store) =>
    Effect.gen(function* () {
      const claimCheck = yield* claimCheckOf({ deleteAfterAck: true })
      const producer = yield* SqsProducer.make("q", { ...atOnce, claimCheck })
      yield* producer.send(order(1))
      store.faults.delete.push("passing", undefined, "lasting")
      const handled = yield* consuming(claimCheck)
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(yield* store.objects, [])
      yield* producer.send(order(2))
      yield* TestClock.adjust("1 second")
      yield* sqs.settled("q", 2)
      assert.deepStrictEqual(handled, [1, 2])
      assert.strictEqual((yield* store.objects).length, 1)
    }))

  test("closing waits for deletes that are under way, and not for ever", (sqs, store) =>
    Effect.gen(function* () {
      for (const [slow, left] of [
        ["2 seconds", 0],
        ["1 hour", 1]
      ] as const) {
        const scope = yield* Scope.make()
        const service = { ...store.service }
        const claimCheck = yield* claimCheckOf({ deleteAfterAck: true }).pipe(
          Effect.provideService(ObjectStore.ObjectStore, {
            ...service,
            delete: (object) => Effect.delay(service.delete(object), slow)
          }),
          Scope.extend(scope)
        )
        yield* (yield* SqsProducer.make("q", { ...atOnce, claimCheck })).send(order(1))
        const consumer = yield* SqsConsumer.stream("q").pipe(
          SqsClaimCheck.fetch(claimCheck),
          Pipeline.process(() => Effect.void),
          Stream.take(1),
          Stream.runDrain,
          Effect.fork
        )
        yield* Fiber.join(consumer)
        const closing = yield* Effect.fork(Scope.close(scope, Exit.void))
        yield* TestClock.adjust("5 seconds")
        yield* Fiber.join(closing)
        assert.strictEqual((yield* store.objects).length, left)
      }
      assert.strictEqual((yield* sqs.snapshot("q")).deleted, 2)
    }))
})

describe("objects of messages that were not sent", () => {
  /** Sends one large message, and gives what became of it once so much time has passed. */
  const sending = (options: SqsProducer.Options) =>
    Effect.gen(function* () {
      const producer = yield* SqsProducer.make("q", { ...atOnce, claimCheck: yield* claimCheckOf(), ...options })
      const fiber = yield* Effect.fork(Effect.either(producer.send(order(1))))
      yield* TestClock.adjust("10 seconds")
      return Either.match(yield* Fiber.join(fiber), { onLeft: ({ _tag }) => _tag, onRight: () => "sent" })
    })

  test("are deleted where SQS has refused the message", (sqs, store) =>
    Effect.gen(function* () {
      yield* sqs.faults.script("SendMessageBatch", [Fault.failEntries([0], { senderFault: true })])
      assert.strictEqual(yield* sending({}), "MessageRejected")
      assert.deepStrictEqual(yield* store.objects, [])
      assert.deepStrictEqual(store.calls, ["put", "delete"])
    }))

  test("are deleted where no call can have taken effect", (sqs, store) =>
    Effect.gen(function* () {
      yield* sqs.faults.script("SendMessageBatch", [Fault.throttle, Fault.throttle])
      assert.strictEqual(yield* sending({ retry: Schedule.recurs(1) }), "SendFailed")
      assert.deepStrictEqual(yield* store.objects, [])
    }))

  test("stay where a call may have taken effect, also where a later one surely has not", (sqs, store) =>
    Effect.gen(function* () {
      yield* sqs.faults.script("SendMessageBatch", [Fault.dropResponse, Fault.throttle])
      assert.strictEqual(yield* sending({ retry: Schedule.recurs(1) }), "SendFailed")
      assert.strictEqual((yield* store.objects).length, 1)
      const handled = yield* consuming(yield* claimCheckOf())
      yield* sqs.settled("q", 1)
      assert.deepStrictEqual(handled, [1])
    }))

  test("stay where the answer says nothing of the message, which may be in the queue", (sqs, store) =>
    Effect.gen(function* () {
      const client = yield* SqsClient.SqsClient
      let calls = 0
      const forgetful = SqsClient.SqsClient.of({
        ...client,
        // The second entry of the call is answered for twice, and the first not at all.
        sendMessageBatch: (request) =>
          Effect.map(client.sendMessageBatch(request), (answer) =>
            calls++ === 0
              ? { Successful: answer.Successful.slice(1).flatMap((each) => [each, each]), Failed: [] }
              : { Successful: [], Failed: [{ Id: "0", Code: "InvalidParameterValue", SenderFault: true }] }
          )
      })
      const producer = yield* Effect.provideService(
        SqsProducer.make("q", { claimCheck: yield* claimCheckOf() }),
        SqsClient.SqsClient,
        forgetful
      )
      const both = yield* Effect.fork(
        Effect.forEach([1, 2], (id) => Effect.either(producer.send(order(id))), { concurrency: 2 })
      )
      yield* TestClock.adjust("10 seconds")
      const results = yield* Fiber.join(both)
      assert.deepStrictEqual(results.map(Either.isRight), [false, true])
      assert.strictEqual((yield* store.objects).length, 2)
      assert.strictEqual((yield* sqs.snapshot("q")).sent, 3)
    }))

  test("are deleted where the sender gives up before there was room, or the producer is closed", (sqs, store) =>
    Effect.gen(function* () {
      yield* sqs.faults.random({ delay: 1, maxDelay: "1 hour" }, ["SendMessageBatch"])
      const scope = yield* Scope.make()
      const claimCheck = yield* claimCheckOf()
      const producer = yield* Scope.extend(
        SqsProducer.make("q", { ...atOnce, claimCheck, buffer: 1, flushTimeout: 0 }),
        scope
      )
      yield* Effect.fork(producer.send("small"))
      yield* TestClock.adjust(0)
      const waiting = yield* Effect.fork(producer.send(order(1)))
      yield* TestClock.adjust(0)
      assert.strictEqual((yield* store.objects).length, 1)
      yield* Fiber.interrupt(waiting)
      assert.deepStrictEqual(yield* store.objects, [])
      const other = yield* Effect.fork(Effect.flip(producer.send(order(2))))
      yield* TestClock.adjust(0)
      assert.strictEqual((yield* store.objects).length, 1)
      yield* Scope.close(scope, Exit.void)
      expect(yield* Fiber.join(other)).toMatchObject({ _tag: "ProducerClosed", accepted: false })
      assert.deepStrictEqual(yield* store.objects, [])
    }))

  test("are deleted where the message fails after its sender has gone", (sqs, store) =>
    Effect.gen(function* () {
      yield* sqs.faults.script("SendMessageBatch", [
        { ...Fault.failEntries([0], { senderFault: true }), ...Fault.delay("1 second") }
      ])
      const producer = yield* SqsProducer.make("q", { ...atOnce, claimCheck: yield* claimCheckOf() })
      const sender = yield* Effect.fork(producer.send(order(1)))
      yield* TestClock.adjust(0)
      yield* Fiber.interrupt(sender)
      assert.strictEqual((yield* store.objects).length, 1)
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(yield* store.objects, [])
    }))

  test("what cannot be stored is not sent, and says so; a passing failure is tried again", (sqs, store) =>
    Effect.gen(function* () {
      store.faults.put.push("lasting")
      assert.strictEqual(yield* sending({}), "BodyNotStored")
      assert.strictEqual((yield* sqs.snapshot("q")).sent, 0)
      store.faults.put.push("passing", "passing")
      assert.strictEqual(yield* sending({}), "sent")
    }))

  test("what is refused anyway is never stored", (_, store) =>
    Effect.gen(function* () {
      const producer = yield* SqsProducer.make("q.fifo", { ...atOnce, claimCheck: yield* claimCheckOf() })
      expect(yield* Effect.flip(producer.send(order(1)))).toMatchObject({ reason: "Invalid" })
      assert.deepStrictEqual(store.calls, [])
    }))
})

describe("ObjectStore.layerMemory", () => {
  it.effect("is a store for tests", () =>
    Effect.gen(function* () {
      const store = yield* ObjectStore.ObjectStore
      const object = { bucket: "b", key: "k" }
      yield* store.put(object, "text")
      assert.strictEqual(yield* store.get(object, 4), "text")
      expect(yield* Effect.flip(store.get(object, 3))).toMatchObject({ _tag: "ObjectTooLarge", object })
      yield* store.delete(object)
      yield* store.delete(object)
      expect(yield* Effect.flip(store.get(object, 4))).toMatchObject({ _tag: "ObjectNotFound", object })
    }).pipe(Effect.provide(Layer.fresh(ObjectStore.layerMemory)))
  )
})

describe("bodies that are fetched", () => {
  test("count against `maxOpenedBytes` until their messages have ended", (sqs, store) =>
    Effect.gen(function* () {
      const claimCheck = yield* claimCheckOf()
      const text = JSON.stringify(order(1))
      for (const i of range(12)) {
        yield* store.memory.put({ bucket: "bodies", key: `k${i}` }, text)
        yield* sqs.send("q", [pointing(pointerTo(`k${i}`))])
      }
      let open = 0
      let most = 0
      const fiber = yield* SqsConsumer.stream("q", { maxOpenedBytes: 3 * text.length, linger: 0 }).pipe(
        SqsClaimCheck.fetch(claimCheck, { concurrency: 1 }),
        Pipeline.decodeJson(Order),
        Pipeline.process(
          (_, delivery) =>
            Effect.suspend(() => {
              most = Math.max(most, ++open)
              return Effect.as(Effect.sleep("1 second"), void Effect.runFork(Effect.map(delivery.ended, () => open--)))
            }),
          { concurrency: 10 }
        ),
        Stream.runDrain,
        Effect.forkScoped
      )
      for (const _ of range(20)) yield* TestClock.adjust("1 second")
      yield* sqs.settled("q", 12)
      yield* Fiber.interrupt(fiber)
      assert.isAtMost(most, 4)
      assert.isAtLeast(most, 2)
    }))

  test("an encoding that throws makes its message a failed one, as one that refuses does", (sqs, store) =>
    Effect.gen(function* () {
      const claimCheck = yield* claimCheckOf()
      const attributes = { "content-encoding": "odd" }
      const odd: SqsEncoding.Encoding = {
        attributes,
        encode: () => undefined,
        decode: () => {
          throw new Error("a bug")
        }
      }
      yield* store.memory.put({ bucket: "bodies", key: "k" }, JSON.stringify(order(1)))
      const both = { attributes: { ...attributes, ExtendedPayloadSize: 2000 } }
      yield* sqs.send("q", [SqsEmulator.message(pointerTo("k"), both), pointing(pointerTo("k"))])
      const handled = yield* consuming(claimCheck, "q", [odd])
      yield* TestClock.adjust("10 seconds")
      yield* sqs.settled("q", 2)
      assert.deepStrictEqual(handled, [1])
      const [dead] = yield* sqs.messages("dead")
      expect(dead?.attributes["millrace-dead-letter-reason"]?.StringValue).toContain("its encoding threw an error")
    }))
})
