import { assert, describe, expect, it } from "@effect/vitest"
import { Pipeline, Tunable } from "@millrace/core"
import { SendRate, SqsClient, SqsConsumer, SqsError, SqsProducer } from "@millrace/sqs"
import { Fault, SqsEmulator, SqsHttp } from "@millrace/sqs/emulator"
import {
  Chunk,
  Clock,
  DateTime,
  Deferred,
  Effect,
  Either,
  Exit,
  Fiber,
  Layer,
  Metric,
  Option,
  Redacted,
  Schedule,
  Schema,
  Scope,
  Stream,
  TestClock,
  Tracer
} from "effect"

const Order = Schema.Struct({ id: Schema.Number, item: Schema.String })

type Queues = Readonly<Record<string, SqsEmulator.QueueOptions>>

const test = (
  name: string,
  queues: Queues,
  run: (sqs: SqsEmulator.Service) => Effect.Effect<unknown, unknown, Scope.Scope | SqsClient.SqsClient>
) =>
  it.scoped(name, () =>
    Effect.flatMap(SqsEmulator.SqsEmulator, run).pipe(Effect.provide(SqsEmulator.layer({ queues })))
  )

/** Sends that go at once, so that a test without other business need not move the clock. */
const atOnce = { linger: 0 } satisfies SqsProducer.Options

const sends = (sqs: SqsEmulator.Service) => Effect.map(sqs.calls, (calls) => calls.SendMessageBatch ?? 0)
const bodiesOf = (sqs: SqsEmulator.Service, queue: string) =>
  Effect.map(sqs.messages(queue), (messages) => messages.map(({ body }) => body))
const range = (n: number) => Array.from({ length: n }, (_, i) => i)
const rejected = <A>(effect: Effect.Effect<A, unknown>) =>
  Effect.flatMap(Effect.flip(effect), (error) =>
    error instanceof SqsProducer.MessageRejected ? Effect.succeed(error) : Effect.die(error)
  )

describe("calls", () => {
  test("a full call goes at once; the rest when the linger is over", { q: {} }, (sqs) =>
    Effect.gen(function* () {
      const producer = yield* SqsProducer.make("q")
      const all = yield* Effect.fork(
        Effect.forEach(range(23), (i) => producer.send(`m${i}`), { concurrency: "unbounded" })
      )
      yield* TestClock.adjust(0)
      assert.strictEqual(yield* sends(sqs), 2)
      yield* TestClock.adjust("19 millis")
      assert.strictEqual(yield* sends(sqs), 2)
      yield* TestClock.adjust("1 millis")
      const receipts = yield* Fiber.join(all)
      assert.strictEqual(yield* sends(sqs), 3)
      // Each its own id, in the order of the sends.
      assert.deepStrictEqual(
        receipts.map(({ messageId }) => messageId),
        (yield* sqs.messages("q")).map(({ id }) => id)
      )
      assert.deepStrictEqual(
        yield* bodiesOf(sqs, "q"),
        range(23).map((i) => `m${i}`)
      )
    })
  )

  test("with a linger of zero a single send needs no time, and sends of one turn share a call", { q: {} }, (sqs) =>
    Effect.gen(function* () {
      const producer = yield* SqsProducer.make("q", atOnce)
      yield* producer.send("alone")
      assert.strictEqual(yield* sends(sqs), 1)
      yield* Effect.forEach(range(5), (i) => producer.send(`m${i}`), { concurrency: "unbounded" })
      assert.strictEqual(yield* sends(sqs), 2)
    })
  )

  test("a call holds a MiB at most, body and attributes counted", { q: {} }, (sqs) =>
    Effect.gen(function* () {
      const producer = yield* SqsProducer.make("q")
      // An attribute "a" of one byte makes 1 + 6 + 1: two such messages are 1 MiB to the byte, with more they are over.
      const body = (more: number) => SqsProducer.message("x".repeat(524_280 + more), { attributes: { a: "b" } })
      yield* Effect.forEach([body(0), body(0)], producer.send, { concurrency: 2 })
      assert.strictEqual(yield* sends(sqs), 1)
      const two = yield* Effect.fork(Effect.forEach([body(0), body(1)], producer.send, { concurrency: 2 }))
      yield* TestClock.adjust("20 millis")
      yield* Fiber.join(two)
      assert.strictEqual(yield* sends(sqs), 3)
    })
  )

  test("maxCallBytes closes calls earlier, and refuses what is larger", { q: {} }, (sqs) =>
    Effect.gen(function* () {
      const producer = yield* SqsProducer.make("q", { ...atOnce, maxCallBytes: 262_144 })
      yield* Effect.forEach(range(3), () => producer.send("x".repeat(131_072)), { concurrency: 3 })
      assert.strictEqual(yield* sends(sqs), 2)
      const error = yield* rejected(producer.send("x".repeat(262_145)))
      expect(error).toMatchObject({ reason: "TooLarge", size: 262_145 })
      expect(error.message).toContain("262144 is the most")
    })
  )

  test("calls under way are bounded", { q: {} }, (sqs) =>
    Effect.gen(function* () {
      yield* sqs.faults.random({ delay: 1, maxDelay: "1 second" }, ["SendMessageBatch"])
      const producer = yield* SqsProducer.make("q", { concurrency: 3 })
      const all = yield* Effect.fork(Stream.range(1, 100).pipe(Stream.run(producer.sink)))
      yield* TestClock.adjust(0)
      assert.strictEqual((yield* producer.stats).inFlight, 3)
      assert.strictEqual(yield* sends(sqs), 3)
      yield* TestClock.adjust("10 seconds")
      assert.strictEqual(yield* Fiber.join(all), 100)
    })
  )

  test("a full buffer makes senders wait, in their turn; who is interrupted there sends nothing", { q: {} }, (sqs) =>
    Effect.gen(function* () {
      yield* sqs.faults.script("SendMessageBatch", [Fault.delay("1 second"), Fault.delay("1 second")])
      const producer = yield* SqsProducer.make("q", { buffer: 10, concurrency: 1 })
      const senders = yield* Effect.forEach(range(15), (i) => Effect.fork(producer.send(`m${i}`)))
      yield* TestClock.adjust(0)
      expect(yield* producer.stats).toMatchObject({ buffered: 10, waiting: 5, inFlight: 1 })
      for (const i of [3, 12]) {
        const sender = senders[i]
        if (sender !== undefined) yield* Fiber.interrupt(sender)
      }
      yield* TestClock.adjust("3 seconds")
      yield* Effect.forEach(senders, Fiber.await)
      // m3 was accepted before its sender was interrupted: it is sent all the same. m12 was not.
      assert.deepStrictEqual(
        yield* bodiesOf(sqs, "q"),
        range(15)
          .filter((i) => i !== 12)
          .map((i) => `m${i}`)
      )
      expect(yield* producer.stats).toMatchObject({ buffered: 0, waiting: 0, sent: 14 })
    })
  )

  test("bufferBytes bounds the buffer too, and lets one larger message in alone", { q: {} }, (sqs) =>
    Effect.gen(function* () {
      yield* sqs.faults.script("SendMessageBatch", [Fault.delay("1 second")])
      const producer = yield* SqsProducer.make("q", { ...atOnce, bufferBytes: 1000 })
      const large = yield* Effect.fork(producer.send("x".repeat(2000)))
      yield* TestClock.adjust(0)
      const small = yield* Effect.fork(producer.send("y"))
      yield* TestClock.adjust(0)
      expect(yield* producer.stats).toMatchObject({ buffered: 1, waiting: 1 })
      yield* TestClock.adjust("1 second")
      yield* Fiber.joinAll([large, small])
    })
  )

  test("the bytes of what has its result, sent or given up, are free again", { q: {} }, (sqs) =>
    Effect.gen(function* () {
      yield* sqs.faults.script("SendMessageBatch", [{}, Fault.failEntries([0], { senderFault: true })])
      const producer = yield* SqsProducer.make("q", { ...atOnce, bufferBytes: 1000 })
      const send = (body: string) =>
        Effect.zipLeft(Effect.fork(Effect.either(producer.send(body))), TestClock.adjust(0))
      yield* Effect.flatMap(send("x".repeat(900)), Fiber.join)
      yield* Effect.flatMap(send("y".repeat(900)), Fiber.join)
      // Together they fill it, and the second finds room though the first is on its way.
      yield* sqs.faults.script("SendMessageBatch", [Fault.delay("1 second"), Fault.delay("1 second")])
      const two = [yield* send("a".repeat(400)), yield* send("b".repeat(600))]
      expect(yield* producer.stats).toMatchObject({ buffered: 2, waiting: 0, sent: 1, failed: 1 })
      yield* TestClock.adjust("1 second")
      yield* Fiber.joinAll(two)
    })
  )

  test("a call that something on the way finds too large goes again message by message", { q: {} }, (sqs) =>
    Effect.gen(function* () {
      const client = yield* SqsClient.SqsClient
      const sizes: Array<number> = []
      const narrow = SqsClient.SqsClient.of({
        ...client,
        sendMessageBatch: (request) => {
          sizes.push(request.Entries.length)
          return request.Entries.length > 1
            ? new SqsError.TransportError({ operation: "SendMessageBatch", message: "413", status: 413 })
            : client.sendMessageBatch(request)
        }
      })
      const producer = yield* Effect.provideService(SqsProducer.make("q", atOnce), SqsClient.SqsClient, narrow)
      const all = yield* Effect.fork(
        Effect.forEach(range(3), (i) => producer.send(`m${i}`), { concurrency: "unbounded" })
      )
      yield* TestClock.adjust(0)
      yield* Fiber.join(all)
      assert.deepStrictEqual(sizes, [3, 1, 1, 1])
      assert.deepStrictEqual(yield* bodiesOf(sqs, "q"), ["m0", "m1", "m2"])
    })
  )
})

