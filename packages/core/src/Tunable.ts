/**
 * A number that can be changed while it is in use: the bound, the slots or the rate of a running consumer.
 */
import * as Effect from "effect/Effect"
import * as Predicate from "effect/Predicate"
import * as InvalidOptions from "./InvalidOptions.js"

export interface Range {
  readonly min: number
  readonly max?: number | undefined
  /** Whole numbers only. Default false. */
  readonly whole?: boolean | undefined
}

export interface Tunable {
  readonly get: Effect.Effect<number>
  /** Takes effect at once where it is raised; where it is lowered, as what is under way comes to its end. */
  readonly set: (value: number) => Effect.Effect<void, InvalidOptions.InvalidOptions>
  /** What it is now, and whom to tell when it changes; gives back how to be told no more. */
  readonly unsafeGet: () => number
  readonly unsafeSubscribe: (f: () => void) => () => void
}

/**
 * A tunable number from `initial`, refused outside of `range` (default: at least 1), by `set` too. `name` is what
 * errors call it. Fails with `InvalidOptions` where `initial` is out of range.
 */
export const make = (
  name: string,
  initial: number,
  range: Range = { min: 1 }
): Effect.Effect<Tunable, InvalidOptions.InvalidOptions> => {
  const checked = checkOf(range)
  return Effect.map(checked(name, initial, range), (first) => {
    let value = first
    const subscribers = new Set<() => void>()
    const tunable: Tunable = {
      get: Effect.sync(() => value),
      set: (next) =>
        Effect.map(checked(name, next, range), (fits) => {
          if (fits === value) return
          value = fits
          for (const f of subscribers) f()
        }),
      unsafeGet: () => value,
      unsafeSubscribe: (f) => {
        subscribers.add(f)
        return () => {
          subscribers.delete(f)
        }
      }
    }
    ranges.set(tunable, range)
    return tunable
  })
}

/** Within which ranges they are. */
const ranges = new WeakMap<Tunable, Range>()

const isInside = (inner: Range | undefined, { max, min, whole }: Range): boolean =>
  inner !== undefined &&
  inner.min >= min &&
  (max === undefined || (inner.max ?? Infinity) <= max) &&
  (whole !== true || inner.whole === true)

/** The same number, within a range that whoever made it need not know of: what was set outside of it counts as its end. */
const within = (name: string, tunable: Tunable, range: Range): Tunable => {
  if (isInside(ranges.get(tunable), range)) return tunable
  const unsafeGet = () => {
    const value = Math.min(range.max ?? Infinity, Math.max(range.min, tunable.unsafeGet()))
    return range.whole === true ? Math.floor(value) : value
  }
  const view: Tunable = {
    get: Effect.sync(unsafeGet),
    set: (next) => Effect.zipRight(checkOf(range)(name, next, range), tunable.set(next)),
    unsafeGet,
    unsafeSubscribe: tunable.unsafeSubscribe
  }
  ranges.set(view, range)
  return view
}

const checkOf = ({ whole }: Range) => (whole === true ? InvalidOptions.wholeNumber : InvalidOptions.number)

/**
 * A number that may be tunable: tunable, and never out of range, whatever a tunable of the user's is set to later. Fails
 * with `InvalidOptions` where it is out of range now.
 */
export const from = (
  name: string,
  value: number | Tunable,
  range: Range
): Effect.Effect<Tunable, InvalidOptions.InvalidOptions> =>
  isTunable(value)
    ? Effect.as(checkOf(range)(name, value.unsafeGet(), range), within(name, value, range))
    : make(name, value, range)

const isTunable = (value: number | Tunable): value is Tunable => Predicate.hasProperty(value, "unsafeSubscribe")

/** @internal Where a number, or one that can be changed, may stand. */
export const check: InvalidOptions.Check = /* @__PURE__ */ InvalidOptions.either(
  /* @__PURE__ */ InvalidOptions.aNumber({ min: 0 }),
  /* @__PURE__ */ InvalidOptions.having("a Tunable of Tunable.make", "unsafeGet", "unsafeSubscribe")
)
