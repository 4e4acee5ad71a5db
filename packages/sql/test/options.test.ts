/** Every object of options of this package: what TypeScript refuses is refused at run time too. */
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { SqlIdempotencyStore, SqlInbox, SqlMigrations, SqlOutbox } from "@millrace/sql"
import { SqsEmulator } from "@millrace/sqs/emulator"
import { Effect, Layer } from "effect"
import { type Row, refusalOf, testCoverage, testRows } from "../../../test/support/options.js"
import { databases } from "./support/databases.js"

const database = databases.find(({ name }) => name === "SQLite")?.layer ?? Layer.die("there is always SQLite")

const services = Layer.orDie(
  Layer.merge(Layer.provideMerge(SqlMigrations.layer, database), SqsEmulator.layer({ queues: { q: {} } }))
)

const rows: ReadonlyArray<Row<Layer.Layer.Success<typeof services>>> = [
  {
    what: "SqlIdempotencyStore.make",
    of: ["SqlIdempotencyStore.Options"],
    names: ["sweepEvery", "resultBytes"],
    use: (o) => SqlIdempotencyStore.make(o)
  },
  {
    what: "SqlInbox.transactional",
    of: ["SqlInbox.Options"],
    names: ["key", "result", "payload", "keepFor", "callTimeout", "whenStoreFails"],
    least: { key: () => "key" },
    use: (o) => Effect.sync(() => SqlInbox.transactional(() => Effect.void, o))
  },
  {
    what: "SqlOutbox.makeRelay",
    of: ["SqlOutbox.RelayOptions"],
    names: ["to", "shards", "buffer", "pollEvery", "holdFor", "producer"],
    free: ["to", "producer"],
    use: (o) => SqlOutbox.makeRelay("q", o)
  }
]

describe("options", () => {
  testRows(rows, services)
  testCoverage(join(import.meta.dirname, "../src"), rows)

  it.scoped("of a relay: a queue that is none, and a codec for rows that have been written already", () =>
    Effect.gen(function* () {
      for (const queue of [undefined, null, "", 5]) {
        assert.include(yield* refusalOf((given) => SqlOutbox.makeRelay(given), queue), "write the queue that")
      }
      const codec = yield* refusalOf((given) => SqlOutbox.makeRelay("q", given), { producer: { codec: {} } })
      assert.include(codec, "without a codec")
    }).pipe(Effect.provide(services))
  )
})
