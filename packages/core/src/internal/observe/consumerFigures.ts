/** All that a consumer measures of itself, gathered from its parts. */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Figures from "../../Figures.js"
import type { Intake } from "../../Intake.js"
import type * as LeaseQueue from "../../LeaseQueue.js"
import type { Tunable } from "../../Tunable.js"
import { largest } from "../data/largest.js"
import type { InFlight } from "../lease/inFlight.js"
import type { InFlightTable } from "../lease/inFlightTable.js"
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

/** Groups in the figures by size, as many by the age of their heads, and by the time that their handlers take. */
const mostGroups = 10

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
    ...groups(queue.limits.ordered ? table.lanes : byGroup(table), observer)
  }
}

interface Members {
  readonly name: string
  readonly members: ReadonlySet<InFlight>
}

/** Of a standard queue: read now and then, and so not kept. */
const byGroup = (table: InFlightTable): ReadonlyArray<Members> => {
  const all = new Map<string, Set<InFlight>>()
  for (const delivery of table) {
    const { group } = delivery.message
    if (group === undefined) continue
    const members = all.get(group)
    if (members === undefined) all.set(group, new Set([delivery]))
    else members.add(delivery)
  }
  return [...all].map(([name, members]) => ({ name, members }))
}

const groups = (lanes: Iterable<Members>, observer: Observer): Pick<Figures.Figures, "groups" | "groupsInFlight"> => {
  const all = [...lanes]
  const { byGroup: times, shares } = observer
  const most = largest(all, mostGroups, ({ members }) => members.size)
  const oldest = largest(all, mostGroups, ({ members }) => -(headOf(members)?.receivedAt ?? 0))
  const busiest = largest(all, mostGroups, ({ name }) => times.of(name).atLeast)
  const listed = [...new Set([...most, ...oldest, ...busiest])].map(({ members, name: group }): Figures.Group => {
    const head = headOf(members)
    return {
      group,
      inFlight: members.size,
      share: shares.get(group) ?? 0,
      time: times.of(group).atLeast,
      head: {
        messageId: head?.message.id ?? "",
        receivedAt: head?.receivedAt ?? 0,
        attempt: head?.attempt ?? 0,
        running: head?.startedAt !== undefined
      }
    }
  })
  return { groups: listed, groupsInFlight: all.length }
}

const headOf = (members: Iterable<InFlight>): InFlight | undefined => {
  let head: InFlight | undefined
  for (const member of members) {
    if (head === undefined || (member.message.sequence ?? "") < (head.message.sequence ?? "")) head = member
  }
  return head
}
