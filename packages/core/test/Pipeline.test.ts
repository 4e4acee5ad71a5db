/** The stages of a pipeline, each by what its user relies on. */
import { assert, describe, it } from "@effect/vitest"
import { Consumer, Delivery, Pipeline, RetryPolicy } from "@millrace/core"
import { MemoryQueue } from "@millrace/core/testing"
import { Chunk, Clock, Context, Effect, Either, Fiber, ParseResult, Schedule, Schema, Stream, TestClock } from "effect"
import { grouped, type Line, logged, numbered, simulated } from "./support/index.js"

const Order = Schema.Struct({ order_id: Schema.Number })
const orders = (n: number, from = 0) => Array.from({ length: n }, (_, i) => JSON.stringify({ order_id: from + i }))

/** Works off what the queue has, and gives back what the stream gave. */
const workedOff = <A, E>(memory: MemoryQueue.MemoryQueue, stream: Stream.Stream<A, E>) =>
  Effect.gen(function* () {
    const results: Array<A> = []
    const fiber = yield* stream.pipe(
      Stream.runForEach((result) => Effect.sync(() => results.push(result))),
      Effect.fork
    )
    yield* memory.idle
    // The last results are read a turn later.
    yield* Effect.sleep("1 second")
    yield* Fiber.interrupt(fiber)
    return results
  })

/** What each failed delivery failed with, when the policy is asked. */
const failures =
  <F>(into: Array<F>) =>
  (failure: F) => {
    into.push(failure)
    return RetryPolicy.discard
  }

describe("process", () => {
  it.effect("handles and acks every message, without time having to pass", () =>
    Effect.gen(function* () {
      const queue = yield* MemoryQueue.make()
      yield* queue.send(orders(25))
      const program = Consumer.stream(queue).pipe(
        Pipeline.decodeJson(Order),
        Pipeline.process((order) => Effect.succeed(order.order_id), { concurrency: 5 }),
        Stream.take(25),
        Stream.runCollect
      )
      const results = yield* program
      assert.deepStrictEqual(
        [...results].sort((a, b) => a - b),
        Array.from({ length: 25 }, (_, i) => i)
      )
      const stats = yield* queue.stats
      assert.strictEqual(stats.acked, 25)
      assert.strictEqual(stats.inFlight, 0)
    })
  )

  it.effect("take(3) upstream ends the source while handlers still run, and they are acked", () =>
    Effect.gen(function* () {
      const queue = yield* MemoryQueue.make()
      yield* queue.send(orders(20))
      const fiber = yield* Consumer.stream(queue).pipe(
        Stream.take(3),
        Pipeline.process((body) => Effect.as(Effect.sleep("10 seconds"), body)),
        Stream.runCollect,
        Effect.fork
      )
      yield* TestClock.adjust("10 seconds")
      assert.strictEqual(Chunk.size(yield* Fiber.join(fiber)), 3)
      const stats = yield* queue.stats
      assert.strictEqual(stats.acked, 3)
      assert.strictEqual(stats.inFlight, 0)
      assert.strictEqual(stats.visible, 17)
    })
  )
})

