/**
 * How fast messages come, and how many wait, for this consumer.
 *
 * Two witnesses are heard. The queue's counts tell of all that waits, late and roughly (SQS: by up to a minute). How long
 * the received messages had waited is exact, and of this consumer's part alone, whatever the size of the fleet: what is
 * received within Δt while the wait grows by Δw was sent within Δt - Δw, so that it came at received / (Δt - Δw); and what
 * waits was sent within the last wait. It is blind to what has not been received: a burst that has just come, or a group
 * that nobody receives. There the counts decide, by the median of all slopes and once they are clear of their own noise.
 *
 * @see https://doi.org/10.1080/01621459.1968.10480934 Sen, Estimates of the regression coefficient based on Kendall's tau
 */
import type * as Backlog from "../../Backlog.js"
import type * as Figures from "../../Figures.js"
import * as Histogram from "../../Histogram.js"
import { median, theilSen } from "../data/slope.js"
import type { Known } from "./known.js"
import { isWell, usualArrivals, weightedMedian } from "./norm.js"
import { clamp, done, enough, ramp, sumOf, total } from "./readings.js"

export interface Pace {
  readonly visible: number
  /** Messages a second: by how many more wait, how many come, how many come day in, day out, and how many used to. */
  readonly growth: number
  readonly arrivals: number
  readonly sustained: number
  readonly usualArrivals: number | undefined
  /** Of those that wait, how many came in a burst beyond what used to come. */
  readonly excess: number
  /** Whether they stay, from 0 to 1: minutes after it, as much comes as is done, or more. */
  readonly stays: number
  /** The part of those that wait that no receive brings, though others are brought at once. */
  readonly unreceived: number
  /** Messages in flight of the queue that this consumer does not have, on average. */
  readonly others: number
  /** This consumer's part of the queue. */
  readonly share: number
}

