export * as LeaseQueue from "./LeaseQueue.js"
