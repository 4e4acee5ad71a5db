/**
 * Gathers messages into calls. A message is *accepted* when it has its place here; from then on it is sent, whoever gave
 * it, and has one result.
 *
 * Bound: accepted messages without a result never exceed `buffer` and `bufferBytes` (one message alone may); calls
 * under way never exceed `concurrency`. What goes when is the lanes' to say, and what becomes of a call its own.
 */
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import type { TokenBucket } from "../../SendRate.js"
import type { Service } from "../../SqsClient.js"
import { type Fork, type Forked, onEnd } from "../effect/fork.js"
import { Timer } from "../effect/timer.js"
import { mostEntries } from "../message/limits.js"
import * as Call from "./call.js"
import { closedAfter, closedBefore, type Entry, forget, type Result } from "./entry.js"
import type { ProducerMetrics } from "./producerMetrics.js"
import * as Lanes from "./sendLanes.js"

export interface Options extends Call.Options, Lanes.Options {
  readonly linger: number
  readonly concurrency: number
  readonly buffer: number
  readonly bufferBytes: number
  readonly rate: TokenBucket | undefined
}

export interface Host {
  readonly client: Pick<Service, "sendMessageBatch">
  readonly fork: Fork
  readonly now: () => number
  readonly metrics: ProducerMetrics
}

export interface Stats {
  /** Accepted, without a result. */
  readonly buffered: number
  /** Senders that wait for room. */
  readonly waiting: number
  /** Calls under way. */
  readonly inFlight: number
  readonly calls: number
  readonly sent: number
  readonly failed: number
  /** Messages sent again, each time counted. */
  readonly retried: number
}

export class Outbox {
  readonly #host: Host
  readonly #options: Options
  readonly #lanes: Lanes.Lanes
  readonly #calls: Call.Calls

  readonly #accepted = new Set<Entry>()
  #acceptedBytes = 0
  readonly #waiting = new Set<Entry>()

  #inFlight = 0
  readonly #fibers = new Set<Forked>()
  /** Calls that have waited to try again what failed, and go first. */
  #again: Array<() => void> = []
  readonly #timer: Timer
  readonly #claimant = { wake: () => this.#pump() }
  #pumping = false
  #pumpAgain = false

  #closing = false
  #closed = false
  #onEmpty: (() => void) | undefined
  #totals = { calls: 0, sent: 0, failed: 0, retried: 0 }

