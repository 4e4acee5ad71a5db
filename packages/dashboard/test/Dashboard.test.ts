/** Who is let in, what may be changed, and what the server tells: over HTTP, as anybody may ask. */
import { request } from "node:http"
import { assert, describe, it } from "@effect/vitest"
import { Consumer } from "@millrace/core"
import { MemoryQueue } from "@millrace/core/testing"
import { Dashboard } from "@millrace/dashboard"
import { Chunk, Context, Duration, Effect, Layer, Logger, Option, Redacted, Schema, Stream, TestClock } from "effect"
import * as Monitor from "../src/internal/monitor.js"
import { working } from "./support/index.js"

const token = Redacted.make("a token of many characters")

interface Answer {
  readonly status: number
  readonly headers: Readonly<Record<string, string | ReadonlyArray<string> | undefined>>
  readonly body: string
}

/** `fetch` would not let a Host or an Origin be set. */
const ask = (
  { port }: Dashboard.Service,
  path: string,
  options: {
    readonly method?: string
    readonly headers?: Readonly<Record<string, string>>
    readonly body?: string
  } = {}
) =>
  Effect.async<Answer, Error>((resume) => {
    const { body, headers = {}, method = "GET" } = options
    const sent = request({ port, path, method, headers, host: "127.0.0.1" }, (response) => {
      let text = ""
      response.setEncoding("utf8")
      response.on("data", (chunk: string) => {
        text += chunk
        // Of an endless answer the beginning will do.
        if (path === "/events" && text.includes("event: update")) sent.destroy()
      })
      response.on("close", () =>
        resume(Effect.succeed({ status: response.statusCode ?? 0, headers: response.headers, body: text }))
      )
    })
    sent.on("error", (error) => resume(Effect.fail(error)))
    sent.end(body)
  })

const control = (command: unknown, headers: Readonly<Record<string, string>> = {}) => ({
  method: "POST",
  headers: { "content-type": "application/json", "x-millrace": "control", ...headers },
  body: JSON.stringify(command)
})

const serve = (options: Omit<Dashboard.Options, "consumers" | "port"> = {}, entry: Partial<Dashboard.Entry> = {}) =>
  Effect.gen(function* () {
    const work = yield* working("orders")
    const dashboard = yield* Dashboard.make({
      port: 0,
      every: "100 millis",
      consumers: Effect.succeed({ orders: { consumer: work.consumer, ...entry } }),
      ...options
    })
    return { ...work, dashboard }
  })

