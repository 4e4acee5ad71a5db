/** Every object of options of this package: what TypeScript refuses is refused at run time too. */
import { join } from "node:path"
import { describe } from "@effect/vitest"
import { RedisIdempotencyStore } from "@millrace/redis"
import { Effect, Layer } from "effect"
import { Redis } from "ioredis"
import { type Row, testCoverage, testRows } from "../../../test/support/options.js"

/** It is called by nothing here. */
const redis = new Redis({ lazyConnect: true })

const rows: ReadonlyArray<Row<never>> = [
  {
    what: "RedisIdempotencyStore.make",
    of: ["RedisIdempotencyStore.Options"],
    names: ["prefix", "resultBytes"],
    free: ["prefix"],
    use: (o) => Effect.sync(() => RedisIdempotencyStore.make(redis, o))
  }
]

describe("options", () => {
  testRows(rows, Layer.empty)
  testCoverage(join(import.meta.dirname, "../src"), rows)
})
