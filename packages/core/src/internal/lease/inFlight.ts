/**
 * One delivery's way through its consumer, from its receive to its end: its lease, who answers for it, and where it is.
 */
import { Kept } from "../../LeaseKeeper.js"
import type * as LeaseQueue from "../../LeaseQueue.js"
import type * as Settlement from "../../Settlement.js"
import type { Running } from "../effect/running.js"
import { OneSettlement } from "../settle/oneSettlement.js"
import * as Phase from "../settle/phase.js"
import type { Lane } from "./laneTable.js"
import type { Source } from "./source.js"
import { Tries } from "./tries.js"

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
  /** What stands for it, where the owner only passes on what becomes of those. */
  readonly standIns?: Iterable<InFlight>
}

/** Something elsewhere that lasts as long as a delivery's lease. */
export interface Follower {
  /** The queue has confirmed a later `deadline`. */
  readonly leaseExtended: () => void
}

export class InFlight extends OneSettlement {
  readonly source: Source<InFlight>
  readonly message: LeaseQueue.Message

  // Its lease.
  readonly receivedAt: number
  /** When the lease ends, as far as the queue has confirmed it, on the source's clock. */
  deadline: number
  /** The keeper's. */
  readonly kept = new Kept()
  follower: Follower | undefined

  // Its way to who claims it.
  owner: Owner | undefined
  /** When it was handed to the stream's reader. */
  handedOverAt = 0
  /** A stage has it and will claim it when it has a slot, or room. */
  awaited = false
  /** Handed over again by a stage that does not settle. */
  passedOn = false

  // Its run, which `Claims` keeps.
  /** Its handler, or the policy that decides on what that failed with. */
  running: Running<unknown, unknown> | undefined
  /** Since when its handler runs, in milliseconds. */
  startedAt: number | undefined
  /** How many handlers of its consumer ran when its own began, itself included. */
  startedWith = 0
  tries: Tries | undefined

  // Its lane.
  /** Whose permits it has: its own, or those of the delivery that it is a part of. */
  readonly holder: InFlight = this
  lane: Lane<InFlight> | undefined
  /** Others wait for its end: its settlement lingers less. */
  urgent = false

  constructor(source: Source<InFlight>, message: LeaseQueue.Message, receivedAt: number, deadline: number) {
    super()
    this.source = source
    this.message = message
    this.receivedAt = receivedAt
    this.deadline = deadline
  }

  /** It has reached the stream's reader. */
  handOver(now: number): void {
    // It may have ended here already: given back behind another of its group, or lost.
    if (this.phase !== Phase.Prefetched) return
    this.phase = Phase.HandedOver
    this.handedOverAt = now
  }

  /**
   * Takes over the delivery. False where it is already settled or released, or its lease is over, as after the machine
   * has slept: then it must not be worked on.
   */
  claim(owner: Owner): boolean {
    if (this.phase >= Phase.Settling || this.source.leases.isOver(this)) return false
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
    this.handedOverAt = this.source.clock.now()
  }

  /** What the queue knows of it, where it is no message itself. */
  get standsFor(): ReadonlyArray<InFlight> | undefined {
    return undefined
  }

  /** How many it has, where it is a holder. */
  get permits(): number {
    return 1
  }

  /** Its handler runs since then, or no more. */
  runs(since: number | undefined): void {
    this.startedAt = since
  }

  /** Since when nobody answers for it: it was handed to the stream's reader, and no stage has it or waits to have it. */
  get unattendedSince(): number | undefined {
    if (this.phase === Phase.HandedOver || (this.phase === Phase.Claimed && this.passedOn)) {
      return this.awaited ? undefined : this.handedOverAt
    }
    if (this.phase !== Phase.Claimed) return undefined
    let since: number | undefined
    for (const { unattendedSince } of this.owner?.standIns ?? []) {
      if (unattendedSince !== undefined) since = Math.min(since ?? unattendedSince, unattendedSince)
    }
    return since
  }

  /** A stage has it, and has not passed it on. */
  get isWorkedOn(): boolean {
    if (this.phase !== Phase.Claimed || this.passedOn) return false
    const standIns = this.owner?.standIns
    return standIns === undefined || [...standIns].some((standIn) => standIn.isWorkedOn)
  }

  /** Nobody works on it. */
  get waits(): boolean {
    return this.phase < Phase.Claimed || (this.phase === Phase.Claimed && this.owner?.waits(this) === true)
  }

  /** False where it had been settled before. */
  settle(settlement: Settlement.Settlement, onEnded?: (outcome: Settlement.Outcome) => void): boolean {
    if (!this.beginSettling()) return false
    if (onEnded !== undefined) this.onEnded(onEnded)
    this.source.settlements.settle(this, settlement, this.urgent || onEnded !== undefined)
    return true
  }

  protected begins(): void {
    this.source.settlements.begins(this)
  }

  protected ends(): void {
    this.owner?.left(this)
    this.owner = undefined
  }

  /** The queue's count and our own runs again. */
  get attempt(): number {
    const { message, tries } = this
    return tries === undefined ? message.attempt : message.attempt + tries.inPlace + tries.holds
  }

  /** What its failures have left on it, from the first on. */
  get failures(): Tries {
    this.tries ??= new Tries()
    return this.tries
  }

  get heldUntil(): number {
    return this.tries?.heldUntil ?? 0
  }
}