/** By how much the counts of a queue may be late, in milliseconds. */
const mostLate = 60_000

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
const growthOf = (samples: ReadonlyArray<Backlog.Fresh>, end: number, window: number, since: number): number => {
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
const slopeWithin = (
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

/** What this consumer has in flight on average, and what it has put back and is not to come yet: by Little's law. */
const ownInFlight = (intervals: ReadonlyArray<Figures.Interval>): number =>
  sumOf(intervals, ({ stats }) => stats.inFlight) / Math.max(1, intervals.length) +
  sumOf(intervals, ({ deferredFor }) => deferredFor) /
    Math.max(
      1,
      sumOf(intervals, ({ seconds }) => 1000 * seconds)
    )

/**
 * Whether counts stand still that would have risen by half at that pace, in messages a second. However late they are, four
 * in a row are alike by a rare chance only while more comes all the time.
 */
const standStill = (samples: ReadonlyArray<Backlog.Fresh>, pace: number): boolean => {
  const last = samples.slice(-4)
  const [first] = last
  if (first === undefined || last.length < 4) return false
  const counts = last.map(({ visible }) => visible)
  const rise = pace * (((last.at(-1)?.at ?? 0) - first.at) / 1000)
  // Off by up to a tenth up and down.
  return Math.max(...counts) <= 1.25 * Math.min(...counts) && rise >= 0.5 * median(counts)
}

/** This consumer's part of what is in flight of the queue, which is its part of the work; all, unless it is clearly less. */
const shareOf = ({ consumers, intervals, samples }: Known, end: number, inFlightLimit: number): number => {
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
const heldByOthers = ({ intervals, samples }: Known, end: number): number => {
  const counted = samples.filter(({ at }) => at >= end - 2 * mostLate)
  const mine = intervals.filter(({ to }) => to >= end - 2.5 * mostLate)
  return sumOf(counted, ({ inFlight }) => inFlight) / Math.max(1, counted.length) - ownInFlight(mine)
}

/** What messages received of late had waited. */
interface Aged {
  readonly at: number
  readonly waited: number
  readonly count: number
}

const aged = (intervals: ReadonlyArray<Figures.Interval>): ReadonlyArray<Aged> =>
  intervals.flatMap(({ from, queued, to }) => {
    const waited = Histogram.mean(queued)
    return waited === undefined ? [] : [{ at: (from + to) / 2, waited, count: queued.count }]
  })

/** How fast the wait grows: milliseconds in a millisecond, less than 1. */
const stretching = (points: ReadonlyArray<Aged>): number => {
  const slope = theilSen(points.map(({ at, waited }) => [at, waited]))?.slope ?? 0
  return Math.min(0.98, Math.max(-4, slope))
}

/** The same, as little as it may be. */
const leastStretching = (points: ReadonlyArray<Aged>): number => {
  const trend = trendOf(points.map(({ at, waited }) => [at, waited]))
  return trend === undefined ? 0 : Math.min(stretching(points), trend.slope - 2 * trend.error)
}

const perSecond = (intervals: ReadonlyArray<Figures.Interval>): number =>
  sumOf(intervals, ({ queued }) => queued.count) /
  Math.max(
    1e-3,
    sumOf(intervals, ({ seconds }) => seconds)
  )

/** Of what waits, what had been here before and was put back or lost: it has come already. */
const waitingAgain = (after: ReadonlyArray<Figures.Interval>): number => {
  const last = after.at(-1)
  const back = sumOf(after, ({ stats }) => stats.retried + stats.released + stats.lost - stats.redelivered)
  return last === undefined ? 0 : Math.max(0, back - last.deferredFor / (1000 * last.seconds))
}

/**
 * Where it never was well: messages a second that came as a rule, by when those received had been sent, each rate for as
 * long as it lasted. A burst lasts for a small part of it, however much of what is received it is.
 */
const sentAsARule = (points: ReadonlyArray<Aged>, window: number): number | undefined => {
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

/** All that came since when it was well. */
const cameSince = (
  intervals: ReadonlyArray<Figures.Interval>,
  since: number,
  visible: number,
  throughput: number
): number => {
  const end = intervals.at(-1)?.to ?? 0
  const after = intervals.filter(({ from }) => from >= since - 1)
  // What is no longer remembered was received as what is.
  const forgotten = Math.max(0, (after[0]?.from ?? end) - since) / 1000
  return (
    sumOf(after, ({ queued }) => queued.count) + forgotten * throughput + Math.max(0, visible - waitingAgain(after))
  )
}

/**
 * @param recent - the intervals that are judged.
 * @param blocked - messages may wait that no receive brings, as those of a group whose turn it is not.
 */
export const paceOf = (
  known: Known,
  recent: ReadonlyArray<Figures.Interval>,
  blocked: boolean,
  limits: { readonly window: number; readonly inFlightLimit: number }
): Pace => {
  const { intervals, samples } = known
  const end = recent.at(-1)?.to ?? 0
  const seconds = sumOf(recent, (interval) => interval.seconds)
  const throughput = sumOf(recent, done) / Math.max(seconds, 1e-3)
  const share = shareOf(known, end, limits.inFlightLimit)
  const others = heldByOthers(known, end)
  const ever = aged(intervals)
  const usual = known.well.length === 0 ? sentAsARule(ever, limits.window) : usualArrivals(known.well, limits.window)

  // What has gone on for long is measured over longer; for how long, nobody knows where it never was well.
  const onset = intervals.findLast(isWell)?.to ?? known.well.at(-1)?.to
  const [oldest] = ever
  const since = onset ?? (oldest === undefined ? intervals[0]?.from : oldest.at - oldest.waited) ?? end
  const span = Math.min(3 * limits.window, Math.max(limits.window, (end - (onset ?? end)) / 2))
  const judged = intervals.filter(({ to }) => to > end - span)
  const points = aged(judged)
  const latest = points.at(-1)
  const sighted =
    latest !== undefined &&
    latest.at >= end - 25_000 &&
    sumOf(points.slice(-3), ({ count }) => count) >= Math.min(enough, 1 + throughput * 5)
  const stretch = stretching(points)
  const received = perSecond(judged)
  const waited = latest === undefined ? 0 : Math.max(0, latest.waited + stretch * (end - latest.at))
  const comes = received / (1 - stretch)
  const leastComes = received / (1 - Math.max(0, leastStretching(points)))
  const growing = share * growthOf(samples, end, limits.window, since)

  const counted = samples.filter(({ at }) => at >= end - limits.window - 1)
  const last3 = counted.slice(-3).map(({ visible }) => visible)
  const byCounts = last3.length === 0 ? undefined : share * median(last3)
  const leastCounted =
    share * Math.min(...counted.filter(({ at }) => at >= end - mostLate - 5000).map((s) => s.visible))

  // As many as came at that pace, had it gone on until now: no more than the counts can have missed.
  const counts = counted.filter(({ at }) => at >= end - mostLate).map((sample) => sample.visible)
  const most =
    counts.length < 4 || end - since < 1.5 * mostLate
      ? Infinity
      : 1.2 * share * Math.max(...counts) + Math.max(0, growing) * (mostLate / 1000) + 10
  const byAge = Math.min((comes * waited) / 1000, most)

  // What the counts may still speak of, being late.
  const older = aged(intervals.filter(({ to }) => to >= end - mostLate - 20_000))
  const mostAged = Math.max(byAge, ...older.map(({ waited }) => (comes * waited) / 1000))
  const unseen =
    byCounts !== undefined &&
    counted.length >= 2 &&
    byCounts > 1.5 * mostAged + 5 * throughput + 20 &&
    share * Math.min(...last3) > 1.2 * mostAged + 2 * throughput + 10

  // What comes no more though it still is what is received.
  const still = sighted && !unseen && share === 1 && standStill(counted, (blocked ? leastComes : comes) - throughput)

  let visible: number
  let growth: number
  let arrivals: number
  // On an ordered queue too, what is received is of all that waits, where both witnesses agree about how many do.
  const alike = byCounts === undefined || (byAge > 0.6 * byCounts && byAge < 1.7 * byCounts)
  if (sighted && (!blocked || (alike && byAge > 10))) {
    visible = unseen ? byCounts : still ? Math.min(byAge, byCounts ?? byAge) : byAge
    growth = received * (stretch / (1 - stretch))
    arrivals = comes
    if (unseen && growing > growth) {
      growth = growing
      arrivals = Math.max(comes, throughput + growing)
    } else if (leastComes < 0.6 * comes && growing > 0 && growing < growth) {
      // Where the wait grows nearly as fast as time passes, hardly anything of late has been received.
      growth = growing
      arrivals = Math.max(leastComes, throughput + growing)
    }
  } else if (samples.length > 0) {
    // Late counts of what is long gone are no backlog: all of them must speak of one.
    const persistent = Number.isFinite(leastCounted) && counted.length >= 3
    visible = persistent && (leastCounted >= 10 || !sighted) ? (byCounts ?? 0) : Math.min(byCounts ?? byAge, byAge)
    if (sighted && byAge > visible) visible = Math.max(visible, Math.min(byAge, (byCounts ?? byAge) * 1.5 + 10))
    growth = growing
    arrivals =
      growing === 0 ? Math.max(throughput, Math.min(usual ?? throughput, 1e9)) : Math.max(0, throughput + growing)
    if (growing === 0) growth = 0
  } else {
    visible = byAge
    growth = received * (stretch / (1 - stretch))
    arrivals = comes
  }

  const had =
    sumOf(points.slice(-3), ({ count, waited }) => count * waited) /
    Math.max(
      1,
      sumOf(points.slice(-3), ({ count }) => count)
    )
  const unreceived = sighted && blocked && visible > 0 ? clamp(1 - (comes * had) / 1000 / visible) : 0
  if (usual === undefined)
    return {
      visible,
      growth,
      arrivals,
      sustained: arrivals,
      usualArrivals: usual,
      excess: 0,
      stays: 0,
      unreceived,
      others,
      share
    }
  const lasted = (end - since) / 1000
  const came = cameSince(intervals, since, visible, throughput)
  // What came is a matter of chance, and so was what came as a rule.
  const well = known.well.length === 0 ? lasted : sumOf(known.well, (interval) => interval.seconds)
  const chance = Math.sqrt(usual * lasted * (1 + lasted / Math.max(1, well)))
  /** What still waits of what came beyond so many a second. */
  const beyond = (rate: number) => Math.min(visible, Math.max(0, came - rate * lasted - 2.5 * chance))
  const count = beyond(1.1 * usual)
  const now = points.slice(-3)
  const lately =
    now.length < 3 || blocked ? arrivals : Math.min(arrivals, perSecond(recent.slice(-3)) / (1 - stretching(now)))
  // Up to which send time messages have been received, and for how long so many must have come that so many wait: for so
  // long more than usual has come.
  const seenFor = sighted ? (latest?.at ?? end) - (latest?.waited ?? 0) - since : end - since
  const pilesFor = (1000 * (byCounts ?? visible)) / Math.max(lately - throughput, 1e-9)
  const sudden = end - since < 2 * mostLate && lately >= 4 * usual && seenFor < 40_000 && pilesFor < 45_000
  const average = usual + count / Math.max(lasted, 1e-3)
  // What comes now, by those received where they have waited for a moment, and by the counts where they have not: once these
  // tell the pace of a burst from the usual one.
  const apart = 0.35 * (average - usual)
  const slope = slopeWithin(samples, end, since, still || end - since < 4 * mostLate ? Infinity : apart / share)
  const present =
    sighted && !blocked && !still && (latest?.waited ?? 0) < 45_000
      ? lately
      : slope !== undefined
        ? throughput + share * slope
        : counted.length >= 5
          ? Infinity
          : arrivals
  // It has ended, where at that pace far more would wait by now, late as the counts are.
  const ended =
    still ||
    (lately >= 1.5 * usual && end - since > 1.5 * mostLate && !blocked && pilesFor < 0.6 * (end - since - mostLate))
  const past = sighted && !blocked && lately <= usual + apart
  // More comes for good than used to, but far less than has come on average since: what made it so much is over.
  const ebbed = slope !== undefined && end - since >= 2 * mostLate && present <= (0.55 * came) / lasted
  const over = ended || past || ebbed || present <= usual + apart
  // What nobody can receive is no burst: it waits for another reason.
  const plain = count >= 0.2 * usual * lasted
  // Minutes later it is plain what comes since, which may be more than before as well.
  const settled = over && !still && slope !== undefined && end - since >= 4 * mostLate
  const lasting = settled || ebbed ? Math.max(1.1 * usual, present) : 1.1 * usual
  const excess = plain && (over || sudden) ? beyond(lasting) * (1 - unreceived) : 0
  const burst = excess >= 0.3 * visible && excess > 0
  return {
    visible,
    growth,
    arrivals: burst && over ? Math.min(arrivals, Math.max(1.1 * usual, present)) : arrivals,
    sustained: burst ? Math.min(arrivals, lasting) : arrivals,
    usualArrivals: usual,
    excess: burst ? excess : 0,
    stays: settled ? 1 - ramp(1 - lasting / Math.max(throughput, 1e-9), 0, 0.1) : 0,
    unreceived,
    others,
    share
  }
}
