/** A stop holds its deadlines, whatever the pipeline does; a restart forgets failures that are long over. */
import { assert, describe, it } from "@effect/vitest"
import { Consumer, type Delivery, type InvalidOptions, Pipeline, Served } from "@millrace/core"
import { MemoryQueue } from "@millrace/core/testing"
import { Clock, Context, Effect, Exit, Fiber, Layer, Schedule, Scope, Stream } from "effect"
import { type Line, logged, numbered, simulated } from "./support/index.js"

class Orders extends Context.Tag("test/Orders")<Orders, Served.Served>() {}

const limits = { pollGrace: "1 second", drainDeadline: "1 second", flushWithin: "1 second" } as const
const seconds = Effect.map(Clock.currentTimeMillis, (millis) => millis / 1000)

type Pipe = (
  deliveries: Stream.Stream<Delivery.Delivery<string>, MemoryQueue.MemoryQueueError>
) => Stream.Stream<unknown, unknown>

/** A Layer that runs, until it is closed: how long that takes, and what is logged. */
const closed = (pipeline: Pipe, queue: MemoryQueue.MemoryQueue, options: Served.Options = limits) =>
  Effect.gen(function* () {
    const lines: Array<Line> = []
    const scope = yield* Scope.make()
    const layer = Served.layer(Orders, Effect.succeed(queue), pipeline, options)
    return yield* Effect.gen(function* () {
      yield* Scope.extend(Layer.build(layer), scope)
      yield* Effect.sleep("2 seconds")
      const since = yield* seconds
      yield* Scope.close(scope, Exit.void)
      return { took: (yield* seconds) - since, logs: lines.map(({ text }) => text) }
    }).pipe(Effect.provide(logged(lines)))
  })

const stubborn = () => Effect.uninterruptible(Effect.sleep("10 minutes"))
/** What a stop leaves running here is no fault of its own. */
const lets = { leaks: "interrupt" } as const

it(
  "a drain's own flushWithin stands in the place of its consumer's",
  simulated(
    Effect.gen(function* () {
      const queue = yield* MemoryQueue.make({ name: "orders" })
      yield* queue.send(["a"])
      const consumer = yield* Consumer.make(queue, { flushWithin: "1 minute" })
      yield* Effect.fork(Stream.runDrain(Pipeline.process(stubborn)(consumer.stream)))
      yield* Effect.sleep("2 seconds")
      const since = yield* seconds
      const { lost } = yield* consumer.drain({ deadline: 0, flushWithin: "3 seconds" })
      assert.deepStrictEqual([(yield* seconds) - since, lost], [3, 1])
    }),
    lets
  )
)

describe("within what may not be interrupted a stream ends early all the same, and gives back what it holds", () => {
  type Deliveries = Stream.Stream<
    Delivery.Delivery<string>,
    MemoryQueue.MemoryQueueError | InvalidOptions.InvalidOptions
  >
  const pipelines: Record<string, (deliveries: Deliveries, others: Deliveries) => Stream.Stream<unknown, unknown>> = {
    process: Pipeline.process(Effect.succeed),
    "stage after stage": (deliveries) =>
      deliveries.pipe(
        Pipeline.mapEffect(Effect.succeed),
        Stream.buffer({ capacity: 2 }),
        Pipeline.process(Effect.succeed)
      ),
    batch: Pipeline.batch({ max: 2 }),
    coalesce: (deliveries) =>
      deliveries.pipe(Pipeline.coalesce({ key: (body) => body, within: "1 second" }), Pipeline.process(Effect.succeed)),
    merge: (deliveries, others) => Pipeline.merge([deliveries, others]).pipe(Pipeline.process(Effect.succeed))
  }
  for (const [name, pipeline] of Object.entries(pipelines)) {
    it(
      name,
      simulated(
        Effect.gen(function* () {
          const queue = yield* MemoryQueue.make({ latency: 10 })
          const other = yield* MemoryQueue.make({ name: "other" })
          yield* queue.send(numbered(12))
          const stream = pipeline(Consumer.stream(queue, { drainWhen: Effect.never }), Consumer.stream(other))
          const count = yield* Effect.uninterruptible(Stream.runCount(Stream.take(stream, 1)))
          assert.strictEqual(count, 1)
          assert.strictEqual((yield* queue.stats).inFlight, 0)
        }),
        { maxElapsed: "1 minute" }
      )
    )
  }
})

