/** From a body to the text that is sent. */
import type * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Schema from "effect/Schema"
import type { Attributes } from "./message.js"

export interface Encoded {
  readonly body: string
  /** Attributes that say how to read the body. */
  readonly attributes?: Attributes | undefined
  /** Of a message that does not say itself; goes before the producer's options. */
  readonly group?: string | undefined
  /** The same; on FIFO queues. */
  readonly deduplicationId?: string | undefined
}

/**
 * From a body to what is sent. An `Either` is an Effect, and the quick way; where it takes time, the sender waits, and a
 * stream's elements are encoded side by side, as many as there may be calls.
 */
export interface Codec<in A> {
  readonly encode: (body: A) => Effect.Effect<Encoded, unknown>
}

const encodeJson = (value: unknown): Either.Either<Encoded, unknown> => {
  try {
    const body = JSON.stringify(value)
    return body === undefined ? Either.left(`${typeof value} has no form in JSON`) : Either.right({ body })
  } catch (error) {
    return Either.left(error)
  }
}

/** The default: strings as they are, everything else as JSON. */
export const plain: Codec<unknown> = {
  encode: (value) => (typeof value === "string" ? Either.right({ body: value }) : encodeJson(value))
}

/** JSON of what the Schema encodes; what does not fit it is rejected. The Schema must not need async effects. */
export const json = <A, I>(schema: Schema.Schema<A, I>): Codec<A> => {
  const encode = Schema.encodeEither(schema)
  return { encode: (value) => Either.flatMap(encode(value), encodeJson) }
}
