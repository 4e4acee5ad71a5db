/** Two or three causes at once, each with a strength drawn by the seed. */
import type { Diagnosis } from "@millrace/core"
import { Effect, Random } from "effect"
import { type CauseOfLag, pool } from "./Cases.js"
import type { Case, Run } from "./Ward.js"

type Draw = (from: number, to: number) => number

/** Nothing is wrong: a consumer that keeps up, of any shape. */
export const sane = (seed: number): Case => {
  const random = Random.make(`sane ${seed}`)
  const draw: Draw = (from, to) => from + (to - from) * Effect.runSync(random.next)
  const one = <A>(...all: readonly [A, ...ReadonlyArray<A>]): A => all[Math.floor(draw(0, all.length))] ?? all[0]
  const time = draw(20, 500)
  const busy = draw(0.3, 6)
  const rate = Math.min(40, (1000 * busy) / time)
  const stages = one<Case["stages"]>(undefined, undefined, "batches", "two")
  const fifo = stages === undefined && draw(0, 1) < 0.4
  // A few large ones among many small.
  const tail = one(0, 0, 0.01)
  const slots = Math.ceil((rate * time * (1 + 9 * tail)) / 1000 / draw(0.1, 0.75)) + 1
  const others = one(0, 0, 0, 2)
  const burst = one(0, 0, draw(1, 2))
  return {
    arrivals: (at) => rate * (1 + others) * (1 + (at % 50 < 3 ? burst : 0)),
    handler: ({ draw }) => (draw < tail ? 10 * time : time),
    spread: draw(0, 1),
    latency: `${draw(3, 30)} millis`,
    slots: stages === undefined && !fifo ? one(slots, slots, Number.MAX_SAFE_INTEGER) : slots,
    fifo,
    group: fifo ? (n) => `g${Math.floor(n * 5 * slots * (1 + others))}` : undefined,
    permits: Math.max(60, 3 * slots),
    stages,
    others,
    deployAt: one(undefined, undefined, draw(60, 160)),
    until: 190
  }
}

/** A consumer that keeps up with ease, before anything is wrong with it. */
interface Sound extends Case {
  /** Messages a second, and what a handler takes. */
  readonly rate: number
  readonly time: number
  /** Slots that they take. */
  readonly busy: number
  readonly permits: number
}

type Change = (scenario: Case) => Case

const slower =
  (factor: (run: Run) => number): Change =>
  (scenario) => ({ ...scenario, handler: (run) => scenario.handler(run) * factor(run) })

/** So many times the slots or the permits. */
const scaled =
  (slots: number, permits: number): Change =>
  (scenario) => ({
    ...scenario,
    slots: Math.max(1, Math.floor(scenario.slots * slots)),
    permits: Math.max(2, Math.floor((scenario.permits ?? 100) * permits))
  })

const consuming =
  (consumer: Case["consumer"]): Change =>
  (scenario) => ({ ...scenario, consumer: { ...scenario.consumer, ...consumer } })