describe("decode", () => {
  const Line = Schema.Struct({
    order_id: Schema.Number,
    lines: Schema.Array(Schema.Struct({ sku: Schema.String, quantity: Schema.Int.pipe(Schema.positive()) })),
    card: Schema.String.pipe(Schema.pattern(/^\d{16}$/)),
    via: Schema.Literal("web", "shop"),
    when: Schema.Date
  })
  const good = {
    order_id: 1,
    lines: [{ sku: "a", quantity: 1 }],
    card: "1234567812345678",
    via: "web",
    when: "2030-01-01T00:00:00.000Z"
  }
  // Each with a value that must not be seen in a log.
  const bad: ReadonlyArray<readonly [unknown, string]> = [
    [{ ...good, order_id: "SECRET" }, "order_id: expected number"],
    [
      {
        ...good,
        lines: [
          { sku: "a", quantity: 1 },
          { sku: "SECRET", quantity: -77 }
        ]
      },
      "lines[1].quantity: expected"
    ],
    [{ ...good, lines: [{ sku: "SECRET" }] }, "lines[0].quantity: is missing"],
    [{ ...good, card: "SECRET" }, "card: expected"],
    [{ ...good, via: "SECRET" }, "via: expected"],
    [{ ...good, when: "SECRET" }, "when: expected"],
    ["SECRET", "the body: expected"]
  ]

  it(
    "names the message and the paths that are wrong, and never a value",
    simulated(
      Effect.gen(function* () {
        const memory = yield* MemoryQueue.make()
        yield* memory.send(bad.map(([body]) => JSON.stringify(body)))
        const seen: Array<unknown> = []
        yield* workedOff(
          memory,
          Consumer.stream(memory).pipe(
            Pipeline.decodeJson(Line),
            Pipeline.process(() => Effect.void, { concurrency: 1, retry: failures(seen) })
          )
        )
        assert.strictEqual(seen.length, bad.length)
        bad.forEach(([, expected], i) => {
          const error = seen[i]
          if (!(error instanceof Delivery.DecodeError)) throw error
          assert.strictEqual(error.messageId, `memory-${i + 1}`)
          assert.include(error.message, `memory-${i + 1} does not decode: ${expected}`)
          for (const value of ["SECRET", "-77", "1234"]) assert.notInclude(String(error), value)
        })
      })
    )
  )

  it(
    "one byte order mark before JSON is skipped, a second is not",
    simulated(
      Effect.gen(function* () {
        const memory = yield* MemoryQueue.make()
        yield* memory.send([
          `\uFEFF${JSON.stringify({ order_id: 1 })}`,
          `\uFEFF\uFEFF${JSON.stringify({ order_id: 2 })}`
        ])
        const seen: Array<number> = []
        yield* Consumer.stream(memory).pipe(
          Pipeline.decodeJson(Order),
          Pipeline.process(({ order_id }) => Effect.sync(() => seen.push(order_id)), { retry: RetryPolicy.deadLetter }),
          Stream.runDrain,
          Effect.fork
        )
        yield* memory.idle
        assert.deepStrictEqual(seen, [1])
        assert.lengthOf(yield* memory.deadLetters, 1)
      })
    )
  )

  it(
    "says so of a body that is not JSON; the raw body is at hand; an error of many parts is cut short",
    simulated(
      Effect.gen(function* () {
        const Many = Schema.Struct(Object.fromEntries(numbered(9).map((n) => [`f${n}`, Schema.Number])))
        const memory = yield* MemoryQueue.make()
        yield* memory.send(["{not json", "{}"])
        const seen: Array<string> = []
        yield* workedOff(
          memory,
          Consumer.stream(memory).pipe(
            Pipeline.decodeJson(Many),
            Pipeline.process(() => Effect.void, {
              concurrency: 1,
              retry: (failure, delivery) => {
                seen.push(`${delivery.message.body} | ${failure.message}`)
                return RetryPolicy.discard
              }
            })
          )
        )
        assert.strictEqual(seen[0], "{not json | the body of message memory-1 does not decode: it is not JSON")
        assert.match(seen[1] ?? "", /^\{\} \| .* f0: is missing; .*; and 4 more$/)
      })
    )
  )

  it(
    "settles nothing itself: what does not decode is the policy's, by default dead-lettered with the reason",
    simulated(
      Effect.gen(function* () {
        const memory = yield* MemoryQueue.make()
        yield* memory.send(["poison", JSON.stringify({ order_id: 7 })])
        const handled: Array<number> = []
        yield* workedOff(
          memory,
          Consumer.stream(memory).pipe(
            Pipeline.decodeJson(Order),
            Pipeline.process(({ order_id }) => Effect.sync(() => handled.push(order_id)))
          )
        )
        assert.deepStrictEqual(handled, [7])
        const [letter, ...more] = yield* memory.deadLetters
        assert.deepStrictEqual(more, [])
        assert.strictEqual(letter?.message.body, "poison")
        assert.strictEqual(letter?.reason, "DecodeError: the body of message memory-1 does not decode: it is not JSON")
      })
    )
  )

  it(
    "by a Schema with effects and requirements; a failure of an earlier stage passes through",
    simulated(
      Effect.gen(function* () {
        class Catalogue extends Context.Tag("Catalogue")<Catalogue, { readonly has: (sku: string) => boolean }>() {}
        const Sku = Schema.transformOrFail(Schema.String, Schema.String, {
          strict: true,
          decode: (sku, _, ast) =>
            Effect.flatMap(Effect.delay(Catalogue, "10 millis"), ({ has }) =>
              has(sku) ? ParseResult.succeed(sku) : ParseResult.fail(new ParseResult.Type(ast, sku))
            ),
          encode: ParseResult.succeed
        })
        const memory = yield* MemoryQueue.make()
        yield* memory.send(["known", "unknown", "broken before"])
        const seen: Array<string> = []
        const results = yield* workedOff(
          memory,
          Consumer.stream(memory).pipe(
            Pipeline.mapEffect((body) =>
              body === "broken before" ? Effect.fail("before" as const) : Effect.succeed(body)
            ),
            Pipeline.decode(Sku),
            Pipeline.process(Effect.succeed, {
              retry: (failure) => {
                seen.push(typeof failure === "string" ? failure : failure._tag)
                return RetryPolicy.discard
              }
            }),
            Stream.provideService(Catalogue, { has: (sku) => sku === "known" })
          )
        )
        assert.deepStrictEqual(results, ["known"])
        assert.deepStrictEqual(seen.sort(), ["DecodeError", "before"])
      })
    )
  )
})

