/**
 * A queue's messages, each handed to an async function. Returning deletes the message, throwing keeps it.
 */
import type { Delivery, HandlerTimeout } from "@millrace/core/Delivery"
import * as InvalidOptions from "@millrace/core/InvalidOptions"
import * as Pipeline from "@millrace/core/Pipeline"
import * as Promised from "@millrace/core/Promised"
import * as Tunable from "@millrace/core/Tunable"
import type { StandardSchemaV1 } from "@standard-schema/spec"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Stream from "effect/Stream"
import type { Consumer } from "./consumer.js"
import { asText, bySchema, type Decoded } from "./internal/body.js"
import { HandlerContext, LazySignal, reasonOf, tooLate } from "./internal/context.js"
import { Emitter, type Host, HostedConsumer } from "./internal/host.js"
import { onceOf, received, schemaCheck, settleChecks, storeOf } from "./internal/options.js"
import { check, plainError, runSync } from "./internal/plain.js"
import { policyOf } from "./internal/policy.js"
import type { BatchContext, Context, SettleOptions } from "./types.js"

/** @typeParam A - the body: a text, or what the schema makes of its JSON. */
export interface ConsumeOptions<A> extends SettleOptions<A> {
  readonly handler: (body: A, context: Context) => unknown
}

export interface ConsumeBatchesOptions<A> extends SettleOptions<A> {
  /**
   * Returning nothing deletes all, throwing keeps all. What `Promise.allSettled` gives, in the order of the bodies, keeps those that
   * are rejected.
   */
  readonly handler: (
    bodies: ReadonlyArray<A>,
    context: BatchContext
  ) => Promise<ReadonlyArray<PromiseSettledResult<unknown>> | void>
  /** Messages in a batch, at most. */
  readonly max: number
  /** How long a batch waits to be filled. Default 1 second. */
  readonly within?: SettleOptions<A>["timeout"]
}

/** With a schema the body is JSON. */
export interface WithSchema<S extends StandardSchemaV1> {
  /** Of zod, valibot, arktype, or `Schema.standardSchemaV1` of Effect. */
  readonly schema: S
}
export interface WithoutSchema {
  readonly schema?: undefined
}

type Output<S extends StandardSchemaV1> = StandardSchemaV1.InferOutput<S>

const consumeChecks: InvalidOptions.Checks<ConsumeOptions<never> & { readonly schema?: unknown }> = {
  ...settleChecks,
  schema: schemaCheck,
  handler: InvalidOptions.required({ ...InvalidOptions.func, write: "a function of the body" })
}

const batchesChecks: InvalidOptions.Checks<ConsumeBatchesOptions<never> & { readonly schema?: unknown }> = {
  ...consumeChecks,
  max: InvalidOptions.required(InvalidOptions.aWholeNumber({ min: 1 })),
  within: InvalidOptions.time()
}

/**
 * Waits for what a handler of these gives, and tells it by `abort` where nobody waits any more. The time is kept here and not by the
 * stage, so that a handler is told of its end and of no other: clocks are too coarse to tell one from the other afterwards.
 */
const awaited = <B>(
  handle: () => B | PromiseLike<B>,
  deliveries: ReadonlyArray<Delivery<unknown, unknown>>,
  { timeout }: Pick<SettleOptions<never>, "timeout">,
  abort: (reason: Error) => void
): Effect.Effect<B, unknown> => {
  if (timeout === undefined) return Promised.make(handle, () => abort(reasonOf(deliveries)))
  let late: HandlerTimeout | undefined
  const waits = Promised.make(handle, () => abort(late === undefined ? reasonOf(deliveries) : plainError(late)))
  const over = Effect.suspend(() => {
    late = tooLate(deliveries, timeout)
    return Effect.fail(late)
  })
  return Effect.raceFirst(waits, Effect.delay(over, timeout))
}

const watch = (emitter: Emitter, delivery: Delivery<unknown, unknown>) =>
  Effect.runFork(
    Effect.map(delivery.ended, (outcome) => {
      emitter.emit("settled", outcome, delivery.message)
      if (outcome === "lost") emitter.emit("lost", delivery.message)
    })
  )

/** Who listens is known when it starts. */
const seen = <A, EX>(emitter: Emitter, deliveries: Decoded<A, EX>): Decoded<A, EX> =>
  emitter.hears("settled") || emitter.hears("lost")
    ? Stream.mapChunks(deliveries, (chunk) => {
        for (const delivery of chunk) watch(emitter, delivery)
        return chunk
      })
    : deliveries

const hosted = <A>(
  options: SettleOptions<A>,
  { concurrency, emitter, pipeline }: Pick<Host, "concurrency" | "emitter" | "pipeline">
): Consumer =>
  new HostedConsumer({
    queue: options.queue,
    connection: options,
    options: { ...received(options), drainDeadline: options.stopTimeout },
    warnings: InvalidOptions.warnOfBareNumbers({ timeout: options.timeout }),
    concurrency,
    emitter,
    pipeline
  })

/** Its own, so that it can be changed before the stage runs. */
const slotsOf = ({ concurrency }: SettleOptions<never>, standard: number): Tunable.Tunable =>
  runSync(Tunable.make("concurrency", concurrency ?? standard, { min: 1, whole: true }))

const settling = <A>(options: SettleOptions<A>, concurrency: Tunable.Tunable, emitter: Emitter) => ({
  concurrency,
  sequence: options.sequence,
  retry: policyOf(options, (error, failed) => emitter.emit("processing_error", error, failed))
})

