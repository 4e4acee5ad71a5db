/** The orders, of which one cannot be read and one can never be shipped. */
import { Schema } from "effect"

export const queue = "orders"
export const deadLetters = "orders-dlq"

export const Order = Schema.Struct({ id: Schema.Number, item: Schema.String })
export interface Order extends Schema.Schema.Type<typeof Order> {}

export const total = 200
const unreadable = 20
const unshippable = 40

export const body = (id: number): string =>
  id === unreadable ? `{"id": "twenty"}` : JSON.stringify({ id, item: id === unshippable ? "unicorn" : "widget" })
