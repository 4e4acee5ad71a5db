/** Messages into a queue, where nothing but the client takes time. */
import { SendMessageBatchCommand, type SQS } from "@aws-sdk/client-sqs"
import { SqsProducer } from "@millrace/sqs"
import { Effect, Layer, Stream } from "effect"
import {
  atLeast,
  atMost,
  type Benchmark,
  collectGarbage,
  compete,
  type Figures,
  ours,
  ratiosOf,
  ratioTo,
  rowsOf,
  timed
} from "./Benchmark.js"
import * as Server from "./Server.js"
import { client, clientNote, layer } from "./sdkClient.js"

const inFlight = 8
const raw = "raw SDK loop"

/** A thousand bodies of 200 bytes, again and again. */
const bodies: ReadonlyArray<string> = Array.from({ length: 1000 }, (_, order) => {
  const body = (note: string) => JSON.stringify({ order, item: "widget", note })
  return body("x".repeat(200 - body("").length))
})

const bodyAt = (n: number): string => bodies[n % bodies.length] ?? ""

/** So many loops of SendMessageBatch, each taking the next ten; throws where an entry failed. */
const rawLoops = async (sqs: SQS, queueUrl: string, messages: number): Promise<void> => {
  let next = 0
  const loop = async () => {
    while (next < messages) {
      const first = next
      next += 10
      const { Failed } = await sqs.send(
        new SendMessageBatchCommand({
          QueueUrl: queueUrl,
          Entries: Array.from({ length: Math.min(10, messages - first) }, (_, i) => ({
            Id: String(i),
            MessageBody: bodyAt(first + i)
          }))
        })
      )
      if (Failed !== undefined && Failed.length > 0) throw new Error(`${Failed.length} messages failed`)
    }
  }
  await Promise.all(Array.from({ length: inFlight }, loop))
}

/** Least squares: MiB for each 100,000 messages, of heaps measured a round apart. */
const growth = (heaps: ReadonlyArray<number>, messages: number): number => {
  const x = (heaps.length - 1) / 2
  const y = heaps.reduce((sum, heap) => sum + heap, 0) / heaps.length
  const covariance = heaps.reduce((sum, heap, i) => sum + (heap - y) * (i - x), 0)
  return (covariance / heaps.reduce((sum, _, i) => sum + (i - x) ** 2, 0) / messages) * 100_000
}

export const benchmark: Benchmark = {
  about: "100,000 messages of 200 bytes sent to a no-op server, against a loop written by hand over the AWS SDK",
  run: ({ all, quick }) =>
    Effect.gen(function* () {
      const server = yield* Server.noop()
      const sqs = yield* client(server)
      const producer = yield* SqsProducer.make<string>(server.queueUrl, { concurrency: inFlight }).pipe(
        Effect.provide(yield* Layer.build(layer(server)))
      )
      const messages = quick ? 4000 : 10_000
      const heaps: Array<number> = []
      const round = (program: Effect.Effect<unknown, unknown>): Effect.Effect<Figures> =>
        Effect.gen(function* () {
          const before = yield* server.stats
          const { cpu, wall } = yield* timed(program)
          const after = yield* server.stats
          return {
            messagesPerSecond: (messages / wall) * 1e6,
            cpuMicros: cpu / messages,
            callsPer1000: ((after.calls - before.calls) / messages) * 1000,
            serverCpuMicros: (after.cpu - before.cpu) / messages
          }
        }).pipe(Effect.orDie)
      const stream = Stream.range(0, messages - 1).pipe(Stream.map(bodyAt))
      const numbers = Array.from({ length: messages }, (_, n) => n)
      const contestants = [
        {
          name: ours,
          round: Effect.tap(round(Stream.run(stream, producer.sink)), () =>
            Effect.map(collectGarbage, () => heaps.push(process.memoryUsage().heapUsed / 2 ** 20))
          )
        },
        { name: raw, round: round(Effect.promise(() => rawLoops(sqs, server.queueUrl, messages))) },
        ...(all
          ? [
              {
                name: `${ours}, a send each`,
                round: round(
                  Effect.forEach(numbers, (n) => producer.send(bodyAt(n)), { concurrency: 400, discard: true })
                )
              },
              {
                name: `${ours}, through`,
                round: round(Stream.runDrain(producer.through(stream)))
              }
            ]
          : [])
      ]
      // The compiler's rounds: the SDK takes some 20,000 messages to reach its speed.
      yield* compete(contestants, quick ? 2 : 3)
      heaps.length = 0
      const results = yield* compete(contestants, quick ? 3 : 10)
      const rows = rowsOf(results, "serverCpuMicros")
      const grown = growth(heaps, messages)
      return {
        title: `messages of 200 bytes ${inFlight} calls in flight, a server without latency`,
        rows,
        ratioOf: "messagesPerSecond",
        ratio: ratiosOf(results, "messagesPerSecond"),
        bounds: [
          atLeast(`messages/s, of the ${raw}'s`, ratioTo(results, raw, "messagesPerSecond"), 1.8),
          atMost("calls per 1,000 messages", rows[0]?.[1]["callsPer1000"] ?? Number.NaN, 101),
          atMost("MiB that the heap grows with 100,000 messages", grown, 1)
        ],
        notes: [
          `${raw}: ${inFlight} loops of SendMessageBatch of 10; ${ours}: one producer for all rounds, a stream of strings into its sink, default buffer and linger`,
          `${heaps.length} rounds of ${messages.toLocaleString("en")} messages each; the heap after each, garbage collected: ${heaps.map((heap) => heap.toFixed(2)).join(" ")} MiB`,
          "the SDK's with cacheMiddleware, one attempt, kept-alive sockets; the server runs in its own process",
          clientNote
        ]
      }
    }).pipe(Effect.scoped, Effect.orDie)
}
