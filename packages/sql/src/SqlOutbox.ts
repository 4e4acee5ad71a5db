/**
 * Sends that belong to a transaction: `send` writes a row in the user's own transaction, and a relay sends rows on to SQS
 * when it is committed, and deletes them when SQS has confirmed. The table is `millrace_outbox`, by the migration
 * `2_outbox`; who relays what is a claim in `millrace_once`.
 */
import type * as SqlClient from "@effect/sql/SqlClient"
import type { SqlError } from "@effect/sql/SqlError"
import type * as Backlog from "@millrace/core/Backlog"
import * as Idempotency from "@millrace/core/Idempotency"
import * as InvalidOptions from "@millrace/core/InvalidOptions"
import type { Attribute } from "@millrace/core/LeaseQueue"
import type { SqsClient } from "@millrace/sqs/SqsClient"
import * as SqsProducer from "@millrace/sqs/SqsProducer"
import type { SqsQueue } from "@millrace/sqs/SqsQueue"
import * as Chunk from "effect/Chunk"
import * as Data from "effect/Data"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Layer from "effect/Layer"
import * as Predicate from "effect/Predicate"
import * as Queue from "effect/Queue"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Dialect from "./internal/dialect.js"
import { problemOf } from "./internal/problem.js"
import { Table } from "./internal/table.js"

/** The database could not: a table that is missing, a lost connection. */
export class SqlOutboxError extends Data.TaggedError("SqlOutboxError")<{
  readonly retryable: boolean
  readonly message: string
  readonly cause?: unknown
}> {}

const failed = (error: SqlError): SqlOutboxError => {
  const { message, retryable } = problemOf(error, "2_outbox")
  return new SqlOutboxError({ retryable, message, cause: error })
}

/** Groups share so many parts of a queue; each part has one relay at a time, which is what keeps its order. */
const shards = 16

const shardOf = (text: string): number => {
  let hash = 0
  for (let i = 0; i < text.length; i++) hash = (hash * 31 + text.charCodeAt(i)) | 0
  return Math.abs(hash) % shards
}

interface Fields extends Omit<SqsProducer.MessageFields, "attributes" | "delay"> {
  readonly delay?: number | undefined
  readonly attributes?: Readonly<Record<string, Attribute | { readonly type: "Base64"; readonly value: string }>>
}

const toFields = ({ attributes, delay, ...fields }: SqsProducer.MessageFields): Fields => ({
  ...fields,
  ...(delay === undefined ? {} : { delay: Duration.toMillis(delay) }),
  ...(attributes === undefined
    ? {}
    : { attributes: Object.fromEntries(Object.entries(attributes).map(([name, value]) => [name, toText(value)])) })
})

const toText = (
  value: SqsProducer.Attributes[string]
): Attribute | { readonly type: "Base64"; readonly value: string } => {
  if (typeof value === "string") return { type: "String", value }
  if (typeof value === "number" || typeof value === "bigint") return { type: "Number", value: String(value) }
  const bytes = value instanceof Uint8Array ? value : value.type === "Binary" ? value.value : undefined
  if (bytes !== undefined) return { type: "Base64", value: Buffer.from(bytes).toString("base64") }
  return value instanceof Uint8Array ? { type: "Base64", value: "" } : value
}

const fromFields = (text: string | undefined, token: string, fifo: boolean): SqsProducer.MessageFields => {
  const { attributes, ...fields }: Fields = text === undefined ? {} : JSON.parse(text)
  return {
    ...(fifo ? { deduplicationId: token } : {}),
    ...fields,
    ...(attributes === undefined
      ? {}
      : {
          attributes: Object.fromEntries(
            Object.entries(attributes).map(([name, value]) => [
              name,
              value.type === "Base64" ? new Uint8Array(Buffer.from(value.value, "base64")) : value
            ])
          )
        })
  }
}

/**
 * Writes messages, as part of the transaction that is open, if one is: they are sent when it is committed, and never
 * where it is not. What `SqsProducer.message` gives a message goes with it. One statement, and no call to SQS.
 */
