import * as Chunk from "effect/Chunk"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as FiberId from "effect/FiberId"
import * as FiberRef from "effect/FiberRef"
import * as FiberRefs from "effect/FiberRefs"
import * as HashMap from "effect/HashMap"
import * as Option from "effect/Option"
import * as Runtime from "effect/Runtime"
import * as RuntimeFlags from "effect/RuntimeFlags"
import * as Stream from "effect/Stream"
import type * as LeaseQueue from "../LeaseQueue.js"
import * as Settlement from "../Settlement.js"
import type { Custodian, InFlight, Owner } from "./inFlight.js"

/** The deliveries that a stage answers for, and the fibers that work on them. */
export class Claims implements Owner {
  closed = false
  readonly held = new Set<InFlight>()
  readonly #working = new Map<InFlight, Fiber.RuntimeFiber<unknown, unknown>>()

  claim(delivery: InFlight): boolean {
    if (!delivery.claim(this)) return false
    this.held.add(delivery)
    return true
  }

  left(delivery: InFlight): void {
    this.held.delete(delivery)
  }

  works(delivery: InFlight, fiber: Fiber.RuntimeFiber<unknown, unknown>): void {
    this.#working.set(delivery, fiber)
  }

  rests(delivery: InFlight): void {
    this.#working.delete(delivery)
  }

  interrupt(delivery: InFlight): void {
    const fiber = this.#working.get(delivery)
    if (fiber === undefined) delivery.settle(Settlement.release)
    else fiber.unsafeInterruptAsFork(FiberId.none)
  }

  interruptAll(): void {
    for (const delivery of [...this.held]) this.interrupt(delivery)
  }

  #custodians(): Map<Custodian, Array<InFlight>> {
    const custodians = new Map<Custodian, Array<InFlight>>()
    for (const delivery of this.held) {
      const deliveries = custodians.get(delivery.custodian)
      if (deliveries === undefined) custodians.set(delivery.custodian, [delivery])
      else deliveries.push(delivery)
    }
    return custodians
  }

  /** What is released comes straight back to a receive that is still open, so receives end first. */
  readonly stopReceiving: Effect.Effect<void> = Effect.suspend(() =>
    Effect.forEach(this.#custodians().keys(), (custodian) => custodian.stopReceiving, {
      concurrency: "unbounded",
      discard: true
    })
  )

  /** Waits until all that is held has ended, for the time that its consumers allow. */
  readonly settled: Effect.Effect<void> = Effect.suspend(() =>
    Effect.forEach(this.#custodians(), ([custodian, deliveries]) => custodian.settled(deliveries), {
      concurrency: "unbounded",
      discard: true
    })
  )
}

/** One item's right to run; `done` gives it back, with what the item has become. */
export interface Slot<in Out> {
  readonly done: (...results: ReadonlyArray<Out>) => void
}

export interface Options<In, Out, R> {
  /** Items worked on at once. */
  readonly concurrency: number
  readonly claims: Claims
  /** Whether the stage settles what it claims, and so ends only when that is confirmed. */
  readonly settles: boolean
  /** Starts the work on one item and returns; calls `slot.done` once, then or later. */
  readonly start: (item: In, slot: Slot<Out>, runFork: RunFork<R>) => void
}

/** Runs an effect in a fiber of its own, whose logs name the message. */
export type RunFork<R> = <A, E>(
  effect: Effect.Effect<A, E, R>,
  message?: LeaseQueue.Message
) => Fiber.RuntimeFiber<A, E>

// Set as the fiber begins: `Effect.annotateLogs` would cost as much as all the rest.
const annotatedFork = <R>(runtime: Runtime.Runtime<R>): RunFork<R> => {
  const runFork = Runtime.runFork(runtime)
  const fiberRef = FiberRef.currentLogAnnotations
  const outer = FiberRefs.getOrDefault(runtime.fiberRefs, fiberRef)
  const firstAttempt = HashMap.set(outer, "attempt", 1)
  const annotations = ({ attempt, group, id }: LeaseQueue.Message) => {
    const named = attempt === 1 ? firstAttempt : HashMap.set(outer, "attempt", attempt)
    return HashMap.set(group === undefined ? named : HashMap.set(named, "group", group), "messageId", id)
  }
  return (effect, message) =>
    message === undefined
      ? runFork(effect)
      : runFork(effect, {
          updateRefs: (refs, fiberId) => FiberRefs.updateAs(refs, { fiberId, fiberRef, value: annotations(message) })
        })
}

class Dispatcher<In, Out, E, R> {
  readonly #options: Options<In, Out, R>
  readonly #runFork: RunFork<R>
  readonly #mostResults: number
  #running = 0
  #results: Array<Out> = []
  #end: Exit.Exit<never, Option.Option<E>> | undefined
  #wakeReader: (() => void) | undefined
  #wakeDriver: (() => void) | undefined

