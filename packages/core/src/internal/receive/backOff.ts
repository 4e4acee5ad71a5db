/** The pause after a receive that failed, or came back empty without having waited: each kind by its own schedule. */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as Schedule from "effect/Schedule"
import { type Fork, interrupt } from "../effect/fork.js"
import { type Steps, steps } from "../effect/steps.js"
import { Stopwatch } from "../observe/observer.js"

export const defaultRetry = Schedule.exponential("200 millis").pipe(
  Schedule.union(Schedule.spaced("20 seconds")),
  Schedule.jittered
)

export class BackOff {
  readonly #fork: Fork
  readonly #now: () => number
  readonly #retry: Schedule.Schedule<unknown>
  /** How far the pauses have grown. */
  #steps: { failed?: Steps<unknown>; empty?: Steps<unknown> } = {}
  #pause: Fiber.RuntimeFiber<boolean> | undefined
  /** While it waits after a receive that was throttled, or failed otherwise. */
  readonly throttled = new Stopwatch()
  readonly failing = new Stopwatch()

  constructor(fork: Fork, now: () => number, retry: Schedule.Schedule<unknown>) {
    this.#fork = fork
    this.#now = now
    this.#retry = retry
  }

  /** It waits. */
  get isOn(): boolean {
    return this.#pause !== undefined
  }

  /** One has succeeded, and had waited or brought something: the pauses begin anew. */
  reset(): void {
    this.#steps = {}
  }

  afterEmpty(then: () => void): void {
    this.#wait("empty", undefined, undefined, then)
  }

  /** Calls back when it may be tried again, with whether the schedule is over. */
  afterFailure(error: unknown, throttled: boolean, then: (over: boolean) => void): void {
    this.#wait("failed", error, throttled ? this.throttled : this.failing, then)
  }

  #wait(after: "failed" | "empty", error: unknown, stopwatch: Stopwatch | undefined, then: (over: boolean) => void) {
    if (this.#pause !== undefined) return
    const kept = this.#steps
    const pause = this.#fork(
      Effect.gen(this, function* () {
        kept[after] ??= yield* steps(after === "empty" ? defaultRetry : this.#retry)
        return yield* kept[after].next(error)
      })
    )
    this.#pause = pause
    stopwatch?.set(true, this.#now())
    pause.addObserver((exit) => {
      this.#pause = undefined
      stopwatch?.set(false, this.#now())
      then(Exit.isFailure(exit) || !exit.value)
    })
  }

  end(): void {
    interrupt(this.#pause)
  }
}
