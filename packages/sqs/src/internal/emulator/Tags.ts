/**
 * A queue's tags and what SQS refuses among them.
 *
 * @see https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-queues.html
 */
import { invalid, missing } from "./Refusal.js"

const most = 50
const longestKey = 128
const longestValue = 256
const allowed = /^[\p{L}\p{M}\p{N}\s_.:/=+\-@]*$/u

const lengthOf = (text: string): number => [...text].length

const check = (kind: "key" | "value", text: string, shortest: number, longest: number): void => {
  const length = lengthOf(text)
  if (length < shortest || length > longest) {
    throw invalid(`Tag ${kind}s must be between ${shortest} and ${longest} characters in length.`)
  }
  if (/^aws:/i.test(text)) throw invalid(`Tag ${kind}s must not begin with the reserved prefix aws:, as ${text} does.`)
  if (!allowed.test(text)) {
    throw invalid(`Tag ${kind}s can only include letters, digits, whitespace and _ . : / = + - @, unlike ${text}.`)
  }
}

/** All or none of `tags` are added. */
export const add = (
  present: Map<string, string>,
  tags: Readonly<Record<string, string>> | undefined,
  queue: string
): void => {
  const added = Object.entries(tags ?? {})
  for (const [key, value] of added) {
    check("key", key, 1, longestKey)
    check("value", value, 0, longestValue)
  }
  if (new Set([...present.keys(), ...added.map(([key]) => key)]).size > most) {
    throw invalid(`Too many tags added for queue ${queue}.`)
  }
  for (const [key, value] of added) present.set(key, value)
}

/** As `add`, where there must be some to add. */
export const put = (...args: Parameters<typeof add>): void => {
  if (Object.keys(args[1] ?? {}).length === 0) throw missing("Tags")
  add(...args)
}

export const remove = (present: Map<string, string>, keys: ReadonlyArray<string> | undefined): void => {
  if (keys === undefined || keys.length === 0)
    throw invalid(`Tag keys must be between 1 and ${longestKey} characters in length.`)
  for (const key of keys) check("key", key, 1, longestKey)
  for (const key of keys) present.delete(key)
}
