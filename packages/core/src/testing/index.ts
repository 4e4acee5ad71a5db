export * as Conformance from "./Conformance.js"
export * as MemoryQueue from "./MemoryQueue.js"
export * as Simulation from "./Simulation.js"
