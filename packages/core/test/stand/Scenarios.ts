/**
 * What can be wrong, alone and together, and what is well: drawn by a seed over wide ranges. Each cause is so strong that
 * the consumer falls behind by it alone.
 */
import type { Diagnosis } from "@millrace/core"
import { type Counting, type Draw, drawing, type Knobs, oneOf, type Run, type Scenario } from "./World.js"

type Cause = Diagnosis.Cause

export interface Planned {
  readonly name: string
  /** What is wrong; none where all is well. */
  readonly causes: ReadonlyArray<Cause>
  readonly scenario: Scenario
  /** The second at which it begins. */
  readonly from: number
  /** What a number that is advised should be, at the least that does. */
  readonly needs: Partial<Readonly<Record<string, number>>>
  /** With some of its causes only, by their places in `causes`. */
  readonly only: (places: ReadonlySet<number>) => Scenario
}

/** From `from` to `to`, as much in each doubling. */
const log = (draw: Draw, from: number, to: number): number => Math.exp(draw(Math.log(from), Math.log(to)))

export const lagging = (draw: Draw): Counting => ({
  late: 60,
  off: 0.1,
  how: oneOf(draw)("jitter", "jitter", "constant", "wandering")
})
export const exact: Counting = { late: 0, off: 0, how: "constant" }

/** So many messages a second about, so that a run takes seconds at most. */
const mostArrivals = 20

/** What a consumer has where nothing is turned. */
const usual = {
  rate: Number.MAX_SAFE_INTEGER,
  timeout: undefined,
  visibilityTimeout: 30_000,
  heartbeat: true,
  wait: 20_000,
  maxSockets: 1000
} satisfies Partial<Knobs>

/** A consumer that keeps up with ease, and what is known of it. */
interface Sound {
  readonly scenario: Scenario
  /** Messages a second for each consumer, what a handler takes, and the slots that they need. */
  readonly rate: number
  readonly time: number
  readonly busy: number
  readonly fleet: number
  readonly from: number
}

interface Shape {
  readonly ordered?: boolean
  readonly fleet?: number
  readonly shape?: Scenario["shape"]
  /** At least so many slots are busy. */
  readonly busy?: number
  readonly time?: readonly [number, number]
  readonly counting?: Counting | undefined
}

const sound = (draw: Draw, shape: Shape = {}): Sound => {
  const batch = shape.shape === "batches" ? 10 : 1
  const time = log(draw, ...(shape.time ?? [80, 1000]))
  const least = shape.busy ?? 1.5
  const fleet = shape.fleet ?? oneOf(draw)(1, 1, 1, 1, 2)
  const busy = Math.max(least, Math.min(log(draw, least, 12), (mostArrivals * time) / 1000 / batch / fleet))
  const rate = (busy * batch * 1000) / time
  const slots = Math.ceil(busy * draw(1.6, 2.4)) + 1
  const from = draw(110, 200)
  const knobs: Knobs = {
    concurrency: slots,
    maxInFlight: Math.ceil(Math.max(50, slots * batch * 3, rate * 1.5)),
    ...usual,
    consumers: fleet,
    groups: 400 * fleet,
    attempts: 1_000_000
  }
  const quiet = draw(0.3, 1)
  return {
    scenario: {
      ordered: shape.ordered,
      knobs,
      arrivals: (at) => rate * fleet * (at < 30 ? quiet : 1),
      takes: () => time,
      spread: draw(0, 1),
      shape: shape.shape ?? (shape.ordered === true ? "one" : oneOf(draw)("one", "one", "one", "two")),
      latency: (
        (latency) => () =>
          latency
      )(draw(5, 30)),
      counting: shape.counting ?? lagging(draw)
    },
    rate,
    time,
    busy,
    fleet,
    from
  }
}

type Change = (scenario: Scenario) => Scenario

const turned =
  (knobs: Partial<Knobs>): Change =>
  (scenario) => ({ ...scenario, knobs: { ...scenario.knobs, ...knobs } })

/** Less comes until then. */
const busyFrom =
  (from: number, before: number): Change =>
  (scenario) => ({ ...scenario, arrivals: (at) => scenario.arrivals(at) * (at < from ? before : 1) })

const slower =
  (factor: (run: Run) => number): Change =>
  (scenario) => ({ ...scenario, takes: (run) => scenario.takes(run) * factor(run) })

