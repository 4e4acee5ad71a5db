/** What the consumer itself does not take in. */

import { receiveTime } from "../calls.js"
import { brought, confirmTime, occupancy } from "../evidence.js"
import { atMost, number, perSecond, say, set, time } from "../words.js"
import type { Describing } from "./describing.js"

export const intake: Describing<"IntakeTooSmall" | "RateLimited" | "Paused"> = {
  IntakeTooSmall: (lag, { best }) => {
    const { now, required, running, slots } = lag
    const bringing = brought(lag)
    const { batchSize } = now.settings
    const short = (bringing ?? batchSize) < 0.7 * Math.min(batchSize, now.stats.maxInFlight)
    // Little's law, by how long a permit is held now, or would be by what is known of the work and its calls.
    const held = (1000 * now.stats.maxInFlight * occupancy(lag)) / Math.max(lag.throughput, 1e-9)
    const each = Math.min(held, 2 * (best + confirmTime(lag) + (receiveTime(now) ?? 0)))
    const permits = Math.min(
      120_000,
      atMost(Math.max(now.stats.maxInFlight + 1, (Math.min(required, 1.7 * lag.sustained) * each) / 1000 + 1))
    )
    return {
      title: "The consumer takes in too little",
      figures: {
        brought: bringing,
        batchSize,
        maxInFlight: now.stats.maxInFlight,
        slots,
        busy: running / slots,
        fullFor: now.fullFor
      },
      evidence: `${number(slots - running)} of ${number(slots)} slots are idle while ${number(lag.visible)} messages wait; a receive brings ${
        bringing === undefined ? "nothing" : `${number(bringing)} of ${batchSize} messages`
      }, and \`maxInFlight\` is ${now.stats.maxInFlight}.`,
      advice: [
        set("maxInFlight", permits, `Set \`maxInFlight\` to ${permits} (now ${now.stats.maxInFlight}).`),
        ...(now.settings.wait < 20_000
          ? [
              set(
                "wait",
                20_000,
                `Set \`wait\` to 20 seconds (now ${time(now.settings.wait)}): a long poll asks all of SQS's servers.`
              )
            ]
          : [])
      ],
      why: short
        ? `A receive holds a permit for each of the ${batchSize} messages that it asks for, and brings ${number(bringing ?? 0)}: with more permits more receives are open at once, and ${perSecond(required)} come in.`
        : "Every message holds a permit from its receive to the confirmation of its ack; with fewer permits than slots and messages on their way, slots go without."
    }
  },

  RateLimited: ({ arrivals, now, required, sustained }) => {
    const wanted = atMost(Math.min(required * 1.1, Math.max(1.8 * sustained, 1)))
    const rate = now.settings.rate ?? 0
    return {
      title: "The consumer's own rate limit holds it back",
      figures: { rate, received: now.stats.received / now.seconds, arrivals, required },
      evidence: `\`rate\` allows ${perSecond(rate)} and ${perSecond(now.stats.received / now.seconds)} are received, while ${perSecond(arrivals)} come.`,
      advice: [
        set("rate.perSecond", wanted, `Set \`rate.perSecond\` to ${wanted} if what the handler calls can take that.`)
      ],
      why: "No more than the rate is received, however many slots are free."
    }
  },

  Paused: ({ now, visible }) => ({
    title: "The consumer is paused",
    figures: { pausedFor: now.pausedFor, visible },
    evidence: `It was paused for ${time(now.pausedFor)} of the last ${time(now.seconds * 1000)}, and ${number(visible)} messages wait.`,
    advice: [say("Call `resume`.")],
    why: "A paused consumer sends no receives; what is in flight goes on."
  })
}
