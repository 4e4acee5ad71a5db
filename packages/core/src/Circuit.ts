/**
 * Stops work while what it depends on is down, instead of spending messages' attempts on it: it opens when too large a
 * share of the runs fails, lets a few probes through after a while, and closes when they succeed. Can be opened and
 * closed by hand too.
 */
import * as Cause from "effect/Cause"
import type * as Clock from "effect/Clock"
import * as Data from "effect/Data"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as InvalidOptions from "./InvalidOptions.js"
import { Delays } from "./internal/effect/delays.js"
import { type Fork, fork, interrupt } from "./internal/effect/fork.js"

/**
 * - `Closed`: everything runs.
 * - `Open`: nothing starts. `until`: when it probes, in milliseconds since the epoch; none where it was opened by hand.
 * - `HalfOpen`: a few probes run, and decide.
 */
export type State =
  | { readonly _tag: "Closed" }
  | { readonly _tag: "Open"; readonly until: number | undefined }
  | { readonly _tag: "HalfOpen" }

/** The tags that failures of this type can have; any, where the type is not known. */
export type TagOf<F> = unknown extends F ? string : F extends { readonly _tag: infer Tag extends string } ? Tag : never

export interface Options<F> {
  /** Names it in logs and errors. Default `circuit`. */
  readonly name?: string | undefined
  /**
   * Which failures speak of the downstream: error tags, or a predicate. `HandlerTimeout` and `HandlerDefect` are tags
   * like others. Any other failure counts as a run that went well, for something has answered.
   */
  readonly trips: ReadonlyArray<TagOf<F>> | ((failure: F) => boolean)
  /** When it opens: of at least `minimum` runs in `window`, a share of `rate` or more has tripped. */
  readonly threshold?:
    | {
        /** More than 0, up to 1. Default 0.5. */
        readonly rate?: number | undefined
        /** Default 10. */
        readonly minimum?: number | undefined
        /** From 1 second. Default 30 seconds. */
        readonly window?: Duration.DurationInput | undefined
      }
    | undefined
  /**
   * How long it stays open before it probes. A Schedule is stepped each time that the probes have failed, and begins
   * anew when the circuit has closed; where it ends, its last delay stays. Default: 1, 2, 4 … seconds, at most 1 minute,
   * jittered.
   */
  readonly probeAfter?: Duration.DurationInput | Schedule.Schedule<unknown> | undefined
  /** How many runs may try while it is half open, and must succeed to close it. One failure opens it. Default 1. */
  readonly probes?: number | undefined
}

/** Nothing was tried: the circuit is open. */
export class CircuitOpen extends /* @__PURE__ */ Data.TaggedError("CircuitOpen")<{
  readonly circuit: string
  /** When it probes, in milliseconds since the epoch; none where it was opened by hand. */
  readonly until: number | undefined
  readonly message: string
}> {}

/**
 * @typeParam F - the failures that it can judge.
 */
export interface Circuit<in F = unknown> {
  readonly name: string
  readonly state: Effect.Effect<State>
  /** The present state, and each that follows. */
  readonly changes: Stream.Stream<State>
  /** Opens it by hand: nothing starts, and nothing probes, until `close`. */
  readonly open: Effect.Effect<void>
  /** Closes it, whatever opened it, and forgets what it has counted. */
  readonly close: Effect.Effect<void>
  /** Runs an effect and counts how it ended; fails with `CircuitOpen`, at once, where it may not start. */
  readonly run: <A, E extends F, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E | CircuitOpen, R>
}

/** @internal How a run went: `nothing` is what an interrupted one says. */
export type Verdict = "well" | "tripped" | "nothing"

const closed: State = { _tag: "Closed" }
const halfOpen: State = { _tag: "HalfOpen" }
const openByHand: State = { _tag: "Open", until: undefined }

const buckets = 10