const mending =
  (...what: ReadonlyArray<Change>): Change =>
  (scenario) => ({
    ...scenario,
    mended: (then) => what.reduce((all, change) => change(all), scenario.mended?.(then) ?? then)
  })

const of =
  (...changes: ReadonlyArray<Change>): Change =>
  (scenario) =>
    changes.reduce((all, change) => change(all), scenario)

interface Injected {
  readonly change: Change
  readonly needs?: Planned["needs"]
}

interface Injection {
  readonly cause: Cause
  readonly shape?: (draw: Draw) => Shape
  readonly inject: (sound: Sound, draw: Draw) => Injected
}

/** So many groups, until the operator spreads over others. */
const spread =
  ({ knobs }: Scenario, groups: number): Scenario["group"] =>
  (own, now) =>
    `g${Math.floor(own * (now === knobs.groups ? groups : now))}`

const loaded = { utilization: 0.98, delay: 90, delayP99: 400 }

const fewSlots = ({ busy, from }: Sound, draw: Draw): Injected => {
  const slots = Math.max(1, Math.floor(busy * draw(0.45, 0.85)))
  return {
    change: of(turned({ concurrency: slots }), busyFrom(from, (0.7 * slots) / busy)),
    needs: { concurrency: busy }
  }
}

const slowTimes = ({ busy, from, time, scenario }: Sound, draw: Draw): Injected => {
  const factor = (scenario.knobs.concurrency / busy) * draw(1.25, 2)
  return {
    change: of(
      slower(({ at }) => (at < from ? 1 : factor)),
      mending((s) => ({ ...s, takes: () => time }))
    ),
    needs: { concurrency: busy * factor }
  }
}

/** The downstream has servers, and loses some or becomes slow. */
const lostCapacity =
  (how: "servers" | "slower") =>
  ({ busy, fleet, from, time }: Sound, draw: Draw): Injected => {
    const servers = Math.ceil(busy * fleet * draw(1.8, 2.5)) + 1
    const left = draw(0.3, 0.75)
    const to = Math.max(1, Math.floor(busy * fleet * left))
    const factor = (servers / (busy * fleet)) * draw(1.3, 2)
    return {
      change: of(
        (s) => ({ ...s, servers: (at) => (how === "servers" && at >= from ? to : servers) }),
        how === "slower" ? slower(({ at }) => (at < from ? 1 : factor)) : (s) => s,
        mending((s) => ({ ...s, servers: () => servers * 2, takes: () => time }))
      )
    }
  }

