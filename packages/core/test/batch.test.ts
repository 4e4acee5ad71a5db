/** `batch`: a delivery of many, for any stage; what becomes of it becomes of all of them. */
import { assert, describe, it } from "@effect/vitest"
import { Channel, Consumer, Delivery, Envelope, Message, Pipeline, RetryPolicy } from "@millrace/core"
import { MemoryQueue, Simulation } from "@millrace/core/testing"
import { Clock, Effect, Either, Exit, Random, Schedule, Schema, Stream } from "effect"
import { seeds } from "../../../test/long.js"
import { grouped, recorded, simulated } from "./support/index.js"
import { named, scenarios, troubled } from "./support/troubled.js"

const drained = (queue: MemoryQueue.MemoryQueue, maxInFlight = 50) =>
  Consumer.stream(queue, { drainWhen: queue.idle, maxInFlight })

/** What ran, as it began: when in seconds, and on what. */
const track = () => {
  const ran: Array<string> = []
  const begins = (bodies: ReadonlyArray<string>) =>
    Effect.map(Clock.currentTimeMillis, (now) => {
      ran.push(`${Math.floor(now / 1000)} ${bodies.join(" ")}`)
    })
  return { ran, begins }
}

const later = RetryPolicy.redeliver(Schedule.spaced("5 seconds"))

