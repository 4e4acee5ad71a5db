/**
 * An SQS queue as a stream of deliveries, polled only as fast as the work is done.
 */
import * as Consumer from "@millrace/core/Consumer"
import type { Delivery } from "@millrace/core/Delivery"
import * as InvalidOptions from "@millrace/core/InvalidOptions"
import * as Prioritized from "@millrace/core/Prioritized"
import * as Served from "@millrace/core/Served"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import type * as Stream from "effect/Stream"
import type { SqsClient } from "./SqsClient.js"
import type { SqsError } from "./SqsError.js"
import * as SqsLeaseQueue from "./SqsLeaseQueue.js"
import type * as SqsQueue from "./SqsQueue.js"

/** @typeParam Q - how its quota may fail. */
export interface Options<out Q = never> extends Consumer.Options<Q>, SqsLeaseQueue.Options {}

const checks: InvalidOptions.Checks<Options> = { ...Consumer.checks, ...SqsLeaseQueue.checks }

/** The queue, once the options are known to be none but those of `of`. */
const leased = <O extends SqsLeaseQueue.Options>(
  of: string,
  queue: string | SqsQueue.SqsQueue,
  options: O,
  known: InvalidOptions.Checks<NoInfer<O>>
) =>
  Effect.zipRight(
    InvalidOptions.check(of, options, known),
    Effect.suspend(() =>
      SqsLeaseQueue.make(queue, InvalidOptions.only<SqsLeaseQueue.Options>(SqsLeaseQueue.checks, options))
    )
  )

/** What a consumer can fail with: options that cannot work, a string that is no queue, and what AWS says. */
export type ConsumerError = SqsError | SqsQueue.InvalidQueue | InvalidOptions.InvalidOptions

/**
 * The deliveries of a queue, given by name, URL or ARN. Nothing is received before the stream is run and asks. The
 * queue is looked up when the stream begins (needs `sqs:GetQueueUrl` and `sqs:GetQueueAttributes`), and leased with its
 * own visibility timeout unless `visibilityTimeout` says otherwise.
 *
 * When the stream closes, what no stage has claimed is released. Throttling and network errors are retried, by
 * `receiveRetry` and of the look-up too; a fatal
 * error (no such queue, access denied, bad credentials) fails the stream, at once where nothing has been received yet.
 *
 * @example
 * SqsConsumer.stream("order-processing-queue", { maxInFlight: 200 }).pipe(
 *   Pipeline.decodeJson(Order),
 *   Pipeline.process(fulfil, { concurrency: 64 }),
 *   Stream.runDrain
 * )
 */
export const stream = <Q = never>(
  queue: string | SqsQueue.SqsQueue,
  options: Options<Q> = {}
): Stream.Stream<Delivery<string>, ConsumerError | Q, SqsClient> =>
  Consumer.unwrap(
    Effect.map(leased("SqsConsumer", queue, options, checks), (leaseQueue) =>
      Consumer.stream(leaseQueue, InvalidOptions.only<Consumer.Options<Q>>(Consumer.checks, options))
    )
  )

/**
 * Runs a pipeline over a queue for the life of the Layer, and gives a handle to it under a tag of the user's own. When
 * the Layer is closed, by SIGTERM or SIGINT through the runtime for instance, the consumer is drained: no new receives,
 * handlers finish until `drainDeadline` (default 20 seconds), the rest is released; the report is logged. `restart`
 * says what follows a failure; with `Served.launch` the program fails with it. The queue is looked up as the Layer is
 * built, which fails with a `ConsumerError` where that fails.
 *
 * @example
 * class Orders extends Context.Tag("Orders")<Orders, Served.Served>() {}
 * const OrdersLive = SqsConsumer.layer(Orders, "order-processing-queue", (deliveries) => deliveries.pipe(
 *   Pipeline.decodeJson(Order),
 *   Pipeline.process(fulfil)
 * ))
 * NodeRuntime.runMain(Served.launch(OrdersLive).pipe(Effect.provide(SqsClient.layerConfig())))
 */