export const injections: Readonly<Record<string, Injection>> = {
  "too few slots": { cause: "TooFewSlots", shape: () => ({ busy: 2.4 }), inject: fewSlots },
  "too few slots for batches": {
    cause: "TooFewSlots",
    shape: () => ({ busy: 2.4, shape: "batches", time: [1000, 4000] }),
    inject: fewSlots
  },
  "too few slots in a fleet": {
    cause: "TooFewSlots",
    shape: (draw) => ({ busy: 2.4, fleet: Math.floor(draw(3, 8)), time: [600, 2000] }),
    inject: fewSlots
  },
  "too few slots on FIFO": { cause: "TooFewSlots", shape: () => ({ busy: 2.4, ordered: true }), inject: fewSlots },
  "too few slots from the start": {
    cause: "TooFewSlots",
    shape: () => ({ busy: 2.4 }),
    inject: ({ busy }, draw) => ({
      change: turned({ concurrency: Math.max(1, Math.floor(busy * draw(0.45, 0.85))) }),
      needs: { concurrency: busy }
    })
  },
  "out of CPU": {
    cause: "CpuBound",
    shape: () => ({ busy: 2.4, fleet: 1 }),
    inject: ({ busy, from, time, scenario }, draw) => {
      const most = busy * draw(0.45, 0.85)
      return {
        change: of(
          slower(({ at, running }) => (at < from ? 1 : Math.max(1, running / most))),
          (s) => ({
            ...s,
            load: (at, running) => (at > from && running > most ? loaded : { utilization: 0.4, delay: 1, delayP99: 5 })
          }),
          mending((s) => ({ ...s, takes: () => time, load: scenario.load }))
        )
      }
    }
  },
  "handlers become slow": { cause: "SlowHandler", inject: slowTimes },
  "handlers become slow in a fleet": {
    cause: "SlowHandler",
    shape: (draw) => ({ fleet: Math.floor(draw(2, 5)), time: [300, 1500] }),
    inject: slowTimes
  },
  "handlers of batches become slow": {
    cause: "SlowHandler",
    shape: () => ({ shape: "batches", time: [700, 2000] }),
    inject: slowTimes
  },
  "the downstream loses servers": { cause: "SlowHandler", shape: () => ({ busy: 3 }), inject: lostCapacity("servers") },
  "the downstream's servers become slow": { cause: "SlowHandler", inject: lostCapacity("slower") },
  "a full downstream that queues": {
    cause: "SaturatedDownstream",
    shape: () => ({ busy: 3.6 }),
    inject: ({ busy, fleet, from, rate, time }, draw) => {
      const servers = Math.max(2, Math.floor(busy * fleet * draw(0.5, 0.85)))
      const slots = Math.ceil((servers / fleet) * draw(2, 5))
      return {
        change: of(
          turned({ concurrency: slots, maxInFlight: Math.ceil(Math.max(60, 3 * slots, rate * 1.5)) }),
          busyFrom(from, (0.5 * servers) / (busy * fleet)),
          (s) => ({ ...s, servers: () => servers }),
          mending(
            (s) => ({ ...s, servers: () => servers * 4 }),
            (s) => ({ ...s, takes: () => time / 2 })
          )
        ),
        needs: { concurrency: servers / fleet }
      }
    }
  },
  "a full downstream that shares": {
    cause: "SaturatedDownstream",
    shape: () => ({ busy: 3.6, fleet: 1 }),
    inject: ({ busy, from, rate, time }, draw) => {
      const most = busy * draw(0.5, 0.85)
      const slots = Math.ceil(most * draw(2, 5))
      return {
        change: of(
          turned({ concurrency: slots, maxInFlight: Math.ceil(Math.max(60, 3 * slots, rate * 1.5)) }),
          busyFrom(from, (0.5 * most) / busy),
          slower(({ running }) => Math.max(1, running / most)),
          mending((s) => ({ ...s, takes: () => time / 3 }))
        ),
        needs: { concurrency: most }
      }
    }
  },
  "slow calls": {
    cause: "SlowCalls",
    shape: () => ({ time: [60, 400] }),
    inject: ({ from, rate, time }, draw) => {
      const latency = draw(400, 1500)
      const needed = (rate * (time + 2 * latency)) / 1000
      const permits = Math.max(2, Math.ceil(needed * draw(0.35, 0.7)))
      return {
        change: of(turned({ maxInFlight: permits }), (s) => ({
          ...s,
          latency: (at) => (at < from ? s.latency(at) : latency)
        })),
        needs: { maxInFlight: needed }
      }
    }
  },
  "slow calls on FIFO": {
    cause: "SlowCalls",
    shape: () => ({ time: [60, 400], ordered: true }),
    inject: ({ from, rate, time }, draw) => {
      const latency = draw(400, 1200)
      const needed = (rate * (time + 2 * latency)) / 1000
      const permits = Math.max(2, Math.ceil(needed * draw(0.35, 0.7)))
      return {
        change: of(turned({ maxInFlight: permits, groups: 4000 }), (s) => ({
          ...s,
          latency: (at) => (at < from ? s.latency(at) : latency)
        })),
        needs: { maxInFlight: needed }
      }
    }
  },
  "receives that fail": {
    cause: "SlowCalls",
    inject: ({ from }, draw) => ({
      change: of(
        (s) => ({ ...s, faults: { operations: ["receive"], throttled: 0, transient: draw(0.85, 0.95), from } }),
        mending((s) => ({ ...s, faults: undefined }))
      )
    })
  },
  "too few connections": {
    cause: "ConnectionsExhausted",
    shape: () => ({ fleet: 1 }),
    inject: ({ from, rate }, draw) => {
      const sockets = Math.floor(draw(2, 5))
      const latency = (sockets * 4350) / (rate * draw(0.4, 0.85))
      return {
        change: of(turned({ maxSockets: sockets, maxInFlight: Math.ceil(Math.max(100, rate * 8)) }), (s) => ({
          ...s,
          latency: (at) => (at < from ? s.latency(at) : latency)
        }))
      }
    }
  },
  "leases too short": {
    cause: "VisibilityTimeoutTooShort",
    shape: () => ({ time: [200, 800] }),
    inject: ({ busy, rate, time }, draw) => {
      const part = draw(0.45, 0.65)
      const long = draw(3500, 4500)
      const mean = 1 - part + (part * long) / time
      // The slots would do, if the work were done once.
      const slots = Math.ceil(busy * mean * draw(1.05, 1.3))
      return {
        change: of(
          turned({
            heartbeat: false,
            visibilityTimeout: 3000,
            concurrency: slots,
            maxInFlight: Math.ceil(slots * 3 + rate)
          }),
          slower(({ own }) => (own < part ? long / time : 1)),
          (s) => ({ ...s, spread: 0.2 })
        )
      }
    }
  },
  "receives are throttled": {
    cause: "Throttled",
    inject: ({ from }, draw) => ({
      change: of(
        (s) => ({ ...s, faults: { operations: ["receive"], throttled: draw(0.85, 0.95), transient: 0, from } }),
        mending((s) => ({ ...s, faults: undefined }))
      )
    })
  },
  "a FIFO queue throttles": {
    cause: "Throttled",
    shape: () => ({ ordered: true }),
    inject: ({ from }, draw) => ({
      change: of(
        (s) => ({
          ...s,
          faults: { operations: ["receive", "ack", "setLease"], throttled: draw(0.75, 0.9), transient: 0, from }
        }),
        mending((s) => ({ ...s, faults: undefined }))
      )
    })
  },
  "too few permits": {
    cause: "IntakeTooSmall",
    shape: () => ({ busy: 3 }),
    inject: ({ busy, from, rate, time, scenario }, draw) => {
      const permits = Math.max(1, Math.floor(busy * draw(0.4, 0.8)))
      return {
        change: of(turned({ maxInFlight: permits }), busyFrom(from, (0.4 * permits) / busy)),
        needs: { maxInFlight: (rate * (time + 2 * scenario.latency(0))) / 1000 }
      }
    }
  },
  "a rate that is too low": {
    cause: "RateLimited",
    inject: ({ from, rate }, draw) => {
      const most = Math.max(0.5, rate * draw(0.3, 0.85))
      return {
        change: of(turned({ rate: most }), busyFrom(from, (0.6 * most) / rate)),
        needs: { "rate.perSecond": rate }
      }
    }
  },
  "poison that comes again and again": {
    cause: "Retries",
    shape: () => ({ busy: 2, time: [200, 800] }),
    inject: ({ from }, draw) => {
      const part = draw(0.1, 0.4)
      return { change: (s) => ({ ...s, fails: ({ at, own }) => at > from && own < part }) }
    }
  },
  "most runs fail": {
    cause: "Retries",
    shape: () => ({ busy: 2 }),
    inject: ({ from, busy, scenario }, draw) => {
      const part = Math.min(0.92, 1 - (busy / scenario.knobs.concurrency) * draw(0.4, 0.75))
      return {
        change: of(
          (s) => ({ ...s, fails: ({ at, chance }) => at > from && chance < part }),
          mending((s) => ({ ...s, fails: () => false }))
        )
      }
    }
  },
  "one hot group": {
    cause: "HotGroup",
    shape: () => ({ ordered: true, time: [150, 800] }),
    inject: ({ fleet, from, rate, scenario, time }, draw) => {
      const most = 1000 / (time + 2 * scenario.latency(0) + 100)
      const share = Math.min(0.9, (most * draw(1.6, 4)) / (rate * fleet))
      return {
        change: of(busyFrom(from, Math.min(1, (0.5 * most) / (share * rate * fleet))), (s) => ({
          ...s,
          // Spread by the operator, it is hot no more.
          group: (own, groups) => (own < share && groups === s.knobs.groups ? "hot" : `g${Math.floor(own * groups)}`)
        }))
      }
    }
  },
  "too few groups": {
    cause: "HotGroup",
    shape: () => ({ ordered: true, busy: 3, time: [150, 800] }),
    inject: ({ busy, fleet, from }, draw) => {
      const groups = Math.max(1, Math.floor(busy * fleet * draw(0.4, 0.75)))
      return { change: of(turned({ groups }), busyFrom(from, (0.4 * groups) / (busy * fleet))) }
    }
  },
  "a head that hangs": {
    cause: "StuckGroup",
    shape: () => ({ ordered: true, time: [80, 300] }),
    inject: ({ busy, from, fleet }, draw) => {
      const groups = Math.max(4, Math.ceil(busy * fleet * draw(2.5, 3.5)))
      return {
        change: of(
          (s) => ({
            ...s,
            group: spread(s, groups),
            hangs: ({ at, group }) => group === "g3" && at > from
          }),
          mending((s) => ({ ...s, hangs: () => false }))
        )
      }
    }
  },
  "a head that fails": {
    cause: "StuckGroup",
    shape: () => ({ ordered: true, time: [80, 300] }),
    inject: ({ busy, from, fleet }, draw) => {
      const groups = Math.max(4, Math.ceil(busy * fleet * draw(2.5, 3.5)))
      let first: number | undefined
      return {
        change: (s) => ({
          ...s,
          group: spread(s, groups),
          fails: ({ at, group, id }) => {
            if (group !== "g3" || at < from) return false
            first ??= id
            return id === first
          }
        })
      }
    }
  },
  "a group that another consumer holds": {
    cause: "StuckGroup",
    shape: () => ({ ordered: true, fleet: 1, time: [80, 300] }),
    inject: ({ busy, from }, draw) => {
      const groups = Math.max(4, Math.ceil(busy * draw(2.5, 3.5)))
      return {
        change: of(
          (s) => ({
            ...s,
            group: spread(s, groups),
            hoarded: { count: Math.floor(draw(2, 5)), from }
          }),
          mending((s) => ({ ...s, hoarded: undefined }))
        )
      }
    }
  },
  "the in-flight limit of a FIFO queue": {
    cause: "InFlightWindowFull",
    shape: () => ({ ordered: true, fleet: 1, busy: 2 }),
    inject: ({ busy, from }, draw) => {
      const limit = Math.floor(draw(60, 120))
      const count = Math.ceil(limit - Math.max(1, busy * draw(0.3, 0.6)))
      return {
        change: of(
          (s) => ({
            ...s,
            inFlightLimit: limit,
            hoarded: { count, from: from - 30 },
            group: (own) => `g${Math.floor(own * 20_000)}`
          }),
          mending((s) => ({ ...s, hoarded: undefined }))
        )
      }
    }
  },
  "a burst": {
    cause: "ProducerBurst",
    inject: ({ busy, fleet, from, rate, scenario }, draw) => {
      const lasts = draw(12, 40)
      const until = from + lasts
      // So much that it takes minutes to clear.
      const spare = scenario.knobs.concurrency / busy - 1
      const times = Math.max(5, (spare * draw(220, 420)) / lasts)
      return {
        change: (s) => ({
          ...s,
          arrivals: (at) => s.arrivals(at) + (at >= from && at < until ? rate * fleet * times : 0)
        })
      }
    }
  },
  "a pause": {
    cause: "Paused",
    inject: ({ from }) => ({ change: (s) => ({ ...s, pausedAt: from }) })
  },
  "an open circuit": {
    cause: "CircuitOpen",
    inject: ({ from }) => ({
      change: of(
        (s) => ({ ...s, circuit: true, fails: ({ at }) => at > from }),
        mending((s) => ({ ...s, fails: () => false }))
      )
    })
  }
}

