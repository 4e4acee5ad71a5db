/** Keys that are worked on once: what runs, what waits, what flows on, and what it costs. */
import { assert, describe, it } from "@effect/vitest"
import {
  Circuit,
  Consumer,
  type Delivery,
  Idempotency,
  IdempotencyStore,
  type LeaseQueue,
  Pipeline,
  RetryPolicy
} from "@millrace/core"
import { MemoryIdempotencyStore, MemoryQueue } from "@millrace/core/testing"
import { Clock, DateTime, Duration, Effect, Either, Fiber, Option, Schedule, Schema, Stream } from "effect"
import { grouped, type Line, logged, recorded, simulated } from "./support/index.js"

const dateOf = (millis: number) => DateTime.toDateUtc(DateTime.unsafeMake(millis))

const { IdempotencyStore: Store, IdempotencyStoreError } = IdempotencyStore

const Order = Schema.Struct({ id: Schema.String, amount: Schema.Number })
const order = (id: string, amount = 1) => JSON.stringify({ id, amount })
const byId = Idempotency.by(({ id }: typeof Order.Type) => `order ${id}`)

/** A queue, a store, and what the handlers did. */
const setting = ({
  queue: queueOptions,
  ...options
}: MemoryIdempotencyStore.Options & { readonly queue?: MemoryQueue.Options } = {}) =>
  Effect.gen(function* () {
    const memory = yield* MemoryQueue.make(queueOptions)
    const { calls, queue } = recorded(memory)
    const store = yield* MemoryIdempotencyStore.make(options)
    const ran: Array<string> = []
    const started: Array<readonly [second: number, id: string]> = []
    const handler =
      (duration: Duration.DurationInput = 0) =>
      ({ id }: typeof Order.Type) =>
        Effect.gen(function* () {
          started.push([Math.floor((yield* Clock.currentTimeMillis) / 1000), id])
          yield* Effect.sleep(duration)
          ran.push(id)
          return `${id} shipped`
        })
    const callsOf = (operation: IdempotencyStore.Operation) =>
      Effect.map(store.calls, (all) => all.filter((call) => call.operation === operation))
    return { memory, queue, calls, store, ran, started, handler, callsOf }
  })

const orders = <E>(queue: LeaseQueue.LeaseQueue<E>) => Consumer.stream(queue).pipe(Pipeline.decodeJson(Order))

describe("a duplicate of what is done", () => {
  it(
    "is acked without a run, and its kept result flows on",
    simulated(
      Effect.gen(function* () {
        const { handler, memory, queue, ran, store } = yield* setting()
        const once = Idempotency.by(({ id }: typeof Order.Type) => id, { result: Schema.String })
        const results: Array<string> = []
        const consumer = yield* Consumer.make(queue)
        const fiber = yield* consumer.stream.pipe(
          Pipeline.decodeJson(Order),
          Pipeline.process(handler(), { once }),
          Stream.runForEach((result) => Effect.sync(() => results.push(result))),
          Effect.provideService(Store, store),
          Effect.fork
        )
        yield* memory.send([order("a"), order("b")])
        yield* memory.settled(2)
        yield* memory.send([order("a"), order("c")])
        yield* memory.idle
        yield* Effect.sleep("1 second")
        assert.deepStrictEqual(ran.toSorted(), ["a", "b", "c"])
        assert.deepStrictEqual(results.toSorted(), ["a shipped", "a shipped", "b shipped", "c shipped"])
        const { acked, doneAlready, handled } = yield* consumer.stats
        assert.deepStrictEqual({ acked, doneAlready, handled }, { acked: 4, doneAlready: 1, handled: 3 })
        yield* Fiber.interrupt(fiber)
      })
    )
  )

  it(
    "has no result where none is kept",
    simulated(
      Effect.gen(function* () {
        const { handler, memory, queue, store } = yield* setting()
        yield* memory.send([order("a")])
        yield* store.complete([
          {
            key: "order a",
            owner: "an earlier one",
            fingerprint: undefined,
            result: undefined,
            keepFor: Duration.days(1)
          }
        ])
        const fiber = yield* orders(queue).pipe(
          Pipeline.process(handler(), { once: byId }),
          Stream.runCollect,
          Effect.provideService(Store, store),
          Effect.fork
        )
        yield* memory.idle
        yield* Fiber.interrupt(fiber)
        assert.strictEqual((yield* memory.stats).acked, 1)
      })
    )
  )

  it(
    "by the message id: the same message again, and no other",
    simulated(
      Effect.gen(function* () {
        const { handler, memory, queue, ran, store } = yield* setting()
        yield* memory.send([order("a"), order("a")])
        // Both acks are lost, so both messages come again.
        yield* memory.inject("ack", { entries: () => "Rejected" }, 2)
        const fiber = yield* orders(queue).pipe(
          Pipeline.process(handler(), { once: Idempotency.byMessageId() }),
          Stream.runDrain,
          Effect.provideService(Store, store),
          Effect.fork
        )
        yield* memory.idle
        yield* Fiber.interrupt(fiber)
        assert.deepStrictEqual(ran, ["a", "a"])
      })
    )
  )
})

