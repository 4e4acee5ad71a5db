/** Groups whose head does not get done, and what other consumers keep from this one. */
import type * as Figures from "../../Figures.js"

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
  return (now?.groups ?? [])
    .map((group) => {
      const ofHead = failures.filter(({ messageId }) => messageId === group.head.messageId)
      const since = Math.min(group.head.receivedAt, ...ofHead.map(({ at }) => at))
      return { ...group, age: (now?.to ?? 0) - since, failures: ofHead.length }
    })
    .filter(({ age, failures, head }) => age >= least && (head.running || failures >= 2 || head.attempt > 1))
    .sort((a, b) => b.age - a.age)
}
