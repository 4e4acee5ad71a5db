/** `coalesce`: of several messages with one key one is handled, and all are settled with it. */
import { assert, describe, it } from "@effect/vitest"
import { Consumer, Delivery, Pipeline, RetryPolicy } from "@millrace/core"
import { MemoryQueue, Simulation } from "@millrace/core/testing"
import { Clock, Duration, Effect, Fiber, Logger, LogLevel, Random, Schedule, Stream } from "effect"
import { seeds } from "../../../test/long.js"
import { grouped, heldClock, recorded, simulated } from "./support/index.js"
import { named, scenarios, troubled } from "./support/troubled.js"

const firstLetter = (body: string) => (body.startsWith("-") ? undefined : body.charAt(0))
const joined = (before: string, next: string) => `${before}+${next}`

const track = () => {
  const ran: Array<string> = []
  const begins = (body: string) =>
    Effect.map(Clock.currentTimeMillis, (now) => {
      ran.push(`${Math.round(now / 1000)} ${body}`)
    })
  return { ran, begins }
}

describe("messages with one key", () => {
  it(
    "are handled as the last of them after the time, and acked together; without a key one goes on at once",
    simulated(
      Effect.gen(function* () {
        const memory = yield* MemoryQueue.make()
        const { calls, queue } = recorded(memory)
        yield* memory.send(["a1", "a2", "-"])
        yield* Effect.fork(Effect.delay(memory.send(["a3", "b1"]), "3 seconds"))
        const { begins, ran } = track()
        const ids: Array<string> = []
        yield* Consumer.stream(queue, { drainWhen: Effect.delay(memory.idle, "4 seconds") }).pipe(
          Pipeline.coalesce({ key: firstLetter, within: "5 seconds" }),
          Pipeline.process((body, { message }) => {
            ids.push(message.id)
            return begins(body)
          }),
          Stream.runDrain
        )
        assert.deepStrictEqual(ran, ["0 -", "5 a3", "8 b1"])
        assert.deepStrictEqual(ids, ["memory-3", "memory-1+memory-2+memory-4", "memory-5"])
        assert.deepStrictEqual(
          calls.of("ack").map(({ ids }) => [...ids].sort().join(" ")),
          ["memory-3", "memory-1 memory-2 memory-4", "memory-5"]
        )
      })
    )
  )

  it(
    "are folded in their order; a fold that throws fails all of them, and what its policy says holds for all",
    simulated(
      Effect.gen(function* () {
        const queue = yield* MemoryQueue.make()
        yield* queue.send(["a1", "b1", "a2", "b2", "a3"])
        const { begins, ran } = track()
        yield* Consumer.stream(queue, { drainWhen: queue.idle }).pipe(
          Pipeline.coalesce({
            key: firstLetter,
            fold: (before, next) => {
              if (before === "b1") throw new Error("no fold")
              return joined(before, next)
            }
          }),
          Pipeline.process(begins, { retry: RetryPolicy.deadLetter }),
          Stream.runDrain
        )
        assert.deepStrictEqual(ran, ["1 a1+a2+a3"])
        assert.deepStrictEqual((yield* queue.deadLetters).map(({ message }) => message.body).sort(), ["b1", "b2"])
      })
    )
  )

  it(
    "come again together where the handler fails, with the highest attempt of them",
    simulated(
      Effect.gen(function* () {
        const queue = yield* MemoryQueue.make()
        yield* queue.send(["a1", "a2"])
        const seen: Array<string> = []
        yield* Consumer.stream(queue, { drainWhen: queue.idle }).pipe(
          Pipeline.coalesce({ key: firstLetter, fold: joined }),
          Pipeline.process(
            (body, { attempt }) => {
              seen.push(`${body.split("+").sort()} ${attempt}`)
              return attempt === 1 ? Effect.fail("not now") : Effect.void
            },
            { retry: RetryPolicy.redeliver(Schedule.spaced("3 seconds")) }
          ),
          Stream.runDrain
        )
        assert.deepStrictEqual(seen, ["a1,a2 1", "a1,a2 2"])
        assert.strictEqual((yield* queue.stats).acked, 2)
      })
    )
  )

  it(
    "take half of the permits while they wait: then the oldest goes on; and while nobody takes it, it takes in more",
    simulated(
      Effect.gen(function* () {
        const memory = yield* MemoryQueue.make()
        const { calls, queue } = recorded(memory)
        const { begins, ran } = track()
        const fiber = yield* Effect.fork(
          Consumer.stream(queue, { maxInFlight: 8 }).pipe(
            Pipeline.coalesce({ key: firstLetter, within: "1 hour", fold: joined }),
            Pipeline.process((body) => Effect.zipRight(begins(body), Effect.sleep("1 minute")), { concurrency: 1 }),
            Stream.runDrain
          )
        )
        for (const [i, body] of ["a1", "b1", "a2", "c1", "d1", "c2", "e1", "e2", "f1"].entries()) {
          yield* memory.send([body])
          yield* Effect.sleep(i < 4 ? "1 second" : "10 seconds")
        }
        assert.strictEqual(ran[0], "3 a1+a2")
        yield* Effect.sleep("10 minutes")
        assert.deepStrictEqual(ran.map((line) => line.split(" ")[1]).slice(0, 3), ["a1+a2", "b1", "c1+c2"])
        // What follows, f1 too, has been received, and fills the windows no more.
        const { acked: done, visible: left } = yield* memory.stats
        assert.deepStrictEqual(
          { ran: ran.slice(3).map((line) => line.split(" ")[1]), done, left },
          { ran: ["d1"], done: 6, left: 0 }
        )
        assert.isAtMost(Math.max(...calls.of("receive").map(({ max }) => max)), 8)
        yield* Fiber.interrupt(fiber)
        const { acked, visible } = yield* memory.stats
        assert.strictEqual(acked + visible, 9)
      })
    )
  )

  it(
    "are received on once those that filled the windows have been taken, though no stage in front asks for them",
    simulated(
      Effect.gen(function* () {
        for (const slow of ["1 second", "30 seconds"] as const) {
          const queue = yield* MemoryQueue.make()
          yield* queue.send(Array.from({ length: 60 }, (_, i) => `${String.fromCharCode(97 + (i % 26))}${i}`))
          const ran: Array<string> = []
          yield* Consumer.stream(queue, { maxInFlight: 6, drainWhen: queue.idle }).pipe(
            Pipeline.coalesce({ key: firstLetter, within: "5 seconds", fold: joined }),
            Pipeline.process(
              (body) =>
                Effect.zipRight(
                  Effect.sleep(slow),
                  Effect.sync(() => ran.push(...body.split("+")))
                ),
              { concurrency: 2 }
            ),
            Stream.runDrain,
            Effect.timeoutFail({ duration: "2 hours", onTimeout: () => `it does not go on: ${ran.join()}` })
          )
          assert.strictEqual(new Set(ran).size, 60)
          assert.strictEqual((yield* queue.stats).acked, 60)
        }
      })
    )
  )

  it(
    "are received on where all that waited has gone back behind another of its group, in a drain too",
    simulated(
      Effect.gen(function* () {
        for (const drains of [false, true]) {
          const queue = yield* MemoryQueue.make({ ordered: true, latency: 50 })
          yield* queue.send(["-", "a1", "a2", "a3"].map((body) => ({ body, group: "a" })))
          yield* queue.send(grouped("b1", "b2", "b3", "b4"))
          const consumer = yield* Consumer.make(queue, { maxInFlight: 7 })
          const { begins, ran } = track()
          const fiber = yield* Effect.fork(
            consumer.stream.pipe(
              Pipeline.mapEffect(Effect.succeed, { ackAhead: true, concurrency: 8 }),
              Pipeline.coalesce({ key: firstLetter, within: "1 minute", fold: joined }),
              Pipeline.process(
                (body, { attempt }) =>
                  Effect.zipRight(begins(body), Effect.sleep("5 seconds")).pipe(
                    Effect.zipRight(body === "-" && attempt === 1 ? Effect.fail("not now") : Effect.void)
                  ),
                { concurrency: 1, retry: RetryPolicy.redeliver(Schedule.spaced("10 seconds")), holdLimit: 0 }
              ),
              Stream.runDrain
            )
          )
          if (drains) yield* Effect.sleep("8 seconds")
          else
            yield* Effect.timeoutFail(queue.idle, {
              duration: "3 hours",
              onTimeout: () => `it does not go on: ${ran.join()}`
            })
          yield* consumer.drain({ deadline: "1 minute" })
          yield* Effect.timeoutFail(Fiber.join(fiber), { duration: "1 hour", onTimeout: () => "it does not end" })
          if (!drains) assert.strictEqual((yield* queue.stats).acked, 8, ran.join())
        }
      })
    )
  )

  it(
    "go back in a drain where they wait, and are worked on to their end where their handler runs",
    simulated(
      Effect.gen(function* () {
        const queue = yield* MemoryQueue.make()
        yield* queue.send(["a1", "a2"])
        const { begins, ran } = track()
        const consumer = yield* Consumer.make(queue)
        const fiber = yield* Effect.fork(
          consumer.stream.pipe(
            Pipeline.coalesce({ key: firstLetter, within: "2 seconds", fold: joined }),
            Pipeline.process((body) => Effect.zipRight(begins(body), Effect.sleep("10 seconds"))),
            Stream.runDrain
          )
        )
        yield* Effect.sleep("3 seconds")
        yield* queue.send(["b1", "b2"])
        yield* Effect.sleep("1 second")
        const report = yield* consumer.drain({ deadline: "1 minute" })
        yield* Fiber.join(fiber)
        assert.strictEqual(ran.length, 1)
        assert.deepInclude(report, { finished: 2, released: 2, lost: 0 })
      })
    )
  )

  it(
    "are kept while they wait and run; one that is lost interrupts the handler, and the others are released",
    simulated(
      Effect.gen(function* () {
        let lose = false
        const memory = yield* MemoryQueue.make({
          leaseDuration: "30 seconds",
          faults: () =>
            Effect.succeed({
              entries: ({ messageId }) => (lose && messageId === "memory-1" ? ("Transient" as const) : undefined)
            })
        })
        yield* memory.send(["a1", "a2"])
        const released: Array<string> = []
        const { begins, ran } = track()
        const fiber = yield* Effect.fork(
          Consumer.stream({
            ...memory,
            setLease: (entries) => {
              for (const { duration, lease } of entries) {
                if (Duration.equals(duration, Duration.zero)) released.push(lease.messageId)
              }
              return memory.setLease(entries)
            }
          }).pipe(
            Pipeline.coalesce({ key: firstLetter, within: "1 minute", fold: joined }),
            Pipeline.process((body) =>
              Effect.zipRight(begins(body), Effect.sleep("10 minutes")).pipe(
                Effect.onInterrupt(() => begins(`interrupted ${body}`))
              )
            ),
            Stream.runDrain
          )
        )
        yield* Effect.sleep("3 minutes")
        assert.match(ran.join(), /^60 a[12]\+a[12]$/)
        assert.strictEqual((yield* memory.stats).redelivered, 0)
        lose = true
        yield* Effect.sleep("40 seconds")
        assert.match(ran[1] ?? "", /interrupted/)
        assert.deepStrictEqual(released, ["memory-2"])
        yield* Fiber.interrupt(fiber)
      })
    )
  )

  it(
    "on an ordered queue come together as neighbours in their group, and nothing is overtaken",
    simulated(
      Effect.gen(function* () {
        const memory = yield* MemoryQueue.make({ ordered: true })
        const group = (bodies: ReadonlyArray<string>) => bodies.map((body) => ({ body, group: "g" }))
        yield* memory.send([...group(["a1", "a2", "b1", "a3", "-", "a4", "a5"]), ...grouped("z1")])
        const { begins, ran } = track()
        yield* Consumer.stream(memory, { drainWhen: memory.idle }).pipe(
          Pipeline.coalesce({ key: firstLetter, within: "2 seconds", fold: joined }),
          Pipeline.process((body) => Effect.zipRight(begins(body), Effect.sleep("1 second"))),
          Stream.runDrain
        )
        assert.deepStrictEqual(
          ran.map((line) => line.split(" ")[1]).filter((body) => body !== "z1"),
          ["a1+a2", "b1", "a3", "-", "a4+a5"]
        )
      })
    )
  )

  it(
    "come again where their leases have run out while the fold held the thread; who settles them is told",
    simulated(
      Effect.gen(function* () {
        const { clock: slow, works } = yield* heldClock
        yield* Effect.gen(function* () {
          const queue = yield* MemoryQueue.make({ ordered: true, leaseDuration: "30 seconds" })
          yield* queue.send(grouped("a1", "a2"))
          let folds = 0
          yield* Consumer.stream(queue, { drainWhen: queue.idle }).pipe(
            Pipeline.coalesce({
              key: firstLetter,
              fold: (before, next) => {
                if (folds++ === 0) works(60_000)
                return joined(before, next)
              }
            }),
            Stream.runForEach((delivery) => Effect.exit(delivery.ack)),
            Effect.timeoutFail({ duration: "1 hour", onTimeout: () => "it does not end" })
          )
          assert.strictEqual(folds, 2)
          assert.strictEqual((yield* queue.stats).acked, 2)
        }).pipe(Effect.withClock(slow))
      }).pipe(Logger.withMinimumLogLevel(LogLevel.None))
    )
  )

  it(
    "go back in a drain where they wait in their lane as one",
    simulated(
      Effect.gen(function* () {
        const queue = yield* MemoryQueue.make({ ordered: true })
        yield* queue.send(["a1", "a2", "b1", "b2"].map((body) => ({ body, group: "g" })))
        const { begins, ran } = track()
        const consumer = yield* Consumer.make(queue, { maxInFlight: 20 })
        const fiber = yield* Effect.fork(
          consumer.stream.pipe(
            Pipeline.coalesce({ key: firstLetter, within: "1 second", fold: joined }),
            Pipeline.process((body) => Effect.zipRight(begins(body), Effect.sleep("30 seconds"))),
            Stream.runDrain
          )
        )
        yield* Effect.sleep("10 seconds")
        const report = yield* consumer.drain({ deadline: "10 minutes" })
        yield* Fiber.join(fiber)
        assert.deepStrictEqual(ran, ["0 a1+a2"])
        assert.deepInclude(report, { finished: 2, released: 2, lost: 0 })
      })
    )
  )

  it(
    "count each for their lane's share of the permits: one group does not take them all",
    simulated(
      Effect.gen(function* () {
        const queue = yield* MemoryQueue.make({ ordered: true })
        const bodies = ["a", "b", "c", "d"].flatMap((key) => [1, 2, 3].map((i) => `${key}${i}`))
        yield* queue.send(bodies.map((body) => ({ body, group: "g" })))
        const { begins, ran } = track()
        const fiber = yield* Effect.fork(
          Consumer.stream(queue, { maxInFlight: 8 }).pipe(
            Pipeline.coalesce({ key: firstLetter, within: "1 second", fold: joined }),
            Pipeline.process((body) => Effect.zipRight(begins(body), Effect.sleep("1 hour")), { concurrency: 8 }),
            Stream.runDrain
          )
        )
        yield* Effect.sleep("1 minute")
        yield* queue.send(grouped("z1"))
        yield* Effect.sleep("5 minutes")
        assert.strictEqual(ran.length, 2, ran.join())
        assert.match(ran[1] ?? "", / z1$/)
        yield* Fiber.interrupt(fiber)
      })
    )
  )

  it(
    "are dead-lettered with the runs that they had as one",
    simulated(
      Effect.gen(function* () {
        const queue = yield* MemoryQueue.make()
        yield* queue.send(["a1", "a2"])
        const attempts: Array<number> = []
        const { deadLetter } = queue
        yield* Consumer.stream(
          {
            ...queue,
            deadLetter:
              deadLetter &&
              ((entries) => {
                attempts.push(...entries.map(({ attempt = 0 }) => attempt))
                return deadLetter(entries)
              })
          },
          { drainWhen: queue.idle }
        ).pipe(
          Pipeline.coalesce({ key: firstLetter, fold: joined }),
          Pipeline.process(() => Effect.fail("no"), {
            retry: RetryPolicy.inPlace(Schedule.recurs(2)).pipe(RetryPolicy.orElse(RetryPolicy.deadLetter))
          }),
          Stream.runDrain
        )
        assert.deepStrictEqual(attempts, [3, 3])
      })
    )
  )

  it(
    "fail where their fold answers with a promise",
    simulated(
      Effect.gen(function* () {
        const queue = yield* MemoryQueue.make()
        yield* queue.send(["a1", "a2"])
        const { begins, ran } = track()
        yield* Consumer.stream(queue, { drainWhen: queue.idle }).pipe(
          Pipeline.coalesce({ key: firstLetter, fold: (async () => Promise.reject(new Error("late"))) as never }),
          Pipeline.process(begins, { retry: RetryPolicy.deadLetter }),
          Stream.runDrain
        )
        assert.deepStrictEqual(ran, [])
        const [letter] = yield* queue.deadLetters
        assert.match(letter?.reason ?? "", /given as `fold` answered with a promise/)
      })
    )
  )

  it(
    "of two groups never come together, whatever their groups and keys are called",
    simulated(
      Effect.gen(function* () {
        const queue = yield* MemoryQueue.make({ ordered: true })
        yield* queue.send([
          { body: "a key b", group: "g" },
          { body: "b", group: "g key a" }
        ])
        const { begins, ran } = track()
        yield* Consumer.stream(queue, { drainWhen: queue.idle }).pipe(
          Pipeline.coalesce({ key: (body) => body, fold: joined }),
          Pipeline.process(begins),
          Stream.runDrain
        )
        assert.deepStrictEqual(ran.sort(), ["1 a key b", "1 b"])
      })
    )
  )
})

