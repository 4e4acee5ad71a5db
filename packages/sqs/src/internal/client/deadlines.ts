/**
 * Time limits for many calls at the price of a table entry each: one fiber sleeps for all calls of one limit, the first
 * of which is always the first to be due. (A sleeping fiber a call costs 22 µs, `Effect.timeout` 55.)
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Clock from "../effect/clock.js"
import { scopedFork } from "../effect/fork.js"

/** Runs `expire` once `millis` have passed, unless the function that it returns is called before. */
export type Deadlines = (millis: number, expire: () => void) => () => void

interface Entry {
  readonly at: number
  readonly expire: () => void
}

/** The calls of one limit, in the order in which they are due. */
interface Line {
  readonly entries: Set<Entry>
  watched: boolean
}

/** On the Clock of the fiber that makes it; the scope ends its fibers. */
export const make: Effect.Effect<Deadlines, never, Scope.Scope> = Effect.gen(function* () {
  const clock = yield* Effect.clock
  // Not the wall clock's: one that is stepped back must not lengthen a call.
  const now = Clock.steady(clock)
  const fork = yield* scopedFork
  const lines = new Map<number, Line>()

  const watch = (line: Line): Effect.Effect<void> =>
    Effect.suspend(() => {
      for (const entry of line.entries) {
        const left = entry.at - now()
        if (left > 0) return Effect.zipRight(clock.sleep(Duration.millis(left)), watch(line))
        line.entries.delete(entry)
        entry.expire()
      }
      line.watched = false
      return Effect.void
    })

  return (millis, expire) => {
    const line = lines.get(millis) ?? { entries: new Set(), watched: false }
    lines.set(millis, line)
    const entry = { at: now() + millis, expire }
    line.entries.add(entry)
    if (!line.watched) {
      line.watched = true
      fork(watch(line))
    }
    return () => void line.entries.delete(entry)
  }
})
