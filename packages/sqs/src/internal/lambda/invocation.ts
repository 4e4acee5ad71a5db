/**
 * One event through a pipeline, from its records to its answer.
 *
 * No loss: what is not done when the event is answered is in the answer, or the answer is a failure. Nothing is answered
 * as done that its stage has not acked, discarded or dead-lettered.
 */
import * as Consumer from "@millrace/core/Consumer"
import type { Delivery } from "@millrace/core/Delivery"
import * as InvalidOptions from "@millrace/core/InvalidOptions"
import * as Reason from "@millrace/core/Reason"
import * as Cause from "effect/Cause"
import * as Data from "effect/Data"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as FiberId from "effect/FiberId"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as LambdaEvent from "../../lambda/LambdaEvent.js"
import * as SqsEncoding from "../../SqsEncoding.js"
import type { SqsError } from "../../SqsError.js"
import * as EventQueue from "./eventQueue.js"
import * as Mapping from "./mapping.js"
import type { QueueBehind } from "./queueBehind.js"

export interface Options {
  /** Names the consumer in metrics and logs. Default: the queue's name. */
  readonly name?: string | undefined
  /**
   * Of the function's time, what is kept for its end: handlers that still run then are interrupted, delays are set, and the
   * event is answered. Default 1 second.
   */
  readonly margin?: Duration.DurationInput | undefined
  /**
   * Whether the event source mapping has `FunctionResponseTypes: [ReportBatchItemFailures]`. Without that Lambda takes no
   * notice of the answer and deletes every message of an invocation that did not fail. Where it is `false`, what is done is
   * deleted here (needs `sqs:DeleteMessage`) and an invocation of which anything failed fails, so that the rest comes again.
   *
   * Default: Lambda is asked, once a queue in each container and not before something failed (needs
   * `lambda:ListEventSourceMappings`); where it does not say, it counts as `false`, and a warning says so.
   */
  readonly reportBatchItemFailures?: boolean | undefined
  /** Encodings that the decode stages open where a message's attributes speak of them. Default: gzip, up to 16 MiB. */
  readonly encodings?: ReadonlyArray<SqsEncoding.Encoding> | undefined
  /** Bytes of bodies that are open at a time, as in `Consumer.Options`. Default 8 MiB. */
  readonly maxOpenedBytes?: number | undefined
  /** A span for each settlement, as in `Consumer.Options`. Default false. */
  readonly spans?: boolean | undefined
}

/** What each option may be. */
export const checks: InvalidOptions.Checks<Options> = {
  name: InvalidOptions.text,
  margin: InvalidOptions.time({ max: "5 minutes" }),
  reportBatchItemFailures: InvalidOptions.flag,
  encodings: InvalidOptions.list(SqsEncoding.check),
  maxOpenedBytes: InvalidOptions.aWholeNumber({ min: 1 }),
  spans: InvalidOptions.flag
}

/**
 * Some messages failed, and Lambda would not take notice of an answer that says which: what is done was deleted, the rest
 * comes again.
 */
export class MessagesFailed extends Data.TaggedError("MessagesFailed")<{
  readonly failed: number
  readonly done: number
  readonly message: string
}> {}

/** The container is closing: nothing of the event was done. */
export class Closing extends Data.TaggedError("Closing")<{ readonly message: string }> {}

/** One function: an event and its context, to its answer. Where it fails, all messages that are not deleted come again. */
export type LambdaFunction<E> = (
  event: LambdaEvent.LambdaEvent,
  context: LambdaEvent.LambdaContext
) => Effect.Effect<LambdaEvent.LambdaResponse, E | LambdaEvent.NotAnSqsEvent | MessagesFailed | Closing>

/** The pipeline: what `SqsConsumer.layer` takes too. */
export type Pipeline<E, R> = (deliveries: Stream.Stream<Delivery<string>, SqsError>) => Stream.Stream<unknown, E, R>

/** More than any event holds, since all of it is in flight already; and twice, since a group may take half. */
const maxInFlight = 120_000

