import type { Cause } from "../Diagnosis.js"
import type * as Figures from "../Figures.js"
import * as Histogram from "../Histogram.js"
import { type Lag, meanTime } from "./lag.js"

/**
 * Where the slots' time went. All is counted in slots: so many were taken by useful work, so many stood idle for want of
 * messages, were taken by runs that failed, or by work that took longer than it used to. What is missing to the required
 * rate is shared out among the causes by what each took, so that the score of a cause is the part of the lag that it
 * explains.
 */
export interface Attribution {
  /** Slots that each cause takes, and those that there would have to be besides. */
  readonly slots: ReadonlyMap<Cause, number>
  /** Causes that are worth naming though they take little: something is wrong whether or not the queue is behind. */
  readonly notable: ReadonlyMap<Cause, number>
  /** Slots that the required rate takes, and a handler's time at its best. */
  readonly needed: number
  readonly best: number
  readonly cpu: number
}

const clamp = (part: number): number => Math.min(1, Math.max(0, part))

/** From 0 at `from` to 1 at `to`: no threshold that noise could trip over. */
const ramp = (value: number, from: number, to: number): number => clamp((value - from) / (to - from))

const millisOf = ({ seconds }: Figures.Interval): number => seconds * 1000

export const cpuBound = ({ load }: Lag): number =>
  load === undefined ? 0 : Math.max(ramp(load.utilization, 0.8, 0.95), ramp(load.delay, 30, 150))

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
  const held = (Histogram.mean(now.settled) ?? 0) + (Histogram.mean(now.calls.receive) ?? 0)
  return Math.max(now.fullFor / millisOf(now), (received * held) / millisOf(now) / maxInFlight)
}

/** From which age on a head is stuck, in milliseconds: far beyond what handlers take. */
export const stuckAfter = ({ before, now, usualTime }: Lag): number =>
  Math.max(30_000, 10 * (usualTime ?? Histogram.quantile((before ?? now).handler, 0.5) ?? 0))

export interface Stuck extends Figures.Group {
  readonly age: number
  readonly failures: number
}

/** Groups whose head does not get done: it has been here too long, or it has failed again and again. */
export const stuckGroups = (lag: Lag): ReadonlyArray<Stuck> => {
  const { earlier, now } = lag
  const failures = [...earlier, ...lag.intervals.filter(({ to }) => to > (earlier.at(-1)?.to ?? 0))].flatMap(
    ({ recentFailures }) => recentFailures
  )
  return now.groups
    .map((group) => {
      const ofHead = failures.filter(({ messageId }) => messageId === group.head.messageId)
      const since = Math.min(group.head.receivedAt, ...ofHead.map(({ at }) => at))
      return { ...group, age: now.to - since, failures: ofHead.length }
    })
    .filter(({ age, failures, head }) => age >= stuckAfter(lag) && (head.running || failures >= 2 || head.attempt > 1))
    .sort((a, b) => b.age - a.age)
}

/** How many groups had something in flight, on average, as the intervals ended. */
export const activeGroups = ({ earlier, intervals }: Lag): number => {
  const recent = intervals.slice(earlier.length)
  return recent.reduce((sum, { groupsInFlight }) => sum + groupsInFlight, 0) / Math.max(1, recent.length)
}

/** Messages of one id that failed again and again. */
export const repeated = ({ now }: Lag): ReadonlyArray<{ readonly messageId: string; readonly failures: number }> => {
  const counts = new Map<string, number>()
  for (const { messageId } of now.recentFailures) counts.set(messageId, (counts.get(messageId) ?? 0) + 1)
  return [...counts]
    .map(([messageId, failures]) => ({ messageId, failures }))
    .filter(({ failures }) => failures >= 3)
    .sort((a, b) => b.failures - a.failures)
}

export const connectionsFull = ({ now: { connections } }: Lag): boolean =>
  connections !== undefined && (connections.waiting > 0 || connections.open >= connections.max)

/** What handlers took before that had about so many beside them: over all that is known, or in its first half. */
const usualAt = ({ earlier }: Lag, running: number): number | undefined => {
  const of = (intervals: ReadonlyArray<Figures.Interval>) => {
    const alike = intervals.flatMap(({ byRunning }) =>
      byRunning.filter((level) => level.running >= 0.7 * running && level.running <= 1.5 * running)
    )
    const handlers = alike.reduce((sum, level) => sum + level.handlers, 0)
    return handlers < 8 ? [] : [alike.reduce((sum, level) => sum + level.time, 0) / handlers]
  }
  const means = [...of(earlier), ...of(earlier.slice(0, Math.ceil(earlier.length / 2)))]
  return means.length === 0 ? undefined : Math.min(...means)
}

