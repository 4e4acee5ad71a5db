/** What the figures say about single causes, each as a number that the attribution weighs. */
import type * as Figures from "../../Figures.js"
import * as Histogram from "../../Histogram.js"
import { receiveTime } from "./calls.js"
import type { Lag } from "./lag.js"
import { millisOf, ramp } from "./readings.js"

export const cpuBound = ({ load }: Lag): number =>
  load === undefined ? 0 : Math.max(ramp(load.utilization, 0.8, 0.95), ramp(load.delay, 30, 150))

/** Whether the event loop is full at times: then handlers take longer the more of them run, as at a full downstream. */
export const strained = (lag: Lag): number =>
  lag.load === undefined
    ? 0
    : Math.max(cpuBound(lag), ramp(lag.load.utilization, 0.5, 0.8), ramp(lag.load.delay, 5, 15))

/** Of all calls, those that were throttled. */
export const throttledShare = ({ now: { failedCalls, stats } }: Lag): number =>
  failedCalls.throttled / Math.max(1, stats.polls + stats.settleCalls + stats.extendCalls)

export const failedShare = ({ now, runs }: Lag): number => now.stats.failed / Math.max(1, runs)

/** What ended by a lost lease, of all that ended. */
export const lostShare = ({ now: { settled, stats } }: Lag): number =>
  (stats.lost + stats.ackedLate) / Math.max(1, settled.count)

/** Messages that a receive brings that brings any. */
export const brought = ({ now: { stats } }: Lag): number | undefined => {
  const receives = stats.polls - stats.emptyPolls - stats.receiveErrors
  return receives <= 0 ? undefined : stats.received / receives
}

/** Which part of its permits it needs to hold what it holds for as long as it does, receives under way included. */
export const occupancy = ({ now }: Lag): number => {
  const { maxInFlight, received } = now.stats
  const held = (Histogram.mean(now.settled) ?? 0) + (receiveTime(now) ?? 0)
  return Math.max(now.fullFor / millisOf(now), (received * held) / millisOf(now) / maxInFlight)
}

/** How many groups had something in flight, on average, as the intervals ended. */
export const activeGroups = ({ recent }: Lag): number =>
  recent.reduce((sum, { groupsInFlight }) => sum + groupsInFlight, 0) / Math.max(1, recent.length)

/** Messages of one id that failed again and again. */
export const repeated = ({ now }: Lag): ReadonlyArray<{ readonly messageId: string; readonly failures: number }> => {
  const counts = new Map<string, number>()
  for (const { messageId } of now.recentFailures) counts.set(messageId, (counts.get(messageId) ?? 0) + 1)
  return [...counts]
    .map(([messageId, failures]) => ({ messageId, failures }))
    .filter(({ failures }) => failures >= 3)
    .sort((a, b) => b.failures - a.failures)
}

/** From the end of a handler to the confirmed ack, its wait for others of its batch included. */
export const ackTime = ({ now }: Lag): number =>
  Math.max(
    0,
    (Histogram.mean(now.settled) ?? 0) - (Histogram.mean(now.waited) ?? 0) - (Histogram.mean(now.handler) ?? 0)
  )

/** The same without what is held for another reason: a call, and what gathers for it. */
export const confirmTime = (lag: Lag): number => {
  const call = Histogram.mean(lag.now.calls.ack) ?? 0
  return Math.min(ackTime(lag), 2 * call + 300)
}

/** In how many of the intervals calls waited for a connection: of those in which calls were made, not paused ones. */
export const connectionsFull = (recent: ReadonlyArray<Figures.Interval>): number => {
  const calling = recent.filter((interval) => interval.pausedFor < millisOf(interval) / 2)
  return (
    calling.filter(
      ({ connections }) => connections !== undefined && connections.waiting > 0 && connections.open >= connections.max
    ).length / Math.max(1, calling.length)
  )
}

/** In which part of the intervals a circuit was not closed. */
export const shut = ({ recent }: Lag): number =>
  recent.filter(({ stages }) => stages.some(({ circuit }) => circuit !== undefined && circuit !== "all")).length /
  Math.max(1, recent.length)

/** For which part of the time somebody or a circuit kept all from running: what ran says little of what would. */
export const stopped = (lag: Lag): number => Math.max(shut(lag), lag.now.pausedFor / millisOf(lag.now))

/** How near the queue is to what it allows in flight. */
export const windowFull = ({ inFlightLimit, now, samples }: Lag): number => {
  const recent = samples.filter(({ at }) => at >= now.from - 1)
  const inFlight = recent.reduce((sum, sample) => sum + sample.inFlight, 0) / Math.max(1, recent.length)
  return ramp(inFlight / inFlightLimit, 0.85, 0.95)
}

export const hottestShare = ({ recent, stuck }: Lag): number =>
  recent
    .flatMap(({ groups }) => groups)
    .filter(({ group }) => !stuck.some((other) => other.group === group))
    .reduce((most, { share }) => Math.max(most, share), 0)

/**
 * On an ordered queue: how much of its time the hottest group's turns take, where its messages wait for that and most
 * others do not; 0 otherwise.
 */
export const crowded = (lag: Lag): number => {
  const { now, workTime } = lag
  const waited = Histogram.mean(now.queued) ?? 0
  const most = Histogram.quantile(now.queued, 0.5) ?? 0
  if (!now.settings.ordered || workTime === undefined || waited < 1000 || most > waited / 4) return 0
  return (hottestShare(lag) * now.stats.received * (workTime + confirmTime(lag))) / millisOf(now)
}

/**
 * Where what is received had waited for a moment only and most of what waits is not received: whether that has its turns
 * here, one after the other. Then some of what is received had waited for long; of a group that somebody else holds none.
 */
export const takesTurns = ({ now }: Lag): number => {
  const longest = Histogram.quantile(now.queued, 0.995) ?? 0
  return ramp(longest, 10_000, 20_000) * ramp(longest / Math.max(1, Histogram.mean(now.queued) ?? 0), 3, 6)
}

/** Which part of the calls failed, for whatever reason that is not their rate. */
export const failingShare = ({ now: { failedCalls, stats } }: Lag): number =>
  failedCalls.transient / Math.max(1, stats.polls + stats.settleCalls + stats.extendCalls)

/** How slow calls are: slow at all, and slower than they were. */
export const slowness = ({ callTime, usualCallTime }: Lag): number =>
  ramp(callTime, 60, 200) * (usualCallTime === undefined ? 1 : ramp(callTime / Math.max(usualCallTime, 1), 1.1, 1.6))

/** On an ordered queue: where nearly all lose their leases, what lost its own still holds its group; 1 where all do. */
export const turnsLost = (lag: Lag): number => {
  const { acked, deadLettered, lost } = lag.now.stats
  return lag.now.settings.ordered ? ramp(lost / Math.max(1, lost + acked + deadLettered), 0.5, 0.9) : 0
}

/** Whether as much is received as the consumer's own rate allows. */
export const rateReached = ({ now: { seconds, settings, stats } }: Lag): number =>
  settings.rate === undefined ? 0 : ramp(stats.received / seconds / settings.rate, 0.8, 0.9)

/** Where leases are lost, work is done twice, and nobody knows what it takes once: 1 where none is. */
export const onceOnly = (lag: Lag): number => 1 - ramp(lostShare(lag), 0.03, 0.15)

/** Leases that could not be extended, since no call got through, are not too short: 1 where calls got through. */
export const callsGotThrough = (lag: Lag): number =>
  1 - Math.max(ramp(throttledShare(lag) + failingShare(lag), 0.05, 0.2), ramp(connectionsFull(lag.recent), 0, 0.4))
