/** A million messages through a pipeline, with the heap looked at along the way: it must not grow. */
import { Consumer, Pipeline } from "@millrace/core"
import { MemoryQueue } from "@millrace/core/testing"
import { Effect, Fiber, Stream } from "effect"
import { atMost, type Benchmark, collectGarbage, ours, timed } from "./Benchmark.js"

interface Sample {
  readonly messages: number
  readonly heapMiB: number
}

const sample = (messages: number): Effect.Effect<Sample> =>
  Effect.map(collectGarbage, () => ({ messages, heapMiB: process.memoryUsage().heapUsed / 2 ** 20 }))

/** Least squares: MiB for each million messages. */
const slopeOf = (samples: ReadonlyArray<Sample>): number => {
  const mean = (f: (sample: Sample) => number) => samples.reduce((sum, each) => sum + f(each), 0) / samples.length
  const [x, y] = [mean(({ messages }) => messages), mean(({ heapMiB }) => heapMiB)]
  const covariance = mean(({ heapMiB, messages }) => (messages - x) * (heapMiB - y))
  return (covariance / mean(({ messages }) => (messages - x) ** 2)) * 1e6
}

export const benchmark: Benchmark = {
  about: "1,000,000 messages through process: the heap stays flat",
  run: ({ quick }) =>
    Effect.gen(function* () {
      const total = quick ? 200_000 : 1_000_000
      // What waits in the queue is memory too, so it never holds more than a portion.
      const portion = 10_000
      const looks = 20
      const queue = yield* MemoryQueue.make()
      const send = queue.send(Array.from({ length: portion }, (_, i) => `message ${i}`))
      const {
        cpu,
        value: samples,
        wall
      } = yield* timed(
        Effect.gen(function* () {
          const consumer = yield* Effect.fork(
            Consumer.stream(queue, { maxInFlight: 200, drainWhen: queue.settled(total) }).pipe(
              Pipeline.process((body) => Effect.succeed(body.length), { concurrency: 100 }),
              Stream.runDrain
            )
          )
          const samples: Array<Sample> = []
          for (let sent = 0; sent < total; sent += portion) {
            yield* send
            yield* queue.settled(sent + portion)
            if ((sent + portion) % (total / looks) === 0) samples.push(yield* sample(sent + portion))
          }
          yield* Fiber.join(consumer)
          return samples
        })
      )
      const stats = yield* queue.stats
      // The first looks see the compiler still at work.
      const steady = samples.slice(4)
      const first = steady[0]?.heapMiB ?? Number.NaN
      const last = steady.at(-1)?.heapMiB ?? Number.NaN
      return {
        title: `${total.toLocaleString("en")} messages through process, concurrency 100, maxInFlight 200`,
        rows: [
          [
            ours,
            {
              messagesPerSecond: (total / wall) * 1e6,
              cpuMicros: cpu / total,
              callsPer1000: ((stats.calls.receive + stats.calls.ack) / total) * 1000,
              firstMiB: first,
              lastMiB: last,
              slopeMiB: slopeOf(steady)
            }
          ] as const
        ],
        ratio: {},
        bounds: [
          atMost("MiB that the heap grows with a million messages", slopeOf(steady), 1),
          atMost("messages not acked", total - stats.acked, 0)
        ],
        notes: [
          `the heap after a garbage collection, ${looks} times along the way: ${samples.map(({ heapMiB }) => heapMiB.toFixed(2)).join(" ")} MiB`,
          `first, last and slope leave out the first 4; the queue in memory holds ${portion.toLocaleString("en")} messages at most`
        ]
      }
    }).pipe(Effect.orDie)
}
