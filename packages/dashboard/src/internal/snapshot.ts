/** What the page shows of a consumer, from what it measures of itself. */
import type * as Backlog from "@millrace/core/Backlog"
import type * as Diagnosis from "@millrace/core/Diagnosis"
import type * as Figures from "@millrace/core/Figures"
import type * as Health from "@millrace/core/Health"
import * as Histogram from "@millrace/core/Histogram"
import * as Reason from "@millrace/core/Reason"
import * as Duration from "effect/Duration"
import type * as Wire from "./wire.js"

/** JSON has no `undefined`, `NaN` or infinity. */
const known = (value: number | undefined): number | null =>
  value !== undefined && Number.isFinite(value) ? value : null
const millis = (duration: Duration.Duration | undefined): number | null =>
  duration === undefined ? null : known(Duration.toMillis(duration))

const times = (name: string, histogram: Histogram.Histogram): Wire.Times => ({
  name,
  count: histogram.count,
  p50: known(Histogram.quantile(histogram, 0.5)),
  p95: known(Histogram.quantile(histogram, 0.95)),
  p99: known(Histogram.quantile(histogram, 0.99))
})

export const backlog = (sample: Backlog.Sample | undefined, problem: string | undefined): Wire.Backlog | null => {
  if (sample === undefined) return null
  const fresh = sample._tag === "Fresh" ? sample : sample.last
  if (fresh === undefined) return null
  return {
    at: fresh.at,
    visible: fresh.visible,
    inFlight: fresh.inFlight,
    delayed: fresh.delayed,
    deadLetters: fresh.deadLetters?.visible ?? null,
    oldest: millis(fresh.oldest?.duration),
    noisyGroups: known(fresh.groups?.noisy),
    quietWaiting: known(fresh.groups?.quiet?.visible),
    growth: known(fresh.growth),
    arrivals: known(fresh.arrivals?.perSecond),
    departures: known(fresh.departures?.perSecond),
    timeToDrain:
      fresh.timeToDrain !== undefined && !Duration.isFinite(fresh.timeToDrain) ? "never" : millis(fresh.timeToDrain),
    problem: problem ?? (sample._tag === "Stale" ? Reason.of(sample.error) : null)
  }
}

export const diagnosis = (given: Diagnosis.Diagnosis | undefined): Wire.Diagnosis | null =>
  given === undefined
    ? null
    : {
        verdict: given.verdict,
        findings: given.findings.map(({ _tag, advice, evidence, score, severity, title, why }) => ({
          cause: _tag,
          title,
          severity,
          score,
          evidence,
          change: advice.map((change) => change.text),
          why
        }))
      }

export const point = (interval: Figures.Interval, backlog: Wire.Backlog | null): Wire.Point => {
  const { handler, seconds, stages, stats } = interval
  const sum = (of: (stage: Figures.StageInterval) => number) => stages.reduce((all, stage) => all + of(stage), 0)
  return {
    at: interval.to,
    backlog: backlog?.visible ?? null,
    received: stats.received / seconds,
    handled: stats.handled / seconds,
    failed: stats.failed / seconds,
    arrivals: backlog?.arrivals ?? null,
    inFlight: stats.inFlight,
    bound: stats.maxInFlight,
    running: sum(({ running }) => running),
    slots: sum(({ slots }) => slots),
    p50: known(Histogram.quantile(handler, 0.5)),
    p95: known(Histogram.quantile(handler, 0.95)),
    p99: known(Histogram.quantile(handler, 0.99))
  }
}

const operations = ["receive", "ack", "setLease", "deadLetter"] as const satisfies ReadonlyArray<Figures.Operation>

export const snapshot = (given: {
  readonly interval: Figures.Interval
  readonly figures: Figures.Figures
  readonly health: Health.Health
  readonly backlog: Wire.Backlog | null
  readonly diagnosis: Wire.Diagnosis | null
  readonly controls: Wire.Controls
  readonly bodies: boolean
}): Wire.Snapshot => {
  const { figures, health, interval } = given
  const { stats } = figures
  return {
    queue: figures.queue,
    at: figures.at,
    startedAt: figures.startedAt,
    paused: figures.paused,
    health: { healthy: health.healthy, problems: health.problems },
    diagnosis: given.diagnosis,
    backlog: given.backlog,
    inFlight: stats.inFlight,
    bound: stats.maxInFlight,
    oldestInFlight: known(figures.oldestInFlight),
    stages: interval.stages.map(({ busy, circuit, running, slots, waiting }) => ({
      slots,
      running,
      waiting,
      busy,
      circuit: circuit ?? null
    })),
    times: [
      times("sent to received", interval.queued),
      times("received to begun", interval.waited),
      times("handler", interval.handler),
      times("received to ended", interval.settled)
    ],
    calls: operations.map((operation) => ({
      ...times(operation, interval.calls[operation]),
      perSecond: callsOf(interval, operation) / interval.seconds
    })),
    failedCalls: interval.failedCalls,
    groups: figures.groups.map(({ group, head, inFlight, share, time }) => ({
      group,
      inFlight,
      share,
      time,
      headAge: Math.max(0, figures.at - head.receivedAt),
      attempt: head.attempt,
      running: head.running
    })),
    groupsInFlight: figures.groupsInFlight,
    ordered: figures.settings.ordered,
    failures: Object.entries(figures.failures)
      .map(([error, count]) => ({ error, count }))
      .sort((a, b) => b.count - a.count)
      .slice(0, 20),
    recentFailures: figures.recentFailures
      .slice(-20)
      .reverse()
      .map(({ at, attempt, error, group, messageId }) => ({ at, messageId, group: group ?? null, attempt, error })),
    totals: {
      received: stats.received,
      redelivered: stats.redelivered,
      handled: stats.handled,
      failed: stats.failed,
      acked: stats.acked,
      retried: stats.retried,
      released: stats.released,
      "dead-lettered": stats.deadLettered,
      left: stats.left,
      lost: stats.lost,
      // Of `once`, where there is something to tell.
      ...(stats.doneAlready > 0 ? { "done already": stats.doneAlready } : {}),
      ...(stats.waitedForClaim > 0 ? { "waited for a key": stats.waitedForClaim } : {}),
      ...(stats.keysReused > 0 ? { "keys reused": stats.keysReused } : {}),
      ...(stats.storeErrors > 0 ? { "store errors": stats.storeErrors } : {})
    },
    controls: given.controls,
    bodies: given.bodies
  }
}

/** Times of receives are only of those that came back full; their number is in the stats. */
const callsOf = ({ calls, stats }: Figures.Interval, operation: Figures.Operation): number =>
  operation === "receive" ? stats.polls : calls[operation].count
