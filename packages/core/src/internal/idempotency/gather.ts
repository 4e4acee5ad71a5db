import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import type { Claim, IdempotencyStoreError } from "../../IdempotencyStore.js"

/** Runs what is asked of a store, in a fiber of its own. */
export type Fork = (effect: Effect.Effect<void>) => Fiber.RuntimeFiber<void>

type Answered<Result> = (exit: Exit.Exit<Result, IdempotencyStoreError>) => void

interface Asked<Entry, Result> {
  readonly entry: Entry
  readonly answered: Answered<Result>
}

/** Calls under way before the next waits for others: it is what makes calls of many where there are many. */
const hurried = 2
const mostCalls = 16

/**
 * Gathers what is asked one entry at a time into calls of many: those of one turn share a call, and those that come
 * while calls are under way. No key is twice in a call.
 */
export class Gather<Entry extends Claim, Result> {
  readonly #call: (entries: ReadonlyArray<Entry>) => Effect.Effect<ReadonlyArray<Result>, IdempotencyStoreError>
  readonly #batchSize: number
  #waiting: Array<Asked<Entry, Result>> = []
  #calls = 0
  #starting = false

  constructor(
    batchSize: number,
    call: (entries: ReadonlyArray<Entry>) => Effect.Effect<ReadonlyArray<Result>, IdempotencyStoreError>
  ) {
    this.#batchSize = batchSize
    this.#call = call
  }

  ask(entry: Entry, fork: Fork, answered: Answered<Result>): void {
    this.#waiting.push({ entry, answered })
    this.#start(fork)
  }

  #start(fork: Fork): void {
    const { length } = this.#waiting
    if (length === 0 || this.#starting) return
    if (this.#calls >= (length >= this.#batchSize ? mostCalls : hurried)) return
    this.#starting = true
    this.#calls++
    // What else is asked in this turn goes with it.
    const sent = Effect.yieldNow().pipe(Effect.zipRight(Effect.suspend(() => this.#send(fork))))
    fork(sent).addObserver(() => {
      this.#calls--
      this.#start(fork)
    })
  }

  #take(): ReadonlyArray<Asked<Entry, Result>> {
    const taken = new Map<string, Asked<Entry, Result>>()
    const left: Array<Asked<Entry, Result>> = []
    for (const asked of this.#waiting) {
      if (taken.size < this.#batchSize && !taken.has(asked.entry.key)) taken.set(asked.entry.key, asked)
      else left.push(asked)
    }
    this.#waiting = left
    return [...taken.values()]
  }

  #send(fork: Fork): Effect.Effect<void> {
    this.#starting = false
    const taken = this.#take()
    this.#start(fork)
    if (taken.length === 0) return Effect.void
    return this.#call(taken.map(({ entry }) => entry)).pipe(
      Effect.onExit((exit) =>
        Effect.sync(() =>
          taken.forEach(({ answered }, i) => {
            if (Exit.isFailure(exit)) return answered(Exit.failCause(exit.cause))
            const result = exit.value[i]
            answered(
              result === undefined
                ? Exit.failCause(
                    Cause.die(new Error(`the store answered with ${exit.value.length} results for ${taken.length}`))
                  )
                : Exit.succeed(result)
            )
          })
        )
      ),
      Effect.ignore
    )
  }
}
