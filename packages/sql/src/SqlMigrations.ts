/**
 * The tables of this package: made by `run`, or by hand from `statements`, as a team's own way of migrating wants it.
 * `millrace_migrations` says which are there.
 */
import * as Migrator from "@effect/sql/Migrator"
import type * as SqlClient from "@effect/sql/SqlClient"
import type { SqlError } from "@effect/sql/SqlError"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type { Name } from "./internal/dialect.js"
import * as Dialect from "./internal/dialect.js"

export type Database = Name

type Statements = Readonly<Record<Database, ReadonlyArray<string>>>

/** Keys compare as bytes everywhere: MySQL's text does not. */
const once: Statements = {
  pg: [
    `CREATE TABLE millrace_once (
  claim_key text COLLATE "C" PRIMARY KEY,
  owner text NOT NULL,
  fingerprint text,
  status smallint NOT NULL,
  result text,
  ends_at bigint NOT NULL
)`,
    "CREATE INDEX millrace_once_ends_at ON millrace_once (ends_at)"
  ],
  mysql: [
    `CREATE TABLE millrace_once (
  claim_key VARBINARY(512) NOT NULL PRIMARY KEY,
  owner VARBINARY(255) NOT NULL,
  fingerprint VARCHAR(255) CHARACTER SET ascii,
  status TINYINT NOT NULL,
  result LONGTEXT CHARACTER SET utf8mb4,
  ends_at BIGINT NOT NULL,
  INDEX millrace_once_ends_at (ends_at)
) ENGINE = InnoDB`
  ],
  sqlite: [
    `CREATE TABLE millrace_once (
  claim_key TEXT NOT NULL PRIMARY KEY,
  owner TEXT NOT NULL,
  fingerprint TEXT,
  status INTEGER NOT NULL,
  result TEXT,
  ends_at INTEGER NOT NULL
)`,
    "CREATE INDEX millrace_once_ends_at ON millrace_once (ends_at)"
  ]
}

const outbox: Statements = {
  pg: [
    `CREATE TABLE millrace_outbox (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  queue text NOT NULL,
  shard smallint NOT NULL,
  token text NOT NULL,
  group_key text,
  body text NOT NULL,
  fields text,
  refused text
)`,
    "CREATE INDEX millrace_outbox_next ON millrace_outbox (queue, id)"
  ],
  mysql: [
    `CREATE TABLE millrace_outbox (
  id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
  queue VARCHAR(400) CHARACTER SET ascii NOT NULL,
  shard SMALLINT NOT NULL,
  token VARCHAR(128) CHARACTER SET ascii NOT NULL,
  group_key VARCHAR(128) CHARACTER SET ascii,
  body LONGTEXT CHARACTER SET utf8mb4 NOT NULL,
  fields LONGTEXT CHARACTER SET utf8mb4,
  refused TEXT CHARACTER SET utf8mb4,
  INDEX millrace_outbox_next (queue, id)
) ENGINE = InnoDB`
  ],
  sqlite: [
    `CREATE TABLE millrace_outbox (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  queue TEXT NOT NULL,
  shard INTEGER NOT NULL,
  token TEXT NOT NULL,
  group_key TEXT,
  body TEXT NOT NULL,
  fields TEXT,
  refused TEXT
)`,
    "CREATE INDEX millrace_outbox_next ON millrace_outbox (queue, id)"
  ]
}

const all: Readonly<Record<string, Statements>> = { "1_once": once, "2_outbox": outbox }

/** The names of the migrations, in order. */
export const names: ReadonlyArray<string> = Object.keys(all)

/** What `run` would do to an empty database, by migration. */
export const statements = (database: Database): Readonly<Record<string, ReadonlyArray<string>>> =>
  Object.fromEntries(Object.entries(all).map(([name, of]) => [name, of[database]]))

const migrate = Migrator.make({})

/**
 * Makes the tables that are missing, each migration in a transaction where the database can; does nothing where all are
 * there. Several processes may run it at once: one does it, and the others wait or find it done.
 *
 * `upTo`: the last migration to run. Default: all.
 */
export const run = (
  options: { readonly upTo?: string | undefined } = {}
): Effect.Effect<void, SqlError | Migrator.MigrationError, SqlClient.SqlClient> =>
  Effect.gen(function* () {
    const dialect = yield* Dialect.make
    const last = options.upTo === undefined ? names.length : names.indexOf(options.upTo) + 1
    const loader = Migrator.fromRecord(
      Object.fromEntries(
        names
          .slice(0, last)
          .map((name) => [
            name,
            Effect.forEach(all[name]?.[dialect.name] ?? [], (text) => dialect.run(text, []), { discard: true })
          ])
      )
    )
    yield* migrate({ loader, table: "millrace_migrations" })
  })

/** `run` as a Layer, to be provided before what needs the tables. */
export const layer: Layer.Layer<never, SqlError | Migrator.MigrationError, SqlClient.SqlClient> = Layer.effectDiscard(
  run()
)
