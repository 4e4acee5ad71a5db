/**
 * Effect's metrics over HTTP, those of consumers among them, as the text that Prometheus scrapes. It costs no call to the queue.
 *
 * A server for nothing else has short times and few connections, so that half-sent requests cannot take the process's file
 * descriptors.
 *
 * @see https://prometheus.io/docs/instrumenting/exposition_formats/
 * @example
 * const patience = { headersTimeout: 5_000, requestTimeout: 10_000, keepAliveTimeout: 5_000, connectionsCheckingInterval: 1_000 }
 * HttpRouter.empty.pipe(
 *   HttpRouter.append(MetricsRoute.route("/metrics")),
 *   HttpServer.serve(),
 *   Layer.provide(NodeHttpServer.layer(() => Object.assign(createServer(patience), { maxConnections: 64 }), { port: 9464 }))
 * )
 */
import * as HttpRouter from "@effect/platform/HttpRouter"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as InvalidOptions from "@millrace/core/InvalidOptions"
import * as Effect from "effect/Effect"
import * as Metric from "effect/Metric"
import type * as MetricKey from "effect/MetricKey"
import * as MetricKeyType from "effect/MetricKeyType"
import type * as MetricPair from "effect/MetricPair"
import * as MetricState from "effect/MetricState"
import * as Option from "effect/Option"

export interface Options {
  /** Which metrics, by their names in Effect. Default: all of the process. */
  readonly include?: ((name: string) => boolean) | undefined
}

type Labels = ReadonlyArray<readonly [name: string, value: string]>
type Type = "counter" | "gauge" | "histogram" | "summary"

interface Family {
  readonly help: string
  readonly type: Type
  /** By the name and labels of each line: what comes twice would make the scrape fail. */
  readonly lines: Map<string, string>
}

const nameOf = (name: string): string => {
  const clean = name.replace(/[^a-zA-Z0-9_:]/g, "_")
  return /^[0-9]/.test(clean) || clean === "" ? `_${clean}` : clean
}

const escapeHelp = (text: string): string => text.replace(/\\/g, "\\\\").replace(/\n/g, "\\n")
const escapeValue = (text: string): string => escapeHelp(text).replace(/"/g, '\\"')

const number = (value: number | bigint): string =>
  value === Number.POSITIVE_INFINITY ? "+Inf" : value === Number.NEGATIVE_INFINITY ? "-Inf" : String(value)

const labelsOf = ({ tags }: MetricKey.MetricKey.Untyped): Labels => {
  const labels = new Map<string, string>()
  for (const { key, value } of tags) {
    const name = nameOf(key).replace(/:/g, "_")
    const before = labels.get(name)
    // Names that differ only by what Prometheus does not allow: both values, as OpenTelemetry's exporter does.
    labels.set(name, before === undefined ? value : `${before};${value}`)
  }
  return [...labels].sort(([a], [b]) => (a < b ? -1 : 1))
}

/** Values by suffix of the name and further labels, in order. */
type Samples = ReadonlyArray<readonly [suffix: string, more: Labels, value: number | bigint]>

const samplesOf = (state: MetricState.MetricState.Untyped): Samples => {
  if (MetricState.isCounterState(state)) return [["", [], state.count]]
  if (MetricState.isGaugeState(state)) return [["", [], state.value]]
  if (MetricState.isFrequencyState(state)) {
    return [...state.occurrences].map(([key, n]) => ["", [["key", key]], n] as const)
  }
  if (MetricState.isHistogramState(state)) {
    return [
      ...state.buckets
        .filter(([boundary]) => boundary !== Number.POSITIVE_INFINITY)
        .map(([boundary, n]) => ["_bucket", [["le", number(boundary)]], n] as const),
      ["_bucket", [["le", "+Inf"]], state.count],
      ["_sum", [], state.sum],
      ["_count", [], state.count]
    ]
  }
  if (MetricState.isSummaryState(state)) {
    return [
      ...state.quantiles.map(
        ([quantile, value]) =>
          ["", [["quantile", number(quantile)]], Option.getOrElse(value, () => Number.NaN)] as const
      ),
      ["_sum", [], state.sum],
      ["_count", [], state.count]
    ]
  }
  return []
}

const typeOf = ({ keyType }: MetricKey.MetricKey.Untyped): Type =>
  MetricKeyType.isCounterKey(keyType)
    ? keyType.incremental
      ? "counter"
      : // It may go down, which a counter of Prometheus must not.
        "gauge"
    : MetricKeyType.isFrequencyKey(keyType)
      ? "counter"
      : MetricKeyType.isHistogramKey(keyType)
        ? "histogram"
        : MetricKeyType.isSummaryKey(keyType)
          ? "summary"
          : "gauge"

/**
 * Metrics in Prometheus' text format, version 0.0.4. Counters end in `_total`, as Prometheus and OpenTelemetry's exporter
 * would have it; what a name may not hold becomes `_`. A frequency is a counter with the label `key`.
 */
export const toText = (metrics: Iterable<MetricPair.MetricPair.Untyped>): string => {
  const families = new Map<string, Family>()
  for (const { metricKey, metricState } of metrics) {
    const type = typeOf(metricKey)
    const plain = nameOf(metricKey.name)
    const own = type === "counter" && !plain.endsWith("_total") ? `${plain}_total` : plain
    // A name has one type in Prometheus; in Effect it may have several.
    const name = (families.get(own)?.type ?? type) === type ? own : `${own}_${type}`
    const family = families.get(name) ?? {
      help: Option.getOrElse(metricKey.description, () => ""),
      type,
      lines: new Map<string, string>()
    }
    families.set(name, family)
    const labels = labelsOf(metricKey)
    for (const [suffix, more, value] of samplesOf(metricState)) {
      const all = [...labels, ...more].map(([label, text]) => `${label}="${escapeValue(text)}"`).join(",")
      const series = `${name}${suffix}${all === "" ? "" : `{${all}}`}`
      family.lines.set(series, `${series} ${number(value)}\n`)
    }
  }
  let text = ""
  for (const [name, { help, lines, type }] of families) {
    if (lines.size === 0) continue
    if (help !== "") text += `# HELP ${name} ${escapeHelp(help)}\n`
    text += `# TYPE ${name} ${type}\n${[...lines.values()].join("")}`
  }
  return text
}

/** Answers with the metrics as they are now, for any router. Throws `InvalidOptions` where an option cannot work. */
export const handler = (options: Options = {}): Effect.Effect<HttpServerResponse.HttpServerResponse> => {
  InvalidOptions.checkOrThrow("MetricsRoute", options, { include: InvalidOptions.func })
  const { include = () => true } = options
  return Effect.map(Metric.snapshot, (metrics) =>
    HttpServerResponse.text(toText(metrics.filter(({ metricKey }) => include(metricKey.name))), {
      contentType: "text/plain; version=0.0.4; charset=utf-8",
      headers: { "cache-control": "no-store" }
    })
  )
}

/** `handler` as a route of `HttpRouter`, for GET. */
export const route = (path: HttpRouter.PathInput, options?: Options): HttpRouter.Route<never, never> =>
  HttpRouter.makeRoute("GET", path, handler(options))
