import { describe, expect, it } from "vitest"
import { Shares, type Terms } from "../../src/internal/run/shares.js"

const free: Terms = {
  concurrency: Number.POSITIVE_INFINITY,
  rate: undefined,
  weight: 1,
  waiting: Number.POSITIVE_INFINITY
}

interface Item {
  readonly key: string
  readonly n: number
}

const shop = (terms: (key: string) => Partial<Terms> = () => ({}), room = 1000) => {
  const clock = { now: 0 }
  const bound = { room }
  const shares = new Shares<Item>({
    terms: (key) => ({ ...free, ...terms(key) }),
    now: () => clock.now,
    room: () => bound.room
  })
  let n = 0
  const send = (key: string, count = 1): void => {
    for (let i = 0; i < count; i++) {
      const item = { key, n: n++ }
      shares.add(key, item)
      shares.push(item)
    }
  }
  const take = (count: number): Array<Item> => {
    const taken: Array<Item> = []
    for (let item = count > 0 ? shares.next() : undefined; item !== undefined; item = shares.next()) {
      taken.push(item)
      if (taken.length === count) break
    }
    return taken
  }
  return { bound, clock, shares, send, take }
}

const keysOf = (items: ReadonlyArray<Item>) => items.map(({ key }) => key).join("")

describe("whose turn it is", () => {
  it("goes round among the keys that have something, each in its own order", () => {
    const { send, take } = shop()
    send("a", 5)
    send("b", 2)
    send("c", 1)
    const taken = take(8)
    expect(keysOf(taken)).toBe("abcabaaa")
    expect(taken.filter(({ key }) => key === "a").map(({ n }) => n)).toEqual([0, 1, 2, 3, 4])
  })

  it("a key that comes later is next to those that have had their turn", () => {
    const { send, take } = shop()
    send("a", 100)
    take(50)
    send("b", 1)
    expect(keysOf(take(2))).toContain("b")
  })

  it("weights are shares of what begins, exactly", () => {
    const weights: Record<string, number> = { a: 6, b: 3, c: 1, d: 2.5 }
    const { send, take } = shop((key) => ({ weight: weights[key] ?? 1 }))
    for (const key of Object.keys(weights)) send(key, 1000)
    const taken = take(1250)
    const count = (key: string) => taken.filter((item) => item.key === key).length
    expect(["a", "b", "c", "d"].map(count)).toEqual([600, 300, 100, 250])
  })

  it("a key runs no more at once than it may, and the others go on", () => {
    const { send, shares, take } = shop((key) => (key === "a" ? { concurrency: 2 } : {}))
    send("a", 10)
    send("b", 3)
    const taken = take(10)
    expect(keysOf(taken)).toBe("ababb")
    for (const item of taken.filter(({ key }) => key === "a")) shares.ends(item)
    expect(keysOf(take(10))).toBe("aa")
  })

  it("a rate lets a burst begin at once, and then one after another; and says when", () => {
    const { clock, send, shares, take } = shop((key) => (key === "a" ? { rate: { perSecond: 10, burst: 3 } } : {}))
    send("a", 20)
    send("b", 1)
    expect(keysOf(take(20))).toBe("abaa")
    const at: Array<number> = []
    for (let i = 0; i < 17; i++) {
      const next = shares.wakeAt
      expect(next).toBeDefined()
      clock.now = next ?? 0
      for (const { key } of take(20)) {
        expect(key).toBe("a")
        at.push(clock.now)
      }
    }
    expect(at).toEqual(Array.from({ length: 17 }, (_, i) => 100 * (i + 1)))
    expect(shares.wakeAt).toBeUndefined()
    clock.now += 10_000
    send("a", 20)
    expect(keysOf(take(20))).toBe("aaa")
  })

  it("what is parked has its slot taken away, and runs before the others of its key once it is pushed first", () => {
    const { send, shares, take } = shop((key) => (key === "a" ? { concurrency: 1 } : {}))
    send("a", 2)
    const [first] = take(2)
    if (first === undefined) throw new Error("nothing ran")
    shares.waits(first)
    shares.push(first, true)
    expect(take(2)).toEqual([first])
  })

  it("where nothing ran its key has its token back, and its time is nobody's pace", () => {
    const { clock, send, shares, take } = shop(() => ({ rate: { perSecond: 1, burst: 2 } }))
    send("a", 3)
    const [first] = take(3)
    if (first === undefined) throw new Error("nothing ran")
    expect(shares.wakeAt).toBe(1000)
    clock.now += 100
    shares.waits(first, false)
    expect(shares.wakeAt).toBeUndefined()
    expect(take(3)).toHaveLength(1)
    // Never more than a burst, and what has run has spent its own.
    expect(take(3)).toHaveLength(0)
    const pace = (ran: boolean) => {
      const { clock, send, shares, take } = shop()
      send("a", 40)
      const [one] = take(1)
      if (one === undefined) throw new Error("nothing ran")
      clock.now += 60_000
      shares.waits(one, ran)
      return shares.awayFor("a")
    }
    expect(pace(false)).toBe(1680)
    expect(pace(true)).toBeGreaterThan(100_000)
  })

  it("without a key each shares with nobody", () => {
    const { shares, take } = shop(() => ({ concurrency: 1 }))
    for (let n = 0; n < 5; n++) {
      const item = { key: "", n }
      shares.add(undefined, item)
      shares.push(item)
    }
    expect(take(9)).toHaveLength(5)
    expect(shares.keys).toBe(0)
  })
})

