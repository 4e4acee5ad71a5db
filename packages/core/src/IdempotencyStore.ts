/**
 * The port: where it is kept which keys are being worked on, and which are done. Everything in `Idempotency` is built on
 * these few operations, so that another store is one module that provides them (its tests call the conformance suite
 * `StoreConformance` in `./testing`).
 *
 * Each entry of a call is atomic by itself, whoever else calls at the same moment; a call as a whole need not be. All
 * operations are safe to repeat by the same owner, since an answer may be lost. All times are told as durations from
 * now, and kept by the store's own clock: those of its users may differ by any amount.
 */
import * as Context from "effect/Context"
import * as Data from "effect/Data"
import type * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import type * as Option from "effect/Option"

/** Who works on a key. An owner stands for one attempt, and is never used for another. */
export interface Claim {
  /** At most 512 bytes of UTF-8, without U+0000; equal where it has the same bytes. */
  readonly key: string
  readonly owner: string
}

export interface Begin extends Claim {
  /** How long the claim holds unless it is extended, completed or abandoned. */
  readonly holdFor: Duration.Duration
  /** Stands for what the key is used for; kept with it, and told to whoever uses the key again. */
  readonly fingerprint: string | undefined
}

export interface Extend extends Claim {
  /** From now on. */
  readonly holdFor: Duration.Duration
}

export interface Complete extends Claim {
  readonly fingerprint: string | undefined
  /** What has come of it, encoded: at most `limits.resultBytes` bytes of UTF-8. */
  readonly result: string | undefined
  /** After this long the key is as if it had never been used. */
  readonly keepFor: Duration.Duration
}

/**
 * - `Claimed`: it is this owner's now, or was already.
 * - `Busy`: another owner's claim holds for so long from now.
 * - `Done`: it is completed, whoever did it.
 */
export type Begun =
  | { readonly _tag: "Claimed" }
  | { readonly _tag: "Busy"; readonly endsIn: Duration.Duration; readonly fingerprint: string | undefined }
  | { readonly _tag: "Done"; readonly result: string | undefined; readonly fingerprint: string | undefined }

/** What is known of a key that is in use. */
export type Known = Exclude<Begun, { readonly _tag: "Claimed" }>

export type Operation = "begin" | "extend" | "complete" | "abandon" | "lookUp" | "open"

/** The store could not do it, or may not. What the call was to do may have happened all the same. */
export class IdempotencyStoreError extends Data.TaggedError("IdempotencyStoreError")<{
  readonly operation: Operation
  /** Whether the same call may succeed in a moment: the network, throttling, an error within the store. */
  readonly retryable: boolean
  readonly message: string
  readonly cause?: unknown
}> {}

export interface Limits {
  /** Entries a call, at most. */
  readonly batchSize: number
  /** The longest result that it keeps, in bytes of UTF-8. */
  readonly resultBytes: number
}

/** Results stand in the order of the entries. A call has at most `limits.batchSize` entries, and no key twice. */
export interface Service {
  readonly limits: Limits
  /** Claims each key that nobody has: unknown, abandoned, or with a claim or a completion that is over. */
  readonly begin: (entries: ReadonlyArray<Begin>) => Effect.Effect<ReadonlyArray<Begun>, IdempotencyStoreError>
  /** False where the claim is not the owner's any more: completed, abandoned, or taken over after it had ended. */
  readonly extend: (entries: ReadonlyArray<Extend>) => Effect.Effect<ReadonlyArray<boolean>, IdempotencyStoreError>
  /** Seals keys that are the owner's, and those that nobody has. False where another has it, or has sealed it. */
  readonly complete: (entries: ReadonlyArray<Complete>) => Effect.Effect<ReadonlyArray<boolean>, IdempotencyStoreError>
  /** Lets go of claims. What is completed, or not the owner's, stays as it is. */
  readonly abandon: (claims: ReadonlyArray<Claim>) => Effect.Effect<void, IdempotencyStoreError>
  /** `None` where nobody has it. */
  readonly lookUp: (key: string) => Effect.Effect<Option.Option<Known>, IdempotencyStoreError>
}

export class IdempotencyStore extends Context.Tag("@millrace/core/IdempotencyStore")<IdempotencyStore, Service>() {}
