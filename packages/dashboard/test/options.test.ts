/** Every object of options of this package: what TypeScript refuses is refused at run time too. */
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Consumer } from "@millrace/core"
import { MemoryQueue } from "@millrace/core/testing"
import { Bodies, Dashboard } from "@millrace/dashboard"
import { Effect, Layer, type Scope } from "effect"
import { type Row, refusalOf, testCoverage, testRows } from "../../../test/support/options.js"

type Use = (options: never) => Effect.Effect<unknown, unknown, Scope.Scope>

const consumers = Effect.succeed({})

const withEntry: Use = (entry: object) =>
  Effect.gen(function* () {
    const consumer = yield* Consumer.make(yield* MemoryQueue.make())
    const shown: Dashboard.Entry = { consumer, ...entry }
    yield* Dashboard.make({ port: 0, consumers: Effect.succeed({ orders: shown }) })
  })

const rows: ReadonlyArray<Row<never>> = [
  {
    what: "Dashboard.make",
    of: ["Dashboard.Options"],
    names: ["consumers", "port", "host", "token", "hosts", "every", "history", "diagnosis", "pages"],
    least: { consumers, port: 0 },
    free: ["host"],
    use: (o) => Dashboard.make(o)
  },
  {
    what: "Bodies.make",
    of: ["Bodies.Options"],
    names: ["keep", "longest"],
    use: (o) => Bodies.make(o)
  }
]

describe("options", () => {
  testRows(rows, Layer.empty)
  // Those of the guard are made of the dashboard's.
  testCoverage(join(import.meta.dirname, "../src"), rows, ["guard.Options"])

  it.effect("a shown consumer: unknown names and values of no type that they can have are refused by name", () =>
    Effect.gen(function* () {
      for (const name of ["consumer", "backlog", "controls", "bodies"]) {
        assert.include(yield* refusalOf(withEntry, { [`${name}x`]: undefined }), `${name}?`)
        for (const value of [null, Symbol("x"), { nothing: "of this" }, -1, ["", 1]]) {
          assert.match(
            (yield* refusalOf(withEntry, { [name]: value })) ?? "",
            new RegExp(`${name}.*; (write|there are|did) `)
          )
        }
      }
    })
  )

  it.effect("a token that is given openly is refused and not shown", () =>
    Effect.gen(function* () {
      const message = yield* refusalOf((o) => Dashboard.make(o), { consumers, token: "a secret of many characters" })
      assert.notInclude(message, "secret of many")
      assert.include(message, "write a Redacted")
    })
  )
})
