/** Six hours of queues that are healthy, and of queues that are not: which alarms fire, and how soon. */
import { Alarm, Backlog } from "@millrace/core"
import { Clock, Effect, Stream } from "effect"
import { lagging } from "../Scenarios.js"
import { type Draw, drawing, oneOf } from "../World.js"
import { lived, told } from "./Counts.js"

const sixHours = 6 * 3_600
/** Where something goes wrong, it does so after an hour. */
const from = 3_600

/** What waits and what has left, second by second, and the alarms that must fire; all others must not. */
interface Told {
  readonly waits: (at: number) => number
  readonly leaves: (at: number) => number
  readonly wrong: ReadonlyArray<string>
  /** Those that may fire where nobody counts what departs: a jump, or a day that begins, cannot be told from growth then. */
  readonly unclear?: ReadonlyArray<string>
}

/** Within `by` of `about`: by chance, keeping for one minute to fifteen what it was; or in waves of five to fifteen. */
const swaying = (draw: Draw, about: number, by: number): ((at: number) => number) => {
  const minutes = Math.exp(draw(0, Math.log(15)))
  const keeps = Math.exp(-1 / minutes)
  const inWaves = draw(0, 1) < 0.5
  const waited: Array<number> = []
  let sway = 0
  for (let minute = 0; minute <= sixHours / 60 + 1; minute++) {
    sway = keeps * sway + (by / 2) * draw(-1, 1) * Math.sqrt(3 * (1 - keeps ** 2))
    const wave = by * Math.sin((2 * Math.PI * minute) / Math.max(5, minutes))
    waited.push(about + (inWaves ? wave : Math.min(by, Math.max(-by, sway))))
  }
  return (at) => {
    const minute = Math.floor(at / 60)
    const before = waited[minute] ?? about
    return before + ((waited[minute + 1] ?? about) - before) * ((at % 60) / 60)
  }
}

/** Each by a draw. `backlog` above 1,000; `time to drain` above 10 minutes. */
const scenarios: Readonly<Record<string, (draw: Draw) => Told>> = {
  "holds 400, give or take 120": (draw) => {
    const rate = draw(2, 20)
    return { waits: swaying(draw, 400, 120), leaves: (at) => rate * at, wrong: [] }
  },
  "holds next to nothing": (draw) => {
    const rate = draw(0.1, 20)
    return { waits: swaying(draw, draw(0, 40), draw(0, 40)), leaves: (at) => rate * at, wrong: [] }
  },
  "more by day, never much": (draw) => {
    const sway = swaying(draw, 0, 60)
    const rate = draw(4, 20)
    return {
      waits: (at) => Math.max(0, 350 - 250 * Math.cos((Math.PI * at) / sixHours) + sway(at)),
      leaves: (at) => rate * at,
      wrong: [],
      unclear: ["time to drain"]
    }
  },
  "a jump from 50 that stays": (draw) => {
    const to = oneOf(draw)(1_500, 5_000, 50_000)
    // It is worked off as fast as it grows anew, and that fast it would be gone within ten minutes.
    const rate = to / draw(100, 400)
    return {
      waits: (at) => (at < from ? 50 : to),
      leaves: (at) => rate * at,
      wrong: ["backlog"],
      unclear: ["time to drain"]
    }
  },
  "a jump that hardly shrinks": (draw) => {
    const shrinks = draw(0.1, 0.5)
    const rate = 5_000 / draw(100, 400)
    return {
      waits: (at) => (at < from ? 50 : Math.max(0, 5_000 - shrinks * (at - from))),
      leaves: (at) => rate * at,
      wrong: ["backlog"],
      unclear: ["time to drain"]
    }
  },
  "grows without an end": (draw) => {
    const growth = draw(0.5, 5)
    const rate = draw(0.2, 2)
    return {
      waits: (at) => 50 + growth * Math.max(0, at - from),
      leaves: (at) => rate * at,
      wrong: ["backlog", "time to drain"]
    }
  },
  "nobody works": (draw) => {
    const growth = draw(0.2, 2)
    const rate = draw(2, 10)
    return {
      waits: (at) => 50 + growth * Math.max(0, at - from),
      leaves: (at) => rate * Math.min(at, from),
      wrong: ["backlog", "time to drain", "no progress"]
    }
  }
}
export const names = Object.keys(scenarios)

export interface Heard {
  readonly name: string
  readonly seed: number
  /** Alarms that ought to have fired, and did not. */
  readonly missed: ReadonlyArray<string>
  /** Alarms that fired and ought not, or oftener than once. */
  readonly untrue: ReadonlyArray<string>
  /** How long each of the others took, in seconds. */
  readonly after: ReadonlyArray<number>
}

/** Departures are counted in every second run; in the others what nobody can tell is left out. */
export const heard = (name: string, seed: number): Heard => {
  const scenario = scenarios[name]
  if (scenario === undefined) throw new Error(`no such scenario: ${name}`)
  return lived(
    seed,
    Effect.gen(function* () {
      const draw = drawing(`alarms, ${name}, ${seed}`)
      const { leaves, unclear = [], waits, wrong } = scenario(draw)
      const counted = seed % 2 === 0
      const counting = lagging(draw)
      const stuck = (at: number) => at > 60 && leaves(at) === leaves(at - 60)
      const counts = told(counting, waits, (at) => (stuck(at) ? 0 : 50))
      const departed = Effect.map(Clock.currentTimeMillis, (now) => Math.floor(leaves(now / 1000)))
      const backlog = yield* Backlog.make(
        { queue: "orders", counts, errorKind: () => "transient" as const },
        counted ? { departed } : {}
      )
      const events = yield* backlog.samples.pipe(
        Stream.takeWhile((sample) => sample.at < sixHours * 1000),
        Alarm.events([Alarm.backlog({ above: 1_000 }), Alarm.timeToDrain({ above: "10 minutes" }), Alarm.noProgress()]),
        Stream.filter(({ _tag }) => _tag === "Fired"),
        Stream.runCollect
      )
      const fired = [...events].map((event) => ({ alarm: event.alarm, at: event.at / 1000 - from }))
      return {
        name,
        seed,
        missed: wrong.filter((alarm) => !fired.some((one) => one.alarm === alarm)),
        untrue: fired
          .filter(({ alarm }) => counted || !unclear.includes(alarm))
          .filter(
            (one, i, all) => !wrong.includes(one.alarm) || all.findIndex(({ alarm }) => alarm === one.alarm) !== i
          )
          .map((one) => `${one.alarm} at ${one.at.toFixed(0)} s`),
        after: fired.filter(({ alarm }) => wrong.includes(alarm)).map((one) => one.at)
      }
    })
  )
}
