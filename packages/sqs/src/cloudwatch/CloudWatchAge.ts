/**
 * The age of a queue's oldest message as CloudWatch reports it, `ApproximateAgeOfOldestMessage`: an `AgeSource` for
 * `SqsBacklog`.
 *
 * On a standard queue it leaves out what has been handed out three times or more and was not deleted: a message that fails
 * again and again may be the oldest by far, and this does not tell. The dead-letter queue does (`Alarm.deadLetters`), and
 * the attempts of what is received (`Figures.stats.redelivered`).
 *
 * @see https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-available-cloudwatch-metrics.html
 */
import type * as Backlog from "@millrace/core/Backlog"
import * as InvalidOptions from "@millrace/core/InvalidOptions"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Reported from "../internal/cloudwatch/reported.js"
import { isFound } from "../internal/queue/resolve.js"
import * as SqsQueue from "../SqsQueue.js"
import { CloudWatchClient } from "./CloudWatchClient.js"

export interface Options {
  /** What to go by where CloudWatch cannot be read, or has nothing: `Backlog.ageEstimate`. Default: the age is not known. */
  readonly otherwise?: Backlog.AgeSource | undefined
}

const checks: InvalidOptions.Checks<Options> = {
  otherwise: InvalidOptions.having("an age, such as Backlog.ageEstimate gives", "kind", "age")
}

const metric = "ApproximateAgeOfOldestMessage"

/**
 * The age as CloudWatch reports it, read at most once a minute; by `otherwise` where there is no permission, no answer, or no
 * value of the last five minutes. Each sample's `oldest.kind` says which it is, and the log says once that CloudWatch cannot
 * be read. What is reported grows until the next reading, as the age does.
 *
 * AWS leaves out of it what a standard queue has handed out three times or more and nobody has deleted, and takes the oldest
 * that it has handed out less often: a message that fails again and again does not raise it. Look at attempts
 * (`millrace_redelivered`) and at the dead-letter queue as well.
 *
 * Fails with `InvalidOptions` where an option cannot work.
 *
 * Cost: one `GetMetricStatistics` a minute while the backlog is read. Needs `cloudwatch:GetMetricStatistics`, which AWS
 * allows on all metrics or none.
 *
 * @example
 * const estimate = yield* Backlog.ageEstimate
 * const oldest = yield* CloudWatchAge.make("orders", { otherwise: estimate })
 * const backlog = yield* SqsBacklog.make("orders", { oldest })
 */
export const make = (
  queue: string | SqsQueue.SqsQueue,
  options: Options = {}
): Effect.Effect<Backlog.AgeSource, SqsQueue.InvalidQueue | InvalidOptions.InvalidOptions, CloudWatchClient> =>
  Effect.gen(function* () {
    yield* InvalidOptions.check("CloudWatchAge", options, checks)
    const client = yield* CloudWatchClient
    const { otherwise } = options
    const name = isFound(queue) ? queue.name : (yield* SqsQueue.parse(queue)).name
    const reported = Reported.make({
      client,
      queue: name,
      metrics: [metric],
      what: "the age of the oldest message",
      otherwise: otherwise === undefined ? "not known" : "estimated"
    })

    const source: Backlog.AgeSource = {
      kind: "reported",
      age: Effect.gen(function* () {
        const read = (yield* reported).get(metric)
        if (read !== undefined) {
          // Zero: nothing waited. Anything else goes on waiting, as far as is known.
          const since = read.value === 0 ? 0 : Math.max(0, (yield* Clock.currentTimeMillis) - read.at - 60_000)
          return Duration.millis(read.value * 1000 + since)
        }
        const age = otherwise && (yield* otherwise.age)
        return age === undefined || otherwise === undefined
          ? undefined
          : Duration.isDuration(age)
            ? { duration: age, kind: otherwise.kind }
            : age
      })
    }
    return source
  })
