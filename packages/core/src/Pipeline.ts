/**
 * The stages of a pipeline of deliveries: decode, map, filter, batch, process, settle. Each takes a stream of deliveries
 * and gives a stream, and composes with any other stream operator.
 *
 * A stage that runs or holds a delivery claims it first, and answers for it: when the stage ends early, what it claimed
 * and has not passed on is released.
 */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Either from "effect/Either"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as ParseResult from "effect/ParseResult"
import type * as Schema from "effect/Schema"
import * as SchemaAST from "effect/SchemaAST"
import * as Stream from "effect/Stream"
import * as Channel from "./Channel.js"
import * as Circuit from "./Circuit.js"
import {
  type DecodeError,
  type Delivery,
  type HandlerTimeout,
  inFlight,
  map as mapDelivery,
  Stale,
  withBody
} from "./Delivery.js"
import * as InvalidOptions from "./InvalidOptions.js"
import { unwrapped } from "./internal/effect/pull.js"
import { decodeStage } from "./internal/handOver/decodeStage.js"
import { mergeStage } from "./internal/handOver/merge.js"
import { splitStage } from "./internal/handOver/splitStage.js"
import type { Guard } from "./internal/idempotency/protection.js"
import type { Once } from "./internal/idempotency/terms.js"
import { onLoop } from "./internal/observe/loopTime.js"
import { weighted } from "./internal/receive/turns.js"
import {
  type Around,
  around as aroundHandlers,
  aroundStage,
  type Deliveries as Handles,
  within
} from "./internal/run/around.js"
import { type Batch, batchDeliveryStage } from "./internal/run/batchDelivery.js"
import { batchStage } from "./internal/run/batchStage.js"
import { coalesceStage } from "./internal/run/coalesceStage.js"
import { keyed } from "./internal/run/keys.js"
import { mapEffectStage } from "./internal/run/mapEffectStage.js"
import { processBatchesStage } from "./internal/run/processBatchesStage.js"
import { processStage } from "./internal/run/processStage.js"
import { routing } from "./internal/run/routing.js"
import { sharedStage } from "./internal/run/sharedStage.js"
import { OwnSlots, type Slots } from "./internal/run/slots.js"
import { effectOf, saysYes } from "./internal/userCode/answer.js"
import type * as Message from "./Message.js"
import * as RetryPolicy from "./RetryPolicy.js"
import * as Settlement from "./Settlement.js"
import * as Share from "./Share.js"
import * as Tunable from "./Tunable.js"

type Deliveries<A, E, EX, RX> = Stream.Stream<Delivery<A, E>, EX, RX>

// ---------------------------------------------------------------------------------------------------------- decode

/**
 * Decodes bodies by a Schema. What does not decode, or makes the Schema throw, is not settled here: it flows on as a failed
 * delivery with a `DecodeError`, so that the stage that settles treats it in its turn. A body that its sender has encoded
 * (compressed), and that no stage before has changed, is opened first, as soon as `maxOpenedBytes` of the consumer allow.
 *
 * The error names up to five places that are wrong; of a body of more than 64 Ki characters only the first.
 */
export const decode =
  <B, I, R>(schema: Schema.Schema<B, I, R>) =>
  <A extends I, E, EX, RX>(self: Deliveries<A, E, EX, RX>): Deliveries<B, E | DecodeError, EX, RX | R> =>
    decodeStage(
      self,
      ParseResult.decodeUnknown(schema),
      // A text that is to be a text: what is left of decoding is to open it.
      SchemaAST.isStringKeyword(schema.ast) ? ParseResult.is(schema) : undefined
    )

/**
 * Parses bodies as JSON and decodes them by a Schema. What is not JSON, or does not match, flows on as a failed
 * delivery with a `DecodeError`. Encoded bodies are opened first, as by `decode`.
 */
export const decodeJson = <B, I, R>(schema: Schema.Schema<B, I, R>) => {
  const decodeParsed = ParseResult.decodeUnknown(schema)
  return <E, EX, RX>(self: Deliveries<string, E, EX, RX>): Deliveries<B, E | DecodeError, EX, RX | R> =>
    decodeStage(self, (body: string, options) => {
      let parsed: unknown
      try {
        // Writers on Windows put a byte order mark first.
        parsed = JSON.parse(body.charCodeAt(0) === 0xfeff ? body.slice(1) : body)
      } catch {
        return Effect.fail("it is not JSON")
      }
      return decodeParsed(parsed, options)
    })
}

/**
 * Reads the messages of a channel, each as its name and body: `{ _tag: "OrderPlaced", body }`. What is of a type or version
 * that the channel does not have flows on as a failed delivery with `UnknownMessage`, what does not fit its Schema with
 * `DecodeError`. `route` reads them by itself. Throws `InvalidOptions` where it is given no channel.
 */