it(
  "comes together behind mapEffect on an ordered queue where that does not wait for acks, and batches do",
  simulated(
    Effect.gen(function* () {
      for (const ackAhead of [false, true]) {
        const queue = yield* MemoryQueue.make({ ordered: true })
        yield* queue.send(grouped("a1", "a2", "a3"))
        const source = Consumer.stream(queue, { drainWhen: queue.idle }).pipe(
          Pipeline.mapEffect((body) => Effect.succeed([body]), { ackAhead })
        )
        const stages = [
          Pipeline.coalesce<Array<string>>({ key: "group", fold: (before, next) => [...before, ...next] }),
          (self: typeof source) =>
            self.pipe(
              Pipeline.batch({ max: 5 }),
              Pipeline.map((batch) => batch.flat())
            )
        ]
        for (const stage of stages) {
          const seen = yield* source.pipe(
            stage,
            Pipeline.process((bodies) => Effect.succeed(bodies.join("+"))),
            Stream.runCollect
          )
          assert.deepStrictEqual([...seen], ackAhead ? ["a1+a2+a3"] : ["a1", "a2", "a3"])
          yield* queue.send(grouped("a1", "a2", "a3"))
        }
      }
    })
  )
)

it(
  "behind split, what waits has half of the permits at most",
  simulated(
    Effect.gen(function* () {
      const queue = yield* MemoryQueue.make()
      yield* queue.send(["1 2 3", "4 5 6", "7 8 9", "10 11 12", "13 14 15", "16 17 18"])
      const seen: Array<string> = []
      yield* Consumer.stream(queue, { maxInFlight: 4 }).pipe(
        Pipeline.split((body: string) => body.split(" ")),
        Pipeline.coalesce({ key: (part) => part, within: "1 hour" }),
        Pipeline.process((part) => Effect.sync(() => seen.push(part))),
        Stream.runDrain,
        Effect.fork
      )
      yield* Effect.sleep("10 seconds")
      // All but what one message's room holds has gone on before its time.
      assert.isAtLeast(seen.length, 12)
      assert.isAtLeast((yield* queue.stats).acked, 4)
    })
  )
)

