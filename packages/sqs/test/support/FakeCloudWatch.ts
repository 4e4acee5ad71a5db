/** CloudWatch in memory: keeps what it is given, refuses what CloudWatch would, and fails as a test says. */
import { Clock, Effect, Layer } from "effect"
import { CloudWatchClient } from "../../src/cloudwatch/index.js"

export type Operation = keyof CloudWatchClient.Service

export const error = (
  operation: string,
  kind: CloudWatchClient.CloudWatchError["kind"],
  code = kind === "fatal" ? "AccessDenied" : kind
) => new CloudWatchClient.CloudWatchError({ operation, code, kind, message: `${operation}: ${code}` })

export const make = () => {
  const calls: Array<{ readonly operation: Operation; readonly at: number; readonly request: unknown }> = []
  const data: Array<CloudWatchClient.MetricDatum & { readonly namespace: string }> = []
  const alarms = new Map<string, CloudWatchClient.MetricAlarm>()
  /** Of one metric, or of any that is asked for. */
  const maximums: Array<{ readonly metric?: string; readonly at: number; readonly maximum: number }> = []
  const failing = new Map<Operation, CloudWatchClient.CloudWatchError["kind"]>()
  const call = <A>(operation: Operation, request: unknown, answer: () => A) =>
    Effect.flatMap(Clock.currentTimeMillis, (at) => {
      calls.push({ operation, at, request })
      const kind = failing.get(operation)
      return kind === undefined ? Effect.sync(answer) : Effect.fail(error(operation, kind))
    })
  const service: CloudWatchClient.Service = {
    putMetricData: (request) =>
      call("putMetricData", request, () => {
        const { MetricData, Namespace } = request
        if (MetricData.length > 1000 || MetricData.length === 0) throw new Error(`${MetricData.length} data`)
        if (JSON.stringify(MetricData).length > 1024 * 1024) throw new Error("over 1 MB")
        for (const { Counts, Value, Values } of MetricData) {
          if (Values !== undefined && (Values.length > 150 || Counts?.length !== Values.length))
            throw new Error("values")
          if ([Value ?? 0, ...(Values ?? [])].some((value) => !Number.isFinite(value))) throw new Error("not a number")
        }
        data.push(...MetricData.map((datum) => ({ ...datum, namespace: Namespace })))
      }),
    putMetricAlarm: (alarm) =>
      call("putMetricAlarm", alarm, () => {
        alarms.set(alarm.AlarmName, alarm)
      }),
    // As the service does: lists in another order, and what was not set as an empty list.
    describeAlarms: (request) =>
      call("describeAlarms", request, () =>
        request.AlarmNames.flatMap((name) => {
          const alarm = alarms.get(name)
          return alarm === undefined
            ? []
            : [{ Dimensions: [], ...alarm, Metrics: alarm.Metrics && [...alarm.Metrics].reverse(), StateValue: "OK" }]
        })
      ),
    getMaximums: (request) =>
      call("getMaximums", request, () =>
        maximums.filter(
          ({ at, metric = request.MetricName }) =>
            metric === request.MetricName && at >= request.StartTime && at < request.EndTime
        )
      )
  }
  return { calls, data, alarms, maximums, failing, layer: Layer.succeed(CloudWatchClient.CloudWatchClient, service) }
}
