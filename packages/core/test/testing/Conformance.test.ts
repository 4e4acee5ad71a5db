import { describe, expect, it } from "@effect/vitest"
import type { LeaseQueue } from "@millrace/core"
import { Conformance, MemoryQueue } from "@millrace/core/testing"
import { Duration, Effect, Either, TestClock } from "effect"

type Sabotage = (queue: MemoryQueue.MemoryQueue) => Partial<MemoryQueue.MemoryQueue>

const harness = (options: MemoryQueue.Options, sabotage: Sabotage = () => ({})) =>
  Effect.map(MemoryQueue.make(options), (queue) => ({
    queue: { ...queue, ...sabotage(queue) },
    send: queue.send,
    pass: TestClock.adjust,
    deadLetters: Effect.map(queue.deadLetters, (letters) => letters.map(({ message }) => message.body))
  }))

describe.each([
  { ordered: false, deadLetters: true },
  { ordered: true, deadLetters: true },
  { ordered: false, deadLetters: false }
])("MemoryQueue conforms to the port: $ordered $deadLetters", (traits) => {
  for (const { effect, name } of Conformance.cases(harness(traits), traits)) it.effect(name, () => effect)
})

/** Ways to break the port, and a part of the name of a case that must notice it. */
const defects: ReadonlyArray<readonly [name: string, noticedBy: string, ordered: boolean, Sabotage]> = [
  ["no limit on a receive", "at most `max`", false, ({ receive }) => ({ receive: (r) => receive({ ...r, max: 10 }) })],
  [
    "no wait",
    "when the wait is over",
    false,
    ({ receive }) => ({ receive: (r) => receive({ ...r, wait: Duration.zero }) })
  ],
  [
    "a deaf wait",
    "wakes on a send",
    false,
    ({ receive }) => ({
      receive: (r) => Effect.zipRight(Effect.sleep(r.wait), receive({ ...r, wait: Duration.zero }))
    })
  ],
  [
    "an ack without effect",
    "gone for good",
    false,
    () => ({ ack: (all) => Effect.succeed(all.map(() => Either.void)) })
  ],
  [
    "results out of order",
    "acks: results stand in the order",
    false,
    ({ ack }) => ({ ack: (all) => Effect.map(ack(all.slice(1).concat(all.slice(0, 1))), (results) => results) })
  ],
  [
    "one bad entry fails the call",
    "fails alone",
    false,
    ({ ack }) => ({
      ack: (all) => (all.some(({ handle }) => handle === "garbage") ? ack([]) : ack(all))
    })
  ],
  [
    "a lease set without effect",
    "extends from now",
    false,
    () => ({ setLease: (all) => Effect.succeed(all.map(() => Either.void)) })
  ],
  [
    "a lease that can only grow",
    "shortens a lease",
    false,
    ({ setLease }) => ({
      setLease: (all) => setLease(all.map((e) => ({ ...e, duration: Duration.max(e.duration, Duration.seconds(30)) })))
    })
  ],
  [
    "no limit on entries",
    "are refused",
    false,
    ({ ack }) => ({
      ack: (all) =>
        Effect.zipWith(ack(all.slice(0, 10)), all.length > 10 ? ack(all.slice(10)) : Effect.succeed([]), (a, b) => [
          ...a,
          ...b
        ])
    })
  ],
  [
    "attempts not counted",
    "then comes again",
    false,
    ({ receive }) => ({
      receive: (r) => Effect.map(receive(r), (messages) => messages.map((message) => ({ ...message, attempt: 1 })))
    })
  ],
  [
    "attempt ids ignored",
    "repeated by its attempt id",
    true,
    ({ receive }) => ({ receive: (r) => receive({ ...r, attemptId: undefined }) })
  ],
  [
    "a batch handed out backwards",
    "run of a group",
    true,
    ({ receive }) => ({ receive: (r) => Effect.map(receive(r), (messages) => messages.toReversed()) })
  ],
  [
    "a lapsed batch handed out backwards",
    "whose leases ran out",
    true,
    ({ receive }) => ({ receive: (r) => Effect.map(receive(r), (messages) => messages.toReversed()) })
  ],
  [
    "a head that cannot be given back",
    "a head that was given back",
    true,
    () => ({ setLease: (all) => Effect.succeed(all.map(() => Either.void)) })
  ],
  [
    "a dead letter that blocks its group",
    "frees its group",
    true,
    () => ({ deadLetter: (all) => Effect.succeed(all.map(() => Either.void)) })
  ],
  [
    "a dead letter that stays in the queue",
    "moved once",
    false,
    () => ({ deadLetter: (all) => Effect.succeed(all.map(() => Either.void)) })
  ]
]

describe("the suite notices", () => {
  for (const [name, noticedBy, ordered, sabotage] of defects) {
    const traits = { ordered, deadLetters: true }
    const noticing = Conformance.cases(harness(traits, sabotage), traits).filter((c) => c.name.includes(noticedBy))
    it.effect(name, () =>
      Effect.gen(function* () {
        const results = yield* Effect.forEach(noticing, ({ effect }) => Effect.either(effect))
        expect(results.some((result) => Either.isLeft(result))).toBe(true)
      })
    )
  }

  // What only an ordered queue does is asked of a standard one that claims to be ordered.
  const alsoOfStandard = ["a head that was given back", "whose leases ran out", "frees its group"]
  const traits = { ordered: true, deadLetters: true }
  const unordered = harness({ ordered: false }, ({ limits }) => ({ limits: { ...limits, ordered: true } }))
  for (const { effect, name } of Conformance.cases(unordered, traits)) {
    if (!name.startsWith("ordered:") || alsoOfStandard.some((part) => name.includes(part))) continue
    it.effect(`a standard queue, by "${name}"`, () =>
      Effect.gen(function* () {
        const result = yield* Effect.either(effect)
        expect(result).toMatchObject({ _tag: "Left", left: { _tag: "ConformanceError" } })
      })
    )
  }
})

/** An implementation's own errors stay in a case's type. */
export const typed = <E>(
  queue: LeaseQueue.LeaseQueue<E>
): Effect.Effect<void, E | Conformance.ConformanceError> | undefined =>
  Conformance.cases(Effect.succeed({ queue, send: () => Effect.void, pass: () => Effect.void }), {
    ordered: false,
    deadLetters: false
  })[0]?.effect
