/**
 * An `IdempotencyStore` in Redis, through ioredis: a hash a key, which Redis itself lets expire, by its own clock. Each
 * entry is one script, atomic on its key, so that it works on a cluster; the entries of a call share one round trip.
 */
import {
  type Begun,
  type Claim,
  IdempotencyStore,
  IdempotencyStoreError,
  type Known,
  type Operation,
  type Service
} from "@millrace/core/IdempotencyStore"
import * as InvalidOptions from "@millrace/core/InvalidOptions"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import type { Cluster, Redis } from "ioredis"
import { abandon, begin, complete, extend, lookUp, type Script } from "./internal/scripts.js"

export interface Options {
  /** What every key in Redis begins with. Default: `millrace:once:`. */
  readonly prefix?: string | undefined
  /** The longest result that is kept, in bytes. Default 1 MiB. */
  readonly resultBytes?: number | undefined
}

const checks: InvalidOptions.Checks<Options> = {
  prefix: InvalidOptions.text,
  resultBytes: InvalidOptions.aWholeNumber({ min: 1 })
}

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

/**
 * The store over a connection, or a cluster's, which stays the caller's to close. Throws `InvalidOptions` where an option
 * cannot work.
 */
export const make = (redis: Redis | Cluster, options: Options = {}): Service => {
  InvalidOptions.checkOrThrow("RedisIdempotencyStore", options, checks)
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
  Layer.sync(IdempotencyStore, () => make(redis, options))
