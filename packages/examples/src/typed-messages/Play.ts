/** A few orders of all kinds through the emulator, until its queue is empty; and what has come of them. */
import { Channel, CloudEvents, Pipeline } from "@millrace/core"
import { SqsConsumer, SqsProducer } from "@millrace/sqs"
import { SqsEmulator } from "@millrace/sqs/emulator"
import { Effect, Stream } from "effect"
import { fulfil } from "./Fulfilment.js"
import {
  type Mail,
  mails,
  mailsQueue,
  OrderCancelled,
  OrderPlaced,
  OrderPlacedV1,
  orders,
  ordersQueue
} from "./Messages.js"

const deadLetters = "shop-orders-dlq.fifo"

/** An older shop, which sends the first version. */
const older = Channel.make("orders", { messages: [OrderPlacedV1], envelope: orders.envelope })
/** A newer one, with a message that is not known here yet. */
const envelope = CloudEvents.structured({ source: "/shop", prefix: "com.example." })

export const play = Effect.gen(function* () {
  const sqs = yield* SqsEmulator.SqsEmulator
  const mailbox = yield* SqsProducer.forChannel(mailsQueue, mails)
  const shop = yield* SqsProducer.forChannel(ordersQueue, orders)
  const olderShop = yield* SqsProducer.forChannel(ordersQueue, older)
  yield* shop.send(OrderPlaced.of({ order: "1", customer: "ada", lines: [{ sku: "lamp", count: 2 }] }))
  yield* olderShop.send(OrderPlacedV1.of({ order: "2", customer: "bob", sku: "chair" }))
  yield* shop.send(OrderCancelled.of({ order: "1", customer: "ada" }))
  yield* shop.send(OrderPlaced.of({ order: "3", customer: "cyd", lines: [{ sku: "unicorn", count: 1 }] }))
  const unknown = yield* Effect.orDie(
    envelope.write({ type: "OrderPraised", version: 1, data: { order: "2" }, id: "praised-2" })
  )
  yield* sqs.send(ordersQueue, [SqsEmulator.message(unknown.body, { group: "bob" })])
  yield* SqsConsumer.stream(ordersQueue, { drainWhenIdle: "10 seconds" }).pipe(fulfil(mailbox), Stream.runDrain)
  const sent: Array<typeof Mail.schema.Type> = []
  yield* SqsConsumer.stream(mailsQueue, { drainWhenIdle: "10 seconds" }).pipe(
    Pipeline.route(mails, { Mail: (mail) => Effect.sync(() => sent.push(mail)) }),
    Stream.runDrain
  )
  const dead = yield* sqs.messages(deadLetters)
  // Bodies of what nobody could handle.
  return { mails: sent, deadLetters: dead.map(({ body }) => body) }
}).pipe(
  Effect.scoped,
  Effect.provide(
    SqsEmulator.layer({
      queues: {
        [ordersQueue]: { deadLetter: { queue: deadLetters, maxReceiveCount: 5 } },
        [deadLetters]: {},
        [mailsQueue]: {}
      }
    })
  )
)