/** Runs and failures of the last while, in ten buckets. */
class Window {
  readonly #span: number
  readonly #epochs: Array<number> = new Array(buckets).fill(-Infinity)
  readonly #runs: Array<number> = new Array(buckets).fill(0)
  readonly #tripped: Array<number> = new Array(buckets).fill(0)

  constructor(millis: number) {
    this.#span = millis / buckets
  }

  add(now: number, tripped: boolean): void {
    const epoch = Math.floor(now / this.#span)
    const i = epoch % buckets
    if (this.#epochs[i] !== epoch) {
      this.#epochs[i] = epoch
      this.#runs[i] = 0
      this.#tripped[i] = 0
    }
    this.#runs[i] = (this.#runs[i] ?? 0) + 1
    if (tripped) this.#tripped[i] = (this.#tripped[i] ?? 0) + 1
  }

  sum(now: number): { readonly runs: number; readonly tripped: number } {
    const oldest = Math.floor(now / this.#span) - buckets
    let runs = 0
    let tripped = 0
    for (let i = 0; i < buckets; i++) {
      if ((this.#epochs[i] ?? oldest) <= oldest) continue
      runs += this.#runs[i] ?? 0
      tripped += this.#tripped[i] ?? 0
    }
    return { runs, tripped }
  }

  clear(): void {
    this.#epochs.fill(-Infinity)
  }
}

interface Checked<in F> {
  readonly name: string
  readonly trips: (failure: F) => boolean
  readonly rate: number
  readonly minimum: number
  readonly window: Duration.Duration
  readonly probeAfter: Schedule.Schedule<unknown>
  readonly probes: number
}

/** @internal */
export class Engine<in F> implements Circuit<F> {
  readonly name: string
  readonly #options: Checked<F>
  readonly #clock: Clock.Clock
  readonly #runFork: Fork
  readonly #window: Window
  readonly #listeners = new Set<() => void>()
  #state: State = closed
  /** A run counts only in the state in which it began. */
  #ticket = 0
  #probing = 0
  #succeeded = 0
  #timer: Fiber.RuntimeFiber<void> | undefined
  readonly #delays: Delays<unknown>
  #delay = 0

  constructor(options: Checked<F>, clock: Clock.Clock, runFork: Fork) {
    this.name = options.name
    this.#options = options
    this.#clock = clock
    this.#runFork = runFork
    this.#window = new Window(Duration.toMillis(options.window))
    this.#delays = new Delays(options.probeAfter)
  }

  readonly state = Effect.sync(() => this.#state)

  readonly open = Effect.sync(() => {
    if (this.#state === openByHand) return
    this.#become(openByHand)
    this.#notify()
  })

  readonly close = Effect.sync(() => this.#close())

  readonly changes: Stream.Stream<State> = Stream.asyncPush<State>(
    (emit) =>
      Effect.acquireRelease(
        Effect.sync(() => {
          let last = this.#state
          emit.single(last)
          return this.onChange(() => {
            if (last === this.#state) return
            last = this.#state
            emit.single(last)
          })
        }),
        (cancel) => Effect.sync(cancel)
      ),
    { bufferSize: "unbounded" }
  )

  run<A, E extends F, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E | CircuitOpen, R> {
    return Effect.uninterruptibleMask((restore) =>
      Effect.suspend((): Effect.Effect<A, E | CircuitOpen, R> => {
        const ticket = this.enter()
        if (ticket === undefined) return Effect.fail(this.#refusal())
        return Effect.onExit(restore(effect), (exit) => Effect.sync(() => this.exit(ticket, this.#verdict(exit))))
      })
    )
  }

  #verdict<A, E extends F>(exit: Exit.Exit<A, E>): Verdict {
    if (Exit.isSuccess(exit)) return "well"
    const failure = Cause.failureOption(exit.cause)
    return Option.isNone(failure) ? "nothing" : this.trips(failure.value) ? "tripped" : "well"
  }

  #refusal(): CircuitOpen {
    const until = this.#state._tag === "Open" ? this.#state.until : undefined
    const wait = until === undefined ? "" : ` for another ${Duration.format(Duration.millis(until - this.#now()))}`
    return new CircuitOpen({ circuit: this.name, until, message: `${this.name} is open${wait}: nothing was tried` })
  }

  /** Whether everything may start, only so many as a probe, or nothing. */
  get flow(): "all" | "probes" | "none" {
    return this.#state._tag === "Closed" ? "all" : this.#state._tag === "HalfOpen" ? "probes" : "none"
  }

  /** Whether one more may start now. */
  get admits(): boolean {
    return (
      this.#state._tag === "Closed" ||
      (this.#state._tag === "HalfOpen" && this.#probing + this.#succeeded < this.#options.probes)
    )
  }

  /** Calls back whenever `flow` or `admits` may have changed, until it is cancelled. */
  onChange(listener: () => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /** How long until it probes, in milliseconds; undefined where that is not known. */
  get remaining(): number | undefined {
    if (this.#state._tag !== "Open") return 0
    const { until } = this.#state
    // The timer goes on where the wall clock is stepped back, and `until` would be far off.
    return until === undefined ? undefined : Math.min(this.#delay, Math.max(0, until - this.#now()))
  }

  /** Whether the failure speaks of the downstream. A predicate that throws says no. */
  trips(failure: F): boolean {
    try {
      return this.#options.trips(failure)
    } catch {
      return false
    }
  }

  /** Begins a run; undefined where it may not start. What is given back goes to `exit`. */
  enter(): number | undefined {
    if (!this.admits) return undefined
    if (this.#state._tag === "HalfOpen") this.#probing++
    return this.#ticket
  }

  exit(ticket: number | undefined, verdict: Verdict): void {
    if (ticket !== this.#ticket) return
    if (this.#state._tag === "Closed") {
      if (verdict === "nothing") return
      const now = this.#now()
      this.#window.add(now, verdict === "tripped")
      if (verdict === "tripped") this.#judge(now)
    } else if (this.#state._tag === "HalfOpen") {
      this.#probing--
      if (verdict === "tripped") this.#open("the probe failed")
      else if (verdict === "nothing") this.#notify()
      else if (++this.#succeeded >= this.#options.probes) this.#close()
    }
  }

  /** Ends its timer, and stands in nobody's way any more. */
  retire(): void {
    this.#become(closed)
    this.#notify()
  }

  #judge(now: number): void {
    const { minimum, rate, window } = this.#options
    const { runs, tripped } = this.#window.sum(now)
    if (runs < minimum || tripped < rate * runs) return
    this.#open(`${tripped} of ${runs} runs in the last ${Duration.format(window)} failed`)
  }

  #open(why: string): void {
    const ticket = this.#become({ _tag: "Open", until: undefined })
    this.#timer = this.#runFork(
      Effect.gen(this, function* () {
        yield* Effect.exit(this.#nextDelay)
        this.#state = { _tag: "Open", until: this.#now() + this.#delay }
        this.#notify()
        yield* Effect.logWarning(
          `${this.name} is open: ${why}; probing in ${Duration.format(Duration.millis(this.#delay))}`
        )
        yield* Effect.sleep(this.#delay)
        if (ticket !== this.#ticket) return
        // Done with: what follows must not interrupt it.
        this.#timer = undefined
        this.#become(halfOpen)
        this.#notify()
      })
    )
  }

  #close(): void {
    if (this.#state === closed) return
    this.#become(closed)
    this.#window.clear()
    this.#delays.reset()
    this.#notify()
    this.#runFork(Effect.logInfo(`${this.name} is closed again`))
  }

  #become(state: State): number {
    interrupt(this.#timer)
    this.#timer = undefined
    this.#state = state
    this.#probing = 0
    this.#succeeded = 0
    return ++this.#ticket
  }

  /** A schedule that is over goes on at its last pace. */
  readonly #nextDelay = Effect.suspend(() =>
    Effect.map(this.#delays.next(this.#now(), undefined), (delay) => {
      if (delay !== undefined) this.#delay = delay
    })
  )

  #notify(): void {
    for (const listener of [...this.#listeners]) listener()
  }

  #now(): number {
    return this.#clock.unsafeCurrentTimeMillis()
  }
}

/** @internal What may stand where a circuit belongs. */
export const check: InvalidOptions.Check = InvalidOptions.having("a circuit of Circuit.make", "enter", "exit", "trips")

// By what it can do, not by its class: a program that makes no circuit need not load one.
const isEngine = <F>(circuit: Circuit<F>): circuit is Engine<F> => check.fits(circuit)

/** @internal */
export const engine = <F>(circuit: Circuit<F>): Engine<F> => {
  if (isEngine(circuit)) return circuit
  throw new Error("a circuit for a pipeline comes from Circuit.make")
}

const patient = () =>
  Schedule.exponential("1 second").pipe(Schedule.union(Schedule.spaced("1 minute")), Schedule.jittered)

const checks = (): InvalidOptions.Checks<Options<never>> => ({
  name: InvalidOptions.text,
  trips: InvalidOptions.required(InvalidOptions.either(InvalidOptions.list(InvalidOptions.text), InvalidOptions.func)),
  threshold: InvalidOptions.fields<NonNullable<Options<never>["threshold"]>>({
    rate: {
      write: "a share of more than 0 and at most 1, such as 0.5",
      fits: (value) => typeof value === "number" && value > 0 && value <= 1
    },
    minimum: InvalidOptions.aWholeNumber({ min: 1 }),
    window: InvalidOptions.time({ min: "1 second", max: "1 day" })
  }),
  probeAfter: InvalidOptions.either(InvalidOptions.schedule, InvalidOptions.time({ max: "12 hours" })),
  probes: InvalidOptions.aWholeNumber({ min: 1 })
})

const checkAll = <F>(options: Options<F>) =>
  Effect.map(InvalidOptions.check("a circuit", options, checks()), (): Checked<F> => {
    const { probeAfter = patient(), threshold = {}, trips } = options
    return {
      name: options.name ?? "circuit",
      trips: typeof trips === "function" ? trips : hasTag(new Set<unknown>(trips)),
      rate: threshold.rate ?? 0.5,
      minimum: threshold.minimum ?? 10,
      window: Duration.decode(threshold.window ?? "30 seconds"),
      probeAfter: Schedule.isSchedule(probeAfter) ? probeAfter : Schedule.spaced(probeAfter),
      probes: options.probes ?? 1
    }
  })

const hasTag =
  (tags: ReadonlySet<unknown>) =>
  (failure: unknown): boolean =>
    typeof failure === "object" && failure !== null && "_tag" in failure && tags.has(failure._tag)

/**
 * A circuit, closed. Its timer ends with the scope, and from then on it lets everything through. Share one among all
 * that depend on the same downstream.
 *
 * Fails with `InvalidOptions` where an option cannot work.
 *
 * @example
 * const payments = yield* Circuit.make({ name: "payments", trips: ["HttpError", "HandlerTimeout"] })
 * orders.pipe(Pipeline.process(charge, { circuit: payments }), Stream.runDrain)
 */
export const make = <F = unknown>(
  options: Options<F>
): Effect.Effect<Circuit<F>, InvalidOptions.InvalidOptions, Scope.Scope> =>
  Effect.gen(function* () {
    const checked = yield* checkAll(options)
    const clock = yield* Effect.clock
    const runFork = yield* fork()
    return yield* Effect.acquireRelease(
      Effect.sync(() => new Engine(checked, clock, runFork)),
      (circuit) => Effect.sync(() => circuit.retire())
    )
  })