describe("a key that another works on", () => {
  it(
    "waits without a slot and without an attempt, and is done when the other is",
    simulated(
      Effect.gen(function* () {
        const { handler, memory, queue, ran, store } = yield* setting()
        yield* memory.send([order("a"), order("a"), order("b")])
        const consumer = yield* Consumer.make(queue)
        const fiber = yield* consumer.stream.pipe(
          Pipeline.decodeJson(Order),
          Pipeline.process(handler("100 seconds"), { concurrency: 2, once: byId, retry: RetryPolicy.discard }),
          Stream.runDrain,
          Effect.provideService(Store, store),
          Effect.fork
        )
        yield* Effect.sleep("150 seconds")
        // The slot that the duplicate does not take is b's.
        assert.deepStrictEqual(ran.toSorted(), ["a", "b"])
        yield* memory.idle
        const stats = yield* memory.stats
        assert.strictEqual(stats.redelivered, 0)
        assert.isAbove((yield* consumer.stats).waitedForClaim, 0)
        yield* Fiber.interrupt(fiber)
        assert.deepStrictEqual(ran.toSorted(), ["a", "b"])
      })
    )
  )

  it(
    "is given back by a drain at once, though it waits",
    simulated(
      Effect.gen(function* () {
        const { handler, memory, queue, store } = yield* setting()
        yield* store.begin([{ key: "order a", owner: "another", holdFor: Duration.minutes(5), fingerprint: undefined }])
        yield* memory.send([order("a")])
        const consumer = yield* Consumer.make(queue)
        const fiber = yield* consumer.stream.pipe(
          Pipeline.decodeJson(Order),
          Pipeline.process(handler(), { once: byId }),
          Stream.runDrain,
          Effect.provideService(Store, store),
          Effect.fork
        )
        yield* Effect.sleep("12 seconds")
        const before = yield* Clock.currentTimeMillis
        const report = yield* consumer.drain()
        yield* Fiber.join(fiber)
        assert.strictEqual(report.released, 1)
        assert.isBelow((yield* Clock.currentTimeMillis) - before, 3000)
      })
    )
  )

  it(
    "in a batch it waits with what follows it in its lane, and nothing else does",
    simulated(
      Effect.gen(function* () {
        const { memory, queue, store } = yield* setting({ queue: { ordered: true } })
        yield* store.begin([{ key: "a1", owner: "another", holdFor: Duration.seconds(7), fingerprint: undefined }])
        yield* memory.send(grouped("a1", "a2", "b1", "b1"))
        const batches: Array<string> = []
        const results: Array<string> = []
        const fiber = yield* Consumer.stream(queue).pipe(
          Pipeline.processBatches(
            (bodies: ReadonlyArray<string>) =>
              Effect.map(Clock.currentTimeMillis, (now) => {
                batches.push(`${Math.floor(now / 1000)}: ${bodies.join(" ")}`)
                return bodies.map((body) => Either.right(`${body} done`))
              }),
            { max: 4, once: Idempotency.by((body: string) => body, { result: Schema.String }) }
          ),
          Stream.runForEach((result) => Effect.sync(() => results.push(result))),
          Effect.provideService(Store, store),
          Effect.fork
        )
        yield* memory.idle
        yield* Effect.sleep("1 second")
        yield* Fiber.interrupt(fiber)
        assert.deepStrictEqual(batches, ["0: b1", "7: a1 a2"])
        assert.deepStrictEqual(results.toSorted(), ["a1 done", "a2 done", "b1 done", "b1 done"])
        assert.strictEqual((yield* memory.stats).redelivered, 0)
      }),
      { seeds: 10 }
    )
  )
})