describe("failures of a message", () => {
  test("only the entries that failed are sent again", { q: {} }, (sqs) =>
    Effect.gen(function* () {
      yield* sqs.faults.script("SendMessageBatch", [Fault.failEntries([1, 3])])
      const producer = yield* SqsProducer.make("q")
      const all = yield* Effect.fork(
        Effect.forEach(range(10), (i) => producer.send(`m${i}`), { concurrency: "unbounded" })
      )
      yield* TestClock.adjust("1 second")
      yield* Fiber.join(all)
      expect(yield* producer.stats).toMatchObject({ sent: 10, calls: 2, retried: 2 })
      assert.strictEqual((yield* sqs.snapshot("q")).sent, 10)
    })
  )

  test("what SQS calls the sender's fault fails at once, by itself", { q: {} }, (sqs) =>
    Effect.gen(function* () {
      const fault = Fault.failEntries([1], { code: "InvalidParameterValue", senderFault: true, message: "no" })
      yield* sqs.faults.script("SendMessageBatch", [fault])
      const producer = yield* SqsProducer.make("q", atOnce)
      const results = yield* Effect.forEach(["a", "b", "c"], (body) => Effect.either(producer.send(body)), {
        concurrency: 3
      })
      assert.deepStrictEqual(results.map(Either.isRight), [true, false, true])
      expect(results[1]).toMatchObject({
        left: {
          _tag: "MessageRejected",
          reason: "Refused",
          input: "b"
        }
      })
      assert.strictEqual(yield* sends(sqs), 1)
    })
  )

  test("an entry that keeps failing gives its slot to others meanwhile", { q: {} }, (sqs) =>
    Effect.gen(function* () {
      yield* sqs.faults.script("SendMessageBatch", [Fault.failEntries()])
      const producer = yield* SqsProducer.make("q", {
        ...atOnce,
        concurrency: 1,
        retry: Schedule.spaced("1 hour")
      })
      const stuck = yield* Effect.fork(producer.send("stuck"))
      yield* TestClock.adjust(0)
      yield* producer.send("others")
      yield* TestClock.adjust("1 hour")
      yield* Fiber.join(stuck)
    })
  )

  test("throttling and the network are retried until the schedule ends, then say so", { q: {} }, (sqs) =>
    Effect.gen(function* () {
      yield* sqs.faults.script("SendMessageBatch", [Fault.throttle, Fault.fail(), Fault.none])
      const producer = yield* SqsProducer.make("q", { ...atOnce, retry: Schedule.recurs(2) })
      yield* producer.send("a")
      yield* sqs.faults.random({ fail: 1 }, ["SendMessageBatch"])
      const error = yield* Effect.flip(producer.send("b"))
      expect(error).toMatchObject({ _tag: "SendFailed", input: "b", error: { _tag: "TransportError" } })
      expect(error.message).toContain("3 calls")
      assert.strictEqual(yield* sends(sqs), 6)
    })
  )

  test("an error that does not pass fails the call's messages at once", { q: {} }, (sqs) =>
    Effect.gen(function* () {
      yield* sqs.faults.script("SendMessageBatch", [
        Fault.fail((operation) => new SqsError.AccessDenied({ operation, message: "no" }))
      ])
      const producer = yield* SqsProducer.make("q", atOnce)
      const error = yield* Effect.flip(producer.send("a"))
      expect(error).toMatchObject({ _tag: "SendFailed", error: { _tag: "AccessDenied" } })
    })
  )

  test("a call that SQS refuses for one message goes again message by message", { q: {} }, (sqs) =>
    Effect.gen(function* () {
      const refusal = Fault.fail(
        (operation) => new SqsError.InvalidParameterValue({ operation, message: "one of them" })
      )
      yield* sqs.faults.script("SendMessageBatch", [refusal, Fault.none, refusal, Fault.none])
      const producer = yield* SqsProducer.make("q", atOnce)
      const results = yield* Effect.forEach(["a", "b", "c"], (body) => Effect.either(producer.send(body)), {
        concurrency: 3
      })
      assert.deepStrictEqual(results.map(Either.isRight), [true, false, true])
    })
  )

  test("a client that dies leaves no sender waiting", { q: {} }, () =>
    Effect.gen(function* () {
      const producer = yield* SqsProducer.make("q", atOnce)
      const error = yield* Effect.flip(producer.send("a"))
      expect(error).toMatchObject({ _tag: "SendFailed", error: { _tag: "UnknownSqsError", code: "Defect" } })
      assert.strictEqual((yield* producer.stats).inFlight, 0)
    }).pipe(
      Effect.provideServiceEffect(
        SqsClient.SqsClient,
        Effect.map(SqsClient.SqsClient, (client) => ({ ...client, sendMessageBatch: () => Effect.die("a defect") }))
      )
    )
  )
})

