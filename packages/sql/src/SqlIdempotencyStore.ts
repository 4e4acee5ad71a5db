/**
 * An `IdempotencyStore` in a table of PostgreSQL, MySQL or SQLite: `millrace_once`, by the migration `1_once`. Claims end
 * by the database's clock. One statement for a call on PostgreSQL and SQLite where nobody else has a key of it, two
 * otherwise and on MySQL.
 */
import type { SqlClient } from "@effect/sql/SqlClient"
import type { SqlError } from "@effect/sql/SqlError"
import {
  IdempotencyStore,
  IdempotencyStoreError,
  type Known,
  type Operation,
  type Service
} from "@millrace/core/IdempotencyStore"
import * as InvalidOptions from "@millrace/core/InvalidOptions"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import * as Dialect from "./internal/dialect.js"
import { problemOf } from "./internal/problem.js"
import { Table } from "./internal/table.js"

export interface Options {
  /** How often what is over is swept away, in steps of 1,000 rows. Default 1 minute. */
  readonly sweepEvery?: Duration.DurationInput | undefined
  /** The longest result that is kept, in bytes. Default 1 MiB. */
  readonly resultBytes?: number | undefined
}

const checks: InvalidOptions.Checks<Options> = {
  sweepEvery: InvalidOptions.time({ min: "10 millis" }),
  resultBytes: InvalidOptions.aWholeNumber({ min: 1 })
}

const conflict = Schedule.exponential("5 millis").pipe(Schedule.jittered, Schedule.intersect(Schedule.recurs(6)))

/** The store; sweeps for as long as its scope is open. Fails with `InvalidOptions` where an option cannot work. */
export const make = (
  options: Options = {}
): Effect.Effect<Service, InvalidOptions.InvalidOptions, SqlClient | Scope.Scope> =>
  Effect.gen(function* () {
    yield* InvalidOptions.check("SqlIdempotencyStore", options, checks)
    const table = new Table(yield* Dialect.make)
    const call = <A>(
      operation: Operation,
      effect: Effect.Effect<A, SqlError>
    ): Effect.Effect<A, IdempotencyStoreError> =>
      effect.pipe(
        Effect.retry({ schedule: conflict, while: (error) => problemOf(error, "1_once").conflict }),
        Effect.mapError((error) => {
          const { message, retryable } = problemOf(error, "1_once")
          return new IdempotencyStoreError({ operation, retryable, message, cause: error })
        })
      )
    const sweep = Effect.repeat(table.sweep(1000), { while: (rows) => rows >= 1000 }).pipe(
      Effect.catchAll((error) => Effect.logDebug("could not sweep millrace_once", error)),
      Effect.delay(options.sweepEvery ?? "1 minute"),
      Effect.forever
    )
    yield* Effect.forkScoped(Effect.interruptible(sweep))
    return {
      limits: { batchSize: 25, resultBytes: options.resultBytes ?? 1024 * 1024 },
      begin: (entries) =>
        call(
          "begin",
          table.begin(
            entries.map((entry) => ({
              ...entry,
              done: false,
              result: undefined,
              millis: Duration.toMillis(entry.holdFor)
            }))
          )
        ),
      extend: (entries) =>
        call("extend", table.extend(entries.map((entry) => ({ ...entry, millis: Duration.toMillis(entry.holdFor) })))),
      complete: (entries) =>
        call(
          "complete",
          table.complete(entries.map((entry) => ({ ...entry, millis: Duration.toMillis(entry.keepFor) })))
        ),
      abandon: (claims) => call("abandon", table.abandon(claims)),
      lookUp: (key): Effect.Effect<Option.Option<Known>, IdempotencyStoreError> =>
        call(
          "lookUp",
          Effect.map(table.known([key]), (known) => Option.fromNullable(known.get(key)?.known))
        )
    } satisfies Service
  })

/** Claims and keys in the database that `SqlClient` is for. */
export const layer = (options: Options = {}): Layer.Layer<IdempotencyStore, InvalidOptions.InvalidOptions, SqlClient> =>
  Layer.scoped(IdempotencyStore, make(options))