it(
  "what only waits for another's claim takes nothing of its key's rate",
  simulated(
    Effect.gen(function* () {
      const { handler, memory, queue, started, store } = yield* setting()
      yield* store.begin([
        { key: "order busy", owner: "another", holdFor: Duration.minutes(5), fingerprint: undefined }
      ])
      const fiber = yield* orders(queue).pipe(
        Pipeline.process(handler(), {
          concurrency: 1,
          once: byId,
          share: { key: () => "k", rate: { perSecond: 0.01, burst: 1 } }
        }),
        Stream.runDrain,
        Effect.provideService(Store, store),
        Effect.fork
      )
      yield* memory.send([order("busy")])
      yield* Effect.sleep("3 seconds")
      yield* memory.send([order("fine")])
      yield* Effect.sleep("10 seconds")
      assert.deepStrictEqual(
        started.map(([, id]) => id),
        ["fine"]
      )
      yield* Fiber.interrupt(fiber)
    })
  )
)

it(
  "a batch in which no handler runs says nothing of what is down: as a probe it closes no circuit",
  simulated(
    Effect.gen(function* () {
      const { memory, queue, store } = yield* setting()
      const done = { key: "done", owner: "an earlier one", fingerprint: undefined, result: undefined }
      yield* store.complete([{ ...done, keepFor: Duration.days(1) }])
      yield* store.begin([{ key: "busy", owner: "another", holdFor: Duration.minutes(5), fingerprint: undefined }])
      const circuit = yield* Circuit.make({
        trips: ["Down"],
        threshold: { minimum: 1 },
        probeAfter: "10 seconds"
      })
      const ran: Array<string> = []
      const fiber = yield* Consumer.stream(queue).pipe(
        Pipeline.processBatches(
          (bodies: ReadonlyArray<string>) =>
            Effect.sync(() => {
              ran.push(...bodies)
            }),
          { max: 1, circuit, once: Idempotency.by((body: string) => body) }
        ),
        Stream.runDrain,
        Effect.provideService(Store, store),
        Effect.fork
      )
      yield* Effect.ignore(circuit.run(Effect.fail({ _tag: "Down" })))
      yield* memory.send(["done", "busy"])
      yield* Effect.sleep("30 seconds")
      assert.strictEqual((yield* circuit.state)._tag, "HalfOpen")
      assert.strictEqual((yield* memory.stats).acked, 1)
      yield* memory.send(["fine"])
      yield* Effect.sleep("30 seconds")
      assert.strictEqual((yield* circuit.state)._tag, "Closed")
      assert.deepStrictEqual(ran, ["fine"])
      yield* Fiber.interrupt(fiber)
    })
  )
)