export const decodeChannel = <M extends Message.Any>(channel: Channel.Channel<M>) => {
  InvalidOptions.checkOrThrow("Pipeline.decodeChannel", { channel }, { channel: Channel.check })
  const read = Channel.reading(channel)
  return <E, EX, RX>(
    self: Deliveries<string, E, EX, RX>
  ): Deliveries<Message.ValueOf<M>, E | Channel.UnknownMessage | DecodeError, EX, RX> => decodeStage(self, read)
}

// -------------------------------------------------------------------------------------------------------- transform

/** Changes bodies. What `f` throws makes its delivery a failed one. */
export const map =
  <A, B>(f: (body: A) => B) =>
  <E, EX, RX>(self: Deliveries<A, E, EX, RX>): Deliveries<B, E, EX, RX> =>
    Stream.map(self, (delivery) => onLoop(inFlight(delivery), "Pipeline.map", () => mapDelivery(delivery, f)))

/**
 * Keeps deliveries whose body passes; acks the others, so that nothing stays in flight that no stage will settle. Failed
 * deliveries pass; one on which `predicate` throws, or answers with neither true nor false, is a failed one.
 */
export const filter =
  <A>(predicate: (body: A) => boolean) =>
  <E, EX, RX>(self: Deliveries<A, E, EX, RX>): Deliveries<A, E, EX, RX> =>
    Stream.filterMap(self, (delivery): Option.Option<Delivery<A, E>> => {
      const verdict = onLoop(inFlight(delivery), "Pipeline.filter", () =>
        mapDelivery(delivery, (body) => saysYes(predicate(body), "Pipeline.filter"))
      )
      if (Exit.isFailure(verdict.body)) return Option.some(withBody(delivery, Exit.failCause(verdict.body.cause)))
      if (verdict.body.value) return Option.some(delivery)
      inFlight(delivery).settle(Settlement.ack)
      return Option.none()
    })

export interface ConcurrencyOptions<in A> {
  /** Effects run at once: slots. Default 10. */
  readonly concurrency?: number | Tunable.Tunable | undefined
  /**
   * What is worked on in order, one at a time.
   *
   * - `"auto"` (the default): the groups of an ordered queue; nothing on a standard one, where group ids only share
   *   fairly.
   * - `"group"`: groups, on standard queues too.
   * - a function of the body: messages of equal keys. Their order holds within this process, until a redelivery. A body has
   *   none by `undefined`; a message on which it throws, or answers with no text, is a failed one.
   * - `"none"`: nothing, not even on an ordered queue.
   */
  readonly sequence?: "auto" | "group" | "none" | ((body: A) => string | undefined) | undefined
  /** Begin with the next of a group before the queue has confirmed the delete of the one before. Default false. */
  readonly ackAhead?: boolean | undefined
  /**
   * How tenants share the slots: they go round among the keys that have something, and one that has much waits for its turn,
   * here or in the queue. `{}` shares by group. Default: the first one that came is the next.
   */
  readonly share?: Share.Options<A> | undefined
}

const concurrencyChecks: InvalidOptions.Checks<ConcurrencyOptions<never>> = {
  concurrency: InvalidOptions.checkedBelow,
  sequence: InvalidOptions.either(InvalidOptions.oneOf("auto", "group", "none"), InvalidOptions.func),
  ackAhead: InvalidOptions.flag,
  share: Share.check
}

/**
 * Changes bodies with an effect and passes the deliveries on, still leased, in the order in which they finish; a later
 * stage settles them. A failure makes its delivery a failed one; a stop or a lost lease interrupts `f` and releases it.
 *
 * Fails with `InvalidOptions` where an option cannot work.
 */
export const mapEffect =
  <A, B, E2, R2, E = never>(
    f: (body: A, delivery: Delivery<A, E>) => Effect.Effect<B, E2, R2>,
    options: ConcurrencyOptions<A> = {}
  ) =>
  <EX, RX>(self: Deliveries<A, E, EX, RX>): Deliveries<B, E | E2, EX | InvalidOptions.InvalidOptions, RX | R2> =>
    checked("Pipeline.mapEffect", f, options, concurrencyChecks, 10, undefined, (slots, _, wrap) =>
      mapEffectStage(keyed(self, options), within(wrap, "Pipeline.mapEffect", f, itself), slots, options)
    )

/**
 * Runs an effect on each body and passes the delivery on as it was, as `mapEffect` does: a failure makes it a failed one.
 *
 * Fails with `InvalidOptions` where an option cannot work.
 */
