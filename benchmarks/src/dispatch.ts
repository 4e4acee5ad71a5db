/**
 * What a message costs on its way from a queue in memory through a trivial handler to its ack; and what an async handler adds to
 * that, by `@millrace/promise`.
 */
import { fileURLToPath } from "node:url"
import { Consumer, type LeaseQueue, Pipeline } from "@millrace/core"
import { MemoryQueue } from "@millrace/core/testing"
import { consume } from "@millrace/promise"
import { emulator } from "@millrace/promise/testing"
import { SqsConsumer } from "@millrace/sqs"
import { SqsEmulator } from "@millrace/sqs/emulator"
import { Chunk, Duration, Effect, Option, Stream } from "effect"
import {
  atMost,
  type Benchmark,
  collectGarbage,
  compete,
  type Figures,
  inChild,
  median,
  ours,
  type Results,
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

const bodiesOf = (messages: number) => Array.from({ length: messages }, (_, i) => `message ${i}`)

type Measured = (messages: number) => Effect.Effect<Figures>

const onMemoryQueue =
  <E>(program: (queue: Queue, messages: number) => Effect.Effect<void, E>): Measured =>
  (messages) =>
    Effect.gen(function* () {
      const queue = yield* MemoryQueue.make()
      yield* queue.send(bodiesOf(messages))
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

// -------------------------------------------------------------------------------- over SQS in memory, by Effect and by promises

const name = "queue"
const bounds = { concurrency, maxInFlight: 2 * concurrency }

/** Until the last message is deleted; what a stop waits for is left out. */
const effects: Measured = (messages) =>
  Effect.gen(function* () {
    const sqs = yield* SqsEmulator.SqsEmulator
    yield* sqs.send(name, bodiesOf(messages))
    yield* collectGarbage
    const consumed = SqsConsumer.stream(name, { maxInFlight: bounds.maxInFlight }).pipe(
      Pipeline.process(handler, { concurrency }),
      Stream.runDrain
    )
    const { cpu, wall } = yield* timed(Effect.raceFirst(sqs.settled(name, messages), consumed))
    return figuresOf(messages, cpu, wall, yield* sqs.snapshot(name))
  }).pipe(Effect.provide(SqsEmulator.layer({ queues: { [name]: {} } })), Effect.orDie)

const promises: Measured = (messages) =>
  Effect.gen(function* () {
    const sqs = yield* Effect.promise(() => emulator({ queues: { [name]: {} } }))
    yield* Effect.promise(() => sqs.send(name, bodiesOf(messages)))
    yield* collectGarbage
    const consumer = consume({
      queue: name,
      client: sqs.client,
      logger: false,
      ...bounds,
      handler: async (body) => body
    })
    const settled = sqs.settled(name, messages)
    const { cpu, wall } = yield* timed(Effect.promise(() => Promise.all([consumer.start(), settled])))
    const snapshot = yield* Effect.promise(() => sqs.snapshot(name))
    yield* Effect.promise(() => consumer.stop())
    yield* Effect.promise(() => sqs.close())
    return figuresOf(messages, cpu, wall, snapshot)
  })

const figuresOf = (messages: number, cpu: number, wall: number, { deleted }: { readonly deleted: number }): Figures => {
  if (deleted !== messages) throw new Error(`deleted ${deleted} of ${messages}`)
  return { messagesPerSecond: (messages / wall) * 1e6, cpuMicros: cpu / messages }
}

const byEffect = "SqsConsumer, SQS in memory"
const byPromise = "@millrace/promise, the same"

const programs: Readonly<Record<string, Measured>> = {
  [ours]: onMemoryQueue(millrace),
  [ordered]: onMemoryQueue(mapEffect({ unordered: false })),
  [unordered]: onMemoryQueue(mapEffect({ unordered: true })),
  [alone]: onMemoryQueue(bare),
  [byEffect]: effects,
  [byPromise]: promises
}

const self = fileURLToPath(import.meta.url)

const contestant = (name: string, messages: number) => inChild(self, name, [String(messages)])

// As many messages again to warm up, twice, then one measured round.
if (process.argv[1] === self) {
  await runChild(programs, (program, messages) => {
    const round = program(Number(messages))
    return Effect.zipRight(Effect.zipRight(round, round), round)
  })
}

/** The median over the rounds of what it takes more than the other in the same round. */
const added = (pair: Results): number =>
  median(
    (pair.get(byPromise) ?? []).map(
      ({ cpuMicros }, i) => cpuMicros - (pair.get(byEffect)?.[i]?.cpuMicros ?? Number.NaN)
    )
  )

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
      const pair = yield* compete(
        [contestant(byEffect, 50_000 * scale), contestant(byPromise, 50_000 * scale)],
        quick ? 3 : 7
      )
      const rows = rowsOf(results)
      const bareFigures = yield* contestant(alone, 100_000 * scale).round
      return {
        title: `a message from a queue in memory through a trivial handler, concurrency ${concurrency}`,
        rows: [...rows, ...rowsOf(pair)],
        ratioOf: "cpuMicros",
        ratio: ratiosOf(results, "cpuMicros"),
        bounds: [
          atMost(`CPU, of ${ordered}'s`, ratioTo(results, ordered, "cpuMicros"), 0.07),
          atMost(`wall time, of ${ordered}'s`, 1 / ratioTo(results, ordered, "messagesPerSecond"), 0.07),
          atMost("µs CPU a message", rows[0]?.[1]["cpuMicros"] ?? Number.NaN, 10),
          atMost("µs CPU a message that @millrace/promise adds", added(pair), 5)
        ],
        notes: [
          `each in a process of its own; the same queue for all, receives and acks of ${batch}; ${ours}: maxInFlight ${2 * concurrency}; the streams keep no bound in flight and settle nothing at their end`,
          "SQS in memory: the emulator's own calls, without HTTP, in both; until the last message is deleted",
          `in every row: the queue's own cost, ${bareFigures.cpuMicros.toFixed(1)} µs when received, handled and acked one after another`
        ]
      }
    })
}