describe("the claim follows the lease", () => {
  it(
    "it holds while the handler runs, and is extended with the heartbeats, tens in a call",
    simulated(
      Effect.gen(function* () {
        const { calls, callsOf, handler, memory, queue, ran, store } = yield* setting()
        yield* memory.send(Array.from({ length: 20 }, (_, i) => order(`${i}`)))
        const fiber = yield* orders(queue).pipe(
          Pipeline.process(handler("95 seconds"), { concurrency: 20, once: byId }),
          Stream.runDrain,
          Effect.provideService(Store, store),
          Effect.fork
        )
        yield* Effect.sleep("90 seconds")
        const records = yield* store.records
        assert.strictEqual(records.size, 20)
        yield* memory.idle
        yield* Fiber.interrupt(fiber)
        assert.strictEqual(ran.length, 20)
        const heartbeats = calls.of("setLease").length
        const extensions = (yield* callsOf("extend")).length
        assert.isAbove(heartbeats, 5)
        assert.isAtMost(extensions, heartbeats)
      })
    )
  )

  it(
    "a consumer that is killed leaves a claim that ends with its lease, and not for longer",
    simulated(
      Effect.gen(function* () {
        const { handler, memory, queue, started, store } = yield* setting()
        yield* memory.send([order("a")])
        // It is killed 10 seconds after its receive: nothing of it is heard any more.
        const [message] = yield* memory.receive({ max: 1, wait: Duration.zero, attemptId: undefined })
        const holdFor = memory.leaseDuration
        yield* store.begin([{ key: "order a", owner: "killed", holdFor, fingerprint: undefined }])
        assert.isDefined(message)
        const fiber = yield* orders(queue).pipe(
          Pipeline.process(handler(), { once: byId }),
          Stream.runDrain,
          Effect.provideService(Store, store),
          Effect.fork
        )
        yield* memory.idle
        yield* Fiber.interrupt(fiber)
        assert.deepStrictEqual(started, [[30, "a"]])
      })
    )
  )

  it(
    "it is abandoned when the handler fails, so that another may run at once",
    simulated(
      Effect.gen(function* () {
        const { memory, queue, store } = yield* setting()
        yield* memory.send([order("a")])
        let runs = 0
        const fiber = yield* orders(queue).pipe(
          Pipeline.process(() => (++runs === 1 ? Effect.fail("no") : Effect.void), {
            once: byId,
            retry: RetryPolicy.redeliver(Schedule.spaced("1 second"))
          }),
          Stream.runDrain,
          Effect.provideService(Store, store),
          Effect.fork
        )
        yield* memory.settled(1)
        yield* Fiber.interrupt(fiber)
        assert.strictEqual(runs, 2)
        assert.isBelow(yield* Clock.currentTimeMillis, 3000)
      })
    )
  )

  it(
    "a consumer that stops lets go of what it has not begun, and of what it interrupts",
    simulated(
      Effect.gen(function* () {
        const { handler, memory, queue, store } = yield* setting()
        yield* memory.send(Array.from({ length: 20 }, (_, i) => order(`${i}`)))
        const fiber = yield* orders(queue).pipe(
          Pipeline.process(handler("1 hour"), { concurrency: 8, once: byId }),
          Stream.runDrain,
          Effect.provideService(Store, store),
          Effect.fork
        )
        yield* Effect.sleep("5 seconds")
        assert.isAbove((yield* store.records).size, 8)
        yield* Fiber.interrupt(fiber)
        yield* Effect.sleep("1 second")
        assert.strictEqual((yield* store.records).size, 0)
      })
    )
  )

  it(
    "a handler whose claim is another's by now is interrupted",
    simulated(
      Effect.gen(function* () {
        const { handler, memory, queue, ran, store } = yield* setting()
        yield* memory.send([order("a")])
        const fiber = yield* orders(queue).pipe(
          Pipeline.process(handler("1 minute"), { once: byId }),
          Stream.runDrain,
          Effect.provideService(
            Store,
            // It has lost what it knew, and another has come first.
            { ...store, extend: (all) => Effect.succeed(all.map(() => false)) }
          ),
          Effect.fork
        )
        yield* Effect.sleep("50 seconds")
        yield* Fiber.interrupt(fiber)
        assert.deepStrictEqual(ran, [])
      })
    )
  )
})

