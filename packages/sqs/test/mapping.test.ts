/** Whether event source mappings take notice of batchItemFailures, by Lambda's own API. */
import * as Http from "node:http"
import { assert, it } from "@effect/vitest"
import { Duration, Effect, Logger } from "effect"
import * as Mapping from "../src/internal/lambda/mapping.js"
import * as Environment from "./support/Environment.js"

const arnOf = (queue: string) => `arn:aws:sqs:us-east-1:000000000000:${queue}`
const context = {
  getRemainingTimeInMillis: () => 10_000,
  invokedFunctionArn: "arn:aws:lambda:us-east-1:000000000000:function:fulfil"
}
const within = Duration.seconds(5)

const marker = (page: number): string => `a+b/c== ${page}`
const reporting = { FunctionResponseTypes: ["ReportBatchItemFailures"] }
const silent = { FunctionResponseTypes: [] }

/** What Lambda answers for a queue, page by page; one mapping that does not report, where nothing is said. */
const answers: Readonly<Record<string, ReadonlyArray<string>>> = {
  reporting: [JSON.stringify({ EventSourceMappings: [reporting] })],
  "empty-first": [{ EventSourceMappings: [], NextMarker: marker(1) }, { EventSourceMappings: [reporting] }].map(
    (page) => JSON.stringify(page)
  ),
  "silent-last": [
    { EventSourceMappings: [reporting], NextMarker: marker(1) },
    { EventSourceMappings: [reporting], NextMarker: marker(2) },
    { EventSourceMappings: [silent], NextMarker: null }
  ].map((page) => JSON.stringify(page)),
  "broken-last": [JSON.stringify({ EventSourceMappings: [reporting], NextMarker: marker(1) }), "<html>"]
}

/** Lambda's API. */
const lambda = Effect.acquireRelease(
  Effect.async<{ readonly url: string; readonly asked: Array<string>; readonly server: Http.Server }>((resume) => {
    const asked: Array<string> = []
    const server = Http.createServer((request, response) => {
      const { searchParams } = new URL(request.url ?? "", "http://lambda")
      const queue = searchParams.get("EventSourceArn") ?? ""
      asked.push(queue)
      const pages = answers[queue.split(":").at(-1) ?? ""] ?? [JSON.stringify({ EventSourceMappings: [silent] })]
      const after = searchParams.get("Marker")
      response.end(pages[after === null ? 0 : pages.findIndex((_, i) => marker(i) === after)] ?? "{}")
    })
    server.listen(0, "127.0.0.1", () => {
      const address = server.address()
      const port = typeof address === "object" && address !== null ? address.port : 0
      resume(Effect.succeed({ url: `http://127.0.0.1:${port}`, asked, server }))
    })
  }),
  ({ server }) =>
    Effect.async<void>((resume) => {
      server.closeAllConnections()
      server.close(() => resume(Effect.void))
    })
)

const environment = (values: Readonly<Record<string, string>>) =>
  Environment.set({
    AWS_ENDPOINT_URL: undefined,
    AWS_ENDPOINT_URL_LAMBDA: undefined,
    AWS_IGNORE_CONFIGURED_ENDPOINT_URLS: undefined,
    AWS_ACCESS_KEY_ID: "key",
    AWS_SECRET_ACCESS_KEY: "secret",
    AWS_SESSION_TOKEN: undefined,
    ...values
  })

/** What is logged, in place of being written. */
const heard = () => {
  const said: Array<string> = []
  const logger = Logger.make(({ message }) => void said.push(String(message)))
  return { said, layer: Logger.replace(Logger.defaultLogger, logger) }
}

it.scopedLive("each queue has an answer of its own: what one mapping takes notice of, another may not", () =>
  Effect.gen(function* () {
    const { asked, url } = yield* lambda
    yield* environment({ AWS_ENDPOINT_URL_LAMBDA: url })
    const { layer, said } = heard()
    const reports = Mapping.make(undefined)
    const answers: Array<boolean> = []
    for (const queue of ["reporting", "silent", "reporting", "silent", "deaf"]) {
      answers.push(yield* Effect.provide(reports(arnOf(queue), context, within), layer))
    }
    assert.deepStrictEqual(answers, [true, false, true, false, false])
    assert.deepStrictEqual(asked, ["reporting", "silent", "deaf"].map(arnOf))
    assert.deepStrictEqual(
      said.map((text) => /mapping from \S*:(\w+) /.exec(text)?.[1]),
      ["silent", "deaf"]
    )
  })
)

it.scopedLive("all pages are read: none of its mappings is taken for one that reports by what the others say", () =>
  Effect.gen(function* () {
    const { asked, url } = yield* lambda
    yield* environment({ AWS_ENDPOINT_URL_LAMBDA: url })
    const { layer, said } = heard()
    const reports = Mapping.make(undefined)
    const answers: Array<boolean> = []
    for (const queue of ["empty-first", "silent-last", "broken-last"]) {
      answers.push(yield* Effect.provide(reports(arnOf(queue), context, within), layer))
    }
    assert.deepStrictEqual(answers, [true, false, false])
    assert.lengthOf(asked, 7)
    assert.match(said[1] ?? "", /is no list of mappings/)
  })
)

it.scopedLive("an endpoint that is no URL, and a key that cannot be, are no answer and end nothing", () =>
  Effect.gen(function* () {
    for (const [wrong, reason] of [
      [{ AWS_ENDPOINT_URL: "localhost" }, /Invalid URL/],
      [{ AWS_SECRET_ACCESS_KEY: "sec ret" }, /secretAccessKey has a character/]
    ] as const) {
      yield* environment(wrong)
      const { layer, said } = heard()
      const reports = Mapping.make(undefined)
      for (let i = 0; i < 2; i++) {
        assert.isFalse(yield* Effect.provide(reports(arnOf("orders"), context, within), layer))
      }
      assert.lengthOf(said, 1)
      assert.match(said[0] ?? "", reason)
    }
  })
)

it.scopedLive("an endpoint of the environment that is to be ignored is not asked", () =>
  Effect.gen(function* () {
    const { asked, url } = yield* lambda
    yield* environment({
      AWS_ENDPOINT_URL: url,
      AWS_ENDPOINT_URL_LAMBDA: url,
      AWS_IGNORE_CONFIGURED_ENDPOINT_URLS: "true"
    })
    const called: Array<string> = []
    const real = globalThis.fetch
    yield* Effect.acquireRelease(
      Effect.sync(() => {
        globalThis.fetch = async (to) => {
          called.push(new URL(String(to)).host)
          return new Response(answers["reporting"]?.[0])
        }
      }),
      () =>
        Effect.sync(() => {
          globalThis.fetch = real
        })
    )
    assert.isTrue(yield* Mapping.make(undefined)(arnOf("silent"), context, within))
    assert.deepStrictEqual(called, ["lambda.us-east-1.amazonaws.com"])
    assert.deepStrictEqual(asked, [])
  })
)
