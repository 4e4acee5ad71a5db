/** Bodies by a Standard Schema. */
import { DecodeError, type Delivery, withBody } from "@millrace/core/Delivery"
import * as Pipeline from "@millrace/core/Pipeline"
import type { StandardSchemaV1 } from "@standard-schema/spec"
import * as Chunk from "effect/Chunk"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"

const mostPlaces = 5

const placeOf = (issue: StandardSchemaV1.Issue): string =>
  (issue.path ?? []).map((part) => String(typeof part === "object" ? part.key : part)).join(".") || "the body"

/** Places only: a validator's words may repeat the sender's values, which must not be logged. */
const told = (issues: ReadonlyArray<StandardSchemaV1.Issue>): string =>
  [
    ...issues.slice(0, mostPlaces).map(placeOf),
    ...(issues.length > mostPlaces ? [`and ${issues.length - mostPlaces} more`] : [])
  ].join(", ")

type Result<A> = StandardSchemaV1.Result<A> | "threw"

const validate = <A>(schema: StandardSchemaV1<unknown, A>, body: unknown): Result<A> | Promise<Result<A>> => {
  try {
    const result = schema["~standard"].validate(body)
    return result instanceof Promise ? result.catch(() => "threw" as const) : result
  } catch {
    return "threw"
  }
}

type Parsed = Delivery<unknown, DecodeError>

const withResult = <A>(delivery: Parsed, result: Result<A>): Delivery<A, DecodeError> => {
  if (result !== "threw" && result.issues === undefined) return withBody(delivery, Exit.succeed(result.value))
  const messageId = delivery.message.id
  const why = result === "threw" ? "its schema threw" : `its schema does not accept ${told(result.issues ?? [])}`
  return withBody(
    delivery,
    Exit.fail(new DecodeError({ messageId, message: `the body of message ${messageId} does not decode: ${why}` }))
  )
}

/** A schema that answers at once costs no effect a message. */
const validated = <A>(schema: StandardSchemaV1<unknown, A>, delivery: Parsed) => {
  if (Exit.isFailure(delivery.body)) return withBody(delivery, Exit.failCause(delivery.body.cause))
  const result = validate(schema, delivery.body.value)
  return result instanceof Promise
    ? Effect.map(
        Effect.promise(() => result),
        (settled) => withResult(delivery, settled)
      )
    : withResult(delivery, result)
}

export type Decoded<A, EX> = Stream.Stream<Delivery<A, DecodeError>, EX>

export const bySchema =
  <A>(schema: StandardSchemaV1<unknown, A>) =>
  <EX>(self: Stream.Stream<Delivery<string>, EX>): Decoded<A, EX> =>
    self.pipe(
      Pipeline.decodeJson(Schema.Unknown),
      Stream.mapChunksEffect((chunk) => {
        const done: Array<Delivery<A, DecodeError>> = []
        const all = Chunk.toReadonlyArray(chunk).map((delivery) => validated(schema, delivery))
        for (const one of all) if (!Effect.isEffect(one)) done.push(one)
        return done.length === all.length
          ? Effect.succeed(Chunk.unsafeFromArray(done))
          : Effect.map(
              Effect.forEach(all, (one) => (Effect.isEffect(one) ? one : Effect.succeed(one))),
              Chunk.unsafeFromArray
            )
      })
    )

/** As it is, once it is opened where its sender has compressed it. */
export const asText = <EX>(self: Stream.Stream<Delivery<string>, EX>): Decoded<string, EX> =>
  Pipeline.decode(Schema.String)(self)
