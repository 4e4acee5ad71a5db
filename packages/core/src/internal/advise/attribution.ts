import type { Cause } from "../../Diagnosis.js"
import type * as Figures from "../../Figures.js"
import * as Histogram from "../../Histogram.js"
import { receiveTime } from "./calls.js"
import { quickest } from "./company.js"
import { clamp, millisOf, ramp } from "./known.js"
import { type Lag, meanTime } from "./lag.js"
import { asManyBy } from "./probes.js"

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
  /** Slots that the required rate takes, those that what comes takes, and a message's slot time at its best. */
  readonly needed: number
  readonly enough: number
  readonly best: number
  readonly cpu: number
}

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

/** What handlers took as a rule that had about so many beside them. */
const usualAt = ({ well }: Lag, running: number): number | undefined => {
  const alike = well
    .flatMap(({ byRunning }) => byRunning)
    .filter((level) => level.running >= 0.7 * running && level.running <= 1.5 * running)
  const handlers = alike.reduce((sum, level) => sum + level.handlers, 0)
  return handlers < 8 ? undefined : alike.reduce((sum, level) => sum + level.time, 0) / handlers
}

/** What company adds to what time explains: the quickest of many means is quick by chance too, so only what is plain. */
const beside = (overQuick: number, byTime: number): number =>
  byTime > 1 && overQuick < 1.5 * byTime ? 1 : Math.max(1, overQuick / byTime)

/** How much longer a handler takes now than before: by time passed, and by how many run beside it. */
export const stretched = (lag: Lag): { readonly byTime: number; readonly byCompany: number } => {
  const { handlerTime, norm, now, perSlot, quick, running, several, usualTime } = lag
  const none = { byTime: 1, byCompany: 1 }
  if (handlerTime === undefined) return none
  const { error, mean } = meanTime(now.handler)
  const surely = handlerTime * Math.max(1 - (2 * error) / Math.max(mean, 1e-9), 0.5)
  const overUsual = usualTime === undefined || surely < 1.15 * usualTime ? 1 : handlerTime / usualTime
  const overQuick = quick === undefined || surely < 1.15 * quick.atMost ? 1 : handlerTime / quick.time
  if (norm === undefined || usualTime === undefined) return { byTime: 1, byCompany: overQuick }
  if (overUsual === 1 && overQuick === 1) return none
  // The same company before and now tells time from company at once.
  const then = several ? undefined : usualAt(lag, running * perSlot)
  if (then !== undefined) {
    const byTime = Math.min(overUsual, surely < 1.15 * then ? 1 : handlerTime / then)
    return { byTime, byCompany: beside(overQuick, byTime) }
  }
  // Otherwise by the rate. A downstream that is full gives as much to many as it gave to few, or to more; one that gives
  // less than it did as a rule has changed.
  const before = norm.stats.handled / norm.seconds
  const rate = now.stats.handled / now.seconds
  const chance = 1 / Math.sqrt(Math.max(1, now.stats.handled))
  if (rate < (0.97 - chance) * before) return { byTime: overUsual, byCompany: beside(overQuick, overUsual) }
  // So does company that changes meanwhile.
  const near = several ? undefined : quickest(now.byRunning, running * perSlot)
  if (near !== undefined && near.time >= 0.85 * handlerTime) return { byTime: overUsual, byCompany: 1 }
  return { byTime: 1, byCompany: Math.max(overQuick, overUsual) }
}

/** From the end of a handler to the confirmed ack, its wait for company included. */
export const ackTime = ({ now }: Lag): number =>
  Math.max(
    0,
    (Histogram.mean(now.settled) ?? 0) - (Histogram.mean(now.waited) ?? 0) - (Histogram.mean(now.handler) ?? 0)
  )

/** Of a message's time with the calls that receive and ack it, the calls' part; all, where permits would do without it. */
const ofCalls = ({ callTime, handlerTime = 0, now }: Lag, enough: number): number => {
  const part = callTime / Math.max(1, callTime + handlerTime)
  const wouldDo = ramp(part, 0.1, 0.4) * ramp(now.stats.maxInFlight / Math.max(1, enough), 1, 1.3)
  return ramp(callTime, 30, 100) * (part + (1 - part) * wouldDo)
}

/** In how many of the intervals calls waited for a connection: of those in which calls were made, not paused ones. */
const connectionsFull = (recent: ReadonlyArray<Figures.Interval>): number => {
  const calling = recent.filter((interval) => interval.pausedFor < millisOf(interval) / 2)
  return (
    calling.filter(
      ({ connections }) => connections !== undefined && connections.waiting > 0 && connections.open >= connections.max
    ).length / Math.max(1, calling.length)
  )
}

