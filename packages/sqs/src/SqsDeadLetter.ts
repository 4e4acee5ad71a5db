/**
 * What is in a dead-letter queue, and the ways back: look at it, read it as a stream with the reasons, send some of it
 * back, or move all of it with SQS's own move task.
 *
 * @see https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-configure-dead-letter-queue-redrive.html
 */
import * as Delivery from "@millrace/core/Delivery"
import * as InvalidOptions from "@millrace/core/InvalidOptions"
import type * as LeaseQueue from "@millrace/core/LeaseQueue"
import * as Data from "effect/Data"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Schedule from "effect/Schedule"
import * as Stream from "effect/Stream"
import { attemptAttribute, errorAttribute, ours, reasonAttribute, sourceAttribute } from "./internal/deadLetter/copy.js"
import type { DeadLetter, NotSentBack, SendBackReport } from "./internal/deadLetter/letters.js"
import * as SendBack from "./internal/deadLetter/sendBack.js"
import { allAttributes, toMessage } from "./internal/receive/received.js"
import type { MoveTask } from "./SqsClient.js"
import { SqsClient } from "./SqsClient.js"
import * as SqsConsumer from "./SqsConsumer.js"
import * as SqsEncoding from "./SqsEncoding.js"
import * as SqsError from "./SqsError.js"
import * as SqsQueue from "./SqsQueue.js"

// ---------------------------------------------------------------------------------------------------------------------
// Letters
// ---------------------------------------------------------------------------------------------------------------------

export type { DeadLetter, NotSentBack, SendBackReport }

/** An encoding that throws opens nothing. */
const opened = ({ body, open }: LeaseQueue.Message): string => {
  try {
    return open === undefined ? body : Either.getOrElse(open(body), () => body)
  } catch {
    return body
  }
}

/** Reads the reasons off a message of a dead-letter queue. */
export const fromMessage = (message: LeaseQueue.Message): DeadLetter => {
  const text = (name: string) => {
    const attribute = message.attributes[name]
    return attribute === undefined || attribute.type === "Binary" ? undefined : attribute.value
  }
  const attempt = Number(text(attemptAttribute))
  return {
    id: message.id,
    get body() {
      return opened(message)
    },
    reason: text(reasonAttribute),
    error: text(errorAttribute),
    attempt: Number.isInteger(attempt) ? attempt : undefined,
    source: message.system["DeadLetterQueueSourceArn"] ?? text(sourceAttribute),
    group: message.group,
    receiveCount: message.attempt,
    sentAt: message.sentAt,
    attributes: Object.fromEntries(Object.entries(message.attributes).filter(([name]) => !ours.has(name))),
    message
  }
}

export interface PeekOptions {
  /** How many to look at: 1 to 1,000. Default: 10. */
  readonly max?: number | undefined
  /** Those of the consumers, so that bodies are shown as text. Default: gzip, up to 16 MiB. */
  readonly encodings?: ReadonlyArray<SqsEncoding.Encoding> | undefined
}

const peekChecks: InvalidOptions.Checks<PeekOptions> = {
  max: InvalidOptions.aWholeNumber({ min: 1, max: 1_000 }),
  encodings: InvalidOptions.list(SqsEncoding.check)
}

/** The longest that an empty answer is waited for: a receive that waits asks all of SQS's servers. */
const WaitTimeSeconds = 1

/**
 * Looks at messages without consuming or hiding them: it receives with a visibility timeout of 0. It is not free of
 * effect, though. Each message's receive count goes up by one or more, so where the dead-letter queue has a dead-letter
 * queue itself, looking often enough moves its messages there. Each look is paid for as any receive is.
 *
 * Answers with fewer than `max` where the queue holds fewer, or SQS shows nothing new. Of a group of a FIFO queue it sees
 * the first ten messages at most.
 *
 * Needs `sqs:ReceiveMessage` and `sqs:GetQueueAttributes`, and `sqs:GetQueueUrl` for a name or an ARN. Fails with
 * `InvalidOptions`, `InvalidQueue`, and what AWS says.
 */
