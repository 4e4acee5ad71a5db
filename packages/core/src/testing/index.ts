export * as MemoryQueue from "./MemoryQueue.js"
export * as Simulation from "./Simulation.js"