describe("an encoded body", () => {
  /** A queue whose messages say that they are written backwards. */
  const backwards = (memory: MemoryQueue.MemoryQueue): MemoryQueue.MemoryQueue => ({
    ...memory,
    receive: (request) =>
      Effect.map(memory.receive(request), (messages) =>
        messages.map((message) => ({
          ...message,
          open: (body: string) =>
            body === "?" ? Either.left("it is not written backwards") : Either.right([...body].reverse().join(""))
        }))
      )
  })

  it(
    "is opened by the first decode stage, kept as it was received, and a failed delivery where it cannot be",
    simulated(
      Effect.gen(function* () {
        const memory = yield* MemoryQueue.make()
        yield* memory.send(['"cba"', "?", "321"])
        const failed: Array<unknown> = []
        const received: Array<string> = []
        const results = yield* workedOff(
          memory,
          Consumer.stream(backwards(memory)).pipe(
            Pipeline.decodeJson(Schema.Union(Schema.Number, Schema.parseJson(Schema.Number), Schema.String)),
            // Opened already, or it would be turned again.
            Pipeline.decode(Schema.Union(Schema.Number, Schema.String)),
            Pipeline.process((body, { message }) => Effect.sync(() => received.push(message.body) && body), {
              concurrency: 1,
              retry: failures(failed)
            })
          )
        )
        assert.deepStrictEqual(results, ["abc", 123])
        assert.deepStrictEqual(received, ['"cba"', "321"])
        const [failure] = failed
        assert.instanceOf(failure, Delivery.DecodeError)
        assert.include(failure.message, "memory-2 does not decode: it is not written backwards")
      })
    )
  )

  it(
    "is not opened where an earlier stage has changed it",
    simulated(
      Effect.gen(function* () {
        const memory = yield* MemoryQueue.make()
        yield* memory.send(["12"])
        const results = yield* workedOff(
          memory,
          Consumer.stream(backwards(memory)).pipe(
            Pipeline.map((body) => `${body}3`),
            Pipeline.decodeJson(Schema.Number),
            Pipeline.process(Effect.succeed)
          )
        )
        assert.deepStrictEqual(results, [123])
      })
    )
  )
})

describe("delivery.ended", () => {
  it(
    "tells how it ended, whoever settles it, once the queue has confirmed it",
    simulated(
      Effect.gen(function* () {
        const memory = yield* MemoryQueue.make({ latency: "1 second" })
        yield* memory.send(["ack", "retry", "dead"])
        const ended: Array<string> = []
        const at = yield* Clock.currentTimeMillis
        yield* workedOff(
          memory,
          Consumer.stream(memory, { linger: 0 }).pipe(
            Stream.tap((delivery) =>
              delivery.ended.pipe(
                Effect.zip(Clock.currentTimeMillis),
                Effect.map(([how, now]) => ended.push(`${delivery.message.body} ${how} ${now - at >= 2000}`)),
                Effect.fork
              )
            ),
            Pipeline.process((body) => (body === "ack" ? Effect.void : Effect.fail(body)), {
              retry: (body, { attempt }) =>
                body === "dead"
                  ? RetryPolicy.deadLetter
                  : attempt > 1
                    ? RetryPolicy.discard
                    : RetryPolicy.redeliver(Schedule.spaced("1 minute"))
            })
          )
        )
        assert.deepStrictEqual(ended.sort(), [
          "ack acked true",
          "dead deadLettered true",
          "retry acked true",
          "retry retried true"
        ])
      })
    )
  )
})

