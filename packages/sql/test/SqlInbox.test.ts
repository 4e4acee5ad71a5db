import * as Client from "@effect/sql/SqlClient"
import { assert, describe, layer } from "@effect/vitest"
import { Consumer, Pipeline, RetryPolicy } from "@millrace/core"
import { MemoryQueue } from "@millrace/core/testing"
import { SqlInbox, SqlMigrations } from "@millrace/sql"
import { Effect, Layer, Schedule, Schema, Stream } from "effect"
import { databases } from "./support/databases.js"

const tagOf = (failure: unknown): string =>
  typeof failure === "object" && failure !== null && "_tag" in failure ? String(failure._tag) : String(failure)

const table = Effect.gen(function* () {
  const sql = yield* Client.SqlClient
  yield* sql.unsafe("CREATE TABLE written (what VARCHAR(100) NOT NULL)")
})

const write = (what: string) =>
  Effect.flatMap(Client.SqlClient, (sql) => sql.unsafe(`INSERT INTO written (what) VALUES ('${what}')`))

const written = Effect.flatMap(Client.SqlClient, (sql) =>
  Effect.map(sql.unsafe<{ what: string }>("SELECT what FROM written ORDER BY what"), (rows) =>
    rows.map(({ what }) => what)
  )
)

describe.each(databases)("on $name", ({ connections, layer: database }) => {
  const ready = Layer.provideMerge(Layer.effectDiscard(table), Layer.provideMerge(SqlMigrations.layer, database))

  const consume = <E>(
    bodies: ReadonlyArray<string>,
    handler: (body: string) => Effect.Effect<string, E, Client.SqlClient>
  ) =>
    Effect.gen(function* () {
      const queue = yield* MemoryQueue.make()
      yield* queue.send(bodies)
      const results: Array<string | undefined> = []
      const failures: Array<string> = []
      yield* Consumer.stream(queue).pipe(
        Pipeline.process(SqlInbox.transactional(handler, { key: (body: string) => body, result: Schema.String }), {
          concurrency: Math.min(8, connections),
          retry: (failure) => {
            failures.push(tagOf(failure))
            return RetryPolicy.inPlace(Schedule.recurs(20)).pipe(RetryPolicy.orElse(RetryPolicy.discard))
          }
        }),
        Stream.take(bodies.length),
        Stream.interruptWhen(queue.idle),
        Stream.runForEach((result) => Effect.sync(() => results.push(result)))
      )
      return { results, failures }
    })

  layer(ready, { timeout: "30 seconds", excludeTestServices: true })("with its table", (it) => {
    it.effect("writes of duplicates that run at once happen once, and each has the result", () =>
      Effect.gen(function* () {
        const keys = ["a", "b", "c", "d"]
        const bodies = keys.flatMap((key) => [key, key, key])
        yield* consume(bodies, (body) =>
          Effect.as(Effect.zipRight(write(body), Effect.sleep("20 millis")), `${body} done`)
        )
        assert.deepStrictEqual(yield* written, keys)
      })
    )

    it.effect("a failure, a defect or a time-out leaves nothing behind, and the key is free", () =>
      Effect.gen(function* () {
        let runs = 0
        yield* consume(["poison"], (body) =>
          Effect.zipRight(
            write(body),
            Effect.suspend(() => {
              runs++
              if (runs === 1) return Effect.fail("no")
              if (runs === 2) return Effect.dieMessage("a defect")
              return Effect.succeed("done")
            })
          )
        )
        assert.strictEqual(runs, 3)
        assert.deepStrictEqual(
          (yield* written).filter((what) => what === "poison"),
          ["poison"]
        )
      })
    )

    it.effect("a key that was used for something else fails with KeyReused", () =>
      Effect.gen(function* () {
        const queue = yield* MemoryQueue.make()
        yield* queue.send(["r 1", "r 2"])
        const failures: Array<string> = []
        yield* Consumer.stream(queue).pipe(
          Pipeline.process(
            SqlInbox.transactional((body: string) => write(body), { key: (body: string) => body.slice(0, 1) }),
            {
              concurrency: 1,
              retry: (failure) => {
                failures.push(tagOf(failure))
                return RetryPolicy.discard
              }
            }
          ),
          Stream.interruptWhen(queue.idle),
          Stream.runDrain
        )
        assert.deepStrictEqual(failures, ["KeyReused"])
      })
    )
  })

  layer(Layer.provideMerge(Layer.effectDiscard(table), database), { timeout: "30 seconds", excludeTestServices: true })(
    "without its table",
    (it) => {
      it.effect("a table that is missing: the error says which migration to run, and nothing is written", () =>
        Effect.gen(function* () {
          const { failures } = yield* consume(["a"], (body) => Effect.as(write(body), "done"))
          assert.include(failures, "SqlInboxError")
          assert.deepStrictEqual(yield* written, [])
        })
      )
    }
  )
})

describe.each(databases.filter(({ name }) => name === "PostgreSQL"))("on $name", ({ layer: database }) => {
  const ready = Layer.provideMerge(Layer.effectDiscard(table), Layer.provideMerge(SqlMigrations.layer, database))
  layer(ready, { timeout: "30 seconds", excludeTestServices: true })((it) => {
    it.effect(
      "a connection that is lost inside the transaction: nothing is written, and the next try does it once",
      () =>
        Effect.gen(function* () {
          const sql = yield* Client.SqlClient
          const queue = yield* MemoryQueue.make()
          yield* queue.send(["lost"])
          let runs = 0
          const failures: Array<string> = []
          yield* Consumer.stream(queue).pipe(
            Pipeline.process(
              SqlInbox.transactional(
                (body: string) =>
                  Effect.gen(function* () {
                    yield* write(body)
                    const [row] = yield* sql.unsafe<{ pid: number }>("SELECT pg_backend_pid() AS pid")
                    if (++runs > 1) return
                    yield* Effect.forkDaemon(
                      sql.reserve.pipe(
                        Effect.flatMap((other) =>
                          other.execute(`SELECT pg_terminate_backend(${row?.pid})`, [], undefined)
                        ),
                        Effect.scoped
                      )
                    ).pipe(Effect.flatMap((fiber) => fiber.await))
                    yield* write(body)
                  }),
                { key: (body: string) => body }
              ),
              {
                retry: (failure) => {
                  failures.push(tagOf(failure))
                  return RetryPolicy.inPlace(Schedule.recurs(5))
                }
              }
            ),
            Stream.interruptWhen(queue.idle),
            Stream.runDrain
          )
          assert.strictEqual(runs, 2)
          assert.strictEqual(failures.length, 1)
          assert.deepStrictEqual(yield* written, ["lost"])
        })
    )
  })
})
