/** `split`: a message whose parts run as messages do, and that is settled once, by what becomes of all of them. */
import { assert, describe, it } from "@effect/vitest"
import { Consumer, type Delivery, InvalidOptions, Pipeline, RetryPolicy } from "@millrace/core"
import { MemoryQueue, Simulation } from "@millrace/core/testing"
import { Clock, Effect, Either, Exit, Fiber, Random, Schedule, Schema, Stream } from "effect"
import { seeds } from "../../../test/long.js"
import { grouped, type Line, logged, recorded, simulated } from "./support/index.js"
import { named, scenarios, troubled } from "./support/troubled.js"

const letters = Pipeline.split((body: string) => body.split(" ").filter((part) => part !== ""))

/** What ran, as it began: when in seconds, and the part. */
const track = () => {
  const ran: Array<string> = []
  const begins = (part: string) =>
    Effect.map(Clock.currentTimeMillis, (now) => {
      ran.push(`${Math.round(now / 1000)} ${part}`)
    })
  return { ran, begins }
}

const fromTime = (seconds: number) => RetryPolicy.redeliver(Schedule.spaced(`${seconds} seconds`))

describe("a message that is split", () => {
  it(
    "has its parts run at once, within its own permit, and is acked when all are done",
    simulated(
      Effect.gen(function* () {
        const memory = yield* MemoryQueue.make()
        const { calls, queue } = recorded(memory)
        yield* memory.send(["1 2 3 4"])
        const { begins, ran } = track()
        const ids: Array<string> = []
        const results = yield* Effect.fork(
          Consumer.stream(queue, { maxInFlight: 1, drainWhen: memory.idle }).pipe(
            letters,
            Pipeline.decodeJson(Schema.Number),
            Pipeline.process(
              (part, { message }) => {
                ids.push(message.id)
                return Effect.as(Effect.delay(begins(String(part)), `${part} seconds`), part)
              },
              { concurrency: 3 }
            ),
            Stream.runCollect
          )
        )
        yield* Effect.sleep("4900 millis")
        assert.deepStrictEqual(calls.of("ack"), [])
        assert.deepStrictEqual([...(yield* Fiber.join(results))], [1, 2, 3, 4])
        assert.deepStrictEqual(ran, ["1 1", "2 2", "3 3", "5 4"])
        assert.deepStrictEqual(ids, ["memory-1/0", "memory-1/1", "memory-1/2", "memory-1/3"])
        assert.deepStrictEqual(
          calls.of("ack").map(({ ids }) => ids),
          [["memory-1"]]
        )
      })
    )
  )

  it(
    "is acked at once where it has no parts, and flows on as it is where it has failed",
    simulated(
      Effect.gen(function* () {
        const queue = yield* MemoryQueue.make()
        yield* queue.send(["[]", "no list", "[1]", '"text"'])
        const ran: Array<unknown> = []
        yield* Consumer.stream(queue, { drainWhen: queue.idle }).pipe(
          Pipeline.decodeJson(Schema.Unknown),
          Pipeline.split((body) => body as ReadonlyArray<number>),
          Pipeline.process((part) => Effect.sync(() => ran.push(part)), { retry: RetryPolicy.deadLetter }),
          Stream.runDrain
        )
        assert.deepStrictEqual(ran, [1])
        const dead = yield* queue.deadLetters
        assert.deepStrictEqual(
          dead.map(({ message }) => message.body),
          ["no list", '"text"']
        )
        assert.match(dead[1]?.reason ?? "", /Pipeline\.split answered with a string and no list/)
        assert.strictEqual((yield* queue.stats).acked, 2)
      })
    )
  )

  it(
    "does as the policy says for a part that fails: what runs ends first, and what has not begun does not run",
    simulated(
      Effect.gen(function* () {
        const memory = yield* MemoryQueue.make()
        const { calls, queue } = recorded(memory)
        yield* memory.send(["fails slow never never"])
        const { begins, ran } = track()
        const ended: Array<string> = []
        let first = true
        yield* Consumer.stream(queue, { drainWhen: memory.idle }).pipe(
          letters,
          Pipeline.process(
            (part) =>
              Effect.gen(function* () {
                yield* begins(part)
                if (part === "fails" && first) {
                  first = false
                  yield* Effect.sleep("1 second")
                  return yield* Effect.fail("not now")
                }
                yield* Effect.sleep("20 seconds")
                ended.push(part)
              }),
            { concurrency: 2, retry: fromTime(7) }
          ),
          Stream.runDrain
        )
        assert.deepStrictEqual(ran.slice(0, 2), ["0 fails", "0 slow"])
        assert.deepStrictEqual(ended[0], "slow")
        // Given back after the slow one, and for the delay that the policy has asked for.
        const back = calls.of("setLease").find(({ entries }) => entries[0]?.millis === 7000)
        assert.strictEqual(back?.at, 20_000)
        assert.deepStrictEqual(ran.slice(2), ["27 fails", "27 slow", "47 never", "47 never"])
        assert.strictEqual((yield* memory.stats).acked, 1)
      })
    )
  )

  it(
    "runs a part again in its slot, alone, where the policy says so",
    simulated(
      Effect.gen(function* () {
        const queue = yield* MemoryQueue.make()
        yield* queue.send(["a b"])
        const attempts: Array<string> = []
        yield* Consumer.stream(queue, { drainWhen: queue.idle }).pipe(
          letters,
          Pipeline.process(
            (part, { attempt }) => {
              attempts.push(`${part}${attempt}`)
              return part === "a" && attempt < 3 ? Effect.fail("not yet") : Effect.void
            },
            { retry: RetryPolicy.inPlace(Schedule.spaced("1 second")) }
          ),
          Stream.runDrain
        )
        assert.deepStrictEqual(attempts, ["a1", "b1", "a2", "a3"])
        assert.strictEqual((yield* queue.stats).redelivered, 0)
      })
    )
  )

  it(
    "on an ordered queue has its parts run one by one, and the next of its group waits for all; a part is held for its retry",
    simulated(
      Effect.gen(function* () {
        const memory = yield* MemoryQueue.make({ ordered: true })
        const { calls, queue } = recorded(memory)
        yield* memory.send(grouped("a1 a2 a3", "a4", "b1 b2"))
        const { begins, ran } = track()
        let first = true
        yield* Consumer.stream(queue, { drainWhen: memory.idle }).pipe(
          letters,
          Pipeline.process(
            (part) =>
              Effect.gen(function* () {
                yield* begins(part)
                yield* Effect.sleep("1 second")
                if (part !== "a2" || !first) return
                first = false
                return yield* Effect.fail("not now")
              }),
            { retry: fromTime(5) }
          ),
          Stream.runDrain
        )
        const of = (group: string) => ran.filter((run) => run.includes(group))
        assert.deepStrictEqual(of("a"), ["0 a1", "1 a2", "7 a2", "8 a3", "9 a4"])
        assert.deepStrictEqual(of("b"), ["0 b1", "1 b2"])
        assert.deepStrictEqual(calls.of("setLease"), [])
        assert.strictEqual((yield* memory.stats).redelivered, 0)
      })
    )
  )

  it(
    "on an ordered queue takes its group along where it goes back, and nothing of it runs meanwhile",
    simulated(
      Effect.gen(function* () {
        const memory = yield* MemoryQueue.make({ ordered: true })
        yield* memory.send(grouped("a1 a2 a3", "a4 a5"))
        const { begins, ran } = track()
        let first = true
        yield* Consumer.stream(memory, { drainWhen: memory.idle }).pipe(
          letters,
          Pipeline.process(
            (part) =>
              Effect.gen(function* () {
                yield* begins(part)
                if (part !== "a2" || !first) return
                first = false
                return yield* Effect.fail("not now")
              }),
            { retry: fromTime(60), holdLimit: "10 seconds" }
          ),
          Stream.runDrain
        )
        assert.deepStrictEqual(ran, ["0 a1", "0 a2", "60 a1", "60 a2", "60 a3", "60 a4", "60 a5"])
      })
    )
  )

  it(
    "of one group may have more parts than there are permits",
    simulated(
      Effect.gen(function* () {
        const memory = yield* MemoryQueue.make({ ordered: true })
        const { calls, queue } = recorded(memory)
        const parts = Array.from({ length: 200 }, (_, i) => i)
        yield* memory.send(grouped(`a${parts.join(" ")}`, `a${parts.join(" ")}`))
        let ran = 0
        yield* Consumer.stream(queue, { maxInFlight: 4, drainWhen: memory.idle }).pipe(
          letters,
          Pipeline.process(() => Effect.sync(() => ran++)),
          Stream.runDrain
        )
        assert.strictEqual(ran, 400)
        assert.deepStrictEqual(calls.of("setLease"), [])
      })
    )
  )

  it(
    "is worked on to its end in a drain where a part has begun, and goes back where none has",
    simulated(
      Effect.gen(function* () {
        const queue = yield* MemoryQueue.make()
        yield* queue.send(["1 2 3", "4 5 6"])
        const { begins, ran } = track()
        const consumer = yield* Consumer.make(queue)
        const fiber = yield* Effect.fork(
          consumer.stream.pipe(
            letters,
            Pipeline.process((part) => Effect.zipRight(begins(part), Effect.sleep("2 seconds")), { concurrency: 1 }),
            Stream.runDrain
          )
        )
        yield* Effect.sleep("1 second")
        const report = yield* consumer.drain({ deadline: "1 minute" })
        yield* Fiber.join(fiber)
        assert.deepStrictEqual(ran, ["0 1", "2 2", "4 3"])
        assert.deepInclude(report, { finished: 1, released: 1, lost: 0 })
      })
    )
  )

  it(
    "is interrupted at the drain's deadline and goes back, once its handlers have ended",
    simulated(
      Effect.gen(function* () {
        const queue = yield* MemoryQueue.make()
        yield* queue.send(["1 2 3"])
        const { begins, ran } = track()
        const consumer = yield* Consumer.make(queue)
        const fiber = yield* Effect.fork(
          consumer.stream.pipe(
            letters,
            Pipeline.process((part) => Effect.zipRight(begins(part), Effect.never), { concurrency: 2 }),
            Stream.runDrain
          )
        )
        yield* Effect.sleep("1 second")
        const report = yield* consumer.drain({ deadline: "5 seconds" })
        yield* Fiber.join(fiber)
        assert.deepStrictEqual(ran, ["0 1", "0 2"])
        assert.deepInclude(report, { finished: 0, released: 1, lost: 0 })
        assert.strictEqual((yield* queue.stats).visible, 1)
      })
    )
  )

  it(
    "keeps its lease for as long as a part runs, and interrupts all where it is lost",
    simulated(
      Effect.gen(function* () {
        const memory = yield* MemoryQueue.make({ leaseDuration: "30 seconds" })
        yield* memory.send(["1 2 3"])
        let lose = false
        const interrupted: Array<string> = []
        const { begins, ran } = track()
        const queue = {
          ...memory,
          setLease: (entries: Parameters<typeof memory.setLease>[0]) => (lose ? Effect.never : memory.setLease(entries))
        }
        const fiber = yield* Effect.fork(
          Consumer.stream(queue).pipe(
            letters,
            Pipeline.process(
              (part) =>
                Effect.zipRight(begins(part), Effect.sleep("10 minutes")).pipe(
                  Effect.onInterrupt(() => Effect.sync(() => interrupted.push(part)))
                ),
              { concurrency: 2 }
            ),
            Stream.runDrain
          )
        )
        yield* Effect.sleep("2 minutes")
        assert.strictEqual((yield* memory.stats).redelivered, 0)
        lose = true
        yield* Effect.sleep("29 seconds")
        assert.deepStrictEqual(interrupted.sort(), ["1", "2"])
        assert.notInclude(ran.join(), " 3")
        yield* Fiber.interrupt(fiber)
      })
    )
  )

  it(
    "goes back where the stream is closed before its parts are taken",
    simulated(
      Effect.gen(function* () {
        const queue = yield* MemoryQueue.make()
        yield* queue.send(["1 2 3"])
        const taken: Array<string> = []
        yield* Consumer.stream(queue).pipe(
          letters,
          Stream.take(1),
          Stream.runForEach(({ message }) => Effect.sync(() => taken.push(message.id)))
        )
        assert.deepStrictEqual(taken, ["memory-1/0"])
        assert.strictEqual((yield* queue.stats).visible, 1)
      })
    )
  )

  it(
    "is warned about, and goes back in the end, where an operator drops one of its parts",
    simulated(
      Effect.gen(function* () {
        const lines: Array<Line> = []
        const queue = yield* MemoryQueue.make()
        yield* queue.send(["1 2 3"])
        yield* Consumer.stream(queue, { warnAfter: "10 seconds" }).pipe(
          letters,
          Stream.filter(({ message }) => message.id.endsWith("/0")),
          Pipeline.process(() => Effect.void),
          Stream.runDrain,
          Effect.timeoutOption("1 minute"),
          Effect.provide(logged(lines))
        )
        assert.match(lines.map(({ text }) => text).join(), /never claimed or settled \(memory-1\)/)
        assert.strictEqual((yield* queue.stats).visible, 1)
      })
    )
  )
})

