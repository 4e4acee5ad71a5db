/**
 * The emulator's door for any AWS SDK: an HTTP server that speaks AWS JSON 1.0 over the same queues as the handle and
 * the in-process `SqsClient`. Signatures are not checked; any credentials will do.
 *
 * @example
 * const emulator = SqsHttp.layer({ port: 0 }).pipe(Layer.provideMerge(SqsEmulator.layer({ queues: { orders: {} } })))
 */

import { createServer, type IncomingMessage, type ServerResponse } from "node:http"
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import * as Context from "effect/Context"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as FiberId from "effect/FiberId"
import * as FiberSet from "effect/FiberSet"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import type { Api } from "../internal/emulator/Calls.js"
import * as Wire from "../internal/emulator/Wire.js"
import type { SqsError } from "../SqsError.js"
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
 * begin with the host by which the client called; requests find their queue by the last segment of the URL.
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
    const { port = 9324, host = "127.0.0.1" } = options
    if (!(Number.isInteger(port) && port >= 0 && port <= 65_535)) {
      return yield* new InvalidEmulatorOptions({ message: `port must be from 0 (a free one) to 65535, not ${port}.` })
    }
    const { client } = yield* SqsEmulator
    const node = createServer({ keepAliveTimeout: 60_000 })
    const server = yield* Effect.mapError(
      NodeHttpServer.make(() => node, { port, host }),
      ({ cause }) => cannotListen(host, port, cause)
    )
    // Long polls would hold up the server's end by their 20 seconds.
    yield* Effect.addFinalizer(() => Effect.sync(() => node.closeAllConnections()))
    const runFork = yield* FiberSet.makeRuntime<never, Answer>()
    node.on(
      "request",
      listener(client, (answer) => runFork(Effect.tapDefect(answer, Effect.logError)))
    )
    const address = server.address
    const listening = address._tag === "TcpAddress" ? address.port : port
    return {
      host,
      port: listening,
      endpoint: `http://${host.includes(":") ? `[${host}]` : host}:${listening}`
    }
  })

const cannotListen = (host: string, port: number, cause: unknown): PortInUse | CannotListen => {
  const code = cause instanceof Error && "code" in cause ? cause.code : undefined
  return code === "EADDRINUSE"
    ? new PortInUse({
        host,
        port,
        message: `Port ${port} of ${host} is in use. Stop what listens there, or take another port (0 picks a free one).`
      })
    : new CannotListen({
        host,
        port,
        cause,
        message: `Cannot listen on port ${port} of ${host} (${code}). Take an address of this machine, such as 127.0.0.1, and a port above 1023.`
      })
}

const contentType = "application/x-amz-json-1.0"

interface Answer {
  readonly status: number
  readonly body: string
  readonly query?: string
}

const failed = (status: number, type: string, query: string, message: string): Answer => ({
  status,
  body: JSON.stringify({ __type: type, message }),
  query: `${query};${status >= 500 ? "Receiver" : "Sender"}`
})

const succeededWith = (value: unknown): Answer => ({ status: 200, body: JSON.stringify(value) })

const failedWith = (error: SqsError): Answer => {
  const { status, type, query } = Wire.failure(error)
  return failed(status, `com.amazonaws.sqs#${type}`, query, error.message)
}

const header = (request: IncomingMessage, name: string): string | undefined => {
  const value = request.headers[name]
  return typeof value === "string" ? value : undefined
}

const answer = (api: Api, request: IncomingMessage, body: string): Effect.Effect<Answer> => {
  try {
    const result = Wire.handle(api, header(request, "x-amz-target"), body, {
      host: request.headers.host,
      trace: header(request, "x-amzn-trace-id")
    })
    return Effect.match(result, { onSuccess: succeededWith, onFailure: failedWith })
  } catch (unreadable) {
    if (!(unreadable instanceof Wire.Unreadable)) return Effect.die(unreadable)
    const type = `com.amazon.coral.service#${unreadable.type}`
    return Effect.succeed(failed(400, type, unreadable.type, unreadable.message))
  }
}

const reply = (response: ServerResponse, { status, body, query }: Answer): void => {
  const length = Buffer.byteLength(body)
  response.writeHead(
    status,
    query === undefined
      ? { "content-type": contentType, "content-length": length }
      : { "content-type": contentType, "content-length": length, "x-amzn-query-error": query }
  )
  // As a string, which Node sends in one piece with the head.
  response.end(body)
}

/** 1 MiB of messages, with room for JSON's escapes of every character. */
const longestBody = 8 * 1_048_576
const tooLong = failed(413, "RequestEntityTooLarge", "RequestEntityTooLarge", "The request is too large.")
const broken = failed(500, "InternalFailure", "InternalFailure", "The emulator failed; its log says how.")

/**
 * Node's own request event, and a fiber a request. An `HttpApp` does the same for twice as much above a bare server
 * (measured, µs of CPU a call: a no-op server 92, one that answers from a fiber 135, one through an `HttpApp` without
 * tracer and logger 180 to 200), and an emulator should not be what a benchmark measures.
 */
const listener =
  (api: Api, runFork: (answer: Effect.Effect<Answer>) => Fiber.RuntimeFiber<Answer>) =>
  (request: IncomingMessage, response: ServerResponse): void => {
    const chunks: Array<Buffer> = []
    let length = 0
    request.on("data", (chunk: Buffer) => {
      length += chunk.length
      if (length <= longestBody) chunks.push(chunk)
    })
    request.on("end", () => {
      if (length > longestBody) return reply(response, tooLong)
      const [first] = chunks
      const body = first !== undefined && chunks.length === 1 ? first : Buffer.concat(chunks)
      const fiber = runFork(answer(api, request, body.toString()))
      fiber.addObserver((exit) => {
        if (response.destroyed) return
        if (Exit.isSuccess(exit)) reply(response, exit.value)
        else if (Exit.isInterrupted(exit)) response.destroy()
        else reply(response, broken)
      })
      // A client that goes away ends its long poll.
      response.on("close", () => {
        if (!response.writableEnded) fiber.unsafeInterruptAsFork(FiberId.none)
      })
    })
  }
