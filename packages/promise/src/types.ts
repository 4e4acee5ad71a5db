/** What consumers and producers are given and give, in plain types. */
import type { SQSClient } from "@aws-sdk/client-sqs"

type Unit = "milli" | "millis" | "second" | "seconds" | "minute" | "minutes" | "hour" | "hours" | "day" | "days"

/** Milliseconds, or a text such as `"30 seconds"`. */
export type Time = number | `${number} ${Unit}`

export interface Credentials {
  readonly accessKeyId: string
  readonly secretAccessKey: string
  readonly sessionToken?: string | undefined
}

/** What the emulator of `@millrace/promise/testing` gives in place of a client of the SDK. */
export interface EmulatedClient {
  readonly emulated: true
}

/** Where lines go: `console`, pino and winston fit. */
export interface Logger {
  readonly debug: (message: string) => void
  readonly info: (message: string) => void
  readonly warn: (message: string) => void
  readonly error: (message: string) => void
}

/** How SQS is reached, and where lines go. */
export interface ConnectionOptions {
  /**
   * A client of the AWS SDK that you have, or an emulator's. Give the SDK's `maxAttempts: 1` and sockets enough. It is never
   * closed here. Default: one of our own, by the options below.
   */
  readonly client?: SQSClient | EmulatedClient | undefined
  /** Default: `AWS_REGION` or `AWS_DEFAULT_REGION`, else the profile's region. */
  readonly region?: string | undefined
  /**
   * Such as `http://localhost:4566`. Default: `AWS_ENDPOINT_URL_SQS` or `AWS_ENDPOINT_URL` where set and not
   * `AWS_IGNORE_CONFIGURED_ENDPOINT_URLS` too, else AWS.
   */
  readonly endpoint?: string | undefined
  /** Default: the SDK's chain (environment, profile, SSO, container, instance). */
  readonly credentials?: Credentials | undefined
  /** Connections at once, at most. Default 256. */
  readonly maxSockets?: number | undefined
  /** Where lines go; `false` is nowhere. Default: standard output. */
  readonly logger?: Logger | false | undefined
}

/** A message as it was received. */
export interface Message {
  readonly id: string
  /** The raw body. */
  readonly body: string
  /** The sender's attributes. */
  readonly attributes: Readonly<Record<string, { readonly type: string; readonly value: string | Uint8Array }>>
  /** SQS `MessageGroupId`. */
  readonly group: string | undefined
  /** In milliseconds since the epoch. */
  readonly sentAt: number | undefined
  /** SQS's own attributes, by its names. */
  readonly system: Readonly<Record<string, string>>
}

/** What a handler is told beside the body. */
export interface Context {
  /** Fires when `timeout` is over, when the lease is lost, and when the consumer stops; its `reason` says which. */
  readonly signal: AbortSignal
  readonly message: Message
  /** From 1: every receive counts, and the runs again in this process. */
  readonly attempt: number
  /** The queue's name. */
  readonly queue: string
  /** Makes the lease end so long from now. Leases are extended by themselves: this is for more. */
  readonly extend: (time: Time) => Promise<void>
}

/** What a batch's handler is told beside the bodies. */
export interface BatchContext {
  readonly signal: AbortSignal
  /** In the order of the bodies. */
  readonly messages: ReadonlyArray<Message>
  readonly attempts: ReadonlyArray<number>
}

export interface FailedMessage {
  readonly message: Message
  readonly attempt: number
}

/** `deadLetter`: to the dead-letter queue of its redrive policy. `leave`: to SQS, by its own timeout. `discard`: deleted. */
export type End = "deadLetter" | "leave" | "discard"

export interface RetryOptions {
  /** How often a message is tried before it goes the way of `deadLetter`: every receive counts. Default: no end of ours. */
  readonly attempts?: number | undefined
  /** Before the second attempt. Default 1 second. */
  readonly delay?: Time | undefined
  /** By what each further delay is longer. 1 keeps it. Default 2. */
  readonly factor?: number | undefined
  /** Default 15 minutes. */
  readonly maxDelay?: Time | undefined
  /** Delays differ by a fifth to either side, so that what failed together does not come together. Default true. */
  readonly jitter?: boolean | undefined
}

/** What comes after this failure: again after a while, or an end. */
export type Decide = (error: unknown, failed: FailedMessage) => { readonly retryIn: Time } | End

/** What SQS messages were done is kept in; a layer of `@millrace/redis`, `@millrace/sql` or `@millrace/dynamodb`, or `memoryStore()`. */
export interface Store {
  readonly pipe: unknown
}

export interface OnceOptions<A> {
  readonly store: Store
  /** Best one of the business, such as `ship ${order.id}`. Default: the message's id. */
  readonly key?: ((body: A) => string) | undefined
  /** How long a key is remembered. Default 4 days. */
  readonly keepFor?: Time | undefined
  /** `fail`: the handler does not run. `run`: it runs without protection. Default `fail`. */
  readonly whenStoreFails?: "fail" | "run" | undefined
}

