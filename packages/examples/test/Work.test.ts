import { assert, describe, it } from "@effect/vitest"
import { Pipeline, RetryPolicy } from "@millrace/core"
import { Simulation } from "@millrace/core/testing"
import { SqsConsumer } from "@millrace/sqs"
import { SqsEmulator } from "@millrace/sqs/emulator"
import { Effect, Either, Schedule, Stream } from "effect"
import { Webhook } from "../src/main-job/Webhook.js"
import { work } from "../src/main-job/Work.js"

/** Which attempts at which webhooks failed, in a simulated run whose order hangs on `schedulerSeed`. */
const failuresOf = (seed: number, schedulerSeed: number): ReadonlyArray<string> => {
  const failed: Array<string> = []
  const handle = work(seed)
  const program = Effect.gen(function* () {
    const sqs = yield* SqsEmulator.SqsEmulator
    const webhooks = Array.from({ length: 200 }, (_, n) => ({ event: "push", delivery: `webhook-${n}`, payload: {} }))
    yield* sqs.send("webhooks", webhooks)
    yield* SqsConsumer.stream("webhooks", { drainWhen: Effect.ignore(sqs.settled("webhooks", 200)) }).pipe(
      Pipeline.decodeJson(Webhook),
      Pipeline.process(
        (webhook, delivery) =>
          Effect.tapError(handle(webhook, delivery), () =>
            Effect.sync(() => failed.push(`${webhook.delivery} ${delivery.message.attempt}`))
          ),
        { concurrency: 20, retry: RetryPolicy.redeliver(Schedule.spaced("1 second")) }
      ),
      Stream.runDrain
    )
  }).pipe(Effect.provide(SqsEmulator.layer({ queues: { webhooks: {} } })))
  Either.getOrThrow(Simulation.run(schedulerSeed, Effect.either(program)).exit.pipe(Effect.runSync))
  return failed.sort()
}

describe("work", () => {
  it("a seed makes the same attempts at the same webhooks fail, in whatever order they come", () => {
    const first = failuresOf(7, 1)
    assert.isAbove(first.length, 0)
    assert.deepStrictEqual(failuresOf(7, 2), first)
    assert.notDeepEqual(failuresOf(8, 1), first)
  })
})
