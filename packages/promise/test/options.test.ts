/** Every object of options of this package: JavaScript, which most of its users write, hears of a mistake as TypeScript does. */
import { join } from "node:path"
import { describe } from "@effect/vitest"
import {
  type BatchContext,
  type ConsumeBatchesOptions,
  type ConsumeOptions,
  consume,
  consumeBatches,
  deliveries,
  memoryStore,
  type ProduceOptions,
  produce,
  type RetryOptions,
  type SendOptions
} from "@millrace/promise"
import { type EmulatorOptions, emulator, type QueueOptions } from "@millrace/promise/testing"
import { Effect, Layer } from "effect"
import { type Row, testCoverage, testRows } from "../../../test/support/options.js"

const connection = ["client", "region", "endpoint", "credentials", "maxSockets", "logger"]
const receive = [
  ...connection,
  "queue",
  "maxInFlight",
  "visibilityTimeout",
  "heartbeat",
  "wait",
  "perSecond",
  "pollGrace",
  "stopWhenIdle"
]
const settle = [
  ...receive,
  "concurrency",
  "timeout",
  "retry",
  "deadLetter",
  "once",
  "sequence",
  "stopTimeout",
  "schema"
]
const free = ["queue", "region"]

const { client } = await emulator({ queues: { orders: {} } })

const handler = () => undefined
const least = { queue: "orders", handler }
const batchesLeast = { queue: "orders", handler: async (_: ReadonlyArray<string>, __: BatchContext) => {}, max: 10 }

const sync = (make: () => unknown) => Effect.sync(() => void make())

/** What a promise rejects with is what it ends with; what it gives is closed. */
const promised = <A extends AsyncDisposable>(make: () => Promise<A>) =>
  Effect.acquireRelease(Effect.promise(make), (made) => Effect.promise(() => made[Symbol.asyncDispose]()))

const producing = (options: ProduceOptions) => promised(() => produce(options))

/** What is wrong with a message is wrong with that one alone: a `SendError`. */
const sending = (options: SendOptions) =>
  Effect.flatMap(producing({ queue: "orders", client, logger: false }), (producer) =>
    Effect.promise(() => producer.send("a", options))
  )

const consuming = (options: Partial<ConsumeOptions<string>>) => sync(() => consume({ ...least, ...options }))

const rows: ReadonlyArray<Row<never>> = [
  {
    what: "consume",
    of: ["consume.ConsumeOptions", "types.SettleOptions", "types.ReceiveOptions", "types.ConnectionOptions"],
    names: [...settle, "handler"],
    least,
    free,
    use: (o: ConsumeOptions<string>) => sync(() => consume(o))
  },
  {
    what: "consumeBatches",
    of: ["consume.ConsumeBatchesOptions"],
    names: [...settle, "handler", "max", "within"],
    least: batchesLeast,
    free,
    use: (o: ConsumeBatchesOptions<string>) => sync(() => consumeBatches(o))
  },
  {
    what: "consume: retry",
    of: ["types.RetryOptions"],
    names: ["attempts", "delay", "factor", "maxDelay", "jitter"],
    use: (retry: RetryOptions) => consuming({ retry })
  },
  {
    what: "consume: once",
    of: ["types.OnceOptions"],
    names: ["store", "key", "keepFor", "whenStoreFails"],
    least: { store: memoryStore() },
    use: (once: never) => consuming({ once })
  },
  {
    what: "stop",
    names: ["timeout"],
    use: (o) => promised(async () => ({ ...(await consume(least).stop(o)), [Symbol.asyncDispose]: async () => {} }))
  },
  {
    what: "tune",
    names: ["maxInFlight", "concurrency", "perSecond"],
    use: (o) =>
      Effect.flatMap(
        promised(async () => {
          const consumer = consume({ ...least, client, logger: false, pollGrace: 0 })
          await consumer.start()
          return consumer
        }),
        (consumer) => sync(() => consumer.tune(o))
      )
  },
  {
    what: "deliveries",
    of: ["deliveries.DeliveriesOptions"],
    names: [...receive, "signal", "schema"],
    least: { queue: "orders" },
    free,
    use: (o: never) => sync(() => deliveries<never>(o))
  },
  {
    what: "produce",
    of: ["produce.ProduceOptions"],
    names: [...connection, "queue", "linger", "concurrency", "flushTimeout"],
    least: { queue: "orders", client, logger: false },
    free,
    use: producing
  },
  {
    what: "send",
    of: ["produce.SendOptions"],
    names: ["attributes", "group", "deduplicationId", "delay"],
    free: ["attributes", "group", "deduplicationId"],
    use: sending
  },
  {
    what: "emulator",
    of: ["index.EmulatorOptions"],
    names: ["queues", "latency"],
    use: (o: EmulatorOptions) => promised(() => emulator(o))
  },
  {
    what: "emulator: a queue",
    of: ["index.QueueOptions"],
    names: ["visibilityTimeout", "delay", "retention", "deadLetter", "contentBasedDeduplication"],
    use: (o: QueueOptions) => promised(() => emulator({ queues: { orders: o } }))
  }
]

describe("options", () => {
  testRows(rows, Layer.empty)
  testCoverage(join(import.meta.dirname, "../src"), rows)
})