describe("a key that was used for something else", () => {
  const reused = (retry: RetryPolicy.RetryPolicy<unknown>) =>
    Effect.gen(function* () {
      const { handler, memory, queue, ran, store } = yield* setting()
      const failures: Array<string> = []
      const consumer = yield* Consumer.make(queue)
      const fiber = yield* consumer.stream.pipe(
        Pipeline.decodeJson(Order),
        Pipeline.process(handler(), {
          once: byId,
          retry: (failure) => {
            failures.push(failure._tag)
            return retry
          }
        }),
        Stream.runDrain,
        Effect.provideService(Store, store),
        Effect.fork
      )
      yield* memory.send([order("a", 1)])
      yield* memory.settled(1)
      yield* memory.send([order("a", 2)])
      yield* memory.idle
      yield* Fiber.interrupt(fiber)
      return { ran, failures, letters: yield* memory.deadLetters, stats: yield* consumer.stats }
    })

  it(
    "fails with KeyReused, and the policy decides",
    simulated(
      Effect.gen(function* () {
        const { failures, ran, stats } = yield* reused(RetryPolicy.discard)
        assert.deepStrictEqual(ran, ["a"])
        assert.deepStrictEqual(failures, ["KeyReused"])
        assert.strictEqual(stats.keysReused, 1)
      })
    )
  )

  it(
    "says nothing of what the handler asks: a circuit that probes stays half open",
    simulated(
      Effect.gen(function* () {
        const { memory, queue, store } = yield* setting()
        const circuit = yield* Circuit.make({
          trips: (failure: unknown) => failure === "down",
          threshold: { minimum: 2 },
          probeAfter: "10 seconds"
        })
        const fiber = yield* Consumer.stream(queue).pipe(
          Pipeline.decodeJson(Order),
          Pipeline.process(() => Effect.void, { once: byId, circuit, retry: RetryPolicy.discard }),
          Stream.runDrain,
          Effect.provideService(Store, store),
          Effect.fork
        )
        yield* memory.send([order("a", 1)])
        yield* memory.settled(1)
        yield* Effect.ignore(circuit.run(Effect.fail("down")))
        assert.strictEqual((yield* circuit.state)._tag, "Open")
        yield* memory.send([order("a", 2)])
        yield* memory.settled(2)
        assert.strictEqual((yield* circuit.state)._tag, "HalfOpen")
        yield* memory.send([order("b", 1)])
        yield* memory.settled(3)
        assert.strictEqual((yield* circuit.state)._tag, "Closed")
        yield* Fiber.interrupt(fiber)
      })
    )
  )

  it(
    "is dead-lettered by the standard policy, with a reason that says what to do",
    simulated(
      Effect.gen(function* () {
        const { letters } = yield* reused(RetryPolicy.standard)
        assert.match(letters[0]?.reason ?? "", /KeyReused: key order a is known with another payload/)
      })
    )
  )

  it(
    "only what `payload` names must be the same, in whatever order of properties",
    simulated(
      Effect.gen(function* () {
        const { handler, memory, queue, ran, store } = yield* setting()
        const once = Idempotency.by(({ id }: typeof Order.Type) => id, { payload: ({ id }) => ({ id }) })
        yield* memory.send([order("a", 1)])
        const fiber = yield* orders(queue).pipe(
          Pipeline.process(handler(), { once }),
          Stream.runDrain,
          Effect.provideService(Store, store),
          Effect.fork
        )
        yield* memory.settled(1)
        yield* memory.send([order("a", 2), '{"amount":2,"id":"a"}'])
        yield* memory.idle
        yield* Fiber.interrupt(fiber)
        assert.deepStrictEqual(ran, ["a"])
      })
    )
  )
})

