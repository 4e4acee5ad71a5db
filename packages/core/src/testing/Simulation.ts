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
import * as Data from "effect/Data"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Logger from "effect/Logger"
import * as Random from "effect/Random"
import type * as Scope from "effect/Scope"
import * as InvalidOptions from "../InvalidOptions.js"
import { interrupt } from "../internal/effect/fork.js"
import {
  begin,
  describe,
  endOf,
  type FiberReport,
  Fibers,
  fifo,
  SimulatedClock,
  shuffled
} from "../internal/effect/simulated.js"

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

export type { FiberReport } from "../internal/effect/simulated.js"

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

  const root = begin(Effect.scoped(program), { clock, random: Random.make(seed), runnable, fibers })

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
        const exit = endOf(root)
        if (exit !== undefined) return exit
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
    for (const fiber of fibers.alive.keys()) interrupt(fiber)
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
