/**
 * The order of sending, and what each call takes. On a FIFO queue a lane is a group's messages that wait: its head is
 * sent when what went before has its result, and what is being tried again keeps its lane shut. On a standard queue all
 * messages are one lane, whose calls need not wait for each other.
 *
 * A group's messages stay together: a call begins with the lane that has waited longest, and is filled up with lanes that
 * fit into it whole, so that none is spread over more calls than it needs (fact 100).
 */
import { mostEntries } from "../message/limits.js"
import type { Entry } from "./entry.js"

interface Lane {
  readonly group: string | undefined
  /** Those of one call at most, and whether the next call waits for the end of this. */
  readonly perCall: number
  readonly exclusive: boolean
  head: Entry | undefined
  tail: Entry | undefined
  /** Those, from the head, that the next call could take; none while the lane is shut. */
  offered: number
  offeredBytes: number
  /** Those in the air, or to be tried again. */
  outstanding: number
}

const newLane = (group: string | undefined, perCall: number, exclusive: boolean): Lane => ({
  group,
  perCall,
  exclusive,
  head: undefined,
  tail: undefined,
  offered: 0,
  offeredBytes: 0,
  outstanding: 0
})

export interface Options {
  readonly fifo: boolean
  readonly maxPerGroup: number
  readonly callBytes: number
}

export class Lanes {
  readonly #options: Options
  /** FIFO: the lanes that hold something or have something in the air. */
  readonly #lanes = new Map<string, Lane>()
  readonly #onlyLane: Lane | undefined
  /** The lanes that offer something, in the order in which they came to. */
  readonly #ready = new Set<Lane>()
  #offered = 0
  #offeredBytes = 0

  constructor(options: Options) {
    this.#options = options
    this.#onlyLane = options.fifo ? undefined : newLane(undefined, Infinity, false)
  }

  /** Messages that calls could take now. */
  get offered(): number {
    return this.#offered
  }

  /** Nothing that may still come could join the next call. */
  get isFull(): boolean {
    return this.#offered >= mostEntries || this.#offeredBytes >= this.#options.callBytes
  }

  /** Until when the next call may wait for others to share it. */
  get due(): number {
    let due = Infinity
    for (const { head } of this.#ready) if (head !== undefined && head.due < due) due = head.due
    return due
  }

  add(entry: Entry): void {
    const lane = this.#onlyLane ?? this.#laneOf(entry.fields.MessageGroupId ?? "")
    if (lane.tail === undefined) lane.head = entry
    else lane.tail.next = entry
    lane.tail = entry
    if (lane.outstanding === 0 && lane.offered < lane.perCall) this.#offer(lane, entry)
  }

  /** Takes what the next call is to hold. */
  form(most: number): Array<Entry> {
    const batch: Array<Entry> = []
    let room = this.#options.callBytes
    for (const lane of this.#ready) {
      if (batch.length > 0 && (batch.length + lane.offered > most || lane.offeredBytes > room)) continue
      let taken = 0
      let head = lane.head
      while (head !== undefined && taken < lane.perCall && batch.length < most && head.size <= room) {
        batch.push(head)
        room -= head.size
        taken += 1
        lane.head = head.next
        if (head.next === undefined) lane.tail = undefined
        lane.offered -= 1
        lane.offeredBytes -= head.size
        this.#offered -= 1
        this.#offeredBytes -= head.size
        head.next = undefined
        head = lane.head
      }
      if (lane.exclusive && taken > 0) {
        lane.outstanding = taken
        this.#shut(lane)
      } else if (head === undefined) this.#ready.delete(lane)
      if (batch.length >= most) break
    }
    return batch
  }

  /**
   * A message has its result. The last one of its call opens its lane: where other groups' calls are under way, what
   * comes back with them may share the next call until `later`.
   */
  done(entry: Entry, later: () => number): void {
    const lane = this.#onlyLane ?? this.#lanes.get(entry.fields.MessageGroupId ?? "")
    if (lane?.exclusive === true && --lane.outstanding === 0) this.#open(lane, later)
  }

  #laneOf(group: string): Lane {
    const present = this.#lanes.get(group)
    if (present !== undefined) return present
    const lane = newLane(group, this.#options.maxPerGroup, true)
    this.#lanes.set(group, lane)
    return lane
  }

  #offer(lane: Lane, entry: Entry): void {
    this.#ready.add(lane)
    lane.offered += 1
    lane.offeredBytes += entry.size
    this.#offered += 1
    this.#offeredBytes += entry.size
  }

  #shut(lane: Lane): void {
    this.#ready.delete(lane)
    this.#offered -= lane.offered
    this.#offeredBytes -= lane.offeredBytes
    lane.offered = 0
    lane.offeredBytes = 0
  }

  #open(lane: Lane, later: () => number): void {
    const { head } = lane
    if (head === undefined) {
      if (lane.group !== undefined) this.#lanes.delete(lane.group)
      return
    }
    const othersInTheAir = this.#lanes.size > this.#ready.size + 1
    if (othersInTheAir) head.due = Math.max(head.due, later())
    for (let entry: Entry | undefined = head; entry !== undefined && lane.offered < lane.perCall; entry = entry.next) {
      this.#offer(lane, entry)
    }
  }
}
