/**
 * Opens bodies that their senders have encoded, within the bytes that the consumer allows for opened ones. The decode
 * stages use it; a stage that fetches bodies from elsewhere does too.
 */
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import { type Delivery, inFlight } from "./Delivery.js"
import { attempt } from "./internal/attempt.js"
import type { InFlight } from "./internal/inFlight.js"

/** @internal Waits until the bodies that are open leave room for another. */
export const room = (delivery: Delivery<unknown, unknown>): Effect.Effect<void> =>
  Effect.suspend(() => {
    const held = inFlight(delivery)
    return held.custodian.opened.untilRoom(held)
  })

/** @internal Whether `room` would not wait. */
export const hasRoom = (delivery: Delivery<unknown, unknown>): boolean => {
  const { custodian, outcome } = inFlight(delivery)
  return custodian.opened.hasRoom || outcome !== undefined
}

/**
 * @internal Opens a text as the delivery's message says, and counts it until the delivery ends. A left says what is
 * wrong; an encoding that throws is wrong too.
 */
export const open = (delivery: Delivery<unknown, unknown>, text: string): Either.Either<string, string> => {
  const held = inFlight(delivery)
  const { open } = held.message
  if (open === undefined) return Either.right(text)
  const opened = attempt(() => checked(open(text)), Either.left("its encoding threw an error"))
  if (Either.isRight(opened)) count(held, opened.right)
  return opened
}

/** @internal Counts a body that came from elsewhere until the delivery ends. */
export const fetched = (delivery: Delivery<unknown, unknown>, text: string): void => count(inFlight(delivery), text)

const count = (held: InFlight, text: string): void => held.custodian.opened.take(held, Buffer.byteLength(text))

const checked = (opened: Either.Either<string, string>): Either.Either<string, string> =>
  Either.isEither(opened) && typeof (Either.isRight(opened) ? opened.right : opened.left) === "string"
    ? opened
    : Either.left("its encoding gave no text")
