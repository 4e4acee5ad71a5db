/**
 * What a server, or something on the way, may do to a connection: each call ends as a failure that says that nobody knows
 * whether it took effect, none is sent twice, and the next call goes well.
 */
import * as Net from "node:net"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, TestClock } from "effect"
import { SqsClient, SqsError } from "../src/index.js"
import * as FakeServer from "./support/FakeServer.js"

const QueueUrl = "http://localhost/000000000000/orders"
const sent = JSON.stringify({ MessageId: "m", MD5OfMessageBody: "0cc175b9c0f1b6a831c399e269772661" })
const head = "HTTP/1.1 200 OK\r\ncontent-type: application/x-amz-json-1.0\r\n"

type Behaviour = (socket: Net.Socket) => void

const writes =
  (...texts: ReadonlyArray<string>): Behaviour =>
  (socket) => {
    for (const text of texts) socket.write(text)
  }

const good = writes(`${head}content-length: ${sent.length}\r\n\r\n${sent}`)

/** More than any answer may have; not without end, for a client that takes all of it. In bytes. */
const flood = 100 * 1_048_576

/** Writes the same again and again, as fast as it is taken, until the other side has had enough. */
const floods =
  (first: string, again: Buffer): Behaviour =>
  (socket) => {
    socket.write(first)
    let left = flood
    const more = () => {
      while (!socket.destroyed && left > 0) {
        left -= again.length
        if (!socket.write(again)) return
      }
      socket.end()
    }
    socket.on("drain", more)
    more()
  }

/** A chunk of 1 MiB, as a body without a length has them. */
const chunk = Buffer.from(`100000\r\n${"a".repeat(1_048_576)}\r\n`)

const failures: Readonly<Record<string, Behaviour>> = {
  "headers without end": floods(head, Buffer.from(`x-more: ${"a".repeat(100)}\r\n`)),
  "a header without end": floods(`${head}x-more: `, Buffer.alloc(10_000, "a")),
  "a reset before the answer": (socket) => socket.resetAndDestroy(),
  "a reset within the body": (socket) =>
    socket.write(`${head}content-length: 1000\r\n\r\n{`, () => socket.resetAndDestroy()),
  "an end within the head": (socket) => socket.end("HTTP/1.1 200 OK\r\nconte"),
  "an end within the body": (socket) => socket.end(`${head}content-length: 1000\r\n\r\n{`),
  "an end within a chunk": (socket) => socket.end(`${head}transfer-encoding: chunked\r\n\r\n100\r\n{`),
  "a 100 that nobody asked for": writes("HTTP/1.1 100 Continue\r\n\r\n"),
  "another protocol": writes("HTTP/1.1 101 Switching Protocols\r\nupgrade: h2c\r\nconnection: upgrade\r\n\r\n"),
  "a 204": writes("HTTP/1.1 204 No Content\r\n\r\n"),
  "a 304": writes("HTTP/1.1 304 Not Modified\r\n\r\n"),
  "a redirection to itself": writes(`HTTP/1.1 307 Temporary Redirect\r\nlocation: /\r\ncontent-length: 0\r\n\r\n`),
  "two lengths": writes(`${head}content-length: 10\r\ncontent-length: ${sent.length}\r\n\r\n${sent}`),
  "a length, and chunks": writes(`${head}content-length: 10\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n`),
  "a length that is no number": writes(`${head}content-length: many\r\n\r\n${sent}`),
  "a chunk whose length is no number": writes(`${head}transfer-encoding: chunked\r\n\r\nmany\r\n${sent}\r\n`),
  "no HTTP": writes("SSH-2.0-OpenSSH_9.6\r\n"),
  "an alert of TLS": (socket) => socket.end(Buffer.from([0x15, 0x03, 0x01, 0x00, 0x02, 0x02, 0x28])),
  "bytes of zero": (socket) => socket.end(Buffer.alloc(1000))
}

/** These have no end by themselves: the client's time limit is one. */
const silences: Readonly<Record<string, Behaviour>> = {
  "no answer": () => {},
  "a head that stops": writes("HTTP/1.1 200 OK\r\nconte"),
  "a body that stops": writes(`${head}content-length: 1000\r\n\r\n{`),
  "chunks that stop": writes(`${head}transfer-encoding: chunked\r\n\r\n1\r\n{\r\n`),
  "hints alone": writes("HTTP/1.1 103 Early Hints\r\nlink: <a>\r\n\r\n")
}

/** Unusual, and right. */
const answers: Readonly<Record<string, Behaviour>> = {
  "hints before it": writes(
    "HTTP/1.1 103 Early Hints\r\nlink: <a>\r\n\r\n",
    `${head}content-length: ${sent.length}\r\n\r\n${sent}`
  ),
  "HTTP/1.0, to the end of the connection": (socket) =>
    socket.end(`HTTP/1.0 200 OK\r\ncontent-type: application/x-amz-json-1.0\r\n\r\n${sent}`),
  "no length, to the end of the connection": (socket) => socket.end(`${head}connection: close\r\n\r\n${sent}`),
  "chunks of a byte": writes(
    `${head}transfer-encoding: chunked\r\n\r\n`,
    ...[...sent].map((character) => `1\r\n${character}\r\n`),
    "0\r\n\r\n"
  ),
  "an end of what was kept alive": (socket) =>
    socket.write(`${head}content-length: ${sent.length}\r\n\r\n${sent}`, () => socket.end()),
  "a reset of what was kept alive": (socket) =>
    socket.write(`${head}content-length: ${sent.length}\r\n\r\n${sent}`, () => socket.resetAndDestroy())
}