export const tap =
  <A, E2, R2, E = never>(
    f: (body: A, delivery: Delivery<A, E>) => Effect.Effect<unknown, E2, R2>,
    options: ConcurrencyOptions<A> = {}
  ) =>
  <EX, RX>(self: Deliveries<A, E, EX, RX>): Deliveries<A, E | E2, EX | InvalidOptions.InvalidOptions, RX | R2> =>
    checked("Pipeline.tap", f, options, concurrencyChecks, 10, undefined, (slots, _, wrap) => {
      const run = within(wrap, "Pipeline.tap", f, itself)
      return mapEffectStage(
        keyed(self, options),
        (body: A, delivery: Delivery<A, E>) => Effect.as(effectOf(run(body, delivery), "Pipeline.tap"), body),
        slots,
        options
      )
    })

/**
 * Makes a delivery whose message was sent longer ago than this a failed one, with `Stale`, which `RetryPolicy.standard`
 * dead-letters: no later attempt would find it younger. Put it in front of the stage that is to be spared. It looks as the
 * delivery passes: what waits behind it for a slot, or is held for a retry, grows older. A message whose queue does not say
 * when it was sent passes.
 *
 * Fails with `InvalidOptions` where the age cannot be one.
 */
export const maxAge =
  (age: Duration.DurationInput) =>
  <A, E, EX, RX>(self: Deliveries<A, E, EX, RX>): Deliveries<A, E | Stale, EX | InvalidOptions.InvalidOptions, RX> =>
    unwrapped(
      Effect.map(InvalidOptions.duration("maxAge", age, { min: "1 millis" }), (most) => {
        const limit = Duration.toMillis(most)
        return Stream.mapEffect(self, (delivery) =>
          Effect.map(Clock.currentTimeMillis, (now): Delivery<A, E | Stale> => {
            const { id: messageId, sentAt } = delivery.message
            if (sentAt === undefined || now - sentAt <= limit || Exit.isFailure(delivery.body)) return delivery
            const old = Duration.millis(now - sentAt)
            const message = `message ${messageId} was sent ${Duration.format(old)} ago, and ${Duration.format(most)} is the most`
            return withBody(delivery, Exit.fail(new Stale({ messageId, age: old, message })))
          })
        )
      })
    )

// ------------------------------------------------------------------------------------------------------------ split

/**
 * Takes each message apart: its parts go on as deliveries of their own, and the stages behind run them as they run messages,
 * so many at once. The message is acked when all its parts are; one without parts at once.
 *
 * What is asked for one part (a retry, a dead letter) holds for the whole message, as soon as those of its parts that run have
 * ended; those that have not begun do not run. A message that comes again is taken apart again, and all of it runs.
 *
 * On an ordered queue the parts of a message run one after another, and the next message of its group waits for all of them.
 * The id of a part is its message's and its place, from 0: `id/3`. Parts have the permit and the lease of their message.
 *
 * Failed deliveries pass. Where `parts` throws, or answers with no list, the delivery is a failed one.
 */
export const split =
  <A, B, E = never>(parts: (body: A, delivery: Delivery<A, E>) => Iterable<B>) =>
  <EX, RX>(self: Deliveries<A, E, EX, RX>): Deliveries<B, E, EX | InvalidOptions.InvalidOptions, RX> =>
    unwrapped(Effect.map(InvalidOptions.argument("parts", parts, InvalidOptions.func), () => splitStage(self, parts)))

// ---------------------------------------------------------------------------------------------------------- process

export interface SettleOptions<E, D> {
  /**
   * What happens after a failure: a policy, or `(failure, delivery) => policy`. The failure is the handler's, an earlier
   * stage's (`DecodeError`), a `HandlerDefect` or a `HandlerTimeout`. Default: `RetryPolicy.standard`.
   */
  readonly retry?: RetryPolicy.PolicyInput<RetryPolicy.Failure<E>, D> | undefined
}

export interface ProcessOptions<A, E, D> extends ConcurrencyOptions<A>, SettleOptions<E, D> {
  /** A handler that takes longer is interrupted and has failed with `HandlerTimeout`. Default: no limit. */
  readonly timeout?: Duration.DurationInput | undefined
  /**
   * How long a failed message is held here for its retry, its group waiting behind it; for a longer delay the group is
   * given back to the queue, in order. What is held keeps half of `maxInFlight` where others need the permits. Default 5
   * minutes.
   */
  readonly holdLimit?: Duration.DurationInput | undefined
  /**
   * What becomes of a group when the policy gives its head back or leaves it: `"block"` (the default) gives the rest
   * back too, behind it; `"skip"` goes on with the rest.
   */
  readonly onFailure?: "block" | "skip" | undefined
  /**
   * While it is open no handler starts and nothing is received. What fails then with a failure that trips it is no
   * matter for the policy and counts as no attempt: it is kept until the circuit lets it run again, or given back for
   * the circuit's delay where that is longer than `holdLimit`. Default: none.
   */
  readonly circuit?: Circuit.Circuit<RetryPolicy.Failure<E>> | undefined
  /**
   * A span `process <queue>` for each run of a handler, a trace of its own, linked to the producer's span where the message
   * carries one. With `"child"` it is a child of the producer's span instead, in the producer's trace, and goes by whether that
   * one was sampled. Off by default.
   */
  readonly span?: boolean | "child" | undefined
}

