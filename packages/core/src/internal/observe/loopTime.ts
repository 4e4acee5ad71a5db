/**
 * Who holds the event loop. While the JavaScript of one message runs no lease is extended, of this message or any other, and
 * nothing else of the process gets its turn: what takes long at a stretch is told to the consumer.
 */
import type { InFlight } from "../lease/inFlight.js"

/** How long a stretch may take untold, in milliseconds: half of a lease, and no more than this. */
export const longestStretch = (leaseMillis: number): number => Math.min(5000, leaseMillis / 2)

/** How long the stretches took that lie inside of the one that is measured: each is told of its own time. */
let inside = 0

/** Does what one message asks of the thread at once, and tells its consumer where that took long. */
export const onLoop = <A>(held: InFlight, what: string, work: () => A): A => {
  const { clock, queue, reports } = held.source
  const outside = inside
  inside = 0
  const startedAt = clock.now()
  try {
    return work()
  } finally {
    const millis = clock.now() - startedAt
    const own = millis - inside
    inside = outside + millis
    if (own > longestStretch(queue.leaseMillis)) reports.blockedLoop(held, what, own)
  }
}