export const singles: ReadonlyArray<string> = Object.keys(injections)

export const single = (name: string, seed: number, counting?: Counting): Planned => {
  const draw = drawing(`${name} ${seed}`)
  const injection = injections[name] as Injection
  const base = sound(draw, { ...injection.shape?.(draw), counting })
  const { change, needs = {} } = injection.inject(base, draw)
  const scenario = change(base.scenario)
  return { name, causes: [injection.cause], scenario, from: base.from, needs, only: () => scenario }
}

/** What hides the other, turns the same screw, or looks alike. */
const apart: ReadonlyArray<ReadonlyArray<Cause>> = [
  ["CpuBound", "SaturatedDownstream", "SlowHandler", "VisibilityTimeoutTooShort"],
  ["SlowCalls", "ConnectionsExhausted", "IntakeTooSmall", "VisibilityTimeoutTooShort"],
  ["TooFewSlots", "CpuBound"],
  ["TooFewSlots", "SaturatedDownstream"],
  ["TooFewSlots", "VisibilityTimeoutTooShort"],
  ["Paused", "CircuitOpen", "Retries"],
  ["HotGroup", "StuckGroup", "InFlightWindowFull"]
]

const mixable = [
  "too few slots",
  "out of CPU",
  "handlers become slow",
  "a full downstream that shares",
  "slow calls",
  "too few connections",
  "leases too short",
  "receives are throttled",
  "too few permits",
  "a rate that is too low",
  "most runs fail",
  "one hot group",
  "a head that hangs",
  "the in-flight limit of a FIFO queue",
  "a burst",
  "a pause",
  "an open circuit"
]

