/**
 * One tenant with 90 % of the messages beside 99 quiet ones, at a load of 0.9: with shares the quiet ones do not notice, and
 * as much is done as without.
 */
import { assert, describe, it } from "@effect/vitest"
import { Consumer, Pipeline, type Share } from "@millrace/core"
import { MemoryQueue, Simulation } from "@millrace/core/testing"
import { Clock, Effect, Logger, LogLevel, Random, Schedule, Stream } from "effect"

const slots = 20
/** Of a handler, on average, in milliseconds. */
const work = 200
/** Messages a second. */
const capacity = (slots * 1000) / work
const quiet = 0.09 * capacity
const noisy = 0.81 * capacity

interface Town {
  /** How the noisy one sends: not at all, evenly, or as much at once as it may send in so many seconds. */
  readonly noisy: "none" | "evenly" | number
  readonly share: Share.Options<unknown> | undefined
}

/** In seconds: two bursts of the longest. */
const lasts = (noise: Town["noisy"]) => (noise === 30 ? 60 : 30)

const exponential = (mean: number) => Effect.map(Random.next, (x) => -Math.log(1 - x) * mean)

const visit = ({ noisy: noise, share }: Town) =>
  Effect.gen(function* () {
    const queue = yield* MemoryQueue.make({ latency: "20 millis" })
    const waits: Array<number> = []
    let done = 0
    const receives: Array<number> = []
    const consumer = yield* Consumer.make(queue, { maxInFlight: 10 * slots })
    yield* consumer.stream.pipe(
      Pipeline.process(
        (body, { message }) =>
          Effect.gen(function* () {
            yield* Effect.sleep(yield* Random.nextIntBetween(work / 2, (work * 3) / 2))
            done++
            if (message.group === "noisy") receives.push(message.attempt)
            else waits.push((yield* Clock.currentTimeMillis) - Number(body))
          }),
        { concurrency: slots, share }
      ),
      Stream.runDrain,
      Effect.fork
    )
    const send = (group: string, count = 1) =>
      Effect.flatMap(Clock.currentTimeMillis, (now) =>
        queue.send(Array.from({ length: count }, () => ({ body: String(now), group })))
      )
    yield* Random.nextIntBetween(0, 99).pipe(
      Effect.flatMap((n) => send(`quiet ${n}`)),
      Effect.zipRight(Effect.flatMap(exponential(1000 / quiet), Effect.sleep)),
      Effect.forever,
      Effect.fork
    )
    if (noise === "evenly") {
      yield* send("noisy").pipe(
        Effect.zipRight(Effect.flatMap(exponential(1000 / noisy), Effect.sleep)),
        Effect.forever,
        Effect.fork
      )
    } else if (noise !== "none") {
      yield* send("noisy", noise * noisy).pipe(Effect.repeat(Schedule.spaced(noise * 1000)), Effect.fork)
    }
    yield* Effect.sleep(lasts(noise) * 1000)
    waits.sort((a, b) => a - b)
    receives.sort((a, b) => a - b)
    const at = (all: ReadonlyArray<number>, part: number) => all[Math.floor(all.length * part)] ?? 0
    return {
      p95: at(waits, 0.95),
      done,
      receives: [at(receives, 0.5), at(receives, 0.95)]
    }
  }).pipe(Effect.scoped, Logger.withMinimumLogLevel(LogLevel.None))

const run = (seed: number, town: Town) => {
  const { exit } = Simulation.run(seed, visit(town), { maxWakes: 20_000_000 })
  if (exit._tag === "Failure") throw new Error(`seed ${seed}: ${exit.cause}`)
  return exit.value
}

describe("one with 90 % of the messages beside 99 quiet ones, at a load of 0.9", () => {
  const towns = [
    ["evenly", "evenly"],
    ["ten seconds' worth at once", 10],
    ["half a minute's worth at once", 30]
  ] as const
  for (const [how, noise] of towns) {
    for (const seed of [1, 2]) {
      it(`sends ${how}: the quiet ones' p95 is at most twice what it is without it, and 95 % is done (seed ${seed})`, () => {
        const alone = run(seed, { noisy: "none", share: undefined })
        const without = run(seed, { noisy: noise, share: undefined })
        const shared = run(seed, { noisy: noise, share: {} })
        if (noise !== "evenly") assert.isAbove(without.p95, 10 * alone.p95, "it is noisy")
        assert.isAtMost(shared.p95, 2 * alone.p95)
        assert.isAtLeast(shared.done, 0.95 * without.done)
        // What it costs: receives of the noisy one's messages, few of most.
        const [median = 0, most = 0] = shared.receives
        assert.isAtMost(median, 2)
        assert.isAtMost(most, 4)
      })
    }
  }
})
