/**
 * The short form of `npm run diagnose`: with counts that are late by up to a minute and off by up to a tenth, what is wrong
 * comes first, and doing what is advised cures it; where nothing is wrong, nothing is said.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { seeds } from "../../../test/long.js"
import { healthyRun, named, treatSingle, weights } from "./stand/Exam.js"
import { mixture, single } from "./stand/Scenarios.js"

/** A simulation is synchronous: between two, others have their turn. */
const turn = Effect.sleep(0)

describe("with counts as SQS gives them", () => {
  const causes = [
    "too few slots from the start",
    "handlers become slow",
    "handlers of batches become slow",
    "the downstream loses servers",
    "a full downstream that queues",
    "too few connections",
    "too few permits",
    "poison that comes again and again",
    "a head that fails",
    "the in-flight limit of a FIFO queue"
  ]
  for (const name of causes.slice(0, seeds({ short: 1, long: causes.length }))) {
    it.live(`${name}: found, and cured by what is advised`, () =>
      Effect.zipRight(
        turn,
        Effect.sync(() => {
          const { absent, curedAfter, felt, harmed, looks, ratios, right, story } = treatSingle(name, 5000)
          assert.isTrue(felt)
          assert.isAtLeast(right / looks, 0.9, story.join("\n"))
          assert.isAtMost(absent / looks, 0.15, story.join("\n"))
          for (const [setting, ratio] of ratios) {
            assert.isTrue(ratio >= 0.8 && ratio <= 2.5, `${setting}: ${ratio.toFixed(2)} of what is needed`)
          }
          assert.strictEqual(harmed, 0, story.join("\n"))
          assert.isDefined(curedAfter, story.join("\n"))
        })
      )
    )
  }

  // Each with what makes one cause look like another: what comes first, in which part of the looks, and what is not named.
  const hot = (seed: number) => single("one hot group", seed)
  const few = (seed: number) => single("too few slots", seed)
  const slow = (seed: number) => single("handlers become slow in a fleet", seed)
  /** The hot group of a mixture, alone: more groups are active than there are slots. */
  const many = (seed: number) => {
    const mixed = mixture(seed)
    return { ...mixed, scenario: mixed.only(new Set([mixed.causes.indexOf("HotGroup")])) }
  }
  const alike = [
    ["behind an open circuit nothing says that slots are too few", mixture, 609, "CircuitOpen", 1, "TooFewSlots"],
    [
      "a full downstream behind few connections has not become slow",
      mixture,
      604,
      "ConnectionsExhausted",
      1,
      "SlowHandler"
    ],
    ["turns that wait for connections make no group hot", mixture, 605, "ConnectionsExhausted", 1, undefined],
    ["a hot group is told of before it is far behind", hot, 7001, "HotGroup", 1, undefined],
    [
      "a burst on an ordered queue is one, though most of it has not been received",
      mixture,
      615,
      "ProducerBurst",
      0.5,
      undefined
    ],
    [
      "what fails and is put back is no burst, and no other consumer's",
      mixture,
      640,
      "RateLimited",
      0.7,
      "ProducerBurst"
    ],
    [
      "a full downstream whose runs fail as well has not become slow",
      mixture,
      712,
      "SaturatedDownstream",
      0.9,
      "SlowHandler"
    ],
    ["runs that fail spend connections too", mixture, 729, "Retries", 0.7, undefined],
    [
      "a rate that is reached comes before slow handlers, whose times do not grow with their number",
      mixture,
      834,
      "RateLimited",
      0.7,
      "SaturatedDownstream"
    ],
    ["a pause explains all while it lasts, whatever hangs besides", mixture, 713, "Paused", 1, undefined],
    ["a burst has ended once the counts stand still", mixture, 716, "ProducerBurst", 0.8, undefined],
    ["groups that lost leases hold are not hot", mixture, 741, "VisibilityTimeoutTooShort", 1, "HotGroup"],
    ["where most runs fail, no head is stuck that fails again by chance", mixture, 3037, "Retries", 1, "StuckGroup"],
    ["a hot group beside many others is nobody else's", many, 3034, "HotGroup", 1, "StuckGroup", 600],
    [
      "a rate that leaves slow handlers little to do holds up more than they",
      mixture,
      5049,
      "RateLimited",
      1,
      undefined
    ],
    ["what comes again for a lost lease spends the rate", mixture, 5004, "VisibilityTimeoutTooShort", 1, undefined],
    ["a burst has ended, though more comes for good than before", mixture, 5046, "ProducerBurst", 0.4, undefined],
    ["a burst that does not go away is kept by what else there is", mixture, 7006, "RateLimited", 0.5, undefined, 600],
    ["short receives of an ordered queue want no permits", mixture, 5012, "HotGroup", 0.1, "IntakeTooSmall"],
    ["slow calls make no group hot", mixture, 3065, "SlowCalls", 1, "HotGroup"],
    ["a burst is one where it never was well before", mixture, 3068, "ProducerBurst", 0.9, "IntakeTooSmall"],
    ["a backlog that grows for ten minutes is no burst", few, 7200, "TooFewSlots", 0.95, "ProducerBurst", 900],
    ["a backlog that slow handlers let grow names no slots", slow, 7200, "SlowHandler", 0.95, "TooFewSlots", 1100]
  ] as const
  for (const [name, plan, seed, first, least, absent, until] of alike.slice(
    0,
    seeds({ short: 1, long: alike.length })
  )) {
    it.live(name, () =>
      Effect.zipRight(
        turn,
        Effect.sync(() => {
          const looks = named(seed, plan(seed), until)
          const told = looks.map((causes) => causes.join(" ")).join("\n")
          assert.isAtLeast(
            looks.filter((causes) => causes[0] === first).length,
            Math.max(1, least * looks.length),
            told
          )
          if (absent !== undefined) assert.notInclude(told, absent)
        })
      )
    )
  }

  it("what waits is shared out among causes by what each adds, in whatever order they come", () => {
    const of = (waiting: (has: (place: number) => boolean) => number, count = 2) =>
      weights(count, (places) => waiting((place) => places.has(place)))
    // One beside the other; one that stops all alone, as the other does; two of which neither does anything alone.
    assert.deepStrictEqual(
      of((has) => (has(0) ? 300 : 0) + (has(1) ? 100 : 0)),
      [300, 100]
    )
    assert.deepStrictEqual(
      of(() => 500),
      [250, 250]
    )
    assert.deepStrictEqual(
      of((has) => (has(0) && has(1) ? 800 : 0)),
      [400, 400]
    )
    const three = of((has) => (has(0) && has(1) ? 600 : 0) + (has(2) ? 90 : 0), 3)
    for (const [i, weight] of [300, 300, 90].entries()) assert.closeTo(three[i] ?? 0, weight, 1e-6)
  })

  // Of the last two one has batches that fail whole now and then, the other a handler that takes very long once.
  for (const seed of [0, 1, 2, 132, 165].slice(0, seeds({ short: 1, long: 5 }))) {
    it.live(`a healthy consumer has nothing said of it, seed ${seed}`, () =>
      Effect.zipRight(
        turn,
        Effect.sync(() => assert.deepStrictEqual(healthyRun(seed).words, []))
      )
    )
  }
})
