/** What a diagnosis is made from. */
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
  /** The first intervals after the last of those. */
  readonly onset: ReadonlyArray<Figures.Interval>
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
