/**
 * A promise as what a handler gives. `Effect.tryPromise` does the same; this costs a message less, since a stage waits for
 * it without a fiber where nothing else is asked of it: no timeout, no `once`, no other operator around it.
 */
import type * as Effect from "effect/Effect"
import { promised } from "./internal/effect/running.js"

/**
 * Calls `begin` when it is run, and succeeds or fails with what its promise is settled with; with what it gives or throws where
 * that is no promise. `onInterrupt` is called where nobody waits for it any more: the consumer stops, or the lease is lost.
 *
 * @example
 * Pipeline.process((order) => Promised.make(() => ship(order)))
 */
export const make = <A>(begin: () => A | PromiseLike<A>, onInterrupt?: () => void): Effect.Effect<A, unknown> =>
  promised(begin, onInterrupt)