/** How near the queue is to what it allows in flight. */
const windowFull = ({ inFlightLimit, now, samples }: Lag): number => {
  const recent = samples.filter(({ at }) => at >= now.from - 1)
  const inFlight = recent.reduce((sum, sample) => sum + sample.inFlight, 0) / Math.max(1, recent.length)
  return ramp(inFlight / inFlightLimit, 0.85, 0.95)
}

const hottestShare = ({ recent, stuck }: Lag): number =>
  recent
    .flatMap(({ groups }) => groups)
    .filter(({ group }) => !stuck.some((other) => other.group === group))
    .reduce((most, { share }) => Math.max(most, share), 0)

/** Shares out idle slots, the surest cause first; each takes a part of what those before it have left. */
const idleCauses = (lag: Lag, best: number, enough: number): Array<readonly [Cause, number]> => {
  const { now, recent, slots, stuck } = lag
  const { maxInFlight } = now.stats
  const { ordered } = now.settings
  const idle = Math.max(0.01, lag.idle / slots)
  const partOfIdle = (millis: number) => clamp(millis / millisOf(now) / idle)
  const full = ramp(occupancy(lag), 0.5, 0.75)
  const shut = recent.filter(({ stages }) =>
    stages.some(({ circuit }) => circuit !== undefined && circuit !== "all")
  ).length
  // Messages wait in the queue and it gives none, or they wait here for their turn.
  const answered = Math.max(1, now.stats.polls - now.stats.receiveErrors)
  const withheld = (1 - full) * (1 - now.fullReceives / answered)
  const waiting = (Histogram.mean(now.waited) ?? 0) * now.waited.count
  // On a queue without order they wait for company too, as for a batch; at a stage only for a lane.
  const inLanes = ramp((ordered ? waiting / millisOf(now) : lag.waiting) / maxInFlight, 0.1, 0.4)
  const groups = Math.max(0, activeGroups(lag) - stuck.length)
  const few = ordered ? 1 - ramp(groups / Math.min(slots, maxInFlight), 0.8, 1) : 1
  const hottest = hottestShare(lag)
  const calls = ofCalls(lag, enough)
  // Whether the turns of one group are taken all the time.
  const hot = ramp((hottest * now.stats.received * (best + ackTime(lag))) / millisOf(now), 0.4, 0.8)
  const confirming = 2 * (Histogram.mean(now.calls.ack) ?? 0)
  const held = ramp((ackTime(lag) - confirming) / Math.max(1, Histogram.mean(now.settled) ?? 0), 0.2, 0.6)
  const ofStuck = stuck.reduce((sum, { inFlight }) => sum + inFlight, 0) / maxInFlight
  const failing =
    now.failedCalls.transient / Math.max(1, now.stats.polls + now.stats.settleCalls + now.stats.extendCalls)
  const short = (brought(lag) ?? now.settings.batchSize) < 0.7 * now.settings.batchSize
  return [
    ["CircuitOpen", shut / Math.max(1, recent.length)],
    // A poller that was refused begins anew with one call at a time: what comes in after it is held up too.
    [
      "Throttled",
      Math.max(partOfIdle(now.throttledFor), full * clamp(2 * throttledShare(lag)), ramp(throttledShare(lag), 0.1, 0.4))
    ],
    [
      "RateLimited",
      now.settings.rate === undefined ? 0 : ramp(now.stats.received / now.seconds / now.settings.rate, 0.8, 0.9)
    ],
    ["InFlightWindowFull", windowFull(lag)],
    [
      "StuckGroup",
      stuck.length === 0 ? 0 : Math.max(ramp(ofStuck, 0.3, 0.9), withheld * (hottest >= 0.3 && groups >= 1 ? 0.5 : 1))
    ],
    ["HotGroup", few * Math.max(ordered ? hot : 0, Math.max(inLanes, ordered ? withheld : 0) * (1 - calls))],
    // Permits of what failed and is held for its turn again.
    ["Retries", full * ramp(failedShare(lag), 0.05, 0.3) * held],
    ["SlowCalls", Math.max(partOfIdle(now.failingFor), ramp(failing, 0.1, 0.4))],
    ["ConnectionsExhausted", ramp(connectionsFull(recent), 0, 0.3)],
    ["SlowCalls", calls],
    ["IntakeTooSmall", short ? 1 : full]
  ]
}

/** Where leases are lost, work is done twice, and nobody knows what it takes once: 1 where none is. */
const onceOnly = (lag: Lag): number => 1 - ramp(lostShare(lag), 0.03, 0.15)

/**
 * What would hold the consumer up next, were the rest mended: with what comes, and by what is known of it, the slots
 * that it would fall short by.
 */
