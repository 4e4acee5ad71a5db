/**
 * Sends to an SQS queue: one message as an Effect, a stream into a Sink, or as a stage that goes on with the results.
 * Messages of all senders share calls; what fails is sent again on its own; a full buffer makes senders wait.
 */
import { createHash } from "node:crypto"
import * as InvalidOptions from "@millrace/core/InvalidOptions"
import type * as LeaseQueue from "@millrace/core/LeaseQueue"
import * as Reason from "@millrace/core/Reason"
import * as Cause from "effect/Cause"
import * as Chunk from "effect/Chunk"
import * as Data from "effect/Data"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as ParseResult from "effect/ParseResult"
import * as Predicate from "effect/Predicate"
import * as Random from "effect/Random"
import * as Runtime from "effect/Runtime"
import * as RuntimeFlags from "effect/RuntimeFlags"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Sink from "effect/Sink"
import * as Stream from "effect/Stream"
import type * as Tracer from "effect/Tracer"
import { mapValues } from "./internal/message/mapValues.js"
import * as pointer from "./internal/message/pointer.js"
import {
  longestMessage,
  mostAttributes,
  problemOf,
  problemOfToken,
  problemOfUtf8,
  sizeOf,
  toSqs
} from "./internal/message/sendable.js"
import { InOrder } from "./internal/send/inOrder.js"
import { type Entry, type Failure, Outbox, type Receipt, type Result, type Stats } from "./internal/send/outbox.js"
import { ProducerMetrics } from "./internal/send/producerMetrics.js"
import { traced } from "./internal/send/spans.js"
import type { ObjectStoreError } from "./ObjectStore.js"
import type { SendRate } from "./SendRate.js"
import type { SqsClaimCheck } from "./SqsClaimCheck.js"
import type { MessageAttribute, MessageAttributes } from "./SqsClient.js"
import { SqsClient } from "./SqsClient.js"
import type { Encoding } from "./SqsEncoding.js"
import type { SqsError } from "./SqsError.js"
import * as SqsQueue from "./SqsQueue.js"

export type { Receipt, Stats } from "./internal/send/outbox.js"

// ---------------------------------------------------------------------------------------------------------------------
// Messages
// ---------------------------------------------------------------------------------------------------------------------

/** Numbers become `Number`, bytes `Binary`, the rest `String`; an attribute of a delivery can be passed on as it is. */
export type Attributes = Readonly<Record<string, string | number | bigint | Uint8Array | LeaseQueue.Attribute>>

export interface MessageFields {
  /** At most 10; the trace, an encoding and a claim check take one each. They count to the message's size. */
  readonly attributes?: Attributes | undefined
  /** The ordering key (SQS `MessageGroupId`): FIFO queues demand one; on standard queues it is for fair queues. */
  readonly group?: string | undefined
  /** FIFO: what SQS knows a message again by for 5 minutes. */
  readonly deduplicationId?: string | undefined
  /** Before it can be received: up to 15 minutes, rounded up to whole seconds. FIFO queues refuse it. Default: the queue's. */
  readonly delay?: Duration.DurationInput | undefined
}

/** A body with more than a body: see `message`. */
export class Message<out A> {
  readonly body: A
  readonly fields: MessageFields

  constructor(body: A, fields: MessageFields) {
    this.body = body
    this.fields = fields
  }
}

/** A message with attributes, a group, a deduplication id or a delay of its own; they win over the producer's options. */
export const message = <A>(body: A, fields: MessageFields = {}): Message<A> => new Message(body, fields)

// ---------------------------------------------------------------------------------------------------------------------
// Errors
// ---------------------------------------------------------------------------------------------------------------------

/**
 * The message can never be sent as it is; nothing else failed with it.
 *
 * - `NotEncodable`: the codec refused the body, or a function of the options threw.
 * - `TooLarge`: body and attributes have more bytes than SQS takes; `size` says how many.
 * - `Invalid`: SQS would refuse the body, an attribute, an id or the delay; it was not sent.
 * - `Refused`: SQS refused it.
 */
export class MessageRejected extends Data.TaggedError("MessageRejected")<{
  readonly reason: "NotEncodable" | "TooLarge" | "Invalid" | "Refused"
  /** As it was given. */
  readonly input: unknown
  /** In bytes, as SQS counts them, where it was encoded. */
  readonly size: number | undefined
  readonly message: string
  readonly cause?: unknown
}> {}

/** Trying again was no use: the schedule has ended, or the error is one that does not pass (`error` says which). */
export class SendFailed extends Data.TaggedError("SendFailed")<{
  readonly input: unknown
  readonly error: SqsError
  readonly message: string
}> {}

/** The producer's scope is closed. */
export class ProducerClosed extends Data.TaggedError("ProducerClosed")<{
  readonly input: unknown
  /** It was accepted and not confirmed within `flushTimeout`: it may be in the queue or not. */
  readonly accepted: boolean
  readonly message: string
}> {}

/** The claim check could not put the body into its store, and so the message was not sent. */
export class BodyNotStored extends Data.TaggedError("BodyNotStored")<{
  readonly input: unknown
  readonly error: ObjectStoreError
  readonly message: string
}> {}