describe("map and filter", () => {
  it(
    "map changes the body and not the message; what it throws is that delivery's failure alone",
    simulated(
      Effect.gen(function* () {
        const memory = yield* MemoryQueue.make()
        yield* memory.send(["1", "x", "3"])
        const seen: Array<string> = []
        const results = yield* workedOff(
          memory,
          Consumer.stream(memory).pipe(
            Pipeline.map((body) => {
              if (body === "x") throw new Error("no number")
              return Number(body)
            }),
            Pipeline.process((n, { message }) => Effect.succeed(`${n * 2} of ${message.body}`), {
              retry: (failure) => {
                seen.push(`${failure._tag}: ${failure.message}`)
                return RetryPolicy.discard
              }
            })
          )
        )
        assert.deepStrictEqual(results.sort(), ["2 of 1", "6 of 3"])
        assert.deepStrictEqual(seen, ["HandlerDefect: no number"])
      })
    )
  )

  it(
    "filter acks what it rejects, so that nothing stays in flight; what its predicate throws is a failure",
    simulated(
      Effect.gen(function* () {
        const memory = yield* MemoryQueue.make()
        yield* memory.send(numbered(10))
        const results = yield* workedOff(
          memory,
          Consumer.stream(memory, { maxInFlight: 3 }).pipe(
            Pipeline.filter((body) => {
              if (body === "5") throw new Error("five")
              return Number(body) % 2 === 0
            }),
            Pipeline.process(Effect.succeed, { retry: RetryPolicy.deadLetter })
          )
        )
        assert.deepStrictEqual(results.map(Number).sort(), [0, 2, 4, 6, 8])
        const { acked, deadLettered, released } = yield* memory.stats
        assert.deepStrictEqual([acked, deadLettered, released], [9, 1, 0])
      })
    )
  )
})

describe("mapEffect and settle", () => {
  it(
    "the lease is kept from one stage to the other, and the ack is settle's: consume, produce elsewhere, ack",
    simulated(
      Effect.gen(function* () {
        const memory = yield* MemoryQueue.make({ leaseDuration: "10 seconds" })
        yield* memory.send(numbered(5))
        const produced: Array<string> = []
        const ackedThen: Array<number> = []
        const results = yield* workedOff(
          memory,
          Consumer.stream(memory).pipe(
            Pipeline.mapEffect((body) => Effect.as(Effect.sleep("1 minute"), `${body}!`)),
            // An operator of the user's own, slow.
            Stream.mapEffect((delivery) =>
              Effect.gen(function* () {
                yield* Effect.sleep("30 seconds")
                produced.push(yield* Effect.orDie(delivery.body))
                ackedThen.push((yield* memory.stats).acked)
                return delivery
              })
            ),
            Pipeline.settle()
          )
        )
        assert.deepStrictEqual(produced.sort(), ["0!", "1!", "2!", "3!", "4!"])
        assert.deepStrictEqual(results.sort(), produced)
        assert.strictEqual(ackedThen[0], 0)
        const { acked, expired, redelivered } = yield* memory.stats
        assert.deepStrictEqual([acked, expired, redelivered], [5, 0, 0])
      })
    )
  )

  it(
    "a failure is settle's policy to treat; the earlier stage runs again after a redelivery, on an ordered queue too",
    simulated(
      Effect.gen(function* () {
        for (const ordered of [false, true]) {
          const memory = yield* MemoryQueue.make({ ordered, name: ordered ? "ordered" : "standard" })
          yield* memory.send(grouped("a1", "a2"))
          const runs: Array<string> = []
          const results = yield* workedOff(
            memory,
            Consumer.stream(memory).pipe(
              Pipeline.mapEffect((body) => {
                runs.push(body)
                return runs.length < 3 && body === "a1" ? Effect.fail("not yet") : Effect.succeed(body)
              }),
              Pipeline.settle({
                retry: RetryPolicy.redeliver(Schedule.spaced("1 second"), { attempts: 5 }).pipe(
                  RetryPolicy.orElse(RetryPolicy.deadLetter)
                )
              })
            )
          )
          assert.deepStrictEqual(results.sort(), ["a1", "a2"])
          assert.strictEqual((yield* memory.stats).deadLettered, 0)
          if (ordered) assert.deepStrictEqual(results, ["a1", "a2"])
        }
      })
    )
  )
})