export const mixture = (seed: number, counting?: Counting): Planned => {
  const draw = drawing(`mixture ${seed}`)
  const count = draw(0, 1) < 0.7 ? 2 : 3
  const left = [...mixable]
  const chosen: Array<{ readonly name: string; readonly injection: Injection }> = []
  while (chosen.length < count && left.length > 0) {
    const [name = ""] = left.splice(Math.floor(draw(0, left.length)), 1)
    const injection = injections[name] as Injection
    const clash = apart.some(
      (alike) => alike.includes(injection.cause) && chosen.some((other) => alike.includes(other.injection.cause))
    )
    if (!clash) chosen.push({ name, injection })
  }
  const ordered = chosen.some(({ injection }) => injection.shape?.(draw).ordered === true)
  const base = sound(draw, { ordered, busy: 3.6, time: [200, 700], fleet: 1, counting })
  const injected = chosen.map(({ injection }, place) => ({
    place,
    cause: injection.cause,
    ...injection.inject(base, draw)
  }))
  // Who has too few permits has them still where another would give more.
  const changes = [...injected].sort(
    (a, b) => Number("maxInFlight" in (a.needs ?? {})) - Number("maxInFlight" in (b.needs ?? {}))
  )
  const only = (places: ReadonlySet<number>) =>
    of(...changes.filter(({ place }) => places.has(place)).map(({ change }) => change))(base.scenario)
  return {
    name: chosen.map(({ name }) => name).join(" + "),
    causes: injected.map(({ cause }) => cause),
    scenario: only(new Set(injected.keys())),
    from: base.from,
    needs: Object.assign({}, ...injected.map(({ needs }) => needs ?? {})),
    only
  }
}

