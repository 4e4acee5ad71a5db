/**
 * What looks at a delivery's own life (`once`, a circuit) or at what is received (a quota), where deliveries are parts of a
 * message, or stand for several: behind `split`, `coalesce` and `batch`, on a queue that fails and is left at any moment.
 */
import * as RateLimiter from "@effect/experimental/RateLimiter"
import { assert, describe, it } from "@effect/vitest"
import {
  Circuit,
  Consumer,
  Delivery,
  Idempotency,
  IdempotencyStore,
  Pipeline,
  Quota,
  RetryPolicy
} from "@millrace/core"
import { MemoryIdempotencyStore, MemoryQueue, Simulation } from "@millrace/core/testing"
import { Clock, Duration, Effect, Random, Schedule, Stream } from "effect"
import { seeds } from "../../../test/long.js"
import { type Source, simulated } from "./support/index.js"
import { named, type Scenario, scenarios, troubled, type World } from "./support/troubled.js"

/** A part of a message: `a3/1`, or all of it: `a3`. */
type Items = ReadonlyArray<string>

/** What a message has, by its body: no message is without parts. */
const partsOf = (body: string): Items =>
  Array.from({ length: 1 + (Number(body.slice(1)) % 3) }, (_, i) => `${body}/${i}`)

const stages: Readonly<
  Record<
    string,
    {
      readonly items: (body: string) => Items
      readonly stage: (self: Source) => Stream.Stream<Delivery.Delivery<Items>, unknown>
      /** One behind another: what holds of one holds of two, so it is enough that they work together. */
      readonly nested?: true
    }
  >
> = {
  split: {
    items: partsOf,
    stage: (self) =>
      self.pipe(
        Pipeline.split(partsOf),
        Pipeline.map((part) => [part])
      )
  },
  coalesce: {
    items: (body) => [body],
    stage: (self) =>
      self.pipe(
        Stream.map((delivery) => Delivery.map(delivery, (body): Items => [body])),
        Pipeline.coalesce({ key: "group", within: "700 millis", fold: (before, next) => [...before, ...next] })
      )
  },
  batch: { items: (body) => [body], stage: Pipeline.batch({ max: 4, within: "300 millis" }) },
  "a batch that is split": {
    nested: true,
    items: (body) => [body],
    stage: (self) =>
      self.pipe(
        Pipeline.batch({ max: 4, within: "300 millis" }),
        Pipeline.split((batch) => batch.map((body): Items => [body]))
      )
  },
  "split, coalesced": {
    nested: true,
    items: partsOf,
    stage: (self) =>
      self.pipe(
        Pipeline.split((body) => partsOf(body).map((part): Items => [part])),
        Pipeline.coalesce({ key: "group", within: "700 millis", fold: (before, next) => [...before, ...next] })
      )
  },
  "split, in batches": {
    nested: true,
    items: partsOf,
    stage: (self) => self.pipe(Pipeline.split(partsOf), Pipeline.batch({ max: 4, within: "300 millis" }))
  }
}

/** What handlers have done, whatever runs them. */
const track = (world: World, { faults, ordered }: Scenario) => {
  const done = new Set<string>()
  const bodies = new Map<string, string>()
  const running = new Map<string, number>()
  const never = (holds: boolean, what: string) => holds && world.violations.push(what)
  const run = <E>(items: Items, work: Effect.Effect<unknown, E>) => {
    const groups = new Set(items.map((item) => item.charAt(0)))
    const count = (by: number) => {
      for (const group of groups) running.set(group, (running.get(group) ?? 0) + by)
    }
    return Effect.suspend(() => {
      count(1)
      if (ordered && !faults)
        never(
          [...groups].some((group) => running.get(group) !== 1),
          `${items} beside its group`
        )
      return Effect.zipRight(
        work,
        Effect.sync(() => {
          for (const item of items) done.add(item)
          return items
        })
      )
    }).pipe(Effect.ensuring(Effect.sync(() => count(-1))))
  }
  /** Remembers which message each lease is of. */
  const known = (self: Source): Source =>
    Stream.map(self, (delivery) => {
      bodies.set(delivery.message.lease.handle, delivery.message.body)
      return delivery
    })
  return { done, bodies, never, run, known }
}

const again = RetryPolicy.redeliver(Schedule.spaced("2 seconds"))
const takesAWhile = Effect.flatMap(Random.next, (n) => Effect.sleep(Math.floor(n ** 4 * 5000)))
const sometimesFails = Effect.flatMap(Random.nextIntBetween(0, 12), (n) =>
  n === 0 ? Effect.fail("a failure") : Effect.void
)

