/** What is asked of the queue for one lease, and who is told what has come of it. */
import type * as Duration from "effect/Duration"
import type * as LeaseQueue from "../../LeaseQueue.js"

export type Request =
  | { readonly _tag: "Ack" }
  | { readonly _tag: "SetLease"; readonly duration: Duration.Duration; readonly left?: boolean | undefined }
  | {
      readonly _tag: "DeadLetter"
      readonly reason: string
      readonly error: string | undefined
      readonly attempt: number
    }

export type Operation = Request["_tag"]

export interface Entry {
  readonly message: LeaseQueue.Message
  readonly request: Request
  /** When the lease ends, in milliseconds. */
  readonly deadline: () => number
  /** It has ended by other means: not to be tried again. */
  readonly over: () => boolean
  /** Called once: the queue confirmed it, or the lease was over first. */
  readonly onResult: (confirmed: boolean) => void
  /**
   * Called once in its place where the queue will never take it: it may not be asked, or has rejected this entry. Acks are
   * not given up so, but tried for as long as their lease lives. Default: as if the lease were over.
   */
  readonly onRefused?: (() => void) | undefined
  /** Somebody waits for the result: linger less. */
  readonly awaited: boolean
}