describe("how much may wait", () => {
  it("one key may have half of the room, two a third each, nine a tenth; and there is always some for another", () => {
    for (const keys of [1, 2, 9]) {
      const { send, shares } = shop(() => ({}), 900)
      for (let i = 0; i < 2000; i++) {
        const key = `key ${i % keys}`
        if (shares.hasRoom(key)) send(key)
      }
      expect(shares.size).toBeGreaterThan((900 * keys) / (keys + 1) - keys)
      expect(shares.size).toBeLessThanOrEqual((900 * keys) / (keys + 1) + keys)
      expect(shares.hasRoom("another")).toBe(true)
    }
  })

  it("its own bound, where that is less", () => {
    const { send, shares } = shop(() => ({ waiting: 7 }))
    for (let i = 0; i < 20; i++) if (shares.hasRoom("a")) send("a")
    expect(shares.size).toBe(7)
  })

  it("one whose receives run out may take more, and never all", () => {
    const { send, shares } = shop(() => ({}), 80)
    for (let i = 0; i < 200; i++) if (shares.hasRoom("a", true)) send("a")
    expect(shares.size).toBe(70)
  })

  it("where slots and permits are as many, one key takes nine tenths of them", () => {
    const { send, take } = shop(() => ({}), 50)
    send("a", 50)
    expect(take(50)).toHaveLength(45)
  })

  it("what goes back comes again at the rate of its key, one after another", () => {
    const { send, shares } = shop(() => ({ rate: { perSecond: 10, burst: 1 } }))
    send("a", 40)
    const away = Array.from({ length: 50 }, () => shares.awayFor("a"))
    // Of the 40 that wait half are left in two seconds.
    expect(away[0]).toBe(2100)
    expect(away[49]).toBe(2000 + 50 * 100)
    for (let i = 1; i < 50; i++) expect((away[i] ?? 0) - (away[i - 1] ?? 0)).toBeCloseTo(100, 0)
  })

  it("without a rate, at the pace at which its handlers end, and a quarter sooner", () => {
    const { clock, send, shares, take } = shop()
    send("a", 140)
    for (let i = 0; i < 8; i++) {
      const run = take(4)
      clock.now += 500
      for (const item of run) shares.ends(item)
    }
    take(4)
    // Four at a time, half a second each: 8 a second, and 10 come again.
    const first = shares.awayFor("a")
    let last = first
    for (let i = 0; i < 50; i++) last = shares.awayFor("a")
    expect((last - first) / 50).toBeCloseTo(100, 0)
  })

  it("never longer than two minutes, and then no more is looked for until something has been worked on", () => {
    const { clock, send, shares } = shop(() => ({ rate: { perSecond: 1, burst: 1 } }))
    send("a", 2)
    expect(shares.useful).toBe(1)
    let last = 0
    for (let i = 0; i < 500; i++) last = shares.awayFor("a")
    expect(last).toBe(120_000)
    expect(shares.useful).toBe(2)
    expect(shares.wakeAt).toBe(1000)
    clock.now += 1000
    expect(shares.useful).toBe(1)
  })
})