describe("messages that SQS would refuse", () => {
  const refused = (
    what: string,
    queue: "q" | "q.fifo",
    message: unknown,
    says: string,
    options: SqsProducer.Options = {}
  ) =>
    test(`${what}: refused before the call, and nobody with it`, { [queue]: {} }, (sqs) =>
      Effect.gen(function* () {
        const producer = yield* SqsProducer.make(queue, { ...atOnce, ...options })
        const good = SqsProducer.message("good", queue === "q" ? {} : { group: "g" })
        const [, error] = yield* Effect.all([producer.send(good), rejected(producer.send(message))], { concurrency: 2 })
        expect(error).toMatchObject({ reason: "Invalid", input: message })
        expect(error.message).toContain(says)
        assert.deepStrictEqual(yield* bodiesOf(sqs, queue), ["good"])
        assert.strictEqual(yield* sends(sqs), 1)
      })
    )
  const { message } = SqsProducer

  refused("an empty body", "q", "", "the body is empty")
  refused("control characters", "q", "a\u0000b", "the body has characters that SQS refuses")
  refused("half a surrogate pair", "q", "\ud800", "the body has characters that SQS refuses")
  refused("a group with a space", "q", message("a", { group: "a b" }), 'its group is "a b"')
  refused("no group on FIFO", "q.fifo", "a", "it has no group")
  refused(
    "a bad deduplication id",
    "q.fifo",
    message("a", { group: "g", deduplicationId: "x".repeat(129) }),
    "its deduplication id is"
  )
  refused(
    "a deduplication id on a standard queue",
    "q",
    message("a", { deduplicationId: "x" }),
    "takes no deduplication"
  )
  refused("a delay on FIFO", "q.fifo", message("a", { group: "g", delay: "1 second" }), "takes no delay")
  refused("too long a delay", "q", message("a", { delay: "16 minutes" }), "15 minutes is the most")
  refused("AWS's own attribute names", "q", message("a", { attributes: { "AWS.x": "y" } }), 'attribute "AWS.x"')
  refused("an empty attribute", "q", message("a", { attributes: { x: "" } }), 'attribute "x" is empty')
  refused("a number that is none", "q", message("a", { attributes: { x: Number.NaN } }), 'attribute "x" is "NaN"')
  refused(
    "an attribute type that is none",
    "q",
    message("a", { attributes: { x: { type: "String", value: "a\u0001" } } }),
    'attribute "x" has characters'
  )
  refused(
    "eleven attributes, the producer's counted",
    "q",
    message("a", { attributes: Object.fromEntries(range(10).map((i) => [`a${i}`, i])) }),
    "11 attributes",
    { attributes: { mine: 1 } }
  )

  test("a body that does not fit its Schema: rejected with the path, not the value", { q: {} }, (sqs) =>
    Effect.gen(function* () {
      const codec = SqsProducer.json(Schema.Struct({ id: Schema.Number, secret: Schema.NonEmptyString }))
      const producer = yield* SqsProducer.make("q", { ...atOnce, codec })
      const error = yield* rejected(producer.send({ id: 1, secret: "" }))
      assert.strictEqual(error.reason, "NotEncodable")
      expect(error.message).toContain("secret")
      assert.strictEqual(yield* sends(sqs), 0)
    })
  )

  test("what is wrong with a body is told without the keys of a Record, which are values too", { q: {} }, () =>
    Effect.gen(function* () {
      const codec = SqsProducer.json(Schema.Record({ key: Schema.String, value: Schema.NonEmptyString }))
      const producer = yield* SqsProducer.make("q", { ...atOnce, codec })
      const error = yield* rejected(producer.send({ "4111-1111": "" }))
      assert.strictEqual(error.reason, "NotEncodable")
      expect(error.message).toContain("[key]")
      expect(error.message).not.toContain("4111")
    })
  )

  test("a codec that dies after a while rejects its message alone", { q: {} }, (sqs) =>
    Effect.gen(function* () {
      const codec: SqsProducer.Codec<string> = {
        ...SqsProducer.json(Schema.String),
        encode: (body) =>
          Effect.zipRight(
            Effect.yieldNow(),
            body === "bad" ? Effect.die(new Error("no key")) : Effect.succeed({ body, attributes: {} })
          )
      }
      const producer = yield* SqsProducer.make("q", { ...atOnce, codec })
      const error = yield* rejected(producer.send("bad"))
      assert.strictEqual(error.reason, "NotEncodable")
      expect(error.message).toContain("no key")
      yield* producer.send("good")
      assert.strictEqual(yield* sends(sqs), 1)
    })
  )

  test("an option's function that throws rejects its message", { "q.fifo": {} }, () =>
    Effect.gen(function* () {
      const producer = yield* SqsProducer.make("q.fifo", {
        ...atOnce,
        group: (body: string) => {
          if (body === "bad") throw new Error("no customer")
          return body
        }
      })
      const error = yield* rejected(producer.send("bad"))
      expect(error.message).toContain("no customer")
      yield* producer.send("good")
    })
  )
})

