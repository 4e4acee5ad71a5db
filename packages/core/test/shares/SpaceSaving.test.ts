import { describe, expect, it } from "vitest"
import { SpaceSaving } from "../../src/internal/data/spaceSaving.js"

const minute = 60_000

describe("SpaceSaving", () => {
  it("counts exactly while there are no more keys than counters", () => {
    const sketch = new SpaceSaving(4, minute)
    sketch.add("a", 6, 0)
    sketch.add("b", 3, 0)
    sketch.add("a", 1, 0)
    expect(sketch.largest(4)).toEqual([
      { key: "a", atLeast: 0.7, atMost: 0.7 },
      { key: "b", atLeast: 0.3, atMost: 0.3 }
    ])
    expect(sketch.of("c")).toEqual({ key: "c", atLeast: 0, atMost: 0 })
  })

  it("of 100,000 keys none with more than a capacity's part is missing, and each estimate holds (20 seeds)", () => {
    for (let seed = 1; seed <= 20; seed++) {
      let state = seed
      const below = (n: number) => {
        state = (state * 48271) % 2147483647
        return state % n
      }
      const sketch = new SpaceSaving(50, minute)
      const exact = new Map<string, number>()
      let total = 0
      for (let i = 0; i < 20_000; i++) {
        const large = below(100)
        const key = large < 30 ? "noisy" : large < 36 ? "loud" : large < 39 ? "third" : `quiet ${below(100_000)}`
        const amount = 1 + below(20)
        sketch.add(key, amount, 0)
        exact.set(key, (exact.get(key) ?? 0) + amount)
        total += amount
      }
      expect(sketch.size).toBe(50)
      expect(sketch.largest(3).map(({ key }) => key)).toEqual(["noisy", "loud", "third"])
      for (const { atLeast, atMost, key } of sketch.largest(50)) {
        const part = (exact.get(key) ?? 0) / total
        expect(atLeast, `seed ${seed}, ${key}`).toBeLessThanOrEqual(part + 1e-9)
        expect(atMost, `seed ${seed}, ${key}`).toBeGreaterThanOrEqual(part - 1e-9)
      }
      for (const [key, amount] of exact) {
        if (amount > total / 50) expect(sketch.largest(50).map((share) => share.key)).toContain(key)
      }
    }
  })

  it("what was long ago weighs half after each half-life, for ever", () => {
    const sketch = new SpaceSaving(4, minute)
    sketch.add("old", 100, 0)
    sketch.add("new", 100, minute)
    expect(sketch.of("old").atMost).toBeCloseTo(1 / 3, 9)
    for (let i = 2; i < 5000; i++) sketch.add(i % 2 === 0 ? "even" : "odd", 1, i * minute)
    expect(sketch.of("odd").atLeast).toBeCloseTo(2 / 3, 6)
    expect(sketch.of("old").atLeast).toBeCloseTo(0, 9)
  })
})
