/** What becomes of a message whose handler failed, on a standard queue: delays, attempts, ends. */
import { assert, describe, it } from "@effect/vitest"
import { Consumer, Pipeline, RetryPolicy } from "@millrace/core"
import { MemoryQueue } from "@millrace/core/testing"
import { Clock, Data, Duration, Effect, Fiber, Ref, Schedule, Schema, Stream } from "effect"
import { numbered, recorded, simulated } from "./support/index.js"

interface Run {
  readonly at: number
  /** What the delivery says, and what the queue had counted. */
  readonly attempt: number
  readonly received: number
}

/** One message, whose handler fails with what `fails` says for its run (from 1), until that is nothing. */
const runs = <E>(
  fails: (run: number) => E | undefined,
  retry: RetryPolicy.PolicyInput<RetryPolicy.Failure<E>, unknown> | undefined,
  options: MemoryQueue.Options & { readonly until?: Duration.DurationInput; readonly concurrency?: number } = {}
) =>
  Effect.gen(function* () {
    const memory = yield* MemoryQueue.make(options)
    const { calls, queue } = recorded(memory)
    yield* memory.send(["a"])
    const all: Array<Run> = []
    const consumer = yield* Consumer.make(queue)
    const fiber = yield* consumer.stream.pipe(
      Pipeline.process(
        (_, { attempt, message }) =>
          Effect.gen(function* () {
            const run = all.push({ at: yield* Clock.currentTimeMillis, attempt, received: message.attempt })
            const error = fails(run)
            if (error !== undefined) return yield* Effect.fail(error)
          }),
        { retry, concurrency: options.concurrency }
      ),
      Stream.runDrain,
      Effect.fork
    )
    yield* options.until === undefined ? memory.idle : Effect.sleep(options.until)
    const stats = yield* consumer.stats
    const counts = yield* memory.stats
    const letters = yield* memory.deadLetters
    yield* Fiber.interrupt(fiber)
    const gaps = all.slice(1).map(({ at }, i) => at - (all[i]?.at ?? 0))
    return { runs: all, gaps, stats, counts, calls, letters, received: all.map(({ received }) => received) }
  })

const always = () => "no"
const times = (n: number) => (run: number) => (run <= n ? "no" : undefined)

