/**
 * Opens bodies that their senders have encoded, within the bytes that the consumer allows for opened ones. The decode
 * stages use it; a stage that fetches bodies from elsewhere does too.
 */
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import { type Delivery, inFlight } from "./Delivery.js"
import { attempt } from "./internal/userCode/attempt.js"

/**
 * Waits until the bodies that are open leave room for another, as the consumer's `maxOpenedBytes` says, or until this
 * delivery has ended.
 */
export const room = (delivery: Delivery<unknown, unknown>): Effect.Effect<void> =>
  Effect.suspend(() => {
    const held = inFlight(delivery)
    return held.source.opened.untilRoom(held)
  })

/** @internal Whether `room` would not wait. */
export const hasRoom = (delivery: Delivery<unknown, unknown>): boolean => {
  const { outcome, source } = inFlight(delivery)
  return source.opened.hasRoom || outcome !== undefined
}

/**
 * Opens a text as the delivery's message says, and counts its bytes until the delivery ends: its own body, or one that was
 * fetched from elsewhere. A left says what is wrong; an encoding that throws is wrong too.
 */
export const open = (delivery: Delivery<unknown, unknown>, text: string): Either.Either<string, string> => {
  const held = inFlight(delivery)
  const { open } = held.message
  if (open === undefined && text === held.message.body) return Either.right(text)
  const opened =
    open === undefined
      ? Either.right(text)
      : attempt(() => checked(open(text)), Either.left("its encoding threw an error"))
  if (Either.isRight(opened)) held.source.opened.take(held, Buffer.byteLength(opened.right))
  return opened
}

const checked = (opened: Either.Either<string, string>): Either.Either<string, string> =>
  Either.isEither(opened) && typeof (Either.isRight(opened) ? opened.right : opened.left) === "string"
    ? opened
    : Either.left("its encoding gave no text")
