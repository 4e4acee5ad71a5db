/**
 * What stands between a queue and a Lambda function: an event source mapping, over the emulator. It polls, gathers batches,
 * invokes containers of the function, one event at a time each, and deletes what the answer leaves out. All of it is on
 * Effect's Clock: a function that is an Effect runs in virtual time.
 *
 * Left out: the slow growth and backing off of Lambda's own concurrency, filters, and what waits for a throttled function.
 *
 * @see https://docs.aws.amazon.com/lambda/latest/dg/with-sqs.html
 *
 * @example
 * const poller = yield* LambdaPoller.make("orders", SqsLambda.make(pipeline), { reportBatchItemFailures: true })
 */
import * as InvalidOptions from "@millrace/core/InvalidOptions"
import * as Arr from "effect/Array"
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import * as Scope from "effect/Scope"
import { mapValues } from "../internal/message/mapValues.js"
import { allAttributes } from "../internal/receive/received.js"
import type { LambdaContext, LambdaEvent, LambdaRecord } from "../lambda/LambdaEvent.js"
import type { ReceivedMessage } from "../SqsClient.js"
import type { SqsError } from "../SqsError.js"
import { SqsEmulator } from "./SqsEmulator.js"

/** The settings of an event source mapping and of its function; what is left out is as in AWS. */
export interface Options {
  /** Messages an event, at most: 1 to 10,000, and 10 on a FIFO queue. Default: 10. */
  readonly batchSize?: number | undefined
  /** How long a batch is gathered, from its first message: 0 seconds to 5 minutes; 0 on a FIFO queue. Default: 0. */
  readonly window?: Duration.DurationInput | undefined
  /** Invocations at once, which is as many containers: 1 to 1,000. Default: 5. */
  readonly maximumConcurrency?: number | undefined
  /** `FunctionResponseTypes: [ReportBatchItemFailures]`. Default: false. */
  readonly reportBatchItemFailures?: boolean | undefined
  /** The function's timeout: 1 second to 15 minutes. Default: 3 seconds. */
  readonly timeout?: Duration.DurationInput | undefined
}

/** A function: an Effect, or a promise as Lambda's own handlers give. */
export type LambdaFunction = (
  event: LambdaEvent,
  context: LambdaContext
) => Effect.Effect<unknown, unknown> | PromiseLike<unknown>

export interface Invocation {
  /** In milliseconds since the epoch. */
  readonly at: number
  readonly millis: number
  /** Message ids, as in the event. */
  readonly records: ReadonlyArray<string>
  /**
   * `failed`: it threw, or its answer was none that Lambda understands; `timedOut`: its container was killed. None of its
   * messages was deleted then.
   */
  readonly outcome: "answered" | "failed" | "timedOut"
  /** Of an answer that was heeded: the messages that come again. */
  readonly failures: ReadonlyArray<string>
  readonly error: unknown
}

export interface Service {
  /** The latest 10,000 invocations that have ended, the first one first. */
  readonly invocations: Effect.Effect<ReadonlyArray<Invocation>>
  /** Ends all containers, as by SIGTERM: events under way are awaited. The next events find new ones. */
  readonly shutdown: Effect.Effect<void>
}

const checks: InvalidOptions.Checks<Options> = {
  batchSize: InvalidOptions.aWholeNumber({ min: 1, max: 10_000 }),
  window: InvalidOptions.time({ max: "5 minutes" }),
  maximumConcurrency: InvalidOptions.aWholeNumber({ min: 1, max: 1_000 }),
  reportBatchItemFailures: InvalidOptions.flag,
  timeout: InvalidOptions.time({ min: "1 second", max: "15 minutes" })
}

/** Messages as a function's event has them. */
export const eventOf = (
  queue: { readonly arn: string; readonly region: string },
  messages: ReadonlyArray<ReceivedMessage>
): LambdaEvent => ({
  Records: messages.map((message): LambdaRecord => {
    const system = message.Attributes ?? {}
    return {
      messageId: message.MessageId,
      receiptHandle: message.ReceiptHandle,
      body: message.Body,
      md5OfBody: message.MD5OfBody,
      ...(message.MD5OfMessageAttributes !== undefined && { md5OfMessageAttributes: message.MD5OfMessageAttributes }),
      attributes: {
        ...system,
        ApproximateReceiveCount: system["ApproximateReceiveCount"] ?? "1",
        SentTimestamp: system["SentTimestamp"] ?? "0",
        SenderId: system["SenderId"] ?? "",
        ApproximateFirstReceiveTimestamp: system["ApproximateFirstReceiveTimestamp"] ?? "0"
      },
      messageAttributes: mapValues(message.MessageAttributes ?? {}, ({ BinaryValue, DataType, StringValue }) => ({
        dataType: DataType,
        ...(BinaryValue === undefined
          ? { stringValue: StringValue }
          : { binaryValue: Buffer.from(BinaryValue).toString("base64") })
      })),
      eventSource: "aws:sqs",
      eventSourceARN: queue.arn,
      awsRegion: queue.region
    }
  })
})

