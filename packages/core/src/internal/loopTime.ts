import type { InFlight } from "./inFlight.js"

/**
 * Does what one message asks of the thread at once, and tells its consumer of the time where that was more than half of a
 * lease: nothing is extended meanwhile, of this message or any other.
 */
export const onLoop = <A>(held: InFlight, what: string, work: () => A): A => {
  const { custodian } = held
  const startedAt = custodian.now()
  try {
    return work()
  } finally {
    const millis = custodian.now() - startedAt
    if (2 * millis > custodian.leaseMillis) custodian.heldLoop(held, what, millis)
  }
}
