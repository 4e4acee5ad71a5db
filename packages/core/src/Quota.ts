/**
 * A downstream's quota, held by all processes of a fleet together: a consumer takes a token from a limiter that they share
 * for each message before it asks for it, so that nothing is leased while it waits for its turn.
 *
 * The limiter is that of `@effect/experimental/RateLimiter`, over its Redis store for instance, or anything of its shape.
 */
import * as Data from "effect/Data"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import * as InvalidOptions from "./InvalidOptions.js"
import { TokenBucket, type Tokens } from "./internal/receive/tokens.js"
import * as Reason from "./Reason.js"

/** What is asked of a limiter: the part of `@effect/experimental`'s `RateLimiter` that is needed here. */
export interface Limiter {
  readonly consume: (request: {
    readonly algorithm: "token-bucket"
    readonly onExceeded: "delay"
    readonly window: Duration.DurationInput
    readonly limit: number
    readonly key: string
    readonly tokens: number
  }) => Effect.Effect<{ readonly delay: Duration.Duration }, unknown>
}

/** The limiter could not be reached, or did not answer in time, and the quota's `otherwise` is `"fail"`. */
export class QuotaUnreachable extends /* @__PURE__ */ Data.TaggedError("QuotaUnreachable")<{
  readonly quota: string
  readonly message: string
  readonly cause: unknown
}> {}

/** What to do while the limiter cannot be reached. */
export type Otherwise = "wait" | "fail" | { readonly perSecond: number; readonly burst?: number | undefined }

export interface Options {
  /** Of the quota: the same for all who share it. */
  readonly name: string
  /** So many messages in each `window`, of all processes together: a whole number. */
  readonly limit: number
  /** Default 1 second. */
  readonly window?: Duration.DurationInput | undefined
  /**
   * How many may be taken at once after a pause, of all processes together. Default: a fiftieth of the limit, so that no
   * window has more than 2 % too many. The limiter is asked once for so many: a small one costs more calls.
   */
  readonly burst?: number | undefined
  /**
   * What follows while the limiter cannot be reached: `"wait"` receives nothing until it can; `"fail"` ends the stream with
   * `QuotaUnreachable`; a rate is this process's own part of the quota, by which it goes on. There is no default: which of
   * them is right depends on what is behind the quota.
   */
  readonly otherwise: Otherwise
  /** How long the limiter is tried before it counts as not reachable. Default 2 seconds. */
  readonly timeout?: Duration.DurationInput | undefined
}

const checks = (): InvalidOptions.Checks<Options> => ({
  name: InvalidOptions.required(InvalidOptions.text),
  limit: InvalidOptions.required(InvalidOptions.aWholeNumber({ min: 1 })),
  window: InvalidOptions.time({ min: "1 millis" }),
  burst: InvalidOptions.aWholeNumber({ min: 1 }),
  otherwise: InvalidOptions.required(
    InvalidOptions.either(
      InvalidOptions.oneOf("wait", "fail"),
      InvalidOptions.fields<Exclude<Otherwise, string>>({
        perSecond: InvalidOptions.required(InvalidOptions.aNumber({ min: 0.001 })),
        burst: InvalidOptions.aWholeNumber({ min: 1 })
      })
    )
  ),
  timeout: InvalidOptions.time({ min: "1 millis" })
})

/** A value: any number of consumers may go by it. */
export interface Quota<out E = never> {
  readonly name: string
  /** @internal */
  readonly tokens: (now: () => number) => Tokens<E>
}

/** @internal */
export const check: InvalidOptions.Check = InvalidOptions.having("a quota of Quota.make", "name", "tokens")

/** While the limiter cannot be reached it is tried again after so many milliseconds, twice as long each time. */
const shortestPause = 200
const longestPause = 20_000

interface Terms<E> {
  readonly name: string
  /** Of all processes, in a window. */
  readonly limit: number
  /** Asked for at once, at most. */
  readonly most: number
  /** In milliseconds. */
  readonly window: number
  readonly consume: (n: number, once: boolean) => Effect.Effect<Duration.Duration, QuotaUnreachable>
  readonly own: TokenBucket | undefined
  readonly end: ((failure: QuotaUnreachable) => Effect.Effect<never, E>) | undefined
}

class QuotaTokens<E> implements Tokens<E> {
  readonly #terms: Terms<E>
  readonly #now: () => number
  #stock = 0
  #grantedAt = 0
  #unreachable = false
  #pause = shortestPause
  #retryAt = 0

  constructor(terms: Terms<E>, now: () => number) {
    this.#terms = terms
    this.#now = now
  }

