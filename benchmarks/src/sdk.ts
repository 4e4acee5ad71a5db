/** Receive, handle and delete through the AWS SDK, where nothing but the client takes time. */
import { Pipeline } from "@millrace/core"
import { SqsConsumer } from "@millrace/sqs"
import { Effect, Stream } from "effect"
import { atLeast, atMost, type Benchmark, compete, ours, ratiosOf, ratioTo, rowsOf } from "./Benchmark.js"
import * as Server from "./Server.js"
import { clientNote, layer, rawLoops } from "./sdkClient.js"
import { steady, type Work } from "./steady.js"

const pollers = 10
const raw = "raw SDK loop"

export const benchmark: Benchmark = {
  about: "receive + handle + delete through the AWS SDK against a no-op server, against a loop written by hand",
  run: ({ quick }) =>
    Effect.gen(function* () {
      const server = yield* Server.noop()
      const messages = 4000
      const handle = (work: Work) => {
        work.begin()
        work.end()
      }
      const round = (program: (work: Work) => Effect.Effect<unknown, unknown>) =>
        steady({ server, program, slots: 10 * pollers, warmUp: { messages: 500 }, window: { messages } })
      const contestants = [
        {
          name: ours,
          round: round((work) =>
            SqsConsumer.stream(server.queueUrl, { maxInFlight: 20 * pollers }).pipe(
              Pipeline.process(() => Effect.sync(() => handle(work)), { concurrency: 10 * pollers }),
              Stream.runDrain,
              Effect.provide(layer(server))
            )
          )
        },
        {
          name: raw,
          round: round((work) => Effect.scoped(rawLoops(server, pollers, async () => handle(work))))
        }
      ]
      // The compiler's rounds: the SDK takes some 20,000 messages to reach its speed.
      yield* compete(contestants, quick ? 1 : 5)
      const results = yield* compete(contestants, quick ? 3 : 9)
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
          "both with cacheMiddleware, one attempt, kept-alive sockets, all attributes asked for; the server runs in its own process",
          clientNote
        ]
      }
    }).pipe(Effect.scoped)
}
