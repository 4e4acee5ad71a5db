/**
 * A page that shows running consumers live: the backlog and its rates, what is in flight against its bound, slots, times,
 * groups, failures, and what is wrong in words.
 *
 * It listens on this machine alone unless it is told otherwise, and then asks for a token. It changes nothing unless the
 * program lets it.
 */
import { createServer } from "node:http"
import * as HttpMiddleware from "@effect/platform/HttpMiddleware"
import * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import type * as Backlog from "@millrace/core/Backlog"
import * as Diagnosis from "@millrace/core/Diagnosis"
import * as InvalidOptions from "@millrace/core/InvalidOptions"
import * as ProcessLoad from "@millrace/core/ProcessLoad"
import type * as Tunable from "@millrace/core/Tunable"
import * as Context from "effect/Context"
import * as Data from "effect/Data"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import type { Bodies } from "./Bodies.js"
import { type Asset, assets } from "./internal/assets.js"
import { bearerOf, Guard, isLoopback, securityHeaders } from "./internal/guard.js"
import * as Monitor from "./internal/monitor.js"
import type * as Wire from "./internal/wire.js"
import * as WrongTokens from "./internal/wrongTokens.js"

/** What can be shown: a `Consumer`, or a `Served` one. */
export type Shown = Monitor.Watched["consumer"]

/** A consumer with what belongs to it. */
export interface Entry {
  readonly consumer: Shown
  /** Its queue's backlog, with dead letters where it reads them. It is read for as long as the dashboard is up. */
  readonly backlog?: Backlog.Backlog<unknown> | undefined
  /** What may be done from the page. Default: nothing. */
  readonly controls?: Controls | undefined
  /** Shows the bodies of messages that failed. Default: none. */
  readonly bodies?: Bodies | undefined
}

export interface Controls {
  /** Whether the page may pause the consumer and resume it. Default false. */
  readonly pause?: boolean | undefined
  /** The number that the page may change, within its range: what `process` has as its `concurrency`. */
  readonly concurrency?: Tunable.Tunable | undefined
}

export interface Options<E = never, R = never> {
  /** The consumers by name, such as `Effect.all({ orders: Orders })`. */
  readonly consumers: Effect.Effect<Readonly<Record<string, Shown | Entry>>, E, R>
  /** 0 picks a free one. Default 4400. */
  readonly port?: number | undefined
  /** Default `127.0.0.1`, so that only this machine reaches it. Any that others reach needs a `token`. */
  readonly host?: string | undefined
  /**
   * Who does not show it sees nothing: the page asks for it, and a program sends it as `Authorization: Bearer …`. At least
   * 16 characters. Without TLS in front, it crosses the network readable. Default: none, on loopback alone.
   */
  readonly token?: Redacted.Redacted<string> | undefined
  /** Names by which it may be called on loopback besides `localhost`, as by a proxy in front of it. */
  readonly hosts?: ReadonlyArray<string> | undefined
  /** Time between readings: from 100 milliseconds to 1 minute. Default 1 second. It costs no call to the queue. */
  readonly every?: Duration.DurationInput | undefined
  /** How far back a page that is opened sees: at most 3,600 readings. Default 10 minutes, or as many. */
  readonly history?: Duration.DurationInput | undefined
  /** What is judged, and how often. Default: the last minute, each 10 seconds. */
  readonly diagnosis?: Diagnosis.WatchOptions | undefined
  /** Pages at once, at most. From 1. Default 32. */
  readonly pages?: number | undefined
}

/** The server cannot listen there. The message says why, and what to write instead. */
export class CannotListen extends Data.TaggedError("CannotListen")<{
  readonly host: string
  readonly port: number
  readonly message: string
  readonly cause: unknown
}> {}

export interface Service {
  readonly host: string
  readonly port: number
  /** What a browser opens. */
  readonly url: string
}

export class Dashboard extends Context.Tag("@millrace/dashboard/Dashboard")<Dashboard, Service>() {}

/**
 * Serves the page until the Layer is closed.
 *
 * Fails with `InvalidOptions` where an option cannot work, a host that others reach without a token among them, with
 * `CannotListen`, and with what `consumers` fails with.
 *
 * @example
 * const Live = Dashboard.layer({ port: 4400, consumers: Effect.all({ orders: Orders }) }).pipe(Layer.provide(OrdersLive))
 */
export const layer = <E, R>(
  options: Options<E, R>
): Layer.Layer<Dashboard, E | InvalidOptions.InvalidOptions | CannotListen, Exclude<R, Scope.Scope>> =>
  Layer.scoped(Dashboard, make(options))

