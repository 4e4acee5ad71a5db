/** Half-sent, malformed and guessing requests: what they cost, and that everybody else is still served. On the real clock. */
import { connect } from "node:net"
import { assert, describe, it } from "@effect/vitest"
import { Dashboard } from "@millrace/dashboard"
import { Effect, Redacted, type Scope } from "effect"
import { Guard } from "../src/internal/guard.js"

const token = Redacted.make("a token of many characters")

const serve = Dashboard.make({ port: 0, pages: 1, token, consumers: Effect.succeed({}) })

/** Sends what is no request of any client's, and gives all that is answered. */
const raw = (port: number, text: string): Effect.Effect<string> =>
  Effect.async((resume) => {
    let answer = ""
    const socket = connect(port, "127.0.0.1", () => socket.write(text))
    socket.setEncoding("latin1")
    socket.on("data", (chunk: string) => {
      answer += chunk
      if (answer.includes("\r\n\r\n")) socket.destroy()
    })
    socket.on("error", () => {})
    socket.on("close", () => resume(Effect.succeed(answer)))
  })

const test = (name: string, effect: Effect.Effect<void, unknown, Scope.Scope>) =>
  it.live(name, () => Effect.scoped(effect))

describe("the dashboard's doors", () => {
  test(
    "a request target that is none is a 400, with the headers of every answer",
    Effect.gen(function* () {
      const { port } = yield* serve
      for (const target of ["//[", "http://[", "//:0:0"]) {
        const answer = yield* raw(port, `GET ${target} HTTP/1.1\r\nHost: localhost\r\n\r\n`)
        assert.match(answer, /^HTTP\/1\.1 400 /, target)
        assert.include(answer, "x-content-type-options: nosniff")
      }
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
      const answers = yield* Effect.all(
        Array.from({ length: 100 }, () => raw(port, half)),
        { concurrency: "unbounded" }
      )
      // More than 1 + 64 are closed at once, the others once their time is over.
      assert.isAtLeast(answers.filter((answer) => answer === "").length, 35)
      assert.isAtLeast(answers.filter((answer) => /^HTTP\/1\.1 4/.test(answer)).length, 50)
      assert.match(yield* raw(port, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"), /^HTTP\/1\.1 401 /)
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

  it("two dashboards of one host have cookies of their own", () => {
    const guards = [1, 2].map((port) => new Guard({ host: "127.0.0.1", hosts: [], token, port }))
    const jar = guards.map(({ cookie }) => cookie.split(";")[0]).join("; ")
    for (const guard of guards) assert.isTrue(guard.mayLook({ cookie: jar }))
  })
})