const latent = (lag: Lag, sustained: number, best: number): ReadonlyArray<readonly [Cause, number]> => {
  const { now, slots } = lag
  const needed = (sustained * best) / 1000
  /** The part of what comes that is above so much, once it is clearly so. */
  const above = (demand: number, most: number) =>
    demand <= most ? 0 : (1 - most / demand) * ramp(demand / most, 1, 1.2)
  const chain = best + ackTime(lag)
  const receiving = lag.callTime - (Histogram.mean(now.calls.ack) ?? 0)
  const permits = (sustained * (chain + receiving)) / 1000
  const short = needed * above(permits, now.stats.maxInFlight)
  const calls = ramp(lag.callTime, 30, 100) * (1 - best / Math.max(1, best + lag.callTime))
  // A call that waits for a connection takes long for that.
  const waits = ramp(connectionsFull(lag.recent), 0, 0.4)
  const hottest = hottestShare(lag)
  const ofHottest = now.settings.ordered ? hottest * above((hottest * sustained * chain) / 1000, 1) : 0
  return [
    ["RateLimited", now.settings.rate === undefined ? 0 : needed * above(sustained, now.settings.rate)],
    ["TooFewSlots", needed * above(needed, slots) * onceOnly(lag)],
    ["SlowCalls", short * calls * (1 - waits)],
    ["ConnectionsExhausted", short * calls * waits],
    ["IntakeTooSmall", short * (1 - calls)],
    ["HotGroup", needed * ofHottest]
  ]
}

/** Which part of a cause a full event loop explains as well: all that waits for it. */
const explainedByCpu = (cause: Cause, { callTime, load }: Lag): number =>
  cause === "SlowHandler" || cause === "SaturatedDownstream" || cause === "TooFewSlots"
    ? 1
    : cause === "SlowCalls"
      ? clamp((4 * (load?.delay ?? 0)) / Math.max(1, callTime))
      : 0

/** Whether more at once only make each slower: 1 where the time grows as they do, 0 where it does not. */
const saturation = ({ handlerTime, perSlot, probes, quick, running, several }: Lag, byCompany: number): number =>
  asManyBy(probes, running) !== undefined
    ? 1
    : several
      ? ramp(byCompany, 1.2, 1.8)
      : quick === undefined || handlerTime === undefined || byCompany <= 1 || running * perSlot <= quick.running
        ? 0
        : ramp(Math.log(byCompany) / Math.log((running * perSlot) / quick.running), 0.3, 0.7)

