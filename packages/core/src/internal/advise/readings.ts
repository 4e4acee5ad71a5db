/** The few readings of intervals and samples that all parts of a diagnosis take. */
import type * as Backlog from "../../Backlog.js"
import type * as Figures from "../../Figures.js"

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
