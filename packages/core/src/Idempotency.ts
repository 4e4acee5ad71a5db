/**
 * Once: what has been done under a key is not done again. A delivery's key is claimed before its handler runs, the claim
 * holds exactly as long as the delivery's lease, and it is sealed when the handler has succeeded. A duplicate of what is
 * done is acked without a run; one of what is being done waits.
 *
 * The handler's effects and the seal are two steps: a process that dies between them leaves a claim that ends with its
 * lease, and the handler runs again. Where both are in one SQL database, `SqlInbox` of `@millrace/sql` makes them one.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type { Delivery } from "./Delivery.js"
import { type Begin, IdempotencyStore, type IdempotencyStoreError } from "./IdempotencyStore.js"
import * as InvalidOptions from "./InvalidOptions.js"
import { fork as callbackFork } from "./internal/effect/fork.js"
import { ask, Calls } from "./internal/idempotency/calls.js"
import { fingerprint, storedKey } from "./internal/idempotency/fingerprint.js"
import type { Fork } from "./internal/idempotency/gather.js"
import { guard } from "./internal/idempotency/guard.js"
import { owners } from "./internal/idempotency/owners.js"
import { kept, seal, toKeep } from "./internal/idempotency/seal.js"
import {
  type Failure,
  KeyClaimed,
  KeyResultLost,
  KeyReused,
  keyClaimed,
  keyResultLost,
  keyReused,
  type Once
} from "./internal/idempotency/terms.js"

export { type Failure, KeyClaimed, KeyResultLost, KeyReused, keyClaimed, keyReused, type Once }

/** A name for an owner of claims that no other has, in any process. */
export const owner: Effect.Effect<string> = Effect.map(owners, (next) => next())

export interface KeyOptions<in A> {
  /**
   * What must be the same when a key is used again: a part of the body, all of it (the default) or nothing
   * (`"any"`). Compared by a hash of its JSON, whatever the order of properties.
   */
  readonly payload?: "any" | ((body: A) => unknown) | undefined
  /**
   * How long a key is remembered once it is done, from 1 second: as long as a duplicate may come. Default 4 days, the
   * retention of an SQS queue unless it is told otherwise.
   */
  readonly keepFor?: Duration.DurationInput | undefined
  /** How long a call to the store may take before it counts as failed, from 10 milliseconds. Default 5 seconds. */
  readonly callTimeout?: Duration.DurationInput | undefined
  /**
   * What happens where the store fails: the handler does not run, and the failure is the delivery's, with
   * `IdempotencyStoreError` (`"fail"`, the default); or the handler runs without protection (`"run"`).
   */
  readonly whenStoreFails?: "fail" | "run" | undefined
}

/** The same, where results are kept. */
export interface Options<in A, in out B, in out I, R> extends KeyOptions<A> {
  /**
   * How a handler's result is kept, so that it flows on for a duplicate as if the handler had run. Of what JSON can carry.
   * Without it none is kept, and a duplicate has no result.
   */
  readonly result: Schema.Schema<B, I, R>
}

const keepFor = InvalidOptions.time({ min: "1 second", max: "3650 days" })
const callTimeout = InvalidOptions.time({ min: "10 millis", max: "10 minutes" })

const keyChecks: InvalidOptions.Checks<KeyOptions<never> & { readonly result?: unknown }> = {
  payload: InvalidOptions.either(InvalidOptions.oneOf("any"), {
    ...InvalidOptions.func,
    write: "a function of the body"
  }),
  keepFor,
  callTimeout,
  whenStoreFails: InvalidOptions.oneOf("fail", "run"),
  result: InvalidOptions.schema
}

const make = <A, B, O, R>(
  key: (body: A, delivery: Delivery<A, unknown>) => string,
  options: KeyOptions<A>,
  results: Pick<Once<A, B, O, never, R>, "encode" | "decode">
): Once<A, B, O, Failure, R | IdempotencyStore> => {
  const { payload = (body: A) => body, whenStoreFails = "fail" } = options
  return {
    key: (body, delivery) => textKey(key(body, delivery)),
    fingerprint: (body) => (payload === "any" ? undefined : fingerprint(payload(body))),
    ...results,
    keepFor: Duration.decode(options.keepFor ?? "4 days"),
    callTimeout: Duration.decode(options.callTimeout ?? "5 seconds"),
    whenStoreFails,
    store: IdempotencyStore,
    fail: (failure) => Effect.fail(failure),
    protect: guard
  }
}

