import type { SqlError } from "@effect/sql/SqlError"
import type { Begun, Claim, Known } from "@millrace/core/IdempotencyStore"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { type Dialect, list, numberOf, optionalText, type Row, textOf, typed } from "./dialect.js"

export interface Entry extends Claim {
  readonly fingerprint: string | undefined
  readonly result: string | undefined
  readonly millis: number
}

/** A key's record, and whose it is. */
export interface Owned {
  readonly owner: string
  readonly known: Known
}

const claimed: Begun = { _tag: "Claimed" }

/** The same order in every statement: two that have keys in common then wait for each other, and not both. */
const sorted = <E extends Claim>(entries: ReadonlyArray<E>): ReadonlyArray<E> =>
  [...entries].sort((a, b) => (a.key < b.key ? -1 : 1))

/** `millrace_once`, row by row atomic. */
export class Table {
  readonly #dialect: Dialect
  readonly #live: string

  constructor(dialect: Dialect) {
    this.#dialect = dialect
    this.#live = `SELECT claim_key, owner, fingerprint, status, result, ends_at - ${dialect.now} AS remaining FROM millrace_once`
  }

  /** Those of the keys that somebody has. */
  known(keys: ReadonlyArray<string>, locking = false): Effect.Effect<ReadonlyMap<string, Owned>, SqlError> {
    if (keys.length === 0) return Effect.succeed(new Map())
    const { name, now, run } = this.#dialect
    // A transaction of MySQL looks at what it was when it began, unless it locks.
    const lock = locking && name === "mysql" ? " FOR UPDATE" : ""
    return Effect.map(
      run(`${this.#live} WHERE ends_at > ${now} AND claim_key IN (${list(keys.length)})${lock}`, keys),
      (rows) => new Map(rows.map((row) => [textOf(row["claim_key"]), ownedOf(row)]))
    )
  }

