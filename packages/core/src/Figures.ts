/**
 * What a consumer measures of itself. Counts, times and durations only grow from its start, so that two readings tell
 * all about the time between them: `since`, or `intervals` as a stream. Reading them costs no call to the queue.
 */
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import * as Stream from "effect/Stream"
import * as Histogram from "./Histogram.js"
import * as InvalidOptions from "./InvalidOptions.js"
import type { Connections, ErrorKind } from "./LeaseQueue.js"

/** What the consumer has done so far, and what it holds. */
export interface Stats {
  readonly received: number
  /** Received, and not for the first time. */
  readonly redelivered: number
  /** Handlers that succeeded, and that failed. */
  readonly handled: number
  readonly failed: number
  readonly acked: number
  /** Of those acked, after the lease was over. */
  readonly ackedLate: number
  readonly retried: number
  readonly released: number
  readonly deadLettered: number
  readonly left: number
  readonly lost: number
  /** Calls: receives, those that brought nothing, those that failed; calls to settle, those that failed whole. */
  readonly polls: number
  readonly emptyPolls: number
  readonly receiveErrors: number
  readonly settleCalls: number
  readonly settleErrors: number
  /** Calls to extend leases, the leases in them, and the calls that failed whole. */
  readonly extendCalls: number
  readonly extended: number
  readonly extendErrors: number
  /** Messages in flight for as long as the queue allows. */
  readonly longestReached: number
  /** With `once`: acked since their key was done already; looks at a key that another was working on. */
  readonly doneAlready: number
  readonly waitedForClaim: number
  /** Keys known with another payload, and calls to the store that failed as a delivery sees them. */
  readonly keysReused: number
  readonly storeErrors: number
  /** Given back since they were over their key's share of a stage. */
  readonly overShare: number
  /** Messages that an aborted receive may have leased to nobody. */
  readonly stranded: number
  readonly inFlight: number
  readonly peakInFlight: number
  readonly prefetched: number
  readonly maxInFlight: number
}

/** Times and durations are in milliseconds, instants in milliseconds since the epoch. */
export interface Figures {
  readonly consumer: string
  readonly queue: string
  readonly at: number
  readonly startedAt: number
  readonly settings: Settings
  /** What was done, and what is held now. */
  readonly stats: Stats
  readonly paused: boolean
  /** The longest that a message in flight has been held. */
  readonly oldestInFlight: number | undefined
  /**
   * How long all permits were taken, and how long its reader had use for a message and there was none: a stage asks for a
   * few ahead of its slots, so how busy these are says whether they went without.
   */
  readonly fullFor: number
  readonly starvedFor: number
  /** How long it was paused, and how long it sent no receive because one had been throttled, or had failed. */
  readonly pausedFor: number
  readonly throttledFor: number
  readonly failingFor: number
  /** For how long it has put messages back, as for their retries, all of them added up: so long they are in flight of the queue and not here. */
  readonly deferredFor: number
  /**
   * How long the event loop was held at stretches of more than half a lease, or 5 seconds where that is less; and the latest
   * of them.
   */
  readonly loopHeldFor: number
  readonly loopHeldBy: LoopHeld | undefined
  /** The stages of its pipeline that have slots, in the order in which they met their first message. */
  readonly stages: ReadonlyArray<Stage>
  /** Receives by what they brought: all that was asked for, or fewer at once though none had to be waited for. */
  readonly fullReceives: number
  readonly shortReceives: number
  /** Calls that failed whole, by kind. */
  readonly failedCalls: Readonly<Record<ErrorKind, number>>
  /** How long calls took. Of receives only those that came back full, since others may have waited for messages. */
  readonly calls: Readonly<Record<Operation, Histogram.Histogram>>
  /** From send to the first receive; from receive to the start of its handler; a handler's own time; from receive to the end. */
  readonly queued: Histogram.Histogram
  readonly waited: Histogram.Histogram
  readonly handler: Histogram.Histogram
  readonly settled: Histogram.Histogram
  /** Of the handlers' own time, that of those that failed. */
  readonly failedTime: number
  /** Handlers by how many ran when they began, themselves included: whether more at once makes each slower. */
  readonly byRunning: ReadonlyArray<AtRunning>
  /** Failures by the tag or name of the error: the first 100 of them, and the rest as `others`. */
  readonly failures: Readonly<Record<string, number>>
  /** The latest failures, the newest last, at most 100. */
  readonly recentFailures: ReadonlyArray<Failure>
  /**
   * The groups that have most in flight, those with the oldest heads, and those that take most of the handlers' time, at most
   * 30; `groupsInFlight` counts all. Of standard queues too, where groups are what fair queues go by.
   */
  readonly groups: ReadonlyArray<Group>
  readonly groupsInFlight: number
  /** The connections of the client behind the queue, where it tells. */
  readonly connections: Connections | undefined
}