describe("where it listens", () => {
  const refused = (options: Omit<Dashboard.Options, "consumers">) =>
    Effect.flip(Effect.scoped(Dashboard.make({ ...options, consumers: Effect.succeed({}) })))

  it.effect.each([
    {
      options: { host: "0.0.0.0" },
      option: "token",
      says: /^host is 0\.0\.0\.0, which others reach, and there is no token/
    },
    { options: { host: "::" }, option: "token", says: /no token/ },
    { options: { host: "192.168.1.4" }, option: "token", says: /no token/ },
    { options: { token: Redacted.make("short") }, option: "token", says: /^token is too short .* at least 16/ },
    { options: { port: 65_536 }, option: "port", says: /^port is 65536; write a whole number from 0 to 65535/ },
    { options: { every: "1 milli" as const }, option: "every", says: /write a time from 100ms to 1m/ },
    { options: { history: "2 hours" as const }, option: "history", says: /write a time from 1s to 1h/ },
    { options: { pages: 0 }, option: "pages", says: /^pages is 0/ }
  ])("$options is refused", ({ option, options, says }) =>
    Effect.map(refused(options), (error) => {
      if (error._tag !== "InvalidOptions") return assert.fail(error.message)
      assert.strictEqual(error.option, option)
      assert.match(error.message, says)
    })
  )

  it.scopedLive("is this machine alone, unless told otherwise; a port that is taken is named", () =>
    Effect.gen(function* () {
      const { dashboard } = yield* serve()
      assert.strictEqual(dashboard.host, "127.0.0.1")
      const error = yield* refused({ port: dashboard.port })
      if (error._tag !== "CannotListen") return assert.fail(error.message)
      assert.match(error.message, new RegExp(`^Port ${dashboard.port} of 127.0.0.1 is in use`))
    })
  )

  it.scopedLive("is logged, so that somebody who asked for any free port finds it", () =>
    Effect.gen(function* () {
      const lines: Array<string> = []
      const logger = Logger.make(({ message }) => lines.push(String(message)))
      const { dashboard } = yield* serve().pipe(Effect.provide(Logger.replace(Logger.defaultLogger, logger)))
      // The consumer may have something to say too.
      assert.deepStrictEqual(
        lines.filter((line) => line.includes("dashboard")),
        [`the dashboard is at ${dashboard.url}`]
      )
    })
  )

  it.scopedLive("is anywhere, with a token", () =>
    Effect.gen(function* () {
      const { dashboard } = yield* serve({ host: "0.0.0.0", token })
      assert.strictEqual((yield* ask(dashboard, "/", { headers: { host: "any.example.com" } })).status, 401)
    })
  )

  it.live("ends with its layer, open pages too", () =>
    Effect.gen(function* () {
      const service = yield* Effect.scoped(
        Effect.gen(function* () {
          const { consumer } = yield* working("orders")
          const live = Dashboard.layer({ port: 0, consumers: Effect.succeed({ orders: consumer }) })
          const service = Context.get(yield* Layer.build(live), Dashboard.Dashboard)
          yield* Effect.promise(() => fetch(`${service.url}/events`))
          return service
        })
      )
      assert.isTrue(Option.isNone(yield* Effect.option(ask(service, "/"))))
    })
  )
})

