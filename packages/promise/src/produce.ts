/** Sends to a queue. Messages that are sent at the same time share calls; what fails is sent again by itself. */
import * as InvalidOptions from "@millrace/core/InvalidOptions"
import * as SqsProducer from "@millrace/sqs/SqsProducer"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import { SendError } from "./errors.js"
import { connect, checks as connectionChecks } from "./internal/connection.js"
import { check, run } from "./internal/plain.js"
import type { ConnectionOptions, Time } from "./types.js"

export interface ProduceOptions extends ConnectionOptions {
  /** A name, a URL or an ARN. */
  readonly queue: string
  /** How long a message may wait for others to share its call. Default 20 milliseconds. */
  readonly linger?: Time | undefined
  /** Calls at once. Default 16. */
  readonly concurrency?: number | undefined
  /** How long `close()` waits for what was accepted. Default 10 seconds. */
  readonly flushTimeout?: Time | undefined
}

export interface SendOptions {
  /** Texts, numbers and bytes. */
  readonly attributes?: Readonly<Record<string, string | number | Uint8Array>> | undefined
  /** FIFO queues demand one. */
  readonly group?: string | undefined
  /** FIFO. Default: one of its own for each message, or the queue's content-based deduplication. */
  readonly deduplicationId?: string | undefined
  /** Up to 15 minutes; standard queues only. */
  readonly delay?: Time | undefined
}

export interface Producer {
  /** A text as it is, anything else as JSON. Resolves when SQS has it, rejects with `SendError`. */
  readonly send: (body: unknown, options?: SendOptions) => Promise<{ readonly messageId: string }>
  /** Sends what was accepted, and closes. */
  readonly close: () => Promise<void>
  readonly [Symbol.asyncDispose]: () => Promise<void>
}

const checks: InvalidOptions.Checks<ProduceOptions> = {
  ...connectionChecks,
  queue: InvalidOptions.required({ ...InvalidOptions.text, write: "the name, the URL or the ARN of a queue" }),
  linger: InvalidOptions.time({ max: "1 minute" }),
  concurrency: InvalidOptions.aWholeNumber({ min: 1, max: 100_000 }),
  flushTimeout: InvalidOptions.time()
}

/** A producer, once the queue is found. Keep it for as long as the process runs. */
export const produce = async (options: ProduceOptions): Promise<Producer> => {
  check("produce", options, checks)
  const { concurrency, flushTimeout, linger } = options
  const connection = connect(options)
  const scope = Effect.runSync(Scope.make())
  const end = async () => {
    await Effect.runPromise(Scope.close(scope, Exit.void))
    await connection.dispose()
  }
  try {
    const made = SqsProducer.make(options.queue, { concurrency, flushTimeout, linger })
    const producer = await run(connection, Scope.extend(made, scope))
    let closing: Promise<void> | undefined
    const close = () => (closing ??= end())
    return {
      send: async (body, fields) => {
        if (closing !== undefined) throw new SendError("ProducerClosed", "the producer is closed", body, undefined)
        return run(connection, producer.send(fields === undefined ? body : SqsProducer.message(body, fields)))
      },
      close,
      [Symbol.asyncDispose]: close
    }
  } catch (error) {
    await end()
    throw error
  }
}
