import { brotliCompressSync, brotliDecompressSync, gunzipSync, gzipSync } from "node:zlib"
import { assert, describe, expect, it } from "@effect/vitest"
import { type Delivery, Pipeline } from "@millrace/core"
import { type SqsClient, SqsConsumer, SqsEncoding, SqsEnvelope, type SqsLeaseQueue, SqsProducer } from "@millrace/sqs"
import { SqsEmulator } from "@millrace/sqs/emulator"
import { Chunk, Effect, Either, Exit, Schema, type Scope, Stream } from "effect"

const Order = Schema.Struct({ id: Schema.Number, note: Schema.String })
const order = (id: number, length = 5000) => ({ id, note: "widget ".repeat(length / 7) })
const atOnce = { linger: 0 } satisfies SqsProducer.Options

const test = (
  name: string,
  run: (sqs: SqsEmulator.Service) => Effect.Effect<unknown, unknown, Scope.Scope | SqsClient.SqsClient>,
  queues: Readonly<Record<string, SqsEmulator.QueueOptions>> = { q: {} }
) =>
  it.scoped(name, () =>
    Effect.flatMap(SqsEmulator.SqsEmulator, run).pipe(Effect.provide(SqsEmulator.layer({ queues })))
  )

const gzip64 = (text: string | Uint8Array) => gzipSync(text).toString("base64")
const compressed = (text: string | Uint8Array) =>
  SqsEmulator.message(gzip64(text), { attributes: { "content-encoding": "gzip" } })

type Deliveries<A, E> = Stream.Stream<Delivery.Delivery<A, E>, SqsConsumer.ConsumerError, SqsClient.SqsClient>

/** What the next `count` messages of "q" become in a stage: the value, or the message of the DecodeError. */
const received = <B>(
  stage: (self: Deliveries<string, never>) => Deliveries<B, Delivery.DecodeError>,
  count: number,
  options: SqsLeaseQueue.Options = {}
) =>
  SqsConsumer.stream("q", options).pipe(
    stage,
    Stream.mapEffect((delivery) => Effect.as(delivery.ack, delivery)),
    Stream.take(count),
    Stream.runCollect,
    Effect.map((deliveries) =>
      Chunk.toReadonlyArray(deliveries).map(
        ({ body }): Either.Either<B, string> =>
          Exit.match(body, {
            onFailure: (cause) => Either.left(cause._tag === "Fail" ? cause.error.message : cause._tag),
            onSuccess: Either.right
          })
      )
    )
  )

const problem = (results: ReadonlyArray<Either.Either<unknown, string>>) =>
  results.map(Either.match({ onLeft: (message) => message, onRight: () => "opened" })).join()

