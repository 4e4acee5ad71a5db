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

  /**
   * Waits until it holds, for one at a time. It looks in the step in which it begins to wait: nothing is missed. Who is
   * interrupted leaves a wake-up behind that wakes nobody, until the next one who waits takes its place: to take it back
   * would cost as much as all the rest.
   */
  until(holds: () => boolean): Effect.Effect<void> {
    const untilWoken = Effect.async<void>((resume) => {
      if (holds()) resume(Effect.void)
      else this.#wake = () => resume(Effect.void)
    })
    const until: Effect.Effect<void> = Effect.suspend(() =>
      holds() ? Effect.void : Effect.zipRight(untilWoken, until)
    )
    return until
  }
}
