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
  /** Those of `now`. */
  readonly recent: ReadonlyArray<Figures.Interval>
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
  /** Several stages have slots, and what is known of handlers by their company is of all together. */
  readonly several: boolean
  /** Groups whose head does not get done, and slots that such heads keep; `running` is without them. */
  readonly stuck: ReadonlyArray<Stuck>
  readonly hung: number
  /** Slots that stood idle while messages waited in the queue. */
  readonly idle: number
  /** Runs of handlers, what one takes, what a message takes as far as seen, what it used to take at any concurrency, and what it takes with few beside it. */
  readonly runs: number
  readonly handlerTime: number | undefined
  readonly workTime: number | undefined
  readonly usualTime: number | undefined
  readonly quick: Quick | undefined
  /** A message's calls, to receive and to ack. */
  readonly callTime: number
  readonly usualCallTime: number | undefined
}

export interface Stuck extends Figures.Group {
  readonly age: number
  readonly failures: number
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

export const millisOf = ({ seconds }: Figures.Interval): number => seconds * 1000

/** Groups whose head has been here, or has failed again and again, for far longer than handlers take. */
const stuckGroups = (intervals: ReadonlyArray<Figures.Interval>, handlers: number): ReadonlyArray<Stuck> => {
  const now = intervals.at(-1)
  const failures = intervals.flatMap(({ recentFailures }) => recentFailures)
  return (now?.groups ?? [])
    .map((group) => {
      const ofHead = failures.filter(({ messageId }) => messageId === group.head.messageId)
      const since = Math.min(group.head.receivedAt, ...ofHead.map(({ at }) => at))
      return { ...group, age: (now?.to ?? 0) - since, failures: ofHead.length }
    })
    .filter(
      ({ age, failures, head }) =>
        age >= Math.max(30_000, 10 * handlers) && (head.running || failures >= 2 || head.attempt > 1)
    )
    .sort((a, b) => b.age - a.age)
}

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
const usual = (
  earlier: ReadonlyArray<Figures.Interval>,
  of: (intervals: ReadonlyArray<Figures.Interval>) => number | undefined
): number | undefined => {
  const means = [of(earlier), of(earlier.slice(0, Math.ceil(earlier.length / 2)))].filter((mean) => mean !== undefined)
  return means.length === 0 ? undefined : Math.min(...means)
}

const meanOf = (intervals: ReadonlyArray<Figures.Interval>): number | undefined => {
  const histogram = Histogram.merge(intervals.map(({ handler }) => handler))
  return histogram.count < enough ? undefined : histogram.sum / histogram.count
}

/**
 * What handlers took that began with few beside them: the least by how many those are, up to two thirds of how many run
 * now, and clearly so.
 */
export const quickest = (levels: ReadonlyArray<Figures.AtRunning>, running: number): Quick | undefined => {
  let quick: Quick | undefined
  let handlers = 0
  let time = 0
  let company = 0
  const consider = () => {
    if (handlers < enough / 2) return
    const mean = time / handlers
    // Few handlers may be quick by chance: at worst they vary as waiting times do, and this is the least of many means.
    const atMost = mean * (1 + 2.5 / Math.sqrt(handlers))
    if (quick === undefined || atMost < quick.atMost) quick = { time: mean, running: company / handlers, atMost }
  }
  for (const [i, level] of levels.entries()) {
    if (level.running > running / 1.5) break
    handlers += level.handlers
    time += level.time
    company += level.running * level.handlers
    consider()
    // The levels up to here begin anew with each doubling, so that those far below do not hide these.
    const next = levels[i + 1]
    if (next !== undefined && Math.floor(Math.log2(next.running)) !== Math.floor(Math.log2(level.running))) {
      if (handlers >= 100) handlers = time = company = 0
    }
  }
  return quick
}

/** A receive that did not come back full may have waited for messages, and says nothing: it takes what an ack takes. */
const callTimeOf = ({ calls }: Figures.Interval): number => {
  const ack = Histogram.mean(calls.ack) ?? 0
  return (Histogram.mean(calls.receive) ?? ack) + ack
}

/** Stages that have a bound: one without has as many slots as it gets messages. */
const boundedStages = ({ seconds, stages, stats }: Figures.Interval): ReadonlyArray<number> =>
  stages.flatMap(({ slotTime }, i) => (slotTime / seconds / 1000 > 10 * stats.maxInFlight ? [] : [i]))

/** The stage that holds the others up: the busiest. */
const busiestOf = (interval: Figures.Interval): number | undefined =>
  [...boundedStages(interval)].sort((a, b) => (interval.stages[b]?.busy ?? 0) - (interval.stages[a]?.busy ?? 0))[0]

const slotsOf = (interval: Figures.Interval, stage: number | undefined) => {
  const one = stage === undefined ? undefined : interval.stages[stage]
  const millis = millisOf(interval)
  return one === undefined
    ? {
        slots: interval.stats.maxInFlight,
        bounded: false,
        // Without slots a message works for as long as it is in flight.
        running: Math.min(interval.stats.maxInFlight, Math.max(interval.handler.sum, interval.settled.sum) / millis),
        waiting: 0
      }
    : { slots: one.slotTime / millis, bounded: true, running: one.busyTime / millis, waiting: one.waiting }
}

/** What one stage of several takes for a run; what was measured of handlers is of all stages together. */
const stageTime = (intervals: ReadonlyArray<Figures.Interval>, stage: number): number | undefined => {
  const runs = intervals.reduce((sum, interval) => sum + done(interval) + interval.stats.failed, 0)
  const busy = intervals.reduce((sum, { stages }) => sum + (stages[stage]?.busyTime ?? 0), 0)
  return runs < enough ? undefined : busy / runs
}

/** As many as would be received and done in a second are on their way; more wait. */
const waitsAt = (interval: Figures.Interval, samples: ReadonlyArray<Backlog.Fresh>): boolean => {
  const sample = samples.findLast(({ at }) => at <= interval.to + 1000)
  return (
    sample === undefined ||
    sample.at < interval.from - 60_000 ||
    sample.visible >= Math.max(5, done(interval) / interval.seconds)
  )
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
  const stage = busiestOf(now)
  const several = stage !== undefined && boundedStages(now).length > 1
  const timeOf = several ? (intervals: ReadonlyArray<Figures.Interval>) => stageTime(intervals, stage) : meanOf
  const usualTime = usual(earlier, timeOf)
  const { bounded, running: taken, slots, waiting } = slotsOf(now, stage)
  const stuck = stuckGroups(known.intervals, usualTime ?? Histogram.quantile((before ?? now).handler, 0.5) ?? 0)
  const hungFor = stuck.reduce(
    (sum, { age, failures, head }) => sum + (head.running && failures === 0 ? Math.min(age, millisOf(now)) : 0),
    0
  )
  const hung = bounded ? Math.min(taken, hungFor / millisOf(now)) : 0
  const running = taken - hung

  const idle =
    [first, ...rest]
      .filter((interval) => waitsAt(interval, known.samples))
      .reduce((sum, interval) => {
        const { running, slots } = slotsOf(interval, stage)
        return sum + (slots - running) * interval.seconds
      }, 0) / now.seconds

  const throughput = perSecond(done(now), now.seconds)
  const sampled = known.samples.filter(({ at }) => at >= now.from - 1)
  const last = known.samples.at(-1)
  // Without samples: as many wait as come in the time that one waits.
  const queued = Histogram.quantile(end === 0 ? now.queued : first.queued, 0.5) ?? 0
  const queuedNow = Histogram.quantile((rest.at(-1) ?? first).queued, 0.5) ?? 0
  const visible = last?.visible ?? (throughput * queuedNow) / 1000
  const growth =
    sampled.length >= 3
      ? (theilSen(sampled.map((sample) => [sample.at / 1000, total(sample)]))?.slope ?? 0)
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
  const mean = several ? timeOf([now]) : Histogram.mean(now.handler)
  // Handlers that have not ended yet show in the slots alone.
  const unfinished = now.stats.lost === 0 && busyTime > 2 * now.handler.sum
  const handlerTime = bounded && unfinished && busyTime > 0 ? busyTime / Math.max(1, runs) : mean
  const { lost } = now.stats
  // What was broken off with its lease had taken that long at least.
  const workTime =
    lost > 0 && !several
      ? (now.handler.sum + lost * Math.min(now.settings.leaseDuration, busyTime / lost)) / (runs + lost)
      : handlerTime
  return {
    ...known,
    ...limits,
    now,
    before,
    earlier,
    recent: [first, ...rest],
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
    stuck,
    hung,
    idle,
    runs,
    handlerTime,
    workTime,
    usualTime,
    several,
    quick: several
      ? undefined
      : quickest(before === undefined ? now.byRunning : Figures.join([before, now]).byRunning, running),
    callTime: callTimeOf(now),
    usualCallTime: before && callTimeOf(before)
  }
}
