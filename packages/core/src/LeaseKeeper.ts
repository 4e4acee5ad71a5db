/**
 * Keeps leases alive: one table ordered by time and one ticking fiber for a consumer, whatever it has in flight.
 *
 * Invariant 6 (lease): a lease is extended when half of it is left, so that a failed extension can be tried again in
 * time; entries that are due soon fill up a call; a lease that is refused, or that our own clock says is over, is lost;
 * and none is extended past the longest that the queue allows.
 */
import * as Arr from "effect/Array"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as Random from "effect/Random"
import { Heap } from "./internal/data/heap.js"
import { type Fork, interrupt } from "./internal/effect/fork.js"
import { Timer } from "./internal/effect/timer.js"
import { byReceive } from "./internal/settle/byReceive.js"
import type * as LeaseQueue from "./LeaseQueue.js"

export interface Options {
  /**
   * Whether leases are extended. Without it the keeper still notices those that are over. Default true.
   */
  readonly heartbeat?: boolean | undefined
}

/** A lease as the keeper sees it. */
export interface Leased {
  readonly message: LeaseQueue.Message
  /** When it was received, in milliseconds. */
  readonly receivedAt: number
  /** When it ends, as far as the queue has confirmed it, in milliseconds. The keeper moves it. */
  deadline: number
  /** The keeper's own notes on it. */
  readonly kept: Kept
}

/** The keeper's notes on one lease. */
export class Kept {
  /** Its place in the table; -1 where it is not there. */
  slot = -1
  /** When to look at it next, in milliseconds. */
  wakeAt = 0
  /** How many extensions of it are in the air. */
  extending = 0
  /** Extended no more. */
  final = false
  /** Wanted by whoever waits for the extension in the air. */
  onLanded: (() => void) | undefined
}

type Answer = "Extended" | LeaseQueue.EntryFailure["reason"]

const answerOf = (result: LeaseQueue.EntryResult | undefined): Answer | undefined =>
  result && (Either.isRight(result) ? "Extended" : result.left.reason)

/** What it needs of the consumer that it works for. */
export interface Host<E, L extends Leased> {
  readonly queue: LeaseQueue.LeaseQueue<E>
  readonly runFork: Fork
  readonly now: () => number
  /** The lease is over. It has left the table. */
  readonly onLost: (leased: L) => void
  /** It has been leased for as long as the queue allows, and will run out. */
  readonly onLongest: (leased: L) => void
  /** The queue has confirmed a later deadline. */
  readonly onExtended?: ((leased: L) => void) | undefined
  /** Its timer was late by so many milliseconds: the event loop was not free. */
  readonly onLate?: ((millis: number) => void) | undefined
  readonly onCall: (entries: number) => void
  readonly onError: (error: E) => void
}

/** Calls in the air at once: a thundering herd of extensions must not starve receives and acks. */
const concurrency = 16
/** Before a failed extension is tried again, at least, in milliseconds. */
const shortestPause = 100
/** The shortest that is worth asking for, in milliseconds. */
const shortestLease = 1000
/** What is kept free below the longest lease, for the clocks to differ and for rounding up, in milliseconds. */
const reserve = 2000

