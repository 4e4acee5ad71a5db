/**
 * Calls over HTTP, without the AWS SDK between: one request to the route that the SDK has found, signed with the
 * credentials that the SDK has found (and renews), and its answer. Each is sent once; retrying is the caller's. The
 * SDK's own way through its middleware costs some 50 µs CPU more for each message that is received and deleted in tens.
 */
import type { SQSClient } from "@aws-sdk/client-sqs"
import { type Answer, refusalOf, unreadable } from "../client/answer.js"
import { AnswerTimes } from "../client/answerTimes.js"
import type { Outgoing, Transport } from "../client/calls.js"
import type { Input, Operation } from "../client/operations.js"
import type { ServerClock } from "../client/serverClock.js"
import { Abort, type Handler } from "./http.js"
import * as Json from "./json.js"
import type { Route } from "./route.js"
import * as Signature from "./signature.js"

/** What SQS states when it refuses a call, of the form of the SDK's errors. */
class Refusal extends Error {
  override readonly name: string
  readonly $fault: "client" | "server"
  readonly $metadata: { readonly httpStatusCode: number; readonly requestId: string | undefined }

  constructor(name: string, answer: Answer) {
    super(said(answer))
    this.name = name.slice(name.lastIndexOf("#") + 1)
    this.$fault = answer.statusCode < 500 ? "client" : "server"
    this.$metadata = metadataOf(answer)
  }
}

/** As the SDK's outputs and errors have it. */
const metadataOf = ({ headers, statusCode }: Answer) => {
  const requestId = headers["x-amzn-requestid"]
  return { httpStatusCode: statusCode, requestId: typeof requestId === "string" ? requestId : undefined }
}

const said = ({ body }: Answer): string => {
  try {
    const { Message, message } = Json.decode(body.toString())
    return typeof message === "string" ? message : typeof Message === "string" ? Message : ""
  } catch {
    return ""
  }
}

/** One call, from the first look at its route to its answer. */
class WireCall extends Abort implements Outgoing {
  readonly #handler: Handler
  corrected = false

  constructor(handler: Handler) {
    super()
    this.#handler = handler
  }

  expire(): void {
    this.abort()
    this.#handler.dropIdle()
  }

  clockCorrected(): boolean {
    return this.corrected
  }
}

export interface Settings {
  /** Only its credentials are used, as it finds and renews them. */
  readonly client: SQSClient
  readonly route: () => Promise<Route>
  readonly handler: Handler
  readonly clock: ServerClock
  /** This computer's clock, in milliseconds since the epoch. */
  readonly now: () => number
}

export const make = ({ client, clock, handler, now, route }: Settings): Transport => {
  const sign = Signature.make()
  const times = new AnswerTimes()

  const answerOf = async (operation: Operation, input: Input, call: WireCall, onSent: () => void): Promise<unknown> => {
    const body = Json.encode(input)
    const { hostname, path, port, protocol, region, userAgent } = await route()
    const credentials = await client.config.credentials()
    const headers: Record<string, string> = {
      "content-type": "application/x-amz-json-1.0",
      "content-length": String(Buffer.byteLength(body)),
      host: port === undefined ? hostname : `${hostname}:${port}`,
      "user-agent": userAgent,
      "x-amz-target": `AmazonSQS.${operation}`,
      "x-amzn-query-mode": "true"
    }
    const signedAt = clock.now()
    sign({ headers, body, path }, credentials, region, signedAt)
    onSent()
    const sentAt = now()
    let seenAt = sentAt
    const onHead = () => {
      seenAt = now()
    }
    const { response } = await handler.handle(
      { protocol, hostname, port, path, headers, body },
      { abortSignal: call, onHead }
    )
    const givenAt = times.givenAt(response.headers.date, sentAt, seenAt)
    const problem = unreadable(response)
    if (problem !== undefined) throw problem
    if (response.statusCode < 300) {
      const output = Object.assign(Json.decode(response.body.toString()), { $metadata: metadataOf(response) })
      return operation === "ReceiveMessage" ? Object.assign(output, { LeasedAt: givenAt }) : output
    }
    call.corrected = clock.learn(response, signedAt)
    throw new Refusal(refusalOf(response) ?? "", response)
  }

  return {
    send: (operation, input, onSent) => {
      const call = new WireCall(handler)
      return { answer: answerOf(operation, input, call, onSent), call }
    },
    checksBodies: true
  }
}
