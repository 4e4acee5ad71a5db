/**
 * A pipeline as a Lambda function: the same stages over the records of one event, answered with the messages that come
 * again. What it is built of is built once for each container, and closed on SIGTERM.
 *
 * @see https://docs.aws.amazon.com/lambda/latest/dg/with-sqs.html
 */
import * as InvalidOptions from "@millrace/core/InvalidOptions"
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as ManagedRuntime from "effect/ManagedRuntime"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import type { Service } from "../internal/client/service.js"
import { SqsClient } from "../internal/client/tag.js"
import * as Invocation from "../internal/lambda/invocation.js"
import { queueBehind } from "../internal/lambda/queueBehind.js"
import * as Sigterm from "../internal/lambda/sigterm.js"
import type * as LambdaEvent from "./LambdaEvent.js"

export {
  Closing,
  type LambdaFunction,
  MessagesFailed,
  type Options,
  type Pipeline
} from "../internal/lambda/invocation.js"

export interface HandlerOptions<R, E> extends Invocation.Options {
  /** What the pipeline needs. An `SqsClient` in it is used; else one as of `SqsClient.layerConfig` is made when it is needed. */
  readonly layer: Layer.Layer<R, E>
}

const handlerChecks: InvalidOptions.Checks<HandlerOptions<never, never>> = {
  ...Invocation.checks,
  layer: { write: "a Layer", fits: Layer.isLayer }
}

/**
 * The function as an Effect, for who runs it: a test in virtual time, or a program with a runtime of its own. Closing the
 * scope ends events under way as SIGTERM does: handlers are interrupted, and what is not done is answered so.
 *
 * Fails with `InvalidOptions` where an option cannot work.
 */
export const make = <E, R>(
  pipeline: Invocation.Pipeline<E, R>,
  options: Invocation.Options = {}
): Effect.Effect<
  Invocation.LambdaFunction<E | InvalidOptions.InvalidOptions>,
  InvalidOptions.InvalidOptions,
  SqsClient | Scope.Scope | Exclude<R, Scope.Scope>
> =>
  Effect.flatMap(Effect.zip(SqsClient, Effect.scope), ([client, scope]) =>
    Invocation.build(pipeline, options, queueBehind(Effect.succeed(client)), scope)
  )

/** What Lambda calls: `SQSHandler` of `@types/aws-lambda`. It rejects with the error itself. */
export type Handler = (
  event: LambdaEvent.LambdaEvent,
  context: LambdaEvent.LambdaContext
) => Promise<LambdaEvent.LambdaResponse>

/** A client of its own, made when it is first needed: who never fails does not wait for the AWS SDK to load. */
const ownClient = (scope: Scope.Scope) => {
  let made: Service | undefined
  return Effect.suspend(() =>
    made !== undefined
      ? Effect.succeed(made)
      : Effect.promise(() => import("../SqsClient.js")).pipe(
          Effect.flatMap(({ layerConfig }) => Layer.buildWithScope(layerConfig(), scope)),
          Effect.map((context) => {
            made = Context.get(context, SqsClient)
            return made
          })
        )
  )
}

/**
 * The pipeline as a Lambda handler, of the same stages as anywhere else. It answers with the messages that come again:
 * those that failed, with all that follow them in their group on a FIFO queue, and those that were not done `margin` before
 * the function's time is over. The retry policy's delays are set as it ends (needs `sqs:GetQueueUrl`,
 * `sqs:GetQueueAttributes` and `sqs:ChangeMessageVisibility`); where that may not be, they are left to the queue, and that
 * is said once. A failed message is never held for its retry, whatever `holdLimit` says: the whole batch would wait.
 *
 * `layer` is built with the first event, once for each container; if that fails the invocation does, and the next one tries
 * again. On SIGTERM, which Lambda sends where an extension is registered, it is closed.
 *
 * Throws `InvalidOptions` where an option cannot work.
 *
 * @example
 * export const handler = SqsLambda.handler(
 *   (deliveries) => deliveries.pipe(Pipeline.decodeJson(Order), Pipeline.process(fulfil, { concurrency: 10 })),
 *   { layer: Database.layer, reportBatchItemFailures: true }
 * )
 */
export function handler<E>(
  pipeline: Invocation.Pipeline<E, Scope.Scope>,
  options?: Invocation.Options & { readonly layer?: undefined }
): Handler
export function handler<E, R, EL>(
  pipeline: Invocation.Pipeline<E, R>,
  options: HandlerOptions<Exclude<R, Scope.Scope>, EL>
): Handler
export function handler<E, R, EL>(
  pipeline: Invocation.Pipeline<E, R>,
  all: Invocation.Options & { readonly layer?: Layer.Layer<Exclude<R, Scope.Scope>, EL> | undefined } = {}
): Handler {
  InvalidOptions.checkOrThrow("SqsLambda.handler", all, handlerChecks)
  const { layer: given = Layer.empty, ...options } = all
  // Left out only where it has nothing to give.
  const layer = given as Layer.Layer<Exclude<R, Scope.Scope>, EL>
  let container: Container<E, EL> | undefined
  const close = async () => container?.close()
  return async (event, context) => {
    if (container === undefined) {
      container = open(pipeline, options, layer)
      Sigterm.add(close)
    }
    const mine = container
    const fn = await mine.fn
    if (Exit.isFailure(fn)) {
      // What could not be built stays so: the next event tries anew.
      if (container === mine) {
        container = undefined
        Sigterm.remove(close)
      }
      await mine.close()
      throw Cause.squash(fn.cause)
    }
    const answer = await mine.run(fn.value(event, context))
    if (Exit.isFailure(answer)) throw Cause.squash(answer.cause)
    return answer.value
  }
}

/** What lasts as long as the container does. */
interface Container<E, EL> {
  readonly fn: Promise<
    Exit.Exit<Invocation.LambdaFunction<E | InvalidOptions.InvalidOptions>, EL | InvalidOptions.InvalidOptions>
  >
  readonly run: <A, E2>(effect: Effect.Effect<A, E2>) => Promise<Exit.Exit<A, E2 | EL>>
  readonly close: () => Promise<void>
}

const open = <E, R, EL>(
  pipeline: Invocation.Pipeline<E, R>,
  options: Invocation.Options,
  layer: Layer.Layer<Exclude<R, Scope.Scope>, EL>
): Container<E, EL> => {
  const runtime = ManagedRuntime.make(layer)
  const scope = Effect.runSync(Scope.make())
  // A client of its own is made after the first event has begun, and is needed until the last one has ended.
  const clientScope = Effect.runSync(Scope.make())
  const fn = Effect.flatMap(Effect.serviceOption(SqsClient), (client) =>
    Invocation.build(
      pipeline,
      options,
      queueBehind(Option.isSome(client) ? Effect.succeed(client.value) : ownClient(clientScope)),
      scope
    )
  )
  return {
    fn: runtime.runPromiseExit(fn),
    run: (effect) => runtime.runPromiseExit(effect),
    // What is under way is answered before what it stands on is closed.
    close: async () => {
      try {
        await Effect.runPromise(Effect.ensuring(Scope.close(scope, Exit.void), Scope.close(clientScope, Exit.void)))
      } finally {
        await runtime.dispose()
      }
    }
  }
}
