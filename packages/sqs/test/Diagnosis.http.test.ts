/** A client with too few connections, over HTTP: it tells of them, and the diagnosis names them. */
import { assert, it } from "@effect/vitest"
import { Consumer, Diagnosis, Figures, Pipeline } from "@millrace/core"
import { SqsBacklog, SqsClient, SqsLeaseQueue } from "@millrace/sqs"
import { SqsEmulator, SqsHttp } from "@millrace/sqs/emulator"
import { Chunk, Effect, Fiber, Layer, Stream } from "effect"
import * as FakeServer from "./support/FakeServer.js"

const served = SqsHttp.layer({ port: 0 }).pipe(
  Layer.provideMerge(SqsEmulator.layer({ latency: "50 millis", queues: { work: {} } }))
)

for (const maxSockets of [1, 2]) {
  it.live(`${maxSockets} of them make calls wait, and the queue falls behind`, () =>
    Effect.gen(function* () {
      const sqs = yield* SqsEmulator.SqsEmulator
      yield* sqs.send(
        "work",
        Array.from({ length: 3000 }, (_, n) => String(n))
      )
      const { endpoint } = yield* SqsHttp.SqsHttp
      const context = yield* Layer.build(SqsClient.layer({ ...FakeServer.options(endpoint), maxSockets }))
      const queue = yield* Effect.provide(SqsLeaseQueue.make("work"), context)
      const consumer = yield* Consumer.make(queue, { maxInFlight: 100 })
      yield* consumer.stream.pipe(
        Pipeline.process(() => Effect.void, { concurrency: 50 }),
        Stream.runDrain,
        Effect.forkScoped
      )
      const before = yield* consumer.figures
      const sampled = yield* Effect.flatMap(SqsBacklog.make("work", { every: "1 second" }), ({ samples }) =>
        Stream.runCollect(Stream.take(samples, 5))
      ).pipe(Effect.provideService(SqsClient.SqsClient, sqs.client), Effect.forkScoped)
      const now = yield* Effect.repeat(Effect.delay(consumer.figures, "20 millis"), {
        // What is younger than four seconds is not judged.
        until: ({ at, connections, stats }) =>
          at - before.at >= 4_200 && stats.acked >= 30 && (connections?.waiting ?? 0) > 0
      })
      assert.strictEqual(now.connections?.max, maxSockets)
      assert.strictEqual(now.connections?.open, maxSockets)
      const samples = yield* Fiber.join(sampled)
      const diagnosis = yield* Diagnosis.judge(
        { intervals: [Figures.since(before, now)], samples: Chunk.toReadonlyArray(samples) },
        { drainWithin: "1 second" }
      )
      assert.strictEqual(diagnosis?.findings[0]?._tag, "ConnectionsExhausted")
    }).pipe(Effect.scoped, Effect.provide(served))
  )
}