export interface OnceOptions<in A, in B, out O, out E, out R> {
  /**
   * Runs the handler once for each key, kept in an `IdempotencyStore`: `Idempotency.by` or `Idempotency.byMessageId`. A
   * duplicate of what is done is acked without a run, with the result that is kept; one of what is being done waits here
   * without a slot, or is given back, and that is no matter for the policy. Default: none.
   */
  readonly once?: Once<A, B, O, E, R> | undefined
}

type WithOnce = OnceOptions<never, never, unknown, unknown, unknown>

const settleChecks: InvalidOptions.Checks<SettleOptions<never, never>> = { retry: RetryPolicy.check }

const processChecks: InvalidOptions.Checks<ProcessOptions<never, never, never> & WithOnce> = {
  ...concurrencyChecks,
  ...settleChecks,
  timeout: InvalidOptions.time({ min: "1 millis" }),
  holdLimit: InvalidOptions.time(),
  onFailure: InvalidOptions.oneOf("block", "skip"),
  circuit: Circuit.check,
  span: InvalidOptions.either(InvalidOptions.flag, InvalidOptions.oneOf("child")),
  once: InvalidOptions.having(
    "what Idempotency.by or Idempotency.byMessageId makes",
    "key",
    "encode",
    "decode",
    "protect"
  )
}

/**
 * Runs a handler on each delivery and settles it: acks on success, asks the retry policy on failure, releases where a stop
 * interrupts it; one that ends as interrupted of itself has failed. The results come as they finish; there is none for a delivery that failed.
 *
 * A handler that fails, dies or takes long concerns its own delivery only. Its logs carry the message's id, group and
 * attempt. The stage ends when every settlement is confirmed.
 *
 * Fails with `InvalidOptions` where an option cannot work.
 */
export const process =
  <A, B, E2, R2, E = never, O = never, EO = never, RO = never>(
    handler: (body: A, delivery: Delivery<A, E>) => Effect.Effect<B, E2, R2>,
    options: ProcessOptions<A, E | E2 | EO, Delivery<A, E>> & OnceOptions<A, B, O, EO, RO> = {}
  ) =>
  <EX, RX>(self: Deliveries<A, E, EX, RX>): Stream.Stream<B | O, EX | InvalidOptions.InvalidOptions, RX | R2 | RO> =>
    checked("Pipeline.process", handler, options, processChecks, 10, options?.once, (slots, once, wrap) =>
      processStage(keyed(self, options), within(wrap, "Pipeline.process", handler, itself), slots, options, once)
    )

/** As `process`, for what is no handler, or has what is around it already. */
const processAsIs =
  <A, B, E2, R2, E>(
    handler: (body: A, delivery: Delivery<A, E>) => Effect.Effect<B, E2, R2>,
    options: ProcessOptions<A, E | E2, Delivery<A, E>> & OnceOptions<A, B, never, never, never>
  ) =>
  <EX, RX>(self: Deliveries<A, E, EX, RX>): Stream.Stream<B, EX | InvalidOptions.InvalidOptions, RX | R2> =>
    checked("Pipeline.process", handler, options, processChecks, 10, options.once, (slots, once) =>
      processStage(keyed(self, options), handler, slots, options, once)
    )

type Running = Effect.Effect<unknown, unknown, unknown>

/** Whose a message is, and what its key may have, among the messages of its type. */
export interface RouteShare<in A> extends Omit<Share.Options<A>, "key" | "waiting"> {
  readonly key: (body: A) => string | undefined
}

/** A handler of one type of messages, with what is for these alone. */
export interface RouteHandler<A, E, T extends Running> {
  readonly handler: (body: A, delivery: Delivery<A, E>) => T
  /** Of these at once, at most, in the slots of the route. Default: as many as there are slots. */
  readonly concurrency?: number | undefined
  /**
   * What happens after its failure: a policy for any failure. One that goes by the failure is a function, and that of the
   * route's options. Default: as those say.
   */
  readonly retry?: RetryPolicy.RetryPolicy<unknown> | undefined
  /** It is interrupted and has failed with `HandlerTimeout`. Default: no limit. */
  readonly timeout?: Duration.DurationInput | undefined
  /** As the share of `process`, in the place of `concurrency`. Default: none. */
  readonly share?: RouteShare<A> | undefined
}

