/**
 * What CloudWatch reports of a queue: asked for at most once a minute, as the metrics come, and late by a minute or two. What
 * cannot be read is said once, and asked for again later.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type { Service } from "../../cloudwatch/CloudWatchClient.js"

/** In milliseconds. What is older says nothing any more. */
export const lookBack = 5 * 60_000
const freshFor = 60_000
/** Where permission is missing, it is asked for again after this. */
const deniedFor = 10 * 60_000

export interface Point {
  /** The begin of its minute, in milliseconds since the epoch. */
  readonly at: number
  readonly value: number
}

export interface Settings {
  readonly client: Pick<Service, "getMaximums">
  /** The queue's name. */
  readonly queue: string
  readonly metrics: ReadonlyArray<string>
  /** What is read, in words, and what is known in its place. */
  readonly what: string
  readonly otherwise: string
}

/** The latest value of each metric that has one of the last five minutes, by its name. */
export const make = ({
  client,
  metrics,
  otherwise,
  queue,
  what
}: Settings): Effect.Effect<ReadonlyMap<string, Point>> => {
  let read: ReadonlyMap<string, Point> = new Map()
  let notBefore = -Infinity
  let failing = false

  const latest = (metric: string, now: number) =>
    Effect.map(
      client.getMaximums({
        Namespace: "AWS/SQS",
        MetricName: metric,
        Dimensions: [{ Name: "QueueName", Value: queue }],
        StartTime: now - lookBack,
        EndTime: now + 60_000,
        Period: 60
      }),
      (points) =>
        points.reduce<Point | undefined>(
          (last, { at, maximum }) => (last === undefined || at > last.at ? { at, value: maximum } : last),
          undefined
        )
    )

  const refresh = (now: number) =>
    Effect.gen(function* () {
      notBefore = now + freshFor
      const points = yield* Effect.either(Effect.forEach(metrics, (metric) => latest(metric, now), { concurrency: 5 }))
      if (points._tag === "Left") {
        if (points.left.kind === "fatal") notBefore = now + deniedFor
        if (failing) return
        failing = true
        return yield* Effect.logWarning(
          `${what} of ${queue} cannot be read from CloudWatch, and is ${otherwise}: ${points.left.message}`
        )
      }
      if (failing) yield* Effect.logInfo(`${what} of ${queue} is read from CloudWatch again`)
      failing = false
      read = new Map(
        metrics.flatMap((metric, i) => {
          const point = points.right[i]
          return point === undefined ? [] : [[metric, point] as const]
        })
      )
    })

  return Effect.gen(function* () {
    const now = yield* Clock.currentTimeMillis
    if (now >= notBefore) yield* refresh(now)
    return new Map([...read].filter(([, { at }]) => now - at <= lookBack))
  })
}
