/** What counts as a handler's failure, and that no failure comes back at once. */
import { assert, describe, it } from "@effect/vitest"
import { Consumer, type Delivery, Pipeline, RetryPolicy } from "@millrace/core"
import { MemoryQueue } from "@millrace/core/testing"
import { Clock, Deferred, Effect, type Either, Fiber, Schedule, Stream } from "effect"
import { numbered, type Source, simulated } from "./support/index.js"

type Handler = (delivery: Delivery.Delivery<string>) => Effect.Effect<void>
type Retry = (failure: RetryPolicy.Failure<never>) => RetryPolicy.RetryPolicy<unknown>

/** Each stage that runs a user's code, with the policy that is asked in the end. */
const stages: Record<
  string,
  (handler: Handler, retry: Retry) => (self: Source) => Stream.Stream<unknown, unknown, never>
> = {
  process: (handler, retry) => Pipeline.process((_, delivery) => handler(delivery), { retry }),
  "process with a time-out": (handler, retry) =>
    Pipeline.process((_, delivery) => handler(delivery), { retry, timeout: "1 minute" }),
  processBatches: (handler, retry) =>
    Pipeline.processBatches((_, [delivery]) => (delivery === undefined ? Effect.void : handler(delivery)), {
      max: 1,
      retry
    }),
  "mapEffect and settle": (handler, retry) => (self) =>
    self.pipe(
      Pipeline.mapEffect((_, delivery) => handler(delivery)),
      Pipeline.settle({ retry })
    )
}

const interruptions: Record<string, Effect.Effect<void>> = {
  "interrupts itself": Effect.interrupt,
  "joins a fiber that was interrupted": Effect.flatMap(Effect.forkDaemon(Effect.never), (fiber) =>
    Effect.zipRight(Fiber.interrupt(fiber), Fiber.join(fiber))
  ),
  "awaits a Deferred that was interrupted": Effect.flatMap(Deferred.make<void>(), (deferred) =>
    Effect.zipRight(Deferred.interrupt(deferred), Deferred.await(deferred))
  )
}

describe("a handler that ends as interrupted, and that nobody has stopped,", () => {
  for (const [stage, make] of Object.entries(stages)) {
    for (const [how, interruption] of Object.entries(interruptions)) {
      it(
        `has failed in ${stage}: the policy is asked, and says when it runs again (it ${how})`,
        simulated(
          Effect.gen(function* () {
            const memory = yield* MemoryQueue.make()
            yield* memory.send(["a"])
            const ranAt: Array<number> = []
            const told: Array<string> = []
            const consumer = yield* Consumer.make(memory)
            const run: Handler = () =>
              Effect.flatMap(Clock.currentTimeMillis, (at) => {
                ranAt.push(at)
                return interruption
              })
            const policy = RetryPolicy.redeliver(Schedule.spaced("20 seconds"))
            const retry: Retry = (failure) => {
              told.push(`${failure._tag}: ${failure.message}`)
              return policy
            }
            const fiber = yield* consumer.stream.pipe(make(run, retry), Stream.runDrain, Effect.fork)
            yield* Effect.sleep("70 seconds")
            yield* Fiber.interrupt(fiber)
            assert.lengthOf(ranAt, 4)
            assert.isAtLeast((ranAt[1] ?? 0) - (ranAt[0] ?? 0), 20_000)
            assert.match(told[0] ?? "", /HandlerDefect: the handler ended as interrupted, and neither a stop/)
            assert.strictEqual((yield* consumer.stats).failed >= 4, true)
          })
        )
      )
    }

    it(
      `is released at once by a stop, unasked, also where its finalizer dies (${stage})`,
      simulated(
        Effect.gen(function* () {
          const memory = yield* MemoryQueue.make()
          yield* memory.send(["a"])
          let asked = 0
          const consumer = yield* Consumer.make(memory, { pollGrace: 0 })
          const retry: Retry = () => {
            asked++
            return RetryPolicy.discard
          }
          const handler: Handler = () => Effect.ensuring(Effect.never, Effect.die("a finalizer"))
          const fiber = yield* consumer.stream.pipe(make(handler, retry), Stream.runDrain, Effect.fork)
          yield* Effect.sleep("1 second")
          yield* Fiber.interrupt(fiber)
          assert.strictEqual(asked, 0)
          assert.strictEqual((yield* memory.stats).visible, 1)
        })
      )
    )
  }

  it(
    "does not count as a stop for a policy either: the message is left to the queue",
    simulated(
      Effect.gen(function* () {
        const memory = yield* MemoryQueue.make()
        yield* memory.send(["a"])
        const consumer = yield* Consumer.make(memory)
        const retry: RetryPolicy.RetryPolicy<unknown> = { ...RetryPolicy.standard, decide: () => Effect.interrupt }
        const fiber = yield* consumer.stream.pipe(
          Pipeline.process(() => Effect.fail("no"), { retry }),
          Stream.runDrain,
          Effect.fork
        )
        yield* Effect.sleep("40 seconds")
        yield* Fiber.interrupt(fiber)
        const { failed, left, released } = yield* consumer.stats
        assert.deepStrictEqual([failed, left, released], [2, 2, 0])
      })
    )
  )
})

