/** Where the results of a stream's elements go. */
import * as Cause from "effect/Cause"
import * as Chunk from "effect/Chunk"
import * as Effect from "effect/Effect"
import type * as Either from "effect/Either"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import type { Receipt } from "./entry.js"
import type { ProducerError } from "./errors.js"

const noop = () => {}

export interface Receiver<E> {
  /** What to wait for before the next element. */
  readonly ready: () => Effect.Effect<void, E> | undefined
  /** The next element is on its way: where to put its result. */
  readonly open: () => (result: SendResult) => void
}

export type SendResult = Either.Either<Receipt, ProducerError>

interface Slot {
  result: SendResult | undefined
  next: Slot | undefined
}

/** Results in the order of their elements, at most so many that are not read. */
export class Results<E> implements Receiver<never> {
  readonly #most: number
  #unread = 0
  #head: Slot | undefined
  #tail: Slot | undefined
  #end: Exit.Exit<void, E> | undefined
  #wakeReader = noop
  #wakeWriter = noop

  constructor(most: number) {
    this.#most = most
  }

  ready(): Effect.Effect<void> | undefined {
    return this.#unread < this.#most ? undefined : this.#untilRead
  }

  readonly #untilRead = Effect.async<void>((resume) => {
    if (this.#unread < this.#most) return resume(Effect.void)
    this.#wakeWriter = () => resume(Effect.void)
  })

  open(): (result: SendResult) => void {
    const slot: Slot = { result: undefined, next: undefined }
    if (this.#tail === undefined) this.#head = slot
    else this.#tail.next = slot
    this.#tail = slot
    this.#unread += 1
    return (result) => {
      slot.result = result
      if (slot === this.#head) this.#wakeReader()
    }
  }

  end(exit: Exit.Exit<void, E>): void {
    this.#end = exit
    if (this.#head === undefined) this.#wakeReader()
  }

  readonly pull: Effect.Effect<Chunk.Chunk<SendResult>, Option.Option<E>> = Effect.suspend(() => {
    const read: Array<SendResult> = []
    let head = this.#head
    while (head?.result !== undefined) {
      read.push(head.result)
      head = head.next
    }
    this.#head = head
    if (head === undefined) this.#tail = undefined
    this.#unread -= read.length
    if (read.length > 0) {
      this.#wakeWriter()
      return Effect.succeed(Chunk.unsafeFromArray(read))
    }
    if (head === undefined && this.#end !== undefined) {
      return Exit.isFailure(this.#end)
        ? Effect.failCause(Cause.map(this.#end.cause, Option.some))
        : Effect.fail(Option.none())
    }
    return Effect.zipRight(this.#untilNews, this.pull)
  })

  readonly #untilNews = Effect.async<void>((resume) => {
    const news = this.#head === undefined ? this.#end !== undefined : this.#head.result !== undefined
    if (news) return resume(Effect.void)
    this.#wakeReader = () => resume(Effect.void)
  })
}
