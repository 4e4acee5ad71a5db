/** What the queue's counts tell, late and off as they are: how fast what it holds grows, and whether it stands still. */
import type * as Backlog from "../../Backlog.js"
import { median, theilSen } from "../data/slope.js"
import { sumOf, total } from "./readings.js"

/** By how much the counts of a queue may be late, in milliseconds. */
export const mostLate = 60_000

/** A line through noisy counts. */
interface Trend {
  readonly slope: number
  /** One standard error of it, from how far the counts are off the line. */
  readonly error: number
}

export const trendOf = (points: ReadonlyArray<readonly [x: number, y: number]>): Trend | undefined => {
  const line = theilSen(points)
  if (line === undefined || points.length < 5) return undefined
  const spread = 1.4826 * median(points.map(([x, y]) => Math.abs(y - line.at(x))))
  const middle = sumOf(points, ([x]) => x) / points.length
  const width = Math.sqrt(sumOf(points, ([x]) => (x - middle) ** 2))
  return { slope: line.slope, error: (1.1 * (spread + 1)) / Math.max(width, 1e-9) }
}

/** The latest counts of so many milliseconds, as a line. */
const trendWithin = (samples: ReadonlyArray<Backlog.Fresh>, end: number, millis: number): Trend | undefined =>
  trendOf(samples.filter(({ at }) => at >= end - millis - 1).map((sample) => [sample.at / 1000, total(sample)]))

/**
 * By how many the whole queue grows a second, as far as that is clear; 0 where it is not. What goes on since long may be
 * clear over longer only, counts being off in proportion to what waits.
 */
export const growthOf = (samples: ReadonlyArray<Backlog.Fresh>, end: number, window: number, since: number): number => {
  for (const [windows, sure] of [
    [1, 4],
    [2, 3.5],
    [3, 3],
    [5, 3],
    [10, 3]
  ] as const) {
    if (windows > 3 && end - since < windows * window + mostLate) break
    const trend = trendWithin(samples, end, windows * window)
    if (trend !== undefined && Math.abs(trend.slope) >= sure * trend.error) return trend.slope
  }
  return 0
}

/** The same, by the latest counts that say it so closely; `undefined` where none do. */
export const slopeWithin = (
  samples: ReadonlyArray<Backlog.Fresh>,
  end: number,
  since: number,
  most: number
): number | undefined => {
  for (const millis of [90_000, 180_000, 300_000, 600_000]) {
    if (millis > 90_000 && end - since < millis + mostLate) break
    const trend = trendWithin(samples, end, millis)
    if (trend !== undefined && 2 * trend.error <= most) return trend.slope
  }
  return undefined
}

/**
 * Whether counts stand still that would have risen by half at that pace, in messages a second. However late they are, four
 * in a row are alike by a rare chance only while more comes all the time.
 */
export const standStill = (samples: ReadonlyArray<Backlog.Fresh>, pace: number): boolean => {
  const last = samples.slice(-4)
  const [first] = last
  if (first === undefined || last.length < 4) return false
  const counts = last.map(({ visible }) => visible)
  const rise = pace * (((last.at(-1)?.at ?? 0) - first.at) / 1000)
  // Off by up to a tenth up and down.
  return Math.max(...counts) <= 1.25 * Math.min(...counts) && rise >= 0.5 * median(counts)
}
