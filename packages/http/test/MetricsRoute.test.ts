/** Through a parser of its own, and through a real server, as Prometheus asks. */
import { createServer } from "node:http"
import { HttpRouter, HttpServer } from "@effect/platform"
import { NodeHttpServer } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Pipeline } from "@millrace/core"
import { SqsConsumer } from "@millrace/sqs"
import { SqsEmulator } from "@millrace/sqs/emulator"
import { Effect, Fiber, Layer, Metric, MetricBoundaries, Stream } from "effect"
import * as MetricsRoute from "../src/MetricsRoute.js"
import { parse } from "./support/prometheus.js"

/** The metrics whose names begin so, read as Prometheus does. */
const read = (prefix: string) =>
  Effect.map(Metric.snapshot, (all) =>
    parse(MetricsRoute.toText(all.filter(({ metricKey }) => metricKey.name.startsWith(prefix))))
  )

describe("Prometheus text", () => {
  it.effect("of a counter that only grows: a counter, whose name ends in _total, once", () =>
    Effect.gen(function* () {
      yield* Metric.incrementBy(Metric.counter("mr1_sent", { description: "messages", incremental: true }), 3)
      yield* Metric.incrementBy(Metric.counter("mr1_done_total", { bigint: true, incremental: true }), 2n)
      const families = yield* read("mr1_")
      assert.deepStrictEqual(
        [...families],
        [
          [
            "mr1_sent_total",
            { type: "counter", help: "messages", samples: [{ name: "mr1_sent_total", labels: {}, value: 3 }] }
          ],
          [
            "mr1_done_total",
            { type: "counter", help: undefined, samples: [{ name: "mr1_done_total", labels: {}, value: 2 }] }
          ]
        ]
      )
    })
  )

  it.effect("of a counter that may go down, and of a gauge: gauges", () =>
    Effect.gen(function* () {
      yield* Metric.incrementBy(Metric.counter("mr2_level"), -3)
      yield* Metric.set(Metric.gauge("mr2_top"), Number.POSITIVE_INFINITY)
      yield* Metric.set(Metric.gauge("mr2_bottom"), Number.NEGATIVE_INFINITY)
      const families = yield* read("mr2_")
      const all = [...families.values()].map(({ samples, type }) => [type, samples[0]?.value])
      assert.deepStrictEqual(all, [
        ["gauge", -3],
        ["gauge", Number.POSITIVE_INFINITY],
        ["gauge", Number.NEGATIVE_INFINITY]
      ])
    })
  )

  it.effect("of a histogram: cumulative buckets with their upper ends, which count in, and all of it", () =>
    Effect.gen(function* () {
      const histogram = Metric.histogram("mr3_seconds", MetricBoundaries.linear({ start: 1, width: 1, count: 3 }))
      for (const value of [0.5, 1, 1.5, 99]) yield* Metric.update(histogram, value)
      const family = (yield* read("mr3_")).get("mr3_seconds")
      assert.strictEqual(family?.type, "histogram")
      assert.deepStrictEqual(
        family?.samples.map(({ labels, name, value }) => [name, labels["le"], value]),
        [
          ["mr3_seconds_bucket", "1", 2],
          ["mr3_seconds_bucket", "2", 3],
          ["mr3_seconds_bucket", "+Inf", 4],
          ["mr3_seconds_sum", undefined, 102],
          ["mr3_seconds_count", undefined, 4]
        ]
      )
    })
  )

  it.effect("of a summary and of a frequency", () =>
    Effect.gen(function* () {
      const summary = Metric.summary({
        name: "mr4_size",
        maxAge: "1 day",
        maxSize: 10,
        error: 0,
        quantiles: [0.5, 0.9]
      })
      yield* Metric.update(summary, 7)
      const frequency = Metric.frequency("mr4_errors", { preregisteredWords: ["a"] })
      yield* Metric.update(frequency, 'a "b"\n\\c')
      const families = yield* read("mr4_")
      assert.strictEqual(families.get("mr4_size")?.type, "summary")
      assert.deepStrictEqual(
        families.get("mr4_size")?.samples.map(({ labels, name, value }) => [name, labels["quantile"], value]),
        [
          ["mr4_size", "0.5", 7],
          ["mr4_size", "0.9", 7],
          ["mr4_size_sum", undefined, 7],
          ["mr4_size_count", undefined, 1]
        ]
      )
      assert.strictEqual(families.get("mr4_errors_total")?.type, "counter")
      assert.deepStrictEqual(
        families.get("mr4_errors_total")?.samples.map(({ labels, value }) => [labels["key"], value]),
        [
          ["a", 0],
          ['a "b"\n\\c', 1]
        ]
      )
    })
  )

  it.effect("a name's series stand together, under one type, and what a name may not hold is replaced", () =>
    Effect.gen(function* () {
      const gauge = Metric.gauge("mr5.in-flight", { description: 'a \\ and\na "line"' })
      yield* Metric.set(Metric.tagged(gauge, "consumer", 'the "first"\\\n'), 1)
      yield* Metric.set(Metric.gauge("mr5.other"), 3)
      yield* Metric.set(Metric.tagged(gauge, "consumer", "second"), 2)
      yield* Metric.set(gauge.pipe(Metric.tagged("1a.b", "x"), Metric.tagged("1a-b", "y")), 4)
      const families = yield* read("mr5.")
      assert.deepStrictEqual([...families.keys()].sort(), ["mr5_in_flight", "mr5_other"])
      const family = families.get("mr5_in_flight")
      assert.strictEqual(family?.help, 'a \\ and\na "line"')
      assert.sameDeepMembers(
        (family?.samples ?? []).map(({ labels, value }) => [labels, value]),
        [
          [{ consumer: 'the "first"\\\n' }, 1],
          [{ consumer: "second" }, 2],
          [{ _1a_b: "x;y" }, 4]
        ]
      )
    })
  )

  it.effect("one name of several types, and of several descriptions, is still text that Prometheus takes", () =>
    Effect.gen(function* () {
      yield* Metric.set(Metric.gauge("mr6_x_total"), 1)
      yield* Metric.increment(Metric.counter("mr6_x", { incremental: true }))
      yield* Metric.set(Metric.gauge("mr6_y", { description: "one" }), 1)
      yield* Metric.set(Metric.gauge("mr6_y", { description: "two" }), 2)
      const families = yield* read("mr6_")
      assert.sameMembers(
        [...families].map(([name, { type }]) => `${name} ${type}`),
        families.has("mr6_x_total_counter")
          ? ["mr6_x_total gauge", "mr6_x_total_counter counter", "mr6_y gauge"]
          : ["mr6_x_total counter", "mr6_x_total_gauge gauge", "mr6_y gauge"]
      )
      assert.strictEqual(families.get("mr6_y")?.samples.length, 1)
    })
  )

  it("of nothing: nothing", () => {
    assert.strictEqual(MetricsRoute.toText([]), "")
  })
})

