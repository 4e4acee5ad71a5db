import type * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import { Kept } from "../../LeaseKeeper.js"
import type * as LeaseQueue from "../../LeaseQueue.js"
import type * as Settlement from "../../Settlement.js"
import type { OpenedBodies } from "../handOver/openedBodies.js"
import type { Observer } from "../observe/observer.js"
import type { Destination } from "../observe/span.js"
import type { Lane } from "./laneTable.js"

/** Who answers for a claimed delivery: a stage that runs it, holds it in a batch, or has passed it on. */
export interface Owner {
  /** The drain's deadline is over: stop working on it and release it. */
  readonly interrupt: (delivery: InFlight) => void
  /** The lease is lost: stop working on it; there is nothing to settle. */
  readonly lose: (delivery: InFlight) => void
  /** It ended, or another stage has claimed it. */
  readonly left: (delivery: InFlight) => void
  /** Whether it is only waiting its turn: a drain gives it back. */
  readonly waits: (delivery: InFlight) => boolean
  /** No longer there to answer: its stage is over. */
  readonly closed: boolean
}

/** Something elsewhere that lasts as long as a delivery's lease. */
export interface Follower {
  /** The queue has confirmed a later `deadline`. */
  readonly leaseExtended: () => void
}

/** What is counted of keys that are worked on once. */
export type OnceCounter = "doneAlready" | "waitedForClaim" | "keysReused" | "storeErrors"

/** What a consumer does for its deliveries. */
export interface Custodian {
  readonly queueName: string
  /** What traces call the queue's system. */
  readonly destination: Destination
  /** Whether messages of a group must be worked on in order. */
  readonly ordered: boolean
  /** After how many receives the queue takes a message away by itself. */
  readonly maxAttempts: number | undefined
  /** Whether there is a place for dead letters. */
  readonly deadLetters: boolean
  /** Until when its lease can be kept, in milliseconds. */
  readonly keptUntil: (delivery: InFlight) => number
  /** Messages in flight, at most. */
  readonly maxInFlight: number
  /** It gives back what does not run: nothing is held for later. */
  readonly draining: boolean
  /** On a clock that never goes back, in milliseconds. */
  readonly now: () => number
  /** A time of that clock, since the epoch. */
  readonly onTheWall: (time: number) => number
  readonly settle: (delivery: InFlight, settlement: Settlement.Settlement, awaited: boolean) => void
  /** Whether its lease is over. */
  readonly isOver: (delivery: InFlight) => boolean
  /** Its lease is over: it ends as lost. */
  readonly lapsed: (delivery: InFlight) => void
  /** A stage works on it in this lane, one at a time. Of an ordered queue the lanes are its groups. */
  readonly joins: (delivery: InFlight, lane: string) => void
  /** How what is too much for its lane goes back. */
  readonly overflow: (delivery: InFlight) => Settlement.Settlement
  /** It has failed and keeps its permit, and its lane theirs, until it has run again. */
  readonly holds: (delivery: InFlight) => void
  /** Its settlement begins, or it ends without one. */
  readonly settles: (delivery: InFlight) => void
  /** So many deliveries are of use to the stage that takes them. */
  readonly wants: (deliveries: number) => void
  /** The handler succeeded after the lease was lost: on a standard queue the delete may still be in time. */
  readonly ackLate: (delivery: InFlight) => void
  readonly extend: (delivery: InFlight, millis: number, onResult: (confirmed: boolean) => void) => void
  readonly observer: Observer
  /** Bodies that are open, of those that came encoded or were fetched. */
  readonly opened: OpenedBodies
  /** How long a lease lasts, in milliseconds. */
  readonly leaseMillis: number
  /** The thread was not free for this long, for this delivery's sake. */
  readonly heldLoop: (delivery: InFlight, what: string, millis: number) => void
  readonly handled: (delivery: InFlight, millis: number, succeeded: boolean) => void
  /** A handler, or a stage before it, has failed on it. */
  readonly failed: (delivery: InFlight, failure: unknown) => void
  /** Its policy threw, or is none: the queue's own timeout decides. */
  readonly undecided: (delivery: InFlight, defect: unknown) => void
  readonly once: (counter: OnceCounter) => void
  /** A stage that settles is at the end of its pipeline. */
  readonly endsIn: (stage: object) => void
  /** That stage is over, and all that was before it. With the last one, what waits between stages is nobody's: it goes back. */
  readonly endIsOver: (stage: object) => Effect.Effect<void>
  /** Sends no more receives and waits for the open ones. */
  readonly stopReceiving: Effect.Effect<void>
  /** How long what has been interrupted may take to end. */
  readonly flushWithin: Duration.Duration
  /** Its handler does not end: it ends as lost, and its handler is let go. */
  readonly abandon: (delivery: InFlight) => void
  /** Waits until these have ended, for a bounded time. */
  readonly settled: (deliveries: Iterable<InFlight>) => Effect.Effect<void>
}

