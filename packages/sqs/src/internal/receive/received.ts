/** A message as SQS hands it out, in core's terms. */
import type * as LeaseQueue from "@millrace/core/LeaseQueue"
import * as Either from "effect/Either"
import type { MessageAttribute, ReceivedMessage } from "../../SqsClient.js"
import * as SqsEncoding from "../../SqsEncoding.js"
import { mapValues } from "../message/mapValues.js"
import * as pointer from "../message/pointer.js"

/** `Number.int` is a Number with the label `int`. */
const fromSqs = (attribute: MessageAttribute): LeaseQueue.Attribute => {
  const dot = attribute.DataType.indexOf(".")
  const label = dot < 0 ? {} : { label: attribute.DataType.slice(dot + 1) }
  return attribute.BinaryValue !== undefined
    ? { type: "Binary", value: attribute.BinaryValue, ...label }
    : {
        type: attribute.DataType.startsWith("Number") ? "Number" : "String",
        value: attribute.StringValue ?? "",
        ...label
      }
}

/** What a receive asks for: by both names, since some servers know only the older one. SQS answers with the union. */
export const allAttributes = {
  MessageSystemAttributeNames: ["All"],
  AttributeNames: ["All"],
  MessageAttributeNames: ["All"]
} as const

const none: Readonly<Record<string, never>> = {}
const millis = (timestamp: string | undefined) => (timestamp === undefined ? undefined : Number(timestamp))

/** How its body is read, where its attributes speak of it. */
const opening = (
  encodings: ReadonlyArray<SqsEncoding.Encoding>,
  received: string,
  attributes: LeaseQueue.Message["attributes"]
): LeaseQueue.Message["open"] => {
  const encoding = SqsEncoding.find(encodings, attributes)
  if (!pointer.isNamed(attributes)) return encoding?.decode
  return (body) => (body === received ? notFetched : (encoding?.decode(body) ?? Either.right(body)))
}

const notFetched = Either.left("it is in S3; put SqsClaimCheck.fetch before the stage that decodes")

/** `receive` says which receive brought the message, where that matters. */
export const toMessage =
  (encodings: ReadonlyArray<SqsEncoding.Encoding>) =>
  (received: ReceivedMessage, receive?: number): LeaseQueue.Message => {
    const system: Readonly<Record<string, string>> = received.Attributes ?? none
    const attributes = received.MessageAttributes === undefined ? none : mapValues(received.MessageAttributes, fromSqs)
    return {
      id: received.MessageId,
      body: received.Body,
      lease: { messageId: received.MessageId, handle: received.ReceiptHandle },
      attributes,
      attempt: Number(system["ApproximateReceiveCount"] ?? 1),
      group: system["MessageGroupId"],
      // 20 digits, so that they compare as text; padded for servers that write fewer.
      sequence: system["SequenceNumber"]?.padStart(20, "0"),
      sentAt: millis(system["SentTimestamp"]),
      firstReceivedAt: millis(system["ApproximateFirstReceiveTimestamp"]),
      leasedAt: received.LeasedAt,
      receive,
      system,
      open: attributes === none ? undefined : opening(encodings, received.Body, attributes)
    }
  }
