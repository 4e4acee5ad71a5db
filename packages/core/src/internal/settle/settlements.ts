/**
 * The way of a settlement to the queue, and of its answer to the delivery's end. An ack is sent while its lease is extended
 * yet; before anything else the extensions stop; and what goes back takes what is behind it along.
 */
import * as Duration from "effect/Duration"
import type { LeaseKeeper } from "../../LeaseKeeper.js"
import * as Settlement from "../../Settlement.js"
import type { Settler } from "../../Settler.js"
import type { InFlight } from "../lease/inFlight.js"
import type { InFlightTable } from "../lease/inFlightTable.js"
import type * as Source from "../lease/source.js"
import type { Reports } from "../observe/reports.js"
import type { Ends } from "./ends.js"
import type { Request } from "./entry.js"
import type { HandBack } from "./handBack.js"
import type { Requests } from "./requests.js"

/** What they need of their consumer. */
export interface Host {
  readonly ordered: boolean
  readonly deadLetters: boolean
  readonly table: InFlightTable
  readonly keeper: Pick<LeaseKeeper<unknown, InFlight>, "stop">
  readonly settler: Pick<Settler, "submit">
  readonly requests: Requests
  readonly handBack: HandBack
  readonly ends: Ends
  readonly reports: Reports
  readonly now: () => number
  /** What the queue refuses is not waited for any more. */
  readonly isEnding: () => boolean
  readonly onLost: () => void
}

export class Settlements implements Source.Settlements<InFlight> {
  readonly #host: Host
  /** The queue will not change their leases: they end with those. */
  readonly #refused = new WeakSet<InFlight>()

  constructor(host: Host) {
    this.#host = host
  }

  begins(delivery: InFlight): void {
    this.#host.table.lanes.settles(delivery)
  }

  settle(delivery: InFlight, settlement: Settlement.Settlement, awaited: boolean): void {
    const { deadLetters, handBack, keeper, ordered, requests, settler } = this.#host
    const leaving = { delivery, settlement, awaited }
    // What has no place to be dead-lettered to comes again: nothing of its group may overtake it.
    const goes = settlement._tag === "Ack" || (settlement._tag === "DeadLetter" && deadLetters)
    if (!goes && ordered && delivery.message.group !== undefined) handBack.withTail(leaving)
    // Its lease is extended until the delete is confirmed.
    else if (settlement._tag === "Ack") settler.submit(requests.entry(leaving))
    else keeper.stop(delivery, () => settler.submit(requests.entry(leaving)))
  }

  overflow(delivery: InFlight): Settlement.Settlement {
    return this.#host.handBack.overflow(delivery)
  }

  ackLate(delivery: InFlight): void {
    const { ordered, reports, settler } = this.#host
    if (ordered || delivery.outcome !== "lost") return
    settler.submit({
      message: delivery.message,
      request: { _tag: "Ack" },
      deadline: () => delivery.deadline,
      over: () => false,
      awaited: false,
      onResult: (confirmed) => {
        if (confirmed) reports.ackedLate()
      }
    })
  }

  /** The queue has answered, or the lease was over first. */
  onResult(delivery: InFlight, request: Request, outcome: Settlement.Outcome, confirmed: boolean): void {
    const { ends, now, reports } = this.#host
    const time = now()
    if (confirmed && outcome === "acked" && time > delivery.deadline) reports.ackedLate()
    if (!confirmed) reports.unconfirmed(delivery, request)
    else if (request._tag === "DeadLetter") reports.deadLettered(delivery, request.reason)
    else if (request._tag === "SetLease") reports.deferred(Duration.toMillis(request.duration))
    ends.end(delivery, confirmed ? outcome : "lost", time)
  }

  /** What cannot be dead-lettered is left to the queue; what the queue does not even let be left, to its lease. */
  onRefused(delivery: InFlight, request: Request): void {
    const { ends, handBack, isEnding, now, onLost } = this.#host
    if (request._tag === "DeadLetter") {
      handBack.withTail({ delivery, settlement: Settlement.leave, awaited: false })
    } else if (isEnding() || delivery.deadline <= now()) {
      // The end of its lease has been told already, while it was being settled.
      ends.end(delivery, "lost")
      onLost()
    } else {
      this.#refused.add(delivery)
    }
  }

  isRefused(delivery: InFlight): boolean {
    return this.#refused.has(delivery)
  }

  /** Its lease is over. */
  lost(delivery: InFlight): void {
    const { ends, onLost, reports } = this.#host
    const refused = this.isRefused(delivery)
    // What is being settled already is its settlement's to end, unless that was refused.
    if (delivery.isSettling && !refused) return
    if (!refused) reports.lost(delivery)
    delivery.owner?.lose(delivery)
    ends.end(delivery, "lost")
    onLost()
  }
}