/** A server that does to each request as it is told, whether it knows what it got or not. */
const server = Effect.acquireRelease(
  Effect.async<{ readonly url: string; behave: Behaviour; requests: number; readonly close: () => void }>((resume) => {
    const sockets = new Set<Net.Socket>()
    const listening = Net.createServer((socket) => {
      sockets.add(socket)
      socket.on("error", () => {})
      socket.on("close", () => sockets.delete(socket))
      socket.setNoDelay(true)
      let received = ""
      socket.on("data", (chunk) => {
        received += chunk.toString("latin1")
        // A handshake of TLS has no blank line.
        const isTls = received.startsWith("\x16")
        const length = Number(/content-length: (\d+)/i.exec(received)?.[1])
        const body = received.indexOf("\r\n\r\n") + 4
        if (!isTls && (body < 4 || received.length < body + length)) return
        received = ""
        made.requests++
        made.behave(socket)
      })
    })
    const made = {
      url: "",
      behave: good,
      requests: 0,
      close: () => {
        listening.close()
        for (const socket of sockets) socket.destroy()
      }
    }
    listening.listen(0, "127.0.0.1", () => {
      const address = listening.address()
      made.url = `127.0.0.1:${typeof address === "object" && address !== null ? address.port : 0}`
      resume(Effect.succeed(made))
    })
  }),
  ({ close }) => Effect.sync(close)
)

const send = Effect.flatMap(SqsClient.SqsClient, (sqs) => sqs.sendMessage({ QueueUrl, MessageBody: "a" }))

const open = Effect.flatMap(SqsClient.SqsClient, ({ connections }) => connections ?? Effect.die("it counts them"))

/** Not on the clock: as long as the event loop needs. */
const turn = Effect.async<void>((resume) => void setImmediate(() => resume(Effect.void)))
const until = (holds: () => boolean) => Effect.repeat(turn, { until: holds })

const isDoubtful = (what: string, error: SqsError.SqsError) =>
  assert.deepStrictEqual(
    [error._tag, SqsError.kind(error)],
    ["TransportError", "transient"],
    `${what}: ${error.message}`
  )

/** The pool has recovered: the next call goes well, and none keeps a place. */
const recovers = (what: string) =>
  Effect.gen(function* () {
    assert.strictEqual((yield* send).MessageId, "m", what)
    yield* Effect.repeat(Effect.zipRight(turn, open), { until: ({ open }) => open === 0 })
  })

describe("on the wire", () => {
  it.scoped("what is no answer is a failure of its call, which is sent once, and the next one goes well", () =>
    Effect.gen(function* () {
      const at = yield* server
      yield* Effect.gen(function* () {
        for (const [what, behave] of Object.entries(failures)) {
          at.behave = behave
          const before = at.requests
          isDoubtful(what, yield* Effect.flip(send))
          assert.strictEqual(at.requests, before + 1, what)
          at.behave = good
          yield* recovers(what)
        }
      }).pipe(Effect.provide(FakeServer.layer(`http://${at.url}`)))
    })
  )

  it.scoped("what stops is ended by the call's time limit, and the next one goes well", () =>
    Effect.gen(function* () {
      const at = yield* server
      yield* Effect.gen(function* () {
        for (const [what, behave] of Object.entries(silences)) {
          at.behave = behave
          const before = at.requests
          const call = yield* Effect.fork(Effect.flip(send))
          yield* until(() => at.requests > before)
          yield* Effect.repeatN(turn, 20)
          at.behave = good
          yield* TestClock.adjust("5 seconds")
          const error = yield* Fiber.join(call)
          isDoubtful(what, error)
          assert.include(error.message, "no answer in 5 s")
          yield* recovers(what)
        }
      }).pipe(Effect.provide(FakeServer.layer(`http://${at.url}`)))
    })
  )

  it.scoped("what is unusual and right is an answer, also where the connection ends with it", () =>
    Effect.gen(function* () {
      const at = yield* server
      yield* Effect.gen(function* () {
        for (const [what, behave] of Object.entries(answers)) {
          at.behave = behave
          assert.strictEqual((yield* send).MessageId, "m", what)
          // It may be known only as the next request goes out.
          at.behave = good
          yield* Effect.repeatN(turn, 20)
          yield* recovers(what)
        }
      }).pipe(Effect.provide(FakeServer.layer(`http://${at.url}`)))
    })
  )

  it.scoped(
    "an answer that is too long is ended as such, and says what it is",
    () =>
      Effect.gen(function* () {
        const at = yield* server
        at.behave = floods(`${head}transfer-encoding: chunked\r\n\r\n`, chunk)
        yield* Effect.gen(function* () {
          const error = yield* Effect.flip(send)
          isDoubtful("too long", error)
          assert.match(error.message, /exceeded max size.*Something on the way has answered/)
          at.behave = good
          yield* recovers("too long")
        }).pipe(Effect.provide(FakeServer.layer(`http://${at.url}`)))
      }),
    // 64 MiB go over the loopback first.
    60_000
  )

  it.scoped("TLS that fails, and a name that nobody knows", () =>
    Effect.gen(function* () {
      const at = yield* server
      const errorAt = (endpoint: string) => Effect.flip(send).pipe(Effect.provide(FakeServer.layer(endpoint)))
      for (const behave of [failures["an alert of TLS"], failures["no HTTP"], failures["bytes of zero"]]) {
        at.behave = behave ?? good
        isDoubtful("TLS", yield* errorAt(`https://${at.url}`))
      }
      isDoubtful("DNS", yield* errorAt("http://queues.invalid"))
    })
  )
})
