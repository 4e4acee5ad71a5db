/** What a receive takes beside permits: tokens of the rate, and of the quota, as far as there are such. */
import type * as Cause from "effect/Cause"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import { type Fork, interrupt } from "../effect/fork.js"
import type { Tokens } from "./tokens.js"

interface Refill<Q> {
  readonly tokens: Tokens<Q>
  readonly wanted: number
  readonly fiber: Fiber.RuntimeFiber<void, Q>
}

export class Allowance<Q> {
  readonly #all: ReadonlyArray<Tokens<Q>>
  readonly #fork: Fork
  readonly #onFailure: (cause: Cause.Cause<Q>) => void
  #refill: Refill<Q> | undefined

  /** `onFailure` is told why there will be none. */
  constructor(all: ReadonlyArray<Tokens<Q>>, fork: Fork, onFailure: (cause: Cause.Cause<Q>) => void) {
    this.#all = all
    this.#fork = fork
    this.#onFailure = onFailure
  }

  /** There are never more. */
  get burst(): number {
    let least = Infinity
    for (const { burst } of this.#all) least = Math.min(least, burst)
    return least
  }

  available(): number {
    let least = Infinity
    for (const tokens of this.#all) least = Math.min(least, tokens.available())
    return least
  }

  take(n: number): void {
    for (const tokens of this.#all) tokens.take(n)
  }

  /** What was asked for and did not come. */
  giveBack(n: number): void {
    for (const tokens of this.#all) tokens.giveBack(n)
  }

  /** Where there are not so many: calls back when there may be. */
  await(wanted: number, then: () => void): void {
    const short = this.#all.find((tokens) => tokens.available() < wanted)
    if (short === undefined) return
    if (this.#refill !== undefined) {
      if (wanted >= this.#refill.wanted || !this.#refill.tokens.waitsForAll) return
      // A slot starves, and a full batch was waited for.
      this.forget()
    }
    const fiber = this.#fork(short.until(wanted))
    const refill = { tokens: short, wanted, fiber }
    this.#refill = refill
    fiber.addObserver((exit) => {
      if (this.#refill !== refill) return
      this.#refill = undefined
      if (Exit.isFailure(exit)) this.#onFailure(exit.cause)
      else then()
    })
  }

  /** Who waits has reckoned with another rate, or need not wait any more. */
  forget(): void {
    const refill = this.#refill
    this.#refill = undefined
    interrupt(refill?.fiber)
  }
}
