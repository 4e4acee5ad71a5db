/** A message as its sender gives it: a body, and what may stand beside it. */
import * as InvalidOptions from "@millrace/core/InvalidOptions"
import type * as LeaseQueue from "@millrace/core/LeaseQueue"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Predicate from "effect/Predicate"
import type { MessageAttribute } from "../../SqsClient.js"
import { toSqs } from "../message/limits.js"

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

export const attribute: InvalidOptions.Check = {
  write: "a text, a number, bytes, or an attribute of a delivery",
  fits: (value) =>
    ["string", "number", "bigint"].includes(typeof value) ||
    value instanceof Uint8Array ||
    (Predicate.isRecord(value) && "type" in value && "value" in value)
}

export const fieldChecks: InvalidOptions.Checks<MessageFields> = {
  attributes: InvalidOptions.record(attribute),
  group: InvalidOptions.anyText,
  deduplicationId: InvalidOptions.anyText,
  delay: InvalidOptions.time()
}

/** What is wrong with fields that the compiler has not seen. */
export const problemOfFields = (fields: MessageFields): string | undefined => {
  const problem = Effect.runSyncExit(Effect.flip(InvalidOptions.check("a message", fields, fieldChecks)))
  return Exit.isSuccess(problem) ? problem.value.message : undefined
}

const foreignFields = ["delaySeconds", "groupId", "deduplicationId", "messageAttributes", "delay", "group"]

/** Whether it is most likely meant as a message of the AWS SDK or of another library, and would be sent as a body. */
export const isForeign = (given: unknown): boolean =>
  Predicate.isRecord(given) &&
  ("MessageBody" in given || ("body" in given && foreignFields.some((name) => name in given)))

const isAttribute = (value: Uint8Array | LeaseQueue.Attribute): value is LeaseQueue.Attribute =>
  !(value instanceof Uint8Array)

/** As SQS takes it. */
export const attributeOf = (value: Attributes[string]): MessageAttribute => {
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