/**
 * The ids in an answer, or undefined where Lambda takes the whole batch for failed.
 *
 * @see https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html
 */
export const failuresIn = (answer: unknown, ids: ReadonlySet<string>): ReadonlyArray<string> | undefined => {
  if (answer === undefined || answer === null) return []
  if (typeof answer !== "object") return undefined
  const list: unknown = Reflect.get(answer, "batchItemFailures")
  if (list === undefined || list === null) return []
  if (!Array.isArray(list)) return undefined
  const named = list.map((item: unknown) => Reflect.get(Object(item), "itemIdentifier"))
  return named.every((id) => typeof id === "string" && ids.has(id)) ? named : undefined
}

const mostRemembered = 10_000
const longestPoll = 20
/** After a poll that failed, and before a delete is tried again; in milliseconds. */
const pause = 1000
const deleteRetry = Schedule.intersect(Schedule.spaced(pause), Schedule.recurs(3))

interface Container {
  readonly scope: Scope.CloseableScope
  readonly invoke: LambdaFunction
}

/**
 * Maps a queue of the emulator to a function until the scope closes. `container` makes one container's function: it is run
 * for each that is needed, in a scope that lasts as long as the container does. Its polls and deletes meet the emulator's
 * faults. Fails with `InvalidOptions` where an option cannot work, also where the function's timeout is longer than the
 * queue's visibility timeout, which Lambda refuses.
 */
export const make = <E, R>(
  queue: string,
  container: Effect.Effect<LambdaFunction, E, R>,
  options: Options = {}
): Effect.Effect<
  Service,
  InvalidOptions.InvalidOptions | SqsError,
  SqsEmulator | Scope.Scope | Exclude<R, Scope.Scope>
