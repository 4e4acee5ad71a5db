/** A server that speaks as much of S3 as an object store needs: PUT, GET and DELETE of an object, by path. */
import * as Http from "node:http"
import { Deferred, Effect, FiberId } from "effect"

export interface Request {
  readonly method: string
  /** `/bucket/key` */
  readonly path: string
  readonly headers: Http.IncomingHttpHeaders
}

/** An error as S3 sends it. */
export interface Refusal {
  readonly status: number
  readonly code: string
}

const xml = (code: string) =>
  `<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>${code}</Code><Message>${code} it is</Message></Error>`

const read = async (request: Http.IncomingMessage) => {
  const chunks: Array<Buffer> = []
  for await (const chunk of request) chunks.push(chunk)
  return Buffer.concat(chunks)
}

/** Listens on a free port of the loopback until the scope closes. `refusals` happen to the next requests. */
export const make = Effect.acquireRelease(
  Effect.async<{
    readonly url: string
    readonly objects: Map<string, Buffer>
    readonly requests: Array<Request>
    readonly refusals: Array<Refusal | "hang up" | "no answer" | "stall" | undefined>
    /** Completes when a client has closed its connection before the end of an answer. */
    readonly aborted: Effect.Effect<void>
    readonly server: Http.Server
  }>((resume) => {
    const objects = new Map<string, Buffer>()
    const requests: Array<Request> = []
    const refusals: Array<Refusal | "hang up" | "no answer" | "stall" | undefined> = []
    const aborted = Deferred.unsafeMake<void>(FiberId.none)
    const server = Http.createServer(async (request, response) => {
      const body = await read(request)
      const path = decodeURIComponent(new URL(request.url ?? "/", "http://s3").pathname)
      requests.push({ method: request.method ?? "", path, headers: request.headers })
      const refusal = refusals.shift()
      response.on("close", () => {
        if (!response.writableFinished) Deferred.unsafeDone(aborted, Effect.void)
      })
      if (refusal === "no answer") return
      if (refusal === "stall") {
        response.writeHead(200, { "content-length": "1000" })
        response.write("half of it")
        return
      }
      if (refusal === "hang up") return request.socket.destroy()
      const refuse = ({ code, status }: Refusal) => {
        response.writeHead(status, { "content-type": "application/xml" })
        response.end(xml(code))
      }
      if (refusal !== undefined) return refuse(refusal)
      const object = objects.get(path)
      if (request.method === "PUT") objects.set(path, body)
      else if (request.method === "DELETE") objects.delete(path)
      else if (object === undefined) return refuse({ status: 404, code: "NoSuchKey" })
      response.writeHead(request.method === "DELETE" ? 204 : 200, { etag: '"1"' })
      response.end(request.method === "GET" ? object : undefined)
    })
    server.listen(0, "127.0.0.1", () => {
      const address = server.address()
      const port = typeof address === "object" && address !== null ? address.port : 0
      resume(
        Effect.succeed({
          url: `http://127.0.0.1:${port}`,
          objects,
          requests,
          refusals,
          aborted: Deferred.await(aborted),
          server
        })
      )
    })
  }),
  ({ server }) =>
    Effect.async<void>((resume) => {
      server.closeAllConnections()
      server.close(() => resume(Effect.void))
    })
)
