/**
 * Runs an Effect to its end in virtual time, at once: a Clock without timers that jumps to the next wake as soon as
 * nothing else can run, a Scheduler that picks what runs next by a seed, and a seeded Random. An hour of a busy
 * consumer takes well under a second, and a seed replays exactly; many seeds explore many interleavings.
 *
 * Everything inside must take its time from Effect's Clock and its randomness from Effect's Random. What waits for the
 * real world (a promise, `setTimeout`, I/O) cannot be simulated and is reported as a deadlock. `Math.random`, `Date.now`
 * and the iteration order of Effect's hashed collections with objects as keys are not under the seed.
 *
 * @example
 * it("loses nothing, whatever fails", () => {
 *   Simulation.check({ seeds: 300 }, Effect.gen(function*() {
 *     const queue = yield* MemoryQueue.make({ faults: () => ... })
 *     ...
 *   }))
 * })
 */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Data from "effect/Data"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as FiberId from "effect/FiberId"
import * as Logger from "effect/Logger"
import * as Option from "effect/Option"
import * as Random from "effect/Random"
import * as Scheduler from "effect/Scheduler"
import type * as Scope from "effect/Scope"
import * as Supervisor from "effect/Supervisor"
import * as InvalidOptions from "../InvalidOptions.js"
import { Heap } from "../internal/data/heap.js"
import { withPlaces } from "./internal/Place.js"

export interface Options {
  /**
   * `random` (the default): of all fibers that can run the seed picks the next, and now and then takes the turn from a
   * fiber before it waits. `fifo`: in the order in which they became able to run, as the live scheduler does.
   */
  readonly order?: "random" | "fifo" | undefined
  /** What the Clock shows at the start, in milliseconds since the epoch. Default: 0. */
  readonly startAt?: number | undefined
  /** Gives up after so many wakes (a wake: a fiber runs until it waits). Default: 1,000,000, some ten seconds. */
  readonly maxWakes?: number | undefined
  /** Gives up after so much virtual time. Default: never. */
  readonly maxElapsed?: Duration.DurationInput | undefined
  /**
   * What of fibers that still run when the program has succeeded, daemons for the most part: `interrupt` (the default)
   * ends them silently, `fail` reports them as `FibersLeft`.
   */
  readonly leaks?: "interrupt" | "fail" | undefined
}

const checks: InvalidOptions.Checks<Options> = {
  order: InvalidOptions.oneOf("random", "fifo"),
  startAt: InvalidOptions.aNumber({ min: 0 }),
  maxWakes: InvalidOptions.aNumber({ min: 1 }),
  maxElapsed: InvalidOptions.time(),
  leaks: InvalidOptions.oneOf("interrupt", "fail")
}

/** A fiber that was not done, and what is known of where it stood. */
export interface FiberReport {
  /** `the program`, or `fiber n`, numbered by their start in this run (not by Effect's ids, which no seed repeats). */
  readonly name: string
  /** Who forked it. */
  readonly parent: string | undefined
  /** The names of the spans that it is in, innermost first. */
  readonly spans: ReadonlyArray<string>
  /** What it waits for, as far as Effect says. */
  readonly waitsFor: string
  /** Lines of the user's code, innermost first, where the JavaScript engine can tell. */
  readonly places: ReadonlyArray<string>
}

interface ErrorFields {
  readonly seed: number
  /** Virtual time from the start. */
  readonly elapsed: Duration.Duration
  readonly wakes: number
  /** The fibers that were not done, the first 30 by their start. */
  readonly fibers: ReadonlyArray<FiberReport>
  readonly message: string
}

/** Nothing is left that could wake any fiber, and the program is not done. */
export class Deadlock extends Data.TaggedError("SimulationDeadlock")<ErrorFields> {}

/** `maxWakes` or `maxElapsed` was reached. */
export class LimitReached extends Data.TaggedError("SimulationLimitReached")<ErrorFields> {}