/** A handler for each message of a channel, by its name. `T` are the effects that they return. */
export type Routes<M extends Message.Any, E, T extends { readonly [Name in keyof T]: Running }> = {
  readonly [Name in keyof T]: Name extends M["name"]
    ?
        | RouteHandler<Message.Body<Extract<M, { readonly name: Name }>>, E, T[Name]>
        | RouteHandler<Message.Body<Extract<M, { readonly name: Name }>>, E, T[Name]>["handler"]
    : never
}

/** As `process` has them, for all types together; its `retry` is also asked of what no handler has failed with. */
export interface RouteOptions<E>
  extends Omit<ProcessOptions<never, never, never>, "sequence" | "share" | "retry" | "circuit" | "timeout"> {
  readonly sequence?: "auto" | "group" | "none" | undefined
  readonly retry?:
    | RetryPolicy.PolicyInput<RetryPolicy.Failure<E | Channel.UnknownMessage | DecodeError>, Delivery<unknown, unknown>>
    | undefined
}

const routeOptionChecks = (): InvalidOptions.Checks<RouteOptions<never>> => ({
  concurrency: InvalidOptions.checkedBelow,
  sequence: InvalidOptions.oneOf("auto", "group", "none"),
  ackAhead: InvalidOptions.flag,
  retry: RetryPolicy.check,
  holdLimit: InvalidOptions.time(),
  onFailure: InvalidOptions.oneOf("block", "skip"),
  span: InvalidOptions.either(InvalidOptions.flag, InvalidOptions.oneOf("child"))
})

/**
 * Reads the messages of a channel, runs the handler of each one's type, and settles it as `process` does. A handler that is
 * missing, or for a message that the channel does not have, does not compile. What is of an unknown type or version is a
 * failure `UnknownMessage`, which the policy of `options` is asked about.
 *
 * Fails with `InvalidOptions` where an option cannot work.
 *
 * @example
 * Pipeline.route(shop, {
 *   OrderPlaced: fulfil,
 *   OrderCancelled: { handler: refund, concurrency: 2, timeout: "30 seconds" }
 * })
 */
export const route =
  <M extends Message.Any, T extends { readonly [Name in M["name"]]: Running }, E = never>(
    channel: Channel.Channel<M>,
    handlers: Routes<M, E, T>,
    options: RouteOptions<NoInfer<E> | Effect.Effect.Error<T[M["name"]]>> = {}
  ) =>
  <EX, RX>(
    self: Deliveries<string, E, EX, RX>
  ): Stream.Stream<
    Effect.Effect.Success<T[M["name"]]>,
    EX | InvalidOptions.InvalidOptions,
    RX | Effect.Effect.Context<T[M["name"]]>
  > =>
    unwrapped(
      Effect.gen(function* () {
        yield* InvalidOptions.check("Pipeline.route", options, routeOptionChecks())
        const table = yield* routing(channel, handlers, yield* aroundHandlers.get)
        // The types of the parts are put together again: each handler is given what its own Schema has read.
        const handler = table.handler as (
          value: Message.ValueOf<M>,
          delivery: Delivery<Message.ValueOf<M>, E | Channel.UnknownMessage | DecodeError>
        ) => Effect.Effect<
          Effect.Effect.Success<T[M["name"]]>,
          Effect.Effect.Error<T[M["name"]]> | HandlerTimeout,
          Effect.Effect.Context<T[M["name"]]>
        >
        const { retry } = options
        const { concurrency, ...rest } = options
        return processAsIs(handler, {
          ...rest,
          ...(concurrency === undefined ? {} : { concurrency }),
          ...(table.share === undefined ? {} : { share: table.share }),
          retry: table.retry(retry) as RetryPolicy.PolicyInput<unknown, Delivery<unknown, unknown>>
        })(decodeChannel(channel)(self))
      })
    )

/**
 * Settles deliveries as they come: acks those whose body is a success, asks the retry policy for the failed ones. Ends
 * a pipeline that goes on after its handler: `mapEffect`, then produce elsewhere, then `settle`.
 */
export const settle =
  <E, A>(options: SettleOptions<E, Delivery<A, E>> = {}) =>
  <EX, RX>(self: Deliveries<A, E, EX, RX>): Stream.Stream<A, EX | InvalidOptions.InvalidOptions, RX> =>
    unwrapped(
      Effect.map(InvalidOptions.check("Pipeline.settle", options, settleChecks), () =>
        processAsIs<A, A, never, never, E>((body) => Effect.succeed(body), {
          ...options,
          concurrency: Number.MAX_SAFE_INTEGER
        })(self)
      )
    )

// ----------------------------------------------------------------------------------------------------------- around