/** How much longer a handler takes now than before: by time passed, and by how many run beside it. */
export const stretched = (lag: Lag): { readonly byTime: number; readonly byCompany: number } => {
  const { before, handlerTime, now, quick, running, usualTime } = lag
  const none = { byTime: 1, byCompany: 1 }
  if (handlerTime === undefined) return none
  const { error } = meanTime(now.handler)
  const surely = Math.max(handlerTime - 2 * error, handlerTime / 2)
  const overUsual = usualTime === undefined || surely < 1.15 * usualTime ? 1 : handlerTime / usualTime
  const overQuick = quick === undefined || surely < 1.15 * quick.atMost ? 1 : handlerTime / quick.time
  if (before === undefined) return { byTime: 1, byCompany: overQuick }
  // The same company before and now tells time from company at once.
  const then = usualAt(lag, running)
  if (then !== undefined) {
    const byTime = Math.min(overUsual, surely < 1.15 * then ? 1 : handlerTime / then)
    return { byTime, byCompany: Math.max(1, overQuick / byTime) }
  }
  // Otherwise by the rate: more at once at a downstream that is full give the same rate, at one that is slow a lower one.
  const rateBefore = Math.max(...lag.earlier.map(({ handler, seconds }) => handler.count / seconds))
  const rateNow = now.handler.count / now.seconds
  return rateNow < 0.85 * rateBefore
    ? { byTime: overUsual, byCompany: Math.max(1, overQuick / overUsual) }
    : { byTime: 1, byCompany: Math.max(overQuick, overUsual) }
}

/** Shares out idle slots, the surest cause first; each takes a part of what those before it have left. */
const idleCauses = (lag: Lag): Array<readonly [Cause, number]> => {
  const { callTime, handlerTime, intervals, last, now, slots } = lag
  const recent = intervals.slice(lag.earlier.length)
  const idle = Math.max(0.01, 1 - lag.running / slots)
  const partOfIdle = (millis: number) => clamp(millis / millisOf(now) / idle)
  const throttledCalls = throttledShare(lag)
  const full = occupancy(lag) >= 0.7
  const shut = recent.filter(({ stages }) =>
    stages.some(({ circuit }) => circuit !== undefined && circuit !== "all")
  ).length
  const stuck = stuckGroups(lag)
  const groups = Math.max(0, activeGroups(lag) - stuck.length)
  const few = now.settings.ordered && groups < 0.9 * Math.min(slots, now.stats.maxInFlight)
  const lanes = !now.settings.ordered && lag.waiting >= now.stats.maxInFlight / 3
  const ofCalls = ramp(callTime, 30, 100) * (callTime / Math.max(1, callTime + (handlerTime ?? 0)))
  const hottest = Math.max(
    0,
    ...now.groups.filter((group) => !stuck.some((s) => s.group === group.group)).map((g) => g.share)
  )
  const windowFull = last !== undefined && last.inFlight >= 0.9 * lag.inFlightLimit
  const batch = Math.min(now.settings.batchSize, now.stats.maxInFlight)
  const short = (brought(lag) ?? batch) < 0.7 * now.settings.batchSize
  return [
    ["Paused", partOfIdle(now.pausedFor)],
    ["CircuitOpen", shut / Math.max(1, recent.length)],
    ["Throttled", Math.max(partOfIdle(now.throttledFor), full ? clamp(2 * throttledCalls) : 0)],
    [
      "RateLimited",
      now.settings.rate !== undefined && now.stats.received / now.seconds >= 0.85 * now.settings.rate ? 1 : 0
    ],
    ["InFlightWindowFull", windowFull ? 1 : 0],
    ["StuckGroup", stuck.length === 0 ? 0 : hottest >= 0.3 && groups >= 1 ? 0.5 : 1],
    ["HotGroup", few || lanes ? 1 - ofCalls : 0],
    ["SlowCalls", partOfIdle(now.failingFor)],
    ["ConnectionsExhausted", connectionsFull(lag) ? Math.max(0.7, ofCalls) : 0],
    ["SlowCalls", ofCalls],
    ["IntakeTooSmall", full || short ? 1 : 0]
  ]
}

/** What a full event loop explains as well: all that waits for it. */
const mayBeCpu: ReadonlyArray<Cause> = ["SlowHandler", "SaturatedDownstream", "TooFewSlots", "SlowCalls"]

