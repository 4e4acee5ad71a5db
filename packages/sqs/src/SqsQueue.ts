/**
 * A queue: found by name, URL or ARN, or made as it should be.
 *
 * @see https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-queue-message-identifiers.html
 */
import * as Effect from "effect/Effect"
import { SqsClient } from "./internal/client/tag.js"
import type { SqsQueue } from "./internal/queue/resolve.js"
import type { SqsError } from "./SqsError.js"

export { type Difference, type EnsureOptions, ensure, QueueDiffers } from "./internal/queue/ensure.js"
export { InvalidQueue, parse, type Reference } from "./internal/queue/reference.js"
export { type DeadLetterTarget, type ResolveOptions, resolve, type SqsQueue } from "./internal/queue/resolve.js"

export interface Counts {
  /** Waiting to be received. */
  readonly visible: number
  /** Received and not yet deleted or visible again. */
  readonly inFlight: number
  /** Sent with a delay that is not over. */
  readonly delayed: number
}

/**
 * How many messages the queue holds, about: SQS counts behind time by up to a minute.
 *
 * @see https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-message-counts.html
 */
export const counts = (queue: SqsQueue): Effect.Effect<Counts, SqsError, SqsClient> =>
  Effect.flatMap(SqsClient, (client) =>
    Effect.map(
      client.getQueueAttributes({
        QueueUrl: queue.url,
        AttributeNames: [
          "ApproximateNumberOfMessages",
          "ApproximateNumberOfMessagesNotVisible",
          "ApproximateNumberOfMessagesDelayed"
        ]
      }),
      (attributes) => ({
        visible: Number(attributes["ApproximateNumberOfMessages"] ?? 0),
        inFlight: Number(attributes["ApproximateNumberOfMessagesNotVisible"] ?? 0),
        delayed: Number(attributes["ApproximateNumberOfMessagesDelayed"] ?? 0)
      })
    )
  )