declare const opaque: unique symbol

/** What a handler gives: the middleware does not know it, and gives it on. */
export interface Handled {
  readonly [opaque]: "result"
}

/** What a handler fails with, by its own type or an earlier stage's: for its policy to know. */
export interface HandlerFailure {
  readonly [opaque]: "failure"
}

/** What a handler needs beside what the middleware provides. */
export interface HandlerNeeds {
  readonly [opaque]: "needs"
}

/**
 * A handler, as a middleware sees it: an effect that runs it once.
 *
 * @typeParam Provided - what the middleware provides it with.
 */
export type Handler<Provided = never> = Effect.Effect<Handled, HandlerFailure, HandlerNeeds | Provided>

/** What a handler runs on: one delivery, or those of a batch. */
export type { Deliveries as Handles } from "./internal/run/around.js"

/**
 * Runs the handlers of a pipeline within a middleware: those of `process`, `route`, `mapEffect` and `tap`, each time one runs on a
 * delivery, and those of `processBatches`, once for a batch. What the middleware fails with is for the policy, as what the
 * handler fails with; where it does not run the handler, it has to fail. It is interrupted with its handler.
 *
 * It runs in the handler's slot, within its `span` and its `timeout`, and only where `once` and a circuit let it run. Of several
 * the outer one is around the inner. What stands before `around` has no part in it.
 *
 * A middleware that provides what the handlers need says so: `(handler: Pipeline.Handler<Tenant>, deliveries) => …`.
 *
 * Fails with `InvalidOptions` where it is given no functions.
 *
 * @example
 * orders.pipe(
 *   Pipeline.around(
 *     (handler: Pipeline.Handler<Tenant>, [delivery]) =>
 *       Effect.flatMap(tenantOf(delivery), (tenant) => Effect.provideService(handler, Tenant, tenant)),
 *     (deliveries) => deliveries.pipe(Pipeline.decodeJson(Order), Pipeline.process(fulfil))
 *   )
 * )
 */
export const around =
  <A, EX2, RX2, E2, R2, B, E = never, EX = never, RX = never, Provided = never>(
    middleware: (handler: Handler<Provided>, deliveries: Handles) => Effect.Effect<Handled, E2, R2>,
    pipeline: (deliveries: Deliveries<A, E | Exclude<E2, HandlerFailure>, EX, RX>) => Stream.Stream<B, EX2, RX2>
  ) =>
  (
    self: Deliveries<A, E, EX, RX>
  ): Stream.Stream<B, EX2 | InvalidOptions.InvalidOptions, Exclude<RX2, Provided> | Exclude<R2, HandlerNeeds>> =>
    unwrapped(
      Effect.gen(function* () {
        yield* InvalidOptions.argument("middleware", middleware, InvalidOptions.func)
        yield* InvalidOptions.argument("pipeline", pipeline, InvalidOptions.func)
        // The middleware provides what it says, and passes on what it does not know.
        return aroundStage<
          A,
          E | Exclude<E2, HandlerFailure>,
          EX,
          RX,
          B,
          EX2,
          Exclude<RX2, Provided>,
          Exclude<R2, HandlerNeeds>
        >(self, middleware as never, pipeline as never)
      })
    )

// ------------------------------------------------------------------------------------------------------------ merge

export interface MergeOptions {
  /**
   * Which part each stream has of what is handed over while all have something, in their order: at least 0.001 each. Default:
   * equal parts.
   */
  readonly weights?: ReadonlyArray<number> | undefined
}

const mergeChecks = (): InvalidOptions.Checks<MergeOptions> => ({
  weights: InvalidOptions.list(InvalidOptions.aNumber({ min: 0.001 }))
})

type Merged<S> = S extends Stream.Stream<Delivery<infer A, infer E>, unknown, unknown> ? Delivery<A, E> : never
type BodyOf<D> = D extends Delivery<infer A, unknown> ? A : never
type FailureOf<D> = D extends Delivery<unknown, infer E> ? E : never

/**
 * Several streams of deliveries as one: while all have something, each has its part of what is handed over, and none waits
 * for another. Each delivery settles at its own queue. Ends when all have ended, and fails with the first that fails.
 *
 * `Stream.merge` does not share: of two full queues it hands over nearly all of the first one's. Each stream keeps its own
 * `maxInFlight`; for one bound and one order over several queues see `Prioritized`.
 *
 * Fails with `InvalidOptions` where an option cannot work.
 */
export function merge<const S extends ReadonlyArray<Deliveries<unknown, unknown, unknown, unknown>>>(
  streams: S,
  options?: MergeOptions
): Deliveries<
  BodyOf<Merged<S[number]>>,
  FailureOf<Merged<S[number]>>,
  Stream.Stream.Error<S[number]> | InvalidOptions.InvalidOptions,
  Stream.Stream.Context<S[number]>
