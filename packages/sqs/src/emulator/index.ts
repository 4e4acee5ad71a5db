export * as Fault from "./Fault.js"
export * as LambdaPoller from "./LambdaPoller.js"
export * as SqsEmulator from "./SqsEmulator.js"
export * as SqsHttp from "./SqsHttp.js"
