/** What `once` is to a stage: a guard around its handler. The stage knows no more of it, and loads none where none is given. */
import type * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import type { Delivery } from "../../Delivery.js"
import type { Fork } from "./gather.js"

/** The handler was not run on a delivery: what flows on instead, or in how many milliseconds to look again. */
export class NotRun<out B> {
  readonly results: ReadonlyArray<B>
  readonly wait: number | undefined

  constructor(results: ReadonlyArray<B>, wait?: number) {
    this.results = results
    this.wait = wait
  }
}

/** What became of one delivery of a batch. */
export type BatchAnswer<B, O, E> = Exit.Exit<ReadonlyArray<B> | NotRun<B | O>, E>

/**
 * Lets a stage's handler run once a key: claims before it, seals after it, and says what is to happen where it may not
 * run.
 */
export interface Guard<A, B, O, E, R> {
  /** Claims for what waits for a slot, alongside what runs. Nothing that waits for another message may be among it. */
  foresee(delivery: Delivery<A, unknown>, fork: Fork): void
  /** Runs the handler of one delivery, if it may. */
  around<E2, R2>(
    handler: Effect.Effect<B, E2, R2>,
    delivery: Delivery<A, unknown>,
    body: A,
    fork: Fork
  ): Effect.Effect<B | NotRun<B | O>, E2 | E, R2 | R>
  /**
   * Runs the handler of a batch on those deliveries that it may run on, and answers for each. What follows one that may
   * not run in its lane does not run either.
   */
  aroundBatch<E2, R2>(
    handler: (which: ReadonlyArray<number>) => Effect.Effect<ReadonlyArray<Exit.Exit<ReadonlyArray<B>, E2>>, never, R2>,
    deliveries: ReadonlyArray<{
      readonly delivery: Delivery<A, unknown>
      readonly body: A
      readonly lanes: ReadonlyArray<string>
    }>,
    fork: Fork
  ): Effect.Effect<ReadonlyArray<BatchAnswer<B, O, E2 | E>>, never, R2 | R>
}
