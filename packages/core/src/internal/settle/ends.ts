/** The one place where a delivery ends and its permit comes back. */
import type { LeaseKeeper } from "../../LeaseKeeper.js"
import type * as Settlement from "../../Settlement.js"
import type { InFlight } from "../lease/inFlight.js"
import type { InFlightTable } from "../lease/inFlightTable.js"
import type { ConsumerMetrics } from "../observe/metrics.js"
import type { Observing } from "../observe/observer.js"
import type { Permits } from "../receive/permits.js"

/** What it needs of its consumer. */
export interface Host {
  readonly now: () => number
  readonly table: InFlightTable
  readonly keeper: Pick<LeaseKeeper<unknown, InFlight>, "release">
  readonly permits: Pick<Permits, "allInFlight" | "max" | "release">
  readonly metrics: ConsumerMetrics
  readonly observer: Observing
  /** A head of an ordered queue is lost: what is behind it must not run. */
  readonly onLostHead: (head: InFlight) => void
  /** One has ended; others may have, and nothing may be left. */
  readonly onEnd: () => void
}

export class Ends {
  readonly #host: Host
  /** When the latest one ended, or the consumer began. */
  latest: number
  none = true

  constructor(host: Host) {
    this.#host = host
    this.latest = host.now()
  }

  end(delivery: InFlight, outcome: Settlement.Outcome, time = this.#host.now()): void {
    if (delivery.outcome !== undefined) return
    const { keeper, metrics, observer, onEnd, onLostHead, permits, table } = this.#host
    if (outcome === "lost") onLostHead(delivery)
    delivery.end(outcome)
    keeper.release(delivery)
    table.delete(delivery)
    this.latest = time
    this.none = false
    const took = time - delivery.receivedAt
    metrics.add(outcome)
    metrics.settleSeconds(took / 1000)
    metrics.inFlight(table.size)
    observer.settled.add(took)
    permits.release()
    observer.full.set(permits.allInFlight >= permits.max, time)
    table.tellEnd()
    onEnd()
  }
}
