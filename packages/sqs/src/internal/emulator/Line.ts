/**
 * Which message is received next.
 *
 * A standard queue hands out what is visible, the longest visible first. A FIFO queue follows one rule: a message is
 * receivable unless an earlier message of its group is in flight (or still delayed). So a group is ready exactly when
 * its oldest message is visible, and what can be received of it is the run of visible messages at its head.
 *
 * Every operation costs O(1), whatever number of messages and groups there is.
 */
import { List } from "./List.js"
import type { Lane, StoredMessage } from "./StoredMessage.js"

export interface Line {
  /** The message is new: visible or delayed. */
  readonly sent: (message: StoredMessage) => void
  /** The message's lease or delay is over: its state is visible now. */
  readonly returned: (message: StoredMessage) => void
  /** The message is no longer in the queue. */
  readonly gone: (message: StoredMessage) => void
  /** What is received next. */
  readonly first: () => StoredMessage | undefined
  /** Offers receivable messages, in order, until `max` are taken. What is not taken has left the queue meanwhile. */
  readonly take: (max: number, offer: (message: StoredMessage) => boolean) => void
}

export const standard = (): Line => {
  const visible = new List<StoredMessage>()
  return {
    sent: (message) => {
      if (message.state === "visible") visible.append(message)
    },
    returned: (message) => visible.append(message),
    gone: (message) => {
      if (message.state === "visible") visible.remove(message)
    },
    first: () => visible.head,
    take: (max, offer) => {
      for (let taken = 0; taken < max && visible.head !== undefined; ) {
        const message = visible.head
        if (offer(message)) {
          visible.remove(message)
          taken++
        }
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

  return {
    sent: (message) => {
      const lane = laneOf(message.content.group ?? "")
      message.lane = lane
      lane.messages.append(message)
      update(lane)
    },
    returned: (message) => {
      if (message.lane !== undefined) update(message.lane)
    },
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
