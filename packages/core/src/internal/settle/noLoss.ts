/**
 * Invariant 4 (no loss): nothing is taken for done before the queue has confirmed it. A call that fails, whole or in part,
 * is tried again for what failed alone, as long as the leases live; in the end every entry has a result of its own: it is
 * confirmed, it is refused, or its lease is over, and then the queue delivers the message again.
 */
import * as Arr from "effect/Array"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import type * as Schedule from "effect/Schedule"
import type * as LeaseQueue from "../../LeaseQueue.js"
import { type Fork, interrupt } from "../effect/fork.js"
import { type Steps, steps } from "../effect/steps.js"
import type { Entry, Operation } from "./entry.js"

/** What they need of the consumer that they work for. */
export interface Host<E> {
  readonly queue: LeaseQueue.LeaseQueue<E>
  readonly runFork: Fork
  readonly now: () => number
  readonly onCall: () => void
  readonly onError: (error: E, operation: Operation) => void
  readonly onSuccess: (operation: Operation) => void
  /** All results of a call have been told. */
  readonly onResults: () => void
}

export class NoLoss<E> {
  readonly #host: Host<E>
  readonly #schedule: Schedule.Schedule<unknown>
  readonly #calls = new Set<Fiber.RuntimeFiber<void>>()
  readonly #unconfirmed = new Set<Entry>()

  constructor(host: Host<E>, schedule: Schedule.Schedule<unknown>) {
    this.#host = host
    this.#schedule = schedule
  }

  /** Entries without result. */
  get pending(): number {
    return this.#unconfirmed.size
  }

  /** Owes it a result from now on. */
  take(entry: Entry): void {
    this.#unconfirmed.add(entry)
  }

  /** Sends one call; calls back once, when it has had its first answer. */
  send(operation: Operation, entries: ReadonlyArray<Entry>, onAnswer: () => void): void {
    let answered = false
    const once = () => {
      if (answered) return
      answered = true
      onAnswer()
    }
    this.#track(this.#try(operation, entries, once), entries, once)
  }

