/** Between Effect and promises: errors made plain, and effects run. */
import * as InvalidOptions from "@millrace/core/InvalidOptions"
import * as Reason from "@millrace/core/Reason"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as ManagedRuntime from "effect/ManagedRuntime"
import * as errors from "../errors.js"

const text = (value: unknown, name: string): string | undefined => {
  const found: unknown = Reflect.get(Object(value), name)
  return typeof found === "string" ? found : undefined
}

/** What Millrace's own errors are to who knows no Effect; what is not Millrace's stays as it is. */
export const plain = (error: unknown): unknown => {
  const tag = text(error, "_tag")
  if (tag === undefined || !(error instanceof Error) || error instanceof errors.MillraceError) return error
  const { message } = error
  const cause: unknown = Reflect.get(error, "cause")
  switch (tag) {
    case "InvalidOptions":
      return new errors.InvalidOptionsError(text(error, "option") ?? "options", message)
    case "InvalidQueue":
      return new errors.InvalidOptionsError("queue", message)
    case "InvalidEmulatorOptions":
      return new errors.InvalidOptionsError("options", message)
    case "DecodeError":
      return new errors.InvalidBodyError(message)
    case "HandlerTimeout":
      return new errors.HandlerTimeoutError(message)
    case "HandlerDefect":
      return plain(Reflect.get(error, "defect"))
    case "LeaseLost":
      return new errors.LeaseLostError(message)
    case "ConsumerFailed":
      return cause === undefined ? new errors.MillraceError(tag, message) : plain(cause)
  }
  const operation = text(error, "operation")
  if ("input" in error) return new errors.SendError(tag, message, error.input, cause)
  if (operation !== undefined) return new errors.SqsCallError(tag, operation, message, cause)
  return new errors.MillraceError(tag, message, { cause })
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
