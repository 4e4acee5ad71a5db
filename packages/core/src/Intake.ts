/**
 * Receives messages, never more than there are permits for, and hands them over on demand: how its parts work together.
 * `internal/receive` has one file for each: permits, demand, tokens, pollers, open polls, pauses, what is prefetched.
 */
import * as Cause from "effect/Cause"
import type * as Chunk from "effect/Chunk"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Option from "effect/Option"
import * as Random from "effect/Random"
import type * as Schedule from "effect/Schedule"
import type { Fork } from "./internal/effect/fork.js"
import type { Stopwatch } from "./internal/observe/observer.js"
import { Allowance } from "./internal/receive/allowance.js"
import { BackOff, defaultRetry } from "./internal/receive/backOff.js"
import { Demand } from "./internal/receive/demand.js"
import { FatalGrace } from "./internal/receive/fatalGrace.js"
import { LostAttempts } from "./internal/receive/lostAttempts.js"
import { OpenPolls, type Poll } from "./internal/receive/openPolls.js"
import { type Permits, UnsharedPermits } from "./internal/receive/permits.js"
import { Pollers } from "./internal/receive/pollers.js"
import { Prefetched } from "./internal/receive/prefetched.js"
import { TokenBucket } from "./internal/receive/tokens.js"
import type * as LeaseQueue from "./LeaseQueue.js"
import type { Quota } from "./Quota.js"
import type { Tunable } from "./Tunable.js"

export interface Options<out Q = never> {
  /** Messages in flight at once, at most: prefetched, waiting, running, and waiting for their settlement. */
  readonly maxInFlight: Tunable
  /** Messages received a second, at most, and how many at once after a pause. Default: no limit. */
  readonly rate?: { readonly perSecond: Tunable; readonly burst: number | undefined } | undefined
  /** Where they are shared with other queues. Default: its own. */
  readonly permits?: Permits | undefined
  /** What all processes may receive together. */
  readonly quota?: Quota<Q> | undefined
  /** How long one receive waits for a first message. Default: the queue's `limits.maxWait`. */
  readonly wait?: Duration.DurationInput | undefined
  /** How long an open receive is awaited on stop before it is aborted. Default 2 seconds. */
  readonly pollGrace?: Duration.DurationInput | undefined
  /** When to receive again after a failure. Default: exponential from 200 milliseconds to 20 seconds, jittered. */
  readonly retry?: Schedule.Schedule<unknown> | undefined
  /**
   * How long a fatal error (no such queue, access denied, bad credentials) is retried once something has been
   * received. Before that it fails the stream at once. Default 2 minutes.
   */
  readonly fatalGrace?: Duration.DurationInput | undefined
}

/** What it needs of the consumer that it works for. */
export interface Host<E, A, Q = never> {
  readonly queue: LeaseQueue.LeaseQueue<E>
  readonly runFork: Fork
  readonly now: () => number
  /** Takes charge of what was received; from here on it holds a permit until `release`. */
  readonly onMessages: (messages: ReadonlyArray<LeaseQueue.Message>) => ReadonlyArray<A>
  /** A reader waits, and no permit is free. */
  readonly onStarved: () => void
  readonly onPoll: () => void
  /** A receive has failed; whether it is tried again. */
  readonly onError: (error: E, kind: LeaseQueue.ErrorKind, again: boolean) => void
  /** The stream ends with this. */
  readonly onFailure: (cause: Cause.Cause<E | Q>) => void
  /** An aborted receive may have leased this many messages to nobody. */
  readonly onStranded: (messages: number) => void
}

export { defaultRetry } from "./internal/receive/backOff.js"

/** An empty answer that comes sooner did not wait: the next receive must, or the queue is polled in a hot loop. */
const shortestWait = 500

export class Intake<E, A, Q = never> {
  readonly #host: Host<E, A, Q>
  readonly wait: Duration.Duration
  readonly #pollGrace: Duration.Duration
  readonly #unsubscribe: ReadonlyArray<() => void>
  readonly #permits: Permits
  /** Of the rate, and of the quota. */
  readonly #allowance: Allowance<Q>
  readonly #polls = new OpenPolls()
  readonly #pollers: Pollers
  readonly #prefetched: Prefetched<A, E | Q>
  readonly #backOff: BackOff
  readonly #demand: Demand
  readonly #fatal: FatalGrace
  readonly #lostAttempts = new LostAttempts()
  /** When a receive last succeeded. */
  lastReceive: number | undefined
  /** Since when there has always been a receive open, or one to try again. */
  receivingSince: number | undefined
  /** A message has come. */
  #received = false

