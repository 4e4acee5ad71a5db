export * as LambdaEvent from "./LambdaEvent.js"
export * as SqsLambda from "./SqsLambda.js"
