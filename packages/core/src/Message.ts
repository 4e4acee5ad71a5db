/**
 * A type of messages, declared once: its name and version, the Schema of its data, its group and its deduplication key.
 * A `Channel` is the set of them that a queue carries; who sends and who handles take their types from here.
 */
import type * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as ParseResult from "effect/ParseResult"
import * as Pipeable from "effect/Pipeable"
import * as Schema from "effect/Schema"
import type { ParseOptions } from "effect/SchemaAST"
import * as InvalidOptions from "./InvalidOptions.js"
import * as Reason from "./Reason.js"

/** A message of a channel: what a producer takes, and what a stage without a route sees. */
export interface Value<out Name extends string, out A> {
  readonly _tag: Name
  readonly body: A
}

/** What goes to a queue of one message, before its envelope. */
export interface Written {
  /** By its Schema, as it is to be written as JSON. */
  readonly data: unknown
  readonly group: string | undefined
  readonly deduplicationId: string | undefined
}

/** A version that is read, as its data are declared. */
export interface Version<out A = unknown> {
  readonly version: number
  readonly schema: Schema.Schema.AnyNoContext
  /** To what the newest version is. A failure says what is wrong with the data. */
  readonly read: (data: unknown, options?: ParseOptions) => Effect.Effect<A, ParseResult.ParseIssue | string>
}

/** Any message, where its types do not matter. */
export interface Any {
  readonly name: string
  readonly version: number
  readonly description: string | undefined
  readonly schema: Schema.Schema.AnyNoContext
  /** Those that can be read, the newest first: its own, and those that are lifted to it. */
  readonly versions: ReadonlyArray<Version>
  readonly grouped: boolean
  /** @internal */
  write(body: unknown): Either.Either<Written, unknown>
}

/**
 * @typeParam A - what a handler gets and a sender gives.
 * @typeParam I - what it is as JSON.
 */
export interface Message<Name extends string, A, I = A> extends Any, Pipeable.Pipeable {
  readonly name: Name
  readonly schema: Schema.Schema<A, I>
  readonly versions: ReadonlyArray<Version<A>>
  /** One to send. */
  of(body: A): Value<Name, A>
  /** @internal */
  write(body: A): Either.Either<Written, unknown>
  /** @internal With one more version that can be read. */
  with(older: ReadonlyArray<Version<A>>): Message<Name, A, I>
}

export type Name<M extends Any> = M["name"]

/** What its handler gets. */
export type Body<M extends Any> = Schema.Schema.Type<M["schema"]>

/** The values of a message, or of each of a union of them. */
export type ValueOf<M extends Any> = M extends Any ? Value<M["name"], Body<M>> : never

export interface Options<A, I> {
  /** Of its data; without requirements. */
  readonly schema: Schema.Schema<A, I>
  /** A whole number from 1: another one where the data change so that those who read the old cannot read it. Default 1. */
  readonly version?: number | undefined
  /** What must be handled in order, or share fairly on a standard queue (SQS: `MessageGroupId`). Default: none. */
  readonly group?: ((body: A) => string | undefined) | undefined
  /**
   * By what a message is known again: SQS's deduplication id on FIFO queues, the id of a CloudEvent. Default: each is one
   * of its own.
   */
  readonly deduplicationId?: ((body: A) => string) | undefined
  /** For documents, such as AsyncAPI's. */
  readonly description?: string | undefined
}

const checks: InvalidOptions.Checks<Options<never, never>> = {
  schema: InvalidOptions.required(InvalidOptions.schema),
  version: InvalidOptions.aWholeNumber({ min: 1 }),
  group: InvalidOptions.func,
  deduplicationId: InvalidOptions.func,
  description: InvalidOptions.text
}

/** Names go into attributes, keys of documents and, with a version, into one text: `OrderPlaced.v2`. */
const nameCheck: InvalidOptions.Check = InvalidOptions.required({
  write:
    'a name of letters, digits, "_", "-" and ".", such as "OrderPlaced", that does not end as a version does (".v2")',
  fits: (value) => typeof value === "string" && /^[\w.-]{1,200}$/.test(value) && !/\.v\d+$/.test(value)
})