// Wrong tokens are slow.
describe.concurrent("who is let in", () => {
  it.scopedLive("on loopback, only who calls it by a name of this machine: no other site's name leads here", () =>
    Effect.gen(function* () {
      const { dashboard } = yield* serve({ hosts: ["monitor.example.com"] })
      const status = (host: string) => Effect.map(ask(dashboard, "/events", { headers: { host } }), (a) => a.status)
      for (const host of [
        "localhost:4400",
        "127.0.0.1",
        "[::1]:4400",
        "monitor.example.com",
        "Monitor.Example.com:8"
      ]) {
        assert.strictEqual(yield* status(host), 200, host)
      }
      for (const host of ["evil.example.com", "127.0.0.1.evil.example.com", "localhost.evil.example.com:4400"]) {
        assert.strictEqual(yield* status(host), 421, host)
      }
    })
  )

  it.scopedLive("with a token, nobody without it: neither page, events, bodies nor controls", () =>
    Effect.gen(function* () {
      const work = yield* working("orders")
      const { bodies, consumer } = work
      const dashboard = yield* Dashboard.make({
        port: 0,
        token,
        consumers: Effect.succeed({ orders: { consumer, bodies, controls: { pause: true } } })
      })
      const strangers = [
        {},
        { authorization: "Bearer wrong" },
        { authorization: "Bearer " },
        { cookie: "millrace_dashboard=wrong" },
        { cookie: `millrace_dashboard=${Redacted.value(token)}` },
        { cookie: "millrace_dashboard=" }
      ]
      const paths = ["/events", "/main.js", "/uplot.js", "/body?consumer=orders&message=1", "/?token=x", "/nowhere"]
      for (const headers of strangers) {
        const answers = yield* Effect.forEach(paths, (path) => ask(dashboard, path, { headers }), {
          concurrency: "unbounded"
        })
        for (const [i, { body, status }] of answers.entries()) {
          assert.strictEqual(status, 401, paths[i])
          assert.notInclude(body, "orders")
        }
        const { status } = yield* ask(dashboard, "/control", control({ consumer: "orders", action: "pause" }, headers))
        assert.strictEqual(status, 401)
      }
      assert.isFalse((yield* consumer.figures).paused)
      // The token in an address lets nobody in: addresses are written to logs.
      assert.strictEqual((yield* ask(dashboard, `/?token=${encodeURIComponent(Redacted.value(token))}`)).status, 401)
      const bearer = { authorization: `Bearer ${Redacted.value(token)}` }
      assert.strictEqual((yield* ask(dashboard, "/main.js", { headers: bearer })).status, 200)
    })
  )

  const login = (given: string, headers: Readonly<Record<string, string>> = {}) => ({
    method: "POST",
    headers: { "content-type": "application/x-www-form-urlencoded", ...headers },
    body: new URLSearchParams({ token: given }).toString()
  })

  it.scopedLive("the token is exchanged for a cookie that is another secret, for this site and not for scripts", () =>
    Effect.gen(function* () {
      const { dashboard } = yield* serve({ token })
      const wrong = yield* ask(dashboard, "/login", login("wrong"))
      assert.strictEqual(wrong.headers["location"], "/?wrong")
      assert.isUndefined(wrong.headers["set-cookie"])
      const elsewhere = { host: `127.0.0.1:${dashboard.port}`, origin: "https://evil.example.com" }
      assert.strictEqual((yield* ask(dashboard, "/login", login(Redacted.value(token), elsewhere))).status, 403)

      const right = yield* ask(dashboard, "/login", login(Redacted.value(token)))
      const [cookie = ""] = right.headers["set-cookie"] ?? []
      assert.match(cookie, /^millrace_dashboard_\d+=[\w-]{43}; Path=\/; HttpOnly; SameSite=Strict$/)
      assert.notInclude(cookie, Redacted.value(token))
      const [session = ""] = cookie.split(";")
      assert.strictEqual((yield* ask(dashboard, "/", { headers: { cookie: `a=b; ${session}` } })).status, 200)
    })
  )

  it.scopedLive("no more pages at once than it is told; one that is closed makes room", () =>
    Effect.gen(function* () {
      const { dashboard } = yield* serve({ pages: 1 })
      const abort = new AbortController()
      const open = () => fetch(`${dashboard.url}/events`, { signal: abort.signal })
      assert.strictEqual((yield* Effect.promise(open)).status, 200)
      const second = yield* ask(dashboard, "/events")
      assert.strictEqual(second.status, 503)
      abort.abort()
      // The server hears of it in its own time.
      const again = Effect.repeat(ask(dashboard, "/events"), { until: ({ status }) => status === 200 })
      assert.strictEqual((yield* again).status, 200)
    })
  )
})

describe("every answer", () => {
  it.scopedLive("is not stored, not framed, and takes no script from elsewhere", () =>
    Effect.gen(function* () {
      const { dashboard } = yield* serve()
      const paths = ["/", "/main.js", "/uplot.css", "/events", "/nowhere", "/style.css", "/body"]
      for (const path of paths) {
        const { headers } = yield* ask(dashboard, path)
        assert.strictEqual(headers["cache-control"], "no-store", path)
        assert.match(String(headers["content-security-policy"]), /^default-src 'none'; script-src 'self';/)
        assert.notInclude(String(headers["content-security-policy"]), "unsafe")
        assert.strictEqual(headers["x-frame-options"], "DENY")
        assert.strictEqual(headers["x-content-type-options"], "nosniff")
      }
      const unreadable = yield* ask(dashboard, "/control", { ...control({}), body: "{" })
      assert.strictEqual(unreadable.status, 400)
      assert.strictEqual(unreadable.headers["cache-control"], "no-store")
      // Its connection may be cut before there is an answer.
      const long = ask(dashboard, "/control", control({ consumer: "x".repeat(10_000), action: "pause" }))
      const status = yield* Effect.orElseSucceed(
        Effect.map(long, (answer) => answer.status),
        () => 400
      )
      assert.strictEqual(status, 400)
    })
  )

  it.scopedLive("names no other server: the page works without internet", () =>
    Effect.gen(function* () {
      const { dashboard } = yield* serve()
      for (const path of ["/", "/main.js", "/charts.js", "/format.js", "/style.css", "/uplot.css"]) {
        const { body, status } = yield* ask(dashboard, path)
        assert.strictEqual(status, 200, path)
        assert.notMatch(body, /https?:\/\/|@import/, path)
      }
      assert.match((yield* ask(dashboard, "/uplot.js")).body, /export \{ uPlot as default \}/)
    })
  )
})

