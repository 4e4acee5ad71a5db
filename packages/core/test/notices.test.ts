/** What a consumer says at the default log level: nothing fails in silence, nothing fills the log, and no body is in it. */
import { assert, describe, it } from "@effect/vitest"
import { Consumer, Pipeline, RetryPolicy } from "@millrace/core"
import { MemoryQueue } from "@millrace/core/testing"
import { Data, Effect, Fiber, Schedule, Stream } from "effect"
import { type Line, logged, numbered, type Stage, simulated } from "./support/index.js"

class OutOfStock extends Data.TaggedError("OutOfStock")<{ readonly message: string }> {}
class Declined extends Data.TaggedError("Declined")<{ readonly message: string }> {}

interface Run {
  readonly bodies: ReadonlyArray<string>
  readonly stage: Stage
  /** Seconds. */
  readonly during: number
}

/** What is told while a pipeline runs, and after it has stopped. */
const told = ({ bodies, during, stage }: Run) =>
  Effect.gen(function* () {
    const memory = yield* MemoryQueue.make({ name: "orders" })
    const lines: Array<Line> = []
    yield* memory.send(bodies)
    const fiber = yield* Stream.runDrain(stage(Consumer.stream(memory, { maxInFlight: 1000 }))).pipe(
      Effect.provide(logged(lines)),
      Effect.fork
    )
    yield* Effect.sleep(during * 1000)
    const meanwhile = lines.map(({ text }) => text)
    yield* Fiber.interrupt(fiber)
    for (const { level } of lines) assert.strictEqual(level, "WARN")
    return { meanwhile, all: lines.map(({ text }) => text) }
  })

const later = RetryPolicy.redeliver(Schedule.spaced("1 day"))

