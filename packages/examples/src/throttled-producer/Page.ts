/** Both plays as one HTML page that needs nothing beside itself. */
import type { Line } from "../backpressure/Chart.js"
import * as Orders from "../backpressure/Orders.js"
import * as Document from "../Document.js"
import { count } from "../Format.js"
import { figures, type Played, type Sample, settledAfter, target, until } from "./Play.js"

export interface Plays {
  readonly unthrottled: Played
  readonly throttled: Played
}

const line = ({ name, samples }: Played, of: (sample: Sample) => number, colour: Line["colour"] = 1): Line => ({
  label: name,
  colour,
  points: samples.map((sample) => [sample.at, of(sample)])
})

const backlog = ({ backlog }: Sample) => backlog
const rate = ({ rate }: Sample) => rate

export const html = ({ throttled, unthrottled }: Plays): string => {
  const ours = figures(throttled)
  const without = figures(unthrottled)
  return Document.page(
    "A producer that feels the backlog",
    `The producer could send ${Orders.perSecond} orders a second; the consumer does 2. The queue order-processing-queue stands between them for ${until / 60} minutes.`,
    Document.section(
      "Without a throttle, and with one",
      [
        `Without a throttle ${count(without.waitingAtEnd)} orders wait at the end, and the last of them for hours.`,
        `Throttle.targetBacklog(${target}) reads the queue's counts every ten seconds (${ours.readings} calls) and sets the producer's rate. It finds out that 2 a second are done, and from the ${settledAfter / 60}th minute on ${ours.settled.least} to ${ours.settled.most} orders wait. As much is done: ${count(ours.done)} orders, ${count(without.done)} without it. What is not sent waits where it comes from.`
      ],
      Document.facts([
        ["orders done", count(ours.done)],
        ["most waiting", count(ours.mostWaiting)],
        ["rate at the end", `${ours.rateAtEnd.toFixed(1)} a second`],
        ["calls to read the queue", count(ours.readings)]
      ]),
      [
        {
          id: "backlog-both",
          title: "Orders waiting in the queue",
          description: `Without a throttle they grow to ${count(without.mostWaiting)}; with one there are at most ${count(ours.mostWaiting)}.`,
          lines: [line(throttled, backlog), line(unthrottled, backlog, 2)]
        },
        {
          id: "backlog-throttled",
          title: "Orders waiting, with the throttle",
          description: `They come to ${target} and stay: ${ours.settled.least} to ${ours.settled.most} from the ${settledAfter}th second on.`,
          lines: [line(throttled, backlog)],
          limit: { label: `target: ${target}`, y: target }
        },
        {
          id: "rate-throttled",
          title: "Orders that may be sent a second",
          description: `From ${(throttled.samples[0]?.rate ?? 0).toFixed(1)} to ${ours.rateAtEnd.toFixed(1)} at the end.`,
          lines: [line(throttled, rate)]
        }
      ]
    )
  )
}