  constructor(options: Options<In, Out, R>, runFork: RunFork<R>) {
    this.#options = options
    this.#runFork = runFork
    this.#mostResults = Math.max(16, options.concurrency)
  }

  #free(): boolean {
    return this.#running < this.#options.concurrency && this.#results.length < this.#mostResults
  }

  readonly #slot: Slot<Out> = {
    done: (...results) => {
      this.#running--
      this.#results.push(...results)
      if (results.length > 0) this.#wake("reader")
      this.#wake("driver")
    }
  }

  #wake(who: "reader" | "driver"): void {
    const wake = who === "reader" ? this.#wakeReader : this.#wakeDriver
    if (wake === undefined) return
    if (who === "reader") this.#wakeReader = undefined
    else this.#wakeDriver = undefined
    wake()
  }

  readonly #untilDriverWoken = Effect.async<void>((resume) => {
    this.#wakeDriver = () => resume(Effect.void)
  })

  readonly #untilReaderWoken = Effect.async<void>((resume) => {
    this.#wakeReader = () => resume(Effect.void)
  })

  #feed(items: ReadonlyArray<In>, from: number): Effect.Effect<void> {
    return Effect.suspend(() => {
      for (let i = from; i < items.length; i++) {
        if (!this.#free()) return Effect.zipRight(this.#untilDriverWoken, this.#feed(items, i))
        this.#running++
        this.#options.start(items[i] as In, this.#slot, this.#runFork)
      }
      // The next delivery is asked for when there is a slot for it: demand travels upstream here.
      return this.#untilFree
    })
  }

  readonly #untilFree: Effect.Effect<void> = Effect.suspend(() =>
    this.#free() ? Effect.void : Effect.zipRight(this.#untilDriverWoken, this.#untilFree)
  )

  readonly #untilIdle: Effect.Effect<void> = Effect.suspend(() =>
    this.#running === 0 ? Effect.void : Effect.zipRight(this.#untilDriverWoken, this.#untilIdle)
  )

  /** Runs until the upstream ends, then until all that it began is done. */
  drive(pull: Effect.Effect<Chunk.Chunk<In>, Option.Option<E>>): Effect.Effect<void> {
    const { claims, settles } = this.#options
    return Effect.forever(Effect.flatMap(pull, (chunk) => this.#feed(Chunk.toReadonlyArray(chunk), 0))).pipe(
      Effect.exit,
      Effect.tap(this.#untilIdle),
      Effect.tap(settles ? claims.settled : Effect.void),
      Effect.flatMap((exit) =>
        Effect.sync(() => {
          this.#end = exit
          this.#wake("reader")
        })
      )
    )
  }

  readonly pull: Effect.Effect<Chunk.Chunk<Out>, Option.Option<E>> = Effect.suspend(() => {
    if (this.#results.length > 0) {
      const results = this.#results
      this.#results = []
      this.#wake("driver")
      return Effect.succeed(Chunk.unsafeFromArray(results))
    }
    return this.#end ?? Effect.zipRight(this.#untilReaderWoken, this.pull)
  })

  /** Ends early: interrupts what runs, releases what is left, and waits until the queue has confirmed it. */
  readonly close: Effect.Effect<void> = Effect.suspend(() => {
    const { claims } = this.#options
    const finished = Effect.sync(() => {
      claims.closed = true
    })
    if (
      this.#end !== undefined &&
      Exit.isFailure(this.#end) &&
      this.#end.cause._tag === "Fail" &&
      Option.isNone(this.#end.cause.error)
    ) {
      return finished
    }
    return claims.stopReceiving.pipe(
      Effect.zipRight(Effect.sync(() => claims.interruptAll())),
      Effect.zipRight(this.#untilIdle),
      Effect.zipRight(Effect.sync(() => claims.interruptAll())),
      Effect.zipRight(claims.settled),
      Effect.zipRight(finished)
    )
  })
}

/**
 * Runs work on the items of a stream, so many at once, without a tree of fibers for each: one driver counts slots and
 * starts the work, one reader takes the results as they come.
 */
export const dispatch = <In, Out, E, R, R2>(
  self: Stream.Stream<In, E, R>,
  make: () => Options<In, Out, R2>
): Stream.Stream<Out, E, R | R2> =>
  Stream.fromPull(
    Effect.gen(function* () {
      // Captured where finalizers may not be interrupted, maybe; handlers must be.
      const runtime = Runtime.enableRuntimeFlag(yield* Effect.runtime<R | R2>(), RuntimeFlags.Interruption)
      const pull = yield* Stream.toPull(self)
      const dispatcher = new Dispatcher<In, Out, E, R2>(make(), annotatedFork(runtime))
      yield* Effect.addFinalizer(() => dispatcher.close)
      yield* Effect.forkScoped(dispatcher.drive(Effect.provide(pull, runtime.context)))
      return dispatcher.pull
    })
  )
