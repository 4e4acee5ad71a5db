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

/** `heartbeat`: whether leases are extended, beside what is done by hand. */
export const make = ({ clock, keeper, onOver, queue, settler }: Host, heartbeat: boolean) => {
  const longest = Duration.toMillis(queue.limits.maxLease)

  // The queue counts the whole lease from its receive, and refuses what goes beyond the longest one; two seconds are
  // for the way of the answer and for rounding up.
  /** As much of a duration as the queue allows yet. */
  const cut = ({ receivedAt }: InFlight, duration: Duration.Duration): Duration.Duration => {
    const left = longest - (clock.now() - receivedAt) - 2000
    return Duration.min(duration, Duration.millis(Math.max(0, left)))
  }

  return {
    cut,

    isOver: (delivery) => {
      if (delivery.deadline > clock.exactly()) return false
      onOver(delivery)
      return true
    },

    keptUntil: ({ deadline, receivedAt }) => {
      const leased = heartbeat ? receivedAt + longest - reserve : deadline
      const { maxHold } = queue.limits
      return maxHold === undefined ? leased : Math.min(leased, clock.now() + Duration.toMillis(maxHold))
    },

    extend: (delivery, millis, onResult) => {
      const sentAt = clock.now()
      const duration = cut(delivery, Duration.millis(millis))
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
  } satisfies Source.Leases<InFlight> & { readonly cut: typeof cut }
}
