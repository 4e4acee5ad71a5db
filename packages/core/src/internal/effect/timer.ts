/** Calls back after a while, once: unless it is cancelled, or set anew, before. */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import { type Fork, interrupt } from "./fork.js"

export class Timer {
  readonly #fork: Fork
  #fiber: Fiber.RuntimeFiber<void> | undefined
  /** For what it is set, as its user has it; infinity where it is not set. */
  at = Infinity

  constructor(fork: Fork) {
    this.#fork = fork
  }

  get isSet(): boolean {
    return this.#fiber !== undefined
  }

  /** After so many milliseconds. */
  set(at: number, millis: number, then: () => void): void {
    this.#start(at, Effect.sleep(millis), then)
  }

  /** As soon as what can run now has had its turn. */
  setSoon(at: number, then: () => void): void {
    this.#start(at, Effect.yieldNow(), then)
  }

  #start(at: number, wait: Effect.Effect<void>, then: () => void): void {
    interrupt(this.#fiber)
    const fiber = this.#fork(wait)
    this.#fiber = fiber
    this.at = at
    fiber.addObserver((exit) => {
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
