/**
 * What time it is for SQS, which refuses what is signed with a time that is minutes off. This computer's clock is
 * trusted until a refusal says otherwise; then the difference to the answer's date is added to it.
 *
 * @see https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-troubleshooting.html
 */
import { type Answer, refusalOf } from "./answer.js"
import { plainName } from "./errors.js"

/** What SQS, and the services like it, call the refusal of a signature of the wrong time. */
const refusals: ReadonlySet<string> = new Set([
  "AccessDenied",
  "AuthFailure",
  "InvalidSignature",
  "RequestExpired",
  "RequestInTheFuture",
  "RequestTimeTooSkewed",
  "SignatureDoesNotMatch"
])

/** Whether a refusal of that name may be for the time of the signature. */
export const isOfTime = (name: string): boolean => refusals.has(plainName(name))

/** Less is tolerated by everyone, and no reason for a refusal. In milliseconds. */
export const tolerated = 4 * 60 * 1000

export class ServerClock {
  readonly #now: () => number
  #ahead = 0

  /** `now`: this computer's clock, in milliseconds since the epoch. */
  constructor(now: () => number) {
    this.#now = now
  }

  /** In milliseconds since the epoch. */
  now(): number {
    return this.#now() + this.#ahead
  }

  /**
   * Whether a call was refused because it was signed at the wrong time: the clock is right then, and the same call,
   * signed anew, may succeed.
   */
  learn(answer: Answer, signedAt: number): boolean {
    const { date } = answer.headers
    const then = typeof date === "string" ? Date.parse(date) : Number.NaN
    if (!(Math.abs(then - signedAt) > tolerated)) return false
    if (answer.statusCode < 400 || answer.statusCode >= 500 || !isOfTime(refusalOf(answer) ?? "")) {
      return false
    }
    this.#ahead = then - this.#now()
    return true
  }
}
