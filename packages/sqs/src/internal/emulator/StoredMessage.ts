/** A message as a queue keeps it, and the fields of it that SQS checks when it is sent. */
import type { MessageAttribute, MessageAttributes, SendFields } from "../../SqsClient.js"
import { Timer } from "./Heap.js"
import type { List } from "./List.js"
import * as Md5 from "./Md5.js"
import { invalid, invalidValue, missing, Refusal } from "./Refusal.js"

export const maximumBytes = 1_048_576

export type State = "visible" | "inFlight" | "delayed"

/** The messages of one group, in the order in which they were sent. */
export interface Lane {
  readonly group: string
  readonly messages: List<StoredMessage>
  ready: boolean
  previous: Lane | undefined
  next: Lane | undefined
}

export class StoredMessage {
  state: State = "visible"
  /** Counts receives of this queue: names the present lease, and is what `maxReceiveCount` is compared with. */
  receives = 0
  /** What `ApproximateReceiveCount` says; goes on in a dead-letter queue. */
  receiveCount = 0
  /** Changes with everything that happens to the message. */
  version = 0
  // Instants start as doubles, as they go on: a field that turns from a small integer into a double makes V8 convert
  // each message when it is next touched, and throw away its compiled code as often.
  leasedAt = -Infinity
  /** `NaN` before the first receive. */
  firstReceivedAt = Number.NaN
  sequence: string | undefined
  deadLetterSource: string | undefined
  /** The end of its lease or of its delay. */
  readonly due: Timer<StoredMessage>
  /** Since when its retention counts. */
  readonly retained: Timer<StoredMessage>
  /** FIFO queues: its group. */
  lane: Lane | undefined
  /** Standard queues: its place in the line, and what holds that place once it has come back. */
  turn = 0
  back: Timer<StoredMessage> | undefined
  previous: StoredMessage | undefined
  next: StoredMessage | undefined

  readonly no: number
  readonly id: string
  readonly content: Content
  readonly deduplicationId: string | undefined
  readonly sentAt: number

  constructor(no: number, id: string, content: Content, deduplicationId: string | undefined, sentAt: number) {
    this.no = no
    this.id = id
    this.content = content
    this.deduplicationId = deduplicationId
    this.sentAt = sentAt
    this.due = new Timer<StoredMessage>(this, no, Infinity)
    this.retained = new Timer<StoredMessage>(this, no, sentAt)
  }
}

/** What was sent, checked. */
export interface Content {
  readonly body: string
  readonly bodyMd5: string
  readonly bytes: number
  readonly attributes: MessageAttributes | undefined
  readonly attributesMd5: string | undefined
  readonly traceHeader: string | undefined
  readonly systemAttributesMd5: string | undefined
  readonly group: string | undefined
}

const forbidden = /[^\t\n\r\u0020-\uD7FF\uE000-\uFFFD\u{10000}-\u{10FFFF}]/u

/** Why SQS refuses a text: a character that XML 1.0 does not know. */
const problemOf = (text: string, where: string): string | undefined => {
  const [character] = forbidden.exec(text) ?? []
  return character === undefined
    ? undefined
    : `Invalid binary character '#x${character.charCodeAt(0).toString(16).toUpperCase()}' was found in the ${where}, the set of allowed characters is #x9 | #xA | #xD | [#x20-#xD7FF] | [#xE000-#xFFFD] | [#x10000-#x10FFFF].`
}

const checkBody = (body: string): void => {
  const problem = problemOf(body, "message body")
  if (problem !== undefined) throw new Refusal("InvalidMessageContents", problem)
}

/** Letters and digits of any script: AWS takes `attr.1ø` although its documentation lists A-Z, a-z and 0-9. */
const nameOf = /^(?!aws\.|amazon\.)(?!\.)[\p{L}\p{N}_.-]{1,256}(?<!\.)$/iu

/** As decimals are written, up to 10^126 and down to -10^128. */
const decimal = /^[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,4})?$/
const isNumber = (text: string): boolean => {
  if (!decimal.test(text)) return false
  const value = Number(text)
  return value >= -1e128 && value <= 1e126
}

const longestType = 256