describe("redeliver", () => {
  it(
    "makes it visible after the delay that the schedule has for this attempt, stepped from its start",
    simulated(
      Effect.gen(function* () {
        const policy = RetryPolicy.redeliver(Schedule.exponential("10 seconds"))
        const { attempts, gaps } = yield* Effect.map(runs(times(4), policy), ({ gaps, runs }) => ({
          gaps,
          attempts: runs.map(({ attempt }) => attempt)
        }))
        assert.deepStrictEqual(gaps, [10_000, 20_000, 40_000, 80_000])
        assert.deepStrictEqual(attempts, [1, 2, 3, 4, 5])
      })
    )
  )

  it(
    "with a schedule that keeps state, jitters, ends or looks at the error: as if it had been there from the start",
    simulated(
      Effect.gen(function* () {
        const fibonacci = yield* runs(times(5), RetryPolicy.redeliver(Schedule.fibonacci("1 second")))
        assert.deepStrictEqual(fibonacci.gaps, [1000, 1000, 2000, 3000, 5000])

        const jittered = yield* runs(times(3), RetryPolicy.redeliver(Schedule.jittered(Schedule.spaced("100 seconds"))))
        for (const gap of jittered.gaps) {
          assert.isAtLeast(gap, 80_000)
          assert.isAtMost(gap, 120_000)
        }

        class Busy extends Data.TaggedError("Busy")<{ readonly seconds: number }> {}
        const retryAfter = Schedule.identity<Busy>().pipe(Schedule.addDelay(({ seconds }) => Duration.seconds(seconds)))
        const busy = yield* runs(
          (run) => (run <= 3 ? new Busy({ seconds: 7 * run }) : undefined),
          RetryPolicy.match<Busy>({ Busy: RetryPolicy.redeliver(retryAfter) })
        )
        assert.deepStrictEqual(busy.gaps, [7000, 14_000, 21_000])

        const twice = RetryPolicy.redeliver(Schedule.intersect(Schedule.spaced("1 second"), Schedule.recurs(2)))
        const ended = yield* runs(always, RetryPolicy.orElse(twice, RetryPolicy.deadLetter))
        assert.deepStrictEqual([ended.gaps, ended.counts.deadLettered], [[1000, 1000], 1])

        // Its time is that of its own delays.
        const upTo = RetryPolicy.redeliver(Schedule.upTo(Schedule.spaced("10 seconds"), "25 seconds"))
        const over = yield* runs(always, RetryPolicy.orElse(upTo, RetryPolicy.deadLetter))
        assert.deepStrictEqual([over.gaps, over.counts.deadLettered], [[10_000, 10_000, 10_000], 1])
      })
    )
  )

  it(
    "no more than so many attempts, of which the queue counts each receive, also those that a restart has used up",
    simulated(
      Effect.gen(function* () {
        const policy = RetryPolicy.redeliver(Schedule.spaced("1 second"), { attempts: 3 }).pipe(
          RetryPolicy.orElse(RetryPolicy.deadLetter)
        )
        const three = yield* runs(always, policy)
        assert.deepStrictEqual([three.runs.length, three.stats.retried, three.counts.deadLettered], [3, 2, 1])

        // Received once before, by a consumer that never came to run it.
        const memory = yield* MemoryQueue.make({ leaseDuration: "5 seconds" })
        yield* memory.send(["a"])
        yield* memory.receive({ max: 1, wait: Duration.zero, attemptId: undefined })
        let handled = 0
        const fiber = yield* Consumer.stream(memory).pipe(
          Pipeline.process(
            () =>
              Effect.zipRight(
                Effect.sync(() => handled++),
                Effect.fail("no")
              ),
            { retry: policy }
          ),
          Stream.runDrain,
          Effect.fork
        )
        yield* memory.idle
        yield* Fiber.interrupt(fiber)
        assert.strictEqual(handled, 2)
      })
    )
  )

  it(
    "cuts a delay to what is left of the longest lease, and the queue takes it",
    simulated(
      Effect.gen(function* () {
        const { calls, counts, gaps, stats } = yield* runs(times(1), RetryPolicy.redeliver(Schedule.spaced("20 hours")))
        assert.deepStrictEqual([stats.retried, stats.lost, counts.acked], [1, 0, 1])
        assert.strictEqual(calls.of("setLease").length, 1)
        assert.isAtMost(gaps[0] ?? Number.NaN, Duration.toMillis("12 hours"))
        assert.isAtLeast(gaps[0] ?? 0, Duration.toMillis("12 hours") - 5000)
      })
    )
  )

  it(
    "leaves it to the queue where the policy passes and nothing comes after it",
    simulated(
      Effect.gen(function* () {
        const { gaps, stats } = yield* runs(times(2), RetryPolicy.redeliver(Schedule.stop), {
          leaseDuration: "40 seconds"
        })
        assert.deepStrictEqual(gaps, [40_000, 40_000])
        assert.deepStrictEqual([stats.left, stats.retried, stats.lost], [2, 0, 0])
      })
    )
  )
})

