/** Two queues as one stream: `Pipeline.merge` gives each its part, where `Stream.merge` gives the first one nearly all. */
import { assert, describe, it } from "@effect/vitest"
import { Consumer, type Delivery, Pipeline } from "@millrace/core"
import { MemoryQueue } from "@millrace/core/testing"
import { Duration, Effect, Exit, Fiber, Schema, Stream } from "effect"
import { numbered, type Source, simulated } from "./support/index.js"

const full = (name: string, messages: number) =>
  Effect.tap(MemoryQueue.make({ name, latency: "20 millis" }), (queue) => queue.send(numbered(messages)))

const beginning = 300

/** Which part of so many handled were of each queue, once the first have gone. */
const parts = (names: ReadonlyArray<string>, merge: (sources: ReadonlyArray<Source>) => Source, handled: number) =>
  Effect.gen(function* () {
    const queues = yield* Effect.forEach(names, (name) => full(name, 3000))
    const began: Array<string> = []
    const fiber = yield* merge(queues.map((queue) => Consumer.stream(queue))).pipe(
      Pipeline.process(
        (_, { queue }) => {
          began.push(queue)
          return Effect.sleep("50 millis")
        },
        { concurrency: 20 }
      ),
      Stream.take(beginning + handled),
      Stream.runDrain,
      Effect.fork
    )
    yield* Fiber.join(fiber)
    return names.map(
      (name) => began.slice(beginning, beginning + handled).filter((one) => one === name).length / handled
    )
  })

describe("Pipeline.merge", () => {
  it(
    "of two full queues each has half; by Stream.merge the first one has nearly all",
    simulated(
      Effect.gen(function* () {
        const [fair = 0] = yield* parts(["a", "b"], (sources) => Pipeline.merge(sources), 2000)
        assert.closeTo(fair, 0.5, 0.025)
        const unfair = (sources: ReadonlyArray<Source>) => {
          const [first = Stream.empty, second = Stream.empty] = sources
          return Stream.merge(first, second)
        }
        const [first = 0] = yield* parts(["a", "b"], unfair, 2000)
        assert.isAtLeast(first, 0.9, "if this fails, Stream.merge has learnt to share")
      }),
      // As fibers take turns live.
      { order: "fifo", seeds: 1 }
    )
  )

  it(
    "weights 6:3:1 come out within 5 %",
    simulated(
      Effect.gen(function* () {
        const merge = (sources: ReadonlyArray<Source>) => Pipeline.merge(sources, { weights: [6, 3, 1] })
        const [a = 0, b = 0, c = 0] = yield* parts(["a", "b", "c"], merge, 2000)
        assert.closeTo(a / 0.6, 1, 0.05)
        assert.closeTo(b / 0.3, 1, 0.05)
        assert.closeTo(c / 0.1, 1, 0.05)
      })
    )
  )

  it(
    "an empty queue holds nobody up, and each settles at its own",
    simulated(
      Effect.gen(function* () {
        const quiet = yield* full("quiet", 0)
        const busy = yield* full("busy", 300)
        const fiber = yield* Pipeline.merge([Consumer.stream(quiet), Consumer.stream(busy)]).pipe(
          Pipeline.process(() => Effect.sleep("10 millis"), { concurrency: 10 }),
          Stream.runDrain,
          Effect.fork
        )
        const [took] = yield* Effect.timed(busy.settled(300))
        assert.isAtMost(Duration.toMillis(took), 1500)
        yield* quiet.send(["late"])
        yield* quiet.settled(1)
        yield* Fiber.interrupt(fiber)
        assert.deepStrictEqual([(yield* quiet.stats).acked, (yield* busy.stats).acked], [1, 300])
        assert.deepStrictEqual([(yield* quiet.stats).inFlight, (yield* busy.stats).inFlight], [0, 0])
      })
    )
  )

  it(
    "bodies and failures of all kinds go on as one, and the first that fails ends it, with nothing left leased",
    simulated(
      Effect.gen(function* () {
        const words = yield* full("words", 50)
        const numbers = yield* full("numbers", 50)
        const merged = Pipeline.merge([
          Consumer.stream(words).pipe(Pipeline.map((body) => ({ word: body }))),
          Consumer.stream(numbers).pipe(Pipeline.decode(Schema.NumberFromString))
        ])
        const seen: Array<{ readonly word: string } | number> = []
        yield* merged.pipe(
          Pipeline.process((body: { readonly word: string } | number) => Effect.sync(() => seen.push(body))),
          Stream.take(60),
          Stream.runDrain
        )
        assert.isAbove(seen.filter((body) => typeof body === "number").length, 20)
        assert.deepStrictEqual([(yield* words.stats).inFlight, (yield* numbers.stats).inFlight], [0, 0])

        yield* words.send(numbered(50))
        yield* numbers.send(numbered(50))
        yield* numbers.inject("receive", { fail: "fatal" }, 1)
        const exit = yield* merged.pipe(
          Pipeline.process(() => Effect.sleep("1 second"), { concurrency: 1 }),
          Stream.runDrain,
          Effect.exit
        )
        assert.isTrue(Exit.isFailure(exit))
        assert.deepStrictEqual([(yield* words.stats).inFlight, (yield* numbers.stats).inFlight], [0, 0])
      })
    )
  )

  it.effect("refuses weights that are not one for each stream", () =>
    Effect.gen(function* () {
      const none: ReadonlyArray<Stream.Stream<Delivery.Delivery<string>>> = [Stream.empty, Stream.empty]
      const error = yield* Effect.flip(Stream.runDrain(Pipeline.merge(none, { weights: [1] })))
      assert.strictEqual(error.message, "weights has 1; write one for each of the 2 streams")
    })
  )
})
