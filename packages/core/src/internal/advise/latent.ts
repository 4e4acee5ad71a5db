/** What would hold the consumer up next. */
import * as Histogram from "../../Histogram.js"
import {
  confirmTime,
  connectionsFull,
  failingShare,
  hottestShare,
  onceOnly,
  slowness,
  stopped,
  throttledShare,
  turnsLost
} from "./evidence.js"
import type { Cause } from "./finding.js"
import { ofCalls } from "./idle.js"
import type { Lag } from "./lag.js"
import { ramp } from "./readings.js"

/**
 * What would hold the consumer up next, were the rest mended: with what comes, and by what is known of it, the slots
 * that it would fall short by.
 */
export const latent = (lag: Lag, sustained: number, best: number): ReadonlyArray<readonly [Cause, number]> => {
  const { now, slots } = lag
  const needed = (sustained * best) / 1000
  /** The part of what comes that is above so much, once it is clearly so. */
  const above = (demand: number, most: number) =>
    demand <= most ? 0 : (1 - most / demand) * ramp(demand / most, 1, 1.2)
  // Where hardly a slot works, nobody knows what they would lack.
  const used = ramp((lag.running + lag.hung) / slots, 0.05, 0.25)
  const chain = best + confirmTime(lag)
  const receiving = lag.callTime - (Histogram.mean(now.calls.ack) ?? 0)
  const permits = (sustained * (chain + receiving)) / 1000
  // Calls that are refused or fail hold permits for longer.
  const answered = 1 - ramp(throttledShare(lag) + failingShare(lag), 0.05, 0.3)
  // Behind an open circuit or a pause nobody knows.
  const ran = 1 - ramp(stopped(lag), 0.3, 0.6)
  const short = needed * above(permits, now.stats.maxInFlight) * answered * ran
  const calls = ofCalls(lag, best, needed)
  // A call that waits for a connection takes long for that.
  const waits = ramp(connectionsFull(lag.recent), 0, 0.4)
  const hottest = hottestShare(lag)
  // Nor is a group hot whose turns are long for slow calls alone.
  const turn = best + confirmTime(lag) * (1 - waits) * (1 - slowness(lag))
  const ofHottest = now.settings.ordered ? hottest * above((hottest * sustained * turn) / 1000, 1) : 0
  const ownRate = now.settings.rate === undefined ? 0 : needed * above(sustained, now.settings.rate)
  // With nothing measured nobody knows.
  if (lag.workTime === undefined) return [["RateLimited", ownRate]]
  return [
    ["RateLimited", ownRate],
    ["TooFewSlots", needed * above(needed, slots) * used * onceOnly(lag) * ran],
    ["SlowCalls", short * calls * (1 - waits)],
    ["ConnectionsExhausted", short * calls * waits],
    ["IntakeTooSmall", short * (1 - calls)],
    ["HotGroup", needed * ofHottest * (1 - turnsLost(lag))]
  ]
}