const checkAttribute = (kind: "user" | "system", name: string, attribute: MessageAttribute): void => {
  if (name === "") throw invalid("The request must contain non-empty message attribute name.")
  if (!nameOf.test(name) || name.includes("..")) {
    throw invalid(
      `The message (${kind}) attribute name '${name}' is invalid. Attribute name can contain A-Z, a-z, 0-9, underscore (_), hyphen (-), and period (.) characters, at most 256; it must not start with AWS. or Amazon. and not start or end with a period.`
    )
  }
  const type = attribute.DataType
  if (type === undefined || type === "") {
    throw invalid(`The message (${kind}) attribute '${name}' must contain a non-empty message attribute type.`)
  }
  const prefix = type.split(".", 1)[0]
  if (prefix !== "String" && prefix !== "Number" && prefix !== "Binary") {
    throw invalid(
      `The type of message (${kind}) attribute '${name}' is invalid. You must use only the following supported type prefixes: Binary, Number, String.`
    )
  }
  if (type.length > longestType) {
    throw invalid(`The type of message (${kind}) attribute '${name}' is longer than ${longestType} characters.`)
  }
  const value = prefix === "Binary" ? attribute.BinaryValue : attribute.StringValue
  if (value === undefined || value.length === 0) {
    throw invalid(`Message (${kind}) attribute '${name}' must contain a non-empty value of type '${prefix}'.`)
  }
  const problem =
    problemOf(type, `type of message (${kind}) attribute '${name}'`) ??
    (typeof value === "string" ? problemOf(value, `value of message (${kind}) attribute '${name}'`) : undefined)
  if (problem !== undefined) throw invalid(problem)
  if (prefix === "Number" && typeof value === "string" && !isNumber(value)) {
    throw invalid(`Can't cast the value of message (${kind}) attribute '${name}' to a number.`)
  }
}

const bytesOf = (attributes: MessageAttributes): number => {
  let bytes = 0
  for (const [name, attribute] of Object.entries(attributes)) {
    bytes += Buffer.byteLength(name) + Buffer.byteLength(attribute.DataType ?? "")
    bytes += attribute.BinaryValue?.length ?? Buffer.byteLength(attribute.StringValue ?? "")
  }
  return bytes
}

/** Body and user attributes; system attributes do not count. */
export const size = (fields: SendFields): number =>
  Buffer.byteLength(fields.MessageBody ?? "") +
  (fields.MessageAttributes === undefined ? 0 : bytesOf(fields.MessageAttributes))

const present = (attributes: MessageAttributes | undefined): MessageAttributes | undefined =>
  attributes === undefined || Object.keys(attributes).length === 0 ? undefined : attributes

const punctuated = /^[A-Za-z0-9!"#$%&'()*+,\-./:;<=>?@[\\\]^_`{|}~]{1,128}$/
export const checkToken = (
  parameter: "MessageGroupId" | "MessageDeduplicationId" | "ReceiveRequestAttemptId",
  value: string | undefined
): void => {
  if (value !== undefined && !punctuated.test(value)) {
    throw invalidValue(
      parameter,
      value,
      `${parameter} can only include alphanumeric and punctuation characters. 1 to 128 in length.`
    )
  }
}

/** Checks what does not depend on the queue's kind. `within` names a batch's own wording of the size limit. */
export const content = (fields: SendFields, maximum: number, within: "call" | "batch"): Content => {
  if (fields.MessageBody === undefined || fields.MessageBody === "") {
    throw within === "call"
      ? missing("MessageBody")
      : new Refusal("MissingParameter", missing("MessageBody").message, "EmptyValue")
  }
  checkBody(fields.MessageBody)
  const attributes = present(fields.MessageAttributes)
  if (attributes !== undefined) {
    const names = Object.keys(attributes)
    if (names.length > 10) {
      throw invalid(`Number of message attributes [${names.length}] exceeds the allowed maximum [10].`)
    }
    for (const [name, attribute] of Object.entries(attributes)) checkAttribute("user", name, attribute)
  }
  const system = present(fields.MessageSystemAttributes)
  if (system !== undefined) {
    for (const [name, attribute] of Object.entries(system)) {
      if (name !== "AWSTraceHeader") {
        throw invalid(
          `Message system attribute name '${name}' is invalid. You must use only the following supported message system attributes: [AWSTraceHeader].`
        )
      }
      checkAttribute("system", "TraceHeader", attribute)
    }
  }
  const bytes = size(fields)
  if (bytes > maximum) {
    throw invalid(
      `One or more parameters ${within === "call" ? "are invalid" : "cannot be validated"}. Reason: Message must be shorter than ${maximum} bytes.`
    )
  }
  checkToken("MessageGroupId", fields.MessageGroupId)
  checkToken("MessageDeduplicationId", fields.MessageDeduplicationId)
  return {
    body: fields.MessageBody,
    bodyMd5: Md5.ofBody(fields.MessageBody),
    bytes,
    attributes,
    attributesMd5: attributes && Md5.ofAttributes(attributes),
    traceHeader: system?.["AWSTraceHeader"]?.StringValue,
    systemAttributesMd5: system && Md5.ofAttributes(system),
    group: fields.MessageGroupId
  }
}
