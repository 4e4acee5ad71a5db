/**
 * The invariants again, for pipelines of any shape: which stages, whether the queue is ordered, how short its leases are,
 * how it fails, pauses of the machine and how the consumer ends are all drawn by the seed. What is checked is what the
 * queue saw and what handlers did.
 */
import { assert, describe, it } from "@effect/vitest"
import { Consumer, type LeaseQueue, Pipeline, RetryPolicy } from "@millrace/core"
import { MemoryQueue, Simulation } from "@millrace/core/testing"
import { Effect, Fiber, Logger, LogLevel, Random, Schedule, Stream } from "effect"
import { seeds } from "../../../test/long.js"
import { jostled, type Stage } from "./support/index.js"

const oneOf = <A>(...all: readonly [A, ...Array<A>]) =>
  Effect.map(Random.nextIntBetween(0, all.length), (i) => all[i] ?? all[0])

const chance = (p: number) => Effect.map(Random.next, (n) => n < p)

const shaped = Effect.gen(function* () {
  const n = yield* Random.nextIntBetween(1, 100)
  const groups = yield* Random.nextIntBetween(1, 12)
  const ordered = yield* Random.nextBoolean
  const faults = (yield* Random.nextBoolean) ? yield* Random.nextRange(0, 0.2) : 0
  const pauses = yield* chance(0.2)
  const leaseSeconds = yield* oneOf(1, 2, 5, 30)
  const deadLetters = yield* Random.nextBoolean
  const maxInFlight = yield* Random.nextIntBetween(1, 60)
  const concurrency = yield* Random.nextIntBetween(1, 20)
  const max = yield* Random.nextIntBetween(1, 12)
  const sequence = yield* oneOf<"auto" | ((body: string) => string | undefined)>(
    "auto",
    "auto",
    (body) => body.split("/")[0]
  )
  const holdLimit = yield* oneOf("0 seconds" as const, "5 minutes" as const)
  const end = yield* oneOf("finish" as const, "drain" as const, "interrupt" as const)
  const longest = yield* oneOf(50, 1000, 8000)

  const gone = new Map<string, "Acked" | "DeadLettered">()
  const queue = yield* MemoryQueue.make({
    ordered,
    deadLetters,
    latency: yield* oneOf(0, 5, 100),
    leaseDuration: leaseSeconds * 1000,
    strandAborted: faults > 0,
    onEvent: ({ body, type }) => {
      if (type === "Acked" || type === "DeadLettered") gone.set(body, type)
    },
    faults: ({ operation }) =>
      Effect.gen(function* () {
        if (!(yield* chance(faults))) return undefined
        const which = yield* Random.nextIntBetween(0, 4)
        const bad = yield* Random.nextIntBetween(0, 10)
        if (which === 0) return { fail: yield* oneOf("throttled" as const, "transient" as const) }
        if (which === 1) return { drop: "transient" as const }
        if (which === 2) return { delay: yield* Random.nextIntBetween(0, 3000) }
        if (operation === "receive") return undefined
        return { entries: (_: LeaseQueue.Lease, i: number) => (i === bad ? ("Transient" as const) : undefined) }
      })
  })
  const lengths = new Array<number>(groups).fill(0)
  const bodies: Array<{ readonly body: string; readonly group: string }> = []
  for (let i = 0; i < n; i++) {
    const group = yield* Random.nextIntBetween(0, groups)
    bodies.push({ body: `${group}/${lengths[group]}`, group: String(group) })
    lengths[group] = (lengths[group] ?? 0) + 1
  }
  yield* queue.send(bodies)

  const finished = new Set<string>()
  const running = new Map<string, number>()
  let handlers = 0
  const disorder: Array<string> = []
  const nobody: ReadonlyArray<string> = []
  /** `together`: what is in its batch, where there is one: worked on with it. */
  const work = (body: string, together = nobody) =>
    Effect.gen(function* () {
      const [group = "", place = ""] = body.split("/")
      if (ordered) {
        if ((running.get(group) ?? 0) > 0) disorder.push(`two of group ${group} at once, at ${body}`)
        for (let i = 0; i < Number(place); i++) {
          const before = `${group}/${i}`
          if (!gone.has(before) && !together.includes(before)) disorder.push(`${body} before ${before} was gone`)
        }
      }
      running.set(group, (running.get(group) ?? 0) + 1)
      handlers++
      yield* Effect.sleep(Math.floor((yield* Random.next) ** 3 * longest)).pipe(
        Effect.ensuring(
          Effect.sync(() => {
            handlers--
            running.set(group, (running.get(group) ?? 1) - 1)
          })
        )
      )
      const fate = yield* Random.nextIntBetween(0, 20)
      if (fate === 0) return yield* Effect.fail("a failure")
      if (fate === 1) return yield* Effect.dieMessage("a defect")
      finished.add(body)
      return body
    })
  const retry = RetryPolicy.redeliver(Schedule.exponential("500 millis"), {
    attempts: yield* Random.nextIntBetween(3, 9)
  }).pipe(RetryPolicy.orElse(yield* oneOf(RetryPolicy.deadLetter, RetryPolicy.leave)))
  const policy = (yield* Random.nextBoolean)
    ? retry
    : RetryPolicy.orElse(
        RetryPolicy.inPlace(Schedule.intersect(Schedule.spaced("300 millis"), Schedule.recurs(1))),
        retry
      )
  const options = { concurrency, sequence, retry: policy, holdLimit }
  const stage: Stage = yield* oneOf<Stage>(
    Pipeline.process((body) => work(body), options),
    Pipeline.process((body) => work(body), { ...options, timeout: "6 seconds" }),
    (source) =>
      source.pipe(
        Pipeline.mapEffect((body: string) => work(body), { concurrency, sequence }),
        Pipeline.settle({ retry: policy })
      ),
    Pipeline.processBatches(
      (batch) =>
        Effect.forEach(batch, (body) => Effect.either(work(body, batch))).pipe(
          Effect.zipLeft(Effect.sleep("10 millis"))
        ),
      { ...options, max, within: "200 millis" }
    )
  )

  const consumer = yield* Consumer.make(queue, { maxInFlight, linger: yield* oneOf(0, 100, 400) })
  const fiber = yield* Effect.fork(Stream.runDrain(stage(consumer.stream)))
  const paused = yield* Effect.fork(
    Effect.forever(
      Effect.flatMap(Random.nextIntBetween(1000, 20_000), (millis) =>
        Effect.zipRight(Effect.sleep(millis), Simulation.jump(leaseSeconds * 1500))
      )
    ).pipe(Effect.when(() => pauses))
  )
  const early = Effect.flatMap(Random.nextIntBetween(0, 30_000), (millis) => Effect.sleep(millis))
  yield* end === "finish" ? queue.idle : Effect.race(early, queue.idle)
  yield* Fiber.interrupt(paused)
  if (end === "interrupt") yield* Fiber.interrupt(fiber)
  else yield* consumer.drain({ deadline: "5 seconds" })
  if (end !== "interrupt") yield* Fiber.join(fiber)
  yield* Effect.sleep("10 minutes")

  assert.strictEqual(handlers, 0, "no handler is left running")
  const own = yield* consumer.stats
  assert.strictEqual(own.inFlight, 0, "every permit is back")
  assert.strictEqual(
    own.acked + own.retried + own.released + own.deadLettered + own.left + own.lost,
    own.received,
    "every delivery ended once"
  )
  assert.isAtMost(own.peakInFlight, maxInFlight)
  const { acked, deadLettered, visible } = yield* queue.stats
  assert.strictEqual(acked + deadLettered + visible, n, "every message is somewhere")
  for (const [body, how] of gone) {
    if (how === "Acked") assert.isTrue(finished.has(body), `${body} was deleted and no handler had finished it`)
  }
  if (end === "finish") assert.strictEqual(gone.size, n)
  if (own.lost === 0 && !pauses) assert.deepStrictEqual(disorder, [])
}).pipe(Effect.scoped, Logger.withMinimumLogLevel(LogLevel.None))

describe("pipelines of any shape", () => {
  it("bound, one settlement, no loss and order hold for all of them", async () => {
    await Simulation.checkInTurns({ seeds: seeds({ short: 12, long: 40 }), leaks: "fail", maxElapsed: "1 day" }, shaped)
  }, 120_000)

  it("and wherever fibers lose their turn", async () => {
    await Simulation.checkInTurns(
      { seeds: seeds({ short: 8, long: 20 }), from: 10_000, leaks: "fail", maxElapsed: "1 day" },
      jostled(shaped)
    )
  }, 120_000)
})
