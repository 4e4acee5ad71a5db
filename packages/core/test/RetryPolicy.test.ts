import { assert, describe, it } from "@effect/vitest"
import { Consumer, type Delivery, type InvalidOptions, Pipeline, RetryPolicy } from "@millrace/core"
import { MemoryQueue, Simulation } from "@millrace/core/testing"
import { Data, Duration, Effect, Logger, LogLevel, Option, Schedule, Stream } from "effect"

class OutOfStock extends Data.TaggedError("OutOfStock")<{ readonly item: string }> {}
class HttpError extends Data.TaggedError("HttpError")<{ readonly retryAfter: number }> {}

const quiet = Logger.withMinimumLogLevel(LogLevel.None)

/** What becomes of one message whose handler fails so, by this policy. */
const outcomeOf = <E>(
  failure: E,
  retry: RetryPolicy.PolicyInput<RetryPolicy.Failure<E>, unknown>,
  handler: (runs: number) => Effect.Effect<void, E> = () => Effect.fail(failure)
) =>
  Effect.gen(function* () {
    const queue = yield* MemoryQueue.make({ leaseDuration: "1 minute", maxAttempts: 20 })
    yield* queue.send(["body"])
    const runs: Array<number> = []
    const consumer = yield* Consumer.make(queue)
    yield* consumer.stream.pipe(
      Pipeline.process(
        () =>
          Effect.gen(function* () {
            runs.push(yield* Effect.clockWith((clock) => clock.currentTimeMillis))
            yield* handler(runs.length)
          }),
        { retry }
      ),
      Stream.runDrain,
      Effect.forkScoped
    )
    yield* Effect.sleep("2 minutes")
    const { acked, deadLettered, left } = yield* consumer.stats
    return { runs, acked, deadLettered, left, reasons: (yield* queue.deadLetters).map(({ reason }) => reason) }
  }).pipe(Effect.scoped, quiet)

const check = (program: Effect.Effect<void, unknown>) => Simulation.check({ seeds: 3, leaks: "fail" }, program)

const retryAfter: RetryPolicy.RetryPolicy<HttpError> = {
  ...RetryPolicy.leave,
  decide: (error) => Effect.succeed(Option.some({ _tag: "Retry", delay: Duration.seconds(error.retryAfter) } as const))
}

describe("RetryPolicy.match", () => {
  const policy = RetryPolicy.match<OutOfStock | HttpError>({
    OutOfStock: RetryPolicy.deadLetter,
    HttpError: retryAfter
  }).pipe(RetryPolicy.orElse(RetryPolicy.discard))

  it("each tag has its policy, which sees the error of that tag", () =>
    check(
      Effect.gen(function* () {
        const out = yield* outcomeOf<OutOfStock | HttpError>(new OutOfStock({ item: "widget" }), policy)
        assert.deepStrictEqual([out.runs, out.deadLettered], [[0], 1])
        const http = yield* outcomeOf<OutOfStock | HttpError>(new HttpError({ retryAfter: 7 }), policy, (runs) =>
          runs < 3 ? Effect.fail(new HttpError({ retryAfter: 7 * runs })) : Effect.void
        )
        const [start = 0, second = 0, third = 0] = http.runs
        assert.deepStrictEqual([second - start, third - second, http.acked], [7000, 14_000, 1])
      })
    ))

  it("what is not named passes on to orElse: other tags, no tags, and tags that every object has", () =>
    check(
      Effect.gen(function* () {
        const loose = RetryPolicy.match({ OutOfStock: RetryPolicy.deadLetter }).pipe(
          RetryPolicy.orElse(RetryPolicy.discard)
        )
        for (const failure of ["text", undefined, {}, { _tag: "constructor" }, { _tag: "Other" }, new Error("plain")]) {
          const { acked, deadLettered } = yield* outcomeOf<unknown>(failure, loose)
          assert.deepStrictEqual([acked, deadLettered], [1, 0], String(failure))
        }
      })
    ))

  it("defects, timeouts and bodies that do not decode can be named too", () =>
    check(
      Effect.gen(function* () {
        const defects = RetryPolicy.match<OutOfStock>({ HandlerDefect: RetryPolicy.discard })
        const died = yield* outcomeOf<OutOfStock>(new OutOfStock({ item: "" }), defects, () => Effect.die("oops"))
        assert.deepStrictEqual(died.acked, 1)
      })
    ))

  it("types: only tags that the errors have, and only policies that can treat the error of the tag", () => {
    RetryPolicy.match<OutOfStock | HttpError>({ OutOfStock: RetryPolicy.deadLetter })
    // @ts-expect-error no error has this tag
    RetryPolicy.match<OutOfStock | HttpError>({ OutOfStok: RetryPolicy.deadLetter })
    // @ts-expect-error the policy treats HttpErrors
    RetryPolicy.match<OutOfStock | HttpError>({ OutOfStock: retryAfter })
    // @ts-expect-error an error of this tag may be of any shape, where the errors are not named
    RetryPolicy.match({ HttpError: retryAfter })

    const process = <E>(error: E, retry: RetryPolicy.RetryPolicy<RetryPolicy.Failure<E>>) =>
      Pipeline.process(() => Effect.fail(error), { retry })
    const http = new HttpError({ retryAfter: 1 })
    process(http, RetryPolicy.match<HttpError>({ HttpError: retryAfter }))
    process(http, RetryPolicy.match<OutOfStock | HttpError>({ HttpError: retryAfter }))
    // @ts-expect-error it may fail with errors that the policy was not made for
    process<OutOfStock | HttpError>(http, RetryPolicy.match<HttpError>({ HttpError: retryAfter }))
    // The handler's errors are known where the policy stands, so its tags are checked.
    Pipeline.process((_: string) => Effect.fail(http), { retry: RetryPolicy.match({ HttpError: retryAfter }) })
  })
})

