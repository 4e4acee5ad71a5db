/** Keeps what is of one group in order; for those who build another consumer. Its story is in `internal/lease/order.ts`. */
export * from "./internal/lease/order.js"
