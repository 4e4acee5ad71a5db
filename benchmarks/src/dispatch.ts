/** What a message costs on its way from a queue in memory through a trivial handler to its ack. */
import { fileURLToPath } from "node:url"
import { Consumer, type LeaseQueue, Pipeline } from "@millrace/core"
import { MemoryQueue } from "@millrace/core/testing"
import { Chunk, Duration, Effect, Option, Stream } from "effect"
import {
  atMost,
  type Benchmark,
  collectGarbage,
  compete,
  type Figures,
  inChild,
  ours,
  ratiosOf,
  ratioTo,
  rowsOf,
  runChild,
  timed
} from "./Benchmark.js"

const concurrency = 100
const batch = 10

type Queue = MemoryQueue.MemoryQueue
type Handler = (body: string) => Effect.Effect<string>

const handler: Handler = (body) => Effect.succeed(body)

/** The queue's messages, received in tens until as many have come: what a hand-written source does. */
const received = (queue: Queue, messages: number): Stream.Stream<LeaseQueue.Message, MemoryQueue.MemoryQueueError> =>
  Stream.unfoldChunkEffect(messages, (left) =>
    left <= 0
      ? Effect.succeed(Option.none())
      : Effect.map(queue.receive({ max: batch, wait: Duration.zero, attemptId: undefined }), (chunk) =>
          Option.some([Chunk.unsafeFromArray(chunk), left - chunk.length] as const)
        )
  )

/** Handles with `mapEffect` and deletes in tens, in the cheapest way that keeps a message until it is handled. */
const mapEffect = (options: { readonly unordered: boolean }) => (queue: Queue, messages: number) =>
  received(queue, messages).pipe(
    Stream.mapEffect((message) => Effect.as(handler(message.body), message.lease), { concurrency, ...options }),
    Stream.grouped(batch),
    Stream.runForEach((leases) => queue.ack(Chunk.toReadonlyArray(leases)))
  )

const millrace = (queue: Queue, messages: number) =>
  Consumer.stream(queue, { maxInFlight: 2 * concurrency, drainWhen: queue.settled(messages) }).pipe(
    Pipeline.process(handler, { concurrency }),
    Stream.runDrain
  )

/** The queue and nothing else: what every contestant pays for it. */
const bare = (queue: Queue, messages: number) =>
  Effect.gen(function* () {
    for (let left = messages; left > 0; ) {
      const chunk = yield* queue.receive({ max: batch, wait: Duration.zero, attemptId: undefined })
      yield* Effect.forEach(chunk, (message) => handler(message.body), { discard: true })
      yield* queue.ack(chunk.map((message) => message.lease))
      left -= chunk.length
    }
  })

const measure = <E>(
  messages: number,
  program: (queue: Queue, messages: number) => Effect.Effect<void, E>
): Effect.Effect<Figures> =>
  Effect.gen(function* () {
    const queue = yield* MemoryQueue.make()
    yield* queue.send(Array.from({ length: messages }, (_, i) => `message ${i}`))
    yield* collectGarbage
    const { cpu, wall } = yield* timed(program(queue, messages))
    const stats = yield* queue.stats
    if (stats.acked !== messages) return yield* Effect.dieMessage(`acked ${stats.acked} of ${messages}`)
    const figures: Figures = {
      messagesPerSecond: (messages / wall) * 1e6,
      cpuMicros: cpu / messages,
      callsPer1000: ((stats.calls.receive + stats.calls.ack + stats.calls.setLease) / messages) * 1000
    }
    return figures
  }).pipe(Effect.orDie)

const ordered = "Stream.mapEffect"
const unordered = "Stream.mapEffect, unordered"

const alone = "the queue alone"

const programs = {
  [ours]: millrace,
  [ordered]: mapEffect({ unordered: false }),
  [unordered]: mapEffect({ unordered: true }),
  [alone]: bare
}

const self = fileURLToPath(import.meta.url)

const contestant = (name: keyof typeof programs, messages: number) => inChild(self, name, [String(messages)])

// As many messages again to warm up, twice, then one measured round.
if (process.argv[1] === self) {
  await runChild(programs, (program, messages) => {
    const round = measure(Number(messages), program)
    return Effect.zipRight(Effect.zipRight(round, round), round)
  })
}

export const benchmark: Benchmark = {
  about: "CPU and wall time a message, trivial handler at concurrency 100, against Stream.mapEffect",
  run: ({ quick }) =>
    Effect.gen(function* () {
      // Each runs for about as long; what is compared is the time a message.
      const scale = quick ? 0.2 : 1
      const contestants = [
        contestant(ours, 100_000 * scale),
        contestant(ordered, 10_000 * scale),
        contestant(unordered, 4_000 * scale)
      ]
      const results = yield* compete(contestants, quick ? 3 : 5)
      const rows = rowsOf(results)
      const bareFigures = yield* contestant(alone, 100_000 * scale).round
      return {
        title: `a message from a queue in memory through a trivial handler, concurrency ${concurrency}`,
        rows,
        ratioOf: "cpuMicros",
        ratio: ratiosOf(results, "cpuMicros"),
        bounds: [
          atMost(`CPU, of ${ordered}'s`, ratioTo(results, ordered, "cpuMicros"), 0.07),
          atMost(`wall time, of ${ordered}'s`, 1 / ratioTo(results, ordered, "messagesPerSecond"), 0.07),
          atMost("µs CPU a message", rows[0]?.[1]["cpuMicros"] ?? Number.NaN, 10)
        ],
        notes: [
          `each in a process of its own; the same queue for all, receives and acks of ${batch}; ${ours}: maxInFlight ${2 * concurrency}; the streams keep no bound in flight and settle nothing at their end`,
          `in every row: the queue's own cost, ${bareFigures.cpuMicros.toFixed(1)} µs when received, handled and acked one after another`
        ]
      }
    })
}
