/** Rounds of programs that run for ever: their figures between two moments, when the beginning is over. */
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type * as Scope from "effect/Scope"
import { cpuTime, type Figures, pause } from "./Benchmark.js"
import type { Server } from "./Server.js"

/** Counts who works: the integral of running handlers over time. */
export class Work {
  running = 0
  peak = 0
  handled = 0
  #busy = 0
  #since = performance.now()

  /** Handlers × milliseconds so far. */
  get busy(): number {
    const now = performance.now()
    this.#busy += this.running * (now - this.#since)
    this.#since = now
    return this.#busy
  }

  begin(): void {
    void this.busy
    this.running++
    this.peak = Math.max(this.peak, this.running)
  }

  end(): void {
    void this.busy
    this.running--
    this.handled++
  }
}

export interface Steady {
  readonly server: Server
  /** Runs until it is interrupted; what it acquired is closed then. */
  readonly program: (work: Work) => Effect.Effect<unknown, unknown, Scope.Scope>
  /** Handlers at once. */
  readonly slots: number
  /** In milliseconds. */
  readonly warmUp: number
  readonly window: number
}

export const steady = ({ program, server, slots, warmUp, window }: Steady): Effect.Effect<Figures> =>
  Effect.gen(function* () {
    const work = new Work()
    const fiber = yield* Effect.fork(Effect.scoped(program(work)))
    // A program that ends is a defect of the benchmark; say so at once.
    const orEnded = <A>(effect: Effect.Effect<A>) =>
      Effect.raceFirst(effect, Effect.zipRight(Fiber.join(fiber), Effect.dieMessage("the program ended")))
    const look = Effect.map(server.stats, (stats) => ({
      ...stats,
      cpu: cpuTime(),
      at: performance.now(),
      busy: work.busy,
      handled: work.handled
    }))
    yield* orEnded(pause(warmUp))
    const from = yield* look
    yield* orEnded(pause(window))
    const to = yield* look
    yield* Fiber.interrupt(fiber)
    while (work.running > 0) yield* pause(20)
    if (work.peak > slots) return yield* Effect.dieMessage(`${work.peak} handlers ran at once, of ${slots}`)
    const millis = to.at - from.at
    const messages = to.deleted - from.deleted
    return {
      messagesPerSecond: (messages / millis) * 1000,
      cpuMicros: (to.cpu - from.cpu) / messages,
      callsPer1000: ((to.calls - from.calls) / messages) * 1000,
      busyShare: (to.busy - from.busy) / (slots * millis)
    }
  }).pipe(Effect.orDie)
