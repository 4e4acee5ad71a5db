/**
 * Runs before each file. Files share a process, and `layer` of @effect/vitest leaves its own `it.effect` behind for all. And
 * vitest hears nothing of a worker while a test works: a turn of the event loop after each keeps it from giving up.
 */
import { afterEach, effect, flakyTest, it, layer, prop, scoped } from "@effect/vitest"

Object.assign(it, { effect, flakyTest, layer, prop, scoped })

const { setImmediate } = globalThis
afterEach(() => new Promise<void>((resolve) => setImmediate(resolve)))