describe("SqsEncoding.gzip", () => {
  test("what a producer compresses is smaller, says so, and is opened by any decode stage", (sqs) =>
    Effect.gen(function* () {
      const producer = yield* SqsProducer.make("q", { ...atOnce, encoding: yield* SqsEncoding.gzip() })
      yield* producer.send(order(1))
      const [message] = yield* sqs.messages("q")
      expect(message?.attributes).toEqual({ "content-encoding": { DataType: "String", StringValue: "gzip" } })
      assert.isBelow(message?.body.length ?? 0, 500)
      assert.strictEqual(gunzipSync(Buffer.from(message?.body ?? "", "base64")).toString(), JSON.stringify(order(1)))
      assert.deepStrictEqual(yield* received(Pipeline.decodeJson(Order), 1), [Either.right(order(1))])

      yield* producer.send("text ".repeat(1000))
      assert.deepStrictEqual(yield* received(Pipeline.decode(Schema.String), 1), [Either.right("text ".repeat(1000))])
    }))

  test("an envelope is opened too, and the body as it was received is kept", (sqs) =>
    Effect.gen(function* () {
      const event = {
        id: "1",
        "detail-type": "Order Placed",
        source: "shop",
        account: "1",
        region: "r",
        time: "2026-01-01T00:00:00Z",
        detail: order(3)
      }
      yield* sqs.send("q", [compressed(JSON.stringify(event))])
      const kept: Array<string> = []
      const [result] = yield* received(
        (self) =>
          SqsEnvelope.eventBridge(Order)(self).pipe(
            Stream.tap((delivery: Delivery.Delivery<unknown, unknown>) =>
              Effect.sync(() => kept.push(delivery.message.body))
            )
          ),
        1
      )
      assert.deepStrictEqual(Either.getOrThrow(result ?? Either.left("none")).detail, order(3))
      assert.deepStrictEqual(kept, [gzip64(JSON.stringify(event))])
    }))

  test("what is small, does not shrink or has ten attributes already is sent as it is", (sqs) =>
    Effect.gen(function* () {
      const producer = yield* SqsProducer.make("q", { ...atOnce, encoding: yield* SqsEncoding.gzip({ above: 100 }) })
      const ten = Object.fromEntries(Array.from({ length: 10 }, (_, i) => [`a${i}`, i]))
      const noise = gzip64(order(1).note + JSON.stringify(ten)).slice(0, 160)
      const bodies = ["a".repeat(99), noise, "a".repeat(1000)]
      yield* producer.send(bodies[0] ?? "")
      yield* producer.send(noise)
      yield* producer.send(SqsProducer.message(bodies[2] ?? "", { attributes: ten }))
      const messages = yield* sqs.messages("q")
      assert.deepStrictEqual(
        messages.map(({ body }) => body),
        bodies
      )
      for (const { attributes } of messages) assert.notProperty(attributes, "content-encoding")
      // The bound itself is compressed.
      yield* producer.send("a".repeat(100))
      assert.property((yield* sqs.messages("q"))[3]?.attributes, "content-encoding")
    }))

  test("the size that counts is that of what is sent", (sqs) =>
    Effect.gen(function* () {
      const producer = yield* SqsProducer.make("q", { ...atOnce, encoding: yield* SqsEncoding.gzip() })
      yield* producer.send(order(1, 3_000_000))
      assert.strictEqual((yield* sqs.messages("q")).length, 1)
      assert.deepStrictEqual(yield* received(Pipeline.decodeJson(Order), 1), [Either.right(order(1, 3_000_000))])
    }))

  test("half a surrogate pair is rejected, since no encoding could give it back", () =>
    Effect.gen(function* () {
      const producer = yield* SqsProducer.make("q", { ...atOnce, encoding: yield* SqsEncoding.gzip() })
      const error = yield* Effect.flip(producer.send(`${"a".repeat(2000)}\ud800`))
      expect(error).toMatchObject({ _tag: "MessageRejected", reason: "Invalid" })
      // Control characters, which SQS refuses, may be in it.
      yield* producer.send("\u0000".repeat(2000))
      assert.deepStrictEqual(yield* received(Pipeline.decode(Schema.String), 1), [Either.right("\u0000".repeat(2000))])
    }))

  test("a bomb is opened no further than maxBytes; without the option than 16 MiB", (sqs) =>
    Effect.gen(function* () {
      const encodings = [yield* SqsEncoding.gzip({ maxBytes: 10_000 })]
      yield* sqs.send("q", [compressed(JSON.stringify("a".repeat(9998)))])
      assert.deepStrictEqual(yield* received(Pipeline.decodeJson(Schema.String), 1, { encodings }), [
        Either.right("a".repeat(9998))
      ])
      yield* sqs.send("q", [compressed(JSON.stringify("a".repeat(9999)))])
      assert.include(
        problem(yield* received(Pipeline.decodeJson(Schema.String), 1, { encodings })),
        "becomes more than 10000 bytes"
      )
      yield* sqs.send("q", [compressed(new Uint8Array(16 * 1_048_576 + 1).fill(32))])
      assert.include(problem(yield* received(Pipeline.decodeJson(Order), 1)), "becomes more than 16777216 bytes")
    }))

  test(
    "what does not open is poison: dead-lettered as it was received, with the reason",
    (sqs) =>
      Effect.gen(function* () {
        const bodies = ["no base64", gzip64("half of it").slice(0, 20), gzip64(new Uint8Array([0xc3, 0x28]))]
        yield* sqs.send(
          "q",
          bodies.map((body) => SqsEmulator.message(body, { attributes: { "content-encoding": "gzip" } }))
        )
        yield* SqsConsumer.stream("q").pipe(
          Pipeline.decodeJson(Order),
          Pipeline.process(() => Effect.die("must not run")),
          Stream.runDrain,
          Effect.fork
        )
        yield* sqs.settled("q", 3)
        const dead = yield* sqs.messages("dead")
        assert.deepStrictEqual(dead.map(({ body }) => body).sort(), bodies.sort())
        for (const { attributes } of dead) {
          assert.strictEqual(attributes["content-encoding"]?.StringValue, "gzip")
          assert.include(attributes["millrace-dead-letter-reason"]?.StringValue, "gzip and base64, and it is not")
        }
      }),
    { q: { deadLetter: { queue: "dead", maxReceiveCount: 5 } }, dead: {} }
  )

  test("a body that a stage before has changed is not opened", (sqs) =>
    Effect.gen(function* () {
      yield* sqs.send("q", [compressed("1")])
      assert.deepStrictEqual(
        yield* received(
          (self) =>
            self.pipe(
              Pipeline.map(() => "2"),
              Pipeline.decodeJson(Schema.Number)
            ),
          1
        ),
        [Either.right(2)]
      )
    }))

  for (const contentBased of [true, false]) {
    const queues = { "q.fifo": { contentBasedDeduplication: contentBased } }
    test(
      `FIFO: equal content is a duplicate, compressed or not (${contentBased ? "the queue's" : "the option's"})`,
      (sqs) =>
        Effect.gen(function* () {
          const options = { ...atOnce, group: "g", ...(!contentBased && { deduplicationId: "content" as const }) }
          const plain = yield* SqsProducer.make("q.fifo", options)
          const gzip = yield* SqsProducer.make("q.fifo", { ...options, encoding: yield* SqsEncoding.gzip() })
          const best = yield* SqsProducer.make("q.fifo", {
            ...options,
            encoding: yield* SqsEncoding.gzip({ level: 1 })
          })
          for (const producer of [gzip, best, plain]) yield* producer.send(order(1))
          assert.strictEqual((yield* sqs.snapshot("q.fifo")).sent, 1)
          yield* gzip.send(order(2))
          assert.strictEqual((yield* sqs.snapshot("q.fifo")).sent, 2)
        }),
      queues
    )
  }

  it.effect("options that cannot be are refused", () =>
    Effect.gen(function* () {
      for (const [options, option] of [
        [{ level: 10 }, "level"],
        [{ above: -1 }, "above"],
        [{ maxBytes: 0 }, "maxBytes"]
      ] as const) {
        expect(yield* Effect.flip(SqsEncoding.gzip(options))).toMatchObject({ _tag: "InvalidOptions", option })
      }
    })
  )
})

describe("an encoding of one's own", () => {
  /** As squiss-ts has it. */
  const brotli: SqsEncoding.Encoding = {
    attributes: { __SQS_GZIP__: 1 },
    encode: (text) => brotliCompressSync(text).toString("base64"),
    decode: (body) =>
      Either.try({
        try: () => brotliDecompressSync(Buffer.from(body, "base64")).toString(),
        catch: () => "it is not brotli"
      })
  }

  test("is known by its attributes, beside gzip; what none is known for stays as it is", (sqs) =>
    Effect.gen(function* () {
      const producer = yield* SqsProducer.make("q", { ...atOnce, encoding: brotli })
      yield* producer.send("1")
      expect((yield* sqs.messages("q"))[0]?.attributes).toEqual({
        __SQS_GZIP__: { DataType: "Number", StringValue: "1" }
      })
      yield* sqs.send("q", [compressed("2"), SqsEmulator.message("3", { attributes: { "content-encoding": "zstd" } })])
      const encodings = [...SqsEncoding.standard, brotli]
      assert.deepStrictEqual(yield* received(Pipeline.decodeJson(Schema.Number), 3, { encodings }), [
        Either.right(1),
        Either.right(2),
        Either.right(3)
      ])
    }))
})
