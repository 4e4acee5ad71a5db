import type { AttributeValue } from "@aws-sdk/client-dynamodb"

/** A result is JSON text here; in the table it may be DynamoDB's own maps, lists and numbers. */
export const write = (
  name: string,
  result: string | undefined,
  form: "json" | "native"
): Readonly<Record<string, AttributeValue>> => {
  if (result === undefined) return {}
  if (form === "json") return { [name]: { S: result } }
  // A result of nothing is left out, as Powertools does.
  return result === "" ? {} : { [name]: toNative(JSON.parse(result)) }
}

export const read = (value: AttributeValue | undefined, form: "json" | "native"): string | undefined => {
  if (value === undefined) return undefined
  return form === "json" && value.S !== undefined ? value.S : JSON.stringify(fromNative(value))
}

const toNative = (value: unknown): AttributeValue => {
  if (value === null) return { NULL: true }
  if (typeof value === "boolean") return { BOOL: value }
  if (typeof value === "number") return { N: String(value) }
  if (Array.isArray(value)) return { L: value.map(toNative) }
  if (typeof value === "object") {
    return { M: Object.fromEntries(Object.entries(value).map(([name, each]) => [name, toNative(each)])) }
  }
  return { S: String(value) }
}

const fromNative = (value: AttributeValue): unknown => {
  if (value.S !== undefined) return value.S
  if (value.N !== undefined) return Number(value.N)
  if (value.BOOL !== undefined) return value.BOOL
  if (value.L !== undefined) return value.L.map(fromNative)
  if (value.M !== undefined) {
    return Object.fromEntries(Object.entries(value.M).map(([name, each]) => [name, fromNative(each)]))
  }
  if (value.SS !== undefined) return value.SS
  if (value.NS !== undefined) return value.NS.map(Number)
  return null
}
