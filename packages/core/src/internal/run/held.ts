/** What runs again after a while: its slot is free for others meanwhile; its permits and its lane's leases are kept. */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import { type Fork, interrupt } from "../effect/fork.js"

export class Held<A> {
  readonly #fork: Fork
  readonly #timers = new Map<A, Fiber.RuntimeFiber<void>>()

  constructor(fork: Fork) {
    this.#fork = fork
  }

  get size(): number {
    return this.#timers.size
  }

  has(item: A): boolean {
    return this.#timers.has(item)
  }

  /** Calls back after so many milliseconds, with whether it is due, and not let go before. */
  hold(item: A, millis: number, then: (due: boolean) => void): void {
    const timer = this.#fork(Effect.sleep(millis))
    this.#timers.set(item, timer)
    timer.addObserver((exit) => {
      this.#timers.delete(item)
      then(Exit.isSuccess(exit))
    })
  }

  letGo(item: A): void {
    interrupt(this.#timers.get(item))
  }

  letAllGo(): void {
    for (const timer of this.#timers.values()) interrupt(timer)
  }
}
