/** What has come of a stage's work and is not taken yet, for the one who reads it. */
import * as Chunk from "effect/Chunk"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import { Signal } from "./signal.js"

export class Results<A, E> {
  readonly #onTaken: (results: ReadonlyArray<A>) => void
  readonly #signal = new Signal()
  #results: Array<A> = []
  #end: Exit.Exit<never, Option.Option<E>> | undefined
  /** The end, once the reader knows of it: it has taken all that came before. */
  #told: Exit.Exit<never, Option.Option<E>> | undefined

  constructor(onTaken: (results: ReadonlyArray<A>) => void) {
    this.#onTaken = onTaken
  }

  get length(): number {
    return this.#results.length
  }

  push(results: ReadonlyArray<A>): void {
    if (results.length === 0) return
    // One by one: a batch has more results than a call may have arguments.
    for (const result of results) this.#results.push(result)
    this.#signal.wake()
  }

  end(exit: Exit.Exit<never, Option.Option<E>>): void {
    this.#end ??= exit
    this.#signal.wake()
  }

  /** Whether all have been taken, and the reader has been told that the upstream ended, and not for an error. */
  get isDone(): boolean {
    return (
      this.#told?._tag === "Failure" &&
      this.#told.cause._tag === "Fail" &&
      Option.isNone(this.#told.cause.error) &&
      this.#results.length === 0
    )
  }

  readonly pull: Effect.Effect<Chunk.Chunk<A>, Option.Option<E>> = Effect.suspend(() => {
    if (this.#results.length > 0) {
      const results = this.#results
      this.#results = []
      this.#onTaken(results)
      return Effect.succeed(Chunk.unsafeFromArray(results))
    }
    if (this.#end === undefined) return Effect.zipRight(this.#untilAny, this.pull)
    this.#told = this.#end
    return this.#end
  })

  readonly #untilAny = this.#signal.until(() => this.#results.length > 0 || this.#end !== undefined)
}