describe("coalesce, over seeds", () => {
  for (const scenario of scenarios) {
    it(`bound, one settlement, no loss, order, drain: ${named(scenario)}`, async () => {
      await Simulation.checkInTurns(
        { seeds: seeds({ short: 5, long: 25 }), leaks: "fail" },
        troubled(scenario, ({ before, violations }) =>
          Effect.gen(function* () {
            const concurrency = yield* Random.nextIntBetween(1, 12)
            const within = yield* Random.nextIntBetween(0, 4000)
            const keys = yield* Random.nextIntBetween(1, 4)
            const settleLater = yield* Random.nextBoolean
            const inFront = yield* Random.nextBoolean
            const done = new Set<string>()
            const running = new Map<string, number>()
            const retry = RetryPolicy.redeliver(Schedule.spaced("2 seconds"))
            interface Item {
              readonly body: string
              readonly handle: string
            }
            const handler = (items: ReadonlyArray<Item>, delivery: Delivery.Delivery<ReadonlyArray<Item>>) =>
              Effect.gen(function* () {
                const group = delivery.message.body.charAt(0)
                running.set(group, (running.get(group) ?? 0) + 1)
                const bodies = items.map(({ body }) => body)
                if (scenario.ordered && !scenario.faults) {
                  const never = (holds: boolean, what: string) => holds && violations.push(`${bodies} ${what}`)
                  const [first = ""] = bodies
                  const places = bodies.map((body) => Number(body.slice(1)))
                  never(running.get(group) !== 1, "run beside another of their group")
                  never(before(first).length > 0, `run before ${before(first)}`)
                  never(
                    places.some((place, i) => place !== (places[0] ?? 0) + i),
                    "are no neighbours"
                  )
                }
                yield* Effect.sleep(Math.floor((yield* Random.next) ** 4 * 5000))
                const fate = yield* Random.nextIntBetween(0, 10)
                if (fate === 0) return yield* Effect.fail("a failure")
                if (fate === 1) return yield* Effect.dieMessage("a defect")
                for (const { handle } of items) done.add(handle)
              }).pipe(
                Effect.ensuring(
                  Effect.sync(() => {
                    const group = delivery.message.body.charAt(0)
                    running.set(group, (running.get(group) ?? 0) - 1)
                  })
                )
              )
            return {
              handled: (handle) => done.has(handle),
              run: (self) => {
                const itemOf = (body: string, { message }: Delivery.Delivery<string>): ReadonlyArray<Item> => [
                  { body, handle: message.lease.handle }
                ]
                const items = inFront
                  ? self.pipe(Pipeline.mapEffect((body, delivery) => Effect.succeed(itemOf(body, delivery))))
                  : self.pipe(Stream.map((delivery) => Delivery.map(delivery, itemOf)))
                const together = items.pipe(
                  Pipeline.coalesce({
                    key: ([item]) =>
                      item === undefined
                        ? undefined
                        : `${item.body.charAt(0)}${Math.floor(Number(item.body.slice(1)) / keys) % 2}`,
                    within,
                    fold: (before, next) => [...before, ...next]
                  })
                )
                return settleLater
                  ? together.pipe(Pipeline.mapEffect(handler, { concurrency }), Pipeline.settle({ retry }))
                  : together.pipe(Pipeline.process(handler, { concurrency, retry }))
              }
            }
          })
        )
      )
    }, 60_000)
  }
})
