import { assert, describe, it } from "@effect/vitest"
import { StoreConformance } from "@millrace/core/testing"
import { RedisIdempotencyStore } from "@millrace/redis"
import { Duration, Effect } from "effect"
import { Redis } from "ioredis"
import { answers } from "./support/redis.js"

let count = 0

/** A store with keys of its own, which are gone when the scope closes. */
const own = (options: RedisIdempotencyStore.Options = {}) =>
  Effect.gen(function* () {
    const redis = yield* Effect.acquireRelease(
      Effect.sync(() => new Redis({ host: "127.0.0.1", port: 6379, db: 15, lazyConnect: false })),
      (made) => Effect.promise(() => made.quit())
    )
    const prefix = `millrace test ${process.pid} ${++count}:`
    yield* Effect.addFinalizer(() =>
      Effect.promise(async () => {
        const keys = await redis.keys(`${prefix}*`)
        if (keys.length > 0) await redis.del(...keys)
      })
    )
    return { redis, store: RedisIdempotencyStore.make(redis, { prefix, ...options }) }
  })

// Side by side: they wait for Redis' own clock, each with keys of its own.
describe.skipIf(!answers).concurrent("RedisIdempotencyStore conforms to the port", () => {
  const harness = Effect.map(own(), ({ store }) => ({
    store,
    unit: "500 millis" as const,
    pass: (duration: Duration.Duration) => Effect.sleep(duration)
  }))
  for (const { effect, name } of StoreConformance.cases(harness)) it.live(name, () => effect)
})

describe.skipIf(!answers)("a server that has forgotten its scripts", () => {
  it.live("is told them again", () =>
    Effect.gen(function* () {
      const { redis, store } = yield* own()
      const begin = store.begin([{ key: "a", owner: "one", holdFor: Duration.minutes(1), fingerprint: undefined }])
      yield* begin
      yield* Effect.promise(() => redis.script("FLUSH"))
      assert.deepStrictEqual(yield* begin, [{ _tag: "Claimed" }])
    }).pipe(Effect.scoped)
  )
})

it.live("a server that is not there: a typed error, which says that trying again may help", () =>
  Effect.gen(function* () {
    const redis = yield* Effect.acquireRelease(
      Effect.sync(() => {
        const made = new Redis({ host: "127.0.0.1", port: 1, maxRetriesPerRequest: 0 })
        made.on("error", () => {})
        return made
      }),
      (made) => Effect.sync(() => made.disconnect())
    )
    const error = yield* Effect.flip(RedisIdempotencyStore.make(redis).lookUp("a"))
    assert.strictEqual(error._tag, "IdempotencyStoreError")
    assert.isTrue(error.retryable)
  }).pipe(Effect.scoped)
)

it("options that cannot work are refused, and say what to write", () => {
  const redis = new Redis({ lazyConnect: true })
  const make = (options: object) => () => RedisIdempotencyStore.make(redis, options)
  assert.throws(make({ resultBytes: 0 }), /resultBytes is 0; write/)
  assert.throws(make({ prefx: "a" }), /prefx is not an option.*did you mean prefix/)
})