export const peek = Effect.fn("SqsDeadLetter.peek")(function* (
  queue: string | SqsQueue.SqsQueue,
  options: PeekOptions = {}
): Effect.fn.Return<ReadonlyArray<DeadLetter>, SqsConsumer.ConsumerError, SqsClient> {
  yield* InvalidOptions.check("SqsDeadLetter.peek", options, peekChecks)
  const { max = 10 } = options
  const asReceived = toMessage(options.encodings ?? SqsEncoding.standard)
  const client = yield* SqsClient
  const resolved = yield* SqsQueue.resolve(queue)
  // Saves the receive that would only count every message once more.
  const { visible } = yield* retried(SqsQueue.counts(resolved))
  const found = new Map<string, DeadLetter>()
  for (;;) {
    const received = yield* retried(
      client.receiveMessage({
        QueueUrl: resolved.url,
        MaxNumberOfMessages: Math.min(10, max - found.size),
        WaitTimeSeconds,
        VisibilityTimeout: 0,
        ...allAttributes
      })
    )
    const before = found.size
    for (const message of received) found.set(message.MessageId, fromMessage(asReceived(message)))
    if (found.size === before || found.size >= Math.min(max, visible)) return [...found.values()]
  }
})

/**
 * A dead-letter queue's messages with their reasons, as deliveries: leased, and settled by a later stage as any other.
 * Takes the options of `SqsConsumer.stream`, and fails as it does. To decode the bodies, stream the queue with
 * `SqsConsumer.stream` and read the reasons with `fromMessage(delivery.message)`.
 *
 * @example
 * SqsDeadLetter.stream("orders-dlq").pipe(
 *   Pipeline.process((letter) => archive(letter.reason, letter.body))
 * )
 */
export const stream = (
  queue: string | SqsQueue.SqsQueue,
  options: SqsConsumer.Options = {}
): Stream.Stream<Delivery.Delivery<DeadLetter>, SqsConsumer.ConsumerError, SqsClient> =>
  Stream.map(SqsConsumer.stream(queue, options), (delivery) =>
    Delivery.map(delivery, () => fromMessage(delivery.message))
  )

// ---------------------------------------------------------------------------------------------------------------------
// Sending back
// ---------------------------------------------------------------------------------------------------------------------

export interface SendBackOptions {
  /**
   * The queue to send to, by name, URL or ARN. Default: each message's own source, as SQS says, or as a consumer of ours
   * wrote, where that queue's redrive policy names this one: anybody may have written it otherwise. A message that was
   * sent to the dead-letter queue by hand names none, and fails without `to`.
   */
  readonly to?: string | SqsQueue.SqsQueue | undefined
  /** Which messages to send back; the others are kept. Default: all. */
  readonly filter?: ((letter: DeadLetter) => boolean) | undefined
  /**
   * The body to send instead; one that was encoded is given as text, and encoded again. Text in place of a pointer to S3
   * is sent as text. Default: as it is.
   */
  readonly edit?: ((letter: DeadLetter) => string) | undefined
  /** Those of the consumers. Default: gzip, up to 16 MiB. */
  readonly encodings?: ReadonlyArray<SqsEncoding.Encoding> | undefined
  /** The most messages to send back. Default: no limit. */
  readonly max?: number | undefined
  /** At most so many messages a second: 1 to 500. Default: as fast as SQS takes them. */
  readonly perSecond?: number | undefined
  /**
   * How long a message is hidden from other consumers of the dead-letter queue: a death half-way leaves up to ten, and
   * those that were kept, hidden for as long. 10 seconds to 12 hours; below five minutes, what was sent to a FIFO queue
   * and not deleted comes again while SQS still knows it for a duplicate. Default: 2 minutes.
   */
  readonly visibilityTimeout?: Duration.DurationInput | undefined
  /**
   * When to try again what may succeed later: throttled calls, network errors, entries that SQS could not take just now.
   * Default: five times, after 200 ms and twice as long each time, jittered.
   */
  readonly retry?: Schedule.Schedule<unknown, unknown> | undefined
}

const queueCheck = InvalidOptions.either(
  { ...InvalidOptions.text, write: "a queue's name, URL or ARN" },
  InvalidOptions.having("a queue of SqsQueue.resolve", "arn", "url")
)

