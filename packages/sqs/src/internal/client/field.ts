/** Looks at what may be anything: what was thrown, or answered. */
import * as Predicate from "effect/Predicate"

export const field = (value: unknown, name: string): unknown =>
  Predicate.hasProperty(value, name) ? value[name] : undefined

/** A text that says something. */
export const text = (value: unknown): string | undefined =>
  typeof value === "string" && value !== "" ? value : undefined
