/** One tenant that has most of the slots. */
import { noisiest } from "../tenants.js"
import { number, percent, say } from "../words.js"
import type { Describing } from "./describing.js"

export const tenants: Describing<"NoisyTenant"> = {
  NoisyTenant: ({ last, now }) => {
    const { noisy, quiet } = last?.groups ?? {}
    const { group = "", inFlight = 0, share = 0, time = 0 } = noisiest(now) ?? {}
    return {
      title: "One tenant is noisy",
      figures: { group, time, share, groups: now.groupsInFlight, inFlight, noisy, quietWaiting: quiet?.visible },
      evidence: `Group ${group} has ${percent(time)} of the slots' time and ${percent(share)} of what was received of late, beside ${now.groupsInFlight - 1} other groups in flight.${
        noisy === undefined
          ? ""
          : ` The queue takes ${noisy === 0 ? "none" : number(noisy)} for noisy${quiet === undefined ? "" : `, and ${number(quiet.visible)} messages of quiet groups wait in it`}.`
      }`,
      advice: [
        say(
          "Share the slots: `share: {}` on the stage lets them go round among the groups, and the others' messages do not wait behind this one's."
        ),
        say(
          `Bound what it may have: \`share: { concurrency, rate }\`. On a queue with a \`maxReceiveCount\` of less than 10 raise that first: what is over its share may be received more often.`
        )
      ],
      why: "Messages are handled in the order in which they come, so that one sender's thousand stand before another's one. SQS brings quiet groups first once it takes one for noisy; what has been received already is this consumer's to order."
    }
  }
}
