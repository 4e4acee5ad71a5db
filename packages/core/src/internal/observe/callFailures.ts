/** Calls to the queue that failed, told to the counters and the log; and what the queue does not let be done. */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as LeaseQueue from "../../LeaseQueue.js"
import * as Reason from "../../Reason.js"
import type { Fork } from "../effect/fork.js"
import { FatalGrace } from "../receive/fatalGrace.js"
import type { Operation } from "../settle/entry.js"
import type { ConsumerMetrics } from "./metrics.js"
import type { Notices } from "./notices.js"

/** What they need of their consumer. */
export interface Host<E> {
  readonly queue: LeaseQueue.LeaseQueue<E>
  readonly runFork: Fork
  readonly now: () => number
  readonly metrics: ConsumerMetrics
  readonly notices: Notices
  /** Acks have been refused for too long. */
  readonly onNoAcks: (error: E) => void
}

/** What the queue does not let be done, and what follows. */
const refusals: Readonly<Record<Operation, (queue: string) => string>> = {
  Ack: (queue) =>
    `messages of ${queue} cannot be deleted (SQS: sqs:DeleteMessage), and come again; where that goes on, the stream ends`,
  SetLease: (queue) =>
    `messages of ${queue} cannot be delayed or given back (SQS: sqs:ChangeMessageVisibility), and come again when their leases end`,
  DeadLetter: (queue) =>
    `messages of ${queue} cannot be dead-lettered (SQS: sqs:SendMessage on the dead-letter queue), and are left to the queue`
}

export class CallFailures<E> {
  readonly #host: Host<E>
  readonly #fatalGrace: Duration.Duration
  readonly #acks: FatalGrace
  /** A streak is one notice: the rest of it is at debug. */
  #receiveFails = false

  constructor(host: Host<E>, fatalGrace: Duration.Duration) {
    this.#host = host
    this.#fatalGrace = fatalGrace
    this.#acks = new FatalGrace(Duration.toMillis(fatalGrace))
  }

  received(): void {
    this.#receiveFails = false
  }

  acked(): void {
    this.#acks.succeeded()
  }

  /** `again` tells whether it is tried again. */
  ofReceive(error: E, kind: LeaseQueue.ErrorKind, again: boolean): void {
    const { metrics, notices, queue, runFork } = this.#host
    metrics.add("receiveErrors")
    const grace = Duration.format(this.#fatalGrace)
    const follows = !again ? "" : kind === "fatal" ? `, trying again for up to ${grace}` : ", trying again"
    const text = `could not receive from ${queue.name} (${kind})${follows}: ${Reason.of(error)}`
    // What ends the stream is told with its end.
    if (this.#receiveFails || !again) runFork(Effect.logDebug(text))
    // Where some receives succeed and some fail, streaks are many.
    else notices.ofKind(`receive ${kind}`, text)
    if (again) this.#receiveFails = true
  }

  // A queue that takes no acks (a missing permission, say) must not look healthy for ever. What else it refuses concerns
  // single messages, and they come again by themselves.
  ofSettlement(error: E, operation: Operation): void {
    const { metrics, notices, now, onNoAcks, queue } = this.#host
    metrics.add("settleErrors")
    if (queue.errorKind(error) !== "fatal") return
    notices.ofKind(`refused ${operation}`, `${refusals[operation](queue.name)}: ${Reason.of(error)}`)
    if (operation === "Ack" && this.#acks.failed(now())) onNoAcks(error)
  }

  ofExtension(error: E): void {
    const { metrics, notices, queue } = this.#host
    metrics.add("extendErrors")
    if (queue.errorKind(error) !== "fatal") return
    notices.ofKind(
      "refused extension",
      `${queue.name} does not let leases be extended (SQS: sqs:ChangeMessageVisibility): what takes longer than ${Duration.format(queue.leaseDuration)} runs again elsewhere: ${Reason.of(error)}`
    )
  }
}