/** Nothing is wrong: a consumer that keeps up, of any shape, through bursts, deploys and the usual faults. */
export const healthy = (seed: number, counting?: Counting): Planned => {
  const draw = drawing(`healthy ${seed}`)
  const one = oneOf(draw)
  const time = log(draw, 20, 1500)
  const busy = Math.min(log(draw, 0.2, 10), (mostArrivals * time) / 1000)
  const rate = (1000 * busy) / time
  const shape = one<Scenario["shape"]>("one", "one", "batches", "two", "unbounded")
  const ordered = shape === "one" && draw(0, 1) < 0.4
  const tail = one(0, 0, 0.01)
  const slots = Math.ceil((rate * time * (1 + 9 * tail)) / 1000 / draw(0.1, 0.7)) + 1
  const fleet = one(1, 1, 2, 4)
  const burst = one(0, 0, draw(1, 2))
  const swing = one(0, 0, draw(0.1, 0.25))
  const failing = one(0, 0, 0.02)
  const scenario: Scenario = {
    ordered,
    knobs: {
      concurrency: slots,
      maxInFlight: Math.max(60, 3 * slots),
      ...usual,
      consumers: fleet,
      groups: 5 * slots * fleet + 20,
      attempts: 5
    },
    arrivals: (at) => rate * fleet * (1 + (at % 50 < 3 ? burst : 0)) * (1 + swing * Math.sin(at / 60)),
    takes: ({ own }) => (own < tail ? 10 * time : time),
    spread: draw(0, 1),
    shape,
    latency: (
      (latency) => () =>
        latency
    )(draw(3, 30)),
    fails: ({ chance }) => chance < failing,
    faults:
      draw(0, 1) < 0.3
        ? { operations: ["receive", "ack", "setLease"], throttled: 0.005, transient: 0.01, from: 0 }
        : undefined,
    deployAt: one(undefined, undefined, draw(60, 300)),
    counting: counting ?? lagging(draw)
  }
  return { name: "healthy", causes: [], from: 0, needs: {}, scenario, only: () => scenario }
}
