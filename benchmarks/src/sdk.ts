/** Receive, handle and delete through the AWS SDK, where nothing but the client takes time. */
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
import * as Server from "./Server.js"
import { clientNote, layer, rawLoops } from "./sdkClient.js"
import { steady, type Work } from "./steady.js"

const pollers = 10
const raw = "raw SDK loop"

const warmUp = 20_000
const messages = 10_000

const millrace = (server: Server.Server) => (work: Work) =>
  SqsConsumer.stream(server.queueUrl, { maxInFlight: 20 * pollers }).pipe(
    Pipeline.process(() => Effect.sync(() => handle(work)), { concurrency: 10 * pollers }),
    Stream.runDrain,
    Effect.provide(layer(server))
  )

const rawLoop = (server: Server.Server) => (work: Work) =>
  Effect.scoped(rawLoops(server, pollers, async () => handle(work)))

const handle = (work: Work) => {
  work.begin()
  work.end()
}

const programs = { [ours]: millrace, [raw]: rawLoop }

const self = fileURLToPath(import.meta.url)

if (process.argv[1] === self) {
  await runChild(programs, (program) =>
    Effect.scoped(
      Effect.flatMap(Server.noop(), (server) =>
        steady({
          server,
          program: program(server),
          slots: 10 * pollers,
          warmUp: { messages: warmUp },
          window: { messages }
        })
      )
    )
  )
}

export const benchmark: Benchmark = {
  about: "receive + handle + delete through the AWS SDK against a no-op server, against a loop written by hand",
  run: ({ quick }) =>
    Effect.gen(function* () {
      const results = yield* compete([inChild(self, ours), inChild(self, raw)], quick ? 3 : 9)
      const rows = rowsOf(results)
      return {
        title: `messages of 100 bytes through @aws-sdk/client-sqs, ${pollers} pollers, a server without latency`,
        rows,
        ratioOf: "messagesPerSecond",
        ratio: ratiosOf(results, "messagesPerSecond"),
        bounds: [
          atLeast(`messages/s, of the ${raw}'s`, ratioTo(results, raw, "messagesPerSecond"), 0.9),
          atMost(`CPU, of the ${raw}'s`, ratioTo(results, raw, "cpuMicros"), 1.1),
          atMost("calls per 1,000 messages", rows[0]?.[1]["callsPer1000"] ?? Number.NaN, 205)
        ],
        notes: [
          `${raw}: ${pollers} loops of receive 10, handle, delete 10; ${ours}: maxInFlight ${20 * pollers}: ten received and ten deleted for each loop`,
          `each round in a process of its own, with a server of its own: ${messages} messages after ${warmUp} to warm up`,
          "both with cacheMiddleware, one attempt, kept-alive sockets, all attributes asked for; the server runs in its own process",
          clientNote
        ]
      }
    })
}