describe("what is counted", () => {
  it("a key has a turn only while it may begin something: not what runs alone, has left, or has its slots full", () => {
    const { send, shares, take } = shop((key) => (key === "b" ? { concurrency: 1 } : {}))
    send("a")
    send("b", 2)
    expect(shares.turns).toBe(2)
    expect(keysOf(take(2))).toBe("ab")
    expect(shares.turns).toBe(0)
    const last = { key: "c", n: 100 }
    shares.add("c", last)
    shares.push(last)
    expect(shares.turns).toBe(1)
    shares.leaves(last)
    expect(shares.turns).toBe(0)
    expect(shares.ready).toBe(1)
  })

  it("a key that waited for its rate has its turn when that time has come, and nothing is to be woken for", () => {
    const { clock, send, shares, take } = shop(() => ({ rate: { perSecond: 10, burst: 1 } }))
    send("a", 3)
    take(1)
    expect(shares.turns).toBe(0)
    expect(shares.wakeAt).toBe(100)
    clock.now = 100
    expect(shares.wakeAt).toBeUndefined()
    expect(shares.turns).toBe(1)
    take(1)
    clock.now = 200
    expect(shares.turns).toBe(1)
  })

  it("a key is forgotten with the last of it, and with one of two that run its next one begins", () => {
    const { send, shares, take } = shop(() => ({ concurrency: 2 }))
    send("a", 3)
    const [first, second] = take(3)
    if (first === undefined || second === undefined) throw new Error("nothing ran")
    shares.ends(first)
    const [third] = take(3)
    expect(third?.n).toBe(2)
    for (const item of [second, third]) if (item !== undefined) shares.ends(item)
    expect(shares.keys).toBe(0)
  })

  it("a key that has spent its tokens is remembered with nothing here: its rate holds", () => {
    const { clock, send, shares, take } = shop(() => ({ rate: { perSecond: 1, burst: 1 } }))
    for (const at of [0, 1000]) {
      clock.now = at
      send("a")
      const ran = take(2)
      expect(ran).toHaveLength(1)
      for (const item of ran) shares.ends(item)
    }
    clock.now = 1999
    send("a")
    expect(take(1)).toHaveLength(0)
  })

  it("a key that has something here is never forgotten, however many others come", () => {
    const { send, take } = shop((key) => (key === "a" ? { concurrency: 1 } : {}))
    send("a", 2)
    expect(keysOf(take(5))).toBe("a")
    for (let i = 0; i < 200; i++) send(`key ${i}`)
    send("a")
    expect(take(300).filter(({ key }) => key === "a")).toEqual([])
  })

  it("a key whose messages are away is remembered: the next one stays away for longer", () => {
    const { clock, send, shares } = shop(() => ({ rate: { perSecond: 10, burst: 1 } }))
    let last = 0
    for (let i = 0; i < 50; i++) last = shares.awayFor("a")
    for (let i = 0; i < 200; i++) send(`key ${i}`)
    clock.now = 10
    expect(shares.awayFor("a")).toBe(last - 10 + 100)
  })

  it("a key waits for its rate once, from when it had its last token, and not if nothing of it is ready", () => {
    const { clock, send, shares, take } = shop(() => ({ rate: { perSecond: 10, burst: 1 } }))
    send("a")
    const [first] = take(1)
    if (first === undefined) throw new Error("nothing ran")
    clock.now = 50
    send("a")
    expect(shares.wakeAt).toBe(100)
    send("a")
    shares.waits(first, false)
    expect(shares.wakeAt).toBeUndefined()
    take(1)
    const [second] = shares
    if (second === undefined) throw new Error("nothing is ready")
    expect(shares.wakeAt).toBe(150)
    shares.leaves(second)
    expect(shares.wakeAt).toBeUndefined()
  })

  it("a key that had nothing for a while begins with its whole weight, and no more", () => {
    const { send, take } = shop((key) => (key === "a" ? { weight: 4 } : {}))
    send("a")
    take(1)
    send("a", 10)
    send("b", 10)
    expect(keysOf(take(7))).toBe("aaaabaa")
  })

  it("twice ready is ready once; what is not known is nobody's", () => {
    const { send, shares, take } = shop()
    send("a")
    const [item] = shares
    if (item === undefined) throw new Error("nothing is ready")
    shares.push(item)
    expect(shares.ready).toBe(1)
    const stranger = { key: "a", n: -1 }
    shares.push(stranger)
    shares.waits(stranger)
    shares.ends(stranger)
    shares.leaves(stranger)
    expect([shares.size, shares.ready]).toEqual([1, 1])
    expect(take(5)).toEqual([item])
  })

  it("what runs does not leave before it ends; what waits gives its place away when it leaves", () => {
    const { send, shares, take } = shop(() => ({ waiting: 2 }))
    send("a")
    const [item] = take(1)
    if (item === undefined) throw new Error("nothing ran")
    shares.leaves(item)
    expect(shares.size).toBe(1)
    shares.ends(item)
    expect(shares.size).toBe(0)
    const [other, behind] = [
      { key: "a", n: 100 },
      { key: "a", n: 101 }
    ]
    shares.add("a", other)
    shares.add("a", behind)
    expect(shares.hasRoom("a")).toBe(false)
    shares.leaves(behind)
    expect(shares.hasRoom("a")).toBe(true)
    expect(shares.size).toBe(1)
    shares.push(other)
    expect(take(1)).toEqual([other])
    shares.waits(other)
    shares.leaves(other)
    expect(shares.size).toBe(0)
  })

  it("a bound that is lowered holds for what is ready already", () => {
    const { bound, send, shares, take } = shop(() => ({}), 100)
    send("a", 20)
    take(8)
    bound.room = 5
    expect(take(20)).toHaveLength(0)
    expect([shares.ready, shares.turns]).toEqual([12, 0])
  })

  it("a key that has nothing waiting has room for one, though all is taken; and one key alone for half, no more", () => {
    const { send, shares, take } = shop(() => ({}), 10)
    for (let i = 0; i < 20; i++) if (shares.hasRoom("a")) send("a")
    expect(shares.size).toBe(5)
    send("b", 5)
    expect(shares.hasRoom("a")).toBe(false)
    take(10)
    expect(shares.hasRoom("a")).toBe(true)
  })

  it("a token that comes back is one, and not all that may be saved up", () => {
    const { send, shares, take } = shop(() => ({ rate: { perSecond: 1, burst: 3 } }))
    send("a", 10)
    const [first] = take(3)
    if (first === undefined) throw new Error("nothing ran")
    shares.waits(first, false)
    expect(take(10)).toHaveLength(1)
  })
})

