/** A quota of three real processes over one real Redis. */
import { execFile } from "node:child_process"
import { join } from "node:path"
import { promisify } from "node:util"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { Redis } from "ioredis"
import { bundled } from "../../../test/support/bundle.js"
import { answers } from "./support/redis.js"

const run = promisify(execFile)
const limit = 200

describe.skipIf(!answers)("a quota of three processes over one Redis", () => {
  it.live(
    "is held within 2 %, and used up",
    () =>
      Effect.gen(function* () {
        const prefix = `millrace test ${process.pid}:`
        const one = Effect.promise(async () => {
          const main = await bundled(join(import.meta.dirname, "support/quotaProcess.ts"))
          const { stdout } = await run(process.execPath, [main, prefix, String(limit), "6"], {
            maxBuffer: 16 * 1024 * 1024
          })
          const began: ReadonlyArray<number> = JSON.parse(stdout.trim().split("\n").at(-1) ?? "[]")
          return began
        })
        const all = yield* Effect.all([one, one, one], { concurrency: "unbounded" }).pipe(
          Effect.ensuring(
            Effect.promise(async () => {
              const redis = new Redis({ host: "127.0.0.1", port: 6379, db: 15 })
              const keys = await redis.keys(`${prefix}*`)
              if (keys.length > 0) await redis.del(...keys)
              await redis.quit()
            })
          )
        )
        for (const began of all) assert.isAbove(began.length, 100, "each has its part")
        // While all three are at it.
        const from = Math.max(...all.map(([first = 0]) => first)) + 500
        const to = Math.min(...all.map((began) => began.at(-1) ?? 0))
        assert.isAbove(to - from, 1500, "they ran together")
        const count = all.flat().filter((at) => at >= from && at < to).length
        const part = count / ((limit * (to - from)) / 1000)
        assert.isAtMost(part, 1.02)
        assert.isAtLeast(part, 0.98)
      }),
    40_000
  )
})
