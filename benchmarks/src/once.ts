/** What `once` adds to a message, and what the outbox's relay sends of what a producer alone does. */
import * as SqlClient from "@effect/sql/SqlClient"
import { PgClient } from "@effect/sql-pg"
import { Consumer, Idempotency, IdempotencyStore, Pipeline } from "@millrace/core"
import { MemoryIdempotencyStore, MemoryQueue } from "@millrace/core/testing"
import { SqlIdempotencyStore, SqlMigrations, SqlOutbox } from "@millrace/sql"
import { SqsProducer } from "@millrace/sqs"
import { Effect, Layer, Redacted, Stream } from "effect"
import { atLeast, atMost, type Benchmark, collectGarbage, median, timed } from "./Benchmark.js"
import * as Server from "./Server.js"
import { layer } from "./sdkClient.js"

const body = (order: number): string => {
  const of = (note: string) => JSON.stringify({ order, item: "widget", note })
  return of("x".repeat(200 - of("").length))
}

interface Round {
  readonly cpuMicros: number
  readonly messagesPerSecond: number
  readonly callsPer1000: number
}

/** A queue in memory through a handler that takes no time, with 100 slots. */
const consume = (messages: number, store: IdempotencyStore.Service | undefined) =>
  Effect.gen(function* () {
    const queue = yield* MemoryQueue.make()
    yield* queue.send(Array.from({ length: messages }, (_, i) => body(i)))
    let calls = 0
    const counted =
      <A extends ReadonlyArray<unknown>, B>(call: (...args: A) => B) =>
      (...args: A): B => {
        calls++
        return call(...args)
      }
    const counting: IdempotencyStore.Service | undefined = store && {
      ...store,
      begin: counted(store.begin),
      complete: counted(store.complete),
      abandon: counted(store.abandon)
    }
    const run = Math.floor((yield* Effect.clock).unsafeCurrentTimeMillis()).toString(36)
    const source = Consumer.stream(queue, { maxInFlight: 200 }).pipe(Stream.take(messages))
    const program =
      counting === undefined
        ? source.pipe(
            Pipeline.process(() => Effect.void, { concurrency: 100 }),
            Stream.runDrain
          )
        : source.pipe(
            Pipeline.process(() => Effect.void, {
              concurrency: 100,
              once: Idempotency.by((_, { message }) => `${run} ${message.id}`)
            }),
            Stream.runDrain,
            Effect.provideService(IdempotencyStore.IdempotencyStore, counting)
          )
    yield* collectGarbage
    const { cpu, wall } = yield* timed(program)
    return {
      cpuMicros: cpu / messages,
      messagesPerSecond: (messages / wall) * 1e6,
      callsPer1000: (calls / messages) * 1000
    }
  })

const medianOf = (rounds: ReadonlyArray<Round>): Round => ({
  cpuMicros: median(rounds.map(({ cpuMicros }) => cpuMicros)),
  messagesPerSecond: median(rounds.map(({ messagesPerSecond }) => messagesPerSecond)),
  callsPer1000: median(rounds.map(({ callsPer1000 }) => callsPer1000))
})

/** A schema of its own on the machine's server, gone in the end. */
const database = (name: string) =>
  Layer.provideMerge(
    SqlMigrations.layer,
    Layer.provideMerge(
      Layer.scopedDiscard(
        Effect.gen(function* () {
          const sql = yield* SqlClient.SqlClient
          yield* Effect.acquireRelease(sql.unsafe(`CREATE SCHEMA ${name}`), () =>
            Effect.ignore(sql.unsafe(`DROP SCHEMA ${name} CASCADE`))
          )
        })
      ),
      PgClient.layer({
        url: Redacted.make(`postgres://postgres@127.0.0.1:5432/test?options=-csearch_path%3D${name}`),
        maxConnections: 10
      })
    )
  )

