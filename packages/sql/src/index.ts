export * as SqlIdempotencyStore from "./SqlIdempotencyStore.js"
export * as SqlMigrations from "./SqlMigrations.js"
