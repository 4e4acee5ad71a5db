import { describe, expect, it } from "@effect/vitest"
import type { IdempotencyStore } from "@millrace/core"
import { MemoryIdempotencyStore, StoreConformance } from "@millrace/core/testing"
import { Duration, Effect, Either, TestClock } from "effect"

type Service = IdempotencyStore.Service
type Sabotage = (store: Service) => Partial<Service>

const harness = (sabotage: Sabotage = () => ({})) =>
  Effect.map(MemoryIdempotencyStore.make(), (store) => ({
    store: { ...store, ...sabotage(store) },
    pass: TestClock.adjust
  }))

describe("MemoryIdempotencyStore conforms to the port", () => {
  for (const { effect, name } of StoreConformance.cases(harness())) it.effect(name, () => effect)
})

let calls = 0

/** Ways to break the port, and a part of the name of a case that must notice it. */
const defects: ReadonlyArray<readonly [name: string, noticedBy: string, Sabotage]> = [
  [
    "claims for everybody",
    "held against others",
    () => ({ begin: (all) => Effect.succeed(all.map(() => ({ _tag: "Claimed" }))) })
  ],
  [
    "a claim that is not one's own on a second look",
    "begin again",
    ({ begin }) => ({
      begin: (all) => begin(all.map((each, i) => ({ ...each, owner: `${each.owner} ${++calls} ${i}` })))
    })
  ],
  [
    "claims for ever",
    "a claim ends",
    ({ begin }) => ({ begin: (all) => begin(all.map((each) => ({ ...each, holdFor: Duration.days(1) }))) })
  ],
  ["extensions without effect", "is extended holds", () => ({ extend: (all) => Effect.succeed(all.map(() => true)) })],
  [
    "extensions for everybody",
    "only the claim's owner",
    () => ({ extend: (all) => Effect.succeed(all.map(() => true)) })
  ],
  [
    "results that are lost",
    "with its result",
    ({ complete }) => ({ complete: (all) => complete(all.map((each) => ({ ...each, result: undefined }))) })
  ],
  [
    "what is empty is nothing",
    "an empty one",
    ({ complete }) => ({
      complete: (all) => complete(all.map((each) => ({ ...each, result: each.result || undefined })))
    })
  ],
  [
    "done for ever",
    "is forgotten",
    ({ complete }) => ({ complete: (all) => complete(all.map((each) => ({ ...each, keepFor: Duration.days(1) }))) })
  ],
  ["abandoning does nothing", "free at once", () => ({ abandon: () => Effect.void })],
  [
    "keys without case",
    "not the same bytes",
    ({ begin }) => ({ begin: (all) => begin(all.map((each) => ({ ...each, key: each.key.toLowerCase() }))) })
  ],
  [
    "results in another order",
    "in the order of the entries",
    ({ begin }) => ({ begin: (all) => Effect.map(begin(all), (results) => results.toReversed()) })
  ],
  [
    "looks, then takes",
    "at the same moment",
    ({ begin, lookUp }) => ({
      begin: (all) =>
        Effect.gen(function* () {
          const found = yield* lookUp(all[0]?.key ?? "")
          yield* Effect.yieldNow()
          return found._tag === "Some" ? yield* begin(all) : all.map(() => ({ _tag: "Claimed" }) as const)
        })
    })
  ]
]

describe("the suite notices", () => {
  for (const [name, noticedBy, sabotage] of defects) {
    const noticing = StoreConformance.cases(harness(sabotage)).filter((each) => each.name.includes(noticedBy))
    it.effect(name, () =>
      Effect.gen(function* () {
        const results = yield* Effect.forEach(noticing, ({ effect }) => Effect.either(effect))
        expect(results.some(Either.isLeft)).toBe(true)
      })
    )
  }
})
