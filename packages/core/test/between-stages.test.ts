/** What waits between two stages, in an operator with a fiber of its own, when the stream ends early. */
import { assert, describe, it } from "@effect/vitest"
import { Consumer, type Delivery, type InvalidOptions, Pipeline } from "@millrace/core"
import { MemoryQueue } from "@millrace/core/testing"
import { Effect, Fiber, Stream } from "effect"
import { numbered, type Stage, simulated } from "./support/index.js"

type Deliveries = Stream.Stream<Delivery.Delivery<string>, MemoryQueue.MemoryQueueError | InvalidOptions.InvalidOptions>
type Passes = (self: Deliveries) => Deliveries

/** Stages that own what they have passed on. */
const stages: Readonly<Record<string, Passes>> = {
  mapEffect: Pipeline.mapEffect((body: string) => Effect.as(Effect.sleep("20 millis"), body), { concurrency: 3 }),
  "mapEffect, which is quick": Pipeline.mapEffect((body: string) => Effect.succeed(body)),
  batch: (self) =>
    Stream.flatMap(Pipeline.batch({ max: 3, within: "100 millis" })(self), ({ deliveries }) =>
      Stream.fromIterable(deliveries)
    )
}

/** The user's, between the stages. */
const operators: Readonly<Record<string, Passes>> = {
  buffer: Stream.buffer({ capacity: 16 }),
  bufferChunks: Stream.bufferChunks({ capacity: 4 }),
  groupedWithin: (self) => Stream.flattenChunks(Stream.groupedWithin(self, 5, "100 millis")),
  mapEffect: Stream.mapEffect((delivery) => Effect.as(Effect.sleep("10 millis"), delivery), { concurrency: 4 }),
  "another stage": (self) =>
    Stream.buffer(Pipeline.mapEffect((body: string) => Effect.succeed(body))(self), { capacity: 4 })
}

const slow = () => Effect.sleep("30 seconds")

const ends: ReadonlyArray<Stage> = [
  Pipeline.process(slow, { concurrency: 2 }),
  Pipeline.processBatches(slow, { max: 3, within: "50 millis" }),
  (self) => Pipeline.settle()(Pipeline.mapEffect(slow, { concurrency: 2 })(self))
]

const sent = (ordered: boolean) =>
  Array.from({ length: 12 }, (_, i) => (ordered ? { body: `${i}`, group: `${i % 5}` } : `${i}`))

/** Interrupts a stream, or lets another part of its program fail. */
const endsEarly = (stream: Stream.Stream<unknown, unknown>, how: "interrupted" | "fails", after: number) =>
  how === "interrupted"
    ? Effect.flatMap(Effect.fork(Stream.runDrain(stream)), (fiber) =>
        Effect.zipRight(Effect.sleep(after), Fiber.interrupt(fiber))
      )
    : Effect.exit(
        Stream.runDrain(
          Stream.interruptWhen(stream, Effect.zipRight(Effect.sleep(after), Effect.fail("a fault elsewhere")))
        )
      )

describe("a stream that ends early leaves nothing leased of what waits between its stages", () => {
  for (const [stageName, stage] of Object.entries(stages)) {
    for (const [operatorName, operator] of Object.entries(operators)) {
      for (const ordered of [false, true]) {
        it(
          `${stageName}, then ${operatorName}, on ${ordered ? "an ordered" : "a standard"} queue`,
          simulated(
            (seed) =>
              Effect.gen(function* () {
                const memory = yield* MemoryQueue.make({ ordered, latency: 10 })
                yield* memory.send(sent(ordered))
                for (const end of ends) {
                  const before = yield* memory.stats
                  const pipeline = end(operator(stage(Consumer.stream(memory, { maxInFlight: 30 }))))
                  yield* endsEarly(pipeline, seed % 2 === 0 ? "interrupted" : "fails", 500 + 50 * seed)
                  const { acked, inFlight, released } = yield* memory.stats
                  assert.strictEqual(inFlight, 0)
                  // It had come, and none was done.
                  assert.strictEqual(acked, 0)
                  assert.isAtLeast(released - before.released, 5)
                }
              }),
            { seeds: 10 }
          )
        )
      }
    }
  }

  // No stage settles: what waits for its turn in a stage goes back with that, and what the operator holds after a while.
  const takers: Readonly<Record<string, Passes>> = {
    "a slot": Pipeline.mapEffect((body: string) => Effect.as(slow(), body), { concurrency: 8 }),
    "a batch": (self) =>
      Stream.flatMap(Pipeline.batch({ max: 2 })(self), ({ deliveries }) =>
        Stream.mapEffect(Stream.fromIterable(deliveries), (delivery) => Effect.as(slow(), delivery))
      )
  }
  for (const [what, taker] of Object.entries(takers)) {
    it(
      `what one stage has passed on waits in the next for ${what}`,
      simulated(
        (seed) =>
          Effect.gen(function* () {
            const memory = yield* MemoryQueue.make()
            yield* memory.send(numbered(12))
            const passed = Pipeline.mapEffect((body: string) => Effect.succeed(body))(Consumer.stream(memory))
            yield* endsEarly(
              taker(Stream.buffer(passed, { capacity: 16 })),
              seed % 2 === 0 ? "interrupted" : "fails",
              1000
            )
            yield* Effect.sleep("3 minutes")
            assert.strictEqual((yield* memory.stats).inFlight, 0)
          }),
        { seeds: 8 }
      )
    )
  }
})