describe("parts of a message, by hand and in other stages", () => {
  it(
    "are settled by hand: the last ack is the message's, and one that is given back speaks for all",
    simulated(
      Effect.gen(function* () {
        const queue = yield* MemoryQueue.make()
        yield* queue.send(["1 2 3"])
        const outcomes: Array<string> = []
        let round = 0
        yield* Consumer.stream(queue, { drainWhen: queue.idle }).pipe(
          letters,
          Stream.runForEach((part) => {
            const ends = part.message.id.endsWith("/1") && round++ === 0 ? part.retry("3 seconds") : part.ack
            return Effect.map(Effect.exit(ends), (exit) => outcomes.push(Exit.isSuccess(exit) ? "well" : "settled"))
          })
        )
        assert.deepStrictEqual(outcomes, ["well", "well", "settled", "well", "well", "well"])
        assert.strictEqual((yield* queue.stats).acked, 1)
      })
    )
  )

  it(
    "go through batches, filters and a second split, by turns of their tenants",
    simulated(
      Effect.gen(function* () {
        const queue = yield* MemoryQueue.make()
        yield* queue.send(["1,2 3,4,5", "6"])
        const batches: Array<string> = []
        yield* Consumer.stream(queue, { maxInFlight: 2, drainWhen: queue.idle }).pipe(
          letters,
          Pipeline.split((body) => body.split(",")),
          Pipeline.filter((part) => part !== "3"),
          Pipeline.mapEffect((part) => Effect.succeed(Number(part)), { share: { key: (part) => part } }),
          Pipeline.processBatches((parts) => Effect.sync(() => void batches.push(parts.join(" "))), {
            max: 3,
            within: "1 second"
          }),
          Stream.runDrain
        )
        assert.deepStrictEqual(batches.join(" ").split(" ").sort(), ["1", "2", "4", "5", "6"])
        const { acked, redelivered } = yield* queue.stats
        assert.deepStrictEqual({ acked, redelivered }, { acked: 2, redelivered: 0 })
      })
    )
  )
})

