/** What is worth naming though it takes little of the lag, or there is none: something is wrong all the same. */
import * as Histogram from "../../Histogram.js"
import {
  callsGotThrough,
  connectionsFull,
  cpuBound,
  crowded,
  failedShare,
  lostShare,
  repeated,
  strained,
  throttledShare,
  windowFull
} from "./evidence.js"
import type { Cause } from "./finding.js"
import type { Lag } from "./lag.js"
import { clamp } from "./readings.js"
import { noisiest } from "./tenants.js"

/** Which part of a cause the event loop explains as well: where it is full, of all that waits for it. */
export const explainedByCpu = (cause: Cause, lag: Lag): number =>
  cause === "SaturatedDownstream"
    ? strained(lag)
    : cause === "SlowHandler" || cause === "TooFewSlots"
      ? cpuBound(lag)
      : cause === "SlowCalls"
        ? cpuBound(lag) * clamp((4 * (lag.load?.delay ?? 0)) / Math.max(1, lag.callTime))
        : 0

/** What the attribution has found so far. */
interface Attributed {
  readonly byTime: number
  readonly byConcurrency: number
  readonly cpu: number
  /** Slots that what comes takes. */
  readonly enough: number
  /** Whether more slots would do nothing, from 0 to 1. */
  readonly full: number
  /** What would hold the consumer up next, by the slots that it would fall short by. */
  readonly next: ReadonlyArray<readonly [Cause, number]>
}

/** The causes, and the part of messages concerned or a small score. */
export const notableCauses = (
  lag: Lag,
  { byConcurrency, byTime, cpu, enough, full, next }: Attributed
): ReadonlyMap<Cause, number> => {
  const { arrivals, behind, excess, now, quick, throughput, usualArrivals = arrivals } = lag
  const notable = new Map<Cause, number>()
  const note = (cause: Cause, part: number) => {
    if (part > 0) notable.set(cause, clamp(part))
  }
  // Behind an open circuit heads wait as well.
  const shut = now.stages.some(({ circuit }) => circuit !== undefined && circuit !== "all")
  const waits = lag.visible >= 1
  const failedPart = failedShare(lag)
  // A batch that fails whole has failed once.
  const times = new Set(now.recentFailures.map(({ at }) => at)).size
  if (times >= 5 && failedPart >= 0.1) note("Retries", failedPart)
  // On an ordered queue one that fails again and again holds up its group, and is told of as that.
  else if (!now.settings.ordered && repeated(lag).some(({ failures }) => failures >= 4)) note("Retries", 0.05)
  const lostPart = lostShare(lag) * callsGotThrough(lag)
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
  if (waits && shut) note("CircuitOpen", 1)
  // One that takes long and holds up nobody may yet end.
  const [stuck] = lag.stuck
  if (stuck !== undefined && !shut && (waits || stuck.age >= 60_000)) note("StuckGroup", waits ? 0.5 : 0.1)
  const tenant = noisiest(now)
  if (tenant !== undefined && (behind || lag.material)) note("NoisyTenant", 0.3 * tenant.time)
  // Not behind yet: most are received at once, and one group's turns are taken all the time.
  if (!behind && crowded(lag) >= 1) note("HotGroup", 0.1)
  note("InFlightWindowFull", 0.5 * windowFull(lag))
  if (lag.material) note("ConnectionsExhausted", 0.3 * connectionsFull(lag.recent))
  // What is sure though something else weighs more.
  if (behind) {
    if (byTime >= 1.5) note("SlowHandler", 0.1 * (1 - cpu))
    note("CpuBound", 0.1 * cpu)
    for (const [cause, short] of next) {
      const explained = explainedByCpu(cause, lag)
      if (short > 0 && short >= (cause === "HotGroup" ? 0.03 : 0.1) * enough)
        note(cause, 0.1 * (1 - (cause === "TooFewSlots" ? Math.max(full, explained) : explained)))
    }
  }
  if (behind && quick !== undefined && byConcurrency >= 1.5)
    note("SaturatedDownstream", 0.1 * (1 - explainedByCpu("SaturatedDownstream", lag)))
  const clearsIn = excess / Math.max(throughput - Math.min(arrivals, usualArrivals), 1e-9)
  if (lag.material && excess >= 0.5 * lag.visible && clearsIn >= 15) note("ProducerBurst", excess / lag.visible / 2)
  return notable
}
