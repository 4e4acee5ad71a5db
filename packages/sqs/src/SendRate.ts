/**
 * How many messages may be sent a second, by all producers that are given the same rate. It is a number that can be
 * changed while it is in use; zero sends nothing until it is raised.
 */
import * as InvalidOptions from "@millrace/core/InvalidOptions"
import * as Tunable from "@millrace/core/Tunable"
import * as Effect from "effect/Effect"

export interface Options {
  /** Messages a second, zero or more. */
  readonly perSecond: number | Tunable.Tunable
  /** How many may be sent at once after a pause. Default: 10, one full call. Fewer means calls that are not full. */
  readonly burst?: number | undefined
}

export interface SendRate {
  readonly perSecond: Tunable.Tunable
  /** @internal */
  readonly bucket: TokenBucket
}

/** Who wants tokens, and how to tell that it may be their turn. */
interface Claimant {
  readonly wake: () => void
}

/** The right to send so many messages: it fills at the rate, up to the burst. Claimants take turns. */
export class TokenBucket {
  readonly burst: number
  readonly #perSecond: Tunable.Tunable
  readonly #line = new Set<Claimant>()
  #unsubscribe: (() => void) | undefined
  #tokens: number
  #at: number

  constructor(burst: number, perSecond: Tunable.Tunable, now: number) {
    this.burst = burst
    this.#perSecond = perSecond
    this.#tokens = burst
    this.#at = now
  }

  /** Takes `n` tokens and answers 0, or says in how many milliseconds to ask again: never, where it will be woken. */
  take(claimant: Claimant, n: number, now: number): number {
    this.#fill(now)
    const first = this.#first()
    if (first !== undefined && first !== claimant) {
      this.#line.add(claimant)
      return Infinity
    }
    // A millisecond's rounding must not cost a turn.
    if (this.#tokens + 1e-6 >= n) {
      this.#tokens -= n
      this.leave(claimant)
      return 0
    }
    this.#line.add(claimant)
    // What was earned so far was earned at the old rate.
    this.#unsubscribe ??= this.#perSecond.unsafeSubscribe(() => this.#first()?.wake())
    const rate = this.#perSecond.unsafeGet()
    return rate <= 0 ? Infinity : Math.max(1, Math.ceil(((n - this.#tokens) * 1000) / rate))
  }

  /** What was taken and not used. */
  giveBack(n: number): void {
    this.#tokens = Math.min(this.burst, this.#tokens + n)
  }

  /** Wants none any more. */
  leave(claimant: Claimant): void {
    if (!this.#line.delete(claimant)) return
    const next = this.#first()
    if (next !== undefined) next.wake()
    else {
      this.#unsubscribe?.()
      this.#unsubscribe = undefined
    }
  }

  #first(): Claimant | undefined {
    for (const claimant of this.#line) return claimant
    return undefined
  }

  #rate: number | undefined

  #fill(now: number): void {
    const passed = Math.max(0, now - this.#at)
    this.#tokens = Math.min(this.burst, this.#tokens + (passed * (this.#rate ?? this.#perSecond.unsafeGet())) / 1000)
    this.#rate = this.#perSecond.unsafeGet()
    this.#at = now
  }
}

const checks: InvalidOptions.Checks<Options> = {
  perSecond: InvalidOptions.checkedBelow,
  burst: InvalidOptions.aWholeNumber({ min: 1 })
}

/** What may stand where such a rate belongs. */
export const check: InvalidOptions.Check = InvalidOptions.having(
  "a rate of SendRate.make({ perSecond: 100 })",
  "perSecond",
  "bucket"
)

/** A rate to give to one producer or several. Fails with `InvalidOptions` where a number cannot be. */
export const make = (options: Options): Effect.Effect<SendRate, InvalidOptions.InvalidOptions> =>
  Effect.gen(function* () {
    yield* InvalidOptions.check("SendRate", options, checks)
    const { burst = 10 } = options
    const perSecond = yield* Tunable.from("perSecond", options.perSecond, { min: 0 })
    const now = yield* Effect.clockWith((clock) => clock.currentTimeMillis)
    return { perSecond, bucket: new TokenBucket(burst, perSecond, now) }
  })
