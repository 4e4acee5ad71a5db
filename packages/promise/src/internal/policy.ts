/** Plain options of retries as a policy. */
import type { Delivery } from "@millrace/core/Delivery"
import * as InvalidOptions from "@millrace/core/InvalidOptions"
import * as RetryPolicy from "@millrace/core/RetryPolicy"
import * as Duration from "effect/Duration"
import * as Schedule from "effect/Schedule"
import { InvalidOptionsError } from "../errors.js"
import type { Decide, End, FailedMessage, RetryOptions, SettleOptions } from "../types.js"
import { plain } from "./plain.js"

const ends: Readonly<Record<End, RetryPolicy.RetryPolicy<unknown>>> = {
  deadLetter: RetryPolicy.deadLetter,
  leave: RetryPolicy.leave,
  discard: RetryPolicy.discard
}

const retryChecks: InvalidOptions.Checks<RetryOptions> = {
  attempts: InvalidOptions.aWholeNumber({ min: 1 }),
  delay: InvalidOptions.time({ max: "12 hours" }),
  factor: InvalidOptions.aNumber({ min: 1 }),
  maxDelay: InvalidOptions.time({ max: "12 hours" }),
  jitter: InvalidOptions.flag
}

/** What each option may be. */
export const checks = {
  retry: InvalidOptions.either(
    InvalidOptions.oneOf(...Object.keys(ends)),
    { ...InvalidOptions.func, write: "a function of the error" },
    InvalidOptions.fields<RetryOptions>(retryChecks)
  ),
  deadLetter: InvalidOptions.either(InvalidOptions.flag, {
    ...InvalidOptions.func,
    write: "a function of the error; the queue of dead letters is that of the queue's redrive policy"
  })
}

const byOptions = (options: RetryOptions, end: RetryPolicy.RetryPolicy<unknown>) => {
  const { delay = "1 second", factor = 2, jitter = true, maxDelay = "15 minutes" } = options
  const growing = Schedule.union(Schedule.exponential(delay, factor), Schedule.spaced(maxDelay))
  return RetryPolicy.poison.pipe(
    RetryPolicy.orElse(
      RetryPolicy.redeliver(jitter ? Schedule.jittered(growing) : growing, { attempts: options.attempts })
    ),
    RetryPolicy.orElse(end)
  )
}

/** What is no answer throws: the message is left to the queue then, and the log says why. */
const decided = (answer: ReturnType<Decide>): RetryPolicy.RetryPolicy<unknown> => {
  if (typeof answer === "string" && Object.hasOwn(ends, answer)) return ends[answer]
  if (typeof answer === "object" && answer !== null && "retryIn" in answer) {
    return RetryPolicy.redeliver(Schedule.spaced(Duration.decode(answer.retryIn)))
  }
  throw new TypeError('retry answers with { retryIn: "30 seconds" }, "deadLetter", "leave" or "discard"')
}

const isHopeless = (answer: unknown): boolean => {
  if (typeof answer === "boolean") return answer
  throw new TypeError("deadLetter answers with true or false, and not with a promise")
}

type Settles = Pick<SettleOptions<never>, "retry" | "deadLetter">
type Failed = (error: unknown, failed: FailedMessage) => void

/** `onFailure` hears of each failure first. */
export const policyOf = (
  { deadLetter, retry }: Settles,
  onFailure: Failed
): ((failure: unknown, delivery: Delivery<unknown, unknown>) => RetryPolicy.RetryPolicy<unknown>) => {
  const attempts = typeof retry === "object" ? retry.attempts : undefined
  if (deadLetter === true && attempts === undefined && retry !== "deadLetter") {
    throw new InvalidOptionsError("deadLetter", "deadLetter needs retry.attempts; write retry: { attempts: 5 }")
  }
  const end = deadLetter === undefined || deadLetter === false ? RetryPolicy.leave : RetryPolicy.deadLetter
  const fixed =
    retry === undefined
      ? RetryPolicy.standard
      : typeof retry === "function"
        ? undefined
        : typeof retry === "string"
          ? ends[retry]
          : byOptions(retry, end)
  return (failure, delivery) => {
    const failed: FailedMessage = { message: delivery.message, attempt: delivery.attempt }
    const error = plain(failure)
    onFailure(error, failed)
    if (typeof deadLetter === "function" && isHopeless(deadLetter(error, failed))) return RetryPolicy.deadLetter
    if (typeof retry === "function") return decided(retry(error, failed))
    return fixed ?? RetryPolicy.standard
  }
}
