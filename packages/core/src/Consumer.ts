/**
 * One consumer of one queue: its permits, what it has in flight, and how it ends.
 *
 * A consumer needs no background fiber of its own: receives are sent on demand, settlements while there are any, and
 * all of it ends when the source is closed and every delivery has ended.
 */
import * as Cause from "effect/Cause"
import type * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import * as FiberId from "effect/FiberId"
import * as Runtime from "effect/Runtime"
import * as RuntimeFlags from "effect/RuntimeFlags"
import type * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Delivery from "./Delivery.js"
import type * as Figures from "./Figures.js"
import * as Health from "./Health.js"
import { Intake } from "./Intake.js"
import * as InvalidOptions from "./InvalidOptions.js"
import { largest } from "./internal/data/largest.js"
import { Quantiles } from "./internal/data/quantiles.js"
import { join } from "./internal/drain/companions.js"
import { within } from "./internal/effect/within.js"
import { downstream } from "./internal/handOver/downstream.js"
import { OpenedBodies } from "./internal/handOver/openedBodies.js"
import { InFlight } from "./internal/lease/inFlight.js"
import { LaneTable, latestFirst } from "./internal/lease/laneTable.js"
import type * as Source from "./internal/lease/source.js"
import type { OnceCounter } from "./internal/lease/source.js"
import { Steady } from "./internal/lease/steady.js"
import { longestStretch } from "./internal/observe/loopTime.js"
import { ConsumerMetrics } from "./internal/observe/metrics.js"
import { Notices, placeOf, without } from "./internal/observe/notices.js"
import { Observer } from "./internal/observe/observer.js"
import { type Destination, destinationOf, traced } from "./internal/observe/span.js"
import { unlimited } from "./internal/receive/tokens.js"
import { Phase } from "./internal/settle/oneSettlement.js"
import { LeaseKeeper } from "./LeaseKeeper.js"
import type * as LeaseQueue from "./LeaseQueue.js"
import * as Quota from "./Quota.js"
import * as Reason from "./Reason.js"
import * as Settlement from "./Settlement.js"
import * as Settler from "./Settler.js"
import * as Tunable from "./Tunable.js"

/** @typeParam Q - how its quota may fail. */
export interface Options<out Q = never> {
  /** Names the consumer in metrics and logs. Default: the queue's name. */
  readonly name?: string | undefined
  /**
   * Messages in flight at once, at most: prefetched, waiting, running, and waiting for their settlement to be
   * confirmed. A ceiling, not a target. From 1 to 120,000. Default 100.
   */
  readonly maxInFlight?: number | Tunable.Tunable | undefined
  /**
   * Messages received a second, at most. `burst` is how many may come at once after a pause (default: the rate, at least
   * 1). No message is leased while it waits for its turn. Default: no limit.
   */
  readonly rate?: { readonly perSecond: number | Tunable.Tunable; readonly burst?: number | undefined } | undefined
  /**
   * What a downstream lets all processes do together: `Quota.make`. Nothing is leased while it waits for its turn. Default:
   * none.
   */
  readonly quota?: Quota.Quota<Q> | undefined
  /** How long one receive waits for a first message: from 1 second. Default: the queue's longest (SQS: 20 seconds). */
  readonly wait?: Duration.DurationInput | undefined
  /**
   * How long a settlement waits for others to share its call, at most half of the lease: less where somebody waits for
   * it, not at all where no other can come. Default 250 milliseconds.
   */
  readonly linger?: Duration.DurationInput | undefined
  /**
   * When to receive again after a failed receive; begins anew after one that succeeded. Where it ends, the stream fails
   * with the last error. Default: exponential, 200 milliseconds to 20 seconds, jittered.
   */
  readonly receiveRetry?: Schedule.Schedule<unknown> | undefined
  /** When to try failed settlements again. Default: exponential, 100 milliseconds to 5 seconds, jittered. */
  readonly settleRetry?: Schedule.Schedule<unknown> | undefined
  /**
   * How long a fatal error (no such queue, access denied, bad credentials) is retried once a message has been
   * received, or acks are; before the first message it fails the stream at once. Default 2 minutes: a queue that is deleted
   * and made anew is away for one.
   */
  readonly fatalGrace?: Duration.DurationInput | undefined
  /** How long an open receive is awaited on stop before it is aborted. Default 2 seconds. */
  readonly pollGrace?: Duration.DurationInput | undefined
  /** How long the last settlements may take at the end, before they count as lost. Default 10 seconds. */
  readonly flushWithin?: Duration.DurationInput | undefined
  /** Whether leases are extended, when half of them is over, for as long as they are in flight. Default true. */
  readonly heartbeat?: boolean | undefined
  /** Ends the stream by a drain when this completes: no new receives, running handlers finish, the rest is released. */
  readonly drainWhen?: Effect.Effect<unknown> | undefined
  /** How long handlers may go on in a drain by `drainWhen`. Default 20 seconds. */
  readonly drainDeadline?: Duration.DurationInput | undefined
  /** A delivery that no stage has claimed for so long is warned about, by its id: from 1 second. Default 1 minute. */
  readonly warnAfter?: Duration.DurationInput | undefined
  /**
   * Bytes of bodies that were opened (compressed ones), or fetched by a claim check, in messages that have not ended: the
   * next is opened while the others come to less, so that one more than this may be open. Default 8 MiB: parsed, a body
   * takes up to twenty times its bytes of the heap.
   */
  readonly maxOpenedBytes?: number | undefined
  /** A span for each call to the queue: `receive <queue>`, `ack <queue>` and so on. Default false. */
  readonly spans?: boolean | undefined
}

/** What each option may be; `wait` and `linger` also go by what the queue allows. */
export const checks: InvalidOptions.Checks<Options> = {
  name: InvalidOptions.text,
  maxInFlight: InvalidOptions.checkedBelow,
  rate: InvalidOptions.fields<NonNullable<Options["rate"]>>({
    perSecond: InvalidOptions.checkedBelow,
    burst: InvalidOptions.aWholeNumber({ min: 1 })
  }),
  quota: Quota.check,
  wait: InvalidOptions.time(),
  linger: InvalidOptions.time(),
  receiveRetry: InvalidOptions.schedule,
  settleRetry: InvalidOptions.schedule,
  fatalGrace: InvalidOptions.time(),
  pollGrace: InvalidOptions.time(),
  flushWithin: InvalidOptions.time(),
  heartbeat: InvalidOptions.flag,
  drainWhen: InvalidOptions.effect,
  drainDeadline: InvalidOptions.time(),
  warnAfter: InvalidOptions.time({ min: "1 second" }),
  maxOpenedBytes: InvalidOptions.aWholeNumber({ min: 1 }),
  spans: InvalidOptions.flag
}

export type { Stats } from "./Figures.js"

/** How a drain ended. */
export interface DrainReport {
  /** Settled by their handlers or their policy, in time. */
  readonly finished: number
  /** Given back to the queue. */
  readonly released: number
  /** Without a confirmed settlement; the queue delivers them again. */
  readonly lost: number
  /** Leases that an aborted receive may have left with nobody, at most. */
  readonly stranded: number
}

