/** Who waits for something to hold, and looks again each time that somebody has changed something. */
import * as Effect from "effect/Effect"

interface Waiter {
  readonly holds: () => boolean
  readonly wake: () => void
}

export class Waiters {
  #all: Array<Waiter> = []

  /** Completes once it holds. It looks in the step in which it begins to wait, so that nothing is missed. */
  until(holds: () => boolean): Effect.Effect<void> {
    return Effect.async<void>((resume) => {
      if (holds()) return resume(Effect.void)
      const waiter = { holds, wake: () => resume(Effect.void) }
      this.#all.push(waiter)
      return Effect.sync(() => {
        this.#all = this.#all.filter((other) => other !== waiter)
      })
    })
  }

  look(): void {
    if (this.#all.length === 0) return
    const ready = this.#all.filter((waiter) => waiter.holds())
    if (ready.length === 0) return
    this.#all = this.#all.filter((waiter) => !ready.includes(waiter))
    for (const waiter of ready) waiter.wake()
  }
}
