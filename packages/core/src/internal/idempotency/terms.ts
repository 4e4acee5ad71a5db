import * as Data from "effect/Data"
import * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import type * as Option from "effect/Option"
import type * as ParseResult from "effect/ParseResult"
import type { Delivery } from "../../Delivery.js"
import type { IdempotencyStoreError, Service } from "../../IdempotencyStore.js"
import type { Guard } from "./protection.js"

/** The key is known, and was used for something else: two things have been given the same key. */
export class KeyReused extends Data.TaggedError("KeyReused")<{
  readonly key: string
  readonly message: string
}> {}

export const keyReused = (key: string): KeyReused =>
  new KeyReused({
    key,
    message: `key ${key} is known with another payload: a key must stand for one thing. Make the key of what tells the two apart, or name by \`payload\` what must be the same`
  })

/** Another works on the key, and may do so for `retryAfter` at least unless it is done or fails before. */
export class KeyClaimed extends /* @__PURE__ */ Data.TaggedError("KeyClaimed")<{
  readonly key: string
  readonly retryAfter: Duration.Duration
  readonly message: string
}> {}

export const keyClaimed = (key: string, retryAfter: Duration.Duration): KeyClaimed =>
  new KeyClaimed({
    key,
    retryAfter,
    message: `another works on key ${key}; try again in ${Duration.format(retryAfter)}`
  })

/** The work is done, and its result is not known: it was too large to be kept, or kept by another Schema. */
export class KeyResultLost extends /* @__PURE__ */ Data.TaggedError("KeyResultLost")<{
  readonly key: string
  readonly message: string
}> {}

export const keyResultLost = (key: string): KeyResultLost =>
  new KeyResultLost({
    key,
    message: `what key ${key} stands for is done, and its result is not kept or does not decode`
  })

/** How a delivery may fail for its key, beside its handler's own errors. */
export type Failure = KeyReused | IdempotencyStoreError

/**
 * What a key is, and what is kept of it.
 *
 * @typeParam A - the bodies that it has keys for.
 * @typeParam B - the results that it can keep.
 * @typeParam O - the results that it gives back; none where it keeps none.
 */
export interface Once<in A, in B, out O, out E, out R> {
  readonly key: (body: A, delivery: Delivery<A, unknown>) => string
  readonly fingerprint: (body: A) => string | undefined
  readonly encode: (result: B) => Effect.Effect<string | undefined, ParseResult.ParseError, R>
  readonly decode: (result: string | undefined) => Effect.Effect<Option.Option<O>, ParseResult.ParseError, R>
  readonly keepFor: Duration.Duration
  readonly callTimeout: Duration.Duration
  readonly whenStoreFails: "fail" | "run"
  readonly store: Effect.Effect<Service, never, R>
  readonly fail: (failure: Failure) => Effect.Effect<never, E>
  /** @internal What a stage guards its handler by: carried along, so that a stage that is given none loads none. */
  readonly protect: <A, B, O, E, R>(once: Once<A, B, O, E, R>) => Effect.Effect<Guard<A, B, O, E, R>, never, R>
}
