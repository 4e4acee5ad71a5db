/** A number that can be changed in use, and the range that its user and its user's user may each have for it. */
import { assert, describe, it } from "@effect/vitest"
import { Tunable } from "@millrace/core"
import { Effect } from "effect"

describe("Tunable.from", () => {
  it.effect("keeps a tunable of the user's within the range of the option, and refuses what is set through it", () =>
    Effect.gen(function* () {
      const mine = yield* Tunable.make("mine", 5, { min: 0 })
      const slots = yield* Tunable.from("concurrency", mine, { min: 1, max: 8, whole: true })
      const seen: Array<number> = []
      slots.unsafeSubscribe(() => seen.push(slots.unsafeGet()))
      for (const value of [0, 0.5, 2.7, 100, 3]) yield* mine.set(value)
      assert.deepStrictEqual(seen, [1, 1, 2, 8, 3])
      assert.strictEqual((yield* Effect.flip(slots.set(0))).option, "concurrency")
      yield* slots.set(4)
      assert.deepStrictEqual([yield* mine.get, yield* slots.get], [4, 4])
    })
  )

  it.effect("gives back one that cannot be out of range as it is: what several share is known as one", () =>
    Effect.gen(function* () {
      const mine = yield* Tunable.make("mine", 5, { min: 2, max: 6, whole: true })
      assert.strictEqual(yield* Tunable.from("a", mine, { min: 1, whole: true }), mine)
      const view = yield* Tunable.from("a", mine, { min: 3, whole: true })
      assert.notStrictEqual(view, mine)
      assert.strictEqual(yield* Tunable.from("b", view, { min: 1, whole: true }), view)
    })
  )
})
