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
    ...groups(queue.limits.ordered ? byLane(table) : byGroup(table), observer)
  }
}

/** What a group has in flight. */
interface Tally {
  readonly group: string
  inFlight: number
  head: InFlight
}

const earlier = (one: InFlight, other: InFlight): InFlight =>
  (one.message.sequence ?? "") < (other.message.sequence ?? "") ? one : other

/** Of an ordered queue, whose groups are lanes. */
const byLane = (table: InFlightTable): ReadonlyArray<Tally> => {
  const all: Array<Tally> = []
  for (const { members, name } of table.lanes) {
    let head: InFlight | undefined
    for (const member of members) head = head === undefined ? member : earlier(member, head)
    if (head !== undefined) all.push({ group: name, inFlight: members.size, head })
  }
  return all
}

/** Of a standard queue: told now and then, and so not kept, with nothing but this for each group. */
const byGroup = (table: InFlightTable): ReadonlyArray<Tally> => {
  const all = new Map<string, Tally>()
  for (const delivery of table) {
    const { group } = delivery.message
    if (group === undefined) continue
    const known = all.get(group)
    if (known === undefined) {
      all.set(group, { group, inFlight: 1, head: delivery })
    } else {
      known.inFlight++
      known.head = earlier(delivery, known.head)
    }
  }
  return [...all.values()]
}

const groups = (all: ReadonlyArray<Tally>, observer: Observer): Pick<Figures.Figures, "groups" | "groupsInFlight"> => {
  const { byGroup: times, shares } = observer
  const most = largest(all, mostGroups, ({ inFlight }) => inFlight)
  const oldest = largest(all, mostGroups, ({ head }) => -head.receivedAt)
  const busiest = largest(all, mostGroups, ({ group }) => times.of(group).atLeast)
  const listed = [...new Set([...most, ...oldest, ...busiest])].map(
    ({ group, head, inFlight }): Figures.Group => ({
      group,
      inFlight,
      share: shares.get(group) ?? 0,
      time: times.of(group).atLeast,
      head: {
        messageId: head.message.id,
        receivedAt: head.receivedAt,
        attempt: head.attempt,
        running: head.startedAt !== undefined
      }
    })
  )
  return { groups: listed, groupsInFlight: all.length }
}
