// In a file of its own: the SDK gives its notice once a process.
import { assert, it, vi } from "@effect/vitest"
import { Effect, Layer } from "effect"
import * as FakeServer from "./support/FakeServer.js"

const flag = "AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED"

it.scopedLive("making a client prints no notice of Node's version, and leaves the environment as it was", () =>
  Effect.gen(function* () {
    // The project's tests run with the notice switched off.
    delete process.env[flag]
    const emitted = vi.spyOn(process, "emitWarning")
    const before = { ...process.env }
    yield* Layer.build(FakeServer.layer("http://127.0.0.1:1"))
    assert.deepStrictEqual(emitted.mock.calls, [])
    assert.deepStrictEqual({ ...process.env }, before)
    process.env[flag] = "as it was"
    yield* Layer.build(FakeServer.layer("http://127.0.0.1:1"))
    assert.strictEqual(process.env[flag], "as it was")
    delete process.env[flag]
  })
)
