/** What a failure says, whatever it is: the words of dead letters, figures and logs. */
import { assert, describe, it } from "@effect/vitest"
import { Consumer, Delivery, Pipeline, Reason, RetryPolicy } from "@millrace/core"
import { MemoryQueue } from "@millrace/core/testing"
import { Data, Effect, Fiber, Schema, Stream } from "effect"
import { simulated } from "./support/index.js"

class Declined extends Data.TaggedError("Declined")<{ readonly message: string }> {}
class Silent extends Data.TaggedError("Silent")<{}> {}

const failureOf = <E>(effect: Effect.Effect<unknown, E>) => Effect.runPromise(Effect.flip(effect))

/** Fails its reader at every touch. */
const biting = (): object => {
  const bite = () => {
    throw new Error("bitten")
  }
  return new Proxy({}, { get: bite, has: bite, getPrototypeOf: bite, ownKeys: bite, getOwnPropertyDescriptor: bite })
}

const cyclic = (): object => {
  const object: Record<string, unknown> = { code: 7 }
  object["self"] = object
  return object
}

const bites = "what throws at every touch"

/** What it is, the name that figures count it under, and what its reason has to say. */
const failures: ReadonlyArray<readonly [what: string, failure: unknown, name: string | undefined, reason: RegExp]> = [
  ["a text", "no stock", undefined, /^no stock$/],
  ["an Error", new RangeError("too many"), "RangeError", /^too many$/],
  ["an Error without a message", new RangeError(), "RangeError", /^RangeError$/],
  ["a tagged error", new Declined({ message: "card" }), "Declined", /^Declined: card$/],
  ["a tagged error without a message", new Silent(), "Silent", /^Silent$/],
  ["a tagged object with a message", { _tag: "Declined", message: "card" }, "Declined", /^Declined: card$/],
  ["an object", { code: 402, detail: "card" }, undefined, /402.*card/],
  ["an object with a message", { code: 402, message: "card" }, undefined, /^card$/],
  ["an object that holds itself", cyclic(), undefined, /7/],
  ["an object without a prototype", Object.assign(Object.create(null), { message: "card" }), undefined, /^card$/],
  ["an empty object without a prototype", Object.create(null), undefined, /^\{\}$/],
  ["an array", ["a", "b"], undefined, /a.*b/],
  [
    "an Error with a cause",
    new Error("fetch failed", { cause: new Error("refused") }),
    "Error",
    /^fetch failed: refused$/
  ],
  ["an Error whose cause it tells itself", new Error("a: b", { cause: new Error("b") }), "Error", /^a: b$/],
  ["several errors in one", new AggregateError([new Error("first"), new Error("second")]), "AggregateError", /first/],
  ["undefined", undefined, undefined, /^undefined$/],
  ["null", null, undefined, /^null$/],
  ["a symbol", Symbol("s"), undefined, /^Symbol\(s\)$/],
  ["a function", () => {}, undefined, /^a function$/],
  ["a bigint in an object", { n: 1n }, undefined, /./],
  [bites, biting(), undefined, /cannot be shown/],
  ["a tag that is no text", { _tag: Object.create(null), message: "card" }, undefined, /^card$/],
  ["a message that is no text", Object.assign(new Error(), { message: { a: 1 } }), "Error", /^Error$/],
  [
    "a getter that throws",
    {
      get _tag() {
        throw new Error("tag")
      },
      message: "card"
    },
    undefined,
    /^card$/
  ]
]

describe("a reason", () => {
  for (const [what, failure, name, reason] of failures) {
    it(`of ${what}`, () => {
      assert.match(Reason.of(failure), reason)
      assert.strictEqual(Reason.nameOf(failure), name)
      assert.notInclude(Reason.of(failure), "[object")
    })
  }

  it("looks through the wrappers of Effect.tryPromise, Effect.try and Effect.runPromise", async () => {
    const rejected = await failureOf(Effect.tryPromise(() => Promise.reject(new TypeError("card"))))
    assert.deepStrictEqual([Reason.nameOf(rejected), Reason.of(rejected)], ["TypeError", "card"])
    const thrown = await failureOf(
      Effect.try(() => {
        throw new Declined({ message: "card" })
      })
    )
    assert.deepStrictEqual([Reason.nameOf(thrown), Reason.of(thrown)], ["Declined", "Declined: card"])
    const ran = await failureOf(
      Effect.tryPromise(() => Effect.runPromise(Effect.fail(new Declined({ message: "card" }))))
    )
    assert.deepStrictEqual([Reason.nameOf(ran), Reason.of(ran)], ["Declined", "Declined: card"])
  })

  it("of what a Schema refused has its paths and not its values", async () => {
    const refused = await failureOf(Schema.decodeUnknown(Schema.Struct({ card: Schema.Number }))({ card: "4111" }))
    assert.match(Reason.of(refused), /card: expected number/)
    assert.notInclude(Reason.of(refused), "4111")
  })

  it("of a defect is the defect's, and none is longer than 2,000 characters", () => {
    const defect = new Delivery.HandlerDefect({ messageId: "1", defect: { code: 402 } })
    assert.strictEqual(Reason.of(defect), 'HandlerDefect: {"code":402}')
    assert.strictEqual(Reason.of("x".repeat(5000)).length, 2000)
    assert.strictEqual(Reason.nameOf({ _tag: "x".repeat(5000) })?.length, 100)
  })
})

describe("a handler that fails with anything", () => {
  for (const how of ["fails", "dies", "throws"] as const) {
    it(
      `${how}: its message is dead-lettered and the others are handled`,
      simulated(
        Effect.gen(function* () {
          const memory = yield* MemoryQueue.make()
          // What bites is thrown by nobody: the fiber that catches it would be bitten itself.
          const bodies = failures.flatMap(([what], i) => (how === "throws" && what === bites ? [] : [String(i)]))
          yield* memory.send([...bodies, "well"])
          const consumer = yield* Consumer.make(memory)
          const fiber = yield* consumer.stream.pipe(
            Pipeline.process(
              (body): Effect.Effect<void, unknown> => {
                if (body === "well") return Effect.void
                const failure = failures[Number(body)]?.[1]
                if (how === "throws") throw failure
                return how === "fails" ? Effect.fail(failure) : Effect.die(failure)
              },
              { retry: RetryPolicy.deadLetter }
            ),
            Stream.runDrain,
            Effect.fork
          )
          yield* memory.idle
          const { acked, deadLettered } = yield* consumer.stats
          assert.deepStrictEqual([acked, deadLettered], [1, bodies.length])
          for (const { message, reason } of yield* memory.deadLetters) {
            // Effect itself looks at what it is to fail with.
            if (message.body === String(failures.findIndex(([what]) => what === bites))) continue
            assert.match(reason.replace("HandlerDefect: ", ""), failures[Number(message.body)]?.[3] ?? /^$/)
          }
          yield* Fiber.interrupt(fiber)
        })
      )
    )
  }
})
