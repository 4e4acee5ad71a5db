/**
 * Exactly one effect: a handler's writes and the record of its key are one transaction, so that both happen once, or
 * neither, whatever dies when. Keys stand in `millrace_once`, beside those of `SqlIdempotencyStore`.
 */
import * as SqlClient from "@effect/sql/SqlClient"
import { SqlError } from "@effect/sql/SqlError"
import type { Delivery } from "@millrace/core/Delivery"
import * as Idempotency from "@millrace/core/Idempotency"
import * as InvalidOptions from "@millrace/core/InvalidOptions"
import * as Data from "effect/Data"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Schema from "effect/Schema"
import * as Dialect from "./internal/dialect.js"
import { problemOf } from "./internal/problem.js"
import { Table } from "./internal/table.js"

/** The database could not: a table that is missing, a lost connection, a conflict. Nothing of the transaction was done. */
export class SqlInboxError extends Data.TaggedError("SqlInboxError")<{
  /** Whether the same may succeed in a moment. */
  readonly retryable: boolean
  readonly message: string
  readonly cause?: unknown
}> {}

export interface Options<in A, in out B, in out I, R> extends Idempotency.KeyOptions<A> {
  readonly key: (body: A, delivery: Delivery<A, unknown>) => string
  /** How the result is kept, for a duplicate to have it. Without it a duplicate has `undefined`. */
  readonly result?: Schema.Schema<B, I, R> | undefined
}

/** `Idempotency.by` looks at the others. */
const checks: InvalidOptions.Checks<Options<never, unknown, unknown, unknown>> = {
  key: InvalidOptions.required(InvalidOptions.func),
  result: InvalidOptions.schema,
  payload: InvalidOptions.checkedBelow,
  keepFor: InvalidOptions.checkedBelow,
  callTimeout: InvalidOptions.checkedBelow,
  whenStoreFails: InvalidOptions.checkedBelow
}

export type Failure = SqlError | SqlInboxError | Idempotency.KeyReused | Idempotency.KeyClaimed

/** The transaction is over before its end was heard of: what it came to is found out by the next try. */
const typed = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E | SqlInboxError, R> =>
  Effect.catchAllDefect(effect, (defect) => (defect instanceof SqlError ? failed(defect) : Effect.die(defect)))

const failed = (error: SqlError): Effect.Effect<never, SqlInboxError> => {
  const { message, retryable } = problemOf(error, "1_once")
  return Effect.fail(new SqlInboxError({ retryable, message, cause: error }))
}

/**
 * A handler for `Pipeline.process` whose effects on the database of `SqlClient` happen once a key: it runs in a
 * transaction, which all that it does by that client is part of. A key that is done already is not worked on again; one
 * whose transaction is under way elsewhere is waited for by the database.
 *
 * Throws `InvalidOptions` where an option cannot work.
 *
 * What it does elsewhere (an HTTP call) is not part of the transaction: send a message by `SqlOutbox` instead.
 *
 * @example
 * Pipeline.process(SqlInbox.transactional(book, { key: (transfer) => `transfer ${transfer.id}` }))
 */
export function transactional<A, B, E, R, I, R2>(
  handler: (body: A, delivery: Delivery<A, unknown>) => Effect.Effect<B, E, R>,
  options: Options<A, B, I, R2> & { readonly result: Schema.Schema<B, I, R2> }
): (body: A, delivery: Delivery<A, unknown>) => Effect.Effect<B | undefined, E | Failure, R | R2 | SqlClient.SqlClient>
export function transactional<A, B, E, R>(
  handler: (body: A, delivery: Delivery<A, unknown>) => Effect.Effect<B, E, R>,
  options: Options<A, B, never, never> & { readonly result?: undefined }
): (body: A, delivery: Delivery<A, unknown>) => Effect.Effect<B | undefined, E | Failure, R | SqlClient.SqlClient>
export function transactional<A, B, E, R, I, R2>(
  handler: (body: A, delivery: Delivery<A, unknown>) => Effect.Effect<B, E, R>,
  given: Options<A, B, I, R2>
) {
  InvalidOptions.checkOrThrow("SqlInbox.transactional", given, checks)
  const { key, result, ...options } = given
  const plain = Idempotency.by<A>(key, options)
  const keeping = result && Idempotency.by<A, B, I, R2>(key, { ...options, result })
  return (body: A, delivery: Delivery<A, unknown>) =>
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      const table = new Table(yield* Dialect.make)
      const fingerprint = plain.fingerprint(body)
      const claim = { key: plain.key(body, delivery), owner: yield* Idempotency.owner }
      const entry = { ...claim, fingerprint, result: undefined, millis: Duration.toMillis(plain.keepFor), done: true }
      const once = Effect.gen(function* () {
        const [begun] = yield* Effect.catchAll(table.begin([entry]), failed)
        if (begun === undefined || begun._tag === "Claimed") {
          const value = yield* handler(body, delivery)
          const encoded = keeping && (yield* Effect.orDie(keeping.encode(value)))
          if (encoded !== undefined) yield* Effect.catchAll(table.result(claim, encoded), failed)
          return value
        }
        if (begun.fingerprint !== undefined && fingerprint !== undefined && begun.fingerprint !== fingerprint) {
          return yield* Idempotency.keyReused(claim.key)
        }
        if (begun._tag === "Busy") return yield* Idempotency.keyClaimed(claim.key, begun.endsIn)
        const kept = keeping && (yield* Effect.orDie(keeping.decode(begun.result)))
        return kept?._tag === "Some" ? kept.value : undefined
      })
      return yield* typed(sql.withTransaction(once))
    })
}
