/**
 * A fleet that follows the advice of `Scaling`, and one that follows AWS's target tracking, under the same load: hours,
 * how often they turn round, and what waits meanwhile.
 */
import { Backlog, Scaling } from "@millrace/core"
import { Chunk, Clock, Effect, Option, Stream } from "effect"
import { lagging } from "../Scenarios.js"
import { type Draw, drawing } from "../World.js"
import { lived, mean, quantile, told } from "./Counts.js"

/** Messages a second that one consumer does. */
const speed = 2
const most = 40
/** Messages that may wait for each: a minute's. */
const acceptable = 60 * speed
const hours = 8

const loads: Readonly<Record<string, (draw: Draw) => (at: number) => number>> = {
  steady: (draw) => {
    const arrivals = draw(3, 40)
    return () => arrivals
  },
  "sways by a third within twenty minutes": (draw) => {
    const arrivals = draw(5, 30)
    return (at) => arrivals * (1 + Math.sin((2 * Math.PI * at) / 1_200) / 3)
  },
  "a day in eight hours": (draw) => {
    const arrivals = draw(8, 30)
    return (at) => arrivals * (1 - 0.8 * Math.cos((2 * Math.PI * at) / (hours * 3_600)))
  },
  "a crowd each two hours": (draw) => {
    const arrivals = draw(2, 8)
    return (at) => (at % 7_200 >= 3_600 && at % 7_200 < 4_200 ? 5 * arrivals : arrivals)
  }
}
export const names = Object.keys(loads)

/** By whom the fleet is led. */
export const leaders = ["AWS", "backlogPerInstance", "timeToDrain"] as const
export type Leader = (typeof leaders)[number]

export interface Led {
  /** Consumers that ran, on average. */
  readonly running: number
  /** How often it went up after it had gone down, or down after up, an hour. */
  readonly turns: number
  /** What waited, in seconds of arrivals: on average, and at most in 99 of 100 seconds. */
  readonly waited: number
  readonly waitedLong: number
}

/**
 * AWS's target tracking on the backlog of each: averages of a minute; more as soon as one is over the target, fewer when all
 * of 15 minutes were a tenth under it, and no other number was set in these.
 */
const tracked = (backlog: Backlog.Backlog<never>, running: () => number): Stream.Stream<number> => {
  let changedAt = 0
  let minutes: ReadonlyArray<number> = []
  return backlog.samples.pipe(
    Stream.filter((seen): seen is Backlog.Fresh => seen._tag === "Fresh"),
    Stream.grouped(6),
    Stream.filterMap((samples) => {
      const { at } = Chunk.unsafeLast(samples)
      const each = mean([...samples].map(({ visible }) => visible)) / running()
      minutes = [...minutes.slice(-14), each]
      const busiest = Math.max(...minutes)
      const fewer = minutes.length === 15 && busiest < 0.9 * acceptable && at - changedAt >= 900_000
      const to = each > acceptable ? each : fewer ? busiest : undefined
      if (to === undefined) return Option.none()
      changedAt = at
      return Option.some(Math.max(1, Math.min(most, Math.ceil((running() * to) / acceptable))))
    })
  )
}

/** The first hour settles. */
export const led = (leader: Leader, load: string, seed: number): Led =>
  lived(
    seed,
    Effect.gen(function* () {
      const draw = drawing(`scaling, ${load}, ${seed}`)
      const arrivals = loads[load]?.(draw) ?? (() => 0)
      const counting = lagging(draw)
      const waited: Array<number> = [0]
      const ran: Array<number> = [1]
      let done = 0
      let running = 1
      const starting: Array<{ readonly at: number; readonly wanted: number }> = []
      const counts = told(
        counting,
        (at) => waited[Math.min(at, waited.length - 1)] ?? 0,
        () => running
      )
      const backlog = yield* Backlog.make(
        { queue: "orders", counts, errorKind: () => "transient" as const },
        { departed: Effect.sync(() => done) }
      )
      const wanted =
        leader === "AWS"
          ? tracked(backlog, () => running)
          : Stream.map(
              Scaling.advice(
                backlog,
                leader === "timeToDrain" ? Scaling.timeToDrain("5 minutes") : Scaling.backlogPerInstance(acceptable),
                { max: most },
                { rate: speed, running: Effect.sync(() => running) }
              ),
              (advice) => advice.wanted
            )
      const set: Array<{ readonly at: number; readonly wanted: number }> = []
      yield* wanted.pipe(
        Stream.changes,
        Stream.runForEach((wanted) =>
          Effect.map(Clock.currentTimeMillis, (now) => {
            const one = { at: now / 1000, wanted }
            set.push(one)
            starting.push(one)
          })
        ),
        Effect.forkScoped
      )
      for (let at = 1; at <= hours * 3_600; at++) {
        yield* Effect.sleep("1 second")
        // Half a minute to start; who goes is gone at once.
        while (starting[0] !== undefined && (starting[0].at + 30 <= at || starting[0].wanted < running)) {
          running = starting.shift()?.wanted ?? 1
        }
        const waits = (waited.at(-1) ?? 0) + arrivals(at)
        const does = Math.min(waits, running * speed)
        done += does
        waited.push(waits - does)
        ran.push(running)
      }
      const later = set.filter(({ at }) => at >= 3_600)
      const ways = later.flatMap(({ wanted }, i) => Math.sign(wanted - (later[i - 1]?.wanted ?? wanted)) || [])
      const waits = waited.slice(3_600).map((waits, i) => waits / arrivals(i + 3_600))
      return {
        running: mean(ran.slice(3_600)),
        turns: ways.filter((way, i) => i > 0 && way !== ways[i - 1]).length / (hours - 1),
        waited: mean(waits),
        waitedLong: quantile(waits, 0.99)
      }
    }).pipe(Effect.orDie)
  )