export const layer = <I, E2, R>(
  tag: Context.Tag<I, Served.Served>,
  queue: string | SqsQueue.SqsQueue,
  pipeline: (deliveries: Stream.Stream<Delivery<string>, SqsError>) => Stream.Stream<unknown, E2, R>,
  options: Served.Options & SqsLeaseQueue.Options = {}
): Layer.Layer<I, ConsumerError, SqsClient | Exclude<R, Scope.Scope>> =>
  Layer.unwrapEffect(
    Effect.map(InvalidOptions.check("SqsConsumer.layer", options, { ...Served.checks, ...SqsLeaseQueue.checks }), () =>
      Served.layer(
        tag,
        SqsLeaseQueue.make(queue, InvalidOptions.only<SqsLeaseQueue.Options>(SqsLeaseQueue.checks, options)),
        pipeline,
        InvalidOptions.only<Served.Options>(Served.checks, options)
      )
    )
  )

/**
 * A consumer with a handle: its stream, its figures, pause and resume, and a drain on request. Closing the scope
 * interrupts what still runs and releases what is in flight. The queue is looked up at once; fails as `stream` does.
 */
export const make = <Q = never>(
  queue: string | SqsQueue.SqsQueue,
  options: Options<Q> = {}
): Effect.Effect<Consumer.Consumer<SqsError | Q>, ConsumerError, SqsClient | Scope.Scope> =>
  Effect.flatMap(leased("SqsConsumer", queue, options, checks), (leaseQueue) =>
    Consumer.make(leaseQueue, InvalidOptions.only<Consumer.Options<Q>>(Consumer.checks, options))
  )

/** One of several queues: by name, URL or ARN, with its weight where they go by weight. */
export interface PrioritizedQueue {
  readonly queue: string | SqsQueue.SqsQueue
  readonly weight?: number | undefined
  /** Names its consumer in metrics, logs and figures. Default: the queue's name. */
  readonly name?: string | undefined
}

export interface PrioritizedOptions extends Prioritized.Options, SqsLeaseQueue.Options {}

const prioritizedChecks = (): InvalidOptions.Checks<PrioritizedOptions> => ({
  ...Prioritized.checks(),
  ...SqsLeaseQueue.checks
})

type PrioritizedQueues = ReadonlyArray<string | SqsQueue.SqsQueue | PrioritizedQueue>

const leaseQueues = (queues: PrioritizedQueues, options: PrioritizedOptions) =>
  Effect.gen(function* () {
    const several = InvalidOptions.list(
      InvalidOptions.either(
        InvalidOptions.text,
        InvalidOptions.having("an object with a queue", "queue"),
        InvalidOptions.having("a queue of SqsQueue.resolve", "url")
      )
    )
    yield* InvalidOptions.argument("queues", queues, several)
    yield* InvalidOptions.check("SqsConsumer.prioritized", options, prioritizedChecks())
    const own = InvalidOptions.only<SqsLeaseQueue.Options>(SqsLeaseQueue.checks, options)
    return yield* Effect.forEach(queues, (given) =>
      Effect.gen(function* () {
        const one: PrioritizedQueue = typeof given === "string" || !("queue" in given) ? { queue: given } : given
        return { ...one, queue: yield* SqsLeaseQueue.make(one.queue, own) }
      })
    )
  })

/**
 * Several queues as one stream, with one `maxInFlight` and shared slots. In their order, strictly: while the first have messages the
 * later ones have no more than the `floor`; or each by its `weight`. Nobody waits for another's long poll, and each delivery
 * settles at its own queue. The queues are looked up when the stream begins.
 *
 * @example
 * SqsConsumer.prioritized(["urgent", "normal", "bulk"], { maxInFlight: 200 })
 * SqsConsumer.prioritized([{ queue: "orders", weight: 3 }, { queue: "reports", weight: 1 }])
 */
export const prioritized = (
  queues: PrioritizedQueues,
  options: PrioritizedOptions = {}
): Stream.Stream<Delivery<string>, ConsumerError, SqsClient> =>
  Consumer.unwrap(
    Effect.map(leaseQueues(queues, options), (all) =>
      Prioritized.stream(all, InvalidOptions.only<Prioritized.Options>(Prioritized.checks(), options))
    )
  )

/** The same with a handle: the consumer of each queue, with its figures and health, and a drain of all. */
export const makePrioritized = (
  queues: PrioritizedQueues,
  options: PrioritizedOptions = {}
): Effect.Effect<Prioritized.Prioritized<SqsError>, ConsumerError, SqsClient | Scope.Scope> =>
  Effect.flatMap(leaseQueues(queues, options), (all) =>
    Prioritized.make(all, InvalidOptions.only<Prioritized.Options>(Prioritized.checks(), options))
  )