  /** `done`: the keys are sealed at once, as in a transaction that does the work itself. */
  begin(
    entries: ReadonlyArray<Entry & { readonly done: boolean }>,
    tries = 3
  ): Effect.Effect<ReadonlyArray<Begun>, SqlError> {
    if (entries.length === 0) return Effect.succeed([])
    const { now } = this.#dialect
    const done = entries[0]?.done === true ? 1 : 0
    return Effect.gen(this, function* () {
      const taken = yield* this.#upsert(
        entries,
        done,
        `${this.#own("ends_at")} <= ${now} OR (${this.#own("owner")} = ${this.#given("owner")} AND ${this.#own("status")} = 0)`,
        [
          `status = IF(owner = VALUES(owner) AND (status = 0 OR ends_at <= ${now}), ${done}, status)`,
          ...["fingerprint", "result", "ends_at"].map(
            (column) => `${column} = IF(owner = VALUES(owner) AND status = ${done}, VALUES(${column}), ${column})`
          )
        ]
      )
      const others = entries.filter(({ key }) => taken?.has(key) !== true)
      const known = yield* this.known(
        others.map(({ key }) => key),
        true
      )
      const begun = new Map<string, Begun>()
      const again: Array<Entry & { readonly done: boolean }> = []
      for (const entry of entries) {
        const found = known.get(entry.key)
        if (taken?.has(entry.key) === true) begun.set(entry.key, claimed)
        else if (found === undefined) again.push(entry)
        else {
          const mine = taken === undefined && found.owner === entry.owner && (done === 1 || found.known._tag === "Busy")
          begun.set(entry.key, mine ? claimed : found.known)
        }
      }
      // Let go between the two looks.
      if (again.length > 0 && tries > 0) {
        const later = yield* this.begin(again, tries - 1)
        again.forEach(({ key }, i) => {
          const result = later[i]
          if (result !== undefined) begun.set(key, result)
        })
      }
      return entries.map(
        ({ key }): Begun => begun.get(key) ?? { _tag: "Busy", endsIn: Duration.millis(1), fingerprint: undefined }
      )
    })
  }

  complete(entries: ReadonlyArray<Entry>): Effect.Effect<ReadonlyArray<boolean>, SqlError> {
    if (entries.length === 0) return Effect.succeed([])
    const { now } = this.#dialect
    return Effect.gen(this, function* () {
      const free = `${this.#own("owner")} = ${this.#given("owner")} OR ${this.#own("ends_at")} <= ${now}`
      const sealed = yield* this.#upsert(
        entries,
        1,
        free,
        ["status", "fingerprint", "result", "ends_at"].map(
          (column) => `${column} = IF(owner = VALUES(owner), VALUES(${column}), ${column})`
        )
      )
      if (sealed !== undefined) return entries.map(({ key }) => sealed.has(key))
      const known = yield* this.known(entries.map(({ key }) => key))
      return entries.map(({ key, owner }) => known.get(key)?.owner === owner && known.get(key)?.known._tag === "Done")
    })
  }

  extend(entries: ReadonlyArray<Claim & { readonly millis: number }>): Effect.Effect<ReadonlyArray<boolean>, SqlError> {
    if (entries.length === 0) return Effect.succeed([])
    const { name, now, run } = this.#dialect
    const bigint = typed(this.#dialect, "bigint")
    const text = typed(this.#dialect, "text")
    const all = sorted(entries)
    const given = all.map(() => `SELECT ${text} AS k, ${text} AS o, ${bigint} AS ms`).join(" UNION ALL ")
    const parameters = all.flatMap(({ key, millis, owner }) => [key, owner, Math.ceil(millis)])
    const own = "claim_key = k AND owner = o AND status = 0"
    const statement =
      name === "mysql"
        ? run(
            `UPDATE millrace_once JOIN (${given}) AS given ON claim_key = CAST(k AS BINARY) AND owner = CAST(o AS BINARY) AND status = 0 SET ends_at = ${now} + ms`,
            parameters
          ).pipe(
            Effect.zipRight(
              run(
                `SELECT claim_key, owner FROM millrace_once WHERE status = 0 AND claim_key IN (${list(all.length)})`,
                all.map(({ key }) => key)
              )
            )
          )
        : run(
            `UPDATE millrace_once SET ends_at = ${now} + ms FROM (${given}) AS given WHERE ${own} RETURNING claim_key, owner`,
            parameters
          )
    return Effect.map(statement, (rows) => {
      const owners = new Map(rows.map((row) => [textOf(row["claim_key"]), textOf(row["owner"])]))
      return entries.map(({ key, owner }) => owners.get(key) === owner)
    })
  }

  abandon(claims: ReadonlyArray<Claim>): Effect.Effect<void, SqlError> {
    if (claims.length === 0) return Effect.void
    const each = claims.map(() => "(claim_key = ? AND owner = ?)").join(" OR ")
    return Effect.asVoid(
      this.#dialect.run(
        `DELETE FROM millrace_once WHERE status = 0 AND (${each})`,
        sorted(claims).flatMap(({ key, owner }) => [key, owner])
      )
    )
  }

  /** Keeps what has come of a key that is sealed. */
  result({ key, owner }: Claim, result: string): Effect.Effect<void, SqlError> {
    return Effect.asVoid(
      this.#dialect.run("UPDATE millrace_once SET result = ? WHERE claim_key = ? AND owner = ?", [result, key, owner])
    )
  }

  /** Deletes up to so many rows whose time is over; answers with how many there were. */
  sweep(most: number): Effect.Effect<number, SqlError> {
    const { now, run } = this.#dialect
    return Effect.gen(function* () {
      const rows = yield* run(
        `SELECT claim_key FROM millrace_once WHERE ends_at <= ${now} ORDER BY ends_at LIMIT ${most}`,
        []
      )
      const keys = rows.map((row) => textOf(row["claim_key"])).sort()
      if (keys.length > 0) {
        yield* run(`DELETE FROM millrace_once WHERE ends_at <= ${now} AND claim_key IN (${list(keys.length)})`, keys)
      }
      return keys.length
    })
  }

  /** Of the row that is there, and of the one that was to be inserted. */
  #own(column: string): string {
    return this.#dialect.name === "mysql" ? column : `t.${column}`
  }

  #given(column: string): string {
    return this.#dialect.name === "mysql" ? `VALUES(${column})` : `excluded.${column}`
  }

  /**
   * Inserts, or takes over where `free`. Answers with the keys that are the entries' own now; MySQL cannot say. Its
   * assignments see those before them, so that `owner` comes first, and then says for whom the rest is.
   */
  #upsert(
    entries: ReadonlyArray<Entry>,
    status: number,
    free: string,
    mysql: ReadonlyArray<string>
  ): Effect.Effect<ReadonlySet<string> | undefined, SqlError> {
    const { name, now, run } = this.#dialect
    const text = typed(this.#dialect, "text")
    const row = `(${text}, ${text}, ${text}, ${status}, ${text}, ${now} + ${typed(this.#dialect, "bigint")})`
    const columns = "(claim_key, owner, fingerprint, status, result, ends_at)"
    const parameters = sorted(entries).flatMap(({ fingerprint, key, millis, owner, result }) => [
      key,
      owner,
      fingerprint ?? null,
      result ?? null,
      Math.ceil(millis)
    ])
    const values = list(entries.length, row)
    if (name === "mysql") {
      const set = [`owner = IF(${free}, VALUES(owner), owner)`, ...mysql].join(", ")
      return Effect.as(
        run(`INSERT INTO millrace_once ${columns} VALUES ${values} ON DUPLICATE KEY UPDATE ${set}`, parameters),
        undefined
      )
    }
    const set = ["owner", "fingerprint", "status", "result", "ends_at"].map(
      (column) => `${column} = excluded.${column}`
    )
    return Effect.map(
      run(
        `INSERT INTO millrace_once AS t ${columns} VALUES ${values} ON CONFLICT (claim_key) DO UPDATE SET ${set.join(", ")} WHERE ${free} RETURNING claim_key`,
        parameters
      ),
      (rows) => new Set(rows.map((returned) => textOf(returned["claim_key"])))
    )
  }
}

const ownedOf = (row: Row): Owned => {
  const fingerprint = optionalText(row["fingerprint"])
  return {
    owner: textOf(row["owner"]),
    known:
      numberOf(row["status"]) === 1
        ? { _tag: "Done", result: optionalText(row["result"]), fingerprint }
        : { _tag: "Busy", endsIn: Duration.millis(numberOf(row["remaining"])), fingerprint }
  }
}