export const sendAll = (
  queue: string,
  messages: ReadonlyArray<string | SqsProducer.Message<string>>
): Effect.Effect<void, SqlOutboxError, SqlClient.SqlClient> =>
  Effect.gen(function* () {
    if (messages.length === 0) return
    const dialect = yield* Dialect.make
    const text = Dialect.typed(dialect, "text")
    const token = yield* Idempotency.owner
    const parameters = messages.flatMap((given, i) => {
      const { body, fields } = typeof given === "string" ? SqsProducer.message(given) : given
      const own = `${token}-${i.toString(36)}`
      const group = fields.group ?? null
      const rest = Object.keys(fields).length === 0 ? null : JSON.stringify(toFields(fields))
      return [queue, shardOf(group ?? own), own, group, body, rest]
    })
    const shard = dialect.name === "pg" ? "?::smallint" : "?"
    const rows = Dialect.list(messages.length, `(${text}, ${shard}, ${text}, ${text}, ${text}, ${text})`)
    const insert = `INSERT INTO millrace_outbox (queue, shard, token, group_key, body, fields) VALUES ${rows}`
    // Told on commit, and once a transaction.
    const notifying = `WITH sent AS (${insert} RETURNING 1) SELECT pg_notify('millrace_outbox', '') FROM (SELECT count(*) FROM sent) AS told`
    yield* Effect.mapError(dialect.run(dialect.name === "pg" ? notifying : insert, parameters), failed)
  })

/** Writes one message: see `sendAll`. */
export const send = (
  queue: string,
  message: string | SqsProducer.Message<string>
): Effect.Effect<void, SqlOutboxError, SqlClient.SqlClient> => sendAll(queue, [message])

export interface RelayOptions {
  /** Where to send, where the rows' `queue` is not what SQS knows it by: another name, URL or ARN. */
  readonly to?: string | SqsQueue | undefined
  /** Parts of the queue that this relay takes, of 16: with fewer there is work for others beside it. Default: all. */
  readonly shards?: number | undefined
  /** Rows in memory, at most. Default 2,000. */
  readonly buffer?: number | undefined
  /** How often it looks for new rows. Default 200 milliseconds; 5 seconds on PostgreSQL, which tells by itself. */
  readonly pollEvery?: Duration.DurationInput | undefined
  /** How long others wait when this relay has died. Default 15 seconds. */
  readonly holdFor?: Duration.DurationInput | undefined
  /** How rows are sent. Default: tried again without an end. */
  readonly producer?: Omit<SqsProducer.Options<string>, "codec"> | undefined
}

const relayChecks: InvalidOptions.Checks<RelayOptions> = {
  to: InvalidOptions.either(
    { ...InvalidOptions.text, write: "a queue's name, URL or ARN" },
    InvalidOptions.having("a queue of SqsQueue.resolve", "arn", "url")
  ),
  shards: InvalidOptions.aWholeNumber({ min: 1, max: shards }),
  buffer: InvalidOptions.aWholeNumber({ min: 20 }),
  pollEvery: InvalidOptions.time({ min: "10 millis" }),
  holdFor: InvalidOptions.time({ min: "1 second" }),
  producer: {
    write: "an object with options of a producer, without a codec",
    fits: (value) => Predicate.isRecord(value) && !("codec" in value)
  }
}

interface Pending {
  readonly id: number
  readonly message: SqsProducer.Message<string>
}

const endless = Schedule.exponential("100 millis").pipe(Schedule.union(Schedule.spaced("5 seconds")), Schedule.jittered)

/**
 * Relays until its scope closes; then sends what it has begun, and hands its parts on. Fails with `InvalidOptions` where
 * an option cannot work.
 */
