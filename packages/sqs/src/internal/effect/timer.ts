/** Calls back after a while, once: unless it is cancelled, or set anew, before. */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { type Fork, type Forked, interrupt, onEnd } from "./fork.js"

export class Timer {
  readonly #fork: Fork
  #fiber: Forked | undefined
  /** When it is due, as its user has it; infinity where it is not set. */
  at = Infinity

  constructor(fork: Fork) {
    this.#fork = fork
  }

  /** After so many milliseconds; without any, once all that can run now has had its turn. */
  set(at: number, millis: number, then: () => void): void {
    this.cancel()
    const fiber = this.#fork(millis > 0 ? Effect.sleep(millis) : Effect.yieldNow())
    this.#fiber = fiber
    this.at = at
    onEnd(fiber, (exit) => {
      if (this.#fiber !== fiber) return
      this.#clear()
      if (Exit.isSuccess(exit)) then()
    })
  }

  cancel(): void {
    const fiber = this.#fiber
    this.#clear()
    interrupt(fiber)
  }

  #clear(): void {
    this.#fiber = undefined
    this.at = Infinity
  }
}
