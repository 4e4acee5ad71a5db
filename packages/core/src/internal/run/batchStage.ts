/** Gathers deliveries into batches by count, bytes and time; it claims what it holds. */
import * as Chunk from "effect/Chunk"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import type * as Stream from "effect/Stream"
import { type Delivery, inFlight } from "../../Delivery.js"
import { forkScoped } from "../effect/fork.js"
import { fromPull, type Pull, toPull } from "../effect/pull.js"
import { Steady } from "../lease/steady.js"
import * as Phase from "../settle/phase.js"
import { Claims } from "./claims.js"
import { Signal } from "./signal.js"

export interface Gathered<out A, out E = never> {
  /** At least one. */
  readonly deliveries: ReadonlyArray<Delivery<A, E>>
  /** Why it was closed. */
  readonly closedBy: "count" | "bytes" | "time" | "end"
}

export interface Limits {
  readonly max: number
  readonly maxBytes: number
  /** In milliseconds. */
  readonly within: number
}

/** Fills one batch while the one before waits for its reader; stops filling when both are full. */
class Filling<A, E, EX> {
  readonly claims = new Claims()
  readonly #limits: Limits
  readonly #now: () => number
  #ready: Gathered<A, E> | undefined
  #deliveries: Array<Delivery<A, E>> = []
  #bytes = 0
  #openedAt = 0
  /** The reader knows of the end: it has taken all that came before. */
  #told = false
  #end: Exit.Exit<never, Option.Option<EX>> | undefined
  /** What has come and has no place in a batch yet. */
  #waiting: ReadonlyArray<Delivery<A, E>> = []
  /** For the reader: there is more in it, or its end. */
  readonly #changed = new Signal()
  /** For the driver: a batch has been taken. */
  readonly #taken = new Signal()

  constructor(limits: Limits, now: () => number) {
    this.#limits = limits
    this.#now = now
  }

  #close(closedBy: Gathered<A, E>["closedBy"]): Gathered<A, E> {
    const deliveries = this.#deliveries
    this.#deliveries = []
    this.#bytes = 0
    return { deliveries, closedBy }
  }

  #add(delivery: Delivery<A, E>): void {
    if (!this.claims.claim(inFlight(delivery))) return
    const bytes = this.#limits.maxBytes === Number.MAX_SAFE_INTEGER ? 0 : Buffer.byteLength(delivery.message.body)
    if (this.#deliveries.length > 0 && this.#bytes + bytes > this.#limits.maxBytes) this.#ready = this.#close("bytes")
    if (this.#deliveries.length === 0) this.#openedAt = this.#now()
    this.#deliveries.push(delivery)
    this.#bytes += bytes
    if (this.#deliveries.length >= this.#limits.max && this.#ready === undefined) this.#ready = this.#close("count")
    this.#changed.wake()
  }

  #full(): boolean {
    return this.#ready !== undefined
  }

  #feed(deliveries: ReadonlyArray<Delivery<A, E>>, from: number): Effect.Effect<void> {
    return Effect.suspend(() => {
      const [head] = deliveries
      const first = head && inFlight(head)
      // A stage in front tells its consumers itself how much it has use for.
      if (first !== undefined && first.phase < Phase.Claimed) first.source.demand.wants(this.#limits.max)
      for (let i = from; i < deliveries.length; i++) {
        if (this.#full()) {
          // What waits here for its turn is not forgotten.
          this.#waiting = deliveries.slice(i)
          for (const waiting of this.#waiting) inFlight(waiting).awaited = true
          return Effect.zipRight(this.#taken.wait, this.#feed(deliveries, i))
        }
        this.#add(deliveries[i] as Delivery<A, E>)
      }
      this.#waiting = []
      return Effect.void
    })
  }

  drive<R>(pull: Pull<Delivery<A, E>, EX, R>): Effect.Effect<void, never, R> {
    return Effect.forever(Effect.flatMap(pull, (chunk) => this.#feed(Chunk.toReadonlyArray(chunk), 0))).pipe(
      Effect.exit,
      Effect.flatMap((exit) =>
        Effect.sync(() => {
          this.#end = exit
          this.#changed.wake()
        })
      )
    )
  }

  readonly pull: Effect.Effect<Chunk.Chunk<Gathered<A, E>>, Option.Option<EX>> = Effect.suspend(() => {
    const batch = this.#take()
    if (batch !== undefined) {
      for (const delivery of batch.deliveries) inFlight(delivery).passOn()
      this.#taken.wake()
      return Effect.succeed(Chunk.of(batch))
    }
    if (this.#end !== undefined) {
      this.#told = true
      return this.#end
    }
    if (this.#deliveries.length === 0) return Effect.zipRight(this.#changed.wait, this.pull)
    const left = this.#openedAt + this.#limits.within - this.#now()
    return Effect.zipRight(Effect.raceFirst(this.#changed.wait, Effect.sleep(left)), this.pull)
  })

  #take(): Gathered<A, E> | undefined {
    const ready = this.#ready
    if (ready !== undefined) {
      this.#ready = undefined
      return ready
    }
    if (this.#deliveries.length === 0) return undefined
    if (this.#end !== undefined) return this.#close("end")
    return this.#openedAt + this.#limits.within <= this.#now() ? this.#close("time") : undefined
  }

  /** What waits here when the stream ends early goes back to the queue. */
  readonly close: Effect.Effect<void> = Effect.suspend(() => {
    const finished = Effect.sync(() => {
      this.claims.closed = true
    })
    const ended =
      this.#told &&
      this.#end?._tag === "Failure" &&
      this.#end.cause._tag === "Fail" &&
      Option.isNone(this.#end.cause.error)
    if (ended && this.#ready === undefined && this.#deliveries.length === 0) return finished
    for (const delivery of this.#waiting) this.claims.claim(inFlight(delivery))
    return this.claims.stopReceiving.pipe(
      Effect.zipRight(Effect.sync(() => this.claims.interruptAll())),
      Effect.zipRight(this.claims.settled),
      Effect.zipRight(finished)
    )
  })
}

export const batchStage = <A, E, EX, RX>(
  self: Stream.Stream<Delivery<A, E>, EX, RX>,
  limits: Limits
): Stream.Stream<Gathered<A, E>, EX, RX> =>
  fromPull(
    Effect.gen(function* () {
      const clock = yield* Effect.clock
      const pull = yield* toPull(self)
      const steady = new Steady(clock)
      const filling = new Filling<A, E, EX>(limits, () => steady.exactly())
      yield* Effect.addFinalizer(() => filling.close)
      yield* forkScoped(filling.drive(pull))
      return filling.pull
    })
  )