  get #own(): TokenBucket | undefined {
    return this.#unreachable ? this.#terms.own : undefined
  }

  get burst(): number {
    return this.#own?.burst ?? this.#terms.limit
  }

  /** The limiter's come as they are granted. */
  get waitsForAll(): boolean {
    return this.#own !== undefined
  }

  available(): number {
    // What was not used within a window is no part of the next one.
    if (this.#now() - this.#grantedAt > this.#terms.window) this.#stock = 0
    return this.#stock + (this.#own?.available() ?? 0)
  }

  take(n: number): void {
    const stock = Math.min(n, this.#stock)
    this.#stock -= stock
    if (n > stock) this.#own?.take(n - stock)
  }

  giveBack(n: number): void {
    const own = this.#own
    // The stock is of the limiter's tokens, and is lost with its window.
    if (own === undefined) this.#stock += n
    else own.giveBack(n)
  }

  until(n: number): Effect.Effect<void, E> {
    return Effect.suspend(() => {
      const missing = n - this.available()
      if (missing <= 0) return Effect.void
      const pause = this.#retryAt - this.#now()
      // Its own part goes on meanwhile.
      if (this.#unreachable && pause > 0) {
        return this.#own?.until(n - this.#stock) ?? Effect.zipRight(Effect.sleep(pause), this.until(n))
      }
      const asked = Math.min(missing, this.#terms.most)
      return Effect.matchEffect(this.#terms.consume(asked, this.#unreachable), {
        onFailure: (failure) => Effect.zipRight(this.#failed(failure), this.until(n)),
        onSuccess: (delay) =>
          this.#reached.pipe(
            Effect.zipRight(Effect.sleep(delay)),
            Effect.zipRight(
              // Who waits asks again: with a small part of the quota, so many may never be here at once.
              Effect.sync(() => {
                this.available()
                this.#stock += asked
                this.#grantedAt = this.#now()
              })
            )
          )
      })
    })
  }

  readonly #reached = Effect.suspend(() => {
    if (!this.#unreachable) return Effect.void
    this.#unreachable = false
    this.#pause = shortestPause
    return Effect.logInfo(`the limiter of the quota ${this.#terms.name} is reached again`)
  })

  #failed(failure: QuotaUnreachable): Effect.Effect<void, E> {
    const { end } = this.#terms
    if (end !== undefined) return end(failure)
    const first = !this.#unreachable
    this.#unreachable = true
    this.#retryAt = this.#now() + this.#pause
    this.#pause = Math.min(longestPause, 2 * this.#pause)
    return first ? Effect.logWarning(failure.message) : Effect.void
  }
}

/**
 * A quota for the `quota` option of consumers. With `otherwise: "fail"` their streams may fail with `QuotaUnreachable`.
 *
 * Each message that is received takes a token; what a handler calls again in place takes none. A token that is not used
 * within its window (the queue had no more) is lost.
 *
 * Fails with `InvalidOptions` where an option cannot work.
 *
 * @example
 * const limiter = yield* RateLimiter.RateLimiter // of @effect/experimental, over RateLimiter/Redis
 * const quota = yield* Quota.make(limiter, { name: "payments-api", limit: 300, otherwise: { perSecond: 50 } })
 * SqsConsumer.stream("payments", { quota })
 */
export function make(
  limiter: Limiter,
  options: Options & { readonly otherwise: Exclude<Otherwise, "fail"> }
): Effect.Effect<Quota, InvalidOptions.InvalidOptions>
export function make(
  limiter: Limiter,
  options: Options
): Effect.Effect<Quota<QuotaUnreachable>, InvalidOptions.InvalidOptions>
export function make(
  limiter: Limiter,
  options: Options
): Effect.Effect<Quota<QuotaUnreachable>, InvalidOptions.InvalidOptions> {
  return Effect.gen(function* () {
    yield* InvalidOptions.argument(
      "limiter",
      limiter,
      InvalidOptions.having("a RateLimiter of @effect/experimental, or what has its consume", "consume")
    )
    yield* InvalidOptions.check("Quota.make", options, checks())
    const { limit, name, otherwise } = options
    const window = Duration.toMillis(options.window ?? "1 second")
    const burst = yield* InvalidOptions.wholeNumber("burst", options.burst ?? Math.max(1, Math.floor(limit / 50)), {
      min: 1,
      max: limit
    })
    const rate = typeof otherwise === "string" ? undefined : otherwise
    return {
      name,
      tokens: (now) =>
        new QuotaTokens(
          {
            name,
            limit,
            window,
            most: burst,
            consume: (tokens, once) =>
              asked(limiter, options, once, {
                algorithm: "token-bucket",
                onExceeded: "delay",
                key: name,
                // A bucket of the burst's size, which fills at the rate of the quota.
                limit: burst,
                window: Duration.millis((window * burst) / limit),
                tokens
              }),
            own: rate && new TokenBucket(rate.burst, () => rate.perSecond, now),
            end: otherwise === "fail" ? Effect.fail : undefined
          },
          now
        )
    }
  })
}

const consequences = {
  wait: "nothing is received until it answers",
  fail: "the stream ends",
  rate: "this process goes on by its own part of the quota"
}

/** Tried again until the time is over: then it counts as not reachable; `once` it does, one try is enough. */
const asked = (
  limiter: Limiter,
  { name, otherwise, timeout = "2 seconds" }: Options,
  once: boolean,
  request: Parameters<Limiter["consume"]>[0]
): Effect.Effect<Duration.Duration, QuotaUnreachable> =>
  Effect.suspend(() => {
    let latest: unknown
    const follows = consequences[typeof otherwise === "string" ? otherwise : "rate"]
    const unreachable = () => {
      const reason =
        latest === undefined ? `no answer within ${Duration.format(Duration.decode(timeout))}` : Reason.of(latest)
      return new QuotaUnreachable({
        quota: name,
        cause: latest,
        message: `the limiter of the quota ${name} cannot be reached, and ${follows}: ${reason}`
      })
    }
    return Effect.suspend(() => limiter.consume(request)).pipe(
      Effect.map(({ delay }) => delay),
      Effect.catchAllDefect(Effect.fail),
      Effect.tapError((cause) =>
        Effect.sync(() => {
          latest = cause
        })
      ),
      Effect.retry({
        while: () => !once,
        schedule: Schedule.exponential("50 millis").pipe(Schedule.union(Schedule.spaced("1 second")))
      }),
      Effect.mapError(unreachable),
      // A client that cannot be interrupted is not waited for.
      Effect.interruptible,
      Effect.disconnect,
      Effect.timeoutFail({ duration: timeout, onTimeout: unreachable })
    )
  })