  constructor(host: Host, options: Options) {
    this.#host = host
    this.#options = options
    this.#lanes = new Lanes.Lanes(options)
    this.#timer = new Timer(host.fork)
    this.#calls = new Call.Calls(
      {
        client: host.client,
        now: host.now,
        isOpen: (entry) => this.#accepted.has(entry),
        finish: (entry, result) => this.#finish(entry, result),
        onCall: () => {
          this.#totals.calls += 1
        },
        onRetry: (messages) => {
          this.#totals.retried += messages
        },
        leaveSlot: (call) => this.#leaveSlot(call),
        takeSlot: (call) => this.#takeSlot(call),
        tell: () => this.#tell()
      },
      options
    )
  }

  get stats(): Stats {
    return {
      buffered: this.#accepted.size,
      waiting: this.#waiting.size,
      inFlight: this.#inFlight,
      ...this.#totals
    }
  }

  /** False where it has to wait for room: `onTaken` tells when it has it. */
  add(entry: Entry): boolean {
    if (this.#closing) {
      entry.onResult(closedBefore)
      entry.onUnsent?.()
      return true
    }
    // Who came first goes first.
    if (this.#waiting.size > 0 || !this.#hasRoom(entry)) {
      this.#waiting.add(entry)
      this.#pump()
      if (this.#waiting.size === 1) this.#tell()
      // A call may have begun and ended in between.
      return !this.#waiting.has(entry)
    }
    this.#accept(entry)
    if (this.#isFull()) this.#pump()
    else this.#arm(entry.due)
    return true
  }

  /** Its sender is gone. What was accepted is sent all the same. */
  withdraw(entry: Entry): void {
    forget(entry)
    if (!this.#waiting.delete(entry)) return
    entry.onUnsent?.()
    this.#pump()
  }

  /** Accepts nothing more, sends what it has without lingering, and gives up what has no result in time. */
  close(deadline: Duration.Duration): Effect.Effect<void> {
    return Effect.suspend(() => {
      this.#closing = true
      for (const entry of this.#waiting) {
        this.#waiting.delete(entry)
        entry.onResult(closedBefore)
        entry.onTaken?.()
        entry.onUnsent?.()
      }
      this.#pump()
      const empty = Effect.async<void>((resume) => {
        if (this.#accepted.size === 0) return resume(Effect.void)
        this.#onEmpty = () => resume(Effect.void)
      })
      return Effect.zipRight(Effect.timeoutOption(Effect.interruptible(empty), deadline), this.#abandon)
    })
  }

  readonly #abandon = Effect.suspend(() => {
    this.#closed = true
    this.#timer.cancel()
    this.#options.rate?.leave(this.#claimant)
    const calls = [...this.#fibers]
    for (const entry of [...this.#accepted]) {
      entry.doubtful = true
      this.#finish(entry, closedAfter)
    }
    this.#tell()
    return Fiber.interruptAll(calls)
  })

  // ------------------------------------------------------------------------------------------------------------- room

  #hasRoom(entry: Entry): boolean {
    const { buffer, bufferBytes } = this.#options
    return (
      this.#accepted.size === 0 || (this.#accepted.size < buffer && this.#acceptedBytes + entry.size <= bufferBytes)
    )
  }

  #accept(entry: Entry): void {
    this.#accepted.add(entry)
    this.#acceptedBytes += entry.size
    entry.acceptedAt = this.#host.now()
    entry.due = entry.acceptedAt + this.#options.linger
    this.#lanes.add(entry)
  }

  #finish(entry: Entry, result: Result): void {
    if (!this.#accepted.delete(entry)) return
    this.#acceptedBytes -= entry.size
    if (Either.isRight(result)) {
      this.#totals.sent += 1
      this.#host.metrics.sendSeconds((this.#host.now() - entry.acceptedAt) / 1000)
    } else this.#totals.failed += 1
    this.#lanes.done(entry, () => this.#host.now() + this.#options.linger)
    entry.onResult(result)
    if (entry.onUnsent !== undefined && Either.isLeft(result) && !entry.doubtful) entry.onUnsent()
  }

  /** What waited for room has it. */
  #admit(): void {
    for (const entry of this.#waiting) {
      if (!this.#hasRoom(entry)) return
      this.#waiting.delete(entry)
      this.#accept(entry)
      entry.onTaken?.()
    }
  }

  // ------------------------------------------------------------------------------------------------------------ calls

  /** Nothing that may still come could join the next call. */
  #isFull(): boolean {
    return this.#lanes.isFull || this.#waiting.size > 0 || this.#closing
  }

  /** The one place that begins calls. */
  #pump(): void {
    // Whoever is told of a result or of a turn may come back here.
    this.#pumpAgain = this.#pumping
    if (this.#pumping || this.#closed) return
    this.#pumping = true
    do {
      this.#pumpAgain = false
      this.#admit()
      this.#beginCalls()
    } while (this.#pumpAgain)
    this.#pumping = false
    if (this.#accepted.size === 0) this.#onEmpty?.()
  }

  #beginCalls(): void {
    while (this.#inFlight < this.#options.concurrency) {
      const again = this.#again.shift()
      if (again !== undefined) {
        again()
        continue
      }
      if (this.#lanes.offered === 0) return
      if (!this.#isFull()) {
        const { due } = this.#lanes
        if (due > this.#host.now()) {
          this.#arm(due)
          return
        }
      }
      const most = this.#tokens()
      if (most === 0) return
      const batch = this.#lanes.form(most)
      this.#options.rate?.giveBack(most - batch.length)
      this.#begin(batch)
    }
  }

  /** How many messages the next call may hold: as many as are offered, where the rate allows it. */
  #tokens(): number {
    const wanted = Math.min(this.#lanes.offered, mostEntries)
    const { rate } = this.#options
    if (rate === undefined) return wanted
    const most = Math.min(wanted, rate.burst)
    const wait = rate.take(this.#claimant, most, this.#host.now())
    if (wait === 0) return most
    if (Number.isFinite(wait)) this.#arm(this.#host.now() + wait)
    return 0
  }

  /** When a call begins and ends, and when the buffer has become full. */
  #tell(): void {
    this.#host.metrics.tell(this.#totals, this.#accepted.size)
  }

  #begin(batch: ReadonlyArray<Entry>): void {
    const call: Call.Call = { holdsSlot: true }
    this.#inFlight += 1
    const fiber = this.#host.fork(this.#calls.send(call, batch))
    this.#tell()
    this.#fibers.add(fiber)
    onEnd(fiber, (exit) => {
      this.#fibers.delete(fiber)
      if (call.holdsSlot) this.#inFlight -= 1
      if (Exit.isFailure(exit)) this.#calls.died(batch, exit.cause)
      this.#pump()
      this.#tell()
    })
  }

  #leaveSlot(call: Call.Call): void {
    call.holdsSlot = false
    this.#inFlight -= 1
    this.#pump()
  }

  #takeSlot(call: Call.Call): Effect.Effect<void> {
    return Effect.async<void>((resume) => {
      this.#again.push(() => {
        call.holdsSlot = true
        this.#inFlight += 1
        resume(Effect.void)
      })
      this.#pump()
    })
  }

  /** Looks for calls to begin at this time, or before. */
  #arm(at: number): void {
    // Where all slots are taken, the next call that ends looks again.
    if (this.#inFlight >= this.#options.concurrency || this.#timer.at <= at) return
    // Even a linger of zero gives those of the same turn the chance to share a call.
    this.#timer.set(at, at - this.#host.now(), () => this.#pump())
  }
}
