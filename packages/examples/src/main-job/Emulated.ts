/** The job's queue on the embedded emulator, which the real AWS SDK talks to over HTTP on a free port. */
import { SqsClient, SqsQueue } from "@millrace/sqs"
import { SqsEmulator, SqsHttp } from "@millrace/sqs/emulator"
import { Effect, Layer, Redacted } from "effect"
import * as Ledger from "./Ledger.js"
import type { Options } from "./Options.js"
import { Record } from "./Record.js"
import { Target } from "./Target.js"

/**
 * Faults come from the start. Answers of deletes are lost too, but not those of receives: on a standard queue their
 * messages would be away for the whole visibility timeout.
 */
const suffer = (sqs: SqsEmulator.Service, share: number) =>
  Effect.gen(function* () {
    const odds = { fail: share, throttle: share }
    yield* sqs.faults.random({ ...odds, shortReceive: Math.min(10 * share, 1) }, ["ReceiveMessage"])
    yield* sqs.faults.random({ ...odds, failEntry: share, dropResponse: share }, ["DeleteMessageBatch"])
    yield* sqs.faults.random({ ...odds, failEntry: share }, ["ChangeMessageVisibilityBatch", "SendMessageBatch"])
  })

export const layer = ({ faults, fifo, messages }: Pick<Options, "faults" | "fifo" | "messages">) =>
  Layer.unwrapScoped(
    Effect.gen(function* () {
      const name = fifo ? "github-webhooks.fifo" : "github-webhooks"
      const sqs = yield* SqsEmulator.make({ queues: { [name]: {} }, keepDeleted: messages })
      if (faults > 0) yield* suffer(sqs, faults)
      const ledger = Ledger.make(sqs.client, (yield* Record).failing)
      const { endpoint } = yield* Effect.provideService(SqsHttp.make({ port: 0 }), SqsEmulator.SqsEmulator, {
        ...sqs,
        client: ledger.client
      })
      const client = SqsClient.layer({
        endpoint,
        region: "us-east-1",
        credentials: { accessKeyId: "any", secretAccessKey: Redacted.make("any") }
      })
      const target = Effect.gen(function* () {
        return {
          queue: yield* SqsQueue.resolve(name),
          place: `the emulator on ${endpoint}, through the AWS SDK`,
          backlog: Effect.map(sqs.snapshot(name), ({ visible }) => visible),
          witness: Effect.gen(function* () {
            const { deleted, receives } = yield* sqs.snapshot(name)
            return {
              acks: ledger.acks,
              deleted,
              left: (yield* sqs.messages(name)).length,
              receives,
              peakInFlight: ledger.peakInFlight(),
              calls: yield* sqs.calls
            }
          })
        }
      })
      return Layer.provideMerge(Layer.effect(Target, target), client)
    })
  )
