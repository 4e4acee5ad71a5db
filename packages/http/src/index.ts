export * as HealthRoute from "./HealthRoute.js"
export * as MetricsRoute from "./MetricsRoute.js"