describe("a store that is down", () => {
  const down = { faults: () => Effect.succeed({ fail: true }) }

  it(
    "keeps the handler from running; the failure is typed, retried and counted by a circuit",
    simulated(
      Effect.gen(function* () {
        let until = 60_000
        const { handler, memory, queue, ran, store } = yield* setting({
          faults: () => Effect.map(Clock.currentTimeMillis, (now) => ({ fail: now < until }))
        })
        const circuit = yield* Circuit.make({
          trips: ["IdempotencyStoreError"],
          threshold: { minimum: 2 }
        })
        yield* memory.send(Array.from({ length: 5 }, (_, i) => order(`${i}`)))
        const consumer = yield* Consumer.make(queue)
        const fiber = yield* consumer.stream.pipe(
          Pipeline.decodeJson(Order),
          Pipeline.process(handler(), {
            once: byId,
            circuit,
            retry: RetryPolicy.redeliver(Schedule.spaced("1 second"))
          }),
          Stream.runDrain,
          Effect.provideService(Store, store),
          Effect.fork
        )
        yield* Effect.sleep("30 seconds")
        assert.deepStrictEqual(ran, [])
        assert.strictEqual((yield* circuit.state)._tag === "Closed", false)
        assert.isAbove((yield* consumer.stats).storeErrors, 1)
        until = 0
        yield* memory.idle
        yield* Fiber.interrupt(fiber)
        assert.deepStrictEqual(ran.toSorted(), ["0", "1", "2", "3", "4"])
      })
    )
  )

  it(
    "or runs it without protection, when told to",
    simulated(
      Effect.gen(function* () {
        const { handler, memory, queue, ran, store } = yield* setting(down)
        const once = Idempotency.by(({ id }: typeof Order.Type) => id, { whenStoreFails: "run" })
        yield* memory.send([order("a")])
        const fiber = yield* orders(queue).pipe(
          Pipeline.process(handler(), { once }),
          Stream.runDrain,
          Effect.provideService(Store, store),
          Effect.fork
        )
        yield* memory.idle
        yield* Fiber.interrupt(fiber)
        assert.deepStrictEqual(ran, ["a"])
      })
    )
  )

  it(
    "a call that never answers is a failure after callTimeout",
    simulated(
      Effect.gen(function* () {
        let hang = true
        const { handler, memory, queue, started, store } = yield* setting({ faults: () => Effect.succeed({ hang }) })
        const once = Idempotency.by(({ id }: typeof Order.Type) => id, { callTimeout: "2 seconds" })
        yield* memory.send([order("a")])
        yield* Effect.fork(
          Effect.delay(
            Effect.sync(() => {
              hang = false
            }),
            "1 second"
          )
        )
        const fiber = yield* orders(queue).pipe(
          Pipeline.process(handler(), { once, retry: RetryPolicy.redeliver(Schedule.spaced("3 seconds")) }),
          Stream.runDrain,
          Effect.provideService(Store, store),
          Effect.fork
        )
        yield* memory.idle
        yield* Fiber.interrupt(fiber)
        assert.deepStrictEqual(started, [[5, "a"]])
      })
    )
  )

  it(
    "after the handler has succeeded: it is sealed as soon as that goes, and the handler does not run again here",
    simulated(
      Effect.gen(function* () {
        const { handler, memory, queue, ran, store } = yield* setting({
          faults: ({ operation }) =>
            Effect.map(Clock.currentTimeMillis, (now) => ({ fail: operation === "complete" && now < 40_000 }))
        })
        yield* memory.send([{ body: order("a"), group: "a" }])
        const failures: Array<string> = []
        const results: Array<string> = []
        const fiber = yield* orders(queue).pipe(
          Pipeline.process(handler(), {
            once: byId,
            retry: (failure) => {
              failures.push(failure._tag)
              return RetryPolicy.inPlace(Schedule.spaced("1 second"))
            }
          }),
          Stream.runForEach((result) => Effect.sync(() => results.push(result))),
          Effect.provideService(Store, store),
          Effect.fork
        )
        yield* memory.idle
        yield* Effect.sleep("1 second")
        yield* Fiber.interrupt(fiber)
        assert.deepStrictEqual(ran, ["a"])
        assert.deepStrictEqual(results, ["a shipped"])
        assert.include(failures, "IdempotencyStoreError")
        assert.strictEqual((yield* store.records).get("order a")?._tag, "Done")
      })
    )
  )
})