describe("what is sent", () => {
  test("strings as they are and the rest as JSON; or as a Schema encodes it", { q: {} }, (sqs) =>
    Effect.gen(function* () {
      const plain = yield* SqsProducer.make("q", atOnce)
      yield* plain.send("text")
      yield* plain.send({ a: 1 })
      const dated = yield* SqsProducer.make("q", {
        ...atOnce,
        codec: SqsProducer.json(Schema.Struct({ at: Schema.DateTimeUtc }))
      })
      yield* dated.send({ at: DateTime.unsafeMake(0) })
      assert.deepStrictEqual(yield* bodiesOf(sqs, "q"), ["text", '{"a":1}', '{"at":"1970-01-01T00:00:00.000Z"}'])
    })
  )

  test("a codec may take its time, and says in attributes how to read the body", { q: {} }, (sqs) =>
    Effect.gen(function* () {
      const codec: SqsProducer.Codec<string> = {
        encode: (body) =>
          Effect.succeed({ body: body.toUpperCase(), attributes: { form: "loud" } }).pipe(Effect.delay(1))
      }
      const producer = yield* SqsProducer.make("q", { ...atOnce, codec })
      const sent = yield* Effect.fork(Stream.make("a", "b").pipe(Stream.run(producer.sink)))
      const one = yield* Effect.fork(producer.send("c"))
      yield* TestClock.adjust(10)
      yield* Effect.all([Fiber.join(sent), Fiber.join(one)])
      const messages = yield* sqs.messages("q")
      assert.deepStrictEqual(messages.map(({ body }) => body).sort(), ["A", "B", "C"])
      expect(messages[0]?.attributes).toEqual({ form: { DataType: "String", StringValue: "loud" } })
    })
  )

  test("attributes by type, the group and the delay; a message's own win", { q: {} }, (sqs) =>
    Effect.gen(function* () {
      const producer = yield* SqsProducer.make("q", {
        ...atOnce,
        attributes: { a: "producer", b: 2 },
        group: (body: string) => `group-of-${body}`,
        delay: "1 minute"
      })
      yield* producer.send("first")
      yield* producer.send(
        SqsProducer.message("second", {
          attributes: { a: new Uint8Array([1]), c: { type: "Number", value: "7", label: "int" } },
          group: "mine",
          delay: "1500 millis"
        })
      )
      const [first, second] = yield* sqs.messages("q")
      expect(first).toMatchObject({ group: "group-of-first", visibleAt: 60_000 })
      expect(first?.attributes).toEqual({
        a: { DataType: "String", StringValue: "producer" },
        b: { DataType: "Number", StringValue: "2" }
      })
      expect(second).toMatchObject({ group: "mine", visibleAt: 2_000 })
      expect(second?.attributes).toEqual({
        a: { DataType: "Binary", BinaryValue: new Uint8Array([1]) },
        b: { DataType: "Number", StringValue: "2" },
        c: { DataType: "Number.int", StringValue: "7" }
      })
    })
  )

  for (const trace of ["traceparent", "xray"] as const) {
    test(`the consumer's span is linked to the sender's, by ${trace}`, { q: {} }, (sqs) =>
      Effect.gen(function* () {
        const producer = yield* SqsProducer.make("q", { ...atOnce, trace })
        const sender = yield* producer.send("a").pipe(Effect.zipRight(Effect.currentSpan), Effect.withSpan("sender"))
        const linked = yield* Deferred.make<ReadonlyArray<string>>()
        yield* SqsConsumer.stream("q").pipe(
          Pipeline.process(
            () =>
              Effect.flatMap(Effect.currentSpan, ({ links }) =>
                Deferred.succeed(
                  linked,
                  links.map(({ span }) => `${span.traceId} ${span.spanId}`)
                )
              ),
            { concurrency: 1, span: true }
          ),
          Stream.runDrain,
          Effect.fork
        )
        yield* sqs.settled("q", 1)
        assert.deepStrictEqual(yield* Deferred.await(linked), [`${sender.traceId} ${sender.spanId}`])
      })
    )
  }

  for (const trace of ["traceparent", "xray", "none"] as const) {
    test(`a span for each call where asked for, linked to the senders' (${trace})`, { q: {} }, (sqs) =>
      Effect.gen(function* () {
        const seen: Array<Tracer.Span> = []
        const native = yield* Effect.tracer
        const tracer = Tracer.make({
          ...native,
          span: (...args) => {
            const span = native.span(...args)
            seen.push(span)
            return span
          }
        })
        yield* sqs.faults.script("SendMessageBatch", [Fault.throttle, Fault.failEntries([1])])
        const senders = yield* Effect.gen(function* () {
          const producer = yield* SqsProducer.make("q", { ...atOnce, trace, spans: true, retry: Schedule.recurs(3) })
          return yield* Effect.forEach(
            ["a", "b"],
            (body) =>
              producer.send(body).pipe(Effect.zipRight(Effect.currentSpan), Effect.withSpan("sender", { root: true })),
            { concurrency: 2 }
          )
        }).pipe(Effect.withTracer(tracer))
        const calls = seen.filter(({ name }) => name === "send q")
        const ids = senders.map(({ spanId, traceId }) => `${traceId} ${spanId}`)
        const linked = trace === "none" ? [[], [], []] : [ids, ids, ids.slice(1)]
        assert.deepStrictEqual(
          calls.map(({ links }) => links.map(({ span }) => `${span.traceId} ${span.spanId}`)),
          linked
        )
        const url = yield* Effect.flatMap(SqsClient.SqsClient, (client) => client.getQueueUrl({ QueueName: "q" }))
        const attributes = {
          "messaging.system": "aws_sqs",
          "messaging.system.name": "aws.sqs",
          "aws.sqs.queue.url": url,
          "server.address": new URL(url).hostname,
          ...(new URL(url).port !== "" && { "server.port": Number(new URL(url).port) }),
          "messaging.operation.name": "send",
          "messaging.operation.type": "send",
          "messaging.destination.name": "q"
        }
        assert.deepStrictEqual(
          calls.map(({ attributes }) => Object.fromEntries(attributes)),
          [
            { ...attributes, "messaging.batch.message_count": 2, "error.type": "RequestThrottled" },
            { ...attributes, "messaging.batch.message_count": 2, "millrace.failed_messages": 1 },
            { ...attributes, "messaging.batch.message_count": 1 }
          ]
        )
        for (const { kind, parent } of calls) assert.deepStrictEqual([kind, Option.isNone(parent)], ["client", true])
      })
    )
  }

  test("a call's span is a child of the one that sent all of its messages, where asked for", { q: {} }, () =>
    Effect.gen(function* () {
      const seen: Array<Tracer.Span> = []
      const native = yield* Effect.tracer
      const tracer = Tracer.make({
        ...native,
        span: (...args) => {
          const span = native.span(...args)
          seen.push(span)
          return span
        }
      })
      yield* Effect.gen(function* () {
        const producer = yield* SqsProducer.make("q", { ...atOnce, spans: "child" })
        const send = (...bodies: ReadonlyArray<string>) =>
          Effect.forEach(bodies, (body) => producer.send(body), { concurrency: "unbounded" }).pipe(
            Effect.withSpan("sender", { root: true })
          )
        yield* send("a", "b")
        yield* Effect.all([send("c"), send("d")], { concurrency: "unbounded" })
      }).pipe(Effect.withTracer(tracer))
      const senders = seen.filter(({ name }) => name === "sender")
      assert.deepStrictEqual(
        seen
          .filter(({ name }) => name === "send q")
          .map(({ links, parent }) => [Option.getOrUndefined(parent)?.spanId, links.length]),
        [
          [senders[0]?.spanId, 0],
          [undefined, 2]
        ]
      )
    })
  )

  test("no span for a call unless asked for", { q: {} }, () =>
    Effect.gen(function* () {
      const names: Array<string> = []
      const native = yield* Effect.tracer
      const tracer = Tracer.make({
        ...native,
        span: (name, ...args) => {
          names.push(name)
          return native.span(name, ...args)
        }
      })
      yield* Effect.flatMap(SqsProducer.make("q", atOnce), (producer) => producer.send("a")).pipe(
        Effect.withTracer(tracer)
      )
      assert.notInclude(names, "send q")
    })
  )

  test("the trace gives way to ten attributes, and to a traceparent of the message's own", { q: {} }, (sqs) =>
    Effect.gen(function* () {
      const producer = yield* SqsProducer.make("q", atOnce)
      const ten = Object.fromEntries(range(10).map((i) => [`a${i}`, i]))
      yield* producer.send(SqsProducer.message("a", { attributes: ten })).pipe(Effect.withSpan("s"))
      yield* producer.send(SqsProducer.message("b", { attributes: { traceparent: "mine" } })).pipe(Effect.withSpan("s"))
      const [a, b] = yield* sqs.messages("q")
      assert.deepStrictEqual(Object.keys(a?.attributes ?? {}), Object.keys(ten))
      expect(b?.attributes["traceparent"]?.StringValue).toBe("mine")
    })
  )
})

