/** What the program tells others of its queues. */
import { AsyncApi } from "@millrace/core"
import { SqsAsyncApi } from "@millrace/sqs"
import { mails, mailsQueue, orders, ordersQueue } from "./Messages.js"

export const document = AsyncApi.document(
  [
    {
      action: "receive",
      channel: orders,
      queue: ordersQueue,
      bindings: SqsAsyncApi.bindings(ordersQueue, {
        visibilityTimeout: "1 minute",
        deadLetter: { maxReceiveCount: 5 },
        deduplicationScope: "messageGroup",
        fifoThroughputLimit: "perMessageGroupId"
      })
    },
    { action: "send", channel: mails, queue: mailsQueue, bindings: SqsAsyncApi.bindings(mailsQueue) }
  ],
  { title: "Fulfilment", version: "1.0.0", description: "Fulfils the orders of the shop, and writes to its customers." }
)