describe("bad input", () => {
  const one = (
    once: Idempotency.Once<typeof Order.Type, string, unknown, Idempotency.Failure, IdempotencyStore.IdempotencyStore>,
    body = order("a")
  ) =>
    Effect.gen(function* () {
      const { handler, memory, queue, ran, store } = yield* setting({ resultBytes: 8 })
      const lines: Array<Line> = []
      const failures: Array<string> = []
      yield* memory.send([body, body])
      const fiber = yield* orders(queue).pipe(
        Pipeline.process(handler(), {
          once,
          concurrency: 1,
          retry: (failure) => {
            failures.push(failure.message)
            return RetryPolicy.discard
          }
        }),
        Stream.runDrain,
        Effect.provideService(Store, store),
        Effect.provide(logged(lines)),
        Effect.fork
      )
      yield* memory.idle
      yield* Fiber.interrupt(fiber)
      return { ran, failures, lines, keys: [...(yield* store.records).keys()] }
    })

  it(
    "a key of 10 KB is kept by its hash, and still tells keys apart",
    simulated(
      Effect.gen(function* () {
        const { keys, ran } = yield* one(Idempotency.by(({ id }) => id.repeat(10_000)))
        assert.deepStrictEqual(ran, ["a"])
        assert.match(keys[0] ?? "", /^sha256:.{43}$/)
        const { keys: others } = yield* one(Idempotency.by(({ id }) => `${id.repeat(9_999)}b`))
        assert.notStrictEqual(keys[0], others[0])
      })
    )
  )

  it(
    "a key that is empty, or throws, is the handler's defect: the policy decides",
    simulated(
      Effect.gen(function* () {
        const { failures, ran } = yield* one(Idempotency.by(() => ""))
        assert.deepStrictEqual(ran, [])
        assert.match(failures[0] ?? "", /a key is ""; it must be a text that is not empty/)
        const thrown = yield* one(
          Idempotency.by(() => {
            throw new Error("no key")
          })
        )
        assert.deepStrictEqual(thrown.failures, ["no key", "no key"])
      })
    )
  )

  it(
    "a result that is too large for the store, or does not encode, is left out with a warning; the key is done",
    simulated(
      Effect.gen(function* () {
        const { lines, ran } = yield* one(Idempotency.by(({ id }) => id, { result: Schema.String }))
        assert.deepStrictEqual(ran, ["a"])
        assert.include(lines.map(({ text }) => text).join("\n"), "it has 11 bytes, and the store takes 8")
        const never = Schema.String.pipe(Schema.filter(() => "no result is good enough"))
        const other = yield* one(Idempotency.by(({ id }) => id, { result: never }))
        assert.deepStrictEqual(other.ran, ["a"])
        assert.include(other.lines.map(({ text }) => text).join("\n"), "does not encode")
      })
    )
  )

  it.effect("options that cannot work are refused, with what to write instead", () =>
    Effect.gen(function* () {
      const queue = yield* MemoryQueue.make()
      const refused = (make: () => unknown) =>
        Effect.flip(Effect.try({ try: make, catch: (error) => (error instanceof Error ? error.message : "no error") }))
      assert.match(
        yield* refused(() => Idempotency.by(() => "a", { keepFor: 10 })),
        /keepFor is 10 milliseconds; write a time from 1s/
      )
      assert.match(
        yield* refused(() => Idempotency.by(() => "a", { callTimeout: "1 millis" })),
        /callTimeout is "1 millis"; write a time/
      )
      const plain: Record<string, unknown> = { whenStoreFails: "perhaps" }
      assert.match(
        yield* refused(() => Idempotency.by(() => "a", plain)),
        /whenStoreFails is "perhaps"; write "fail" or "run"/
      )
      const options: Record<string, unknown> = { once: "yes" }
      const stage = Consumer.stream(queue).pipe(
        Pipeline.process(() => Effect.void, options),
        Stream.runDrain,
        Effect.provide(MemoryIdempotencyStore.layer())
      )
      assert.strictEqual((yield* Effect.flip(stage))._tag, "InvalidOptions")
    })
  )
})

describe("what it costs", () => {
  it(
    "at most one call a message in a busy stage, beside the extensions",
    simulated(
      Effect.gen(function* () {
        const messages = 400
        const { handler, memory, queue, store } = yield* setting({ latency: "4 millis" })
        yield* memory.send(Array.from({ length: messages }, (_, i) => order(`${i}`)))
        const fiber = yield* orders(queue).pipe(
          Pipeline.process(handler("20 millis"), { concurrency: 32, once: byId }),
          Stream.runDrain,
          Effect.provideService(Store, store),
          Effect.fork
        )
        yield* memory.idle
        yield* Fiber.interrupt(fiber)
        const calls = (yield* store.calls).filter(({ operation }) => operation !== "extend")
        assert.isAtMost(calls.length, messages)
      })
    )
  )
})