describe("inPlace", () => {
  it(
    "runs again in the slot after the schedule's delays, keeps the lease meanwhile, and costs no receive",
    simulated(
      Effect.gen(function* () {
        const {
          counts,
          gaps,
          received,
          runs: all
        } = yield* runs(times(3), RetryPolicy.inPlace(Schedule.exponential("20 seconds")))
        assert.deepStrictEqual(gaps, [20_000, 40_000, 80_000])
        assert.deepStrictEqual(received, [1, 1, 1, 1])
        assert.deepStrictEqual(
          all.map(({ attempt }) => attempt),
          [1, 2, 3, 4]
        )
        assert.deepStrictEqual([counts.redelivered, counts.expired, counts.acked], [0, 0, 1])
      })
    )
  )

  it(
    "takes its slot: others wait, where redeliver frees it",
    simulated(
      Effect.gen(function* () {
        const order = (policy: RetryPolicy.RetryPolicy<unknown>) =>
          Effect.gen(function* () {
            const memory = yield* MemoryQueue.make()
            yield* memory.send(["first", "second"])
            const done = yield* Ref.make<ReadonlyArray<string>>([])
            const failed = new Set<string>()
            const fiber = yield* Consumer.stream(memory).pipe(
              Pipeline.process(
                (body) =>
                  body === "first" && !failed.has(body)
                    ? Effect.zipRight(
                        Effect.sync(() => failed.add(body)),
                        Effect.fail("once")
                      )
                    : Ref.update(done, (all) => [...all, body]),
                { concurrency: 1, retry: policy }
              ),
              Stream.runDrain,
              Effect.fork
            )
            yield* memory.idle
            yield* Fiber.interrupt(fiber)
            return yield* done
          })
        const spaced = Schedule.spaced("10 seconds")
        assert.deepStrictEqual(yield* order(RetryPolicy.inPlace(spaced)), ["first", "second"])
        assert.deepStrictEqual(yield* order(RetryPolicy.redeliver(spaced)), ["second", "first"])
      })
    )
  )

  it(
    "passes on when its schedule is over; each redelivery begins it anew; runs since the last receive count as attempts",
    simulated(
      Effect.gen(function* () {
        const policy = RetryPolicy.inPlace(Schedule.intersect(Schedule.spaced("1 second"), Schedule.recurs(2))).pipe(
          RetryPolicy.orElse(RetryPolicy.redeliver(Schedule.exponential("1 minute"), { attempts: 5 })),
          RetryPolicy.orElse(RetryPolicy.deadLetter)
        )
        const { counts, gaps, received } = yield* runs(always, policy)
        // The redeliveries' delays are those of their own first, second … time.
        assert.deepStrictEqual(gaps, [1000, 1000, 60_000, 1000, 1000, 120_000, 1000, 1000])
        assert.deepStrictEqual(received, [1, 1, 1, 2, 2, 2, 3, 3, 3])
        assert.strictEqual(counts.deadLettered, 1)
      })
    )
  )
})

describe("inPlace, where an earlier stage has failed", () => {
  it(
    "passes on at once: to run this stage again is no use",
    simulated(
      Effect.gen(function* () {
        const forEver = RetryPolicy.inPlace(Schedule.spaced("1 minute"))
        const poison = yield* MemoryQueue.make({ name: "poison" })
        yield* poison.send(["not json"])
        const decoding = yield* Consumer.stream(poison).pipe(
          Pipeline.decodeJson(Schema.Number),
          Pipeline.process(() => Effect.void, { retry: RetryPolicy.orElse(forEver, RetryPolicy.deadLetter) }),
          Stream.runDrain,
          Effect.fork
        )
        yield* poison.idle
        assert.isAtMost(yield* Clock.currentTimeMillis, 1000)
        yield* Fiber.interrupt(decoding)
        assert.strictEqual((yield* poison.stats).deadLettered, 1)

        const mapped = yield* MemoryQueue.make({ name: "mapped" })
        yield* mapped.send(["a"])
        let runs = 0
        const mapping = yield* Consumer.stream(mapped).pipe(
          Pipeline.mapEffect(() => (++runs < 3 ? Effect.fail("not yet") : Effect.void)),
          Pipeline.settle({ retry: RetryPolicy.orElse(forEver, RetryPolicy.redeliver(Schedule.spaced("1 second"))) }),
          Stream.runDrain,
          Effect.fork
        )
        yield* mapped.idle
        yield* Fiber.interrupt(mapping)
        assert.strictEqual(runs, 3)
      })
    )
  )
})