describe("controls", () => {
  it.scopedLive("are refused where the program did not allow them", () =>
    Effect.gen(function* () {
      const { consumer, dashboard } = yield* serve()
      const pause = yield* ask(dashboard, "/control", control({ consumer: "orders", action: "pause" }))
      assert.deepEqual([pause.status, pause.body], [403, "The program does not let it be paused."])
      const set = yield* ask(dashboard, "/control", control({ consumer: "orders", action: "concurrency", value: 9 }))
      assert.strictEqual(set.status, 403)
      assert.isFalse((yield* consumer.figures).paused)
      assert.strictEqual(
        (yield* ask(dashboard, "/control", control({ consumer: "bills", action: "pause" }))).status,
        404
      )
    })
  )

  it.scopedLive("work where it did, one at a time", () =>
    Effect.gen(function* () {
      const { concurrency, consumer } = yield* working("orders")
      const dashboard = yield* Dashboard.make({
        port: 0,
        consumers: Effect.succeed({
          pausable: { consumer, controls: { pause: true } },
          tunable: { consumer, controls: { concurrency } }
        })
      })
      const status = (command: unknown) => Effect.map(ask(dashboard, "/control", control(command)), (a) => a.status)
      assert.strictEqual(yield* status({ consumer: "pausable", action: "pause" }), 204)
      assert.isTrue((yield* consumer.figures).paused)
      assert.strictEqual(yield* status({ consumer: "tunable", action: "resume" }), 403)
      assert.strictEqual(yield* status({ consumer: "pausable", action: "resume" }), 204)
      assert.isFalse((yield* consumer.figures).paused)
      assert.strictEqual(yield* status({ consumer: "pausable", action: "concurrency", value: 9 }), 403)
      assert.strictEqual(yield* status({ consumer: "tunable", action: "concurrency", value: 9 }), 204)
      assert.strictEqual(concurrency.unsafeGet(), 9)
      const over = yield* ask(dashboard, "/control", control({ consumer: "tunable", action: "concurrency", value: 99 }))
      assert.deepEqual([over.status, over.body], [422, "concurrency is 99; write a number from 1 to 32"])
      assert.strictEqual(concurrency.unsafeGet(), 9)
    })
  )

  it.scopedLive("are used from the server's own page alone: no other site's form or script presses them", () =>
    Effect.gen(function* () {
      const { consumer } = yield* working("orders")
      const dashboard = yield* Dashboard.make({
        port: 0,
        consumers: Effect.succeed({ orders: { consumer, controls: { pause: true } } })
      })
      const host = `127.0.0.1:${dashboard.port}`
      const command = { consumer: "orders", action: "pause" }
      const forged = [
        { "x-millrace": "" },
        { host, origin: "https://evil.example.com" },
        { host, origin: "null" },
        { host, origin: "http://127.0.0.1:1" },
        { "sec-fetch-site": "cross-site" },
        { "sec-fetch-site": "same-site" }
      ]
      for (const headers of forged) {
        const { status } = yield* ask(dashboard, "/control", control(command, headers))
        assert.strictEqual(status, 403, JSON.stringify(headers))
      }
      assert.strictEqual((yield* ask(dashboard, "/control", { method: "GET" })).status, 404)
      assert.isFalse((yield* consumer.figures).paused)
      const own = { host, origin: `http://${host}`, "sec-fetch-site": "same-origin" }
      assert.strictEqual((yield* ask(dashboard, "/control", control(command, own))).status, 204)
    })
  )
})

