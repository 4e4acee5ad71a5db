/**
 * Whose answer an HTTP response is: SQS's, or that of something on the way (a proxy, a login page, a gateway), or one
 * that is not whole. Only what SQS itself has stated is a refusal; of all else nobody knows whether the call took effect.
 */
import { field, text } from "./field.js"

export interface Answer {
  readonly statusCode: number
  readonly headers: Readonly<Record<string, string | ReadonlyArray<string> | undefined>>
  readonly body: string | Uint8Array
}

/** The answer is not one of SQS's. */
export class Unreadable extends Error {
  override readonly name = "Unreadable"
  readonly status: number

  constructor(message: string, status: number) {
    super(message)
    this.status = status
  }
}

const header = ({ headers }: Answer, name: string): string | undefined => text(headers[name])

const typeOf = ({ body }: Answer): string | undefined => {
  try {
    return text(field(JSON.parse(typeof body === "string" ? body : Buffer.from(body).toString()), "__type"))
  } catch {
    return undefined
  }
}

/**
 * What SQS calls its refusal; `undefined` where the answer is none that SQS has stated.
 *
 * @see https://smithy.io/2.0/aws/protocols/aws-json-1_0-protocol.html#operation-error-serialization
 */
export const refusalOf = (answer: Answer): string | undefined =>
  header(answer, "x-amzn-query-error")?.split(";", 1)[0] ??
  header(answer, "x-amzn-errortype")?.split(":", 1)[0] ??
  typeOf(answer)

const isObject = (body: Answer["body"]): boolean => {
  for (let i = 0; i < body.length; i++) {
    const code = typeof body === "string" ? body.charCodeAt(i) : (body[i] ?? 0)
    if (code === 0x20 || (code >= 0x09 && code <= 0x0d)) continue
    return code === 0x7b
  }
  // Operations that answer nothing may answer so.
  return true
}

/** What is wrong with an answer that SQS cannot have given; the parser finds what is cut off within. */
export const unreadable = (answer: Answer): Unreadable | undefined => {
  const { statusCode } = answer
  if (statusCode >= 200 && statusCode < 300 ? isObject(answer.body) : refusalOf(answer) !== undefined) return undefined
  const type = header(answer, "content-type")?.split(";", 1)[0]
  return new Unreadable(
    `the answer (status ${statusCode}${type === undefined ? "" : `, ${type}`}) is not one of SQS's`,
    statusCode
  )
}
