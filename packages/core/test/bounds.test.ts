/** What a consumer remembers and looks through does not grow with what it is given. */
import { assert, describe, it } from "@effect/vitest"
import { Consumer, Pipeline, RetryPolicy } from "@millrace/core"
import { MemoryQueue, Simulation } from "@millrace/core/testing"
import { Effect, Exit, Logger, LogLevel, Stream } from "effect"
import { vi } from "vitest"
import { largest } from "../src/internal/data/largest.js"
import { GroupTable } from "../src/internal/lease/groupTable.js"
import { InFlight } from "../src/internal/lease/inFlight.js"
import { InFlightTable } from "../src/internal/lease/inFlightTable.js"
import { groupFigures } from "../src/internal/observe/groupFigures.js"
import { Observer } from "../src/internal/observe/observer.js"
import { numbered, plainMessage } from "./support/index.js"

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

  it("figures look at a group once, for its age, and into few beyond; the few that take the handlers' time are known", () => {
    const looks = (n: number) => {
      let looked = 0
      const groups = new GroupTable<InFlight>()
      const observer = new Observer()
      for (let i = 0; i < n; i++) {
        const inFlight = new InFlight(Object.create(null), { ...plainMessage(`m${i}`), group: `g${i}` }, n - i, 0)
        groups.join(`g${i}`, inFlight)
        observer.byGroup.add(`g${i}`, 1, 0)
        for (const name of ["message", "receivedAt"] as const) {
          const value = inFlight[name]
          Object.defineProperty(inFlight, name, {
            get: () => {
              looked++
              return value
            }
          })
        }
      }
      observer.byGroup.add("gone", 100 * n, 0)
      observer.byGroup.add("g7", 50 * n, 0)
      const figures = groupFigures(groups, observer)
      assert.strictEqual(figures.groupsInFlight, n)
      const names = figures.groups.map(({ group }) => group)
      assert.isAtMost(names.length, 30)
      assert.includeMembers(names, ["g7", `g${n - 1}`])
      assert.notInclude(names, "gone")
      return looked
    }
    assert.isAtMost(looks(200), 200 + 30 * 5)
    assert.isAtMost(looks(2000), 2000 + 30 * 5)
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