export interface Settings {
  /** How long a receive leases its messages. */
  readonly leaseDuration: number
  readonly heartbeat: boolean
  readonly ordered: boolean
  /** Entries a call, at most. */
  readonly batchSize: number
  /** How long a receive waits for a first message. */
  readonly wait: number
  /** After how many receives the queue takes a message away by itself. */
  readonly maxAttempts: number | undefined
  readonly deadLetters: boolean
  /** Messages received a second, at most. */
  readonly rate: number | undefined
}

export type Operation = "receive" | "ack" | "setLease" | "deadLetter"

export interface Stage {
  /** Its `concurrency`, and how many of its slots are taken. */
  readonly slots: number
  readonly running: number
  /** What waits there for a slot, a lane or a circuit. */
  readonly waiting: number
  /** Slots × time, and the part of it in which they were taken. */
  readonly slotTime: number
  readonly busyTime: number
  /** What its circuit lets through; `undefined` without one. */
  readonly circuit: "all" | "probes" | "none" | undefined
}

export interface LoopHeld {
  /** The message whose work it was; `undefined` where several ran, or none. */
  readonly messageId: string | undefined
  /** When it ended, and how long it took, in milliseconds. */
  readonly at: number
  readonly millis: number
}

export interface AtRunning {
  /** About so many: exact up to 8, then in steps of 9 %. */
  readonly running: number
  readonly handlers: number
  /** Their times, added up. */
  readonly time: number
}

export interface Failure {
  readonly at: number
  readonly messageId: string
  readonly group: string | undefined
  readonly attempt: number
  /** The tag or name of the error. */
  readonly error: string
}

export interface Group {
  readonly group: string
  readonly inFlight: number
  /** Its part of the last 1,000 messages received that had a group. */
  readonly share: number
  /** Its part of the time of all handlers, of the last minute or two: what it has at least. */
  readonly time: number
  readonly head: {
    readonly messageId: string
    readonly receivedAt: number
    readonly attempt: number
    readonly running: boolean
  }
}

/** What happened between two readings. */
export interface Interval
  extends Omit<Figures, "stats" | "at" | "startedAt" | "stages" | "recentFailures" | "groups" | "groupsInFlight"> {
  readonly from: number
  readonly to: number
  /** At least 0.001. */
  readonly seconds: number
  /** Counts of the interval; what is held is as at its end. */
  readonly stats: Stats
  readonly stages: ReadonlyArray<StageInterval>
  /** The failures of the interval, as far as the end remembers them. */
  readonly recentFailures: ReadonlyArray<Failure>
  /** As at its end. */
  readonly groups: ReadonlyArray<Group>
  readonly groupsInFlight: number
}

export interface StageInterval extends Stage {
  /** Which part of its slots was taken on average, from 0 to 1. */
  readonly busy: number
}

/** Gauges of `Stats`: what is held, not what was counted. */
const gauges: ReadonlySet<keyof Stats> = new Set(["inFlight", "peakInFlight", "prefetched", "maxInFlight"])

