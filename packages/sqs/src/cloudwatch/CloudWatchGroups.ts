/**
 * What SQS itself tells of the groups of a fair queue, by CloudWatch: how many it takes for noisy, and what waits, is in flight
 * and is delayed of all others. An option `groups` for `SqsBacklog`.
 *
 * @see https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-available-cloudwatch-metrics.html
 */
import type * as Backlog from "@millrace/core/Backlog"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Reported from "../internal/cloudwatch/reported.js"
import { isFound } from "../internal/queue/resolve.js"
import * as SqsQueue from "../SqsQueue.js"
import { CloudWatchClient } from "./CloudWatchClient.js"

const noisy = "ApproximateNumberOfNoisyGroups"
const visible = "ApproximateNumberOfMessagesVisibleInQuietGroups"
const inFlight = "ApproximateNumberOfMessagesNotVisibleInQuietGroups"
const delayed = "ApproximateNumberOfMessagesDelayedInQuietGroups"
const oldest = "ApproximateAgeOfOldestMessageInQuietGroups"

/**
 * The groups of a standard queue, as CloudWatch reports them: read at most once a minute, `undefined` where it has nothing of
 * the last five minutes, or cannot be read, which the log says once. AWS calls all of it approximate. A FIFO queue has no noisy
 * groups, and is `InvalidQueue`.
 *
 * Cost: five `GetMetricStatistics` a minute while the backlog is read. Needs `cloudwatch:GetMetricStatistics`.
 *
 * @example
 * const groups = yield* CloudWatchGroups.make("orders")
 * const backlog = yield* SqsBacklog.make("orders", { groups })
 */
export const make = (
  queue: string | SqsQueue.SqsQueue
): Effect.Effect<Effect.Effect<Backlog.FairGroups | undefined>, SqsQueue.InvalidQueue, CloudWatchClient> =>
  Effect.gen(function* () {
    const client = yield* CloudWatchClient
    const name = isFound(queue) ? queue.name : (yield* SqsQueue.parse(queue)).name
    if (name.endsWith(".fifo")) {
      return yield* new SqsQueue.InvalidQueue({
        queue: name,
        message: `${name} is a FIFO queue, of whose groups none is noisy: leave CloudWatchGroups out.`
      })
    }
    const reported = Reported.make({
      client,
      queue: name,
      metrics: [noisy, visible, inFlight, delayed, oldest],
      what: "the number of noisy groups",
      otherwise: "not known"
    })
    return Effect.map(reported, (read) => {
      const of = (metric: string) => read.get(metric)?.value
      const groups = of(noisy)
      if (groups === undefined) return undefined
      const [waiting, leased, later, age] = [of(visible), of(inFlight), of(delayed), of(oldest)]
      return {
        noisy: groups,
        quiet:
          waiting === undefined || leased === undefined || later === undefined
            ? undefined
            : { visible: waiting, inFlight: leased, delayed: later },
        quietOldest: age === undefined ? undefined : Duration.seconds(age)
      }
    })
  })
