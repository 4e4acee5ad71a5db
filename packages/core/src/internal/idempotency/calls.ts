import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import {
  type Begin,
  type Begun,
  type Claim,
  type Complete,
  type Extend,
  IdempotencyStoreError,
  type Operation,
  type Service
} from "../../IdempotencyStore.js"
import { type Fork, Gather } from "./gather.js"

/** Each call of a store ends in time, and takes as many entries as there are. */
export class Calls {
  readonly begin: Gather<Begin, Begun>
  readonly extend: Gather<Extend, boolean>
  readonly complete: Gather<Complete, boolean>
  readonly abandon: Gather<Claim, true>
  readonly resultBytes: number

  constructor(store: Service, within: Duration.Duration) {
    const { batchSize, resultBytes } = store.limits
    const gather = <Entry extends Claim, Result>(
      operation: Operation,
      call: (entries: ReadonlyArray<Entry>) => Effect.Effect<ReadonlyArray<Result>, IdempotencyStoreError>
    ) => new Gather<Entry, Result>(batchSize, (entries) => inTime(operation, within, call(entries)))
    this.begin = gather("begin", store.begin)
    this.extend = gather("extend", store.extend)
    this.complete = gather("complete", store.complete)
    this.abandon = gather("abandon", (claims) =>
      Effect.as(
        store.abandon(claims),
        claims.map(() => true as const)
      )
    )
    this.resultBytes = resultBytes
  }
}

// Disconnected: a client that cannot be interrupted is not waited for.
const inTime = <A>(
  operation: Operation,
  within: Duration.Duration,
  call: Effect.Effect<A, IdempotencyStoreError>
): Effect.Effect<A, IdempotencyStoreError> =>
  Effect.timeoutFail(Effect.disconnect(Effect.interruptible(call)), {
    duration: within,
    onTimeout: () =>
      new IdempotencyStoreError({
        operation,
        retryable: true,
        message: `${operation}: the idempotency store has not answered within ${Duration.format(within)}`
      })
  })

/** Asks for one entry, and waits for its answer. */
export const ask = <Entry extends Claim, Result>(
  gather: Gather<Entry, Result>,
  entry: () => Entry,
  fork: Fork
): Effect.Effect<Result, IdempotencyStoreError> =>
  Effect.async((resume) => gather.ask(entry(), fork, (exit: Exit.Exit<Result, IdempotencyStoreError>) => resume(exit)))
