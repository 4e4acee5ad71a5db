import { assert, it } from "@effect/vitest"
import { Effect } from "effect"
import { run } from "./support/Program.js"

it.live(
  "a function as it is deployed ships each order of its mapping once, and what it cannot is a dead letter",
  () =>
    Effect.gen(function* () {
      const { code, stderr, stdout } = yield* run("lambda", [])
      assert.strictEqual(code, 0, stdout + stderr)
      assert.match(stdout, /198 of 200 orders shipped once, 0 more often/)
      assert.match(stdout, /dead letters:\n {2}\{"id": "twenty"\}\n {2}\{"id":40,"item":"unicorn"\}\nEach order is/)
      // Those that found the warehouse busy were reported, and came again.
      const reported = [...stdout.matchAll(/^ *[\d.]+ s +\d+ +(\d+) {2}answered/gm)].map(([, n]) => Number(n))
      assert.isAtLeast(
        reported.reduce((sum, n) => sum + n, 0),
        20
      )
    }),
  { timeout: 120_000 }
)