export class LeaseKeeper<E, L extends Leased> {
  readonly #host: Host<E, L>
  readonly #heartbeat: boolean
  readonly #lease: number
  readonly #longest: number
  readonly #table = new Heap<L>(
    (a, b) => a.kept.wakeAt < b.kept.wakeAt,
    (leased, slot) => {
      leased.kept.slot = slot
    }
  )
  readonly #ticker: Timer
  readonly #calls = new Set<Fiber.RuntimeFiber<void>>()

  constructor(host: Host<E, L>, options: Options = {}) {
    this.#host = host
    this.#ticker = new Timer(host.runFork)
    this.#heartbeat = options.heartbeat ?? true
    this.#lease = Duration.toMillis(host.queue.leaseDuration)
    this.#longest = Duration.toMillis(host.queue.limits.maxLease)
  }

  /** How many leases it holds. */
  get size(): number {
    return this.#table.size
  }

  /** Keeps a lease from now on, until `release`. */
  hold(leased: L): void {
    leased.kept.wakeAt = this.#due(leased, 0)
    this.#table.push(leased)
    this.#arm()
  }

  /** The delivery has ended. An extension that is still in the air is ignored. */
  release(leased: L): void {
    if (leased.kept.slot >= 0) this.#table.removeAt(leased.kept.slot)
  }

  /**
   * Extends it no more, and calls `then` once no extension of it is in the air: what is asked of the queue after that
   * is not overwritten.
   */
  stop(leased: L, then: () => void): void {
    leased.kept.final = true
    if (leased.kept.extending > 0) leased.kept.onLanded = then
    else then()
  }

  /** Somebody else extends it, and calls back once that has its answer; `deadline` may have moved then. */
  borrow(leased: L): () => void {
    leased.kept.extending++
    return () => {
      this.#landed(leased)
      if (leased.kept.slot < 0) return
      this.#wake(leased, this.#due(leased, 0))
      this.#arm()
    }
  }

  /** Nothing more will come: ends the ticker, and calls that hang, where nothing is held. */
  quiesce(): void {
    if (this.#table.size > 0) return
    for (const call of this.#calls) interrupt(call)
    this.#ticker.cancel()
  }

  #due(leased: L, jitter: number): number {
    const { kept } = leased
    // Whole milliseconds, as the Clock counts them: a fraction would be looked at again and again.
    return this.#heartbeat && !kept.final ? Math.floor(leased.deadline - this.#lease * (0.5 + jitter)) : leased.deadline
  }

  #arm(): void {
    const at = this.#table.peek?.kept.wakeAt
    if (at === undefined || this.#ticker.at <= at) return
    const now = this.#host.now()
    const due = Math.max(now, Math.ceil(at))
    this.#ticker.set(at, due - now, () => {
      this.#host.onLate?.(this.#host.now() - due)
      this.#tick()
    })
  }

  #tick(): void {
    const now = this.#host.now()
    const due: Array<L> = []
    // Those that are due soon share the calls of those that are due now.
    const soon = now + this.#lease / 4
    const { batchSize } = this.#host.queue.limits
    for (let next = this.#table.peek; next !== undefined; next = this.#table.peek) {
      const { deadline, kept } = next
      const later = kept.wakeAt > now
      if (later && (due.length % batchSize === 0 || kept.wakeAt > soon || !this.#extendable(next))) break
      if (deadline <= now) {
        this.#lose(next)
        continue
      }
      this.#wake(next, deadline)
      if (!this.#extendable(next)) continue
      // Beyond what it has: near its end the same lease would be asked for again and again.
      if (this.#left(next, deadline) < shortestLease) {
        this.#reachLongest(next)
      } else {
        kept.extending++
        due.push(next)
      }
    }
    if (due.length > 0) this.#extend(due)
    this.#arm()
  }

  #extendable({ kept }: L): boolean {
    return kept.extending === 0 && !kept.final
  }

  /** What is left of the longest lease after this time. */
  #left(leased: L, time: number): number {
    return leased.receivedAt + this.#longest - reserve - time
  }

  #reachLongest(leased: L): void {
    leased.kept.final = true
    this.#host.onLongest(leased)
  }

  #wake(leased: L, at: number): void {
    leased.kept.wakeAt = at
    if (leased.kept.slot >= 0) this.#table.moved(leased.kept.slot)
  }

  #lose(leased: L): void {
    this.release(leased)
    this.#host.onLost(leased)
  }

  #extend(due: ReadonlyArray<L>): void {
    const { batchSize } = this.#host.queue.limits
    const fiber = this.#host.runFork(
      Effect.forEach(Arr.chunksOf(byReceive(due), batchSize), (batch) => this.#call(batch), {
        concurrency,
        discard: true
      })
    )
    this.#calls.add(fiber)
    fiber.addObserver(() => this.#calls.delete(fiber))
  }

  #call(batch: ReadonlyArray<L>): Effect.Effect<void> {
    return Effect.gen(this, function* () {
      const { now, onCall, onError, queue } = this.#host
      // Some may have ended while this call waited for its turn.
      const entries = batch.filter((leased) => {
        const wanted = leased.kept.slot >= 0 && !leased.kept.final
        if (!wanted) this.#landed(leased)
        return wanted
      })
      if (entries.length === 0) return
      const sentAt = now()
      const durations = entries.map((leased) => Math.min(this.#lease, this.#left(leased, sentAt)))
      onCall(entries.length)
      const asked = entries.map(({ message }, i) => ({
        lease: message.lease,
        duration: Duration.millis(durations[i] ?? 0)
      }))
      // A port that throws, or answers with what is none, has failed too: who waits for the extension would wait for ever.
      const exit = yield* Effect.exit(
        Effect.map(
          Effect.suspend(() => queue.setLease(asked)),
          (results) => Array.from(results, answerOf)
        )
      )
      if (Exit.isFailure(exit) && exit.cause._tag === "Fail") onError(exit.cause.error)
      const jitter = ((yield* Random.next) - 0.5) / 10
      entries.forEach((leased, i) => {
        const answer = Exit.isSuccess(exit) ? exit.value[i] : undefined
        this.#answered(leased, answer, sentAt + (durations[i] ?? 0), jitter)
      })
      this.#arm()
    })
  }

  #answered(leased: L, answer: Answer | undefined, deadline: number, jitter: number): void {
    const { kept } = leased
    this.#landed(leased)
    if (kept.slot < 0) return
    if (answer === "Extended") {
      leased.deadline = deadline
      this.#wake(leased, this.#due(leased, jitter))
      this.#host.onExtended?.(leased)
    } else if (answer === "LeaseLost") {
      this.#lose(leased)
    } else if (answer === "Rejected") {
      kept.final = true
    } else {
      // Tried again sooner and sooner, the less of the lease is left.
      const left = leased.deadline - this.#host.now()
      this.#wake(leased, Math.min(leased.deadline, this.#host.now() + Math.max(shortestPause, Math.floor(left / 4))))
    }
  }

  #landed({ kept }: L): void {
    if (--kept.extending > 0) return
    const { onLanded } = kept
    kept.onLanded = undefined
    onLanded?.()
  }
}
