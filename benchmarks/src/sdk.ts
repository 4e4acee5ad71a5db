/** Receive, handle and delete, where nothing but the client takes time. */
import { fileURLToPath } from "node:url"
import { Pipeline } from "@millrace/core"
import { SqsConsumer } from "@millrace/sqs"
import { Effect, Stream } from "effect"
import {
  atLeast,
  atMost,
  type Benchmark,
  compete,
  inChild,
  ours,
  ratiosOf,
  ratioTo,
  rowsOf,
  runChild
} from "./Benchmark.js"
import * as Certificate from "./certificate.js"
import * as Server from "./Server.js"
import { clientNote, layer, rawLoops, type Transport } from "./sdkClient.js"
import { steady, type Work } from "./steady.js"

const pollers = 10
const raw = "raw SDK loop"
const best = "raw SDK loop, undici"

/** A process that works for days, and the same one in its first seconds. */
const speed = { warmUp: { messages: 100_000 }, window: { messages: 50_000 } }
const young = { warmUp: { messages: 20_000 }, window: { messages: 10_000 } }

const millrace = (server: Server.Server) => (work: Work) =>
  SqsConsumer.stream(server.queueUrl, { maxInFlight: 20 * pollers }).pipe(
    Pipeline.process(() => Effect.sync(() => handle(work)), { concurrency: 10 * pollers }),
    Stream.runDrain,
    Effect.provide(layer(server))
  )

const rawLoop = (transport: Transport) => (server: Server.Server) => (work: Work) =>
  Effect.scoped(rawLoops(server, pollers, async () => handle(work), transport))

const handle = (work: Work) => {
  work.begin()
  work.end()
}

const programs = { [ours]: millrace, [raw]: rawLoop("node:http"), [best]: rawLoop("undici") }

const self = fileURLToPath(import.meta.url)

if (process.argv[1] === self) {
  await runChild(programs, (program) =>
    Effect.scoped(
      Effect.flatMap(Server.noop(), (server) =>
        steady({
          server,
          program: program(server),
          slots: 10 * pollers,
          ...speed,
          young
        })
      )
    )
  )
}

const make = (tls: boolean): Benchmark => ({
  about: `receive + handle + delete ${tls ? "over TLS " : ""}against a no-op server, against loops written by hand over the AWS SDK`,
  run: ({ quick }) =>
    Effect.gen(function* () {
      const env = tls ? Certificate.environment(yield* Certificate.selfSigned) : {}
      const names = [ours, raw, best]
      const results = yield* compete(
        names.map((name) => inChild(self, name, [], env)),
        quick ? 1 : 5
      )
      const rows = rowsOf(results, "youngMessagesPerSecond", "youngCpuMicros")
      return {
        title: `messages of 100 bytes${tls ? " over TLS" : ""}, ${pollers} pollers, a server without latency`,
        rows,
        ratioOf: "messagesPerSecond",
        ratio: ratiosOf(results, "messagesPerSecond"),
        bounds: [
          atLeast(`messages/s, of the ${raw}'s`, ratioTo(results, raw, "messagesPerSecond"), 1.5),
          atMost(`CPU, of the ${raw}'s`, ratioTo(results, raw, "cpuMicros"), 0.65),
          atLeast(`messages/s, of the ${best}'s`, ratioTo(results, best, "messagesPerSecond"), 1.2),
          atMost(`CPU, of the ${best}'s`, ratioTo(results, best, "cpuMicros"), 0.85),
          atLeast(
            `in the first seconds: messages/s, of the ${raw}'s`,
            ratioTo(results, raw, "youngMessagesPerSecond"),
            1.5
          ),
          atMost(`in the first seconds: CPU, of the ${raw}'s`, ratioTo(results, raw, "youngCpuMicros"), 0.65),
          atMost("calls per 1,000 messages", rows[0]?.[1]["callsPer1000"] ?? Number.NaN, 205)
        ],
        notes: [
          `${raw}: ${pollers} loops of receive 10, handle, delete 10; ${ours}: maxInFlight ${20 * pollers}: ten received and ten deleted for each loop`,
          `${best}: the same with @smithy/undici-http-handler, as fast a client as one can put together of the SDK`,
          "each round in a process of its own, with a server of its own: 50,000 messages after 100,000 more, and before them 10,000 after the first 20,000",
          "the SDK's with cacheMiddleware, one attempt, kept-alive sockets; all attributes asked for; the server runs in its own process",
          clientNote
        ]
      }
    }).pipe(Effect.scoped)
})

export const benchmark: Benchmark = make(false)
export const overTls: Benchmark = make(true)
