/** A collector of OpenTelemetry's OTLP over HTTP, in JSON: it keeps what it is sent, to be looked at. */
import { createServer } from "node:http"
import { HttpRouter, HttpServer, HttpServerRequest, HttpServerResponse } from "@effect/platform"
import { NodeHttpServer } from "@effect/platform-node"
import { Context, Effect, Layer, Schema } from "effect"

const Value = Schema.Struct({
  stringValue: Schema.optional(Schema.NullOr(Schema.String)),
  intValue: Schema.optional(Schema.NullOr(Schema.Union(Schema.Number, Schema.String))),
  doubleValue: Schema.optional(Schema.NullOr(Schema.Number)),
  boolValue: Schema.optional(Schema.NullOr(Schema.Boolean))
})
const Attributes = Schema.Array(Schema.Struct({ key: Schema.String, value: Value }))

const Span = Schema.Struct({
  traceId: Schema.String,
  spanId: Schema.String,
  parentSpanId: Schema.optional(Schema.NullOr(Schema.String)),
  name: Schema.String,
  kind: Schema.Number,
  attributes: Attributes,
  links: Schema.Array(Schema.Struct({ traceId: Schema.String, spanId: Schema.String }))
})
export interface Span extends Schema.Schema.Type<typeof Span> {}

const Traces = Schema.Struct({
  resourceSpans: Schema.Array(Schema.Struct({ scopeSpans: Schema.Array(Schema.Struct({ spans: Schema.Array(Span) })) }))
})

const Points = Schema.Array(
  Schema.Struct({
    attributes: Attributes,
    asDouble: Schema.optional(Schema.NullOr(Schema.Number)),
    asInt: Schema.optional(Schema.NullOr(Schema.Union(Schema.Number, Schema.String))),
    count: Schema.optional(Schema.NullOr(Schema.Union(Schema.Number, Schema.String)))
  })
)
const Metric = Schema.Struct({
  name: Schema.String,
  sum: Schema.optional(Schema.Struct({ dataPoints: Points, isMonotonic: Schema.Boolean })),
  gauge: Schema.optional(Schema.Struct({ dataPoints: Points })),
  histogram: Schema.optional(Schema.Struct({ dataPoints: Points }))
})
export interface Metric extends Schema.Schema.Type<typeof Metric> {}

const Metrics = Schema.Struct({
  resourceMetrics: Schema.Array(
    Schema.Struct({ scopeMetrics: Schema.Array(Schema.Struct({ metrics: Schema.Array(Metric) })) })
  )
})

export class Collector extends Context.Tag("telemetry/Collector")<
  Collector,
  {
    readonly url: string
    /** All spans so far. */
    readonly spans: Effect.Effect<ReadonlyArray<Span>>
    /** As they were sent last, by name. */
    readonly metrics: Effect.Effect<ReadonlyMap<string, Metric>>
  }
>() {}

/** The attributes of a span or of a point, as plain values. */
export const attributesOf = (attributes: typeof Attributes.Type): Readonly<Record<string, unknown>> =>
  Object.fromEntries(
    attributes.map(({ key, value }) => [
      key,
      value.stringValue ?? value.boolValue ?? Number(value.intValue ?? value.doubleValue)
    ])
  )

/** Listens on a free port of this machine. */
export const layer = Layer.scoped(
  Collector,
  Effect.gen(function* () {
    const spans: Array<Span> = []
    const metrics = new Map<string, Metric>()
    const taken = HttpServerResponse.unsafeJson({})
    yield* HttpRouter.empty.pipe(
      HttpRouter.post(
        "/v1/traces",
        Effect.map(HttpServerRequest.schemaBodyJson(Traces), ({ resourceSpans }) => {
          spans.push(...resourceSpans.flatMap(({ scopeSpans }) => scopeSpans.flatMap((scope) => scope.spans)))
          return taken
        })
      ),
      HttpRouter.post(
        "/v1/metrics",
        Effect.map(HttpServerRequest.schemaBodyJson(Metrics), ({ resourceMetrics }) => {
          for (const { scopeMetrics } of resourceMetrics) {
            for (const scope of scopeMetrics) for (const metric of scope.metrics) metrics.set(metric.name, metric)
          }
          return taken
        })
      ),
      HttpRouter.post("/v1/logs", Effect.succeed(taken)),
      HttpServer.serveEffect()
    )
    const url = yield* HttpServer.addressFormattedWith(Effect.succeed)
    return { url, spans: Effect.sync(() => spans), metrics: Effect.sync(() => metrics) }
  })
).pipe(Layer.provide(NodeHttpServer.layer(createServer, { port: 0, host: "127.0.0.1" })))
