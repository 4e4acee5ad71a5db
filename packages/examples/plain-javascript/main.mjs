// `npm run plain-javascript`: a producer and a consumer in plain JavaScript, without a build, on SQS in memory.
import { consume, produce } from "@millrace/promise"
import { emulator } from "@millrace/promise/testing"

const sqs = await emulator({ queues: { orders: {} } })
// On AWS there is no client to give: it is found as the AWS tools find it.
const { client } = sqs

const consumer = consume({
  queue: "orders",
  client,
  concurrency: 20,
  retry: { delay: "1 second" },
  handler: async (body, { attempt }) => {
    const { id } = JSON.parse(body)
    // Throwing keeps the message, and it comes again; returning deletes it.
    if (id === "b" && attempt === 1) throw new Error("not yet")
    console.log(`fulfilled: order ${id}, attempt ${attempt}`)
  }
})
consumer.events.on("processing_error", (error, { attempt }) =>
  console.log(`attempt ${attempt} failed: ${error.message}`)
)
await consumer.start()

const orders = await produce({ queue: "orders", client })
await Promise.all(["a", "b", "c"].map((id) => orders.send({ id })))
await orders.close()

// A service waits for SIGTERM here.
await sqs.settled("orders", 3)
const { finished, released } = await consumer.stop()
console.log(`stopped: ${finished} finished, ${released} given back`)
await sqs.close()
