/**
 * Receives messages, never more than there are permits for, and hands them over on demand.
 *
 * Invariant 1 (bound): `inFlight + reserved` never exceeds `maxInFlight` when a receive is sent, where `reserved` is
 * what the open receives asked for. A permit comes back only through `release`, which the owner of the deliveries
 * calls when the queue has confirmed their end or their lease is over.
 *
 * Invariant 2 (demand): `poll` is the only place that sends a receive, and it asks for no more than `free()`.
 */
import * as Cause from "effect/Cause"
import * as Chunk from "effect/Chunk"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as FiberId from "effect/FiberId"
import * as Option from "effect/Option"
import * as Random from "effect/Random"
import * as Schedule from "effect/Schedule"
import { within } from "./internal/effect/within.js"
import { Stopwatch } from "./internal/observe/observer.js"
import { TokenBucket, type Tokens } from "./internal/receive/tokens.js"
import type * as LeaseQueue from "./LeaseQueue.js"
import type { Quota } from "./Quota.js"
import type { Tunable } from "./Tunable.js"

export interface Options<out Q = never> {
  /** Messages in flight at once, at most: prefetched, waiting, running, and waiting for their settlement. */
  readonly maxInFlight: Tunable
  /** Messages received a second, at most, and how many at once after a pause. Default: no limit. */
  readonly rate?: { readonly perSecond: Tunable; readonly burst: number | undefined } | undefined
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
  readonly runFork: <B, E2>(effect: Effect.Effect<B, E2>) => Fiber.RuntimeFiber<B, E2>
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

export const defaultRetry = Schedule.exponential("200 millis").pipe(
  Schedule.union(Schedule.spaced("20 seconds")),
  Schedule.jittered
)

interface Poll {
  readonly max: number
  readonly sentAt: number
  attempt: Attempt | undefined
  fiber: Fiber.RuntimeFiber<unknown, unknown> | undefined
}

/** A receive on an ordered queue, by the name under which it can be repeated. */
interface Attempt {
  readonly id: string
  readonly max: number
  readonly since: number
}

/** SQS answers a repeated attempt id with the same messages for 5 minutes. */
const attemptLife = 5 * 60 * 1000

/** How fast an average of rates forgets, in milliseconds. */
const memory = 1000

/** A receive's round trip until one has been seen, and the longest that is believed, in milliseconds. */
const firstRoundTrip = 50
const longestRoundTrip = 1000

/** An empty answer that comes sooner did not wait: the next receive must, or the queue is polled in a hot loop. */
const shortestWait = 500

export class Intake<E, A, Q = never> {
  readonly #host: Host<E, A, Q>
  readonly #retry: Schedule.Schedule<unknown>
  readonly #wait: Duration.Duration
  readonly #pollGrace: Duration.Duration
  readonly #fatalGrace: number

  /** Permits. */
  readonly #maxInFlight: Tunable
  /** Of the rate, and of the quota. */
  readonly #tokens: ReadonlyArray<Tokens<Q>>
  #refill: Fiber.RuntimeFiber<void, Q> | undefined
  #unsubscribe: ReadonlyArray<() => void>
  inFlight = 0
  #reserved = 0

  readonly #open = new Set<Poll>()
  /** How many receives may be open at once just now. */
  #pollers = 1
  #prefetched: Array<A> = []
  /** A reader waits and there is nothing for it. */
  #isStarving = false
  readonly starved = new Stopwatch()
  /** While it is paused, and while it waits after a receive that was throttled, or failed otherwise. */
  readonly pausing = new Stopwatch()
  readonly throttled = new Stopwatch()
  readonly failing = new Stopwatch()

  get #starving(): boolean {
    return this.#isStarving
  }

  set #starving(starving: boolean) {
    this.#isStarving = starving
    this.starved.set(starving, this.#host.now())
  }

  /**
   * How many deliveries its reader has use for. One, unless a stage says more: what is handed over can not be given to
   * another consumer, and does not count as prefetched. With none it waits on, and nothing is received.
   */
  get wanted(): number {
    return this.#wanted
  }

