/** Keeps what is of one group in order; for those who build another consumer. Its story is in `internal/lease/groupOrder.ts`. */
export * from "./internal/lease/groupOrder.js"