export interface Consumer<E> {
  /** The deliveries. Run it once; closing it stops the consumer and releases what no stage has claimed. */
  readonly stream: Stream.Stream<Delivery.Delivery<string>, E>
  /**
   * Stops receiving, lets what runs finish until `deadline` (default 20 seconds), interrupts what still runs,
   * flushes the settlements and releases the rest. The stream then ends.
   */
  readonly drain: (options?: { readonly deadline?: Duration.DurationInput | undefined }) => Effect.Effect<DrainReport>
  /** What it has done so far, and what it holds. */
  readonly stats: Effect.Effect<Figures.Stats>
  /** All that it measures of itself, from its start until now. */
  readonly figures: Effect.Effect<Figures.Figures>
  /** Sends no more receives until `resume`; what is in flight goes on. */
  readonly pause: Effect.Effect<void>
  readonly resume: Effect.Effect<void>
  /** To read and to change while it runs: messages in flight at once, at most. */
  readonly maxInFlight: Tunable.Tunable
  /** Messages received a second, at most. `Number.MAX_SAFE_INTEGER` is no limit. */
  readonly rate: Tunable.Tunable
  /** The slots of each stage of its pipeline, the first one first; none before its stream runs. */
  readonly concurrency: Effect.Effect<ReadonlyArray<Tunable.Tunable>>
  /** Whether the consumer makes progress, and what stands in its way. */
  readonly health: (options?: Health.Options) => Effect.Effect<Health.Health>
}

class Engine<E, Q> {
  readonly queueName: string
  readonly destination: Destination
  readonly queue: LeaseQueue.LeaseQueue<E>
  readonly metrics: ConsumerMetrics
  readonly observer = new Observer()
  readonly notices: Notices
  readonly opened: OpenedBodies
  readonly intake: Intake<E, Delivery.Delivery<string>, Q>
  readonly settler: Settler.Settler
  readonly keeper: LeaseKeeper<E, InFlight>
  readonly ordered: boolean
  readonly maxAttempts: number | undefined
  readonly deadLetters: boolean
  slots: ReadonlyArray<Tunable.Tunable> = []
  /** How often its stream has been run. */
  runs = 0
  /** Everything in flight, and by lane: of an ordered queue by group. */
  readonly table = new Set<InFlight>()
  readonly #lanes = new LaneTable<InFlight>()
  readonly now: () => number
  readonly #clock: Steady
  peak = 0
  /** Whose handler ended last, and when. */
  #lastRun: { readonly messageId: string; readonly at: number } | undefined
  /** How long the latest handlers took. */
  readonly #handlerMillis = new Quantiles()

  readonly #runFork: <A, E2>(effect: Effect.Effect<A, E2>) => Fiber.RuntimeFiber<A, E2>
  readonly #name: string
  readonly #startedAt: number
  readonly #lease: number
  readonly #heartbeat: boolean
  readonly #rate: Tunable.Tunable | undefined
  readonly #fatalGrace: number
  readonly flushWithin: Duration.Duration
  readonly #warnAfter: number
  #ackFatalSince: number | undefined
  /** Warned about once a streak: the rest is at debug. */
  #receiveFails = false
  #sourceClosed = false
  /** The stages that its pipeline ends in, as far as they are not over: two where its stream is run twice. */
  readonly #ends = new Set<object>()
  /** Who waits for the last settlements: what the queue refuses then is not waited for. */
  #flushing = 0
  draining = false
  /** Whether a stage of its pipeline settles, as that said when the stream began. */
  #hasSettler = false
  #noneEnded = true
  #toldUnsettled = false
  #watch: Fiber.RuntimeFiber<void> | undefined
  /** The queue will not change their leases: they end with those. */
  readonly #refused = new WeakSet<InFlight>()
  readonly #warned = new WeakSet<InFlight>()
  #lastEnd: number
  #waiters: Array<{ readonly done: () => boolean; readonly wake: () => void }> = []
  readonly source: Source.Source<InFlight>

