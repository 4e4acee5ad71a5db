import type { SqlError } from "@effect/sql/SqlError"

/** What is known of an error of a database, whichever it is. */
export interface Problem {
  /** Trying again may help. */
  readonly retryable: boolean
  /** It was in the way of another: trying again at once helps. */
  readonly conflict: boolean
  readonly message: string
}

const record = (value: unknown): Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null ? { ...value } : {}

const missing = new Set(["42P01", "42703", "ER_NO_SUCH_TABLE", "ER_BAD_FIELD_ERROR"])
const conflicts = new Set([
  "40001",
  "40P01",
  "ER_LOCK_DEADLOCK",
  "ER_LOCK_WAIT_TIMEOUT",
  "SQLITE_BUSY",
  "SQLITE_LOCKED"
])
const refused = new Set([
  "42501",
  "28P01",
  "28000",
  "3D000",
  "ER_ACCESS_DENIED_ERROR",
  "ER_TABLEACCESS_DENIED_ERROR",
  "ER_BAD_DB_ERROR",
  "ER_DATA_TOO_LONG"
])

export const isMissing = (error: SqlError): boolean => {
  const { code, text } = read(error)
  return missing.has(code) || /no such (table|column)/i.test(text)
}

const read = (error: SqlError): { readonly code: string; readonly text: string } => {
  const { cause } = error
  const text = cause instanceof Error && cause.message !== "" ? cause.message : error.message
  const code = record(cause)["code"]
  return { code: typeof code === "string" ? code : "", text }
}

/** `migration`: the one that makes what the statement needs. */
export const problemOf = (error: SqlError, migration: string): Problem => {
  const { code, text } = read(error)
  if (isMissing(error)) {
    return {
      retryable: false,
      conflict: false,
      message: `the database lacks the migration ${migration} of @millrace/sql, or is of an older version (${text}): run SqlMigrations.run, or the statements of SqlMigrations.statements`
    }
  }
  const conflict = conflicts.has(code) || /database is locked/i.test(text)
  return { retryable: conflict || !refused.has(code), conflict, message: text }
}
