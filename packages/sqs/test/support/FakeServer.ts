/** A server that answers SQS calls as a test says, to look at what goes over the wire and to answer what SQS seldom does. */
import type { IncomingMessage, ServerResponse } from "node:http"
import * as Http from "node:http"
import { Effect, Redacted } from "effect"
import { SqsClient } from "../../src/index.js"

export interface Call {
  readonly operation: string
  // biome-ignore lint/suspicious/noExplicitAny: a test reads of it what it likes
  readonly body: any
  readonly headers: IncomingMessage["headers"]
  readonly request: IncomingMessage
  readonly response: ServerResponse
}

export interface Answer {
  readonly status?: number
  readonly headers?: Record<string, string>
  readonly body?: unknown
}

/** `undefined` leaves the call without an answer. */
export type Handler = (call: Call) => Answer | undefined

const read = async (request: IncomingMessage) => {
  const chunks: Array<Buffer> = []
  for await (const chunk of request) chunks.push(chunk)
  return JSON.parse(Buffer.concat(chunks).toString("utf8") || "{}")
}

/** Listens on a free port of the loopback until the scope closes. */
export const make = (handler: Handler) =>
  Effect.acquireRelease(
    Effect.async<{ readonly url: string; readonly server: Http.Server; readonly calls: Array<Call> }>((resume) => {
      const calls: Array<Call> = []
      const server = Http.createServer(async (request, response) => {
        const call = {
          operation: String(request.headers["x-amz-target"]).replace("AmazonSQS.", ""),
          body: await read(request),
          headers: request.headers,
          request,
          response
        }
        calls.push(call)
        const answer = handler(call)
        if (answer === undefined) return
        response.writeHead(answer.status ?? 200, { "content-type": "application/x-amz-json-1.0", ...answer.headers })
        response.end(typeof answer.body === "string" ? answer.body : JSON.stringify(answer.body ?? {}))
      })
      server.listen(0, "127.0.0.1", () => {
        const address = server.address()
        const port = typeof address === "object" && address !== null ? address.port : 0
        resume(Effect.succeed({ url: `http://127.0.0.1:${port}`, server, calls }))
      })
    }),
    ({ server }) =>
      Effect.async<void>((resume) => {
        server.closeAllConnections()
        server.close(() => resume(Effect.void))
      })
  )

/** An error as SQS sends it: with the query header that old clients want, or without. */
export const refusal = (status: number, type: string, message: string, queryError?: string): Answer => ({
  status,
  headers: queryError === undefined ? {} : { "x-amzn-query-error": `${queryError};Sender` },
  body: { __type: `com.amazonaws.sqs#${type}`, message }
})

export const options = (endpoint: string): SqsClient.Options => ({
  region: "us-east-1",
  endpoint,
  credentials: { accessKeyId: "test", secretAccessKey: Redacted.make("test") }
})

export const layer = (endpoint: string) => SqsClient.layer(options(endpoint))