class MessageImpl<Name extends string, A, I> extends Pipeable.Class() implements Message<Name, A, I> {
  readonly name: Name
  readonly version: number
  readonly description: string | undefined
  readonly schema: Schema.Schema<A, I>
  readonly versions: ReadonlyArray<Version<A>>
  readonly #options: Options<A, I>
  readonly #encode: (body: A) => Either.Either<I, ParseResult.ParseError>

  constructor(name: Name, options: Options<A, I>, older: ReadonlyArray<Version<A>>) {
    super()
    const { description, schema, version = 1 } = options
    this.name = name
    this.version = version
    this.description = description
    this.schema = schema
    this.versions = [{ version, schema, read: ParseResult.decodeUnknown(schema) }, ...older]
    this.#options = options
    this.#encode = Schema.encodeEither(schema)
  }

  get grouped(): boolean {
    return this.#options.group !== undefined
  }

  of(body: A): Value<Name, A> {
    return { _tag: this.name, body }
  }

  write(body: A): Either.Either<Written, unknown> {
    // What encodes is of the Schema's type, and so what the functions may be asked about.
    return Either.map(this.#encode(body), (data) => ({
      data,
      group: this.#options.group?.(body),
      deduplicationId: this.#options.deduplicationId?.(body)
    }))
  }

  with(older: ReadonlyArray<Version<A>>): Message<Name, A, I> {
    return new MessageImpl(this.name, this.#options, older)
  }
}

/**
 * Declares a message. Throws `InvalidOptions` where an option cannot work.
 *
 * @example
 * const OrderPlaced = Message.make("OrderPlaced", {
 *   schema: Schema.Struct({ order: Schema.String, customer: Schema.String }),
 *   group: ({ customer }) => customer,
 *   deduplicationId: ({ order }) => order
 * })
 */
export const make = <const Name extends string, A, I>(name: Name, options: Options<A, I>): Message<Name, A, I> => {
  InvalidOptions.checkOrThrow("Message.make", { name }, { name: nameCheck })
  InvalidOptions.checkOrThrow("Message.make", options, checks)
  return new MessageImpl(name, options, [])
}

/**
 * Reads an older version too: its data are decoded by its own Schema and lifted to the newer one, so that there is one
 * handler. What the older one lifts itself is lifted on. What `f` throws is a `DecodeError`. Throws `InvalidOptions` where
 * `older` is not older, or is read already.
 *
 * @example
 * const OrderPlaced = Message.make("OrderPlaced", { version: 2, schema: Order }).pipe(
 *   Message.lift(OrderPlacedV1, (old) => ({ ...old, currency: "CHF" }))
 * )
 */
export const lift =
  <Name extends string, B, J, A>(older: Message<Name, B, J>, f: (older: B) => A) =>
  <I>(self: Message<Name, A, I>): Message<Name, A, I> => {
    InvalidOptions.checkOrThrow(
      "Message.lift",
      { older, f },
      { older: aMessage, f: InvalidOptions.required(InvalidOptions.func) }
    )
    for (const { version } of older.versions) {
      const problem =
        older.name !== self.name
          ? `is one of ${older.name}, and ${self.name} is another message; write an older version of ${self.name}`
          : version >= self.version
            ? `is version ${version} of ${self.name}, and not older than ${self.version}; give the newer one a higher \`version\``
            : self.versions.some((known) => known.version === version)
              ? `is version ${version} of ${self.name}, which is lifted already; leave one out`
              : undefined
      if (problem !== undefined)
        throw new InvalidOptions.InvalidOptions({ option: "older", message: `older ${problem}` })
    }
    const lifted = older.versions.map(
      ({ read, schema, version }): Version<A> => ({
        version,
        schema,
        read: (data, options) => ParseResult.flatMap(read(data, options), (body) => lifting(f, body, version))
      })
    )
    return self.with([...self.versions.slice(1), ...lifted].sort((a, b) => b.version - a.version))
  }

/** The error's own words may repeat the data. */
const lifting = <A, B>(f: (older: B) => A, body: B, version: number): Either.Either<A, string> => {
  try {
    return Either.right(f(body))
  } catch (error) {
    return Either.left(`lifting it from version ${version} threw ${Reason.nameOf(error) ?? "an error"}`)
  }
}

const aMessage: InvalidOptions.Check = InvalidOptions.required(
  InvalidOptions.having("what Message.make gives", "name", "version", "versions", "write")
)

/** @internal */
export const check: InvalidOptions.Check = aMessage
