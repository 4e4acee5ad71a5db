/**
 * A queue: found by name, URL or ARN, or made as it should be.
 *
 * @see https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-queue-message-identifiers.html
 */
import * as InvalidOptions from "@millrace/core/InvalidOptions"
import * as Effect from "effect/Effect"
import { SqsClient } from "./internal/client/tag.js"
import type { InvalidQueue } from "./internal/queue/reference.js"
import type { ResolveOptions, SqsQueue } from "./internal/queue/resolve.js"
import * as Resolve from "./internal/queue/resolve.js"
import type { SqsError } from "./SqsError.js"

export { type Difference, type EnsureOptions, ensure, QueueDiffers } from "./internal/queue/ensure.js"
export { InvalidQueue, parse, type Reference } from "./internal/queue/reference.js"
export type { DeadLetterTarget, ResolveOptions, SqsQueue } from "./internal/queue/resolve.js"

/**
 * Finds a queue by name, URL or ARN and reads its attributes once (needs `sqs:GetQueueAttributes`, and
 * `sqs:GetQueueUrl` for a name or an ARN). A queue that was found already is given back as it is. Fails with
 * `InvalidOptions` where an option cannot work, with
 * `InvalidQueue` where the string names no queue, or the queue which answers is of another region or account, and with
 * `QueueDoesNotExist` where none answers. While SQS throttles or cannot be reached it is asked again, and a warning says
 * so.
 */
export const resolve = (
  queue: string | SqsQueue,
  options: ResolveOptions = {}
): Effect.Effect<SqsQueue, SqsError | InvalidQueue | InvalidOptions.InvalidOptions, SqsClient> =>
  Effect.zipRight(
    InvalidOptions.check("SqsQueue.resolve", options, { retry: InvalidOptions.schedule }),
    Effect.suspend(() => Resolve.resolve(queue, options))
  )

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