describe("how long what goes back stays away", () => {
  const rate = { perSecond: 100, burst: 1 }
  /** The time from one to the next, of many, once the first second is full. */
  const step = (shares: Shares<Item>) => {
    const away = Array.from({ length: 250 }, () => shares.awayFor("a"))
    return ((away[249] ?? 0) - (away[149] ?? 0)) / 100
  }

  it("by its rate, where nothing of it runs", () => {
    const { shares } = shop(() => ({ rate }))
    expect(step(shares)).toBeCloseTo(10, 1)
  })

  it("by its slots, where those are what it waits for; by its rate once it waits for that", () => {
    const slow = (concurrency: number) => {
      const { clock, send, shares, take } = shop(() => ({ rate: { perSecond: 100, burst: 2 }, concurrency }))
      send("a", 10)
      for (const item of take(1)) {
        clock.now += 500
        shares.ends(item)
      }
      take(concurrency)
      return shares
    }
    // Half a second each, one at a time, and a quarter sooner.
    expect(step(slow(1))).toBeCloseTo(400, 0)
    // Two have begun, and a third waits for its token.
    expect(step(slow(3))).toBeCloseTo(10, 1)
  })

  it("that more is looked for ends with the longest time away, and not before", () => {
    const { clock, send, shares, take } = shop((key) => ({ rate: { perSecond: key === "a" ? 1 : 0.25, burst: 1 } }))
    send("a", 3)
    shares.awayFor("a")
    expect(shares.useful).toBe(1)
    send("b", 2)
    take(2)
    for (let i = 0; i < 500; i++) shares.awayFor("b")
    // The earlier of the two: a token of the first, or the room of the second.
    expect(shares.wakeAt).toBe(1000)
    clock.now = 1000
    expect(shares.wakeAt).toBe(4000)
  })
})