const servedBy = <E, R>(router: HttpRouter.HttpRouter<E, R>) =>
  HttpServer.serve(router).pipe(Layer.provideMerge(NodeHttpServer.layer(createServer, { port: 0 })))

it.live("a consumer's metrics are scraped over HTTP; those that are not asked for are left out", () =>
  Effect.gen(function* () {
    const url = yield* Effect.map(HttpServer.HttpServer, ({ address }) =>
      address._tag === "TcpAddress" ? `http://127.0.0.1:${address.port}` : assert.fail("no port")
    )
    const sqs = yield* SqsEmulator.SqsEmulator
    yield* sqs.send("orders", ["a", "b", "c"])
    const fiber = yield* Effect.fork(
      SqsConsumer.stream("orders", { name: "MetricsRoute.test" }).pipe(
        Pipeline.process((body) => (body === "b" ? Effect.fail("no") : Effect.void)),
        Stream.runDrain
      )
    )
    yield* sqs.settled("orders", 2)
    yield* Fiber.interrupt(fiber)
    const get = (path: string) =>
      Effect.promise(async () => {
        const response = await fetch(`${url}${path}`)
        return { type: response.headers.get("content-type"), text: await response.text() }
      })
    const { text, type } = yield* get("/metrics")
    assert.strictEqual(type, "text/plain; version=0.0.4; charset=utf-8")
    const families = parse(text)
    const value = (name: string) => {
      const { help, samples } = families.get(name) ?? assert.fail(`no ${name}`)
      assert.isString(help)
      return samples.find(({ labels }) => labels["consumer"] === "MetricsRoute.test")?.value
    }
    assert.strictEqual(value("millrace_acked_total"), 2)
    assert.isAtLeast(value("millrace_failed_total") ?? 0, 1)
    assert.strictEqual(value("millrace_in_flight"), 0)
    assert.strictEqual(families.get("millrace_handler_seconds")?.type, "histogram")
    // Effect's own are there too.
    assert.isTrue(families.has("effect_fiber_started_total"))
    const some = parse((yield* get("/millrace")).text)
    assert.isTrue([...some.keys()].every((name) => name.startsWith("millrace_")))
    assert.isAbove(some.size, 10)
  }).pipe(
    Effect.provide(
      Layer.mergeAll(
        servedBy(
          HttpRouter.empty.pipe(
            HttpRouter.append(MetricsRoute.route("/metrics")),
            HttpRouter.append(MetricsRoute.route("/millrace", { include: (name) => name.startsWith("millrace_") }))
          )
        ),
        SqsEmulator.layer({ queues: { orders: {} } })
      )
    )
  )
)
