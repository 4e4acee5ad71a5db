/** Producers that share a queue, each under a throttle of its own that sees nothing of the others. */
import { Backlog, Throttle } from "@millrace/core"
import { Effect } from "effect"
import { lagging } from "../Scenarios.js"
import { drawing } from "../World.js"
import { lived, mean, told } from "./Counts.js"

export const ways = ["given", "found", "stopAbove"] as const
export type Way = (typeof ways)[number]

export interface Kept {
  /** Messages that waited, as parts of the target: on average once it has settled, and at most at all. */
  readonly mean: number
  readonly peak: number
}

/** An hour and a half, in which the first quarter settles. */
export const kept = (way: Way, producers: number, seed: number): Kept =>
  lived(
    seed,
    Effect.gen(function* () {
      const draw = drawing(`throttle, ${seed}`)
      const counting = lagging(draw)
      const speed = Math.exp(draw(Math.log(2), Math.log(60)))
      const target = Math.round(speed * draw(120, 300))
      const waited: Array<number> = [0]
      let departed = 0
      // Each process begins by itself, and reads when the others do not.
      const begun = Math.ceil(0.7 * producers)
      const source = {
        queue: "orders",
        counts: told(counting, (at) => waited[Math.max(0, Math.min(at - begun, waited.length - 1))] ?? 0),
        errorKind: () => "transient" as const
      }
      const strategy =
        way === "stopAbove"
          ? Throttle.stopAbove(target, { rate: 2 * speed, producers })
          : Throttle.targetBacklog(target, {
              max: 3 * speed,
              ...(way === "given" ? { producers } : { initial: target / 120 / producers })
            })
      const sent = Array.from({ length: producers }, () => 0)
      const throttles = yield* Effect.forEach(sent, (_, i) =>
        Effect.gen(function* () {
          const backlog = yield* Backlog.make(source, way === "found" ? { departed: Effect.sync(() => departed) } : {})
          return yield* Throttle.make(backlog, strategy, { sent: Effect.sync(() => sent[i] ?? 0) }).pipe(
            Effect.zipLeft(Effect.sleep("700 millis"))
          )
        })
      )
      for (let at = 1; at <= 5_400; at++) {
        yield* Effect.sleep("1 second")
        let waits = waited.at(-1) ?? 0
        throttles.forEach((throttle, i) => {
          const sends = throttle.rate.unsafeGet()
          sent[i] = (sent[i] ?? 0) + sends
          waits += sends
        })
        const done = Math.min(waits, speed)
        departed += done
        waited.push(waits - done)
      }
      return { mean: mean(waited.slice(1_350)) / target, peak: Math.max(...waited) / target }
    })
  )
