/** A queue's messages as a loop of one's own: `for await`, each settled by hand. */
import type { Delivery } from "@millrace/core/Delivery"
import * as InvalidOptions from "@millrace/core/InvalidOptions"
import type { SqsClient } from "@millrace/sqs/SqsClient"
import * as SqsConsumer from "@millrace/sqs/SqsConsumer"
import type { StandardSchemaV1 } from "@standard-schema/spec"
import * as Cause from "effect/Cause"
import * as Chunk from "effect/Chunk"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { WithoutSchema, WithSchema } from "./consume.js"
import { LeaseLostError, StoppedError } from "./errors.js"
import { asText, bySchema, type Decoded } from "./internal/body.js"
import { type Connection, connect } from "./internal/connection.js"
import { extend, LazySignal } from "./internal/context.js"
import { receiveChecks, received, schemaCheck } from "./internal/options.js"
import { check, plainError, run, runSync } from "./internal/plain.js"
import type { Message, ReceiveOptions, Time } from "./types.js"

export interface DeliveriesOptions extends ReceiveOptions {
  /** Ends the loop, also while it waits for a message: `break` is of no use then. */
  readonly signal?: AbortSignal | undefined
}

/** A message with its lease. What is not settled when the loop ends is given back. */
export interface ReceivedMessage<A> {
  readonly body: A
  readonly message: Message
  readonly attempt: number
  /** Fires when the lease is lost, and when the loop ends before it is settled. */
  readonly signal: AbortSignal
  /** Deletes it; resolves when SQS has confirmed. */
  readonly ack: () => Promise<void>
  /** Again after `delay`; at once where it is left out. */
  readonly retry: (delay?: Time) => Promise<void>
  /** To the dead-letter queue of the redrive policy. */
  readonly deadLetter: (reason: string) => Promise<void>
  readonly extend: (time: Time) => Promise<void>
}

const checks: InvalidOptions.Checks<DeliveriesOptions & { readonly schema?: unknown }> = {
  ...receiveChecks,
  signal: InvalidOptions.having("an AbortSignal", "aborted", "addEventListener"),
  schema: schemaCheck
}

const retryDelay = InvalidOptions.time({ max: "12 hours" })

const handed = <A>(connection: Connection, delivery: Delivery<A, unknown>, body: A): ReceivedMessage<A> => {
  const abort = new LazySignal()
  const { message } = delivery
  Effect.runFork(
    Effect.map(delivery.ended, (outcome) => {
      if (outcome === "lost") abort.abort(new LeaseLostError(`the lease of message ${message.id} is lost`))
      if (outcome === "released") abort.abort(new StoppedError(`message ${message.id} is given back`))
    })
  )
  return {
    body,
    message,
    attempt: delivery.attempt,
    get signal() {
      return abort.signal
    },
    ack: () => run(connection, delivery.ack),
    retry: async (delay) => {
      if (delay === undefined) return run(connection, delivery.release)
      runSync(InvalidOptions.argument("delay", delay, retryDelay))
      return run(connection, delivery.retry(delay))
    },
    deadLetter: (reason) => run(connection, delivery.deadLetter(reason)),
    extend: (time) => extend(delivery, time)
  }
}

/** Bodies that are none never reach the loop: they are dead-lettered, or left where there is no such queue. */
async function* loop<A>(
  options: DeliveriesOptions,
  decode: (deliveries: Stream.Stream<Delivery<string>, unknown>) => Decoded<A, unknown>
): AsyncGenerator<ReceivedMessage<A>, void, undefined> {
  const { queue, signal } = options
  const connection = connect(options)
  const scope = Effect.runSync(Scope.make())
  const unlessAborted = async <B>(effect: Effect.Effect<Option.Option<B>, unknown, SqsClient>) => {
    const exit = await connection.runPromiseExit(effect, { signal })
    if (signal?.aborted) return Option.none<B>()
    if (Exit.isFailure(exit)) throw plainError(Cause.squash(exit.cause))
    return exit.value
  }
  try {
    const pulling = Effect.flatMap(SqsConsumer.make(queue, received(options)), ({ stream }) =>
      Stream.toPull(decode(stream))
    )
    const pull = await unlessAborted(Effect.asSome(Scope.extend(pulling, scope)))
    if (Option.isNone(pull)) return
    const next = Effect.catchAll(
      Effect.map(pull.value, (chunk) => Option.some(Chunk.toReadonlyArray(chunk))),
      (end: Option.Option<unknown>) => (Option.isNone(end) ? Effect.succeedNone : Effect.fail(end.value))
    )
    for (;;) {
      const chunk = await unlessAborted(next)
      if (Option.isNone(chunk)) return
      for (const delivery of chunk.value) {
        if (signal?.aborted) return
        if (Exit.isSuccess(delivery.body)) yield handed(connection, delivery, delivery.body.value)
        else connection.runFork(Effect.ignore(delivery.deadLetter("the body does not decode")))
      }
    }
  } finally {
    await Effect.runPromise(Scope.close(scope, Exit.void))
    await connection.dispose()
  }
}

/**
 * The messages of a queue, one after another, to be settled by hand. Leaving the loop (`break`, `return`, a throw) stops receiving
 * and gives back what is not settled; so does `signal`, also while no message comes. Throws `InvalidOptionsError` where an option cannot work.
 *
 * @example
 * for await (const { ack, body } of deliveries({ queue: "orders" })) {
 *   await work(body)
 *   await ack()
 * }
 */
export function deliveries<S extends StandardSchemaV1>(
  options: DeliveriesOptions & WithSchema<S>
): AsyncGenerator<ReceivedMessage<StandardSchemaV1.InferOutput<S>>, void, undefined>
export function deliveries(
  options: DeliveriesOptions & WithoutSchema
): AsyncGenerator<ReceivedMessage<string>, void, undefined>
export function deliveries(
  options: DeliveriesOptions & (WithSchema<StandardSchemaV1> | WithoutSchema)
): AsyncGenerator<ReceivedMessage<unknown>, void, undefined> {
  check("deliveries", options, checks)
  return options.schema === undefined ? loop(options, asText) : loop(options, bySchema(options.schema))
}
