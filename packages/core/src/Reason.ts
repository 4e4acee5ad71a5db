/**
 * What a failure says, in a line: of which kind it is, and why. The same words stand in a dead letter, in figures, in logs
 * and on the dashboard.
 *
 * A failure is whatever a handler failed or died with, so nothing is taken for granted of it: reading it never throws.
 * Wrappers that say nothing of their own are looked through, and what a Schema refused is told by its paths, without the
 * values.
 */
import * as Cause from "effect/Cause"
import * as Inspectable from "effect/Inspectable"
import * as ParseResult from "effect/ParseResult"
import * as Predicate from "effect/Predicate"
import { failureIn, isFiberFailure } from "./internal/effect/fiberFailure.js"
import * as decode from "./internal/handOver/decode.js"

/** Characters of a name, and of a reason, at most. */
const longestName = 100
const longestReason = 2000
/** A cause of a cause of … : so many are told. */
const deepest = 4

const cut = (text: string, longest: number): string =>
  text.length <= longest ? text : `${text.slice(0, longest - 1)}…`

/** A property, where it can be read. */
const read = (failure: unknown, property: string): unknown => {
  try {
    return Predicate.isObject(failure) ? Reflect.get(failure, property) : undefined
  } catch {
    return undefined
  }
}

const readText = (failure: unknown, property: string): string | undefined => {
  const value = read(failure, property)
  return typeof value === "string" && value !== "" ? value : undefined
}

const holds = (test: () => boolean): boolean => {
  try {
    return test()
  } catch {
    return false
  }
}

const isError = (failure: unknown): boolean => holds(() => failure instanceof Error)

/** What a wrapper holds that says nothing of its own: of `Effect.tryPromise`, `Effect.try`, `Effect.runPromise`. */
const unwrap = (failure: unknown): unknown => {
  let inner = failure
  for (let i = 0; i < deepest; i++) {
    if (holds(() => Cause.isUnknownException(inner))) inner = read(inner, "error")
    else if (holds(() => isFiberFailure(inner))) inner = failureIn(inner as Parameters<typeof failureIn>[0])
    else return inner
  }
  return inner
}

/** @internal The tag, where it is text. */
export const tagOf = (failure: unknown): string | undefined => readText(failure, "_tag")

/** The tag of a failure, or the name of an Error; none where it has neither. */
export const nameOf = (failure: unknown): string | undefined => {
  const inner = unwrap(failure)
  const name = tagOf(inner) ?? (isError(inner) ? (readText(inner, "name") ?? "Error") : undefined)
  return name === undefined ? undefined : cut(name, longestName)
}

/** The tag and the message, with those of its causes that add to them, at most 2,000 characters. */
export const of = (failure: unknown): string => cut(describe(failure, 0), longestReason)

const describe = (failure: unknown, depth: number): string => {
  const inner = unwrap(failure)
  const tag = tagOf(inner)
  const text = textOf(inner, depth) ?? (tag === undefined ? shown(inner) : undefined)
  return [tag === undefined ? undefined : cut(tag, longestName), text].filter((part) => part !== undefined).join(": ")
}

/** @internal What it says beside its tag; none where it says nothing. */
export const textOf = (failure: unknown, depth = 0): string | undefined => {
  if (typeof failure === "string") return failure
  if (holds(() => ParseResult.isParseError(failure))) {
    return decode.describe((failure as ParseResult.ParseError).issue)
  }
  const message = readText(failure, "message")
  const cause = depth < deepest ? causeOf(failure, depth + 1) : undefined
  if (message === undefined || cause === undefined) return message ?? cause
  return message.includes(cause) ? message : `${message}: ${cause}`
}

/** The causes of an Error: its `cause`, or the first of several. Of what is no Error, a cause is a field like others. */
const causeOf = (failure: unknown, depth: number): string | undefined => {
  if (!isError(failure)) return undefined
  const errors = read(failure, "errors")
  const cause = read(failure, "cause") ?? (Array.isArray(errors) ? errors[0] : undefined)
  return cause === undefined || cause === null || cause === failure ? undefined : describe(cause, depth)
}

/** Of what has no message: its fields, or its name, or its type. */
const shown = (failure: unknown): string => {
  try {
    if (typeof failure === "function") return "a function"
    if (!Predicate.isObject(failure)) return String(failure)
    return isError(failure) ? (nameOf(failure) ?? "Error") : Inspectable.stringifyCircular(failure)
  } catch {
    return "something that cannot be shown"
  }
}
