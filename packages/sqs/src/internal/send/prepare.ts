/**
 * From a message as it is given to an entry of a call: its body encoded and, where it is too large, on its way to S3; its
 * attributes, group and deduplication id; or why it can never be sent. What is refused here has cost no call.
 */
import { createHash } from "node:crypto"
import * as InvalidOptions from "@millrace/core/InvalidOptions"
import * as Reason from "@millrace/core/Reason"
import * as Cause from "effect/Cause"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import * as ParseResult from "effect/ParseResult"
import type * as Tracer from "effect/Tracer"
import type { SqsClaimCheck } from "../../SqsClaimCheck.js"
import type { MessageAttribute, MessageAttributes } from "../../SqsClient.js"
import type { SqsQueue } from "../../SqsQueue.js"
import { immediate } from "../effect/immediate.js"
import { mostAttributes, problemOf, problemOfToken, problemOfUtf8, sizeOf } from "../message/limits.js"
import { mapValues } from "../message/mapValues.js"
import * as pointer from "../message/pointer.js"
import { type Codec, type Encoded, plain } from "./codec.js"
import { type Entry, entryOf } from "./entry.js"
import { BodyNotStored, MessageRejected } from "./errors.js"
import { attributeOf, fieldChecks, isForeign, Message, type MessageFields, problemOfFields } from "./message.js"
import type { Options } from "./options.js"
import { traceOf, traceparent, traceparentBytes, xrayHeader } from "./trace.js"

type Writable<T> = { -readonly [K in keyof T]: T[K] }

/** Where and what, never the values: the message goes to logs. */
const problemOfEncoding = (error: unknown): string =>
  ParseResult.isParseError(error)
    ? `the body does not fit its Schema: ${Reason.of(error)}`
    : `the body could not be encoded: ${Reason.of(error)}`

const countOf = (attributes: MessageAttributes | undefined): number =>
  attributes === undefined ? 0 : Object.keys(attributes).length

/** Makes entries of messages, or says why not. */
export const preparing = <A>(
  queue: SqsQueue,
  options: Options<A>,
  maxCallBytes: number,
  uniqueId: () => string,
  fork: (effect: Effect.Effect<void>) => unknown
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
    fork(warning)
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
  const deduplicationIdOf = (body: A, fields: MessageFields, encoded: Encoded, sent: string): string | undefined => {
    if (fields.deduplicationId !== undefined || !queue.fifo) return fields.deduplicationId
    if (encoded.deduplicationId !== undefined) return encoded.deduplicationId
    if (typeof deduplication === "function") return deduplication(body)
    const text = encoded.body
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
    const group = fields.group ?? encoded.group ?? (typeof groupOf === "function" ? groupOf(body) : groupOf)
    if (group !== undefined) {
      const problem = problemOfToken("its group", group)
      if (problem !== undefined) return reject("Invalid", problem)
    } else if (queue.fifo) {
      return reject(
        "Invalid",
        "it has no group, which a FIFO queue demands; give the message or the producer a `group`"
      )
    }
    const deduplicationId = deduplicationIdOf(body, fields, encoded, text)
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
    const entry = entryOf(sent, size)
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
