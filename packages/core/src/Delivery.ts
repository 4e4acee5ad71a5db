/**
 * A received message on its way through a pipeline, with its lease and its own way to be settled.
 */
import * as Cause from "effect/Cause"
import * as Data from "effect/Data"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type { InFlight } from "./internal/lease/inFlight.js"
import type * as LeaseQueue from "./LeaseQueue.js"
import * as Reason from "./Reason.js"
import * as Settlement from "./Settlement.js"

/**
 * @typeParam A - what the body has become so far; a `string` as it leaves the queue.
 * @typeParam E - how an earlier stage may have failed on it. Such a delivery flows on as a failure, so that the stage
 *   that settles treats it in its turn: nothing overtakes it.
 */
export interface Delivery<out A, out E = never> {
  /** The body, or the failure of an earlier stage. An `Exit` is an Effect: `yield* delivery.body`. */
  readonly body: Exit.Exit<A, E>
  /** As it was received: raw body, attributes, group, attempt. */
  readonly message: LeaseQueue.Message
  /**
   * Which attempt this is, from 1: what the queue has counted (every receive counts, also one that was lost to a
   * restart), and our own runs again in place.
   */
  readonly attempt: number
  /** The queue it came from. */
  readonly queue: string
  /** When its lease ends unless it is extended or settled, in milliseconds since the epoch. */
  readonly deadline: number
  /** Deletes the message. Completes when the queue has confirmed it. */
  readonly ack: Effect.Effect<void, Settlement.SettleError>
  /** Makes it visible again after `delay`. */
  readonly retry: (delay: Duration.DurationInput) => Effect.Effect<void, Settlement.SettleError>
  /** Makes it visible now. */
  readonly release: Effect.Effect<void, Settlement.SettleError>
  /** Leaves it to the queue's own timeout, set anew, and its redrive policy. */
  readonly leave: Effect.Effect<void, Settlement.SettleError>
  /** Moves it to the dead letters, with the reason; the same as `leave` where the queue has none. */
  readonly deadLetter: (reason: string) => Effect.Effect<void, Settlement.SettleError>
  /** Makes the lease end `duration` from now. */
  readonly extend: (duration: Duration.DurationInput) => Effect.Effect<void, Settlement.SettleError>
  /** Completes when it has ended, whoever settles it, with how. To look on: it settles nothing. */
  readonly ended: Effect.Effect<Settlement.Outcome>
}

/**
 * The body did not decode: it is not JSON, or not of its Schema. Names the message and the paths that are wrong, never
 * the values, so that it can be logged; the raw body is in `delivery.message`.
 */
export class DecodeError extends Data.TaggedError("DecodeError")<{
  readonly messageId: string
  readonly message: string
}> {}

/** The message was sent longer ago than `Pipeline.maxAge` allows. */
export class Stale extends Data.TaggedError("Stale")<{
  readonly messageId: string
  readonly age: Duration.Duration
  readonly message: string
}> {}

/** A handler died of a defect: a throw or `Effect.die`, which its type does not speak of. */
export class HandlerDefect extends Data.TaggedError("HandlerDefect")<{
  readonly messageId: string
  readonly defect: unknown
}> {
  override get message(): string {
    return Reason.of(this.defect)
  }
}

/** A handler took longer than the stage's `timeout`, and was interrupted. */
export class HandlerTimeout extends Data.TaggedError("HandlerTimeout")<{
  readonly messageId: string
  readonly message: string
}> {}

/** What is in flight, or what makes it where it is first asked for. */
type Held = InFlight | (() => InFlight)

class DeliveryImpl<A, E> implements Delivery<A, E> {
  readonly body: Exit.Exit<A, E>
  #held: Held

  constructor(body: Exit.Exit<A, E>, held: Held) {
    this.body = body
    this.#held = held
  }

  static inFlight(self: DeliveryImpl<unknown, unknown>): InFlight {
    return self.#inFlight
  }

