import type * as Backlog from "../Backlog.js"
import * as Figures from "../Figures.js"
import * as Histogram from "../Histogram.js"
import type { Load } from "../ProcessLoad.js"
import { median, theilSen } from "./slope.js"

/** What is known of a consumer and its queue, the oldest first. */
export interface Known {
  readonly intervals: ReadonlyArray<Figures.Interval>
  readonly samples: ReadonlyArray<Backlog.Fresh>
  readonly load: Load | undefined
}

export interface Limits {
  /** What is judged: the latest so many milliseconds. */
  readonly window: number
  /** A backlog that is gone within so many milliseconds is none to worry about. */
  readonly drainWithin: number
  /** In flight at once, as the queue allows. */
  readonly inFlightLimit: number
}

/** How far the queue is behind, and what the consumer did for it meanwhile. Rates are a second, times milliseconds. */
export interface Lag extends Known, Limits {
  readonly now: Figures.Interval
  /** The intervals before, as one; and each of them. */
  readonly before: Figures.Interval | undefined
  readonly earlier: ReadonlyArray<Figures.Interval>
  readonly last: Backlog.Fresh | undefined
  readonly visible: number
  readonly growth: number
  /** Messages done by this consumer; messages that came for it; and the rate at which it would clear its backlog in time. */
  readonly throughput: number
  readonly arrivals: number
  readonly required: number
  /** What used to come, and how many have come beyond that and still wait. */
  readonly usualArrivals: number | undefined
  readonly excess: number
  /** Enough waits to speak of. */
  readonly material: boolean
  readonly behind: boolean
  /** Slots on average, how many of them were taken, and how many messages waited for one at the end. */
  readonly slots: number
  readonly bounded: boolean
  readonly running: number
  readonly waiting: number
  /** Runs of handlers, what one takes, what it used to take at any concurrency, and what it takes with few beside it. */
  readonly runs: number
  readonly handlerTime: number | undefined
  readonly usualTime: number | undefined
  readonly quick: Quick | undefined
  /** A message's calls, to receive and to ack. */
  readonly callTime: number
  readonly usualCallTime: number | undefined
}

export interface Quick {
  readonly time: number
  /** At how many running, on average. */
  readonly running: number
  /** It may be that much, of so few handlers. */
  readonly atMost: number
}

export const done = ({ stats }: Figures.Interval): number => stats.acked + stats.deadLettered

const perSecond = (count: number, seconds: number): number => (seconds === 0 ? 0 : count / seconds)

/** Messages done from the beginning of the intervals until then, as if each interval's were done evenly. */
const doneUntil = (intervals: ReadonlyArray<Figures.Interval>, at: number): number =>
  intervals.reduce((sum, interval) => {
    const part = (Math.min(at, interval.to) - interval.from) / Math.max(1, interval.to - interval.from)
    return sum + done(interval) * Math.max(0, part)
  }, 0)

const total = ({ delayed, inFlight, visible }: Backlog.Fresh): number => visible + inFlight + delayed

interface Arrived {
  readonly until: number
  readonly seconds: number
  readonly count: number
}

/** Messages that came between two samples: what the queue grew by, and what was done meanwhile. */
const arrived = ({ intervals, samples }: Known): Array<Arrived> => {
  const from = intervals[0]?.from ?? 0
  return samples.flatMap((sample, i) => {
    const before = samples[i - 1]
    if (before === undefined || before.at < from || sample.at === before.at) return []
    const count = total(sample) - total(before) + doneUntil(intervals, sample.at) - doneUntil(intervals, before.at)
    return [{ until: sample.at, seconds: (sample.at - before.at) / 1000, count: Math.max(0, count) }]
  })
}

/** The part of what came that is beyond what used to come: more than half as much again, and more than chance. */
const surplus = (arrivals: ReadonlyArray<Arrived>, usual: number): number =>
  arrivals.reduce((sum, { count, seconds }) => {
    const expected = usual * seconds
    return count > 1.5 * expected + 3 * Math.sqrt(expected) + 5 ? sum + count - expected : sum
  }, 0)

/** Enough handlers for their mean to mean something. */
const enough = 8

/** The mean of the handlers' times, and how far off it may be (one standard error). */
export const meanTime = (histogram: Histogram.Histogram): { readonly mean: number; readonly error: number } => {
  const mean = Histogram.mean(histogram) ?? 0
  const squares = histogram.buckets.reduce((sum, n, bucket) => sum + n * (Histogram.middleOf(bucket) - mean) ** 2, 0)
  return { mean, error: histogram.count === 0 ? 0 : Math.sqrt(squares) / histogram.count }
}

/** What handlers took before: over all that is known, or in its first half, where that is less. */
const usual = (earlier: ReadonlyArray<Figures.Interval>): number | undefined => {
  const of = (intervals: ReadonlyArray<Figures.Interval>) => {
    const histogram = Histogram.merge(intervals.map(({ handler }) => handler))
    return histogram.count < enough ? [] : [histogram.sum / histogram.count]
  }
  const means = [...of(earlier), ...of(earlier.slice(0, Math.ceil(earlier.length / 2)))]
  return means.length === 0 ? undefined : Math.min(...means)
}

