/** How long what is received had waited, which is exact: how fast that grows, and when what is received had been sent. */
import type * as Figures from "../../Figures.js"
import * as Histogram from "../../Histogram.js"
import { theilSen } from "../data/slope.js"
import { trendOf } from "./counts.js"
import { weightedMedian } from "./norm.js"
import { sumOf } from "./readings.js"

/** What messages received of late had waited. */
export interface Aged {
  readonly at: number
  readonly waited: number
  readonly count: number
}

export const aged = (intervals: ReadonlyArray<Figures.Interval>): ReadonlyArray<Aged> =>
  intervals.flatMap(({ from, queued, to }) => {
    const waited = Histogram.mean(queued)
    return waited === undefined ? [] : [{ at: (from + to) / 2, waited, count: queued.count }]
  })

/** How fast the wait grows: milliseconds in a millisecond, less than 1. */
export const stretching = (points: ReadonlyArray<Aged>): number => {
  const slope = theilSen(points.map(({ at, waited }) => [at, waited]))?.slope ?? 0
  return Math.min(0.98, Math.max(-4, slope))
}

/** The same, as little as it may be. */
export const leastStretching = (points: ReadonlyArray<Aged>): number => {
  const trend = trendOf(points.map(({ at, waited }) => [at, waited]))
  return trend === undefined ? 0 : Math.min(stretching(points), trend.slope - 2 * trend.error)
}

export const perSecond = (intervals: ReadonlyArray<Figures.Interval>): number =>
  sumOf(intervals, ({ queued }) => queued.count) /
  Math.max(
    1e-3,
    sumOf(intervals, ({ seconds }) => seconds)
  )

/**
 * Where it never was well: messages a second that came as a rule, by when those received had been sent, each rate for as
 * long as it lasted. A burst lasts for a small part of it, however much of what is received it is.
 */
export const sentAsARule = (points: ReadonlyArray<Aged>, window: number): number | undefined => {
  const rates: Array<readonly [rate: number, millis: number]> = []
  let from: number | undefined
  let count = 0
  for (const { at, count: received, waited } of points) {
    const until = at - waited
    count += from === undefined ? 0 : received
    from ??= until
    const lasted = until - from
    if (lasted < 10_000) continue
    rates.push([(1000 * count) / lasted, lasted])
    from = until
    count = 0
  }
  return sumOf(rates, ([, lasted]) => lasted) < window || rates.length < 3 ? undefined : weightedMedian(rates)
}