>
export function merge<A, E, EX, RX>(
  streams: ReadonlyArray<Deliveries<A, E, EX, RX>>,
  options: MergeOptions = {}
): Deliveries<A, E, EX | InvalidOptions.InvalidOptions, RX> {
  return unwrapped(
    Effect.gen(function* () {
      const several = InvalidOptions.list(InvalidOptions.having("a stream of deliveries", "pipe"))
      yield* InvalidOptions.argument("streams", streams, several)
      yield* InvalidOptions.check("Pipeline.merge", options, mergeChecks())
      const { weights = streams.map(() => 1) } = options
      if (weights.length !== streams.length) {
        const message = `weights has ${weights.length}; write one for each of the ${streams.length} streams`
        return yield* new InvalidOptions.InvalidOptions({ option: "weights", message })
      }
      return mergeStage(streams, weighted(weights))
    })
  )
}

// ------------------------------------------------------------------------------------------------------------ batch

export interface BatchOptions {
  /** Deliveries in a batch, at most. */
  readonly max: number
  /** Bytes of raw bodies in a batch, at most (UTF-8). One that is larger makes a batch of its own. Default: no limit. */
  readonly maxBytes?: number | undefined
  /** How long a batch waits to be filled, from its first delivery. Default 1 second. */
  readonly within?: Duration.DurationInput | undefined
}

const batchChecks = (): InvalidOptions.Checks<BatchOptions> => ({
  max: InvalidOptions.required(InvalidOptions.aWholeNumber({ min: 1 })),
  maxBytes: InvalidOptions.aWholeNumber({ min: 1 }),
  within: InvalidOptions.time()
})

export type { Batch } from "./internal/run/batchDelivery.js"

/**
 * Gathers deliveries by count, bytes and time. A batch is a delivery of many, whose body is all of theirs: the stages behind
 * take it as any other, and what becomes of it becomes of all of them, acked together, given back together. Or its
 * `deliveries` are settled each by itself, by hand.
 *
 * What has failed before is a batch of its own. On an ordered queue a batch waits, in a stage, for those before it that have
 * messages of its groups. One of its messages that is lost has its handler interrupted, and the others released.
 *
 * It holds one batch beside the one that it fills; all of it counts as in flight, so `max` should be well below `maxInFlight`.
 *
 * Fails with `InvalidOptions` where an option cannot work.
 */
export const batch =
  (options: BatchOptions) =>
  <A, E, EX, RX>(self: Deliveries<A, E, EX, RX>): Stream.Stream<Batch<A, E>, EX | InvalidOptions.InvalidOptions, RX> =>
    unwrapped(
      Effect.map(InvalidOptions.check("Pipeline.batch", options, batchChecks()), () =>
        batchDeliveryStage(self, limitsOf(options))
      )
    )

const limitsOf = ({ max, maxBytes = Number.MAX_SAFE_INTEGER, within = "1 second" }: BatchOptions) => ({
  max,
  maxBytes,
  within: Duration.toMillis(within)
})

// --------------------------------------------------------------------------------------------------------- coalesce

export interface CoalesceOptions<A> {
  /**
   * What belongs together: a function of the body, or `"group"` for the message group. Without a key, by `undefined`, a
   * message goes on alone and at once; one on which the function throws, or answers with no text, is a failed one.
   */
  readonly key: "group" | ((body: A) => string | undefined)
  /** How long the first of a key waits for others, at most, where the stage behind takes it then. Default 1 second. */
  readonly within?: Duration.DurationInput | undefined
  /** Makes one body of two, in the order in which they came. Default: the last. */
  readonly fold?: ((before: A, next: A) => A) | undefined
}

const coalesceChecks = (): InvalidOptions.Checks<CoalesceOptions<never>> => ({
  key: InvalidOptions.required(InvalidOptions.either(InvalidOptions.oneOf("group"), InvalidOptions.func)),
  within: InvalidOptions.time(),
  fold: InvalidOptions.func
})

/**
 * Of the messages with one key that come within a time, one goes on: the last, or what `fold` makes of them. What becomes of
 * it becomes of all of them: acked together, given back together. Its message is the last one's, with
 * the highest attempt and the ids of all, `a+b+c`.
 *
 * What waits is in flight, its lease is kept, and it takes half of `maxInFlight` at most: then the oldest goes on. One of them
 * that is lost meanwhile is left out; where that happens later, its handler is interrupted and the others are released. A drain
 * gives back what waits. On an ordered queue only neighbours in their group come together, so that nothing is overtaken.
 *
 * Fails with `InvalidOptions` where an option cannot work.
 */
