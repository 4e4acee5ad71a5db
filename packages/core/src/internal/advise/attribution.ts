/**
 * Where the slots' time went. All is counted in slots: so many were taken by useful work, so many stood idle for want of
 * messages, were taken by runs that failed, or by work that took longer than it used to. What is missing to the required
 * rate is shared out among the causes by what each took, so that the score of a cause is the part of the lag that it
 * explains.
 */
import { callsGotThrough, cpuBound, lostShare, onceOnly, rateReached, stopped } from "./evidence.js"
import type { Cause } from "./finding.js"
import { idleCauses } from "./idle.js"
import type { Lag } from "./lag.js"
import { latent } from "./latent.js"
import { explainedByCpu, notableCauses } from "./notable.js"
import { clamp, millisOf, ramp } from "./readings.js"
import { saturation, stretched } from "./stretch.js"

export interface Attribution {
  /** Slots that each cause takes, and those that there would have to be besides. */
  readonly slots: ReadonlyMap<Cause, number>
  /** Causes that are worth naming though they take little: something is wrong whether or not the queue is behind. */
  readonly notable: ReadonlyMap<Cause, number>
  /** Slots that the required rate takes, those that what comes takes, and a message's slot time at its best. */
  readonly needed: number
  readonly enough: number
  readonly best: number
}

/** What hands out so much and no more, whether what it is spent on succeeds or not. */
const spent: ReadonlySet<Cause> = new Set(["RateLimited", "ConnectionsExhausted", "IntakeTooSmall"])

export const attribute = (lag: Lag): Attribution => {
  const { excess, handlerTime, hung, now, required, running, slots, throughput, workTime } = lag
  const taken = new Map<Cause, number>()
  const add = (cause: Cause, n: number) => {
    if (n > 0) taken.set(cause, (taken.get(cause) ?? 0) + n)
  }
  const sum = () => [...taken.values()].reduce((all, n) => all + n, 0)

  const { byTime, ...over } = stretched(lag)
  // Handlers that lost their leases are not among those measured, which are the quick ones then.
  const byConcurrency = over.byConcurrency ** (1 - ramp(lostShare(lag), 0.05, 0.2))
  const stretch = byTime * byConcurrency
  // With nothing measured the slots are taken to suffice.
  const best =
    workTime === undefined ? (lag.usualTime ?? (1000 * slots) / Math.max(required, 1e-9)) : workTime / stretch
  const needed = (required * best) / 1000
  // What comes day in, day out, without a burst and without the backlog.
  const { sustained } = lag
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
    ["SaturatedDownstream", byConcurrency]
  ]
  const weight = factors.reduce((sum, [, factor]) => sum + Math.log(Math.max(1, factor)), 0)
  const useful = (running - lost - failed) / stretch
  for (const [cause, factor] of factors) {
    if (weight > 0) add(cause, ((running - useful) * Math.log(Math.max(1, factor))) / weight)
  }
  // Where slots stand idle, what keeps them so would keep those idle too that there are too few of.
  const busy = ramp((running + hung) / slots, 0.6, 0.85)
  let idle = lag.idle + (1 - busy) * Math.max(0, enough - slots)
  // Where a rate holds it up, slow runs cost what would be short of slots without it.
  const limited = rateReached(lag)
  const slow = (taken.get("SlowHandler") ?? 0) + (taken.get("SaturatedDownstream") ?? 0)
  const short = Math.max(0, (sustained * (workTime ?? best)) / 1000 - slots) / stretch
  const kept = slow === 0 ? 1 : 1 - limited * (1 - Math.min(1, short / slow))
  for (const cause of ["SlowHandler", "SaturatedDownstream"] as const) {
    const own = taken.get(cause)
    if (own !== undefined) taken.set(cause, own * kept)
  }
  // A pause stops all for a part of the time, what else there is slows the rest: of what both lose, each is given as much
  // as its factor counts for. Where it leaves no rest, nobody knows of anything else.
  const paused = clamp(now.pausedFor / millis)
  const working = running / Math.max(running + idle, 1e-9)
  const pause = -Math.log(Math.max(0.01, 1 - paused))
  const rest = -Math.log(clamp(Math.max(0.01, working / Math.max(1 - paused, 0.01)))) * ramp(1 - paused, 0.02, 0.15)
  const byPause = pause === 0 ? 0 : (idle * pause) / (pause + rest)
  add("Paused", byPause)
  idle -= byPause
  // What fails would fail in the idle slots too, and spends tokens, connections and permits like any other; so does what comes
  // again for a lost lease. They multiply with what keeps slots idle.
  const idling = Math.log((running + idle) / Math.max(running, 0.01 * slots))
  const wouldTake = (cause: Cause, share: number): number => {
    const own = taken.get(cause) ?? 0
    const factor = -Math.log(Math.max(0.01, 1 - share))
    return factor <= 0 ? 0 : clamp((((own + idle) * factor) / (factor + idling) - own) / Math.max(idle, 1e-9))
  }
  const wouldFail = wouldTake("Retries", failed / Math.max(running - lost, 1e-9)) * (1 - ramp(stopped(lag), 0, 0.3))
  const wouldLose =
    wouldTake("VisibilityTimeoutTooShort", now.stats.lost / Math.max(1, now.stats.received)) * callsGotThrough(lag)
  for (const [cause, part] of idleCauses(lag, best, enough)) {
    const failed = spent.has(cause) ? wouldFail : 0
    const again = spent.has(cause) ? (1 - failed) * wouldLose : 0
    add(cause, idle * part * (1 - failed - again))
    add("Retries", idle * part * failed)
    add("VisibilityTimeoutTooShort", idle * part * again)
    idle *= 1 - part
  }

  // More slots at a downstream that is full do nothing.
  const full = saturation(lag, byConcurrency)
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
  const ofBurst = Math.min(burst, Math.max(0, needed - (throughput * best) / 1000))
  // Where it does not become less, what keeps it is what else there is.
  const stays = sum() < 0.1 * slots ? 0 : lag.stays * Math.max(0, ofBurst - 0.5 * sum())
  add("ProducerBurst", ofBurst - stays)
  // More slots would clear the backlog in time: so far as nothing else has let it grow.
  const others = sum() - (taken.get("TooFewSlots") ?? 0)
  const few = onceOnly(lag) * busy * Math.max(0, needed - Math.max(slots, enough) - burst)
  const clearing = few * (1 - ramp(others / slots, 0.05, 0.3))
  add("SaturatedDownstream", clearing * full)
  add("TooFewSlots", clearing * (1 - full))

  const cpu = cpuBound(lag)
  let byCpu = idle * cpu
  for (const [cause, own] of [...taken]) {
    const part = explainedByCpu(cause, lag)
    byCpu += own * part
    taken.set(cause, own * (1 - part))
  }
  add("CpuBound", byCpu)

  const notable = notableCauses(lag, { byTime, byConcurrency, cpu, enough, full, next })
  return { slots: taken, notable, needed, enough, best }
}
