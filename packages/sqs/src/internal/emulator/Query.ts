/**
 * The AWS Query protocol, that of AWS's SDKs before November 2023: a form in, in the body or in the URL, and XML out. A
 * queue's URL as the request's path stands for the parameter `QueueUrl`.
 *
 * @see https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-making-api-requests-xml.html
 */
import type { Operation } from "../../emulator/Fault.js"
import { before, type Failure } from "./Failure.js"
import { isOperation, Unreadable } from "./Operations.js"
import type { Answer, Call, Request } from "./Protocol.js"

const namespace = "http://queue.amazonaws.com/doc/2012-11-05/"

// The form

/** A parameter's name is a path, `Attribute.1.Name`: a text at its end, and otherwise what follows, by name. */
type Tree = string | Map<string, Tree>

const decode = (text: string): string => {
  try {
    return decodeURIComponent(text.replaceAll("+", " "))
  } catch {
    throw new Unreadable(before.malformed, `${text} is not text in UTF-8, percent-encoded.`)
  }
}

const deepest = 6

const parse = (form: string, into: Map<string, Tree>): void => {
  for (const parameter of form.split("&")) {
    if (parameter === "") continue
    const equals = parameter.indexOf("=")
    const name = decode(equals === -1 ? parameter : parameter.slice(0, equals))
    const value = equals === -1 ? "" : decode(parameter.slice(equals + 1))
    const path = name.split(".", deepest)
    const last = path.pop() ?? ""
    let tree = into
    for (const step of path) {
      const present = tree.get(step)
      const next: Map<string, Tree> = present instanceof Map ? present : new Map()
      if (next !== present) tree.set(step, next)
      tree = next
    }
    tree.set(last, value)
  }
}

/** The members of a list, which are numbered; one alone need not be. */
const members = (tree: Tree): ReadonlyArray<Tree> => {
  if (typeof tree === "string") return [tree]
  const numbered = [...tree].filter(([name]) => /^\d+$/.test(name))
  return numbered.length === 0 ? [tree] : numbered.sort(([a], [b]) => Number(a) - Number(b)).map(([, member]) => member)
}

/** Each in the singular, where the JSON protocol has the plural. */
const lists: ReadonlyMap<string, string> = new Map([
  ["AttributeName", "AttributeNames"],
  ["MessageAttributeName", "MessageAttributeNames"],
  ["MessageSystemAttributeName", "MessageSystemAttributeNames"],
  ["TagKey", "TagKeys"],
  ["AWSAccountId", "AWSAccountIds"],
  ["ActionName", "Actions"],
  ["SendMessageBatchRequestEntry", "Entries"],
  ["DeleteMessageBatchRequestEntry", "Entries"],
  ["ChangeMessageVisibilityBatchRequestEntry", "Entries"]
])
const maps: ReadonlyMap<string, readonly [plural: string, key: string]> = new Map([
  ["Attribute", ["Attributes", "Name"]],
  ["MessageAttribute", ["MessageAttributes", "Name"]],
  ["MessageSystemAttribute", ["MessageSystemAttributes", "Name"]],
  ["Tag", ["Tags", "Key"]]
])
const numbers: ReadonlySet<string> = new Set([
  "DelaySeconds",
  "MaxNumberOfMessages",
  "MaxNumberOfMessagesPerSecond",
  "MaxResults",
  "VisibilityTimeout",
  "WaitTimeSeconds"
])

const number = (name: string, value: string): number => {
  if (!/^[+-]?\d{1,15}$/.test(value)) throw new Unreadable(before.malformed, `${name} must be a whole number.`)
  return Number(value)
}

/** Clients write an empty list or map as an empty text, by one name or the other. */
const plurals: ReadonlySet<string> = new Set([...lists.values(), ...[...maps.values()].map(([plural]) => plural)])

const input = (tree: Tree): unknown => {
  if (typeof tree === "string") return tree
  const fields: Array<[string, unknown]> = []
  for (const [name, value] of tree) {
    const plural = lists.get(name)
    const map = maps.get(name)
    if (value === "" && (plural !== undefined || map !== undefined || plurals.has(name))) continue
    if (plural !== undefined) {
      fields.push([plural, members(value).map(input)])
    } else if (map !== undefined) {
      fields.push([map[0], Object.fromEntries(members(value).map((member) => entry(member, map[1])))])
    } else {
      fields.push([name, typeof value === "string" && numbers.has(name) ? number(name, value) : input(value)])
    }
  }
  return Object.fromEntries(fields)
}

const entry = (member: Tree, key: string): [string, unknown] => {
  if (typeof member === "string") throw new Unreadable(before.malformed, `${member} has no ${key}.`)
  const name = member.get(key)
  return [typeof name === "string" ? name : "", input(member.get("Value") ?? "")]
}

/** What a queue's URL is not asked for. */
const ofNoQueue: ReadonlySet<string> = new Set<Operation>(["CreateQueue", "ListQueues"])

/** Nothing was asked for. */
export class NoAction {}

