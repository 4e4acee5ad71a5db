/**
 * An AsyncAPI 3 document of what a program sends and receives, from the channels that it declares: a JSON Schema for each
 * message and version, as its envelope writes it. What a queue is at its service comes as bindings (`SqsAsyncApi.bindings`).
 *
 * @see https://www.asyncapi.com/docs/reference/specification/v3.0.0
 */
import * as JSONSchema from "effect/JSONSchema"
import * as Predicate from "effect/Predicate"
import * as Channel from "./Channel.js"
import * as Envelope from "./Envelope.js"
import * as InvalidOptions from "./InvalidOptions.js"
import type * as Message from "./Message.js"
import * as Reason from "./Reason.js"

type JsonSchema = Envelope.JsonSchema

/** What the program does with a channel. */
export interface Operation {
  /** `"send"` is of the newest version of each message, `"receive"` of all that are read. */
  readonly action: "send" | "receive"
  readonly channel: Channel.Channel<Message.Any>
  /** The name of the queue that carries it. Default: the channel's name. */
  readonly queue?: string | undefined
  /** Of the queue, by protocol: what `SqsAsyncApi.bindings` gives. Default: none. */
  readonly bindings?: Bindings | undefined
}

/** Channel bindings, by protocol, in AsyncAPI's form. */
export interface Bindings {
  readonly [protocol: string]: { readonly [field: string]: unknown }
}

export interface Options {
  readonly title: string
  /** Of the program's interface, such as `1.4.0`. */
  readonly version: string
  /** CommonMark. */
  readonly description?: string | undefined
}

export interface Reference {
  readonly $ref: string
}

export interface MessageItem extends Envelope.Description {
  readonly name: string
  readonly description?: string
}

export interface ChannelItem {
  readonly address: string
  readonly description?: string
  readonly messages: Readonly<Record<string, MessageItem>>
  readonly bindings?: Bindings
}

export interface OperationItem {
  readonly action: Operation["action"]
  readonly channel: Reference
  readonly messages: ReadonlyArray<Reference>
}

/** Plain JSON: what it does not have, such as `servers`, can be added. */
export interface Document {
  readonly asyncapi: "3.0.0"
  readonly info: Options
  readonly defaultContentType: "application/json"
  readonly channels: Readonly<Record<string, ChannelItem>>
  readonly operations: Readonly<Record<string, OperationItem>>
  readonly components: { readonly schemas: Readonly<Record<string, JsonSchema>> }
}

const checks: InvalidOptions.Checks<Options> = {
  title: InvalidOptions.required(InvalidOptions.text),
  version: InvalidOptions.required(InvalidOptions.text),
  description: InvalidOptions.text
}

const operationChecks: InvalidOptions.Checks<Operation> = {
  action: InvalidOptions.required(InvalidOptions.oneOf("send", "receive")),
  channel: Channel.check,
  queue: InvalidOptions.text,
  bindings: InvalidOptions.record(InvalidOptions.having("an object"))
}

const listCheck: InvalidOptions.Check = InvalidOptions.required(
  InvalidOptions.list(InvalidOptions.fields<Operation>(operationChecks))
)

const refuse = (option: string, message: string) => new InvalidOptions.InvalidOptions({ option, message })

/**
 * The document of these operations. Throws `InvalidOptions` where they contradict each other (two channels of one name, or
 * on one queue, or different bindings of one), and where a Schema has no JSON Schema.
 *
 * @example
 * AsyncApi.document(
 *   [{ action: "receive", channel: shop, queue: "orders.fifo", bindings: SqsAsyncApi.bindings("orders.fifo") }],
 *   { title: "Fulfilment", version: "1.0.0" }
 * )
 */
export const document = (operations: ReadonlyArray<Operation>, options: Options): Document => {
  InvalidOptions.checkOrThrow("AsyncApi.document", { operations }, { operations: listCheck })
  InvalidOptions.checkOrThrow("AsyncApi.document", options, checks)
  const { description, title, version } = options
  const schemas = new Schemas()
  const channels: Record<string, ChannelItem> = {}
  const items: Record<string, OperationItem> = {}
  for (const [name, uses] of byChannel(operations)) {
    const [{ channel, queue = name }] = uses
    const bindings = uses.find((use) => use.bindings !== undefined)?.bindings
    const older = uses.some(({ action }) => action === "receive")
    channels[name] = {
      address: queue,
      ...(channel.description === undefined ? {} : { description: channel.description }),
      messages: Object.fromEntries(
        channel.messages.flatMap((message) =>
          versionsOf(message, older).map((one) => [keyOf(message, one), itemOf(channel, message, one, schemas)])
        )
      ),
      ...(bindings === undefined ? {} : { bindings })
    }
    for (const { action } of uses) {
      items[`${action}.${name}`] = {
        action,
        channel: { $ref: `#/channels/${name}` },
        messages: channel.messages.flatMap((message) =>
          versionsOf(message, action === "receive").map((one) => ({
            $ref: `#/channels/${name}/messages/${keyOf(message, one)}`
          }))
        )
      }
    }
  }
  return {
    asyncapi: "3.0.0",
    info: { title, version, ...(description === undefined ? {} : { description }) },
    defaultContentType: "application/json",
    channels,
    operations: items,
    components: { schemas: schemas.all }
  }
}

