/**
 * What a diagnosis says: one type for each cause, with its figures. `Diagnosis` exports all; they stand here, below
 * all that makes them.
 */
import type * as Figures from "../../Figures.js"

/** One thing to change. */
export interface Change {
  /** A sentence, with the numbers to set. */
  readonly text: string
  /** The option or attribute that it speaks of, and what to set it to, where it is a number. Durations in milliseconds. */
  readonly setting: string | undefined
  readonly to: number | undefined
}

/** @typeParam Evidence - the figures behind it: rates a second, times in milliseconds, parts from 0 to 1. */
export interface Found<Tag extends string, Evidence> {
  readonly _tag: Tag
  /** The part of the lag that it explains, from 0 to 1; of what is wrong without a lag, the part of messages concerned. */
  readonly score: number
  readonly severity: Severity
  readonly title: string
  readonly figures: Evidence
  /** The figures in a sentence. */
  readonly evidence: string
  readonly advice: ReadonlyArray<Change>
  /** Why that works. */
  readonly why: string
  /** Where the documentation speaks of it: the name of a page in docs/diagnosis. */
  readonly page: string
}

/** From the score: a half or more, a fifth or more, less. */
export type Severity = "high" | "medium" | "low"

/** All slots are busy with work that takes as long as ever, and more comes than they can do. */
export type TooFewSlots = Found<
  "TooFewSlots",
  {
    readonly slots: number
    readonly busy: number
    readonly needed: number
    readonly handlerTime: number
    readonly throughput: number
    readonly arrivals: number
    readonly utilization: number | undefined
  }
>

/** The one thread that runs all handlers has no time left. */
export type CpuBound = Found<
  "CpuBound",
  { readonly utilization: number; readonly delay: number; readonly delayP99: number; readonly throughput: number }
>

/** Handlers take longer than they used to. */
export type SlowHandler = Found<
  "SlowHandler",
  { readonly handlerTime: number; readonly usual: number; readonly slots: number; readonly needed: number }
>

/** The more handlers run at once, the longer each takes: what they call is full. */
export type SaturatedDownstream = Found<
  "SaturatedDownstream",
  {
    readonly running: number
    readonly handlerTime: number
    readonly few: number
    readonly fewTime: number
    /** The least concurrency that gives the present rate. */
    readonly best: number
    readonly throughput: number
  }
>

/** Calls to the queue take long, or fail, so that slots wait for messages. */
export type SlowCalls = Found<
  "SlowCalls",
  {
    readonly receiveTime: number | undefined
    readonly ackTime: number | undefined
    readonly usual: number | undefined
    readonly handlerTime: number | undefined
    readonly failed: number
    readonly busy: number
  }
>

/** Calls wait for a connection of the client. */
export type ConnectionsExhausted = Found<
  "ConnectionsExhausted",
  { readonly max: number; readonly open: number; readonly waiting: number; readonly callTime: number }
>

/** Leases end before the work does. */
export type VisibilityTimeoutTooShort = Found<
  "VisibilityTimeoutTooShort",
  {
    readonly visibilityTimeout: number
    readonly p99: number | undefined
    readonly lost: number
    readonly redelivered: number
    readonly received: number
    readonly heartbeat: boolean
    readonly extendErrors: number
  }
>

/** The queue refuses calls for their rate. */
export type Throttled = Found<
  "Throttled",
  { readonly throttled: number; readonly calls: number; readonly throttledFor: number; readonly busy: number }
>

/** Receives bring too little, though messages wait: too few permits, or short answers. */
export type IntakeTooSmall = Found<
  "IntakeTooSmall",
  {
    readonly brought: number | undefined
    readonly batchSize: number
    readonly maxInFlight: number
    readonly slots: number
    readonly busy: number
    readonly fullFor: number
  }
>

/** The consumer's own `rate` holds it back. */
export type RateLimited = Found<
  "RateLimited",
  { readonly rate: number; readonly received: number; readonly arrivals: number; readonly required: number }
>

