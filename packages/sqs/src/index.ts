export * as SqsClient from "./SqsClient.js"
export * as SqsError from "./SqsError.js"
