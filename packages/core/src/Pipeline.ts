/**
 * The stages of a pipeline of deliveries: decode, map, filter, batch, process, settle. Each takes a stream of deliveries
 * and gives a stream, and composes with any other stream operator.
 *
 * A stage that runs or holds a delivery claims it first, and answers for it: when the stage ends early, what it claimed
 * and has not passed on is released.
 */
import * as Cause from "effect/Cause"
import * as Chunk from "effect/Chunk"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as ParseResult from "effect/ParseResult"
import type * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { DecodeError, type Delivery, HandlerDefect, inFlight, map as mapDelivery, withBody } from "./Delivery.js"
import * as InvalidOptions from "./InvalidOptions.js"
import { batchStage } from "./internal/batchStage.js"
import * as decodeInternal from "./internal/decode.js"
import { withSpan } from "./internal/span.js"
import { Claims, dispatch, type RunFork, type Slot } from "./internal/stage.js"
import * as RetryPolicy from "./RetryPolicy.js"
import * as Settlement from "./Settlement.js"

type Deliveries<A, E, EX, RX> = Stream.Stream<Delivery<A, E>, EX, RX>

// ---------------------------------------------------------------------------------------------------------- decode

/**
 * Decodes bodies by a Schema. What does not decode is not settled here: it flows on as a failed delivery with a
 * `DecodeError`, so that the stage that settles treats it in its turn.
 */
export const decode =
  <B, I, R>(schema: Schema.Schema<B, I, R>) =>
  <A extends I, E, EX, RX>(self: Deliveries<A, E, EX, RX>): Deliveries<B, E | DecodeError, EX, RX | R> =>
    decodeWith(self, ParseResult.decodeUnknown(schema))

/**
 * Parses bodies as JSON and decodes them by a Schema. What is not JSON, or does not match, flows on as a failed
 * delivery with a `DecodeError`.
 */
export const decodeJson = <B, I, R>(schema: Schema.Schema<B, I, R>) => {
  const decodeParsed = ParseResult.decodeUnknown(schema)
  return <E, EX, RX>(self: Deliveries<string, E, EX, RX>): Deliveries<B, E | DecodeError, EX, RX | R> =>
    decodeWith(self, (body) => {
      let parsed: unknown
      try {
        parsed = JSON.parse(body)
      } catch {
        return Effect.fail("it is not JSON")
      }
      return decodeParsed(parsed)
    })
}

const decodeWith = <A, E, EX, RX, B, R>(
  self: Deliveries<A, E, EX, RX>,
  f: (body: A) => Effect.Effect<B, ParseResult.ParseIssue | string, R>
): Deliveries<B, E | DecodeError, EX, RX | R> => {
  const toBody = (delivery: Delivery<A, E>, result: Either.Either<B, ParseResult.ParseIssue | string>) =>
    withBody<B, E | DecodeError>(
      delivery,
      Either.isRight(result) ? Exit.succeed(result.right) : Exit.fail(decodeError(delivery, result.left))
    )
  const decodeOne = (delivery: Delivery<A, E>): Effect.Effect<Delivery<B, E | DecodeError>, never, R> => {
    if (Exit.isFailure(delivery.body)) {
      return Effect.succeed(withBody(delivery, Exit.failCause(delivery.body.cause)))
    }
    const result = f(delivery.body.value)
    return isDone(result)
      ? Effect.succeed(toBody(delivery, result))
      : Effect.map(Effect.either(result), (either) => toBody(delivery, either))
  }
  return Stream.mapChunksEffect(self, (chunk) => Effect.map(Effect.forEach(chunk, decodeOne), Chunk.unsafeFromArray))
}

// A Schema without effects answers with an Either, and a fiber is not needed.
const isDone = <A, E, R>(effect: Effect.Effect<A, E, R>): effect is Effect.Effect<A, E, R> & Either.Either<A, E> =>
  Either.isEither(effect)

const decodeError = (delivery: Delivery<unknown, unknown>, issue: ParseResult.ParseIssue | string) => {
  const messageId = delivery.message.id
  const what = typeof issue === "string" ? issue : decodeInternal.describe(issue)
  return new DecodeError({ messageId, message: `the body of message ${messageId} does not decode: ${what}` })
}

// -------------------------------------------------------------------------------------------------------- transform

/** Changes bodies. What `f` throws makes its delivery a failed one. */
export const map =
  <A, B>(f: (body: A) => B) =>
  <E, EX, RX>(self: Deliveries<A, E, EX, RX>): Deliveries<B, E, EX, RX> =>
    Stream.map(self, (delivery) => mapDelivery(delivery, f))