type Uses = readonly [Operation, ...ReadonlyArray<Operation>]

/** What is done with each channel, by its name. */
const byChannel = (operations: ReadonlyArray<Operation>): ReadonlyMap<string, Uses> => {
  const known = new Map<string, Uses>()
  const carried = new Map<string, string>()
  for (const operation of operations) {
    const { action, channel, queue = channel.name } = operation
    const { name } = channel
    const others = known.get(name)
    if (others?.some((other) => other.channel !== channel)) {
      throw refuse("channel", `channel has two of the name ${name}; name one otherwise`)
    }
    if (others?.some((other) => (other.queue ?? name) !== queue)) {
      throw refuse("queue", `queue of ${name} is ${queue}, and another one too; declare a channel for each queue`)
    }
    if (others?.some((other) => other.action === action)) {
      throw refuse("action", `action of ${name} is ${action} twice; leave one out`)
    }
    const bound = operation.bindings && others?.find(({ bindings }) => bindings !== undefined)
    if (bound !== undefined && JSON.stringify(bound.bindings) !== JSON.stringify(operation.bindings)) {
      throw refuse("bindings", `bindings of ${name} are two different ones; give them once, to one of its operations`)
    }
    const other = carried.get(queue) ?? name
    if (other !== name) {
      throw refuse(
        "queue",
        `queue ${queue} carries ${other} and ${name}; declare one channel with the messages of both`
      )
    }
    carried.set(queue, name)
    known.set(name, others === undefined ? [operation] : [...others, operation])
  }
  return known
}

const versionsOf = (message: Message.Any, older: boolean): ReadonlyArray<Message.Version> =>
  older ? message.versions : message.versions.slice(0, 1)

const keyOf = ({ name }: Message.Any, { version }: Message.Version): string => Envelope.joined(name, version)

const itemOf = (
  channel: Channel.Channel<Message.Any>,
  message: Message.Any,
  one: Message.Version,
  schemas: Schemas
): MessageItem => {
  const data = schemas.of(keyOf(message, one), one)
  const { contentType, headers, payload } = channel.envelope.describe(
    { type: message.name, version: one.version },
    data
  )
  return {
    name: message.name,
    ...(message.description === undefined ? {} : { description: message.description }),
    contentType,
    ...(headers === undefined ? {} : { headers }),
    payload
  }
}

const path = "#/components/schemas/"

/**
 * The named Schemas of all messages. Two may have one name (as versions of one class have): those of the later message are
 * then named after it.
 */
class Schemas {
  readonly all: Record<string, JsonSchema> = {}

  of(message: string, { schema }: Message.Version): JsonSchema {
    const definitions: Record<string, JSONSchema.JsonSchema7> = {}
    const data = jsonSchemaOf(message, schema, definitions)
    const named = (prefix: string) => {
      const names = new Map(Object.keys(definitions).map((id) => [escaped(id), prefix + cleaned(id)]))
      const parts = Object.entries(definitions).map(
        ([id, one]) => [prefix + cleaned(id), renamed(one, names) as JsonSchema] as const
      )
      const different =
        new Set(names.values()).size < names.size ||
        parts.some(
          ([name, one]) => Object.hasOwn(this.all, name) && JSON.stringify(this.all[name]) !== JSON.stringify(one)
        )
      return { different, data: renamed(data, names) as JsonSchema, parts }
    }
    const shared = named("")
    const { different, data: own, parts } = shared.different ? named(`${message}.`) : shared
    if (different) throw refuse("schema", `schema of ${message} has identifiers that are too much alike; change one`)
    for (const [name, one] of parts) this.all[name] = one
    return own
  }
}

const jsonSchemaOf = (
  message: string,
  schema: Message.Version["schema"],
  definitions: Record<string, JSONSchema.JsonSchema7>
): JSONSchema.JsonSchema7 => {
  try {
    // As it is read: fields that the Schema does not know are let through.
    return JSONSchema.fromAST(schema.ast, {
      definitions,
      definitionPath: path,
      additionalPropertiesStrategy: "allow"
    })
  } catch (error) {
    const why = Reason.of(error).replace(/\s+/g, " ")
    throw refuse("schema", `schema of ${message} has no JSON Schema; annotate it with \`jsonSchema\` (${why})`)
  }
}

/** As Effect writes an identifier into a reference. */
const escaped = (id: string): string => path + id.replace(/~/g, "~0").replace(/\//g, "~1")

/** Keys of components have no other characters. */
const cleaned = (id: string): string => id.replace(/[^\w.-]+/g, "_")

/**
 * With these names in its references, and without the ids by which Effect marks what has no type (`/schemas/unknown`): an
 * id must not stand twice in a document.
 */
const renamed = (part: unknown, names: ReadonlyMap<string, string>): unknown => {
  if (Array.isArray(part)) return part.map((one) => renamed(one, names))
  if (!Predicate.isRecord(part)) return part
  const entries = Object.entries(part).flatMap(([keyword, value]): ReadonlyArray<readonly [string, unknown]> => {
    if (keyword === "$id" && typeof value === "string" && value.startsWith("/schemas/")) return []
    const name = keyword === "$ref" && typeof value === "string" ? names.get(value) : undefined
    return [[keyword, name === undefined ? renamed(value, names) : path + name]]
  })
  return Object.fromEntries(entries)
}
