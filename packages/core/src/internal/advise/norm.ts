/**
 * What the consumer was like while nothing was behind: its norm. It is taken from the intervals in which messages waited
 * for a moment only, and stays as it was while something is behind, however long that lasts: a fault that goes on for an
 * hour does not become the norm by itself.
 */
import * as Figures from "../../Figures.js"
import * as Histogram from "../../Histogram.js"
import { enough, sumOf } from "./readings.js"

/** Whether what came was received at once. Where nothing came, nobody knows. */
export const isWell = ({ handler, pausedFor, queued, seconds, stats }: Figures.Interval): boolean => {
  const waited = Histogram.mean(queued)
  const moment = 2000 + Math.min(10_000, (Histogram.mean(handler) ?? 0) / 4)
  return waited !== undefined && waited <= moment && pausedFor < seconds * 100 && stats.lost === 0
}

/** What is behind began some time before messages waited for long: this much, in milliseconds. */
const unnoticed = 15_000

/** Of what was well, that which was so for sure, and that in which it may have begun. */
export const beforeOnset = (
  well: ReadonlyArray<Figures.Interval>,
  [first]: ReadonlyArray<Figures.Interval>
): { readonly well: ReadonlyArray<Figures.Interval>; readonly began: ReadonlyArray<Figures.Interval> } => {
  if (first === undefined) return { well, began: [] }
  const sure = well.filter(({ to }) => to <= first.from - unnoticed)
  return sure.length < 3 ? { well, began: [] } : { well: sure, began: well.slice(sure.length) }
}

/** The middle of values, each as often as it weighs. */
export const weightedMedian = (values: ReadonlyArray<readonly [value: number, weight: number]>): number | undefined => {
  const sorted = [...values].sort(([a], [b]) => a - b)
  let left = sumOf(sorted, ([, weight]) => weight) / 2
  for (const [value, weight] of sorted) {
    left -= weight
    if (left <= 0) return value
  }
  return sorted.at(-1)?.[0]
}

/**
 * What a run took as a rule: the median over the intervals, since the first of a fault may be among them. `undefined`
 * for too few runs.
 */
export const usualTime = (
  well: ReadonlyArray<Figures.Interval>,
  timeOf: (interval: Figures.Interval) => readonly [millis: number, runs: number] | undefined
): number | undefined => {
  const times = well.flatMap((interval) => {
    const time = timeOf(interval)
    return time === undefined ? [] : [time]
  })
  return sumOf(times, ([, runs]) => runs) < enough ? undefined : weightedMedian(times)
}

/** Messages a second that came as a rule, known once a minute or so was well. */
export const usualArrivals = (well: ReadonlyArray<Figures.Interval>, window: number): number | undefined => {
  const seconds = sumOf(well, (interval) => interval.seconds)
  return seconds * 1000 < window || well.length < 3
    ? undefined
    : weightedMedian(well.map(({ queued, seconds }) => [queued.count / seconds, seconds]))
}

/** All of the norm as one interval. */
export const joined = ([first, ...rest]: ReadonlyArray<Figures.Interval>): Figures.Interval | undefined =>
  first && Figures.join([first, ...rest])
