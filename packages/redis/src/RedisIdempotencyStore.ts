/**
 * An `IdempotencyStore` in Redis, through ioredis: a hash a key, which Redis itself lets expire, by its own clock. Each
 * entry is one script, atomic on its key, so that it works on a cluster; the entries of a call share one round trip.
 */
import { createHash } from "node:crypto"
import {
  type Begun,
  type Claim,
  IdempotencyStore,
  IdempotencyStoreError,
  type Known,
  type Operation,
  type Service
} from "@millrace/core/IdempotencyStore"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import type { Cluster, Redis } from "ioredis"

export interface Options {
  /** What every key in Redis begins with. Default: `millrace:once:`. */
  readonly prefix?: string | undefined
  /** The longest result that is kept, in bytes. Default 1 MiB. */
  readonly resultBytes?: number | undefined
}

interface Script {
  readonly text: string
  readonly sha: string
}

const script = (text: string): Script => ({ text, sha: createHash("sha1").update(text).digest("hex") })

// o: owner, s: 1 when it is done, f: fingerprint, r: result. What is not there is an absent field.
const begin = script(`
local r = redis.call('HMGET', KEYS[1], 'o', 's', 'f', 'r')
if r[1] and (r[2] == '1' or r[1] ~= ARGV[1]) then
  return {r[2], redis.call('PTTL', KEYS[1]), r[3], r[4]}
end
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], 'o', ARGV[1], 's', '0')
if ARGV[3] then redis.call('HSET', KEYS[1], 'f', ARGV[3]) end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return {'claimed'}`)

const extend = script(`
local r = redis.call('HMGET', KEYS[1], 'o', 's')
if r[1] ~= ARGV[1] or r[2] ~= '0' then return 0 end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 1`)

const complete = script(`
local o = redis.call('HGET', KEYS[1], 'o')
if o and o ~= ARGV[1] then return 0 end
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], 'o', ARGV[1], 's', '1')
if ARGV[3] == '1' then redis.call('HSET', KEYS[1], 'f', ARGV[4]) end
if ARGV[5] == '1' then redis.call('HSET', KEYS[1], 'r', ARGV[6]) end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 1`)

const abandon = script(`
local r = redis.call('HMGET', KEYS[1], 'o', 's')
if r[1] == ARGV[1] and r[2] == '0' then redis.call('DEL', KEYS[1]) end
return 1`)

const lookUp = script(`
local r = redis.call('HMGET', KEYS[1], 'o', 's', 'f', 'r')
if not r[1] then return false end
return {r[2], redis.call('PTTL', KEYS[1]), r[3], r[4]}`)

const optional = (value: unknown): string | undefined =>
  value === null || value === undefined ? undefined : String(value)

const known = (answer: ReadonlyArray<unknown>): Known => {
  const fingerprint = optional(answer[2])
  return answer[0] === "1"
    ? { _tag: "Done", result: optional(answer[3]), fingerprint }
    : { _tag: "Busy", endsIn: Duration.millis(Math.max(0, Number(answer[1]))), fingerprint }
}

const millis = (duration: Duration.Duration): string => String(Math.max(1, Math.ceil(Duration.toMillis(duration))))

const retryable = (cause: unknown): boolean =>
  !(cause instanceof Error && /^(NOAUTH|WRONGPASS|NOPERM)/.test(cause.message))

/** The store over a connection, or a cluster's, which stays the caller's to close. */
export const make = (redis: Redis | Cluster, options: Options = {}): Service => {
  const { prefix = "millrace:once:", resultBytes = 1024 * 1024 } = options

  const run = async ({ sha, text }: Script, key: string, args: ReadonlyArray<string>): Promise<unknown> => {
    try {
      return await redis.evalsha(sha, 1, `${prefix}${key}`, ...args)
    } catch (error) {
      // The server does not know it yet, or has been started anew.
      if (error instanceof Error && error.message.startsWith("NOSCRIPT")) {
        return redis.eval(text, 1, `${prefix}${key}`, ...args)
      }
      throw error
    }
  }

  const call = <E extends Claim | { readonly key: string }, A>(
    operation: Operation,
    of: Script,
    entries: ReadonlyArray<E>,
    args: (entry: E) => ReadonlyArray<string>,
    read: (answer: unknown) => A
  ): Effect.Effect<ReadonlyArray<A>, IdempotencyStoreError> =>
    Effect.tryPromise({
      try: () => Promise.all(entries.map((entry) => run(of, entry.key, args(entry)))),
      catch: (cause) =>
        new IdempotencyStoreError({
          operation,
          retryable: retryable(cause),
          message: cause instanceof Error ? cause.message : String(cause),
          cause
        })
    }).pipe(Effect.map((answers) => answers.map(read)))

  const isOne = (answer: unknown) => answer === 1

  return {
    limits: { batchSize: 25, resultBytes },
    begin: (entries) =>
      call(
        "begin",
        begin,
        entries,
        ({ fingerprint, holdFor, owner }) => [
          owner,
          millis(holdFor),
          ...(fingerprint === undefined ? [] : [fingerprint])
        ],
        (answer): Begun => (Array.isArray(answer) && answer[0] !== "claimed" ? known(answer) : { _tag: "Claimed" })
      ),
    extend: (entries) => call("extend", extend, entries, ({ holdFor, owner }) => [owner, millis(holdFor)], isOne),
    complete: (entries) =>
      call(
        "complete",
        complete,
        entries,
        ({ fingerprint, keepFor, owner, result }) => [
          owner,
          millis(keepFor),
          ...(fingerprint === undefined ? ["0", ""] : ["1", fingerprint]),
          ...(result === undefined ? ["0", ""] : ["1", result])
        ],
        isOne
      ),
    abandon: (claims) => Effect.asVoid(call("abandon", abandon, claims, ({ owner }) => [owner], isOne)),
    lookUp: (key) =>
      Effect.map(
        call(
          "lookUp",
          lookUp,
          [{ key }],
          () => [],
          (answer) => (Array.isArray(answer) ? Option.some(known(answer)) : Option.none<Known>())
        ),
        ([found]) => found ?? Option.none()
      )
  }
}

/** The store as a service. */
export const layer = (redis: Redis | Cluster, options: Options = {}): Layer.Layer<IdempotencyStore> =>
  Layer.succeed(IdempotencyStore, make(redis, options))