/** What all ways to receive share. */
export interface ReceiveOptions extends ConnectionOptions {
  /** A name, a URL or an ARN. */
  readonly queue: string
  /** Messages in flight at once, at most: received ahead, running, or waiting for their delete to be confirmed. Default 100. */
  readonly maxInFlight?: number | undefined
  /** Default: the queue's own. Leases are extended for as long as handlers run, so it need not be as long as they. */
  readonly visibilityTimeout?: Time | undefined
  /** Whether leases are extended by themselves. Default true. */
  readonly heartbeat?: boolean | undefined
  /** How long a receive waits for a first message. Default 20 seconds. */
  readonly wait?: Time | undefined
  /** Messages received a second, at most. Default: no limit. */
  readonly perSecond?: number | undefined
  /** How long a receive that is open is awaited on a stop. Default 2 seconds. */
  readonly pollGrace?: Time | undefined
  /**
   * It stops (a loop ends) once the queue has been empty for so long, for jobs and scripts: nothing in flight here, and receives
   * that bring nothing, which it sees every `wait`. What others have in flight, or sent with a delay, is not seen. Default: it goes on.
   */
  readonly stopWhenIdle?: Time | undefined
}

/** What all that settles by itself shares. */
export interface SettleOptions<A> extends ReceiveOptions {
  /** Handlers (batches) at once. Default 10 (1). */
  readonly concurrency?: number | undefined
  /** A handler that takes longer has failed. Default: no limit. */
  readonly timeout?: Time | undefined
  /** Default: after 1, 2, 4 … seconds, at most 15 minutes, until the queue's redrive policy takes it; a body that is none is dead-lettered. */
  readonly retry?: RetryOptions | Decide | End | undefined
  /**
   * Whether what failed for `retry.attempts`, which it needs, goes to the dead-letter queue of the redrive policy, with the reason,
   * or is left to SQS.
   * A function says of an error that no further attempt is of use. Default: it is left.
   */
  readonly deadLetter?: boolean | ((error: unknown, failed: FailedMessage) => boolean) | undefined
  /** A key that is done is not done again. Default: none. */
  readonly once?: OnceOptions<A> | undefined
  /**
   * `auto`: groups in order on FIFO queues. `group`: on standard queues too. `none`: nowhere. A function: bodies of equal keys.
   * Default `auto`.
   */
  readonly sequence?: "auto" | "group" | "none" | ((body: A) => string | undefined) | undefined
  /** How long handlers may go on after `stop()`. Default 20 seconds. */
  readonly stopTimeout?: Time | undefined
}

export interface StopReport {
  /** Settled in time. */
  readonly finished: number
  /** Given back to the queue. */
  readonly released: number
  /** Without a confirmation; SQS delivers them again. */
  readonly lost: number
  /** Leases that nobody has until their timeout, at most. */
  readonly stranded: number
}

/** What it has done so far, and what it holds. */
export interface Stats {
  readonly received: number
  readonly redelivered: number
  /** Handlers that succeeded, and that failed. */
  readonly handled: number
  readonly failed: number
  /** Deleted. */
  readonly acked: number
  readonly retried: number
  readonly released: number
  readonly deadLettered: number
  readonly left: number
  readonly lost: number
  readonly polls: number
  readonly emptyPolls: number
  readonly receiveErrors: number
  readonly settleErrors: number
  readonly inFlight: number
  readonly maxInFlight: number
}

export interface Health {
  readonly healthy: boolean
  /** What is wrong, a sentence each, with what to look at. */
  readonly problems: ReadonlyArray<string>
  readonly inFlight: number
  readonly running: number
  readonly paused: boolean
}

/** How a message ended. `acked` is deleted. */
export type Outcome = "acked" | "retried" | "released" | "deadLettered" | "left" | "lost"

export interface Events {
  started: []
  stopped: [report: StopReport]
  paused: []
  resumed: []
  /** A handler begins. */
  message_received: [failed: FailedMessage]
  /** A handler has ended well; the delete is under way. */
  message_processed: [done: FailedMessage]
  /** A handler threw, timed out (`HandlerTimeoutError`), or the body was none (`InvalidBodyError`). */
  processing_error: [error: unknown, failed: FailedMessage]
  /** SQS has confirmed how a message ended. */
  settled: [outcome: Outcome, message: Message]
  /** Its lease ran out before a confirmation: it comes again. */
  lost: [message: Message]
  /** The consumer has failed for good: no such queue, access denied. Without a listener it is a line of the log. */
  error: [error: Error]
}

export interface Tuning {
  readonly maxInFlight?: number | undefined
  readonly concurrency?: number | undefined
  /** `Number.MAX_SAFE_INTEGER` is no limit. */
  readonly perSecond?: number | undefined
}
