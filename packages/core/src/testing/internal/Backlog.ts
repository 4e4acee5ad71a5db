import { Heap } from "../../internal/data/heap.js"
import type { Attribute } from "../../LeaseQueue.js"
import { Fifo, type Linked } from "./Fifo.js"

/** A message as the queue keeps it. */
export class Entry implements Linked<Entry> {
  next: Entry | undefined
  state: "visible" | "inFlight" | "gone" = "visible"
  attempt = 0
  handle = ""
  receivedAt = 0
  firstReceivedAt: number | undefined
  deadline = 0
  /** Its index in the heap of deadlines, or -1. */
  slot = -1
  /** The receive that may be repeated for as long as this entry is as that left it. */
  attemptId: string | undefined
  readonly number: number
  readonly id: string
  readonly body: string
  readonly group: string | undefined
  readonly attributes: Readonly<Record<string, Attribute>>
  readonly sentAt: number

  constructor(
    number: number,
    id: string,
    body: string,
    group: string | undefined,
    attributes: Readonly<Record<string, Attribute>>,
    sentAt: number
  ) {
    this.number = number
    this.id = id
    this.body = body
    this.group = group
    this.attributes = attributes
    this.sentAt = sentAt
  }
}

/** Which visible messages may be received, and in what order. An entry's `state` is set before a backlog is told. */
export interface Backlog {
  /** Whether a receive may find something; now and then true in vain, never false in vain. */
  readonly receivable: boolean
  readonly send: (entry: Entry) => void
  /** It was in flight and is visible again. */
  readonly giveBack: (entry: Entry) => void
  /** It is gone. */
  readonly remove: (entry: Entry) => void
  /** Takes up to `max` entries that `accept` agrees to (and sets in flight); the others are gone. */
  readonly take: (max: number, accept: (entry: Entry) => boolean) => Array<Entry>
}

/** Any message, oldest first; one that was given back queues behind. */
export const standard = (): Backlog => {
  const entries = new Fifo<Entry>()
  return {
    get receivable() {
      return entries.peek !== undefined
    },
    send: (entry) => entries.push(entry),
    giveBack: (entry) => entries.push(entry),
    // One deleted while visible stays where it is until it comes to the front.
    remove: () => {},
    take: (max, accept) => {
      const taken: Array<Entry> = []
      while (taken.length < max) {
        const entry = entries.shift()
        if (entry === undefined) break
        if (entry.state === "visible" && accept(entry)) taken.push(entry)
      }
      return taken
    }
  }
}

class Group implements Linked<Group> {
  next: Group | undefined
  ready = false
  /** Entries that are not gone. */
  size = 0
  /** Sent and never received: all of them later than any that was. */
  readonly fresh = new Fifo<Entry>()
  readonly returned = new Heap<Entry>((a, b) => a.number < b.number)
  /**
   * In flight, the earliest on top: whatever is received is earlier than all that is in flight, so a stack keeps the
   * order by itself. What has left is dropped when it comes to the top.
   */
  readonly leased: Array<Entry> = []

  get head(): Entry | undefined {
    return this.returned.peek ?? this.fresh.peek
  }

  get receivable(): boolean {
    const head = this.head
    if (head === undefined) return false
    const blocker = this.blocker()
    return blocker === undefined || head.number < blocker.number
  }

  blocker(): Entry | undefined {
    let top = this.leased.at(-1)
    while (top !== undefined && top.state !== "inFlight") {
      this.leased.pop()
      top = this.leased.at(-1)
    }
    return top
  }

  shift(): Entry | undefined {
    return this.returned.pop() ?? this.fresh.shift()
  }
}

/** By group: a message is receivable unless an earlier one of its group is in flight. */
export const ordered = (): Backlog => {
  const groups = new Map<string | undefined, Group>()
  const ready = new Fifo<Group>()

  const changed = (key: string | undefined, group: Group) => {
    if (group.size === 0 && !group.ready) {
      groups.delete(key)
    } else if (!group.ready && group.receivable) {
      group.ready = true
      ready.push(group)
    }
  }

  const groupOf = (entry: Entry): Group => {
    let group = groups.get(entry.group)
    if (group === undefined) {
      group = new Group()
      groups.set(entry.group, group)
    }
    return group
  }

  return {
    get receivable() {
      return ready.peek !== undefined
    },
    send: (entry) => {
      const group = groupOf(entry)
      group.size += 1
      group.fresh.push(entry)
      changed(entry.group, group)
    },
    giveBack: (entry) => {
      const group = groupOf(entry)
      group.returned.push(entry)
      changed(entry.group, group)
    },
    remove: (entry) => {
      const group = groupOf(entry)
      group.size -= 1
      changed(entry.group, group)
    },
    // Drains one group's run before it turns to the next.
    take: (max, accept) => {
      const taken: Array<Entry> = []
      while (taken.length < max) {
        const group = ready.shift()
        if (group === undefined) break
        group.ready = false
        const key = group.head?.group
        const from = taken.length
        while (taken.length < max && group.receivable) {
          const entry = group.shift()
          if (entry === undefined) break
          if (accept(entry)) taken.push(entry)
          else group.size -= 1
        }
        for (let i = taken.length - 1; i >= from; i--) group.leased.push(taken[i] as Entry)
        changed(key, group)
      }
      return taken
    }
  }
}
