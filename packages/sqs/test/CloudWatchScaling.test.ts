/** Scaling advice of a queue on the emulator, published to a sink in memory; in virtual time. */
import { assert, it } from "@effect/vitest"
import { Scaling } from "@millrace/core"
import { Simulation } from "@millrace/core/testing"
import { Effect, Either, Layer, Logger, Stream } from "effect"
import { CloudWatchClient, CloudWatchMetrics, CloudWatchScaling } from "../src/cloudwatch/index.js"
import { SqsEmulator } from "../src/emulator/index.js"
import { SqsBacklog } from "../src/index.js"

const advice = Effect.map(SqsBacklog.make("orders"), (backlog) =>
  Scaling.advice(backlog, Scaling.backlogPerInstance(100), { max: 9 }, { running: Effect.succeed(2) })
)

/** Keeps what it is given, but for the times at which it fails. */
const sink = (fails: (time: number) => "error" | "defect" | undefined = () => undefined) => {
  const batches: Array<CloudWatchMetrics.Batch> = []
  let times = 0
  const layer = Layer.succeed(CloudWatchMetrics.Sink, {
    send: (given) =>
      Effect.suspend((): ReturnType<CloudWatchMetrics.Service["send"]> => {
        const how = fails(++times)
        if (how === "defect") return Effect.dieMessage("broken")
        const error = new CloudWatchClient.CloudWatchError({
          operation: "PutMetricData",
          code: "Throttling",
          kind: "throttled",
          message: "too many calls"
        })
        if (how === "error") return Effect.succeed({ sent: 0, error })
        batches.push(...given)
        return Effect.succeed({ sent: given.length, error: undefined })
      })
  })
  return { batches, layer }
}

it("advice is published at once and then once a minute, and passed on, all of it", () =>
  Simulation.check(
    { seeds: 3 },
    Effect.gen(function* () {
      const { batches, layer } = sink()
      const sqs = yield* SqsEmulator.SqsEmulator
      yield* sqs.send(
        "orders",
        Array.from({ length: 350 }, (_, i) => String(i))
      )
      const passed = yield* (yield* advice).pipe(
        CloudWatchScaling.publish({ namespace: "Shop", dimensions: { Stage: "test" } }),
        Stream.take(19),
        Stream.runCollect,
        Effect.provide(layer)
      )
      assert.strictEqual(passed.length, 19)
      // Nineteen readings, one each ten seconds: three minutes.
      assert.deepStrictEqual(
        batches.map(({ at }) => Math.round(at / 60_000)),
        [0, 1, 2, 3]
      )
      assert.deepInclude(batches[0], {
        namespace: "Shop",
        dimensions: { Queue: "orders", Stage: "test" },
        metrics: [
          { name: "WantedInstances", unit: "Count", value: 4 },
          { name: "RunningInstances", unit: "Count", value: 2 },
          { name: "BacklogPerInstance", unit: "Count", value: 175 }
        ]
      })
    }).pipe(Effect.scoped, Effect.provide(SqsEmulator.layer({ queues: { orders: {} } })))
  ))

it("what cannot be published is warned about once a streak, and stops nothing", () =>
  Simulation.check(
    { seeds: 3 },
    Effect.gen(function* () {
      const { batches, layer } = sink((time) =>
        time === 2 || time === 3 ? "error" : time === 5 ? "defect" : undefined
      )
      const lines: Array<string> = []
      const logger = Logger.make<unknown, void>(({ message }) => {
        lines.push(String(Array.isArray(message) ? message[0] : message))
      })
      const passed = yield* (yield* advice).pipe(
        CloudWatchScaling.publish(),
        Stream.take(40),
        Stream.runCollect,
        Effect.provide(Layer.merge(layer, Logger.replace(Logger.defaultLogger, logger)))
      )
      assert.strictEqual(passed.length, 40)
      assert.deepStrictEqual(
        batches.map(({ at }) => Math.round(at / 60_000)),
        [0, 3, 5, 6]
      )
      assert.deepStrictEqual(
        lines.filter((line) => line.includes("published")),
        ["scaling advice for orders could not be published: too many calls", "scaling advice could not be published"]
      )
    }).pipe(Effect.scoped, Effect.provide(SqsEmulator.layer({ queues: { orders: {} } })))
  ))

it.each([
  [{ namespace: "AWS/SQS" }, "namespace"],
  [{ dimensions: { Queue: "another" } }, "dimensions"],
  [{ every: "1 second" }, "every"]
] as const)("refuses what cannot work: %#", (options, option) => {
  const refused = Stream.empty.pipe(
    CloudWatchScaling.publish(options),
    Stream.runDrain,
    Effect.either,
    Effect.provide(sink().layer),
    Effect.runSync
  )
  assert.strictEqual(Either.isLeft(refused) ? refused.left.option : undefined, option)
})
