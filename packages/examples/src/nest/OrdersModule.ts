/** A consumer as a module of Nest: it starts with the application, and stops with it. */
import { type ConnectionOptions, consume } from "@millrace/promise"
import { type DynamicModule, Injectable, Module } from "@nestjs/common"
import { z } from "zod"

const Order = z.object({ id: z.string(), quantity: z.number().int().positive() })
export type Order = z.infer<typeof Order>

/** What is done with an order: any provider of yours. */
@Injectable()
export class Fulfilment {
  readonly done: Array<Order> = []

  async fulfil(order: Order, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted()
    this.done.push(order)
  }
}

@Module({})
class OrdersModule {}

/** `connection` is how SQS is reached: nothing on AWS. Nest calls the two hooks of what the factory makes. */
export const ordersModule = (connection: ConnectionOptions = {}): DynamicModule => ({
  module: OrdersModule,
  providers: [
    Fulfilment,
    {
      provide: "orders consumer",
      inject: [Fulfilment],
      useFactory: (fulfilment: Fulfilment) => {
        const consumer = consume({
          queue: "orders",
          ...connection,
          schema: Order,
          concurrency: 20,
          handler: (order, { signal }) => fulfilment.fulfil(order, signal)
        })
        return { onApplicationBootstrap: consumer.start, beforeApplicationShutdown: () => consumer.stop() }
      }
    }
  ]
})