  constructor(
    queue: LeaseQueue.LeaseQueue<E>,
    name: string,
    options: Checked<Q>,
    clock: Clock.Clock,
    runFork: <A, E2>(effect: Effect.Effect<A, E2>) => Fiber.RuntimeFiber<A, E2>
  ) {
    this.queue = queue
    this.queueName = queue.name
    this.destination = destinationOf(queue)
    this.metrics = new ConsumerMetrics(name)
    this.#clock = new Steady(clock)
    this.now = () => this.#clock.now()
    this.#runFork = runFork
    this.notices = new Notices({ runFork, now: this.now })
    this.#lease = Duration.toMillis(queue.leaseDuration)
    this.#heartbeat = options.heartbeat ?? true
    this.#rate = options.rate?.perSecond
    this.ordered = queue.limits.ordered
    this.maxAttempts = queue.maxAttempts
    this.deadLetters = queue.deadLetter !== undefined
    this.#fatalGrace = Duration.toMillis(options.fatalGrace)
    this.flushWithin = options.flushWithin
    this.opened = new OpenedBodies(options.maxOpenedBytes, () =>
      this.#log(
        Effect.logWarning(
          `opened bodies of ${queue.name} take the ${options.maxOpenedBytes} bytes that \`maxOpenedBytes\` allows: the next one waits until a message that has one ends`
        )
      )
    )
    this.#warnAfter = Duration.toMillis(options.warnAfter)
    this.#lastEnd = this.now()
    this.#name = name
    this.#startedAt = this.now()
    const engine = this
    this.source = {
      queue: {
        name: queue.name,
        destination: this.destination,
        ordered: this.ordered,
        maxAttempts: this.maxAttempts,
        deadLetters: this.deadLetters,
        leaseMillis: this.#lease
      },
      clock: this.#clock,
      demand: {
        get maxInFlight() {
          return engine.maxInFlight
        },
        wants: (deliveries) => this.wants(deliveries),
        stop: Effect.suspend(() => this.stopReceiving)
      },
      leases: {
        isOver: (delivery) => this.isOver(delivery),
        keptUntil: (delivery) => this.keptUntil(delivery),
        extend: (delivery, millis, onResult) => this.extend(delivery, millis, onResult)
      },
      settlements: {
        begins: (delivery) => this.settles(delivery),
        settle: (delivery, settlement, awaited) => this.settle(delivery, settlement, awaited),
        ackLate: (delivery) => this.ackLate(delivery),
        overflow: (delivery) => this.overflow(delivery)
      },
      lanes: {
        join: (delivery, lane) => this.joins(delivery, lane),
        hold: (delivery) => this.holds(delivery)
      },
      draining: {
        get begun() {
          return engine.draining
        },
        flushWithin: this.flushWithin,
        endsIn: (stage) => this.endsIn(stage),
        endIsOver: (stage) => this.endIsOver(stage),
        settled: (deliveries) => this.settled(deliveries),
        abandon: (delivery) => this.abandon(delivery)
      },
      reports: {
        handled: (delivery, millis, succeeded) => this.handled(delivery, millis, succeeded),
        failed: (delivery, failure) => this.failed(delivery, failure),
        undecided: (delivery, defect) => this.undecided(delivery, defect),
        heldLoop: (delivery, what, millis) => this.heldLoop(delivery, what, millis),
        once: (counter) => this.once(counter)
      },
      opened: this.opened,
      observer: this.observer
    }
    const measured = this.observer.timed(queue, this.now)
    this.intake = new Intake(
      {
        queue: measured,
        runFork,
        now: this.now,
        onMessages: (messages) => this.#received(messages),
        onStarved: () => {
          this.settler.hurry()
          this.#makeRoom()
        },
        onPoll: () => this.metrics.add("polls"),
        onError: (error, kind, again) => this.#receiveFailed(error, kind, again),
        onFailure: (cause) =>
          this.notices.always(`the stream of ${queue.name} ends: ${Reason.of(Cause.squash(cause))}`),
        onStranded: (messages) => this.metrics.add("stranded", messages)
      },
      { ...options, retry: options.receiveRetry }
    )
    this.keeper = new LeaseKeeper<E, InFlight>(
      {
        queue: measured,
        runFork,
        now: () => this.#clock.exactly(),
        onLost: (delivery) => this.#lost(delivery),
        onLongest: (delivery) => {
          this.metrics.add("longestReached")
          this.#log(
            Effect.logWarning(
              `message ${delivery.message.id} has been in flight for as long as ${queue.name} allows; its lease is not extended any more`
            )
          )
        },
        onLate: (millis) => this.#late(millis),
        onExtended: ({ follower }) => follower?.leaseExtended(),
        onCall: (entries) => {
          this.metrics.add("extendCalls")
          this.metrics.add("extended", entries)
        },
        onError: (error) => this.#extendFailed(error)
      },
      { heartbeat: this.#heartbeat }
    )
    this.settler = Settler.make(
      {
        queue: measured,
        runFork,
        now: this.now,
        rate: () => this.intake.rate,
        company: (pending) =>
          pending < this.table.size ? "some" : pending < this.intake.maxInFlight ? "none yet" : "none",
        onCall: () => this.metrics.add("settleCalls"),
        onError: (error, operation) => this.#settleFailed(error, operation),
        onResults: () => this.intake.poke(),
        onSuccess: (operation) => {
          if (operation === "Ack") this.#ackFatalSince = undefined
        }
      },
      {
        linger: options.linger,
        retry: options.settleRetry,
        concurrency: Math.max(2, Math.ceil(options.maxInFlight.unsafeGet() / queue.limits.batchSize))
      }
    )
  }

  #received(messages: ReadonlyArray<LeaseQueue.Message>): Array<Delivery.Delivery<string>> {
    const { metrics, observer } = this
    const answeredAt = this.#clock.exactly()
    const onTheWall = this.onTheWall(answeredAt)
    const deliveries: Array<Delivery.Delivery<string>> = []
    for (const message of messages) {
      // Its lease is counted from here. A clock that was set back meanwhile makes it no younger than its answer.
      const leasedAt = answeredAt - Math.max(0, onTheWall - (message.leasedAt ?? onTheWall))
      if (leasedAt + this.#lease <= answeredAt) {
        this.#overOnArrival(message, answeredAt - leasedAt)
        continue
      }
      const inFlight = new InFlight(this.source, message, leasedAt, leasedAt + this.#lease)
      this.table.add(inFlight)
      if (this.ordered && message.group !== undefined) this.#lanes.join(message.group, inFlight)
      this.keeper.hold(inFlight)
      if (message.attempt > 1) metrics.add("redelivered")
      if (message.sentAt !== undefined) {
        const queued = Math.max(0, onTheWall - message.sentAt)
        metrics.queueSeconds(queued / 1000)
        // One that comes again was sent long ago, and says nothing of what waits.
        if (message.attempt === 1) observer.queued.add(queued)
      }
      observer.received(message.group)
      deliveries.push(Delivery.make(inFlight))
    }
    this.#receiveFails = false
    if (messages.length === 0) metrics.add("emptyPolls")
    metrics.add("received", messages.length)
    this.peak = Math.max(this.peak, this.table.size)
    metrics.inFlight(this.table.size)
    observer.full.set(this.table.size >= this.intake.maxInFlight, answeredAt)
    this.#startWatch()
    return deliveries
  }

  /**
   * The process was suspended, or its event loop blocked, while the answer lay in its socket: somebody else may have the
   * message. It is lost before it is in flight, and nothing is asked of the queue by its old lease.
   */
  #overOnArrival({ id }: LeaseQueue.Message, age: number): void {
    this.metrics.add("lost")
    this.notices.ofKind(
      "over on arrival",
      `the lease of message ${id} of ${this.queue.name} was over when its answer could be read, ${Duration.format(Duration.millis(age))} after the queue gave it: this process was suspended, or its event loop blocked; the message is delivered again`
    )
    this.intake.release()
  }

  #receiveFailed(error: E, kind: LeaseQueue.ErrorKind, again: boolean): void {
    this.metrics.add("receiveErrors")
    // What ends the stream is told with its end.
    const log = this.#receiveFails || !again ? Effect.logDebug : Effect.logWarning
    if (again) this.#receiveFails = true
    const grace = Duration.format(Duration.millis(this.#fatalGrace))
    const follows = !again ? "" : kind === "fatal" ? `, trying again for up to ${grace}` : ", trying again"
    this.#log(log(`could not receive from ${this.queue.name} (${kind})${follows}: ${Reason.of(error)}`))
  }

  // A queue that takes no acks (a missing permission, say) must not look healthy for ever. What else it refuses concerns
  // single messages, and they come again by themselves.
  #settleFailed(error: E, operation: Settler.Request["_tag"]): void {
    this.metrics.add("settleErrors")
    if (this.queue.errorKind(error) !== "fatal") return
    this.notices.ofKind(`refused ${operation}`, `${refusals[operation](this.queue.name)}: ${Reason.of(error)}`)
    if (operation !== "Ack") return
    const now = this.now()
    this.#ackFatalSince ??= now
    if (now - this.#ackFatalSince >= this.#fatalGrace) this.intake.fail(error)
  }

  #extendFailed(error: E): void {
    this.metrics.add("extendErrors")
    if (this.queue.errorKind(error) !== "fatal") return
    this.notices.ofKind(
      "refused extension",
      `${this.queue.name} does not let leases be extended (SQS: sqs:ChangeMessageVisibility): what takes longer than ${Duration.format(this.queue.leaseDuration)} runs again elsewhere: ${Reason.of(error)}`
    )
  }

  #log(effect: Effect.Effect<void>): void {
    this.#runFork(effect)
  }

  /** The next deliveries, marked as handed over. */
  readonly pull = Effect.suspend(() =>
    Effect.map(this.intake.pull, (chunk) => {
      const now = this.now()
      for (const delivery of chunk) {
        Delivery.inFlight(delivery).handOver(now)
      }
      this.metrics.prefetched(this.intake.prefetched)
      return chunk
    })
  )

  settle(delivery: InFlight, settlement: Settlement.Settlement, awaited: boolean): void {
    const ending = { delivery, settlement, awaited }
    // What has no place to be dead-lettered to comes again: nothing of its group may overtake it.
    const goes = settlement._tag === "Ack" || (settlement._tag === "DeadLetter" && this.queue.deadLetter !== undefined)
    if (!goes && this.ordered && delivery.message.group !== undefined) {
      this.#giveBack([this.#withTail(ending)])
    } else if (settlement._tag === "Ack") {
      // Its lease is extended until the delete is confirmed.
      this.settler.submit(this.#entry(ending))
    } else {
      this.keeper.stop(delivery, () => this.settler.submit(this.#entry(ending)))
    }
  }

  #withTail(ending: Ending): ReadonlyArray<Ending> {
    const { delivery } = ending
    return this.ordered && delivery.tries?.skipped !== true
      ? [...this.#tail(delivery).map(asReleased), ending]
      : [ending]
  }

  /**
   * Invariant 5 (order): what is in flight of a group behind this one, the last first, and from now on being settled.
   * It goes back before the one that it must not overtake.
   */
  #tail({ message }: InFlight): Array<InFlight> {
    const tail: Array<InFlight> = []
    if (message.group === undefined || message.sequence === undefined) return tail
    for (const other of latestFirst(this.#lanes.in(message.group))) {
      if ((other.message.sequence ?? "") <= message.sequence || !other.beginSettling()) continue
      other.owner?.lose(other)
      tail.push(other)
    }
    return tail
  }

  /**
   * Invariant 5 (order), where many groups fail: somebody waits for permits, and what failed keeps more than half of them.
   * The excess goes back, of each group the last first, and nothing of a group that does not wait.
   */
  #makeRoom(): void {
    if (this.table.size < this.intake.maxInFlight) return
    const now = this.now()
    const { heads, tails } = this.#lanes.excess(Math.floor(this.intake.maxInFlight / 2), now)
    const runs: Array<ReadonlyArray<Ending>> = []
    for (const tail of tails) {
      const going = tail.filter((delivery) => delivery.beginSettling())
      runs.push(going.map((delivery) => ({ delivery, settlement: this.overflow(delivery), awaited: false })))
    }
    for (const delivery of heads) {
      if (!delivery.beginSettling()) continue
      const settlement = Settlement.retry(Duration.millis(delivery.heldUntil - now))
      runs.push([...this.#tail(delivery).map(asReleased), { delivery, settlement, awaited: false }])
    }
    this.#giveBack(runs)
  }

  joins(delivery: InFlight, lane: string): void {
    if (!this.ordered) this.#lanes.join(lane, delivery)
  }

  holds(delivery: InFlight): void {
    this.#lanes.hold(delivery)
    // Who waits for permits already has not been told of these.
    if (this.#lanes.held > this.intake.maxInFlight / 2) this.intake.poke()
  }

  settles(delivery: InFlight): void {
    this.#lanes.settles(delivery)
  }

  /** Gives groups back, each in the order that it is given in, several to a call where they fit. */
  #giveBack(runs: ReadonlyArray<ReadonlyArray<Ending>>): void {
    const { batchSize } = this.queue.limits
    let call: Array<Ending> = []
    const send = () => {
      const endings = call
      call = []
      let flying = endings.length
      const landed = () => {
        if (--flying === 0) this.settler.submitInOrder(endings.map((ending) => this.#entry(ending)))
      }
      for (const { delivery } of endings) this.keeper.stop(delivery, landed)
    }
    for (const run of runs) {
      if (call.length > 0 && call.length + run.length > batchSize) send()
      call.push(...run)
    }
    if (call.length > 0) send()
  }

  #entry({ awaited, delivery, settlement }: Ending): Settler.Entry {
    const noPlace = settlement._tag === "DeadLetter" && this.queue.deadLetter === undefined
    const outcome = noPlace ? "left" : outcomes[settlement._tag]
    const request = this.#request(delivery, noPlace ? Settlement.leave : settlement)
    return new DeliveryEntry(delivery, request, outcome, awaited, this)
  }

  onResult(delivery: InFlight, request: Settler.Request, outcome: Settlement.Outcome, confirmed: boolean): void {
    if (confirmed && outcome === "acked" && this.now() > delivery.deadline) this.metrics.add("ackedLate")
    if (!confirmed) {
      const text = `the lease of ${this.#described(delivery)} was over before the queue confirmed its ${request._tag}; it may be delivered again`
      this.notices.ofKind(`unconfirmed ${request._tag}`, text)
    } else if (request._tag === "DeadLetter") {
      this.notices.always(
        `${this.#described(delivery)} was dead-lettered: ${without(delivery.message.body, request.reason)}`
      )
    }
    this.#end(delivery, confirmed ? outcome : "lost")
  }

  /** What cannot be dead-lettered is left to the queue; what the queue does not even let be left, to its lease. */
  onRefused(delivery: InFlight, request: Settler.Request): void {
    if (request._tag === "DeadLetter") {
      this.#giveBack([this.#withTail({ delivery, settlement: Settlement.leave, awaited: false })])
    } else if (this.draining || this.#sourceClosed || this.#flushing > 0) {
      this.#end(delivery, "lost")
    } else {
      this.#refused.add(delivery)
    }
  }

  isOver(delivery: InFlight): boolean {
    if (delivery.deadline > this.#clock.exactly()) return false
    this.#lost(delivery)
    return true
  }

  wants(deliveries: number): void {
    this.intake.wanted = deliveries
  }

  ackLate(delivery: InFlight): void {
    if (this.ordered || delivery.outcome !== "lost") return
    this.settler.submit({
      message: delivery.message,
      request: { _tag: "Ack" },
      deadline: () => delivery.deadline,
      over: () => false,
      awaited: false,
      onResult: (confirmed) => this.metrics.add("ackedLate", confirmed ? 1 : 0)
    })
  }

  keptUntil(delivery: InFlight): number {
    return this.#heartbeat
      ? delivery.receivedAt + Duration.toMillis(this.queue.limits.maxLease) - Duration.toMillis("1 minute")
      : delivery.deadline
  }

  onTheWall(time: number): number {
    return this.#clock.onTheWall(time)
  }

  get maxInFlight(): number {
    return this.intake.maxInFlight
  }

  // An ordered queue keeps it behind its head; a standard one would send it again at once, and count each time.
  overflow({ message }: InFlight): Settlement.Settlement {
    if (this.ordered) return Settlement.release
    return Settlement.retry(Math.min(shortestOverflow * 2 ** (message.attempt - 1), longestOverflow))
  }

  get leaseMillis(): number {
    return this.#lease
  }

  heldLoop({ message }: InFlight, what: string, millis: number): void {
    const text = `message ${message.id} of ${this.queue.name} held the event loop for ${Duration.format(Duration.millis(millis))} (${what})`
    this.#loopHeld(message.id, millis, text)
  }

  /**
   * The event loop was not free for so long at least. Where no turn of a message's is known to have held it, those that ran
   * meanwhile are named.
   */
  #late(millis: number): void {
    if (millis <= longestStretch(this.#lease)) return
    const since = this.now() - millis
    if (this.observer.loopHeldBy !== undefined && this.observer.loopHeldBy.at >= since) return
    const ran = this.#lastRun !== undefined && this.#lastRun.at >= since ? [this.#lastRun.messageId] : []
    for (const { message, startedAt } of this.table) {
      if (startedAt !== undefined && startedAt <= since) ran.push(message.id)
    }
    const [first] = ran
    const names = ran.length > mostNamed ? [...ran.slice(0, mostNamed), `${ran.length - mostNamed} more`] : ran
    const held = `was held for ${Duration.format(Duration.millis(millis))} or more`
    const text =
      first === undefined
        ? `the event loop ${held} while no handler of ${this.queue.name} ran: by other code, or the process was suspended`
        : `the event loop ${held} by code outside of fibers (after an await, say) or by many turns in a row, while ${ran.length === 1 ? "message" : "messages"} ${names.join(", ")} of ${this.queue.name} ran`
    this.#loopHeld(ran.length === 1 ? first : undefined, millis, text)
  }

  #loopHeld(messageId: string | undefined, millis: number, text: string): void {
    this.observer.loopHeld({ messageId, at: this.now(), millis })
    const advice = "Make the work of one message smaller, or move it to a worker thread"
    this.notices.ofKind("held the event loop", `${text}: no lease could be extended meanwhile. ${advice}`)
  }

  #lost(delivery: InFlight): void {
    // What is being settled already is its settlement's to end, unless that was refused.
    if (delivery.phase >= Phase.Settling && !this.#refused.has(delivery)) return
    if (!this.#refused.has(delivery)) {
      this.notices.ofKind("lost", `the lease of ${this.#described(delivery)} was lost; it may be delivered again`)
    }
    delivery.owner?.lose(delivery)
    this.#end(delivery, "lost")
    this.intake.poke()
  }

  #request(delivery: InFlight, settlement: Settlement.Settlement): Settler.Request {
    switch (settlement._tag) {
      case "Ack":
        return ackRequest
      case "DeadLetter":
        return { _tag: "DeadLetter", reason: settlement.reason, error: settlement.error, attempt: delivery.attempt }
      case "Release":
        return { _tag: "SetLease", duration: Duration.zero }
      case "Leave":
        return { _tag: "SetLease", duration: this.#cut(delivery, this.queue.leaseDuration) }
      case "Retry":
        return { _tag: "SetLease", duration: this.#cut(delivery, settlement.delay) }
    }
  }

  // The queue counts the whole lease from its receive, and refuses what goes beyond the longest one; two seconds are
  // for the way of the answer and for rounding up.
  #cut(delivery: InFlight, duration: Duration.Duration): Duration.Duration {
    const left = Duration.toMillis(this.queue.limits.maxLease) - (this.now() - delivery.receivedAt) - 2000
    return Duration.min(duration, Duration.millis(Math.max(0, left)))
  }

  extend(delivery: InFlight, millis: number, onResult: (confirmed: boolean) => void): void {
    const sentAt = this.now()
    const duration = this.#cut(delivery, Duration.millis(millis))
    const landed = this.keeper.borrow(delivery)
    this.settler.submit({
      message: delivery.message,
      request: { _tag: "SetLease", duration },
      deadline: () => delivery.deadline,
      // A settlement waits for it, and must not wait for another try.
      over: () => delivery.phase >= Phase.Settling,
      awaited: true,
      onResult: (confirmed) => {
        if (confirmed) {
          delivery.deadline = sentAt + Duration.toMillis(duration)
          delivery.follower?.leaseExtended()
        }
        landed()
        onResult(confirmed)
      }
    })
  }

  handled(delivery: InFlight, millis: number, succeeded: boolean): void {
    this.#lastRun = { messageId: delivery.message.id, at: this.#clock.latest }
    this.metrics.add(succeeded ? "handled" : "failed")
    if (succeeded) this.#lanes.succeeded(delivery)
    this.metrics.handlerSeconds(millis / 1000)
    this.#handlerMillis.add(millis)
    this.observer.ran(millis, delivery.startedWith, succeeded)
  }

  once(counter: OnceCounter): void {
    this.metrics.add(counter)
  }

  failed(delivery: InFlight, failure: unknown): void {
    const { attempt, message } = delivery
    this.#lanes.failed(delivery)
    const error = Reason.nameOf(failure) ?? "Failure"
    this.observer.failed({ at: this.now(), messageId: message.id, group: message.group, attempt, error })
    const text = `${this.#described(delivery)} has failed: ${without(message.body, Reason.of(failure))}`
    if (failure instanceof Delivery.HandlerDefect) this.notices.always(`${text}${placeOf(failure.defect)}`)
    else this.notices.ofKind(`failed ${error}`, text)
  }

  undecided(delivery: InFlight, defect: unknown): void {
    const { body } = delivery.message
    this.notices.always(
      `the retry policy for ${this.#described(delivery)} has failed, and the message is left to the queue: ${without(body, Reason.of(defect))}${placeOf(defect)}`
    )
  }

  #described({ attempt, message }: InFlight): string {
    return `message ${message.id} of ${this.queue.name} (attempt ${attempt})`
  }

  /** The one place where a delivery ends and its permit comes back. */
  #end(delivery: InFlight, outcome: Settlement.Outcome): void {
    if (delivery.outcome !== undefined) return
    // A lost head: what follows it must not run before it comes again.
    if (outcome === "lost" && this.ordered && delivery.tries?.skipped !== true) {
      const tail = this.#tail(delivery)
      if (tail.length > 0) this.#giveBack([tail.map(asReleased)])
    }
    delivery.end(outcome)
    this.keeper.release(delivery)
    this.table.delete(delivery)
    this.#lanes.leave(delivery)
    const now = this.now()
    this.#lastEnd = now
    this.#noneEnded = false
    this.metrics.add(outcome)
    this.metrics.settleSeconds((now - delivery.receivedAt) / 1000)
    this.metrics.inFlight(this.table.size)
    this.observer.settled.add(now - delivery.receivedAt)
    this.observer.full.set(this.table.size >= this.intake.maxInFlight, now)
    this.intake.release()
    this.#wakeWaiters()
    this.#rest()
  }

  #wakeWaiters(): void {
    if (this.#waiters.length === 0) return
    const ready = this.#waiters.filter((waiter) => waiter.done())
    if (ready.length === 0) return
    this.#waiters = this.#waiters.filter((waiter) => !ready.includes(waiter))
    for (const waiter of ready) waiter.wake()
  }

  /** Nothing in flight and none to come: no timer is left. */
  #rest(): void {
    if (this.table.size > 0 || !this.#sourceClosed) return
    this.#watch?.unsafeInterruptAsFork(FiberId.none)
    this.#watch = undefined
    this.keeper.quiesce()
    this.settler.quiesce()
    this.notices.flush()
  }

  #until(done: () => boolean): Effect.Effect<void> {
    return Effect.async<void>((resume) => {
      if (done()) return resume(Effect.void)
      const waiter = { done, wake: () => resume(Effect.void) }
      this.#waiters.push(waiter)
      return Effect.sync(() => {
        this.#waiters = this.#waiters.filter((other) => other !== waiter)
      })
    })
  }

  endsIn(stage: object): void {
    this.#ends.add(stage)
    this.#hasSettler = true
  }

  endIsOver(stage: object): Effect.Effect<void> {
    return Effect.suspend(() => {
      this.#ends.delete(stage)
      if (this.#ends.size > 0 || !this.#sourceClosed) return Effect.void
      return Effect.zipRight(
        this.settled(this.#release(nobodys)),
        Effect.sync(() => this.#rest())
      )
    })
  }

  get stopReceiving(): Effect.Effect<void> {
    return this.intake.stop
  }

  #release(which: (delivery: InFlight) => boolean): Array<InFlight> {
    const released: Array<InFlight> = []
    const runs: Array<ReadonlyArray<Ending>> = []
    for (const delivery of [...this.table]) {
      if (!which(delivery) || !delivery.beginSettling()) continue
      const run = this.ordered ? [...this.#tail(delivery), delivery] : [delivery]
      released.push(...run)
      runs.push(run.map(asReleased))
    }
    this.#giveBack(runs)
    return released
  }

  /** Waits until these have ended, for `flushWithin` at most; then they count as lost. */
  settled(deliveries: Iterable<InFlight>): Effect.Effect<void> {
    const waiting = new Set(deliveries)
    const lose = () => {
      for (const delivery of waiting) this.#end(delivery, "lost")
    }
    const allEnded = () => {
      for (const delivery of waiting) {
        if (delivery.outcome === undefined) return false
        waiting.delete(delivery)
      }
      return true
    }
    return Effect.suspend(() => {
      for (const delivery of waiting) if (this.#refused.has(delivery)) this.#end(delivery, "lost")
      if (allEnded()) return Effect.void
      this.settler.flush()
      this.#flushing++
      return within(this.#until(allEnded), this.flushWithin).pipe(
        Effect.zipRight(Effect.sync(lose)),
        Effect.ensuring(
          Effect.sync(() => {
            this.#flushing--
          })
        )
      )
    })
  }

  /** The reader has gone: what no stage has claimed is released. Claimed deliveries are their stage's to settle. */
  readonly closeSource: Effect.Effect<void> = Effect.suspend(() => this.stopReceiving).pipe(
    Effect.zipRight(Effect.suspend(() => this.settled(this.#release(unclaimed)))),
    Effect.zipRight(
      Effect.sync(() => {
        this.#sourceClosed = true
        this.metrics.prefetched(this.intake.prefetched)
        this.#rest()
      })
    )
  )

  abandon(delivery: InFlight): void {
    if (delivery.outcome !== undefined) return
    if (delivery.startedAt !== undefined) {
      this.notices.always(
        `the handler of ${this.#described(delivery)} could not be interrupted and goes on; the message is delivered again when its lease is over`
      )
    }
    this.#end(delivery, "lost")
  }

  drain(deadline: Duration.Duration): Effect.Effect<DrainReport> {
    return Effect.suspend(() => {
      const before = { ...this.metrics.counts }
      this.draining = true
      return this.stopReceiving.pipe(
        Effect.zipRight(Effect.sync(() => this.#release(waits))),
        Effect.zipRight(within(this.#until(this.#noneClaimed()), deadline)),
        Effect.zipRight(Effect.suspend(() => this.#interruptClaimed())),
        Effect.zipRight(Effect.suspend(() => this.settled([...this.table]))),
        Effect.map(() => {
          const { counts } = this.metrics
          const since = (name: keyof typeof counts) => counts[name] - before[name]
          return {
            finished: since("acked") + since("retried") + since("deadLettered") + since("left"),
            released: since("released"),
            lost: since("lost"),
            stranded: since("stranded")
          }
        })
      )
    })
  }

  startDrain(deadline: Duration.Duration): void {
    this.#runFork(this.drain(deadline))
  }

  /** Asked at each end: it goes on from where it found one, so that all of a drain looks through the table a few times. */
  #noneClaimed(): () => boolean {
    const claimed = new Set<InFlight>()
    const found = () => {
      for (const delivery of claimed) {
        if (delivery.phase === Phase.Claimed) return true
        claimed.delete(delivery)
      }
      return false
    }
    return () => {
      if (found()) return false
      for (const delivery of this.table) if (delivery.phase === Phase.Claimed) claimed.add(delivery)
      return claimed.size === 0
    }
  }

  #interruptClaimed(): Effect.Effect<void> {
    for (const delivery of [...this.table]) {
      if (delivery.phase !== Phase.Claimed) continue
      if (delivery.owner === undefined || delivery.owner.closed) delivery.settle(Settlement.release)
      else delivery.owner.interrupt(delivery)
    }
    return within(this.#until(this.#noneClaimed()), this.flushWithin).pipe(
      Effect.zipRight(
        Effect.sync(() => {
          for (const delivery of [...this.table]) if (delivery.phase === Phase.Claimed) this.abandon(delivery)
        })
      )
    )
  }

  /** Looks now and then, while anything is in flight, for deliveries that nobody answers for. */
  #startWatch(): void {
    if (this.#watch !== undefined || this.table.size === 0) return
    this.#watch = this.#runFork(
      Effect.suspend(() => Effect.sleep(this.#patience)).pipe(
        Effect.zipRight(Effect.suspend(() => this.#look())),
        Effect.repeat({ while: () => this.table.size > 0 })
      )
    )
    const watch = this.#watch
    watch.addObserver(() => {
      if (this.#watch === watch) this.#watch = undefined
    })
  }

  /** Before what nobody answers for is warned about: less where no stage settles and nothing has ended by another's hand. */
  get #patience(): number {
    return this.#unsettling ? Math.min(this.#warnAfter, unsettledAfter) : this.#warnAfter
  }

  get #unsettling(): boolean {
    return !this.#hasSettler && !this.#toldUnsettled && this.#noneEnded
  }

  #look(): Effect.Effect<void> {
    const now = this.now()
    const unsettling = this.#unsettling
    const overdue = now - this.#patience
    const forgotten = [...this.table].filter(
      (delivery) =>
        !this.#warned.has(delivery) &&
        !delivery.awaited &&
        (delivery.phase === Phase.HandedOver || (delivery.phase === Phase.Claimed && delivery.passedOn)) &&
        delivery.handedOverAt <= overdue
    )
    for (const delivery of forgotten) {
      this.#warned.add(delivery)
      if (this.#sourceClosed) delivery.settle(Settlement.release)
    }
    const messages: Array<string> = []
    if (forgotten.length > 0) {
      if (unsettling) this.#toldUnsettled = true
      const ids = forgotten.slice(0, mostNamed).map((delivery) => delivery.message.id)
      if (forgotten.length > mostNamed) ids.push(`and ${forgotten.length - mostNamed} more`)
      const which = `${forgotten.length} deliveries of ${this.queue.name} were taken from the stream and never claimed or settled (${ids.join(", ")})`
      messages.push(
        unsettling
          ? `${which}, since no stage settles them: end the pipeline with Pipeline.process, or settle them yourself (delivery.ack and the like)`
          : `${which}: end the pipeline with Pipeline.process, or settle them yourself; where it ends so, an operator drops or holds them: use Pipeline.filter and Pipeline.batch`
      )
    }
    const idle = [...this.table].every(({ passedOn, phase }) => phase !== Phase.Claimed || passedOn)
    if (this.table.size >= this.intake.maxInFlight && idle && this.#lastEnd <= overdue) {
      messages.push(
        `the stream of ${this.queue.name} is stuck: all ${this.intake.maxInFlight} permits are taken, no stage works on any of them, and none has been settled for ${Duration.format(Duration.millis(now - this.#lastEnd))}`
      )
    }
    return Effect.forEach(messages, (message) => Effect.logWarning(message), { discard: true })
  }

  health(options: Health.Options = {}): Health.Health {
    const running: Array<Health.View["running"][number]> = []
    let oldest: number | undefined
    for (const { attempt, message, phase, receivedAt, startedAt } of this.table) {
      oldest = Math.min(oldest ?? receivedAt, receivedAt)
      if (phase === Phase.Claimed && startedAt !== undefined) {
        running.push({ messageId: message.id, group: message.group, attempt, since: startedAt })
      }
    }
    const { lastReceive } = this.intake
    const judged = Health.judge(
      {
        now: this.now(),
        queue: this.queue.name,
        lastReceive,
        receivingSince: this.intake.receivingSince,
        ended: this.#sourceClosed,
        failure: this.intake.failure === undefined ? undefined : Reason.of(this.intake.failure),
        lastEnd: this.#lastEnd,
        oldest,
        running,
        loopHeld: this.observer.loopHeldBy,
        lease: this.#lease,
        p99: this.#handlerMillis.at(0.99),
        inFlight: this.table.size,
        maxInFlight: this.intake.maxInFlight,
        paused: this.intake.paused
      },
      options
    )
    return { ...judged, lastReceive: lastReceive === undefined ? undefined : this.onTheWall(lastReceive) }
  }

  readonly figures: Effect.Effect<Figures.Figures> = Effect.suspend(() =>
    Effect.map(this.queue.connections ?? Effect.succeed(undefined), (connections) => {
      const { observer, queue } = this
      const { intake } = this
      const now = this.now()
      const { calls } = observer
      let oldest = now
      for (const { receivedAt } of this.table) oldest = Math.min(oldest, receivedAt)
      return {
        consumer: this.#name,
        queue: queue.name,
        at: now,
        startedAt: this.#startedAt,
        settings: {
          leaseDuration: this.#lease,
          heartbeat: this.#heartbeat,
          ordered: this.ordered,
          batchSize: queue.limits.batchSize,
          wait: Duration.toMillis(intake.wait),
          maxAttempts: this.maxAttempts,
          deadLetters: this.deadLetters,
          rate: this.#rate?.unsafeGet()
        },
        stats: this.stats,
        paused: intake.paused,
        oldestInFlight: this.table.size === 0 ? undefined : now - oldest,
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
        ...this.#groupFigures(),
        connections
      }
    })
  )

  #groupFigures(): Pick<Figures.Figures, "groups" | "groupsInFlight"> {
    const shares = this.observer.shares
    const lanes = this.ordered ? this.#lanes : []
    const headOf = (members: Iterable<InFlight>): InFlight | undefined => {
      let head: InFlight | undefined
      for (const member of members) {
        if (head === undefined || (member.message.sequence ?? "") < (head.message.sequence ?? "")) head = member
      }
      return head
    }
    const most = largest(lanes, mostGroups, ({ members }) => members.size)
    const oldest = largest(lanes, mostGroups, ({ members }) => -(headOf(members)?.receivedAt ?? 0))
    const groups = [...new Set([...most, ...oldest])].map(({ members, name: group }): Figures.Group => {
      const head = headOf(members)
      return {
        group,
        inFlight: members.size,
        share: shares.get(group) ?? 0,
        head: {
          messageId: head?.message.id ?? "",
          receivedAt: head?.receivedAt ?? 0,
          attempt: head?.attempt ?? 0,
          running: head?.startedAt !== undefined
        }
      }
    })
    return { groups, groupsInFlight: this.ordered ? this.#lanes.size : 0 }
  }

  get stats(): Figures.Stats {
    return {
      ...this.metrics.counts,
      inFlight: this.table.size,
      peakInFlight: this.peak,
      prefetched: this.intake.prefetched,
      maxInFlight: this.intake.maxInFlight
    }
  }
}

/** Before a pipeline without a stage that settles is warned about, in milliseconds, and messages that a warning names. */
const unsettledAfter = 10_000
const mostNamed = 10

/** Groups in the figures by size, and as many by the age of their heads. */
const mostGroups = 10

interface Ending {
  readonly delivery: InFlight
  readonly settlement: Settlement.Settlement
  readonly awaited: boolean
}

const ackRequest: Settler.Request = { _tag: "Ack" }

/** What the queue does not let be done, and what follows. */
const refusals: Readonly<Record<Settler.Request["_tag"], (queue: string) => string>> = {
  Ack: (queue) =>
    `messages of ${queue} cannot be deleted (SQS: sqs:DeleteMessage), and come again; where that goes on, the stream ends`,
  SetLease: (queue) =>
    `messages of ${queue} cannot be delayed or given back (SQS: sqs:ChangeMessageVisibility), and come again when their leases end`,
  DeadLetter: (queue) =>
    `messages of ${queue} cannot be dead-lettered (SQS: sqs:SendMessage on the dead-letter queue), and are left to the queue`
}

interface EntryHost {
  readonly onResult: (
    delivery: InFlight,
    request: Settler.Request,
    outcome: Settlement.Outcome,
    confirmed: boolean
  ) => void
  readonly onRefused: (delivery: InFlight, request: Settler.Request) => void
}

/** A class, since there is one for every message. */
class DeliveryEntry implements Settler.Entry {
  readonly request: Settler.Request
  readonly awaited: boolean
  readonly #delivery: InFlight
  readonly #outcome: Settlement.Outcome
  readonly #host: EntryHost

  constructor(
    delivery: InFlight,
    request: Settler.Request,
    outcome: Settlement.Outcome,
    awaited: boolean,
    host: EntryHost
  ) {
    this.request = request
    this.awaited = awaited
    this.#delivery = delivery
    this.#outcome = outcome
    this.#host = host
  }

  get message() {
    return this.#delivery.message
  }

  deadline(): number {
    return this.#delivery.deadline
  }

  over(): boolean {
    return this.#delivery.outcome !== undefined
  }

  onResult(confirmed: boolean): void {
    this.#host.onResult(this.#delivery, this.request, this.#outcome, confirmed)
  }

  onRefused(): void {
    this.#host.onRefused(this.#delivery, this.request)
  }
}

/** How long a standard queue keeps what is too much for its lane, in milliseconds: twice as long each time. */
const shortestOverflow = 2000
const longestOverflow = 5 * 60 * 1000

const asReleased = (delivery: InFlight): Ending => ({ delivery, settlement: Settlement.release, awaited: false })

const unclaimed = (delivery: InFlight): boolean => delivery.phase < Phase.Claimed

/** No stage that is still there answers for it. */
const nobodys = ({ owner, phase }: InFlight): boolean =>
  phase < Phase.Claimed || (phase === Phase.Claimed && (owner === undefined || owner.closed))

const waits = (delivery: InFlight): boolean => delivery.waits

const outcomes = {
  Ack: "acked",
  Retry: "retried",
  Release: "released",
  DeadLetter: "deadLettered",
  Leave: "left"
} as const satisfies Record<Settlement.Settlement["_tag"], Settlement.Outcome>

interface Checked<out Q> extends Options<Q> {
  readonly maxInFlight: Tunable.Tunable
  readonly rate: { readonly perSecond: Tunable.Tunable; readonly burst: number | undefined }
  readonly flushWithin: Duration.Duration
  readonly fatalGrace: Duration.Duration
  readonly warnAfter: Duration.Duration
  readonly drainDeadline: Duration.Duration
  readonly maxOpenedBytes: number
}

/** @internal What can be changed while a consumer runs, as its options have it. */
export const tunables = ({ maxInFlight = 100, rate }: Options<unknown>) =>
  Effect.gen(function* () {
    return {
      maxInFlight: yield* Tunable.from("maxInFlight", maxInFlight, { min: 1, max: 120_000, whole: true }),
      rate: {
        perSecond: yield* Tunable.from("rate.perSecond", rate === undefined ? unlimited : rate.perSecond, {
          min: 0.001
        }),
        burst: rate?.burst
      }
    }
  })

const checkAll = <Q>(queue: Pick<LeaseQueue.LeaseQueue<never>, "limits" | "leaseDuration">, options: Options<Q>) =>
  Effect.gen(function* () {
    yield* InvalidOptions.check("a consumer", options, checks)
    const { drainDeadline, fatalGrace, flushWithin, pollGrace } = options
    yield* InvalidOptions.warnOfBareNumbers({ drainDeadline, fatalGrace, flushWithin, pollGrace })
    const checked: Checked<Q> = {
      ...options,
      ...(yield* tunables(options)),
      wait: yield* InvalidOptions.duration("wait", options.wait ?? queue.limits.maxWait, {
        min: "1 second",
        max: queue.limits.maxWait
      }),
      linger: yield* InvalidOptions.duration("linger", options.linger ?? "250 millis", {
        max: Duration.times(queue.leaseDuration, 0.5)
      }),
      pollGrace: Duration.decode(pollGrace ?? "2 seconds"),
      flushWithin: Duration.decode(flushWithin ?? "10 seconds"),
      fatalGrace: Duration.decode(fatalGrace ?? "2 minutes"),
      warnAfter: Duration.decode(options.warnAfter ?? "1 minute"),
      drainDeadline: Duration.decode(drainDeadline ?? "20 seconds"),
      maxOpenedBytes: options.maxOpenedBytes ?? 8 * 1_048_576
    }
    return checked
  })

/** @internal A drain has no error of its own: a deadline that is none is a defect. */
export const deadlineOf = (
  options: { readonly deadline?: Duration.DurationInput | undefined } = {},
  standard: Duration.DurationInput
): Effect.Effect<Duration.Duration> =>
  Effect.orDie(
    Effect.map(InvalidOptions.check("drain", options, { deadline: InvalidOptions.time() }), () =>
      Duration.decode(options.deadline ?? standard)
    )
  )

const makeEngine = <E, Q>(queue: LeaseQueue.LeaseQueue<E>, options: Options<Q>) =>
  Effect.gen(function* () {
    const checked = yield* checkAll(queue, options)
    const clock = yield* Effect.clock
    // Made in an uninterruptible region, maybe; what it forks must be interruptible all the same.
    const runtime = Runtime.enableRuntimeFlag(yield* Effect.runtime<never>(), RuntimeFlags.Interruption)
    const called = checked.spans === true ? traced(queue) : queue
    const engine = new Engine<E, Q>(called, checked.name ?? queue.name, checked, clock, Runtime.runFork(runtime))
    return { engine, checked } as const
  })

const source = <E, Q>(
  engine: Engine<E, Q>,
  checked: Checked<Q>,
  joins: boolean
): Stream.Stream<Delivery.Delivery<string>, E | Q> =>
  Stream.fromPull(
    Effect.gen(function* () {
      yield* Effect.addFinalizer(() => engine.closeSource)
      if (engine.runs++ > 0) {
        yield* Effect.logWarning(
          `the stream of the consumer of ${engine.queueName} is run once more: its permits, figures and drain are one, and the first run that ends stops them all; make a consumer for each pipeline`
        )
      }
      if (joins) yield* join(engine)
      const { onStart, slots } = yield* downstream.get
      engine.slots = slots
      onStart(engine.source)
      if (checked.drainWhen !== undefined) {
        // The drain outlives the source, which it ends: its deadline is for the stages after it.
        yield* Effect.forkScoped(
          Effect.zipRight(
            checked.drainWhen,
            Effect.sync(() => engine.startDrain(checked.drainDeadline))
          )
        )
      }
      return engine.pull
    })
  )

/**
 * A consumer with a handle: its stream, its figures, and a drain on request. Closing the scope is a drain with deadline
 * zero: everything still in flight, claimed or not, is interrupted and released.
 *
 * Fails with `InvalidOptions` where an option cannot work.
 */
export const make = <E, Q = never>(
  queue: LeaseQueue.LeaseQueue<E>,
  options: Options<Q> = {}
): Effect.Effect<Consumer<E | Q>, InvalidOptions.InvalidOptions, Scope.Scope> =>
  Effect.gen(function* () {
    const { checked, engine } = yield* makeEngine(queue, options)
    yield* Effect.addFinalizer(() => engine.drain(Duration.zero))
    return {
      stream: source(engine, checked, false),
      drain: (drainOptions) =>
        Effect.flatMap(deadlineOf(drainOptions, "20 seconds"), (deadline) => engine.drain(deadline)),
      stats: Effect.sync(() => engine.stats),
      figures: engine.figures,
      pause: Effect.sync(() => engine.intake.pause()),
      resume: Effect.sync(() => engine.intake.resume()),
      maxInFlight: checked.maxInFlight,
      rate: checked.rate.perSecond,
      concurrency: Effect.sync(() => engine.slots),
      health: (healthOptions) => Effect.sync(() => engine.health(healthOptions))
    }
  })

/**
 * The queue as a stream of deliveries. Nothing is received before the stream is run and asks; how fast the queue is
 * polled is decided by how fast deliveries are taken and settled. When the stream closes, what no stage has claimed is
 * released.
 *
 * Fails with `InvalidOptions` where an option cannot work, and with the queue's error where it is fatal.
 */
export const stream = <E, Q = never>(
  queue: LeaseQueue.LeaseQueue<E>,
  options: Options<Q> = {}
): Stream.Stream<Delivery.Delivery<string>, E | Q | InvalidOptions.InvalidOptions> =>
  Stream.unwrap(Effect.map(makeEngine(queue, options), ({ checked, engine }) => source(engine, checked, true)))