/** As `layer`, until the scope closes. */
export const make = <E, R>(
  options: Options<E, R>
): Effect.Effect<Service, E | InvalidOptions.InvalidOptions | CannotListen, R | Scope.Scope> =>
  Effect.gen(function* () {
    const { every, history, host, pages, port, token } = yield* check(options)
    const consumers = new Map<string, Monitor.Watched>()
    for (const [name, shown] of Object.entries(yield* options.consumers)) {
      const entry: Entry = "consumer" in shown ? shown : { consumer: shown }
      yield* InvalidOptions.check(`the consumer ${name}`, entry, entryChecks, `${name}.`)
      const diagnosis = yield* Effect.provide(
        Diagnosis.of(entry.consumer, entry.backlog, options.diagnosis),
        ProcessLoad.layer
      )
      consumers.set(name, {
        consumer: entry.consumer,
        backlog: entry.backlog,
        bodies: entry.bodies,
        pause: entry.controls?.pause === true,
        concurrency: entry.controls?.concurrency,
        diagnosis: diagnosis.changes
      })
    }
    const files = yield* assets
    const monitor = yield* Monitor.make(consumers, { every, history })

    const node = createServer(patience)
    node.maxConnections = pages + otherConnections
    node.on("clientError", (_, socket) => {
      if (socket.writable) socket.end(unreadable)
      else socket.destroy()
    })
    const server = yield* Effect.mapError(
      NodeHttpServer.make(() => node, { port, host }),
      ({ cause }) => cannotListen(host, port, cause)
    )
    // Open pages would hold up the server's end.
    yield* Effect.addFinalizer(() => Effect.sync(() => node.closeAllConnections()))

    const { address } = server
    const listening = address._tag === "TcpAddress" ? address.port : port
    const guard = new Guard({ host, token, hosts: options.hosts ?? [], port: listening })
    const wrongTokens = WrongTokens.make()

    let open = 0
    const events = Effect.gen(function* () {
      if (open >= pages) return refuse(503, `${pages} pages are open already; close one.`)
      // Until the answer is over.
      yield* Effect.acquireRelease(
        Effect.sync(() => open++),
        () => Effect.sync(() => open--)
      )
      return HttpServerResponse.stream(monitor.events, { contentType: "text/event-stream" })
    })

    const login = Effect.gen(function* () {
      const { headers } = yield* HttpServerRequest.HttpServerRequest
      if (!guard.isOwn(headers)) return refuse(403, "The token is taken from this server's own page alone.")
      const form = yield* HttpServerRequest.schemaBodyUrlParams(Schema.Struct({ token: Schema.String }))
      if (!guard.isToken(form.token)) {
        return (yield* wrongTokens.shown) ? HttpServerResponse.redirect("/?wrong", { status: 303 }) : tooMany
      }
      return HttpServerResponse.redirect("/", { status: 303, headers: { "set-cookie": guard.cookie } })
    })

    const control = Effect.gen(function* () {
      const { headers } = yield* HttpServerRequest.HttpServerRequest
      if (!guard.mayChange(headers)) return refuse(403, "A control is used from this server's own page alone.")
      const command = yield* HttpServerRequest.schemaBodyJson(Command)
      const watched = consumers.get(command.consumer)
      if (watched === undefined) return refuse(404, "There is no such consumer.")
      if (command.action === "concurrency") {
        if (watched.concurrency === undefined)
          return refuse(403, "The program does not let the concurrency be changed.")
        return yield* watched.concurrency.set(command.value).pipe(
          Effect.as(HttpServerResponse.empty()),
          Effect.catchTag("InvalidOptions", ({ message }) => Effect.succeed(refuse(422, message)))
        )
      }
      if (!watched.pause) return refuse(403, "The program does not let it be paused.")
      yield* command.action === "pause" ? watched.consumer.pause : watched.consumer.resume
      return HttpServerResponse.empty()
    })

    const body = (url: URL) =>
      Effect.gen(function* () {
        const bodies = consumers.get(url.searchParams.get("consumer") ?? "")?.bodies
        if (bodies === undefined) return refuse(403, "The program does not let bodies be shown.")
        const found = yield* bodies.of(url.searchParams.get("message") ?? "")
        return found === undefined
          ? refuse(404, "The body is not remembered any more.")
          : HttpServerResponse.text(found, { contentType: "text/plain; charset=utf-8" })
      })

    const answer = Effect.gen(function* () {
      const request = yield* HttpServerRequest.HttpServerRequest
      const { headers, method } = request
      const base = "http://localhost"
      if (!URL.canParse(request.url, base)) return refuse(400, "The request cannot be read.")
      const url = new URL(request.url, base)
      if (!guard.knowsHost(headers)) {
        return refuse(421, "This name is not known here: call it localhost, or name it in the option hosts.")
      }
      const reads = method === "GET" || method === "HEAD"
      const unguarded = files.open.get(url.pathname)
      if (reads && unguarded !== undefined) return serve(unguarded)
      if (url.pathname === "/login" && method === "POST") return yield* login
      if (!guard.mayLook(headers)) {
        if (bearerOf(headers) !== undefined && !(yield* wrongTokens.shown)) return tooMany
        return reads && url.pathname === "/"
          ? HttpServerResponse.setStatus(serve(files.login), 401)
          : refuse(401, "The token is missing or wrong.")
      }
      if (url.pathname === "/control" && method === "POST") return yield* control
      if (!reads) return refuse(405, "There is nothing to change here.")
      if (url.pathname === "/") return serve(files.page)
      if (url.pathname === "/events") return yield* events
      if (url.pathname === "/body") return yield* body(url)
      const file = files.files.get(url.pathname)
      return file === undefined ? refuse(404, "There is nothing here.") : serve(file)
    })

    yield* server
      .serve(
        answer.pipe(
          HttpServerRequest.withMaxBodySize(Option.some(4096)),
          Effect.catchAll(() => Effect.succeed(refuse(400, "The request cannot be read."))),
          Effect.catchAllDefect((defect) =>
            Effect.as(
              Effect.logError("the dashboard could not answer", defect),
              refuse(500, "It could not be answered.")
            )
          ),
          Effect.map(HttpServerResponse.setHeaders(securityHeaders))
        )
      )
      .pipe(HttpMiddleware.withTracerDisabledWhenEffect(() => true))

    const url = `http://${host.includes(":") ? `[${host}]` : host}:${listening}`
    yield* Effect.logInfo(`the dashboard is at ${url}`)
    return { host, port: listening, url }
  })

