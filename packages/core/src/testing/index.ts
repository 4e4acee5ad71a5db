export * as MemoryQueue from "./MemoryQueue.js"
