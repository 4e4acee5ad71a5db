/** Groups of standard queues are seen: in the figures, and as the finding `NoisyTenant`. */
import { assert, describe, it } from "@effect/vitest"
import { Backlog, Consumer, Diagnosis, Pipeline, ProcessLoad, type Share } from "@millrace/core"
import { MemoryQueue } from "@millrace/core/testing"
import { Effect, Stream } from "effect"
import { simulated } from "../support/index.js"

/** One of eleven groups has most of the messages, and more come than are done: what is seen after a minute. */
const observed = (share: Share.Options<unknown> | undefined, told?: Backlog.FairGroups) =>
  Effect.gen(function* () {
    const queue = yield* MemoryQueue.make({ latency: "20 millis" })
    const consumer = yield* Consumer.make(queue, { maxInFlight: 100 })
    const backlog = yield* Backlog.make(
      {
        queue: "memory",
        counts: Effect.map(queue.stats, ({ inFlight, visible }) => ({ visible, inFlight, delayed: 0 })),
        errorKind: () => "transient"
      },
      { groups: Effect.succeed(told) }
    )
    const watched = yield* Diagnosis.of(consumer, backlog)
    yield* consumer.stream.pipe(
      Pipeline.process(() => Effect.sleep("100 millis"), { concurrency: 10, share }),
      Stream.runDrain,
      Effect.fork
    )
    const second = Effect.gen(function* () {
      yield* queue.send(Array.from({ length: 130 }, () => ({ body: "x", group: "noisy" })))
      yield* queue.send(Array.from({ length: 20 }, (_, i) => ({ body: "x", group: `quiet ${i % 10}` })))
      yield* Effect.sleep("1 second")
    })
    yield* Effect.repeatN(second, 59)
    return { figures: yield* consumer.figures, diagnosis: yield* watched.now }
  }).pipe(Effect.provide(ProcessLoad.layerUnknown))

describe("groups of a standard queue", () => {
  it(
    "are counted, with what is in flight, their part of what comes and of the handlers' time",
    simulated(
      Effect.gen(function* () {
        const { figures } = yield* observed(undefined)
        const { groups, groupsInFlight } = figures
        assert.isAtLeast(groupsInFlight, 2)
        const noisy = groups.find(({ group }) => group === "noisy")
        assert.closeTo(noisy?.share ?? 0, 130 / 150, 0.05)
        assert.closeTo(noisy?.time ?? 0, 130 / 150, 0.05)
        assert.isAtLeast(noisy?.inFlight ?? 0, 5)
        assert.isAtMost(groups.length, 30)
      }),
      { seeds: 1, leaks: "interrupt" }
    )
  )

  it(
    "NoisyTenant says which, with its part of the slots' time; with shares there is none",
    simulated(
      Effect.gen(function* () {
        const { diagnosis } = yield* observed(undefined)
        const finding = diagnosis?.findings.find(({ _tag }) => _tag === "NoisyTenant")
        assert.deepInclude(finding?.figures, { group: "noisy" })
        assert.match(
          finding?.evidence ?? "",
          /^Group noisy has 8\d % of the slots' time and 8\d % of what was received/
        )
        assert.notInclude(finding?.evidence ?? "", "The queue takes")
        const quiet = { visible: 12, inFlight: 3, delayed: 0 }
        const told = yield* observed(undefined, { noisy: 1, quiet, quietOldest: undefined })
        const knowing = told.diagnosis?.findings.find(({ _tag }) => _tag === "NoisyTenant")
        assert.deepInclude(knowing?.figures, { noisy: 1, quietWaiting: 12 })
        assert.include(
          knowing?.evidence ?? "",
          "The queue takes 1 for noisy, and 12 messages of quiet groups wait in it."
        )
        const shared = yield* observed({})
        assert.isUndefined(shared.diagnosis?.findings.find(({ _tag }) => _tag === "NoisyTenant"))
      }),
      { seeds: 1, leaks: "interrupt" }
    )
  )
})
