/** All that a consumer measures of itself, gathered from its parts. */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Figures from "../../Figures.js"
import type { Intake } from "../../Intake.js"
import type * as LeaseQueue from "../../LeaseQueue.js"
import type { Tunable } from "../../Tunable.js"
import type { InFlightTable } from "../lease/inFlightTable.js"
import { groupFigures } from "./groupFigures.js"
import type { ConsumerMetrics } from "./metrics.js"
import type { Observer } from "./observer.js"

/** What it needs of its consumer. */
export interface Host {
  readonly name: string
  readonly queue: Pick<LeaseQueue.LeaseQueue<never>, "name" | "limits" | "maxAttempts" | "connections">
  readonly deadLetters: boolean
  readonly leaseMillis: number
  readonly heartbeat: boolean
  readonly rate: Tunable
  readonly startedAt: number
  readonly now: () => number
  readonly table: InFlightTable
  readonly intake: Omit<Intake<never, never>, "pull" | "fail">
  readonly metrics: ConsumerMetrics
  readonly observer: Observer
}

export const consumerStats = ({ intake, metrics, table }: Host): Figures.Stats => ({
  ...metrics.counts,
  inFlight: table.size,
  peakInFlight: table.peak,
  prefetched: intake.prefetched,
  maxInFlight: intake.maxInFlight
})

export const consumerFigures = (host: Host): Effect.Effect<Figures.Figures> =>
  Effect.suspend(() =>
    Effect.map(host.queue.connections ?? Effect.succeed(undefined), (connections) => ({
      ...figures(host, host.now()),
      connections
    }))
  )

const figures = (host: Host, now: number): Omit<Figures.Figures, "connections"> => {
  const { intake, observer, queue, table } = host
  const { calls } = observer
  const { oldest } = table
  return {
    consumer: host.name,
    queue: queue.name,
    at: now,
    startedAt: host.startedAt,
    settings: {
      leaseDuration: host.leaseMillis,
      heartbeat: host.heartbeat,
      ordered: queue.limits.ordered,
      batchSize: queue.limits.batchSize,
      wait: Duration.toMillis(intake.wait),
      maxAttempts: queue.maxAttempts,
      deadLetters: host.deadLetters,
      rate: host.rate.unsafeGet()
    },
    stats: consumerStats(host),
    paused: intake.paused,
    oldestInFlight: oldest === undefined ? undefined : Math.max(0, now - oldest),
    fullFor: observer.full.at(now),
    starvedFor: intake.starved.at(now),
    pausedFor: intake.pausing.at(now),
    throttledFor: intake.throttled.at(now),
    failingFor: intake.failing.at(now),
    deferredFor: observer.deferredFor,
    loopHeldFor: observer.loopHeldFor,
    loopHeldBy: observer.loopHeldBy,
    stages: [...observer.stages].map(({ stage }) => stage),
    fullReceives: intake.fullReceives,
    shortReceives: intake.shortReceives,
    failedCalls: { ...observer.failedCalls },
    calls: {
      receive: calls.receive.histogram,
      ack: calls.ack.histogram,
      setLease: calls.setLease.histogram,
      deadLetter: calls.deadLetter.histogram
    },
    queued: observer.queued.histogram,
    waited: observer.waited.histogram,
    handler: observer.handler.histogram,
    settled: observer.settled.histogram,
    failedTime: observer.failedTime,
    byRunning: observer.byRunning,
    failures: Object.fromEntries(observer.failures),
    recentFailures: observer.recentFailures.items,
    ...groupFigures(queue.limits.ordered ? table.lanes : table.groups, observer)
  }
}