describe("closing a Layer", () => {
  const pipelines: Record<string, Pipe> = {
    process: Pipeline.process(stubborn),
    processBatches: Pipeline.processBatches(stubborn, { max: 2, within: 0 }),
    "mapEffect and settle": (deliveries) => deliveries.pipe(Pipeline.mapEffect(stubborn), Pipeline.settle()),
    "an operator of the user's": (deliveries) => Stream.mapEffect(deliveries, stubborn)
  }
  for (const [name, pipeline] of Object.entries(pipelines)) {
    it(
      `ends in time though a handler cannot be interrupted, and says what was left (${name})`,
      simulated(
        Effect.gen(function* () {
          const queue = yield* MemoryQueue.make({ name: "orders" })
          yield* queue.send(["a"])
          const { logs, took } = yield* closed(pipeline, queue)
          assert.isAtMost(took, 10)
          assert.match(logs.join("\n"), /the pipeline of orders (does not end|cannot be interrupted)/)
          assert.match(logs.join("\n"), /the consumer of orders is drained: 0 finished/)
          if (!name.startsWith("an operator")) {
            assert.match(logs.join("\n"), /the handler of message orders-1 .* could not be interrupted/)
          }
        }),
        lets
      )
    )
  }

  it(
    "drains a second queue that its pipeline merges: what runs finishes, the rest is given back, the report counts both",
    simulated(
      Effect.gen(function* () {
        const first = yield* MemoryQueue.make({ name: "orders" })
        const second = yield* MemoryQueue.make({ name: "partners" })
        yield* first.send(numbered(3))
        yield* second.send(numbered(30))
        const finished: Array<string> = []
        const { logs, took } = yield* closed(
          (deliveries) =>
            Stream.merge(deliveries, Consumer.stream(second, limits)).pipe(
              Pipeline.process(
                (_, { queue }) =>
                  Effect.zipRight(
                    Effect.sleep("5 seconds"),
                    Effect.sync(() => finished.push(queue))
                  ),
                { concurrency: 10 }
              )
            ),
          first,
          { ...limits, drainDeadline: "20 seconds" }
        )
        assert.isAtMost(took, 5)
        assert.lengthOf(finished, 10)
        assert.strictEqual((yield* second.stats).inFlight, 0)
        assert.strictEqual((yield* first.stats).acked + (yield* second.stats).acked, 10)
        assert.match(logs.at(-1) ?? "", /is drained: 10 finished/)
        assert.notMatch(logs.join("\n"), /does not end/)
      })
    )
  )

  it(
    "interrupts what does not end with its source, such as a stream of the user's own, and gives its messages back",
    simulated(
      Effect.gen(function* () {
        const queue = yield* MemoryQueue.make({ name: "orders" })
        yield* queue.send(["a"])
        const { logs, took } = yield* closed(
          (deliveries) => Stream.merge(deliveries.pipe(Pipeline.process(() => Effect.void)), Stream.never),
          queue
        )
        assert.isAtMost(took, 10)
        assert.match(logs.join("\n"), /does not end with its source/)
      })
    )
  )

  it(
    "lets what follows process finish within the deadline: it may be what the message was acked for",
    simulated(
      Effect.gen(function* () {
        const queue = yield* MemoryQueue.make({ name: "orders" })
        yield* queue.send(["a"])
        let published = 0
        const { logs } = yield* closed(
          (deliveries) =>
            deliveries.pipe(
              Pipeline.process(() => Effect.sleep("3 seconds")),
              Stream.mapEffect(() =>
                Effect.zipRight(
                  Effect.sleep("12 seconds"),
                  Effect.sync(() => published++)
                )
              )
            ),
          queue,
          { ...limits, drainDeadline: "20 seconds" }
        )
        assert.strictEqual(published, 1)
        assert.notMatch(logs.join("\n"), /does not end/)
      })
    )
  )

  it(
    "tells what an aborted receive may have left with nobody, and how to wait for it; and else nothing of it",
    simulated(
      Effect.gen(function* () {
        const memory = yield* MemoryQueue.make({ name: "orders", strandAborted: true })
        const deaf = {
          ...memory,
          receive: (request: Parameters<typeof memory.receive>[0]) => memory.receive({ ...request, stop: undefined })
        }
        const idle = yield* closed(
          Pipeline.process(() => Effect.void),
          deaf
        )
        assert.match(
          idle.logs.join("\n"),
          /A receive that waited for messages was aborted.*at most 10, nobody has them.*pollGrace/
        )
        const heard = yield* closed(
          Pipeline.process(() => Effect.void),
          yield* MemoryQueue.make()
        )
        assert.notMatch(heard.logs.join("\n"), /aborted|stranded/)
      }),
      lets
    )
  )
})

it(
  "an interrupted stream and a drain on request wait for a handler that cannot be interrupted no longer than they say",
  simulated(
    Effect.gen(function* () {
      for (const how of ["interrupt", "drain"] as const) {
        const queue = yield* MemoryQueue.make()
        yield* queue.send(["a", "b"])
        const consumer = yield* Consumer.make(queue, limits)
        const fiber = yield* Effect.forkDaemon(
          Stream.runDrain(consumer.stream.pipe(Pipeline.process((body) => (body === "a" ? stubborn() : Effect.never))))
        )
        yield* Effect.sleep("1 second")
        const since = yield* seconds
        if (how === "interrupt") yield* Fiber.interrupt(fiber)
        else {
          const { lost, released } = yield* consumer.drain({ deadline: "1 second" })
          assert.deepStrictEqual([released, lost], [1, 1])
        }
        assert.isAtMost((yield* seconds) - since, 4)
        assert.strictEqual((yield* consumer.stats).inFlight, 0)
      }
    }),
    lets
  )
)

