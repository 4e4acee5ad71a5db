/** A web application of Express whose orders go through a queue, with the queue's consumer in the same process. */
import { type ConnectionOptions, consume, produce } from "@millrace/promise"
import express, { type Express } from "express"
import { z } from "zod"

const Order = z.object({ id: z.string(), quantity: z.number().int().positive() })
export type Order = z.infer<typeof Order>

export interface Shop {
  readonly app: Express
  /** Handlers end, and what was accepted is sent. Close the server first, so that no order comes any more. */
  readonly close: () => Promise<void>
}

/** `connection` is how SQS is reached: `{}` on AWS. */
export const make = async (
  connection: ConnectionOptions,
  fulfil: (order: Order, signal: AbortSignal) => Promise<void>
): Promise<Shop> => {
  const orders = await produce({ queue: "orders", ...connection })
  const consumer = consume({
    queue: "orders",
    ...connection,
    schema: Order,
    concurrency: 20,
    timeout: "30 seconds",
    retry: { attempts: 5 },
    deadLetter: true,
    handler: (order, { signal }) => fulfil(order, signal)
  })
  try {
    await consumer.start()
  } catch (error) {
    await orders.close()
    throw error
  }

  const app = express()
  app.use(express.json())

  app.post("/orders", async (request, response) => {
    const order = Order.safeParse(request.body)
    if (!order.success) {
      response.status(400).json({ problems: order.error.issues.map(({ message, path }) => ({ path, message })) })
      return
    }
    // 202: the order is in the queue, which is all that is promised here. A send that fails rejects, and Express answers with 500.
    response.status(202).json(await orders.send(order.data))
  })

  app.get("/health", (_request, response) => {
    const health = consumer.health()
    response.status(health.healthy ? 200 : 503).json(health)
  })

  const close = async () => {
    try {
      await consumer.stop()
    } finally {
      await orders.close()
    }
  }
  return { app, close }
}
