/** What can be sent: sizes as SQS counts them, and the rules that SQS refuses a message by. */
import type * as LeaseQueue from "@millrace/core/LeaseQueue"
import type { MessageAttribute, MessageAttributes } from "../../SqsClient.js"

/** Of a message, and of all messages of one call: body and attributes. */
export const longestMessage = 1_048_576
export const mostAttributes = 10
/** Entries a call. */
export const mostEntries = 10

/** `int` of `Number` becomes `Number.int`. */
export const toSqs = (attribute: LeaseQueue.Attribute): MessageAttribute => {
  const DataType = attribute.label === undefined ? attribute.type : `${attribute.type}.${attribute.label}`
  return attribute.type === "Binary"
    ? { DataType, BinaryValue: attribute.value }
    : { DataType, StringValue: attribute.value }
}

/** A message's size as SQS counts it: the body, and of each attribute its name, type and value. */
export const sizeOf = (body: string, attributes: MessageAttributes | undefined): number => {
  let size = Buffer.byteLength(body)
  for (const name in attributes) {
    const attribute = attributes[name]
    if (attribute === undefined) continue
    const { BinaryValue, DataType, StringValue } = attribute
    size += Buffer.byteLength(name) + Buffer.byteLength(DataType)
    size += BinaryValue?.length ?? Buffer.byteLength(StringValue ?? "")
  }
  return size
}

const forbidden = /[^\t\n\r\u0020-\uD7FF\uE000-\uFFFD\u{10000}-\u{10FFFF}]/u
const everyForbidden = new RegExp(forbidden, "gu")

/** Characters that SQS refuses, lone surrogates among them, become "?". */
export const legible = (text: string): string => text.replace(everyForbidden, "?")

/** What is wrong with a body that goes to where any character may, if UTF-8 can write it. */
export const problemOfUtf8 = (text: string): string | undefined =>
  /\p{Surrogate}/u.test(text) ? "the body has half a surrogate pair, which has no form in UTF-8" : undefined

/** Control characters and lone surrogates are the only ones that SQS refuses. */
const problemOfText = (what: string, text: string): string | undefined =>
  forbidden.test(text)
    ? `${what} has characters that SQS refuses: control characters, or half a surrogate pair; encode it, as JSON or base64`
    : undefined

const attributeName = /^(?!aws\.|amazon\.)(?!\.)(?!.*\.\.)[A-Za-z0-9_.-]{1,256}(?<!\.)$/i
const token = /^[A-Za-z0-9!"#$%&'()*+,\-./:;<=>?@[\\\]^_`{|}~]{1,128}$/

/** What is wrong with a group or deduplication id. */
export const problemOfToken = (what: string, value: string): string | undefined =>
  typeof value === "string" && token.test(value)
    ? undefined
    : `${what} is ${JSON.stringify(value)}; write 1 to 128 letters, digits and punctuation characters of ASCII, no spaces`

const problemOfAttribute = (name: string, attribute: MessageAttribute): string | undefined => {
  const what = `attribute ${JSON.stringify(name)}`
  if (!attributeName.test(name)) {
    return `${what} has a name that SQS refuses; write at most 256 of A-Z, a-z, 0-9, "_", "-" and ".", no "." first, last or twice in a row, and not "AWS." or "Amazon." first`
  }
  const type = attribute.DataType.split(".", 1)[0]
  if (type !== "String" && type !== "Number" && type !== "Binary") {
    return `${what} is of type ${JSON.stringify(attribute.DataType)}; write String, Number or Binary, with a label after a "." at most`
  }
  const value = type === "Binary" ? attribute.BinaryValue : attribute.StringValue
  if (value === undefined || value.length === 0) return `${what} is empty; leave it out`
  if (typeof value !== "string") return undefined
  if (type === "Number" && (value.trim() === "" || !Number.isFinite(Number(value)))) {
    return `${what} is ${JSON.stringify(value)}, which is no number; write it as a String`
  }
  return problemOfText(what, value)
}

/** What is wrong with a body or its attributes, whatever the queue; sizes apart. */
export const problemOf = (body: string, attributes: MessageAttributes | undefined): string | undefined => {
  if (body === "") return "the body is empty, which SQS refuses; put something in it"
  const problem = problemOfText("the body", body)
  if (problem !== undefined || attributes === undefined) return problem
  let count = 0
  for (const name in attributes) {
    const attribute = attributes[name]
    if (attribute === undefined) continue
    count++
    const problem = problemOfAttribute(name, attribute)
    if (problem !== undefined) return problem
  }
  return count > mostAttributes
    ? `it has ${count} attributes; SQS takes ${mostAttributes} at most: put the rest into the body`
    : undefined
}