/** What may become of a message but being sent. Each has the message as it was given, in `input`. */
export type ProducerError = MessageRejected | SendFailed | BodyNotStored | ProducerClosed

// ---------------------------------------------------------------------------------------------------------------------
// Codecs
// ---------------------------------------------------------------------------------------------------------------------

export interface Encoded {
  readonly body: string
  /** Attributes that say how to read the body. */
  readonly attributes?: Attributes | undefined
}

/**
 * From a body to what is sent. An `Either` is an Effect, and the quick way; where it takes time, the sender waits, and a
 * stream's elements are encoded side by side, as many as there may be calls.
 */
export interface Codec<in A> {
  readonly encode: (body: A) => Effect.Effect<Encoded, unknown>
}

const encodeJson = (value: unknown): Either.Either<Encoded, unknown> => {
  try {
    const body = JSON.stringify(value)
    return body === undefined ? Either.left(`${typeof value} has no form in JSON`) : Either.right({ body })
  } catch (error) {
    return Either.left(error)
  }
}

/** The default: strings as they are, everything else as JSON. */
export const plain: Codec<unknown> = {
  encode: (value) => (typeof value === "string" ? Either.right({ body: value }) : encodeJson(value))
}

/** JSON of what the Schema encodes; what does not fit it is rejected. The Schema must not need async effects. */
export const json = <A, I>(schema: Schema.Schema<A, I>): Codec<A> => {
  const encode = Schema.encodeEither(schema)
  return { encode: (value) => Either.flatMap(encode(value), encodeJson) }
}

// ---------------------------------------------------------------------------------------------------------------------
// The producer
// ---------------------------------------------------------------------------------------------------------------------

export interface Options<in A = unknown> {
  /** In metrics, as the tag `producer`. Default: the queue's name. */
  readonly name?: string | undefined
  /** From a body to the text that is sent. Default: `plain`. */
  readonly codec?: Codec<A> | undefined
  /** How that text is written: `SqsEncoding.gzip` compresses it. Left out where 10 attributes are full. Default: as it is. */
  readonly encoding?: Encoding | undefined
  /** Bodies that are too large go to S3, and the message says where: `SqsClaimCheck.make`. Default: they are rejected. */
  readonly claimCheck?: SqsClaimCheck | undefined
  /** Of every message; a message's own are added to them. */
  readonly attributes?: Attributes | ((body: A) => Attributes) | undefined
  /** Of every message that does not say. */
  readonly group?: string | ((body: A) => string | undefined) | undefined
  /**
   * FIFO, for messages that do not say. `"content"`: equal bodies are duplicates, for 5 minutes (what a queue with
   * content-based deduplication does by itself). Default: the queue's content-based deduplication where it has it;
   * else each message gets an id of its own, so that retries make no duplicates and equal bodies are none.
   */
  readonly deduplicationId?: "content" | ((body: A) => string) | undefined
  /** Of every message that does not say. */
  readonly delay?: Duration.DurationInput | undefined
  /**
   * How the sender's span travels, where there is one, so that the consumer's is linked to it: as a W3C `traceparent`
   * attribute (the default; left out where 10 attributes or the size are full), as AWS's X-Ray header, or not.
   */
  readonly trace?: "traceparent" | "xray" | "none" | undefined
  /** A span `send <queue>` for each call, linked to the senders' spans that travel. Default: false. */
  readonly spans?: boolean | undefined
  /**
   * How long a message may wait for others to share its call. Zero: what is sent in the same turn still does.
   * Default: 20 milliseconds.
   */
  readonly linger?: Duration.DurationInput | undefined
  /** Calls under way at once. Default: 16. */
  readonly concurrency?: number | undefined
  /**
   * Messages accepted and not confirmed, at most; who sends more waits. Default: 20 for each of `concurrency`, two full
   * calls. Much more costs memory and CPU time, and sends no faster.
   */
  readonly buffer?: number | undefined
  /** The same in bytes; one larger message alone is let in. Default: 64 MiB. */
  readonly bufferBytes?: number | undefined
  /** The size of a call, and so of a message: up to 1 MiB, the default; 256 KiB where an older endpoint demands it. */
  readonly maxCallBytes?: number | undefined
  /**
   * FIFO: messages of one group in a call, 1 to 10. Default: 1, because SQS may fail one entry of a call and take the
   * group's next; then they are out of order. With more, a single group is faster, at that risk.
   */
  readonly maxPerGroup?: number | undefined
  /**
   * When to send again what failed by throttling, an error within SQS or the network; it is given the error. Default:
   * exponential from 100 milliseconds to 5 seconds, jittered, for a minute. On FIFO queues never for longer than SQS
   * remembers the deduplication id.
   */
  readonly retry?: Schedule.Schedule<unknown, SqsError> | undefined
  /** Messages a second, at most; give several producers the same `SendRate.make` to share it. Default: no limit. */
  readonly rate?: SendRate | undefined
  /** How long closing waits for what was accepted. Default: 10 seconds. */
  readonly flushTimeout?: Duration.DurationInput | undefined
}

export const defaultRetry: Schedule.Schedule<unknown> = Schedule.exponential("100 millis").pipe(
  Schedule.union(Schedule.spaced("5 seconds")),
  Schedule.jittered,
  Schedule.upTo("1 minute")
)