/**
 * One delivery's way through this consumer, from its receive to its end. The phases go one way only, which is what
 * makes "settled exactly once" hold: `settle` is the only door to `Settling`, and `end` to `Ended`.
 */
export const Phase = { Prefetched: 0, HandedOver: 1, Claimed: 2, Settling: 3, Ended: 4 } as const
export type Phase = (typeof Phase)[keyof typeof Phase]

export class InFlight {
  phase: Phase = Phase.Prefetched
  owner: Owner | undefined = undefined
  outcome: Settlement.Outcome | undefined = undefined
  /** When it was handed to the stream's reader. */
  handedOverAt = 0
  /** A stage holds it and will claim it when it has a slot. */
  awaited = false
  /** Handed over again by a stage that does not settle. */
  passedOn = false
  warned = false
  /** Since when its handler runs, in milliseconds. */
  startedAt: number | undefined = undefined
  /** How many handlers of its consumer ran when its own began, itself included. */
  startedWith = 0
  /** Runs again of our own, beyond the attempts that the queue has counted: in the slot, and after having been held. */
  retries = 0
  retriesInARow = 0
  holds = 0
  /** When it runs again, where it is held for it, in milliseconds. */
  heldUntil = 0
  /** It failed in a stage before the one that settles it: only another receive runs that one again. */
  runsElsewhere = false
  /** Others wait for its end: its settlement lingers less. */
  urgent = false
  /** The queue will not change its lease: it ends with that. */
  refused = false
  /** Its group goes on though it failed: the user said so. */
  skipped = false
  lane: Lane<InFlight> | undefined = undefined
  follower: Follower | undefined = undefined
  readonly kept = new Kept()
  readonly custodian: Custodian
  readonly message: LeaseQueue.Message
  readonly receivedAt: number
  /** When the lease ends, as far as the queue has confirmed it, on the custodian's clock. */
  deadline: number
  #onEnded: Array<(outcome: Settlement.Outcome) => void> | undefined = undefined

  constructor(custodian: Custodian, message: LeaseQueue.Message, receivedAt: number, deadline: number) {
    this.custodian = custodian
    this.message = message
    this.receivedAt = receivedAt
    this.deadline = deadline
  }

  /**
   * Takes over the delivery. False where it is already settled or released, or its lease is over, as after the machine
   * has slept: then it must not be worked on.
   */
  claim(owner: Owner): boolean {
    if (this.phase >= Phase.Settling) return false
    if (this.custodian.isOver(this)) {
      this.custodian.lapsed(this)
      return false
    }
    this.owner?.left(this)
    this.owner = owner
    this.phase = Phase.Claimed
    this.passedOn = false
    return true
  }

  /** Its stage is done with it and has handed it to the stream's reader; another has to claim it. */
  passOn(): void {
    this.passedOn = true
    this.awaited = false
    this.handedOverAt = this.custodian.now()
  }

  /** Nobody works on it. */
  get waits(): boolean {
    return this.phase < Phase.Claimed || (this.phase === Phase.Claimed && this.owner?.waits(this) === true)
  }

  get isSettling(): boolean {
    return this.phase >= Phase.Settling
  }

  /** Closes the door to any other settlement. False where it is closed already. */
  beginSettling(): boolean {
    if (this.phase >= Phase.Settling) return false
    this.phase = Phase.Settling
    this.custodian.settles(this)
    return true
  }

  /** False where it had been settled before. */
  settle(settlement: Settlement.Settlement, onEnded?: (outcome: Settlement.Outcome) => void): boolean {
    if (!this.beginSettling()) return false
    if (onEnded !== undefined) this.onEnded(onEnded)
    this.custodian.settle(this, settlement, this.urgent || onEnded !== undefined)
    return true
  }

  /** The queue's count and our own retries in place. */
  get attempt(): number {
    return this.message.attempt + this.retries + this.holds
  }

  onEnded(f: (outcome: Settlement.Outcome) => void): void {
    if (this.outcome !== undefined) f(this.outcome)
    else if (this.#onEnded === undefined) this.#onEnded = [f]
    else this.#onEnded.push(f)
  }

  /** Only the custodian calls this. False where it had ended before. */
  end(outcome: Settlement.Outcome): boolean {
    if (this.phase === Phase.Ended) return false
    this.beginSettling()
    this.phase = Phase.Ended
    this.outcome = outcome
    this.owner?.left(this)
    this.owner = undefined
    const onEnded = this.#onEnded
    this.#onEnded = undefined
    if (onEnded !== undefined) for (const f of onEnded) f(outcome)
    return true
  }
}
