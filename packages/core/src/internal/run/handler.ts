/** One run of a handler on one delivery: the few steps that every message costs. */
import * as Cause from "effect/Cause"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import { type Delivery, HandlerDefect, HandlerTimeout, inFlight } from "../../Delivery.js"
import type * as RetryPolicy from "../../RetryPolicy.js"
import * as Settlement from "../../Settlement.js"
import { NotRun } from "../idempotency/protection.js"
import type { InFlight } from "../lease/inFlight.js"
import type { Claims } from "./claims.js"
import type { RunFork } from "./runFork.js"

/** What is done with one delivery: `run` calls `handle` where the body is sound, and one of the others at the end. */
export interface Handling<in A, in out B, in out E, out R> {
  readonly handle: (body: A) => Effect.Effect<B, E, R>
  readonly succeeded: (value: B) => void
  readonly failed: (cause: Cause.Cause<E>) => void
  /** Nothing is left to do: it was released before it began, or because it was interrupted. */
  readonly skipped: () => void
}

/** Claims a delivery and runs a handler on it, in a fiber of its own where that needs one. */
export const run = <A, E extends F, B, F, R>(
  claims: Claims,
  delivery: Delivery<A, E>,
  runFork: RunFork<R>,
  handling: Handling<A, B, F, R>
): void => {
  const held = inFlight(delivery)
  if (!claims.claim(held)) {
    handling.skipped()
    return
  }
  if (Exit.isFailure(delivery.body)) {
    handling.failed(delivery.body.cause)
    return
  }
  const { clock, reports } = held.source
  // Who claims has just looked.
  const startedAt = clock.latest
  const body = delivery.body.value
  const running = runFork.begin(() => handling.handle(body), held)
  claims.runs(held, running, startedAt)
  running.addObserver((exit) => {
    claims.rests(held)
    const stopped = claims.stopped(running, exit)
    const ran = !stopped && !(Exit.isSuccess(exit) && exit.value instanceof NotRun)
    if (ran) reports.handled(held, clock.now() - startedAt, Exit.isSuccess(exit))
    if (Exit.isSuccess(exit)) {
      handling.succeeded(exit.value)
    } else if (stopped) {
      held.settle(held.source.draining.afterStop)
      handling.skipped()
    } else {
      handling.failed(ownFailure(exit.cause))
    }
  })
}

/** A handler that ends as interrupted of itself has failed: it must not come back as if it had been stopped. */
export const ownFailure = <E>(cause: Cause.Cause<E>): Cause.Cause<E> =>
  Cause.isInterruptedOnly(cause) ? Cause.die(new Error(interruptedFromWithin)) : cause

const interruptedFromWithin =
  "the handler ended as interrupted, and neither a stop nor a lost lease has done it: what it waits for was interrupted (a fiber that it joins, a Deferred, a cached effect), or it interrupts itself"

export const failureOf = <E>(delivery: Delivery<unknown, unknown>, cause: Cause.Cause<E>): RetryPolicy.Failure<E> =>
  Option.getOrElse(
    Cause.failureOption(cause),
    () => new HandlerDefect({ messageId: delivery.message.id, defect: Cause.squash(cause) })
  )

/** A handler may have been too late: on a standard queue the delete may still succeed. */
export const ack = (delivery: InFlight): void => {
  if (!delivery.settle(Settlement.ack)) delivery.source.settlements.ackLate(delivery)
}

export const limited = <B, E, R>(
  effect: Effect.Effect<B, E, R>,
  timeout: Duration.DurationInput | undefined,
  delivery: Delivery<unknown, unknown> | undefined
): Effect.Effect<B, E | HandlerTimeout, R> =>
  timeout === undefined
    ? effect
    : Effect.timeoutFail(effect, {
        duration: timeout,
        onTimeout: () => {
          const messageId = delivery?.message.id ?? "?"
          const limit = Duration.format(Duration.decode(timeout))
          return new HandlerTimeout({
            messageId,
            message: `the handler of message ${messageId} took more than ${limit}`
          })
        }
      })