describe("what a policy needs of its queue", () => {
  const five = RetryPolicy.redeliver(Schedule.spaced("1 second"), { attempts: 5 })

  it("is derived from what it is built of", () => {
    const needs = ({ attempts, deadLetters }: RetryPolicy.RetryPolicy<never>) => [attempts, deadLetters]
    assert.deepStrictEqual(needs(five), [5, false])
    assert.deepStrictEqual(needs(five.pipe(RetryPolicy.orElse(RetryPolicy.deadLetter))), [5, true])
    const matched = RetryPolicy.match({ A: five, B: RetryPolicy.deadLetter })
    assert.deepStrictEqual(needs(matched), [5, true])
    assert.deepStrictEqual(needs(RetryPolicy.redeliver(Schedule.spaced("1 second"))), [1, false])
    assert.deepStrictEqual(needs(RetryPolicy.inPlace(Schedule.recurs(9))), [1, false])
    assert.deepStrictEqual(needs(RetryPolicy.standard), [1, false], "it is meant to leave poison where it must")
  })

  type Deliveries = Stream.Stream<
    Delivery.Delivery<string>,
    MemoryQueue.MemoryQueueError | InvalidOptions.InvalidOptions
  >

  /** What is warned about while two consumers' worth of messages fail by this policy. */
  const warned = (
    options: MemoryQueue.Options,
    retry: RetryPolicy.RetryPolicy<unknown> | (() => RetryPolicy.RetryPolicy<unknown>),
    through: (self: Deliveries) => Stream.Stream<unknown, unknown> = Pipeline.process(() => Effect.fail("no"), {
      retry
    }),
    messages: ReadonlyArray<string> = ["m0", "m1", "m2"]
  ) =>
    Effect.gen(function* () {
      const seen: Array<string> = []
      const logger = Logger.make(({ logLevel, message }) => {
        // Of the policy, and not of the messages that fail by it.
        const text = String(message)
        if (LogLevel.greaterThanEqual(logLevel, LogLevel.Warning) && text.includes("policy")) seen.push(text)
      })
      const queue = yield* MemoryQueue.make({ name: "orders", leaseDuration: "1 minute", ...options })
      if (messages.length > 0) yield* queue.send(messages)
      yield* through(Consumer.stream(queue)).pipe(
        Stream.runDrain,
        Effect.timeoutOption("30 seconds"),
        Effect.provide(Logger.replace(Logger.defaultLogger, logger))
      )
      return seen
    })

  it("a queue that takes messages away first is warned about once, and what to change", () =>
    check(
      Effect.gen(function* () {
        const [warning = "", ...more] = yield* warned({ maxAttempts: 5 }, five)
        assert.match(warning, /makes 5 attempts, and orders takes a message away after 5.*raise its limit.*above 5/)
        assert.deepStrictEqual(more, [])
        assert.deepStrictEqual(yield* warned({ maxAttempts: 6 }, five), [])
        assert.deepStrictEqual(yield* warned({}, five), [])
      })
    ))

  it("and it is warned about at the start, before there is any message, whatever stands between", () =>
    check(
      Effect.gen(function* () {
        const retry = RetryPolicy.deadLetter
        const never = () => Effect.fail("no")
        const through: ReadonlyArray<(self: Deliveries) => Stream.Stream<unknown, unknown>> = [
          Pipeline.process(never, { retry }),
          Pipeline.processBatches(never, { retry, max: 5 }),
          (self) => Pipeline.settle({ retry })(Pipeline.mapEffect(never)(self)),
          (self) => Pipeline.process(never, { retry })(Stream.merge(Stream.buffer(self, { capacity: 2 }), Stream.empty))
        ]
        for (const each of through) assert.lengthOf(yield* warned({ deadLetters: false }, retry, each, []), 1)
        // A pipeline within a pipeline speaks for itself.
        const within = (self: Deliveries) =>
          Pipeline.process(never, { retry })(
            Stream.drain(Pipeline.process(never, { retry: RetryPolicy.discard })(self))
          )
        assert.lengthOf(yield* warned({ deadLetters: false }, retry, within, []), 0)
      })
    ))

  it("a queue without dead letters is warned about where the policy needs them, and the standard one does not", () =>
    check(
      Effect.gen(function* () {
        const [warning = "", ...more] = yield* warned({ deadLetters: false }, RetryPolicy.deadLetter)
        assert.match(warning, /orders has no place for dead letters.*redrive policy.*RetryPolicy\.discard/)
        assert.deepStrictEqual(more, [])
        assert.deepStrictEqual(yield* warned({}, RetryPolicy.deadLetter), [])
        assert.deepStrictEqual(yield* warned({ deadLetters: false }, RetryPolicy.standard), [])
      })
    ))

  it("a policy that is a function is looked at when it is asked, and still warned about once", () =>
    check(
      Effect.gen(function* () {
        assert.lengthOf(yield* warned({ deadLetters: false }, () => RetryPolicy.deadLetter), 1)
      })
    ))
})
