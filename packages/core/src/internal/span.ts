import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Tracer from "effect/Tracer"
import type { Delivery } from "../Delivery.js"
import type * as LeaseQueue from "../LeaseQueue.js"

/** The W3C `traceparent` that a producer put beside the body. @see https://www.w3.org/TR/trace-context/ */
const traceparent = /^[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})$/

/** AWS X-Ray's header. @see https://docs.aws.amazon.com/xray/latest/devguide/xray-concepts.html#xray-concepts-tracingheader */
const xray = /Root=1-([0-9a-f]{8})-([0-9a-f]{24});Parent=([0-9a-f]{16})(?:;Sampled=([01]))?/

const producerSpan = (message: LeaseQueue.Message): Option.Option<Tracer.ExternalSpan> => {
  const attribute = message.attributes["traceparent"]
  const w3c = attribute?.type === "String" ? traceparent.exec(attribute.value) : null
  if (w3c?.[1] !== undefined && w3c[2] !== undefined) {
    return Option.some(
      Tracer.externalSpan({ traceId: w3c[1], spanId: w3c[2], sampled: (Number.parseInt(w3c[3] ?? "0", 16) & 1) === 1 })
    )
  }
  const header = xray.exec(message.system["AWSTraceHeader"] ?? "")
  if (header?.[1] !== undefined && header[2] !== undefined && header[3] !== undefined) {
    return Option.some(
      Tracer.externalSpan({ traceId: header[1] + header[2], spanId: header[3], sampled: header[4] === "1" })
    )
  }
  return Option.none()
}

/** A span for one message, linked to the span that produced it. */
export const withSpan = <A, E, R>(effect: Effect.Effect<A, E, R>, delivery: Delivery<unknown, unknown>) => {
  const { attempt, group, id } = delivery.message
  return Effect.withSpan(effect, "Pipeline.process", {
    kind: "consumer",
    links: Option.match(producerSpan(delivery.message), {
      onNone: () => [],
      onSome: (span) => [{ _tag: "SpanLink" as const, span, attributes: {} }]
    }),
    attributes: {
      "messaging.operation.type": "process",
      "messaging.destination.name": delivery.queue,
      "messaging.message.id": id,
      "millrace.attempt": attempt,
      ...(group === undefined ? {} : { "millrace.group": group })
    }
  })
}
