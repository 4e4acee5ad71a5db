/**
 * Deliveries that stand for others: the parts of a message for the message, a batch for all that are in it. To a stage they
 * are deliveries as any other; the leases, the permits and the one settlement are those of what they stand for. Here is how
 * the one becomes the other: acked when all stand-ins are, and else as the first of them that is not acked asks for, once
 * those that run have ended. Those that have not begun then do not begin.
 */
import type * as LeaseQueue from "../../LeaseQueue.js"
import * as Settlement from "../../Settlement.js"
import { sha256 } from "../data/sha256.js"
import * as Phase from "../settle/phase.js"
import { type Follower, InFlight, type Owner } from "./inFlight.js"
import type { Source } from "./source.js"

/** Nobody who goes by the id takes others for these. Of many it is short: logs carry it. */
export const idOfAll = (members: ReadonlyArray<InFlight>): string => {
  const ids = members.map(({ message }) => message.id).join("+")
  return ids.length <= longestId ? ids : `${members[0]?.message.id}+${members.length - 1} more:${sha256(ids)}`
}

const longestId = 1000

export class StandIn extends InFlight {
  readonly all: StandIns
  override readonly holder: InFlight

  constructor(all: StandIns, source: Source<InFlight>, message: LeaseQueue.Message) {
    const { deadline, members, receivedAt } = all
    super(source, message, receivedAt, deadline)
    this.all = all
    const [first] = members
    this.holder = members.length === 1 && first !== undefined ? first.holder : this
  }

  override get standsFor(): ReadonlyArray<InFlight> {
    return this.all.members.flatMap((member) => member.standsFor ?? member)
  }

  override get permits(): number {
    let permits = 0
    for (const holder of new Set(this.all.members.map(({ holder }) => holder))) permits += holder.permits
    return permits
  }

  override runs(since: number | undefined): void {
    super.runs(since)
    this.all.run(since)
  }
}

/** A stage works on it, or holds it for that. */
const isBegun = (standIn: StandIn): boolean => {
  const { owner, passedOn, phase } = standIn
  return phase === Phase.Claimed && !passedOn && owner !== undefined && !owner.closed && !owner.waits(standIn)
}

/** The owner of the members, from when they are stood for until they end. */
export class StandIns implements Owner, Follower {
  readonly members: ReadonlyArray<InFlight>
  /** What has not come to the end of its work. */
  readonly #open = new Set<StandIn>()
  /** What has, or does not begin any more, and ends with the members. */
  readonly #done: Array<StandIn> = []
  #total = 0
  #succeeded = 0
  #running = 0
  /** A stage in front has had them. */
  #passedOn = false
  /** What becomes of the members, where not all succeed. */
  #decision: Settlement.Settlement | undefined
  #urgent = false
  /** Of the members, how many have not ended, and have not been claimed one by one. */
  #ours = 0
  #outcome: Settlement.Outcome | undefined
  readonly #onEnd: () => void

  /** It claims the members, which may be over since they were looked at; `onEnd` is told when all of them have ended. */
  constructor(members: ReadonlyArray<InFlight>, onEnd: () => void) {
    this.members = members
    this.#onEnd = onEnd
    for (const member of members) {
      if (!member.claim(this)) continue
      member.follower = this
      this.#ours++
    }
  }

