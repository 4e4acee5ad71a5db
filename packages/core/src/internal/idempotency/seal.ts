import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import type { Complete, IdempotencyStoreError } from "../../IdempotencyStore.js"
import { ask, type Calls } from "./calls.js"
import type { Fork } from "./gather.js"
import type { Once } from "./terms.js"

/** It is tried again and again to seal what is done, for some ten seconds. */
const retry = Schedule.exponential("50 millis").pipe(
  Schedule.union(Schedule.spaced("1 second")),
  Schedule.jittered,
  Schedule.upTo("10 seconds")
)

/** Seals a key whose work is done. A claim that was lost meanwhile changes nothing of that. */
export const seal = (calls: Calls, entry: Complete, fork: Fork): Effect.Effect<void, IdempotencyStoreError> =>
  ask(calls.complete, () => entry, fork).pipe(
    Effect.retry({ schedule: retry, while: ({ retryable }) => retryable }),
    Effect.flatMap((sealed) =>
      sealed
        ? Effect.void
        : Effect.logWarning(
            `the claim of key ${entry.key} was over before its work was done, and another has the key: it may have been done twice`
          )
    )
  )

/** The result as it is kept. One that cannot be is left out, with a warning: what has been done must not be done again. */
export const toKeep = <B, R>(
  once: Pick<Once<never, B, unknown, unknown, R>, "encode">,
  key: string,
  results: ReadonlyArray<B>,
  resultBytes: number
): Effect.Effect<string | undefined, never, R> => {
  if (results.length === 0) return Effect.succeed(undefined)
  const leftOut = (why: string) =>
    Effect.as(Effect.logWarning(`the result of key ${key} is not kept: ${why}; a duplicate will have none`), undefined)
  return Effect.matchEffect(once.encode(results[0] as B), {
    onFailure: (error) => leftOut(`it does not encode: ${error.message}`),
    onSuccess: (result) => {
      const bytes = result === undefined ? 0 : Buffer.byteLength(result)
      return bytes > resultBytes
        ? leftOut(`it has ${bytes} bytes, and the store takes ${resultBytes}; let it be a pointer to where it is`)
        : Effect.succeed(result)
    }
  })
}

/** The result that is kept. One that does not decode is as none: that it is done is known all the same. */
export const kept = <O, R>(
  once: Pick<Once<never, never, O, unknown, R>, "decode">,
  key: string,
  result: string | undefined
): Effect.Effect<Option.Option<O>, never, R> =>
  Effect.catchAll(once.decode(result), (error) =>
    Effect.as(
      Effect.logWarning(`the result that is kept for key ${key} does not decode: ${error.message}`),
      Option.none<O>()
    )
  )
