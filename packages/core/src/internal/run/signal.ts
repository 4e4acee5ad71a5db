/**
 * Wakes who waits for something to change. A fiber may lose its turn after it has looked and before it waits: a wake-up in
 * between is kept for it. Who waits looks again, so one too many does no harm.
 */
import * as Effect from "effect/Effect"

export class Signal {
  #wake: (() => void) | undefined
  #missed = false

  wake(): void {
    const wake = this.#wake
    this.#wake = undefined
    this.#missed = wake === undefined
    wake?.()
  }

  /** For one at a time. */
  readonly wait: Effect.Effect<void> = Effect.async<void>((resume) => {
    if (this.#missed) resume(Effect.void)
    else this.#wake = () => resume(Effect.void)
    this.#missed = false
    return Effect.sync(() => {
      this.#wake = undefined
    })
  })

  /** Waits until it holds. */
  until(holds: () => boolean): Effect.Effect<void> {
    return Effect.suspend(() => (holds() ? Effect.void : Effect.zipRight(this.wait, this.until(holds))))
  }
}