describe("FIFO", () => {
  test("a group's next message waits for the retry of the one before; other groups do not", { "q.fifo": {} }, (sqs) =>
    Effect.gen(function* () {
      yield* sqs.faults.script("SendMessageBatch", [Fault.failEntries([0])])
      const producer = yield* SqsProducer.make("q.fifo", {
        ...atOnce,
        group: (body: string) => body.slice(0, 1),
        retry: Schedule.spaced("1 minute")
      })
      const all = yield* Effect.fork(
        Effect.forEach(["a1", "b1", "a2", "b2", "b3"], producer.send, { concurrency: "unbounded" })
      )
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(yield* bodiesOf(sqs, "q.fifo"), ["b1", "b2", "b3"])
      yield* TestClock.adjust("1 minute")
      const receipts = yield* Fiber.join(all)
      assert.deepStrictEqual(yield* bodiesOf(sqs, "q.fifo"), ["b1", "b2", "b3", "a1", "a2"])
      expect(receipts[0]?.sequenceNumber).toMatch(/^\d{20}$/)
    })
  )

  test("groups share calls, and their next messages too", { "q.fifo": {} }, (sqs) =>
    Effect.gen(function* () {
      const producer = yield* SqsProducer.make("q.fifo", { group: (i: number) => `g${i % 10}` })
      yield* Stream.range(0, 99).pipe(Stream.run(producer.sink))
      assert.strictEqual(yield* sends(sqs), 10)
    })
  )

  test("a single group goes faster with maxPerGroup, still in order", { "q.fifo": {} }, (sqs) =>
    Effect.gen(function* () {
      const producer = yield* SqsProducer.make("q.fifo", { ...atOnce, group: "g", maxPerGroup: 10 })
      yield* Stream.range(0, 99).pipe(Stream.run(producer.sink))
      assert.strictEqual(yield* sends(sqs), 10)
      assert.deepStrictEqual(yield* bodiesOf(sqs, "q.fifo"), range(100).map(String))
    })
  )

  test("a group stays together: no call begins a group that it has no room for", { "q.fifo": {} }, (sqs) =>
    Effect.gen(function* () {
      const client = yield* SqsClient.SqsClient
      const calls: Array<string> = []
      const recorded: SqsClient.SqsClient["Type"] = {
        ...client,
        sendMessageBatch: (request) => {
          calls.push(request.Entries.map(({ MessageGroupId }) => MessageGroupId).join(""))
          return client.sendMessageBatch(request)
        }
      }
      const producer = yield* SqsProducer.make("q.fifo", {
        linger: "1 second",
        concurrency: 1,
        group: (body: string) => body.slice(0, 1),
        maxPerGroup: 10
      }).pipe(Effect.provideService(SqsClient.SqsClient, recorded))
      // A first call is on its way while the others come.
      yield* sqs.faults.script("SendMessageBatch", [Fault.delay("5 seconds")])
      const messages = [
        ...range(10).map((i) => `z${i}`),
        ...range(7).flatMap((i) => [`a${i}`, `b${i}`, ...(i < 3 ? [`c${i}`] : [])])
      ]
      const all = yield* Effect.fork(Effect.forEach(messages, producer.send, { concurrency: "unbounded" }))
      yield* TestClock.adjust("10 seconds")
      yield* Fiber.join(all)
      assert.deepStrictEqual(calls, ["zzzzzzzzzz", "aaaaaaaccc", "bbbbbbb"])
      for (const group of ["a", "b", "c"]) {
        const sent = (yield* bodiesOf(sqs, "q.fifo")).filter((body) => body.startsWith(group))
        assert.deepStrictEqual(sent, [...sent].sort())
      }
    })
  )

  test("of a group in one call: what SQS fails behind one that it takes is tried again", { "q.fifo": {} }, (sqs) =>
    Effect.gen(function* () {
      yield* sqs.faults.script("SendMessageBatch", [Fault.failEntries([2, 3])])
      const producer = yield* SqsProducer.make("q.fifo", { ...atOnce, group: "g", maxPerGroup: 10 })
      const all = yield* Effect.fork(Effect.forEach(range(4), (i) => producer.send(i), { concurrency: "unbounded" }))
      yield* TestClock.adjust("10 seconds")
      yield* Fiber.join(all)
      assert.deepStrictEqual(yield* bodiesOf(sqs, "q.fifo"), ["0", "1", "2", "3"])
    })
  )

  test(
    "of a group in one call: what SQS fails before one that it takes is not sent behind it",
    { "q.fifo": {} },
    (sqs) =>
      Effect.gen(function* () {
        yield* sqs.faults.script("SendMessageBatch", [Fault.failEntries([1, 3])])
        const producer = yield* SqsProducer.make("q.fifo", {
          ...atOnce,
          group: (body: string) => body.slice(0, 1),
          maxPerGroup: 10
        })
        const bodies = ["a0", "a1", "a2", "a3", "b0"]
        const all = yield* Effect.fork(
          Effect.forEach(bodies, (body) => Effect.either(producer.send(body)), { concurrency: "unbounded" })
        )
        yield* TestClock.adjust("10 seconds")
        const results = yield* Fiber.join(all)
        assert.deepStrictEqual(results.map(Either.isRight), [true, false, true, true, true])
        assert.deepStrictEqual(yield* bodiesOf(sqs, "q.fifo"), ["a0", "a2", "b0", "a3"])
        const [, failed] = results
        const error = failed === undefined || Either.isRight(failed) ? undefined : failed.left
        assert.instanceOf(error, SqsProducer.SendFailed)
        expect(error?.message).toMatch(/took a later one of its group in the same call.*maxPerGroup: 1 /)
      })
  )

  test("a lost answer leaves no duplicate: the retry has the same deduplication ids", { "q.fifo": {} }, (sqs) =>
    Effect.gen(function* () {
      yield* sqs.faults.script("SendMessageBatch", [Fault.dropResponse])
      const producer = yield* SqsProducer.make("q.fifo", { ...atOnce, group: "g", retry: Schedule.recurs(1) })
      const { messageId } = yield* producer.send("same")
      // Not a duplicate of the first, though its body is: each has an id of its own.
      const second = yield* producer.send("same")
      assert.notStrictEqual(second.messageId, messageId)
      expect(yield* sqs.snapshot("q.fifo")).toMatchObject({ sent: 2, duplicates: 1 })
    })
  )

  for (const [how, queue, options] of [
    ["by the option", {}, { deduplicationId: "content" }],
    ["by the queue", { contentBasedDeduplication: true }, {}]
  ] as const) {
    test(`equal bodies are duplicates where content decides, ${how}`, { "q.fifo": queue }, (sqs) =>
      Effect.gen(function* () {
        const producer = yield* SqsProducer.make("q.fifo", { ...atOnce, group: "g", ...options })
        const first = yield* producer.send("same")
        const second = yield* producer.send("same")
        assert.deepStrictEqual(second, first)
        assert.strictEqual((yield* sqs.snapshot("q.fifo")).sent, 1)
      })
    )
  }

  test("deduplication ids derived from the body, and explicit ones", { "q.fifo": {} }, (sqs) =>
    Effect.gen(function* () {
      const producer = yield* SqsProducer.make("q.fifo", {
        ...atOnce,
        codec: SqsProducer.json(Order),
        group: ({ item }) => item,
        deduplicationId: ({ id }) => `order-${id}`
      })
      yield* producer.send({ id: 1, item: "a" })
      yield* producer.send({ id: 1, item: "b" })
      yield* producer.send(SqsProducer.message({ id: 1, item: "c" }, { deduplicationId: "other" }))
      assert.deepStrictEqual(
        (yield* sqs.messages("q.fifo")).map(({ deduplicationId }) => deduplicationId),
        ["order-1", "other"]
      )
    })
  )

  // After five minutes SQS would take the retry for a new message.
  test("a retry never comes later than SQS remembers the deduplication id", { "q.fifo": {} }, (sqs) =>
    Effect.gen(function* () {
      yield* sqs.faults.script("SendMessageBatch", [Fault.dropResponse])
      const producer = yield* SqsProducer.make("q.fifo", { ...atOnce, group: "g", retry: Schedule.spaced("5 minutes") })
      const sent = yield* Effect.fork(Effect.flip(producer.send("a")))
      yield* TestClock.adjust("5 minutes")
      assert.strictEqual((yield* Fiber.join(sent))._tag, "SendFailed")
      expect(yield* sqs.snapshot("q.fifo")).toMatchObject({ sent: 1, duplicates: 0 })
    })
  )
})

