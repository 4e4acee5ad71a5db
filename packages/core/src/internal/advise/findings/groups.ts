/** What order holds up. */

import * as Histogram from "../../../Histogram.js"
import { ackTime, activeGroups } from "../evidence.js"
import type { StuckGroup } from "../finding.js"
import type { Lag } from "../lag.js"
import { number, percent, perSecond, roundUp, say, set, time } from "../words.js"
import type { Describing, Words } from "./describing.js"

/** What waits is of groups that another consumer has in flight, as far as the counts say. */
const heldElsewhere = (lag: Lag): Words<StuckGroup> => {
  const { last, now, share, throughput, unreceived, visible } = lag
  const timeout = roundUp(Math.max(30_000, 3 * (Histogram.quantile(now.handler, 0.99) ?? 0)))
  const others = Math.max(0, (last?.inFlight ?? 0) - now.stats.inFlight)
  return {
    title: "Another consumer holds groups",
    figures: {
      group: "",
      messageId: "",
      age: 0,
      attempt: 0,
      failures: 0,
      running: false,
      stuckGroups: 0,
      heldElsewhere: others
    },
    evidence: `${number(visible)} messages wait, ${percent(unreceived)} of them though what is received (${perSecond(throughput)}) had waited for a moment only; of ${number(last?.inFlight ?? 0)} in flight of the queue ${now.stats.inFlight} are here${share < 1 ? ", part of them with consumers like this one" : ""}.`,
    advice: [
      say(
        "Find who else receives from this queue (an old deployment, a job, somebody's console) and holds messages without an ack: stop it, and its groups go on once its leases end."
      ),
      ...(share < 1
        ? [
            set(
              "attempts",
              5,
              "If those are consumers like this one, a head does not get done there. Bound its retries: `{ attempts: 5 }`, then `RetryPolicy.orElse(RetryPolicy.deadLetter)`."
            ),
            set("timeout", timeout, `Give the handler a \`timeout\` of ${time(timeout)}, so that one that hangs ends.`)
          ]
        : [])
    ],
    why: "While a message of a group is in flight anywhere, SQS hands out nothing of that group to anybody else."
  }
}

export const groups: Describing<"HotGroup" | "StuckGroup"> = {
  HotGroup: (lag, { best }) => {
    const { now, required, running, slots } = lag
    const stuck = new Set(lag.stuck.map(({ group }) => group))
    const [hottest] = now.groups.filter(({ group }) => !stuck.has(group)).sort((a, b) => b.share - a.share)
    const share = hottest?.share ?? 0
    const active = activeGroups(lag)
    // One of a group runs at a time, and the next begins when its ack is confirmed.
    const confirming = ackTime(lag)
    const chain = best + confirming
    const atOnce = Math.max((required * chain) / 1000, active)
    const suggestedGroups = Math.max(2, roundUp(2 * Math.max(atOnce, slots)))
    // A receive brings what it can of one group: with few permits these are full of what waits its turn.
    const permits = roundUp(Math.min(2 * slots, 1.5 * atOnce) * now.settings.batchSize)
    return {
      title: share >= 0.3 ? "One group is hot" : "Too few groups are active",
      figures: { group: hottest?.group, share, activeGroups: active, slots, busy: running / slots, suggestedGroups },
      evidence: `Messages wait, and ${number(slots - running)} of ${number(slots)} slots are idle: ${number(active)} groups are active on average${
        hottest === undefined ? "" : `, and group ${hottest.group} has ${percent(share)} of what is received`
      }.`,
      advice: [
        set(
          "groups",
          suggestedGroups,
          `Spread the messages over ${suggestedGroups} groups or more of like size: order by the narrowest key that needs it (an order rather than a customer), or split the hot key into ${Math.max(2, Math.ceil(suggestedGroups * Math.max(share, 0.1)))}.`
        ),
        ...(permits > 1.2 * now.stats.maxInFlight
          ? [
              set(
                "maxInFlight",
                permits,
                `Set \`maxInFlight\` to ${permits} (now ${now.stats.maxInFlight}): a receive brings up to ${now.settings.batchSize} of one group, of which one runs.`
              )
            ]
          : []),
        say(
          "Where order is not needed, leave the group out or make it unique; a quicker handler helps each group as well."
        ),
        ...(confirming >= 0.2 * chain
          ? [
              say(
                `Each turn waits ${time(confirming)} for its delete to be confirmed: \`ackAhead: true\` begins the next one before, where a message that comes again after the next has run is bearable.`
              )
            ]
          : [])
      ],
      why: `Of a group one message runs at a time, ${time(chain)} each, so a group does ${perSecond(1000 / Math.max(chain, 1e-3))} at most, however many slots and consumers there are; ${perSecond(required)} take ${number((required * chain) / 1000)} groups at once.`
    }
  },

  StuckGroup: (lag) => {
    const all = lag.stuck
    if (all.length === 0) return heldElsewhere(lag)
    const [worst] = all
    const { age = 0, failures = 0, group = "", head = { attempt: 0, messageId: "", running: false } } = worst ?? {}
    return {
      title: "A group is stuck behind its head",
      figures: {
        group,
        messageId: head.messageId,
        age,
        attempt: head.attempt,
        failures,
        running: head.running,
        stuckGroups: all.length,
        heldElsewhere: 0
      },
      evidence: `Message ${head.messageId} at the head of group ${group} has been here for ${time(age)} (attempt ${head.attempt}, ${
        failures > 0 ? `failed ${failures} times of late` : head.running ? "still running" : "waiting"
      })${all.length > 1 ? `, and ${all.length - 1} more groups are stuck` : ""}; all behind it waits.`,
      advice:
        failures > 0
          ? [
              say(`Look at message ${head.messageId}; dead-letter it, or discard it, and the group goes on.`),
              set(
                "attempts",
                5,
                "Bound the retries of a head: `{ attempts: 5 }`, then `RetryPolicy.orElse(RetryPolicy.deadLetter)`."
              )
            ]
          : [
              say(`Look at what the handler of message ${head.messageId} waits for.`),
              set(
                "timeout",
                30_000,
                "Give the handler a `timeout`, so that the slot and the group come free and the retry policy decides."
              )
            ],
      why: "Order means that nothing of a group runs before its head has ended. Other groups are not held up."
    }
  }
}
