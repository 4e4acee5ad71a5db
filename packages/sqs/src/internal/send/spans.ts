/** A span for each call of a producer, linked to the spans that sent its messages. */
import * as Effect from "effect/Effect"
import * as Tracer from "effect/Tracer"
import type { SendFields, Service } from "../../SqsClient.js"
import { spanAttributesOf, system } from "../queue/spanAttributes.js"

type Sender = Pick<Service, "sendMessageBatch">

const traceparent = /^00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})$/
const xray = /^Root=1-([0-9a-f]{8})-([0-9a-f]{24});Parent=([0-9a-f]{16});Sampled=([01])$/

/** The span that sent a message, as the message itself tells its consumers. */
const senderOf = ({ MessageAttributes, MessageSystemAttributes }: SendFields): ReadonlyArray<Tracer.SpanLink> => {
  const [, trace, span, flags] = traceparent.exec(MessageAttributes?.["traceparent"]?.StringValue ?? "") ?? []
  const [, epoch, rest, parent, sampled] =
    xray.exec(MessageSystemAttributes?.["AWSTraceHeader"]?.StringValue ?? "") ?? []
  const traceId = trace ?? (epoch === undefined || rest === undefined ? undefined : epoch + rest)
  const spanId = span ?? parent
  if (traceId === undefined || spanId === undefined) return []
  const isSampled = flags === undefined ? sampled === "1" : (Number.parseInt(flags, 16) & 1) === 1
  return [{ _tag: "SpanLink", span: Tracer.externalSpan({ traceId, spanId, sampled: isSampled }), attributes: {} }]
}

/** A child of the one span that sent all messages of a call, where that was asked for; else a trace of its own. */
const origin = (entries: ReadonlyArray<SendFields>, spans: true | "child") => {
  const links = entries.flatMap(senderOf)
  const first = links[0]?.span
  const one =
    links.length === entries.length &&
    links.every(({ span }) => span.traceId === first?.traceId && span.spanId === first.spanId)
  return spans === "child" && one && first !== undefined ? { parent: first } : { root: true, links }
}

/**
 * With a span for each call.
 *
 * @see https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/
 */
export const traced = (client: Sender, queue: string, url: string, spans: true | "child"): Sender => ({
  sendMessageBatch: (request) =>
    client.sendMessageBatch(request).pipe(
      Effect.tapError(({ _tag }) => Effect.annotateCurrentSpan("error.type", _tag)),
      Effect.tap(({ Failed }) =>
        Failed.length === 0 ? Effect.void : Effect.annotateCurrentSpan("millrace.failed_messages", Failed.length)
      ),
      Effect.withSpan(`send ${queue}`, {
        kind: "client",
        captureStackTrace: false,
        ...origin(request.Entries, spans),
        attributes: {
          "messaging.system": system,
          ...spanAttributesOf(url),
          "messaging.operation.name": "send",
          "messaging.operation.type": "send",
          "messaging.destination.name": queue,
          "messaging.batch.message_count": request.Entries.length
        }
      })
    )
})