/** Each so strong that it alone makes the consumer fall behind. */
const injections: Readonly<Record<CauseOfLag, (sound: Sound, draw: Draw) => Change>> = {
  TooFewSlots: ({ busy, slots }, draw) => scaled((busy * draw(0.4, 0.85)) / slots, 1),
  CpuBound: ({ busy }, draw) => {
    const most = busy * draw(0.4, 0.85)
    const load = { utilization: draw(0.96, 1), delay: draw(60, 250), delayP99: 500 }
    return (scenario) => ({ ...slower(({ running }) => Math.max(1, running / most))(scenario), load: () => load })
  },
  SlowHandler: (_, draw) => {
    const factor = draw(2.8, 6)
    const from = draw(70, 100)
    return slower(({ at }) => (at < from ? 1 : factor))
  },
  SaturatedDownstream: ({ busy }, draw) => {
    const most = busy * draw(0.4, 0.85)
    return slower(({ running }) => Math.max(1, running / most))
  },
  SlowCalls: ({ permits, rate, time }, draw) => {
    const latency = draw(400, 1500)
    const needed = (rate * (time + 2 * latency)) / 1000
    const change = scaled(1, Math.min(1, (needed * draw(0.35, 0.75)) / permits))
    return (scenario) => ({ ...change(scenario), latency: `${latency} millis` })
  },
  ConnectionsExhausted: ({ rate }, draw) => {
    // Two sockets at 350 milliseconds a call do 25 messages a second.
    const latency = (2 * 4350) / (rate * draw(0.4, 0.85))
    return (scenario) => ({ ...scenario, latency: `${latency} millis`, wrap: pool(2) })
  },
  VisibilityTimeoutTooShort: ({ time }, draw) => {
    const part = draw(0.45, 0.65)
    // The slots would do, if the work were done once.
    const longer = 1 - part + (part * 3600) / time
    const room = scaled(longer * draw(0.54, 0.6), longer)
    const change = slower((run) => (run.draw < part ? 3600 / time : 1))
    return (scenario) => ({
      ...consuming({ heartbeat: false })(room(change(scenario))),
      visibilityTimeout: 3,
      spread: 0.3
    })
  },
  Throttled: (_, draw) => {
    const throttle = draw(0.5, 0.62)
    return (scenario) => ({ ...scenario, odds: { throttle }, operations: ["ReceiveMessage"] })
  },
  IntakeTooSmall: ({ busy, permits }, draw) => scaled(1, (busy * draw(0.4, 0.8)) / permits),
  RateLimited: ({ rate }, draw) => consuming({ rate: { perSecond: Math.max(1, Math.round(rate * draw(0.3, 0.85))) } }),
  Retries: (_, draw) => {
    const part = draw(0.55, 0.8)
    return (scenario) => ({ ...scenario, fails: (run) => scenario.fails?.(run) === true || run.draw > 1 - part })
  },
  HotGroup: ({ rate, time }, draw) => {
    const share = Math.min(0.9, ((1000 / (time + 100)) * draw(1.5, 4)) / rate)
    return (scenario) => ({
      ...scenario,
      group: (n) => (n < share ? "hot" : `g${Math.floor(((n - share) / (1 - share)) * 300)}`)
    })
  },
  StuckGroup: (_, draw) => {
    const groups = Math.floor(draw(8, 20))
    const from = draw(20, 80)
    return (scenario) => ({
      ...scenario,
      group: scenario.group ?? ((n) => `g${Math.floor(n * groups)}`),
      hangs: ({ at, group }) => group === "g3" && at > from
    })
  },
  InFlightWindowFull: ({ busy }, draw) => {
    const limit = Math.floor(draw(40, 100))
    const hoarded = Math.ceil(limit - Math.max(1, busy * draw(0.3, 0.7)))
    return (scenario) => ({ ...scenario, inFlightLimit: limit, hoarded })
  },
  ProducerBurst: ({ rate }, draw) => {
    const times = draw(4, 10)
    const from = draw(115, 135)
    const lasting = draw(10, 25)
    return (scenario) => ({
      ...scenario,
      arrivals: (at) => scenario.arrivals(at) + (at >= from && at < from + lasting ? rate * times : 0)
    })
  },
  Paused: (_, draw) => {
    const from = draw(125, 145)
    return (scenario) => ({
      ...scenario,
      meanwhile: (consumer, sqs) =>
        Effect.zip(
          scenario.meanwhile?.(consumer, sqs) ?? Effect.void,
          Effect.sleep(`${from} seconds`).pipe(Effect.zipRight(consumer.pause)),
          { concurrent: true }
        )
    })
  },
  CircuitOpen: (_, draw) => {
    const from = draw(50, 90)
    return (scenario) => ({
      ...scenario,
      circuit: true,
      fails: (run) => run.at > from || scenario.fails?.(run) === true
    })
  }
}

const ordered: ReadonlySet<Diagnosis.Cause> = new Set(["HotGroup", "StuckGroup", "InFlightWindowFull"])

/** What hides the other, turns the same screw, or looks alike. */
const apart: ReadonlyArray<ReadonlyArray<Diagnosis.Cause>> = [
  ["CpuBound", "SaturatedDownstream", "SlowHandler", "VisibilityTimeoutTooShort"],
  ["SlowCalls", "ConnectionsExhausted", "IntakeTooSmall", "VisibilityTimeoutTooShort"],
  // Fewer slots are fewer calls on what is full.
  ["TooFewSlots", "CpuBound"],
  ["TooFewSlots", "SaturatedDownstream"],
  ["Paused", "CircuitOpen", "Retries"],
  ["HotGroup", "StuckGroup", "InFlightWindowFull"]
]

export interface Mixture {
  readonly mixed: Case
  /** Each by itself, of the same strength. */
  readonly alone: ReadonlyMap<Diagnosis.Cause, Case>
}

const sound = (draw: Draw, fifo: boolean): Sound => {
  const rate = draw(8, 25)
  const time = draw(150, 600)
  const busy = (rate * time) / 1000
  const slots = Math.ceil(busy * draw(1.6, 2.2)) + 1
  const permits = Math.max(50, slots * 3)
  return {
    rate,
    time,
    busy,
    // A quiet beginning, as any night has one.
    arrivals: (at) => (at < 30 ? 0.35 * rate : rate),
    handler: () => time,
    spread: draw(0.2, 1),
    latency: `${draw(5, 25)} millis`,
    slots,
    fifo,
    group: fifo ? (n) => `g${Math.floor(n * 300)}` : undefined,
    permits,
    stages: draw(0, 1) < 0.25 ? "two" : undefined,
    until: 170
  }
}

export const mixture = (seed: number, count: number): Mixture => {
  const random = Random.make(`mixture ${seed}`)
  const draw: Draw = (from, to) => from + (to - from) * Effect.runSync(random.next)
  const all = Object.keys(injections) as Array<CauseOfLag>
  const chosen: Array<CauseOfLag> = []
  while (chosen.length < count) {
    const [cause] = all.splice(Math.floor(draw(0, all.length)), 1)
    if (cause === undefined) break
    if (!apart.some((alike) => alike.includes(cause) && chosen.some((other) => alike.includes(other))))
      chosen.push(cause)
  }
  const base = sound(
    draw,
    chosen.some((cause) => ordered.has(cause))
  )
  const changes = chosen.map((cause) => [cause, injections[cause](base, draw)] as const)
  return {
    mixed: changes.reduce<Case>((scenario, [, change]) => change(scenario), base),
    alone: new Map(changes.map(([cause, change]) => [cause, change(base)]))
  }
}