/** The program has succeeded and left fibers running. */
export class FibersLeft extends Data.TaggedError("SimulationFibersLeft")<ErrorFields> {}

export type SimulationError = Deadlock | LimitReached | FibersLeft

export interface Result<A, E> {
  readonly exit: Exit.Exit<A, E | SimulationError>
  /** Virtual time from the start to the program's end. */
  readonly elapsed: Duration.Duration
  readonly wakes: number
}

type AnyFiber = Fiber.RuntimeFiber<unknown, unknown>

interface Timer {
  readonly at: number
  readonly order: number
  readonly fiber: AnyFiber
  readonly wake: () => void
  slot: number
}

class SimulatedClock implements Clock.Clock {
  readonly [Clock.ClockTypeId]: Clock.ClockTypeId = Clock.ClockTypeId
  /** Milliseconds since the start: what sleeps go by. */
  elapsed = 0
  readonly timers = new Heap<Timer>(
    (a, b) => a.at < b.at || (a.at === b.at && a.order < b.order),
    (timer, index) => {
      timer.slot = index
    }
  )
  readonly #startAt: number
  #jumped = 0
  #count = 0

  constructor(startAt: number) {
    this.#startAt = startAt
  }

  unsafeCurrentTimeMillis(): number {
    return this.#startAt + this.elapsed + this.#jumped
  }

  /** As the live clock has it: monotonic, and unaware of jumps. */
  unsafeCurrentTimeNanos(): bigint {
    return BigInt(this.#startAt + this.elapsed) * 1_000_000n
  }

  readonly currentTimeMillis = Effect.sync(() => this.unsafeCurrentTimeMillis())
  readonly currentTimeNanos = Effect.sync(() => this.unsafeCurrentTimeNanos())

  sleep(duration: Duration.Duration): Effect.Effect<void> {
    // Real timers take whole milliseconds; so the clock never shows a fraction.
    const millis = Math.ceil(Duration.toMillis(duration))
    return Effect.withFiberRuntime((fiber) =>
      Effect.async<void>((resume) => {
        if (millis === Number.POSITIVE_INFINITY) return
        const timer: Timer = {
          at: this.elapsed + millis,
          order: this.#count++,
          fiber,
          wake: () => resume(Effect.void),
          slot: -1
        }
        this.timers.push(timer)
        return Effect.sync(() => {
          // It may have rung already, when its fiber is interrupted before it has its turn.
          if (timer.slot >= 0) this.timers.removeAt(timer.slot)
        })
      })
    )
  }

  /** Goes to the next wake and wakes all that are due; false where there is none. */
  advance(): boolean {
    const next = this.timers.peek
    if (next === undefined) return false
    this.elapsed = next.at
    for (let timer = this.timers.peek; timer?.at === next.at; timer = this.timers.peek) {
      this.timers.removeAt(0)
      timer.wake()
    }
    return true
  }

  jump(millis: number): void {
    this.#jumped += millis
  }
}

/** Mulberry32: what the scheduler decides must not use up the program's own random numbers. */
const randomInt = (seed: number): ((below: number) => number) => {
  let state = Math.imul(seed ^ 0x5bd1e995, 0x9e3779b1)
  return (below) => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296) * below)
  }
}

/** What can run now. Priorities are passed over: they are hints, and a simulation explores. */
interface Runnable extends Scheduler.Scheduler {
  /** Runs one task; false where there is none. */
  readonly step: () => boolean
}

const fifo = (): Runnable => {
  const tasks: Array<Scheduler.Task> = []
  let head = 0
  return {
    shouldYield: Scheduler.defaultShouldYield,
    scheduleTask: (task) => {
      tasks.push(task)
    },
    step: () => {
      const task = tasks[head++]
      if (head >= 1024) {
        tasks.splice(0, head)
        head = 0
      }
      if (task === undefined) {
        tasks.length = 0
        head = 0
        return false
      }
      task()
      return true
    }
  }
}

