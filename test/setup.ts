/** Runs before each file. Files share a process, and `layer` of @effect/vitest leaves its own `it.effect` behind for all. */
import { effect, flakyTest, it, layer, prop, scoped } from "@effect/vitest"

Object.assign(it, { effect, flakyTest, layer, prop, scoped })
