import * as Client from "@effect/sql/SqlClient"
import { assert, describe, layer } from "@effect/vitest"
import { StoreConformance } from "@millrace/core/testing"
import { SqlIdempotencyStore, SqlMigrations } from "@millrace/sql"
import { Duration, Effect, Layer } from "effect"
import { databases } from "./support/databases.js"

describe.each(databases)("on $name", ({ layer: database }) => {
  layer(Layer.provideMerge(SqlMigrations.layer, database), { timeout: "30 seconds", excludeTestServices: true })(
    "with its table",
    (it) => {
      // Time passes by what the database keeps: every end comes nearer. That its own clock does the same is a test below.
      const harness = Effect.gen(function* () {
        const sql = yield* Client.SqlClient
        return {
          store: yield* SqlIdempotencyStore.make(),
          unit: "1 minute" as const,
          pass: (duration: Duration.Duration) =>
            Effect.orDie(sql.unsafe(`UPDATE millrace_once SET ends_at = ends_at - ${Duration.toMillis(duration)}`))
        }
      })
      for (const { effect, name } of StoreConformance.cases(harness)) it.effect(name, () => effect)

      it.effect("what is held and what is kept end by the database's clock", () =>
        Effect.gen(function* () {
          const store = yield* SqlIdempotencyStore.make()
          const claim = (key: string, owner: string) =>
            store.begin([{ key, owner, holdFor: Duration.millis(500), fingerprint: undefined }])
          yield* claim("claimed", "one")
          const complete = { key: "completed", owner: "one", fingerprint: undefined, result: "1" }
          yield* store.complete([{ ...complete, keepFor: Duration.millis(500) }])
          yield* store.begin([{ key: "extended", owner: "one", holdFor: Duration.millis(1), fingerprint: undefined }])
          yield* store.extend([{ key: "extended", owner: "one", holdFor: Duration.minutes(1) }])
          const begun = ["claimed", "completed", "extended"]
          const tags = (owner: string) =>
            Effect.map(
              Effect.forEach(begun, (key) => claim(key, owner)),
              (each) => each.map(([answer]) => answer?._tag)
            )
          yield* Effect.sleep("700 millis")
          assert.deepStrictEqual(yield* tags("two"), ["Claimed", "Claimed", "Busy"])
          assert.deepStrictEqual(yield* tags("three"), ["Busy", "Busy", "Busy"])
        }).pipe(Effect.scoped)
      )

      it.effect("what is over is swept away in small steps, and nothing else", () =>
        Effect.gen(function* () {
          const sql = yield* Client.SqlClient
          const store = yield* SqlIdempotencyStore.make({ sweepEvery: "50 millis" })
          const keep = (key: string, keepFor: Duration.DurationInput) =>
            store.complete([
              { key, owner: "one", fingerprint: undefined, result: "1", keepFor: Duration.decode(keepFor) }
            ])
          yield* keep("swept", "10 millis")
          yield* keep("stays", "1 hour")
          yield* Effect.sleep("500 millis")
          const rows = yield* sql.unsafe<{ n: unknown }>(
            "SELECT count(*) AS n FROM millrace_once WHERE claim_key IN ('swept', 'stays')"
          )
          assert.strictEqual(Number(rows[0]?.n), 1)
        }).pipe(Effect.scoped)
      )
    }
  )

  layer(database, { timeout: "30 seconds", excludeTestServices: true })("without its table", (it) => {
    it.effect("a table that is missing: the error says which migration to run, and that trying again is no use", () =>
      Effect.gen(function* () {
        const store = yield* SqlIdempotencyStore.make()
        const error = yield* Effect.flip(
          store.begin([{ key: "a", owner: "one", holdFor: Duration.minutes(1), fingerprint: undefined }])
        )
        assert.include(error.message, "1_once")
        assert.include(error.message, "SqlMigrations.run")
        assert.isFalse(error.retryable)
        yield* SqlMigrations.run()
        yield* SqlMigrations.run()
        yield* store.begin([{ key: "a", owner: "one", holdFor: Duration.minutes(1), fingerprint: undefined }])
      }).pipe(Effect.scoped)
    )
  })
})
