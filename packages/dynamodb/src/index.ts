export * as DynamoDbIdempotencyStore from "./DynamoDbIdempotencyStore.js"
export * as PowertoolsKey from "./PowertoolsKey.js"