export const attribute = (lag: Lag): Attribution => {
  const { arrivals, behind, excess, handlerTime, now, quick, required, running, slots, throughput, usualArrivals } = lag
  const taken = new Map<Cause, number>()
  const add = (cause: Cause, n: number) => {
    if (n > 0) taken.set(cause, (taken.get(cause) ?? 0) + n)
  }

  const { byCompany, byTime } = stretched(lag)
  const stretch = byTime * byCompany
  // With nothing measured the slots are taken to suffice.
  const best = handlerTime === undefined ? (1000 * slots) / Math.max(required, 1e-9) : handlerTime / stretch
  const needed = (required * best) / 1000

  const millis = millisOf(now)
  const lost =
    now.stats.lost === 0
      ? 0
      : Math.min(
          Math.max(0, running - now.handler.sum / millis),
          (now.stats.lost * now.settings.leaseDuration) / millis
        ) || Math.min(running, (now.stats.lost * (handlerTime ?? 0)) / millis)
  const failed = now.handler.sum === 0 ? 0 : ((running - lost) * now.failedTime) / now.handler.sum
  const stretchedBy = (running - lost - failed) * (1 - 1 / stretch)
  const weight = Math.log(byTime) + Math.log(byCompany)

  add("VisibilityTimeoutTooShort", lost)
  add("Retries", failed)
  if (weight > 0) {
    add("SlowHandler", (stretchedBy * Math.log(byTime)) / weight)
    add("SaturatedDownstream", (stretchedBy * Math.log(byCompany)) / weight)
  }
  let idle = Math.max(0, slots - running)
  for (const [cause, part] of idleCauses(lag)) {
    add(cause, idle * part)
    idle *= 1 - part
  }

  // What came beyond the usual explains what it demands beyond the usual.
  const without =
    usualArrivals === undefined
      ? required
      : Math.min(required, Math.min(arrivals, usualArrivals * 1.1) + ((lag.visible - excess) * 1000) / lag.drainWithin)
  const burst = excess < 0.3 * lag.visible ? 0 : ((required - without) * best) / 1000
  add("ProducerBurst", Math.min(burst, Math.max(0, needed - (throughput * best) / 1000)))
  // More slots at a downstream that is full do nothing.
  const few = Math.max(0, needed - slots - burst) * ramp(running / slots, 0.6, 0.85)
  const full = ramp(byCompany, 1.2, 1.8)
  add("SaturatedDownstream", few * full)
  add("TooFewSlots", few * (1 - full))

  const cpu = cpuBound(lag)
  if (cpu > 0) {
    let moved = idle * cpu
    for (const cause of mayBeCpu) {
      const own = taken.get(cause) ?? 0
      moved += own * cpu
      taken.set(cause, own * (1 - cpu))
    }
    add("CpuBound", moved)
  }

  const notable = new Map<Cause, number>()
  const note = (cause: Cause, part: number) => {
    if (part > 0) notable.set(cause, clamp(part))
  }
  const waits = lag.visible >= 1
  const failedPart = failedShare(lag)
  if (now.stats.failed >= 5 && failedPart >= 0.1) note("Retries", failedPart)
  else if (repeated(lag).some(({ failures }) => failures >= 4)) note("Retries", 0.05)
  const lostPart = lostShare(lag)
  const { heartbeat, leaseDuration } = now.settings
  if (now.stats.lost + now.stats.ackedLate >= 3 && lostPart >= 0.01) note("VisibilityTimeoutTooShort", lostPart)
  else if (
    !heartbeat &&
    now.settled.count >= 20 &&
    (Histogram.quantile(now.settled, 0.99) ?? 0) >= 0.8 * leaseDuration
  ) {
    note("VisibilityTimeoutTooShort", 0.05)
  }
  if (now.failedCalls.throttled >= 3 && throttledShare(lag) >= 0.05) note("Throttled", throttledShare(lag))
  if (now.paused && waits) note("Paused", 1)
  if (waits && now.stages.some(({ circuit }) => circuit !== undefined && circuit !== "all")) note("CircuitOpen", 1)
  const [stuck] = stuckGroups(lag)
  if (stuck !== undefined) note("StuckGroup", waits ? 0.5 : 0.1)
  if (lag.last !== undefined && lag.last.inFlight >= 0.9 * lag.inFlightLimit) note("InFlightWindowFull", 0.5)
  if (behind && quick !== undefined && byCompany >= 1.5) note("SaturatedDownstream", 0.1 * (1 - cpu))
  const clearing =
    usualArrivals === undefined ? 0 : excess / Math.max(throughput - Math.min(arrivals, usualArrivals), 1e-9)
  if (lag.material && excess >= 0.5 * lag.visible && clearing >= 15) note("ProducerBurst", excess / lag.visible / 2)
  return { slots: taken, notable, needed, best, cpu }
}
