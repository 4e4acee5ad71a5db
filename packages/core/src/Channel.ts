/**
 * The set of messages that a queue carries, and how they are told apart. A producer that sends these and no others, a route
 * with a handler for each, and a document of them are made from it.
 */
import * as Data from "effect/Data"
import type * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import type { ParseOptions } from "effect/SchemaAST"
import * as Envelope from "./Envelope.js"
import * as InvalidOptions from "./InvalidOptions.js"
import * as done from "./internal/effect/done.js"
import * as decode from "./internal/handOver/decode.js"
import type * as LeaseQueue from "./LeaseQueue.js"
import * as Message from "./Message.js"

/**
 * @typeParam M - the messages, as a union.
 */
export interface Channel<out M extends Message.Any> {
  readonly name: string
  readonly description: string | undefined
  readonly messages: ReadonlyArray<M>
  readonly envelope: Envelope.Envelope
}

/** The messages of a channel, as a union. */
export type Messages<C> = C extends Channel<infer M> ? M : never

/** What a channel carries: `Channel.Value<typeof shop>` is what its producer takes. */
export type Value<C> = Message.ValueOf<Messages<C>>

export interface Options<M extends Message.Any> {
  /** At least one, each of another name. */
  readonly messages: ReadonlyArray<M>
  /** How they are told apart. Default: `Envelope.attributes()`. */
  readonly envelope?: Envelope.Envelope | undefined
  /** For documents, such as AsyncAPI's. */
  readonly description?: string | undefined
}

const checks: InvalidOptions.Checks<Options<Message.Any>> = {
  messages: InvalidOptions.required(InvalidOptions.list(Message.check)),
  envelope: Envelope.check,
  description: InvalidOptions.text
}

const nameCheck: InvalidOptions.Check = InvalidOptions.required({
  write: 'a name of letters, digits, "_", "-" and ".", such as "orders"',
  fits: (value) => typeof value === "string" && /^[\w.-]{1,200}$/.test(value)
})

/**
 * Declares a channel. Throws `InvalidOptions` where an option cannot work, such as two messages of one name.
 *
 * @example
 * const shop = Channel.make("shop", { messages: [OrderPlaced, OrderCancelled] })
 */
export const make = <M extends Message.Any>(name: string, options: Options<M>): Channel<M> => {
  InvalidOptions.checkOrThrow("Channel.make", { name }, { name: nameCheck })
  InvalidOptions.checkOrThrow("Channel.make", options, checks)
  const { description, envelope = Envelope.attributes(), messages } = options
  const refuse = (message: string) => new InvalidOptions.InvalidOptions({ option: "messages", message })
  if (messages.length === 0) throw refuse(`messages of ${name} are none; write one at least`)
  const seen = new Map<string, Message.Any>()
  for (const message of messages) {
    const other = seen.get(message.name)
    if (other !== undefined) {
      const instead =
        other.version === message.version
          ? "leave one out, or name it otherwise"
          : `leave out the older one, and let the newer read it: Message.lift(older, (old) => …)`
      throw refuse(`messages of ${name} has two of the name ${message.name}; ${instead}`)
    }
    seen.set(message.name, message)
  }
  return { name, description, messages: [...messages], envelope }
}

/** What may stand where a channel belongs, for what takes one. */
export const check: InvalidOptions.Check = InvalidOptions.required(
  InvalidOptions.having("what Channel.make gives", "name", "messages", "envelope")
)

/**
 * A message is of a type that its channel does not carry, or of a version that nobody lifts; or it does not say its type.
 * A consumer that is newer may know it: `RetryPolicy.standard` tries again, as after any failure.
 */
export class UnknownMessage extends Data.TaggedError("UnknownMessage")<{
  readonly messageId: string
  readonly channel: string
  readonly type: string | undefined
  readonly version: number | string
  readonly message: string
}> {}

const named = (messages: ReadonlyArray<Message.Any>): string =>
  messages.map(({ name, versions }) => `${name} (${versions.map(({ version }) => version).join(", ")})`).join(", ")

/** @internal Reads messages of a channel, each as its name and its body. */
export const reading = <M extends Message.Any>(
  channel: Channel<M>
): ((
  body: string,
  options: ParseOptions,
  message: Pick<LeaseQueue.Message, "id" | "attributes">
) => Effect.Effect<Message.ValueOf<M>, decode.Problem | decode.Refusal<UnknownMessage>>) => {
  const known = new Map(channel.messages.map((message) => [message.name, message]))
  return (body, options, received) => {
    const typed = channel.envelope.read(body, received)
    if (Either.isLeft(typed)) return Either.left(typed.left)
    const { data, foreign, type, version } = typed.right
    const message = type === undefined || foreign !== undefined ? undefined : known.get(type)
    const found = message?.versions.find((one) => one.version === version)
    if (message === undefined || found === undefined) {
      const what =
        type === undefined
          ? "says no type"
          : message === undefined
            ? `is of type ${cut(type)}${foreign === undefined ? "" : `, ${foreign}`}`
            : `is ${type}, version ${version}`
      const unknown = new UnknownMessage({
        messageId: received.id,
        channel: channel.name,
        type,
        version,
        message: `message ${received.id} ${what}, and ${channel.name} has ${named(channel.messages)}`
      })
      return Either.left(new decode.Refusal(unknown))
    }
    const parsed = data()
    if (Either.isLeft(parsed)) return Either.left(parsed.left)
    // The name's own Schema has read it.
    return done.map(found.read(parsed.right, options), (body) => ({ _tag: message.name, body }) as Message.ValueOf<M>)
  }
}

const cut = (text: string): string => (text.length <= 100 ? text : `${text.slice(0, 100)}…`)

/** A message as it goes to a queue. */
export interface Encoded extends Envelope.Packed {
  readonly group: string | undefined
  readonly deduplicationId: string | undefined
}

/** How messages of a channel are written, for what sends them: a left, or a failure, says what does not fit. */
export const encode = <M extends Message.Any>(
  channel: Channel<M>
): ((value: Message.ValueOf<M>) => Effect.Effect<Encoded, unknown>) => {
  const known = new Map<string, Message.Any>(channel.messages.map((message) => [message.name, message]))
  return (value) => {
    const message = known.get(value?._tag)
    if (message === undefined) {
      return Either.left(
        `it is no message of ${channel.name}, which has ${channel.messages.map(({ name }) => `${name}.of(…)`).join(", ")}`
      )
    }
    const written = message.write(value.body)
    if (Either.isLeft(written)) return Either.left(written.left)
    const { data, deduplicationId, group } = written.right
    const { envelope } = channel
    const packed = envelope.write({ type: message.name, version: message.version, data, id: deduplicationId })
    const encoded = (packed: Envelope.Packed): Encoded => ({ ...packed, group, deduplicationId })
    return done.map(packed, encoded)
  }
}
