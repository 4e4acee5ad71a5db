/** `npm run express`: orders by HTTP, a queue, and its consumer in one process, on SQS in memory. */
import { once } from "node:events"
import { emulator } from "@millrace/promise/testing"
import * as Shop from "./Shop.js"

const sqs = await emulator({ queues: { orders: { deadLetter: { queue: "dead", maxReceiveCount: 10 } } } })
const shop = await Shop.make({ client: sqs.client }, async ({ id, quantity }) => {
  console.log(`fulfilled: ${quantity} of order ${id}`)
})
const server = shop.app.listen(0, "127.0.0.1")
await once(server, "listening")

const address = server.address()
const port = typeof address === "object" ? address?.port : undefined
for (const order of [{ id: "a", quantity: 1 }, { id: "b", quantity: 2 }, { id: "c" }]) {
  const response = await fetch(`http://127.0.0.1:${port}/orders`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(order)
  })
  console.log(`POST ${JSON.stringify(order)}: ${response.status} ${await response.text()}`)
}
await sqs.settled("orders", 2)

// What a server does on SIGTERM: no more requests, then no more messages.
const closed = once(server, "close")
server.close()
server.closeIdleConnections()
await closed
await shop.close()
await sqs.close()
