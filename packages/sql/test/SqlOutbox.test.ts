import * as Client from "@effect/sql/SqlClient"
import { assert, describe, layer } from "@effect/vitest"
import { Backlog, Pipeline } from "@millrace/core"
import { SqlMigrations, SqlOutbox } from "@millrace/sql"
import { SqsConsumer, SqsProducer } from "@millrace/sqs"
import { SqsEmulator } from "@millrace/sqs/emulator"
import { Effect, Exit, Layer, Stream } from "effect"
import { databases } from "./support/databases.js"

const emulator = SqsEmulator.layer({ queues: { plain: {}, "ordered.fifo": {} } })

/** Takes so many bodies from a queue. */
const take = (queue: string, count: number) =>
  SqsConsumer.stream(queue).pipe(
    Pipeline.process(
      (body, { message }) => Effect.succeed({ body, group: message.group, attributes: message.attributes }),
      {
        concurrency: 1
      }
    ),
    Stream.take(count),
    Stream.runCollect,
    Effect.map((all) => [...all]),
    Effect.timeout("20 seconds")
  )

const rows = Effect.flatMap(Client.SqlClient, (sql) =>
  Effect.map(sql.unsafe<{ n: unknown }>("SELECT count(*) AS n FROM millrace_outbox WHERE refused IS NULL"), ([row]) =>
    Number(row?.n)
  )
)

const empty = rows.pipe(
  Effect.tap(() => Effect.sleep("20 millis")),
  Effect.repeat({ while: (n) => n > 0 }),
  Effect.timeout("50 seconds")
)

describe.each(databases)("on $name", ({ layer: database }) => {
  const ready = Layer.merge(Layer.provideMerge(SqlMigrations.layer, database), emulator)
  layer(ready, { timeout: "30 seconds", excludeTestServices: true })("of this version", (it) => {
    it.effect("what a transaction has sent arrives when it is committed, and never where it is not", () =>
      Effect.gen(function* () {
        const sql = yield* Client.SqlClient
        yield* SqlOutbox.makeRelay("plain", { pollEvery: "50 millis" })
        const undone = yield* Effect.exit(
          sql.withTransaction(Effect.zipRight(SqlOutbox.send("plain", "undone"), Effect.fail("no")))
        )
        assert.isTrue(Exit.isFailure(undone))
        const message = SqsProducer.message("done", { attributes: { text: "ü", n: 7, bytes: new Uint8Array([1, 2]) } })
        yield* sql.withTransaction(SqlOutbox.send("plain", message))
        const [got] = yield* take("plain", 1)
        assert.strictEqual(got?.body, "done")
        assert.deepStrictEqual(got?.attributes["text"], { type: "String", value: "ü" })
        assert.strictEqual(got?.attributes["n"]?.value, "7")
        assert.deepStrictEqual([...Buffer.from(got?.attributes["bytes"]?.value ?? "")], [1, 2])
        yield* empty
      }).pipe(Effect.scoped)
    )

    it.effect("options that cannot work are refused", () =>
      Effect.gen(function* () {
        const error = yield* Effect.flip(SqlOutbox.makeRelay("plain", { shards: 17 }))
        assert.include(error.message, "shards is 17; write a whole number from 1 to 16")
      }).pipe(Effect.scoped)
    )

    it.effect("several relays: each group arrives in order, and nothing twice, though one of them ends midway", () =>
      Effect.gen(function* () {
        const queue = "ordered.fifo"
        const groups = ["a", "b", "c", "d", "e"]
        const messages = Array.from({ length: 40 }, (_, i) =>
          groups.map((group) => SqsProducer.message(`${group}${i}`, { group }))
        ).flat()
        const relay = (shards: number) =>
          SqlOutbox.relay(queue, { shards, pollEvery: "30 millis", holdFor: "2 seconds" })
        yield* Layer.build(relay(8))
        const ending = yield* Effect.fork(Layer.launch(relay(16)))
        for (let i = 0; i < messages.length; i += 20) yield* SqlOutbox.sendAll(queue, messages.slice(i, i + 20))
        yield* Effect.fork(Effect.delay(ending.interruptAsFork(ending.id()), "100 millis"))
        yield* Layer.build(relay(16))
        const got = yield* take(queue, messages.length)
        for (const group of groups) {
          const bodies = got.filter((each) => each.group === group).map(({ body }) => body)
          assert.deepStrictEqual(
            bodies,
            Array.from({ length: 40 }, (_, i) => `${group}${i}`)
          )
        }
        yield* empty
      }).pipe(Effect.scoped)
    )

    it.effect(
      "a row that SQS would never take is set aside with the reason, and the rest goes on; the backlog shows both",
      () =>
        Effect.gen(function* () {
          yield* SqlOutbox.sendAll("plain", ["", "after it"])
          const source = yield* SqlOutbox.backlog("plain")
          assert.strictEqual((yield* source.counts).visible, 2)
          yield* SqlOutbox.makeRelay("plain", { pollEvery: "50 millis" })
          const [got] = yield* take("plain", 1)
          assert.strictEqual(got?.body, "after it")
          yield* empty
          const backlog = yield* Backlog.make(source, { every: "1 second" })
          const sample = yield* Stream.runHead(backlog.samples)
          assert.strictEqual(sample._tag === "Some" && sample.value._tag === "Fresh" ? sample.value.visible : -1, 0)
          assert.strictEqual((yield* source.deadLetters ?? source.counts).visible, 1)
        }).pipe(Effect.scoped)
    )
  })

  layer(Layer.provideMerge(SqlMigrations.run({ upTo: "1_once" }).pipe(Layer.effectDiscard), database), {
    timeout: "30 seconds",
    excludeTestServices: true
  })("of an older version", (it) => {
    it.effect("a database of an older version: the error says which migration to run, and running it mends it", () =>
      Effect.gen(function* () {
        const error = yield* Effect.flip(SqlOutbox.send("plain", "a"))
        assert.include(error.message, "2_outbox")
        assert.isFalse(error.retryable)
        yield* SqlMigrations.run()
        yield* SqlOutbox.send("plain", "a")
      })
    )
  })
})
