/**
 * The emulator's door for any AWS SDK: an HTTP server that speaks AWS JSON 1.0, and the Query protocol of older SDKs,
 * over the same queues as the handle and the in-process `SqsClient`. Signatures are not checked; any credentials will do.
 * `GET /health` answers as long as it serves.
 *
 * @example
 * const emulator = SqsHttp.layer({ port: 0 }).pipe(Layer.provideMerge(SqsEmulator.layer({ queues: { orders: {} } })))
 */

import { isUtf8 } from "node:buffer"
import { createServer, type IncomingMessage, type ServerResponse } from "node:http"
import type { Duplex } from "node:stream"
import * as InvalidOptions from "@millrace/core/InvalidOptions"
import * as Context from "effect/Context"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Random from "effect/Random"
import type * as Scope from "effect/Scope"
import { type Forked, interrupt, onEnd, scopedFork } from "../internal/effect/fork.js"
import type { Api } from "../internal/emulator/Calls.js"
import * as Door from "../internal/emulator/Door.js"
import { before, type Failure } from "../internal/emulator/Failure.js"
import * as Hosts from "../internal/emulator/Hosts.js"
import { listen } from "../internal/emulator/Listen.js"
import type { Answer } from "../internal/emulator/Protocol.js"
import { InvalidEmulatorOptions, SqsEmulator } from "./SqsEmulator.js"

/** Another program listens on the port. */
export class PortInUse extends Data.TaggedError("PortInUse")<{
  readonly host: string
  readonly port: number
  readonly message: string
}> {}

/** The server cannot listen there: the host is not this machine's, or the port needs rights. */
export class CannotListen extends Data.TaggedError("CannotListen")<{
  readonly host: string
  readonly port: number
  readonly message: string
  readonly cause: unknown
}> {}

export interface Options {
  /** 0 picks a free one. Default: 9324. */
  readonly port?: number | undefined
  /** Default: `127.0.0.1`, so that only this machine reaches it. */
  readonly host?: string | undefined
  /**
   * Names in a request's `Host` that are welcome beside addresses, names without a dot, and names under `.localhost`,
   * `.local`, `.internal` and `.test`. All others are refused with 403: a page on the web whose name points to this
   * machine could read and write the queues otherwise. Default: none.
   */
  readonly allowedHosts?: ReadonlyArray<string> | undefined
  /** At once; further ones are closed. Default: 800. */
  readonly maxConnections?: number | undefined
}

export interface Service {
  readonly host: string
  readonly port: number
  /** What an SDK takes as its endpoint, e.g. `http://127.0.0.1:9324`. */
  readonly endpoint: string
}

export class SqsHttp extends Context.Tag("@millrace/sqs/emulator/SqsHttp")<SqsHttp, Service>() {}

/**
 * Serves the emulator over HTTP until the layer's scope closes, which ends open requests. Queue URLs in its answers
 * begin with the host by which the client called; requests find their queue by the account and the name in the URL.
 */
export const layer = (
  options: Options = {}
): Layer.Layer<SqsHttp, PortInUse | CannotListen | InvalidEmulatorOptions, SqsEmulator> =>
  Layer.scoped(SqsHttp, make(options))

/** As `layer`, until the scope closes. */
export const make = (
  options: Options = {}
): Effect.Effect<Service, PortInUse | CannotListen | InvalidEmulatorOptions, SqsEmulator | Scope.Scope> =>
  Effect.gen(function* () {
    yield* Effect.mapError(
      InvalidOptions.check("SqsHttp", options, checks),
      ({ message }) => new InvalidEmulatorOptions({ message })
    )
    const { port = 9324, host = "127.0.0.1", allowedHosts = [], maxConnections = 800 } = options
    const { client } = yield* SqsEmulator
    const node = createServer(settings)
    node.maxConnections = maxConnections
    // Room is made where connections only wait for their client's next request.
    node.on("drop", () => node.closeIdleConnections())
    const listening = yield* Effect.mapError(listen(node, { port, host }), (cause) => cannotListen(host, port, cause))
    const fork = yield* scopedFork
    const draw = Random.nextIntBetween(0, 2 ** 32)
    const requestId = Door.requestIds([yield* draw, yield* draw])
    node.on(
      "request",
      listener({
        api: client,
        problemOf: Hosts.guard(new Set([host, ...allowedHosts].map((name) => name.toLowerCase()))),
        requestId,
        fork: (answer) => fork(Effect.tapDefect(answer, Effect.logError))
      })
    )
    node.on("clientError", ({ code }: NodeJS.ErrnoException, socket) => refuseUnread(code, socket, requestId()))
    return {
      host,
      port: listening,
      endpoint: `http://${host.includes(":") ? `[${host}]` : host}:${listening}`
    }
  })

const checks: InvalidOptions.Checks<Options> = {
  port: { ...InvalidOptions.aWholeNumber({ min: 0, max: 65_535 }), write: "a port from 0 (a free one) to 65535" },
  host: InvalidOptions.text,
  allowedHosts: InvalidOptions.list(InvalidOptions.text),
  maxConnections: InvalidOptions.aWholeNumber({ min: 1 })
}