export const benchmark: Benchmark = {
  about: "what once adds to a message; messages/s of the outbox's relay, of those of a producer alone (PostgreSQL)",
  run: ({ quick }) =>
    Effect.gen(function* () {
      const messages = quick ? 5000 : 20_000
      const rounds = quick ? 2 : 5
      const memory = yield* MemoryIdempotencyStore.make()
      const sql = yield* SqlIdempotencyStore.make()
      const results = { without: [] as Array<Round>, memory: [] as Array<Round>, postgres: [] as Array<Round> }
      for (let round = -1; round < rounds; round++) {
        const [without, inMemory, postgres] = [
          yield* consume(messages, undefined),
          yield* consume(messages, memory),
          yield* consume(Math.floor(messages / 4), sql)
        ]
        if (round < 0) continue
        results.without.push(without)
        results.memory.push(inMemory)
        results.postgres.push(postgres)
      }

      const server = yield* Server.noop()
      const client = yield* Layer.build(layer(server))
      const producer = yield* SqsProducer.make<string>(server.queueUrl).pipe(Effect.provide(client))
      const database = yield* SqlClient.SqlClient
      const fill = Effect.forEach(
        Array.from({ length: messages / 500 }, (_, i) => i),
        (i) =>
          SqlOutbox.sendAll(
            server.queueUrl,
            Array.from({ length: 500 }, (_, n) => body(i * 500 + n))
          ),
        { discard: true }
      )
      const left = Effect.map(database.unsafe<{ n: string }>("SELECT count(*) AS n FROM millrace_outbox"), ([row]) =>
        Number(row?.n)
      )
      const relayed = Effect.scoped(
        Effect.gen(function* () {
          yield* SqlOutbox.makeRelay(server.queueUrl).pipe(Effect.provide(client))
          yield* Effect.repeat(Effect.delay(left, "10 millis"), { while: (n) => n > 0 })
        })
      )
      const alone: Array<number> = []
      const ratios: Array<number> = []
      const relays: Array<number> = []
      for (let round = -1; round < rounds; round++) {
        const direct = yield* timed(Stream.run(Stream.map(Stream.range(0, messages - 1), body), producer.sink))
        yield* fill
        const outbox = yield* timed(relayed)
        if (round < 0) continue
        alone.push((messages / direct.wall) * 1e6)
        relays.push((messages / outbox.wall) * 1e6)
        ratios.push(direct.wall / outbox.wall)
      }
      const [without, inMemory, postgres] = [
        medianOf(results.without),
        medianOf(results.memory),
        medianOf(results.postgres)
      ]
      const figures = ({ callsPer1000, cpuMicros, messagesPerSecond }: Round) => ({
        messagesPerSecond,
        cpuMicros,
        callsPer1000
      })
      const nothing = { cpuMicros: Number.NaN, callsPer1000: Number.NaN }
      return {
        title:
          "once: a handler that takes no time, concurrency 100; the outbox: messages of 200 bytes, a server without latency",
        rows: [
          ["without", figures(without)],
          ["once, memory", figures(inMemory)],
          ["once, PostgreSQL", figures(postgres)],
          ["producer alone", { messagesPerSecond: median(alone), ...nothing }],
          ["outbox's relay", { messagesPerSecond: median(relays), ...nothing }]
        ] as const,
        ratio: {},
        bounds: [
          atMost("calls of the store per 1,000 messages, PostgreSQL", postgres.callsPer1000, 1000),
          atLeast("the relay's messages/s, of the producer's", median(ratios), 0.7)
        ],
        notes: [
          `once adds ${Math.round(inMemory.cpuMicros - without.cpuMicros)} µs CPU to a message with a store in memory, ${Math.round(postgres.cpuMicros - without.cpuMicros)} with PostgreSQL`,
          `${rounds} rounds of ${messages.toLocaleString("en")} messages (PostgreSQL: a quarter), the first thrown away; calls of the store beside the extensions`,
          "the relay reads, sends and deletes rows that are there when it begins, the claims of its parts included"
        ]
      }
    }).pipe(Effect.scoped, Effect.provide(database(`millrace_bench_${process.pid}`)), Effect.orDie)
}
