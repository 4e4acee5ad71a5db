/**
 * A consumer, put together: which part asks what of which other. What each does stands in its own file.
 *
 * It needs no background fiber of its own: receives are sent on demand, settlements while there are any, and all of it
 * ends when the source is closed and every delivery has ended.
 */
import * as Cause from "effect/Cause"
import * as Chunk from "effect/Chunk"
import type * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Option from "effect/Option"
import type * as Schedule from "effect/Schedule"
import * as Delivery from "../Delivery.js"
import { Intake } from "../Intake.js"
import { LeaseKeeper } from "../LeaseKeeper.js"
import type * as LeaseQueue from "../LeaseQueue.js"
import type { Quota } from "../Quota.js"
import * as Reason from "../Reason.js"
import * as Settler from "../Settler.js"
import type { Tunable } from "../Tunable.js"
import { Drain } from "./drain/drain.js"
import type { IdlePart } from "./drain/idle.js"
import type { Fork } from "./effect/fork.js"
import { OpenedBodies } from "./handOver/openedBodies.js"
import type { InFlight } from "./lease/inFlight.js"
import { InFlightTable } from "./lease/inFlightTable.js"
import * as LeaseLimits from "./lease/leaseLimits.js"
import type { Source } from "./lease/source.js"
import { Steady } from "./lease/steady.js"
import { BlockedLoop } from "./observe/blockedLoop.js"
import { CallFailures } from "./observe/callFailures.js"
import type { Host as FiguresHost } from "./observe/consumerFigures.js"
import type { Host as HealthHost } from "./observe/consumerHealth.js"
import { ConsumerMetrics } from "./observe/metrics.js"
import { Notices } from "./observe/notices.js"
import type { Observing } from "./observe/observer.js"
import * as Reports from "./observe/reports.js"
import { destinationOf, traced } from "./observe/span.js"
import { Watchdog } from "./observe/watchdog.js"
import * as Arrivals from "./receive/arrivals.js"
import { type Permits, UnsharedPermits } from "./receive/permits.js"
import type { OwnPermits } from "./receive/sharedPermits.js"
import { Ends } from "./settle/ends.js"
import * as HandBack from "./settle/handBack.js"
import * as Requests from "./settle/requests.js"
import { Settlements } from "./settle/settlements.js"

/** A consumer's options, checked, with what holds where none is given. */
export interface Settings<out Q> {
  readonly name: string
  readonly maxInFlight: Tunable
  readonly rate: { readonly perSecond: Tunable; readonly burst: number | undefined }
  readonly quota: Quota<Q> | undefined
  /** Where it shares them with other queues. */
  readonly permits: OwnPermits | undefined
  /** Where it ends by itself once its queue is empty. */
  readonly idle: IdlePart | undefined
  readonly wait: Duration.Duration
  readonly linger: Duration.Duration
  readonly receiveRetry: Schedule.Schedule<unknown> | undefined
  readonly settleRetry: Schedule.Schedule<unknown> | undefined
  readonly fatalGrace: Duration.Duration
  readonly pollGrace: Duration.Duration
  readonly flushWithin: Duration.Duration
  readonly heartbeat: boolean
  readonly warnAfter: Duration.Duration
  readonly maxOpenedBytes: number
  readonly spans: boolean
}

export interface Engine<E, O extends Observing> {
  /** What its deliveries know it by. */
  readonly source: Source<InFlight>
  /** The next deliveries. */
  readonly pull: Effect.Effect<Chunk.Chunk<Delivery.Delivery<string>>, Option.Option<E>>
  readonly drain: Drain
  /** It receives, and nothing is in flight. */
  readonly rests: () => boolean
  readonly pause: () => void
  readonly resume: () => void
  /** What figures and health are gathered from, for who asks for them: a stream alone has nobody who does. */
  readonly known: Omit<FiguresHost & HealthHost, "observer"> & { readonly observer: O }
}

