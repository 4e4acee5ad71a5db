import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Scope, TestClock } from "effect"
import * as Deadlines from "../src/internal/client/deadlines.js"

describe("deadlines", () => {
  it.scoped("each call expires at its own time and once, also after idle spells; a cancelled one never", () =>
    Effect.gen(function* () {
      const after = yield* Deadlines.make
      const expired: Array<string> = []
      const start = (name: string, millis: number) => after(millis, () => expired.push(name))
      start("long", 25_000)
      const answered = start("answered", 5_000)
      yield* TestClock.adjust("2 seconds")
      start("short", 5_000)
      answered()
      yield* TestClock.adjust("4999 millis")
      assert.deepStrictEqual(expired, [])
      yield* TestClock.adjust("1 millis")
      assert.deepStrictEqual(expired, ["short"])
      yield* TestClock.adjust("18 seconds")
      assert.deepStrictEqual(expired, ["short", "long"])
      yield* TestClock.adjust("1 hour")
      start("later", 5_000)
      yield* TestClock.adjust("5 seconds")
      assert.deepStrictEqual(expired, ["short", "long", "later"])
      yield* TestClock.adjust("1 hour")
      assert.strictEqual(expired.length, 3)
    })
  )

  it.effect("nothing expires once the scope is closed", () =>
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      const after = yield* Scope.extend(Deadlines.make, scope)
      let expired = false
      after(1_000, () => {
        expired = true
      })
      yield* Scope.close(scope, Exit.void)
      yield* TestClock.adjust("1 minute")
      assert.isFalse(expired)
    })
  )
})