it(
  "parts of one message that run again in a batch do not wait for each other",
  simulated(
    Effect.gen(function* () {
      const queue = yield* MemoryQueue.make()
      yield* queue.send(["k1 k2 x"])
      const ran: Array<string> = []
      yield* Consumer.stream(queue, { drainWhen: queue.idle }).pipe(
        letters,
        Pipeline.processBatches(
          (parts) => {
            const fails = (part: string) => !ran.includes(part) && part !== "k1"
            const results = parts.map((part) => (fails(part) ? Either.left(part) : Either.right(part)))
            ran.push(...parts)
            return Effect.as(Effect.sleep(parts.includes("x") ? "1 second" : "5 seconds"), results)
          },
          {
            max: 2,
            concurrency: 2,
            sequence: (part) => part.charAt(0),
            holdLimit: 0,
            retry: (failure) =>
              failure === "x"
                ? RetryPolicy.redeliver(Schedule.spaced("1 second"))
                : RetryPolicy.inPlace(Schedule.spaced("1 second"))
          }
        ),
        Stream.runDrain,
        Effect.timeoutFail({ duration: "1 hour", onTimeout: () => `it does not go on: ${ran}` })
      )
      assert.strictEqual((yield* queue.stats).acked, 1)
    })
  )
)

describe("what is asked for behind split", () => {
  it(
    "goes by how many parts messages have, also where one that has failed comes first",
    simulated(
      Effect.gen(function* () {
        const queue = yield* MemoryQueue.make({ latency: "10 millis" })
        yield* queue.send(Array.from({ length: 1000 }, (_, i) => (i % 7 === 6 ? "no list" : "1 2 3 4 5 6 7 8 9 10")))
        yield* Consumer.stream(queue, { maxInFlight: 300 }).pipe(
          Pipeline.map((body) => {
            if (body === "no list") throw new Error(body)
            return body
          }),
          letters,
          Pipeline.process(() => Effect.sleep("10 seconds"), { concurrency: 100, retry: RetryPolicy.deadLetter }),
          Stream.runDrain,
          Effect.fork
        )
        // The first receive does not know yet how many parts there are.
        yield* Effect.sleep("2 minutes")
        let most = 0
        for (let i = 0; i < 30; i++) {
          most = Math.max(most, (yield* queue.stats).inFlight)
          yield* Effect.sleep("10 seconds")
        }
        // A hundred parts run, of ten a message.
        assert.isAtMost(most, 26)
      })
    )
  )

  it(
    "of merged streams that end early goes back, what waits between them and what has begun",
    simulated(
      (seed) =>
        Effect.gen(function* () {
          const queues = [yield* MemoryQueue.make(), yield* MemoryQueue.make({ ordered: true })]
          for (const queue of queues) yield* queue.send(grouped("a 1 2 3", "b 1 2 3", "c 1 2 3", "d 1 2 3"))
          const merged = Pipeline.merge(queues.map((queue) => Consumer.stream(queue, { maxInFlight: 3 }).pipe(letters)))
          const program = merged.pipe(
            Pipeline.process((part) => Effect.sleep(part === "1" ? "1 second" : "3 seconds"), {
              concurrency: 1 + (seed % 3)
            }),
            seed % 2 === 0 ? Stream.take(2) : Stream.interruptAfter(`${500 + seed * 400} millis`)
          )
          yield* Stream.runDrain(program)
          for (const queue of queues) assert.strictEqual((yield* queue.stats).inFlight, 0)
        }),
      { seeds: 10 }
    )
  )
})

