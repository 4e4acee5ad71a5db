import * as Effect from "effect/Effect"
import * as Random from "effect/Random"

/** An owner's name is its own among all processes, without asking any. */
export const owners: Effect.Effect<() => string> = Effect.gen(function* () {
  const parts = yield* Effect.replicateEffect(Random.nextIntBetween(0, 2 ** 32), 4)
  const prefix = [globalThis.process?.pid ?? 0, ...parts].map((part) => part.toString(36)).join("-")
  let count = 0
  return () => `${prefix}-${(++count).toString(36)}`
})