/** What making a producer can fail with: options that cannot work, a string that is no queue, and what AWS says. */
export type MakeError = SqsError | SqsQueue.InvalidQueue | InvalidOptions.InvalidOptions

/**
 * A message is *accepted* when there is room for it in the buffer. What was accepted is sent, whatever becomes of its
 * sender; what waits for room is given up when its sender is interrupted.
 */
export interface SqsProducer<in A> {
  readonly queue: SqsQueue.SqsQueue
  /** Completes when SQS has the message. */
  readonly send: (message: A | Message<A>) => Effect.Effect<Receipt, ProducerError>
  /**
   * Sends all and ends with how many there were, when SQS has them. Fails with the first failure of a message, at the
   * next element or the end; what was accepted by then is sent all the same.
   */
  readonly sink: Sink.Sink<number, A | Message<A>, never, ProducerError>
  /**
   * Each element's result, in the order of the elements. Runs ahead of who reads by `buffer` elements at most. Ends
   * and fails as the stream does, after the results of what came before.
   */
  readonly through: <E, R>(
    stream: Stream.Stream<A | Message<A>, E, R>
  ) => Stream.Stream<Either.Either<Receipt, ProducerError>, E, R>
  readonly stats: Effect.Effect<Stats>
}

interface Checked {
  readonly linger: number
  readonly concurrency: number
  readonly buffer: number
  readonly bufferBytes: number
  readonly callBytes: number
  readonly maxPerGroup: number
  readonly flushTimeout: Duration.Duration
}

const attribute: InvalidOptions.Check = {
  write: "a text, a number, bytes, or an attribute of a delivery",
  fits: (value) =>
    ["string", "number", "bigint"].includes(typeof value) ||
    value instanceof Uint8Array ||
    (Predicate.isRecord(value) && "type" in value && "value" in value)
}

const fieldChecks: InvalidOptions.Checks<MessageFields> = {
  attributes: InvalidOptions.record(attribute),
  group: InvalidOptions.anyText,
  deduplicationId: InvalidOptions.anyText,
  delay: InvalidOptions.time()
}

const problemOfFields = (fields: MessageFields): string | undefined => {
  const problem = Effect.runSyncExit(Effect.flip(InvalidOptions.check("a message", fields, fieldChecks)))
  return Exit.isSuccess(problem) ? problem.value.message : undefined
}

const atLeastOne = InvalidOptions.aWholeNumber({ min: 1 })

const checks: InvalidOptions.Checks<Options<never>> = {
  name: InvalidOptions.text,
  codec: InvalidOptions.having("a codec, such as SqsProducer.json(schema)", "encode"),
  encoding: InvalidOptions.having("an encoding, such as SqsEncoding.gzip()", "encode", "decode"),
  claimCheck: InvalidOptions.having("what SqsClaimCheck.make gives", "park", "maxBytes"),
  attributes: InvalidOptions.either(InvalidOptions.func, InvalidOptions.record(attribute)),
  group: InvalidOptions.either(InvalidOptions.text, InvalidOptions.func),
  deduplicationId: InvalidOptions.either(InvalidOptions.oneOf("content"), InvalidOptions.func),
  delay: InvalidOptions.time({ max: "15 minutes" }),
  trace: InvalidOptions.oneOf("traceparent", "xray", "none"),
  spans: InvalidOptions.flag,
  linger: InvalidOptions.time({ max: "1 minute" }),
  concurrency: InvalidOptions.aWholeNumber({ min: 1, max: 100_000 }),
  buffer: atLeastOne,
  bufferBytes: atLeastOne,
  maxCallBytes: InvalidOptions.aWholeNumber({ min: 1024, max: longestMessage }),
  maxPerGroup: InvalidOptions.aWholeNumber({ min: 1, max: 10 }),
  retry: InvalidOptions.schedule,
  rate: InvalidOptions.having("what SendRate.make gives", "perSecond", "bucket"),
  flushTimeout: InvalidOptions.time()
}

const check = <A>(
  queue: SqsQueue.SqsQueue,
  options: Options<A>
): Effect.Effect<Checked, InvalidOptions.InvalidOptions> =>
  Effect.gen(function* () {
    yield* InvalidOptions.check("SqsProducer", options, checks)
    const refuse = (option: string, message: string) =>
      new InvalidOptions.InvalidOptions({ option, message: `${option} ${message}` })
    if (queue.fifo && Duration.greaterThan(options.delay ?? 0, Duration.zero)) {
      return yield* refuse("delay", `is for standard queues, and ${queue.name} is FIFO; set the queue's own delay`)
    }
    if (!queue.fifo && options.deduplicationId !== undefined) {
      return yield* refuse("deduplicationId", `is for FIFO queues, and ${queue.name} is a standard queue; leave it out`)
    }
    if (!queue.fifo && options.maxPerGroup !== undefined) {
      return yield* refuse("maxPerGroup", `is for FIFO queues, and ${queue.name} is a standard queue; leave it out`)
    }
    const { delay, flushTimeout } = options
    yield* InvalidOptions.warnOfBareNumbers({ delay, flushTimeout })
    const concurrency = options.concurrency ?? 16
    return {
      linger: Duration.toMillis(options.linger ?? "20 millis"),
      concurrency,
      buffer: options.buffer ?? 20 * concurrency,
      bufferBytes: options.bufferBytes ?? 64 * 1_048_576,
      callBytes: options.maxCallBytes ?? longestMessage,
      maxPerGroup: options.maxPerGroup ?? 1,
      flushTimeout: Duration.decode(flushTimeout ?? "10 seconds")
    }
  })