describe("a consumer's log", () => {
  it(
    "tells the first failure of each kind with its reason, and counts the others for a minute, and then for two",
    simulated(
      Effect.gen(function* () {
        const { all, meanwhile } = yield* told({
          bodies: numbered(100),
          during: 130,
          stage: Pipeline.process(
            (body) =>
              Effect.zipRight(
                Effect.sleep(Number(body) * 1000),
                Effect.fail(
                  Number(body) % 2 === 0
                    ? new OutOfStock({ message: "no widgets" })
                    : new Declined({ message: "card declined" })
                )
              ),
            { concurrency: 100, retry: later }
          )
        })
        const outOfStock = meanwhile.filter((text) => text.includes("OutOfStock: no widgets"))
        assert.match(
          outOfStock[0] ?? "",
          /^message orders-1 of orders \(attempt 1\) has failed: OutOfStock: no widgets$/
        )
        assert.match(outOfStock[1] ?? "", /\(and \d+ more like it\)$/)
        assert.lengthOf(outOfStock, 2)
        assert.lengthOf(
          meanwhile.filter((text) => text.includes("Declined: card declined")),
          2
        )
        const counted = all.map((text) => Number(/and (\d+) more/.exec(text)?.[1] ?? 0) + 1)
        assert.strictEqual(
          counted.reduce((sum, n) => sum + n, 0),
          100,
          "none is left out"
        )
        assert.lengthOf(all, 6)
      })
    )
  )

  it(
    "tells as it ends what it had only counted",
    simulated(
      Effect.gen(function* () {
        const { all, meanwhile } = yield* told({
          bodies: numbered(7),
          during: 1,
          stage: Pipeline.process(() => Effect.fail(new Declined({ message: "card declined" })), { retry: later })
        })
        assert.lengthOf(meanwhile, 1)
        assert.match(all[1] ?? "", /Declined.*\(and 5 more like it\)$/)
        assert.lengthOf(all, 2)
      })
    )
  )

  it(
    "tells of time-outs, of bodies that do not decode, and of failures in batches and earlier stages",
    simulated(
      Effect.gen(function* () {
        const stages: ReadonlyArray<readonly [Run["stage"], RegExp]> = [
          [
            Pipeline.process(() => Effect.never, { timeout: "5 seconds", retry: later }),
            /HandlerTimeout: .* more than 5s/
          ],
          [
            Pipeline.processBatches(() => Effect.fail(new Declined({ message: "all of it" })), {
              max: 5,
              retry: later
            }),
            /Declined: all of it/
          ],
          [
            (self) =>
              self.pipe(
                Pipeline.mapEffect(() => Effect.fail(new Declined({ message: "early" }))),
                Pipeline.settle({ retry: later })
              ),
            /Declined: early/
          ]
        ]
        for (const [stage, says] of stages) {
          const { all } = yield* told({ bodies: numbered(3), during: 10, stage })
          assert.match(all[0] ?? "", says)
          assert.lengthOf(all, 2)
        }
      })
    )
  )

  it(
    "tells of each defect where it was thrown, and of each policy that throws or is none",
    simulated(
      Effect.gen(function* () {
        const defects = yield* told({
          bodies: numbered(3),
          during: 1,
          stage: Pipeline.process(
            (): Effect.Effect<void> => {
              throw new TypeError("x is undefined")
            },
            { retry: later }
          )
        })
        assert.lengthOf(defects.all, 3)
        for (const text of defects.all) assert.match(text, /HandlerDefect: x is undefined\n\s+at .*notices\.test/)

        const policies = yield* told({
          bodies: numbered(3),
          during: 1,
          stage: Pipeline.process(() => Effect.fail("no"), {
            retry: () => {
              throw new Error("no policy for it")
            }
          })
        })
        const undecided = policies.all.filter((text) => text.includes("the retry policy for"))
        assert.lengthOf(undecided, 3)
        assert.match(undecided[0] ?? "", /message orders-\d of orders.*left to the queue: no policy for it/)

        const promises = yield* told({
          bodies: ["a"],
          during: 1,
          stage: Pipeline.process((async () => {}) as unknown as () => Effect.Effect<void>, { retry: later })
        })
        assert.match(promises.all[0] ?? "", /HandlerDefect: .* returned a promise.*Effect\.tryPromise/)
      })
    )
  )

  it(
    "tells of each message that was dead-lettered, with its reason",
    simulated(
      Effect.gen(function* () {
        const { all } = yield* told({
          bodies: numbered(4),
          during: 5,
          stage: Pipeline.process(() => Effect.fail(new Declined({ message: "card declined" })), {
            retry: RetryPolicy.deadLetter
          })
        })
        const letters = all.filter((text) => text.includes("was dead-lettered: Declined: card declined"))
        assert.lengthOf(letters, 4)
        assert.match(letters[0] ?? "", /^message orders-\d of orders \(attempt 1\) was/)
      })
    )
  )

  it(
    "never holds a body, though an error quotes it",
    simulated(
      Effect.gen(function* () {
        const secret = 'hunter2 "4111"'
        const { all } = yield* told({
          bodies: [secret],
          during: 70,
          stage: Pipeline.process((body) => Effect.fail(new Declined({ message: `cannot ship ${body}` })), {
            retry: RetryPolicy.deadLetter
          })
        })
        const thrown = yield* told({
          bodies: [secret],
          during: 1,
          stage: Pipeline.process((body) => Effect.sync(() => JSON.parse(body)), { retry: RetryPolicy.deadLetter })
        })
        for (const text of [...all, ...thrown.all]) assert.notMatch(text, /hunter2|4111/)
        assert.match(all[0] ?? "", /cannot ship …/)
        assert.match(thrown.all[0] ?? "", /is not valid JSON/)
      })
    )
  )

  it(
    "stays quiet under partial errors: receives, acks and delays of which a part fails are a few lines a minute",
    simulated(
      Effect.gen(function* () {
        let calls = 0
        const memory = yield* MemoryQueue.make({
          name: "orders",
          latency: "10 millis",
          faults: ({ operation, size }) =>
            Effect.sync((): MemoryQueue.Fault | undefined => {
              calls++
              if (operation === "receive") return calls % 3 === 0 ? { fail: "throttled" } : undefined
              if (size === 1 && calls % 2 === 0) return { fail: "transient" }
              return { entries: (_, index) => (index % 2 === 0 ? "Transient" : undefined) }
            })
        })
        const lines: Array<Line> = []
        yield* memory.send(numbered(5000))
        const fiber = yield* Consumer.stream(memory, { maxInFlight: 100 }).pipe(
          Pipeline.process((body) => (Number(body) % 5 === 0 ? Effect.fail("no") : Effect.sleep("100 millis")), {
            concurrency: 20,
            retry: RetryPolicy.redeliver(Schedule.spaced("10 seconds"))
          }),
          Stream.runDrain,
          Effect.provide(logged(lines)),
          Effect.fork
        )
        yield* Effect.sleep("1 minute")
        yield* Fiber.interrupt(fiber)
        const warnings = lines.filter(({ level }) => level === "WARN").map(({ text }) => text)
        assert.isAtLeast(calls, 500)
        assert.lengthOf(
          warnings.filter((text) => /could not receive from orders \(throttled\)/.test(text)),
          2,
          "the first, and what was counted, as it ends"
        )
        assert.isAtMost(warnings.length, 10, warnings.join("\n"))
      })
    )
  )

  it(
    "tells no more than fifty kinds apart, however many tags there are",
    simulated(
      Effect.gen(function* () {
        const { meanwhile } = yield* told({
          bodies: numbered(500),
          during: 30,
          stage: Pipeline.process((body) => Effect.fail({ _tag: `Failed${body}` }), { concurrency: 50, retry: later })
        })
        assert.isAtMost(meanwhile.length, 51)
      })
    )
  )
})