/** Keeps deliveries whose body passes; acks the others, so that nothing stays in flight that no stage will settle. */
export const filter =
  <A>(predicate: (body: A) => boolean) =>
  <E, EX, RX>(self: Deliveries<A, E, EX, RX>): Deliveries<A, E, EX, RX> =>
    Stream.filterMap(self, (delivery): Option.Option<Delivery<A, E>> => {
      const verdict = mapDelivery(delivery, predicate)
      if (Exit.isFailure(verdict.body)) return Option.some(withBody(delivery, Exit.failCause(verdict.body.cause)))
      if (verdict.body.value) return Option.some(delivery)
      inFlight(delivery).settle(Settlement.ack)
      return Option.none()
    })

export interface ConcurrencyOptions {
  /** Effects run at once: slots. Default 10. */
  readonly concurrency?: number | undefined
}

/**
 * Changes bodies with an effect and passes the deliveries on, still leased, in the order in which they finish; a later
 * stage settles them. A failure makes its delivery a failed one, an interruption releases it.
 */
export const mapEffect =
  <A, B, E2, R2, E = never>(
    f: (body: A, delivery: Delivery<A, E>) => Effect.Effect<B, E2, R2>,
    options: ConcurrencyOptions = {}
  ) =>
  <EX, RX>(self: Deliveries<A, E, EX, RX>): Deliveries<B, E | E2, EX | InvalidOptions.InvalidOptions, RX | R2> =>
    withConcurrency(options, (concurrency) =>
      dispatch(self, () => {
        const claims = new Claims()
        return {
          concurrency,
          claims,
          settles: false,
          start: (delivery, slot: Slot<Delivery<B, E | E2>>, runFork: RunFork<R2>) =>
            run(claims, delivery, f, runFork, {
              failed: (cause) => slot.done(withBody(delivery, Exit.failCause(cause))),
              succeeded: (value) => slot.done(withBody(delivery, Exit.succeed(value))),
              skipped: () => slot.done()
            })
        }
      })
    )

// ---------------------------------------------------------------------------------------------------------- process

export interface ProcessOptions<E, D> extends ConcurrencyOptions {
  /**
   * What happens after a failure: a policy, or `(failure, delivery) => policy`. The failure is the handler's, an earlier
   * stage's (`DecodeError`), or a `HandlerDefect`. Default: `RetryPolicy.standard`.
   */
  readonly retry?: RetryPolicy.PolicyInput<RetryPolicy.Failure<E>, D> | undefined
  /** A span for each message, linked to its producer's where the message carries a trace. Off by default. */
  readonly span?: boolean | undefined
}

/**
 * Runs a handler on each delivery and settles it: acks on success, asks the retry policy on failure, releases on
 * interruption. The results come as they finish; there is none for a delivery that failed.
 *
 * A handler that fails, dies or takes long concerns its own delivery only. Its logs carry the message's id, group and
 * attempt. The stage ends when every settlement is confirmed.
 *
 * Fails with `InvalidOptions` where an option cannot work.
 */
export const process =
  <A, B, E2, R2, E = never>(
    handler: (body: A, delivery: Delivery<A, E>) => Effect.Effect<B, E2, R2>,
    options: ProcessOptions<E | E2, Delivery<A, E>> = {}
  ) =>
  <EX, RX>(self: Deliveries<A, E, EX, RX>): Stream.Stream<B, EX | InvalidOptions.InvalidOptions, RX | R2> =>
    withConcurrency(options, (concurrency) =>
      dispatch(self, () => {
        const claims = new Claims()
        const policy = options.retry ?? RetryPolicy.standard
        const handle =
          options.span === true
            ? (body: A, delivery: Delivery<A, E>) => withSpan(handler(body, delivery), delivery)
            : handler
        return {
          concurrency,
          claims,
          settles: true,
          start: (delivery, slot: Slot<B>, runFork: RunFork<R2>) =>
            run(claims, delivery, handle, runFork, {
              failed: (cause) => settleFailure(policy, delivery, cause, runFork, () => slot.done()),
              succeeded: (value) => {
                inFlight(delivery).settle(Settlement.ack)
                slot.done(value)
              },
              skipped: () => slot.done()
            })
        }
      })
    )

/**
 * Settles deliveries as they come: acks those whose body is a success, asks the retry policy for the failed ones. Ends
 * a pipeline that goes on after its handler: `mapEffect`, then produce elsewhere, then `settle`.
 */
