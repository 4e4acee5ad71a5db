/** What a consumer remembers and looks through does not grow with what it is given. */
import { assert, describe, it } from "@effect/vitest"
import { Consumer, Pipeline, RetryPolicy } from "@millrace/core"
import { MemoryQueue, Simulation } from "@millrace/core/testing"
import { Effect, Exit, Logger, LogLevel, Stream } from "effect"
import { vi } from "vitest"
import { largest } from "../src/internal/data/largest.js"
import { InFlightTable } from "../src/internal/lease/inFlightTable.js"
import { numbered } from "./support/index.js"

const run = <A, E>(effect: Effect.Effect<A, E>): A => {
  const { exit } = Simulation.run(1, Logger.withMinimumLogLevel(effect, LogLevel.None))
  return Exit.getOrElse(exit, (cause) => assert.fail(String(cause)))
}

describe("bounds", () => {
  it("the stack does not, of a stage whose runs end as they start: 5,000 come at once", () => {
    const settled = run(
      Effect.gen(function* () {
        const queue = yield* MemoryQueue.make()
        yield* queue.send(numbered(5000))
        return yield* Consumer.stream(queue, { maxInFlight: 5000 }).pipe(
          Stream.rechunk(5000),
          Pipeline.settle(),
          Stream.take(5000),
          Stream.runCount
        )
      })
    )
    assert.strictEqual(settled, 5000)
  })

  it("failures are told apart by 100 tags, cut short; the rest are counted together", () => {
    const failures = run(
      Effect.scoped(
        Effect.gen(function* () {
          const queue = yield* MemoryQueue.make()
          yield* queue.send(Array.from({ length: 300 }, (_, i) => String(i)))
          const consumer = yield* Consumer.make(queue)
          yield* consumer.stream.pipe(
            Pipeline.process((body) => Effect.fail({ _tag: `${body}${"x".repeat(1000)}` }), {
              retry: RetryPolicy.discard
            }),
            Stream.runDrain,
            Effect.fork
          )
          yield* queue.idle
          return (yield* consumer.figures).failures
        })
      )
    )
    assert.strictEqual(Object.keys(failures).length, 101)
    assert.strictEqual(failures["others"], 200)
    for (const name of Object.keys(failures)) assert.isAtMost(name.length, 101)
  })

  it("the largest are those that sorting finds, of equals the first", () => {
    for (let n = 0; n < 40; n++) {
      const items = Array.from({ length: n }, (_, i) => ({ i, rank: (i * 7919) % 13 }))
      const sorted = [...items].sort((a, b) => b.rank - a.rank).slice(0, 10)
      assert.deepStrictEqual(
        largest(items, 10, ({ rank }) => rank),
        sorted
      )
    }
  })

  it("figures look into few groups beyond what they tell of", () => {
    const { groups, groupsInFlight } = run(
      Effect.scoped(
        Effect.gen(function* () {
          const queue = yield* MemoryQueue.make({ ordered: true })
          const messages = Array.from({ length: 60 }, (_, i) => ({ body: "", group: `g${i < 30 ? 0 : i}` }))
          yield* queue.send(messages)
          const consumer = yield* Consumer.make(queue, { maxInFlight: 100 })
          yield* Effect.fork(
            Stream.runDrain(Pipeline.process(() => Effect.never, { concurrency: 100 })(consumer.stream))
          )
          yield* Effect.sleep("5 seconds")
          return yield* consumer.figures
        })
      )
    )
    assert.isAtMost(groups.length, 20)
    assert.strictEqual(groups[0]?.group, "g0")
    assert.isAtLeast(groupsInFlight, 30)
  })

  it("a drain looks at what is in flight in proportion to it, and not at all of it after each end", () => {
    const looks = (inFlight: number): number => {
      let looked = 0
      const iterate = InFlightTable.prototype[Symbol.iterator]
      const spy = vi.spyOn(InFlightTable.prototype, Symbol.iterator).mockImplementation(function (this: InFlightTable) {
        const all = iterate.call(this)
        const next = all.next.bind(all)
        all.next = () => {
          looked++
          return next()
        }
        return all
      })
      const report = run(
        Effect.scoped(
          Effect.gen(function* () {
            const queue = yield* MemoryQueue.make()
            yield* queue.send(numbered(inFlight))
            const consumer = yield* Consumer.make(queue, { maxInFlight: inFlight })
            yield* consumer.stream.pipe(
              Pipeline.process((body) => Effect.sleep(60_000 + 10 * Number(body)), { concurrency: inFlight }),
              Stream.runDrain,
              Effect.fork
            )
            yield* Effect.sleep("30 seconds")
            looked = 0
            return yield* consumer.drain({ deadline: "10 minutes" })
          })
        )
      )
      spy.mockRestore()
      assert.strictEqual(report.finished, inFlight)
      return looked
    }
    assert.isAtMost(looks(100), 10 * 100)
    assert.isAtMost(looks(400), 10 * 400)
  })
})
