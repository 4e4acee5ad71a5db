/** Keys of `once` in this process alone: for tests, and where one process takes it all. */
import { MemoryIdempotencyStore } from "@millrace/core/testing"
import type { Store } from "./types.js"

export const memoryStore = (): Store => MemoryIdempotencyStore.layer()
