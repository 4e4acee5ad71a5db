/** What has been received and is not handed over yet, and who reads it: as much at a time as there is use for. */
import * as Cause from "effect/Cause"
import * as Chunk from "effect/Chunk"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { Stopwatch } from "../observe/observer.js"

/** What it needs of the intake that fills it. */
export interface Host {
  readonly now: () => number
  /** Handed over at once, at most. */
  readonly most: number
  /** A reader waits, or has taken so many: more may have to be received. */
  readonly onDemand: (taken: number) => void
}

export class Prefetched<A, E> {
  readonly #host: Host
  #items: Array<A> = []
  #wanted = 1
  /** One, as a rule; a stream that is run twice has two. */
  readonly #readers = new Set<() => void>()
  #isStarving = false
  readonly starved = new Stopwatch()
  #closing = false
  #over = false
  #failure: Cause.Cause<E> | undefined

  constructor(host: Host) {
    this.#host = host
  }

  get length(): number {
    return this.#items.length
  }

  /** A reader waits and there is nothing for it. */
  get isStarving(): boolean {
    return this.#isStarving
  }

  #starves(starving: boolean): void {
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

  /** Whether that is news: there was no use for any before. */
  wants(deliveries: number): boolean {
    const again = this.#wanted === 0 && deliveries > 0
    this.#wanted = deliveries
    if (this.#hasNews()) this.#wake()
    return again
  }

  push(items: ReadonlyArray<A>): void {
    for (const item of items) this.#items.push(item)
    if (this.#isStarving) this.#wake()
  }

  /** What ended it, where it was a failure. */
  get failure(): Cause.Cause<E> | undefined {
    return this.#failure
  }

  /** Ends with a failure, the first one. */
  fail(cause: Cause.Cause<E>): void {
    this.#failure ??= cause
    this.#wake()
  }

  /** Hands over no more: what is here is for its owner to release. */
  close(): void {
    this.#closing = true
  }

  end(): void {
    this.#over = true
    this.#items = []
    this.#wake()
  }

  /** The next ones, as soon as there are any. */
  readonly pull: Effect.Effect<Chunk.Chunk<A>, Option.Option<E>> = Effect.suspend(() => {
    const ready = this.#take()
    if (ready !== undefined) return ready
    this.#starves(true)
    this.#host.onDemand(0)
    return this.#take() ?? Effect.zipRight(this.#untilWoken, this.pull)
  })

  // Only a wake-up travels through the fiber; the deliveries are taken in the reader's own step, so that an
  // interruption cannot lose them in between.
  readonly #untilWoken = Effect.async<void>((resume) => {
    // The reader may have lost its turn after it looked: what came since has woken nobody.
    if (this.#hasNews()) return resume(Effect.void)
    const wake = () => resume(Effect.void)
    this.#readers.add(wake)
    return Effect.sync(() => {
      this.#readers.delete(wake)
      if (this.#readers.size === 0) this.#starves(false)
    })
  })

  /** Whether `#take` has an answer. */
  #hasNews(): boolean {
    return this.#failure !== undefined || this.#over || (!this.#closing && this.#wanted > 0 && this.#items.length > 0)
  }

  #take(): Effect.Effect<Chunk.Chunk<A>, Option.Option<E>> | undefined {
    if (!this.#hasNews()) return undefined
    if (this.#failure !== undefined) return Effect.failCause(Cause.map(this.#failure, Option.some))
    if (this.#over) return Effect.fail(Option.none())
    const taken = this.#items.splice(0, Math.min(this.#wanted, this.#host.most))
    this.#starves(false)
    this.#host.onDemand(taken.length)
    return Effect.succeed(Chunk.unsafeFromArray(taken))
  }

  #wake(): void {
    const waiting = [...this.#readers]
    this.#readers.clear()
    for (const wake of waiting) wake()
  }
}
