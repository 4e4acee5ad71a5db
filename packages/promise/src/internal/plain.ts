/** Between Effect and promises: errors made plain, and effects run. */
import { DecodeError, HandlerDefect, HandlerTimeout } from "@millrace/core/Delivery"
import { KeyReused } from "@millrace/core/Idempotency"
import { IdempotencyStoreError } from "@millrace/core/IdempotencyStore"
import * as InvalidOptions from "@millrace/core/InvalidOptions"
import * as Reason from "@millrace/core/Reason"
import { ConsumerFailed } from "@millrace/core/Served"
import { AlreadySettled, LeaseLost } from "@millrace/core/Settlement"
import * as SqsErrors from "@millrace/sqs/SqsError"
import { BodyNotStored, MessageRejected, ProducerClosed, SendFailed } from "@millrace/sqs/SqsProducer"
import { InvalidQueue } from "@millrace/sqs/SqsQueue"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as ManagedRuntime from "effect/ManagedRuntime"
import * as errors from "../errors.js"

/** AWS's refusals, each a class of its own. */
const sqsErrors = Object.values(SqsErrors).filter((one) => one.prototype instanceof Error)

const isSqsError = (error: unknown): error is SqsErrors.SqsError => sqsErrors.some((one) => error instanceof one)

const isSendError = (error: unknown) =>
  error instanceof MessageRejected ||
  error instanceof SendFailed ||
  error instanceof ProducerClosed ||
  error instanceof BodyNotStored

/** Others that a promise may reject with, or a policy is asked about: their tag says it all. */
const isOther = (error: unknown) =>
  error instanceof AlreadySettled || error instanceof KeyReused || error instanceof IdempotencyStoreError

/** What Millrace's own errors are to who knows no Effect; what is not Millrace's stays as it is, whatever its tag. */
export const plain = (error: unknown): unknown => {
  if (error instanceof InvalidOptions.InvalidOptions) return new errors.InvalidOptionsError(error.option, error.message)
  if (error instanceof InvalidQueue) return new errors.InvalidOptionsError("queue", error.message)
  if (error instanceof DecodeError) return new errors.InvalidBodyError(error.message)
  if (error instanceof HandlerTimeout) return new errors.HandlerTimeoutError(error.message)
  if (error instanceof HandlerDefect) return plain(error.defect)
  if (error instanceof LeaseLost) return new errors.LeaseLostError(error.message)
  if (error instanceof ConsumerFailed) return plain(error.cause)
  if (isSendError(error)) return new errors.SendError(error._tag, error.message, error.input, error.cause)
  if (isSqsError(error))
    return new errors.SqsCallError(
      "code" in error ? error.code : error._tag,
      error.operation,
      error.message,
      error.cause
    )
  return isOther(error) ? new errors.MillraceError(error._tag, error.message, { cause: error.cause }) : error
}

export const plainError = (error: unknown): Error => {
  const made = plain(error)
  return made instanceof Error ? made : new errors.MillraceError("Unknown", Reason.of(made))
}

/** Rejects with plain errors. */
export const run = async <A, E, R>(
  runtime: ManagedRuntime.ManagedRuntime<R, unknown>,
  effect: Effect.Effect<A, E, R>
): Promise<A> => {
  const exit = await runtime.runPromiseExit(effect)
  if (Exit.isSuccess(exit)) return exit.value
  throw plainError(Cause.squash(exit.cause))
}

/** For what is neither asynchronous nor in need of a service. */
export const runSync = <A, E>(effect: Effect.Effect<A, E>): A => {
  const exit = Effect.runSyncExit(effect)
  if (Exit.isSuccess(exit)) return exit.value
  throw plainError(Cause.squash(exit.cause))
}

/** Throws an `InvalidOptionsError`. */
export const check = <O extends object>(of: string, options: O, checks: InvalidOptions.Checks<NoInfer<O>>): void =>
  runSync(InvalidOptions.check(of, options, checks))