const shuffled = (seed: number): Runnable => {
  const below = randomInt(seed)
  const tasks: Array<Scheduler.Task> = []
  // Effect may take the turn from a fiber after any 2,048 operations, so code must stand it anywhere. Seeds differ in
  // how often it happens, from never, and how early.
  const odds = below(3)
  const most = 2 ** (4 + below(7))
  let operations = Number.POSITIVE_INFINITY
  return {
    shouldYield: (fiber) => (fiber.currentOpCount > operations ? 0 : Scheduler.defaultShouldYield(fiber)),
    scheduleTask: (task) => {
      tasks.push(task)
    },
    step: () => {
      const index = tasks.length > 1 ? below(tasks.length) : 0
      const task = tasks[index]
      const last = tasks.pop()
      if (task === undefined || last === undefined) return false
      if (index < tasks.length) tasks[index] = last
      operations = below(8) < odds ? 1 + below(most) : Number.POSITIVE_INFINITY
      task()
      return true
    }
  }
}

/** Knows the fibers that are not done, numbered by their start. */
class Fibers extends Supervisor.AbstractSupervisor<void> {
  readonly value = Effect.void
  readonly alive = new Map<AnyFiber, { readonly number: number; readonly parent: number | undefined }>()
  #count = 0

  add(fiber: AnyFiber, parent?: AnyFiber | undefined): void {
    this.alive.set(fiber, { number: this.#count++, parent: parent && this.alive.get(parent)?.number })
  }

  override onStart<A, E, R>(
    _context: unknown,
    _effect: Effect.Effect<A, E, R>,
    parent: Option.Option<AnyFiber>,
    fiber: Fiber.RuntimeFiber<A, E>
  ): void {
    this.add(fiber, Option.getOrUndefined(parent))
  }

  override onEnd<A, E>(_exit: Exit.Exit<A, E>, fiber: Fiber.RuntimeFiber<A, E>): void {
    this.alive.delete(fiber)
  }

  report(timers: ReadonlyArray<Timer>): ReadonlyArray<FiberReport> {
    const byId = new Map([...this.alive].map(([fiber, { number }]) => [fiber.id().id, nameOf(number)]))
    return withPlaces((placesOf) =>
      [...this.alive].slice(0, 30).map(([fiber, { number, parent }]) => ({
        name: nameOf(number),
        parent: parent === undefined ? undefined : nameOf(parent),
        spans: spansOf(fiber),
        waitsFor: waitsFor(fiber, byId, timers),
        places: placesOf(fiber)
      }))
    )
  }
}

const nameOf = (number: number): string => (number === 0 ? "the program" : `fiber ${number}`)

const spansOf = (fiber: AnyFiber): ReadonlyArray<string> => {
  const names: Array<string> = []
  let span = fiber.currentSpan
  while (span?._tag === "Span") {
    names.push(span.name)
    span = Option.getOrUndefined(span.parent)
  }
  return names
}

const waitsFor = (fiber: AnyFiber, byId: ReadonlyMap<number, string>, timers: ReadonlyArray<Timer>): string => {
  const timer = timers.find((timer) => timer.fiber === fiber)
  if (timer !== undefined) return `sleeps until ${timer.at} ms`
  const on: unknown = Reflect.get(fiber, "_asyncBlockingOn")
  if (!FiberId.isFiberId(on)) return "is about to run"
  const names = [...FiberId.ids(on)].map((id) => (id === fiber.id().id ? "itself" : (byId.get(id) ?? "an ended fiber")))
  if (names.length === 0) return "waits for a callback (a latch, a semaphore, a mailbox, Effect.async, a promise)"
  if (names[0] === "itself") return "waits for a Deferred of its own (as when it takes from an empty queue)"
  return `waits for ${names.join(" and ")}: for its end, or for a Deferred that it made`
}

const describe = (fibers: ReadonlyArray<FiberReport>, all: number): string =>
  [
    ...fibers.map(({ name, parent, places, spans, waitsFor }) =>
      [
        `  ${name}${parent === undefined ? "" : ` (of ${parent})`} ${waitsFor}`,
        ...(spans.length > 0 ? [`    in the span ${spans.join(" < ")}`] : []),
        ...places.map((place) => `    at ${place}`)
      ].join("\n")
    ),
    ...(all > fibers.length ? [`  and ${all - fibers.length} more`] : [])
  ].join("\n")

const reality =
  "A simulation has no real timers and awaits nothing real: a promise, setTimeout, I/O, or a fiber started outside of " +
  "the program (Effect.runFork) never comes back."

/**
 * Runs the program to its end, synchronously, and closes its Scope. The same seed, program and options give the same
 * run, wake for wake. It fails with a `SimulationError`, beside the program's own errors, where the program cannot end
 * (`Deadlock`), does not end within the limits (`LimitReached`), or leaves fibers behind (`FibersLeft`, where asked).
 */
export const run = <A, E>(
  seed: number,
  program: Effect.Effect<A, E, Scope.Scope>,
  options: Options = {}
): Result<A, E> => {
  InvalidOptions.checkOrThrow("Simulation.run", options, checks)
  const maxWakes = options.maxWakes ?? 1_000_000
  const maxElapsed = Duration.toMillis(options.maxElapsed ?? Duration.infinity)
  const clock = new SimulatedClock(options.startAt ?? 0)
  const runnable = options.order === "fifo" ? fifo() : shuffled(seed)
  const fibers = new Fibers()
  let wakes = 0
  let wakesBefore = 0

  const root = Effect.runFork(
    program.pipe(
      Effect.scoped,
      Effect.withClock(clock),
      Effect.withRandom(Random.make(seed)),
      Effect.supervised(fibers)
    ),
    { scheduler: runnable, immediate: false }
  )
  fibers.add(root)
  root.addObserver(() => fibers.alive.delete(root))

  const report = (says: string) => {
    const reports = fibers.report(clock.timers.items)
    return {
      seed,
      elapsed: Duration.millis(clock.elapsed),
      wakes,
      fibers: reports,
      message: `${says} (seed ${seed}, ${clock.elapsed} ms of virtual time, ${wakes} wakes)\n${describe(reports, fibers.alive.size)}`
    }
  }

  const toTheEnd = (): Exit.Exit<A, E | SimulationError> => {
    for (;;) {
      if (wakes >= maxWakes) {
        const still = wakes - wakesBefore
        const says = `${maxWakes} wakes were not enough, ${still} of them without time moving on`
        return Exit.fail(new LimitReached(report(says)))
      }
      if (runnable.step()) {
        wakes += 1
        const exit = root.unsafePoll()
        if (exit !== null) return exit
      } else if ((clock.timers.peek?.at ?? 0) > maxElapsed) {
        return Exit.fail(new LimitReached(report("The program was not done in maxElapsed")))
      } else {
        wakesBefore = wakes
        if (!clock.advance()) {
          const { message, ...rest } = report("Deadlock: nothing is left to wake, and the program is not done")
          return Exit.fail(new Deadlock({ ...rest, message: `${message}\n${reality}` }))
        }
      }
    }
  }

  /** What remains is interrupted, so that its finalizers let go of real resources too; within reason. */
  const cleanUp = () => {
    for (const fiber of fibers.alive.keys()) fiber.unsafeInterruptAsFork(FiberId.none)
    for (let i = 0; i < 100_000 && fibers.alive.size > 0; i++) {
      if (!runnable.step() && !clock.advance()) break
    }
  }

  let exit = toTheEnd()
  const elapsed = Duration.millis(clock.elapsed)
  if (options.leaks === "fail" && Exit.isSuccess(exit)) {
    // What the program has just ended may take a few more turns, but no time.
    for (let i = 0; i < maxWakes && fibers.alive.size > 0 && runnable.step(); i++);
    if (fibers.alive.size > 0) exit = Exit.fail(new FibersLeft(report("The program has left fibers running")))
  }
  cleanUp()
  return { exit, elapsed, wakes }
}

export interface CheckOptions extends Options {
  /** How many seeds to run. Default: 100. */
  readonly seeds?: number | undefined
  /** The first seed. Default: 0. */
  readonly from?: number | undefined
}

const checkChecks: InvalidOptions.Checks<CheckOptions> = {
  ...checks,
  seeds: InvalidOptions.aWholeNumber({ min: 1 }),
  from: InvalidOptions.aWholeNumber({ min: 0 })
}

/** What `check` throws: the first seed that failed, and why. */
export class CheckFailed extends Data.TaggedError("SimulationCheckFailed")<{
  readonly seed: number
  /** The program's own error, defect or `SimulationError`. */
  readonly cause: unknown
  readonly message: string
}> {}

/**
 * Runs the program once a seed, and throws `CheckFailed` at the first that does not succeed: for a test's body. A
 * function is given the seed. What the default logger would print is kept back; the failed seed's last lines stand in
 * the error.
 */
export const check = <E>(options: CheckOptions, program: Program<E>): void => {
  InvalidOptions.checkOrThrow("Simulation.check", options, checkChecks)
  for (const seed of seedsOf(options)) checkSeed(seed, options, program)
}

/**
 * The same, a seed at a time: between two the event loop has its turn. For many seeds, or long ones: a test runner whose
 * worker says nothing for a minute (vitest) takes it for dead. Rejects where `check` throws.
 */
export const checkInTurns = async <E>(options: CheckOptions, program: Program<E>): Promise<void> => {
  InvalidOptions.checkOrThrow("Simulation.checkInTurns", options, checkChecks)
  for (const seed of seedsOf(options)) {
    checkSeed(seed, options, program)
    await Effect.runPromise(Effect.sleep(0))
  }
}

type Program<E> = Effect.Effect<unknown, E, Scope.Scope> | ((seed: number) => Effect.Effect<unknown, E, Scope.Scope>)

const seedsOf = ({ from = 0, seeds = 100 }: CheckOptions) => Array.from({ length: seeds }, (_, i) => from + i)

const checkSeed = <E>(seed: number, options: CheckOptions, program: Program<E>): void => {
  const lines: Array<string> = []
  const keep = Logger.map(Logger.stringLogger, (line) => {
    if (lines.push(line) > 50) lines.shift()
  })
  const { elapsed, exit, wakes } = Effect.suspend(() => (Effect.isEffect(program) ? program : program(seed))).pipe(
    Effect.provide(Logger.replace(Logger.defaultLogger, keep)),
    (effect) => run(seed, effect, InvalidOptions.only<Options>(checks, options))
  )
  if (Exit.isSuccess(exit)) return
  throw new CheckFailed({
    seed,
    cause: Cause.squash(exit.cause),
    message: [
      `Seed ${seed} fails after ${Duration.toMillis(elapsed)} ms of virtual time and ${wakes} wakes. ` +
        `It alone: { seeds: 1, from: ${seed} }`,
      Cause.pretty(exit.cause),
      ...(lines.length > 0 ? ["Its last log lines:", ...lines] : [])
    ].join("\n")
  })
}

/**
 * Moves the Clock forward, and no timer with it: as after the machine has slept. Who looks at the Clock sees that time
 * has passed; who sleeps sleeps on. Dies outside of a simulation.
 */
export const jump = (duration: Duration.DurationInput): Effect.Effect<void> =>
  Effect.clockWith((clock) =>
    clock instanceof SimulatedClock
      ? Effect.sync(() => clock.jump(Math.ceil(Duration.toMillis(duration))))
      : Effect.dieMessage("Simulation.jump: the program does not run in a simulation")
  )