/** Lambda's own limit, for who calls without a context. */
const longestInvocation = Duration.toMillis("15 minutes")

const remainingOf = (context: LambdaEvent.LambdaContext | undefined): number => {
  const millis = context?.getRemainingTimeInMillis?.()
  return typeof millis === "number" && Number.isFinite(millis) ? millis : longestInvocation
}

const mostNamed = 10

const outOfTime = (queue: EventQueue.EventQueue): string => {
  const { left, released } = queue.rest()
  const ids = left.length > mostNamed ? [...left.slice(0, mostNamed), `and ${left.length - mostNamed} more`] : left
  const begun =
    left.length === 0
      ? ""
      : `${left.length} messages of ${queue.name} were not done and come again after its visibility timeout (${ids.join(", ")})`
  const unbegun = released === 0 ? "" : `${released} had not begun, or were to be tried again`
  return `the function's time is over: ${[begun, unbegun].filter((each) => each !== "").join("; ") || "everything was done"}. Give the function a longer timeout, or its event source mapping a smaller batch size`
}

const notReported = ({ name }: EventQueue.EventQueue, failed: number, all: number): string =>
  `${failed} of ${all} messages of ${name} failed, and the invocation fails so that they come again: as far as is known, the event source mapping takes no notice of answers that say which. What was done is deleted, unless a warning says otherwise. Give the mapping FunctionResponseTypes: [ReportBatchItemFailures] and write reportBatchItemFailures: true`

