/**
 * AWS JSON 1.0 as SQS speaks it: an operation's input as the text of a request, and the text of an answer as its output.
 * The names of the fields are the API's own on both sides, so the only thing to translate is binary data, which travels
 * in base64.
 *
 * @see https://smithy.io/2.0/aws/protocols/aws-json-1_0-protocol.html
 */
import { isRecord } from "effect/Predicate"

type Attributes = Readonly<Record<string, unknown>>

const attributeFields = ["MessageAttributes", "MessageSystemAttributes"] as const

type Fields = Readonly<Record<string, unknown>>

/** Attributes with their binary values changed; the same object where there are none. */
const changeBinary = (attributes: Attributes, change: (value: unknown) => unknown): Attributes => {
  let changed: Record<string, unknown> | undefined
  for (const name of Object.keys(attributes)) {
    const attribute = attributes[name]
    if (!isRecord(attribute) || attribute["BinaryValue"] === undefined || attribute["BinaryValue"] === null) continue
    // Without a prototype: an attribute may be called `__proto__`.
    changed ??= Object.assign(Object.create(null) as Record<string, unknown>, attributes)
    changed[name] = { ...attribute, BinaryValue: change(attribute["BinaryValue"]) }
  }
  return changed ?? attributes
}

const toBase64 = (value: unknown): unknown =>
  value instanceof Uint8Array ? Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString("base64") : value

const fromBase64 = (value: unknown): unknown =>
  typeof value === "string" ? new Uint8Array(Buffer.from(value, "base64")) : value

const fieldsToWire = (fields: Fields): Fields => {
  let out = fields
  for (const name of attributeFields) {
    const attributes = fields[name]
    if (!isRecord(attributes)) continue
    const changed = changeBinary(attributes, toBase64)
    if (changed !== attributes) out = { ...out, [name]: changed }
  }
  return out
}

/** The body of a request. Fields that are `undefined` are left out. */
export const encode = (input: object): string => {
  const fields: Fields = { ...input }
  const { Entries } = fields
  return JSON.stringify(
    Array.isArray(Entries)
      ? { ...fields, Entries: Entries.map((entry) => (isRecord(entry) ? fieldsToWire(entry) : entry)) }
      : fieldsToWire(fields)
  )
}

/**
 * What an answer says, with binary attributes as bytes. Throws where it is no JSON object: then nobody knows what became
 * of the call. An empty body is an answer without fields.
 */
export const decode = (text: string): Fields => {
  const answer: unknown = text === "" ? {} : JSON.parse(text)
  if (!isRecord(answer)) throw new SyntaxError("the answer is no JSON object")
  const { Messages } = answer
  if (!Array.isArray(Messages) || !Messages.some(hasAttributes)) return answer
  return { ...answer, Messages: Messages.map((message) => (hasAttributes(message) ? withBytes(message) : message)) }
}

const hasAttributes = (message: unknown): message is { readonly MessageAttributes: Attributes } =>
  isRecord(message) && isRecord(message["MessageAttributes"])

const withBytes = <M extends { readonly MessageAttributes: Attributes }>(message: M): M => ({
  ...message,
  MessageAttributes: changeBinary(message.MessageAttributes, fromBase64)
})
