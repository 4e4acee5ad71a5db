/** Options that cannot work are refused when the stream or the consumer is made, with a message that says what to write. */
import { assert, describe, it } from "@effect/vitest"
import { Consumer, InvalidOptions, Pipeline, Tunable } from "@millrace/core"
import { MemoryQueue } from "@millrace/core/testing"
import { Effect, Stream } from "effect"

const numbers: ReadonlyArray<readonly [string, Consumer.Options, string]> = [
  ["maxInFlight", { maxInFlight: 0 }, "maxInFlight is 0; write a whole number from 1 to 120000"],
  ["maxInFlight", { maxInFlight: -3 }, "maxInFlight is -3; write a whole number from 1 to 120000"],
  ["maxInFlight", { maxInFlight: 2.5 }, "maxInFlight is 2.5; write a whole number from 1 to 120000"],
  ["maxInFlight", { maxInFlight: Number.NaN }, "maxInFlight is NaN; write a whole number from 1 to 120000"],
  ["maxInFlight", { maxInFlight: 120_001 }, "maxInFlight is 120001; write a whole number from 1 to 120000"],
  ["rate.perSecond", { rate: { perSecond: 0 } }, "rate.perSecond is 0; write a number of at least 0.001"],
  ["rate.burst", { rate: { perSecond: 1, burst: 0 } }, "rate.burst is 0; write a whole number of at least 1"]
]

const times: ReadonlyArray<readonly [string, Consumer.Options, string]> = [
  ["wait", { wait: "500 millis" }, 'wait is "500 millis"; write a time from 1s to 20s, such as "20 seconds"'],
  ["wait", { wait: "21 seconds" }, 'wait is "21 seconds"; write a time from 1s to 20s, such as "20 seconds"'],
  ["linger", { linger: "16 seconds" }, 'linger is "16 seconds"; write a time from 0 to 15s, such as "15 seconds"'],
  ["warnAfter", { warnAfter: 10 }, 'warnAfter is 10 milliseconds; write a time of at least 1s, such as "1 seconds"'],
  ["pollGrace", { pollGrace: -5 }, 'pollGrace is -5 milliseconds; write a time of at least 0, such as "1 seconds"'],
  [
    "flushWithin",
    { flushWithin: "-2 seconds" },
    'flushWithin is "-2 seconds"; write a time of at least 0, such as "1 seconds"'
  ],
  [
    "fatalGrace",
    { fatalGrace: Number.NaN },
    'fatalGrace is NaN milliseconds; write a time of at least 0, such as "1 seconds"'
  ]
]

const notTimes = ["wait", "linger", "pollGrace", "flushWithin", "fatalGrace", "warnAfter", "drainDeadline"] as const

/** As it may come from JavaScript, or from a configuration. */
const notATime = (option: string): object => ({ [option]: "soon" })

const refusedBy = (stream: Stream.Stream<unknown, unknown>) =>
  Effect.map(Effect.flip(Stream.runDrain(stream)), (error) => {
    if (!(error instanceof InvalidOptions.InvalidOptions)) throw error
    return { option: error.option, message: error.message }
  })

describe("InvalidOptions", () => {
  for (const [option, options, message] of [...numbers, ...times]) {
    it.effect(`of a consumer: ${message}`, () =>
      Effect.gen(function* () {
        const queue = yield* MemoryQueue.make()
        assert.deepStrictEqual(yield* refusedBy(Consumer.stream(queue, options)), { option, message })
        const error = yield* Effect.flip(Effect.scoped(Consumer.make(queue, options)))
        assert.strictEqual(error.message, message)
        assert.strictEqual((yield* queue.stats).calls.receive, 0)
      })
    )
  }

  for (const option of notTimes) {
    it.effect(`of a consumer: ${option} is no time`, () =>
      Effect.gen(function* () {
        const queue = yield* MemoryQueue.make()
        const refused = yield* refusedBy(Consumer.stream(queue, notATime(option)))
        assert.strictEqual(refused.option, option)
        assert.match(
          refused.message,
          new RegExp(`^${option} is "soon"; write a time (of|from) .*, such as "\\d+ seconds"$`)
        )
      })
    )
  }

  it.effect("of stages", () =>
    Effect.gen(function* () {
      const queue = yield* MemoryQueue.make()
      const source = Consumer.stream(queue)
      const handler = () => Effect.void
      const cases: ReadonlyArray<readonly [Stream.Stream<unknown, unknown>, string, string]> = [
        [Pipeline.process(handler, { concurrency: 0 })(source), "concurrency", "write a whole number of at least 1"],
        [Pipeline.process(handler, { concurrency: 1.5 })(source), "concurrency", "write a whole number of at least 1"],
        [Pipeline.mapEffect(handler, { concurrency: -1 })(source), "concurrency", "write a whole number of at least 1"],
        [Pipeline.process(handler, { timeout: 0 })(source), "timeout", "write a time of at least 1ms"],
        [Pipeline.process(handler, notATime("holdLimit"))(source), "holdLimit", "write a time of at least 0"],
        [Pipeline.process(handler, notATime("timeout"))(source), "timeout", "write a time of at least 1ms"],
        [Pipeline.batch({ max: 0 })(source), "max", "write a whole number of at least 1"],
        [Pipeline.batch({ max: 1, maxBytes: 0 })(source), "maxBytes", "write a whole number of at least 1"],
        [Pipeline.processBatches(handler, { max: 1, concurrency: 0 })(source), "concurrency", "of at least 1"],
        [Pipeline.processBatches(handler, { max: 0.5 })(source), "max", "of at least 1"],
        [Pipeline.processBatches(handler, { max: 1, timeout: 0 })(source), "timeout", "write a time of at least 1ms"]
      ]
      for (const [stream, option, advice] of cases) {
        const refused = yield* refusedBy(stream)
        assert.strictEqual(refused.option, option)
        assert.include(refused.message, advice)
      }
      assert.strictEqual((yield* queue.stats).calls.receive, 0)
    })
  )

  it.effect("of a tunable, when it is made and whenever it is set", () =>
    Effect.gen(function* () {
      assert.strictEqual(
        (yield* Effect.flip(Tunable.make("slots", 0))).message,
        "slots is 0; write a number of at least 1"
      )
      const tunable = yield* Tunable.make("slots", 5, { min: 1, max: 10 })
      assert.strictEqual((yield* Effect.flip(tunable.set(11))).message, "slots is 11; write a number from 1 to 10")
      assert.strictEqual(yield* tunable.get, 5)
    })
  )
})
