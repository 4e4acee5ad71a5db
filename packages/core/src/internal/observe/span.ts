import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Tracer from "effect/Tracer"
import type * as LeaseQueue from "../../LeaseQueue.js"
import * as Reason from "../../Reason.js"

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

/** Whether the spans of handlers stand alone, or are children of the span that produced what they handle. */
export type Spans = boolean | "child"

/** The one span that produced all of them, where there is one. */
const parentOf = (messages: ReadonlyArray<LeaseQueue.Message>): Tracer.ExternalSpan | undefined => {
  const [first, ...rest] = messages.map((message) => Option.getOrUndefined(producerSpan(message)))
  const same = rest.every((span) => span?.traceId === first?.traceId && span?.spanId === first?.spanId)
  return same ? first : undefined
}

/** A child of what produced the messages where that was asked for and is one span; else a trace of its own, with links. */
const origin = (messages: ReadonlyArray<LeaseQueue.Message>, spans: Spans) => {
  const parent = spans === "child" ? parentOf(messages) : undefined
  return parent === undefined ? { root: true, links: linksTo(messages) } : { parent }
}

const linksTo = (messages: ReadonlyArray<LeaseQueue.Message>): ReadonlyArray<Tracer.SpanLink> =>
  messages.flatMap((message) =>
    Option.match(producerSpan(message), {
      onNone: () => [],
      onSome: (span) => [{ _tag: "SpanLink" as const, span, attributes: {} }]
    })
  )

/** Where a span's work is done: the names by which OpenTelemetry's conventions know a queue and its system. */
export interface Destination {
  readonly queue: string
  readonly attributes: Readonly<Record<string, string | number>>
}

export const destinationOf = <E>({ name, spanAttributes, system }: LeaseQueue.LeaseQueue<E>): Destination => ({
  queue: name,
  attributes: { ...(system === undefined ? {} : { "messaging.system": system }), ...spanAttributes }
})

/** @see https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/ */
const attributesOf = ({ attributes, queue }: Destination, operation: string, type: string | undefined) => ({
  ...attributes,
  "messaging.operation.name": operation,
  ...(type === undefined ? {} : { "messaging.operation.type": type }),
  "messaging.destination.name": queue
})

const errorType = <E>(cause: Cause.Cause<E>): string =>
  Option.match(Cause.failureOption(cause), {
    onNone: () => "HandlerDefect",
    // The conventions' word for an error of no kind.
    onSome: (failure) => Reason.nameOf(failure) ?? "_OTHER"
  })

const withErrorType = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.tapErrorCause(effect, (cause) =>
    Cause.isInterruptedOnly(cause) ? Effect.void : Effect.annotateCurrentSpan("error.type", errorType(cause))
  )

const processing = <A, E, R>(
  effect: Effect.Effect<A, E, R>,
  messages: ReadonlyArray<LeaseQueue.Message>,
  to: Destination,
  spans: Spans,
  attributes: Readonly<Record<string, unknown>>
) =>
  Effect.withSpan(withErrorType(effect), `process ${to.queue}`, {
    kind: "consumer",
    captureStackTrace: false,
    ...origin(messages, spans),
    attributes: { ...attributesOf(to, "process", "process"), ...attributes }
  })

/** A span for one message. */
export const withSpan = <A, E, R>(
  effect: Effect.Effect<A, E, R>,
  message: LeaseQueue.Message,
  to: Destination,
  spans: Spans
) =>
  processing(effect, [message], to, spans, {
    "messaging.message.id": message.id,
    "millrace.attempt": message.attempt,
    ...(message.group === undefined ? {} : { "millrace.group": message.group })
  })

/** A span for a batch. */
export const withBatchSpan = <A, E, R>(
  effect: Effect.Effect<A, E, R>,
  messages: ReadonlyArray<LeaseQueue.Message>,
  to: Destination,
  spans: Spans
) => processing(effect, messages, to, spans, batchOf(messages.length))

const batchOf = (count: number) => ({ "messaging.batch.message_count": count })

/** A queue with a span for each call, a trace of its own each. */
export const traced = <E>(queue: LeaseQueue.LeaseQueue<E>): LeaseQueue.LeaseQueue<E> => {
  const to = destinationOf(queue)
  const call = <A>(effect: Effect.Effect<A, E>, operation: string, type: string | undefined, count?: number) =>
    Effect.withSpan(withErrorType(effect), `${operation} ${queue.name}`, {
      kind: "client",
      root: true,
      captureStackTrace: false,
      attributes: {
        ...attributesOf(to, operation, type),
        ...(count === undefined ? {} : batchOf(count))
      }
    })
  const { deadLetter } = queue
  return {
    ...queue,
    receive: (request) =>
      call(
        Effect.tap(queue.receive(request), (messages) =>
          Effect.zipRight(
            Effect.annotateCurrentSpan(batchOf(messages.length)),
            Effect.map(Effect.orDie(Effect.currentSpan), (span) => span.addLinks(linksTo(messages)))
          )
        ),
        "receive",
        "receive"
      ),
    ack: (leases) => call(queue.ack(leases), "ack", "settle", leases.length),
    // Extends, delays or gives back: which of them, the conventions have no word for.
    setLease: (entries) => call(queue.setLease(entries), "set_lease", undefined, entries.length),
    deadLetter: deadLetter && ((entries) => call(deadLetter(entries), "dead_letter", "settle", entries.length))
  }
}
