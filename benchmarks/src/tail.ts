import { Effect } from "effect"
import type { Benchmark } from "./Benchmark.js"
export const benchmark: Benchmark = { about: "-", run: () => Effect.dieMessage("not yet") }
