/** Tells, with the message, of what held the event loop for long: no lease could be extended meanwhile. */
import * as Duration from "effect/Duration"
import type * as LeaseQueue from "../../LeaseQueue.js"
import type { InFlight } from "../lease/inFlight.js"
import type { InFlightTable } from "../lease/inFlightTable.js"
import { longestStretch } from "./loopTime.js"
import type { Notices } from "./notices.js"
import type { Observing } from "./observer.js"

/** What it needs of its consumer. */
export interface Host {
  readonly queueName: string
  readonly leaseMillis: number
  readonly now: () => number
  readonly table: InFlightTable
  readonly observer: Observing
  readonly notices: Notices
}

/** Messages that a warning names. */
const mostNamed = 10

export class BlockedLoop {
  readonly #host: Host
  /** Whose handler ended last, and when. */
  #lastRun: LeaseQueue.Message | undefined
  #lastRunAt = 0

  constructor(host: Host) {
    this.#host = host
  }

  ran({ message }: InFlight, at: number): void {
    this.#lastRun = message
    this.#lastRunAt = at
  }

  /** A turn of this message's took so long. */
  by({ message }: InFlight, what: string, millis: number): void {
    const text = `message ${message.id} of ${this.#host.queueName} held the event loop for ${format(millis)} (${what})`
    this.#tell(message.id, millis, text)
  }

  /**
   * The event loop was not free for so long at least. Where no turn of a message's is known to have held it, those that ran
   * meanwhile are named.
   */
  late(millis: number): void {
    const { leaseMillis, now, observer, queueName, table } = this.#host
    if (millis <= longestStretch(leaseMillis)) return
    const since = now() - millis
    if (observer.loopHeldBy !== undefined && observer.loopHeldBy.at >= since) return
    const ran = this.#lastRun !== undefined && this.#lastRunAt >= since ? [this.#lastRun.id] : []
    for (const { message, startedAt } of table) {
      if (startedAt !== undefined && startedAt <= since) ran.push(message.id)
    }
    const [first] = ran
    const names = ran.length > mostNamed ? [...ran.slice(0, mostNamed), `${ran.length - mostNamed} more`] : ran
    const held = `was held for ${format(millis)} or more`
    const text =
      first === undefined
        ? `the event loop ${held} while no handler of ${queueName} ran: by other code, or the process was suspended`
        : `the event loop ${held} by code outside of fibers (after an await, say) or by many turns in a row, while ${ran.length === 1 ? "message" : "messages"} ${names.join(", ")} of ${queueName} ran`
    this.#tell(ran.length === 1 ? first : undefined, millis, text)
  }

  #tell(messageId: string | undefined, millis: number, text: string): void {
    const { notices, now, observer } = this.#host
    observer.loopHeld({ messageId, at: now(), millis })
    const advice = "Make the work of one message smaller, or move it to a worker thread"
    notices.ofKind("held the event loop", `${text}: no lease could be extended meanwhile. ${advice}`)
  }
}

const format = (millis: number): string => Duration.format(Duration.millis(millis))
