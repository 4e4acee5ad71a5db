/** The connections of our own wire: as many as were asked for and no more, and none that is ended without need. */
import { assert, it } from "@effect/vitest"
import { Effect } from "effect"
import * as Http from "../src/internal/wire/http.js"
import * as FakeServer from "./support/FakeServer.js"

/** A server that answers when it is told to, and counts its connections. */
const server = Effect.gen(function* () {
  const { calls, server, url } = yield* FakeServer.make(() => undefined)
  const counts = { open: 0, all: 0 }
  server.on("connection", (socket) => {
    counts.all++
    counts.open++
    socket.on("close", () => counts.open--)
  })
  const answer = (index: number) => {
    for (const { response } of calls.splice(index, 1)) response.end("{}")
  }
  return { answer, calls, counts, url: new URL(url) }
})

const make = (max: number, proxies?: Http.Proxies) =>
  Effect.acquireRelease(
    Effect.sync(() => Http.make(max, proxies)),
    ({ destroy }) => Effect.sync(destroy)
  )

const requestTo = ({ hostname, port }: URL) => ({
  protocol: "http:",
  hostname,
  port: Number(port),
  path: "/",
  headers: {},
  body: "{}"
})

/** A call on its way: its outcome, when it has one. */
const begin = (handler: Http.Handler, url: URL) => {
  const call = new Http.Abort()
  const outcome = handler.handle(requestTo(url), { abortSignal: call }).then(
    () => "answered",
    (error: unknown) => String(Reflect.get(Object(error), "name"))
  )
  return { call, outcome: Effect.promise(() => outcome) }
}

/** Not on the clock: as long as the event loop needs. */
const until = (holds: () => boolean) => Effect.repeat(turn, { until: holds })
const turn = Effect.async<void>((resume) => void setImmediate(() => resume(Effect.void)))

it.scopedLive("calls that are aborted before they are sent end no connection, and open none", () =>
  Effect.gen(function* () {
    const { answer, calls, counts, url } = yield* server
    const handler = yield* make(1)
    // Its connection is on its way.
    const early = begin(handler, url)
    early.call.abort()
    assert.strictEqual(yield* early.outcome, "AbortError")
    const first = begin(handler, url)
    yield* until(() => calls.length === 1)
    const waiting = Array.from({ length: 20 }, () => begin(handler, url))
    assert.deepStrictEqual(handler.connections(), { max: 1, open: 1, waiting: 20 })
    for (const { call } of waiting) call.abort()
    for (const { outcome } of waiting) assert.strictEqual(yield* outcome, "AbortError")
    const last = begin(handler, url)
    answer(0)
    assert.strictEqual(yield* first.outcome, "answered")
    yield* until(() => calls.length === 1)
    answer(0)
    assert.strictEqual(yield* last.outcome, "answered")
    yield* until(() => handler.connections().open === 0)
    assert.deepStrictEqual(handler.connections(), { max: 1, open: 0, waiting: 0 })
    assert.strictEqual(counts.all, 1)
  })
)

it.scopedLive("no more connections than `maxSockets` are open, also where those without a call were dropped", () =>
  Effect.gen(function* () {
    const { answer, calls, counts, url } = yield* server
    const handler = yield* make(2)
    const begun: Array<ReturnType<typeof begin>> = []
    for (let i = 0; i < 5; i++) {
      begun.push(begin(handler, url), begin(handler, url))
      if (i === 0) yield* until(() => calls.length === 2)
      handler.dropIdle()
    }
    let most = 0
    for (let left = begun.length; left > 0; left--) {
      yield* until(() => calls.length === Math.min(2, left))
      // The server may see a new one before the end of the one that it is for.
      yield* Effect.repeatN(turn, 10)
      most = Math.max(most, counts.open)
      // One of the first two keeps its connection until the end: those of the others are beside it.
      answer(left === begun.length ? 0 : calls.length - 1)
    }
    for (const { outcome } of begun) assert.strictEqual(yield* outcome, "answered")
    assert.strictEqual(most, 2)
  })
)

it.scopedLive("a client that is closed ends all of its calls: on dropped connections, and those that wait", () =>
  Effect.gen(function* () {
    const { calls, url } = yield* server
    const handler = yield* make(1)
    const open = begin(handler, url)
    yield* until(() => calls.length === 1)
    const waiting = begin(handler, url)
    handler.dropIdle()
    handler.destroy()
    assert.notStrictEqual(yield* open.outcome, "answered")
    assert.strictEqual(yield* waiting.outcome, "ClientClosed")
    assert.strictEqual(yield* begin(handler, url).outcome, "ClientClosed")
  })
)

it.scopedLive("a call for which no pool can be made fails, and keeps no place", () =>
  Effect.gen(function* () {
    const { url } = yield* server
    const handler = yield* make(1, () => {
      throw new RangeError("no such proxy")
    })
    const calls = [begin(handler, url), begin(handler, url)]
    for (const { outcome } of calls) assert.strictEqual(yield* outcome, "RangeError")
    yield* until(() => handler.connections().open === 0)
    assert.deepStrictEqual(handler.connections(), { max: 1, open: 0, waiting: 0 })
  })
)