  get #inFlight(): InFlight {
    if (typeof this.#held === "function") this.#held = this.#held()
    return this.#held
  }

  get message() {
    return this.#inFlight.message
  }
  get attempt() {
    return this.#inFlight.attempt
  }
  get queue() {
    return this.#inFlight.source.queue.name
  }
  get deadline() {
    return this.#inFlight.source.clock.onTheWall(this.#inFlight.deadline)
  }
  get ack() {
    return this.#settle(Settlement.ack)
  }
  get release() {
    return this.#settle(Settlement.release)
  }
  get leave() {
    return this.#settle(Settlement.leave)
  }
  retry(delay: Duration.DurationInput) {
    return this.#settle(Settlement.retry(delay))
  }
  deadLetter(reason: string) {
    return this.#settle(Settlement.deadLetter(reason))
  }
  extend(duration: Duration.DurationInput) {
    return Effect.async<void, Settlement.SettleError>((resume) => {
      const inFlight = this.#inFlight
      if (inFlight.outcome !== undefined) return resume(this.#alreadySettled)
      inFlight.source.leases.extend(inFlight, Duration.toMillis(duration), (confirmed) =>
        resume(confirmed ? Effect.void : this.#leaseLost)
      )
    })
  }

  get ended() {
    return Effect.async<Settlement.Outcome>((resume) =>
      this.#inFlight.onEnded((outcome) => resume(Effect.succeed(outcome)))
    )
  }

  #settle(settlement: Settlement.Settlement) {
    return Effect.async<void, Settlement.SettleError>((resume) => {
      const accepted = this.#inFlight.settle(settlement, (outcome) =>
        resume(outcome === "lost" ? this.#leaseLost : Effect.void)
      )
      if (!accepted) resume(this.#alreadySettled)
    })
  }

  get #leaseLost() {
    const messageId = this.message.id
    return new Settlement.LeaseLost({
      messageId,
      message: `the lease of message ${messageId} was over before the queue confirmed; it may be delivered again. A longer visibility timeout, or fewer messages in flight for each slot, prevents it`
    })
  }

  get #alreadySettled() {
    const messageId = this.message.id
    return new Settlement.AlreadySettled({
      messageId,
      message: `message ${messageId} is already ${this.#inFlight.outcome ?? "being settled"}; a delivery is settled once, and is released when its stream closes before a stage has claimed it`
    })
  }
}

/** @internal */
export const of = <A, E>(body: Exit.Exit<A, E>, held: Held): Delivery<A, E> => new DeliveryImpl(body, held)

/** @internal */
export const make = (inFlight: InFlight): Delivery<string> => of(Exit.succeed(inFlight.message.body), inFlight)

const impl = <A, E>(self: Delivery<A, E>): DeliveryImpl<A, E> => {
  if (self instanceof DeliveryImpl) return self
  throw new Error(
    "a Delivery comes from a consumer; to test a handler, call it with a body, or run its pipeline on a MemoryQueue"
  )
}

/** @internal */
export const inFlight = (self: Delivery<unknown, unknown>): InFlight => DeliveryImpl.inFlight(impl(self))

/** The same delivery with another body. */
export const withBody = <B, E2>(self: Delivery<unknown, unknown>, body: Exit.Exit<B, E2>): Delivery<B, E2> =>
  new DeliveryImpl(body, inFlight(self))

/** Changes the body; what `f` throws makes the delivery a failed one. */
export const map = <A, E, B>(self: Delivery<A, E>, f: (body: A, delivery: Delivery<A, E>) => B): Delivery<B, E> => {
  if (Exit.isFailure(self.body)) return withBody(self, Exit.failCause(self.body.cause))
  try {
    return withBody(self, Exit.succeed(f(self.body.value, self)))
  } catch (defect) {
    return withBody(self, Exit.failCause(Cause.die(defect)))
  }
}