export const makeRelay = (
  queue: string,
  options: RelayOptions = {}
): Effect.Effect<void, SqsProducer.MakeError, SqlClient.SqlClient | SqsClient | Scope.Scope> =>
  Effect.gen(function* () {
    yield* InvalidOptions.argument("queue", queue, { ...InvalidOptions.text, write: "the queue that the rows name" })
    yield* InvalidOptions.check("SqlOutbox.relay", options, relayChecks)
    const dialect = yield* Dialect.make
    const table = new Table(dialect)
    const most = options.shards ?? shards
    const buffer = options.buffer ?? 2000
    const page = Math.max(10, Math.floor(buffer / 2))
    const holdFor = Duration.toMillis(options.holdFor ?? "15 seconds")
    const pollEvery = Duration.decode(options.pollEvery ?? (dialect.name === "pg" ? "5 seconds" : "200 millis"))
    const owner = yield* Idempotency.owner
    const wakes = yield* Queue.sliding<void>(1)
    const held = new Set<number>()
    /** Read and not deleted yet. */
    const open = new Set<number>()
    const sending: Array<Pending> = []
    let confirmed: Array<number> = []
    let cursor = 0
    /** Another part is its own now: what is there of it may be anywhere. */
    let anew = false
    const keyOf = (shard: number) => `outbox ${queue} ${shard}`
    // Before the producer is made, so after it is closed: what it still sends comes before what the next relay sends.
    yield* Effect.addFinalizer(() =>
      table
        .abandon([...held].map((shard) => ({ key: keyOf(shard), owner })))
        .pipe(Effect.timeout("5 seconds"), Effect.ignore)
    )
    const producer = yield* SqsProducer.make<string>(options.to ?? queue, { retry: endless, ...options.producer })
    const { fifo } = producer.queue
    const wake = Queue.offer(wakes, undefined)
    const again = Effect.retry(endless)
    const warned = <A, R>(what: string, effect: Effect.Effect<A, SqlError, R>) =>
      Effect.tapError(effect, (error) =>
        Effect.logWarning(`outbox of ${queue}: could not ${what}: ${problemOf(error, "2_outbox").message}`)
      )

    /** Keeps what it has, and takes what nobody has. */
    const keep = Effect.gen(function* () {
      const mine = [...held]
      const kept = yield* table.extend(mine.map((shard) => ({ key: keyOf(shard), owner, millis: holdFor })))
      for (const [i, shard] of mine.entries()) if (kept[i] === false) held.delete(shard)
      // From where it likes, so that several find their own.
      const free = Array.from({ length: shards }, (_, i) => (i + shardOf(owner)) % shards).filter((i) => !held.has(i))
      const wanted = free.slice(0, Math.max(0, most - held.size) === 0 ? 0 : free.length)
      for (const shard of wanted) {
        if (held.size >= most) break
        const entry = {
          key: keyOf(shard),
          owner,
          fingerprint: undefined,
          result: undefined,
          millis: holdFor,
          done: false
        }
        const [begun] = yield* table.begin([entry])
        if (begun?._tag !== "Claimed") continue
        held.add(shard)
        anew = true
        yield* wake
      }
    })

    const next: Effect.Effect<Chunk.Chunk<Pending>> = Effect.gen(function* () {
      while (true) {
        if (held.size > 0 && open.size + page <= buffer) {
          const parts = [...held]
          if (anew) cursor = 0
          anew = false
          const rows = yield* warned(
            "read rows",
            dialect.run(
              `SELECT id, token, group_key, body, fields FROM millrace_outbox WHERE queue = ? AND id > ? AND refused IS NULL AND shard IN (${parts.join(", ")}) ORDER BY id LIMIT ${page}`,
              [queue, cursor]
            )
          ).pipe(again, Effect.orDie)
          const fresh = rows.flatMap((row): ReadonlyArray<Pending> => {
            const id = Dialect.numberOf(row["id"])
            cursor = Math.max(cursor, id)
            if (open.has(id)) return []
            const token = Dialect.textOf(row["token"])
            const fields = fromFields(Dialect.optionalText(row["fields"]), token, fifo)
            return [{ id, message: SqsProducer.message(Dialect.textOf(row["body"]), fields) }]
          })
          for (const { id } of fresh) open.add(id)
          sending.push(...fresh)
          if (fresh.length > 0) return Chunk.unsafeFromArray(fresh)
          // A transaction that began earlier may have committed later.
          if (cursor > 0 && rows.length === 0) {
            cursor = 0
            if (open.size === 0) continue
          }
        }
        yield* Effect.raceFirst(Queue.take(wakes), Effect.sleep(pollEvery))
      }
    })

    const answered = (result: Either.Either<SqsProducer.Receipt, SqsProducer.ProducerError>): Effect.Effect<void> => {
      const row = sending.shift()
      if (row === undefined) return Effect.void
      if (Either.isRight(result)) {
        confirmed.push(row.id)
        return Effect.void
      }
      const error = result.left
      if (error._tag !== "MessageRejected") {
        open.delete(row.id)
        return Effect.logWarning(
          `outbox of ${queue}: row ${row.id} was not sent, and will be tried again: ${error.message}`
        )
      }
      return warned(
        "set a row aside",
        dialect.run("UPDATE millrace_outbox SET refused = ? WHERE id = ?", [error.message, row.id])
      ).pipe(
        again,
        Effect.orDie,
        Effect.zipRight(Effect.sync(() => open.delete(row.id))),
        Effect.zipRight(
          Effect.logError(`outbox of ${queue}: row ${row.id} can never be sent, and is set aside: ${error.message}`)
        )
      )
    }

    /** What is confirmed meanwhile goes with the next statement. */
    const remove = Effect.suspend(() => {
      const ids = confirmed
      if (ids.length === 0) return Effect.void
      confirmed = []
      return warned("delete rows", dialect.run(`DELETE FROM millrace_outbox WHERE id IN (${ids.join(", ")})`, [])).pipe(
        again,
        Effect.orDie,
        Effect.zipRight(Effect.sync(() => ids.forEach((id) => open.delete(id)))),
        Effect.zipRight(wake)
      )
    })

    yield* Effect.addFinalizer(() => Effect.timeout(remove, "5 seconds").pipe(Effect.ignore))
    const fork = <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.forkScoped(Effect.interruptible(effect))
    yield* fork(
      warned("keep its parts", keep).pipe(Effect.ignore, Effect.zipRight(Effect.sleep(holdFor / 3)), Effect.forever)
    )
    yield* fork(
      producer
        .through(Stream.map(Stream.repeatEffectChunk(next), ({ message }) => message))
        .pipe(Stream.runForEach(answered))
    )
    yield* fork(Effect.forever(Effect.zipRight(remove, Effect.sleep("5 millis"))))
    if (listens(dialect.sql)) {
      yield* fork(Stream.runForEach(dialect.sql.listen("millrace_outbox"), () => wake).pipe(again, Effect.ignore))
    }
  })

