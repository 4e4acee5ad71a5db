/** The emulator: what an operation costs by how many messages and groups there are, and how fast it serves HTTP. */
import {
  DeleteMessageBatchCommand,
  ReceiveMessageCommand,
  SendMessageBatchCommand,
  type SQSClient
} from "@aws-sdk/client-sqs"
import { SqsEmulator } from "@millrace/sqs/emulator"
import { Effect, type Scope } from "effect"
import {
  atLeast,
  atMost,
  type Benchmark,
  collectGarbage,
  compete,
  median,
  ours,
  ratiosOf,
  ratioTo,
  rowsOf,
  timed
} from "./Benchmark.js"
import { bodies } from "./bodies.js"
import * as Server from "./Server.js"
import { client } from "./sdkClient.js"
import { steady, type Work } from "./steady.js"

// --------------------------------------------------------------------------------------------------------- operations

interface Kind {
  readonly title: string
  readonly queue: string
  /** The group of the n-th of so many messages. */
  readonly group: (n: number, of: number) => string | undefined
}

const kinds: ReadonlyArray<Kind> = [
  { title: "standard", queue: "queue", group: () => undefined },
  { title: "standard, a group each", queue: "queue", group: (n) => `group-${n}` },
  { title: "FIFO, one group", queue: "queue.fifo", group: () => "group" },
  { title: "FIFO, a group each", queue: "queue.fifo", group: (n) => `group-${n}` }
]

type Costs = { readonly send: number; readonly receive: number; readonly delete: number }

/** Microseconds CPU a message, in calls of ten, on a queue that holds so many. */
const costsAt = ({ group, queue: name }: Kind, size: number) =>
  Effect.gen(function* () {
    const emulator = yield* SqsEmulator.make({ keepDeleted: 0, queues: { [name]: {} } })
    const { client } = emulator
    const QueueUrl = emulator.queueUrl(name)
    const fifo = name.endsWith(".fifo")
    let sent = 0
    const send = Effect.suspend(() =>
      client.sendMessageBatch({
        QueueUrl,
        Entries: Array.from({ length: 10 }, (_, i) => {
          const n = sent++
          const MessageGroupId = group(n, size)
          return {
            Id: String(i),
            MessageBody: bodies[n % bodies.length] ?? "",
            ...(MessageGroupId !== undefined && { MessageGroupId }),
            ...(fifo && { MessageDeduplicationId: String(n) })
          }
        })
      })
    )
    while (sent < size) yield* send
    yield* collectGarbage
    const calls = 50
    const times: Record<keyof Costs, Array<number>> = { send: [], receive: [], delete: [] }
    for (let round = 0; round < 12; round++) {
      const each = <A, E>(effect: Effect.Effect<A, E>) =>
        Effect.map(timed(Effect.replicateEffect(effect, calls)), ({ cpu, value }) => ({
          value,
          micros: cpu / (calls * 10)
        }))
      times.send.push((yield* each(send)).micros)
      // One after another, received and deleted: a FIFO group hands out nothing behind a message in flight.
      const received: Array<number> = []
      const deleted: Array<number> = []
      for (let call = 0; call < calls; call++) {
        const got = yield* timed(client.receiveMessage({ QueueUrl, MaxNumberOfMessages: 10 }))
        if (got.value.length !== 10) return yield* Effect.dieMessage(`received ${got.value.length} of 10`)
        received.push(got.wall / 10)
        const gone = yield* timed(
          client.deleteMessageBatch({
            QueueUrl,
            Entries: got.value.map(({ ReceiptHandle }, i) => ({ Id: String(i), ReceiptHandle }))
          })
        )
        if (gone.value.Successful.length !== 10) return yield* Effect.dieMessage("not all were deleted")
        deleted.push(gone.wall / 10)
      }
      // A call is too short for the CPU clock; the median of wall times leaves out what the machine did besides.
      times.receive.push(median(received))
      times.delete.push(median(deleted))
    }
    const settled = (values: ReadonlyArray<number>) => median(values.slice(2))
    return { send: settled(times.send), receive: settled(times.receive), delete: settled(times.delete) }
  }).pipe(Effect.scoped, Effect.orDie)

const operations = ["send", "receive", "delete"] as const

// --------------------------------------------------------------------------------------------------------------- HTTP