  /** One more of them, for the stream's reader; `passedOn` where a stage in front has had the members. */
  add(standIn: StandIn, passedOn: boolean): void {
    this.#open.add(standIn)
    this.#total++
    this.#passedOn = passedOn
    standIn.phase = passedOn ? Phase.Claimed : Phase.HandedOver
    standIn.passedOn = passedOn
    standIn.handedOverAt = standIn.source.clock.now()
    if (this.#ours === 0) this.#end()
  }

  get receivedAt(): number {
    return Math.min(...this.members.map(({ receivedAt }) => receivedAt))
  }

  get deadline(): number {
    return Math.min(...this.members.map(({ deadline }) => deadline))
  }

  // ------------------------------------------------------------------------------------------ told of the stand-ins

  /** One is being settled. */
  settle(standIn: StandIn, settlement: Settlement.Settlement, urgent: boolean): void {
    this.#urgent ||= urgent
    if (settlement._tag === "Ack") this.#succeeded++
    else {
      // Its group goes on though it failed.
      if (standIn.tries?.skipped === true) for (const { failures } of this.members) failures.skipped = true
      if (this.#decision === undefined) this.#hasTried(standIn)
      this.#decide(settlement)
    }
    // What waits behind a part in its lane need not wait for the others.
    if (this.#decision === undefined && this.#open.size > 1) {
      this.#open.delete(standIn)
      standIn.end("acked")
    } else {
      this.#close(standIn)
      this.#finish()
    }
  }

  /** They end by it: its runs were theirs. */
  #hasTried({ tries }: StandIn): void {
    if (tries === undefined) return
    for (const { failures } of this.members) {
      failures.inPlace += tries.inPlace
      failures.holds += tries.holds
    }
  }

  /** One has succeeded after the lease was lost. */
  ackLate(): void {
    if (++this.#succeeded < this.#total) return
    for (const member of this.members) member.source.settlements.ackLate(member)
  }

  /** Whether one must not be worked on any more, asked as that would begin: then it is done with. */
  isOver(standIn: StandIn): boolean {
    const isOver = (member: InFlight) => member.source.leases.isOver(member)
    const gone = this.members.some((member) => member.owner !== this || member.isSettling || isOver(member))
    if (!gone && this.#decision === undefined) return false
    this.#decide(Settlement.release)
    this.#close(standIn)
    this.#finish()
    return true
  }

  /** A handler runs on one since then, or no more. */
  run(since: number | undefined): void {
    this.#running += since === undefined ? -1 : 1
    if (this.#running === (since === undefined ? 0 : 1)) for (const member of this.members) member.runs(since)
  }

  /** The reader has gone: what no stage has, nor will have of what has begun, does not begin. */
  closeSource(): void {
    const begun = this.#passedOn || this.#hasBegun
    const isLeft = ({ awaited, owner }: StandIn) => owner === undefined && !(awaited && begun)
    if (![...this.#open].some(isLeft)) return
    this.#decide(Settlement.release)
    this.#finish()
  }

  get #hasBegun(): boolean {
    return this.#succeeded > 0 || this.#done.length > 0 || [...this.#open].some(isBegun)
  }

  /** How the members end; what has not begun does not begin. */
  #decide(settlement: Settlement.Settlement): void {
    this.#decision ??= settlement
    for (const standIn of [...this.#open]) if (!isBegun(standIn)) this.#close(standIn)
  }

  #close(standIn: StandIn): void {
    if (!this.#open.delete(standIn)) return
    standIn.beginSettling()
    this.#done.push(standIn)
  }

  /** Nothing is left to do: the members are settled. */
  #finish(): void {
    if (this.#open.size > 0) return
    for (const member of this.members) {
      if (member.owner === this) {
        member.urgent ||= this.#urgent
        member.settle(this.#decision ?? Settlement.ack)
      } else if (this.#decision === undefined) {
        member.source.settlements.ackLate(member)
      }
    }
    if (this.#ours === 0) this.#end()
  }

  #end(): void {
    this.#onEnd()
    for (const standIn of [...this.#open, ...this.#done]) standIn.end(this.#outcome ?? "released")
    this.#open.clear()
  }

  // ------------------------------------------------------------------------------------------- told of the members

  get standIns(): Iterable<InFlight> {
    return this.#open
  }

  leaseExtended(): void {
    const { deadline } = this
    for (const standIn of this.#open) {
      standIn.deadline = deadline
      standIn.follower?.leaseExtended()
    }
  }

  /** One has ended, or is claimed for itself: then it is no matter of its stand-ins any more. */
  left({ outcome }: InFlight): void {
    if (this.#outcome !== "lost") this.#outcome = outcome ?? this.#outcome
    if (--this.#ours === 0) this.#end()
  }

  lose(): void {
    for (const standIn of [...this.#open]) if (isBegun(standIn)) standIn.owner?.lose(standIn)
  }

  interrupt({ source }: InFlight): void {
    const begun = [...this.#open].filter(isBegun)
    this.#decide(begun.length > 0 ? source.draining.afterStop : Settlement.release)
    for (const standIn of begun) standIn.owner?.interrupt(standIn)
    this.#finish()
  }

  waits(): boolean {
    return !this.#hasBegun && [...this.#open].every(({ waits }) => waits)
  }

  get closed(): boolean {
    return [...this.#open].every(({ owner }) => owner === undefined || owner.closed)
  }
}
