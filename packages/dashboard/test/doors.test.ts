/** Half-sent, malformed and guessing requests: what they cost, and that everybody else is still served. On the real clock. */
import { connect } from "node:net"
import { assert, describe, it } from "@effect/vitest"
import { Dashboard } from "@millrace/dashboard"
import { Effect, Redacted, type Scope } from "effect"
import { Guard } from "../src/internal/guard.js"

const token = Redacted.make("a token of many characters")

const serve = Dashboard.make({ port: 0, pages: 1, token, consumers: Effect.succeed({}) })

const login = (body: string) =>
  `POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: ${body.length}\r\n\r\n${body}`

/** Sends what is no request of any client's, and gives all that is answered: until the server closes, where it `waits`. */
const raw = (port: number, text: string, waits = false): Effect.Effect<string> =>
  Effect.async((resume) => {
    let answer = ""
    const socket = connect(port, "127.0.0.1", () => socket.write(text))
    socket.setEncoding("latin1")
    socket.on("data", (chunk: string) => {
      answer += chunk
      if (!waits && answer.includes("\r\n\r\n")) socket.destroy()
    })
    socket.on("error", () => {})
    socket.on("close", () => resume(Effect.succeed(answer)))
  })

const test = (name: string, effect: Effect.Effect<void, unknown, Scope.Scope>) =>
  it.live(name, () => Effect.scoped(effect))

// They wait for what a server gives up after seconds: side by side.
describe.concurrent("the dashboard's doors", () => {
  test(
    "a request target that is none is a 400, with the headers of every answer",
    Effect.gen(function* () {
      const { port } = yield* serve
      for (const target of ["//[", "http://[", "//:0:0"]) {
        const answer = yield* raw(port, `GET ${target} HTTP/1.1\r\nHost: localhost\r\n\r\n`)
        assert.match(answer, /^HTTP\/1\.1 400 /, target)
        assert.include(answer, "x-content-type-options: nosniff")
      }
      assert.match(yield* raw(port, login("nothing=1")), /^HTTP\/1\.1 400 /)
      const answer = yield* raw(port, "nonsense\r\n\r\n")
      assert.match(answer, /^HTTP\/1\.1 400 /)
      assert.include(answer, "x-frame-options: DENY")
    })
  )

  test(
    "connections are bounded, and half-sent requests end within seconds",
    Effect.gen(function* () {
      const { port } = yield* serve
      const half = "POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Le"
      const began = performance.now()
      const answers = yield* Effect.all(
        Array.from({ length: 100 }, () => raw(port, half)),
        { concurrency: "unbounded" }
      )
      // More than 1 + 64 are closed at once, the others once their time is over.
      assert.isAtLeast(answers.filter((answer) => answer === "").length, 35)
      assert.isAtLeast(answers.filter((answer) => /^HTTP\/1\.1 4/.test(answer)).length, 50)
      assert.isBelow(performance.now() - began, 9_000)
      assert.match(yield* raw(port, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"), /^HTTP\/1\.1 401 /)
    })
  )

  test(
    "a body that does not come, and a connection that asks for nothing more, end within seconds too",
    Effect.gen(function* () {
      const { port } = yield* serve
      const began = performance.now()
      const head = "POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\n"
      const [slow, idle] = yield* Effect.all(
        [
          raw(port, `${head}Content-Length: 50\r\n\r\ntoken=`),
          raw(port, "GET /icon.svg HTTP/1.1\r\nHost: localhost\r\n\r\n", true)
        ].map((asked) => Effect.map(asked, (answer) => [answer, performance.now() - began] as const)),
        { concurrency: 2 }
      )
      assert.match(slow?.[0] ?? "", /^HTTP\/1\.1 400 /)
      assert.isBelow(slow?.[1] ?? 0, 15_000)
      assert.match(idle?.[0] ?? "", /^HTTP\/1\.1 200 /)
      assert.isBelow(idle?.[1] ?? 0, 10_000)
    })
  )

  test(
    "a body that is longer than any of the page's is not read",
    Effect.gen(function* () {
      const { port } = yield* serve
      const body = `token=${encodeURIComponent(Redacted.value(token))}&more=${"x".repeat(5000)}`
      assert.notMatch(yield* raw(port, login(body)), /set-cookie/i)
      assert.match(yield* raw(port, login(body.slice(0, 500))), /set-cookie/i)
    })
  )

  test(
    "wrong tokens are slow, and few at a time; a right one is let in meanwhile",
    Effect.gen(function* () {
      const { port } = yield* serve
      const shown = (given: string) =>
        raw(port, `GET /nothing HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer ${given}\r\n\r\n`)
      const guesses = yield* Effect.fork(
        Effect.all(
          Array.from({ length: 30 }, () => shown("wrong")),
          { concurrency: "unbounded" }
        )
      )
      assert.match(yield* shown(Redacted.value(token)), /^HTTP\/1\.1 404 /)
      const answers = yield* guesses.await.pipe(Effect.flatten)
      assert.strictEqual(answers.filter((answer) => /^HTTP\/1\.1 401 /.test(answer)).length, 20)
      assert.strictEqual(answers.filter((answer) => /^HTTP\/1\.1 429 /.test(answer)).length, 10)
    })
  )

  test(
    "so they are where the page asks for the token; and who shows none is not kept waiting by them",
    Effect.gen(function* () {
      const { port } = yield* serve
      const guesses = yield* Effect.fork(
        Effect.all(
          Array.from({ length: 30 }, () => raw(port, login("token=wrong"))),
          { concurrency: "unbounded" }
        )
      )
      yield* Effect.sleep("300 millis")
      for (let i = 0; i < 3; i++) {
        assert.match(yield* raw(port, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"), /^HTTP\/1\.1 401 /)
      }
      const answers = yield* guesses.await.pipe(Effect.flatten)
      assert.strictEqual(answers.filter((answer) => /^HTTP\/1\.1 303 /.test(answer)).length, 20)
      assert.strictEqual(answers.filter((answer) => /^HTTP\/1\.1 429 /.test(answer)).length, 10)
    })
  )

  test(
    "who has logged in at two dashboards of one host may look at both",
    Effect.gen(function* () {
      const ports = [(yield* serve).port, (yield* serve).port]
      const jar = new Map<string, string>()
      for (const port of ports) {
        const answer = yield* raw(port, login(`token=${encodeURIComponent(Redacted.value(token))}`))
        const [, name = "", value = ""] = /set-cookie: ([^=]+)=([^;]+)/i.exec(answer) ?? []
        jar.set(name, value)
      }
      const cookie = [...jar].map(([name, value]) => `${name}=${value}`).join("; ")
      for (const port of ports) {
        const asked = `GET /main.js HTTP/1.1\r\nHost: localhost\r\nCookie: ${cookie}\r\n\r\n`
        assert.match(yield* raw(port, asked), /^HTTP\/1\.1 200 /)
      }
    })
  )

  it("two dashboards of one host have cookies of their own", () => {
    const guards = [1, 2].map((port) => new Guard({ host: "127.0.0.1", hosts: [], token, port }))
    const jar = guards.map(({ cookie }) => cookie.split(";")[0]).join("; ")
    for (const guard of guards) assert.isTrue(guard.mayLook({ cookie: jar }))
  })
})