const consumeOf = <A>(
  options: ConsumeOptions<A>,
  decode: (deliveries: Parameters<Host["pipeline"]>[0]) => Decoded<A, unknown>
) => {
  const emitter = new Emitter()
  const concurrency = slotsOf(options, 10)
  const { handler, once } = options
  const handle = (body: A, delivery: Delivery<A, unknown>) => {
    const context = new HandlerContext(delivery)
    const ran = awaited(
      () => {
        if (emitter.hears("message_received")) emitter.emit("message_received", context)
        return handler(body, context)
      },
      [delivery],
      options,
      (reason) => context.abort(reason)
    )
    return emitter.hears("message_processed") ? Effect.tap(ran, () => emitter.emit("message_processed", context)) : ran
  }
  const settle = settling(options, concurrency, emitter)
  // What stands behind the stage costs each message, so there is nothing that is not asked for.
  const pipeline: Host["pipeline"] = (deliveries) =>
    once === undefined
      ? Pipeline.process(handle, settle)(seen(emitter, decode(deliveries)))
      : seen(emitter, decode(deliveries)).pipe(
          Pipeline.process(handle, { ...settle, once: onceOf(once) }),
          Stream.provideSomeLayer(storeOf(once.store))
        )
  return hosted(options, { concurrency, emitter, pipeline })
}

const isRight = (answer: Either.Either<unknown, unknown> | undefined) => answer !== undefined && Either.isRight(answer)

const results = (answer: unknown, of: number): ReadonlyArray<Either.Either<unknown, unknown>> | void => {
  if (answer === undefined) return
  if (Array.isArray(answer) && answer.length === of && answer.every((one) => Object(one).status !== undefined)) {
    return answer.map((one: PromiseSettledResult<unknown>) =>
      one.status === "fulfilled" ? Either.right(one.value) : Either.left(one.reason)
    )
  }
  throw new TypeError(`a batch's handler returns nothing, or what Promise.allSettled gives of its ${of} bodies`)
}

const consumeBatchesOf = <A>(
  options: ConsumeBatchesOptions<A>,
  decode: (deliveries: Parameters<Host["pipeline"]>[0]) => Decoded<A, unknown>
) => {
  const emitter = new Emitter()
  const concurrency = slotsOf(options, 1)
  const handle = (bodies: ReadonlyArray<A>, deliveries: ReadonlyArray<Delivery<A, unknown>>) => {
    const abort = new LazySignal()
    const context: BatchContext = {
      get signal() {
        return abort.signal
      },
      messages: deliveries.map(({ message }) => message),
      attempts: deliveries.map(({ attempt }) => attempt)
    }
    const each = (name: "message_received" | "message_processed", which: ReadonlyArray<Delivery<A, unknown>>) => {
      if (!emitter.hears(name)) return
      for (const { attempt, message } of which) emitter.emit(name, { message, attempt })
    }
    const ran = awaited(
      async () => {
        each("message_received", deliveries)
        return results(await options.handler(bodies, context), bodies.length)
      },
      deliveries,
      options,
      (reason) => abort.abort(reason)
    )
    return Effect.tap(ran, (answers) =>
      each("message_processed", answers === undefined ? deliveries : deliveries.filter((_, i) => isRight(answers[i])))
    )
  }
  const settle = { ...settling(options, concurrency, emitter), max: options.max, within: options.within }
  const { once } = options
  const pipeline: Host["pipeline"] = (deliveries) =>
    once === undefined
      ? Pipeline.processBatches(handle, settle)(seen(emitter, decode(deliveries)))
      : seen(emitter, decode(deliveries)).pipe(
          Pipeline.processBatches(handle, { ...settle, once: onceOf(once) }),
          Stream.provideSomeLayer(storeOf(once.store))
        )
  return hosted(options, { concurrency, emitter, pipeline })
}

/**
 * A consumer of a queue, not started yet. The handler is given the body and its context; returning (anything) deletes the message,
 * throwing keeps it for the next attempt. Throws `InvalidOptionsError` where an option cannot work.
 *
 * @example
 * const consumer = consume({ queue: "orders", schema: Order, concurrency: 20, handler: async (order, { signal }) => {
 *   await ship(order, signal)
 * } })
 * await consumer.start()
 */
export function consume<S extends StandardSchemaV1>(options: ConsumeOptions<Output<S>> & WithSchema<S>): Consumer
export function consume(options: ConsumeOptions<string> & WithoutSchema): Consumer
export function consume(
  options: (ConsumeOptions<unknown> & WithSchema<StandardSchemaV1>) | (ConsumeOptions<string> & WithoutSchema)
): Consumer {
  check("consume", options, consumeChecks)
  const { schema } = options
  return schema === undefined ? consumeOf(options, asText) : consumeOf(options, bySchema(schema))
}

/** The same, many messages at once. */
export function consumeBatches<S extends StandardSchemaV1>(
  options: ConsumeBatchesOptions<Output<S>> & WithSchema<S>
): Consumer
export function consumeBatches(options: ConsumeBatchesOptions<string> & WithoutSchema): Consumer
export function consumeBatches(
  options:
    | (ConsumeBatchesOptions<unknown> & WithSchema<StandardSchemaV1>)
    | (ConsumeBatchesOptions<string> & WithoutSchema)
): Consumer {
  check("consumeBatches", options, batchesChecks)
  return options.schema === undefined
    ? consumeBatchesOf(options, asText)
    : consumeBatchesOf(options, bySchema(options.schema))
}