interface Listening {
  readonly listen: (channel: string) => Stream.Stream<string, SqlError>
}

/** The client for PostgreSQL can: it is not imported for that. */
const listens = (sql: SqlClient.SqlClient): sql is SqlClient.SqlClient & Listening =>
  "listen" in sql && typeof sql.listen === "function"

/**
 * Sends the rows of a queue on to SQS, for as long as the Layer lives. Several may run, on several machines: each part of
 * the queue has one at a time, and when a relay dies another takes over after `holdFor`. On a FIFO queue no row arrives
 * twice, and groups keep the order in which they were written; on a standard queue a relay that dies may send again what
 * it has just sent.
 */
export const relay = (
  queue: string,
  options: RelayOptions = {}
): Layer.Layer<never, SqsProducer.MakeError, SqlClient.SqlClient | SqsClient> =>
  Layer.scopedDiscard(makeRelay(queue, options))

/** The rows of a queue that are not sent, for `Backlog.make`: a relay that is behind shows there. Rows set aside are its dead letters. */
export const backlog = (queue: string): Effect.Effect<Backlog.Source<SqlOutboxError>, never, SqlClient.SqlClient> =>
  Effect.map(Dialect.make, (dialect) => {
    const count = (which: string) =>
      dialect.run(`SELECT count(*) AS n FROM millrace_outbox WHERE queue = ? AND refused IS ${which}`, [queue]).pipe(
        Effect.mapBoth({
          onFailure: failed,
          onSuccess: (rows) => ({ visible: Dialect.numberOf(rows[0]?.["n"] ?? 0), inFlight: 0, delayed: 0 })
        })
      )
    return {
      queue: `outbox of ${queue}`,
      counts: count("NULL"),
      deadLetters: count("NOT NULL"),
      errorKind: ({ retryable }) => (retryable ? "transient" : "fatal")
    }
  })
