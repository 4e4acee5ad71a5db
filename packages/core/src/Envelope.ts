/**
 * Where a message's type and version stand: in attributes beside its body, in fields of the body, or in an envelope that
 * others have agreed on (`CloudEvents`). One strategy reads and writes, and says what it writes to documents.
 */
import type * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Predicate from "effect/Predicate"
import * as InvalidOptions from "./InvalidOptions.js"
import type * as LeaseQueue from "./LeaseQueue.js"

/** What a message says that it is. */
export interface Typed {
  /** `undefined` where it says nothing. */
  readonly type: string | undefined
  /** 1 where it says nothing; as it was found where that is no whole number. */
  readonly version: number | string
  /** Why it is no message of the channel, though one may have its type's name: the end of a sentence. */
  readonly foreign?: string | undefined
  /** Parsed when the type is known. A left says what is wrong. */
  readonly data: () => Either.Either<unknown, string>
}

/** What is to be written. */
export interface Content {
  readonly type: string
  readonly version: number
  /** As JSON has it. */
  readonly data: unknown
  /** What it is known again by, where its message says so. */
  readonly id: string | undefined
}

export interface Packed {
  readonly body: string
  readonly attributes?: Readonly<Record<string, string>> | undefined
}

/** A JSON Schema. */
export interface JsonSchema {
  readonly [keyword: string]: unknown
}

/** How a message of a type and version looks to others. */
export interface Description {
  readonly contentType: string
  readonly payload: JsonSchema
  readonly headers?: JsonSchema | undefined
}

export interface Envelope {
  /** `body` is what the message has once it is opened, where its sender has compressed it. A left says what is wrong. */
  readonly read: (body: string, message: Pick<LeaseQueue.Message, "attributes">) => Either.Either<Typed, string>
  /** Fails where the data do not go with it. */
  readonly write: (content: Content) => Effect.Effect<Packed, unknown>
  /** `data` is the JSON Schema of its data. */
  readonly describe: (content: Pick<Content, "type" | "version">, data: JsonSchema) => Description
}

/** @internal */
export const check: InvalidOptions.Check = InvalidOptions.having(
  "an envelope, such as Envelope.attributes() or CloudEvents.structured(…)",
  "read",
  "write",
  "describe"
)

// --------------------------------------------------------------------------------------------------- parts of strategies

/** @internal The text of an attribute. */
export const textOf = (attributes: LeaseQueue.Message["attributes"], name: string): string | undefined => {
  const found = attributes[name]
  return found === undefined || found.type === "Binary" ? undefined : found.value
}

/** @internal Without the byte order mark that writers on Windows put first. */
export const parse = (text: string): Either.Either<unknown, string> => {
  try {
    return Either.right(JSON.parse(text.charCodeAt(0) === 0xfeff ? text.slice(1) : text))
  } catch {
    return Either.left("it is not JSON")
  }
}

/** @internal */
export const versionOf = (found: unknown): number | string => {
  if (found === undefined) return 1
  const text = String(found)
  return /^[1-9]\d{0,14}$/.test(text) ? Number(text) : text.slice(0, 100)
}

/**
 * One text for both, as CloudEvents and EventBridge advise: `OrderPlaced`, and `OrderPlaced.v2` from the second
 * version on.
 */
export const joined = (type: string, version: number): string => (version === 1 ? type : `${type}.v${version}`)

/** The parts of such a text. */
export const parted = (text: string): { readonly type: string; readonly version: number } => {
  const [, type = text, version = "1"] = /^(.*)\.v([1-9]\d{0,14})$/.exec(text) ?? []
  return { type, version: Number(version) }
}

/** @internal */
export const isRecord: (value: unknown) => value is { readonly [name: string]: unknown } = Predicate.isReadonlyRecord

// ---------------------------------------------------------------------------------------------------------- strategies

export interface Names {
  /** Default `type`. */
  readonly type?: string | undefined
  /** Default `version`. */
  readonly version?: string | undefined
}

