/** What a queue refuses for good concerns single messages; only deletes that are refused may end a stream. */
import { assert, describe, it } from "@effect/vitest"
import { Consumer, Pipeline, RetryPolicy } from "@millrace/core"
import { MemoryQueue } from "@millrace/core/testing"
import { Clock, Effect, Either, Exit, Fiber, Schedule, Stream } from "effect"
import { grouped, type Line, logged, numbered, simulated } from "./support/index.js"

const warnings = (lines: ReadonlyArray<Line>, about: RegExp) =>
  lines.filter(({ level, text }) => level === "WARN" && about.test(text))

/** Fails every "bad", for as long as the program runs. */
const process = (retry: RetryPolicy.RetryPolicy<unknown>) =>
  Pipeline.process((body: string) => (body.startsWith("bad") ? Effect.fail("no") : Effect.void), { retry })

describe("a dead-letter queue that refuses", () => {
  for (const how of ["the whole call", "the entry"] as const) {
    it(
      `leaves its message to the queue, with one warning, and ends nothing (${how})`,
      simulated(
        Effect.gen(function* () {
          const memory = yield* MemoryQueue.make()
          const lines: Array<Line> = []
          yield* memory.inject(
            "deadLetter",
            how === "the entry" ? { entries: () => "Rejected" } : { fail: "fatal" },
            1000
          )
          yield* memory.send(["bad"])
          const consumer = yield* Consumer.make(memory, { fatalGrace: "10 seconds" }).pipe(
            Effect.provide(logged(lines))
          )
          const fiber = yield* consumer.stream.pipe(process(RetryPolicy.deadLetter), Stream.runDrain, Effect.fork)
          yield* Effect.sleep("10 minutes")
          yield* memory.send(["good"])
          yield* Effect.sleep("1 second")
          assert.isNull(fiber.unsafePoll())
          yield* Fiber.interrupt(fiber)
          const { acked, deadLettered, left, settleCalls } = yield* consumer.stats
          // Twenty leases of thirty seconds.
          assert.deepStrictEqual([acked, deadLettered, left >= 19 && left <= 21], [1, 0, true])
          assert.isAtMost(settleCalls, 2 * left + 2, "it is left at once, and not tried again")
          if (how === "the whole call") {
            const told = warnings(lines, /cannot be dead-lettered \(SQS: sqs:SendMessage/)
            assert.isAtLeast(told.length, 1)
            assert.isAtMost(told.length, 5)
            assert.match(told[0]?.text ?? "", /left to the queue/)
          }
        })
      )
    )
  }

  it(
    "keeps the order of a group: nothing overtakes the message that is left",
    simulated(
      Effect.gen(function* () {
        const memory = yield* MemoryQueue.make({ ordered: true, leaseDuration: "10 seconds" })
        yield* memory.inject("deadLetter", { fail: "fatal" }, 2)
        yield* memory.send([
          { body: "bad", group: "a" },
          { body: "a2", group: "a" },
          { body: "b1", group: "b" }
        ])
        const handled: Array<string> = []
        const fiber = yield* Consumer.stream(memory).pipe(
          Pipeline.process((body) => (body === "bad" ? Effect.fail("no") : Effect.sync(() => handled.push(body))), {
            retry: RetryPolicy.deadLetter
          }),
          Stream.runDrain,
          Effect.fork
        )
        yield* memory.idle
        yield* Fiber.interrupt(fiber)
        assert.deepStrictEqual(handled, ["b1", "a2"])
        assert.lengthOf(yield* memory.deadLetters, 1)
        assert.isAtLeast(yield* Clock.currentTimeMillis, 20_000)
      })
    )
  )
})

describe("a queue that lets no lease be changed", () => {
  for (const ordered of [false, true]) {
    it(
      `leaves what fails to its lease, holds its permit until then, and ends nothing (${ordered ? "ordered" : "standard"})`,
      simulated(
        Effect.gen(function* () {
          const memory = yield* MemoryQueue.make({ ordered, leaseDuration: "10 seconds" })
          const lines: Array<Line> = []
          yield* memory.inject("setLease", { fail: "fatal" }, 10_000)
          yield* memory.send(ordered ? grouped("bad", "good") : ["bad", "good"])
          const consumer = yield* Consumer.make(memory, { fatalGrace: "10 seconds", maxInFlight: 1 }).pipe(
            Effect.provide(logged(lines))
          )
          const fiber = yield* consumer.stream.pipe(
            process(RetryPolicy.redeliver(Schedule.spaced("10 minutes"))),
            Stream.runDrain,
            Effect.fork
          )
          yield* Effect.sleep("5 seconds")
          assert.strictEqual((yield* consumer.stats).inFlight, 1, "the queue still counts it as leased")
          yield* Effect.sleep("5 minutes")
          assert.isNull(fiber.unsafePoll())
          const { acked, lost, peakInFlight } = yield* consumer.stats
          assert.deepStrictEqual([acked, peakInFlight], [1, 1])
          assert.isAtLeast(lost, 5)
          const told = warnings(lines, /cannot be delayed or given back \(SQS: sqs:ChangeMessageVisibility\)/)
          assert.isAtLeast(told.length, 1)
          assert.isAtMost(told.length, 5)
          yield* Fiber.interrupt(fiber)
        })
      )
    )
  }

  it(
    "its answer comes when the lease is over already: the permit comes back all the same",
    simulated(
      Effect.gen(function* () {
        const memory = yield* MemoryQueue.make({ leaseDuration: "10 seconds" })
        yield* memory.inject("setLease", { fail: "fatal", delay: "100 millis" })
        yield* memory.send(["bad", "good"])
        const consumer = yield* Consumer.make(memory, { heartbeat: false, linger: 0, maxInFlight: 1 })
        const fiber = yield* consumer.stream.pipe(
          Pipeline.process(
            (body, { attempt }) =>
              body === "bad" && attempt === 1
                ? Effect.zipRight(Effect.sleep("9950 millis"), Effect.fail("no"))
                : Effect.void,
            { retry: RetryPolicy.redeliver(Schedule.spaced("1 minute")) }
          ),
          Stream.runDrain,
          Effect.fork
        )
        yield* Effect.sleep("1 minute")
        const { acked, inFlight, lost } = yield* consumer.stats
        assert.deepStrictEqual([acked, inFlight, lost], [2, 0, 1])
        yield* Fiber.interrupt(fiber)
      })
    )
  )

  it(
    "does not hold up a drain: what is refused then is lost at once",
    simulated(
      Effect.gen(function* () {
        const memory = yield* MemoryQueue.make()
        yield* memory.inject("setLease", { fail: "fatal" }, 1000)
        yield* memory.send(["bad", ...numbered(5)])
        const consumer = yield* Consumer.make(memory, { pollGrace: 0 })
        const fiber = yield* consumer.stream.pipe(
          Pipeline.process((body) => (body === "bad" ? Effect.fail("no") : Effect.never), {
            retry: RetryPolicy.redeliver(Schedule.spaced("1 minute"))
          }),
          Stream.runDrain,
          Effect.fork
        )
        yield* Effect.sleep("2 seconds")
        const since = yield* Clock.currentTimeMillis
        const { lost } = yield* consumer.drain({ deadline: 0 })
        yield* Fiber.join(fiber)
        assert.strictEqual(lost, 6)
        assert.isAtMost((yield* Clock.currentTimeMillis) - since, 500)
      })
    )
  )

  it(
    "says so where leases are to be extended",
    simulated(
      Effect.gen(function* () {
        const memory = yield* MemoryQueue.make({ leaseDuration: "10 seconds" })
        const lines: Array<Line> = []
        yield* memory.inject("setLease", { fail: "fatal" }, 1000)
        yield* memory.send(["slow"])
        const fiber = yield* Consumer.stream(memory).pipe(
          Pipeline.process(() => Effect.sleep("9 seconds")),
          Stream.runDrain,
          Effect.provide(logged(lines)),
          Effect.fork
        )
        yield* memory.idle
        yield* Fiber.interrupt(fiber)
        const [told] = warnings(lines, /leases be extended/)
        assert.match(told?.text ?? "", /what takes longer than 10s runs again elsewhere/)
      })
    )
  )
})

it(
  "deletes that are refused end the stream after fatalGrace, though other calls succeed meanwhile",
  simulated(
    Effect.gen(function* () {
      const memory = yield* MemoryQueue.make()
      yield* memory.inject("ack", { fail: "fatal" }, 1000)
      yield* memory.send(["good", "bad"])
      const consumer = yield* Consumer.make(memory, { fatalGrace: "1 minute" })
      const end = yield* consumer.stream.pipe(
        process(RetryPolicy.redeliver(Schedule.spaced("5 seconds"))),
        Stream.runDrain,
        Effect.either
      )
      assert.isTrue(Either.isLeft(end))
      assert.isAtLeast((yield* consumer.stats).retried, 5)
      assert.isAtMost(yield* Clock.currentTimeMillis, 90_000)
    })
  )
)

it(
  "a queue that is deleted and made anew a minute later is consumed again, with the defaults",
  simulated(
    Effect.gen(function* () {
      const memory = yield* MemoryQueue.make()
      let gone = false
      const queue = {
        ...memory,
        receive: (request: Parameters<typeof memory.receive>[0]) =>
          Effect.suspend(() =>
            gone
              ? new MemoryQueue.MemoryQueueError({ operation: "receive", kind: "fatal", message: "no such queue" })
              : memory.receive(request)
          )
      }
      yield* memory.send(["a"])
      const fiber = yield* Consumer.stream(queue).pipe(
        Pipeline.process(() => Effect.void),
        Stream.runDrain,
        Effect.fork
      )
      yield* memory.settled(1)
      gone = true
      yield* Effect.sleep("75 seconds")
      gone = false
      yield* memory.send(["b"])
      yield* memory.settled(2)
      yield* Fiber.interrupt(fiber)
    })
  )
)

describe("a fatal error of a receive", () => {
  const run = (fail: "before" | "after") =>
    Effect.gen(function* () {
      const lines: Array<Line> = []
      const memory = yield* MemoryQueue.make({ name: "orders" })
      yield* memory.send(["1"])
      if (fail === "before") yield* memory.inject("receive", { fail: "fatal" }, 10_000)
      const fiber = yield* Consumer.stream(memory, { fatalGrace: "30 seconds" }).pipe(
        Pipeline.process(() => Effect.void),
        Stream.runDrain,
        Effect.provide(logged(lines)),
        Effect.fork
      )
      if (fail === "after") {
        yield* memory.settled(1)
        yield* memory.inject("receive", { fail: "fatal" }, 10_000)
      }
      assert.isTrue(Exit.isFailure(yield* Fiber.await(fiber)))
      return warnings(lines, /.*/).map(({ text }) => text)
    })

  it(
    "is told with what follows: an end at once before the first message, and else how long it is tried again",
    simulated(
      Effect.gen(function* () {
        const before = yield* run("before")
        assert.lengthOf(before, 1)
        assert.match(before[0] ?? "", /^the stream of orders ends: /)
        const after = yield* run("after")
        assert.lengthOf(after, 2)
        assert.match(after[0] ?? "", /^could not receive from orders \(fatal\), trying again for up to 30s: /)
        assert.match(after[1] ?? "", /^the stream of orders ends: /)
      })
    )
  )

  it(
    "is told as the end where the schedule of a transient one is over",
    simulated(
      Effect.gen(function* () {
        const lines: Array<Line> = []
        const memory = yield* MemoryQueue.make({ name: "orders" })
        yield* memory.inject("receive", { fail: "transient" }, 10_000)
        yield* Consumer.stream(memory, { receiveRetry: Schedule.recurs(2) }).pipe(
          Pipeline.process(() => Effect.void),
          Stream.runDrain,
          Effect.exit,
          Effect.provide(logged(lines))
        )
        const said = warnings(lines, /.*/).map(({ text }) => text)
        assert.lengthOf(said, 2)
        assert.match(said[0] ?? "", /^could not receive from orders \(transient\), trying again: /)
        assert.match(said[1] ?? "", /^the stream of orders ends: /)
      })
    )
  )
})