const foreignFields = ["delaySeconds", "groupId", "deduplicationId", "messageAttributes", "delay", "group"]

/** Whether it is most likely meant as a message of the AWS SDK or of another library, and would be sent as a body. */
const isForeign = (given: unknown): boolean =>
  Predicate.isRecord(given) &&
  ("MessageBody" in given || ("body" in given && foreignFields.some((name) => name in given)))

const noop = () => {}

type Writable<T> = { -readonly [K in keyof T]: T[K] }

/** An Either is an Effect, so that what is there already costs no turn. */
const isEither = <B, E>(effect: Effect.Effect<B, E>): effect is Effect.Effect<B, E> & Either.Either<B, E> =>
  Either.isEither(effect)
const immediate = <B, E>(effect: Effect.Effect<B, E>): Either.Either<B, E> | undefined =>
  isEither(effect) ? effect : undefined

const isAttribute = (value: Uint8Array | LeaseQueue.Attribute): value is LeaseQueue.Attribute =>
  !(value instanceof Uint8Array)

const attributeOf = (value: Attributes[string]): MessageAttribute => {
  switch (typeof value) {
    case "string":
      return { DataType: "String", StringValue: value }
    case "number":
    case "bigint":
      return { DataType: "Number", StringValue: String(value) }
    default:
      return isAttribute(value) ? toSqs(value) : { DataType: "Binary", BinaryValue: value }
  }
}

// Custom tracers may have ids of their own kind.
const w3cTrace = /^[0-9a-f]{32}$/
const w3cSpan = /^[0-9a-f]{16}$/

const traceOf = (span: Tracer.AnySpan | undefined): Tracer.AnySpan | undefined =>
  span !== undefined && w3cTrace.test(span.traceId) && w3cSpan.test(span.spanId) ? span : undefined

const traceparent = ({ sampled, spanId, traceId }: Tracer.AnySpan): string =>
  `00-${traceId}-${spanId}-${sampled ? "01" : "00"}`

const xrayHeader = ({ sampled, spanId, traceId }: Tracer.AnySpan): MessageAttributes => ({
  AWSTraceHeader: {
    DataType: "String",
    StringValue: `Root=1-${traceId.slice(0, 8)}-${traceId.slice(8)};Parent=${spanId};Sampled=${sampled ? "1" : "0"}`
  }
})

/** Where and what, never the values: the message goes to logs. */
const problemOfEncoding = (error: unknown): string =>
  ParseResult.isParseError(error)
    ? `the body does not fit its Schema: ${Reason.of(error)}`
    : `the body could not be encoded: ${Reason.of(error)}`

const countOf = (attributes: MessageAttributes | undefined): number =>
  attributes === undefined ? 0 : Object.keys(attributes).length

