/** What a receive has brought becomes deliveries in flight, each with its lease counted from its answer. */
import * as Delivery from "../../Delivery.js"
import type { LeaseKeeper } from "../../LeaseKeeper.js"
import type * as LeaseQueue from "../../LeaseQueue.js"
import { InFlight } from "../lease/inFlight.js"
import type { InFlightTable } from "../lease/inFlightTable.js"
import type { Source } from "../lease/source.js"
import type { Steady } from "../lease/steady.js"
import type { ConsumerMetrics } from "../observe/metrics.js"
import type { Observing } from "../observe/observer.js"
import type { Reports } from "../observe/reports.js"
import type { Permits } from "./permits.js"

/** What they need of their consumer. */
export interface Host {
  readonly source: Source<InFlight>
  readonly clock: Steady
  readonly table: InFlightTable
  readonly keeper: Pick<LeaseKeeper<unknown, InFlight>, "hold">
  readonly permits: Pick<Permits, "allInFlight" | "max">
  readonly metrics: ConsumerMetrics
  readonly observer: Observing
  readonly reports: Reports
  /** One has gone before it was in flight: its permit comes back. */
  readonly onGone: () => void
}

export const make = ({ clock, keeper, metrics, observer, onGone, permits, reports, source, table }: Host) => {
  const add = (inFlight: InFlight, onTheWall: number): Delivery.Delivery<string> => {
    const { attempt, group, sentAt } = inFlight.message
    table.add(inFlight)
    if (group !== undefined) (source.queue.ordered ? table.lanes : table.groups).join(group, inFlight)
    keeper.hold(inFlight)
    if (attempt > 1) metrics.add("redelivered")
    if (sentAt !== undefined) {
      const queued = Math.max(0, onTheWall - sentAt)
      metrics.queueSeconds(queued / 1000)
      // One that comes again was sent long ago, and says nothing of what waits.
      if (attempt === 1) observer.queued.add(queued)
    }
    observer.received(group)
    return Delivery.make(inFlight)
  }

  return (messages: ReadonlyArray<LeaseQueue.Message>): Array<Delivery.Delivery<string>> => {
    const { leaseMillis } = source.queue
    const answeredAt = clock.exactly()
    const onTheWall = clock.onTheWall(answeredAt)
    const deliveries: Array<Delivery.Delivery<string>> = []
    for (const message of messages) {
      // Its lease is counted from here. A clock that was set back meanwhile makes it no younger than its answer.
      const leasedAt = answeredAt - Math.max(0, onTheWall - (message.leasedAt ?? onTheWall))
      if (leasedAt + leaseMillis <= answeredAt) {
        // The process was suspended, or its event loop blocked, while the answer lay in its socket: somebody else may have
        // the message. It is lost before it is in flight, and nothing is asked of the queue by its old lease.
        reports.overOnArrival(message.id, answeredAt - leasedAt)
        onGone()
      } else {
        deliveries.push(add(new InFlight(source, message, leasedAt, leasedAt + leaseMillis), onTheWall))
      }
    }
    if (messages.length === 0) metrics.add("emptyPolls")
    metrics.add("received", messages.length)
    metrics.inFlight(table.size)
    observer.full.set(permits.allInFlight >= permits.max, answeredAt)
    return deliveries
  }
}
