/** What the two queues of the shop carry: declared once, for who sends, who handles, and the document. */
import { Channel, CloudEvents, Message } from "@millrace/core"
import { Schema } from "effect"

const Line = Schema.Struct({ sku: Schema.NonEmptyString, count: Schema.Int }).annotations({ identifier: "Line" })

/** As older shops send it: one article, once. */
export const OrderPlacedV1 = Message.make("OrderPlaced", {
  schema: Schema.Struct({ order: Schema.String, customer: Schema.String, sku: Schema.NonEmptyString }),
  group: ({ customer }) => customer
})

const Order = Schema.Struct({ order: Schema.String, customer: Schema.String, lines: Schema.NonEmptyArray(Line) })

export const OrderPlaced = Message.make("OrderPlaced", {
  version: 2,
  description: "A customer has ordered.",
  schema: Order,
  group: ({ customer }) => customer,
  deduplicationId: ({ order }) => `placed-${order}`
}).pipe(
  Message.lift(OrderPlacedV1, ({ sku, ...order }): typeof Order.Type => ({ ...order, lines: [{ sku, count: 1 }] }))
)

export const OrderCancelled = Message.make("OrderCancelled", {
  description: "The customer does not want it any more.",
  schema: Schema.Struct({ order: Schema.String, customer: Schema.String }),
  group: ({ customer }) => customer,
  deduplicationId: ({ order }) => `cancelled-${order}`
})

export const Mail = Message.make("Mail", {
  description: "A mail to be sent.",
  schema: Schema.Struct({ to: Schema.NonEmptyString, text: Schema.String })
})

/** Each customer's orders are in order: the queue is FIFO. */
export const orders = Channel.make("orders", {
  messages: [OrderPlaced, OrderCancelled],
  envelope: CloudEvents.structured({ source: "/shop", prefix: "com.example." })
})

export const mails = Channel.make("mails", { messages: [Mail] })

export const ordersQueue = "shop-orders.fifo"
export const mailsQueue = "shop-mails"
