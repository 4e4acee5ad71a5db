/** Through a real server, as a probe asks. */
import { createServer } from "node:http"
import { HttpRouter, HttpServer } from "@effect/platform"
import { NodeHttpServer } from "@effect/platform-node"
import { assert, it } from "@effect/vitest"
import { Pipeline, Served } from "@millrace/core"
import { SqsLeaseQueue } from "@millrace/sqs"
import { SqsEmulator } from "@millrace/sqs/emulator"
import { Context, Duration, Effect, Layer, Logger } from "effect"
import * as HealthRoute from "../src/HealthRoute.js"

class Orders extends Context.Tag("test/Orders")<Orders, Served.Served>() {}
class Bills extends Context.Tag("test/Bills")<Bills, Served.Served>() {}

const broken = (reason: string): HealthRoute.Asked => ({
  health: () =>
    Effect.succeed({
      healthy: false,
      problems: [reason],
      lastReceive: undefined,
      oldestInFlight: undefined,
      stuck: [],
      inFlight: 0,
      maxInFlight: 100,
      running: 0,
      paused: false
    })
})

const get = (url: string) =>
  Effect.promise(async () => {
    const response = await fetch(url)
    const json: unknown = await response.json()
    return { status: response.status, cache: response.headers.get("cache-control"), json }
  })

const servedBy = <E, R>(router: HttpRouter.HttpRouter<E, R>) =>
  HttpServer.serve(router).pipe(Layer.provideMerge(NodeHttpServer.layer(createServer, { port: 0 })))

const address = Effect.map(HttpServer.HttpServer, ({ address }) =>
  address._tag === "TcpAddress" ? `http://127.0.0.1:${address.port}` : assert.fail("no port")
)

const emulated = SqsEmulator.layer({ queues: { orders: {}, bills: {} } })
const consumers = Layer.mergeAll(
  Served.layer(
    Orders,
    SqsLeaseQueue.make("orders"),
    Pipeline.process(() => Effect.void),
    { maxInFlight: 7 }
  ),
  // Its handler never ends by itself.
  Served.layer(
    Bills,
    SqsLeaseQueue.make("bills"),
    Pipeline.process(() => Effect.never),
    { drainDeadline: 0 }
  )
).pipe(Layer.provideMerge(emulated), Layer.provide(Logger.remove(Logger.defaultLogger)))

it.live("200 while all is well, and 503 with the reason while a consumer is not", () =>
  Effect.gen(function* () {
    const url = yield* address
    const well = yield* get(`${url}/health`)
    assert.strictEqual(well.status, 200)
    assert.strictEqual(well.cache, "no-store")
    assert.nestedInclude(well.json, { healthy: true, "consumers.orders.healthy": true })
    assert.nestedInclude(well.json, { "consumers.orders.maxInFlight": 7, "consumers.orders.inFlight": 0 })
    assert.nestedInclude(well.json, { "consumers.bills.healthy": true })

    const ill = yield* get(`${url}/ill`)
    assert.strictEqual(ill.status, 503)
    assert.nestedInclude(ill.json, { healthy: false, "consumers.orders.healthy": true })
    assert.nestedInclude(ill.json, { "consumers.broken.problems[0]": "the stream of broken has failed" })

    // Options reach the consumer: a handler that runs at all is stuck.
    const sqs = yield* SqsEmulator.SqsEmulator
    yield* sqs.send("bills", ["a"])
    const strict = yield* Effect.repeat(get(`${url}/strict`), { until: ({ status }) => status === 503 })
    assert.nestedInclude(strict.json, { healthy: false, "consumers.bills.running": 1 })
    assert.nestedProperty(strict.json, "consumers.bills.stuck[0].messageId")
    assert.strictEqual((yield* get(`${url}/health`)).status, 200)
  }).pipe(
    Effect.provide(
      servedBy(
        HttpRouter.empty.pipe(
          HttpRouter.append(HealthRoute.route("/health", Effect.all({ orders: Orders, bills: Bills }))),
          HttpRouter.get(
            "/ill",
            HealthRoute.handler(
              Effect.map(Orders, (orders) => ({ orders, broken: broken("the stream of broken has failed") }))
            )
          ),
          HttpRouter.append(HealthRoute.route("/strict", Effect.all({ bills: Bills }), { stuckAfter: 0 }))
        )
      ).pipe(Layer.provideMerge(consumers))
    )
  )
)

it("times are milliseconds, and what is not known is left out", () => {
  const health = {
    healthy: false,
    problems: ["one handler is stuck"],
    lastReceive: 1_000,
    oldestInFlight: Duration.seconds(90),
    stuck: [{ messageId: "m", group: undefined, attempt: 2, runningFor: Duration.seconds(80) }],
    inFlight: 1,
    maxInFlight: 100,
    running: 1,
    paused: false
  }
  assert.deepStrictEqual(JSON.parse(JSON.stringify(HealthRoute.toJson(health))), {
    ...health,
    oldestInFlight: 90_000,
    stuck: [{ messageId: "m", attempt: 2, runningFor: 80_000 }]
  })
})
