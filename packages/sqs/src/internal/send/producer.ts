/** A producer: messages prepared and handed to the outbox, one by one or by a stream, and their results told. */
import * as Chunk from "effect/Chunk"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Sink from "effect/Sink"
import * as Stream from "effect/Stream"
import type { SqsQueue } from "../../SqsQueue.js"
import { immediate } from "../effect/immediate.js"
import { withSpan } from "../effect/span.js"
import type { Entry, Receipt, Result } from "./entry.js"
import { type BodyNotStored, errorOf, type MessageRejected, type ProducerError } from "./errors.js"
import { InOrder } from "./inOrder.js"
import type { Message } from "./message.js"
import type { Checked } from "./options.js"
import type { Outbox, Stats } from "./outbox.js"
import type { preparing } from "./prepare.js"
import { type Receiver, Results, type SendResult } from "./results.js"

/**
 * A message is *accepted* when there is room for it in the buffer. What was accepted is sent, whatever becomes of its
 * sender; what waits for room is given up when its sender is interrupted.
 */
export interface SqsProducer<in A> {
  readonly queue: SqsQueue
  /** Completes when SQS has the message. */
  readonly send: (message: A | Message<A>) => Effect.Effect<Receipt, ProducerError>
  /**
   * Sends all and ends with how many there were, when SQS has them. Fails with the first failure of a message, at the
   * next element or the end; what was accepted by then is sent all the same.
   */
  readonly sink: Sink.Sink<number, A | Message<A>, never, ProducerError>
  /**
   * Each element's result, in the order of the elements. Runs ahead of who reads by `buffer` elements at most. Ends
   * and fails as the stream does, after the results of what came before.
   */
  readonly through: <E, R>(
    stream: Stream.Stream<A | Message<A>, E, R>
  ) => Stream.Stream<Either.Either<Receipt, ProducerError>, E, R>
  readonly stats: Effect.Effect<Stats>
}

const noop = () => {}

type Prepare<A> = ReturnType<typeof preparing<A>>

export class Producer<A> implements SqsProducer<A> {
  readonly queue: SqsQueue
  readonly #outbox: Outbox
  readonly #prepare: Prepare<A>
  readonly #checked: Checked

  constructor(queue: SqsQueue, outbox: Outbox, prepare: Prepare<A>, checked: Checked) {
    this.queue = queue
    this.#outbox = outbox
    this.#prepare = prepare
    this.#checked = checked
  }

  readonly stats = Effect.sync(() => this.#outbox.stats)

  readonly send = (given: A | Message<A>): Effect.Effect<Receipt, ProducerError> =>
    withSpan((span) => {
      const preparing = this.#prepare(given, span)
      const prepared = immediate(preparing)
      if (prepared === undefined) return Effect.flatMap(preparing, (entry) => this.#submit(given, entry))
      return Either.isRight(prepared) ? this.#submit(given, prepared.right) : Effect.fail(prepared.left)
    })

  #submit(given: A | Message<A>, entry: Entry): Effect.Effect<Receipt, ProducerError> {
    return Effect.async((resume) => {
      entry.onResult = (result) => resume(this.#resultOf(given, entry, result))
      this.#outbox.add(entry)
      return Effect.sync(() => this.#outbox.withdraw(entry))
    })
  }

  #resultOf(given: A | Message<A>, entry: Entry, result: Result): SendResult {
    return Either.mapLeft(result, (failure) => errorOf(this.queue, given, entry, failure))
  }

  readonly sink: Sink.Sink<number, A | Message<A>, never, ProducerError> = Sink.unwrapScoped(
    Effect.map(Effect.scope, (scope) => {
      const slow = new InOrder(this.#checked.concurrency, scope)
      let pending = 0
      let sent = 0
      let failure: ProducerError | undefined
      let look = noop
      const receiver: Receiver<ProducerError> = {
        ready: () => (failure === undefined ? undefined : Effect.fail(failure)),
        open: () => {
          pending += 1
          return (result) => {
            pending -= 1
            if (Either.isRight(result)) sent += 1
            else failure ??= result.left
            look()
          }
        }
      }
      const over = Effect.async<number, ProducerError>((resume) => {
        look = () => {
          if (failure !== undefined) resume(Effect.fail(failure))
          else if (pending === 0) resume(Effect.succeed(sent))
        }
        look()
      })
      return Sink.forEachChunk((elements: Chunk.Chunk<A | Message<A>>) => this.#sendAll(elements, receiver, slow)).pipe(
        Sink.zipRight(Sink.fromEffect(over))
      )
    })
  )

  readonly through = <E, R>(stream: Stream.Stream<A | Message<A>, E, R>): Stream.Stream<SendResult, E, R> =>
    Stream.fromPull(
      Effect.gen(this, function* () {
        const results = new Results<E>(this.#checked.buffer)
        const slow = new InOrder(this.#checked.concurrency, yield* Effect.scope)
        yield* stream.pipe(
          Stream.runForEachChunk((elements) => this.#sendAll(elements, results, slow)),
          Effect.onExit((exit) => Effect.sync(() => results.end(exit))),
          Effect.interruptible,
          Effect.forkScoped
        )
        return results.pull
      })
    )

  /** Hands all over, in order, as there is room. What takes time to prepare does so side by side. */
  #sendAll<E>(elements: Chunk.Chunk<A | Message<A>>, receiver: Receiver<E>, slow: InOrder): Effect.Effect<void, E> {
    return withSpan((span) => {
      const from = (first: number): Effect.Effect<void, E> => {
        for (let i = first; i < elements.length; i++) {
          const wait = receiver.ready()
          if (wait !== undefined) return Effect.flatMap(wait, () => from(i))
          const given = Chunk.unsafeGet(elements, i)
          const preparing = this.#prepare(given, span)
          const prepared = slow.isIdle ? immediate(preparing) : undefined
          const done = receiver.open()
          const handed =
            prepared === undefined
              ? slow.add(
                  Effect.either(preparing),
                  (late) => this.#hand(given, late, done) ?? Effect.void,
                  (late) => Either.isRight(late) && late.right.onUnsent?.()
                )
              : this.#hand(given, prepared, done)
          if (handed !== undefined) return Effect.flatMap(handed, () => from(i + 1))
        }
        return Effect.void
      }
      return from(0)
    })
  }

  #hand(
    given: A | Message<A>,
    prepared: Either.Either<Entry, MessageRejected | BodyNotStored>,
    done: (result: SendResult) => void
  ): Effect.Effect<void> | undefined {
    if (Either.isLeft(prepared)) {
      done(Either.left(prepared.left))
      return undefined
    }
    const entry = prepared.right
    entry.onResult = (result) => done(this.#resultOf(given, entry, result))
    return this.#outbox.add(entry) ? undefined : this.#taken(entry)
  }

  /** Waits until the entry, which found no room, has it. */
  #taken(entry: Entry): Effect.Effect<void> {
    let isTaken = false
    let wake = noop
    entry.onTaken = () => {
      isTaken = true
      wake()
    }
    return Effect.async((resume) => {
      if (isTaken) return resume(Effect.void)
      wake = () => resume(Effect.void)
      return Effect.sync(() => this.#outbox.withdraw(entry))
    })
  }
}
