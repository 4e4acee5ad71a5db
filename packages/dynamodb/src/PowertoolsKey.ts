/**
 * The keys that Powertools for AWS Lambda gives to payloads, so that a consumer and a Lambda mean the same by one.
 *
 * Source: the Powertools documentation, "Idempotency", and its records: `<prefix>#<MD5 of the sorted payload, base64>`.
 */
import { createHash } from "node:crypto"

/**
 * The key of a payload: what the Lambda's `eventKeyJmesPath` selects (or its whole event). `prefix` is the Lambda's
 * `keyPrefix`, or by default the function's name, with the name of the decorated function behind a dot where it has one.
 *
 * @example
 * Idempotency.by((order) => PowertoolsKey.of("orders-function", order.id))
 */
export const of = (prefix: string, payload: unknown): string =>
  `${prefix}#${createHash("md5")
    .update(JSON.stringify(sorted(payload)))
    .digest("base64")}`

/** Names in order, without regard to case. */
const sorted = (value: unknown): unknown => {
  if (Array.isArray(value)) return value.map(sorted)
  if (typeof value !== "object" || value === null) return value
  return Object.fromEntries(
    Object.entries(value)
      .sort(([a], [b]) => (a.toLowerCase() < b.toLowerCase() ? -1 : 1))
      .map(([name, each]) => [name, sorted(each)])
  )
}
