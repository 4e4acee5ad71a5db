import { assert, describe, it } from "@effect/vitest"
import { type Delivery, Pipeline, RetryPolicy } from "@millrace/core"
import { SqsConsumer, SqsEnvelope } from "@millrace/sqs"
import { SqsEmulator } from "@millrace/sqs/emulator"
import { Chunk, DateTime, Effect, Either, Exit, Schema, Stream } from "effect"

const Order = Schema.Struct({ order_id: Schema.Number })
const emulator = SqsEmulator.layer({ queues: { events: {} } })

/** What these bodies become in a stage: the value, or the message of the DecodeError. */
const opened = <B>(stage: SqsEnvelope.Stage<B>, bodies: ReadonlyArray<unknown>) =>
  Effect.gen(function* () {
    const sqs = yield* SqsEmulator.SqsEmulator
    yield* sqs.send(
      "events",
      bodies.map((body) => (typeof body === "string" ? body : JSON.stringify(body)))
    )
    const deliveries = yield* SqsConsumer.stream("events").pipe(
      stage,
      Stream.mapEffect((delivery) => Effect.as(delivery.ack, delivery)),
      Stream.take(bodies.length),
      Stream.runCollect
    )
    return Chunk.toReadonlyArray(deliveries).map(
      ({ body }): Either.Either<B, string> =>
        Exit.match(body, {
          onFailure: (cause) => Either.left(cause._tag === "Fail" ? cause.error.message : cause._tag),
          onSuccess: Either.right
        })
    )
  }).pipe(Effect.provide(emulator))

const failure = (results: ReadonlyArray<Either.Either<unknown, string>>) => {
  const [first] = results
  return first !== undefined && Either.isLeft(first) ? first.left : "none"
}

describe("SqsEnvelope.sns", () => {
  const notification = {
    Type: "Notification",
    MessageId: "22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324",
    TopicArn: "arn:aws:sns:us-west-2:123456789012:orders",
    Subject: "An order",
    Message: '{"order_id":1}',
    Timestamp: "2012-05-02T00:54:06.655Z",
    SignatureVersion: "1",
    Signature: "EXAMPLE",
    MessageAttributes: { kind: { Type: "String", Value: "express" } }
  }

  it.effect("SNS's own confirmations do not decode, and the error names them", () =>
    Effect.gen(function* () {
      for (const Type of ["SubscriptionConfirmation", "UnsubscribeConfirmation", "Other"]) {
        const said = failure(yield* opened(SqsEnvelope.sns(Order), [{ ...notification, Type }]))
        assert.include(said, "Type: expected a Notification")
        if (Type !== "Other") assert.include(said, Type)
      }
    })
  )

  it.effect("one byte order mark is skipped, before the envelope and within it", () =>
    Effect.gen(function* () {
      const marked = `\uFEFF${JSON.stringify({ ...notification, Message: `\uFEFF${notification.Message}` })}`
      const results = yield* opened(SqsEnvelope.sns(Order), [marked, `\uFEFF${marked}`])
      assert.deepStrictEqual(results.map(Either.isRight), [true, false])
    })
  )

  it.effect("envelopes nest: an event of EventBridge by way of SNS", () =>
    Effect.gen(function* () {
      const event = {
        version: "0",
        id: "e",
        "detail-type": "OrderPlaced",
        source: "shop",
        account: "123456789012",
        time: "2026-01-02T03:04:05Z",
        region: "us-west-2",
        resources: [],
        detail: { order_id: 5 }
      }
      const nested = SqsEnvelope.sns(SqsEnvelope.EventBridgeEvent(Order))
      const [result] = yield* opened(nested, [{ ...notification, Message: JSON.stringify(event) }])
      assert.deepStrictEqual(
        Either.map(result ?? Either.left("none"), ({ message }) => message.detail),
        Either.right({ order_id: 5 })
      )
    })
  )

  it.effect("a notification becomes its message by the Schema, with attributes, topic, subject and time", () =>
    Effect.gen(function* () {
      const { MessageAttributes: _, Subject: __, ...bare } = notification
      const results = yield* opened(SqsEnvelope.sns(Order), [notification, { ...bare, Subject: null }])
      const common = {
        message: { order_id: 1 },
        topicArn: notification.TopicArn,
        messageId: notification.MessageId,
        timestamp: DateTime.toDate(DateTime.unsafeMake("2012-05-02T00:54:06.655Z"))
      }
      assert.deepStrictEqual(results, [
        Either.right({ ...common, attributes: notification.MessageAttributes, subject: "An order" }),
        Either.right({ ...common, attributes: {} })
      ])
    })
  )

  it.effect("text that is not JSON has a stage of its own", () =>
    Effect.gen(function* () {
      const [result] = yield* opened(SqsEnvelope.snsText, [{ ...notification, Message: "hello" }])
      assert.strictEqual(Either.getOrThrow(result ?? Either.left("none")).message, "hello")
    })
  )

  it.effect(
    "what is not a notification, or not of the Schema, flows on as a failure that names the place, not the value",
    () =>
      Effect.gen(function* () {
        assert.match(failure(yield* opened(SqsEnvelope.sns(Order), ['{"order_id":1}'])), /Message: is missing/)
        assert.match(failure(yield* opened(SqsEnvelope.sns(Order), ["not json"])), /it is not JSON/)
        for (const Message of ['{"order_id":"secret"}', "secret"]) {
          const wrong = failure(yield* opened(SqsEnvelope.sns(Order), [{ ...notification, Message }]))
          assert.match(wrong, /does not decode: Message/)
          assert.notInclude(wrong, "secret")
        }
      })
  )
})

