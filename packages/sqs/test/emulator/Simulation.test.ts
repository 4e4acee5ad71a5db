/** The emulator on a simulation's own clock and scheduler: hours pass in milliseconds, and a seed replays them. */
import { expect, it } from "@effect/vitest"
import { Simulation } from "@millrace/core/testing"
import { SqsEmulator } from "@millrace/sqs/emulator"
import { Cause, Clock, Effect, Exit, Random } from "effect"
import { emulated, on } from "./Harness.js"

const program = emulated(
  { q: { visibilityTimeout: "30 seconds", deadLetter: { queue: "dlq", maxReceiveCount: 3 } } },
  (sqs) =>
    Effect.gen(function* () {
      const q = on(sqs, "q")
      const history: Array<readonly [at: number, body: string]> = []
      yield* sqs.faults.random({ fail: 0.05, dropResponse: 0.05, failEntry: 0.05, shortReceive: 0.2, duplicate: 0.05 })
      const consumer = q.receive(10, { WaitTimeSeconds: 20 }).pipe(
        Effect.tap((messages) =>
          Effect.gen(function* () {
            const now = yield* Clock.currentTimeMillis
            for (const { Body } of messages) history.push([now, Body])
            yield* Effect.sleep(yield* Random.nextIntBetween(0, 40_000))
            if (messages.length > 0) yield* q.removeAll(messages)
          })
        ),
        Effect.ignore,
        Effect.forever
      )
      yield* Effect.all([consumer, consumer, consumer], { concurrency: 3 }).pipe(Effect.fork)
      for (let n = 0; n < 200; n++) {
        yield* sqs.send("q", [SqsEmulator.message(`m${n}`, { delay: n % 3 === 0 ? "7 seconds" : 0 })])
        yield* Effect.sleep(yield* Random.nextIntBetween(0, 10_000))
      }
      yield* sqs.settled("q", 200)
      yield* sqs.idle("q")
      return { history, ended: yield* Clock.currentTimeMillis, left: (yield* sqs.messages("dlq")).length }
    })
)

const run = (seed: number) => {
  const { exit, wakes } = Simulation.run(seed, program)
  if (Exit.isFailure(exit)) throw new Error(Cause.pretty(exit.cause))
  return { ...exit.value, wakes }
}

it("a seed replays a quarter of an hour, message for message", () => {
  const first = run(1)
  expect(first.history.length).toBeGreaterThanOrEqual(200)
  expect(run(1)).toEqual(first)
  expect(run(2)).not.toEqual(first)
})
