/** What is chosen by selection is what sorting would find. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Random } from "effect"
import { seeds } from "../../../../test/long.js"
import { median, theilSen } from "../../src/internal/data/slope.js"

const sorted = (values: ReadonlyArray<number>): number => {
  const all = [...values].sort((a, b) => a - b)
  const middle = all.length >> 1
  const upper = all[middle] ?? Number.NaN
  return all.length % 2 === 1 ? upper : ((all[middle - 1] ?? Number.NaN) + upper) / 2
}

describe("the median", () => {
  it.effect("is the middle, or between the two in the middle, whatever is alike", () =>
    Effect.gen(function* () {
      for (let seed = 0; seed < seeds({ short: 500, long: 5000 }); seed++) {
        const random = Random.make(seed)
        const kinds = yield* random.nextIntBetween(1, 30)
        const values: Array<number> = []
        for (let left = yield* random.nextIntBetween(1, 50); left > 0; left--) {
          values.push((yield* random.nextIntBetween(-kinds, kinds + 1)) / 3)
        }
        const given = [...values]
        assert.strictEqual(median(values) + 0, sorted(values) + 0, `seed ${seed}`)
        assert.deepStrictEqual(values, given, "what is given stays as it is")
      }
    })
  )

  it("of nothing is none", () => {
    assert.isNaN(median([]))
  })
})

describe("a line", () => {
  it("goes through most points, however far off the others are; none where there is no slope", () => {
    const points = Array.from({ length: 20 }, (_, x) => [x, x % 5 === 0 ? 1e6 * x : 3 * x + 1] as const)
    const line = theilSen(points)
    assert.approximately(line?.slope ?? 0, 3, 1e-9)
    assert.approximately(line?.at(100) ?? 0, 301, 1e-6)
    assert.isUndefined(theilSen([[1, 1]]))
    assert.isUndefined(
      theilSen([
        [1, 1],
        [1, 2]
      ])
    )
  })
})
