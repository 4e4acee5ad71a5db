/** Answers that were read long after the queue gave them: their leases run from when they were given. */
import { assert, describe, it } from "@effect/vitest"
import { Consumer, type LeaseQueue, Pipeline } from "@millrace/core"
import { MemoryQueue } from "@millrace/core/testing"
import { Clock, Effect, Fiber, Stream } from "effect"
import { type Line, logged, recorded, simulated } from "./support/index.js"

/** Its first answers, so many, lie in their socket for so long. */
const read = <E>(queue: LeaseQueue.LeaseQueue<E>, late: number, answers: number) => {
  let left = answers
  const lateHandles = new Set<string>()
  const used: Array<string> = []
  const uses = (leases: ReadonlyArray<LeaseQueue.Lease>) => {
    used.push(...leases.flatMap(({ handle }) => (lateHandles.has(handle) ? handle : [])))
  }
  const wrapped: LeaseQueue.LeaseQueue<E> = {
    ...queue,
    receive: (request) =>
      Effect.gen(function* () {
        const messages = yield* queue.receive(request)
        const leasedAt = yield* Clock.currentTimeMillis
        if (messages.length > 0 && left-- > 0) {
          for (const { lease } of messages) lateHandles.add(lease.handle)
          yield* Effect.sleep(late)
        }
        return messages.map((message) => ({ ...message, leasedAt }))
      }),
    ack: (leases) => {
      uses(leases)
      return queue.ack(leases)
    },
    setLease: (entries) => {
      uses(entries.map(({ lease }) => lease))
      return queue.setLease(entries)
    }
  }
  return { queue: wrapped, lateHandles, used }
}

for (const ordered of [false, true]) {
  describe(`an answer that is read late, of ${ordered ? "an ordered" : "a standard"} queue`, () => {
    it(
      "starts nothing whose lease is over, asks nothing of the queue by it, and keeps no permit",
      simulated(
        Effect.gen(function* () {
          const lines: Array<Line> = []
          const memory = yield* MemoryQueue.make({ ordered, leaseDuration: "10 seconds" })
          yield* memory.send(["a", "b", "c"].map((body) => ({ body, group: ordered ? "g" : undefined })))
          const { lateHandles, queue, used } = read(memory, 10_500, 1)
          const started: Array<string> = []
          yield* Effect.gen(function* () {
            const consumer = yield* Consumer.make(queue, { maxInFlight: 3 })
            const fiber = yield* consumer.stream.pipe(
              Pipeline.process((body, { message }) =>
                Effect.sync(() => {
                  assert.isFalse(lateHandles.has(message.lease.handle))
                  started.push(body)
                })
              ),
              Stream.runDrain,
              Effect.fork
            )
            yield* memory.settled(3)
            yield* consumer.drain()
            yield* Fiber.join(fiber)
            const { acked, inFlight, lost } = yield* consumer.stats
            assert.deepStrictEqual([acked, lost, inFlight], [3, lateHandles.size, 0])
          }).pipe(Effect.provide(logged(lines)))
          assert.isAtLeast(lateHandles.size, 1)
          assert.deepStrictEqual([...started].sort(), ["a", "b", "c"])
          assert.deepStrictEqual(used, [])
          const warned = lines.filter(({ text }) => text.includes("was over when its answer could be read"))
          assert.deepStrictEqual(warned[0]?.level, "WARN")
        })
      )
    )

    it(
      "extends a lease by when it was given, not by when it was read",
      simulated(
        Effect.gen(function* () {
          const memory = yield* MemoryQueue.make({ ordered, leaseDuration: "10 seconds" })
          yield* memory.send([{ body: "a", group: ordered ? "g" : undefined }])
          const { calls, queue } = recorded(memory)
          const fiber = yield* Consumer.stream(read(queue, 4000, 1).queue).pipe(
            Pipeline.process(() => Effect.sleep("20 seconds")),
            Stream.runDrain,
            Effect.fork
          )
          yield* memory.settled(1)
          yield* Fiber.interrupt(fiber)
          const [first] = calls.of("setLease")
          assert.strictEqual(first?.at, 5000)
          const { acked, expired } = yield* memory.stats
          assert.deepStrictEqual([acked, expired], [1, 0])
        })
      )
    )
  })
}

describe("a clock that was set back since an answer was given", () => {
  it(
    "makes its lease no longer",
    simulated(
      Effect.gen(function* () {
        const memory = yield* MemoryQueue.make({ leaseDuration: "10 seconds" })
        yield* memory.send(["a"])
        const { calls, queue } = recorded({
          ...memory,
          receive: (request) =>
            Effect.map(memory.receive(request), (messages) =>
              messages.map((message) => ({ ...message, leasedAt: 3_600_000 }))
            )
        })
        const fiber = yield* Consumer.stream(queue).pipe(
          Pipeline.process(() => Effect.sleep("20 seconds")),
          Stream.runDrain,
          Effect.fork
        )
        yield* memory.settled(1)
        yield* Fiber.interrupt(fiber)
        assert.strictEqual(calls.of("setLease")[0]?.at, 5000)
      })
    )
  )
})
