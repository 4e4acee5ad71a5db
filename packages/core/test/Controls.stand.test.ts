/** The short form of `npm run diagnose -- alarms`, `throttle`, `scaling` and `adaptive`: what its tables promise. */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { long, seeds } from "../../../test/long.js"
import * as Alarms from "./stand/controls/Alarms.js"
import { mean } from "./stand/controls/Counts.js"
import * as Fleet from "./stand/controls/Fleet.js"
import * as Producers from "./stand/controls/Producers.js"
import * as Slots from "./stand/controls/Slots.js"

/** A simulation is synchronous: between two, others have their turn. */
const inTurns = (runs: number, run: (seed: number) => void, from = 0) =>
  Effect.forEach(
    Array.from({ length: runs }, (_, i) => from + i),
    (seed) =>
      Effect.zipRight(
        Effect.sleep(0),
        Effect.sync(() => run(seed))
      )
  )

describe("alarms in six hours, none missed and none untrue", () => {
  for (const [i, name] of Alarms.names.entries()) {
    it.live(
      name,
      () =>
        // Departures are counted in every second.
        inTurns(
          seeds({ short: 1, long: 12 }),
          (seed) => {
            const { missed, untrue } = Alarms.heard(name, seed)
            assert.deepStrictEqual([missed, untrue], [[], []], `seed ${seed}`)
          },
          i
        ),
      120_000
    )
  }
})

describe("throttles of several producers keep a target together", () => {
  for (const [way, from, to] of [
    ["given", 0.9, 1.1],
    ["found", 0.9, 1.1],
    // Between a limit and half of it.
    ["stopAbove", 0.7, 0.8]
  ] as const) {
    for (const producers of long ? [1, 3, 5, 8] : [5]) {
      it.live(
        `${producers}, ${way}`,
        () =>
          inTurns(seeds({ short: 1, long: 6 }), (seed) => {
            const kept = Producers.kept(way, producers, seed)
            assert.isTrue(kept.mean >= from && kept.mean <= to, `seed ${seed}: mean ${kept.mean.toFixed(2)}`)
            assert.isAtMost(kept.peak, 1.6, `seed ${seed}`)
          }),
        120_000
      )
    }
  }
})

describe("a fleet turns round no oftener than under AWS's target tracking, and waits for no longer", () => {
  for (const [i, load] of Fleet.names.slice(0, seeds({ short: 2, long: 4 })).entries()) {
    it.live(
      load,
      () =>
        inTurns(
          seeds({ short: 1, long: 3 }),
          (seed) => {
            const theirs = Fleet.led("AWS", load, seed)
            const ours = Fleet.led("timeToDrain", load, seed)
            assert.isAtMost(ours.turns, theirs.turns, `seed ${seed}`)
            assert.isAtMost(ours.waited, theirs.waited, `seed ${seed}`)
            assert.isAtMost(ours.running, theirs.running, `seed ${seed}`)
          },
          i
        ),
      120_000
    )
  }
})

describe("adaptive concurrency does as the best fixed number of slots", () => {
  for (const [name, done, tail, failed, after] of [
    ["a hard limit", 0.9, 1.3, 0.03, 10],
    ["beyond a peak", 0.9, 1.4, 0, 15],
    ["a queue", 0.9, 1.3, 0, 15],
    // Without a word between them, and without a `max` of their own.
    ["four share a queue", 0.9, 1.3, 0, 15],
    // Of 8 seconds each: found in minutes, though few comparisons are made in these.
    ["a queue, 8 seconds", 0.9, 2, 0, 10],
    ["beyond a peak, 8 seconds", 0.8, 1.3, 0, 10]
  ] as const) {
    it.live(
      name,
      () =>
        Effect.gen(function* () {
          const shares: Array<number> = []
          const fair: Array<number> = []
          yield* inTurns(seeds({ short: 2, long: 8 }), (seed) => {
            const found = Slots.found(name, seed)
            shares.push(found.failed)
            fair.push(found.fair)
            assert.isAtLeast(found.done, done, `seed ${seed}`)
            assert.isAtMost(found.tail, tail, `seed ${seed}`)
            assert.isAtMost(found.failed, failed, `seed ${seed}`)
            assert.isAtMost(found.after, after, `seed ${seed}`)
            assert.isAtLeast(found.fair, 0.8, `seed ${seed}`)
          })
          // One that stands a slot beyond the limit has fewer refused than its tolerance of 5 %; as a rule it stands below.
          assert.isAtMost(mean(shares), failed / 3)
          assert.isAtLeast(mean(fair), 0.9)
        }),
      120_000
    )
  }
})
