/** An HTTP proxy by the environment, as the AWS CLI has it. */
import * as Http from "node:http"
import { assert, it } from "@effect/vitest"
import { Effect } from "effect"
import { SqsClient } from "../src/index.js"
import * as Environment from "./support/Environment.js"
import * as FakeServer from "./support/FakeServer.js"

const names = [
  "HTTPS_PROXY",
  "https_proxy",
  "HTTP_PROXY",
  "http_proxy",
  "ALL_PROXY",
  "all_proxy",
  "NO_PROXY",
  "no_proxy"
]

/** The environment for the scope, with no other proxy in it. */
const environment = (values: Readonly<Record<string, string>>) =>
  Environment.set({ ...Object.fromEntries(names.map((name) => [name, undefined])), ...values })

/** A proxy that answers in the place of what it is asked for, refuses tunnels, and notes both. */
const proxy = Effect.acquireRelease(
  Effect.async<{ readonly url: string; readonly seen: Array<string>; readonly server: Http.Server }>((resume) => {
    const seen: Array<string> = []
    const server = Http.createServer((request, response) => {
      seen.push(`${request.method} ${request.url}`)
      request.resume()
      response.writeHead(200, { "content-type": "application/x-amz-json-1.0" })
      response.end('{"QueueUrl":"http://queue.example/000000000000/orders"}')
    })
    server.on("connect", (request, socket) => {
      seen.push(`CONNECT ${request.url}`)
      socket.end("HTTP/1.1 403 Forbidden\r\n\r\n")
    })
    server.listen(0, "127.0.0.1", () => {
      const address = server.address()
      const port = typeof address === "object" && address !== null ? address.port : 0
      resume(Effect.succeed({ url: `http://127.0.0.1:${port}`, seen, server }))
    })
  }),
  ({ server }) =>
    Effect.async<void>((resume) => {
      server.closeAllConnections()
      server.close(() => resume(Effect.void))
    })
)

const ask = (endpoint: string) =>
  Effect.flatMap(SqsClient.SqsClient, (sqs) => Effect.either(sqs.getQueueUrl({ QueueName: "orders" }))).pipe(
    Effect.provide(FakeServer.layer(endpoint))
  )

it.scopedLive(
  "calls over HTTP go by HTTP_PROXY, those over TLS by a tunnel of HTTPS_PROXY, in either case of letters",
  () =>
    Effect.gen(function* () {
      const { seen, url } = yield* proxy
      yield* environment({ HTTP_PROXY: url, https_proxy: url })
      assert.strictEqual((yield* ask("http://sqs.example:8080"))._tag, "Right")
      const refused = yield* ask("https://sqs.example")
      assert.strictEqual(refused._tag === "Left" && refused.left._tag, "TransportError")
      assert.deepStrictEqual(seen, ["POST http://sqs.example:8080/", "CONNECT sqs.example:443"])
    })
)

it.scopedLive("NO_PROXY's hosts are called directly, this machine's own too only where it names them", () =>
  Effect.gen(function* () {
    const { seen, url } = yield* proxy
    const server = yield* FakeServer.make(() => ({ body: { QueueUrl: "http://queue.example/000000000000/orders" } }))
    const own = { HTTP_PROXY: url, HTTPS_PROXY: url }
    yield* environment({ ...own, NO_PROXY: "example.com,127.0.0.1,.invalid" })
    assert.strictEqual((yield* ask(server.url))._tag, "Right")
    assert.strictEqual((yield* ask("http://sqs.invalid"))._tag, "Left")
    assert.deepStrictEqual(seen, [])
    yield* environment(own)
    assert.strictEqual((yield* ask(server.url))._tag, "Right")
    assert.deepStrictEqual(seen, [`POST ${server.url}/`])
  })
)
