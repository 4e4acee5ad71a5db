/** Calls before the work begins: they are tried again as receives are, and say so. */
import { defaultRetry } from "@millrace/core/Intake"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import * as SqsError from "../../SqsError.js"
import * as Retried from "../effect/retried.js"

/** As a consumer receives again: for as long as it lives. */
export const forEver: Schedule.Schedule<unknown> = defaultRetry

/** For what somebody waits for. */
export const forAMinute: Schedule.Schedule<unknown> = Schedule.upTo(defaultRetry, "1 minute")

/** The errors of SQS, or those of options, which are for good. */
type Failure =
  | SqsError.SqsError
  | { readonly _tag: "InvalidQueue" }
  | { readonly _tag: "QueueDiffers" }
  | { readonly _tag: "InvalidOptions" }

const passes = (error: Failure): error is SqsError.SqsError =>
  error._tag !== "InvalidQueue" &&
  error._tag !== "QueueDiffers" &&
  error._tag !== "InvalidOptions" &&
  SqsError.retryable(error)

/** Tries again what may succeed later; the first time it warns. `what` follows "could not". */
export const retried =
  (what: string, retry: Schedule.Schedule<unknown>) =>
  <A, E extends Failure, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
    Effect.suspend(() => {
      let latest = ""
      let warned = false
      const say = Effect.suspend(() => {
        const log = warned ? Effect.logDebug : Effect.logWarning
        warned = true
        return log(`could not ${what}, trying again: ${latest}`)
      })
      const again = (error: E) => {
        if (!passes(error)) return false
        latest = error.message
        return true
      }
      return Retried.retried(effect, retry, { while: again, onRetry: say })
    })