  set wanted(wanted: number) {
    const again = this.#wanted === 0 && wanted > 0
    this.#wanted = wanted
    if (!again) return
    if (this.#hasNews()) this.#wake()
    this.poke()
  }

  #wanted = 1
  /** One, as a rule; a stream that is run twice has two. */
  readonly #wakeReaders = new Set<() => void>()

  /** Receives that brought all they asked for, and those that brought less though none had to be waited for. */
  fullReceives = 0
  shortReceives = 0
  /** When a receive last succeeded. */
  lastReceive: number | undefined = undefined
  /** Since when there has always been a receive open, or one to try again. */
  receivingSince: number | undefined = undefined
  #received = false
  #stopping = false
  #over = false
  #failure: Cause.Cause<E | Q> | undefined
  #backoff: Fiber.RuntimeFiber<unknown, unknown> | undefined
  /** How far the pauses after failures, and after empty answers that did not wait, have grown. */
  #drivers: { failed?: Schedule.ScheduleDriver<unknown>; empty?: Schedule.ScheduleDriver<unknown> } = {}
  #fatalSince: number | undefined
  #lostAttempts: Array<Attempt> = []
  #onIdle: Array<() => void> = []
  #onStopping: Array<() => void> = []

  /** What a receive takes that does not have to wait for messages, in milliseconds. */
  #roundTrip = firstRoundTrip
  /** Which part of what it asks for such a receive brings: SQS answers short under load. */
  #fill = 1
  /** Messages handed over each millisecond. */
  rate = 0
  #handedOver = 0
  #rateSince: number

  constructor(host: Host<E, A, Q>, options: Options<Q>) {
    this.#host = host
    this.#maxInFlight = options.maxInFlight
    const { quota, rate } = options
    this.#tokens = [
      ...(rate === undefined ? [] : [new TokenBucket(rate.burst, rate.perSecond.unsafeGet, host.now)]),
      ...(quota === undefined ? [] : [quota.tokens(host.now)])
    ]
    const retuned = () => {
      // What waits for tokens has reckoned with the old rate.
      this.#refill?.unsafeInterruptAsFork(FiberId.none)
      this.#refill = undefined
      this.poke()
    }
    const tuned = [options.maxInFlight, ...(options.rate === undefined ? [] : [options.rate.perSecond])]
    this.#unsubscribe = tuned.map((tunable) => tunable.unsafeSubscribe(retuned))
    this.#retry = options.retry ?? defaultRetry
    this.#wait = options.wait === undefined ? host.queue.limits.maxWait : Duration.decode(options.wait)
    this.#pollGrace = Duration.decode(options.pollGrace ?? "2 seconds")
    this.#fatalGrace = Duration.toMillis(options.fatalGrace ?? "2 minutes")
    this.#rateSince = host.now()
  }

  get prefetched(): number {
    return this.#prefetched.length
  }

  get wait(): Duration.Duration {
    return this.#wait
  }

  get maxInFlight(): number {
    return this.#maxInFlight.unsafeGet()
  }

