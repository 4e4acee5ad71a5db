/** Effect's spans, metrics and logs to an OpenTelemetry collector: this layer is all that a program needs. */
import * as Otlp from "@effect/opentelemetry/Otlp"
import { FetchHttpClient } from "@effect/platform"
import { Layer } from "effect"

/** `baseUrl` is the collector's, such as `http://localhost:4318`. What is left is sent when the layer is closed. */
export const layer = (baseUrl: string) =>
  Otlp.layerJson({ baseUrl, resource: { serviceName: "shop" }, metricsExportInterval: "5 seconds" }).pipe(
    Layer.provide(FetchHttpClient.layer)
  )
