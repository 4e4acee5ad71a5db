/** A message whose work holds the event loop for long is named: in the log, in health, in the figures and the diagnosis. */
import { assert, describe, it } from "@effect/vitest"
import { Consumer, Diagnosis, Figures, Pipeline } from "@millrace/core"
import { MemoryQueue } from "@millrace/core/testing"
import { Effect, Fiber, Stream } from "effect"
import type { InFlight } from "../src/internal/lease/inFlight.js"
import { onLoop } from "../src/internal/observe/loopTime.js"
import { heldClock, type Line, logged, numbered, type Stage, simulated } from "./support/index.js"

type Hold = (seconds: number) => Effect.Effect<void>

/** Half a minute of a pipeline on a clock that goes on while `hold` works, and no timer with it: the thread is not free. */
const told = (bodies: ReadonlyArray<string>, stage: (hold: Hold) => Stage) =>
  Effect.gen(function* () {
    const { clock: slow, works } = yield* heldClock
    const hold: Hold = (seconds) =>
      Effect.sync(() => {
        works(seconds * 1000)
      })
    const lines: Array<Line> = []
    return yield* Effect.gen(function* () {
      const memory = yield* MemoryQueue.make({ name: "orders", leaseDuration: "8 seconds" })
      yield* memory.send(bodies)
      const consumer = yield* Consumer.make(memory)
      const before = yield* consumer.figures
      const fiber = yield* Effect.fork(Stream.runDrain(stage(hold)(consumer.stream)))
      yield* Effect.sleep("30 seconds")
      const now = yield* consumer.figures
      const problems = {
        lately: (yield* consumer.health({ staleAfter: "1 minute" })).problems,
        justNow: (yield* consumer.health({ staleAfter: "20 seconds" })).problems
      }
      yield* Fiber.interrupt(fiber)
      return { before, now, problems, lines }
    }).pipe(
      Effect.withClock(slow),
      Effect.provide(logged(lines)),
      Effect.map((all) => ({
        ...all,
        lines: all.lines.map(({ text }) => text).filter((text) => text.includes("event loop"))
      }))
    )
  })

const wheres: Readonly<Record<string, (hold: Effect.Effect<void>) => Effect.Effect<void>>> = {
  "at once": (hold) => hold,
  "after a wait": (hold) => Effect.zipRight(Effect.sleep("1 second"), hold),
  "in a fiber that it forks": (hold) => Effect.zipRight(Effect.fork(hold), Effect.sleep("1 second"))
}

const stages: Readonly<Record<string, (work: (body: string) => Effect.Effect<void>) => Stage>> = {
  process: (work) => Pipeline.process(work),
  mapEffect: (work) => (deliveries) => Pipeline.settle()(Pipeline.mapEffect(work)(deliveries)),
  processBatches: (work) =>
    Pipeline.processBatches((bodies) => Effect.forEach(bodies, work, { discard: true }), { max: 1 })
}