> =>
  Effect.gen(function* () {
    yield* InvalidOptions.argument("queue", queue, {
      ...InvalidOptions.text,
      write: "the name of a queue of the emulator"
    })
    yield* InvalidOptions.check("LambdaPoller", options, checks)
    const { batchSize = 10, maximumConcurrency = 5, reportBatchItemFailures = false } = options
    const window = Duration.toMillis(options.window ?? 0)
    const timeout = Duration.toMillis(options.timeout ?? "3 seconds")
    const { client, queueUrl } = yield* SqsEmulator
    const QueueUrl = queueUrl(queue)
    const attributes = yield* client.getQueueAttributes({ QueueUrl, AttributeNames: ["All"] })
    const arn = attributes["QueueArn"] ?? ""
    const source = { arn, region: arn.split(":")[3] ?? "" }
    const visible = Number(attributes["VisibilityTimeout"])
    yield* refuseUnless(
      timeout <= visible * 1000,
      "timeout",
      `of ${timeout / 1000} seconds is longer than the visibility timeout of ${queue}, ${visible} seconds`
    )
    const fifo = queue.endsWith(".fifo")
    yield* refuseUnless(!fifo || batchSize <= 10, "batchSize", "is 10 at most for a FIFO queue")
    yield* refuseUnless(!fifo || window === 0, "window", "is not for FIFO queues")
    yield* refuseUnless(batchSize <= 10 || window >= 1000, "window", "is 1 second or more for batches of more than 10")
    const context = yield* Effect.context<Exclude<R, Scope.Scope>>()
    const clock = yield* Effect.clock
    const idle: Array<Container> = []
    const all = new Set<Container>()
    const ended: Array<Invocation> = []

    const receive = (max: number, wait: number) =>
      client.receiveMessage({
        QueueUrl,
        MaxNumberOfMessages: Math.min(10, max),
        WaitTimeSeconds: Math.min(longestPoll, wait),
        ...allAttributes
      })

    const gather = Effect.gen(function* () {
      const batch = [...(yield* receive(batchSize, longestPoll))]
      if (batch.length === 0 || window === 0) return batch
      const until = (yield* Clock.currentTimeMillis) + window
      while (batch.length < batchSize) {
        const left = until - (yield* Clock.currentTimeMillis)
        if (left <= 0) break
        // Less than a second is no wait to SQS.
        if (left < 1000) yield* Effect.sleep(left)
        const more = yield* Effect.catchAll(receive(batchSize - batch.length, Math.floor(left / 1000)), () =>
          Effect.as(Effect.sleep(Math.min(left, pause)), [])
        )
        batch.push(...more)
        if (more.length === 0 && left < 1000) break
      }
      return batch
    })

    const take = Effect.uninterruptibleMask((restore) =>
      Effect.suspend(() => {
        const waiting = idle.pop()
        if (waiting !== undefined) return Effect.succeed(waiting)
        return Effect.flatMap(Scope.make(), (scope) =>
          restore(Scope.extend(container, scope)).pipe(
            Effect.provide(context),
            Effect.map((invoke) => {
              const made: Container = { scope, invoke }
              all.add(made)
              return made
            }),
            Effect.onError((cause) => Scope.close(scope, Exit.failCause(cause)))
          )
        )
      })
    )

    const end = (used: Container) => {
      all.delete(used)
      return Scope.close(used.scope, Exit.void)
    }

    const deleteAll = (messages: ReadonlyArray<ReceivedMessage>) =>
      Effect.forEach(
        Arr.chunksOf(messages, 10),
        (some) => {
          let left = some.map(({ ReceiptHandle }, i) => ({ Id: String(i), ReceiptHandle }))
          return Effect.suspend(() => client.deleteMessageBatch({ QueueUrl, Entries: left })).pipe(
            Effect.flatMap(({ Failed }) => {
              const again = new Set(Failed.flatMap(({ Id, SenderFault }) => (SenderFault ? [] : [Id])))
              left = left.filter(({ Id }) => again.has(Id))
              return left.length === 0 ? Effect.void : Effect.fail("again" as const)
            }),
            Effect.retry(deleteRetry),
            Effect.ignore
          )
        },
        { discard: true }
      )

    const invoke = (batch: ReadonlyArray<ReceivedMessage>) =>
      Effect.gen(function* () {
        const at = yield* Clock.currentTimeMillis
        const ids = batch.map(({ MessageId }) => MessageId)
        const invocation: LambdaContext = {
          getRemainingTimeInMillis: () => Math.max(0, at + timeout - clock.unsafeCurrentTimeMillis()),
          invokedFunctionArn: `arn:aws:lambda:${source.region}:000000000000:function:${queue.replace(".", "-")}`
        }
        let used: Container | undefined
        const run = Effect.flatMap(take, (taken) => {
          used = taken
          const given = taken.invoke(eventOf(source, batch), invocation)
          return Effect.isEffect(given)
            ? given
            : Effect.tryPromise({ try: async () => given, catch: (thrown) => thrown })
        })
        // A container that is killed has no say in it.
        const exit = yield* Effect.exit(Effect.timeoutOption(Effect.disconnect(Effect.suspend(() => run)), timeout))
        const timedOut = Exit.isSuccess(exit) && Option.isNone(exit.value)
        const answer = Exit.isSuccess(exit) ? Option.getOrUndefined(exit.value) : undefined
        const failures =
          Exit.isFailure(exit) || timedOut ? undefined : reportBatchItemFailures ? failuresIn(answer, new Set(ids)) : []
        if (used !== undefined) {
          if (timedOut) yield* Effect.forkDaemon(end(used))
          else if (all.has(used)) idle.push(used)
        }
        const again = new Set(failures ?? ids)
        yield* deleteAll(batch.filter(({ MessageId }) => !again.has(MessageId)))
        ended.push({
          at,
          millis: (yield* Clock.currentTimeMillis) - at,
          records: ids,
          outcome: timedOut ? "timedOut" : failures === undefined ? "failed" : "answered",
          failures: failures ?? [],
          error: Exit.isFailure(exit) ? Cause.squash(exit.cause) : undefined
        })
        if (ended.length > mostRemembered) ended.shift()
      })

    const loop = Effect.forever(
      Effect.matchEffect(gather, {
        onFailure: () => Effect.sleep(pause),
        onSuccess: (batch) => (batch.length === 0 ? Effect.void : invoke(batch))
      })
    )
    const shutdown = Effect.suspend(() => {
      idle.length = 0
      return Effect.forEach([...all], end, { concurrency: "unbounded", discard: true })
    })
    yield* Effect.addFinalizer(() => shutdown)
    for (let i = 0; i < maximumConcurrency; i++) yield* Effect.forkScoped(Effect.interruptible(loop))
    return { invocations: Effect.sync(() => [...ended]), shutdown }
  })

const refuseUnless = (holds: boolean, option: string, problem: string) =>
  holds ? Effect.void : new InvalidOptions.InvalidOptions({ option, message: `${option} ${problem}` })
