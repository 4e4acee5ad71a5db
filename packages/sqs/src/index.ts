export * as SqsClient from "./SqsClient.js"
export * as SqsError from "./SqsError.js"
export * as SqsLeaseQueue from "./SqsLeaseQueue.js"
export * as SqsQueue from "./SqsQueue.js"