/** Makes entries of messages, or says why not. */
const preparing = <A>(
  queue: SqsQueue.SqsQueue,
  options: Options<A>,
  maxCallBytes: number,
  uniqueId: () => string,
  runFork: (effect: Effect.Effect<void>) => unknown
) => {
  const codec: Codec<A> = options.codec ?? plain
  const { attributes: own, deduplicationId: deduplication, group: groupOf } = options
  const ownAttributes = typeof own === "function" ? own : () => own
  const trace = options.trace ?? "traceparent"
  const contentBased = queue.attributes["ContentBasedDeduplication"] === "true"
  const noFields: MessageFields = {}
  let isWarned = false
  const warnOnce = (warning: Effect.Effect<void>) => {
    if (isWarned) return
    isWarned = true
    runFork(warning)
  }
  const { claimCheck, encoding } = options
  const encodingAttributes = mapValues(encoding?.attributes ?? {}, attributeOf)
  const encodingCount = countOf(encodingAttributes)
  const above =
    claimCheck?.above ?? Math.min(maxCallBytes, Number(queue.attributes["MaximumMessageSize"] ?? maxCallBytes))

  const attributesOf = (
    body: A,
    fields: MessageFields,
    encoded: Encoded
  ): Record<string, MessageAttribute> | undefined => {
    let attributes: Record<string, MessageAttribute> | undefined
    for (const given of [ownAttributes(body), fields.attributes, encoded.attributes]) {
      for (const name in given) {
        const value = given[name]
        if (value === undefined) continue
        attributes ??= {}
        attributes[name] = attributeOf(value)
      }
    }
    return attributes
  }

  // The body that SQS sees says nothing of the content where it is encoded or a pointer.
  const deduplicationIdOf = (body: A, fields: MessageFields, text: string, sent: string): string | undefined => {
    if (fields.deduplicationId !== undefined || !queue.fifo) return fields.deduplicationId
    if (typeof deduplication === "function") return deduplication(body)
    if (contentBased && text === sent) return undefined
    return contentBased || deduplication === "content" ? createHash("sha256").update(text).digest("hex") : uniqueId()
  }

  const build = (
    given: A | Message<A>,
    body: A,
    fields: MessageFields,
    encoded: Encoded,
    span: Tracer.AnySpan | undefined
  ): Effect.Effect<Entry, MessageRejected | BodyNotStored> => {
    let text = encoded.body
    let attributes = attributesOf(body, fields, encoded)
    if (encoding !== undefined && countOf(attributes) + encodingCount <= mostAttributes) {
      const written = encoding.encode(text)
      if (written !== undefined) {
        text = written
        attributes = { ...attributes, ...encodingAttributes }
      }
    }
    let size = sizeOf(text, attributes)
    const reject = (reason: MessageRejected["reason"], problem: string) =>
      Either.left(
        new MessageRejected({
          reason,
          input: given,
          size,
          message: `a message for ${queue.name} was not sent: ${problem}`
        })
      )
    let parked: ReturnType<SqsClaimCheck["park"]> | undefined
    if (claimCheck !== undefined && size > above && encoded.body !== "") {
      const bytes = Buffer.byteLength(text)
      if (bytes > claimCheck.maxBytes) {
        return reject(
          "TooLarge",
          `its body has ${bytes} bytes, and the claim check takes ${claimCheck.maxBytes} at most`
        )
      }
      if (countOf(attributes) >= mostAttributes) {
        return reject("Invalid", "it has 10 attributes, and its body goes to S3, which takes one of them: use fewer")
      }
      parked = claimCheck.park(text)
      text = pointer.write(parked.object)
      attributes = { ...attributes, [pointer.sizeAttribute]: { DataType: "Number", StringValue: String(bytes) } }
      size = sizeOf(text, attributes)
    }
    let system: MessageAttributes | undefined
    if (span !== undefined && trace === "xray") system = xrayHeader(span)
    if (span !== undefined && trace === "traceparent" && attributes?.["traceparent"] === undefined) {
      const more = traceparentBytes
      if (countOf(attributes) < mostAttributes && size + more <= maxCallBytes) {
        attributes ??= {}
        attributes["traceparent"] = { DataType: "String", StringValue: traceparent(span) }
        size += more
      }
    }
    const problem = problemOf(text, attributes) ?? (text === encoded.body ? undefined : problemOfUtf8(encoded.body))
    if (problem !== undefined) return reject("Invalid", problem)
    if (size > maxCallBytes) {
      return reject(
        "TooLarge",
        `it has ${size} bytes, body and attributes together, and ${maxCallBytes} is the most; a \`claimCheck\` keeps such bodies in S3`
      )
    }
    const group = fields.group ?? (typeof groupOf === "function" ? groupOf(body) : groupOf)
    if (group !== undefined) {
      const problem = problemOfToken("its group", group)
      if (problem !== undefined) return reject("Invalid", problem)
    } else if (queue.fifo) {
      return reject(
        "Invalid",
        "it has no group, which a FIFO queue demands; give the message or the producer a `group`"
      )
    }
    const deduplicationId = deduplicationIdOf(body, fields, encoded.body, text)
    if (deduplicationId !== undefined) {
      if (!queue.fifo) return reject("Invalid", "a standard queue takes no deduplication id; leave it out")
      const problem = problemOfToken("its deduplication id", deduplicationId)
      if (problem !== undefined) return reject("Invalid", problem)
    }
    const delay = fields.delay ?? options.delay
    let DelaySeconds: number | undefined
    if (delay !== undefined) {
      const decoded = Duration.decodeUnknown(delay)
      DelaySeconds = Option.isSome(decoded) ? Math.ceil(Duration.toSeconds(decoded.value)) : Number.NaN
      if (!(DelaySeconds <= 900)) return reject("Invalid", `its delay is ${String(delay)}; 15 minutes is the most`)
      if (queue.fifo) {
        if (DelaySeconds > 0) {
          return reject("Invalid", "a FIFO queue takes no delay of one message; leave it out, or set the queue's own")
        }
        DelaySeconds = undefined
      }
    }
    // One by one: what most messages do not have costs nothing.
    const sent: Writable<Entry["fields"]> = { Id: "", MessageBody: text }
    if (attributes !== undefined) sent.MessageAttributes = attributes
    if (system !== undefined) sent.MessageSystemAttributes = system
    if (group !== undefined) sent.MessageGroupId = group
    if (deduplicationId !== undefined) sent.MessageDeduplicationId = deduplicationId
    if (DelaySeconds !== undefined) sent.DelaySeconds = DelaySeconds
    const entry: Entry = {
      fields: sent,
      size,
      onResult: noop,
      onTaken: undefined,
      onUnsent: undefined,
      doubtful: false,
      acceptedAt: 0,
      due: 0,
      next: undefined
    }
    return parked === undefined ? Either.right(entry) : store(given, entry, parked)
  }

  /** Last of all, so that what is refused is never stored. */
  const store = (given: A | Message<A>, entry: Entry, { object, put }: ReturnType<SqsClaimCheck["park"]>) => {
    const discard = () => claimCheck?.discard(object)
    entry.onUnsent = discard
    return put.pipe(
      Effect.onInterrupt(() => Effect.sync(discard)),
      Effect.mapBoth({
        onSuccess: () => entry,
        onFailure: (error) =>
          new BodyNotStored({
            input: given,
            error,
            message: `a message for ${queue.name} was not sent, since its body could not be stored: ${error.message}`
          })
      })
    )
  }

  const invalid = (given: A | Message<A>, problem: string) =>
    new MessageRejected({
      reason: "Invalid",
      input: given,
      size: undefined,
      message: `a message for ${queue.name} was not sent: ${problem}`
    })

  const notEncodable = (given: A | Message<A>, cause: unknown) =>
    new MessageRejected({
      reason: "NotEncodable",
      input: given,
      size: undefined,
      message: `a message for ${queue.name} was not sent: ${problemOfEncoding(cause)}`,
      cause
    })

  /** An `Either` wherever the codec gives one, and the body is not to be stored. */
  return (
    given: A | Message<A>,
    current: Tracer.AnySpan | undefined
  ): Effect.Effect<Entry, MessageRejected | BodyNotStored> => {
    const isMessage = given instanceof Message
    const body: A = isMessage ? given.body : given
    const fields = isMessage ? given.fields : noFields
    if (isMessage) {
      const problem = problemOfFields(fields)
      if (problem !== undefined) return Either.left(invalid(given, problem))
      if (typeof fields.delay === "number" && fields.delay > 0 && fields.delay < 1000) {
        warnOnce(InvalidOptions.warnOfBareNumbers({ delay: fields.delay }))
      }
    } else if (codec === plain && isForeign(given)) {
      warnOnce(
        Effect.logWarning(
          `a message for ${queue.name} is an object that looks like one of another library, and is sent whole as the body; write SqsProducer.message(body, { ${Object.keys(fieldChecks).join(", ")} }) if its fields are meant`
        )
      )
    }
    const span = trace === "none" ? undefined : traceOf(current)
    // Functions of the user may throw.
    const built = (encoded: Encoded) => {
      try {
        return build(given, body, fields, encoded, span)
      } catch (error) {
        return Either.left(notEncodable(given, error))
      }
    }
    try {
      const encoding = codec.encode(body)
      const encoded = immediate(encoding)
      if (encoded === undefined) {
        return Effect.flatMap(
          // It may die as well as fail.
          Effect.catchAllCause(encoding, (cause) => Effect.fail(notEncodable(given, Cause.squash(cause)))),
          built
        )
      }
      return Either.isRight(encoded) ? built(encoded.right) : Either.left(notEncodable(given, encoded.left))
    } catch (error) {
      return Either.left(notEncodable(given, error))
    }
  }
}

