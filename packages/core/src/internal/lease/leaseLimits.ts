/** How long a delivery's lease can be kept, and what extends it by hand. */
import * as Duration from "effect/Duration"
import type { LeaseKeeper } from "../../LeaseKeeper.js"
import type * as LeaseQueue from "../../LeaseQueue.js"
import type { Settler } from "../../Settler.js"
import type { InFlight } from "./inFlight.js"
import type * as Source from "./source.js"
import type { Steady } from "./steady.js"

/** What they need of their consumer. */
export interface Host {
  readonly queue: Pick<LeaseQueue.LeaseQueue<never>, "limits">
  readonly clock: Steady
  readonly keeper: Pick<LeaseKeeper<unknown, InFlight>, "borrow">
  readonly settler: Pick<Settler, "submit">
  /** Its lease is over: it ends as lost. */
  readonly onOver: (delivery: InFlight) => void
}

/** The longest lease is not used up to its last minute. */
const reserve = 60_000

export class LeaseLimits implements Source.Leases<InFlight> {
  readonly #host: Host
  readonly #heartbeat: boolean
  readonly #longest: number

  /** Whether leases are extended, beside what is done by hand. */
  constructor(host: Host, heartbeat: boolean) {
    this.#host = host
    this.#heartbeat = heartbeat
    this.#longest = Duration.toMillis(host.queue.limits.maxLease)
  }

  isOver(delivery: InFlight): boolean {
    if (delivery.deadline > this.#host.clock.exactly()) return false
    this.#host.onOver(delivery)
    return true
  }

  keptUntil({ deadline, receivedAt }: InFlight): number {
    const leased = this.#heartbeat ? receivedAt + this.#longest - reserve : deadline
    const { maxHold } = this.#host.queue.limits
    return maxHold === undefined ? leased : Math.min(leased, this.#host.clock.now() + Duration.toMillis(maxHold))
  }

  // The queue counts the whole lease from its receive, and refuses what goes beyond the longest one; two seconds are
  // for the way of the answer and for rounding up.
  /** As much of a duration as the queue allows yet. */
  cut({ receivedAt }: InFlight, duration: Duration.Duration): Duration.Duration {
    const left = this.#longest - (this.#host.clock.now() - receivedAt) - 2000
    return Duration.min(duration, Duration.millis(Math.max(0, left)))
  }

  extend(delivery: InFlight, millis: number, onResult: (confirmed: boolean) => void): void {
    const { clock, keeper, settler } = this.#host
    const sentAt = clock.now()
    const duration = this.cut(delivery, Duration.millis(millis))
    const landed = keeper.borrow(delivery)
    settler.submit({
      message: delivery.message,
      request: { _tag: "SetLease", duration },
      deadline: () => delivery.deadline,
      // A settlement waits for it, and must not wait for another try.
      over: () => delivery.isSettling,
      awaited: true,
      onResult: (confirmed) => {
        if (confirmed) {
          delivery.deadline = sentAt + Duration.toMillis(duration)
          delivery.follower?.leaseExtended()
        }
        landed()
        onResult(confirmed)
      }
    })
  }
}