export const attribute = (lag: Lag): Attribution => {
  const { arrivals, behind, excess, handlerTime, hung, now, quick, required, running, slots, throughput, workTime } =
    lag
  const taken = new Map<Cause, number>()
  const add = (cause: Cause, n: number) => {
    if (n > 0) taken.set(cause, (taken.get(cause) ?? 0) + n)
  }
  const sum = () => [...taken.values()].reduce((all, n) => all + n, 0)

  const { byTime, ...over } = stretched(lag)
  // Handlers that lost their leases are not among those measured, which are the quick ones then.
  const byCompany = over.byCompany ** (1 - ramp(lostShare(lag), 0.05, 0.2))
  const stretch = byTime * byCompany
  // With nothing measured the slots are taken to suffice.
  const best = workTime === undefined ? (1000 * slots) / Math.max(required, 1e-9) : workTime / stretch
  const needed = (required * best) / 1000
  // What comes day in, day out, without a burst and without the backlog.
  const { sustained } = lag
  const usualArrivals = lag.usualArrivals ?? arrivals
  const enough = (sustained * best) / 1000

  const millis = millisOf(now)
  const lost =
    now.stats.lost === 0
      ? 0
      : Math.min(
          Math.max(0, running - now.handler.sum / millis),
          (now.stats.lost * now.settings.leaseDuration) / millis
        ) || Math.min(running, (now.stats.lost * (handlerTime ?? 0)) / millis)
  const failed = now.handler.sum === 0 ? 0 : ((running - lost) * now.failedTime) / now.handler.sum
  add("StuckGroup", hung)
  // They multiply: of what is lost each takes as much as its factor counts for.
  const factors: ReadonlyArray<readonly [Cause, number]> = [
    ["VisibilityTimeoutTooShort", running / Math.max(running - lost, 0.01 * running)],
    ["Retries", (running - lost) / Math.max(running - lost - failed, 0.01 * running)],
    ["SlowHandler", byTime],
    ["SaturatedDownstream", byCompany]
  ]
  const weight = factors.reduce((sum, [, factor]) => sum + Math.log(Math.max(1, factor)), 0)
  const useful = (running - lost - failed) / stretch
  for (const [cause, factor] of factors) {
    if (weight > 0) add(cause, ((running - useful) * Math.log(Math.max(1, factor))) / weight)
  }
  // Where slots stand idle, what keeps them so would keep those idle too that there are too few of.
  const busy = ramp((running + hung) / slots, 0.6, 0.85)
  let idle = lag.idle + (1 - busy) * Math.max(0, enough - slots)
  // A pause stops all for a part of the time, what else there is slows the rest: of what both lose, each is given as much
  // as its factor counts for.
  const paused = clamp(now.pausedFor / millis)
  const working = running / Math.max(running + idle, 1e-9)
  const pause = -Math.log(Math.max(0.01, 1 - paused))
  const rest = -Math.log(clamp(Math.max(0.01, working / Math.max(1 - paused, 0.01))))
  const byPause = pause === 0 ? 0 : (idle * pause) / (pause + rest)
  add("Paused", byPause)
  idle -= byPause
  for (const [cause, part] of idleCauses(lag, best, enough)) {
    add(cause, idle * part)
    idle *= 1 - part
  }

  // More slots at a downstream that is full do nothing.
  const full = saturation(lag, byCompany)
  const next = latent(lag, sustained, best)
  for (const [cause, short] of next) {
    const more = short - (taken.get(cause) ?? 0)
    if (cause !== "TooFewSlots") add(cause, more)
    else {
      add("SaturatedDownstream", more * full)
      add("TooFewSlots", more * (1 - full))
    }
  }

  // What came beyond the usual explains what it demands beyond the usual.
  const without = Math.min(required, sustained + ((lag.visible - excess) * 1000) / lag.drainWithin)
  const burst = excess < 0.3 * lag.visible ? 0 : ((required - without) * best) / 1000
  add("ProducerBurst", Math.min(burst, Math.max(0, needed - (throughput * best) / 1000)))
  // More slots would clear the backlog in time: so far as nothing else has let it grow.
  const others = sum() - (taken.get("TooFewSlots") ?? 0)
  const few = onceOnly(lag) * busy * Math.max(0, needed - Math.max(slots, enough) - burst)
  const clearing = few * (1 - others / Math.max(others + (taken.get("TooFewSlots") ?? 0), others + 0.2 * slots, 1e-9))
  add("SaturatedDownstream", clearing * full)
  add("TooFewSlots", clearing * (1 - full))

  const cpu = cpuBound(lag)
  if (cpu > 0) {
    let moved = idle * cpu
    for (const [cause, own] of [...taken]) {
      const part = cpu * explainedByCpu(cause, lag)
      moved += own * part
      taken.set(cause, own * (1 - part))
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
  else if (now.loopHeldBy !== undefined && 2 * now.loopHeldBy.millis > leaseDuration) {
    note("VisibilityTimeoutTooShort", Math.max(lostPart, 0.05))
  } else if (
    !heartbeat &&
    now.settled.count >= 20 &&
    (Histogram.quantile(now.settled, 0.99) ?? 0) >= 0.8 * leaseDuration
  ) {
    note("VisibilityTimeoutTooShort", 0.05)
  }
  if (now.failedCalls.throttled >= 3 && throttledShare(lag) >= 0.05) note("Throttled", throttledShare(lag))
  if (now.paused && waits) note("Paused", 1)
  if (waits && now.stages.some(({ circuit }) => circuit !== undefined && circuit !== "all")) note("CircuitOpen", 1)
  if (lag.stuck.length > 0) note("StuckGroup", waits ? 0.5 : 0.1)
  note("InFlightWindowFull", 0.5 * windowFull(lag))
  if (lag.material) note("ConnectionsExhausted", 0.3 * connectionsFull(lag.recent))
  // What is sure though something else weighs more.
  if (behind) {
    if (byTime >= 1.5) note("SlowHandler", 0.1 * (1 - cpu))
    note("CpuBound", 0.1 * cpu)
    for (const [cause, short] of next) {
      const explained = cpu * explainedByCpu(cause, lag)
      if (short > 0 && short >= (cause === "HotGroup" ? 0.03 : 0.1) * enough)
        note(cause, 0.1 * (1 - (cause === "TooFewSlots" ? Math.max(full, explained) : explained)))
    }
  }
  if (behind && quick !== undefined && byCompany >= 1.5) note("SaturatedDownstream", 0.1 * (1 - cpu))
  const clearsIn = excess / Math.max(throughput - Math.min(arrivals, usualArrivals), 1e-9)
  if (lag.material && excess >= 0.5 * lag.visible && clearsIn >= 15) note("ProducerBurst", excess / lag.visible / 2)
  return { slots: taken, notable, needed, enough, best, cpu }
}
