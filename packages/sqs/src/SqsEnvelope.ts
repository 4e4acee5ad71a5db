/**
 * Stages that open what other AWS services put around a message before it reaches the queue. Each stands where
 * `Pipeline.decodeJson` would: what is not of the envelope, or of the Schema inside, flows on as a failed delivery with
 * a `DecodeError`.
 */
import type { DecodeError, Delivery } from "@millrace/core/Delivery"
import * as Envelope from "@millrace/core/Envelope"
import * as InvalidOptions from "@millrace/core/InvalidOptions"
import * as Pipeline from "@millrace/core/Pipeline"
import * as Clock from "effect/Clock"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as ParseResult from "effect/ParseResult"
import * as Random from "effect/Random"
import * as Schema from "effect/Schema"
import type * as Stream from "effect/Stream"

/** From bodies as they leave the queue to what was in the envelope. */
export type Stage<out B, out R = never> = <E, EX, RX>(
  self: Stream.Stream<Delivery<string, E>, EX, RX>
) => Stream.Stream<Delivery<B, E | DecodeError>, EX, RX | R>

// ---------------------------------------------------------------------------------------------------------------- SNS

const SnsAttribute = Schema.Struct({ Type: Schema.String, Value: Schema.String })

/** An attribute as its publisher set it. `Type` is `String`, `String.Array`, `Number` or `Binary`, which is base64. */
export interface SnsAttribute extends Schema.Schema.Type<typeof SnsAttribute> {}

/** A notification of an SNS topic. */
export interface SnsNotification<out B> {
  readonly message: B
  readonly attributes: { readonly [name: string]: SnsAttribute }
  readonly topicArn: string
  /** SNS's own, of the notification; the message that carries it has another. */
  readonly messageId: string
  readonly subject?: string | undefined
  /** When it was published. */
  readonly timestamp: Date
}

/** SNS sends confirmations of its own in the same form, but for the type. */
const Type = Schema.String.pipe(
  Schema.filter((type) => type !== "SubscriptionConfirmation", {
    identifier: "a Notification, and it is SNS's own SubscriptionConfirmation, which nobody has published"
  }),
  Schema.filter((type) => type !== "UnsubscribeConfirmation", {
    identifier: "a Notification, and it is SNS's own UnsubscribeConfirmation, which nobody has published"
  }),
  Schema.filter((type) => type === "Notification", { identifier: "a Notification" })
)

const common = {
  attributes: Schema.Record({ key: Schema.String, value: SnsAttribute }),
  topicArn: Schema.String,
  messageId: Schema.String
}

const notification = <B, R>(message: Schema.Schema<B, string, R>) =>
  Schema.transform(
    Schema.Struct({
      type: Schema.propertySignature(Type).pipe(Schema.fromKey("Type")),
      message: Schema.propertySignature(message).pipe(Schema.fromKey("Message")),
      attributes: Schema.optionalWith(common.attributes, { default: () => ({}) }).pipe(
        Schema.fromKey("MessageAttributes")
      ),
      topicArn: Schema.propertySignature(common.topicArn).pipe(Schema.fromKey("TopicArn")),
      messageId: Schema.propertySignature(common.messageId).pipe(Schema.fromKey("MessageId")),
      subject: Schema.optionalWith(Schema.String, { nullable: true }).pipe(Schema.fromKey("Subject")),
      timestamp: Schema.propertySignature(Schema.Date).pipe(Schema.fromKey("Timestamp"))
    }),
    Schema.Struct({
      message: Schema.typeSchema(message),
      ...common,
      subject: Schema.optional(Schema.String),
      timestamp: Schema.DateFromSelf
    }),
    {
      strict: false,
      decode: ({ type: _, ...rest }) => rest,
      encode: (rest) => ({ type: "Notification", ...rest })
    }
  )

const json = <B, I, R>(schema: Schema.Schema<B, I, R>): Schema.Schema<B, string, R> =>
  Schema.compose(WithoutMark, Schema.parseJson(schema))