describe("batch", () => {
  const batches = (memory: MemoryQueue.MemoryQueue, options: Pipeline.BatchOptions) =>
    Consumer.stream(memory).pipe(
      Pipeline.batch(options),
      Stream.mapEffect(({ closedBy, deliveries }) =>
        Effect.gen(function* () {
          yield* Effect.forEach(deliveries, (delivery) => Effect.orDie(delivery.ack), { concurrency: "unbounded" })
          return [
            closedBy,
            deliveries.map(({ message }) => message.body).join(" "),
            yield* Clock.currentTimeMillis
          ] as const
        })
      )
    )

  it(
    "closes by count, and by time from its first delivery",
    simulated(
      Effect.gen(function* () {
        const memory = yield* MemoryQueue.make()
        yield* memory.send(["a", "b", "c", "d", "e", "f", "g"])
        yield* Effect.fork(Effect.delay(memory.send(["h"]), "1500 millis"))
        const closed = yield* workedOff(memory, batches(memory, { max: 3, within: "2 seconds" }))
        assert.deepStrictEqual(
          closed.map(([closedBy, bodies]) => [closedBy, bodies]),
          [
            ["count", "a b c"],
            ["count", "d e f"],
            ["time", "g h"]
          ]
        )
        assert.isAtMost(closed[1]?.[2] ?? Number.NaN, 100)
        assert.isAtLeast(closed[2]?.[2] ?? 0, 2000)
        assert.isAtMost(closed[2]?.[2] ?? 0, 2100)
      })
    )
  )

  it(
    "closes before the bytes of its bodies, in UTF-8, would be too many; one that is larger is alone",
    simulated(
      Effect.gen(function* () {
        const memory = yield* MemoryQueue.make()
        // 4, 4, 4, 4, 20 and 2 bytes.
        yield* memory.send(["aaaa", "éé", "aaaa", "bbbb", "x".repeat(20), "cc"])
        const closed = yield* workedOff(memory, batches(memory, { max: 10, maxBytes: 10, within: "1 second" }))
        assert.deepStrictEqual(
          closed.map(([closedBy, bodies]) => [closedBy, bodies]),
          [
            ["bytes", "aaaa éé"],
            ["bytes", "aaaa bbbb"],
            ["bytes", "x".repeat(20)],
            ["time", "cc"]
          ]
        )
      })
    )
  )

  it(
    "closes at the end of the stream",
    simulated(
      Effect.gen(function* () {
        const memory = yield* MemoryQueue.make()
        yield* memory.send(numbered(5))
        const closed = yield* Consumer.stream(memory).pipe(
          Stream.take(5),
          Pipeline.batch({ max: 3, within: "1 hour" }),
          Stream.mapEffect(({ closedBy, deliveries }) =>
            Effect.as(
              Effect.forEach(deliveries, ({ ack }) => ack),
              [closedBy, deliveries.length] as const
            )
          ),
          Stream.runCollect
        )
        assert.deepStrictEqual(Chunk.toReadonlyArray(closed), [
          ["count", 3],
          ["end", 2]
        ])
        assert.strictEqual(yield* Clock.currentTimeMillis, 0)
      })
    )
  )

  it(
    "holds one batch beside the one that it fills, and asks for no more while nobody takes them",
    simulated(
      Effect.gen(function* () {
        const memory = yield* MemoryQueue.make({ latency: "5 millis" })
        yield* memory.send(numbered(1000))
        const fiber = yield* Consumer.stream(memory, { maxInFlight: 500 }).pipe(
          Pipeline.batch({ max: 10 }),
          Stream.mapEffect(() => Effect.never),
          Stream.runDrain,
          Effect.fork
        )
        yield* Effect.sleep("5 minutes")
        // One with the reader, one ready, one that fills, and what has been prefetched.
        assert.isAtMost((yield* memory.stats).inFlight, 60)
        yield* Fiber.interrupt(fiber)
      })
    )
  )
})

