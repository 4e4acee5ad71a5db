/**
 * How well uneven handlers keep their slots busy: most take 20 ms, one in a hundred takes a second. A batch that waits
 * for its slowest message, or a result that waits for its turn, leaves slots idle.
 */
import { DeleteMessageBatchCommand, ReceiveMessageCommand } from "@aws-sdk/client-sqs"
import { Pipeline } from "@millrace/core"
import { SqsConsumer } from "@millrace/sqs"
import { Chunk, Effect, type Scope, Stream } from "effect"
import { Consumer } from "sqs-consumer"
import { Squiss } from "squiss-ts"
import { atLeast, atMost, type Benchmark, compete, ours, pause, ratiosOf, rowsOf } from "./Benchmark.js"
import { durationOf } from "./bodies.js"
import * as Server from "./Server.js"
import { client, everything, type Handle, layer, rawLoops } from "./sdkClient.js"
import { steady, type Work } from "./steady.js"

const slots = 50
const latency = 8
const maxInFlight = 150
const pollers = maxInFlight / 10

type Program = (server: Server.Server, handle: Handle) => Effect.Effect<unknown, unknown, Scope.Scope>

/** A limit on the handlers that run at once, for those that have none or would count it by messages in flight. */
const limited = (handle: Handle): Handle => {
  const waiting: Array<() => void> = []
  let free = slots
  return async (body) => {
    if (free > 0) free--
    else await new Promise<void>((resume) => waiting.push(resume))
    try {
      await handle(body)
    } finally {
      const next = waiting.shift()
      if (next === undefined) free++
      else next()
    }
  }
}

const millrace: Program = (server, handle) =>
  SqsConsumer.stream(server.queueUrl, { maxInFlight }).pipe(
    Pipeline.process((body) => Effect.promise(() => handle(body)), { concurrency: slots }),
    Stream.runDrain,
    Effect.provide(layer(server))
  )

/** Full receives, and deletes that wait for company no longer than ours do. */
const squiss =
  (options: { readonly instances: number; readonly maxInFlight: number }): Program =>
  (server, handle) =>
    Effect.gen(function* () {
      const sqs = yield* client(server)
      const handleInTurn = limited(handle)
      for (let i = 0; i < options.instances; i++) {
        yield* Effect.acquireRelease(
          Effect.promise(async () => {
            const consumer = new Squiss({
              SQS: sqs,
              queueUrl: server.queueUrl,
              bodyFormat: "plain",
              maxInFlight: options.maxInFlight / options.instances,
              minReceiveBatchSize: 10,
              deleteBatchSize: 10,
              deleteWaitMs: 100
            })
            consumer.on("message", (message) => {
              handleInTurn(String(message.body)).then(() => message.del())
            })
            await consumer.start()
            return consumer
          }),
          (consumer) => Effect.promise(() => consumer.stop(true, 2000))
        )
      }
      return yield* Effect.never
    })

const sqsConsumer =
  (options: { readonly instances: number; readonly batches: boolean }): Program =>
  (server, handle) =>
    Effect.gen(function* () {
      const sqs = yield* client(server)
      const handleInTurn = limited(handle)
      for (let i = 0; i < options.instances; i++) {
        yield* Effect.acquireRelease(
          Effect.sync(() => {
            const consumer = Consumer.create({
              sqs,
              queueUrl: server.queueUrl,
              batchSize: 10,
              messageSystemAttributeNames: ["All"],
              messageAttributeNames: ["All"],
              ...(options.batches
                ? {
                    handleMessageBatch: async (messages) => {
                      await Promise.all(messages.map(({ Body = "" }) => handleInTurn(Body)))
                      return messages
                    }
                  }
                : {
                    handleMessage: async (message) => {
                      await handleInTurn(message.Body ?? "")
                      return message
                    }
                  })
            })
            consumer.on("error", (error) => console.error(error))
            consumer.start()
            return consumer
          }),
          (consumer) =>
            Effect.zipRight(
              Effect.sync(() => consumer.stop()),
              Effect.repeat(pause(20), { while: () => consumer.status.isPolling })
            )
        )
      }
      return yield* Effect.never
    })