describe("streams", () => {
  test("the sink ends with the number, when SQS has them", { q: {} }, (sqs) =>
    Effect.gen(function* () {
      const sent = yield* Effect.fork(Stream.range(1, 25).pipe(Stream.run(SqsProducer.sink("q"))))
      yield* TestClock.adjust("20 millis")
      assert.strictEqual(yield* Fiber.join(sent), 25)
      assert.strictEqual((yield* sqs.snapshot("q")).sent, 25)
    })
  )

  test("the sink fails with the first failure, and what was accepted is sent", { q: {} }, (sqs) =>
    Effect.gen(function* () {
      const error = yield* Stream.make("a", "", "b").pipe(Stream.run(SqsProducer.sink("q")), Effect.flip)
      expect(error).toMatchObject({ _tag: "MessageRejected", input: "" })
      assert.deepStrictEqual(yield* bodiesOf(sqs, "q"), ["a"])
    })
  )

  test("through gives a result an element, in order, and goes on after failures", { q: {} }, (sqs) =>
    Effect.gen(function* () {
      // The first call is the last to be answered.
      yield* sqs.faults.script("SendMessageBatch", [Fault.delay("1 second")])
      const results = yield* Effect.fork(
        Stream.range(0, 29).pipe(
          Stream.map((i) => (i === 5 ? "" : `m${i}`)),
          SqsProducer.through("q"),
          Stream.runCollect
        )
      )
      yield* TestClock.adjust("2 seconds")
      const ids = new Map((yield* sqs.messages("q")).map(({ body, id }) => [id, body]))
      const seen = Chunk.toReadonlyArray(yield* Fiber.join(results)).map(
        Either.match({ onLeft: ({ input }) => input, onRight: ({ messageId }) => ids.get(messageId) })
      )
      assert.deepStrictEqual(
        seen,
        range(30).map((i) => (i === 5 ? "" : `m${i}`))
      )
    })
  )

  test("through runs ahead of its reader by the buffer at most", { q: {} }, (sqs) =>
    Effect.gen(function* () {
      const read = yield* Deferred.make<void>()
      const fiber = yield* Stream.range(1, 1000).pipe(
        Stream.rechunk(1),
        SqsProducer.through("q", { buffer: 20 }),
        Stream.runForEach(() => Deferred.await(read)),
        Effect.fork
      )
      yield* TestClock.adjust("1 second")
      const { sent } = yield* sqs.snapshot("q")
      // What the reader holds in its hands has left the buffer.
      assert.isAtMost(sent, 40)
      yield* Deferred.succeed(read, undefined)
      yield* TestClock.adjust("10 seconds")
      yield* Fiber.join(fiber)
      assert.strictEqual((yield* sqs.snapshot("q")).sent, 1000)
    })
  )

  test("through fails as its stream does, after the results of what came before", { q: {} }, () =>
    Effect.gen(function* () {
      const results: Array<boolean> = []
      const exit = yield* Stream.make("a", "b").pipe(
        Stream.concat(Stream.fail("upstream")),
        SqsProducer.through("q", atOnce),
        Stream.runForEach((result) => Effect.sync(() => results.push(Either.isRight(result)))),
        Effect.exit
      )
      assert.deepStrictEqual(exit, Exit.fail("upstream"))
      assert.deepStrictEqual(results, [true, true])
    })
  )

  test("through ends early without waiting for the rest", { q: {} }, () =>
    Effect.gen(function* () {
      const some = yield* Stream.range(1, 1_000_000).pipe(
        SqsProducer.through("q", atOnce),
        Stream.take(3),
        Stream.runCollect
      )
      assert.strictEqual(Chunk.size(some), 3)
    })
  )
})