export const settle =
  <E, A>(options: Pick<ProcessOptions<E, Delivery<A, E>>, "retry"> = {}) =>
  <EX, RX>(self: Deliveries<A, E, EX, RX>): Stream.Stream<A, EX | InvalidOptions.InvalidOptions, RX> =>
    dispatch(self, () => {
      const claims = new Claims()
      const policy = options.retry ?? RetryPolicy.standard
      return {
        concurrency: Number.MAX_SAFE_INTEGER,
        claims,
        settles: true,
        start: (delivery, slot: Slot<A>, runFork: RunFork<never>) => {
          if (!claims.claim(inFlight(delivery))) return slot.done()
          if (Exit.isFailure(delivery.body)) {
            return settleFailure(policy, delivery, delivery.body.cause, runFork, () => slot.done())
          }
          inFlight(delivery).settle(Settlement.ack)
          slot.done(delivery.body.value)
        }
      }
    })

interface Outcomes<B, E> {
  readonly succeeded: (value: B) => void
  readonly failed: (cause: Cause.Cause<E>) => void
  /** Nothing is left to do: it was released before it began, or because it was interrupted. */
  readonly skipped: () => void
}

/** Claims a delivery and runs `f` on it in a fiber of its own: the few steps that every message costs. */
const run = <A, E, B, E2, R2>(
  claims: Claims,
  delivery: Delivery<A, E>,
  f: (body: A, delivery: Delivery<A, E>) => Effect.Effect<B, E2, R2>,
  runFork: RunFork<R2>,
  outcomes: Outcomes<B, E | E2>
): void => {
  const held = inFlight(delivery)
  if (!claims.claim(held)) {
    outcomes.skipped()
    return
  }
  if (Exit.isFailure(delivery.body)) {
    outcomes.failed(delivery.body.cause)
    return
  }
  const startedAt = held.custodian.now()
  const body = delivery.body.value
  const fiber = runFork(
    Effect.suspend(() => f(body, delivery)),
    delivery.message
  )
  claims.works(held, fiber)
  fiber.addObserver((exit) => {
    claims.rests(held)
    const interrupted = Exit.isFailure(exit) && Cause.isInterruptedOnly(exit.cause)
    if (!interrupted) held.custodian.handled(held.custodian.now() - startedAt, Exit.isSuccess(exit))
    if (Exit.isSuccess(exit)) {
      outcomes.succeeded(exit.value)
    } else if (interrupted) {
      held.settle(Settlement.release)
      outcomes.skipped()
    } else {
      outcomes.failed(exit.cause)
    }
  })
}

const failureOf = <E>(delivery: Delivery<unknown, unknown>, cause: Cause.Cause<E>): RetryPolicy.Failure<E> =>
  Option.getOrElse(
    Cause.failureOption(cause),
    () => new HandlerDefect({ messageId: delivery.message.id, defect: Cause.squash(cause) })
  )

const settleFailure = <A, E, E2>(
  policy: RetryPolicy.PolicyInput<RetryPolicy.Failure<E | E2>, Delivery<A, E>>,
  delivery: Delivery<A, E>,
  cause: Cause.Cause<E | E2>,
  runFork: RunFork<never>,
  done: () => void
): void => {
  const decided = runFork(
    Effect.logDebug("handler failed", cause).pipe(
      Effect.zipRight(RetryPolicy.decide(policy, failureOf(delivery, cause), delivery))
    ),
    delivery.message
  )
  decided.addObserver((exit) => {
    // A policy that throws decides nothing: the queue's own timeout does.
    inFlight(delivery).settle(Exit.isSuccess(exit) ? exit.value : Settlement.leave)
    done()
  })
}

const withConcurrency = <A, E, R>(
  options: ConcurrencyOptions,
  make: (concurrency: number) => Stream.Stream<A, E, R>
): Stream.Stream<A, E | InvalidOptions.InvalidOptions, R> =>
  Stream.unwrap(Effect.map(InvalidOptions.wholeNumber("concurrency", options.concurrency ?? 10, { min: 1 }), make))

// ------------------------------------------------------------------------------------------------------------ batch

export interface BatchOptions {
  /** Deliveries in a batch, at most. */
  readonly max: number
  /** Bytes of raw bodies in a batch, at most (UTF-8). One that is larger makes a batch of its own. Default: no limit. */
  readonly maxBytes?: number | undefined
  /** How long a batch waits to be filled, from its first delivery. Default 1 second. */
  readonly within?: Duration.DurationInput | undefined
}

export interface Batch<out A, out E = never> {
  /** At least one. */
  readonly deliveries: ReadonlyArray<Delivery<A, E>>
  /** Why it was closed. */
  readonly closedBy: "count" | "bytes" | "time" | "end"
}

/**
 * Gathers deliveries by count, bytes and time. It holds one batch beside the one that it fills; all of it counts as in
 * flight, so `max` should be well below `maxInFlight`.
 */