const pollers = 4

/** Sends ten, receives ten, deletes ten, and again. */
const rounds =
  (sqs: SQSClient, { queueUrl: QueueUrl }: Server.Server, work: Work) =>
  async (stop: AbortSignal) => {
    let n = 0
    while (!stop.aborted) {
      await sqs.send(
        new SendMessageBatchCommand({
          QueueUrl,
          Entries: Array.from({ length: 10 }, (_, i) => ({
            Id: String(i),
            MessageBody: bodies[n++ % bodies.length] ?? ""
          }))
        })
      )
      const { Messages = [] } = await sqs.send(
        new ReceiveMessageCommand({ QueueUrl, MaxNumberOfMessages: 10, WaitTimeSeconds: 1 })
      )
      for (const _ of Messages) {
        work.begin()
        work.end()
      }
      await sqs.send(
        new DeleteMessageBatchCommand({
          QueueUrl,
          Entries: Messages.map(({ ReceiptHandle }, i) => ({ Id: String(i), ReceiptHandle }))
        })
      )
    }
  }

const traffic =
  (server: Server.Server) =>
  (work: Work): Effect.Effect<void, never, Scope.Scope> =>
    Effect.flatMap(client(server), (sqs) =>
      Effect.async<void>((resume) => {
        const stop = new AbortController()
        const loops = Promise.all(Array.from({ length: pollers }, () => rounds(sqs, server, work)(stop.signal)))
        loops.catch((error) => resume(Effect.die(error)))
        return Effect.promise(async () => {
          stop.abort()
          await loops
        })
      })
    )

// -------------------------------------------------------------------------------------------------------------- report

export const benchmark: Benchmark = {
  about: "the emulator: cost of an operation at 10^3 … 10^6 messages and groups, and over HTTP against a no-op server",
  run: ({ quick }) =>
    Effect.gen(function* () {
      const emulator = yield* Server.emulator
      const noop = yield* Server.noop()
      const noopName = "no-op server"
      const http = (name: string, server: Server.Server) => ({
        name,
        round: steady({
          server,
          program: traffic(server),
          slots: 1,
          warmUp: { messages: 500 },
          window: { messages: 2500 }
        })
      })
      const contestants = [http(ours, emulator), http(noopName, noop)]
      yield* compete(contestants, quick ? 1 : 3)
      const results = yield* compete(contestants, quick ? 3 : 5)

      const sizes = quick ? [1e3, 1e4, 1e5] : [1e3, 1e4, 1e5, 1e6]
      const rows: Array<readonly [string, Record<string, number>]> = []
      const growth: Array<number> = []
      for (const kind of kinds) yield* costsAt(kind, 1000) // the compiler's turn
      for (const kind of kinds) {
        const costs: Array<Costs> = []
        for (const size of sizes) costs.push(yield* costsAt(kind, size))
        for (const operation of operations) {
          const values = costs.map((each) => each[operation])
          rows.push([
            `${kind.title}: ${operation}`,
            Object.fromEntries(sizes.map((size, i) => [`10^${Math.log10(size)}`, values[i] ?? Number.NaN]))
          ])
          growth.push((values.at(-1) ?? Number.NaN) / (values[0] ?? Number.NaN))
        }
      }
      const decades = sizes.length - 1
      return {
        title: `over HTTP, the same AWS SDK client, ${pollers} loops of send, receive and delete by ten; below, µs an operation in process`,
        rows: [...rowsOf(results, "serverCpuMicros"), ...rows],
        ratioOf: "messagesPerSecond",
        ratio: ratiosOf(results, "messagesPerSecond"),
        bounds: [
          atLeast(`messages/s, of a ${noopName}'s`, ratioTo(results, noopName, "messagesPerSecond"), 0.8),
          // From 10^3 to 10^6 log n doubles, and what no cache holds takes longer; the root of n would grow 32-fold.
          atMost(
            `growth from 10^3 to 10^${3 + decades} messages, of the operation that grows most`,
            Math.max(...growth),
            8
          )
        ],
        notes: [
          "µs an operation: a message's part of a call of ten, on a queue that holds so many; send by CPU time, receive and delete by the median call",
          "emulator and no-op server each in its own process"
        ]
      }
    }).pipe(Effect.scoped)
}
