/** Why slots stand idle though messages wait. */
import * as Histogram from "../../Histogram.js"
import {
  ackTime,
  activeGroups,
  brought,
  connectionsFull,
  failedShare,
  failingShare,
  hottestShare,
  lostShare,
  occupancy,
  rateReached,
  shut,
  slowness,
  takesTurns,
  throttledShare,
  turnsLost,
  windowFull
} from "./evidence.js"
import type { Cause } from "./finding.js"
import type { Lag } from "./lag.js"
import { clamp, millisOf, ramp } from "./readings.js"

/**
 * Of a message's time at its best with the calls that receive and ack it, the calls' part; all, where permits would do
 * without it.
 */
export const ofCalls = (lag: Lag, best: number, enough: number): number => {
  const { callTime, now } = lag
  const part = callTime / Math.max(1, callTime + best)
  const wouldDo = ramp(part, 0.1, 0.4) * ramp(now.stats.maxInFlight / Math.max(1, enough), 1, 1.3)
  return slowness(lag) * (part + (1 - part) * wouldDo)
}

/** Shares out idle slots, the surest cause first; each takes a part of what those before it have left. */
export const idleCauses = (lag: Lag, best: number, enough: number): Array<readonly [Cause, number]> => {
  const { now, recent, slots, stuck } = lag
  const { maxInFlight } = now.stats
  const { ordered } = now.settings
  const idle = Math.max(0.01, lag.idle / slots)
  const partOfIdle = (millis: number) => clamp(millis / millisOf(now) / idle)
  const full = ramp(occupancy(lag), 0.5, 0.75)
  // Messages wait in the queue and it gives none, or they wait here for their turn.
  const answered = Math.max(1, now.stats.polls - now.stats.receiveErrors)
  const withheld = (1 - full) * (1 - now.fullReceives / answered)
  const waiting = (Histogram.mean(now.waited) ?? 0) * now.waited.count
  // On a queue without order they wait for others too, as in a batch; at a stage only for a lane.
  const inLanes = ramp((ordered ? waiting / millisOf(now) : lag.waiting) / maxInFlight, 0.1, 0.4)
  const groups = Math.max(0, activeGroups(lag) - stuck.length)
  const few = ordered ? 1 - ramp(groups / Math.min(slots, maxInFlight), 0.8, 1) : 1
  const hottest = hottestShare(lag)
  const calls = ofCalls(lag, best, enough)
  // Whether the turns of one group are taken all the time; of a turn that waits for a connection they are not taken by it.
  const waits = connectionsFull(recent)
  const turn = best + ackTime(lag) * (1 - waits) * (1 - slowness(lag))
  const hot = ramp((hottest * now.stats.received * turn) / millisOf(now), 0.4, 0.8)
  const confirming = 2 * (Histogram.mean(now.calls.ack) ?? 0)
  const held = ramp((ackTime(lag) - confirming) / Math.max(1, Histogram.mean(now.settled) ?? 0), 0.2, 0.6)
  const ofStuck = stuck.reduce((sum, { inFlight }) => sum + inFlight, 0) / maxInFlight
  const short = (brought(lag) ?? now.settings.batchSize) < 0.7 * now.settings.batchSize
  // Where leases are lost, what holds a group is a message that came again.
  const unreceived = withheld * ramp(lag.unreceived, 0.5, 0.8) * (1 - ramp(lostShare(lag), 0.02, 0.1))
  const turns = takesTurns(lag)
  const inOrder = Math.max(
    few * Math.max(ordered ? hot : 0, Math.max(inLanes, ordered ? withheld : 0) * (1 - calls)),
    unreceived * turns * (1 - calls)
  )
  return [
    ["CircuitOpen", shut(lag)],
    // A poller that was refused begins anew with one call at a time: what comes in after it is held up too.
    [
      "Throttled",
      Math.max(partOfIdle(now.throttledFor), full * clamp(2 * throttledShare(lag)), ramp(throttledShare(lag), 0.1, 0.4))
    ],
    ["RateLimited", rateReached(lag)],
    ["InFlightWindowFull", windowFull(lag)],
    [
      "StuckGroup",
      stuck.length === 0
        ? // What is received had waited for a moment only: what waits is of groups that somebody else holds.
          unreceived * (1 - turns) * ramp(lag.others, 0.3, 1)
        : Math.max(
            ramp(ofStuck, 0.3, 0.9),
            withheld * (hottest >= 0.3 && groups >= 1 ? 0.5 : 1),
            // What is received had waited for a moment only: what waits is behind these heads.
            ramp(lag.unreceived, 0.6, 0.9)
          )
    ],
    ["VisibilityTimeoutTooShort", inOrder * turnsLost(lag)],
    ["HotGroup", inOrder],
    // Permits of what failed and is held for its turn again.
    ["Retries", full * ramp(failedShare(lag), 0.05, 0.3) * held],
    ["SlowCalls", Math.max(partOfIdle(now.failingFor), ramp(failingShare(lag), 0.1, 0.4))],
    ["ConnectionsExhausted", ramp(waits, 0, 0.3)],
    ["SlowCalls", calls],
    // On an ordered queue a receive is short, with permits to spare, of groups whose turn it is not.
    ["HotGroup", ordered && short ? 1 - full : 0],
    ["IntakeTooSmall", short ? 1 : full]
  ]
}