describe("a batch", () => {
  it(
    "is mapped, filtered, run and settled as one delivery; all of it is acked with it",
    simulated(
      Effect.gen(function* () {
        const memory = yield* MemoryQueue.make()
        const { calls, queue } = recorded(memory)
        yield* memory.send(["1", "2", "3", "4", "5", "6", "0", "0"])
        const seen: Array<string> = []
        const results = yield* Consumer.stream(queue, { drainWhen: memory.idle }).pipe(
          Pipeline.decodeJson(Schema.Number),
          Pipeline.batch({ max: 2, within: "1 second" }),
          Pipeline.tap((batch, { message }) => Effect.sync(() => seen.push(`${message.id}: ${batch}`)), {
            concurrency: 1
          }),
          Pipeline.map((batch) => batch.reduce((sum, n) => sum + n, 0)),
          Pipeline.filter((sum) => sum > 0),
          Pipeline.mapEffect((sum) => Effect.delay(Effect.succeed(sum), "1 second"), { concurrency: 3 }),
          Pipeline.process((sum) => Effect.succeed(sum)),
          Stream.runCollect
        )
        assert.deepStrictEqual([...results].sort(), [11, 3, 7])
        assert.deepStrictEqual(seen[0], "memory-1+memory-2: 1,2")
        assert.deepStrictEqual(calls.of("ack").flatMap(({ ids }) => ids).length, 8)
      })
    )
  )

  it(
    "that fails asks the policy for all of its messages, which come again",
    simulated(
      Effect.gen(function* () {
        const memory = yield* MemoryQueue.make()
        const { calls, queue } = recorded(memory)
        yield* memory.send(["a", "b", "c"])
        const { begins, ran } = track()
        yield* Consumer.stream(queue, { drainWhen: memory.idle }).pipe(
          Pipeline.batch({ max: 3 }),
          Pipeline.process(
            (batch, { attempt }) => Effect.zipRight(begins(batch), attempt < 3 ? Effect.fail("not yet") : Effect.void),
            { retry: later }
          ),
          Stream.runDrain
        )
        assert.deepStrictEqual(
          ran.map((line) => line.split(" ")[0]),
          ["0", "5", "10"]
        )
        assert.deepStrictEqual(
          calls
            .of("setLease")
            .filter(({ entries }) => entries.every(({ millis }) => millis === 5000))
            .map(({ entries }) => entries.length),
          [3, 3]
        )
        assert.strictEqual((yield* memory.stats).acked, 3)
      })
    )
  )

  it(
    "is without those that have failed, which are batches of their own",
    simulated(
      Effect.gen(function* () {
        const queue = yield* MemoryQueue.make()
        yield* queue.send(["1", "x", "2", "y", "3"])
        const failures: Array<string> = []
        const results = yield* drained(queue).pipe(
          Pipeline.decodeJson(Schema.Number),
          Pipeline.batch({ max: 5 }),
          Pipeline.process((batch) => Effect.succeed(batch), {
            retry: (failure, delivery) => {
              failures.push(`${delivery.message.body} ${failure._tag}`)
              return RetryPolicy.deadLetter
            }
          }),
          Stream.runCollect
        )
        assert.deepStrictEqual([...results], [[1, 2, 3]])
        assert.deepStrictEqual(failures.sort(), ["x DecodeError", "y DecodeError"])
      })
    )
  )

  it(
    "of an ordered queue ends in front of what follows a failed one in its group, and waits for those of its groups",
    simulated(
      Effect.gen(function* () {
        const queue = yield* MemoryQueue.make({ ordered: true })
        yield* queue.send(grouped("a1", "ax", "a2", "b1", "b2", "c1"))
        const { begins, ran } = track()
        const ended: Array<string> = []
        let tries = 0
        yield* drained(queue).pipe(
          Pipeline.map((body) => {
            if (body === "ax") throw new Error("no")
            return body
          }),
          Pipeline.batch({ max: 6, within: "1 second" }),
          Pipeline.process(
            (batch) =>
              Effect.zipRight(
                begins(batch),
                Effect.delay(
                  Effect.sync(() => ended.push(...batch)),
                  "1 second"
                )
              ),
            {
              concurrency: 5,
              retry: (_, { message }) => {
                ended.push(`${message.body} ${++tries}`)
                return RetryPolicy.deadLetter
              }
            }
          ),
          Stream.runDrain
        )
        assert.deepStrictEqual(ended, ["a1", "b1", "b2", "c1", "ax 1", "a2"])
        assert.deepStrictEqual(ran.length, 2)

        yield* queue.send(grouped("a1", "b1", "b2", "c1", "c2", "d1"))
        ran.length = 0
        yield* drained(queue).pipe(
          Pipeline.batch({ max: 2, within: "1 second" }),
          Pipeline.process((batch) => Effect.zipRight(begins(batch), Effect.sleep("10 seconds")), { concurrency: 5 }),
          Stream.runDrain
        )
        const times = new Map(ran.map((line) => [line.slice(line.indexOf(" ") + 1), Number.parseInt(line, 10)]))
        const first = times.get("a1 b1") ?? 0
        assert.deepStrictEqual(
          [...times],
          [
            ["a1 b1", first],
            // It waits for b1, and the one behind it for c1.
            ["b2 c1", first + 10],
            ["c2 d1", first + 20]
          ]
        )
      })
    )
  )

  it(
    "becomes a message of its own to route, and parts again to split",
    simulated(
      Effect.gen(function* () {
        const queue = yield* MemoryQueue.make()
        yield* queue.send(["a", "b", "c", "d"])
        const Import = Message.make("Import", { schema: Schema.Array(Schema.String) })
        const imports = Channel.make("imports", { messages: [Import], envelope: Envelope.fields({ data: "data" }) })
        const routed = yield* drained(queue).pipe(
          Pipeline.batch({ max: 2 }),
          Pipeline.map((data) => JSON.stringify({ type: "Import", data })),
          Pipeline.route(imports, { Import: (rows) => Effect.succeed(rows.join("")) }),
          Stream.runCollect
        )
        assert.deepStrictEqual([...routed].sort(), ["ab", "cd"])

        yield* queue.send(["a", "b", "c", "d"])
        const parts = yield* drained(queue).pipe(
          Pipeline.batch({ max: 2 }),
          Pipeline.mapEffect((batch) => Effect.succeed(batch.map((body) => body.toUpperCase()))),
          Pipeline.split((batch) => batch),
          Pipeline.process((part, { message }) => Effect.succeed(`${part} ${message.id}`)),
          Stream.runCollect
        )
        assert.deepStrictEqual([...parts].sort(), [
          "A memory-5+memory-6/0",
          "B memory-5+memory-6/1",
          "C memory-7+memory-8/0",
          "D memory-7+memory-8/1"
        ])
        assert.strictEqual((yield* queue.stats).acked, 8)
      })
    )
  )

  it(
    "is settled by hand as one, or its deliveries each; once it is over that is told",
    simulated(
      Effect.gen(function* () {
        const queue = yield* MemoryQueue.make()
        yield* queue.send(["a", "b", "c", "d", "e", "f"])
        let n = 0
        const last = yield* Consumer.stream(queue, { maxInFlight: 6 }).pipe(
          Pipeline.batch({ max: 2 }),
          Stream.take(3),
          Stream.tap((batch) =>
            Effect.gen(function* () {
              n++
              if (n === 1) yield* batch.ack
              if (n === 2) yield* Effect.forEach(batch.deliveries, ({ ack }) => ack)
              if (n === 2) assert.isTrue(Exit.isFailure(yield* Effect.exit(batch.ack)))
            })
          ),
          Stream.runLast
        )
        assert.strictEqual((yield* queue.stats).acked, 4)
        assert.strictEqual((yield* queue.stats).inFlight, 0)
        const late = yield* Effect.exit(Effect.flatMap(last, ({ ack }) => ack))
        assert.match(String(late), /already released/)
      })
    )
  )

  it(
    "has one lease for all: one of them that is lost interrupts the handler, and the others are released",
    simulated(
      Effect.gen(function* () {
        const memory = yield* MemoryQueue.make({ leaseDuration: "10 seconds" })
        yield* memory.send(["a", "b"])
        // The queue will not keep the first one.
        const over = Either.left({ reason: "LeaseLost" as const, message: "it is over" })
        const queue: typeof memory = {
          ...memory,
          setLease: (entries) =>
            Effect.map(memory.setLease(entries), (results) =>
              results.map((result, i) => (entries[i]?.lease.messageId === "memory-1" ? over : result))
            )
        }
        const lines: Array<string> = []
        yield* Consumer.stream(queue, { maxInFlight: 2 }).pipe(
          Pipeline.batch({ max: 2, within: "1 second" }),
          Pipeline.process((batch) =>
            batch.length === 1
              ? Effect.sync(() => lines.push(`${batch}`))
              : Effect.onInterrupt(Effect.sleep("1 hour"), () => Effect.sync(() => lines.push("interrupted")))
          ),
          Stream.take(1),
          Stream.runDrain
        )
        assert.deepStrictEqual(lines, ["interrupted", "b"])
      })
    )
  )

  it(
    "of many has a short id, which is no other's",
    simulated(
      Effect.gen(function* () {
        const queue = yield* MemoryQueue.make()
        yield* queue.send(Array.from({ length: 400 }, (_, i) => String(i)))
        const ids = yield* drained(queue, 500).pipe(
          Pipeline.batch({ max: 200 }),
          Pipeline.process((_, { message }) => Effect.succeed(message.id)),
          Stream.runCollect
        )
        const [first = "", second] = [...ids].sort()
        assert.match(first, /^memory-1\+199 more:[\w-]{43}$/)
        assert.notStrictEqual(first, second)
      })
    )
  )
})

