/**
 * Core's port over `SqsClient`: an SQS queue as a queue that leases its messages.
 */
import * as InvalidOptions from "@millrace/core/InvalidOptions"
import type * as LeaseQueue from "@millrace/core/LeaseQueue"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import type * as Schedule from "effect/Schedule"
import { SqsClient } from "./internal/client/tag.js"
import { moving } from "./internal/deadLetter/move.js"
import { inOrder } from "./internal/message/entries.js"
import * as lookUp from "./internal/queue/lookUp.js"
import { spanAttributesOf, system } from "./internal/queue/spanAttributes.js"
import { complete } from "./internal/receive/complete.js"
import { allAttributes, toMessage } from "./internal/receive/received.js"
import type { BatchResult } from "./SqsClient.js"
import * as SqsEncoding from "./SqsEncoding.js"
import * as SqsError from "./SqsError.js"
import * as SqsQueue from "./SqsQueue.js"

export { attemptAttribute, errorAttribute, reasonAttribute, sourceAttribute } from "./internal/deadLetter/copy.js"

export interface Options {
  /**
   * How long a receive leases its messages: 1 second to 12 hours, in whole seconds rounded up. Default: the queue's own
   * visibility timeout, as it was when the queue was looked up.
   *
   * @see https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-visibility-timeout.html
   */
  readonly visibilityTimeout?: Duration.DurationInput | undefined
  /**
   * When to look the queue up again where SQS throttles or cannot be reached; a consumer receives again by it too.
   * Default: exponential, 200 milliseconds to 20 seconds, jittered, without end.
   */
  readonly receiveRetry?: Schedule.Schedule<unknown> | undefined
  /** Encodings that the decode stages open where a message's attributes speak of them. Default: gzip, up to 16 MiB. */
  readonly encodings?: ReadonlyArray<SqsEncoding.Encoding> | undefined
}

/** What each option may be. */
export const checks: InvalidOptions.Checks<Options> = {
  visibilityTimeout: InvalidOptions.time({ min: "1 second", max: "12 hours" }),
  receiveRetry: InvalidOptions.schedule,
  encodings: InvalidOptions.list(SqsEncoding.check)
}

const longestLease = 43_200
const wholeSeconds = (duration: Duration.Duration): number => Math.ceil(Duration.toSeconds(duration))

const tooLong = (duration: Duration.Duration): boolean => wholeSeconds(duration) > longestLease

/** Not sent: SQS might refuse the whole call for it. */
const rejected: LeaseQueue.EntryResult = Either.left({
  reason: "Rejected",
  message: "SQS leases a message for 12 hours at most"
})
const nothingSent: BatchResult<unknown> = { Successful: [], Failed: [] }

const leaseDurationOf = (
  queue: SqsQueue.SqsQueue,
  options: Options
): Effect.Effect<Duration.Duration, InvalidOptions.InvalidOptions> => {
  const decoded = Duration.decode(options.visibilityTimeout ?? queue.visibilityTimeout)
  if (Duration.between(decoded, { minimum: "1 second", maximum: "12 hours" })) {
    return Effect.succeed(Duration.seconds(Math.ceil(Duration.toSeconds(decoded))))
  }
  return new InvalidOptions.InvalidOptions({
    option: "visibilityTimeout",
    message: `the queue ${queue.name} has a visibility timeout of ${Duration.format(decoded)}, which leases nothing; write \`visibilityTimeout\`, from 1 second to 12 hours`
  })
}

/**
 * Leases messages of an SQS queue, given by name, URL or ARN, or as it was found. Each call is one SQS call of at most
 * 10 entries (`deadLetter`: a send, as many as sizes demand, and a delete). Durations are rounded up to whole seconds.
 *
 * `deadLetter` is there where the queue has a redrive policy: it sends to that queue and deletes only after. The message
 * keeps its body, attributes and group and gets a new id; the reason, the error's tag, the attempt and the ARN of the
 * source stand in attributes beside its own (`reasonAttribute` and so on; what its sender has put under these names is
 * dropped), folded into the reason where there are fewer than four places left, and cut or left out where ten attributes
 * or 1 MiB are full. Needs `sqs:SendMessage` and `sqs:GetQueueUrl`
 * there. A crash between the two calls leaves the message in both queues.
 */
export const make = Effect.fnUntraced(function* (
  queue: string | SqsQueue.SqsQueue,
  options: Options = {}
): Effect.fn.Return<
  LeaseQueue.LeaseQueue<SqsError.SqsError>,
  SqsError.SqsError | SqsQueue.InvalidQueue | InvalidOptions.InvalidOptions,
  SqsClient
> {
  yield* InvalidOptions.check("SqsLeaseQueue", options, checks)
  const client = yield* SqsClient
  const resolved = yield* SqsQueue.resolve(queue, { retry: options.receiveRetry ?? lookUp.forEver })
  const leaseDuration = yield* leaseDurationOf(resolved, options)
  const fromSqs = toMessage(options.encodings ?? SqsEncoding.standard)
  const whole = complete(resolved)
  let receives = 0
  const QueueUrl = resolved.url
  const VisibilityTimeout = Duration.toSeconds(leaseDuration)
  const limits: LeaseQueue.Limits = {
    batchSize: 10,
    maxWait: Duration.seconds(20),
    maxLease: Duration.seconds(longestLease),
    ordered: resolved.fifo
  }

  const ack: LeaseQueue.LeaseQueue<SqsError.SqsError>["ack"] = (leases) =>
    leases.length === 0
      ? Effect.succeed([])
      : Effect.map(
          client.deleteMessageBatch({
            QueueUrl,
            Entries: leases.map(({ handle }, position) => ({ Id: String(position), ReceiptHandle: handle }))
          }),
          (result) => inOrder(leases.length, result)
        )

  return {
    name: resolved.name,
    system,
    spanAttributes: spanAttributesOf(QueueUrl),
    limits,
    leaseDuration,
    maxAttempts: resolved.deadLetter?.maxReceiveCount,
    connections: client.connections,
    receive: ({ attemptId, max, stop, wait }) =>
      Effect.flatMap(
        client.receiveMessage(
          {
            QueueUrl,
            MaxNumberOfMessages: max,
            WaitTimeSeconds: Math.min(20, wholeSeconds(wait)),
            // Said each time: deadlines are reckoned from it, and the queue's own may be changed meanwhile.
            VisibilityTimeout,
            ...allAttributes,
            ...(resolved.fifo && { ReceiveRequestAttemptId: attemptId })
          },
          { stop }
        ),
        (messages) => {
          // High throughput wants what one receive brought deleted and extended together (fact 100).
          const receive = resolved.fifo ? ++receives : undefined
          return whole(messages.map((message) => fromSqs(message, receive)))
        }
      ),
    ack,
    setLease: (entries) => {
      const possible = entries.flatMap(({ duration, lease }, position) =>
        tooLong(duration)
          ? []
          : [{ Id: String(position), ReceiptHandle: lease.handle, VisibilityTimeout: wholeSeconds(duration) }]
      )
      return Effect.map(
        possible.length === 0
          ? Effect.succeed(nothingSent)
          : client.changeMessageVisibilityBatch({ QueueUrl, Entries: possible }),
        (answer) => {
          const results = inOrder(entries.length, answer)
          for (const [position, { duration }] of entries.entries()) {
            if (tooLong(duration)) results[position] = rejected
          }
          return results
        }
      )
    },
    deadLetter: resolved.deadLetter === undefined ? undefined : moving(client, resolved, resolved.deadLetter, ack),
    errorKind: SqsError.kind
  }
})