for (const [name, { items, nested, stage }] of Object.entries(stages)) {
  const check = (what: string, scenario: Scenario, pipeline: Parameters<typeof troubled>[1]) =>
    it(`${what}: ${named(scenario)}`, async () => {
      const options = { seeds: seeds({ short: 3, long: 8 }), leaks: "fail", maxElapsed: "1 day" } as const
      await Simulation.checkInTurns(options, troubled(scenario, pipeline))
    }, 60_000)

  describe(`behind ${name}`, () => {
    for (const scenario of scenarios) {
      check("once: what is done does not run again, nor two of one key at a time", scenario, (world) =>
        Effect.gen(function* () {
          const { bodies, done, known, never, run } = track(world, scenario)
          const store = yield* MemoryIdempotencyStore.make({
            latency: yield* Random.nextIntBetween(0, 40),
            faults: () =>
              Effect.map(Random.next, (n) => (scenario.faults && n < 0.1 ? ({ drop: true } as const) : undefined))
          })
          const concurrency = yield* Random.nextIntBetween(1, 8)
          const keys = new Set<string>()
          const finished = new Set<string>()
          const handler = (which: Items) =>
            Effect.suspend(() => {
              const key = which.join()
              never(keys.has(key), `${key} runs twice at once`)
              never(finished.has(key) && !scenario.faults, `${key} runs and is done`)
              keys.add(key)
              return run(which, Effect.zipRight(takesAWhile, sometimesFails)).pipe(
                Effect.tap(() => finished.add(key)),
                Effect.ensuring(Effect.sync(() => keys.delete(key)))
              )
            })
          return {
            handled: (handle) => items(bodies.get(handle) ?? "").every((item) => done.has(item)),
            run: (self) =>
              stage(known(self)).pipe(
                Pipeline.process(handler, {
                  concurrency,
                  retry: again,
                  once: Idempotency.by((which: Items) => which.join(), { callTimeout: "1 second" })
                }),
                Stream.provideService(IdempotencyStore.IdempotencyStore, store)
              )
          }
        })
      )

      if (nested === true) continue
      check("a circuit: an outage is waited for, and no more than a probe runs in it", scenario, (world) =>
        Effect.gen(function* () {
          const { bodies, done, known, never, run } = track(world, scenario)
          const circuit = yield* Circuit.make<unknown>({
            trips: (failure) => failure === "down",
            threshold: { rate: 0.01, minimum: 3, window: "10 seconds" },
            probeAfter: "3 seconds"
          }).pipe(Effect.orDie)
          const concurrency = yield* Random.nextIntBetween(1, 8)
          const from = yield* Random.nextIntBetween(0, 3000)
          let runs = 0
          const handler = (which: Items) =>
            run(
              which,
              Effect.gen(function* () {
                const now = yield* Clock.currentTimeMillis
                if (now >= from && now < from + 30_000) {
                  // Those that ran as it began, as many as trip it, and a probe each time.
                  never(++runs > 2 * concurrency + 3 + 10, `${runs} ran in the outage, ${concurrency} at once`)
                  return yield* Effect.fail("down")
                }
                yield* takesAWhile
                return yield* sometimesFails
              })
            )
          return {
            handled: (handle) => items(bodies.get(handle) ?? "").every((item) => done.has(item)),
            run: (self) => stage(known(self)).pipe(Pipeline.process(handler, { concurrency, retry: again, circuit }))
          }
        })
      )

      check(
        "a quota: it bounds the messages that are received, however many deliveries they become",
        scenario,
        (world) =>
          Effect.gen(function* () {
            const { bodies, done, known, never, run } = track(world, scenario)
            const limiter = yield* Effect.provide(RateLimiter.make, RateLimiter.layerStoreMemory)
            const limit = yield* Random.nextIntBetween(2, 20)
            const quota = yield* Quota.make(limiter, { name: "api", limit, burst: 1, otherwise: "wait" }).pipe(
              Effect.orDie
            )
            const concurrency = yield* Random.nextIntBetween(1, 8)
            let received = 0
            return {
              quota,
              handled: (handle) => items(bodies.get(handle) ?? "").every((item) => done.has(item)),
              run: (self) =>
                stage(
                  Stream.tap(known(self), () =>
                    Effect.map(Clock.currentTimeMillis, (now) =>
                      never(++received > 2 + (1.05 * limit * now) / 1000, `${received} at ${now}, of ${limit} a second`)
                    )
                  )
                ).pipe(
                  Pipeline.process((which) => run(which, Effect.zipRight(takesAWhile, sometimesFails)), {
                    concurrency,
                    retry: again
                  })
                )
            }
          })
      )
    }
  })
}

describe("once around batches of batches", () => {
  it(
    "keeps what is behind one that waits, in any of its groups, and behind those in theirs",
    simulated(
      Effect.gen(function* () {
        const queue = yield* MemoryQueue.make({ ordered: true })
        for (const body of ["a1", "a2", "a3", "b1", "b2", "c1"]) yield* queue.send([{ body, group: body.charAt(0) }])
        const store = yield* IdempotencyStore.IdempotencyStore
        const holdFor = Duration.seconds(7)
        yield* store.begin([{ key: "a1 a2", owner: "another", holdFor, fingerprint: undefined }])
        const ran: Array<string> = []
        yield* Consumer.stream(queue, { drainWhen: queue.idle }).pipe(
          Pipeline.batch({ max: 2 }),
          Pipeline.processBatches((pairs) => Effect.sync(() => void ran.push(...pairs.map((pair) => pair.join(" ")))), {
            max: 3,
            within: "1 second",
            once: Idempotency.by((pair: ReadonlyArray<string>) => pair.join(" "))
          }),
          Stream.runDrain
        )
        assert.deepStrictEqual(ran, ["a1 a2", "a3 b1", "b2 c1"])
      }).pipe(Effect.provide(MemoryIdempotencyStore.layer()))
    )
  )
})