const cannotListen = (host: string, port: number, cause: NodeJS.ErrnoException): PortInUse | CannotListen =>
  cause.code === "EADDRINUSE"
    ? new PortInUse({
        host,
        port,
        message: `Port ${port} of ${host} is in use. Stop what listens there, or take another port (0 picks a free one).`
      })
    : new CannotListen({
        host,
        port,
        cause,
        message: `Cannot listen on port ${port} of ${host} (${cause.code}). Take an address of this machine, such as 127.0.0.1, and a port above 1023.`
      })

/** Milliseconds for a request's headers, for all of it, and for the next one on the same connection. */
const settings = {
  // Without a Host it is refused here, with an id as every answer has.
  requireHostHeader: false,
  headersTimeout: 3_000,
  requestTimeout: 10_000,
  keepAliveTimeout: 60_000,
  connectionsCheckingInterval: 1_000
}

/** 1 MiB of messages, with room for JSON's escapes, or a form's, of every character. */
const longestBody = 8 * 1_048_576

const healthy: Answer = { status: 200, contentType: "application/json", body: '{"status":"ok"}' }

const isHealthCheck = (method: string, path: string): boolean =>
  (method === "GET" || method === "HEAD") && /^\/health(\?|$)/.test(path)

/** Path and query of a request's target, which a proxy's client writes as a whole URL. */
const pathOf = (target: string): string | undefined => {
  if (target.startsWith("/")) return target
  try {
    const { pathname, protocol, search } = new URL(target)
    return protocol === "http:" ? pathname + search : undefined
  } catch {
    return undefined
  }
}

const reply = (
  response: ServerResponse,
  { body, contentType, queryError, status }: Answer,
  requestId: string
): void => {
  const headers: Record<string, string | number> = {
    "content-type": contentType,
    "content-length": Buffer.byteLength(body),
    "x-amzn-RequestId": requestId
  }
  if (queryError !== undefined) headers["x-amzn-query-error"] = queryError
  response.writeHead(status, headers)
  // As a string, which Node sends in one piece with the head.
  response.end(body)
}

/** What Node could not read has no response yet: the answer is written by hand. */
const refuseUnread = (code: string | undefined, socket: Duplex, requestId: string): void => {
  if (!socket.writable || code === "ECONNRESET") return void socket.destroy()
  const [status, body] =
    code === "HPE_HEADER_OVERFLOW"
      ? ["431 Request Header Fields Too Large", "The request's headers are too long."]
      : code === "ERR_HTTP_REQUEST_TIMEOUT"
        ? ["408 Request Timeout", "The request took too long to arrive."]
        : ["400 Bad Request", "The request is not HTTP."]
  const head = [
    "content-type: text/plain; charset=utf-8",
    `content-length: ${body.length}`,
    `x-amzn-RequestId: ${requestId}`
  ]
  socket.end([`HTTP/1.1 ${status}`, ...head, "connection: close", "", body].join("\r\n"))
}

const header = (request: IncomingMessage, name: string): string | undefined => {
  const value = request.headers[name]
  return typeof value === "string" ? value : undefined
}

interface Listening {
  readonly api: Api
  /** Why it does not answer to a request at all. */
  readonly problemOf: (headers: IncomingMessage["headers"]) => string | undefined
  readonly requestId: () => string
  readonly fork: (answer: Effect.Effect<Answer>) => Forked<Answer>
}

/**
 * Node's own request event, and a fiber a request. An `HttpApp` does the same for twice as much above a bare server
 * (measured, µs of CPU a call: a no-op server 92, one that answers from a fiber 135, one through an `HttpApp` without
 * tracer and logger 180 to 200), and an emulator should not be what a benchmark measures.
 */
const listener =
  ({ api, fork, problemOf, requestId }: Listening) =>
  (request: IncomingMessage, response: ServerResponse): void => {
    const id = requestId()
    const chunks: Array<Buffer> = []
    let length = 0
    request.on("data", (chunk: Buffer) => {
      length += chunk.length
      if (length <= longestBody) chunks.push(chunk)
    })
    request.on("end", () => {
      const [first] = chunks
      const body = first !== undefined && chunks.length === 1 ? first : Buffer.concat(chunks)
      const asked = {
        method: request.method ?? "",
        path: pathOf(request.url ?? "") ?? "",
        target: header(request, "x-amz-target"),
        contentType: header(request, "content-type"),
        accept: header(request, "accept"),
        body: body.toString()
      }
      const refuse = (failure: Failure, message: string) =>
        reply(response, Door.refused(asked, failure, message, id), id)
      const problem = problemOf(request.headers)
      if (problem !== undefined) return refuse(before.forbidden, problem)
      if (asked.path === "" || request.headers.host === undefined) {
        return refuse(before.malformed, "The request has no path, or no Host.")
      }
      if (length > longestBody) return refuse(before.tooLong, "The request is longer than 8 MiB.")
      if (!isUtf8(body)) return refuse(before.malformed, "The request's body is not text in UTF-8.")
      if (isHealthCheck(asked.method, asked.path)) return reply(response, healthy, id)
      const context = { host: request.headers.host, trace: header(request, "x-amzn-trace-id") }
      const fiber = fork(Door.answer(api, asked, context, id))
      onEnd(fiber, (exit) => {
        if (response.destroyed) return
        if (Exit.isSuccess(exit)) reply(response, exit.value, id)
        else if (Exit.isInterrupted(exit)) response.destroy()
        else refuse(before.broken, "The emulator failed; its log says how.")
      })
      // A client that goes away ends its long poll.
      response.on("close", () => {
        if (!response.writableEnded) interrupt(fiber)
      })
    })
  }
