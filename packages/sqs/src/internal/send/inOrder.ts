/**
 * A stream's elements that take time to prepare: they are prepared side by side and handed over in the order of the
 * stream.
 */
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type * as Scope from "effect/Scope"
import { type Forked, onEnd } from "../effect/fork.js"

const noop = () => {}

/** Steps of two parts: the first parts overlap, `most` at a time; the second follow each other in the order of adding. */
export class InOrder {
  readonly #most: number
  readonly #scope: Scope.Scope
  #open = 0
  #last: Forked | undefined
  #wake = noop

  /** What is under way when the scope closes is interrupted. */
  constructor(most: number, scope: Scope.Scope) {
    this.#most = most
    this.#scope = scope
  }

  /** All second parts have ended. */
  get isIdle(): boolean {
    return this.#last === undefined
  }

  /** Completes when there is room for another. `abandon` is given what a first part made and no second part took. */
  add<A>(
    first: Effect.Effect<A>,
    second: (made: A) => Effect.Effect<void>,
    abandon: (made: A) => void
  ): Effect.Effect<void> {
    return Effect.suspend(() => {
      const before = this.#last
      const turn = before === undefined ? Effect.void : Effect.asVoid(Fiber.await(before))
      const step = Effect.flatMap(first, (made) =>
        Effect.zipRight(
          Effect.onInterrupt(turn, () => Effect.sync(() => abandon(made))),
          Effect.suspend(() => second(made))
        )
      )
      this.#open += 1
      return Effect.flatMap(Effect.forkIn(step, this.#scope), (fiber) => {
        this.#last = fiber
        onEnd(fiber, () => {
          this.#open -= 1
          if (this.#last === fiber) this.#last = undefined
          this.#wake()
        })
        return this.#room
      })
    })
  }

  readonly #room = Effect.async<void>((resume) => {
    if (this.#open < this.#most) return resume(Effect.void)
    this.#wake = () => {
      if (this.#open < this.#most) resume(Effect.void)
    }
  })
}
