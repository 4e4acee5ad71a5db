/** The letters of a dead-letter queue, and what came of sending them back. Public by `SqsDeadLetter`. */
import type * as LeaseQueue from "@millrace/core/LeaseQueue"

/** A message of a dead-letter queue, with what is known of how it came there. */
export interface DeadLetter {
  readonly id: string
  /**
   * Opened where its sender had encoded it and it opens, each time that it is read: nothing is opened that nobody reads,
   * and a list of letters holds none open. In `message` it is as it was received.
   */
  readonly body: string
  /** Why, where a consumer of ours dead-lettered it; SQS itself gives no reason. */
  readonly reason: string | undefined
  /** What its handler failed with, where a consumer of ours said so. */
  readonly error: string | undefined
  /** Which attempt was the last, where a consumer of ours said so. */
  readonly attempt: number | undefined
  /** The queue it came from: as SQS says, which is an ARN, or as a consumer of ours said. */
  readonly source: string | undefined
  readonly group: string | undefined
  /** How often it was received, in its source and here. */
  readonly receiveCount: number
  /** In milliseconds since the epoch: in its source where SQS moved it, to here where a consumer sent it. */
  readonly sentAt: number | undefined
  /** Its own, less those that a consumer of ours added. */
  readonly attributes: Readonly<Record<string, LeaseQueue.Attribute>>
  /** As it was received. */
  readonly message: LeaseQueue.Message
}

/** A message that could not be sent back, or was and is still in the dead-letter queue. */
export interface NotSentBack {
  readonly letter: DeadLetter
  readonly reason: string
  /** It was sent, and could not be deleted from the dead-letter queue: it is in both. */
  readonly sent: boolean
}

export interface SendBackReport {
  /** Sent, and deleted from the dead-letter queue. */
  readonly sentBack: number
  /** Left where they were: by the filter, over `max`, or because they came after the start. */
  readonly kept: number
  readonly failed: ReadonlyArray<NotSentBack>
}
