/**
 * SQS in memory, for tests: no network, no container. Its time is that of `Date.now` and `setTimeout`, so that the fake timers of
 * vitest and jest move it.
 */
import * as InvalidOptions from "@millrace/core/InvalidOptions"
import { SqsEmulator } from "@millrace/sqs/emulator"
import * as Layer from "effect/Layer"
import * as ManagedRuntime from "effect/ManagedRuntime"
import { InvalidOptionsError } from "../errors.js"
import { Emulated } from "../internal/connection.js"
import { check, run } from "../internal/plain.js"
import type { EmulatedClient, Time } from "../types.js"

export interface QueueOptions {
  /** Default 30 seconds. */
  readonly visibilityTimeout?: Time | undefined
  readonly delay?: Time | undefined
  readonly retention?: Time | undefined
  readonly deadLetter?: { readonly queue: string; readonly maxReceiveCount: number } | undefined
  readonly contentBasedDeduplication?: boolean | undefined
}

export interface EmulatorOptions {
  /** By name; one with `.fifo` is FIFO. */
  readonly queues?: Readonly<Record<string, QueueOptions>> | undefined
  /** How long each call takes. Default: no time. */
  readonly latency?: Time | undefined
}

export interface OutgoingMessage {
  readonly attributes?: Readonly<Record<string, string | number | Uint8Array>> | undefined
  readonly group?: string | undefined
  readonly deduplicationId?: string | undefined
  readonly delay?: Time | undefined
}

export interface StoredMessage {
  readonly id: string
  readonly body: string
  readonly state: string
  readonly group: string | undefined
  readonly receiveCount: number
}

export interface Snapshot {
  readonly visible: number
  readonly inFlight: number
  readonly delayed: number
  readonly sent: number
  readonly receives: number
  readonly deleted: number
  readonly deadLettered: number
}

export interface Emulator {
  /** For the option `client` of `consume`, `deliveries` and `produce`. */
  readonly client: EmulatedClient
  /** What is no text is sent as JSON. Gives the message ids. */
  readonly send: (
    queue: string,
    bodies: ReadonlyArray<unknown>,
    options?: OutgoingMessage
  ) => Promise<ReadonlyArray<string>>
  readonly messages: (queue: string) => Promise<ReadonlyArray<StoredMessage>>
  readonly snapshot: (queue: string) => Promise<Snapshot>
  /** Resolves when so many messages in all were deleted or dead-lettered. */
  readonly settled: (queue: string, count: number) => Promise<void>
  /** Resolves when the queue is empty: nothing visible, in flight or delayed. */
  readonly idle: (queue: string) => Promise<void>
  readonly close: () => Promise<void>
  readonly [Symbol.asyncDispose]: () => Promise<void>
}

const checks: InvalidOptions.Checks<EmulatorOptions> = {
  queues: InvalidOptions.record(
    InvalidOptions.fields<QueueOptions>({
      visibilityTimeout: InvalidOptions.time({ max: "12 hours" }),
      delay: InvalidOptions.time({ max: "15 minutes" }),
      retention: InvalidOptions.time({ min: "1 minute", max: "14 days" }),
      deadLetter: InvalidOptions.fields<NonNullable<QueueOptions["deadLetter"]>>({
        queue: InvalidOptions.required(InvalidOptions.text),
        maxReceiveCount: InvalidOptions.required(InvalidOptions.aWholeNumber({ min: 1, max: 1_000 }))
      }),
      contentBasedDeduplication: InvalidOptions.flag
    })
  ),
  latency: InvalidOptions.time({ max: "1 hour" })
}

/** An emulator with these queues. Rejects with `InvalidOptionsError` where an option cannot work. */
export const emulator = async (options: EmulatorOptions = {}): Promise<Emulator> => {
  check("emulator", options, checks)
  const layer = SqsEmulator.layer(options)
  const runtime = ManagedRuntime.make(
    Layer.mapError(layer, ({ message }) => new InvalidOptionsError("options", message))
  )
  const sqs = await run(runtime, SqsEmulator.SqsEmulator)
  const close = () => runtime.dispose()
  return {
    client: new Emulated(sqs.client),
    send: (queue, bodies, fields) =>
      run(
        runtime,
        sqs.send(
          queue,
          bodies.map((body) => SqsEmulator.message(body, fields))
        )
      ),
    messages: (queue) => run(runtime, sqs.messages(queue)),
    snapshot: (queue) => run(runtime, sqs.snapshot(queue)),
    settled: (queue, count) => run(runtime, sqs.settled(queue, count)),
    idle: (queue) => run(runtime, sqs.idle(queue)),
    close,
    [Symbol.asyncDispose]: close
  }
}

/** `vi` of vitest, or `jest`: with `useFakeTimers()` on. */
export interface FakeTimers {
  readonly advanceTimersByTimeAsync: (millis: number) => Promise<unknown>
}

/**
 * Moves fake time on until a promise is settled, and gives what it is settled with. Rejects where that takes more than `limit`
 * milliseconds of fake time (default an hour).
 *
 * @example
 * vi.useFakeTimers()
 * await passTime(vi, sqs.settled("orders", 1))
 */
export const passTime = async <A>(timers: FakeTimers, promise: Promise<A>, limit = 3_600_000): Promise<A> => {
  let done = false
  const over = () => {
    done = true
  }
  promise.then(over, over)
  // Small steps first: most of what a test waits for is near.
  for (let passed = 0, step = 1; passed <= limit; passed += step, step = Math.min(1_000, step * 2)) {
    await timers.advanceTimersByTimeAsync(step)
    if (done) return promise
  }
  throw new Error(`${limit} ms of fake time have passed, and what is awaited has not come`)
}