describe("streams of what takes time to prepare", () => {
  /** The later the element, the sooner it is ready; 40 is what cannot be encoded. */
  const slow = (preparing: { now: number; peak: number }) => ({
    encode: (i: number) =>
      Effect.gen(function* () {
        preparing.now += 1
        preparing.peak = Math.max(preparing.peak, preparing.now)
        yield* Effect.sleep(1000 - i).pipe(Effect.ensuring(Effect.sync(() => (preparing.now -= 1))))
        return i === 40 ? yield* Effect.fail("no") : { body: String(i) }
      })
  })

  for (const way of ["through", "sink"] as const) {
    test(`${way}: side by side, as many as calls, and handed over in order`, { "q.fifo": {} }, (sqs) =>
      Effect.gen(function* () {
        const preparing = { now: 0, peak: 0 }
        const producer = yield* SqsProducer.make("q.fifo", {
          codec: slow(preparing),
          concurrency: 10,
          linger: 0,
          group: "g",
          maxPerGroup: 10
        })
        const elements = Stream.fromIterable(range(60)).pipe(Stream.rechunk(1))
        const sending =
          way === "through"
            ? elements.pipe(
                producer.through,
                Stream.runCollect,
                Effect.map((results) => Chunk.toReadonlyArray(results).findIndex(Either.isLeft))
              )
            : elements.pipe(
                Stream.filter((i) => i !== 40),
                Stream.run(producer.sink)
              )
        const fiber = yield* Effect.fork(sending)
        yield* TestClock.adjust("10 seconds")
        assert.strictEqual(yield* Fiber.join(fiber), way === "through" ? 40 : 59)
        assert.strictEqual(preparing.peak, 10)
        assert.deepStrictEqual(
          yield* bodiesOf(sqs, "q.fifo"),
          range(60)
            .filter((i) => i !== 40)
            .map(String)
        )
      })
    )
  }

  test("through: what came before a failure of the stream is sent, and its results come first", { q: {} }, () =>
    Effect.gen(function* () {
      const producer = yield* SqsProducer.make("q", { ...atOnce, codec: slow({ now: 0, peak: 0 }) })
      const results: Array<boolean> = []
      const fiber = yield* Stream.make(1, 2).pipe(
        Stream.concat(Stream.fail("upstream")),
        producer.through,
        Stream.runForEach((result) => Effect.sync(() => results.push(Either.isRight(result)))),
        Effect.exit,
        Effect.fork
      )
      yield* TestClock.adjust("2 seconds")
      assert.deepStrictEqual(yield* Fiber.join(fiber), Exit.fail("upstream"))
      assert.deepStrictEqual(results, [true, true])
    })
  )

  test("the end of the stream's reader ends what is being prepared", { q: {} }, (sqs) =>
    Effect.gen(function* () {
      for (const way of ["through", "sink"] as const) {
        const preparing = { now: 0, peak: 0 }
        const producer = yield* SqsProducer.make("q", { ...atOnce, codec: slow(preparing) })
        const fiber = yield* Stream.range(1, 5).pipe(
          (stream): Effect.Effect<unknown, unknown> =>
            way === "through" ? Stream.runDrain(producer.through(stream)) : Stream.run(stream, producer.sink),
          Effect.fork
        )
        yield* TestClock.adjust("500 millis")
        assert.strictEqual(preparing.now, 5)
        yield* Fiber.interrupt(fiber)
        assert.strictEqual(preparing.now, 0)
        yield* TestClock.adjust("5 seconds")
        assert.deepStrictEqual(yield* bodiesOf(sqs, "q"), [])
      }
    })
  )
})

describe("closing", () => {
  const closing = (sqs: SqsEmulator.Service, options: SqsProducer.Options = {}) =>
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      const producer = yield* Scope.extend(SqsProducer.make("q", options), scope)
      const close = Effect.fork(Scope.close(scope, Exit.void))
      return { sqs, producer, close }
    })

  test("what was accepted is sent at once, without lingering; what comes later fails", { q: {} }, (sqs) =>
    Effect.gen(function* () {
      const { close, producer } = yield* closing(sqs, { linger: "1 minute" })
      const sent = yield* Effect.fork(producer.send("a"))
      yield* TestClock.adjust(0)
      yield* Effect.flatMap(close, Fiber.join)
      yield* Fiber.join(sent)
      expect(yield* Effect.flip(producer.send("b"))).toMatchObject({
        _tag: "ProducerClosed",
        accepted: false,
        input: "b"
      })
      assert.deepStrictEqual(yield* bodiesOf(sqs, "q"), ["a"])
    })
  )

  test("who waits for room fails; what SQS does not confirm in time fails as perhaps sent", { q: {} }, (sqs) =>
    Effect.gen(function* () {
      yield* sqs.faults.random({ fail: 1 }, ["SendMessageBatch"])
      const { close, producer } = yield* closing(sqs, { ...atOnce, buffer: 1, flushTimeout: "3 seconds" })
      const accepted = yield* Effect.fork(Effect.flip(producer.send("accepted")))
      const waiting = yield* Effect.fork(Effect.flip(producer.send("waiting")))
      const streamed = yield* Effect.fork(
        Stream.make("streamed").pipe(producer.through, Stream.runCollect, Effect.map(Chunk.toReadonlyArray))
      )
      yield* TestClock.adjust(0)
      const closed = yield* close
      yield* TestClock.adjust(0)
      expect(yield* Fiber.join(waiting)).toMatchObject({ _tag: "ProducerClosed", accepted: false })
      expect((yield* Fiber.join(streamed)).map(Either.isLeft)).toEqual([true])
      yield* TestClock.adjust("2999 millis")
      assert.deepStrictEqual(yield* Fiber.poll(accepted), Option.none())
      yield* TestClock.adjust("1 millis")
      expect(yield* Fiber.join(accepted)).toMatchObject({ _tag: "ProducerClosed", accepted: true })
      yield* Fiber.join(closed)
      const calls = yield* sends(sqs)
      yield* TestClock.adjust("1 minute")
      assert.strictEqual(yield* sends(sqs), calls)
    })
  )
})

describe("figures", () => {
  const figuresOf = (producer: string) =>
    Effect.map(Metric.snapshot, (pairs) => (name: string) => {
      const tagged = pairs.filter(({ metricKey: { tags } }) =>
        tags.some(({ key, value }) => key === "producer" && value === producer)
      )
      return tagged.find(({ metricKey }) => metricKey.name === `millrace_producer_${name}`)?.metricState
    })

  test("as metrics tagged by producer, the queue's name unless it has one; the same as the stats", { q: {} }, (sqs) =>
    Effect.gen(function* () {
      yield* sqs.faults.script("SendMessageBatch", [
        Fault.throttle,
        Fault.delay("2 seconds"),
        Fault.failEntries([0], { senderFault: true }),
        Fault.delay("1 hour")
      ])
      const name = "figures of a producer"
      const producer = yield* SqsProducer.make("q", {
        ...atOnce,
        name,
        retry: Schedule.spaced("1 second"),
        flushTimeout: 0
      })
      const all = yield* Effect.fork(Effect.forEach(range(10), producer.send, { concurrency: 10 }))
      yield* TestClock.adjust("3 seconds")
      yield* Fiber.join(all)
      yield* Effect.either(producer.send("refused"))
      yield* Effect.fork(producer.send("on its way"))
      yield* TestClock.adjust(0)
      const of = yield* figuresOf(name)
      expect(of("sent")).toMatchObject({ count: 10 })
      expect(of("failed")).toMatchObject({ count: 1 })
      expect(of("retried")).toMatchObject({ count: 10 })
      expect(of("calls")).toMatchObject({ count: 4 })
      expect(of("buffered")).toMatchObject({ value: 1 })
      expect(of("send_seconds")).toMatchObject({ count: 10, min: 3, max: 3, sum: 30 })
      expect(yield* producer.stats).toMatchObject({
        buffered: 1,
        inFlight: 1,
        sent: 10,
        failed: 1,
        retried: 10,
        calls: 4
      })

      yield* (yield* SqsProducer.make("q", atOnce)).send("a")
      const tags = (yield* Metric.snapshot).flatMap(({ metricKey }) =>
        metricKey.tags.map(({ key, value }) => `${key} ${value}`)
      )
      assert.include(tags, "producer q")
    })
  )

  test("a full buffer is seen while no call ends", { q: {} }, (sqs) =>
    Effect.gen(function* () {
      yield* sqs.faults.random({ delay: 1, maxDelay: "1 hour" }, ["SendMessageBatch"])
      const name = "a producer with a buffer"
      const producer = yield* SqsProducer.make("q", { ...atOnce, name, concurrency: 1, flushTimeout: 0 })
      yield* Effect.fork(Effect.forEach(range(25), producer.send, { concurrency: 25 }))
      yield* TestClock.adjust(0)
      expect((yield* figuresOf(name))("buffered")).toMatchObject({ value: 20 })
    })
  )
})

