/** How long a message's calls take: to receive it, and to ack it. */
import type * as Figures from "../../Figures.js"
import * as Histogram from "../../Histogram.js"

/**
 * A receive's round trip, in milliseconds. One that did not come back full may have waited for messages, and is not
 * measured; on an ordered queue one that came full may have waited all the same, for a group's turn: no receive is taken
 * to be slower than three times what an ack takes, which never waits, and there hardly slower at all.
 */
export const receiveTime = ({ calls, settings }: Figures.Interval): number | undefined => {
  const ack = calls.ack.count < 3 ? undefined : Histogram.mean(calls.ack)
  const receive = Histogram.mean(calls.receive)
  if (ack === undefined || receive === undefined) return receive ?? ack
  return Math.min(receive, settings.ordered ? 1.5 * ack + 20 : 3 * ack + 50)
}

export const callTime = (interval: Figures.Interval): number =>
  (receiveTime(interval) ?? 0) + (Histogram.mean(interval.calls.ack) ?? 0)