const countsSince = <K extends string>(
  before: Readonly<Record<K, number>>,
  now: Readonly<Record<K, number>>,
  keep?: ReadonlySet<K>
): Record<K, number> => {
  const counts: Record<K, number> = { ...now }
  for (const key of Object.keys(now) as Array<K>) if (keep?.has(key) !== true) counts[key] -= before[key] ?? 0
  return counts
}

/** @internal Whether both are readings of one consumer, that was not started anew in between. */
export const continues = (before: Figures, now: Figures): boolean =>
  before.consumer === now.consumer && before.startedAt === now.startedAt

/** From one reading of a consumer to a later one. */
export const since = (before: Figures, now: Figures): Interval => ({
  ...now,
  from: before.at,
  to: now.at,
  seconds: Math.max(1, now.at - before.at) / 1000,
  stats: countsSince(before.stats, now.stats, gauges),
  fullFor: now.fullFor - before.fullFor,
  starvedFor: now.starvedFor - before.starvedFor,
  pausedFor: now.pausedFor - before.pausedFor,
  throttledFor: now.throttledFor - before.throttledFor,
  failingFor: now.failingFor - before.failingFor,
  deferredFor: now.deferredFor - before.deferredFor,
  loopHeldFor: now.loopHeldFor - before.loopHeldFor,
  loopHeldBy: now.loopHeldBy !== undefined && now.loopHeldBy.at > before.at ? now.loopHeldBy : undefined,
  failedTime: now.failedTime - before.failedTime,
  stages: now.stages.map((stage, i) => {
    const slotTime = stage.slotTime - (before.stages[i]?.slotTime ?? 0)
    const busyTime = stage.busyTime - (before.stages[i]?.busyTime ?? 0)
    return { ...stage, slotTime, busyTime, busy: slotTime === 0 ? 0 : busyTime / slotTime }
  }),
  fullReceives: now.fullReceives - before.fullReceives,
  shortReceives: now.shortReceives - before.shortReceives,
  failedCalls: countsSince(before.failedCalls, now.failedCalls),
  calls: {
    receive: Histogram.since(before.calls.receive, now.calls.receive),
    ack: Histogram.since(before.calls.ack, now.calls.ack),
    setLease: Histogram.since(before.calls.setLease, now.calls.setLease),
    deadLetter: Histogram.since(before.calls.deadLetter, now.calls.deadLetter)
  },
  queued: Histogram.since(before.queued, now.queued),
  waited: Histogram.since(before.waited, now.waited),
  handler: Histogram.since(before.handler, now.handler),
  settled: Histogram.since(before.settled, now.settled),
  byRunning: now.byRunning.flatMap(({ handlers, running, time }) => {
    const earlier = before.byRunning.find((other) => other.running === running)
    const more = handlers - (earlier?.handlers ?? 0)
    return more === 0 ? [] : [{ running, handlers: more, time: time - (earlier?.time ?? 0) }]
  }),
  failures: countsSince(before.failures, now.failures),
  recentFailures: now.recentFailures.filter(({ at }) => at > before.at)
})

const sums = <K extends string>(all: ReadonlyArray<Readonly<Record<K, number>>>, last: Readonly<Record<K, number>>) => {
  const sum: Record<K, number> = { ...last }
  for (const key of Object.keys(last) as Array<K>) {
    sum[key] = all.reduce<number>((total, each) => total + (each[key] ?? 0), 0)
  }
  return sum
}

