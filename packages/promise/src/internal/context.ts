/** What a handler is told beside the body. Most handlers look at no signal, so none is made before it is asked for. */
import { type Delivery, HandlerTimeout } from "@millrace/core/Delivery"
import * as InvalidOptions from "@millrace/core/InvalidOptions"
import * as Cause from "effect/Cause"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { LeaseLostError, StoppedError } from "../errors.js"
import type { Context, Message, Time } from "../types.js"
import { plainError, runSync } from "./plain.js"

/** Aborted at most once, before or after somebody asks for the signal. */
export class LazySignal {
  #controller: AbortController | undefined
  #reason: Error | undefined

  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController()
      if (this.#reason !== undefined) this.#controller.abort(this.#reason)
    }
    return this.#controller.signal
  }

  abort(reason: Error): void {
    this.#reason ??= reason
    this.#controller?.abort(this.#reason)
  }
}

type AnyDelivery = Delivery<unknown, unknown>

/** A lease of no time would be its end. */
const extension = InvalidOptions.time({ min: "1 second", max: "12 hours" })

export const extend = async (delivery: AnyDelivery, time: Time): Promise<void> => {
  runSync(InvalidOptions.argument("time", time, extension))
  const exit = await Effect.runPromiseExit(delivery.extend(time))
  if (Exit.isFailure(exit)) throw plainError(Cause.squash(exit.cause))
}

export class HandlerContext implements Context {
  readonly #delivery: AnyDelivery
  readonly #abort = new LazySignal()

  constructor(delivery: AnyDelivery) {
    this.#delivery = delivery
  }

  get signal(): AbortSignal {
    return this.#abort.signal
  }
  get message(): Message {
    return this.#delivery.message
  }
  get attempt(): number {
    return this.#delivery.attempt
  }
  get queue(): string {
    return this.#delivery.queue
  }
  get extend() {
    return (time: Time) => extend(this.#delivery, time)
  }

  abort(reason: Error): void {
    this.#abort.abort(reason)
  }
}

const idsOf = (deliveries: ReadonlyArray<AnyDelivery>) => deliveries.map(({ message }) => message.id).join(", ")

/** A handler of these has run for as long as it may. */
export const tooLate = (deliveries: ReadonlyArray<AnyDelivery>, timeout: Time): HandlerTimeout => {
  const messageId = idsOf(deliveries)
  const limit = Duration.format(Duration.decode(timeout))
  return new HandlerTimeout({ messageId, message: `the handler of message ${messageId} took more than ${limit}` })
}

/** Why a handler of these was interrupted, where it had time left. */
export const reasonOf = (deliveries: ReadonlyArray<AnyDelivery>): Error => {
  const lost = deliveries.some(({ ended }) => {
    const outcome = Effect.runSyncExit(ended)
    return Exit.isSuccess(outcome) && outcome.value === "lost"
  })
  return lost
    ? new LeaseLostError(`the lease of message ${idsOf(deliveries)} is lost: it may be delivered again`)
    : new StoppedError(`the consumer stops before the handler of message ${idsOf(deliveries)} has ended`)
}