/**
 * In attributes of the message, beside a body that is the data alone: the default. SNS hands attributes on to subscriptions
 * with raw delivery, and its filters read them. Throws `InvalidOptions` where an option cannot work.
 */
export const attributes = (names: Names = {}): Envelope => {
  InvalidOptions.checkOrThrow("Envelope.attributes", names, { type: InvalidOptions.text, version: InvalidOptions.text })
  const { type: typeName, version: versionName } = different("Envelope.attributes", names)
  return {
    read: (body, { attributes }) =>
      Either.right({
        type: textOf(attributes, typeName),
        version: versionOf(textOf(attributes, versionName)),
        data: () => parse(body)
      }),
    write: ({ data, type, version }) =>
      Either.right({ body: JSON.stringify(data), attributes: { [typeName]: type, [versionName]: String(version) } }),
    describe: ({ type, version }, data) => ({
      contentType: "application/json",
      payload: data,
      headers: constants({ [typeName]: type, [versionName]: String(version) })
    })
  }
}

export interface FieldOptions extends Names {
  /** The field that holds the data. Default: they stand beside type and version, and are an object. */
  readonly data?: string | undefined
}

/**
 * In fields of the body. Data of a tagged Schema carry their type already: `Envelope.fields({ type: "_tag" })`. Throws
 * `InvalidOptions` where an option cannot work.
 */
export const fields = (options: FieldOptions = {}): Envelope => {
  InvalidOptions.checkOrThrow("Envelope.fields", options, {
    type: InvalidOptions.text,
    version: InvalidOptions.text,
    data: InvalidOptions.text
  })
  const { type: typeName, version: versionName } = different("Envelope.fields", options)
  const { data: dataName } = options
  if (dataName === typeName || dataName === versionName) {
    throw new InvalidOptions.InvalidOptions({
      option: "data",
      message: `data is "${dataName}", and so is the type's or the version's field; write another name`
    })
  }
  const own = (type: string, version: number) => ({ [typeName]: type, [versionName]: version })
  return {
    read: (body) =>
      Either.flatMap(parse(body), (parsed) => {
        if (!isRecord(parsed)) return Either.left("it is no object with a type")
        const type = parsed[typeName]
        return Either.right({
          type: typeof type === "string" ? type : undefined,
          version: versionOf(parsed[versionName]),
          data: () => Either.right(dataName === undefined ? parsed : parsed[dataName])
        })
      }),
    write: ({ data, type, version }) => {
      if (dataName !== undefined) return packed({ ...own(type, version), [dataName]: data })
      if (!isRecord(data)) {
        return Either.left(
          `its data are no object, into which a type could be written; give Envelope.fields a name for them: { data: "data" }`
        )
      }
      for (const [name, value] of Object.entries(own(type, version))) {
        if (data[name] === undefined || data[name] === value) continue
        return Either.left(
          `its data have a field ${name} of their own; give Envelope.fields another name, or { data: "data" } to keep them apart`
        )
      }
      // After the data: one of their fields may be there, and have no value.
      return packed({ ...data, ...own(type, version) })
    },
    describe: ({ type, version }, data) => {
      const known = constants(own(type, version))
      return {
        contentType: "application/json",
        payload:
          dataName === undefined
            ? { allOf: [known, data] }
            : { ...known, required: [typeName, dataName], properties: { ...known.properties, [dataName]: data } }
      }
    }
  }
}

const packed = (body: unknown) => Either.right({ body: JSON.stringify(body) })

const different = (of: string, { type = "type", version = "version" }: Names) => {
  if (type !== version) return { type, version }
  throw new InvalidOptions.InvalidOptions({
    option: "version",
    message: `version is "${version}", and so is type; give ${of} two names`
  })
}

/** @internal The JSON Schema of an object with these values. */
export const constants = (values: Readonly<Record<string, string | number>>) => ({
  type: "object",
  required: Object.keys(values),
  properties: Object.fromEntries(Object.entries(values).map(([name, value]) => [name, { const: value }]))
})