  /** Sends them in their order, one call after the other. */
  sendInOrder(operation: Operation, entries: ReadonlyArray<Entry>): void {
    const { batchSize } = this.#host.queue.limits
    const calls = Effect.forEach(Arr.chunksOf(entries, batchSize), (batch) => this.#try(operation, batch, nothing), {
      discard: true
    })
    this.#track(calls, entries, nothing)
  }

  /** Whether nothing that is taken is of use any more. */
  get isOver(): boolean {
    return [...this.#unconfirmed].every((entry) => entry.over())
  }

  /** Gives up what is without result, as lost, and ends all fibers. */
  abandon(): void {
    for (const fiber of this.#calls) interrupt(fiber)
    for (const entry of [...this.#unconfirmed]) this.#finish(entry, false)
  }

  #finish(entry: Entry, confirmed: boolean): void {
    if (this.#unconfirmed.delete(entry)) entry.onResult(confirmed)
  }

  #refuse(entry: Entry): void {
    if (entry.onRefused === undefined) this.#finish(entry, false)
    else if (this.#unconfirmed.delete(entry)) entry.onRefused()
  }

  #track(effect: Effect.Effect<void>, entries: ReadonlyArray<Entry>, onEnd: () => void): void {
    const fiber = this.#host.runFork(effect)
    this.#calls.add(fiber)
    fiber.addObserver((exit) => {
      this.#calls.delete(fiber)
      // A defect of the port must not hold its permits for ever.
      if (Exit.isFailure(exit)) {
        for (const entry of entries) this.#finish(entry, false)
        this.#host.onResults()
      }
      onEnd()
    })
  }

  #try(operation: Operation, entries: ReadonlyArray<Entry>, onAnswer: () => void): Effect.Effect<void> {
    return Effect.gen(() => this.#trying(operation, entries, onAnswer))
  }

  // A method, and so one function for all calls: of each generator function V8 makes a hidden class, which stays, with all
  // that the function can reach, until a major garbage collection.
  *#trying(operation: Operation, entries: ReadonlyArray<Entry>, onAnswer: () => void): Effect.fn.Return<void> {
    const { now, queue } = this.#host
    let remaining = entries
    let pauses: Steps<unknown> | undefined
    while (true) {
      const triedAt = now()
      const exit = yield* Effect.exit(this.#call(operation, remaining))
      onAnswer()
      const failed = this.#answered(operation, remaining, exit)
      yield* Effect.logDebug(`${operation} of ${remaining.length} messages of ${queue.name}, ${failed.length} failed`)
      if (failed.length === 0) return
      pauses ??= yield* steps(this.#schedule)
      // A schedule that ends still owes every entry a result: go on at its last pace.
      if (!(yield* pauses.next(undefined))) yield* Effect.sleep("1 second")
      remaining = failed.filter((entry) => {
        const again = !entry.over() && this.#isWorthAnotherTry(entry, triedAt)
        if (!again) this.#finish(entry, false)
        return again
      })
      if (remaining.length < failed.length) this.#host.onResults()
      if (remaining.length === 0) return
    }
  }

  #call(operation: Operation, entries: ReadonlyArray<Entry>): Effect.Effect<ReadonlyArray<LeaseQueue.EntryResult>, E> {
    const { onCall, queue } = this.#host
    onCall()
    switch (operation) {
      case "Ack":
        return queue.ack(entries.map((entry) => entry.message.lease))
      case "SetLease":
        return queue.setLease(
          entries.map(({ message, request }) => ({
            lease: message.lease,
            duration: request._tag === "SetLease" ? request.duration : Duration.zero,
            ...(request._tag === "SetLease" && request.left === true && { left: true })
          }))
        )
      case "DeadLetter":
        return queue.deadLetter === undefined
          ? Effect.dieMessage(`${queue.name} has no dead letters`)
          : queue.deadLetter(
              entries.map(({ message, request }) =>
                request._tag === "DeadLetter"
                  ? { message, reason: request.reason, error: request.error, attempt: request.attempt }
                  : { message, reason: "" }
              )
            )
    }
  }

  /** Tells results, and gives back what has none yet. */
  #answered(
    operation: Operation,
    entries: ReadonlyArray<Entry>,
    exit: Exit.Exit<ReadonlyArray<LeaseQueue.EntryResult>, E>
  ): ReadonlyArray<Entry> {
    const { onError, onResults, onSuccess, queue } = this.#host
    if (Exit.isFailure(exit)) {
      if (exit.cause._tag !== "Fail") return entries
      const { error } = exit.cause
      onError(error, operation)
      // Only acks may be worth the wait: what is left to its lease comes again by itself.
      if (operation === "Ack" || queue.errorKind(error) !== "fatal") return entries
      for (const entry of entries) this.#refuse(entry)
      onResults()
      return []
    }
    onSuccess(operation)
    const failed: Array<Entry> = []
    entries.forEach((entry, i) => {
      const result = exit.value[i]
      if (result === undefined) failed.push(entry)
      else if (Either.isRight(result)) this.#finish(entry, true)
      else if (result.left.reason === "LeaseLost") this.#finish(entry, false)
      else if (result.left.reason === "Rejected" && operation !== "Ack") this.#refuse(entry)
      else failed.push(entry)
    })
    onResults()
    return failed
  }

  // On a standard queue an ack may succeed after the lease (fact 14), so it is tried once more then; nothing else is.
  #isWorthAnotherTry(entry: Entry, triedAt: number): boolean {
    const { now, queue } = this.#host
    return (
      now() < entry.deadline() || (entry.request._tag === "Ack" && !queue.limits.ordered && triedAt < entry.deadline())
    )
  }
}

const nothing = () => {}