describe("rate", () => {
  test("producers that share a rate keep to it together, in full calls", { a: {}, b: {} }, (sqs) =>
    Effect.gen(function* () {
      const rate = yield* SendRate.make({ perSecond: 20 })
      const start = yield* Clock.currentTimeMillis
      yield* Effect.forEach(["a", "b"], (queue) =>
        Stream.range(1, 1000).pipe(Stream.run(SqsProducer.sink(queue, { rate })), Effect.fork)
      )
      yield* TestClock.adjust("10 seconds")
      const counts = [yield* sqs.snapshot("a"), yield* sqs.snapshot("b")].map(({ sent }) => sent)
      assert.strictEqual((yield* Clock.currentTimeMillis) - start, 10_000)
      // Ten at once, then 20 a second; in turns.
      assert.strictEqual((counts[0] ?? 0) + (counts[1] ?? 0), 210)
      assert.isAtMost(Math.abs((counts[0] ?? 0) - (counts[1] ?? 0)), 10)
      assert.strictEqual(yield* sends(sqs), 21)
      yield* rate.perSecond.set(10_000)
      yield* TestClock.adjust("1 second")
      assert.strictEqual((yield* sqs.snapshot("a")).sent, 1000)
    })
  )

  test("zero sends nothing until it is raised", { q: {} }, (sqs) =>
    Effect.gen(function* () {
      const perSecond = yield* Tunable.make("perSecond", 0, { min: 0 })
      const rate = yield* SendRate.make({ perSecond, burst: 1 })
      const sent = yield* Effect.fork(Stream.range(1, 3).pipe(Stream.run(SqsProducer.sink("q", { rate }))))
      yield* TestClock.adjust("1 hour")
      assert.strictEqual((yield* sqs.snapshot("q")).sent, 1)
      yield* perSecond.set(1)
      yield* TestClock.adjust("2 seconds")
      assert.strictEqual(yield* Fiber.join(sent), 3)
    })
  )
})

describe("options", () => {
  const invalid = (option: string, queue: "q" | "q.fifo", options: SqsProducer.Options) =>
    test(`${option} of ${JSON.stringify(options)} is refused when the producer is made`, { [queue]: {} }, () =>
      Effect.map(Effect.flip(SqsProducer.make(queue, options)), (error) =>
        expect(error).toMatchObject({ _tag: "InvalidOptions", option })
      )
    )
  invalid("linger", "q", { linger: "2 minutes" })
  invalid("concurrency", "q", { concurrency: 0 })
  invalid("buffer", "q", { buffer: 0.5 })
  invalid("bufferBytes", "q", { bufferBytes: 0 })
  invalid("maxCallBytes", "q", { maxCallBytes: 2_000_000 })
  invalid("maxPerGroup", "q.fifo", { maxPerGroup: 11 })
  invalid("maxPerGroup", "q", { maxPerGroup: 2 })
  invalid("deduplicationId", "q", { deduplicationId: "content" })
  invalid("delay", "q.fifo", { delay: "1 second" })
  invalid("delay", "q", { delay: "1 hour" })

  test("a queue that is not there fails when the producer is made", {}, () =>
    Effect.map(Effect.flip(SqsProducer.make("q")), (error) => assert.strictEqual(error._tag, "QueueDoesNotExist"))
  )

  it.effect("a rate below zero, and a burst of none, are refused", () =>
    Effect.gen(function* () {
      expect(yield* Effect.flip(SendRate.make({ perSecond: -1 }))).toMatchObject({ option: "perSecond" })
      expect(yield* Effect.flip(SendRate.make({ perSecond: 1, burst: 0 }))).toMatchObject({ option: "burst" })
    })
  )
})

describe("through the AWS SDK, over HTTP", () => {
  const served = Layer.unwrapEffect(
    Effect.map(SqsHttp.SqsHttp, ({ endpoint }) =>
      SqsClient.layer({
        region: "us-east-1",
        endpoint,
        credentials: { accessKeyId: "any", secretAccessKey: Redacted.make("any") }
      })
    )
  ).pipe(
    Layer.provideMerge(SqsHttp.layer({ port: 0 })),
    Layer.provideMerge(SqsEmulator.layer({ queues: { "q.fifo": {} } }))
  )

  it.scopedLive("bodies, attributes, groups and results are as in process", () =>
    Effect.gen(function* () {
      const sqs = yield* SqsEmulator.SqsEmulator
      yield* sqs.faults.script("SendMessageBatch", [Fault.failEntries([2]), Fault.dropResponse])
      const producer = yield* SqsProducer.make("q.fifo", {
        group: (i: number) => `g${i % 5}`,
        attributes: (i: number) => ({ n: i, bytes: new Uint8Array([i]) }),
        retry: Schedule.recurs(3)
      })
      const results = yield* Stream.range(0, 24).pipe(producer.through, Stream.runCollect)
      const receipts = Chunk.toReadonlyArray(results).map(Either.getOrThrow)
      const messages = yield* sqs.messages("q.fifo")
      assert.strictEqual(messages.length, 25)
      const byId = new Map(messages.map((message) => [message.id, message]))
      for (const [i, { messageId, sequenceNumber }] of receipts.entries()) {
        const message = byId.get(messageId)
        expect(message).toMatchObject({
          body: String(i),
          group: `g${i % 5}`,
          sequenceNumber,
          attributes: { n: { DataType: "Number", StringValue: String(i) }, bytes: { DataType: "Binary" } }
        })
        assert.deepStrictEqual([...(message?.attributes["bytes"]?.BinaryValue ?? [])], [i])
      }
      for (const group of range(5)) {
        const bodies = messages.filter((message) => message.group === `g${group}`).map(({ body }) => Number(body))
        assert.deepStrictEqual(
          bodies,
          range(5).map((i) => group + 5 * i)
        )
      }
    }).pipe(Effect.provide(served))
  )
})