const traceparentBytes = "traceparent".length + "String".length + 55

const errorOf = (
  queue: SqsQueue.SqsQueue,
  input: unknown,
  { fields, size }: Entry,
  failure: Failure
): ProducerError => {
  const { MessageDeduplicationId: id, MessageGroupId: group } = fields
  const named = [
    ...(group === undefined ? [] : [`of group ${JSON.stringify(group)}`]),
    ...(id === undefined ? [] : [`with deduplication id ${JSON.stringify(id)}`])
  ]
  const what = ["a message", ...named, `for ${queue.name}`].join(" ")
  switch (failure._tag) {
    case "Rejected":
      return new MessageRejected({
        reason: "Refused",
        input,
        size,
        message: `${what} of ${size} bytes was refused: ${failure.error.message}`,
        cause: failure.error
      })
    case "GaveUp":
      return new SendFailed({
        input,
        error: failure.error,
        message: `${what} could not be sent in ${failure.calls} ${failure.calls === 1 ? "call" : "calls"}${
          failure.error._tag === "TransportError" ? " (one whose answer was lost may have brought it)" : ""
        }: ${failure.error.message}`
      })
    case "Closed":
      return new ProducerClosed({
        input,
        accepted: failure.accepted,
        message: failure.accepted
          ? `${what} was not confirmed before the producer closed; it may be in the queue. A longer flushTimeout waits longer`
          : `${what} was not sent: the producer is closed`
      })
  }
}

/** Where the results of a stream's elements go. */
interface Receiver<E> {
  /** What to wait for before the next element. */
  readonly ready: () => Effect.Effect<void, E> | undefined
  /** The next element is on its way: where to put its result. */
  readonly open: () => (result: SendResult) => void
}

type SendResult = Either.Either<Receipt, ProducerError>

interface Slot {
  result: SendResult | undefined
  next: Slot | undefined
}

/** Results in the order of their elements, at most so many that are not read. */
class Results<E> implements Receiver<never> {
  readonly #most: number
  #unread = 0
  #head: Slot | undefined
  #tail: Slot | undefined
  #end: Exit.Exit<void, E> | undefined
  #wakeReader = noop
  #wakeWriter = noop

  constructor(most: number) {
    this.#most = most
  }

  ready(): Effect.Effect<void> | undefined {
    return this.#unread < this.#most ? undefined : this.#untilRead
  }

