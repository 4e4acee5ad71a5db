/** Orders, of which one cannot be read and one can never be fulfilled. */
import { Data, Duration, Schema } from "effect"

export const queue = "orders"
export const deadLetters = "orders-dead"
export const visibilityTimeout = Duration.seconds(30)
export const maxReceiveCount = 5

export const Order = Schema.Struct({ order_id: Schema.Number, item: Schema.String })
export interface Order extends Schema.Schema.Type<typeof Order> {}

export const total = 300
export const unreadable = 20
export const unfulfillable = 40

/** The body of the n-th order, 5 of which come in each second. */
export const body = (n: number): string =>
  n === unreadable
    ? `{"order_id": "twenty", "item": null}`
    : JSON.stringify({ order_id: n, item: n === unfulfillable ? "unicorn" : "widget" })

export const isBad = (body: string): boolean => body.includes("unicorn") || body.includes("twenty")

/** Will be so tomorrow too. */
export class OutOfStock extends Data.TaggedError("OutOfStock")<{ readonly message: string }> {}
