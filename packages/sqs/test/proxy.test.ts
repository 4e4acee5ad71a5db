/** An HTTP proxy by the environment, as the AWS CLI has it. */
import * as Http from "node:http"
import * as Net from "node:net"
import { assert, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
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
      const { "proxy-authorization": authorization } = request.headers
      seen.push(`CONNECT ${request.url}${authorization === undefined ? "" : ` ${authorization}`}`)
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

it.scopedLive("a proxy that closes without an answer fails the call, and is not asked again for it", () =>
  Effect.gen(function* () {
    let connections = 0
    const server = yield* Effect.acquireRelease(
      Effect.async<Net.Server>((resume) => {
        const server = Net.createServer((socket) => {
          connections++
          socket.on("error", () => {})
          socket.once("data", () => socket.end())
        })
        server.listen(0, "127.0.0.1", () => resume(Effect.succeed(server)))
      }),
      (server) => Effect.async<void>((resume) => void server.close(() => resume(Effect.void)))
    )
    const address = server.address()
    const port = typeof address === "object" && address !== null ? address.port : 0
    yield* environment({ HTTPS_PROXY: `http://127.0.0.1:${port}` })
    const answer = yield* ask("https://sqs.example")
    assert.match(
      answer._tag === "Left" ? answer.left.message : "",
      /the proxy has closed the connection \(ECONNRESET\)\. The connection was closed before the answer\./
    )
    assert.strictEqual(connections, 1)
  })
)

it.scopedLive("a user of a proxy is told to it without a password too, as a token is", () =>
  Effect.gen(function* () {
    const { seen, url } = yield* proxy
    const basic = (user: string) => `Basic ${Buffer.from(user).toString("base64")}`
    for (const user of ["to%2Fken", "me:secret"]) {
      yield* environment({ HTTPS_PROXY: url.replace("//", `//${user}@`) })
      assert.strictEqual((yield* ask("https://sqs.example"))._tag, "Left")
    }
    assert.deepStrictEqual(
      seen,
      ["to/ken:", "me:secret"].map((user) => `CONNECT sqs.example:443 ${basic(user)}`)
    )
  })
)

it.scopedLive("a proxy that cannot be is refused when the layer is made, where calls would go by it", () =>
  Effect.gen(function* () {
    const made = (endpoint: string) => Effect.either(Effect.scoped(Layer.build(FakeServer.layer(endpoint))))
    for (const wrong of [
      "http://proxy:port",
      "socks4://proxy:1080",
      "ftp://me:secret@proxy",
      "http://me:50%@proxy",
      "http://%zz@proxy"
    ]) {
      yield* environment({ HTTPS_PROXY: wrong, NO_PROXY: "sqs.internal" })
      const refused = yield* made("https://sqs.example")
      assert.match(
        refused._tag === "Left" ? refused.left.message : "",
        /^HTTPS_PROXY \(or ALL_PROXY\) names no HTTP proxy: write a URL such as http:\/\/proxy\.example:3128$/
      )
      assert.strictEqual((yield* made("https://sqs.internal"))._tag, "Right")
      assert.strictEqual((yield* made("http://sqs.example"))._tag, "Right")
    }
  })
)

it.scopedLive(
  "an answer by a proxy without a tunnel is held to the same size as any other",
  () =>
    Effect.gen(function* () {
      const chunk = Buffer.from(`100000\r\n${"a".repeat(1_048_576)}\r\n`)
      const server = yield* Effect.acquireRelease(
        Effect.async<Net.Server>((resume) => {
          const server = Net.createServer((socket) => {
            let left = 80
            const more = () => {
              while (!socket.destroyed && left > 0) {
                left--
                if (!socket.write(chunk)) return
              }
              socket.end()
            }
            socket.on("error", () => {})
            socket.on("drain", more)
            socket.once("data", () => {
              socket.write(
                "HTTP/1.1 200 OK\r\ncontent-type: application/x-amz-json-1.0\r\ntransfer-encoding: chunked\r\n\r\n"
              )
              more()
            })
          })
          server.listen(0, "127.0.0.1", () => resume(Effect.succeed(server)))
        }),
        (server) => Effect.async<void>((resume) => void server.close(() => resume(Effect.void)))
      )
      const address = server.address()
      const port = typeof address === "object" && address !== null ? address.port : 0
      yield* environment({ HTTP_PROXY: `http://127.0.0.1:${port}` })
      const answer = yield* ask("http://sqs.example:8080")
      assert.match(answer._tag === "Left" ? answer.left.message : "", /exceeded max size/)
    }),
  // 64 MiB go over the loopback first.
  60_000
)

it.scopedLive("without an endpoint of its own the host that is looked at is the environment's, else the region's", () =>
  Effect.gen(function* () {
    const made = (region: string) => Effect.either(Effect.scoped(Layer.build(SqsClient.layer({ region }))))
    const none = {
      AWS_ENDPOINT_URL: undefined,
      AWS_ENDPOINT_URL_SQS: undefined,
      AWS_IGNORE_CONFIGURED_ENDPOINT_URLS: undefined
    }
    yield* Environment.set(none)
    yield* environment({ HTTPS_PROXY: "http://proxy:port", NO_PROXY: ".amazonaws.com.cn,sqs.internal" })
    assert.strictEqual((yield* made("cn-north-1"))._tag, "Right")
    assert.strictEqual((yield* made("eu-west-1"))._tag, "Left")
    yield* Environment.set({ ...none, AWS_ENDPOINT_URL: "https://sqs.internal" })
    assert.strictEqual((yield* made("eu-west-1"))._tag, "Right")
    yield* Environment.set({ AWS_IGNORE_CONFIGURED_ENDPOINT_URLS: "true" })
    assert.strictEqual((yield* made("eu-west-1"))._tag, "Left")
  })
)
