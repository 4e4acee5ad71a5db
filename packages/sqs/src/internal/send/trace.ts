/** How a sender's span travels with its message, so that the consumer's is linked to it. */
import type * as Tracer from "effect/Tracer"
import type { MessageAttributes } from "../../SqsClient.js"

// Custom tracers may have ids of their own kind.
const w3cTrace = /^[0-9a-f]{32}$/
const w3cSpan = /^[0-9a-f]{16}$/

/** The span, where its ids are of the form that the headers have. */
export const traceOf = (span: Tracer.AnySpan | undefined): Tracer.AnySpan | undefined =>
  span !== undefined && w3cTrace.test(span.traceId) && w3cSpan.test(span.spanId) ? span : undefined

export const traceparent = ({ sampled, spanId, traceId }: Tracer.AnySpan): string =>
  `00-${traceId}-${spanId}-${sampled ? "01" : "00"}`

export const xrayHeader = ({ sampled, spanId, traceId }: Tracer.AnySpan): MessageAttributes => ({
  AWSTraceHeader: {
    DataType: "String",
    StringValue: `Root=1-${traceId.slice(0, 8)}-${traceId.slice(8)};Parent=${spanId};Sampled=${sampled ? "1" : "0"}`
  }
})

/** What it adds to a message's size. */
export const traceparentBytes = "traceparent".length + "String".length + 55