describe("processBatches", () => {
  it(
    "each message has its own outcome; answering with nothing acks all, failing fails all, a short answer fails the rest",
    simulated(
      Effect.gen(function* () {
        const run = (
          answer: (
            bodies: ReadonlyArray<string>
          ) => Effect.Effect<ReadonlyArray<Either.Either<string, string>> | void, string>
        ) =>
          Effect.gen(function* () {
            const memory = yield* MemoryQueue.make()
            yield* memory.send(["a", "b", "c", "d"])
            const failed: Array<string> = []
            const results = yield* workedOff(
              memory,
              Consumer.stream(memory).pipe(
                Pipeline.processBatches(answer, {
                  max: 4,
                  retry: (failure, { message }) => {
                    failed.push(`${message.body}: ${typeof failure === "string" ? failure : failure.message}`)
                    return RetryPolicy.deadLetter
                  }
                })
              )
            )
            const { acked, deadLettered } = yield* memory.stats
            return { results, failed: failed.sort(), acked, deadLettered }
          })

        assert.deepStrictEqual(
          yield* run((bodies) =>
            Effect.succeed(bodies.map((body) => (body === "b" ? Either.left("b is bad") : Either.right(`${body}!`))))
          ),
          { results: ["a!", "c!", "d!"], failed: ["b: b is bad"], acked: 3, deadLettered: 1 }
        )
        assert.deepStrictEqual(yield* run(() => Effect.void), { results: [], failed: [], acked: 4, deadLettered: 0 })
        assert.deepStrictEqual(yield* run(() => Effect.fail("all")), {
          results: [],
          failed: ["a: all", "b: all", "c: all", "d: all"],
          acked: 0,
          deadLettered: 4
        })
        const short = yield* run(() => Effect.succeed([Either.right("a"), Either.right("b")]))
        assert.deepStrictEqual([short.acked, short.deadLettered], [2, 2])
        assert.include(short.failed[0], "c: a batch handler answered with 2 results for 4 messages")
        const died = yield* run(() => Effect.dieMessage("a bug"))
        assert.deepStrictEqual([died.acked, died.deadLettered], [0, 4])
      })
    )
  )

  it(
    "what did not decode never reaches the handler, and is the policy's",
    simulated(
      Effect.gen(function* () {
        const memory = yield* MemoryQueue.make()
        yield* memory.send(["poison", ...orders(3)])
        const asked: Array<ReadonlyArray<number>> = []
        yield* workedOff(
          memory,
          Consumer.stream(memory).pipe(
            Pipeline.decodeJson(Order),
            Pipeline.processBatches(
              (batch) => Effect.sync(() => void asked.push(batch.map(({ order_id }) => order_id))),
              {
                max: 4
              }
            )
          )
        )
        assert.deepStrictEqual(asked, [[0, 1, 2]])
        const { acked, deadLettered } = yield* memory.stats
        assert.deepStrictEqual([acked, deadLettered], [3, 1])
      })
    )
  )

  it(
    "a slow batch is one slot: others run beside it",
    simulated(
      Effect.gen(function* () {
        const memory = yield* MemoryQueue.make()
        yield* memory.send(["slow", ...numbered(29)])
        const fiber = yield* Consumer.stream(memory).pipe(
          Pipeline.processBatches((bodies) => Effect.sleep(bodies.includes("slow") ? "1 hour" : "1 second"), {
            max: 5,
            concurrency: 2,
            within: "100 millis"
          }),
          Stream.runDrain,
          Effect.fork
        )
        yield* memory.settled(25)
        assert.isAtMost(yield* Clock.currentTimeMillis, 7000)
        yield* Fiber.interrupt(fiber)
      })
    )
  )

  it(
    "in a lane: no two batches of one group at once, and what follows a failure in its batch is not acked before it",
    simulated(
      Effect.gen(function* () {
        const memory = yield* MemoryQueue.make({ ordered: true })
        const bodies = numbered(12).map((n) => `${Number(n) % 2 === 0 ? "a" : "b"}${n}`)
        yield* memory.send(grouped(...bodies))
        const running = new Set<string>()
        const together: Array<string> = []
        const done: Array<string> = []
        const failed = new Set<string>()
        yield* workedOff(
          memory,
          Consumer.stream(memory).pipe(
            Pipeline.processBatches(
              (batch) =>
                Effect.gen(function* () {
                  const groups = new Set(batch.map((body) => body.charAt(0)))
                  for (const group of groups) {
                    if (running.has(group)) together.push(`two batches of ${group}`)
                    running.add(group)
                  }
                  yield* Effect.sleep("1 second")
                  for (const group of groups) running.delete(group)
                  return batch.map((body): Either.Either<void, string> => {
                    if (body === "a4" && !failed.has(body)) {
                      failed.add(body)
                      return Either.left("once")
                    }
                    const blocked = failed.has("a4") && !done.includes("a4") && body > "a4" && body.startsWith("a")
                    if (!blocked || body === "a4") done.push(body)
                    return Either.void
                  })
                }),
              { max: 4, concurrency: 3, within: "10 millis", retry: RetryPolicy.redeliver(Schedule.spaced("1 second")) }
            )
          )
        )
        assert.deepStrictEqual(together, [])
        const acked = bodies.filter((body) => done.includes(body))
        assert.deepStrictEqual(acked, bodies)
        for (const group of ["a", "b"]) {
          const ofGroup = [...new Set(done.filter((body) => body.startsWith(group)))]
          const inOrder = [...ofGroup].sort((x, y) => Number(x.slice(1)) - Number(y.slice(1)))
          assert.deepStrictEqual(ofGroup, inOrder)
        }
      })
    )
  )
})

