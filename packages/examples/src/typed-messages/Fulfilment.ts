/** The program: each type of order has a handler of its own, and the customer gets a mail. */
import { type Channel, type Delivery, type Message, Pipeline, RetryPolicy } from "@millrace/core"
import { Data, Effect, type Stream } from "effect"
import { Mail, type mails, type OrderCancelled, type OrderPlaced, orders } from "./Messages.js"

export class OutOfStock extends Data.TaggedError("OutOfStock")<{ readonly sku: string }> {}

/** What it needs of a producer of mails; in a test that is a `MemoryChannel`. */
export interface Mails<out E> {
  readonly send: (mail: Channel.Value<typeof mails>) => Effect.Effect<unknown, E>
}

const placed =
  <E>(mails: Mails<E>) =>
  ({ customer, lines, order }: Message.Body<typeof OrderPlaced>) =>
    Effect.gen(function* () {
      for (const { sku } of lines) if (sku === "unicorn") return yield* new OutOfStock({ sku })
      yield* Effect.log(`packs order ${order}`)
      const count = lines.reduce((sum, line) => sum + line.count, 0)
      yield* mails.send(Mail.of({ to: customer, text: `${count} parcels of order ${order} are on their way` }))
    })

const cancelled =
  <E>(mails: Mails<E>) =>
  ({ customer, order }: Message.Body<typeof OrderCancelled>) =>
    mails.send(Mail.of({ to: customer, text: `order ${order} is cancelled` }))

export const fulfil =
  <E>(mails: Mails<E>) =>
  <EX, RX>(deliveries: Stream.Stream<Delivery.Delivery<string>, EX, RX>) =>
    deliveries.pipe(
      Pipeline.route(
        orders,
        {
          OrderPlaced: placed(mails),
          OrderCancelled: { handler: cancelled(mails), concurrency: 2, timeout: "30 seconds" }
        },
        {
          concurrency: 8,
          retry: RetryPolicy.match({ OutOfStock: RetryPolicy.deadLetter, UnknownMessage: RetryPolicy.deadLetter })
        }
      )
    )