describe("batch, over seeds", () => {
  for (const scenario of scenarios) {
    it(`bound, one settlement, no loss, order, drain: ${named(scenario)}`, async () => {
      await Simulation.checkInTurns(
        { seeds: seeds({ short: 5, long: 25 }), leaks: "fail" },
        troubled(scenario, ({ before, gone, violations }) =>
          Effect.gen(function* () {
            const concurrency = yield* Random.nextIntBetween(1, 6)
            const max = yield* Random.nextIntBetween(1, 8)
            const shape = yield* Random.nextIntBetween(0, 3)
            const done = new Set<string>()
            const running = new Map<string, number>()
            const handler = (batch: ReadonlyArray<{ readonly body: string; readonly handle: string }>) => {
              const groups = new Set(batch.map(({ body }) => body.charAt(0)))
              const count = (by: number) => {
                for (const group of groups) running.set(group, (running.get(group) ?? 0) + by)
              }
              return Effect.gen(function* () {
                count(1)
                const never = (holds: boolean, what: string) =>
                  holds && violations.push(`${batch.map(({ body }) => body)} ${what}`)
                if (scenario.ordered && !scenario.faults) {
                  never(
                    [...groups].some((group) => running.get(group) !== 1),
                    "runs beside another of its group"
                  )
                  const within = batch.map(({ body }) => body)
                  for (const [i, body] of within.entries()) {
                    const early = before(body).filter((one) => !within.slice(0, i).includes(one))
                    never(early.length > 0, `runs before ${early}`)
                  }
                }
                never(batch.some(({ body }) => gone.has(body)) && !scenario.faults, "runs and is deleted")
                yield* Effect.sleep(Math.floor((yield* Random.next) ** 4 * 5000))
                const fate = yield* Random.nextIntBetween(0, 16)
                if (fate === 0) return yield* Effect.fail("a failure")
                if (fate === 1) return yield* Effect.dieMessage("a defect")
                for (const { handle } of batch) done.add(handle)
                return batch
              }).pipe(Effect.ensuring(Effect.sync(() => count(-1))))
            }
            const again = RetryPolicy.redeliver(Schedule.spaced("2 seconds"))
            const retry = (failure: string | Error) =>
              typeof failure !== "string" && failure.message === "it does not decode" ? RetryPolicy.deadLetter : again
            return {
              handled: (handle) => done.has(handle),
              run: (self) => {
                const batches = self.pipe(
                  Stream.map((delivery) =>
                    Delivery.map(delivery, (body) => {
                      if (Number(body.slice(1)) % 7 === 3) throw new Error("it does not decode")
                      return { body, handle: delivery.message.lease.handle }
                    })
                  ),
                  Pipeline.batch({ max, within: "500 millis" })
                )
                return shape === 0
                  ? batches.pipe(Pipeline.process(handler, { concurrency, retry }))
                  : shape === 1
                    ? batches.pipe(Pipeline.mapEffect(handler, { concurrency }), Pipeline.settle({ retry }))
                    : batches.pipe(
                        Pipeline.processBatches((many) => Effect.asVoid(handler(many.flat())), {
                          max: 2,
                          within: "500 millis",
                          concurrency,
                          retry
                        })
                      )
              }
            }
          })
        )
      )
    }, 60_000)
  }
})