/**
 * What handlers took that began with few beside them: the least by doublings of how many ran, up to half of how many run
 * now, and clearly so.
 */
const quickest = (levels: ReadonlyArray<Figures.AtRunning>, running: number): Quick | undefined => {
  const bands = new Map<number, { handlers: number; time: number; running: number }>()
  for (const level of levels) {
    if (level.running > running / 2) continue
    const band = Math.floor(Math.log2(level.running))
    const sum = bands.get(band) ?? { handlers: 0, time: 0, running: 0 }
    sum.handlers += level.handlers
    sum.time += level.time
    sum.running += level.running * level.handlers
    bands.set(band, sum)
  }
  let quick: (Omit<Quick, "atMost"> & { readonly likely: number }) | undefined
  for (const { handlers, running, time } of bands.values()) {
    if (handlers < enough / 2) continue
    const mean = time / handlers
    // Few handlers may be quick by chance: at worst they vary as waiting times do.
    const likely = mean * (1 + 1.5 / Math.sqrt(handlers))
    if (quick === undefined || likely < quick.likely) quick = { time: mean, running: running / handlers, likely }
  }
  return quick === undefined ? undefined : { time: quick.time, running: quick.running, atMost: quick.likely }
}

const callTimeOf = ({ calls }: Figures.Interval): number =>
  (Histogram.mean(calls.receive) ?? 0) + (Histogram.mean(calls.ack) ?? 0)

/** The stage that holds the others up: the busiest. */
const slotsOf = (interval: Figures.Interval) => {
  const [busiest] = [...interval.stages].sort((a, b) => b.busy - a.busy)
  const millis = interval.seconds * 1000
  return busiest === undefined
    ? {
        slots: interval.stats.maxInFlight,
        bounded: false,
        // Without slots a message works for as long as it is in flight.
        running: Math.min(interval.stats.maxInFlight, Math.max(interval.handler.sum, interval.settled.sum) / millis),
        waiting: 0
      }
    : {
        slots: busiest.slotTime / millis,
        bounded: true,
        running: busiest.busyTime / millis,
        waiting: busiest.waiting
      }
}

/** `undefined` where there is nothing to judge by yet. */
export const measure = (known: Known, limits: Limits): Lag | undefined => {
  const end = known.intervals.at(-1)?.to ?? 0
  const [first, ...rest] = known.intervals.filter(({ to }) => to > end - limits.window)
  if (first === undefined) return undefined
  const now = Figures.join([first, ...rest])
  const earlier = known.intervals.filter(({ to }) => to <= end - limits.window)
  const [oldest, ...others] = earlier
  const before = oldest && Figures.join([oldest, ...others])
  const { bounded, running, slots, waiting } = slotsOf(now)

  const throughput = perSecond(done(now), now.seconds)
  const recent = known.samples.filter(({ at }) => at >= now.from - 1)
  const last = known.samples.at(-1)
  // Without samples: as many wait as come in the time that one waits.
  const queued = Histogram.quantile(end === 0 ? now.queued : first.queued, 0.5) ?? 0
  const queuedNow = Histogram.quantile((rest.at(-1) ?? first).queued, 0.5) ?? 0
  const visible = last?.visible ?? (throughput * queuedNow) / 1000
  const growth =
    recent.length >= 3
      ? (theilSen(recent.map((sample) => [sample.at / 1000, total(sample)]))?.slope ?? 0)
      : last === undefined
        ? (throughput * (queuedNow - queued)) / 1000 / now.seconds
        : (last.growth ?? 0)
  const arrivals = Math.max(0, throughput + growth)

  const came = arrived(known)
  const cameBefore = came.filter(({ until }) => until <= now.from)
  const knownFor = cameBefore.reduce((sum, { seconds }) => sum + seconds, 0)
  const usualArrivals =
    knownFor * 1000 < limits.window || cameBefore.length < 3
      ? undefined
      : median(cameBefore.map(({ count, seconds }) => count / seconds))
  const excess = usualArrivals === undefined ? 0 : Math.min(visible, surplus(came, usualArrivals))

  const required = arrivals + (visible * 1000) / limits.drainWithin
  // What a consumer does in five seconds is on its way, and no backlog.
  const material = visible >= Math.max(10, 5 * throughput)

  const runs = now.stats.handled + now.stats.failed
  const busyTime = running * now.seconds * 1000
  const mean = Histogram.mean(now.handler)
  // Handlers that have not ended yet show in the slots alone.
  const unfinished = now.stats.lost === 0 && busyTime > 2 * now.handler.sum
  const handlerTime = bounded && unfinished && busyTime > 0 ? busyTime / Math.max(1, runs) : mean
  return {
    ...known,
    ...limits,
    now,
    before,
    earlier,
    last,
    visible,
    growth,
    throughput,
    arrivals,
    required,
    usualArrivals,
    excess,
    material,
    behind: material && required > 1.1 * throughput,
    slots,
    bounded,
    running,
    waiting,
    runs,
    handlerTime,
    usualTime: usual(earlier),
    quick: quickest(before === undefined ? now.byRunning : Figures.join([before, now]).byRunning, running),
    callTime: callTimeOf(now),
    usualCallTime: before && callTimeOf(before)
  }
}