  /** What a receive may ask for: permits, and tokens where the rate is limited. */
  #free(): number {
    const permits = this.maxInFlight - this.inFlight - this.#reserved
    return this.#tokens.reduce((least, tokens) => Math.min(least, tokens.available()), permits)
  }

  #paused = false

  get paused(): boolean {
    return this.#paused
  }

  /** Sends no receives until told to resume. Those that are open end as they would. */
  pause(): void {
    this.#paused = true
    this.pausing.set(true, this.#host.now())
  }

  resume(): void {
    this.#paused = false
    this.pausing.set(false, this.#host.now())
    this.poke()
  }

  /** Gives a permit back; `poke` once all that come back together have. */
  release(): void {
    this.inFlight--
  }

  /** The next deliveries, as soon as there are any. Ends when the intake has stopped; fails when it can not go on. */
  readonly pull: Effect.Effect<Chunk.Chunk<A>, Option.Option<E | Q>> = Effect.suspend(() => {
    const ready = this.#take()
    if (ready !== undefined) return ready
    this.#starving = true
    this.poke()
    return this.#take() ?? Effect.zipRight(this.#untilWoken, this.pull)
  })

  // Only a wake-up travels through the fiber; the deliveries are taken in the reader's own step, so that an
  // interruption cannot lose them in between.
  readonly #untilWoken = Effect.async<void>((resume) => {
    // The reader may have lost its turn after it looked: what came since has woken nobody.
    if (this.#hasNews()) return resume(Effect.void)
    const wake = () => resume(Effect.void)
    this.#wakeReaders.add(wake)
    return Effect.sync(() => {
      this.#wakeReaders.delete(wake)
      if (this.#wakeReaders.size === 0) this.#starving = false
    })
  })

  /** Whether `#take` has an answer. */
  #hasNews(): boolean {
    return (
      this.#failure !== undefined || this.#over || (!this.#stopping && this.#wanted > 0 && this.#prefetched.length > 0)
    )
  }

  #take(): Effect.Effect<Chunk.Chunk<A>, Option.Option<E | Q>> | undefined {
    if (!this.#hasNews()) return undefined
    if (this.#failure !== undefined) return Effect.failCause(Cause.map(this.#failure, Option.some))
    if (this.#over) return Effect.fail(Option.none())
    const most = Math.min(this.wanted, this.#host.queue.limits.batchSize)
    const taken = this.#prefetched.length <= most ? this.#prefetched : this.#prefetched.slice(0, most)
    this.#prefetched = taken === this.#prefetched ? [] : this.#prefetched.slice(most)
    this.#starving = false
    this.#handedOver += taken.length
    this.poke()
    return Effect.succeed(Chunk.unsafeFromArray(taken))
  }

  #wake(): void {
    const waiting = [...this.#wakeReaders]
    this.#wakeReaders.clear()
    for (const wake of waiting) wake()
  }

  /** Sends the receives that are worth sending now. */
  poke(): void {
    while (!this.#stopping && !this.#paused && this.#backoff === undefined && this.#failure === undefined) {
      if (this.#wanted === 0) return
      if (this.#open.size >= this.#pollers) return
      // Nothing is here or open and a reader waits, or what is here will not last until the next answer.
      const starving = this.#starving && this.#open.size === 0 && this.#prefetched.length === 0
      if (!starving && !this.#runsLow()) return
      const most = this.#tokens.reduce((least, { burst }) => Math.min(least, burst), this.maxInFlight)
      const full = Math.min(this.#host.queue.limits.batchSize, most)
      const free = this.#free()
      // Fewer than a full batch only where a slot would starve: every call is billed.
      if (free >= full) this.#poll(full)
      else if (free > 0 && starving) this.#poll(free)
      else {
        if (starving) this.#host.onStarved()
        this.#awaitTokens(starving ? 1 : full)
        return
      }
    }
  }

  /** Where permits are free and tokens are not: looks again when there are so many. */
  #awaitTokens(wanted: number): void {
    const short = this.#tokens.find((tokens) => tokens.available() < wanted)
    if (short === undefined || this.#refill !== undefined) return
    const fiber = this.#host.runFork(short.until(wanted))
    this.#refill = fiber
    fiber.addObserver((exit) => {
      if (this.#refill !== fiber) return
      this.#refill = undefined
      if (Exit.isFailure(exit)) this.#fail(exit.cause)
      else this.poke()
    })
  }

  /** Whether what is here and on its way lasts for less than about a receive's round trip. */
  #runsLow(): boolean {
    const now = this.#host.now()
    let asked = 0
    // A receive that takes longer waits for messages that are not there yet.
    for (const poll of this.#open) if (now - poll.sentAt <= this.#prompt()) asked += poll.max
    return this.#prefetched.length + asked * this.#fill < 2 * this.rate * this.#roundTrip
  }

  #prompt(): number {
    return 2 * this.#roundTrip + 1
  }

  #poll(max: number): void {
    const { now, queue, runFork } = this.#host
    const repeated = queue.limits.ordered ? this.#lostAttempt(max) : undefined
    const poll: Poll = { max: repeated?.max ?? max, sentAt: now(), attempt: repeated, fiber: undefined }
    this.#reserved += poll.max
    for (const tokens of this.#tokens) tokens.take(poll.max)
    this.#open.add(poll)
    this.receivingSince ??= poll.sentAt
    this.#host.onPoll()
    const receive = Effect.suspend(() =>
      Effect.tap(
        queue.receive({ max: poll.max, wait: this.#wait, attemptId: poll.attempt?.id, stop: this.#stopped }),
        (messages) => Effect.logDebug(`received ${messages.length} of at most ${poll.max} from ${queue.name}`)
      )
    )
    const fiber = runFork(
      queue.limits.ordered && repeated === undefined
        ? Effect.zipRight(
            Effect.map(Random.nextIntBetween(0, Number.MAX_SAFE_INTEGER), (n) => {
              poll.attempt = { id: `${poll.sentAt.toString(36)}-${n.toString(36)}`, max, since: poll.sentAt }
            }),
            receive
          )
        : receive
    )
    poll.fiber = fiber
    fiber.addObserver((exit) => this.#answered(poll, exit))
  }

  #lostAttempt(max: number): Attempt | undefined {
    const freshest = this.#host.now() - attemptLife
    this.#lostAttempts = this.#lostAttempts.filter((attempt) => attempt.since > freshest)
    const i = this.#lostAttempts.findIndex((attempt) => attempt.max <= max)
    return i < 0 ? undefined : this.#lostAttempts.splice(i, 1)[0]
  }

  #answered(poll: Poll, exit: Exit.Exit<ReadonlyArray<LeaseQueue.Message>, E>): void {
    this.#open.delete(poll)
    this.#reserved -= poll.max
    for (const tokens of this.#tokens) tokens.giveBack(poll.max - (Exit.isSuccess(exit) ? exit.value.length : 0))
    if (Exit.isSuccess(exit)) this.#succeeded(poll, exit.value)
    else this.#failed(poll, exit)
    if (this.#open.size === 0 && this.#backoff === undefined) this.receivingSince = undefined
    if (this.#stopping) {
      if (this.#open.size === 0) for (const f of this.#onIdle.splice(0)) f()
    } else {
      this.poke()
    }
  }

  #succeeded(poll: Poll, messages: ReadonlyArray<LeaseQueue.Message>): void {
    const now = this.#host.now()
    this.lastReceive = now
    this.#fatalSince = undefined
    this.inFlight += messages.length
    const deliveries = this.#host.onMessages(messages)
    if (messages.length === 0) {
      // Each empty answer halves the pollers: a quiet queue is left with one.
      this.#pollers = Math.max(1, this.#pollers >> 1)
      if (now - poll.sentAt < shortestWait) this.#backOff(undefined)
      else this.#drivers = {}
      return
    }
    this.#drivers = {}
    this.#received = true
    for (const delivery of deliveries) this.#prefetched.push(delivery)
    this.#learn(poll, messages.length, now)
    if (this.#starving) this.#wake()
  }

  #learn(poll: Poll, count: number, now: number): void {
    const took = now - poll.sentAt
    // A full batch never waited for messages; a short one did if it took longer than a round trip.
    const prompt = count === poll.max || took <= this.#prompt()
    if (took < this.#roundTrip) this.#roundTrip = took
    else if (prompt) this.#roundTrip += (Math.min(took, longestRoundTrip) - this.#roundTrip) / 5
    else this.#roundTrip = Math.min(this.#roundTrip * 1.05 + 0.1, longestRoundTrip)
    if (prompt) this.#fill += (count / poll.max - this.#fill) / 5
    if (count === poll.max) this.fullReceives++
    else if (prompt) this.shortReceives++
    const elapsed = now - this.#rateSince
    if (elapsed > 0) {
      const recent = this.#handedOver / elapsed
      this.rate += (recent - this.rate) * Math.min(1, elapsed / memory + 0.1)
      this.#rateSince = now
      this.#handedOver = 0
    }
    if (!prompt) this.#pollers = Math.max(1, this.#pollers - 1)
    else if (this.#runsLow()) this.#pollers = Math.min(this.#pollers * 2, this.maxInFlight)
  }

  #failed(poll: Poll, exit: Exit.Failure<unknown, E>): void {
    if (exit.cause._tag !== "Fail") {
      if (this.#stopping) this.#host.onStranded(poll.max)
      else this.#fail(exit.cause)
      return
    }
    const error = exit.cause.error
    const kind = this.#host.queue.errorKind(error)
    const givesUp = !this.#stopping && kind === "fatal" && this.#givesUp()
    this.#host.onError(error, kind, !this.#stopping && !givesUp)
    if (kind === "transient" && poll.attempt !== undefined) this.#lostAttempts.push(poll.attempt)
    if (this.#stopping) return
    if (givesUp) {
      this.fail(error)
    } else {
      this.#pollers = 1
      this.#backOff(error)
    }
  }

  /** A fatal error ends the stream at once before the first message, later after the grace. */
  #givesUp(): boolean {
    const now = this.#host.now()
    this.#fatalSince ??= now
    return !this.#received || now - this.#fatalSince >= this.#fatalGrace
  }

  /** What ended the stream. */
  get failure(): unknown {
    return this.#failure === undefined ? undefined : Cause.squash(this.#failure)
  }

  /** Ends the stream with an error. */
  fail(error: E | Q): void {
    this.#fail(Cause.fail(error))
  }

  #fail(cause: Cause.Cause<E | Q>): void {
    if (this.#failure === undefined) {
      this.#failure = cause
      if (!this.#stopping) this.#host.onFailure(cause)
    }
    this.#wake()
  }

  #backOff(error: E | undefined): void {
    if (this.#backoff !== undefined || this.#stopping) return
    const drivers = this.#drivers
    const fiber = this.#host.runFork(
      Effect.gen(this, function* () {
        const after = error === undefined ? "empty" : "failed"
        drivers[after] ??= yield* Schedule.driver(error === undefined ? defaultRetry : this.#retry)
        return yield* drivers[after].next(error)
      })
    )
    this.#backoff = fiber
    const stopwatch =
      error === undefined
        ? undefined
        : this.#host.queue.errorKind(error) === "throttled"
          ? this.throttled
          : this.failing
    stopwatch?.set(true, this.#host.now())
    fiber.addObserver((exit) => {
      this.#backoff = undefined
      stopwatch?.set(false, this.#host.now())
      if (this.#stopping) return
      // The schedule is over: its user wants to know.
      if (Exit.isFailure(exit) && error !== undefined) this.fail(error)
      else this.poke()
    })
  }

  readonly #stopped = Effect.async<void>((resume) => {
    if (this.#stopping) return resume(Effect.void)
    const f = () => resume(Effect.void)
    this.#onStopping.push(f)
    return Effect.sync(() => {
      this.#onStopping = this.#onStopping.filter((g) => g !== f)
    })
  })

  readonly #idle = Effect.async<void>((resume) => {
    if (this.#open.size === 0) resume(Effect.void)
    else this.#onIdle.push(() => resume(Effect.void))
  })

  /**
   * Sends no more receives; awaits the open ones for `pollGrace`, then aborts them. What they bring is prefetched, for
   * the owner to release. May be called more than once.
   */
  readonly stop: Effect.Effect<void> = Effect.suspend(() => {
    if (!this.#stopping) {
      this.#stopping = true
      this.#backoff?.unsafeInterruptAsFork(FiberId.none)
      this.#refill?.unsafeInterruptAsFork(FiberId.none)
      for (const unsubscribe of this.#unsubscribe) unsubscribe()
      for (const f of this.#onStopping.splice(0)) f()
    }
    // A finalizer, as a rule, where nothing can be interrupted: the wait must be.
    return within(this.#idle, this.#pollGrace).pipe(
      Effect.flatMap((idle) => {
        if (Option.isSome(idle)) return Effect.void
        for (const poll of this.#open) poll.fiber?.unsafeInterruptAsFork(FiberId.none)
        return this.#idle
      }),
      Effect.when(() => this.#open.size > 0),
      Effect.zipRight(
        Effect.sync(() => {
          this.#over = true
          this.#prefetched = []
          this.#wake()
        })
      )
    )
  })
}
