/** The receives that are open, and how they end on a stop: they are told of it, awaited for a while, and then aborted. */
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import { interrupt } from "../effect/fork.js"
import { Waiters } from "../effect/waiters.js"
import { within } from "../effect/within.js"
import type { Attempt } from "./lostAttempts.js"

export interface Poll {
  /** What it has asked for. */
  readonly max: number
  readonly sentAt: number
  attempt: Attempt | undefined
  fiber: Fiber.RuntimeFiber<unknown, unknown> | undefined
}

export class OpenPolls {
  readonly #open = new Set<Poll>()
  readonly #waiters = new Waiters()
  /** No other is sent. */
  stopping = false

  get size(): number {
    return this.#open.size
  }

  [Symbol.iterator](): IterableIterator<Poll> {
    return this.#open.values()
  }

  add(poll: Poll): void {
    this.#open.add(poll)
  }

  delete(poll: Poll): void {
    this.#open.delete(poll)
  }

  /** One has had its answer, and what it brought is taken care of. */
  settled(): void {
    this.#waiters.look()
  }

  /** Completes with the stop: a receive that waits for messages may end early then. */
  readonly stop = this.#waiters.until(() => this.stopping)

  readonly #empty = this.#waiters.until(() => this.#open.size === 0)

  beginStopping(): void {
    this.stopping = true
    this.#waiters.look()
  }

  /** Awaits those that are open for the grace, then aborts them. A finalizer, as a rule, where nothing can be interrupted. */
  end(grace: Duration.Duration): Effect.Effect<void> {
    return within(this.#empty, grace).pipe(
      Effect.flatMap((empty) => {
        if (Option.isSome(empty)) return Effect.void
        for (const poll of this.#open) interrupt(poll.fiber)
        return this.#empty
      })
    )
  }
}
