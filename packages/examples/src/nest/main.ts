/** `npm run nest`: a worker of Nest with a consumer, on SQS in memory. */
import "reflect-metadata"
import { emulator } from "@millrace/promise/testing"
import { NestFactory } from "@nestjs/core"
import { Fulfilment, ordersModule } from "./OrdersModule.js"

const sqs = await emulator({ queues: { orders: {} } })
// In a web application it is one of the `imports` of its module; NestFactory.create calls the same hooks.
const app = await NestFactory.createApplicationContext(ordersModule({ client: sqs.client }))
// SIGTERM stops the consumer too.
app.enableShutdownHooks()

await sqs.send("orders", [
  { id: "a", quantity: 1 },
  { id: "b", quantity: 2 }
])
await sqs.settled("orders", 2)
for (const { id, quantity } of app.get(Fulfilment).done) console.log(`fulfilled: ${quantity} of order ${id}`)

await app.close()
await sqs.close()