  constructor(host: Host<E, A, Q>, options: Options<Q>) {
    const { now, queue, runFork } = host
    const { maxInFlight, quota, rate } = options
    this.#host = host
    this.wait = options.wait === undefined ? queue.limits.maxWait : Duration.decode(options.wait)
    this.#pollGrace = Duration.decode(options.pollGrace ?? "2 seconds")
    this.#permits = options.permits ?? new UnsharedPermits(maxInFlight)
    this.#allowance = new Allowance<Q>(
      [
        ...(rate === undefined ? [] : [new TokenBucket(rate.burst, rate.perSecond.unsafeGet, now)]),
        ...(quota === undefined ? [] : [quota.tokens(now)])
      ],
      runFork,
      (cause) => this.#fail(cause)
    )
    this.#pollers = new Pollers(now())
    this.#fatal = new FatalGrace(Duration.toMillis(options.fatalGrace ?? "2 minutes"))
    this.#backOff = new BackOff(runFork, now, options.retry ?? defaultRetry)
    this.#prefetched = new Prefetched<A, E | Q>({
      now,
      most: queue.limits.batchSize,
      onDemand: (taken) => {
        this.#pollers.handedOver(taken)
        this.poke()
      }
    })
    this.#demand = new Demand({
      permits: this.#permits,
      allowance: this.#allowance,
      pollers: this.#pollers,
      polls: this.#polls,
      prefetched: this.#prefetched,
      backOff: this.#backOff,
      batchSize: queue.limits.batchSize,
      now,
      poll: (max) => this.#poll(max),
      onStarved: host.onStarved
    })
    const retuned = () => {
      this.#allowance.forget()
      this.poke()
    }
    const tuned = [maxInFlight, ...(rate === undefined ? [] : [rate.perSecond])]
    this.#unsubscribe = tuned.map((tunable) => tunable.unsafeSubscribe(retuned))
  }

  // --------------------------------------------------------------------------------------------------- what is asked

  /** How many deliveries its reader has use for. */
  get wanted(): number {
    return this.#prefetched.wanted
  }

  set wanted(wanted: number) {
    if (this.#prefetched.wants(wanted)) this.poke()
  }

  /** The next deliveries, as soon as there are any. Ends when the intake has stopped; fails when it can not go on. */
  get pull(): Effect.Effect<Chunk.Chunk<A>, Option.Option<E | Q>> {
    return this.#prefetched.pull
  }

  /** Sends no receives until told to resume. Those that are open end as they would. */
  pause(): void {
    this.#demand.pause()
    this.#permits.changed()
  }

  resume(): void {
    this.#demand.resume()
    this.#permits.changed()
  }

  /** Gives a permit back; `poke` once all that come back together have. */
  release(): void {
    this.#permits.release()
  }

  /** Sends the receives that are worth sending now. */
  poke(): void {
    this.#demand.look()
  }

  // ---------------------------------------------------------------------------------------------------- what is known

  get prefetched(): number {
    return this.#prefetched.length
  }

  get maxInFlight(): number {
    return this.#permits.max
  }

  get inFlight(): number {
    return this.#permits.inFlight
  }

  get paused(): boolean {
    return this.#demand.paused
  }

  /** Neither paused nor stopped. */
  get receives(): boolean {
    return !this.paused && !this.#polls.stopping
  }

  /** Messages handed over each millisecond. */
  get rate(): number {
    return this.#pollers.rate
  }

  /** Receives that brought all they asked for. */
  get fullReceives(): number {
    return this.#pollers.fullReceives
  }

  /** Receives that brought less though none had to be waited for. */
  get shortReceives(): number {
    return this.#pollers.shortReceives
  }

  /** While a reader waits and there is nothing for it. */
  get starved(): Stopwatch {
    return this.#prefetched.starved
  }

  get pausing(): Stopwatch {
    return this.#demand.pausing
  }

  /** While it waits after a receive that was throttled, or failed otherwise. */
  get throttled(): Stopwatch {
    return this.#backOff.throttled
  }

  get failing(): Stopwatch {
    return this.#backOff.failing
  }

  /** What ended the stream. */
  get failure(): unknown {
    const { failure } = this.#prefetched
    return failure === undefined ? undefined : Cause.squash(failure)
  }

  // --------------------------------------------------------------------------------------------------------- receives

  #poll(max: number): void {
    const { now, onPoll, queue, runFork } = this.#host
    const { ordered } = queue.limits
    const sentAt = now()
    const repeated = ordered ? this.#lostAttempts.take(max, sentAt) : undefined
    const poll: Poll = { max: repeated?.max ?? max, sentAt, attempt: repeated, fiber: undefined }
    this.#permits.reserve(poll.max)
    this.#allowance.take(poll.max)
    this.#polls.add(poll)
    this.receivingSince ??= sentAt
    onPoll()
    const receive = Effect.suspend(() =>
      Effect.tap(
        queue.receive({ max: poll.max, wait: this.wait, attemptId: poll.attempt?.id, stop: this.#polls.stop }),
        (messages) => Effect.logDebug(`received ${messages.length} of at most ${poll.max} from ${queue.name}`)
      )
    )
    const named = Effect.map(Random.nextIntBetween(0, Number.MAX_SAFE_INTEGER), (n) => {
      poll.attempt = { id: `${sentAt.toString(36)}-${n.toString(36)}`, max, since: sentAt }
    })
    const fiber = runFork(ordered && repeated === undefined ? Effect.zipRight(named, receive) : receive)
    poll.fiber = fiber
    fiber.addObserver((exit) => this.#answered(poll, exit))
  }

  #answered(poll: Poll, exit: Exit.Exit<ReadonlyArray<LeaseQueue.Message>, E>): void {
    const came = Exit.isSuccess(exit) ? exit.value.length : 0
    this.#polls.delete(poll)
    this.#permits.answered(poll.max, came)
    this.#allowance.giveBack(poll.max - came)
    if (Exit.isSuccess(exit)) this.#succeeded(poll, exit.value)
    else this.#failed(poll, exit.cause)
    if (this.#polls.size === 0 && !this.#backOff.isOn) this.receivingSince = undefined
    this.#polls.settled()
    this.poke()
  }

  #succeeded(poll: Poll, messages: ReadonlyArray<LeaseQueue.Message>): void {
    const now = this.#host.now()
    this.lastReceive = now
    this.#fatal.succeeded()
    const deliveries = this.#host.onMessages(messages)
    if (messages.length === 0) {
      this.#pollers.cameEmpty()
      if (now - poll.sentAt >= shortestWait) this.#backOff.reset()
      else if (!this.#polls.stopping) this.#backOff.afterEmpty(() => this.poke())
      return
    }
    this.#backOff.reset()
    this.#received = true
    this.#prefetched.push(deliveries)
    this.#pollers.came(messages.length, poll, now, this.maxInFlight, () => this.#demand.runsLow())
  }

  #failed(poll: Poll, cause: Cause.Cause<E>): void {
    const { now, onError, onStranded, queue } = this.#host
    const { stopping } = this.#polls
    if (cause._tag !== "Fail") {
      if (stopping) onStranded(poll.max)
      else this.#fail(cause)
      return
    }
    const { error } = cause
    const kind = queue.errorKind(error)
    // A fatal error ends the stream at once before the first message, later after the grace.
    const givesUp = kind === "fatal" && (this.#fatal.failed(now()) || !this.#received)
    onError(error, kind, !stopping && !givesUp)
    if (kind === "transient" && poll.attempt !== undefined) this.#lostAttempts.add(poll.attempt)
    if (stopping) return
    if (givesUp) {
      this.fail(error)
      return
    }
    this.#pollers.failed()
    this.#backOff.afterFailure(error, kind === "throttled", (over) => {
      if (this.#polls.stopping) return
      // The schedule is over: its user wants to know.
      if (over) this.fail(error)
      else this.poke()
    })
  }

  // -------------------------------------------------------------------------------------------------------------- end

  /** Ends the stream with an error. */
  fail(error: E | Q): void {
    this.#fail(Cause.fail(error))
  }

  #fail(cause: Cause.Cause<E | Q>): void {
    const first = this.#prefetched.failure === undefined
    this.#prefetched.fail(cause)
    if (first && !this.#polls.stopping) this.#host.onFailure(cause)
  }

  /**
   * Sends no more receives; awaits the open ones for `pollGrace`, then aborts them. What they bring is prefetched, for
   * the owner to release. May be called more than once.
   */
  readonly stop: Effect.Effect<void> = Effect.suspend(() => {
    if (!this.#polls.stopping) {
      this.#prefetched.close()
      this.#backOff.end()
      this.#allowance.forget()
      for (const unsubscribe of this.#unsubscribe) unsubscribe()
      this.#polls.beginStopping()
      this.#permits.changed()
    }
    return Effect.zipRight(
      this.#polls.end(this.#pollGrace),
      Effect.sync(() => this.#prefetched.end())
    )
  })
}
