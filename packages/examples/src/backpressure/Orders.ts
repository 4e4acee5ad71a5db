/** The classic case: orders come in at a steady rate, and each takes half a second of somebody else's time. */
import { SqsClient } from "@millrace/sqs"
import { Duration, Effect, Schedule, Schema } from "effect"

export const queue = "order-processing-queue"
export const visibilityTimeout = Duration.seconds(30)

/** Sent while an act lasts. */
export const total = 1_000
export const perSecond = 20

export const Order = Schema.Struct({ order_id: Schema.Number, item: Schema.String, quantity: Schema.Number })
export interface Order extends Schema.Schema.Type<typeof Order> {}

const items = ["widget", "gadget", "sprocket", "gizmo"] as const

export const order = (n: number): Order => ({
  order_id: n,
  item: items[n % items.length] ?? "widget",
  quantity: 1 + (n % 3)
})

/** Sends `total` orders, from number `from` on, one every 50 milliseconds. */
export const produce = (from: number) =>
  Effect.gen(function* () {
    const client = yield* SqsClient.SqsClient
    const QueueUrl = yield* client.getQueueUrl({ QueueName: queue })
    let next = from
    yield* Effect.suspend(() => client.sendMessage({ QueueUrl, MessageBody: JSON.stringify(order(next++)) })).pipe(
      Effect.repeat(Schedule.intersect(Schedule.fixed(Duration.millis(1000 / perSecond)), Schedule.recurs(total - 1)))
    )
  })