describe("a handler", () => {
  it(
    "that fails or dies settles its own delivery and no other",
    simulated(
      Effect.gen(function* () {
        const memory = yield* MemoryQueue.make()
        yield* memory.send(["fails", "dies", "throws", ...numbered(7)])
        const seen: Array<string> = []
        const consumer = yield* Consumer.make(memory)
        const results = yield* workedOff(
          memory,
          consumer.stream.pipe(
            Pipeline.process(
              (body) => {
                if (body === "throws") throw new Error("before it was an effect")
                if (body === "fails") return Effect.fail("a failure")
                if (body === "dies") return Effect.die("a defect")
                return Effect.as(Effect.sleep("1 second"), body)
              },
              {
                retry: (failure) => {
                  seen.push(typeof failure === "string" ? failure : `${failure._tag}: ${failure.message}`)
                  return RetryPolicy.deadLetter
                }
              }
            )
          )
        )
        assert.deepStrictEqual(results.sort(), numbered(7))
        assert.deepStrictEqual(seen.sort(), [
          "HandlerDefect: a defect",
          "HandlerDefect: before it was an effect",
          "a failure"
        ])
        const { acked, deadLettered, failed, handled } = yield* consumer.stats
        assert.deepStrictEqual([acked, handled, deadLettered, failed], [7, 7, 3, 3])
      })
    )
  )

  it(
    "that is slow holds up no other, in the source, in a slot or in a settlement",
    simulated(
      Effect.gen(function* () {
        const memory = yield* MemoryQueue.make({ latency: "10 millis" })
        yield* memory.send(["slow", ...numbered(500)])
        const fiber = yield* Consumer.stream(memory).pipe(
          Pipeline.process((body) => Effect.sleep(body === "slow" ? "10 minutes" : "10 millis"), { concurrency: 10 }),
          Stream.runDrain,
          Effect.fork
        )
        yield* memory.settled(500)
        // 500 handlers of 10 ms in nine slots.
        assert.isAtMost(yield* Clock.currentTimeMillis, 2000)
        yield* Fiber.interrupt(fiber)
      })
    )
  )

  it(
    "that takes longer than its timeout is really interrupted, and has failed with HandlerTimeout",
    simulated(
      Effect.gen(function* () {
        const memory = yield* MemoryQueue.make()
        yield* memory.send(["a"])
        const interruptedAt: Array<number> = []
        const seen: Array<string> = []
        const fiber = yield* Consumer.stream(memory).pipe(
          Pipeline.process(
            () =>
              Effect.onInterrupt(Effect.sleep("1 hour"), () =>
                Effect.map(Clock.currentTimeMillis, (at) => interruptedAt.push(at))
              ),
            {
              timeout: "5 seconds",
              retry: (failure) => {
                seen.push(`${failure._tag}: ${failure.message}`)
                return RetryPolicy.discard
              }
            }
          ),
          Stream.runDrain,
          Effect.fork
        )
        yield* memory.idle
        yield* Fiber.interrupt(fiber)
        assert.deepStrictEqual(interruptedAt, [5000])
        assert.deepStrictEqual(seen, ["HandlerTimeout: the handler of message memory-1 took more than 5s"])
      })
    )
  )

  it(
    "that is interrupted by its own doing has failed: its message comes again after the policy's delay",
    simulated(
      Effect.gen(function* () {
        const memory = yield* MemoryQueue.make()
        yield* memory.send(["a"])
        let runs = 0
        const consumer = yield* Consumer.make(memory)
        yield* workedOff(
          memory,
          consumer.stream.pipe(
            Pipeline.process(() =>
              ++runs === 1 ? Effect.zipRight(Effect.sleep("1 second"), Effect.interrupt) : Effect.void
            )
          )
        )
        const { acked, failed, released } = yield* consumer.stats
        assert.deepStrictEqual([acked, released, failed], [1, 0, 1])
      })
    )
  )

  it(
    "logs with its message's id, group and attempt, also where it does not ask for the delivery",
    simulated(
      Effect.gen(function* () {
        const lines: Array<Line> = []
        const memory = yield* MemoryQueue.make()
        yield* memory.send([{ body: "a", group: "customer 7" }, "b"])
        const failed = new Set<string>()
        yield* workedOff(
          memory,
          Consumer.stream(memory).pipe(
            Pipeline.process(
              (body) =>
                Effect.zipRight(
                  Effect.logInfo(`handling ${body}`),
                  body === "b" || failed.has(body)
                    ? Effect.void
                    : Effect.zipRight(
                        Effect.sync(() => failed.add(body)),
                        Effect.fail("once")
                      )
                ),
              { retry: RetryPolicy.redeliver(Schedule.spaced("1 second")) }
            )
          )
        ).pipe(Effect.annotateLogs("service", "orders"), Effect.provide(logged(lines)))
        assert.deepStrictEqual(
          lines.filter(({ text }) => text.startsWith("handling")).map(({ annotations, text }) => [text, annotations]),
          [
            ["handling a", { service: "orders", messageId: "memory-1", group: "customer 7", attempt: 1 }],
            ["handling b", { service: "orders", messageId: "memory-2", attempt: 1 }],
            ["handling a", { service: "orders", messageId: "memory-1", group: "customer 7", attempt: 2 }]
          ]
        )
      }),
      { order: "fifo" }
    )
  )

  it(
    "runs with what its fiber was given: services, log annotations, fiber refs",
    simulated(
      Effect.gen(function* () {
        class Shop extends Context.Tag("Shop")<Shop, string>() {}
        const memory = yield* MemoryQueue.make()
        yield* memory.send(["a"])
        const results = yield* workedOff(
          memory,
          Consumer.stream(memory).pipe(
            Pipeline.process((body) => Effect.map(Shop, (shop) => `${body} in ${shop}`)),
            Stream.provideService(Shop, "Basel")
          )
        )
        assert.deepStrictEqual(results, ["a in Basel"])
      })
    )
  )
})

