/** Keys of `once` in this process alone: for tests, and where one process takes it all. */
import * as MemoryIdempotencyStore from "@millrace/core/testing/MemoryIdempotencyStore"
import type { Store } from "./types.js"

export const memoryStore = (): Store => MemoryIdempotencyStore.layer()
