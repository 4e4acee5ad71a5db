/** `around`: one place around all handlers of a pipeline. */
import { assert, describe, it } from "@effect/vitest"
import { Channel, Circuit, Consumer, type Delivery, Idempotency, Message, Pipeline, RetryPolicy } from "@millrace/core"
import { MemoryIdempotencyStore, MemoryQueue, Simulation } from "@millrace/core/testing"
import { Cause, Context, Effect, Exit, Fiber, FiberRef, Random, Schedule, Schema, Stream } from "effect"
import { seeds } from "../../../test/long.js"
import { grouped, type Source, simulated } from "./support/index.js"
import { named, scenarios, troubled } from "./support/troubled.js"

class Tenant extends Context.Tag("Tenant")<Tenant, string>() {}
class Tenants extends Context.Tag("Tenants")<Tenants, { readonly of: (name: string) => string }>() {}

/** Says when it begins and ends, on what, and how. */
const told = (lines: Array<string>, name = "") =>
  ((handler, deliveries) => {
    const bodies = deliveries.map(({ attempt, message }) => `${message.body}${attempt}`).join(",")
    lines.push(`${name}(${bodies}`)
    return Effect.onExit(handler, (exit) =>
      Effect.sync(() => {
        const how = Exit.isSuccess(exit) ? "well" : Cause.isInterrupted(exit.cause) ? "interrupted" : "failed"
        lines.push(`${how})${name}`)
      })
    )
  }) satisfies (handler: Pipeline.Handler, deliveries: Pipeline.Handles) => unknown

const drained = (queue: MemoryQueue.MemoryQueue) => Consumer.stream(queue, { drainWhen: queue.idle })

