/**
 * CloudEvents 1.0 as the envelope of a channel, in JSON: structured, where the body is the whole event, or binary, where
 * the body is the data and attributes named `ce-…` say the rest, as headers do in the HTTP binding. Each reads both.
 *
 * @see https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md
 */
import * as Clock from "effect/Clock"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Random from "effect/Random"
import * as Envelope from "./Envelope.js"
import * as InvalidOptions from "./InvalidOptions.js"
import type * as LeaseQueue from "./LeaseQueue.js"

export interface Options {
  /** Where it happened: a URI reference, such as `/orders` or `https://shop.example/orders`. */
  readonly source: string
  /**
   * Before the names of messages, as in `com.example.OrderPlaced`; an event of another one is of an unknown type. Default:
   * none.
   */
  readonly prefix?: string | undefined
  /** What it is about, of every event. Default: it does not say. */
  readonly subject?: string | undefined
}

const checks: InvalidOptions.Checks<Options> = {
  source: InvalidOptions.required(InvalidOptions.text),
  prefix: InvalidOptions.text,
  subject: InvalidOptions.text
}

/** The event without its data, as it is written. */
interface Context {
  readonly specversion: "1.0"
  readonly id: string
  readonly source: string
  readonly type: string
  readonly time: string
  readonly subject?: string
}

const uuid: Effect.Effect<string> = Effect.map(
  Effect.replicateEffect(Random.nextIntBetween(0, 0x10000), 8),
  (parts) => {
    const [a, b, c, d = 0, e = 0, ...rest] = parts
    const hex = [a, b, c, (d & 0x0fff) | 0x4000, (e & 0x3fff) | 0x8000, ...rest].map((part = 0) =>
      part.toString(16).padStart(4, "0")
    )
    return `${hex[0]}${hex[1]}-${hex[2]}-${hex[3]}-${hex[4]}-${hex.slice(5).join("")}`
  }
)

/** The id of a message that is known again by a key is that key: source and id together name an event. */
const contextOf = ({ prefix = "", source, subject }: Options, { id, type, version }: Envelope.Content) =>
  Effect.map(
    Effect.zip(id === undefined ? uuid : Effect.succeed(id), Clock.currentTimeMillis),
    ([id, now]): Context => ({
      specversion: "1.0",
      id,
      source,
      type: Envelope.joined(prefix + type, version),
      time: DateTime.formatIso(DateTime.unsafeMake(now)),
      ...(subject === undefined ? {} : { subject })
    })
  )

/** What the standard demands of each event. */
const problemOf = (found: (name: string) => unknown): string | undefined => {
  const specversion = found("specversion")
  if (specversion === undefined) return "it is no CloudEvent: it has no specversion"
  if (specversion !== "1.0") return "it is a CloudEvent of another specversion than 1.0"
  for (const name of ["id", "source", "type"]) {
    const value = found(name)
    if (typeof value !== "string" || value === "") return `it is a CloudEvent without ${name}`
  }
  return undefined
}

const isJson = (contentType: unknown): boolean =>
  contentType === undefined || /^[^;]*[/+]json\s*(;|$)/i.test(String(contentType))

const typed = (type: unknown, { prefix = "" }: Options, data: Envelope.Typed["data"]): Envelope.Typed => {
  const text = String(type)
  return text.startsWith(prefix)
    ? { ...Envelope.parted(text.slice(prefix.length)), data }
    : { type: text, version: 1, foreign: `without the prefix ${prefix}`, data }
}

const readBinary = (body: string, attributes: LeaseQueue.Message["attributes"], options: Options) => {
  const found = (name: string) => Envelope.textOf(attributes, `ce-${name}`)
  const problem = problemOf(found)
  if (problem !== undefined) return Either.left(problem)
  const json = isJson(Envelope.textOf(attributes, "content-type"))
  return Either.right(typed(found("type"), options, () => (json ? Envelope.parse(body) : Either.right(body))))
}

const readStructured = (body: string, options: Options) =>
  Either.flatMap(Envelope.parse(body), (event) => {
    if (!Envelope.isRecord(event)) return Either.left("it is no CloudEvent: it is no object")
    const problem = problemOf((name) => event[name])
    return problem === undefined
      ? Either.right(typed(event["type"], options, () => dataOf(event)))
      : Either.left(problem)
  })

const dataOf = (event: { readonly [name: string]: unknown }): Either.Either<unknown, string> => {
  const { data_base64: encoded } = event
  if (encoded === undefined) return Either.right(event["data"])
  if (typeof encoded !== "string" || "data" in event)
    return Either.left("its data_base64 is no text, or it has data too")
  const text = Buffer.from(encoded, "base64").toString()
  return isJson(event["datacontenttype"]) ? Envelope.parse(text) : Either.right(text)
}

const binaryMode = "ce-specversion"

const make = (
  of: string,
  options: Options,
  {
    describe,
    write
  }: { readonly write: (context: Context, data: unknown) => Envelope.Packed } & Pick<Envelope.Envelope, "describe">
): Envelope.Envelope => {
  InvalidOptions.checkOrThrow(of, options, checks)
  return {
    read: (body, { attributes }) =>
      attributes[binaryMode] === undefined ? readStructured(body, options) : readBinary(body, attributes, options),
    write: (content) => Effect.map(contextOf(options, content), (context) => write(context, content.data)),
    describe
  }
}

const described = (
  { prefix = "", source }: Options,
  { type, version }: Pick<Envelope.Content, "type" | "version">
) => ({
  specversion: { const: "1.0" },
  id: { type: "string", minLength: 1 },
  source: { type: "string", format: "uri-reference", examples: [source] },
  type: { const: Envelope.joined(prefix + type, version) },
  time: { type: "string", format: "date-time" }
})

const demanded = ["specversion", "id", "source", "type"]

/**
 * The body is the event, with the data inside. An attribute `content-type` says so. The version of a message stands in the
 * type, from the second on: `com.example.OrderPlaced.v2`. Throws `InvalidOptions` where an option cannot work.
 */
export const structured = (options: Options): Envelope.Envelope =>
  make("CloudEvents.structured", options, {
    write: (context, data) => ({
      body: JSON.stringify({ ...context, datacontenttype: "application/json", data }),
      attributes: { "content-type": "application/cloudevents+json" }
    }),
    describe: (content, data) => ({
      contentType: "application/cloudevents+json",
      payload: {
        type: "object",
        required: [...demanded, "data"],
        properties: { ...described(options, content), datacontenttype: { type: "string" }, data }
      }
    })
  })

/**
 * The body is the data; the rest of the event is in attributes, six of the ten that SQS allows, seven with a subject.
 * Throws `InvalidOptions` where an option cannot work.
 */
export const binary = (options: Options): Envelope.Envelope =>
  make("CloudEvents.binary", options, {
    write: (context, data) => ({
      body: JSON.stringify(data),
      attributes: {
        ...Object.fromEntries(Object.entries(context).map(([name, value]) => [`ce-${name}`, String(value)])),
        "content-type": "application/json"
      }
    }),
    describe: (content, data) => ({
      contentType: "application/json",
      payload: data,
      headers: {
        type: "object",
        required: demanded.map((name) => `ce-${name}`),
        properties: Object.fromEntries(
          Object.entries(described(options, content)).map(([name, value]) => [`ce-${name}`, value])
        )
      }
    })
  })