describe("memory and time", () => {
  it("100,000 keys: each step takes as long as with few, and nothing is kept of those that are done", () => {
    const spend = (keys: number, rate: Terms["rate"]) => {
      const { clock, send, shares, take } = shop(() => ({ rate, concurrency: 1 }), 1_000_000)
      const begun = performance.now()
      for (let round = 0; round < 200_000 / keys; round++) {
        for (let i = 0; i < keys; i++) send(`key ${i}`)
        expect(shares.keys).toBeLessThanOrEqual(keys)
        const taken = take(keys)
        expect(taken).toHaveLength(keys)
        for (const item of taken) shares.ends(item)
        clock.now += 1000
      }
      const took = performance.now() - begun
      expect(shares.size).toBe(0)
      // Those whose bucket is full again are found as new ones come.
      for (let i = 0; i < 64; i++) {
        send(`late ${i}`)
        for (const item of take(1)) shares.ends(item)
        clock.now += 1000
      }
      return { took, kept: shares.keys }
    }
    spend(1000, undefined)
    const few = spend(1000, undefined)
    const many = spend(100_000, undefined)
    expect(many.kept).toBe(0)
    // A map of 100,000 is slower by itself; what grew with the keys would be a hundred times slower.
    expect(many.took).toBeLessThan(12 * few.took + 1000)
  })

  it("keys with a rate are forgotten once their bucket is full", () => {
    const { clock, send, shares, take } = shop(() => ({ rate: { perSecond: 10, burst: 2 } }))
    for (let i = 0; i < 50_000; i++) {
      send(`key ${i}`)
      for (const item of take(1)) shares.ends(item)
      clock.now += 1
    }
    // A tenth of a second: so many of them have a token less.
    expect(shares.keys).toBeLessThan(500)
  })

  it("whatever happens in whatever order, what is counted is what is there (a model, 40 seeds)", () => {
    for (let seed = 1; seed <= 40; seed++) {
      let state = seed
      const below = (n: number) => {
        state = (state * 48271) % 2147483647
        return state % n
      }
      const limits: Record<string, Partial<Terms>> = {
        a: { concurrency: 3 },
        b: { rate: { perSecond: 50, burst: 4 } },
        c: { weight: 4 },
        d: { concurrency: 2, rate: { perSecond: 20, burst: 1 } }
      }
      const { clock, shares } = shop((key) => limits[key] ?? {}, 60)
      const waiting = new Set<Item>()
      const ready = new Set<Item>()
      const running = new Set<Item>()
      const pick = (from: Set<Item>) => [...from][below(from.size || 1)]
      let n = 0
      for (let step = 0; step < 3000; step++) {
        clock.now += below(4)
        const what = below(9)
        if (what < 3) {
          const item = { key: "abcde".charAt(below(5)), n: n++ }
          if (!shares.hasRoom(item.key)) expect(shares.awayFor(item.key)).toBeGreaterThanOrEqual(1000)
          else {
            shares.add(item.key, item)
            waiting.add(item)
          }
        } else if (what < 5) {
          const item = pick(waiting)
          if (item !== undefined && waiting.delete(item)) {
            shares.push(item, below(2) === 0)
            ready.add(item)
          }
        } else if (what < 7) {
          const item = shares.next()
          if (item !== undefined) {
            expect(ready.delete(item)).toBe(true)
            running.add(item)
            const { concurrency = 99 } = limits[item.key] ?? {}
            expect([...running].filter(({ key }) => key === item.key).length, `seed ${seed}`).toBeLessThanOrEqual(
              concurrency
            )
          } else if (ready.size > 0) {
            for (const { key } of ready) expect("abd", `seed ${seed}: ${key} could run`).toContain(key)
          }
        } else if (what < 8) {
          const item = pick(running)
          if (item !== undefined && running.delete(item)) {
            if (below(3) > 0) shares.ends(item)
            else {
              shares.waits(item)
              waiting.add(item)
            }
          }
        } else {
          const from = below(2) === 0 ? waiting : ready
          const item = pick(from)
          if (item !== undefined && from.delete(item)) shares.leaves(item)
        }
        if (shares.size !== waiting.size + ready.size + running.size || shares.ready !== ready.size) {
          expect.fail(`seed ${seed}, step ${step}: ${shares.size} are counted, ${shares.ready} of them ready`)
        }
        if (step % 100 === 0) expect(new Set(shares), `seed ${seed}`).toEqual(ready)
      }
      // Nothing stands still for ever.
      while (ready.size + running.size > 0) {
        for (const item of running) shares.ends(item)
        running.clear()
        clock.now += 100
        for (let item = shares.next(); item !== undefined; item = shares.next()) {
          ready.delete(item)
          running.add(item)
        }
      }
    }
  })
})
