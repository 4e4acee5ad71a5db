/**
 * Scaling advice in CloudWatch, where target tracking and alarms find it. Through the same sink as a consumer's metrics.
 */
import * as InvalidOptions from "@millrace/core/InvalidOptions"
import * as Scaling from "@millrace/core/Scaling"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import * as CloudWatchMetrics from "./CloudWatchMetrics.js"

export interface Options extends Pick<CloudWatchMetrics.Options, "namespace" | "dimensions"> {
  /** Time between two data, from 10 seconds. Default 1 minute, the resolution of CloudWatch's standard metrics. */
  readonly every?: Duration.DurationInput | undefined
}

const checks: InvalidOptions.Checks<Options> = {
  namespace: CloudWatchMetrics.checks.namespace,
  dimensions: CloudWatchMetrics.checks.dimensions,
  every: CloudWatchMetrics.checks.every
}

/**
 * A stage that publishes advice and passes it on: `WantedInstances`, `RunningInstances` and `BacklogPerInstance` with the
 * dimension `Queue`, at the first advice and then at one each `every`. A datum that cannot be sent is left out, with a warning
 * once a streak; the advice goes on.
 *
 * Cost: one call of `PutMetricData` each `every`, or none (`layerEmbedded`), and three custom metrics. Fails with
 * `InvalidOptions` where an option cannot work.
 *
 * @example
 * Scaling.advice(backlog, Scaling.timeToDrain("10 minutes"), { max: 20 }, { rate }).pipe(
 *   CloudWatchScaling.publish(),
 *   Stream.runDrain
 * )
 */
export const publish =
  (options: Options = {}) =>
  <E, R>(
    advised: Stream.Stream<Scaling.Advice, E, R>
  ): Stream.Stream<Scaling.Advice, E | InvalidOptions.InvalidOptions, R | CloudWatchMetrics.Sink> =>
    Stream.unwrap(
      Effect.gen(function* () {
        yield* InvalidOptions.check("CloudWatchScaling", options, checks)
        const sink = yield* CloudWatchMetrics.Sink
        const { dimensions, every, namespace } = yield* CloudWatchMetrics.check(options)
        let sentAt = -Infinity
        let failing = false
        return Stream.tap(advised, (advice) =>
          Effect.gen(function* () {
            if (advice.at - sentAt < Duration.toMillis(every)) return
            sentAt = advice.at
            const { error } = yield* sink.send([
              {
                namespace,
                dimensions: { Queue: advice.queue, ...dimensions },
                at: advice.at,
                metrics: Scaling.metricsOf(advice)
              }
            ])
            if (error !== undefined && !failing) {
              yield* Effect.logWarning(`scaling advice for ${advice.queue} could not be published: ${error.message}`)
            }
            failing = error !== undefined
          }).pipe(
            // Nothing here may stop the advice, defects of a sink included.
            Effect.catchAllCause((cause) => Effect.logWarning("scaling advice could not be published", cause))
          )
        )
      })
    )
