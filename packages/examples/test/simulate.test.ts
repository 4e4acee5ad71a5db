/**
 * Invariants 1 to 7 on the emulator, over seeds: fleets whose consumers are killed, frozen, drained and started, on a
 * queue whose calls fail, while clocks jump. `npm run simulate` plays as many more as one likes.
 *
 * It notices what is wrong. Each of these was tried, one line changed, and the seed that breaks first:
 * - a permit that comes back when its settlement is asked for (Consumer.settle): bound, seed 0
 * - a failed entry taken for a confirmed one, on ordered queues (Settler.send): bound, seed 4
 * - reserved permits that are not counted (Intake.#free): bound, seed 22
 * - extensions that go on after a retry or release (LeaseKeeper.stop without `final`): lease, seed 30
 * - a message begun though its lease is over (InFlight.claim without its deadline): lease, seed 0
 * - a lost head that does not give back its tail (Consumer.#end): order, seed 319
 * - a lane that goes on before the delete is confirmed (Slot.done that always leaves): order, seed 1
 * - a dead letter that is deleted though its send has failed (SqsLeaseQueue): no loss, seed 6
 * - leases that go by the wall clock, which may be stepped back (Steady): progress, seed 530
 */
import { setImmediate } from "node:timers/promises"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { seeds } from "../../../test/long.js"
import * as Fleet from "../src/simulate/Fleet.js"
import { run } from "./support/Program.js"

describe("a fleet on the emulator", { timeout: 180_000 }, () => {
  const each = 20
  for (let from = 0; from < seeds({ short: 60, long: 600 }); from += each) {
    it(`every invariant holds: seeds ${from} to ${from + each - 1}`, async () => {
      for (let seed = from; seed < from + each; seed++) {
        const { failure } = Fleet.run(seed)
        assert.isUndefined(failure, `seed ${seed}; npm run simulate -- --seed ${seed} --verbose`)
        await setImmediate()
      }
    })
  }

  // Those of the list above that the short form has not; and found by long runs, and mended since.
  for (const [seed, what] of [
    [319, "a lost head gives back its tail (`Consumer`)"],
    [530, "leases do not go by the wall clock, which may be stepped back (`Steady`)"],
    [3865, "a consumer that was interrupted as it closed left a permit behind (`within`)"],
    [18923, "a clock was stepped back while the process was frozen, and a lease that was over believed (`Steady`)"],
    [19941, "a batch began what its policy had just given back (`processBatches`)"]
  ] as const) {
    it(`seed ${seed}: ${what}`, () => {
      assert.isUndefined(Fleet.run(seed).failure)
    })
  }

  // A failure that cannot be played again cannot be mended.
  it("a seed replays, line for line", () => {
    const { lines, seconds, wakes } = Fleet.run(7, true)
    assert.isAbove(lines.length, 10)
    const again = Fleet.run(7, true)
    assert.deepStrictEqual([again.lines, again.seconds, again.wakes], [lines, seconds, wakes])
    assert.notDeepEqual(Fleet.run(8, true).lines, lines)
    // Looking on changes nothing.
    assert.strictEqual(Fleet.run(7).wakes, wakes)
  })

  it.scopedLive("as a program", () =>
    Effect.gen(function* () {
      const { code, stdout } = yield* run("simulate", ["--seeds", "3", "--from", "20"])
      assert.match(stdout, /3 seeds, .*every invariant holds/)
      assert.strictEqual(code, 0)
      const bad = yield* run("simulate", ["--seeds", "many"])
      assert.match(bad.stderr, /--seeds is "many"; write a whole number/)
      assert.strictEqual(bad.code, 2)
    })
  )
})
