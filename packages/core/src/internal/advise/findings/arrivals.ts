/** More came than usual. */
import { instant, number, perSecond, say, time } from "../words.js"
import type { Describing } from "./describing.js"

export const arrivals: Describing<"ProducerBurst"> = {
  ProducerBurst: (lag) => {
    const { arrivals, excess, now, throughput, usualArrivals = 0, visible } = lag
    const spare = throughput - usualArrivals
    const clearAt = spare <= 0 ? undefined : now.to + (visible / spare) * 1000
    const past = arrivals <= 1.2 * usualArrivals
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
