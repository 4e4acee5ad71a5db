/** The slots of a consumer: how many there are, how many work, and which stage holds the others up. */
import type * as Backlog from "../../Backlog.js"
import type * as Figures from "../../Figures.js"
import { done, millisOf, sumOf } from "./readings.js"

/** More slots than that are no bound. */
const unbounded = 1000

/** Stages that have a bound: one without has as many slots as it gets messages. */
export const boundedStages = ({ seconds, stages, stats }: Figures.Interval): ReadonlyArray<number> =>
  stages.flatMap(({ slotTime }, i) =>
    slotTime / seconds / 1000 > Math.max(unbounded, 10 * stats.maxInFlight) ? [] : [i]
  )

/** The stage that holds the others up: the busiest. */
export const busiestOf = (interval: Figures.Interval): number | undefined =>
  [...boundedStages(interval)].sort((a, b) => (interval.stages[b]?.busy ?? 0) - (interval.stages[a]?.busy ?? 0))[0]

export interface Slots {
  readonly slots: number
  readonly bounded: boolean
  readonly running: number
  readonly waiting: number
}

export const slotsOf = (interval: Figures.Interval, stage: number | undefined): Slots => {
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

/** Runs of handlers, each message of a batch one; of several stages those of one, each message once. */
export const runsOf = (interval: Figures.Interval, several: boolean): number =>
  (several ? done(interval) : interval.stats.handled) + interval.stats.failed

/**
 * The time of a slot that one message takes at a stage, by Little's law: of a batch its part, and of several stages this
 * one's, where what is measured of handlers is of all together.
 */
export const slotTimeOf = (interval: Figures.Interval, stage: number): readonly [number, number] | undefined => {
  const ended = runsOf(interval, true)
  return ended === 0 ? undefined : [(interval.stages[stage]?.busyTime ?? 0) / ended, ended]
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

/** Slots that stood idle on average while messages waited in the queue. */
export const idleOf = (
  recent: ReadonlyArray<Figures.Interval>,
  samples: ReadonlyArray<Backlog.Fresh>,
  stage: number | undefined
): number => {
  const seconds = sumOf(recent, (interval) => interval.seconds)
  const idle = sumOf(
    recent.filter((interval) => waitsAt(interval, samples)),
    (interval) => {
      const { running, slots } = slotsOf(interval, stage)
      return (slots - running) * interval.seconds
    }
  )
  return idle / Math.max(seconds, 1e-3)
}