describe("options of split", () => {
  it("refuses what is no function", () => {
    const exit = Effect.runSyncExit(Stream.runDrain(Pipeline.split("," as never)(Stream.empty)))
    assert.isTrue(
      Exit.isFailure(exit) && exit.cause._tag === "Fail" && exit.cause.error instanceof InvalidOptions.InvalidOptions
    )
  })
})

describe("split, over seeds", () => {
  for (const scenario of scenarios) {
    it(`bound, one settlement, no loss, order, drain: ${named(scenario)}`, async () => {
      await Simulation.checkInTurns(
        { seeds: seeds({ short: 5, long: 25 }), leaks: "fail" },
        troubled(scenario, ({ before, gone, violations }) =>
          Effect.gen(function* () {
            const concurrency = yield* Random.nextIntBetween(1, 12)
            const settleLater = yield* Random.nextBoolean
            /** Parts that have succeeded, by lease, and those that run, by group. */
            const done = new Map<string, Set<string>>()
            const running = new Map<string, number>()
            const parts = (body: string) =>
              Array.from({ length: (Number(body.slice(1)) * 7) % 5 }, (_, i) => `${body} ${i}`)
            let handlers = 0
            const handler = (part: string, { message }: Delivery.Delivery<string>) =>
              Effect.gen(function* () {
                const [body = ""] = part.split(" ")
                const group = body.charAt(0)
                handlers++
                running.set(group, (running.get(group) ?? 0) + 1)
                const never = (holds: boolean, what: string) => holds && violations.push(`${part} ${what}`)
                never(handlers > concurrency, `is one of ${handlers} at once, of ${concurrency}`)
                if (scenario.ordered && !scenario.faults) {
                  never(running.get(group) !== 1, "runs beside another of its group")
                  // Without parts a message may be acked before those in front of it.
                  const early = before(body).filter((one) => parts(one).length > 0)
                  never(early.length > 0, `runs before ${early}`)
                }
                never(gone.has(body) && !scenario.faults, "runs and is deleted")
                yield* Effect.sleep(Math.floor((yield* Random.next) ** 4 * 5000))
                const fate = yield* Random.nextIntBetween(0, 16)
                if (fate === 0) return yield* Effect.fail("a failure")
                if (fate === 1) return yield* Effect.dieMessage("a defect")
                const { handle } = message.lease
                const own = done.get(handle) ?? new Set<string>()
                if (scenario.ordered) never(!part.endsWith(` ${own.size}`) && !own.has(part), `after ${[...own]}`)
                done.set(handle, own.add(part))
              }).pipe(
                Effect.ensuring(
                  Effect.sync(() => {
                    const group = part.charAt(0)
                    handlers--
                    running.set(group, (running.get(group) ?? 0) - 1)
                  })
                )
              )
            const bodies = new Map<string, string>()
            const retry = RetryPolicy.redeliver(Schedule.spaced("2 seconds"))
            return {
              handled: (handle) => parts(bodies.get(handle) ?? "").every((part) => done.get(handle)?.has(part)),
              run: (self) => {
                const split = self.pipe(
                  Pipeline.split((body, { message }) => {
                    bodies.set(message.lease.handle, body)
                    return parts(body)
                  })
                )
                return settleLater
                  ? split.pipe(Pipeline.mapEffect(handler, { concurrency }), Pipeline.settle({ retry }))
                  : split.pipe(Pipeline.process(handler, { concurrency, retry }))
              }
            }
          })
        )
      )
    }, 60_000)
  }
})
