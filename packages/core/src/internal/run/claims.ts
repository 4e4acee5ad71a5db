/**
 * The deliveries that a stage answers for, and what works on them. What it still has when it ends goes back.
 */
import * as Cause from "effect/Cause"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as FiberId from "effect/FiberId"
import * as Settlement from "../../Settlement.js"
import { interrupt } from "../effect/fork.js"
import { leaseLostId } from "../effect/interruption.js"
import type { Running } from "../effect/running.js"
import { together } from "../effect/together.js"
import type { InFlight, Owner } from "../lease/inFlight.js"
import type { Source } from "../lease/source.js"

export class Claims implements Owner {
  closed = false
  readonly held = new Set<InFlight>()
  readonly #waiting = new Set<InFlight>()
  readonly #stopped = new WeakSet<Running<unknown, unknown>>()

  /** How long what it interrupts may take to end: as long as the most patient of its consumers says. */
  patience: Duration.Duration = Duration.zero
  #latest: Source<InFlight> | undefined

  claim(delivery: InFlight): boolean {
    if (!delivery.claim(this)) return false
    if (delivery.source !== this.#latest) {
      this.#latest = delivery.source
      this.patience = Duration.max(this.patience, delivery.source.draining.flushWithin)
    }
    this.held.add(delivery)
    return true
  }

  left(delivery: InFlight): void {
    this.held.delete(delivery)
    this.#waiting.delete(delivery)
  }

  /** It waits its turn in a lane, or runs no more until its retry. */
  waitsFromNow(delivery: InFlight): void {
    this.#waiting.add(delivery)
  }

  waits(delivery: InFlight): boolean {
    return this.#waiting.has(delivery)
  }

  /** This runs a handler on it, since then. */
  runs(delivery: InFlight, running: Running<unknown, unknown>, startedAt: number): void {
    const { receivedAt, source } = delivery
    const { observer } = source
    delivery.runs(startedAt)
    delivery.startedWith = ++observer.running
    if (delivery.attempt === delivery.message.attempt) observer.waited.add(startedAt - receivedAt)
    delivery.running = running
  }

  /** No handler runs on it: this is its policy, which decides. That ends like a handler, should it be interrupted. */
  decides(delivery: InFlight, running: Running<unknown, unknown>): void {
    delivery.running = running
  }

  /** That has ended. */
  rests(delivery: InFlight): void {
    if (delivery.startedAt !== undefined) {
      delivery.source.observer.running--
      delivery.runs(undefined)
    }
    delivery.running = undefined
  }

  interrupt(delivery: InFlight): void {
    if (!this.#stop(delivery)) delivery.settle(Settlement.release)
  }

  lose(delivery: InFlight): void {
    this.#stop(delivery, leaseLostId)
  }

  #stop(delivery: InFlight, by?: FiberId.FiberId): boolean {
    const { running } = delivery
    if (running === undefined) return false
    this.#stopped.add(running)
    interrupt(running, by)
    return true
  }

  /** Whether it ended because it was told to, by a stop or a lost lease, and not as interrupted by its own doing. */
  stopped<A, E>(running: Running<A, E>, exit: Exit.Exit<A, E>): boolean {
    return Exit.isFailure(exit) && Cause.isInterrupted(exit.cause) && this.#stopped.has(running)
  }

  interruptAll(): void {
    for (const delivery of [...this.held]) this.interrupt(delivery)
  }

  /** What does not end though it was interrupted is waited for no longer. */
  abandonWorking(): void {
    for (const delivery of [...this.held]) {
      if (delivery.running !== undefined) delivery.source.draining.abandon(delivery)
    }
  }

  #bySource(): Map<Source<InFlight>, Array<InFlight>> {
    const sources = new Map<Source<InFlight>, Array<InFlight>>()
    for (const delivery of this.held) {
      const deliveries = sources.get(delivery.source)
      if (deliveries === undefined) sources.set(delivery.source, [delivery])
      else deliveries.push(delivery)
    }
    return sources
  }

  /** What is released comes straight back to a receive that is still open, so receives end first. */
  readonly stopReceiving: Effect.Effect<void> = Effect.suspend(() =>
    Effect.asVoid(together([...this.#bySource().keys()].map(({ demand }) => demand.stop)))
  )

  /** Waits until all that is held has ended, for the time that its consumers allow. */
  readonly settled: Effect.Effect<void> = Effect.suspend(() =>
    Effect.asVoid(together([...this.#bySource()].map(([{ draining }, deliveries]) => draining.settled(deliveries))))
  )
}
