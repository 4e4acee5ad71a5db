/** Bookings of accounts, which must be done in order, on a FIFO queue; and a head of a group that fails for a while. */
import { Data, Duration, Schema } from "effect"

export const queue = "bookings.fifo"
export const deadLetters = "bookings-dead.fifo"
export const visibilityTimeout = Duration.seconds(30)
export const maxReceiveCount = 5

export const Booking = Schema.Struct({ account: Schema.String, step: Schema.Number })
export interface Booking extends Schema.Schema.Type<typeof Booking> {}

export const steps = 8
/** The first booking of this account fails until it is unlocked. */
export const lockedAccount = "A"
export const unlockedAfter = Duration.seconds(12)

const accounts = [lockedAccount, "B", "C"] as const
export const bookings: ReadonlyArray<Booking> = accounts.flatMap((account) =>
  Array.from({ length: steps }, (_, i) => ({ account, step: i + 1 }))
)

export class Locked extends Data.TaggedError("Locked")<{ readonly message: string }> {}
