/** What a collector gets of the example, and whether the dashboard asks for what there is. */
import { readFileSync } from "node:fs"
import { assert, it } from "@effect/vitest"
import * as MetricsRoute from "@millrace/http/MetricsRoute"
import { Effect, Metric, MetricState, Schema } from "effect"
import * as Collector from "../src/telemetry/Collector.js"
import * as Shop from "../src/telemetry/Shop.js"
import * as Telemetry from "../src/telemetry/Telemetry.js"

const kinds = { client: 3, producer: 4, consumer: 5 }

/** What the process has counted so far: other tests have consumers of the same name. */
const acked = Effect.map(Metric.snapshot, (pairs) => {
  const ofOrders = pairs.find(
    ({ metricKey: { name, tags } }) =>
      name === "millrace_acked" && tags.some(({ key, value }) => key === "consumer" && value === "orders")
  )
  const state = ofOrders?.metricState
  return state !== undefined && MetricState.isCounterState(state) ? Number(state.count) : 0
})

it.live(
  "spans and metrics arrive at a collector over HTTP, by the conventions for messaging",
  () =>
    Effect.gen(function* () {
      const collector = yield* Collector.Collector
      const before = yield* acked
      yield* Effect.provide(Shop.program, Telemetry.layer(collector.url))
      const spans = yield* collector.spans
      const named = (name: string) => spans.filter((span) => span.name === name)

      const sent = named("send orders")
      assert.strictEqual(sent.length, Shop.orders)
      const processed = named("process orders")
      // One order has two attempts.
      assert.strictEqual(processed.length, Shop.orders + 1)
      const senders = new Set(sent.map(({ spanId, traceId }) => `${traceId} ${spanId}`))
      for (const { attributes, kind, links, traceId } of processed) {
        assert.strictEqual(kind, kinds.consumer)
        const [link, ...more] = links
        assert.isTrue(senders.has(`${link?.traceId} ${link?.spanId}`))
        assert.deepStrictEqual(more, [])
        assert.notStrictEqual(link?.traceId, traceId)
        assert.deepInclude(Collector.attributesOf(attributes), {
          "messaging.system": "aws_sqs",
          "messaging.system.name": "aws.sqs",
          "messaging.operation.type": "process",
          "messaging.operation.name": "process",
          "messaging.destination.name": "orders",
          "millrace.attempt": 1
        })
      }
      const failed = processed.filter(({ attributes }) => attributes.some(({ key }) => key === "error.type"))
      assert.deepStrictEqual(
        failed.map(({ attributes }) => Collector.attributesOf(attributes)["error.type"]),
        ["OutOfStock", "OutOfStock"]
      )
      // What a handler does is in its message's trace.
      const parents = new Set(processed.map(({ spanId }) => spanId))
      for (const { parentSpanId } of named("pick from the shelf")) assert.isTrue(parents.has(parentSpanId ?? ""))
      for (const { kind } of sent) assert.strictEqual(kind, kinds.producer)
      const received = named("receive orders").map(({ attributes }) => Collector.attributesOf(attributes))
      assert.strictEqual(
        received.reduce((sum, each) => sum + Number(each["messaging.batch.message_count"]), 0),
        Shop.orders
      )
      for (const { kind } of [...named("receive orders"), ...named("ack orders")]) {
        assert.strictEqual(kind, kinds.client)
      }

      const metrics = yield* collector.metrics
      const sum = metrics.get("millrace_acked")?.sum
      assert.isTrue(sum?.isMonotonic)
      const [point] = (sum?.dataPoints ?? []).filter(
        ({ attributes }) => Collector.attributesOf(attributes)["consumer"] === "orders"
      )
      assert.strictEqual(Number(point?.asDouble ?? point?.asInt) - before, Shop.orders)
      assert.isDefined(metrics.get("millrace_handler_seconds")?.histogram)
    }).pipe(Effect.provide(Collector.layer)),
  { timeout: 60_000 }
)

const Query = Schema.Struct({ expr: Schema.String })
const Dashboard = Schema.parseJson(
  Schema.Struct({
    panels: Schema.Array(Schema.Struct({ id: Schema.Number, targets: Schema.optional(Schema.Array(Query)) })),
    templating: Schema.Struct({
      list: Schema.Array(Schema.Struct({ query: Schema.Union(Schema.String, Schema.Struct({ query: Schema.String })) }))
    })
  })
)

const functions = new Set(["sum", "by", "rate", "increase", "histogram_quantile", "label_values"])

/** The metrics that a query names: what is left of it without labels, ranges, numbers and functions. */
const metricsIn = (query: string): ReadonlyArray<string> =>
  (
    query
      .replace(/\{[^}]*\}|\[[^\]]*\]/g, " ")
      .replace(/\bby \([^)]*\)/g, " ")
      .replace(/(label_values\([^,]*),[^)]*/g, "$1")
      .match(/[a-zA-Z_:][a-zA-Z0-9_:]*/g) ?? []
  ).filter((name) => !functions.has(name))

it("metrics are found in a query", () => {
  assert.deepStrictEqual(
    metricsIn(
      'histogram_quantile(0.5, sum by (le, consumer) (rate(a_bucket{consumer=~"$consumer"}[1m]))) / sum(b_total)'
    ),
    ["a_bucket", "b_total"]
  )
  assert.deepStrictEqual(metricsIn("label_values(c_total, consumer)"), ["c_total"])
})

it.live(
  "each metric of the Grafana dashboard is one that a consumer or a producer exports, and none is forgotten",
  () =>
    Effect.gen(function* () {
      yield* Shop.program
      const text = MetricsRoute.toText(
        (yield* Metric.snapshot).filter(({ metricKey }) => metricKey.name.startsWith("millrace_"))
      )
      const exported = new Set(
        text
          .split("\n")
          .filter((line) => !line.startsWith("#"))
          .map((line) => line.replace(/[ {].*$/, ""))
      )
      const file = readFileSync(new URL("../deploy/grafana-dashboard.json", import.meta.url), "utf8")
      const { panels, templating } = yield* Schema.decode(Dashboard)(file)
      const queries = [
        ...panels.flatMap(({ targets = [] }) => targets.map(({ expr }) => expr)),
        ...templating.list.flatMap(({ query }) => (typeof query === "string" ? [] : [query.query]))
      ]
      assert.isAbove(queries.length, 30)
      const named = new Set(queries.flatMap(metricsIn))
      for (const name of named) assert.isTrue(exported.has(name), `nobody exports ${name}`)
      assert.strictEqual(new Set(panels.map(({ id }) => id)).size, panels.length)
      const shown = (name: string) => named.has(name) || /_(sum|count)$|^$/.test(name)
      assert.sameMembers(
        [...exported].filter((name) => !shown(name)),
        ["millrace_extended_total", "millrace_producer_calls_total"]
      )
    })
)
