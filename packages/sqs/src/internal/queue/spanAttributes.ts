/** How traces speak of an SQS queue. */
import type * as Tracer from "effect/Tracer"

/** By the name of the conventions until 1.44. */
export const system = "aws_sqs"

/** What else spans say of a queue: its system by the conventions' name of today, and which queue it is. */
export const spanAttributesOf = (url: string): Readonly<Record<string, string | number>> => ({
  "messaging.system.name": "aws.sqs",
  "aws.sqs.queue.url": url,
  ...serverOf(url)
})

/** The port only where it is not that of the protocol, as the conventions have it. */
const serverOf = (url: string): Readonly<Record<string, string | number>> => {
  if (!URL.canParse(url)) return {}
  const { hostname, port } = new URL(url)
  return { "server.address": hostname, ...(port === "" ? {} : { "server.port": Number(port) }) }
}

const field = (value: unknown, name: string): unknown =>
  typeof value === "object" && value !== null ? Reflect.get(value, name) : undefined

/**
 * Tells the span of a call to a queue what AWS calls its request, be it answered or refused. A span of anything else
 * that the call is made in is left alone.
 */
export const tellRequestId = (span: Tracer.AnySpan | undefined, input: object, answer: unknown): void => {
  if (span?._tag !== "Span" || span.kind !== "client") return
  if (span.attributes.get("aws.sqs.queue.url") !== field(input, "QueueUrl")) return
  const id = field(field(answer, "$metadata"), "requestId")
  if (typeof id === "string" && id !== "") span.attribute("aws.request_id", id)
}