/** Receives ahead with two pollers, deletes in tens or after 100 ms. It keeps no bound on what is in flight. */
const mapEffect =
  (options: { readonly unordered: boolean }): Program =>
  (server, handle) =>
    Effect.gen(function* () {
      const sqs = yield* client(server)
      const QueueUrl = server.queueUrl
      const receive = Effect.promise(() =>
        sqs.send(new ReceiveMessageCommand({ QueueUrl, MaxNumberOfMessages: 10, WaitTimeSeconds: 20, ...everything }))
      )
      const poller = Stream.repeatEffect(receive).pipe(
        Stream.mapConcatChunk(({ Messages = [] }) => Chunk.unsafeFromArray(Messages))
      )
      return yield* Stream.merge(poller, poller).pipe(
        Stream.mapEffect(
          ({ Body = "", ReceiptHandle }) =>
            Effect.as(
              Effect.promise(() => handle(Body)),
              ReceiptHandle
            ),
          { concurrency: slots, ...options }
        ),
        Stream.groupedWithin(10, "100 millis"),
        Stream.mapEffect(
          (handles) =>
            Effect.promise(() =>
              sqs.send(
                new DeleteMessageBatchCommand({
                  QueueUrl,
                  Entries: Chunk.toReadonlyArray(handles).map((ReceiptHandle, i) => ({ Id: String(i), ReceiptHandle }))
                })
              )
            ),
          { concurrency: 10, unordered: true }
        ),
        Stream.runDrain
      )
    })

export const benchmark: Benchmark = {
  about: "uneven handlers (20 ms, 1 in 100 takes 1 s): how busy 50 slots are kept, against other consumers",
  run: ({ all, quick }) =>
    Effect.gen(function* () {
      const server = yield* Server.noop(latency)
      const contestant = (name: string, program: Program) => ({
        name,
        round: steady({
          server,
          slots,
          program: (work: Work) =>
            program(server, async (body) => {
              work.begin()
              await new Promise<void>((resume) => setTimeout(resume, durationOf(body)))
              work.end()
            }),
          warmUp: { millis: 1500 },
          window: { millis: quick ? 2500 : 4000 }
        })
      })
      const raw: Program = (server, handle) => rawLoops(server, pollers, limited(handle))
      const contestants = [
        contestant(ours, millrace),
        contestant("raw SDK loops", raw),
        contestant("sqs-consumer", sqsConsumer({ instances: pollers, batches: false })),
        contestant("squiss-ts", squiss({ instances: 2, maxInFlight })),
        contestant("Stream.mapEffect", mapEffect({ unordered: false })),
        contestant("Stream.mapEffect, unordered", mapEffect({ unordered: true })),
        ...(all
          ? [
              contestant("raw SDK loops, 5", (server, handle) => rawLoops(server, slots / 10, handle)),
              contestant("squiss-ts, 50", squiss({ instances: 1, maxInFlight: slots })),
              contestant("sqs-consumer, 5", sqsConsumer({ instances: slots / 10, batches: false })),
              contestant("sqs-consumer, batches", sqsConsumer({ instances: pollers, batches: true }))
            ]
          : [])
      ]
      const results = yield* compete(contestants, quick ? 1 : 2)
      const rows = rowsOf(results, "busyShare")
      const mine = rows[0]?.[1] ?? {}
      return {
        title: `handlers of 20 ms, 1 in 100 of 1 s; ${slots} at once, ${latency} ms a call, maxInFlight ${maxInFlight}`,
        rows,
        ratioOf: "busyShare",
        ratio: ratiosOf(results, "busyShare"),
        bounds: [
          atLeast("slots busy", mine["busyShare"] ?? Number.NaN, 0.95),
          atMost("calls per 1,000 messages", mine["callsPer1000"] ?? Number.NaN, 210)
        ],
        notes: [
          `all: the same server in its own process, ${slots} handlers at once by a limiter where the peer has none of its own`,
          `raw SDK loops and sqs-consumer: ${pollers} of them, each with 10 messages, so ${maxInFlight} in flight; sqs-consumer deletes one by one`,
          `squiss-ts: 2 instances (it has one poller each) that share the maxInFlight; full receives only, deletes of 10 after 100 ms at most`,
          "Stream.mapEffect: 2 pollers ahead of it, deletes of 10 after 100 ms at most; no bound in flight",
          ...(all ? ["…, 5 and …, 50: 50 messages in flight and no limiter, as their documents show it"] : [])
        ]
      }
    }).pipe(Effect.scoped)
}
