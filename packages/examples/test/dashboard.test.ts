import { assert, describe, it } from "@effect/vitest"
import { Clock, Effect, Fiber, TestClock } from "effect"
import { withSpeed } from "../src/FastClock.js"
import * as Options from "../src/main-job/Options.js"
import { run } from "./support/Program.js"

describe("the dashboard of the examples", { timeout: 120_000 }, () => {
  it.effect("is asked for by --dashboard alone, on a port of one's own", () =>
    Effect.gen(function* () {
      assert.strictEqual((yield* Options.read([]))?.dashboard, undefined)
      assert.strictEqual((yield* Options.read(["--port", "8080"]))?.dashboard, undefined)
      assert.strictEqual((yield* Options.read(["--dashboard"]))?.dashboard, 4400)
      assert.strictEqual((yield* Options.read(["--dashboard", "--port", "0"]))?.dashboard, 0)
      assert.match(
        (yield* Effect.flip(Options.read(["--port", "http"]))).message,
        /^--port is "http"; write a port's number/
      )
    })
  )

  it.live("the main job serves it, does its work, and stays until Ctrl-C", () =>
    Effect.gen(function* () {
      const { code, stderr, stdout } = yield* run("main-job", ["--fast", "--dashboard", "--port", "0"], {
        signalOn: (stdout) => (/stays at .* until Ctrl-C/.test(stdout) ? "SIGINT" : undefined)
      })
      assert.match(stdout, /The dashboard: http:\/\/127\.0\.0\.1:\d+\n/)
      assert.match(stdout, /every message handled, none lost/)
      assert.strictEqual(stderr.trim(), "Interrupted.")
      assert.strictEqual(code, 130)
    })
  )

  it.effect("a replay goes by a clock that is ten times as fast", () =>
    Effect.gen(function* () {
      const slept = Effect.gen(function* () {
        const begun = yield* Clock.currentTimeMillis
        yield* Effect.sleep("10 seconds")
        return (yield* Clock.currentTimeMillis) - begun
      })
      const fiber = yield* Effect.fork(slept.pipe(withSpeed(10)))
      yield* TestClock.adjust("1 second")
      assert.strictEqual(yield* Fiber.join(fiber), 10_000)
    })
  )
})
