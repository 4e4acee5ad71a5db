/**
 * Consumers under `AdaptiveConcurrency` that share a downstream, event by event and without their queue, so that hours are
 * a second: what gets done, as a part of what the best fixed number of slots gets done.
 */
import { Histogram } from "@millrace/core"
import { PCGRandom } from "effect/Utils"
import { type Checked, Climber } from "../../../src/internal/advise/climber.js"
import { Heap } from "../../../src/internal/data/heap.js"
import { type Draw, drawing, oneOf } from "../World.js"
import { mean, quantile } from "./Counts.js"

/** Times in seconds. */
interface Downstream {
  /** A call alone, on average, and whether it varies as waiting times do or by a half at most. */
  readonly alone: number
  readonly exponential: boolean
  /** By how much calls are slower where so many run. */
  readonly slowness?: ((running: number) => number) | undefined
  /** So many are served at once, and the others wait. */
  readonly servers?: number | undefined
  /** So many are let in, and each other is refused after a tenth of a second. */
  readonly admitted?: number | undefined
  readonly consumers: number
  /** What the best fixed number is, of all consumers together. */
  readonly best: number
}

/** Best at one number and worse beyond it, by Gunther's universal scalability law. */
const peaked = (best: number, contention = 0.05) => {
  const coherence = (1 - contention) / best ** 2
  return (n: number) => 1 + contention * (n - 1) + coherence * n * (n - 1)
}

const about = (draw: Draw, from: number, to: number) => Math.round(Math.exp(draw(Math.log(from), Math.log(to))))
const scenarios: Readonly<Record<string, (draw: Draw) => Downstream>> = {
  "a hard limit": (draw) => {
    const best = about(draw, 8, 60)
    return { alone: draw(0.1, 1), exponential: oneOf(draw)(true, false), admitted: best, consumers: 1, best }
  },
  "beyond a peak": (draw) => {
    const best = about(draw, 8, 40)
    return { alone: draw(0.1, 1), exponential: oneOf(draw)(true, false), slowness: peaked(best), consumers: 1, best }
  },
  "a queue": (draw) => {
    const best = about(draw, 8, 60)
    return { alone: draw(0.1, 1), exponential: true, servers: best, consumers: 1, best }
  },
  "four share a queue": (draw) => {
    const best = about(draw, 24, 80)
    return { alone: draw(0.1, 1), exponential: true, servers: best, consumers: 4, best }
  },
  "a queue, 8 seconds": (draw) => {
    const best = about(draw, 8, 40)
    return { alone: 8, exponential: false, servers: best, consumers: 1, best }
  },
  "beyond a peak, 8 seconds": (draw) => {
    const best = about(draw, 8, 40)
    return { alone: 8, exponential: false, slowness: peaked(best), consumers: 1, best }
  }
}
export const names = Object.keys(scenarios)

export interface Found {
  /** Of the best fixed number's: what got done in the second hour, and what 99 of 100 handlers took at most. */
  readonly done: number
  readonly tail: number
  /** The share of calls that failed. */
  readonly failed: number
  /** Jain's index of what each consumer got done: 1 where all got the same. */
  readonly fair: number
  /** Minutes until four fifths of the best got done in five minutes. */
  readonly after: number
}

interface Event {
  readonly at: number
  readonly run: () => void
}

const hour = 3_600
const every = 10
/** What got done in each five minutes, and of the second hour all else. */
interface Ran {
  readonly done: ReadonlyArray<number>
  readonly each: ReadonlyArray<number>
  readonly tail: number
  readonly failed: number
}

