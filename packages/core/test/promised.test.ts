/** Handlers of promises, and handlers that are done already: what a stage runs without a fiber is settled as any other. */
import { assert, describe, it } from "@effect/vitest"
// @effect-diagnostics globalTimers:off
import { Consumer, Pipeline, Promised, RetryPolicy } from "@millrace/core"
import { MemoryQueue } from "@millrace/core/testing"
import { Cause, Effect, Exit, Fiber, FiberId, Stream } from "effect"
import { leaseLostId } from "../src/internal/effect/interruption.js"
import { withoutFiber } from "../src/internal/effect/running.js"

const never = new Promise<never>(() => {})

const turns = Effect.promise(() => new Promise<void>((resolve) => setImmediate(resolve)))

describe("in a stage", () => {
  it.effect("what its promise is fulfilled with is the result, and its message is deleted", () =>
    Effect.gen(function* () {
      const queue = yield* MemoryQueue.make()
      yield* queue.send(["a", "b", "c"])
      const results = yield* Consumer.stream(queue, { drainWhen: queue.settled(3) }).pipe(
        Pipeline.process((body) => Promised.make(() => (body === "b" ? body : Promise.resolve(`${body} later`)))),
        Stream.runCollect
      )
      assert.deepStrictEqual([...results].sort(), ["a later", "b", "c later"])
      assert.strictEqual((yield* queue.stats).acked, 3)
    })
  )

  it.effect("what it rejects with, or throws, is the failure that the policy is asked about", () =>
    Effect.gen(function* () {
      const queue = yield* MemoryQueue.make()
      yield* queue.send(["rejects", "throws"])
      const failures: Array<unknown> = []
      yield* Consumer.stream(queue, { drainWhen: queue.settled(2) }).pipe(
        Pipeline.process(
          (body) =>
            Promised.make(() => {
              if (body === "throws") throw body
              return Promise.reject(body)
            }),
          {
            retry: (failure) => {
              failures.push(failure)
              return RetryPolicy.discard
            }
          }
        ),
        Stream.runDrain
      )
      assert.deepStrictEqual(failures.sort(), ["rejects", "throws"])
    })
  )

  /** Stops a handler that never ends, which is told so; its message goes back. */
  const stopping = (onInterrupt: () => void) =>
    Effect.gen(function* () {
      const queue = yield* MemoryQueue.make()
      yield* queue.send(["a"])
      let began = 0
      const handler = () =>
        Promised.make(() => {
          began++
          return never
        }, onInterrupt)
      const fiber = yield* Effect.fork(Stream.runDrain(Pipeline.process(handler)(Consumer.stream(queue))))
      while (began === 0) yield* turns
      yield* Fiber.interrupt(fiber)
      const { acked, inFlight, visible } = yield* queue.stats
      assert.deepStrictEqual([acked, inFlight, visible], [0, 0, 1])
    })

  it.effect("a stop tells it that nobody waits any more, and gives its message back", () => {
    let told = 0
    return Effect.map(
      stopping(() => {
        told++
      }),
      () => assert.strictEqual(told, 1)
    )
  })

  it.effect("a stop ends it where what is told of that throws, and gives its message back", () =>
    stopping(() => {
      throw new Error("it cannot be told")
    })
  )
})

describe("without a fiber", () => {
  it("runs what is done already, and a promise; nothing else", () => {
    assert.isDefined(withoutFiber(Effect.succeed(1)))
    assert.isDefined(withoutFiber(Promised.make(() => 1)))
    assert.isUndefined(withoutFiber(Effect.sync(() => 1)))
    assert.isUndefined(withoutFiber(Effect.fail("no")))
    assert.isUndefined(
      withoutFiber(
        Effect.as(
          Promised.make(() => 1),
          2
        )
      )
    )
  })

  it.effect("ends once, as interrupted in a turn of its own, after it has been told", () =>
    Effect.gen(function* () {
      const seen: Array<unknown> = []
      let resolve = (_: string) => {}
      const promise = new Promise<string>((f) => {
        resolve = f
      })
      const running = withoutFiber(
        Promised.make(
          () => promise,
          () => seen.push("told")
        )
      )
      running?.addObserver((exit) => seen.push(exit))
      running?.unsafeInterruptAsFork(leaseLostId)
      assert.deepStrictEqual(seen, [])
      yield* turns
      resolve("too late")
      running?.unsafeInterruptAsFork(FiberId.none)
      yield* turns
      assert.deepStrictEqual(seen, ["told", Exit.interrupt(leaseLostId)])
    })
  )

  it.effect("ends where what is told of an interruption throws, and takes nothing else with it", () =>
    Effect.gen(function* () {
      const thrown = new Error("it cannot be told")
      const exits: Array<unknown> = []
      const running = withoutFiber(
        Promised.make(
          () => never,
          () => {
            throw thrown
          }
        )
      )
      running?.addObserver((exit) => exits.push(exit))
      running?.unsafeInterruptAsFork(leaseLostId)
      yield* turns
      assert.deepStrictEqual(exits, [Exit.failCause(Cause.sequential(Cause.interrupt(leaseLostId), Cause.die(thrown)))])
    })
  )

  it.effect("is not told of an interruption where it has ended", () =>
    Effect.gen(function* () {
      let told = 0
      const running = withoutFiber(Promised.make(Promise.resolve.bind(Promise), () => told++))
      yield* turns
      running?.unsafeInterruptAsFork(FiberId.none)
      yield* turns
      assert.strictEqual(told, 0)
    })
  )
})

describe("as an Effect among others", () => {
  it.effect("is waited for, fails as it rejects, and is told where it is interrupted", () =>
    Effect.gen(function* () {
      let told = 0
      const waits = yield* Effect.fork(
        Promised.make(
          () => never,
          () => told++
        )
      )
      yield* Effect.yieldNow()
      yield* Fiber.interrupt(waits)
      assert.strictEqual(told, 1)
      const ended = Promised.make(
        () => Promise.resolve(1),
        () => told++
      )
      assert.strictEqual(yield* Effect.map(ended, (n) => n + 1), 2)
      assert.strictEqual(yield* Effect.flip(Promised.make(() => Promise.reject("no"))), "no")
      assert.strictEqual(told, 1)
    })
  )
})