describe("a restart", () => {
  /** A pipeline that works for so long and then fails: the pauses before each restart, in seconds. */
  const pauses = (
    worksFor: ReadonlyArray<number>,
    how: Effect.Effect<never, string>,
    restart: Schedule.Schedule<unknown>
  ) =>
    Effect.gen(function* () {
      const queue = yield* MemoryQueue.make()
      const pauses: Array<number> = []
      let failedAt: number | undefined
      let run = 0
      const layer = Served.layer(
        Orders,
        Effect.succeed(queue),
        (deliveries) =>
          Stream.unwrap(
            Effect.map(seconds, (now) => {
              if (failedAt !== undefined) pauses.push(Math.round(now - failedAt))
              const fails = Effect.gen(function* () {
                yield* Effect.sleep((worksFor[run++] ?? 1_000_000) * 1000)
                failedAt = yield* seconds
                return yield* how
              })
              return deliveries.pipe(
                Pipeline.process(() => Effect.void),
                Stream.interruptWhen(fails)
              )
            })
          ),
        { restart }
      )
      const served = Context.get(yield* Layer.build(layer), Orders)
      const health = Effect.map(served.health(), ({ healthy, problems }) => ({ healthy, problems }))
      return { pauses, health, served }
    })

  it(
    "waits longer each time that it does not come up, and begins anew once it has worked for a while",
    simulated(
      Effect.gen(function* () {
        const run = yield* pauses([1, 1, 1, 3600, 1, 1], Effect.fail("gone"), Schedule.exponential("1 second"))
        yield* Effect.sleep("2 hours")
        assert.deepStrictEqual(run.pauses, [1, 2, 4, 1, 2, 4])
      })
    )
  )

  it(
    "is not used up by failures that are hours apart, though it allows only three",
    simulated(
      Effect.gen(function* () {
        const three = Schedule.intersect(Schedule.spaced("1 second"), Schedule.recurs(3))
        const run = yield* pauses(
          Array.from({ length: 12 }, () => 3600),
          Effect.fail("gone"),
          three
        )
        yield* Effect.sleep("13 hours")
        assert.lengthOf(run.pauses, 12)
        assert.isTrue((yield* run.health).healthy)
      })
    )
  )

  it(
    "follows a defect too, and health tells of what has failed until it runs again",
    simulated(
      Effect.gen(function* () {
        const run = yield* pauses([60], Effect.die(new Error("a bug")), Schedule.spaced("5 minutes"))
        yield* Effect.sleep("30 seconds")
        assert.isTrue((yield* run.health).healthy)
        yield* Effect.sleep("2 minutes")
        const { healthy, problems } = yield* run.health
        assert.isFalse(healthy)
        assert.match(problems[0] ?? "", /the pipeline of memory has failed: a bug/)
        yield* Effect.sleep("5 minutes")
        assert.deepStrictEqual(run.pauses, [300])
        assert.isTrue((yield* run.health).healthy)
      })
    )
  )

  it(
    "that is over is a ConsumerFailed of launch, with what the pipeline failed of",
    simulated(
      Effect.gen(function* () {
        const queue = yield* MemoryQueue.make({ name: "orders" })
        const layer = Served.layer(Orders, Effect.succeed(queue), () => Stream.fail({ code: 7 }), {
          restart: Schedule.recurs(2)
        })
        const error = yield* Effect.flip(Served.launch(layer))
        assert.strictEqual(error._tag, "ConsumerFailed")
        if (error._tag !== "ConsumerFailed") return
        assert.deepStrictEqual([error.queue, error.cause], ["orders", { code: 7 }])
        assert.match(error.message, /the pipeline of orders has failed: \{"code":7\}/)
      })
    )
  )
})

it(
  "a consumer whose stream has ended is not healthy: nothing is received any more",
  simulated(
    Effect.gen(function* () {
      const queue = yield* MemoryQueue.make({ name: "orders" })
      yield* queue.send(["a"])
      const consumer = yield* Consumer.make(queue)
      assert.isTrue((yield* consumer.health()).healthy)
      yield* consumer.stream.pipe(
        Pipeline.process(() => Effect.void),
        Stream.take(1),
        Stream.runDrain
      )
      const { healthy, problems } = yield* consumer.health()
      assert.isFalse(healthy)
      assert.match(problems.join(), /the stream of orders has ended/)
    })
  )
)