const Command = Schema.Union(
  Schema.Struct({ consumer: Schema.String, action: Schema.Literal("pause", "resume") }),
  Schema.Struct({ consumer: Schema.String, action: Schema.Literal("concurrency"), value: Schema.Number })
) satisfies Schema.Schema<Wire.Command>

const serve = ({ bytes, type }: Asset) => HttpServerResponse.uint8Array(bytes, { contentType: type })

const refuse = (status: number, message: string) => HttpServerResponse.text(message, { status })

const tooMany = refuse(429, "Too many wrong tokens are shown; try again in a moment.")

/** Half-sent requests must not hold the process's file descriptors: in milliseconds. */
const patience = {
  headersTimeout: 5_000,
  requestTimeout: 10_000,
  keepAliveTimeout: 5_000,
  connectionsCheckingInterval: 1_000
}

/** Beside those of open pages. */
const otherConnections = 64

/** The answer to what is no HTTP. */
const unreadable = [
  "HTTP/1.1 400 Bad Request",
  "connection: close",
  "content-length: 0",
  ...Object.entries(securityHeaders).map(([name, value]) => `${name}: ${value}`),
  "",
  ""
].join("\r\n")

const shortestToken = 16

const checks: InvalidOptions.Checks<Options> = {
  consumers: InvalidOptions.required({
    ...InvalidOptions.effect,
    write: "an Effect that gives the consumers by name, such as Effect.all({ orders: Orders })"
  }),
  port: InvalidOptions.aWholeNumber({ min: 0, max: 65_535 }),
  host: InvalidOptions.text,
  token: InvalidOptions.redacted,
  hosts: InvalidOptions.list(InvalidOptions.text),
  every: InvalidOptions.time({ min: "100 millis", max: "1 minute" }),
  history: InvalidOptions.time(),
  diagnosis: InvalidOptions.fields<Diagnosis.WatchOptions>(Diagnosis.watchChecks),
  pages: InvalidOptions.aWholeNumber({ min: 1, max: 10_000 })
}

const entryChecks: InvalidOptions.Checks<Entry> = {
  consumer: InvalidOptions.required(InvalidOptions.having("a consumer", "figures", "health", "pause")),
  backlog: InvalidOptions.having("a backlog, such as yield* SqsBacklog.make(queue)", "samples"),
  controls: InvalidOptions.fields<Controls>({
    pause: InvalidOptions.flag,
    concurrency: InvalidOptions.having("a Tunable of Tunable.make", "unsafeGet", "unsafeSubscribe")
  }),
  bodies: InvalidOptions.having("the bodies of Bodies.make", "through", "of")
}

const check = <E, R>(options: Options<E, R>) =>
  Effect.gen(function* () {
    yield* InvalidOptions.check("the dashboard", options, checks)
    const { host = "127.0.0.1", pages = 32, port = 4400, token } = options
    if (token === undefined && !isLoopback(host)) {
      return yield* new InvalidOptions.InvalidOptions({
        option: "token",
        message: `host is ${host}, which others reach, and there is no token; give one, such as yield* Config.redacted("DASHBOARD_TOKEN"), or leave host out`
      })
    }
    if (token !== undefined && String(Redacted.value(token)).length < shortestToken) {
      return yield* new InvalidOptions.InvalidOptions({
        option: "token",
        message: `token is too short to keep anybody out; write at least ${shortestToken} characters, such as those of: openssl rand -base64 24`
      })
    }
    const every = Duration.decode(options.every ?? "1 second")
    const most = Duration.times(every, 3_600)
    const history = options.history ?? Duration.min("10 minutes", most)
    return {
      host,
      token,
      every,
      pages,
      port,
      history: yield* InvalidOptions.duration("history", history, { min: every, max: most })
    }
  })

const cannotListen = (host: string, port: number, cause: unknown): CannotListen => {
  const code = cause instanceof Error && "code" in cause ? cause.code : undefined
  return new CannotListen({
    host,
    port,
    cause,
    message:
      code === "EADDRINUSE"
        ? `Port ${port} of ${host} is in use. Stop what listens there, or take another port (0 picks a free one).`
        : `Cannot listen on port ${port} of ${host} (${code}). Take an address of this machine, such as 127.0.0.1, and a port above 1023.`
  })
}
