/**
 * The permits of several queues that are consumed as one: what all of them have in flight, and have asked for, comes to one
 * bound. The first ones come first: a later one asks only for what they leave, which is once they have had less to give
 * than was asked, or have kept a receive waiting; and never for the room of a receive that one before it may need.
 */
import type { Tunable } from "../../Tunable.js"
import type { Fork } from "../effect/fork.js"
import { Timer } from "../effect/timer.js"
import type { Permits } from "./permits.js"
import type { Turns } from "./turns.js"

/** What they need to know of the queue that they are for. */
export interface Member {
  /** Some may be free: looks whether a receive is worth sending. */
  readonly poke: () => void
  readonly wants: (deliveries: number) => void
  /** Messages that wait here to be handed over. */
  readonly prefetched: () => number
  /** Neither paused nor stopped. */
  readonly receives: () => boolean
  /** When something has last ended, where no stage works on anything of it. */
  readonly idleSince: () => number | undefined
}

export interface Host {
  readonly maxInFlight: Tunable
  readonly members: number
  readonly batchSize: number
  /** Whether a later one waits until those before it leave room. */
  readonly strict: boolean
  readonly turns: Turns
  readonly now: () => number
  readonly fork: Fork
}

/** A receive that has waited for so long waits for messages, in milliseconds. */
const waits = 100

export class SharedPermits {
  readonly all: ReadonlyArray<OwnPermits>
  readonly #host: Host
  readonly #soon: Timer
  readonly #later: Timer

  constructor(host: Host) {
    this.#host = host
    this.#soon = new Timer(host.fork)
    this.#later = new Timer(host.fork)
    this.all = Array.from({ length: host.members }, (_, rank) => new OwnPermits(this, rank))
  }

  get max(): number {
    return this.#host.maxInFlight.unsafeGet()
  }

  get now(): number {
    return this.#host.now()
  }

  get isStrict(): boolean {
    return this.#host.strict
  }

  wants(deliveries: number): void {
    for (const { member } of this.all) member?.wants(deliveries)
  }

  get share(): number {
    return this.max / this.#host.members
  }

  get inFlight(): number {
    return this.all.reduce((sum, { inFlight }) => sum + inFlight, 0)
  }

  get reserved(): number {
    return this.all.reduce((sum, { reserved }) => sum + reserved, 0)
  }

  freeFor(rank: number): number {
    const { batchSize, members, strict, turns } = this.#host
    const most = Math.max(1, Math.min(batchSize, Math.floor(this.max / members)))
    let free = this.max - this.inFlight - this.reserved
    for (const { rank: other, receives, reserved } of this.all) {
      if (other < rank && receives && reserved === 0) free -= most
    }
    free = Math.min(free, most)
    if (!strict || free <= 0 || this.all.every((other) => other.rank >= rank || other.leavesRoom)) return free
    // What has changed by then is told by nobody.
    if (!this.#later.isSet) this.#later.set(this.now + waits, waits, () => this.#poke())
    return turns.isOwed(rank) ? 1 : 0
  }

  /** Some may be free for another. */
  changed(): void {
    if (!this.#soon.isSet) this.#soon.setSoon(this.now, () => this.#poke())
  }

  #poke(): void {
    for (const { member } of this.all) member?.poke()
  }

  end(): void {
    this.#soon.cancel()
    this.#later.cancel()
  }
}

/** One queue's part of them. */
export class OwnPermits implements Permits {
  readonly #shared: SharedPermits
  readonly rank: number
  member: Member | undefined
  inFlight = 0
  reserved = 0
  /** When the receives that are open were sent. */
  #sentAt: Array<number> = []
  /** The latest answer brought less than it was asked for. */
  #short = false

  constructor(shared: SharedPermits, rank: number) {
    this.#shared = shared
    this.rank = rank
  }

  get max(): number {
    return this.#shared.max
  }

  /** Its rank, where those before it come first. */
  get precedence(): number {
    return this.#shared.isStrict ? this.rank : 0
  }

  get allInFlight(): number {
    return this.#shared.inFlight
  }

  get isFull(): boolean {
    return this.allInFlight + this.#shared.reserved >= this.max
  }

  get share(): number {
    return this.#shared.share
  }

  /** When something of any of the queues has last ended, where no stage works on anything. */
  get idleSince(): number | undefined {
    let latest = -Infinity
    for (const { member } of this.#shared.all) {
      const since = member === undefined ? latest : member.idleSince()
      if (since === undefined) return undefined
      latest = Math.max(latest, since)
    }
    return latest
  }

  get free(): number {
    return this.#shared.freeFor(this.rank)
  }

  get receives(): boolean {
    return this.member?.receives() ?? true
  }

  /** Nothing of it comes, or nothing of it waits here and its queue has no more just now, as far as is known. */
  get leavesRoom(): boolean {
    if (!this.receives) return true
    if ((this.member?.prefetched() ?? 0) > 0) return false
    const [oldest] = this.#sentAt
    return this.#short || (oldest !== undefined && oldest + waits <= this.#shared.now)
  }

  wants(deliveries: number): void {
    this.#shared.wants(deliveries)
  }

  reserve(asked: number): void {
    this.reserved += asked
    this.#sentAt.push(this.#shared.now)
  }

  answered(asked: number, came: number): void {
    this.reserved -= asked
    this.inFlight += came
    // Which of them it was matters little.
    this.#sentAt.shift()
    this.#short = came < asked
    this.#shared.changed()
  }

  release(): void {
    this.inFlight--
    this.#shared.changed()
  }

  changed(): void {
    this.#shared.changed()
  }
}