const sendBackChecks: InvalidOptions.Checks<SendBackOptions> = {
  to: queueCheck,
  filter: InvalidOptions.func,
  edit: InvalidOptions.func,
  encodings: InvalidOptions.list(SqsEncoding.check),
  max: InvalidOptions.aWholeNumber({ min: 1 }),
  perSecond: InvalidOptions.aWholeNumber({ min: 1, max: 500 }),
  visibilityTimeout: InvalidOptions.time(),
  retry: InvalidOptions.schedule
}

/** A call failed for good after the start. What was done until then stands in the report. */
export class SendBackStopped extends Data.TaggedError("SendBackStopped")<{
  readonly report: SendBackReport
  readonly cause: SqsError.SqsError
}> {
  override get message(): string {
    const { failed, kept, sentBack } = this.report
    return `${this.cause.message} Until then ${sentBack} messages were sent back, ${kept} kept, and ${failed.length} failed. What was not sent back is still in the dead-letter queue.`
  }
}

/**
 * Sends messages of a dead-letter queue back, with body, attributes, group and trace header, less the attributes that
 * told the reason. Each is deleted only when SQS has confirmed the send, so a death at any point loses none; it may leave
 * up to ten that are in both queues. Run it again: on FIFO queues their deduplication id, which is the message's id in
 * the dead-letter queue, makes the repeat harmless within five minutes; on standard queues a handler sees them twice.
 *
 * Goes once through what is visible, and ends when SQS shows nothing new; what is dead-lettered anew meanwhile is kept,
 * so that a failing consumer makes no endless loop. What is kept or has failed is released at the end. An interruption
 * waits for the ten messages at hand.
 *
 * On FIFO queues messages of a group go back in order, and after one that cannot the rest of its group stays; where SQS
 * refuses one entry of a call for the moment, it comes after those that were sent with it. A kept message hides later
 * ones of its group that did not come with it.
 *
 * Needs `sqs:ReceiveMessage`, `sqs:DeleteMessage`, `sqs:ChangeMessageVisibility` and `sqs:GetQueueAttributes` on the
 * dead-letter queue, `sqs:SendMessage`, `sqs:GetQueueUrl` and `sqs:GetQueueAttributes` on the destinations. Fails with
 * `InvalidOptions`, `InvalidQueue`, what AWS says of the queues, and `SendBackStopped`.
 *
 * @example
 * SqsDeadLetter.sendBack("orders-dlq", { filter: ({ reason }) => reason?.includes("timeout") ?? false })
 */
export const sendBack = Effect.fn("SqsDeadLetter.sendBack")(function* (
  queue: string | SqsQueue.SqsQueue,
  options: SendBackOptions = {}
): Effect.fn.Return<SendBackReport, SqsConsumer.ConsumerError | SendBackStopped, SqsClient> {
  yield* InvalidOptions.check("SqsDeadLetter.sendBack", options, sendBackChecks)
  const retry = options.retry ?? standardRetry
  const source = yield* SqsQueue.resolve(queue, { retry })
  const to = options.to === undefined ? undefined : yield* SqsQueue.resolve(options.to, { retry })
  if (to?.arn === source.arn) return yield* sameQueue(source)
  const run = yield* SendBack.make({
    source,
    to,
    fromMessage,
    filter: options.filter ?? (() => true),
    edit: options.edit ?? (({ body }) => body),
    encodings: options.encodings ?? SqsEncoding.standard,
    max: options.max ?? Infinity,
    visibilityTimeout: options.visibilityTimeout ?? "2 minutes",
    wait: Duration.seconds(WaitTimeSeconds),
    retry,
    perSecond: options.perSecond
  })
  yield* Effect.mapError(run.toTheEnd, (cause) => new SendBackStopped({ report: run.report(), cause }))
  return run.report()
})

const standardRetry = Schedule.exponential("200 millis").pipe(Schedule.jittered, Schedule.intersect(Schedule.recurs(5)))

const retried = <A, R>(call: Effect.Effect<A, SqsError.SqsError, R>) =>
  Effect.retry(call, { schedule: standardRetry, while: SqsError.retryable })

