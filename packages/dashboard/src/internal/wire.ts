/** What the server tells the page, as JSON. Times in milliseconds, instants in milliseconds since the epoch. */

/** The first event of each connection. */
export interface Opening {
  readonly consumers: ReadonlyArray<{
    readonly name: string
    readonly points: ReadonlyArray<Point>
    readonly now: Snapshot | null
  }>
  /** How far back a page remembers. */
  readonly history: number
}

/** Every later event: a point more of each consumer, and how it stands. */
export interface Update {
  readonly name: string
  readonly point: Point
  readonly now: Snapshot
}

/** One moment of the charts. Rates a second, over the last few readings. `null`: not known. */
export interface Point {
  readonly at: number
  readonly backlog: number | null
  readonly received: number
  readonly handled: number
  readonly failed: number
  readonly arrivals: number | null
  readonly inFlight: number
  readonly bound: number
  readonly running: number
  readonly slots: number
  readonly p50: number | null
  readonly p95: number | null
  readonly p99: number | null
}

export interface Snapshot {
  readonly queue: string
  readonly at: number
  readonly startedAt: number
  readonly paused: boolean
  readonly health: { readonly healthy: boolean; readonly problems: ReadonlyArray<string> }
  readonly diagnosis: Diagnosis | null
  readonly backlog: Backlog | null
  readonly inFlight: number
  readonly bound: number
  readonly oldestInFlight: number | null
  readonly stages: ReadonlyArray<{
    readonly slots: number
    readonly running: number
    readonly waiting: number
    /** From 0 to 1. */
    readonly busy: number
    readonly circuit: "all" | "probes" | "none" | null
  }>
  readonly times: ReadonlyArray<Times>
  readonly calls: ReadonlyArray<Times & { readonly perSecond: number }>
  readonly failedCalls: { readonly throttled: number; readonly transient: number; readonly fatal: number }
  readonly groups: ReadonlyArray<{
    readonly group: string
    readonly inFlight: number
    readonly share: number
    /** Its part of the slots' time, of the last minute or two. */
    readonly time: number
    readonly headAge: number
    readonly attempt: number
    readonly running: boolean
  }>
  readonly groupsInFlight: number
  /** Whether its messages have an order within their groups. */
  readonly ordered: boolean
  /** From the start, by the error's tag. */
  readonly failures: ReadonlyArray<{ readonly error: string; readonly count: number }>
  /** The newest first. */
  readonly recentFailures: ReadonlyArray<{
    readonly at: number
    readonly messageId: string
    readonly group: string | null
    readonly attempt: number
    readonly error: string
  }>
  /** From the start. */
  readonly totals: { readonly [name: string]: number }
  readonly controls: Controls
  readonly bodies: boolean
}

/** What the program lets the page do. */
export interface Controls {
  readonly pause: boolean
  readonly concurrency: number | null
}

export interface Times {
  readonly name: string
  readonly count: number
  readonly p50: number | null
  readonly p95: number | null
  readonly p99: number | null
}

export interface Backlog {
  readonly at: number
  readonly visible: number
  readonly inFlight: number
  readonly delayed: number
  readonly deadLetters: number | null
  readonly oldest: number | null
  /** Groups that a fair queue takes for noisy, and what waits of all others. */
  readonly noisyGroups: number | null
  readonly quietWaiting: number | null
  readonly growth: number | null
  readonly arrivals: number | null
  readonly departures: number | null
  /** `"never"` while it does not shrink. */
  readonly timeToDrain: number | "never" | null
  /** Why it could not be read, of late. */
  readonly problem: string | null
}

export interface Diagnosis {
  readonly verdict: "healthy" | "attention" | "behind"
  readonly findings: ReadonlyArray<Finding>
}

export interface Finding {
  readonly cause: string
  readonly title: string
  readonly severity: "high" | "medium" | "low"
  /** The part of the lag that it explains, from 0 to 1. */
  readonly score: number
  readonly evidence: string
  readonly change: ReadonlyArray<string>
  readonly why: string
}

/** What the page asks for. */
export type Command =
  | { readonly consumer: string; readonly action: "pause" | "resume" }
  | { readonly consumer: string; readonly action: "concurrency"; readonly value: number }
