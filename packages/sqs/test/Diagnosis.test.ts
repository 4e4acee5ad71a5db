/**
 * Each cause of a queue that falls behind, injected on the emulator in virtual time, alone and with others; and runs with
 * nothing wrong, in which nothing is found.
 */
import { assert, describe, it } from "@effect/vitest"
import type { Diagnosis } from "@millrace/core"
import { Effect } from "effect"
import { seeds } from "../../../test/long.js"
import { causes, healthy } from "./support/Cases.js"
import { type Mixture, mixture, sane } from "./support/Mixtures.js"
import { type Case, found, run } from "./support/Ward.js"

/** A simulation is synchronous: between two, others have their turn. */
const each = (seeds: ReadonlyArray<number>, check: (seed: number) => void) =>
  Effect.forEach(
    seeds,
    (seed) =>
      Effect.zipRight(
        Effect.sleep(0),
        Effect.sync(() => check(seed))
      ),
    { discard: true }
  )

const from = (first: number, count: number) => Array.from({ length: count }, (_, n) => first + n)

describe("each cause alone comes first", () => {
  for (const [cause, scenario] of Object.entries<Case>(causes)) {
    it.live(cause, () =>
      each(from(1, seeds({ short: 1, long: 2 })), (seed) => {
        const { diagnosis } = run(seed, scenario)
        const [first, ...rest] = diagnosis.findings
        assert.strictEqual(first?._tag, cause as Diagnosis.Cause, `seed ${seed}: ${found(diagnosis)}`)
        assert.isBelow(rest[0]?.score ?? 0, 0.3, `seed ${seed}: ${found(diagnosis)}`)
      })
    )
  }
})

describe("where nothing is wrong, nothing is found", () => {
  const well = (seed: number, scenario: Case) => {
    const { diagnosis } = run(seed, scenario)
    assert.strictEqual(found(diagnosis), "", `seed ${seed}`)
    assert.strictEqual(diagnosis.verdict, "healthy", `seed ${seed}`)
  }
  for (const [name, scenario] of Object.entries<Case>(healthy)) {
    it.live(name, () => each([1], (seed) => well(seed, scenario)))
  }
  it.live("whatever the rate, the handlers, the groups, the stages, the other consumers, and through a deploy", () =>
    each(from(0, seeds({ short: 2, long: 6 })), (seed) => well(seed, sane(seed)))
  )
})

/** Messages a second that are missing. */
const missing = ({ lag }: Diagnosis.Diagnosis): number => lag.required - lag.throughput

/** A cause that is not felt in such company need not be seen: without it as little would be done. */
const masked = (mixed: Diagnosis.Diagnosis, others: ReadonlyArray<Diagnosis.Diagnosis>): boolean =>
  others.some((other) => mixed.lag.throughput >= 0.9 * other.lag.throughput)

const judged = (seed: number, { alone, mixed }: Mixture) => {
  const { diagnosis } = run(seed, mixed)
  const says = `seed ${seed}, ${[...alone.keys()].join(" + ")}: ${found(diagnosis)}`
  const each = [...alone].map(([cause, scenario]) => ({ cause, diagnosis: run(seed, scenario).diagnosis }))
  for (const { _tag, score } of diagnosis.findings) {
    assert.isTrue(score <= 0.3 || alone.has(_tag), `${_tag} is not there; ${says}`)
  }
  const strong = each.filter(
    ({ diagnosis }) => diagnosis.verdict === "behind" && missing(diagnosis) >= 0.1 * diagnosis.lag.required
  )
  for (const { cause } of strong) {
    const others = each.filter((other) => other.cause !== cause).map((other) => other.diagnosis)
    const seen = diagnosis.findings.some(({ _tag }) => _tag === cause)
    assert.isTrue(seen || masked(diagnosis, others), `${cause} is not found; ${says}`)
  }
  // Which cause costs most is told by what came in the last minute, and not by what each run alone takes to be required: that
  // is an estimate, which is what is tested here.
  const until = mixed.until ?? 180
  const came = from(until - 60, 60).reduce((sum, at) => sum + mixed.arrivals(at), 0) / 60
  const cost = ({ lag }: Diagnosis.Diagnosis) => came - lag.throughput
  const most = Math.max(...strong.map(({ diagnosis }) => cost(diagnosis)))
  const dominant = strong.filter(({ diagnosis }) => cost(diagnosis) >= most / 1.3).map(({ cause }) => cause)
  if (strong.length > 0) assert.include(dominant, diagnosis.findings[0]?._tag, says)
}

describe("of causes that meet, the one that slows most comes first, and no other is found", () => {
  it.live("what would hold it up next is found though it is not felt yet", () =>
    each([1], (seed) => {
      const scenario = { ...causes.RateLimited, slots: 3, consumer: { rate: { perSecond: 8 } } }
      const { diagnosis } = run(seed, scenario)
      assert.deepStrictEqual(
        diagnosis.findings.map(({ _tag }) => _tag),
        ["RateLimited", "TooFewSlots"],
        found(diagnosis)
      )
    })
  )
  // Paused for a part of the time, and slowed for more than that the rest of it.
  it.live("a pause counts as much as it holds up, beside what else does", () =>
    each([7125, 8127], (seed) => judged(seed, mixture(seed, 2)))
  )
  for (const [count, which] of [
    [2, from(0, seeds({ short: 2, long: 6 }))],
    [3, from(0, seeds({ short: 1, long: 2 }))]
  ] as const) {
    for (const seed of which) {
      it.live(`${count} at random, seed ${seed}`, () => each([seed], () => judged(seed, mixture(seed, count))))
    }
  }
})