const Opening = Schema.parseJson(
  Schema.Struct({
    history: Schema.Number,
    consumers: Schema.Array(
      Schema.Struct({
        name: Schema.String,
        points: Schema.Array(Schema.Struct({ at: Schema.Number, bound: Schema.Number })),
        now: Schema.NullOr(Schema.Struct({ inFlight: Schema.Number, bodies: Schema.Boolean }))
      })
    )
  })
)

describe("events", () => {
  const opening = (dashboard: Dashboard.Service) =>
    Effect.flatMap(ask(dashboard, "/events"), ({ body }) => {
      const [, json = ""] = /event: opening\ndata: (.*)\n\n/.exec(body) ?? []
      return Effect.map(Schema.decodeUnknown(Opening)(json), (decoded) => ({ decoded, body }))
    })

  it.scopedLive("begin with the last minutes, so many and no more, and go on from there", () =>
    Effect.gen(function* () {
      const { dashboard } = yield* serve({ history: "1 second" })
      const full = Effect.repeat(opening(dashboard), {
        until: ({ decoded }) => (decoded.consumers[0]?.points.length ?? 0) >= 10
      })
      const { body, decoded } = yield* full
      assert.strictEqual(decoded.history, 1_000)
      const [orders] = decoded.consumers
      assert.strictEqual(orders?.name, "orders")
      assert.strictEqual(orders?.points[0]?.bound, 20)
      // Ten readings to the second, and each is told.
      yield* ask(dashboard, "/events")
      assert.lengthOf((yield* opening(dashboard)).decoded.consumers[0]?.points ?? [], 10)
      assert.match(body, /^retry: 2000\n\nevent: opening\ndata: /)
      assert.match(body, /event: update\ndata: \[\{"name":"orders"/)
    })
  )

  it.scopedLive("have no message's body, whatever is allowed", () =>
    Effect.gen(function* () {
      const { bodies, consumer } = yield* working("orders")
      const dashboard = yield* Dashboard.make({
        port: 0,
        every: "100 millis",
        consumers: Effect.succeed({ open: { consumer, bodies }, closed: consumer })
      })
      const { body, decoded } = yield* Effect.repeat(opening(dashboard), {
        until: ({ body, decoded }) => decoded.consumers[0]?.now != null && body.includes("CardDeclined")
      })
      assert.deepEqual(
        decoded.consumers.map(({ now }) => now?.bodies),
        [true, false]
      )
      assert.notInclude(body, "secret")
      const message = encodeURIComponent(/"messageId":"([^"]+)"/.exec(body)?.[1] ?? "")
      const shown = yield* ask(dashboard, `/body?consumer=open&message=${message}`)
      assert.include(shown.body, "secret")
      assert.strictEqual(shown.headers["content-type"], "text/plain; charset=utf-8")
      assert.strictEqual((yield* ask(dashboard, `/body?consumer=closed&message=${message}`)).status, 403)
      assert.strictEqual((yield* ask(dashboard, "/body?consumer=open&message=unknown")).status, 404)
    })
  )
})

it.scoped("a page that does not read misses updates, and makes nothing grow", () =>
  Effect.gen(function* () {
    const consumer = yield* Consumer.make(yield* MemoryQueue.make())
    const watched = { consumer, backlog: undefined, bodies: undefined, pause: false, concurrency: undefined }
    const { events } = yield* Monitor.make(new Map([["orders", { ...watched, diagnosis: Stream.empty }]]), {
      every: Duration.seconds(1),
      history: Duration.seconds(10)
    })
    const pull = Effect.map(yield* Stream.toPull(events), (chunk) =>
      Chunk.toReadonlyArray(chunk)
        .map((bytes) => new TextDecoder().decode(bytes))
        .join("")
    )
    assert.include(yield* pull, "event: opening")
    yield* TestClock.adjust("1 minute")
    let read = ""
    while (!read.includes('"at":60000')) read += yield* pull
    const seen = [...read.matchAll(/"point":\{"at":(\d+)/g)].map(([, at]) => Number(at))
    assert.strictEqual(seen.at(-1), 60_000)
    // What waited for it, and what its stream had taken already.
    assert.isAtMost(seen.length, 12)
  })
)