export const coalesce =
  <A>(options: CoalesceOptions<A>) =>
  <E, EX, RX>(self: Deliveries<A, E, EX, RX>): Deliveries<A, E, EX | InvalidOptions.InvalidOptions, RX> =>
    unwrapped(
      Effect.map(InvalidOptions.check("Pipeline.coalesce", options, coalesceChecks()), () => {
        const { fold = (_, next) => next, key, within = "1 second" } = options
        return coalesceStage(keyed(self, { key }), { key, fold, within: Duration.toMillis(within) })
      })
    )

/**
 * `concurrency` counts batches and is 1 by default. A `span` is that of a batch, linked to all that produced its messages; with `"child"` it is a child where one span produced them all.
 * What fails in a lane is held up to `holdLimit` as in `process`, with what follows it in its batch; they run again as a
 * batch of their own, and its other lanes do not wait for them.
 */
export interface ProcessBatchesOptions<A, E, D> extends ProcessOptions<A, E, D>, BatchOptions {}

const batchesChecks = (): InvalidOptions.Checks<ProcessBatchesOptions<never, never, never> & WithOnce> => ({
  ...processChecks,
  ...batchChecks()
})

/**
 * Runs a handler on many deliveries at once, `concurrency` batches at a time (default 1). The handler answers with each
 * message's own result, in the order of the bodies; answering with nothing acks them all, and failing fails them all.
 * Deliveries that failed before (they did not decode) are settled by the policy and never reach the handler.
 *
 * In a lane (an ordered queue's groups) no two batches that hold messages of one group run at once, and what follows a
 * failed message in its batch is not acked, whatever its own result: it comes again behind it.
 *
 * Fails with `InvalidOptions` where an option cannot work.
 */
export const processBatches =
  <A, B = never, EI = never, E2 = never, R2 = never, E = never, O = never, EO = never, RO = never>(
    handler: (
      bodies: ReadonlyArray<A>,
      deliveries: ReadonlyArray<Delivery<A, E>>
    ) => Effect.Effect<ReadonlyArray<Either.Either<B, EI>> | void, E2, R2>,
    options: ProcessBatchesOptions<A, E | EI | E2 | EO, Delivery<A, E>> & OnceOptions<A, B, O, EO, RO>
  ) =>
  <EX, RX>(self: Deliveries<A, E, EX, RX>): Stream.Stream<B | O, EX | InvalidOptions.InvalidOptions, RX | R2 | RO> =>
    checked("Pipeline.processBatches", handler, options, batchesChecks(), 1, options?.once, (slots, once, wrap) => {
      const known = keyed(self, options)
      const shared = options.share === undefined ? known : sharedStage(known, options.share, options)
      const batches = batchStage(shared, limitsOf(options))
      return processBatchesStage<A, E, B, O, E | EI | E2 | EO, R2 | RO, EX | InvalidOptions.InvalidOptions, RX>(
        batches,
        within(wrap, "Pipeline.processBatches", handler, (_, deliveries) => deliveries),
        slots,
        options.max,
        options,
        once
      )
    })

// ---------------------------------------------------------------------------------------------------------- options

interface Limits {
  readonly concurrency?: number | Tunable.Tunable | undefined
  readonly timeout?: Duration.DurationInput | undefined
  readonly holdLimit?: Duration.DurationInput | undefined
}

/** A handler of one delivery runs on that. */
const itself = (_: unknown, delivery: Delivery<unknown, unknown>): ReadonlyArray<Delivery<unknown, unknown>> => [
  delivery
]

/** Checks what a stage was given, and makes it: `slots` are those of one run of it. */
const checked = <L extends Limits, A, E, R, A1 = never, B = never, O = never, EO = never, RO = never>(
  stage: string,
  handler: unknown,
  options: L,
  checks: InvalidOptions.Checks<NoInfer<L>>,
  standard: number,
  once: Once<A1, B, O, EO, RO> | undefined,
  make: (
    slots: () => Slots,
    once: Guard<A1, B, O, EO, RO> | undefined,
    wrap: Around | undefined
  ) => Stream.Stream<A, E, R>
): Stream.Stream<A, E | InvalidOptions.InvalidOptions, R | RO> =>
  unwrapped(
    Effect.gen(function* () {
      yield* InvalidOptions.argument("handler", handler, InvalidOptions.func)
      yield* InvalidOptions.check(stage, options, checks)
      const { concurrency = standard, holdLimit, timeout } = options
      yield* InvalidOptions.warnOfBareNumbers({ timeout, holdLimit })
      const tunable = yield* Tunable.from("concurrency", concurrency, { min: 1, whole: true })
      return make(() => new OwnSlots(tunable), once && (yield* once.protect(once)), yield* aroundHandlers.get)
    })
  )
