/**
 * What came beyond the usual and still waits: a burst, once it is over. While it goes on, nobody knows whether it is one or
 * what comes from now on; it is over when far less comes than has come on average since.
 */
import type * as Figures from "../../Figures.js"
import { type Aged, perSecond, stretching } from "./ages.js"
import { mostLate, slopeWithin } from "./counts.js"
import type { Known } from "./known.js"
import { ramp, sumOf } from "./readings.js"

export interface Burst {
  /** Messages a second: how many come, and how many come day in, day out. */
  readonly arrivals: number
  readonly sustained: number
  /** Of those that wait, how many came in a burst beyond what used to come. */
  readonly excess: number
  /** Whether they stay, from 0 to 1: minutes after it, as much comes as is done, or more. */
  readonly stays: number
}

/** What the two witnesses of `pace.ts` have said. */
export interface Seen {
  readonly end: number
  /** When it was well last. */
  readonly since: number
  readonly throughput: number
  readonly arrivals: number
  readonly usual: number
  readonly visible: number
  readonly byCounts: number | undefined
  readonly unreceived: number
  readonly share: number
  /** Messages may wait that no receive brings. */
  readonly blocked: boolean
  /** What waits is received, and stands still. */
  readonly sighted: boolean
  readonly still: boolean
  readonly points: ReadonlyArray<Aged>
  /** How long the last received had waited, and when they had been sent. */
  readonly waited: number | undefined
  readonly sentUntil: number
  /** How many counts of late there are. */
  readonly counted: number
}

/** Of what waits, what had been here before and was put back or lost: it has come already. */
const waitingAgain = (after: ReadonlyArray<Figures.Interval>): number => {
  const last = after.at(-1)
  const back = sumOf(after, ({ stats }) => stats.retried + stats.released + stats.lost - stats.redelivered)
  return last === undefined ? 0 : Math.max(0, back - last.deferredFor / (1000 * last.seconds))
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

/** @param recent - the intervals that are judged. */
export const burstOf = (known: Known, recent: ReadonlyArray<Figures.Interval>, seen: Seen): Burst => {
  const { arrivals, blocked, byCounts, counted, end, points, sentUntil, share, sighted, since, still } = seen
  const { throughput, unreceived, usual, visible, waited = 0 } = seen
  const lasted = (end - since) / 1000
  const came = cameSince(known.intervals, since, visible, throughput)
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
  const seenFor = sentUntil - since
  const pilesFor = (1000 * (byCounts ?? visible)) / Math.max(lately - throughput, 1e-9)
  const sudden = end - since < 2 * mostLate && lately >= 4 * usual && seenFor < 40_000 && pilesFor < 45_000
  const average = usual + count / Math.max(lasted, 1e-3)
  // What comes now, by those received where they have waited for a moment, and by the counts where they have not: once these
  // tell the pace of a burst from the usual one.
  const apart = 0.35 * (average - usual)
  // Where it never was well, nobody knows since when.
  const long = known.well.length > 0 && end - since >= 4 * mostLate
  const clear = long ? slopeWithin(known.samples, end, since, apart / share) : undefined
  const slope = clear ?? (still || !long ? slopeWithin(known.samples, end, since, Infinity) : undefined)
  const present =
    sighted && !blocked && !still && waited < 45_000
      ? lately
      : slope !== undefined
        ? throughput + share * slope
        : counted >= 5
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
  const settled = over && clear !== undefined
  const lasting = settled || ebbed ? Math.max(1.1 * usual, present) : 1.1 * usual
  const excess = plain && (over || sudden) ? beyond(lasting) * (1 - unreceived) : 0
  const burst = excess >= 0.3 * visible && excess > 0
  return {
    arrivals: burst && over ? Math.min(arrivals, Math.max(1.1 * usual, present)) : arrivals,
    sustained: burst ? Math.min(arrivals, lasting) : arrivals,
    excess: burst ? excess : 0,
    stays: settled ? 1 - ramp(1 - lasting / Math.max(throughput, 1e-9), 0, 0.1) : 0
  }
}