/** One byte order mark is skipped. */
const WithoutMark = Schema.transform(Schema.String, Schema.String, {
  strict: true,
  decode: (text) => (text.charCodeAt(0) === 0xfeff ? text.slice(1) : text),
  encode: (text) => text
})

/** A notification as SNS writes it. */
export type SnsEncoded = Schema.Schema.Encoded<ReturnType<typeof notification<string, never>>>

/**
 * The Schema of a notification whose message is JSON of the Schema given. It nests: an event of EventBridge by way of SNS
 * is `SqsEnvelope.sns(SqsEnvelope.EventBridgeEvent(Order))`. SNS's own confirmations do not decode.
 */
export const SnsNotification = <B, I, R>(
  schema: Schema.Schema<B, I, R>
): Schema.Schema<SnsNotification<B>, SnsEncoded, R> => notification(json(schema))

/**
 * Opens the notifications of an SNS topic that the queue subscribes to: the message is parsed as JSON and decoded by the
 * Schema. A subscription with raw message delivery has no envelope: read it with `Pipeline.decodeJson`, and its
 * attributes from `delivery.message`.
 *
 * @see https://docs.aws.amazon.com/sns/latest/dg/sns-message-and-json-formats.html
 * @example
 * SqsConsumer.stream("orders").pipe(
 *   SqsEnvelope.sns(Order),
 *   Pipeline.process(({ message, topicArn }) => fulfil(message))
 * )
 */
export const sns = <B, I, R>(schema: Schema.Schema<B, I, R>): Stage<SnsNotification<B>, R> =>
  Pipeline.decodeJson(SnsNotification(schema))

/** The same for messages that are not JSON: the text as it was published. */
export const snsText: Stage<SnsNotification<string>> = Pipeline.decodeJson(notification(Schema.String))

// --------------------------------------------------------------------------------------------------------- EventBridge

/** An event of an EventBridge bus. */
export interface EventBridgeEvent<out B> {
  readonly id: string
  readonly detailType: string
  readonly source: string
  readonly account: string
  readonly region: string
  readonly time: Date
  readonly resources: ReadonlyArray<string>
  readonly detail: B
}

/** An event as EventBridge writes it. */
export type EventBridgeEncoded<I> = Schema.Schema.Encoded<ReturnType<typeof event<unknown, I, never>>>

const event = <B, I, R>(detail: Schema.Schema<B, I, R>) =>
  Schema.Struct({
    id: Schema.String,
    detailType: Schema.propertySignature(Schema.String).pipe(Schema.fromKey("detail-type")),
    source: Schema.String,
    account: Schema.String,
    region: Schema.String,
    time: Schema.Date,
    resources: Schema.optionalWith(Schema.Array(Schema.String), { default: () => [] }),
    detail
  })

/** The Schema of an event, with `detail` by the Schema given. It nests, as `SnsNotification` does. */
export const EventBridgeEvent = <B, I, R>(
  detail: Schema.Schema<B, I, R>
): Schema.Schema<EventBridgeEvent<B>, EventBridgeEncoded<I>, R> => event(detail)

/**
 * Opens the events that a rule of EventBridge sends to the queue, with `detail` decoded by the Schema. A target with an
 * input transformer sends what that makes: read it with `Pipeline.decodeJson`.
 *
 * @see https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-events.html
 */
export const eventBridge = <B, I, R>(schema: Schema.Schema<B, I, R>): Stage<EventBridgeEvent<B>, R> =>
  Pipeline.decodeJson(EventBridgeEvent(schema))

/**
 * Events of EventBridge as the envelope of a channel: the `detail-type` is the message's name, with `.v2` and so on behind it
 * from the second version on, and the `detail` its data. What it writes is for tests: events reach a queue by a bus.
 * Throws `InvalidOptions` where an option cannot work.
 */
