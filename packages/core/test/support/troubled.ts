/**
 * A pipeline on a queue in memory that fails calls, loses answers and fails entries, ended in any way and at any moment;
 * and what must hold of it whatever its stages are. What is checked is what the queue sees.
 */
import { assert } from "@effect/vitest"
import { Consumer, type Delivery, type InvalidOptions, type LeaseQueue, type Quota } from "@millrace/core"
import { MemoryQueue } from "@millrace/core/testing"
import { Effect, Fiber, Logger, LogLevel, Random, type Scope, Stream } from "effect"
import { watched } from "./watched.js"

export interface Scenario {
  readonly ordered: boolean
  readonly faults: boolean
  readonly end: "finish" | "drain" | "interrupt"
}

export const scenarios: ReadonlyArray<Scenario> = [true, false].flatMap((ordered) =>
  [true, false].flatMap((faults) =>
    (["finish", "drain", "interrupt"] as const).map((end) => ({ ordered, faults, end }))
  )
)

export const named = ({ end, faults, ordered }: Scenario): string =>
  `${ordered ? "an ordered" : "a standard"} queue${faults ? " that fails" : ""}, ended by ${end}`

type Deliveries = Stream.Stream<Delivery.Delivery<string>, MemoryQueue.MemoryQueueError | InvalidOptions.InvalidOptions>

/** What a scenario's stages may look at. */
export interface World {
  readonly maxInFlight: number
  /** Messages that are not in the queue any more, by id. */
  readonly gone: ReadonlySet<string>
  /** For what a handler sees that must not be: what it throws is a failure of its own, which is tried again. */
  readonly violations: Array<string>
  /** Messages by the order of their group, or all of them. */
  readonly before: (body: string) => ReadonlyArray<string>
}

/** Sends bodies `a0`, `a1`, `b0`, …: group and place. `handled` says whether a handler has finished all of that message. */
export const troubled = (
  { end, faults, ordered }: Scenario,
  pipeline: (world: World) => Effect.Effect<
    {
      readonly run: (self: Deliveries) => Stream.Stream<unknown, unknown>
      readonly handled: (handle: string) => boolean
      readonly quota?: Quota.Quota
    },
    never,
    Scope.Scope
  >
) =>
  Effect.gen(function* () {
    const messages = yield* Random.nextIntBetween(1, 60)
    const maxInFlight = yield* Random.nextIntBetween(1, 40)
    const groups = yield* Random.nextIntBetween(1, 6)
    const odds = faults ? yield* Random.nextRange(0, 0.25) : 0
    const gone = new Set<string>()
    const expired: Array<string> = []
    const queue = yield* MemoryQueue.make({
      ordered,
      latency: yield* Random.nextIntBetween(0, 50),
      leaseDuration: "30 seconds",
      strandAborted: faults,
      onEvent: ({ attempt, body, id, type }) => {
        if (type === "Acked" || type === "DeadLettered") gone.add(body)
        if (type === "Expired") expired.push(`${id}/${attempt}`)
      },
      faults: () =>
        Effect.gen(function* () {
          if ((yield* Random.next) >= odds) return undefined
          const kind = (yield* Random.nextBoolean) ? ("throttled" as const) : ("transient" as const)
          const which = yield* Random.nextIntBetween(0, 4)
          const bad = yield* Random.nextIntBetween(0, 10)
          if (which === 0) return { fail: kind }
          if (which === 1) return { drop: kind }
          if (which === 2) return { delay: bad * 1000 }
          return { entries: (_: LeaseQueue.Lease, i: number) => (i === bad ? ("Transient" as const) : undefined) }
        })
    })
    const bodies = Array.from({ length: messages }, (_, i) => ({
      body: `${String.fromCharCode(97 + (i % groups))}${Math.floor(i / groups)}`,
      group: String.fromCharCode(97 + (i % groups))
    }))
    yield* queue.send(bodies)
    const watch = watched(queue, maxInFlight)
    const { violations } = watch
    const { handled, quota, run } = yield* pipeline({
      maxInFlight,
      gone,
      violations,
      before: (body) =>
        Array.from({ length: Number(body.slice(1)) }, (_, i) => `${body.charAt(0)}${i}`).filter((one) => !gone.has(one))
    })
    const consumer = yield* Consumer.make(
      {
        ...watch.queue,
        ack: (leases) => {
          for (const { handle } of leases) if (!handled(handle)) violations.push(`${handle} was deleted unhandled`)
          return watch.queue.ack(leases)
        }
      },
      { maxInFlight, ...(quota === undefined ? {} : { quota }) }
    )
    const fiber = yield* Effect.fork(Stream.runDrain(run(consumer.stream)))
    const early = Effect.flatMap(Random.nextIntBetween(0, 20_000), (millis) => Effect.sleep(millis))
    if (end === "finish") yield* queue.idle
    else yield* Effect.race(early, queue.idle)
    if (end === "interrupt") {
      yield* Fiber.interrupt(fiber)
      watch.stop()
    } else {
      yield* consumer.drain({ deadline: "10 seconds" })
      watch.stop()
      yield* Fiber.join(fiber)
    }
    yield* Effect.sleep("10 minutes")

    assert.deepStrictEqual(violations, [])
    const stats = yield* queue.stats
    assert.strictEqual(stats.acked + stats.visible + stats.deadLettered, messages, "every message is somewhere")
    if (end === "finish") assert.strictEqual(gone.size, messages, "all were worked off")
    if (!faults) {
      const lost = expired.filter((handle) => watch.endedBy.get(handle) !== "setLease")
      assert.deepStrictEqual(lost, [], "no lease ran out but by its retry's delay")
    }
    const own = yield* consumer.stats
    assert.strictEqual(own.inFlight, 0, "every permit is back")
    const ends = own.acked + own.retried + own.released + own.deadLettered + own.left + own.lost
    assert.strictEqual(ends, own.received, "every delivery ended once")
    assert.isAtMost(own.peakInFlight, maxInFlight)
  }).pipe(Effect.scoped, Logger.withMinimumLogLevel(LogLevel.None))