/** Of several intervals, the oldest first, one: counts and times added up, what is held as at the end of the last. */
export const join = (intervals: readonly [Interval, ...ReadonlyArray<Interval>]): Interval => {
  const last = intervals[intervals.length - 1] ?? intervals[0]
  const sum = (of: (interval: Interval) => number) => intervals.reduce((total, interval) => total + of(interval), 0)
  const merged = (of: (interval: Interval) => Histogram.Histogram) => Histogram.merge(intervals.map(of))
  const stats = sums(
    intervals.map((interval) => interval.stats),
    last.stats
  )
  for (const gauge of gauges) stats[gauge] = last.stats[gauge]
  const failures: Record<string, number> = {}
  const levels = new Map<number, { handlers: number; time: number }>()
  for (const interval of intervals) {
    for (const [error, count] of Object.entries(interval.failures)) failures[error] = (failures[error] ?? 0) + count
    for (const { handlers, running, time } of interval.byRunning) {
      const level = levels.get(running)
      levels.set(running, { handlers: handlers + (level?.handlers ?? 0), time: time + (level?.time ?? 0) })
    }
  }
  return {
    ...last,
    from: intervals[0].from,
    seconds: sum(({ seconds }) => seconds),
    stats,
    fullFor: sum(({ fullFor }) => fullFor),
    starvedFor: sum(({ starvedFor }) => starvedFor),
    pausedFor: sum(({ pausedFor }) => pausedFor),
    throttledFor: sum(({ throttledFor }) => throttledFor),
    failingFor: sum(({ failingFor }) => failingFor),
    deferredFor: sum(({ deferredFor }) => deferredFor),
    loopHeldFor: sum(({ loopHeldFor }) => loopHeldFor),
    loopHeldBy: intervals.findLast(({ loopHeldBy }) => loopHeldBy !== undefined)?.loopHeldBy,
    failedTime: sum(({ failedTime }) => failedTime),
    stages: last.stages.map((stage, i) => {
      const slotTime = sum(({ stages }) => stages[i]?.slotTime ?? 0)
      const busyTime = sum(({ stages }) => stages[i]?.busyTime ?? 0)
      return { ...stage, slotTime, busyTime, busy: slotTime === 0 ? 0 : busyTime / slotTime }
    }),
    fullReceives: sum(({ fullReceives }) => fullReceives),
    shortReceives: sum(({ shortReceives }) => shortReceives),
    failedCalls: sums(
      intervals.map(({ failedCalls }) => failedCalls),
      last.failedCalls
    ),
    calls: {
      receive: merged(({ calls }) => calls.receive),
      ack: merged(({ calls }) => calls.ack),
      setLease: merged(({ calls }) => calls.setLease),
      deadLetter: merged(({ calls }) => calls.deadLetter)
    },
    queued: merged(({ queued }) => queued),
    waited: merged(({ waited }) => waited),
    handler: merged(({ handler }) => handler),
    settled: merged(({ settled }) => settled),
    byRunning: [...levels]
      .map(([running, { handlers, time }]) => ({ running, handlers, time }))
      .sort((a, b) => a.running - b.running),
    failures,
    recentFailures: intervals.flatMap(({ recentFailures }) => recentFailures)
  }
}

/**
 * What happened in each `every` (from 1 second; default 10 seconds), for as long as the stream runs. A consumer that was
 * started anew in between, as by `restart`, begins a new series: the interval across its start is left out.
 *
 * Fails with `InvalidOptions` where `every` cannot work.
 */
export const intervals = (
  figures: Effect.Effect<Figures>,
  options: { readonly every?: Duration.DurationInput | undefined } = {}
): Stream.Stream<Interval, InvalidOptions.InvalidOptions> =>
  Stream.unwrap(
    Effect.map(
      InvalidOptions.check("Figures.intervals", options, { every: InvalidOptions.time({ min: "1 second" }) }),
      () =>
        Stream.repeatEffectWithSchedule(figures, Schedule.fixed(options.every ?? "10 seconds")).pipe(
          Stream.zipWithPrevious,
          Stream.filterMap(([before, now]) =>
            Option.filterMap(before, (earlier) =>
              continues(earlier, now) ? Option.some(since(earlier, now)) : Option.none()
            )
          )
        )
    )
  )
