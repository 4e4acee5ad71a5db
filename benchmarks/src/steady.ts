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
  #watched: { readonly handled: number; readonly reached: () => void } | undefined

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
    if (this.#watched !== undefined && this.handled >= this.#watched.handled) {
      this.#watched.reached()
      this.#watched = undefined
    }
  }

  /** Waits until so many more have been handled. */
  more(handled: number): Effect.Effect<void> {
    return Effect.async<void>((resume) => {
      this.#watched = { handled: this.handled + handled, reached: () => resume(Effect.void) }
    })
  }
}

export interface Steady {
  readonly server: Server
  /** Runs until it is interrupted; what it acquired is closed then. */
  readonly program: (work: Work) => Effect.Effect<unknown, unknown, Scope.Scope>
  /** Handlers at once. */
  readonly slots: number
  /** What goes by before the figures are taken, and while they are. */
  readonly warmUp: Span
  readonly window: Span
  /** A window before the other one, while the compiler is still at work; the warm-up begins after it. */
  readonly young?: { readonly warmUp: Span; readonly window: Span } | undefined
}

/** By messages where the work of a message is measured, by time where a state is. */
export type Span = { readonly messages: number } | { readonly millis: number }

const passed = (work: Work, span: Span): Effect.Effect<void> =>
  "messages" in span ? work.more(span.messages) : pause(span.millis)

export const steady = ({ program, server, slots, warmUp, window, young }: Steady): Effect.Effect<Figures> =>
  Effect.gen(function* () {
    const work = new Work()
    const fiber = yield* Effect.fork(Effect.scoped(program(work)))
    // A program that ends is a defect of the benchmark; say so at once.
    const orEnded = <A>(effect: Effect.Effect<A>) =>
      Effect.raceFirst(effect, Effect.zipRight(Fiber.join(fiber), Effect.dieMessage("the program ended")))
    const look = Effect.map(server.stats, (stats) => ({
      calls: stats.calls,
      deleted: stats.deleted,
      serverCpu: stats.cpu,
      cpu: cpuTime(),
      at: performance.now(),
      busy: work.busy,
      handled: work.handled
    }))
    const measured = Effect.fnUntraced(function* (warmUp: Span, window: Span) {
      yield* orEnded(passed(work, warmUp))
      const from = yield* look
      yield* orEnded(passed(work, window))
      const to = yield* look
      const millis = to.at - from.at
      const messages = to.deleted - from.deleted
      return {
        messagesPerSecond: (messages / millis) * 1000,
        cpuMicros: (to.cpu - from.cpu) / messages,
        callsPer1000: ((to.calls - from.calls) / messages) * 1000,
        serverCpuMicros: (to.serverCpu - from.serverCpu) / messages,
        busyShare: (to.busy - from.busy) / (slots * millis)
      }
    })
    const first = young === undefined ? undefined : yield* measured(young.warmUp, young.window)
    const figures = yield* measured(warmUp, window)
    yield* Fiber.interrupt(fiber)
    while (work.running > 0) yield* pause(20)
    if (work.peak > slots) return yield* Effect.dieMessage(`${work.peak} handlers ran at once, of ${slots}`)
    return {
      ...figures,
      ...(first !== undefined && {
        youngMessagesPerSecond: first.messagesPerSecond,
        youngCpuMicros: first.cpuMicros
      })
    }
  }).pipe(Effect.orDie)
