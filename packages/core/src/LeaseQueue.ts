/**
 * The port: a queue that leases its messages. Everything else in this package is built on these few operations, so
 * that another queue is one module that provides them (its tests call the conformance suite in `./testing`).
 */
import type * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import type * as Either from "effect/Either"

/** The right to work on a message until it runs out, as the queue names it (SQS: the receipt handle). */
export interface Lease {
  readonly messageId: string
  readonly handle: string
}

/** A typed attribute that travels beside the body. */
export type Attribute =
  | { readonly type: "String"; readonly value: string; readonly label?: string | undefined }
  | { readonly type: "Number"; readonly value: string; readonly label?: string | undefined }
  | { readonly type: "Binary"; readonly value: Uint8Array; readonly label?: string | undefined }

/** A received message and its lease. */
export interface Message {
  readonly id: string
  readonly body: string
  readonly lease: Lease
  /** The user's attributes. */
  readonly attributes: Readonly<Record<string, Attribute>>
  /** How often the queue has handed this message out, this time included: 1 the first time. */
  readonly attempt: number
  /** The ordering key (SQS `MessageGroupId`). */
  readonly group: string | undefined
  /** The place in the order of its group, where the queue is ordered. Compares as text. */
  readonly sequence: string | undefined
  /** When it was sent, and when it was first received, in milliseconds since the epoch, where the queue says. */
  readonly sentAt: number | undefined
  readonly firstReceivedAt: number | undefined
  /**
   * Since when it is leased, at the earliest, in milliseconds since the epoch by this computer's clock, where the queue
   * knows: an answer may be read long after it was given. Default: since it was read.
   */
  readonly leasedAt?: number | undefined
  /**
   * Which receive brought it, where the queue wants what came with one receive settled and extended in the same calls
   * (SQS: FIFO queues). Default: calls take what is due, whatever brought it.
   */
  readonly receive?: number | undefined
  /** What else the queue tells of the message, by the queue's own names. */
  readonly system: Readonly<Record<string, string>>
  /**
   * Reads what its sender has encoded, compressed for instance, where the message says so: the decode stages give it the
   * body, which stays here as it was received. A left says what is wrong.
   */
  readonly open?: ((body: string) => Either.Either<string, string>) | undefined
}

/** Why one entry of a batch failed. */
export interface EntryFailure {
  /**
   * - `LeaseLost`: the lease is over or never was; trying again is no use.
   * - `Transient`: the queue could not just now; try this entry again.
   * - `Rejected`: the queue will never take this entry.
   */
  readonly reason: "LeaseLost" | "Transient" | "Rejected"
  readonly message: string
}

/** One entry's own result; results stand in the order of the entries. */
export type EntryResult = Either.Either<void, EntryFailure>

/**
 * What kind of failure an error of a whole call is.
 *
 * - `throttled`: slow down, then try again.
 * - `transient`: the network or the service failed; try again.
 * - `fatal`: no use trying: no such queue, access denied, bad credentials, a missing key.
 */
export type ErrorKind = "throttled" | "transient" | "fatal"

/** What the queue can take and promises. */
export interface Limits {
  /** Entries a call, at most (SQS: 10). */
  readonly batchSize: number
  /** The longest time that one receive may wait for a first message (SQS: 20 seconds). */
  readonly maxWait: Duration.Duration
  /** The longest a message may be leased in total, from its receive (SQS: 12 hours). */
  readonly maxLease: Duration.Duration
  /** Whether messages of one group arrive, and must be worked on, in order (SQS: FIFO queues). */
  readonly ordered: boolean
  /**
   * How long a message may be kept here for its retry, at most. Default: as long as its lease can be kept. None (zero) where
   * waiting is dear: the other messages of a Lambda event would wait too.
   */
  readonly maxHold?: Duration.Duration | undefined
  /** Whether its messages may have groups. Default true. */
  readonly groups?: boolean | undefined
}

export interface ReceiveRequest {
  /** 1 to `limits.batchSize`. */
  readonly max: number
  /** How long to wait for a first message: zero to `limits.maxWait`. */
  readonly wait: Duration.Duration
  /**
   * Names this receive, so that one whose response was lost can be repeated: an ordered queue then answers with the
   * same messages (SQS: `ReceiveRequestAttemptId`, for 5 minutes).
   */
  readonly attemptId: string | undefined
  /**
   * Completes when the caller wants no more. A queue that can end its wait without leasing answers then with none (a
   * queue in memory); one that cannot, because the request is on the wire, takes no notice (SQS).
   */
  readonly stop?: Effect.Effect<void> | undefined
}

export interface SetLeaseEntry {
  readonly lease: Lease
  /** From now on. Zero makes the message visible at once. */
  readonly duration: Duration.Duration
  /** It is left to the queue, whose own timeout `duration` is: one that sees to that by itself has nothing to do. */
  readonly left?: boolean | undefined
}

export interface DeadLetterEntry {
  readonly message: Message
  /** Why, in a line; kept with the message. */
  readonly reason: string
  /** The tag or name of the error that was the reason, if one was. */
  readonly error?: string | undefined
  /** Which attempt failed, runs in place included. */
  readonly attempt?: number | undefined
}

/** The connections of the client behind a queue: one that has none free makes calls wait before they are sent. */
export interface Connections {
  /** At most, open now, and calls that wait for one. */
  readonly max: number
  readonly open: number
  readonly waiting: number
}

/**
 * @typeParam E - how a whole call fails; one entry's failure is in its result.
 */
export interface LeaseQueue<E> {
  readonly name: string
  /** What traces call its system: `messaging.system` of OpenTelemetry's conventions (SQS: `aws_sqs`). */
  readonly system?: string | undefined
  /** What else its spans say of it, by the conventions' names (SQS: `aws.sqs.queue.url`). */
  readonly spanAttributes?: Readonly<Record<string, string | number>> | undefined
  readonly limits: Limits
  /** How long a receive leases its messages (SQS: the visibility timeout). */
  readonly leaseDuration: Duration.Duration
  /** After how many receives the queue takes a message away by itself, if it does (SQS: `maxReceiveCount`). */
  readonly maxAttempts?: number | undefined
  /** Where its client knows: looked at for figures, never to decide anything. */
  readonly connections?: Effect.Effect<Connections> | undefined
  /** Leases up to `max` messages; answers as soon as there is one, with none once `wait` is over. */
  readonly receive: (request: ReceiveRequest) => Effect.Effect<ReadonlyArray<Message>, E>
  /** Deletes: the work is done. At most `limits.batchSize` leases. */
  readonly ack: (leases: ReadonlyArray<Lease>) => Effect.Effect<ReadonlyArray<EntryResult>, E>
  /** Extends, delays or gives back: the lease now ends `duration` from now. At most `limits.batchSize` entries. */
  readonly setLease: (entries: ReadonlyArray<SetLeaseEntry>) => Effect.Effect<ReadonlyArray<EntryResult>, E>
  /**
   * Moves messages to where failed ones are kept: stored there first, deleted here after. `undefined` where the queue
   * has no such place.
   */
  readonly deadLetter:
    | ((entries: ReadonlyArray<DeadLetterEntry>) => Effect.Effect<ReadonlyArray<EntryResult>, E>)
    | undefined
  /** What kind of failure an error is: the only thing that retrying needs to know of it. */
  readonly errorKind: (error: E) => ErrorKind
}