const sameQueue = (queue: SqsQueue.SqsQueue) =>
  new InvalidOptions.InvalidOptions({
    option: "to",
    message: `to is ${queue.name}, the dead-letter queue itself; write the queue that its messages shall go to`
  })

// ---------------------------------------------------------------------------------------------------------------------
// Moving all
// ---------------------------------------------------------------------------------------------------------------------

export interface WatchOptions {
  /** When to ask how far the task is. Default: every second. */
  readonly poll?: Schedule.Schedule<unknown, unknown> | undefined
}

export interface MoveOptions extends WatchOptions {
  /**
   * The queue to move to, by name, URL or ARN. Default: each message's own source, which SQS knows only of messages that
   * it moved itself. Name one where consumers of ours, or anything else, sent messages to the dead-letter queue: the task
   * fails otherwise.
   */
  readonly to?: string | SqsQueue.SqsQueue | undefined
  /** At most so many messages a second: 1 to 500. Default: as SQS thinks fit. */
  readonly perSecond?: number | undefined
}

const watchChecks: InvalidOptions.Checks<WatchOptions> = { poll: InvalidOptions.schedule }

const moveChecks: InvalidOptions.Checks<MoveOptions> = {
  ...watchChecks,
  to: queueCheck,
  perSecond: InvalidOptions.aWholeNumber({ min: 1, max: 500 })
}

/** How far a move task is, about: SQS counts behind time. */
export interface MoveProgress {
  /** `RUNNING`, `COMPLETED`, `CANCELLING` or `CANCELLED`. */
  readonly status: string
  readonly moved: number
  /** How many there were at the start, where SQS has said so yet. */
  readonly toMove: number | undefined
}

/** SQS gave the task up. What it moved stays moved, the rest is still in the dead-letter queue. */
export class MoveFailed extends Data.TaggedError("MoveFailed")<{
  readonly queue: string
  /** AWS's own word, such as `CouldNotDetermineMessageSource`. */
  readonly reason: string
  readonly moved: number
}> {
  override get message(): string {
    const hint =
      this.reason === "CouldNotDetermineMessageSource"
        ? "SQS knows the source only of messages that it dead-lettered itself, not of those that a consumer or a person sent there: name the destination (`to`), or use `sendBack`."
        : /NonExistentQueue/.test(this.reason)
          ? "A destination, or the source of a message, is no longer there: name another (`to`)."
          : "ListMessageMoveTasks and the queues' permissions may tell more."
    return `The move task of ${this.queue} failed after ${this.moved} messages: ${this.reason}. ${hint}`
  }
}

const listTasks = (queue: SqsQueue.SqsQueue) =>
  Effect.flatMap(SqsClient, (client) => retried(client.listMessageMoveTasks({ SourceArn: queue.arn, MaxResults: 10 })))

/**
 * Tells which of a queue's tasks is the next to be started. It has no handle any more once it has ended, and SQS may
 * list it late, so it is known as the first that was not there before.
 */
const nextTask = (queue: SqsQueue.SqsQueue) =>
  Effect.map(listTasks(queue), (before) => {
    const since = before[0]?.StartedTimestamp ?? 0
    const notBefore = (tasks: ReadonlyArray<MoveTask>) =>
      tasks.filter(({ StartedTimestamp }) => StartedTimestamp >= since)
    const known = notBefore(before).length
    return Effect.map(listTasks(queue), (tasks) => {
      const newestFirst = notBefore(tasks)
      return newestFirst[newestFirst.length - known - 1]
    })
  })

/** A task may have ended by itself when the call comes: that is as good. */
const cancelTask = (TaskHandle: string) =>
  Effect.flatMap(SqsClient, (client) => client.cancelMessageMoveTask({ TaskHandle })).pipe(
    retried,
    Effect.catchTag("ResourceNotFound", () => Effect.succeed(undefined))
  )

const isActive = (status: string): boolean => status === "RUNNING" || status === "CANCELLING"

