/**
 * An `IdempotencyStore` in memory, driven by Effect's Clock, that can be told to fail. For tests, and for a process that
 * shares its keys with no other.
 */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import {
  type Begun,
  type Claim,
  IdempotencyStore,
  IdempotencyStoreError,
  type Known,
  type Operation,
  type Service
} from "../IdempotencyStore.js"
import * as InvalidOptions from "../InvalidOptions.js"

/** What goes wrong with one call. Without any field: nothing. */
export interface Fault {
  /** Before the call takes effect, beside the store's latency. */
  readonly delay?: Duration.DurationInput | undefined
  /** The call fails and has no effect. */
  readonly fail?: boolean | undefined
  /** The call takes effect, and its answer is lost: it fails all the same. */
  readonly drop?: boolean | undefined
  /** The call takes effect, and never answers. */
  readonly hang?: boolean | undefined
}

/** A call about to be made, as `Options.faults` sees it. */
export interface Call {
  readonly operation: Operation
  readonly keys: ReadonlyArray<string>
}

export interface Options {
  /** Entries a call. Default: 25. */
  readonly batchSize?: number | undefined
  /** The longest result. Default: 256 KiB. */
  readonly resultBytes?: number | undefined
  /** What a call takes: half of it before the call takes effect, half before its answer arrives. Default: zero. */
  readonly latency?: Duration.DurationInput | undefined
  /** Asked before each call; with Effect's Random a seed decides. */
  readonly faults?: ((call: Call) => Effect.Effect<Fault | undefined>) | undefined
}

/** The store, and the handle on it that a test needs. */
export interface MemoryIdempotencyStore extends Service {
  /** Every call so far, as it was sent. */
  readonly calls: Effect.Effect<ReadonlyArray<Call>>
  /** What is known of each key now. */
  readonly records: Effect.Effect<ReadonlyMap<string, Known>>
}

interface Record {
  readonly owner: string
  readonly done: boolean
  readonly result: string | undefined
  readonly fingerprint: string | undefined
  readonly endsAt: number
}

const known = ({ done, endsAt, fingerprint, result }: Record, now: number): Known =>
  done ? { _tag: "Done", result, fingerprint } : { _tag: "Busy", endsIn: Duration.millis(endsAt - now), fingerprint }

const claimed: Begun = { _tag: "Claimed" }

const checks: InvalidOptions.Checks<Options> = {
  batchSize: InvalidOptions.aWholeNumber({ min: 1 }),
  resultBytes: InvalidOptions.aWholeNumber({ min: 1 }),
  latency: InvalidOptions.time(),
  faults: InvalidOptions.func
}

/** Empty. Options that cannot work are a defect, `InvalidOptions`. */
export const make = (options: Options = {}): Effect.Effect<MemoryIdempotencyStore> =>
  Effect.sync(() => {
    InvalidOptions.checkOrThrow("MemoryIdempotencyStore.make", options, checks)
    const { batchSize = 25, faults, resultBytes = 256 * 1024 } = options
    const half = Duration.times(options.latency ?? Duration.zero, 0.5)
    const wait = Duration.toMillis(half) > 0 ? Effect.sleep(half) : Effect.void
    const records = new Map<string, Record>()
    const calls: Array<Call> = []

    const live = (key: string, now: number): Record | undefined => {
      const record = records.get(key)
      if (record === undefined || record.endsAt > now) return record
      records.delete(key)
      return undefined
    }

    const failed = (operation: Operation, message: string, retryable = true) =>
      new IdempotencyStoreError({ operation, retryable, message })

    const call = <A>(
      operation: Operation,
      keys: ReadonlyArray<string>,
      run: (now: number) => A
    ): Effect.Effect<A, IdempotencyStoreError> =>
      Effect.gen(function* () {
        const sent = { operation, keys }
        calls.push(sent)
        if (keys.length > batchSize || new Set(keys).size < keys.length) {
          return yield* failed(operation, `a call takes ${batchSize} different keys, and got ${keys.join(", ")}`, false)
        }
        const fault = faults === undefined ? undefined : yield* faults(sent)
        if (fault?.delay !== undefined) yield* Effect.sleep(fault.delay)
        yield* wait
        if (fault?.fail === true) return yield* failed(operation, `${operation} was told to fail`)
        const result = run(yield* Clock.currentTimeMillis)
        if (fault?.hang === true) return yield* Effect.never
        yield* wait
        if (fault?.drop === true) return yield* failed(operation, `the answer of ${operation} was told to be lost`)
        return result
      })

    const keysOf = (entries: ReadonlyArray<Claim>) => entries.map(({ key }) => key)

    return {
      limits: { batchSize, resultBytes },
      begin: (entries) =>
        call("begin", keysOf(entries), (now) =>
          entries.map(({ fingerprint, holdFor, key, owner }) => {
            const record = live(key, now)
            if (record !== undefined && (record.done || record.owner !== owner)) return known(record, now)
            const endsAt = now + Duration.toMillis(holdFor)
            records.set(key, { owner, done: false, result: undefined, fingerprint, endsAt })
            return claimed
          })
        ),
      extend: (entries) =>
        call("extend", keysOf(entries), (now) =>
          entries.map(({ holdFor, key, owner }) => {
            const record = records.get(key)
            if (record === undefined || record.done || record.owner !== owner) return false
            records.set(key, { ...record, endsAt: now + Duration.toMillis(holdFor) })
            return true
          })
        ),
      complete: (entries) =>
        call("complete", keysOf(entries), (now) =>
          entries.map(({ fingerprint, keepFor, key, owner, result }) => {
            const record = live(key, now)
            if (record !== undefined && record.owner !== owner) return false
            records.set(key, { owner, done: true, result, fingerprint, endsAt: now + Duration.toMillis(keepFor) })
            return true
          })
        ),
      abandon: (claims) =>
        call("abandon", keysOf(claims), () => {
          for (const { key, owner } of claims) {
            const record = records.get(key)
            if (record !== undefined && !record.done && record.owner === owner) records.delete(key)
          }
        }),
      lookUp: (key) =>
        call("lookUp", [key], (now) => Option.map(Option.fromNullable(live(key, now)), (record) => known(record, now))),
      calls: Effect.sync(() => [...calls]),
      records: Effect.map(
        Clock.currentTimeMillis,
        (now) =>
          new Map([...records].flatMap(([key, record]) => (record.endsAt > now ? [[key, known(record, now)]] : [])))
      )
    }
  })

/** The store as a service. */
export const layer = (options: Options = {}): Layer.Layer<IdempotencyStore> =>
  Layer.effect(IdempotencyStore, make(options))