  readonly #untilRead = Effect.async<void>((resume) => {
    if (this.#unread < this.#most) return resume(Effect.void)
    this.#wakeWriter = () => resume(Effect.void)
  })

  open(): (result: SendResult) => void {
    const slot: Slot = { result: undefined, next: undefined }
    if (this.#tail === undefined) this.#head = slot
    else this.#tail.next = slot
    this.#tail = slot
    this.#unread += 1
    return (result) => {
      slot.result = result
      if (slot === this.#head) this.#wakeReader()
    }
  }

  end(exit: Exit.Exit<void, E>): void {
    this.#end = exit
    if (this.#head === undefined) this.#wakeReader()
  }

  readonly pull: Effect.Effect<Chunk.Chunk<SendResult>, Option.Option<E>> = Effect.suspend(() => {
    const read: Array<SendResult> = []
    let head = this.#head
    while (head?.result !== undefined) {
      read.push(head.result)
      head = head.next
    }
    this.#head = head
    if (head === undefined) this.#tail = undefined
    this.#unread -= read.length
    if (read.length > 0) {
      this.#wakeWriter()
      return Effect.succeed(Chunk.unsafeFromArray(read))
    }
    if (head === undefined && this.#end !== undefined) {
      return Exit.isFailure(this.#end)
        ? Effect.failCause(Cause.map(this.#end.cause, Option.some))
        : Effect.fail(Option.none())
    }
    return Effect.zipRight(this.#untilNews, this.pull)
  })

  readonly #untilNews = Effect.async<void>((resume) => {
    const news = this.#head === undefined ? this.#end !== undefined : this.#head.result !== undefined
    if (news) return resume(Effect.void)
    this.#wakeReader = () => resume(Effect.void)
  })
}

/**
 * A producer for a queue given by name, URL or ARN, or as it was found; the queue is looked up (needs
 * `sqs:GetQueueUrl`, `sqs:GetQueueAttributes` and `sqs:SendMessage`), for a minute where SQS throttles or is not reached. Calls hold up to 10 messages and 1 MiB; each
 * message has its own result.
 *
 * On standard queues a call whose answer was lost is sent again and may leave duplicates, as SQS itself may. On FIFO
 * queues it leaves none, and a group's messages are in the order of sending, each sent when the one before has its
 * result; groups do not wait for each other. After a message that has failed for good its group goes on.
 *
 * When the scope closes, what was accepted is sent for up to `flushTimeout`; what was not, and whatever is sent later,
 * fails with `ProducerClosed`.
 *
 * @see https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessageBatch.html
 *
 * @example
 * const orders = yield* SqsProducer.make("orders.fifo", {
 *   codec: SqsProducer.json(Order),
 *   group: (order) => order.customer
 * })
 * const { messageId } = yield* orders.send(order)
 */
export const make = <A = unknown>(
  queue: string | SqsQueue.SqsQueue,
  options: Options<A> = {}
): Effect.Effect<SqsProducer<A>, MakeError, SqsClient | Scope.Scope> =>
  Effect.gen(function* () {
    const client = yield* SqsClient
    const resolved = yield* SqsQueue.resolve(queue)
    const checked = yield* check(resolved, options)
    const clock = yield* Effect.clock
    const now = () => clock.unsafeCurrentTimeMillis()
    // Made in an uninterruptible region, maybe; what it forks must be interruptible all the same.
    const runtime = Runtime.enableRuntimeFlag(yield* Effect.runtime<never>(), RuntimeFlags.Interruption)
    const outbox = new Outbox(
      {
        client: options.spans === true ? traced(client, resolved.name, resolved.url) : client,
        now,
        runFork: Runtime.runFork(runtime),
        metrics: new ProducerMetrics(options.name ?? resolved.name)
      },
      {
        ...checked,
        queueUrl: resolved.url,
        fifo: resolved.fifo,
        retry: options.retry ?? defaultRetry,
        rate: options.rate?.bucket
      }
    )
    yield* Effect.addFinalizer(() => outbox.close(checked.flushTimeout))
    const draw = Random.nextIntBetween(0, 2 ** 32)
    const prefix = `${now().toString(36)}-${(yield* draw).toString(36)}-${(yield* draw).toString(36)}`
    let drawn = 0
    const uniqueId = () => `${prefix}-${(drawn++).toString(36)}`
    const prepare = preparing(resolved, options, checked.callBytes, uniqueId, Runtime.runFork(runtime))
    return new Producer(resolved, outbox, prepare, checked)
  })

/** `make(queue, options).through`, with a producer that lives as long as the stream. */
export const through =
  <A = unknown>(queue: string | SqsQueue.SqsQueue, options: Options<A> = {}) =>
  <E, R>(
    stream: Stream.Stream<A | Message<A>, E, R>
  ): Stream.Stream<Either.Either<Receipt, ProducerError>, E | MakeError, R | SqsClient> =>
    Stream.unwrapScoped(Effect.map(make(queue, options), (producer) => producer.through(stream)))

/** `make(queue, options).sink`, with a producer that lives as long as the stream that runs into it. */
export const sink = <A = unknown>(
  queue: string | SqsQueue.SqsQueue,
  options: Options<A> = {}
): Sink.Sink<number, A | Message<A>, never, ProducerError | MakeError, SqsClient> =>
  Sink.unwrapScoped(
    Effect.map(
      make(queue, options),
      (producer): Sink.Sink<number, A | Message<A>, never, ProducerError | MakeError> => producer.sink
    )
  )

type Prepare<A> = ReturnType<typeof preparing<A>>

class Producer<A> implements SqsProducer<A> {
  readonly queue: SqsQueue.SqsQueue
  readonly #outbox: Outbox
  readonly #prepare: Prepare<A>
  readonly #checked: Checked

  constructor(queue: SqsQueue.SqsQueue, outbox: Outbox, prepare: Prepare<A>, checked: Checked) {
    this.queue = queue
    this.#outbox = outbox
    this.#prepare = prepare
    this.#checked = checked
  }

  readonly stats = Effect.sync(() => this.#outbox.stats)

  readonly send = (given: A | Message<A>): Effect.Effect<Receipt, ProducerError> =>
    Effect.withFiberRuntime((fiber) => {
      const preparing = this.#prepare(given, fiber.currentSpan)
      const prepared = immediate(preparing)
      if (prepared === undefined) return Effect.flatMap(preparing, (entry) => this.#submit(given, entry))
      return Either.isRight(prepared) ? this.#submit(given, prepared.right) : Effect.fail(prepared.left)
    })

  #submit(given: A | Message<A>, entry: Entry): Effect.Effect<Receipt, ProducerError> {
    return Effect.async((resume) => {
      entry.onResult = (result) => resume(this.#resultOf(given, entry, result))
      this.#outbox.add(entry)
      return Effect.sync(() => this.#outbox.withdraw(entry))
    })
  }

  #resultOf(given: A | Message<A>, entry: Entry, result: Result): SendResult {
    return Either.mapLeft(result, (failure) => errorOf(this.queue, given, entry, failure))
  }

  readonly sink: Sink.Sink<number, A | Message<A>, never, ProducerError> = Sink.unwrapScoped(
    Effect.map(Effect.scope, (scope) => {
      const slow = new InOrder(this.#checked.concurrency, scope)
      let pending = 0
      let sent = 0
      let failure: ProducerError | undefined
      let look = noop
      const receiver: Receiver<ProducerError> = {
        ready: () => (failure === undefined ? undefined : Effect.fail(failure)),
        open: () => {
          pending += 1
          return (result) => {
            pending -= 1
            if (Either.isRight(result)) sent += 1
            else failure ??= result.left
            look()
          }
        }
      }
      const over = Effect.async<number, ProducerError>((resume) => {
        look = () => {
          if (failure !== undefined) resume(Effect.fail(failure))
          else if (pending === 0) resume(Effect.succeed(sent))
        }
        look()
      })
      return Sink.forEachChunk((elements: Chunk.Chunk<A | Message<A>>) => this.#sendAll(elements, receiver, slow)).pipe(
        Sink.zipRight(Sink.fromEffect(over))
      )
    })
  )

  readonly through = <E, R>(stream: Stream.Stream<A | Message<A>, E, R>): Stream.Stream<SendResult, E, R> =>
    Stream.fromPull(
      Effect.gen(this, function* () {
        const results = new Results<E>(this.#checked.buffer)
        const slow = new InOrder(this.#checked.concurrency, yield* Effect.scope)
        yield* stream.pipe(
          Stream.runForEachChunk((elements) => this.#sendAll(elements, results, slow)),
          Effect.onExit((exit) => Effect.sync(() => results.end(exit))),
          Effect.forkScoped
        )
        return results.pull
      })
    )

  /** Hands all over, in order, as there is room. What takes time to prepare does so side by side. */
  #sendAll<E>(elements: Chunk.Chunk<A | Message<A>>, receiver: Receiver<E>, slow: InOrder): Effect.Effect<void, E> {
    return Effect.withFiberRuntime((fiber) => {
      const from = (first: number): Effect.Effect<void, E> => {
        for (let i = first; i < elements.length; i++) {
          const wait = receiver.ready()
          if (wait !== undefined) return Effect.flatMap(wait, () => from(i))
          const given = Chunk.unsafeGet(elements, i)
          const preparing = this.#prepare(given, fiber.currentSpan)
          const prepared = slow.isIdle ? immediate(preparing) : undefined
          const done = receiver.open()
          const handed =
            prepared === undefined
              ? slow.add(
                  Effect.either(preparing),
                  (late) => this.#hand(given, late, done) ?? Effect.void,
                  (late) => Either.isRight(late) && late.right.onUnsent?.()
                )
              : this.#hand(given, prepared, done)
          if (handed !== undefined) return Effect.flatMap(handed, () => from(i + 1))
        }
        return Effect.void
      }
      return from(0)
    })
  }

  #hand(
    given: A | Message<A>,
    prepared: Either.Either<Entry, MessageRejected | BodyNotStored>,
    done: (result: SendResult) => void
  ): Effect.Effect<void> | undefined {
    if (Either.isLeft(prepared)) {
      done(Either.left(prepared.left))
      return undefined
    }
    const entry = prepared.right
    entry.onResult = (result) => done(this.#resultOf(given, entry, result))
    return this.#outbox.add(entry) ? undefined : this.#taken(entry)
  }

  /** Waits until the entry, which found no room, has it. */
  #taken(entry: Entry): Effect.Effect<void> {
    let isTaken = false
    let wake = noop
    entry.onTaken = () => {
      isTaken = true
      wake()
    }
    return Effect.async((resume) => {
      if (isTaken) return resume(Effect.void)
      wake = () => resume(Effect.void)
      return Effect.sync(() => this.#outbox.withdraw(entry))
    })
  }
}
