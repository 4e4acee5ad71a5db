/**
 * What a consumer has in flight by lane, and how many permits its failed lanes hold: those of what waits here for its
 * retry, and of all that waits behind it. They may keep what nobody else wants; once others need permits, half of them,
 * however many lanes fail.
 */
import { latestFirst } from "./groupOrder.js"

export interface Member<M> {
  readonly message: { readonly id: string; readonly sequence?: string | undefined }
  /** When it runs again, where it is held for it, in milliseconds. */
  readonly heldUntil: number
  /** Since when its handler runs. */
  readonly startedAt: number | undefined
  /** No handler runs on it, and no stage has passed it on: it can go back. */
  readonly waits: boolean
  readonly isSettling: boolean
  lane: Lane<M> | undefined
}

export class Lane<M> {
  readonly name: string
  /** In flight, in the order in which they came. */
  readonly members = new Set<M>()
  /** Of the members, those that are not being settled. */
  staying = 0
  /** Of those, what has failed here and is to run again. */
  readonly failed = new Set<M>()

  constructor(name: string) {
    this.name = name
  }
}

/** What has to go back so that others have room. */
export interface Excess<M> {
  /** Each the last of a lane, latest first; its head stays. */
  readonly tails: ReadonlyArray<ReadonlyArray<M>>
  /** Held for a retry that is not due. */
  readonly heads: ReadonlyArray<M>
}

export class LaneTable<M extends Member<M>> {
  readonly #lanes = new Map<string, Lane<M>>()
  /** Lanes in which something has failed, the oldest failure first. */
  readonly #failing = new Set<Lane<M>>()
  /** What is held, the longest first; also what has become due since. */
  readonly #held = new Set<M>()
  /** Permits of the failing lanes. */
  held = 0
  /** Ids of messages that have failed, the latest last: one that comes again will fail again, most likely. */
  readonly #suspects = new Set<string>()

  get size(): number {
    return this.#lanes.size
  }

  [Symbol.iterator](): IterableIterator<Lane<M>> {
    return this.#lanes.values()
  }

  /** In flight in a lane. */
  in(name: string): Iterable<M> {
    return this.#lanes.get(name)?.members ?? []
  }

  /** Its first lane is the one that counts. */
  join(name: string, member: M): void {
    if (member.lane !== undefined) return
    const lane = this.#lanes.get(name) ?? new Lane<M>(name)
    this.#lanes.set(name, lane)
    member.lane = lane
    lane.members.add(member)
    lane.staying++
    if (lane.failed.size > 0) this.held++
    if (this.#suspects.has(member.message.id)) this.hold(member)
  }

  /** Should it come again, its lane counts as held from the start. */
  failed({ lane, message: { id } }: M): void {
    if (lane === undefined) return
    this.#suspects.delete(id)
    this.#suspects.add(id)
    if (this.#suspects.size <= mostSuspects) return
    for (const oldest of this.#suspects) {
      this.#suspects.delete(oldest)
      break
    }
  }

  succeeded({ message }: M): void {
    this.#suspects.delete(message.id)
  }

  /** It has failed and is to run again: from now on, until it is settled, its lane is held up. */
  hold(member: M): void {
    const { lane } = member
    if (lane === undefined) return
    if (lane.failed.size === 0) {
      this.held += lane.staying
      this.#failing.add(lane)
    }
    lane.failed.add(member)
    this.#held.delete(member)
    this.#held.add(member)
  }

  /** It is being settled, or has ended without. Told once. */
  settles(member: M): void {
    const { lane } = member
    if (lane === undefined) return
    lane.staying--
    if (lane.failed.size > 0) this.held--
    if (!lane.failed.delete(member)) return
    this.#held.delete(member)
    if (lane.failed.size > 0) return
    this.held -= lane.staying
    this.#failing.delete(lane)
  }

  /** It has ended. */
  leave(member: M): void {
    const { lane } = member
    if (lane === undefined) return
    lane.members.delete(member)
    if (lane.members.size === 0) this.#lanes.delete(lane.name)
  }

  /**
   * What has to go back for the failing lanes to hold no more than so many permits. Tails first, the oldest lane's first,
   * and only as much as must: behind a head that stays they cost one receive each, however often it is tried again.
   * Then the heads that have been held the longest.
   */
  excess(most: number, now: number): Excess<M> {
    let left = this.held - most
    const tails: Array<ReadonlyArray<M>> = []
    const heads: Array<M> = []
    for (const lane of this.#failing) {
      if (left <= 0) break
      if (lane.staying === lane.failed.size) continue
      const tail = tailOf(lane, left)
      left -= tail.length
      if (tail.length > 0) tails.push(tail)
    }
    for (const member of this.#held) {
      if (left <= 0) break
      if (member.startedAt === undefined && member.heldUntil > now) {
        heads.push(member)
        left--
      } else {
        this.#held.delete(member)
      }
    }
    return { tails, heads }
  }
}

const mostSuspects = 10_000

/** The last of a lane, as far as nothing in between would be left behind: that would be overtaken. */
const tailOf = <M extends Member<M>>(lane: Lane<M>, most: number): ReadonlyArray<M> => {
  const tail: Array<M> = []
  for (const member of latestFirst(lane.members)) {
    if (tail.length === most) break
    if (member.isSettling) continue
    if (lane.failed.has(member) || !member.waits) break
    tail.push(member)
  }
  return tail
}
