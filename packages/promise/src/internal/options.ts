/** What each option of a consumer may be, and the options of a consumer as `@millrace/sqs` has them. */
import * as Idempotency from "@millrace/core/Idempotency"
import type * as IdempotencyStore from "@millrace/core/IdempotencyStore"
import * as InvalidOptions from "@millrace/core/InvalidOptions"
import * as MemoryIdempotencyStore from "@millrace/core/testing/MemoryIdempotencyStore"
import * as Layer from "effect/Layer"
import type { OnceOptions, ReceiveOptions, SettleOptions, Store, Tuning } from "../types.js"
import * as connection from "./connection.js"
import * as policy from "./policy.js"

const atLeastOne = InvalidOptions.aWholeNumber({ min: 1 })

export const receiveChecks: InvalidOptions.Checks<ReceiveOptions> = {
  ...connection.checks,
  queue: InvalidOptions.required({ ...InvalidOptions.text, write: "the name, the URL or the ARN of a queue" }),
  maxInFlight: InvalidOptions.aWholeNumber({ min: 1, max: 120_000 }),
  visibilityTimeout: InvalidOptions.time({ min: "1 second", max: "12 hours" }),
  heartbeat: InvalidOptions.flag,
  wait: InvalidOptions.time({ min: "1 second", max: "20 seconds" }),
  perSecond: InvalidOptions.aNumber({ min: 0.001 }),
  pollGrace: InvalidOptions.time(),
  stopWhenIdle: InvalidOptions.time()
}

const isStore = (store: unknown): store is Layer.Layer<IdempotencyStore.IdempotencyStore, unknown> =>
  Layer.isLayer(store)

export const tuneChecks: InvalidOptions.Checks<Tuning> = {
  maxInFlight: receiveChecks.maxInFlight,
  concurrency: atLeastOne,
  perSecond: receiveChecks.perSecond
}

export const settleChecks: InvalidOptions.Checks<SettleOptions<never>> = {
  ...receiveChecks,
  ...policy.checks,
  concurrency: atLeastOne,
  timeout: InvalidOptions.time({ min: "1 millis" }),
  once: InvalidOptions.fields<OnceOptions<never>>({
    store: InvalidOptions.required({
      write: "memoryStore(), or a layer such as RedisIdempotencyStore.layer(redis) of @millrace/redis",
      fits: isStore
    }),
    key: InvalidOptions.func,
    keepFor: InvalidOptions.time({ min: "1 second", max: "3650 days" }),
    whenStoreFails: InvalidOptions.oneOf("fail", "run")
  }),
  sequence: InvalidOptions.either(InvalidOptions.oneOf("auto", "group", "none"), InvalidOptions.func),
  stopTimeout: InvalidOptions.time()
}

export const schemaCheck: InvalidOptions.Check = {
  write: "a Standard Schema: one of zod, valibot or arktype, or Schema.standardSchemaV1(schema)",
  fits: (value) => (typeof value === "object" || typeof value === "function") && value !== null && "~standard" in value
}

export const received = (options: ReceiveOptions) => ({
  maxInFlight: options.maxInFlight,
  visibilityTimeout: options.visibilityTimeout,
  heartbeat: options.heartbeat,
  wait: options.wait,
  rate: options.perSecond === undefined ? undefined : { perSecond: options.perSecond },
  pollGrace: options.pollGrace,
  drainWhenIdle: options.stopWhenIdle
})

export const onceOf = <A>({ key, keepFor, whenStoreFails }: OnceOptions<A>) =>
  key === undefined
    ? Idempotency.byMessageId({ keepFor, whenStoreFails })
    : Idempotency.by((body: A) => key(body), { keepFor, whenStoreFails })

/** The options are checked: it is a layer. */
export const storeOf = (store: Store): Layer.Layer<IdempotencyStore.IdempotencyStore, unknown> =>
  isStore(store) ? store : MemoryIdempotencyStore.layer()
