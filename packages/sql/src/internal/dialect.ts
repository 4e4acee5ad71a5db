import * as SqlClient from "@effect/sql/SqlClient"
import type { SqlError } from "@effect/sql/SqlError"
import * as Effect from "effect/Effect"

export type Name = "pg" | "mysql" | "sqlite"

/** What differs between the databases, and a way to ask them in plain text. */
export interface Dialect {
  readonly name: Name
  readonly sql: SqlClient.SqlClient
  /** The database's own clock, in whole milliseconds since the epoch. */
  readonly now: string
  /** Runs a statement with `?` where the parameters go. */
  readonly run: (text: string, parameters: ReadonlyArray<unknown>) => Effect.Effect<ReadonlyArray<Row>, SqlError>
}

export type Row = Readonly<Record<string, unknown>>

const clocks: Record<Name, string> = {
  pg: "(extract(epoch from clock_timestamp()) * 1000)::bigint",
  // Without the session's time zone: that one has an hour twice a year that is there twice.
  mysql: "(TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(3)) DIV 1000)",
  sqlite: "CAST(round((julianday('now') - 2440587.5) * 86400000) AS INTEGER)"
}

export const make = Effect.map(SqlClient.SqlClient, (client): Dialect => {
  // Names stay as they are, whatever the user's client makes of its own.
  const sql = client.withoutTransforms()
  const name = sql.onDialectOrElse<Name, Name, Name, Name>({
    pg: () => "pg",
    mysql: () => "mysql",
    sqlite: () => "sqlite",
    orElse: () => {
      throw new Error("@millrace/sql knows PostgreSQL, MySQL and SQLite; this is another database")
    }
  })
  const toText = (text: string) => {
    if (name !== "pg") return text
    let n = 0
    return text.replaceAll("?", () => `$${++n}`)
  }
  return { name, sql, now: clocks[name], run: (text, parameters) => sql.unsafe<Row>(toText(text), parameters) }
})

/** A parameter of a type that PostgreSQL could not guess. */
export const typed = (dialect: Dialect, type: "text" | "bigint"): string => (dialect.name === "pg" ? `?::${type}` : "?")

export const list = (length: number, one = "?"): string => Array.from({ length }, () => one).join(", ")

/** Counts come as text, numbers or bigints. */
export const numberOf = (value: unknown): number => Number(value)

/** Text comes as bytes where its column compares as bytes. */
export const textOf = (value: unknown): string =>
  value instanceof Uint8Array ? Buffer.from(value).toString("utf8") : String(value)

export const optionalText = (value: unknown): string | undefined =>
  value === null || value === undefined ? undefined : textOf(value)