describe("a middleware", () => {
  it(
    "runs around each run of a handler, with its delivery, and again for each attempt",
    simulated(
      Effect.gen(function* () {
        const queue = yield* MemoryQueue.make()
        yield* queue.send(["a"])
        const lines: Array<string> = []
        const results = yield* drained(queue).pipe(
          Pipeline.around(told(lines), (deliveries) =>
            deliveries.pipe(
              Pipeline.process(
                (body, { attempt }) =>
                  Effect.suspend(() => {
                    lines.push(body)
                    return attempt < 3 ? Effect.fail("not yet") : Effect.succeed(attempt)
                  }),
                { retry: RetryPolicy.redeliver(Schedule.spaced("1 second")) }
              )
            )
          ),
          Stream.runCollect
        )
        assert.deepStrictEqual([...results], [3])
        assert.deepStrictEqual(lines.join(" "), "(a1 a failed) (a2 a failed) (a3 a well)")
      })
    )
  )

  it(
    "runs around mapEffect, tap, route, and once for a batch, and not around settle",
    simulated(
      Effect.gen(function* () {
        const ran = (pipeline: (source: Source) => Stream.Stream<unknown, unknown>) =>
          Effect.gen(function* () {
            const queue = yield* MemoryQueue.make()
            const attributes = { type: { type: "String", value: "Placed" } } as const
            yield* queue.send([
              { body: '"a"', attributes },
              { body: '"b"', attributes }
            ])
            const lines: Array<string> = []
            yield* Stream.runDrain(Pipeline.around(told(lines), pipeline)(drained(queue)))
            assert.strictEqual((yield* queue.stats).acked, 2)
            return lines.join(" ")
          })
        const each = '("a"1 well) ("b"1 well)'
        const one = { concurrency: 1 }
        const nothing = () => Effect.void
        const shop = Channel.make("shop", { messages: [Message.make("Placed", { schema: Schema.String })] })
        assert.strictEqual(
          yield* ran((source) => source.pipe(Pipeline.mapEffect(nothing, one), Pipeline.settle())),
          each
        )
        assert.strictEqual(yield* ran((source) => source.pipe(Pipeline.tap(nothing, one), Pipeline.settle())), each)
        assert.strictEqual(yield* ran(Pipeline.route(shop, { Placed: nothing }, one)), each)
        assert.strictEqual(yield* ran(Pipeline.processBatches(nothing, { max: 2 })), '("a"1,"b"1 well)')
        assert.strictEqual(yield* ran(Pipeline.settle()), "")
      })
    )
  )

  it(
    "is within an outer one, and stages in front of both have neither",
    simulated(
      Effect.gen(function* () {
        const queue = yield* MemoryQueue.make()
        yield* queue.send(["a"])
        const lines: Array<string> = []
        yield* drained(queue).pipe(
          Pipeline.mapEffect((body) => Effect.sync(() => void lines.push("front")).pipe(Effect.as(body))),
          Pipeline.around(told(lines, "outer"), (deliveries) =>
            deliveries.pipe(
              Pipeline.tap(() => Effect.sync(() => lines.push("between"))),
              Pipeline.around(
                told(lines, "inner"),
                Pipeline.process((body) => Effect.sync(() => lines.push(body)))
              )
            )
          ),
          Stream.runDrain
        )
        assert.strictEqual(
          lines.join(" "),
          "front outer(a1 between well)outer outer(a1 inner(a1 a well)inner well)outer"
        )
      })
    )
  )

  it(
    "fails as the handler does: its policy decides, and the others are no matter",
    simulated(
      Effect.gen(function* () {
        const queue = yield* MemoryQueue.make()
        yield* queue.send(["good", "unknown", "dies", "no effect"])
        const failures: Array<string> = []
        const results = yield* drained(queue).pipe(
          Pipeline.around(
            (handler: Pipeline.Handler<Tenant>, [{ message }]) => {
              if (message.body === "dies") throw new Error("a defect")
              if (message.body === "no effect") return undefined as never
              return Effect.gen(function* () {
                const { of } = yield* Tenants
                if (message.body === "unknown") return yield* Effect.fail("unknown tenant" as const)
                return yield* Effect.provideService(handler, Tenant, of(message.body))
              })
            },
            Pipeline.process((body) => Effect.map(Tenant, (tenant) => `${body} of ${tenant}`), {
              retry: (failure, { message }) => {
                failures.push(`${message.body}: ${typeof failure === "string" ? failure : failure.message}`)
                return RetryPolicy.deadLetter
              }
            })
          ),
          Stream.provideService(Tenants, { of: (name) => name.toUpperCase() }),
          Stream.runCollect
        )
        assert.deepStrictEqual([...results], ["good of GOOD"])
        assert.deepStrictEqual(failures.slice(0, 2).sort(), ["dies: a defect", "unknown: unknown tenant"])
        assert.match(failures[2] ?? "", /the handler of Pipeline\.around returned undefined and no Effect/)
      })
    )
  )

  it(
    "and the handler each have their own services, whatever is provided in between",
    simulated(
      Effect.gen(function* () {
        const queue = yield* MemoryQueue.make()
        yield* queue.send(["a"])
        const results = yield* drained(queue).pipe(
          Pipeline.around(
            (handler) => Effect.flatMap(Tenants, () => handler),
            (deliveries) =>
              // All that is there is taken away for the handler.
              Stream.provideContext(Pipeline.process(() => Tenant)(deliveries), Context.make(Tenant, "the handler's"))
          ),
          Stream.provideService(Tenants, { of: (name) => name }),
          Stream.runCollect
        )
        assert.deepStrictEqual([...results], ["the handler's"])
      })
    )
  )

  it(
    "is interrupted with its handler by a stop and by a timeout, and does not run for a duplicate or what a circuit keeps back",
    simulated(
      Effect.gen(function* () {
        const queue = yield* MemoryQueue.make()
        const lines: Array<string> = []
        const pipeline = (
          options: Omit<Pipeline.ProcessOptions<string, string, Delivery.Delivery<string>>, "retry">,
          handler: () => Effect.Effect<unknown, string> = () => Effect.sleep("1 minute")
        ) =>
          drained(queue).pipe(
            Pipeline.around(told(lines), Pipeline.process(handler, { ...options, retry: RetryPolicy.deadLetter }))
          )

        yield* queue.send(["slow"])
        yield* Stream.runDrain(pipeline({ timeout: "5 seconds" }))
        assert.strictEqual((yield* queue.deadLetters)[0]?.message.body, "slow")
        assert.strictEqual(lines.splice(0).join(" "), "(slow1 interrupted)")

        yield* queue.send(["stopped"])
        const fiber = yield* Effect.fork(Stream.runDrain(pipeline({})))
        yield* Effect.sleep("1 second")
        yield* Fiber.interrupt(fiber)
        assert.strictEqual(lines.splice(0).join(" "), "(stopped1 interrupted)")

        yield* Stream.runDrain(pipeline({ concurrency: 1 }, () => Effect.void))
        assert.strictEqual(lines.splice(0).join(" "), "(stopped2 well)")
        yield* queue.send(["twice", "twice"])
        yield* drained(queue).pipe(
          Pipeline.around(
            told(lines),
            Pipeline.process(() => Effect.void, { concurrency: 1, once: Idempotency.by((body: string) => body) })
          ),
          Stream.runDrain,
          Effect.provide(MemoryIdempotencyStore.layer())
        )
        assert.strictEqual(lines.splice(0).join(" "), "(twice1 well)")

        const circuit = yield* Circuit.make<unknown>({
          trips: () => true,
          threshold: { minimum: 1 },
          probeAfter: "1 minute"
        })
        yield* queue.send(["1", "2"])
        const kept = yield* Effect.fork(
          Stream.runDrain(pipeline({ concurrency: 1, circuit }, () => Effect.fail("down")))
        )
        yield* Effect.sleep("30 seconds")
        assert.strictEqual(lines.splice(0).join(" "), "(11 failed)")
        yield* Fiber.interrupt(kept)
      })
    )
  )

  it(
    "runs in the fiber of its handler, in its slot",
    simulated(
      Effect.gen(function* () {
        const queue = yield* MemoryQueue.make()
        yield* queue.send(grouped("a1", "a2", "b1", "b2"))
        const user = FiberRef.unsafeMake("nobody")
        let running = 0
        let most = 0
        const results = yield* drained(queue).pipe(
          Pipeline.around(
            (handler, [{ message }]) =>
              Effect.acquireUseRelease(
                Effect.sync(() => {
                  most = Math.max(most, ++running)
                }),
                () => Effect.locally(Effect.zipLeft(handler, Effect.sleep("1 second")), user, message.group ?? ""),
                () =>
                  Effect.sync(() => {
                    running--
                  })
              ),
            Pipeline.process(() => FiberRef.get(user), { concurrency: 2 })
          ),
          Stream.runCollect
        )
        assert.deepStrictEqual([...results].sort(), ["a", "a", "b", "b"])
        assert.strictEqual(most, 2)
      })
    )
  )

  it("is refused where it is no function, and so is what is no pipeline", () => {
    const refused = (middleware: unknown, pipeline: unknown) =>
      Effect.runSyncExit(
        Stream.runDrain(
          Pipeline.around(
            middleware as () => Effect.Effect<never>,
            pipeline as () => Stream.Stream<never>
          )(Stream.empty)
        )
      )
    assert.match(String(refused(undefined, () => Stream.empty)), /middleware/)
    assert.match(String(refused(() => Effect.void, undefined)), /pipeline/)
  })
})

