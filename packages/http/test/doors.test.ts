/**
 * The routes on a server of their own, made as their pages say: half-sent requests hold few connections, and none for long.
 * On the real clock.
 */
import { readdirSync, readFileSync } from "node:fs"
import { createServer } from "node:http"
import { connect } from "node:net"
import { fileURLToPath } from "node:url"
import { HttpRouter, HttpServer } from "@effect/platform"
import { NodeHttpServer } from "@effect/platform-node"
import { assert, it } from "@effect/vitest"
import { MetricsRoute } from "@millrace/http"
import { Effect, Layer } from "effect"

const root = fileURLToPath(new URL("../../../", import.meta.url))
const pages = [
  "packages/http/README.md",
  "packages/http/src/HealthRoute.ts",
  "packages/http/src/MetricsRoute.ts"
].concat(readdirSync(`${root}docs`).flatMap((name) => (name.endsWith(".md") ? [`docs/${name}`] : [])))
const textOf = (page: string) => readFileSync(root + page, "utf8")

const patience = /const patience = \{ (.*) \}/
const bounded = /NodeHttpServer\.layer\(\(\) => Object\.assign\(createServer\(patience\), \{ maxConnections: (\d+) \}\)/

it("each page that makes a server for a route makes it with the same bounds", () => {
  const serving = pages.filter((page) => textOf(page).includes("NodeHttpServer.layer("))
  assert.isAtLeast(serving.length, 5)
  const bounds = serving.map((page) => `${patience.exec(textOf(page))?.[1]}, ${bounded.exec(textOf(page))?.[1]}`)
  assert.deepStrictEqual([...new Set(bounds)], [bounds[0]])
})

/** What the pages say. */
const said = textOf("docs/health.md")
const settings = Object.fromEntries(
  (patience.exec(said)?.[1] ?? "").split(", ").map((setting) => {
    const [name = "", value = ""] = setting.split(": ")
    return [name, Number(value.replaceAll("_", ""))] as const
  })
)
const maxConnections = Number(bounded.exec(said)?.[1])

/** What is answered until the connection is closed. */
const raw = (port: number, text: string): Effect.Effect<string> =>
  Effect.async((resume) => {
    let answer = ""
    const socket = connect(port, "127.0.0.1", () => socket.write(text))
    socket.on("data", (chunk) => {
      answer += chunk
    })
    socket.on("error", () => {})
    socket.on("close", () => resume(Effect.succeed(answer)))
  })

it.scopedLive("what is half sent ends within seconds, and holds no more than so many connections", () =>
  Effect.gen(function* () {
    const node = Object.assign(createServer(settings), { maxConnections })
    const server = HttpRouter.empty.pipe(
      HttpRouter.append(MetricsRoute.route("/metrics")),
      HttpServer.serve(),
      Layer.provideMerge(NodeHttpServer.layer(() => node, { port: 0, host: "127.0.0.1" }))
    )
    const port = yield* Effect.map(Layer.build(server), () => {
      const address = node.address()
      return typeof address === "object" && address !== null ? address.port : assert.fail("it does not listen")
    })
    const head = "GET /metrics HTTP/1.1\r\nHost: localhost\r\n"
    const began = performance.now()
    const answers = yield* Effect.all(
      Array.from({ length: 2 * maxConnections }, () => raw(port, head)),
      { concurrency: "unbounded" }
    )
    assert.isBelow(performance.now() - began, 9_000)
    assert.lengthOf(
      answers.filter((answer) => answer === ""),
      maxConnections
    )
    assert.include(yield* raw(port, `${head}Connection: close\r\n\r\n`), "HTTP/1.1 200 OK")
  })
)
