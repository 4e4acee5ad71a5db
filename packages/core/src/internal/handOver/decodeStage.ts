/**
 * The stage behind `decode` and `decodeJson`. What runs for one message concerns that message alone: a Schema, a
 * transformation of it or an encoding that throws, dies or is interrupted makes its own delivery a failed one.
 */
import * as Cause from "effect/Cause"
import * as Chunk from "effect/Chunk"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Exit from "effect/Exit"
import type * as Option from "effect/Option"
import type { ParseOptions } from "effect/SchemaAST"
import type * as Stream from "effect/Stream"
import { DecodeError, type Delivery, inFlight, withBody } from "../../Delivery.js"
import type * as LeaseQueue from "../../LeaseQueue.js"
import * as OpenBody from "../../OpenBody.js"
import * as Reason from "../../Reason.js"
import { isDone } from "../effect/done.js"
import { runsLegibly } from "../effect/legible.js"
import { fromPull, type Pull, toPull } from "../effect/pull.js"
import { onLoop } from "../observe/loopTime.js"
import { attempt } from "../userCode/attempt.js"
import * as decode from "./decode.js"

type Problem<F> = decode.Problem | decode.Refusal<F>

/** Decodes one body. It may throw. */
export type Decode<A, B, F, R> = (
  body: A | string,
  options: ParseOptions,
  message: LeaseQueue.Message
) => Effect.Effect<B, Problem<F>, R>

/** In characters: errors are gathered while they are made, and a larger body can have too many. */
const longestForAllErrors = 65_536

const allErrors: ParseOptions = { errors: "all" }
const firstError: ParseOptions = { errors: "first" }

/** Who reads the error wants to know all that is wrong, where that is little. */
const optionsFor = (text: string): ParseOptions => (text.length <= longestForAllErrors ? allErrors : firstError)

/** The error's own words may repeat the body. */
const thrown = (defect: unknown): string =>
  attempt(() => defect instanceof RangeError && /call stack/i.test(defect.message), false)
    ? "it is nested too deeply"
    : `its Schema threw ${Reason.nameOf(defect) ?? "an error"}`

const problemOf = <F>(cause: Cause.Cause<Problem<F>>): Problem<F> => {
  const failure = Cause.failureOption(cause)
  if (failure._tag === "Some") return failure.value
  return Cause.isInterruptedOnly(cause) ? "its Schema was interrupted" : thrown(Cause.squash(cause))
}

const failureOf = <F>(delivery: Delivery<unknown, unknown>, problem: Problem<F>): F | DecodeError => {
  if (problem instanceof decode.Refusal) return problem.failure
  const messageId = delivery.message.id
  const what = typeof problem === "string" ? problem : decode.describe(problem)
  return new DecodeError({ messageId, message: `the body of message ${messageId} does not decode: ${what}` })
}

const isEncoded = ({ body, message }: Delivery<unknown, unknown>): boolean =>
  // Only a body as it was received is what its message says how to open.
  message.open !== undefined && Exit.isSuccess(body) && body.value === message.body

/** Whether a body is already what it is to become, and is handed on as it is. */
export type Passes<B> = (body: unknown) => body is B

const hasBody = <B, E>(delivery: Delivery<unknown, E>, passes: Passes<B> | undefined): delivery is Delivery<B, E> =>
  passes !== undefined && Exit.isSuccess(delivery.body) && passes(delivery.body.value)

class Decoder<A, E, B, F, EX, R> {
  readonly #decode: Decode<A, B, F, R>
  readonly #passes: Passes<B> | undefined
  readonly #pull: Pull<Delivery<A, E>, EX, R>
  #items: ReadonlyArray<Delivery<A, E>> = []
  #next = 0
  #decoded: Array<Delivery<B, E | F | DecodeError>> = []

  constructor(decode: Decode<A, B, F, R>, pull: Pull<Delivery<A, E>, EX, R>, passes: Passes<B> | undefined) {
    this.#decode = decode
    this.#passes = passes
    this.#pull = pull
  }