const textKey = (key: unknown): string => {
  if (typeof key === "string" && key !== "") return storedKey(key)
  throw new Error(`a key is ${JSON.stringify(key)}; it must be a text that is not empty`)
}

const none = Effect.succeed(undefined)
const keepsNone = { encode: () => none, decode: () => Effect.succeedNone }

const json = Schema.parseJson()

const keeps = <B, I, R>(schema: Schema.Schema<B, I, R>): Pick<Once<unknown, B, B, never, R>, "encode" | "decode"> => {
  const encode = Schema.encode(schema)
  const decode = Schema.decodeUnknown(schema)
  // What is nothing (`Schema.Void`) has no JSON.
  return {
    encode: (result) =>
      Effect.flatMap(encode(result), (encoded) =>
        encoded === undefined ? Effect.succeed("") : Schema.encode(json)(encoded)
      ),
    decode: (kept) => {
      if (kept === undefined) return Effect.succeedNone
      return (kept === "" ? Effect.succeed(undefined) : Schema.decode(json)(kept)).pipe(
        Effect.flatMap((encoded) => decode(encoded)),
        Effect.asSome
      )
    }
  }
}

/**
 * Once for each key, which is made of the body: best one of the business (an order's id), that a message sent twice, or
 * the same order by another way, shares. Keys are the store's, not the queue's: what else is kept there under the same
 * text is the same, so begin it with what it stands for. For the option `once` of `Pipeline.process` and
 * `Pipeline.processBatches`.
 *
 * Throws `InvalidOptions` where an option cannot work.
 *
 * @example
 * Pipeline.process(ship, { once: Idempotency.by((order) => `ship ${order.id}`) })
 */
export function by<A, B, I, R>(
  key: (body: A, delivery: Delivery<A, unknown>) => string,
  options: Options<A, B, I, R>
): Once<A, B, B, Failure, R | IdempotencyStore>
export function by<A>(
  key: (body: A, delivery: Delivery<A, unknown>) => string,
  options?: KeyOptions<A> & { readonly result?: undefined }
): Once<A, unknown, never, Failure, IdempotencyStore>
export function by<A, B, I, R>(
  key: (body: A, delivery: Delivery<A, unknown>) => string,
  options: KeyOptions<A> & { readonly result?: Schema.Schema<B, I, R> | undefined } = {}
) {
  InvalidOptions.checkOrThrow("Idempotency.by", { key }, { key: InvalidOptions.required(InvalidOptions.func) })
  InvalidOptions.checkOrThrow("Idempotency.by", options, keyChecks)
  const { result } = options
  return result === undefined
    ? make<A, unknown, never, never>(key, options, keepsNone)
    : make<A, B, B, R>(key, options, keeps(result))
}

/**
 * Once for each message, by its id: against a second delivery of the same message, and against nothing else. A message
 * that was sent twice has two ids.
 */
export function byMessageId<B, I, R>(
  options: Options<unknown, B, I, R>
): Once<unknown, B, B, Failure, R | IdempotencyStore>
export function byMessageId(
  options?: KeyOptions<unknown> & { readonly result?: undefined }
): Once<unknown, unknown, never, Failure, IdempotencyStore>
export function byMessageId<B, I, R>(
  options: KeyOptions<unknown> & { readonly result?: Schema.Schema<B, I, R> | undefined } = {}
) {
  InvalidOptions.checkOrThrow("Idempotency.byMessageId", options, keyChecks)
  const key = (_: unknown, { message, queue }: Delivery<unknown, unknown>) => `${queue} ${message.id}`
  // A message keeps its body.
  const kept = { ...options, payload: options.payload ?? ("any" as const) }
  const { result } = options
  return result === undefined
    ? make<unknown, unknown, never, never>(key, kept, keepsNone)
    : make<unknown, B, B, R>(key, kept, keeps(result))
}

