/** Every object of options of this package: what TypeScript refuses is refused at run time too. */
import { assert, describe, it } from "@effect/vitest"
import { Consumer, InvalidOptions } from "@millrace/core"
import { MemoryQueue } from "@millrace/core/testing"
import { Bodies, Dashboard } from "@millrace/dashboard"
import { Effect, type Scope } from "effect"

type Use = (options: never) => Effect.Effect<unknown, unknown, Scope.Scope>

const consumers = Effect.succeed({})

const withEntry: Use = (entry: object) =>
  Effect.gen(function* () {
    const consumer = yield* Consumer.make(yield* MemoryQueue.make())
    const shown: Dashboard.Entry = { consumer, ...entry }
    yield* Dashboard.make({ port: 0, consumers: Effect.succeed({ orders: shown }) })
  })

const rows: ReadonlyArray<readonly [string, ReadonlyArray<string>, object, Use]> = [
  [
    "Dashboard.make",
    ["consumers", "port", "host", "token", "hosts", "every", "history", "diagnosis", "pages"],
    { consumers },
    (o) => Dashboard.make(o)
  ],
  ["a shown consumer", ["consumer", "backlog", "controls", "bodies"], {}, withEntry],
  ["Bodies.make", ["keep", "longest"], {}, (o) => Bodies.make(o)]
]

const refusalOf = (use: Use, options: object) =>
  Effect.map(Effect.flip(Effect.scoped(use(options as never))), (error) =>
    error instanceof InvalidOptions.InvalidOptions ? error : assert.fail(String(error))
  )

describe("options", () => {
  for (const [what, names, least, use] of rows) {
    it.effect(`${what}: unknown names and values of no type that they can have are refused by name`, () =>
      Effect.gen(function* () {
        for (const name of names) {
          const misspelt = yield* refusalOf(use, { ...least, [`${name}x`]: undefined })
          assert.include(misspelt.message, `${name}?`)
          for (const value of [null, Symbol("x"), { nothing: "of this" }, -1, ["", 1]]) {
            const refused = yield* refusalOf(use, { ...least, [name]: value })
            assert.include(refused.option, name)
            assert.match(refused.message, /; (write|there are|did you mean) /)
          }
        }
      })
    )
  }

  it.effect("a token that is given openly is refused and not shown", () =>
    Effect.gen(function* () {
      const { message } = yield* refusalOf((o) => Dashboard.make(o), {
        consumers,
        token: "a secret of many characters"
      })
      assert.notInclude(message, "secret of many")
      assert.include(message, "write a Redacted")
    })
  )
})
