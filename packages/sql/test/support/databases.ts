/**
 * The databases that the tests run on: PostgreSQL and MariaDB where they answer on this machine, SQLite and PGlite
 * (PostgreSQL as WebAssembly, by its wire protocol) always. In CI a missing server is a failure.
 */
import { mkdtempSync, rmSync } from "node:fs"
import { connect } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import type { SqlClient } from "@effect/sql/SqlClient"
import * as Client from "@effect/sql/SqlClient"
import { LibsqlClient } from "@effect/sql-libsql"
import { MysqlClient } from "@effect/sql-mysql2"
import { PgClient } from "@effect/sql-pg"
import { PGlite } from "@electric-sql/pglite"
import { PGLiteSocketServer } from "@electric-sql/pglite-socket"
import { Effect, Layer, Redacted } from "effect"

export interface Database {
  readonly name: string
  /** How many connections may be open at once. */
  readonly connections: number
  /** A database of its own, empty, gone when the scope closes. */
  readonly layer: Layer.Layer<SqlClient, unknown>
}

const answers = (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = connect({ host: "127.0.0.1", port })
    const end = (is: boolean) => {
      socket.destroy()
      resolve(is)
    }
    socket.once("connect", () => end(true))
    socket.once("error", () => end(false))
  })

let count = 0
const fresh = () => `millrace_test_${process.pid}_${++count}`

/** Makes a database beside those that are there, with the client of another. */
const own = (
  admin: Layer.Layer<SqlClient, unknown>,
  drop: (name: string) => string,
  client: (name: string) => Layer.Layer<SqlClient, unknown>
): Layer.Layer<SqlClient, unknown> =>
  Layer.unwrapScoped(
    Effect.gen(function* () {
      const name = fresh()
      const run = (text: string) =>
        Effect.flatMap(Client.SqlClient, (sql) => sql.unsafe(text)).pipe(Effect.provide(admin))
      yield* Effect.acquireRelease(run(`CREATE DATABASE ${name}`), () => Effect.ignore(run(drop(name))))
      return client(name)
    })
  )

const postgres = (database: string) =>
  PgClient.layer({
    host: "127.0.0.1",
    port: 5432,
    username: "postgres",
    password: Redacted.make(""),
    database,
    maxConnections: 16
  })

const mysql = (database: string) =>
  MysqlClient.layer({
    host: "127.0.0.1",
    port: 3306,
    username: "root",
    password: Redacted.make(""),
    database,
    maxConnections: 16
  })

const sqlite = Layer.unwrapScoped(
  Effect.gen(function* () {
    const folder = yield* Effect.acquireRelease(
      Effect.sync(() => mkdtempSync(join(tmpdir(), "millrace-sql-"))),
      (made) => Effect.sync(() => rmSync(made, { recursive: true, force: true }))
    )
    return LibsqlClient.layer({ url: `file:${join(folder, "test.db")}` })
  })
)

/** It takes seconds to begin, so those who come one after another in a process have one, which each leaves empty. */
let begun: Promise<PGlite> | undefined

/** One connection is all that it has. */
const pglite = Layer.unwrapScoped(
  Effect.gen(function* () {
    const db = yield* Effect.acquireRelease(
      Effect.promise(() => (begun ??= PGlite.create())),
      (made) =>
        Effect.promise(async () => {
          await made.exec("DISCARD ALL")
          await made.exec("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
        })
    )
    const server = yield* Effect.acquireRelease(
      Effect.promise(async () => {
        const made = new PGLiteSocketServer({ db, port: 0, host: "127.0.0.1" })
        await made.start()
        return made
      }),
      (made) => Effect.promise(() => made.stop())
    )
    const port = Number(server.getServerConn().split(":").at(-1))
    return PgClient.layer({
      host: "127.0.0.1",
      port,
      username: "postgres",
      password: Redacted.make("postgres"),
      database: "postgres",
      maxConnections: 1
    })
  })
)

const [hasPostgres, hasMysql] = await Promise.all([answers(5432), answers(3306)])

const missing = [
  hasPostgres ? [] : "PostgreSQL (127.0.0.1:5432)",
  hasMysql ? [] : "MySQL or MariaDB (127.0.0.1:3306)"
].flat()
if (missing.length > 0) {
  const line = `not found, and so not tested: ${missing.join(", ")}`
  if (process.env["CI"] === "true") throw new Error(line)
  console.info(line)
}

export const databases: ReadonlyArray<Database> = [
  ...(hasPostgres
    ? [
        {
          name: "PostgreSQL",
          connections: 16,
          layer: own(postgres("test"), (name) => `DROP DATABASE ${name} WITH (FORCE)`, postgres)
        }
      ]
    : []),
  ...(hasMysql
    ? [{ name: "MariaDB", connections: 16, layer: own(mysql("test"), (name) => `DROP DATABASE ${name}`, mysql) }]
    : []),
  { name: "SQLite", connections: 1, layer: sqlite },
  { name: "PGlite", connections: 1, layer: pglite }
]
