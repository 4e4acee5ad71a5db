/** The queue that the job runs on, and what it has to say of the job afterwards. */
import type { SqsError, SqsQueue } from "@millrace/sqs"
import { Context, type Effect } from "effect"

/** The queue's own account of the job, independent of the consumer's. */
export interface Witness {
  /** How often each message was deleted. */
  readonly acks: ReadonlyMap<string, number>
  readonly deleted: number
  /** Not deleted: visible, in flight or delayed. */
  readonly left: number
  /** Handed out, each time counted. */
  readonly receives: number
  /** The most messages that were handed out and not settled, at any one time. */
  readonly peakInFlight: number
  /** What the consumer called, by operation. */
  readonly calls: Readonly<Record<string, number>>
}

export interface Service {
  readonly queue: SqsQueue.SqsQueue
  /** For the reader: where the queue is. */
  readonly place: string
  /** Messages that wait in the queue. */
  readonly backlog: Effect.Effect<number, SqsError.SqsError>
  /** AWS keeps no such account: there it is what is left in the queue, about. */
  readonly witness: Effect.Effect<Witness | { readonly left: number }, SqsError.SqsError>
}

export class Target extends Context.Tag("Target")<Target, Service>() {}
