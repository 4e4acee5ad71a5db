/**
 * Several streams of deliveries as one, each with its part of what is handed over while all have something. Each has one
 * chunk waiting here, at most: more is pulled from it when that has been taken.
 */
import * as Cause from "effect/Cause"
import * as Chunk from "effect/Chunk"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import { type Delivery, inFlight } from "../../Delivery.js"
import { forkScoped } from "../effect/fork.js"
import { fromPull } from "../effect/pull.js"
import type { Turns } from "../receive/turns.js"

interface Inlet<A, E> {
  waiting: ReadonlyArray<Delivery<A, E>> | undefined
  wake: (() => void) | undefined
}

class Merge<A, E, EX> {
  readonly #turns: Turns
  readonly #mayGo: (index: number) => boolean
  readonly #inlets: ReadonlyArray<Inlet<A, E>>
  #open: number
  #failure: Cause.Cause<EX> | undefined
  #wakeReader: (() => void) | undefined
  /** All that waited of one has been taken: it has its turn to bring more, before the others are asked in its place. */
  #awaitsMore = false

  constructor(turns: Turns, inlets: number, mayGo: (index: number) => boolean) {
    this.#turns = turns
    this.#mayGo = mayGo
    this.#inlets = Array.from({ length: inlets }, () => ({ waiting: undefined, wake: undefined }))
    this.#open = inlets
  }

  run<RX>(stream: Stream.Stream<Delivery<A, E>, EX, RX>, index: number): Effect.Effect<void, never, RX> {
    return Stream.runForEachChunk(stream, (chunk) => this.#offer(Chunk.toReadonlyArray(chunk), index)).pipe(
      Effect.exit,
      Effect.map((exit) => {
        this.#open--
        if (Exit.isFailure(exit)) this.#failure ??= exit.cause
        this.#wake()
      })
    )
  }

  #offer(deliveries: ReadonlyArray<Delivery<A, E>>, index: number): Effect.Effect<void> {
    return Effect.suspend(() => {
      const inlet = this.#inlets[index]
      if (inlet === undefined || deliveries.length === 0) return Effect.void
      inlet.waiting = deliveries
      // What waits here for its turn is not forgotten.
      for (const delivery of deliveries) inFlight(delivery).awaited = true
      this.#wake()
      return this.#untilTaken(inlet)
    })
  }

  // A fiber may lose its turn after it has looked and before it waits here, so it looks again.
  #untilTaken(inlet: Inlet<A, E>): Effect.Effect<void> {
    return Effect.async<void>((resume) => {
      if (inlet.waiting === undefined) return resume(Effect.void)
      inlet.wake = () => resume(Effect.void)
    })
  }

  #wake(): void {
    const wake = this.#wakeReader
    this.#wakeReader = undefined
    wake?.()
  }

  #take(): Chunk.Chunk<Delivery<A, E>> | undefined {
    const turn = this.#turns.next((member) => this.#has(member))
    const inlet = turn && this.#inlets[turn.member]
    if (turn === undefined || inlet?.waiting === undefined) return undefined
    const taken = inlet.waiting.slice(0, turn.most)
    const left = inlet.waiting.slice(taken.length)
    this.#turns.took(turn.member, taken.length)
    for (const delivery of taken) inFlight(delivery).passOn()
    inlet.waiting = left.length > 0 ? left : undefined
    if (left.length === 0) {
      inlet.wake?.()
      inlet.wake = undefined
      this.#awaitsMore = true
    }
    return Chunk.unsafeFromArray(taken)
  }

  #has(index: number): boolean {
    return this.#inlets[index]?.waiting !== undefined && this.#mayGo(index)
  }

  readonly pull: Effect.Effect<Chunk.Chunk<Delivery<A, E>>, Option.Option<EX>> = Effect.suspend(() => {
    if (this.#failure !== undefined) return Effect.failCause(Cause.map(this.#failure, Option.some))
    if (this.#awaitsMore) {
      this.#awaitsMore = false
      return Effect.zipRight(Effect.yieldNow(), this.pull)
    }
    const taken = this.#take()
    if (taken !== undefined) return Effect.succeed(taken)
    if (this.#open === 0) return Effect.fail(Option.none())
    return Effect.zipRight(this.#untilWoken, this.pull)
  })

  readonly #untilWoken = Effect.async<void>((resume) => {
    const news = this.#failure !== undefined || this.#open === 0 || this.#inlets.some((_, i) => this.#has(i))
    if (news) return resume(Effect.void)
    this.#wakeReader = () => resume(Effect.void)
  })
}

/** @internal */
export const mergeStage = <A, E, EX, RX>(
  streams: ReadonlyArray<Stream.Stream<Delivery<A, E>, EX, RX>>,
  turns: Turns,
  mayGo: (index: number) => boolean = () => true
): Stream.Stream<Delivery<A, E>, EX, RX> =>
  fromPull(
    Effect.gen(function* () {
      const merge = new Merge<A, E, EX>(turns, streams.length, mayGo)
      yield* Effect.forEach(streams, (stream, i) => forkScoped(merge.run(stream, i)), { discard: true })
      return merge.pull
    })
  )