/** For two hours, with a fixed number of slots for each consumer, or with those that its controller finds. */
const ran = (
  downstream: Downstream,
  seed: number,
  slotsOf: { readonly fixed: number } | { readonly from: number; readonly options: Checked }
): Ran => {
  const random = new PCGRandom(seed)
  const { admitted = Infinity, alone, consumers, exponential, servers, slowness } = downstream
  const due = new Heap<Event>((a, b) => a.at < b.at)
  let now = 0
  let calls = 0
  const freeAt: Array<number> = Array.from({ length: servers ?? 0 }, () => 0)
  const done: Array<number> = Array.from({ length: (2 * hour) / 300 }, () => 0)
  const times: Array<number> = []
  let failures = 0
  let successes = 0
  const takes = (): number => {
    const chance = exponential ? -Math.log(1 - random.number()) : 0.5 + random.number()
    const work = alone * chance * (slowness?.(calls) ?? 1)
    if (servers === undefined) return work
    let first = 0
    for (let i = 1; i < servers; i++) if ((freeAt[i] ?? 0) < (freeAt[first] ?? 0)) first = i
    const end = Math.max(now, freeAt[first] ?? 0) + work
    freeAt[first] = end
    return end - now
  }
  const each = Array.from({ length: consumers }, () => {
    const climber = "fixed" in slotsOf ? undefined : new Climber(slotsOf.from, slotsOf.options)
    const mine = { slots: "fixed" in slotsOf ? slotsOf.fixed : slotsOf.from, running: 0, done: 0 }
    let passed = 0
    let slotTime = 0
    let busyTime = 0
    let handled = 0
    let failed = 0
    let took: Array<number> = []
    const pass = () => {
      slotTime += 1000 * (now - passed) * mine.slots
      busyTime += 1000 * (now - passed) * mine.running
      passed = now
    }
    const fill = () => {
      while (mine.running < mine.slots) {
        pass()
        mine.running++
        calls++
        const begun = now
        const refused = calls > admitted
        if (refused) calls--
        due.push({
          at: now + (refused ? 0.1 : takes()),
          run: () => {
            pass()
            mine.running--
            if (!refused) calls--
            took.push(1000 * (now - begun))
            if (refused) failed++
            else handled++
            const window = Math.min(done.length - 1, Math.floor(now / 300))
            if (!refused) done[window] = (done[window] ?? 0) + 1
            if (now >= hour) {
              if (refused) failures++
              else {
                mine.done++
                successes++
                if (successes % 10 === 0) times.push(now - begun)
              }
            }
            fill()
          }
        })
      }
    }
    const look = () => {
      if (climber === undefined) return
      pass()
      const decision = climber.next({
        from: 1000 * (now - every),
        to: 1000 * now,
        seconds: every,
        stats: { handled, failed },
        failures: { Overloaded: failed },
        paused: false,
        fullFor: 0,
        handler: Histogram.of(took),
        stages: [{ busyTime, busy: busyTime / slotTime, circuit: undefined }]
      })
      slotTime = busyTime = handled = failed = 0
      took = []
      mine.slots = decision.slots
      fill()
      due.push({ at: (Math.round(now / every) + 1) * every + off, run: look })
    }
    due.push({ at: 0.1 * random.number(), run: fill })
    // By the clock, as the clocks of machines agree: to less than a second.
    const off = random.number() - 0.5
    due.push({ at: every + off, run: look })
    return mine
  })
  for (;;) {
    const next = due.pop()
    if (next === undefined || next.at > 2 * hour) break
    now = next.at
    next.run()
  }
  return {
    done,
    each: each.map((one) => one.done),
    tail: quantile(times, 0.99),
    failed: failures / Math.max(1, failures + successes)
  }
}

/** From few slots, or from many. */
export const found = (name: string, seed: number): Found => {
  const scenario = scenarios[name]
  if (scenario === undefined) throw new Error(`no such scenario: ${name}`)
  const draw = drawing(`adaptive, ${name}, ${seed}`)
  const downstream = scenario(draw)
  const { best, consumers } = downstream
  const fixed = ran(downstream, seed, { fixed: Math.max(1, Math.round(best / consumers)) })
  const options = { min: 1, max: 200, every: 1000 * every, overload: ["Overloaded"], tolerance: 0.05, stage: 0 }
  const from = seed % 2 === 0 ? 4 : Math.round((2 * best) / consumers)
  const own = ran(downstream, seed, { from, options })
  const total = (numbers: ReadonlyArray<number>) => numbers.reduce((sum, one) => sum + one, 0)
  const late = ({ done }: Ran) => total(done.slice(done.length / 2))
  const usual = late(fixed) / (fixed.done.length / 2)
  const first = own.done.findIndex((done) => done >= 0.8 * usual)
  return {
    done: late(own) / late(fixed),
    tail: own.tail / fixed.tail,
    failed: own.failed,
    fair: total(own.each) ** 2 / (own.each.length * mean(own.each.map((one) => one ** 2)) * own.each.length),
    after: first < 0 ? Infinity : 5 * (first + 1)
  }
}
