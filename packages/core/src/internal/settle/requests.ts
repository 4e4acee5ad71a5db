/** What a settlement asks of the queue, and whom its answer is told. */
import * as Duration from "effect/Duration"
import * as Settlement from "../../Settlement.js"
import type { InFlight } from "../lease/inFlight.js"
import type { Entry, Request } from "./entry.js"

/** A delivery on its way to its end. */
export interface Leaving {
  readonly delivery: InFlight
  readonly settlement: Settlement.Settlement
  /** Somebody waits for it. */
  readonly awaited: boolean
}

export const asReleased = (delivery: InFlight): Leaving => ({
  delivery,
  settlement: Settlement.release,
  awaited: false
})

/** What they need of their consumer. */
export interface Host {
  /** Whether there is a place for dead letters. */
  readonly deadLetters: boolean
  readonly leaseDuration: Duration.Duration
  /** As much of a duration as the longest lease allows. */
  readonly cut: (delivery: InFlight, duration: Duration.Duration) => Duration.Duration
  readonly onResult: (delivery: InFlight, request: Request, outcome: Settlement.Outcome, confirmed: boolean) => void
  readonly onRefused: (delivery: InFlight, request: Request) => void
}

const ackRequest: Request = { _tag: "Ack" }

const outcomes = {
  Ack: "acked",
  Retry: "retried",
  Release: "released",
  DeadLetter: "deadLettered",
  Leave: "left"
} as const satisfies Record<Settlement.Settlement["_tag"], Settlement.Outcome>

export const make = (host: Host) => {
  const { cut, deadLetters, leaseDuration } = host
  const requestOf = (delivery: InFlight, settlement: Settlement.Settlement): Request => {
    switch (settlement._tag) {
      case "Ack":
        return ackRequest
      case "DeadLetter":
        return { _tag: "DeadLetter", reason: settlement.reason, error: settlement.error, attempt: delivery.attempt }
      case "Release":
        return { _tag: "SetLease", duration: Duration.zero }
      case "Leave":
        return { _tag: "SetLease", duration: cut(delivery, leaseDuration), left: true }
      case "Retry":
        return { _tag: "SetLease", duration: cut(delivery, settlement.delay) }
    }
  }
  return {
    entry: ({ awaited, delivery, settlement }: Leaving): Entry => {
      const noPlace = settlement._tag === "DeadLetter" && !deadLetters
      const outcome = noPlace ? "left" : outcomes[settlement._tag]
      const request = requestOf(delivery, noPlace ? Settlement.leave : settlement)
      return new DeliveryEntry(delivery, request, outcome, awaited, host)
    }
  }
}

export type Requests = ReturnType<typeof make>

/** A class, since there is one for every message. */
class DeliveryEntry implements Entry {
  readonly request: Request
  readonly awaited: boolean
  readonly #delivery: InFlight
  readonly #outcome: Settlement.Outcome
  readonly #host: Host

  constructor(delivery: InFlight, request: Request, outcome: Settlement.Outcome, awaited: boolean, host: Host) {
    this.request = request
    this.awaited = awaited
    this.#delivery = delivery
    this.#outcome = outcome
    this.#host = host
  }

  get message() {
    return this.#delivery.message
  }

  deadline(): number {
    return this.#delivery.deadline
  }

  over(): boolean {
    return this.#delivery.outcome !== undefined
  }

  onResult(confirmed: boolean): void {
    this.#host.onResult(this.#delivery, this.request, this.#outcome, confirmed)
  }

  onRefused(): void {
    this.#host.onRefused(this.#delivery, this.request)
  }
}
