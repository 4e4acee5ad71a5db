import { describe, expect, it } from "vitest"
import { Heap } from "../../src/internal/data/heap.js"

interface Item {
  rank: number
  slot: number
}

describe("Heap", () => {
  it("keeps the least first through pushes, pops, removals and moves (against a sorted array)", () => {
    let state = 1
    const below = (n: number) => {
      state = (state * 48271) % 2147483647
      return state % n
    }
    const heap = new Heap<Item>(
      (a, b) => a.rank < b.rank,
      (item, slot) => {
        item.slot = slot
      }
    )
    let model: Array<Item> = []
    const leave = (item: Item) => {
      model = model.filter((other) => other !== item)
      expect(item.slot).toBe(-1)
    }
    for (let i = 0; i < 5000; i++) {
      const some = model[below(model.length || 1)]
      const what = below(10)
      if (some === undefined || what < 5) {
        const item = { rank: below(1000), slot: -1 }
        heap.push(item)
        model.push(item)
      } else if (what < 6) {
        const popped = heap.pop()
        if (popped !== undefined) leave(popped)
      } else if (what < 8) {
        heap.removeAt(some.slot)
        leave(some)
      } else {
        some.rank = below(1000)
        heap.moved(some.slot)
      }
      expect(heap.size).toBe(model.length)
      expect(heap.peek?.rank).toBe(model.length === 0 ? undefined : Math.min(...model.map(({ rank }) => rank)))
    }
    expect(model.length).toBeGreaterThan(100)
    for (const item of heap.items) expect(heap.items[item.slot]).toBe(item)
  })
})