describe("a handler that holds the event loop", () => {
  for (const [stage, pipeline] of Object.entries(stages)) {
    for (const [where, work] of Object.entries(wheres)) {
      it(
        `is told of, with its message and the time: ${where}, in ${stage}`,
        simulated(
          Effect.gen(function* () {
            const { lines } = yield* told(["quick", "slow"], (hold) =>
              pipeline((body) => work(hold(body === "slow" ? 5 : 1)))
            )
            assert.lengthOf(lines, 1)
            assert.match(lines[0] ?? "", /^message orders-2 of orders held the event loop for 5s \(.*handler/)
            assert.match(lines[0] ?? "", /no lease could be extended meanwhile\. Make the work of one message smaller/)
          })
        )
      )
    }
  }

  it(
    "is told of in health for as long as it matters, in figures, and in the diagnosis",
    simulated(
      Effect.gen(function* () {
        const { before, now, problems } = yield* told(["slow"], (hold) => Pipeline.process(() => hold(5)))
        assert.strictEqual(now.loopHeldFor, 5000)
        assert.deepInclude(now.loopHeldBy, { messageId: "orders-1", millis: 5000 })
        assert.match(
          problems.lately.join(),
          /the event loop was held for 5s by message orders-1, 30s ago, more than half/
        )
        assert.notMatch(problems.justNow.join(), /event loop/)

        const interval = Figures.since(before, now)
        const nothing = Figures.since(now, now)
        assert.strictEqual(interval.loopHeldFor, 5000)
        assert.deepStrictEqual([nothing.loopHeldFor, nothing.loopHeldBy], [0, undefined])
        const joined = Figures.join([interval, nothing])
        assert.deepStrictEqual([joined.loopHeldFor, joined.loopHeldBy], [5000, now.loopHeldBy])
        const diagnosis = yield* Diagnosis.judge({ intervals: [interval] })
        const finding = diagnosis?.findings.find(({ _tag }) => _tag === "VisibilityTimeoutTooShort")
        assert.match(finding?.evidence ?? "", /the event loop was held for 5 s, at last for 5 s by message orders-1/)
      })
    )
  )

  it(
    "answers for its own time alone: not for that of one that begins as it ends, nor for the sum of many short turns",
    simulated(
      Effect.gen(function* () {
        const nested = yield* told(["late", "next", "next"], (hold) =>
          Pipeline.process(
            (body) => (body === "late" ? Effect.zipRight(Effect.sleep("1 second"), hold(1.5)) : hold(1.5)),
            {
              concurrency: 1
            }
          )
        )
        assert.notMatch(nested.lines.join("\n"), /^message/m)
        const turns = yield* told(["1"], (hold) =>
          Pipeline.process(() => Effect.repeatN(Effect.zipRight(hold(1), Effect.sleep("100 millis")), 9))
        )
        assert.notMatch(turns.lines.join("\n"), /^message/m)
      })
    )
  )

  it("a stretch within another is told of alone, and what follows both of its own time", () => {
    let now = 0
    const told: Array<readonly [what: string, millis: number]> = []
    const reports = { blockedLoop: (_: unknown, what: string, millis: number) => told.push([what, millis]) }
    // What of a delivery is looked at.
    const held = { source: { clock: { now: () => now }, queue: { leaseMillis: 8000 }, reports } } as unknown as InFlight
    const works = (millis: number) => () => {
      now += millis
    }
    onLoop(held, "outer", () => {
      works(1000)()
      onLoop(held, "inner", () => onLoop(held, "innermost", works(5000)))
      onLoop(held, "short", works(3500))
      works(2000)()
    })
    assert.deepStrictEqual(told, [["innermost", 5000]])
    onLoop(held, "next", works(4500))
    assert.deepStrictEqual(told.slice(1), [["next", 4500]])
  })

  it(
    "fills no log: of many that do so the first is told, and the rest counted",
    simulated(
      Effect.gen(function* () {
        const { lines } = yield* told(numbered(5), (hold) => Pipeline.process(() => hold(5)))
        assert.lengthOf(lines, 2)
        assert.match(lines[1] ?? "", /\(and \d+ more like it\)$/)
      })
    )
  )

  it(
    "is told of outside of fibers too, with the messages that ran meanwhile",
    simulated(
      Effect.gen(function* () {
        const held = (ms: number) => (hold: Hold) => (deliveries: Parameters<Stage>[0]) =>
          Stream.merge(
            Stream.drain(Stream.fromEffect(Effect.zipRight(Effect.sleep("3500 millis"), hold(6)))),
            Pipeline.process(() => Effect.sleep(ms))(deliveries)
          )
        const one = yield* told(["1"], held(20_000))
        assert.lengthOf(one.lines, 1)
        assert.match(
          one.lines[0] ?? "",
          /^the event loop was held for 6s or more by code outside of fibers .* while message orders-1 of orders ran:/
        )
        assert.strictEqual(one.now.loopHeldBy?.messageId, "orders-1")
        const two = yield* told(["1", "2"], held(20_000))
        assert.match(two.lines[0] ?? "", /while messages orders-1, orders-2 of orders ran:/)
        assert.strictEqual(two.now.loopHeldBy?.messageId, undefined)
        assert.strictEqual(two.now.loopHeldFor, 6000)
      })
    )
  )
})