/** Work is spent on messages that fail: a few poisonous ones, or all of them. */
export type Retries = Found<
  "Retries",
  {
    readonly failed: number
    readonly runs: number
    readonly redelivered: number
    readonly received: number
    /** The part of the handlers' time that failed runs took. */
    readonly wasted: number
    /** The commonest error. */
    readonly error: string | undefined
    readonly poison: ReadonlyArray<{ readonly messageId: string; readonly failures: number }>
  }
>

/** Order lets too few messages be worked on at once. */
export type HotGroup = Found<
  "HotGroup",
  {
    readonly group: string | undefined
    /** Its part of what was received of late. */
    readonly share: number
    readonly activeGroups: number
    readonly slots: number
    readonly busy: number
    /** Groups of equal size that the required rate takes, at least. */
    readonly suggestedGroups: number
  }
>

/** One tenant has most of the slots' time on a queue whose messages have no order, and the others wait behind it. */
export type NoisyTenant = Found<
  "NoisyTenant",
  {
    readonly group: string
    /** Its part of the slots' time, and of what was received of late: of what waits, as far as that comes in turn. */
    readonly time: number
    readonly share: number
    /** Groups in flight, and how many messages of this one are. */
    readonly groups: number
    readonly inFlight: number
    /** Groups that the queue itself takes for noisy, and messages of quiet ones that wait, where the backlog tells. */
    readonly noisy: number | undefined
    readonly quietWaiting: number | undefined
  }
>

/** The head of a group does not get done, here or with another consumer, and all behind it waits. */
export type StuckGroup = Found<
  "StuckGroup",
  {
    readonly group: string
    readonly messageId: string
    readonly age: number
    readonly attempt: number
    readonly failures: number
    readonly running: boolean
    readonly stuckGroups: number
    /** Where no head is stuck here: messages in flight of the queue that this consumer does not have. */
    readonly heldElsewhere: number
  }
>

/** The queue hands out no more until something in flight is settled. */
export type InFlightWindowFull = Found<
  "InFlightWindowFull",
  { readonly inFlight: number; readonly limit: number; readonly own: number }
>

/** More came than usual; the consumer is as quick as ever. */
export type ProducerBurst = Found<
  "ProducerBurst",
  {
    readonly arrivals: number
    readonly usual: number
    readonly throughput: number
    readonly excess: number
    /** When the backlog is gone, should no more come than usual, in milliseconds since the epoch. */
    readonly clearAt: number | undefined
  }
>

export type Paused = Found<"Paused", { readonly pausedFor: number; readonly visible: number }>

export type CircuitOpen = Found<
  "CircuitOpen",
  { readonly state: Figures.Stage["circuit"]; readonly failed: number; readonly error: string | undefined }
>

export type Finding =
  | TooFewSlots
  | CpuBound
  | SlowHandler
  | SaturatedDownstream
  | SlowCalls
  | ConnectionsExhausted
  | VisibilityTimeoutTooShort
  | Throttled
  | IntakeTooSmall
  | RateLimited
  | Retries
  | HotGroup
  | StuckGroup
  | NoisyTenant
  | InFlightWindowFull
  | ProducerBurst
  | Paused
  | CircuitOpen

export type Cause = Finding["_tag"]

/** How far the queue is behind. Rates are messages a second, this consumer's alone. */
export interface Lag {
  readonly visible: number
  readonly growth: number
  readonly arrivals: number
  readonly throughput: number
  /** At which the backlog would be gone in time. */
  readonly required: number
  /** How long the messages received of late had waited, in milliseconds: the median. */
  readonly waited: number | undefined
}

export interface Diagnosis {
  readonly consumer: string
  readonly queue: string
  /** The time that is judged, in milliseconds since the epoch. */
  readonly from: number
  readonly at: number
  /**
   * - `healthy`: it keeps up, and nothing is wrong.
   * - `attention`: it keeps up, and something is wrong.
   * - `behind`: more comes than it does, or the backlog will not be gone in time.
   */
  readonly verdict: "healthy" | "attention" | "behind"
  readonly lag: Lag
  /** The weightiest first. None: healthy, or behind for a reason that no figure shows. */
  readonly findings: ReadonlyArray<Finding>
}