describe("the results of process", () => {
  it(
    "come as they finish, and hold up the handlers when nobody reads them",
    simulated(
      Effect.gen(function* () {
        const memory = yield* MemoryQueue.make()
        yield* memory.send(["3000", "1000", "2000"])
        const results = yield* workedOff(
          memory,
          Consumer.stream(memory).pipe(Pipeline.process((body) => Effect.as(Effect.sleep(Number(body)), body)))
        )
        assert.deepStrictEqual(results, ["1000", "2000", "3000"])

        const unread = yield* MemoryQueue.make({ name: "unread" })
        yield* unread.send(numbered(1000))
        const fiber = yield* Consumer.stream(unread).pipe(
          Pipeline.process(Effect.succeed, { concurrency: 5 }),
          Stream.mapEffect(() => Effect.never),
          Stream.runDrain,
          Effect.fork
        )
        yield* Effect.sleep("1 minute")
        assert.isAtMost((yield* unread.stats).acked, 60)
        yield* Fiber.interrupt(fiber)
      })
    )
  )

  it(
    "end when the last settlement is confirmed",
    simulated(
      Effect.gen(function* () {
        const memory = yield* MemoryQueue.make()
        yield* memory.send(["a"])
        yield* memory.inject("ack", { delay: "5 seconds" })
        yield* Consumer.stream(memory).pipe(
          Stream.take(1),
          Pipeline.process(() => Effect.void),
          Stream.runDrain
        )
        assert.strictEqual((yield* memory.stats).acked, 1)
        assert.strictEqual(yield* Clock.currentTimeMillis, 5000)
      })
    )
  )

  it(
    "of two queues merged: each delivery settles at the queue that it came from, by its own way",
    simulated(
      Effect.gen(function* () {
        const left = yield* MemoryQueue.make({ name: "left", latency: "10 millis" })
        const right = yield* MemoryQueue.make({ name: "right", ordered: true, leaseDuration: "5 seconds" })
        yield* left.send(numbered(30))
        // The same groups: their lanes are their own.
        yield* right.send(numbered(30).map((body) => ({ body: `r${body}`, group: "g" })))
        const order: Array<string> = []
        const queues = new Set<string>()
        const fiber = yield* Stream.merge(Consumer.stream(left), Consumer.stream(right)).pipe(
          Pipeline.process(
            (body, { queue }) =>
              Effect.gen(function* () {
                queues.add(`${queue} ${body.startsWith("r")}`)
                yield* Effect.sleep(body === "3" ? "1 minute" : "100 millis")
                if (body.startsWith("r")) order.push(body)
                if (body === "4" || body === "r4") return yield* Effect.fail("no")
              }),
            { concurrency: 20, retry: RetryPolicy.deadLetter }
          ),
          Stream.runDrain,
          Effect.fork
        )
        yield* Effect.all([left.idle, right.idle])
        yield* Fiber.interrupt(fiber)
        assert.deepStrictEqual([...queues].sort(), ["left false", "right true"])
        assert.deepStrictEqual(
          order,
          numbered(30).map((body) => `r${body}`)
        )
        for (const [queue, body] of [
          [left, "4"],
          [right, "r4"]
        ] as const) {
          const { acked, expired, redelivered } = yield* queue.stats
          assert.deepStrictEqual([acked, redelivered, expired], [29, 0, 0])
          assert.deepStrictEqual(
            (yield* queue.deadLetters).map(({ message }) => message.body),
            [body]
          )
        }
      })
    )
  )
})
