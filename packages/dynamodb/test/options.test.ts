/** Every object of options of this package: what TypeScript refuses is refused at run time too. */
import { join } from "node:path"
import { DynamoDBClient } from "@aws-sdk/client-dynamodb"
import { describe } from "@effect/vitest"
import { DynamoDbIdempotencyStore } from "@millrace/dynamodb"
import { Layer } from "effect"
import { type Row, testCoverage, testRows } from "../../../test/support/options.js"

/** Nothing listens there, and no call is awaited. */
const client = new DynamoDBClient({
  region: "eu-west-1",
  endpoint: "http://127.0.0.1:1",
  maxAttempts: 1,
  credentials: { accessKeyId: "test", secretAccessKey: "test" }
})

const rows: ReadonlyArray<Row<never>> = [
  {
    what: "DynamoDbIdempotencyStore.make",
    of: ["DynamoDbIdempotencyStore.Options"],
    names: ["client", "table", "keyAttribute", "data"],
    least: { client, table: "once" },
    free: ["table", "keyAttribute"],
    use: (o) => DynamoDbIdempotencyStore.make(o)
  }
]

describe("options", () => {
  testRows(rows, Layer.empty)
  testCoverage(join(import.meta.dirname, "../src"), rows)
})