export interface RunOptions<B, I, R> {
  readonly key: string
  /** What must be the same when the key is used again. Default: nothing. */
  readonly payload?: unknown
  /** How the result is kept. */
  readonly result: Schema.Schema<B, I, R>
  /**
   * How long the claim holds, from 1 second: it is extended while the effect runs, and what is left of it is how long
   * others wait when the process has died. Default 30 seconds.
   */
  readonly holdFor?: Duration.DurationInput | undefined
  /** How long the key is remembered once it is done. Default 4 days. */
  readonly keepFor?: Duration.DurationInput | undefined
  /** How long a call to the store may take. Default 5 seconds. */
  readonly callTimeout?: Duration.DurationInput | undefined
}

const runChecks: InvalidOptions.Checks<RunOptions<never, never, never>> = {
  key: InvalidOptions.required(InvalidOptions.text),
  payload: InvalidOptions.checkedBelow,
  result: InvalidOptions.required(InvalidOptions.schema),
  holdFor: InvalidOptions.time({ min: "1 second", max: "12 hours" }),
  keepFor,
  callTimeout
}

/**
 * Runs an effect once a key, outside of any pipeline: in an HTTP handler that shares its keys with a consumer, say.
 * Answers with the kept result where it is done already. While another works on it, fails with `KeyClaimed`, which says
 * when to try again; with `KeyReused` where the key is known with another payload. An effect that fails is not done.
 */
export const run =
  <B, I, R2>(options: RunOptions<B, I, R2>) =>
  <E, R>(
    effect: Effect.Effect<B, E, R>
  ): Effect.Effect<
    B,
    E | KeyClaimed | KeyReused | KeyResultLost | IdempotencyStoreError | InvalidOptions.InvalidOptions,
    R | R2 | IdempotencyStore
  > =>
    Effect.gen(function* () {
      yield* InvalidOptions.check("Idempotency.run", options, runChecks)
      const { key } = options
      const holdFor = Duration.decode(options.holdFor ?? "30 seconds")
      const store = yield* IdempotencyStore
      const calls = new Calls(store, Duration.decode(options.callTimeout ?? "5 seconds"))
      const fork = yield* callbackFork()
      const claim = { key: storedKey(key), owner: (yield* owners)() }
      const print = options.payload === undefined ? undefined : fingerprint(options.payload)
      const results = keeps(options.result)
      const abandon = Effect.ignore(ask(calls.abandon, () => claim, fork))
      const entry = { ...claim, fingerprint: print, holdFor }
      return yield* Effect.uninterruptibleMask((restore) =>
        Effect.gen(function* () {
          const begun = yield* Effect.tapError(
            ask(calls.begin, () => entry, fork),
            () => abandon
          )
          if (begun._tag !== "Claimed") {
            if (print !== undefined && begun.fingerprint !== undefined && print !== begun.fingerprint) {
              return yield* keyReused(claim.key)
            }
            if (begun._tag === "Busy") return yield* keyClaimed(claim.key, begun.endsIn)
            const result = yield* kept(results, claim.key, begun.result)
            return Option.isSome(result) ? result.value : yield* keyResultLost(claim.key)
          }
          const value = yield* Effect.onExit(restore(Effect.raceFirst(effect, held(calls, entry, fork))), (exit) =>
            Exit.isFailure(exit) ? abandon : Effect.void
          )
          const result = yield* toKeep(results, claim.key, [value], calls.resultBytes)
          yield* seal(
            calls,
            { ...claim, fingerprint: print, result, keepFor: Duration.decode(options.keepFor ?? "4 days") },
            fork
          )
          return value
        })
      )
    })

/** Extends the claim for as long as it is not interrupted; fails where another has the key. */
const held = (calls: Calls, entry: Begin, fork: Fork): Effect.Effect<never, KeyClaimed> =>
  ask(calls.extend, () => entry, fork).pipe(
    // A store that is down now may be back before the claim is over.
    Effect.catchAll(() => Effect.succeed(true)),
    Effect.delay(Duration.times(entry.holdFor, 0.4)),
    Effect.repeat({ while: (extended) => extended }),
    Effect.zipRight(Effect.fail(keyClaimed(entry.key, entry.holdFor)))
  )
