/**
 * An SQS queue as a stream of deliveries, polled only as fast as the work is done.
 */
import * as Consumer from "@millrace/core/Consumer"
import type { Delivery } from "@millrace/core/Delivery"
import type { InvalidOptions } from "@millrace/core/InvalidOptions"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { SqsClient } from "./SqsClient.js"
import type { SqsError } from "./SqsError.js"
import * as SqsLeaseQueue from "./SqsLeaseQueue.js"
import type * as SqsQueue from "./SqsQueue.js"

export interface Options extends Consumer.Options, SqsLeaseQueue.Options {}

/** What a consumer can fail with: options that cannot work, a string that is no queue, and what AWS says. */
export type ConsumerError = SqsError | SqsQueue.InvalidQueue | InvalidOptions

/**
 * The deliveries of a queue, given by name, URL or ARN. Nothing is received before the stream is run and asks. The
 * queue is looked up when the stream begins (needs `sqs:GetQueueUrl` and `sqs:GetQueueAttributes`), and leased with its
 * own visibility timeout unless `visibilityTimeout` says otherwise.
 *
 * When the stream closes, what no stage has claimed is released. Throttling and network errors are retried; a fatal
 * error (no such queue, access denied, bad credentials) fails the stream, at once where nothing has been received yet.
 *
 * @example
 * SqsConsumer.stream("order-processing-queue", { maxInFlight: 200 }).pipe(
 *   Pipeline.decodeJson(Order),
 *   Pipeline.process(fulfil, { concurrency: 64 }),
 *   Stream.runDrain
 * )
 */
export const stream = (
  queue: string | SqsQueue.SqsQueue,
  options: Options = {}
): Stream.Stream<Delivery<string>, ConsumerError, SqsClient> =>
  Stream.unwrap(Effect.map(SqsLeaseQueue.make(queue, options), (leaseQueue) => Consumer.stream(leaseQueue, options)))

/**
 * A consumer with a handle: its stream, its figures, and a drain on request. Closing the scope interrupts what still
 * runs and releases what is in flight.
 */
export const make = (
  queue: string | SqsQueue.SqsQueue,
  options: Options = {}
): Effect.Effect<Consumer.Consumer<SqsError>, ConsumerError, SqsClient | Scope.Scope> =>
  Effect.flatMap(SqsLeaseQueue.make(queue, options), (leaseQueue) => Consumer.make(leaseQueue, options))
