/**
 * Sends to an SQS queue: one message as an Effect, a stream into a Sink, or as a stage that goes on with the results.
 * Messages of all senders share calls; what fails is sent again on its own; a full buffer makes senders wait.
 */
import * as Channel from "@millrace/core/Channel"
import * as InvalidOptions from "@millrace/core/InvalidOptions"
import type * as CoreMessage from "@millrace/core/Message"
import * as Effect from "effect/Effect"
import type * as Either from "effect/Either"
import * as Random from "effect/Random"
import type * as Scope from "effect/Scope"
import * as Sink from "effect/Sink"
import * as Stream from "effect/Stream"
import * as Clock from "./internal/effect/clock.js"
import { fork } from "./internal/effect/fork.js"
import type { Receipt } from "./internal/send/entry.js"
import type { ProducerError } from "./internal/send/errors.js"
import type { Message } from "./internal/send/message.js"
import { type ChannelOptions, check, checkForChannel, defaultRetry, type Options } from "./internal/send/options.js"
import { Outbox } from "./internal/send/outbox.js"
import { preparing } from "./internal/send/prepare.js"
import { Producer, type SqsProducer } from "./internal/send/producer.js"
import { ProducerMetrics } from "./internal/send/producerMetrics.js"
import { traced } from "./internal/send/spans.js"
import { SqsClient } from "./SqsClient.js"
import type { SqsError } from "./SqsError.js"
import * as SqsQueue from "./SqsQueue.js"

export { type Codec, type Encoded, json, plain } from "./internal/send/codec.js"
export type { Receipt } from "./internal/send/entry.js"
export {
  BodyNotStored,
  MessageRejected,
  ProducerClosed,
  type ProducerError,
  SendFailed
} from "./internal/send/errors.js"
export { type Attributes, Message, type MessageFields, message } from "./internal/send/message.js"
export { type ChannelOptions, defaultRetry, type Options } from "./internal/send/options.js"
export type { Stats } from "./internal/send/outbox.js"
export type { SqsProducer } from "./internal/send/producer.js"

/** What making a producer can fail with: options that cannot work, a string that is no queue, and what AWS says. */
export type MakeError = SqsError | SqsQueue.InvalidQueue | InvalidOptions.InvalidOptions

/**
 * A producer for a queue given by name, URL or ARN, or as it was found; the queue is looked up (needs
 * `sqs:GetQueueUrl`, `sqs:GetQueueAttributes` and `sqs:SendMessage`), for a minute where SQS throttles or is not reached. Calls hold up to 10 messages and 1 MiB; each
 * message has its own result.
 *
 * On standard queues a call whose answer was lost is sent again and may leave duplicates, as SQS itself may. On FIFO
 * queues it leaves none, and a group's messages are in the order of sending, each sent when the one before has its
 * result; groups do not wait for each other. After a message that has failed for good its group goes on.
 *
 * When the scope closes, what was accepted is sent for up to `flushTimeout`; what was not, and whatever is sent later,
 * fails with `ProducerClosed`.
 *
 * @see https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessageBatch.html
 *
 * @example
 * const orders = yield* SqsProducer.make("orders.fifo", {
 *   codec: SqsProducer.json(Order),
 *   group: (order) => order.customer
 * })
 * const { messageId } = yield* orders.send(order)
 */
export const make = <A = unknown>(
  queue: string | SqsQueue.SqsQueue,
  options: Options<A> = {}
): Effect.Effect<SqsProducer<A>, MakeError, SqsClient | Scope.Scope> =>
  Effect.gen(function* () {
    const client = yield* SqsClient
    const resolved = yield* SqsQueue.resolve(queue)
    const checked = yield* check(resolved, options)
    const now = yield* Clock.now
    const forked = yield* fork
    const outbox = new Outbox(
      {
        client:
          options.spans === undefined || options.spans === false
            ? client
            : traced(client, resolved.name, resolved.url, options.spans),
        now,
        fork: forked,
        metrics: new ProducerMetrics(options.name ?? resolved.name)
      },
      {
        ...checked,
        queueUrl: resolved.url,
        fifo: resolved.fifo,
        retry: options.retry ?? defaultRetry,
        rate: options.rate?.bucket
      }
    )
    yield* Effect.addFinalizer(() => outbox.close(checked.flushTimeout))
    const draw = Random.nextIntBetween(0, 2 ** 32)
    const prefix = `${now().toString(36)}-${(yield* draw).toString(36)}-${(yield* draw).toString(36)}`
    let drawn = 0
    const uniqueId = () => `${prefix}-${(drawn++).toString(36)}`
    const prepare = preparing(resolved, options, checked.callBytes, uniqueId, forked)
    return new Producer(resolved, outbox, prepare, checked)
  })

/**
 * A producer that takes the messages of a channel and no others: body and attributes are by its envelope, group and
 * deduplication id by their declarations. A message that does not fit its Schema is rejected as `NotEncodable`.
 *
 * Fails as `make` does, and with `InvalidOptions` where the queue is FIFO and a message declares no group.
 *
 * @example
 * const orders = yield* SqsProducer.forChannel("orders", shop)
 * yield* orders.send(OrderPlaced.of({ order: "42", customer: "7" }))
 */
export const forChannel = <M extends CoreMessage.Any>(
  queue: string | SqsQueue.SqsQueue,
  channel: Channel.Channel<M>,
  options: ChannelOptions = {}
): Effect.Effect<SqsProducer<CoreMessage.ValueOf<M>>, MakeError, SqsClient | Scope.Scope> =>
  Effect.gen(function* () {
    yield* InvalidOptions.argument("channel", channel, Channel.check)
    yield* checkForChannel(options)
    const resolved = yield* SqsQueue.resolve(queue)
    const groupless = channel.messages.filter(({ grouped }) => !grouped).map(({ name }) => name)
    if (resolved.fifo && groupless.length > 0) {
      return yield* new InvalidOptions.InvalidOptions({
        option: "channel",
        message: `${groupless.join(", ")} of ${channel.name} declares no group, which ${resolved.name} demands, since it is FIFO; give Message.make a \`group\``
      })
    }
    return yield* make<CoreMessage.ValueOf<M>>(resolved, { ...options, codec: { encode: Channel.encode(channel) } })
  })

/** `make(queue, options).through`, with a producer that lives as long as the stream. */
export const through =
  <A = unknown>(queue: string | SqsQueue.SqsQueue, options: Options<A> = {}) =>
  <E, R>(
    stream: Stream.Stream<A | Message<A>, E, R>
  ): Stream.Stream<Either.Either<Receipt, ProducerError>, E | MakeError, R | SqsClient> =>
    Stream.unwrapScoped(Effect.map(make(queue, options), (producer) => producer.through(stream)))

/** `make(queue, options).sink`, with a producer that lives as long as the stream that runs into it. */
export const sink = <A = unknown>(
  queue: string | SqsQueue.SqsQueue,
  options: Options<A> = {}
): Sink.Sink<number, A | Message<A>, never, ProducerError | MakeError, SqsClient> =>
  Sink.unwrapScoped(
    Effect.map(
      make(queue, options),
      (producer): Sink.Sink<number, A | Message<A>, never, ProducerError | MakeError> => producer.sink
    )
  )