describe("SqsEnvelope.eventBridge", () => {
  const event = {
    version: "0",
    id: "6a7e8feb-b491-4cf7-a9f1-bf3703467718",
    "detail-type": "Order Placed",
    source: "com.shop.orders",
    account: "111122223333",
    time: "2017-12-22T18:43:48Z",
    region: "us-west-1",
    resources: ["arn:aws:ec2:us-west-1:123456789012:instance/i-1234567890abcdef0"],
    detail: { order_id: 7 }
  }

  it.effect("an event's detail is decoded by the Schema, with its type, source and the rest beside it", () =>
    Effect.gen(function* () {
      const { "detail-type": detailType, version: _, ...rest } = event
      assert.deepStrictEqual(yield* opened(SqsEnvelope.eventBridge(Order), [event]), [
        Either.right({ ...rest, detailType, time: DateTime.toDate(DateTime.unsafeMake("2017-12-22T18:43:48Z")) })
      ])
      const wrong = yield* opened(SqsEnvelope.eventBridge(Order), [{ ...event, detail: { order_id: "secret" } }])
      assert.match(failure(wrong), /detail\.order_id: expected number$/)
    })
  )
})

describe("SqsEnvelope.s3", () => {
  const record = (key: string) => ({
    eventVersion: "2.1",
    eventSource: "aws:s3",
    awsRegion: "us-west-2",
    eventTime: "1970-01-01T00:00:00.000Z",
    eventName: "ObjectCreated:Put",
    s3: {
      s3SchemaVersion: "1.0",
      bucket: { name: "amzn-s3-demo-bucket", arn: "arn:aws:s3:::amzn-s3-demo-bucket" },
      object: { key, size: 1024, eTag: "d41d8cd98f00b204e9800998ecf8427e", sequencer: "0055AED6DCD90281E5" }
    }
  })
  const test = { Service: "Amazon S3", Event: "s3:TestEvent", Time: "2014-10-13T15:57:02.089Z", Bucket: "bucket" }

  it.effect("keys are decoded: S3 writes a space as + and everything else that is not ASCII in percents", () =>
    Effect.gen(function* () {
      const keys = ["HappyFace.jpg", "my+photos/M%C3%BCnchen%2B1.jpg", "%E0%A4%A"]
      const results = yield* opened(
        SqsEnvelope.s3,
        keys.map((key) => ({ Records: [record(key)] }))
      )
      assert.deepStrictEqual(results.slice(0, 2).map(Either.map((records) => records.map(({ s3 }) => s3.object.key))), [
        Either.right(["HappyFace.jpg"]),
        Either.right(["my photos/München+1.jpg"])
      ])
      assert.match(failure(results.slice(2)), /object\.key/)
    })
  )

  it.effect("the test event is acked and comes no further", () =>
    Effect.gen(function* () {
      const sqs = yield* SqsEmulator.SqsEmulator
      yield* sqs.send("events", [JSON.stringify(test), JSON.stringify({ Records: [record("a"), record("b")] })])
      const seen: Array<ReadonlyArray<string>> = []
      yield* SqsConsumer.stream("events").pipe(
        SqsEnvelope.s3,
        Pipeline.process((records) => Effect.sync(() => seen.push(records.map(({ s3 }) => s3.object.key)))),
        Stream.runDrain,
        Effect.forkScoped
      )
      yield* sqs.settled("events", 2)
      assert.deepStrictEqual(seen, [["a", "b"]])
      assert.strictEqual((yield* sqs.snapshot("events")).deleted, 2)
    }).pipe(Effect.scoped, Effect.provide(emulator))
  )

  it.effect("by way of SNS: its records are the message, none of a test event", () =>
    Effect.gen(function* () {
      const notification = (message: unknown) => ({
        Type: "Notification",
        MessageId: "id",
        TopicArn: "arn:aws:sns:us-west-2:123456789012:uploads",
        Message: JSON.stringify(message),
        Timestamp: "2012-05-02T00:54:06.655Z"
      })
      const results = yield* opened(SqsEnvelope.sns(SqsEnvelope.S3Event), [
        notification({ Records: [record("a+b")] }),
        notification(test)
      ])
      assert.deepStrictEqual(results.map(Either.map(({ message }) => message.map(({ s3 }) => s3.object.key))), [
        Either.right(["a b"]),
        Either.right([])
      ])
    })
  )

  it("records written again are as S3 writes them", () => {
    const decoded = Schema.decodeUnknownSync(SqsEnvelope.S3Event)({ Records: [record("my+photos/M%C3%BCnchen.jpg")] })
    const [again] = Schema.decodeUnknownSync(SqsEnvelope.S3Event)(Schema.encodeSync(SqsEnvelope.S3Event)(decoded))
    assert.strictEqual(again?.s3.object.key, "my photos/München.jpg")
  })
})

describe("what does not decode", () => {
  it.effect("meets the retry policy of the stage that settles, in its turn", () =>
    Effect.gen(function* () {
      const sqs = yield* SqsEmulator.SqsEmulator
      yield* sqs.send("events", ["no envelope"])
      const failures: Array<string> = []
      yield* SqsConsumer.stream("events").pipe(
        SqsEnvelope.eventBridge(Order),
        Pipeline.process((_, __: Delivery.Delivery<unknown, Delivery.DecodeError>) => Effect.void, {
          retry: (failure) => {
            failures.push(failure._tag)
            return RetryPolicy.discard
          }
        }),
        Stream.runDrain,
        Effect.forkScoped
      )
      yield* sqs.settled("events", 1)
      assert.deepStrictEqual(failures, ["DecodeError"])
    }).pipe(Effect.scoped, Effect.provide(emulator))
  )
})