/**
 * Moves all messages that are visible now with a move task, which SQS runs by itself, and tells how far it is until it
 * has ended. An interruption, or a stream that closes early, `poll`'s end included, cancels the task.
 * Moved messages are new ones: id, receive count and retention begin anew; the reasons stay in their attributes.
 *
 * One task a queue runs at a time. On the dead-letter queue it needs `sqs:StartMessageMoveTask`,
 * `sqs:ListMessageMoveTasks`, `sqs:CancelMessageMoveTask`, `sqs:ReceiveMessage`, `sqs:DeleteMessage` and
 * `sqs:GetQueueAttributes`, on the destinations `sqs:SendMessage`, and `kms:Decrypt` and `kms:GenerateDataKey` where the
 * queues are encrypted. Fails with `MoveFailed` where SQS gives up, `InvalidParameterValue` where a task runs already or
 * the queue is no queue's dead-letter queue, `InvalidOptions`, `InvalidQueue`, and what else AWS says.
 *
 * @see https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_StartMessageMoveTask.html
 *
 * @example
 * SqsDeadLetter.moveAll("orders-dlq", { to: "orders", perSecond: 50 }).pipe(
 *   Stream.runForEach(({ moved, toMove }) => Effect.log(`${moved} of ${toMove}`))
 * )
 */
export const moveAll = (
  queue: string | SqsQueue.SqsQueue,
  options: MoveOptions = {}
): Stream.Stream<MoveProgress, SqsConsumer.ConsumerError | MoveFailed, SqsClient> =>
  Stream.unwrapScoped(
    Effect.gen(function* () {
      yield* InvalidOptions.check("SqsDeadLetter.moveAll", options, moveChecks)
      const client = yield* SqsClient
      const source = yield* SqsQueue.resolve(queue)
      const to = options.to === undefined ? undefined : yield* SqsQueue.resolve(options.to)
      if (to?.arn === source.arn) return yield* sameQueue(source)
      const { perSecond } = options
      const ours = yield* nextTask(source)
      const start = client.startMessageMoveTask({
        SourceArn: source.arn,
        ...(to !== undefined && { DestinationArn: to.arn }),
        ...(perSecond !== undefined && { MaxNumberOfMessagesPerSecond: perSecond })
      })
      // A lost answer leaves a task that runs: it is looked for before another is started.
      const started: Effect.Effect<string | undefined, SqsError.SqsError, SqsClient> = Effect.retry(
        Effect.catchIf(start, SqsError.retryable, (error) =>
          Effect.flatMap(ours, (task) => (task === undefined ? Effect.fail(error) : Effect.succeed(task.TaskHandle)))
        ),
        { schedule: standardRetry, while: SqsError.retryable }
      )
      let over = false
      yield* Effect.acquireRelease(started, (handle) =>
        over || handle === undefined
          ? Effect.void
          : Effect.catchAll(cancelTask(handle), (error) =>
              Effect.logWarning(`the move task of ${source.name} may go on: ${error.message}`)
            )
      )
      return Stream.repeatEffectWithSchedule(ours, options.poll ?? Schedule.spaced("1 second")).pipe(
        Stream.filter((task) => task !== undefined),
        Stream.takeUntil(({ Status }) => !isActive(Status)),
        Stream.mapEffect((task) => {
          over = !isActive(task.Status)
          const moved = task.ApproximateNumberOfMessagesMoved
          return task.Status === "FAILED"
            ? new MoveFailed({ queue: source.name, reason: task.FailureReason ?? "no reason given", moved })
            : Effect.succeed({ status: task.Status, moved, toMove: task.ApproximateNumberOfMessagesToMove })
        })
      )
    })
  )

/**
 * Cancels the move task that runs on a dead-letter queue, whoever started it, and tells how many messages it had moved;
 * they stay moved. `undefined` where none runs. Needs `sqs:CancelMessageMoveTask`, `sqs:ListMessageMoveTasks`,
 * `sqs:ReceiveMessage`, `sqs:DeleteMessage` and `sqs:GetQueueAttributes`.
 */
export const cancelMove = Effect.fn("SqsDeadLetter.cancelMove")(function* (
  queue: string | SqsQueue.SqsQueue
): Effect.fn.Return<number | undefined, SqsConsumer.ConsumerError, SqsClient> {
  const [task] = yield* listTasks(yield* SqsQueue.resolve(queue))
  return task?.TaskHandle === undefined ? undefined : yield* cancelTask(task.TaskHandle)
})