export const batch =
  (options: BatchOptions) =>
  <A, E, EX, RX>(self: Deliveries<A, E, EX, RX>): Stream.Stream<Batch<A, E>, EX | InvalidOptions.InvalidOptions, RX> =>
    Stream.unwrap(
      Effect.gen(function* () {
        const { duration, wholeNumber } = InvalidOptions
        const max = yield* wholeNumber("max", options.max, { min: 1 })
        const maxBytes = yield* wholeNumber("maxBytes", options.maxBytes ?? Number.MAX_SAFE_INTEGER, { min: 1 })
        const within = yield* duration("within", options.within ?? "1 second", {})
        return batchStage(self, { max, maxBytes, within: Duration.toMillis(within) })
      })
    )

export interface ProcessBatchesOptions<E, D> extends ProcessOptions<E, D>, BatchOptions {}

/**
 * Runs a handler on many deliveries at once, `concurrency` batches at a time (default 1). The handler answers with each
 * message's own result, in the order of the bodies; answering with nothing acks them all, and failing fails them all.
 * Deliveries that failed before (they did not decode) are settled by the policy and never reach the handler.
 *
 * Fails with `InvalidOptions` where an option cannot work.
 */
export const processBatches =
  <A, B = never, EI = never, E2 = never, R2 = never, E = never>(
    handler: (
      bodies: ReadonlyArray<A>,
      deliveries: ReadonlyArray<Delivery<A, E>>
    ) => Effect.Effect<ReadonlyArray<Either.Either<B, EI>> | void, E2, R2>,
    options: ProcessBatchesOptions<E | EI | E2, Delivery<A, E>>
  ) =>
  <EX, RX>(self: Deliveries<A, E, EX, RX>): Stream.Stream<B, EX | InvalidOptions.InvalidOptions, RX | R2> =>
    withConcurrency({ concurrency: options.concurrency ?? 1 }, (concurrency) =>
      dispatch(batch(options)(self), () => {
        const claims = new Claims()
        const policy = options.retry ?? RetryPolicy.standard
        return {
          concurrency,
          claims,
          settles: true,
          start: ({ deliveries }, slot: Slot<B>, runFork: RunFork<R2>) => {
            const results: Array<B> = []
            const settled = countdown(deliveries.length, () => slot.done(...results))
            const fail = (delivery: Delivery<A, E>, cause: Cause.Cause<E | EI | E2>) =>
              settleFailure(policy, delivery, cause, runFork, settled)
            const bodies: Array<A> = []
            const sound = deliveries.filter((delivery) => {
              if (!claims.claim(inFlight(delivery))) settled()
              else if (Exit.isFailure(delivery.body)) fail(delivery, delivery.body.cause)
              else return bodies.push(delivery.body.value) > 0
              return false
            })
            if (sound.length === 0) return
            runBatch(
              claims,
              sound,
              Effect.suspend(() => handler(bodies, sound)),
              runFork,
              (exit) => {
                const answer = Exit.isSuccess(exit) ? exit.value : undefined
                sound.forEach((delivery, i) => {
                  const held = inFlight(delivery)
                  if (Exit.isFailure(exit)) {
                    if (!Cause.isInterruptedOnly(exit.cause)) return fail(delivery, exit.cause)
                    held.settle(Settlement.release)
                    return settled()
                  }
                  const result = answer === undefined ? undefined : answer[i]
                  if (answer !== undefined && result === undefined)
                    return fail(delivery, Cause.die(shortAnswer(answer, sound)))
                  if (result !== undefined && Either.isLeft(result)) return fail(delivery, Cause.fail(result.left))
                  held.settle(Settlement.ack)
                  if (result !== undefined) results.push(result.right)
                  settled()
                })
              }
            )
          }
        }
      })
    )

const shortAnswer = (answer: ReadonlyArray<unknown>, asked: ReadonlyArray<unknown>) =>
  new Error(`a batch handler answered with ${answer.length} results for ${asked.length} messages`)

const countdown = (n: number, done: () => void) => {
  let left = n
  return () => {
    if (--left === 0) done()
  }
}

const runBatch = <A, E, R>(
  claims: Claims,
  deliveries: ReadonlyArray<Delivery<unknown, unknown>>,
  effect: Effect.Effect<A, E, R>,
  runFork: RunFork<R>,
  onExit: (exit: Exit.Exit<A, E>) => void
): void => {
  const held = deliveries.map(inFlight)
  const [first] = held
  if (first === undefined) return
  const startedAt = first.custodian.now()
  const fiber = runFork(effect)
  for (const delivery of held) claims.works(delivery, fiber)
  fiber.addObserver((exit) => {
    for (const delivery of held) {
      claims.rests(delivery)
      if (Exit.isSuccess(exit) || !Cause.isInterruptedOnly(exit.cause)) {
        delivery.custodian.handled(delivery.custodian.now() - startedAt, Exit.isSuccess(exit))
      }
    }
    onExit(exit)
  })
}