describe("a middleware, over seeds", () => {
  for (const scenario of scenarios) {
    it(`bound, one settlement, no loss, order, drain: ${named(scenario)}`, async () => {
      await Simulation.checkInTurns(
        { seeds: seeds({ short: 4, long: 20 }), leaks: "fail", maxElapsed: "1 day" },
        troubled(scenario, ({ before, gone, violations }) =>
          Effect.gen(function* () {
            const concurrency = yield* Random.nextIntBetween(1, 8)
            const which = yield* Random.nextIntBetween(0, 3)
            const never = (holds: boolean, what: string) => holds && violations.push(what)
            const done = new Set<string>()
            const within = new Set<string>()
            const sleeps = Effect.flatMap(Random.next, (n) => Effect.sleep(Math.floor(n ** 4 * 3000)))
            const middleware = (handler: Pipeline.Handler, deliveries: Pipeline.Handles) =>
              Effect.gen(function* () {
                const handles = deliveries.map(({ message }) => message.lease.handle)
                for (const handle of handles) never(within.has(handle), `${handle} is within already`)
                if (scenario.ordered && !scenario.faults) {
                  const bodies = deliveries.map(({ message }) => message.body)
                  const early = bodies.flatMap((body) => before(body)).filter((body) => !bodies.includes(body))
                  never(early.length > 0, `${bodies} before ${early}`)
                }
                for (const handle of handles) within.add(handle)
                yield* sleeps
                if ((yield* Random.nextIntBetween(0, 12)) === 0) return yield* Effect.fail("no connection")
                const result = yield* handler
                yield* sleeps
                if ((yield* Random.nextIntBetween(0, 12)) === 0) return yield* Effect.dieMessage("no commit")
                for (const handle of handles) done.add(handle)
                return result
              }).pipe(
                Effect.ensuring(
                  Effect.sync(() => {
                    for (const { message } of deliveries) within.delete(message.lease.handle)
                  })
                )
              )
            const handle = (...deliveries: ReadonlyArray<Delivery.Delivery<string, unknown>>) =>
              Effect.sync(() => {
                for (const { message } of deliveries) {
                  never(!within.has(message.lease.handle), `${message.body} runs without`)
                  never(gone.has(message.body) && !scenario.faults, `${message.body} runs and is deleted`)
                }
              })
            const retry = RetryPolicy.redeliver(Schedule.spaced("2 seconds"))
            return {
              handled: (handle) => done.has(handle),
              run: (self) =>
                self.pipe(
                  Pipeline.around(middleware, (deliveries) =>
                    which === 0
                      ? deliveries.pipe(Pipeline.process((_, delivery) => handle(delivery), { concurrency, retry }))
                      : which === 1
                        ? deliveries.pipe(
                            Pipeline.tap((_, delivery) => handle(delivery), { concurrency }),
                            Pipeline.settle({ retry })
                          )
                        : deliveries.pipe(
                            Pipeline.processBatches((_, all) => handle(...all), {
                              max: 4,
                              within: "300 millis",
                              concurrency,
                              retry
                            })
                          )
                  )
                )
            }
          })
        )
      )
    }, 60_000)
  }
})
