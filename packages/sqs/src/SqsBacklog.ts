/**
 * How much waits in an SQS queue, how it changes, and how long it will take.
 *
 * @see https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-message-counts.html
 */
import * as Backlog from "@millrace/core/Backlog"
import * as InvalidOptions from "@millrace/core/InvalidOptions"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as lookUp from "./internal/queue/lookUp.js"
import { SqsClient } from "./SqsClient.js"
import * as SqsError from "./SqsError.js"
import * as SqsQueue from "./SqsQueue.js"

export interface Options extends Backlog.Options {
  /**
   * Read the counts of the queue's dead-letter queue too: a second call each `every`, and `sqs:GetQueueAttributes` on
   * that queue. Refused for a queue without one. Default false.
   */
  readonly deadLetters?: boolean | undefined
}

const checks: InvalidOptions.Checks<Options> = { ...Backlog.checks, deadLetters: InvalidOptions.flag }

/** What reading a backlog can fail with. */
export type BacklogError = SqsError.SqsError | SqsQueue.InvalidQueue | InvalidOptions.InvalidOptions

/**
 * The backlog of a queue, given by name, URL or ARN. The queue is looked up at once; its counts are read only while
 * somebody runs the samples, by one reader for all who do.
 *
 * Cost: one `GetQueueAttributes` each `every` (default 10 seconds, 360 an hour), two with `deadLetters`; none while
 * nobody listens. Needs `sqs:GetQueueAttributes`, and `sqs:GetQueueUrl` for a name or an ARN. SQS's counts are
 * approximate and late by up to a minute.
 *
 * A look-up that is throttled, or lost by the network, is tried again without end, with a warning; a reading that fails so
 * gives a stale sample; a fatal error (no such queue, access denied, bad
 * credentials) fails the samples.
 *
 * @example
 * const backlog = yield* SqsBacklog.make("orders", { deadLetters: true })
 * yield* backlog.samples.pipe(
 *   Alarm.watch([Alarm.backlog({ above: 1_000 }), Alarm.deadLetters()], (event) => Effect.logWarning(event.message)),
 *   Effect.forkScoped
 * )
 */
export const make = (
  queue: string | SqsQueue.SqsQueue,
  options: Options = {}
): Effect.Effect<Backlog.Backlog<SqsError.SqsError>, BacklogError, SqsClient | Scope.Scope> =>
  Effect.gen(function* () {
    yield* InvalidOptions.check("SqsBacklog", options, checks)
    const client = yield* SqsClient
    const found = yield* SqsQueue.resolve(queue, { retry: lookUp.forEver })
    if (options.deadLetters === true && found.deadLetter === undefined) {
      return yield* new SqsQueue.InvalidQueue({
        queue: found.name,
        message: `${found.name} has no dead-letter queue to read: leave deadLetters out, or give the queue one.`
      })
    }
    const dead =
      options.deadLetters === true && found.deadLetter !== undefined
        ? yield* SqsQueue.resolve(found.deadLetter.arn, { retry: lookUp.forEver })
        : undefined
    const countsOf = (each: SqsQueue.SqsQueue) => Effect.provideService(SqsQueue.counts(each), SqsClient, client)
    return yield* Backlog.make(
      {
        queue: found.name,
        counts: countsOf(found),
        deadLetters: dead && countsOf(dead),
        errorKind: SqsError.kind
      },
      InvalidOptions.only<Backlog.Options>(Backlog.checks, options)
    )
  })

/** The samples of one queue, as a stream that looks the queue up when it begins. See `make`. */
export const stream = (
  queue: string | SqsQueue.SqsQueue,
  options: Options = {}
): Stream.Stream<Backlog.Sample<SqsError.SqsError>, BacklogError, SqsClient> =>
  Stream.unwrapScoped(Effect.map(make(queue, options), ({ samples }) => samples))
