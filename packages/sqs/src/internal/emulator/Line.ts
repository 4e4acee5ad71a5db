/**
 * Which message is received next.
 *
 * A standard queue hands out what is visible, in the order of sending: a message whose lease is over is before what was
 * sent later. One that is given back at once (a timeout of 0) goes to the end, so that others get their turn. A FIFO queue follows one rule: a message is
 * receivable unless an earlier message of its group is in flight (or still delayed). So a group is ready exactly when
 * its oldest message is visible, and what can be received of it is the run of visible messages at its head.
 *
 * Every operation costs O(1), whatever number of messages and groups there is; on a standard queue O(log n) in those
 * that have come back.
 */
import { Heap, Timer } from "./Heap.js"
import { List } from "./List.js"
import type { Lane, StoredMessage } from "./StoredMessage.js"

export interface Line {
  /** The message is new: visible or delayed. */
  readonly sent: (message: StoredMessage) => void
  /** The message's lease or delay is over: its state is visible now. */
  readonly returned: (message: StoredMessage) => void
  /** The message is given back before it could be held: its state is visible now. */
  readonly released: (message: StoredMessage) => void
  /** The message is no longer in the queue. */
  readonly gone: (message: StoredMessage) => void
  /** What is received next. */
  readonly first: () => StoredMessage | undefined
  /** Offers receivable messages, in order, until `max` are taken. What is not taken has left the queue meanwhile. */
  readonly take: (max: number, offer: (message: StoredMessage) => boolean) => void
}

export const standard = (): Line => {
  let sent = 0
  const fresh = new List<StoredMessage>()
  /** By their turn. */
  const returned = new Heap<StoredMessage>()

  const first = (): StoredMessage | undefined => {
    const back = returned.peek()?.owner
    const next = fresh.head
    return back === undefined || (next !== undefined && next.turn < back.turn) ? next : back
  }
  const gone = (message: StoredMessage): void => {
    if (message.back !== undefined && message.back.slot !== -1) returned.remove(message.back)
    else fresh.remove(message)
  }

  const queueUp = (message: StoredMessage): void => {
    message.turn = ++sent
    if (message.state === "visible") fresh.append(message)
  }

  return {
    sent: queueUp,
    released: queueUp,
    returned: (message) => {
      message.back ??= new Timer<StoredMessage>(message, message.no, message.turn)
      message.back.at = message.turn
      returned.put(message.back)
    },
    gone: (message) => {
      if (message.state === "visible") gone(message)
    },
    first,
    take: (max, offer) => {
      let taken = 0
      for (let message = first(); taken < max && message !== undefined; message = first()) {
        if (!offer(message)) continue
        gone(message)
        taken++
      }
    }
  }
}

export const fifo = (): Line => {
  const lanes = new Map<string, Lane>()
  const ready = new List<Lane>()

  const update = (lane: Lane): void => {
    const head = lane.messages.head
    const isReady = head?.state === "visible"
    if (isReady !== lane.ready) {
      lane.ready = isReady
      if (isReady) ready.append(lane)
      else ready.remove(lane)
    }
    if (head === undefined && lanes.get(lane.group) === lane) lanes.delete(lane.group)
  }

  const laneOf = (group: string): Lane => {
    const present = lanes.get(group)
    if (present !== undefined) return present
    const lane: Lane = { group, messages: new List(), ready: false, previous: undefined, next: undefined }
    lanes.set(group, lane)
    return lane
  }

  const returned = (message: StoredMessage): void => {
    if (message.lane !== undefined) update(message.lane)
  }

  return {
    sent: (message) => {
      const lane = laneOf(message.content.group ?? "")
      message.lane = lane
      lane.messages.append(message)
      update(lane)
    },
    returned,
    released: returned,
    gone: (message) => {
      const lane = message.lane
      if (lane === undefined) return
      message.lane = undefined
      lane.messages.remove(message)
      update(lane)
    },
    first: () => ready.head?.messages.head,
    take: (max, offer) => {
      let taken = 0
      while (taken < max && ready.head !== undefined) {
        const lane = ready.head
        let message = lane.messages.head
        while (taken < max && message?.state === "visible") {
          const next: StoredMessage | undefined = message.next
          if (offer(message)) taken++
          message = next
        }
        update(lane)
      }
    }
  }
}