/** Throws `Unreadable` and `NoAction`. */
export const read = ({ body, method, path }: Request): Call => {
  const [place = "", ...query] = path.split("?")
  const form = new Map<string, Tree>()
  parse(query.join("?"), form)
  if (method === "POST") parse(body, form)
  const queue = decode(place.replaceAll("+", "%2B")).replace(/^\/+/, "")
  const operation = form.get("Action")
  if (typeof operation !== "string" || operation === "") throw new NoAction()
  if (!isOperation(operation) || (queue !== "" && ofNoQueue.has(operation))) {
    throw new Unreadable(before.unknownOperation, `The action ${operation} is not valid for this endpoint.`)
  }
  if (queue !== "" && !form.has("QueueUrl")) form.set("QueueUrl", queue)
  // Of the two names of the same list the older one counts.
  if (form.has("AttributeName")) form.delete("MessageSystemAttributeName")
  return { operation, input: input(form) }
}

// The answer

const isRecord = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null && !Array.isArray(value)

const entities: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
  "\r": "&#xD;"
}

/** What XML 1.0 has no way to write is left to the reader's imagination, as in AWS's own answers it cannot be. */
const escaped = (text: string): string =>
  text
    .replaceAll(/[^\t\n\r\u0020-\uD7FF\uE000-\uFFFD\u{10000}-\u{10FFFF}]/gu, "\uFFFD")
    .replaceAll(/[&<>"\r]/g, (character) => entities[character] ?? character)

const element = (name: string, content: string): string =>
  content === "" ? `<${name}/>` : `<${name}>${content}</${name}>`

const elements = (value: unknown, operation: Operation): string => {
  if (!isRecord(value)) return escaped(String(value))
  let xml = ""
  for (const [name, field] of Object.entries(value)) {
    const map = mapOf.get(name)
    if (field === undefined) continue
    if (Array.isArray(field)) {
      for (const member of field) xml += element(memberOf(name, operation), elements(member, operation))
    } else if (map !== undefined && isRecord(field)) {
      for (const [key, item] of Object.entries(field)) {
        xml += element(map[0], element(map[1], escaped(key)) + element("Value", elements(item, operation)))
      }
    } else {
      xml += element(name, elements(field, operation))
    }
  }
  return xml
}

const mapOf: ReadonlyMap<string, readonly [singular: string, key: string]> = new Map(
  [...maps].map(([singular, [plural, key]]) => [plural, [singular, key]])
)
const memberOf = (list: string, operation: Operation): string => {
  switch (list) {
    case "Messages":
      return "Message"
    case "QueueUrls":
    case "queueUrls":
      return "QueueUrl"
    case "Failed":
      return "BatchResultErrorEntry"
    default:
      // The successful entries of a batch, and move tasks.
      return `${operation}ResultEntry`
  }
}

const document = (name: string, content: string): string =>
  `<?xml version="1.0"?><${name} xmlns="${namespace}">${content}</${name}>`

const xml = (status: number, body: string): Answer => ({ status, contentType: "text/xml", body })
const json = (status: number, value: unknown): Answer => ({
  status,
  contentType: "application/json",
  body: JSON.stringify(value)
})

/** AWS answers a form in JSON too where that is asked for. */
const wantsJson = ({ accept }: Request): boolean => accept?.startsWith("application/json") === true

/** The same in JSON: a map is a list of its entries. */
const inJson = (value: unknown): unknown => {
  if (Array.isArray(value)) return value.map(inJson)
  if (!isRecord(value)) return value
  return Object.fromEntries(
    Object.entries(value).map(([name, field]) => {
      const map = mapOf.get(name)
      if (map !== undefined && isRecord(field)) {
        return [name, Object.entries(field).map(([key, item]) => ({ [map[1]]: key, Value: inJson(item) }))]
      }
      return [
        name === "Messages" || name === "QueueUrls" ? name.charAt(0).toLowerCase() + name.slice(1) : name,
        inJson(field)
      ]
    })
  )
}

export const succeeded = (request: Request, operation: Operation, value: unknown, requestId: string): Answer => {
  if (wantsJson(request)) {
    const result = value === undefined ? {} : { [`${operation}Result`]: inJson(value) }
    return json(200, { [`${operation}Response`]: { ...result, ResponseMetadata: { RequestId: requestId } } })
  }
  const result = value === undefined ? "" : element(`${operation}Result`, elements(value, operation))
  const metadata = element("ResponseMetadata", element("RequestId", requestId))
  return xml(200, document(`${operation}Response`, result + metadata))
}

export const failed = (request: Request, { query, status }: Failure, message: string, RequestId: string): Answer => {
  const Type = status >= 500 ? "Receiver" : "Sender"
  const Message = message === nonExistent ? nonExistentHere : message
  if (wantsJson(request)) return json(status, { Error: { Code: query, Message, Type, Detail: null }, RequestId })
  const error =
    element("Type", Type) +
    element("Code", escaped(query)) +
    element("Message", escaped(Message)) +
    element("Detail", "")
  return xml(status, document("ErrorResponse", element("Error", error) + element("RequestId", RequestId)))
}

/** The one error whose words are others in this protocol. */
const nonExistent = "The specified queue does not exist."
const nonExistentHere = "The specified queue does not exist for this wsdl version."

export const noAction: Answer = xml(404, "<UnknownOperationException/>")
