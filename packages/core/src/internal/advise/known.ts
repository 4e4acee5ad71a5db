/** What a diagnosis is made from, and the few readings of it that all its parts take. */
import type * as Backlog from "../../Backlog.js"
import type * as Figures from "../../Figures.js"
import type { Load } from "../../ProcessLoad.js"
import type { Probe } from "./probes.js"

/** What is known of a consumer and its queue, the oldest first. */
export interface Known {
  readonly intervals: ReadonlyArray<Figures.Interval>
  readonly samples: ReadonlyArray<Backlog.Fresh>
  readonly load: Load | undefined
  /** Intervals in which nothing was behind, kept for as long as something is: see `norm.ts`. */
  readonly well: ReadonlyArray<Figures.Interval>
  /** What so many slots got done, kept for longer than the intervals: see `probes.ts`. */
  readonly probes: ReadonlyArray<Probe>
  /** Consumers that share the queue, this one included, where somebody has said so. */
  readonly consumers: number | undefined
}

export interface Limits {
  /** What is judged: the latest so many milliseconds. */
  readonly window: number
  /** A backlog that is gone within so many milliseconds is none to worry about. */
  readonly drainWithin: number
  /** In flight at once, as the queue allows. */
  readonly inFlightLimit: number
}

/** Messages that left the queue for good. */
export const done = ({ stats }: Figures.Interval): number => stats.acked + stats.deadLettered

export const millisOf = ({ seconds }: Figures.Interval): number => seconds * 1000

/** Messages that the queue holds, wherever they are. */
export const total = ({ delayed, inFlight, visible }: Backlog.Fresh): number => visible + inFlight + delayed

/** Enough of something for its mean to mean something. */
export const enough = 8

export const sumOf = <A>(all: ReadonlyArray<A>, of: (one: A) => number): number =>
  all.reduce((sum, one) => sum + of(one), 0)

export const clamp = (part: number): number => Math.min(1, Math.max(0, part))

/** From 0 at `from` to 1 at `to`: no threshold that noise could trip over. */
export const ramp = (value: number, from: number, to: number): number => clamp((value - from) / (to - from))
