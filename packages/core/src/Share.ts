/**
 * What each tenant of a queue may have of a stage: its slots, its rate, its part of what waits. Slots go round among the
 * keys that have something ready, so that one with a thousand messages does not keep the others waiting.
 */
import * as InvalidOptions from "./InvalidOptions.js"

/** Handlers begun a second, at most, and how many at once after a pause: default the rate, at least 1. */
export interface Rate {
  readonly perSecond: number
  readonly burst?: number | undefined
}

/** @typeParam A - the body as the stage sees it */
export interface Options<in A> {
  /**
   * Whose message it is.
   *
   * - `"group"` (the default): its group, which is what Amazon SQS's fair queues go by on standard queues.
   * - a function of the body. What has no key (`undefined`), or no group, shares with nobody; a message on which it throws,
   *   or answers with no text, is a failed one.
   */
  readonly key?: "group" | ((body: A) => string | undefined) | undefined
  /** Handlers at once for each key; of `processBatches` messages in batches. From 1. Default: as many as there are slots. */
  readonly concurrency?: number | ((key: string) => number) | undefined
  /** For each key. Default: no limit. */
  readonly rate?: Rate | ((key: string) => Rate | undefined) | undefined
  /** How many turns in a row a key has, from 1 to 1,000: its part of the slots while others want them. Default 1 each. */
  readonly weight?: ((key: string) => number) | undefined
  /**
   * Messages of one key that wait here, at most; what comes beyond goes back to the queue. From 1. Default: as many as there
   * are permits that nobody has, so that one key alone has half of them, and two a third each.
   */
  readonly waiting?: number | undefined
}

/** @internal */
export const checks: InvalidOptions.Checks<Options<never>> = {
  key: InvalidOptions.either(InvalidOptions.oneOf("group"), InvalidOptions.func),
  concurrency: InvalidOptions.either(InvalidOptions.aWholeNumber({ min: 1 }), InvalidOptions.func),
  rate: InvalidOptions.either(
    InvalidOptions.fields<Rate>({
      perSecond: InvalidOptions.required(InvalidOptions.aNumber({ min: 0.001 })),
      burst: InvalidOptions.aWholeNumber({ min: 1 })
    }),
    InvalidOptions.func
  ),
  weight: InvalidOptions.func,
  waiting: InvalidOptions.aWholeNumber({ min: 1 })
}

/** @internal */
export const check: InvalidOptions.Check = InvalidOptions.fields(checks)