describe("outside of a pipeline", () => {
  const pay = (key: string, payload?: unknown) =>
    Idempotency.run({ key, payload, result: Schema.Struct({ at: Schema.DateFromString }) })

  it(
    "an effect runs once a key, and its result is kept",
    simulated(
      Effect.gen(function* () {
        const { store } = yield* setting()
        let runs = 0
        const effect = Effect.sync(() => {
          runs++
          return { at: dateOf(7) }
        })
        const first = yield* effect.pipe(pay("a"), Effect.provideService(Store, store))
        const second = yield* effect.pipe(pay("a"), Effect.provideService(Store, store))
        assert.deepStrictEqual([first.at.getTime(), second.at.getTime(), runs], [7, 7, 1])
        const reused = yield* effect.pipe(
          pay("b", 1),
          Effect.zipRight(pay("b", 2)(effect)),
          Effect.flip,
          Effect.provideService(Store, store)
        )
        assert.strictEqual(reused._tag, "KeyReused")
      })
    )
  )

  it(
    "one that runs already fails with when to try again, its claim is extended, and a failure lets go of it",
    simulated(
      Effect.gen(function* () {
        const { store } = yield* setting()
        const slow = yield* Effect.fail("no").pipe(
          Effect.delay("100 seconds"),
          pay("a"),
          Effect.provideService(Store, store),
          Effect.fork
        )
        yield* Effect.sleep("90 seconds")
        const busy = yield* Effect.succeed({ at: dateOf(0) }).pipe(
          pay("a"),
          Effect.flip,
          Effect.provideService(Store, store)
        )
        assert.strictEqual(busy._tag, "KeyClaimed")
        if (busy._tag === "KeyClaimed") assert.isAtMost(Duration.toSeconds(busy.retryAfter), 30)
        assert.strictEqual(yield* Effect.flip(Fiber.join(slow)), "no")
        assert.strictEqual((yield* store.records).size, 0)
      })
    )
  )

  it(
    "an HTTP handler and a consumer share a key",
    simulated(
      Effect.gen(function* () {
        const { handler, memory, queue, ran, store } = yield* setting()
        const once = Idempotency.by(({ id }: typeof Order.Type) => `order ${id}`, { result: Schema.String })
        yield* Effect.succeed("by hand").pipe(
          Idempotency.run({ key: "order a", result: Schema.String }),
          Effect.provideService(Store, store)
        )
        yield* memory.send([order("a")])
        const result = yield* orders(queue).pipe(
          Pipeline.process(handler(), { once }),
          Stream.runHead,
          Effect.provideService(Store, store)
        )
        assert.deepStrictEqual([ran, Option.getOrNull(result)], [[], "by hand"])
      })
    )
  )
})

/** Types: what a stage with keys needs, and how it may fail. */
export const typed = {
  needs: (
    deliveries: Stream.Stream<Delivery.Delivery<string>>
  ): Stream.Stream<number, unknown, IdempotencyStore.IdempotencyStore> =>
    deliveries.pipe(
      Pipeline.process((body) => Effect.succeed(body.length), {
        once: Idempotency.by((body) => body.trim(), { result: Schema.Number })
      })
    ),
  without: (deliveries: Stream.Stream<Delivery.Delivery<string>>): Stream.Stream<number, unknown> =>
    deliveries.pipe(Pipeline.process((body) => Effect.succeed(body.length))),
  wrongBody: (deliveries: Stream.Stream<Delivery.Delivery<string>>) =>
    // @ts-expect-error: the key is made of another body
    deliveries.pipe(Pipeline.process((body: string) => Effect.succeed(body.length), { once: byId })),
  wrongResult: (deliveries: Stream.Stream<Delivery.Delivery<string>>) =>
    deliveries.pipe(
      // @ts-expect-error: a number is no result of this Schema
      Pipeline.process((body) => Effect.succeed(body.length), {
        once: Idempotency.by((body: string) => body, { result: Schema.String })
      })
    ),
  failures: (retry: RetryPolicy.RetryPolicy<RetryPolicy.Failure<"no" | Idempotency.Failure>>) =>
    Pipeline.process((body: string) => (body === "" ? Effect.fail("no" as const) : Effect.void), {
      once: Idempotency.by((body: string) => body),
      retry
    }),
  error: new IdempotencyStoreError({ operation: "begin", retryable: true, message: "down" })
}
