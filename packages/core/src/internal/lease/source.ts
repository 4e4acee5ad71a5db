/**
 * The consumer that a delivery came from, as its deliveries and the stages know it: a part for each kind of thing that is
 * asked of it. A stage that works for several consumers asks each delivery's own.
 *
 * @typeParam D - its deliveries
 */
import type * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import type * as Settlement from "../../Settlement.js"
import type { Tunable } from "../../Tunable.js"
import type { OpenedBodies } from "../handOver/openedBodies.js"
import type { Observing } from "../observe/observer.js"
import type { Destination } from "../observe/span.js"

export interface Source<in D> {
  readonly queue: QueueFacts
  readonly clock: Clock
  readonly demand: Demand
  readonly leases: Leases<D>
  readonly settlements: Settlements<D>
  readonly lanes: Lanes<D>
  readonly draining: Draining<D>
  readonly reports: Reports<D>
  /** Bodies that are open, of those that came encoded or were fetched. */
  readonly opened: OpenedBodies
  readonly observer: Observing
}

/** What is known of its queue. */
export interface QueueFacts {
  readonly name: string
  /** What traces call the queue's system. */
  readonly destination: Destination
  /** Whether messages of a group must be worked on in order. */
  readonly ordered: boolean
  /** Which of several queues of one stream it is, where those before it come first: from 0. */
  readonly rank: number
  /** Whether its messages may have groups. */
  readonly groups: boolean
  /** After how many receives the queue takes a message away by itself. */
  readonly maxAttempts: number | undefined
  /** Whether there is a place for dead letters. */
  readonly deadLetters: boolean
  /** How long a lease lasts, in milliseconds. */
  readonly leaseMillis: number
}

/** A clock that never goes back, in milliseconds. */
export interface Clock {
  readonly now: () => number
  /** The time as it was last looked at. */
  readonly latest: number
  /** A time of that clock, since the epoch. */
  readonly onTheWall: (time: number) => number
}

/** How much is received. */
export interface Demand {
  /** What says how many: of several queues the same, where they share it. */
  readonly bound: Tunable
  /** Messages in flight, at most. */
  readonly maxInFlight: number
  /** So many deliveries are of use to the stage that takes them. */
  readonly wants: (deliveries: number) => void
  /** Sends no more receives and waits for the open ones. */
  readonly stop: Effect.Effect<void>
}

export interface Leases<in D> {
  /** Whether its lease is over; then it ends as lost. */
  readonly isOver: (delivery: D) => boolean
  /** Until when its lease can be kept, in milliseconds. */
  readonly keptUntil: (delivery: D) => number
  readonly extend: (delivery: D, millis: number, onResult: (confirmed: boolean) => void) => void
}

export interface Settlements<in D> {
  /** Its settlement begins, or it ends without one. */
  readonly begins: (delivery: D) => void
  readonly settle: (delivery: D, settlement: Settlement.Settlement, awaited: boolean) => void
  /** The handler succeeded after the lease was lost: on a standard queue the delete may still be in time. */
  readonly ackLate: (delivery: D) => void
  /** How what is too much for its lane goes back. */
  readonly overflow: (delivery: D) => Settlement.Settlement
}

/** What is in flight by lane. */
export interface Lanes<in D> {
  /** A stage works on it in this lane, one at a time. Of an ordered queue the lanes are its groups. */
  readonly join: (delivery: D, lane: string) => void
  /** It has failed and keeps its permit, and its lane theirs, until it has run again. */
  readonly hold: (delivery: D) => void
}

/** How its deliveries come to their end with a stage, or with the consumer. */
export interface Draining<in D> {
  /** How what was interrupted while it ran goes back. */
  readonly afterStop: Settlement.Settlement
  /** It gives back what does not run: nothing is held for later. */
  readonly begun: boolean
  /** How long what has been interrupted may take to end. */
  readonly flushWithin: Duration.Duration
  /** A stage that settles is at the end of its pipeline. */
  readonly endsIn: (stage: object) => void
  /** That stage is over, and all that was before it. With the last one, what waits between stages is nobody's: it goes back. */
  readonly endIsOver: (stage: object) => Effect.Effect<void>
  /** Waits until these have ended, for a bounded time. */
  readonly settled: (deliveries: Iterable<D>) => Effect.Effect<void>
  /** Its handler does not end: it ends as lost, and its handler is let go. */
  readonly abandon: (delivery: D) => void
}

/** What is counted of keys that are worked on once. */
export type OnceCounter = "doneAlready" | "waitedForClaim" | "keysReused" | "storeErrors"

/** What stages tell of. */
export interface Reports<in D> {
  readonly handled: (delivery: D, millis: number, succeeded: boolean) => void
  /** A handler, or a stage before it, has failed on it. */
  readonly failed: (delivery: D, failure: unknown) => void
  /** Its policy threw, or is none: the queue's own timeout decides. */
  readonly undecided: (delivery: D, defect: unknown) => void
  /** The thread was not free for this long, for this delivery's sake. */
  readonly blockedLoop: (delivery: D, what: string, millis: number) => void
  readonly once: (counter: OnceCounter) => void
  /** It goes back since it is over its key's share. */
  readonly overShare: () => void
}