  #add(delivery: Delivery<A, E>, result: Either.Either<B, Problem<F>>): void {
    this.#push(
      withBody<B, E | F | DecodeError>(
        delivery,
        Either.isRight(result) ? Exit.succeed(result.right) : Exit.fail(failureOf(delivery, result.left))
      )
    )
  }

  #push(decoded: Delivery<B, E | F | DecodeError>): void {
    const held = inFlight(decoded)
    // It has waited here for room.
    if (held.awaited) held.passOn()
    this.#decoded.push(decoded)
    this.#next++
  }

  /** The body as the Schema is to see it, and what that makes of it. */
  #begin(delivery: Delivery<A, E>, body: A): Effect.Effect<B, Problem<F>, R> {
    try {
      const { message } = delivery
      const opened: Either.Either<A | string, string> = isEncoded(delivery)
        ? OpenBody.open(delivery, message.body)
        : Either.right(body)
      if (Either.isLeft(opened)) return Either.left(opened.left)
      const text = typeof opened.right === "string" ? opened.right : message.body
      return this.#decode(opened.right, optionsFor(text), message)
    } catch (defect) {
      return Either.left(thrown(defect))
    }
  }

  /** Decodes what is at hand; what was decoded goes on before the stage waits for room, since room is made downstream. */
  readonly #step: Effect.Effect<Chunk.Chunk<Delivery<B, E | F | DecodeError>>, never, R> = Effect.suspend(() => {
    while (this.#next < this.#items.length) {
      const delivery = this.#items[this.#next] as Delivery<A, E>
      if (Exit.isFailure(delivery.body)) {
        this.#push(withBody(delivery, Exit.failCause(delivery.body.cause)))
        continue
      }
      if (isEncoded(delivery) && !OpenBody.hasRoom(delivery)) {
        if (this.#decoded.length > 0) break
        // What waits here for its turn is not forgotten.
        for (const waiting of this.#items.slice(this.#next)) inFlight(waiting).awaited = true
        return Effect.zipRight(OpenBody.room(delivery), this.#step)
      }
      if (!isEncoded(delivery) && hasBody(delivery, this.#passes)) {
        this.#push(delivery)
        continue
      }
      const { value } = delivery.body
      const result = onLoop(inFlight(delivery), "decoding it", () => this.#begin(delivery, value))
      if (!isDone(result)) {
        return Effect.flatMap(Effect.exit(runsLegibly(result)), (exit) => {
          this.#add(delivery, Exit.isSuccess(exit) ? Either.right(exit.value) : Either.left(problemOf(exit.cause)))
          return this.#step
        })
      }
      this.#add(delivery, result)
    }
    const decoded = this.#decoded
    this.#decoded = []
    return Effect.succeed(Chunk.unsafeFromArray(decoded))
  })

  /** What waits here for room is nobody's any more. */
  readonly close: Effect.Effect<void> = Effect.sync(() => {
    for (const waiting of this.#items.slice(this.#next)) inFlight(waiting).awaited = false
  })

  readonly pull: Effect.Effect<Chunk.Chunk<Delivery<B, E | F | DecodeError>>, Option.Option<EX>, R> = Effect.suspend(
    () =>
      this.#next < this.#items.length
        ? this.#step
        : Effect.flatMap(this.#pull, (chunk) => {
            this.#items = Chunk.toReadonlyArray(chunk)
            this.#next = 0
            return this.#step
          })
  )
}

/** @internal */
export const decodeStage = <A, E, EX, RX, B, R, F = never>(
  self: Stream.Stream<Delivery<A, E>, EX, RX>,
  decode: Decode<A, B, F, R>,
  passes?: Passes<B>
): Stream.Stream<Delivery<B, E | F | DecodeError>, EX, RX | R> =>
  fromPull(
    Effect.gen(function* () {
      const pull = yield* toPull(self)
      const decoder = new Decoder<A, E, B, F, EX, RX | R>(decode, pull, passes)
      yield* Effect.addFinalizer(() => decoder.close)
      return decoder.pull
    })
  )