/** What plain JavaScript may hand over where the types want an Effect. */
const untyped = (answer: () => unknown): Handler => answer as unknown as Handler

describe("what is neither true nor false", () => {
  const verdicts: Record<string, () => unknown> = {
    nothing: () => undefined,
    "a promise": async () => false,
    "a rejected promise": async () => Promise.reject(new Error("no")),
    text: () => "yes",
    "a number": () => 0
  }
  for (const [what, answer] of Object.entries(verdicts)) {
    it(
      `does not pass for a verdict of filter (${what}): nothing is deleted, and the policy is told what to write`,
      simulated(
        Effect.gen(function* () {
          const memory = yield* MemoryQueue.make()
          yield* memory.send(["a"])
          // As plain JavaScript calls it.
          const predicate = answer as () => boolean
          yield* Effect.fork(
            Consumer.stream(memory).pipe(
              Pipeline.filter(predicate),
              Pipeline.process(() => Effect.die("it runs"), { retry: RetryPolicy.deadLetter }),
              Stream.runDrain
            )
          )
          yield* memory.idle
          const [letter] = yield* memory.deadLetters
          assert.match(letter?.reason ?? "", /predicate of Pipeline.filter answered with .*not with true or false/)
        })
      )
    )
  }
})

describe("what is no Effect", () => {
  const answers: Record<string, readonly [answer: () => unknown, says: RegExp]> = {
    "a promise": [async () => "done", /returned a promise.*Effect\.tryPromise/],
    "a promise that is rejected": [async () => Promise.reject(new Error("late")), /returned a promise/],
    "a generator": [
      function* () {
        yield 1
      },
      /returned a generator.*Effect\.gen/
    ],
    nothing: [() => undefined, /returned undefined and no Effect.*Effect\.sync/],
    "a value": [() => 7, /returned a number and no Effect/]
  }
  for (const [stage, make] of Object.entries(stages)) {
    for (const [what, [answer, says]] of Object.entries(answers)) {
      it(
        `is a defect of a handler of ${stage} that says what to write: ${what}`,
        simulated(
          Effect.gen(function* () {
            const memory = yield* MemoryQueue.make()
            yield* memory.send(["a"])
            const fiber = yield* Consumer.stream(memory).pipe(
              make(untyped(answer), () => RetryPolicy.deadLetter),
              Stream.runDrain,
              Effect.fork
            )
            yield* memory.idle
            yield* Fiber.interrupt(fiber)
            const letters = yield* memory.deadLetters
            assert.lengthOf(letters, 1)
            assert.match(letters[0]?.reason ?? "", says)
          })
        )
      )
    }
  }

  for (const [what, answer] of Object.entries({
    "a promise": Promise.resolve(RetryPolicy.discard),
    nothing: undefined,
    "a Schedule": Schedule.recurs(3)
  })) {
    it(
      `is not taken for a policy: ${what} leaves the message to the queue`,
      simulated(
        Effect.gen(function* () {
          const memory = yield* MemoryQueue.make()
          yield* memory.send(numbered(3))
          const consumer = yield* Consumer.make(memory)
          const retry = (() => answer) as unknown as Retry
          const fiber = yield* consumer.stream.pipe(
            Pipeline.process((body) => (body === "1" ? Effect.die("no") : Effect.void), { retry }),
            Stream.runDrain,
            Effect.fork
          )
          yield* memory.settled(2)
          yield* Effect.sleep("10 seconds")
          yield* Fiber.interrupt(fiber)
          const { acked, left } = yield* consumer.stats
          assert.deepStrictEqual([acked, left], [2, 1])
        })
      )
    )
  }

  it(
    "is not taken for the results of a batch: nothing is acked of which it says nothing",
    simulated(
      Effect.gen(function* () {
        for (const answer of [["done", "done"], 7, null, [Promise.resolve(1), Promise.resolve(2)]]) {
          const memory = yield* MemoryQueue.make()
          yield* memory.send(["a", "b"])
          const fiber = yield* Consumer.stream(memory).pipe(
            Pipeline.processBatches(() => Effect.succeed(answer as unknown as ReadonlyArray<Either.Either<string>>), {
              max: 2,
              retry: RetryPolicy.deadLetter
            }),
            Stream.runDrain,
            Effect.fork
          )
          yield* memory.idle
          yield* Fiber.interrupt(fiber)
          assert.strictEqual((yield* memory.stats).acked, 0)
          assert.match((yield* memory.deadLetters)[0]?.reason ?? "", /an Either for each message.*Either\.right/)
        }
      })
    )
  )
})
