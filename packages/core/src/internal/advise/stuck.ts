/** Groups whose head does not get done, and what other consumers keep from this one. */
import type * as Figures from "../../Figures.js"
import { sumOf } from "./readings.js"

export interface Stuck extends Figures.Group {
  /** For how long, in milliseconds. */
  readonly age: number
  readonly failures: number
}

/**
 * Groups whose head has been here, or has failed again and again, for far longer than handlers take.
 *
 * @param handlers - what one takes as a rule, and the longest that one took.
 */
export const stuckGroups = (
  intervals: ReadonlyArray<Figures.Interval>,
  handlers: { readonly usual: number; readonly longest: number }
): ReadonlyArray<Stuck> => {
  const least = Math.max(30_000, 10 * handlers.usual, 2 * handlers.longest)
  const now = intervals.at(-1)
  const failures = intervals.flatMap(({ recentFailures }) => recentFailures)
  const failed = sumOf(intervals, ({ stats }) => stats.failed)
  const runs = failed + sumOf(intervals, ({ stats }) => stats.handled)
  const lost = sumOf(intervals, ({ stats }) => stats.lost)
  /** Where most runs fail, one of many heads fails again and again by chance. */
  const byChance = (times: number) =>
    Math.max(1, now?.groupsInFlight ?? 1) * (Math.max(0, failed - times) / Math.max(1, runs - times)) ** times
  return (now?.groups ?? [])
    .map((group) => {
      const ofHead = failures.filter(({ messageId }) => messageId === group.head.messageId)
      const since = Math.min(group.head.receivedAt, ...ofHead.map(({ at }) => at))
      return { ...group, age: (now?.to ?? 0) - since, failures: ofHead.length }
    })
    .filter(({ age, failures, head }) => {
      if (age < least) return false
      if (head.running && failures === 0) return true
      // One whose lease was lost comes again, and has not failed.
      return failures >= 2 ? byChance(failures) < 0.05 : failures === 1 && head.attempt > 1 && lost < 0.02 * runs
    })
    .sort((a, b) => b.age - a.age)
}
