/**
 * What is sent to a dead-letter queue for a message: the message itself, and beside it, in attributes of ours, why it is
 * there.
 */
import type * as LeaseQueue from "@millrace/core/LeaseQueue"
import type { MessageAttribute, MessageAttributes, SendFields } from "../../SqsClient.js"
import type { SqsQueue } from "../../SqsQueue.js"
import { legible, longestMessage, mostAttributes, sizeOf, toSqs } from "../message/limits.js"

/** The name of the attribute that says why a message was dead-lettered. */
export const reasonAttribute = "millrace-dead-letter-reason"
/** Of the attribute with the tag or name of the error that was the reason. */
export const errorAttribute = "millrace-dead-letter-error"
/** Of the attribute with the number of the attempt that failed. */
export const attemptAttribute = "millrace-dead-letter-attempt"
/** Of the attribute with the ARN of the queue that it was taken from. */
export const sourceAttribute = "millrace-dead-letter-source"

/** The names that are ours: what a sender has put there says nothing, and would be believed when it is sent back. */
export const ours: ReadonlySet<string> = new Set([reasonAttribute, errorAttribute, attemptAttribute, sourceAttribute])

const longestReason = 1024
/** What is left of a reason must still say something. */
const shortestReason = 32

/** The reason as SQS takes it for the value of an attribute. */
const reasonText = (reason: string): string => {
  const text = legible(reason.slice(0, longestReason))
  return text === "" ? "no reason given" : text
}

const text = (StringValue: string): MessageAttribute => ({ DataType: "String", StringValue })

const fits = (body: string, attributes: MessageAttributes): boolean =>
  Object.keys(attributes).length <= mostAttributes && sizeOf(body, attributes) <= longestMessage

/** As much of a text as fits into so many bytes of UTF-8. */
const cut = (value: string, bytes: number): string =>
  Buffer.byteLength(value) <= bytes
    ? value
    : Buffer.from(value)
        .subarray(0, bytes)
        .toString()
        .replace(/\uFFFD$/, "")

/**
 * The message's own attributes, less those of our names, and beside them why it is here: the reason, the source, the
 * attempt and the error, as many as there is room for; the others are folded into the reason, cut to what is left of 1
 * MiB; nothing where ten attributes are taken.
 */
const attributesOf = (entry: LeaseQueue.DeadLetterEntry, source: string): MessageAttributes => {
  const { attempt, error, message } = entry
  const reason = reasonText(entry.reason)
  const own: Record<string, MessageAttribute> = {}
  for (const [name, attribute] of Object.entries(message.attributes)) {
    if (!ours.has(name)) own[name] = toSqs(attribute)
  }
  const facts: ReadonlyArray<readonly [name: string, value: MessageAttribute, words?: string]> = [
    [sourceAttribute, text(source), `from ${source}`],
    ...(attempt === undefined
      ? []
      : [[attemptAttribute, { DataType: "Number", StringValue: String(attempt) }, `attempt ${attempt}`] as const]),
    ...(error === undefined || error === ""
      ? []
      : [[errorAttribute, text(legible(error.slice(0, longestReason)))] as const])
  ]
  for (let apart = facts.length; apart >= 0; apart--) {
    const beside = { ...own, ...Object.fromEntries(facts.slice(0, apart)) }
    const words = facts.slice(apart).flatMap(([, , said]) => said ?? [])
    const whole = words.length === 0 ? reason : `${reason} (${words.join(", ")})`
    // Where there are attributes enough, only the size can be in the way: that of the reason gives way last.
    if (apart > 0) {
      const all = { ...beside, [reasonAttribute]: text(whole) }
      if (fits(message.body, all)) return all
      continue
    }
    const room = longestMessage - sizeOf(message.body, { ...beside, [reasonAttribute]: text("") })
    const folded = { ...beside, [reasonAttribute]: text(cut(whole, room)) }
    if (room >= shortestReason && fits(message.body, folded)) return folded
  }
  return own
}

/** The message as it was, with the reason where there is still room for it. */
export const copyOf = (
  entry: LeaseQueue.DeadLetterEntry,
  source: SqsQueue
): { readonly fields: SendFields; readonly size: number } => {
  const { message } = entry
  const attributes = attributesOf(entry, source.arn)
  const trace = message.system["AWSTraceHeader"]
  return {
    size: sizeOf(message.body, attributes),
    fields: {
      MessageBody: message.body,
      ...(Object.keys(attributes).length > 0 && { MessageAttributes: attributes }),
      ...(trace !== undefined && {
        MessageSystemAttributes: { AWSTraceHeader: { DataType: "String", StringValue: trace } }
      }),
      ...(message.group !== undefined && { MessageGroupId: message.group }),
      ...(source.fifo && { MessageDeduplicationId: message.id })
    }
  }
}