/** The function, until the scope is closed. */
export const build = Effect.fnUntraced(function* <E, R>(
  pipeline: Pipeline<E, R>,
  options: Options,
  back: QueueBehind,
  scope: Scope.Scope
) {
  yield* InvalidOptions.argument("pipeline", pipeline, InvalidOptions.func)
  yield* InvalidOptions.check("SqsLambda", options, checks)
  yield* InvalidOptions.warnOfBareNumbers({ margin: options.margin })
  const { encodings = SqsEncoding.standard, maxOpenedBytes, name, reportBatchItemFailures, spans } = options
  const margin = Duration.toMillis(options.margin ?? "1 second")
  const quarter = Duration.millis(margin / 4)
  const context = yield* Effect.context<Exclude<R, Scope.Scope>>()
  const clock = yield* Effect.clock
  const now = () => clock.unsafeCurrentTimeMillis()
  const closing = yield* Deferred.make<void>()
  let closed = false
  const running = new Set<Deferred.Deferred<void>>()
  // What is under way is answered for before what it stands on is closed.
  yield* Scope.addFinalizer(
    scope,
    Effect.suspend(() => {
      closed = true
      return Effect.zipRight(
        Deferred.succeed(closing, undefined),
        Effect.forEach([...running], (answered) => Deferred.await(answered), { discard: true })
      )
    })
  )

  /** Runs the pipeline over the event until it ends, or until its time is over, or the container closes. */
  const work = (queue: EventQueue.EventQueue, records: number, millis: number) =>
    Effect.gen(function* () {
      const consumer = yield* Consumer.make(queue, {
        maxInFlight,
        name,
        maxOpenedBytes,
        spans,
        heartbeat: false,
        // Nothing that could share a call is worth the function's time.
        linger: Duration.zero,
        pollGrace: Duration.zero,
        // A dead letter may have to find its queue first.
        flushWithin: Duration.millis(millis)
      })
      // However it ends, what is not settled then is not waited for as long.
      yield* Effect.addFinalizer(() => consumer.drain({ deadline: 0, flushWithin: quarter }))
      // Where the event is interrupted, so is what works on it.
      const fiber = yield* Effect.acquireRelease(
        pipeline(Stream.take(consumer.stream, records)).pipe(
          Stream.runDrain,
          Effect.scoped,
          Effect.provide(context),
          Effect.interruptible,
          Effect.forkDaemon
        ),
        Fiber.interruptFork
      )
      const stopped = yield* Effect.raceFirst(
        Effect.as(Fiber.await(fiber), undefined),
        Effect.raceFirst(Effect.as(Effect.sleep(millis), "time"), Effect.as(Deferred.await(closing), "closing"))
      )
      if (stopped !== undefined) {
        yield* consumer.drain({
          deadline: 0,
          interrupted: stopped === "time" ? "leave" : "release",
          flushWithin: quarter
        })
        if (stopped === "time") yield* Effect.logWarning(outOfTime(queue))
      }
      // It has nothing left to work on: what does not end now is not waited for.
      const exit = yield* Effect.timeoutOption(Fiber.await(fiber), quarter)
      if (Option.isSome(exit)) return exit.value
      yield* Effect.logWarning(
        `the pipeline over ${queue.name} does not end, though all of its event has: it is interrupted and let go`
      )
      return Exit.void
    }).pipe(Effect.scoped)

  const reports = Mapping.make(reportBatchItemFailures)

  const answer = (
    event: LambdaEvent.LambdaEvent,
    invocation: LambdaEvent.LambdaContext
  ): Effect.Effect<
    LambdaEvent.LambdaResponse,
    E | LambdaEvent.NotAnSqsEvent | MessagesFailed | InvalidOptions.InvalidOptions
  > =>
    Effect.gen(function* () {
      const records = yield* LambdaEvent.parse(event)
      const [first] = records
      if (first === undefined) return { batchItemFailures: [] }
      const arn = first.eventSourceARN
      const begin = now()
      const remaining = remainingOf(invocation)
      const queue = EventQueue.make(arn, records, {
        behind: { known: back.known(arn), find: back.find(arn) },
        lease: Duration.millis(Math.max(1, remaining)),
        now,
        encodings
      })
      const millis = remaining - margin
      if (millis <= 0) {
        yield* Effect.logWarning(
          `nothing of an event of ${queue.name} was begun: ${remaining} ms are left of the function's time, and ${margin} of them are kept for its end; give the function a longer timeout, or write a smaller \`margin\``
        )
      }
      const exit: Exit.Exit<void, E | InvalidOptions.InvalidOptions> =
        millis <= 0 ? Exit.void : yield* work(queue, records.length, millis)
      const failures = queue.failures()
      // What is still to do shares what is left of the function's time, and a quarter of the margin is for the answer.
      const until = begin + remaining - margin / 4
      const share = (of: number) => Duration.millis(Math.max(0, (until - now()) / of))
      const reporting = reportBatchItemFailures === true
      if (failures.length > 0) yield* back.setLeases(arn, queue.newLeases(now()), share(reporting ? 1 : 3))
      if (Exit.isFailure(exit)) {
        yield* Effect.logError(
          `the pipeline over ${queue.name} has failed, and ${failures.length} of ${records.length} messages come again: ${Reason.of(Cause.squash(exit.cause))}`
        )
        // Nothing is lost by failing where nothing is done, and then Lambda counts it and slows down.
        if (failures.length > 0 && queue.done().length === 0) return yield* Effect.failCause(exit.cause)
      }
      if (failures.length === 0 || (yield* reports(arn, invocation, share(2)))) {
        return { batchItemFailures: failures.map((itemIdentifier) => ({ itemIdentifier })) }
      }
      const done = queue.done()
      yield* back.deleteAll(arn, done, share(1))
      return yield* new MessagesFailed({
        failed: failures.length,
        done: done.length,
        message: notReported(queue, failures.length, records.length)
      })
    })

  const fn: LambdaFunction<E | InvalidOptions.InvalidOptions> = (event, invocation) =>
    Effect.suspend(
      (): Effect.Effect<
        LambdaEvent.LambdaResponse,
        E | InvalidOptions.InvalidOptions | LambdaEvent.NotAnSqsEvent | MessagesFailed | Closing
      > => {
        if (closed) return new Closing({ message: "the container is closing: all of the event comes again" })
        const answered = Deferred.unsafeMake<void>(FiberId.none)
        running.add(answered)
        return Effect.ensuring(
          answer(event, invocation),
          Effect.suspend(() => {
            running.delete(answered)
            return Deferred.succeed(answered, undefined)
          })
        )
      }
    )
  return fn
})
