export * as SqlIdempotencyStore from "./SqlIdempotencyStore.js"
export * as SqlInbox from "./SqlInbox.js"
export * as SqlMigrations from "./SqlMigrations.js"
export * as SqlOutbox from "./SqlOutbox.js"