export const detailType = (options: { readonly source: string }): Envelope.Envelope => {
  const required = InvalidOptions.required(InvalidOptions.text)
  InvalidOptions.checkOrThrow("SqsEnvelope.detailType", options, { source: required })
  const { source } = options
  return {
    read: (body) =>
      Either.map(Schema.decodeEither(AnyEvent)(body), ({ detail, detailType }) => ({
        ...Envelope.parted(detailType),
        data: () => Either.right(detail)
      })).pipe(Either.mapLeft(() => "it is no event of EventBridge")),
    write: ({ data, id, type, version }) =>
      Effect.map(Effect.zip(Random.nextIntBetween(0, 2 ** 32), Clock.currentTimeMillis), ([random, now]) => ({
        body: JSON.stringify({
          version: "0",
          id: id ?? random.toString(16).padStart(8, "0"),
          "detail-type": Envelope.joined(type, version),
          source,
          account: "000000000000",
          time: DateTime.formatIso(DateTime.unsafeMake(now)),
          region: "us-east-1",
          resources: [],
          detail: data
        })
      })),
    describe: ({ type, version }, data) => ({
      contentType: "application/json",
      payload: {
        type: "object",
        required: ["id", "detail-type", "source", "detail"],
        properties: {
          id: { type: "string" },
          "detail-type": { const: Envelope.joined(type, version) },
          source: { type: "string" },
          time: { type: "string", format: "date-time" },
          detail: data
        }
      }
    })
  }
}

const AnyEvent = Schema.parseJson(
  Schema.Struct({
    source: Schema.String,
    detailType: Schema.propertySignature(Schema.String).pipe(Schema.fromKey("detail-type")),
    detail: Schema.Unknown
  })
)

// ------------------------------------------------------------------------------------------------------------------ S3

/** S3 writes keys as in a query: a space is `+`, and what is not ASCII is percent-encoded. */
const Key = Schema.transformOrFail(Schema.String, Schema.String, {
  decode: (encoded, _, ast) =>
    ParseResult.try({
      try: () => decodeURIComponent(encoded.replaceAll("+", " ")),
      catch: () => new ParseResult.Type(ast, encoded)
    }),
  encode: (key) => ParseResult.succeed(encodeURIComponent(key).replaceAll("%20", "+").replaceAll("%2F", "/"))
})

const S3Record = Schema.Struct({
  /** Such as `ObjectCreated:Put`. */
  eventName: Schema.String,
  eventTime: Schema.Date,
  awsRegion: Schema.String,
  s3: Schema.Struct({
    bucket: Schema.Struct({ name: Schema.String, arn: Schema.optional(Schema.String) }),
    object: Schema.Struct({
      /** Decoded: as it is in the bucket. */
      key: Key,
      /** In bytes; not there where the object is gone. */
      size: Schema.optional(Schema.Number),
      eTag: Schema.optional(Schema.String),
      versionId: Schema.optional(Schema.String),
      /** Orders the events of one key: compare as hexadecimal numbers of equal length. */
      sequencer: Schema.optional(Schema.String)
    })
  })
})

/** What happened to one object. */
export interface S3Record extends Schema.Schema.Type<typeof S3Record> {}

const S3Records = Schema.Struct({ Records: Schema.Array(S3Record) })
const S3Test = Schema.Struct({ Event: Schema.Literal("s3:TestEvent") })

/**
 * The records of an S3 notification; none of the `s3:TestEvent` that S3 sends as a notification is set up. For S3 by way
 * of SNS: `SqsEnvelope.sns(SqsEnvelope.S3Event)`.
 */
export const S3Event: Schema.Schema<
  ReadonlyArray<S3Record>,
  typeof S3Records.Encoded | typeof S3Test.Encoded
> = Schema.transform(Schema.Union(S3Records, S3Test), Schema.Array(Schema.typeSchema(S3Record)), {
  strict: true,
  decode: (notification) => ("Records" in notification ? notification.Records : []),
  encode: (Records) => ({ Records })
})

/**
 * Opens the notifications that a bucket of S3 sends to the queue: the body becomes their records, at least one, with
 * decoded keys. The `s3:TestEvent` is acked and comes no further.
 *
 * @see https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html
 */
export const s3: Stage<ReadonlyArray<S3Record>> = (self) =>
  self.pipe(
    Pipeline.decodeJson(S3Event),
    Pipeline.filter((records) => records.length > 0)
  )
