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
import type * as Figures from "../../Figures.js"
import { median } from "../data/slope.js"
import { aged, leastStretching, perSecond, sentAsARule, stretching } from "./ages.js"
import { type Burst, burstOf } from "./burst.js"
import { growthOf, mostLate, standStill } from "./counts.js"
import { heldByOthers, shareOf } from "./fleet.js"
import type { Known } from "./known.js"
import { isWell, usualArrivals } from "./norm.js"
import { clamp, done, enough, sumOf } from "./readings.js"

export interface Pace extends Burst {
  readonly visible: number
  /** Messages a second: by how many more wait, and how many used to come. */
  readonly growth: number
  readonly usualArrivals: number | undefined
  /** The part of those that wait that no receive brings, though others are brought at once. */
  readonly unreceived: number
  /** Messages in flight of the queue that this consumer does not have, on average. */
  readonly others: number
  /** This consumer's part of the queue. */
  readonly share: number
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
  const same = { visible, growth, usualArrivals: usual, unreceived, others, share }
  if (usual === undefined) return { ...same, arrivals, sustained: arrivals, excess: 0, stays: 0 }
  const seen = {
    ...same,
    end,
    since,
    throughput,
    arrivals,
    usual,
    blocked,
    sighted,
    still,
    points,
    waited: latest?.waited,
    sentUntil: sighted ? (latest?.at ?? end) - (latest?.waited ?? 0) : end,
    counted: counted.length,
    byCounts
  }
  return { ...same, ...burstOf(known, recent, seen) }
}
