/** This consumer's part of the queue, and what others have of it. */
import type * as Figures from "../../Figures.js"
import { mostLate } from "./counts.js"
import type { Known } from "./known.js"
import { sumOf } from "./readings.js"

/** What this consumer has in flight on average, and what it has put back and is not to come yet: by Little's law. */
const ownInFlight = (intervals: ReadonlyArray<Figures.Interval>): number =>
  sumOf(intervals, ({ stats }) => stats.inFlight) / Math.max(1, intervals.length) +
  sumOf(intervals, ({ deferredFor }) => deferredFor) /
    Math.max(
      1,
      sumOf(intervals, ({ seconds }) => 1000 * seconds)
    )

/** This consumer's part of what is in flight of the queue, which is its part of the work; all, unless it is clearly less. */
export const shareOf = ({ consumers, intervals, samples }: Known, end: number, inFlightLimit: number): number => {
  if (consumers !== undefined) return 1 / Math.max(1, consumers)
  const from = end - 3 * mostLate
  const counted = samples.filter(({ at }) => at >= from)
  // What it has in flight while it is paused says nothing of its part.
  const mine = intervals.filter(({ pausedFor, seconds, to }) => to >= from - mostLate / 2 && pausedFor < 500 * seconds)
  if (counted.length === 0 || mine.length === 0) return 1
  const all = sumOf(counted, ({ inFlight }) => inFlight) / counted.length
  const own = ownInFlight(mine)
  // Those who hold what they do not work on are no fleet.
  if (all < 3 || all >= 0.8 * inFlightLimit) return 1
  const share = own / all
  return share > 0.75 ? 1 : Math.max(0.005, share)
}

/** Messages in flight of the queue that this consumer does not have, on average. */
export const heldByOthers = ({ intervals, samples }: Known, end: number): number => {
  const counted = samples.filter(({ at }) => at >= end - 2 * mostLate)
  const mine = intervals.filter(({ to }) => to >= end - 2.5 * mostLate)
  return sumOf(counted, ({ inFlight }) => inFlight) / Math.max(1, counted.length) - ownInFlight(mine)
}