export const make = <E, Q, O extends Observing>(
  queueItself: LeaseQueue.LeaseQueue<E>,
  settings: Settings<Q>,
  effectClock: Clock.Clock,
  runFork: Fork,
  observer: O
): Engine<E | Q, O> => {
  const queue = settings.spans ? traced(queueItself) : queueItself
  const { batchSize, ordered } = queue.limits
  const leaseMillis = Duration.toMillis(queue.leaseDuration)
  const deadLetters = queue.deadLetter !== undefined
  const queueName = queue.name

  const clock = new Steady(effectClock)
  const now = () => clock.now()
  const startedAt = now()
  const table = new InFlightTable()
  const { idle } = settings
  const maxInFlight = () => settings.maxInFlight.unsafeGet()
  const permits: Permits = settings.permits ?? new UnsharedPermits(settings.maxInFlight)

  // ------------------------------------------------------------------------------------------------------- observe

  const metrics = new ConsumerMetrics(settings.name)
  const notices = new Notices({ runFork, now })
  /** What most parts look at, or tell. */
  const common = {
    queueName,
    leaseMillis,
    ordered,
    deadLetters,
    runFork,
    clock,
    now,
    table,
    permits,
    metrics,
    observer,
    notices
  }
  const loop = new BlockedLoop(common)
  const reports = Reports.make({ ...common, loop })
  const failures = new CallFailures({ ...common, queue, onNoAcks: (error) => intake.fail(error) }, settings.fatalGrace)
  /** Who calls the queue. */
  const caller = { queue: observer.timed(queue, now), runFork, now }
  const opened = new OpenedBodies(settings.maxOpenedBytes, () =>
    notices.always(
      `opened bodies of ${queueName} take the ${settings.maxOpenedBytes} bytes that \`maxOpenedBytes\` allows: the next one waits until a message that has one ends`
    )
  )

  // ------------------------------------------------------------------------------------------------------- receive

  const intake: Intake<E, Delivery.Delivery<string>, Q> = new Intake(
    {
      ...caller,
      onMessages: (messages) => {
        const deliveries = arrived(messages)
        failures.received()
        watchdog.start()
        if (messages.length === 0) idle?.cameEmpty(now())
        else idle?.busyUntil(now())
        return deliveries
      },
      onStarved: () => {
        settler.hurry()
        handBack.makeRoom()
      },
      onPoll: () => metrics.add("polls"),
      onError: (error, kind, again) => {
        failures.ofReceive(error, kind, again)
        // The queue may have leased what it did not tell of.
        if (kind === "transient") idle?.busyUntil(now() + leaseMillis)
      },
      onFailure: (cause) => notices.always(`the stream of ${queueName} ends: ${Reason.of(Cause.squash(cause))}`),
      onStranded: (messages) => metrics.add("stranded", messages)
    },
    { ...settings, permits, retry: settings.receiveRetry }
  )

  // --------------------------------------------------------------------------------------------------------- lease

  const keeper = new LeaseKeeper<E, InFlight>(
    {
      ...caller,
      now: () => clock.exactly(),
      onLost: (delivery) => settlements.lost(delivery),
      onLongest: ({ message }) => {
        metrics.add("longestReached")
        notices.always(
          `message ${message.id} has been in flight for as long as ${queueName} allows; its lease is not extended any more`
        )
      },
      onLate: (millis) => loop.late(millis),
      onExtended: ({ follower }) => follower?.leaseExtended(),
      onCall: (entries) => {
        metrics.add("extendCalls")
        metrics.add("extended", entries)
      },
      onError: (error) => failures.ofExtension(error)
    },
    settings
  )

  // -------------------------------------------------------------------------------------------------------- settle

  const settler = Settler.make(
    {
      ...caller,
      rate: () => intake.rate,
      joiners: (pending) => {
        if (pending < table.size) return "some"
        return pending < permits.max && permits.allInFlight < permits.max ? "none yet" : "none"
      },
      onCall: () => metrics.add("settleCalls"),
      onError: (error, operation) => failures.ofSettlement(error, operation),
      onResults: () => intake.poke(),
      onSuccess: (operation) => {
        if (operation === "Ack") failures.acked()
      }
    },
    {
      linger: settings.linger,
      retry: settings.settleRetry,
      concurrency: Math.max(2, Math.ceil(maxInFlight() / batchSize))
    }
  )
  const leases = LeaseLimits.make(
    { ...common, queue, keeper, settler, onOver: (delivery) => settlements.lost(delivery) },
    settings.heartbeat
  )
  const requests = Requests.make({
    deadLetters,
    leaseDuration: queue.leaseDuration,
    cut: (delivery, duration) => leases.cut(delivery, duration),
    onResult: (delivery, request, outcome, confirmed) => {
      if (request._tag === "SetLease") idle?.busyUntil(now() + Duration.toMillis(request.duration))
      settlements.onResult(delivery, request, outcome, confirmed)
    },
    onRefused: (delivery, request) => settlements.onRefused(delivery, request)
  })
  const handBack = HandBack.make({ ...common, batchSize, requests, keeper, settler })
  const ends = new Ends({
    ...common,
    keeper,
    onLostHead: (head) => handBack.tailOf(head),
    onEnd: () => {
      idle?.busyUntil(now())
      drain.rest()
    }
  })
  const settlements: Settlements = new Settlements({
    ...common,
    keeper,
    settler,
    requests,
    handBack,
    ends,
    reports,
    isEnding: () => drain.isEnding,
    onLost: () => intake.poke()
  })

  // --------------------------------------------------------------------------------------------------------- drain

  const drain = new Drain(
    {
      ...common,
      handBack,
      settlements,
      ends,
      reports,
      stopReceiving: intake.stop,
      flush: settler.flush,
      onClosed: () => metrics.prefetched(intake.prefetched),
      onOver: () => {
        watchdog.stop()
        keeper.quiesce()
        settler.quiesce()
        notices.flush()
      }
    },
    settings.flushWithin
  )
  const watchdog: Watchdog = new Watchdog(
    {
      ...common,
      ends,
      idleSince: () => (settings.permits === undefined ? watchdog.idleSince : settings.permits.idleSince),
      hasSettler: () => drain.hasSettler,
      isClosed: () => drain.sourceClosed
    },
    settings.warnAfter
  )

  // ---------------------------------------------------------------------------------------------------- for deliveries

  const source: Source<InFlight> = {
    queue: {
      name: queueName,
      destination: destinationOf(queue),
      ordered,
      groups: queue.limits.groups ?? true,
      rank: settings.permits?.precedence ?? 0,
      maxAttempts: queue.maxAttempts,
      deadLetters,
      leaseMillis
    },
    clock,
    demand: {
      bound: settings.maxInFlight,
      get maxInFlight() {
        return maxInFlight()
      },
      wants: (deliveries) => {
        if (settings.permits === undefined) intake.wanted = deliveries
        else settings.permits.wants(deliveries)
      },
      stop: intake.stop
    },
    leases,
    settlements,
    lanes: {
      join: (delivery, lane) => {
        if (!ordered) table.lanes.join(lane, delivery)
      },
      hold: (delivery) => {
        table.lanes.hold(delivery)
        // Who waits for permits already has not been told of these.
        if (table.lanes.held > permits.share / 2) intake.poke()
      }
    },
    draining: drain,
    reports,
    opened,
    observer
  }
  const arrived = Arrivals.make({
    ...common,
    source,
    keeper,
    reports,
    onGone: () => intake.release()
  })

  // ------------------------------------------------------------------------------------------------------- to its user

  if (settings.permits !== undefined) {
    settings.permits.member = {
      poke: () => {
        observer.full.set(permits.allInFlight >= permits.max, now())
        intake.poke()
      },
      wants: (deliveries) => {
        intake.wanted = deliveries
      },
      prefetched: () => intake.prefetched,
      receives: () => intake.receives,
      idleSince: () => watchdog.idleSince
    }
  }
  const { heartbeat, name, rate } = settings
  return {
    source,
    pull: Effect.suspend(() =>
      Effect.map(intake.pull, (chunk) => {
        const time = now()
        for (const delivery of Chunk.toReadonlyArray(chunk)) Delivery.inFlight(delivery).handOver(time)
        metrics.prefetched(intake.prefetched)
        return chunk
      })
    ),
    drain,
    rests: () => table.size === 0 && intake.receives,
    pause: () => intake.pause(),
    resume: () => {
      idle?.busyUntil(now())
      intake.resume()
    },
    known: {
      ...common,
      name,
      queue,
      heartbeat,
      rate: rate.perSecond,
      startedAt,
      intake,
      ends,
      isClosed: () => drain.sourceClosed
    }
  }
}
