import type { Server } from "node:http"
import type { AddressInfo } from "node:net"
import { IdempotencyConfig, makeIdempotent } from "@aws-lambda-powertools/idempotency"
import { DynamoDBPersistenceLayer } from "@aws-lambda-powertools/idempotency/dynamodb"
import { CreateTableCommand, DynamoDBClient } from "@aws-sdk/client-dynamodb"
import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import { Consumer, Idempotency, Pipeline } from "@millrace/core"
import { MemoryQueue, StoreConformance } from "@millrace/core/testing"
import { DynamoDbIdempotencyStore, PowertoolsKey } from "@millrace/dynamodb"
import dynalite from "dynalite"
import { Cause, Clock, Duration, Effect, Exit, Option, Schema, Stream } from "effect"

const table = "idempotency"
let server: Server
let client: DynamoDBClient

const connect = () => {
  const { port } = server.address() as AddressInfo
  const credentials = { accessKeyId: "test", secretAccessKey: "test" }
  return new DynamoDBClient({ endpoint: `http://127.0.0.1:${port}`, region: "us-east-1", credentials })
}

beforeAll(async () => {
  server = dynalite({ createTableMs: 0 })
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  client = connect()
  await client.send(
    new CreateTableCommand({
      TableName: table,
      AttributeDefinitions: [{ AttributeName: "id", AttributeType: "S" }],
      KeySchema: [{ AttributeName: "id", KeyType: "HASH" }],
      BillingMode: "PAY_PER_REQUEST"
    })
  )
})

afterAll(() => {
  client.destroy()
  server.close()
})

describe.concurrent("DynamoDbIdempotencyStore conforms to the port", () => {
  const harness = Effect.suspend(() => DynamoDbIdempotencyStore.make({ client, table })).pipe(
    Effect.map((store) => ({
      store,
      // Expiry has whole seconds there.
      unit: "1200 millis" as const,
      pass: (duration: Duration.Duration) => Effect.sleep(duration)
    }))
  )
  for (const { effect, name } of StoreConformance.cases(harness)) it.live(name, () => effect)
})

describe("with Powertools for AWS Lambda", () => {
  /** A Lambda that ships orders, and counts. */
  const lambda = () => {
    let runs = 0
    const config = new IdempotencyConfig({ eventKeyJmesPath: "id", throwOnNoIdempotencyKey: true })
    const handler = makeIdempotent(
      async (order: { readonly id: string }) => {
        runs++
        return { shipped: order.id }
      },
      {
        persistenceStore: new DynamoDBPersistenceLayer({ tableName: table, awsSdkV3Client: client }),
        config,
        keyPrefix: "orders-function"
      }
    )
    return { run: (id: string) => Effect.promise(() => handler({ id })), runs: () => runs }
  }
  const Shipped = Schema.Struct({ shipped: Schema.String })
  const consume = (id: string) =>
    Effect.gen(function* () {
      const queue = yield* MemoryQueue.make()
      yield* queue.send([JSON.stringify({ id })])
      let runs = 0
      const result = yield* Consumer.stream(queue).pipe(
        Pipeline.decodeJson(Schema.Struct({ id: Schema.String })),
        Pipeline.process(
          (order) => {
            runs++
            return Effect.succeed({ shipped: `${order.id} by the consumer` })
          },
          { once: Idempotency.by((order) => PowertoolsKey.of("orders-function", order.id), { result: Shipped }) }
        ),
        Stream.runHead,
        Effect.provide(DynamoDbIdempotencyStore.layer({ client, table, data: "native" }))
      )
      return { result: Option.getOrThrow(result), runs }
    })

  it.live("what a Lambda has done, a consumer does not do again, and has its result", () =>
    Effect.gen(function* () {
      const { run } = lambda()
      yield* run("a1")
      assert.deepStrictEqual(yield* consume("a1"), { result: { shipped: "a1" }, runs: 0 })
    })
  )

  it.live("what a consumer has done, a Lambda does not do again, and has its result", () =>
    Effect.gen(function* () {
      assert.strictEqual((yield* consume("b1")).runs, 1)
      const { run, runs } = lambda()
      assert.deepStrictEqual(yield* run("b1"), { shipped: "b1 by the consumer" })
      assert.strictEqual(runs(), 0)
    })
  )

  it.live("while a consumer works on a key, a Lambda is told so", () =>
    Effect.gen(function* () {
      const store = yield* DynamoDbIdempotencyStore.make({ client, table })
      const key = PowertoolsKey.of("orders-function", "c1")
      yield* store.begin([{ key, owner: "a consumer", holdFor: Duration.minutes(1), fingerprint: undefined }])
      const { run, runs } = lambda()
      const exit = yield* Effect.exit(run("c1"))
      assert.match(Exit.isFailure(exit) ? Cause.pretty(exit.cause) : "it ran", /in progress/i)
      assert.strictEqual(runs(), 0)
    })
  )
})

describe("bad days", () => {
  it.live("a clock that is an hour off takes no claim away: the time is the service's", () =>
    Effect.gen(function* () {
      const clock = yield* Effect.clock
      const hour = 3_600_000
      const ahead: Clock.Clock = {
        ...clock,
        [Clock.ClockTypeId]: Clock.ClockTypeId,
        unsafeCurrentTimeMillis: () => clock.unsafeCurrentTimeMillis() + hour,
        currentTimeMillis: Effect.map(clock.currentTimeMillis, (now) => now + hour)
      }
      const here = yield* DynamoDbIdempotencyStore.make({ client, table })
      const there = yield* Effect.withClock(DynamoDbIdempotencyStore.make({ client: connect(), table }), ahead)
      const entry = { key: "clock", holdFor: Duration.minutes(1), fingerprint: undefined }
      yield* here.begin([{ ...entry, owner: "here" }])
      const [begun] = yield* there.begin([{ ...entry, owner: "there" }])
      assert.strictEqual(begun?._tag, "Busy")
      yield* there.begin([{ ...entry, key: "clock too", owner: "there" }])
      const [other] = yield* here.begin([{ ...entry, key: "clock too", owner: "here" }])
      if (other?._tag !== "Busy") return assert.fail("the claim is not held")
      assert.isBelow(Duration.toMinutes(other.endsIn), 1.1)
    })
  )

  it.live("a table that is missing: the error says how to make it", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(DynamoDbIdempotencyStore.make({ client, table: "no-such-table" }))
      assert.include(error.message, "there is no table no-such-table: make it with a partition key")
      assert.isFalse(error._tag === "IdempotencyStoreError" && error.retryable)
    })
  )
})

it.effect("options that cannot work are refused, and say what to write", () =>
  Effect.gen(function* () {
    const client = new DynamoDBClient({ region: "us-east-1" })
    for (const [options, option] of [
      [{ client, table: "" }, "table"],
      [{ client, table: "t", data: "xml" }, "data"],
      [{ client, table: "t", keyAttribut: "k" }, "keyAttribut"],
      [{ client: {}, table: "t" }, "client"]
    ] as const) {
      // As plain JavaScript calls it.
      const refused = yield* Effect.flip(DynamoDbIdempotencyStore.make(options as DynamoDbIdempotencyStore.Options))
      assert.strictEqual(refused._tag === "InvalidOptions" && refused.option, option)
    }
  })
)
