/**
 * How a delivery can end. Every delivery ends exactly once.
 */
import type * as Cause from "effect/Cause"
import * as Data from "effect/Data"
import * as Duration from "effect/Duration"
import { isInterruptedBy, leaseLostId } from "./internal/effect/interruption.js"
import * as Reason from "./Reason.js"

/**
 * What is asked for.
 *
 * - `Ack`: the work is done; delete the message.
 * - `Retry`: visible again after `delay`.
 * - `Release`: visible now, for any consumer.
 * - `DeadLetter`: move it to where failed messages are kept; left where the queue has no such place.
 * - `Leave`: the queue's own timeout, set anew; its own redrive policy decides what comes then.
 */
export type Settlement = Data.TaggedEnum<{
  Ack: {}
  Retry: { readonly delay: Duration.Duration }
  Release: {}
  DeadLetter: { readonly reason: string; readonly error: string | undefined }
  Leave: {}
}>

const { Ack, DeadLetter, Leave, Release, Retry } = Data.taggedEnum<Settlement>()

export const ack: Settlement = Ack()
export const release: Settlement = Release()
export const leave: Settlement = Leave()
export const retry = (delay: Duration.DurationInput): Settlement => Retry({ delay: Duration.decode(delay) })
/** `error`: its name or tag, where an error is the reason. What is no text is written as one: it shares a call with others. */
export const deadLetter = (reason: string, error?: string): Settlement =>
  DeadLetter({ reason: textOf(reason), error: error === undefined ? undefined : textOf(error) })

const textOf = (given: unknown): string => (typeof given === "string" ? given : Reason.of(given))

/**
 * How it ended, as the queue confirmed it. `lost`: its lease ran out, or the queue refused, before a confirmation; the
 * message may be worked on again.
 */
export type Outcome = "acked" | "retried" | "released" | "deadLettered" | "left" | "lost"

/** The lease was over before the queue confirmed the settlement: the message may be delivered again. */
export class LeaseLost extends Data.TaggedError("LeaseLost")<{
  readonly messageId: string
  readonly message: string
}> {}

/** The delivery had been settled before, or was released because its stream was closed. */
export class AlreadySettled extends Data.TaggedError("AlreadySettled")<{
  readonly messageId: string
  readonly message: string
}> {}

/** Whether a handler was interrupted because its lease was lost, and not by a drain or its own doing. */
export const isLeaseLost = (cause: Cause.Cause<unknown>): boolean => isInterruptedBy(cause, leaseLostId)

export type SettleError = LeaseLost | AlreadySettled
