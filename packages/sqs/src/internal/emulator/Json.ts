/**
 * AWS JSON 1.0, the protocol of AWS's SDKs since November 2023: the operation's name in a header, JSON in and out.
 *
 * @see https://smithy.io/2.0/aws/protocols/aws-json-1_0-protocol.html
 */
import { before, type Failure } from "./Failure.js"
import { isOperation, Unreadable } from "./Operations.js"
import type { Answer, Call, Request } from "./Protocol.js"

const contentType = "application/x-amz-json-1.0"
const prefix = "AmazonSQS."

/** Whether a request is of this protocol. */
export const speaks = ({ contentType, target }: Request): boolean =>
  target !== undefined || contentType?.includes("json") === true

/** Throws `Unreadable`. */
export const read = ({ body, target }: Request): Call => {
  if (target === undefined) throw new Unreadable(before.unknownOperation, "There is no x-amz-target header.")
  const operation = target.startsWith(prefix) ? target.slice(prefix.length) : target
  if (!isOperation(operation)) throw new Unreadable(before.unknownOperation, `SQS has no operation ${operation}.`)
  try {
    return { operation, input: JSON.parse(body === "" ? "{}" : body) }
  } catch {
    throw new Unreadable(before.malformed, "The request's body is not JSON.")
  }
}

export const succeeded = (value: unknown): Answer => ({ status: 200, contentType, body: JSON.stringify(value ?? {}) })

export const failed = ({ query, status, type }: Failure, message: string): Answer => ({
  status,
  contentType,
  body: JSON.stringify({ __type: type, message }),
  queryError: `${query};${status >= 500 ? "Receiver" : "Sender"}`
})
