/** How far the queue is behind, and what the consumer did for it meanwhile: what all causes are judged by. */
import type * as Backlog from "../../Backlog.js"
import * as Figures from "../../Figures.js"
import * as Histogram from "../../Histogram.js"
import { callTime } from "./calls.js"
import { type Quick, quickest } from "./concurrency.js"
import type { Known, Limits } from "./known.js"
import { beforeOnset, joined, usualTime } from "./norm.js"
import { type Pace, paceOf } from "./pace.js"
import { enough, millisOf, sumOf } from "./readings.js"
import { boundedStages, busiestOf, idleOf, runsOf, slotsOf, slotTimeOf } from "./slots.js"
import { type Stuck, stuckGroups } from "./stuck.js"

/** Rates are a second, times milliseconds. */
export interface Lag extends Known, Limits, Pace {
  readonly now: Figures.Interval
  /** The intervals of `now`, and the norm as one. */
  readonly recent: ReadonlyArray<Figures.Interval>
  readonly norm: Figures.Interval | undefined
  /** Those in which it may have begun: neither of the norm nor of what came after. */
  readonly began: ReadonlyArray<Figures.Interval>
  readonly last: Backlog.Fresh | undefined
  /** Messages done by this consumer, and the rate at which it would clear its backlog in time. */
  readonly throughput: number
  readonly required: number
  /** Enough waits to speak of. */
  readonly material: boolean
  readonly behind: boolean
  /** Slots on average, how many of them were taken, and how many messages waited for one at the end. */
  readonly slots: number
  readonly bounded: boolean
  readonly running: number
  readonly waiting: number
  /** The stage that has these slots; several have some, and what is known of handlers by how many run is of all together. */
  readonly stage: number | undefined
  readonly several: boolean
  /** Groups whose head does not get done, and slots that such heads keep; `running` is without them. */
  readonly stuck: ReadonlyArray<Stuck>
  readonly hung: number
  /** Slots that stood idle while messages waited in the queue. */
  readonly idle: number
  /** Runs of handlers, and what one takes. */
  readonly runs: number
  readonly handlerTime: number | undefined
  /** The slot time of one message as far as seen, and what a run took as a rule. */
  readonly workTime: number | undefined
  readonly usualTime: number | undefined
  /** What a run takes with few beside it. */
  readonly quick: Quick | undefined
  /** Messages that a slot works on at once. */
  readonly perSlot: number
  /** A message's calls, to receive and to ack. */
  readonly callTime: number
  readonly usualCallTime: number | undefined
}

/** The mean of the handlers' times, and how far off it may be (one standard error). */
export const meanTime = (histogram: Histogram.Histogram): { readonly mean: number; readonly error: number } => {
  const mean = Histogram.mean(histogram) ?? 0
  const squares = histogram.buckets.reduce((sum, n, bucket) => sum + n * (Histogram.middleOf(bucket) - mean) ** 2, 0)
  return { mean, error: histogram.count === 0 ? 0 : Math.sqrt(squares) / histogram.count }
}

/** Less is no time to judge by, in seconds. */
const least = 4

/** `undefined` where there is nothing to judge by yet. */
export const measure = (known: Known, limits: Limits): Lag | undefined => {
  const end = known.intervals.at(-1)?.to ?? 0
  const [first, ...rest] = known.intervals.filter(({ to }) => to > end - limits.window)
  if (first === undefined) return undefined
  const recent = [first, ...rest]
  const now = Figures.join([first, ...rest])
  if (now.seconds < least) return undefined
  const pastWell = known.well.filter(({ to }) => to <= end - limits.window)
  const { began, well } = beforeOnset(pastWell, known.onset)
  const norm = joined(well)
  const stage = busiestOf(now)
  const several = stage !== undefined && boundedStages(now).length > 1
  const timeOf = (interval: Figures.Interval): readonly [number, number] | undefined =>
    several
      ? slotTimeOf(interval, stage)
      : interval.handler.count === 0
        ? undefined
        : [interval.handler.sum / interval.handler.count, interval.handler.count]
  const usual = usualTime(pastWell, timeOf)
  const { bounded, running: taken, slots, waiting } = slotsOf(now, stage)
  const handlers = (norm ?? now).handler
  const stuck = stuckGroups(known.intervals, {
    usual: usual ?? Histogram.quantile(handlers, 0.5) ?? 0,
    longest: Histogram.quantile(handlers, 1) ?? 0
  })
  const hungFor = sumOf(stuck, ({ age, failures, head }) =>
    head.running && failures === 0 ? Math.min(age, millisOf(now)) : 0
  )
  const hung = bounded ? Math.min(taken, hungFor / millisOf(now)) : 0
  const running = taken - hung

  const throughput = sumOf(recent, ({ stats }) => stats.acked + stats.deadLettered) / now.seconds
  const pace = paceOf({ ...known, well: pastWell }, recent, now.settings.ordered, limits)
  const { arrivals, visible } = pace
  const required = arrivals + (visible * 1000) / limits.drainWithin
  // What a consumer does in five seconds is on its way, and no backlog.
  const material = visible >= Math.max(10, 5 * throughput)

  const runs = runsOf(now, several)
  const busyTime = running * now.seconds * 1000
  const mean = several ? (runs < enough ? undefined : busyTime / runs) : Histogram.mean(now.handler)
  // Handlers that have not ended yet show in the slots alone.
  const unfinished = now.stats.lost === 0 && busyTime > 2 * now.handler.sum
  const handlerTime = bounded && unfinished && busyTime > 0 ? busyTime / Math.max(1, runs) : mean
  const perSlot = several || busyTime === 0 || !bounded ? 1 : Math.max(1, now.handler.sum / busyTime)
  const { lost } = now.stats
  // What was broken off with its lease had taken that long at least.
  const workTime =
    lost > 0 && several
      ? busyTime / (runs + lost)
      : lost > 0
        ? (now.handler.sum + lost * Math.min(now.settings.leaseDuration, busyTime / lost)) / (runs + lost) / perSlot
        : handlerTime === undefined
          ? undefined
          : handlerTime / perSlot
  return {
    ...known,
    ...limits,
    ...pace,
    well,
    began,
    now,
    recent,
    norm,
    last: known.samples.at(-1),
    throughput,
    required,
    material,
    behind: material && required > 1.1 * throughput,
    slots,
    bounded,
    running,
    waiting,
    stage,
    several,
    stuck,
    hung,
    idle: idleOf(recent, known.samples, stage),
    runs,
    handlerTime,
    workTime,
    usualTime: usual,
    quick: several
      ? undefined
      : quickest(norm === undefined ? now.byRunning : Figures.join([norm, now]).byRunning, running * perSlot),
    perSlot,
    callTime: callTime(now),
    usualCallTime: norm && callTime(norm)
  }
}
