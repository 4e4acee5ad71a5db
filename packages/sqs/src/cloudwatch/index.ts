export * as CloudWatchAge from "./CloudWatchAge.js"
export * as CloudWatchAlarms from "./CloudWatchAlarms.js"
export * as CloudWatchClient from "./CloudWatchClient.js"
export * as CloudWatchMetrics from "./CloudWatchMetrics.js"
