/** What becomes of deliveries, told to the counters, the figures and the log. Never a body. */
import * as Duration from "effect/Duration"
import { HandlerDefect } from "../../Delivery.js"
import * as Reason from "../../Reason.js"
import type { InFlight } from "../lease/inFlight.js"
import type { InFlightTable } from "../lease/inFlightTable.js"
import type * as Source from "../lease/source.js"
import type { Steady } from "../lease/steady.js"
import type { Request } from "../settle/entry.js"
import type { BlockedLoop } from "./blockedLoop.js"
import type { ConsumerMetrics } from "./metrics.js"
import { type Notices, placeOf, without } from "./notices.js"
import type { Observing } from "./observer.js"

/** What they need of their consumer. */
export interface Host {
  readonly queueName: string
  readonly clock: Steady
  readonly table: InFlightTable
  readonly metrics: ConsumerMetrics
  readonly observer: Observing
  readonly notices: Notices
  readonly loop: BlockedLoop
}

export const make = ({ queueName, clock, table, metrics, observer, notices, loop }: Host) => {
  const described = ({ attempt, message }: InFlight): string =>
    `message ${message.id} of ${queueName} (attempt ${attempt})`
  return {
    handled(delivery: InFlight, millis: number, succeeded: boolean): void {
      loop.ran(delivery, clock.latest)
      metrics.add(succeeded ? "handled" : "failed")
      if (succeeded) table.lanes.succeeded(delivery)
      metrics.handlerSeconds(millis / 1000)
      observer.ran(millis, delivery.startedWith, succeeded)
      const { group } = delivery.message
      if (group !== undefined) observer.byGroup.add(group, Math.max(1, millis), clock.latest)
    },

    failed(delivery: InFlight, failure: unknown): void {
      const { attempt, message } = delivery
      table.lanes.failed(delivery)
      const error = Reason.nameOf(failure) ?? "Failure"
      observer.failed({ at: clock.now(), messageId: message.id, group: message.group, attempt, error })
      const text = `${described(delivery)} has failed: ${without(message.body, Reason.of(failure))}`
      if (failure instanceof HandlerDefect) notices.always(`${text}${placeOf(failure.defect)}`)
      else notices.ofKind(`failed ${error}`, text)
    },

    undecided(delivery: InFlight, defect: unknown): void {
      const why = without(delivery.message.body, Reason.of(defect))
      notices.always(
        `the retry policy for ${described(delivery)} has failed, and the message is left to the queue: ${why}${placeOf(defect)}`
      )
    },

    blockedLoop(delivery: InFlight, what: string, millis: number): void {
      loop.by(delivery, what, millis)
    },

    once(counter: Source.OnceCounter): void {
      metrics.add(counter)
    },

    overShare(): void {
      metrics.add("overShare")
    },

    /** The queue keeps it for so long before it comes again. */
    deferred(millis: number): void {
      observer.deferredFor += millis
    },

    /** Its delete was confirmed after its lease was over. */
    ackedLate(): void {
      metrics.add("ackedLate")
    },

    lost(delivery: InFlight): void {
      notices.ofKind("lost", `the lease of ${described(delivery)} was lost; it may be delivered again`)
    },

    unconfirmed(delivery: InFlight, { _tag }: Request): void {
      const text = `the lease of ${described(delivery)} was over before the queue confirmed its ${_tag}; it may be delivered again`
      notices.ofKind(`unconfirmed ${_tag}`, text)
    },

    deadLettered(delivery: InFlight, reason: string): void {
      const why = without(delivery.message.body, reason)
      notices.always(`${described(delivery)} was dead-lettered: ${why}`)
    },

    /** Its handler could not be interrupted. */
    goesOn(delivery: InFlight): void {
      notices.always(
        `the handler of ${described(delivery)} could not be interrupted and goes on; the message is delivered again when its lease is over`
      )
    },

    /** Its lease was over when its answer could be read. */
    overOnArrival(messageId: string, age: number): void {
      metrics.add("lost")
      notices.ofKind(
        "over on arrival",
        `the lease of message ${messageId} of ${queueName} was over when its answer could be read, ${Duration.format(Duration.millis(age))} after the queue gave it: this process was suspended, or its event loop blocked; the message is delivered again`
      )
    }
  }
}

export type Reports = ReturnType<typeof make>
