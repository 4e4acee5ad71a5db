/** What AWS calls a request, for the trace that the call is of. */
import type * as Tracer from "effect/Tracer"
import { field, text } from "./field.js"

/**
 * Tells the span of a call to a queue what AWS calls its request, be it answered or refused. A span of anything else
 * that the call is made in is left alone.
 */
export const tellRequestId = (span: Tracer.AnySpan | undefined, input: object, answer: unknown): void => {
  if (span?._tag !== "Span" || span.kind !== "client") return
  if (span.attributes.get("aws.sqs.queue.url") !== field(input, "QueueUrl")) return
  const id = text(field(field(answer, "$metadata"), "requestId"))
  if (id !== undefined) span.attribute("aws.request_id", id)
}
