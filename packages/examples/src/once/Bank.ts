/** The bank: its tables, and the three processes that are killed. */
import * as Client from "@effect/sql/SqlClient"
import { PgClient } from "@effect/sql-pg"
import { Pipeline, RetryPolicy } from "@millrace/core"
import { SqlInbox, SqlOutbox } from "@millrace/sql"
import { SqsClient, SqsConsumer } from "@millrace/sqs"
import { Config, Effect, Layer, Random, Schedule, Schema, Stream } from "effect"

export const queue = "transfers"
export const accounts = 50
export const opening = 1000

export const Transfer = Schema.Struct({
  id: Schema.Number,
  from: Schema.Number,
  to: Schema.Number,
  amount: Schema.Number
})
type Transfer = typeof Transfer.Type
const TransferJson = Schema.parseJson(Transfer)

export const database = PgClient.layerConfig({
  url: Config.redacted("ONCE_DATABASE"),
  maxConnections: Config.integer("ONCE_CONNECTIONS")
})

/** Bookings have no unique key: one that is made twice shows. */
export const open = Effect.gen(function* () {
  const sql = yield* Client.SqlClient
  yield* sql`CREATE TABLE accounts (id int PRIMARY KEY, balance bigint NOT NULL)`
  yield* sql`INSERT INTO accounts SELECT i, ${opening} FROM generate_series(0, ${accounts - 1}) AS i`
  yield* sql`CREATE TABLE orders (id int PRIMARY KEY)`
  yield* sql`CREATE TABLE bookings (transfer int NOT NULL)`
})

/** Orders transfers, ten in a transaction with their messages; goes on where it was when it is started again. */
const produce = (transfers: number) =>
  Effect.gen(function* () {
    const sql = yield* Client.SqlClient
    const ten = Effect.gen(function* () {
      const [last] = yield* sql<{ n: number }>`SELECT coalesce(max(id), 0)::int AS n FROM orders`
      const first = (last?.n ?? 0) + 1
      const ids = Array.from({ length: Math.min(10, transfers - first + 1) }, (_, i) => first + i)
      if (ids.length === 0) return false
      yield* sql`INSERT INTO orders ${sql.insert(ids.map((id) => ({ id })))}`
      const messages = yield* Effect.forEach(ids, (id) =>
        Effect.gen(function* () {
          const from = yield* Random.nextIntBetween(0, accounts)
          const to = (from + (yield* Random.nextIntBetween(1, accounts))) % accounts
          return yield* Schema.encode(TransferJson)({ id, from, to, amount: yield* Random.nextIntBetween(1, 100) })
        })
      )
      yield* SqlOutbox.sendAll(queue, messages)
      return true
    })
    yield* Effect.repeat(Effect.delay(sql.withTransaction(ten), "5 millis"), { while: (more) => more })
    return yield* Effect.never
  })

const book = ({ amount, from, id, to }: Transfer) =>
  Effect.gen(function* () {
    const sql = yield* Client.SqlClient
    // In the same order in every transfer, so that no two wait for each other.
    for (const account of from < to ? [from, to] : [to, from]) {
      const sum = account === from ? -amount : amount
      yield* sql`UPDATE accounts SET balance = balance + ${sum} WHERE id = ${account}`
    }
    yield* sql`INSERT INTO bookings ${sql.insert({ transfer: id })}`
  })

const consume = SqsConsumer.stream(queue, { maxInFlight: 60 }).pipe(
  Pipeline.decodeJson(Transfer),
  Pipeline.process(SqlInbox.transactional(book, { key: ({ id }: Transfer) => `transfer ${id}` }), {
    concurrency: 8,
    retry: RetryPolicy.redeliver(Schedule.spaced("1 second"))
  }),
  Stream.runDrain
)

export const roles = ["producer", "relay", "consumer"] as const
export type Role = (typeof roles)[number]

/** What the process does until it is killed. */
export const run = (role: Role, transfers: number): Effect.Effect<unknown, { readonly message: string }> => {
  switch (role) {
    case "producer":
      return Effect.provide(produce(transfers), database)
    case "relay":
      return Layer.launch(
        SqlOutbox.relay(queue, { holdFor: "2 seconds" }).pipe(
          Layer.provide(Layer.merge(database, SqsClient.layerConfig()))
        )
      )
    case "consumer":
      return Effect.provide(consume, Layer.merge(database, SqsClient.layerConfig()))
  }
}

/** What is wrong with the books in the end; nothing where all is right. */
export const audit = (transfers: number) =>
  Effect.gen(function* () {
    const sql = yield* Client.SqlClient
    const one = <A extends object>(rows: ReadonlyArray<A>) => Effect.orDie(Effect.fromNullable(rows[0]))
    const { n: sum } = yield* one(yield* sql<{ n: number }>`SELECT sum(balance)::int AS n FROM accounts`)
    const { once, total } = yield* one(
      yield* sql<{
        total: number
        once: number
      }>`SELECT count(*)::int AS total, count(DISTINCT transfer)::int AS once FROM bookings`
    )
    const { n: left } = yield* one(yield* sql<{ n: number }>`SELECT count(*)::int AS n FROM millrace_outbox`)
    return {
      booked: once,
      sum,
      twice: total - once,
      missing: transfers - once,
      left,
      right: sum === accounts * opening && total === once && once === transfers
    }
  })
