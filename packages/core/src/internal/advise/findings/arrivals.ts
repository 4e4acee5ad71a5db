/** More came than usual. */
import type { Lag } from "../lag.js"
import { asManyBy } from "../probes.js"
import { atMost, instant, number, perSecond, say, set, time } from "../words.js"
import type { Describing } from "./describing.js"

/** Seconds in which a burst that would stay for long is to be gone. */
const clearWithin = 600

/** Slots that would clear it within that, where slots are what there is too little of; `undefined` where others would not. */
const clearingSlots = (lag: Lag): number | undefined => {
  const { arrivals, bounded, probes, running, slots, visible, workTime } = lag
  if (!bounded || workTime === undefined || running < 0.85 * slots || asManyBy(probes, running) !== undefined)
    return undefined
  const wanted = atMost(Math.min(((arrivals + visible / clearWithin) * workTime) / 1000, 4 * slots))
  return wanted > slots ? wanted : undefined
}

export const arrivals: Describing<"ProducerBurst"> = {
  ProducerBurst: (lag) => {
    const { arrivals, excess, now, throughput, usualArrivals = 0, visible } = lag
    const spare = throughput - usualArrivals
    const clearAt = spare <= 0 ? undefined : now.to + (visible / spare) * 1000
    const past = arrivals <= 1.2 * usualArrivals
    const soon = clearAt !== undefined && clearAt - now.to <= 1000 * 1.5 * clearWithin
    const slots = soon ? undefined : clearingSlots(lag)
    return {
      title: "A burst came in; the consumer is as quick as before",
      figures: { arrivals, usual: usualArrivals, throughput, excess, clearAt },
      evidence: `${number(excess)} of the ${number(visible)} messages that wait came beyond the usual ${perSecond(usualArrivals)}${
        past ? "" : ` (${perSecond(arrivals)} come now)`
      }, and ${perSecond(throughput)} are done${
        clearAt === undefined
          ? ""
          : `: it will clear by ${instant(clearAt)}, in ${time(clearAt - now.to)}${past ? "" : ", once no more come than usual"}`
      }.`,
      advice: [
        ...(slots === undefined
          ? []
          : [
              set(
                "concurrency",
                slots,
                `Until it has cleared, take ${slots} slots (now ${number(lag.slots)}), if what the handler calls can take that; go back where the rate does not follow.`
              )
            ]),
        say(
          clearAt === undefined
            ? "The usual rate leaves nothing to spare: add slots, or this backlog stays."
            : "Nothing, if that is soon enough. If not, add slots or consumers until it has cleared, and take them away again."
        ),
        say("Where bursts are planned (an import, a nightly job), send them at a rate: SqsProducer has one.")
      ],
      why: "The backlog is what came beyond the rate at which the consumer works; it shrinks by the difference once the producer is back to its usual rate."
    }
  }
}