describe("the end of a policy", () => {
  class Rejected extends Data.TaggedError("Rejected")<{ readonly message: string }> {}

  it(
    "deadLetter: stored with the reason, once, and only after the handler has failed",
    simulated(
      Effect.gen(function* () {
        const { calls, counts, letters, stats } = yield* runs(
          (run) => (run === 1 ? new Rejected({ message: "no such customer" }) : undefined),
          RetryPolicy.deadLetter
        )
        assert.deepStrictEqual([stats.deadLettered, counts.deadLettered, stats.lost], [1, 1, 0])
        assert.strictEqual(calls.of("deadLetter").length, 1)
        assert.strictEqual(letters[0]?.reason, "Rejected: no such customer")
      })
    )
  )

  it(
    "deadLetter, where the queue has no place for it: left to the queue",
    simulated(
      Effect.gen(function* () {
        const { counts, gaps, stats } = yield* runs(times(2), RetryPolicy.deadLetter, { deadLetters: false })
        assert.deepStrictEqual([stats.left, stats.deadLettered, counts.acked], [2, 0, 1])
        assert.deepStrictEqual(gaps, [30_000, 30_000])
      })
    )
  )

  it(
    "leave: the queue's own timeout, set anew and confirmed, and its redrive policy; never a silent lapse",
    simulated(
      Effect.gen(function* () {
        const { calls, counts, gaps, stats } = yield* runs(always, RetryPolicy.leave, { maxAttempts: 3 })
        assert.deepStrictEqual(gaps, [30_000, 30_000])
        assert.deepStrictEqual(
          calls.of("setLease").map(({ entries }) => entries.map(({ millis }) => millis)),
          [[30_000], [30_000], [30_000]]
        )
        assert.deepStrictEqual([stats.left, stats.lost, stats.inFlight, counts.deadLettered], [3, 0, 0, 1])
      })
    )
  )

  it(
    "discard: acked all the same, and counted as a failure",
    simulated(
      Effect.gen(function* () {
        const { counts, runs: all, stats } = yield* runs(always, RetryPolicy.discard)
        assert.deepStrictEqual([all.length, stats.failed, stats.handled, stats.acked, counts.acked], [1, 1, 0, 1, 1])
      })
    )
  )

  it(
    "a policy that throws or never says is the queue's to decide, and holds no slot for ever",
    simulated(
      Effect.gen(function* () {
        const throws = yield* runs(times(1), () => {
          throw new Error("a bug of the policy")
        })
        assert.deepStrictEqual([throws.gaps, throws.stats.left], [[30_000], 1])
      })
    )
  )

  it(
    "the standard one: 1, 2, 4 … seconds, jittered, at most about 15 minutes, without end",
    simulated(
      Effect.gen(function* () {
        const { gaps, stats } = yield* runs(times(14), undefined)
        assert.strictEqual(stats.retried, 14)
        gaps.forEach((gap, i) => {
          const delay = Math.min(1000 * 2 ** i, 900_000)
          assert.isAtLeast(gap, 0.8 * delay)
          assert.isAtMost(gap, 1.2 * delay)
        })
      })
    )
  )
})

describe("a policy that is a function", () => {
  it(
    "is told the failure and the delivery, and decides for that one",
    simulated(
      Effect.gen(function* () {
        const memory = yield* MemoryQueue.make()
        yield* memory.send(numbered(6))
        const fiber = yield* Consumer.stream(memory).pipe(
          Pipeline.process((body) => Effect.fail(Number(body)), {
            retry: (failure, { attempt, message }) =>
              typeof failure !== "number" || attempt > 1 || message.body === "5"
                ? RetryPolicy.discard
                : failure % 2 === 0
                  ? RetryPolicy.deadLetter
                  : RetryPolicy.redeliver(Schedule.spaced("1 second"))
          }),
          Stream.runDrain,
          Effect.fork
        )
        yield* memory.idle
        yield* Fiber.interrupt(fiber)
        const { acked, deadLettered, redelivered } = yield* memory.stats
        assert.deepStrictEqual([deadLettered, redelivered, acked], [3, 2, 3])
      })
    )
  )
})
