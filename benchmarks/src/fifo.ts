/**
 * What a FIFO queue's partitions are asked for: how many groups the entries of a send are of, and how many receives
 * those of a delete are from. AWS wants one of each where throughput is high (docs/sqs-facts.md, fact
 * 100). In virtual time, on the emulator at 8 ms a call: the figures are counts, and the same on any machine.
 */
import { Pipeline } from "@millrace/core"
import { Simulation } from "@millrace/core/testing"
import { SqsClient, SqsConsumer, SqsProducer } from "@millrace/sqs"
import { SqsEmulator } from "@millrace/sqs/emulator"
import { Effect, Exit, Fiber, Random, Stream } from "effect"
import { atMost, type Benchmark, ours } from "./Benchmark.js"

const queue = "queue.fifo"
const groups = 50

/** Calls, and of how many groups or receives their entries are in all. */
class Mixed {
  calls = 0
  #parts = 0

  add(parts: ReadonlyArray<unknown>): void {
    this.calls += 1
    this.#parts += new Set(parts).size
  }

  get partsPerCall(): number {
    return this.calls === 0 ? 0 : this.#parts / this.calls
  }
}

interface Counted {
  readonly sends: Mixed
  readonly deletes: Mixed
  readonly client: SqsClient.SqsClient["Type"]
}

const counting = (client: SqsClient.SqsClient["Type"]): Counted => {
  const [sends, deletes] = [new Mixed(), new Mixed()]
  const receiveOf = new Map<string, number>()
  let receives = 0
  return {
    sends,
    deletes,
    client: {
      ...client,
      sendMessageBatch: (request) => {
        sends.add(request.Entries.map(({ MessageGroupId }) => MessageGroupId))
        return client.sendMessageBatch(request)
      },
      receiveMessage: (request, options) =>
        Effect.tap(client.receiveMessage(request, options), (messages) => {
          receives += 1
          for (const { ReceiptHandle } of messages) receiveOf.set(ReceiptHandle, receives)
        }),
      deleteMessageBatch: (request) => {
        deletes.add(request.Entries.map(({ ReceiptHandle }) => receiveOf.get(ReceiptHandle)))
        return client.deleteMessageBatch(request)
      }
    }
  }
}

interface Way {
  readonly name: string
  readonly maxPerGroup: number
  readonly ackAhead: boolean
}

const round = (messages: number, { ackAhead, maxPerGroup }: Way) =>
  Effect.gen(function* () {
    const counted = counting(yield* SqsClient.SqsClient)
    const sqs = yield* SqsEmulator.SqsEmulator
    const run = Effect.gen(function* () {
      const producer = yield* SqsProducer.make<number>(queue, {
        group: (n) => `group-${n % groups}`,
        maxPerGroup,
        concurrency: 8
      })
      // As they come: bursts of a group's.
      yield* Stream.range(0, messages - 1).pipe(
        Stream.map((n) => Math.floor(n / 5) + (n % 5) * groups),
        Stream.run(producer.sink)
      )
      const fiber = yield* SqsConsumer.stream(queue, { maxInFlight: 500 }).pipe(
        Pipeline.process(() => Effect.flatMap(Random.nextIntBetween(5, 50), (millis) => Effect.sleep(millis)), {
          concurrency: 50,
          ackAhead
        }),
        Stream.runDrain,
        Effect.fork
      )
      yield* sqs.settled(queue, messages)
      yield* Fiber.interrupt(fiber)
    })
    yield* Effect.scoped(Effect.provideService(run, SqsClient.SqsClient, counted.client))
    const per1000 = ({ calls }: Mixed) => (calls / messages) * 1000
    return {
      sendsPer1000: per1000(counted.sends),
      groupsPerSend: counted.sends.partsPerCall,
      deletesPer1000: per1000(counted.deletes),
      receivesPerDelete: counted.deletes.partsPerCall
    }
  }).pipe(Effect.provide(SqsEmulator.layer({ queues: { [queue]: {} }, latency: "8 millis" })))

const ways: ReadonlyArray<Way> = [
  { name: ours, maxPerGroup: 1, ackAhead: false },
  { name: `${ours}, maxPerGroup: 10 and ackAhead`, maxPerGroup: 10, ackAhead: true }
]

export const benchmark: Benchmark = {
  about: "FIFO: groups a send, and receives a delete, which AWS wants to be one each",
  run: ({ quick }) =>
    Effect.gen(function* () {
      const rows = ways.map((way) => {
        const { exit } = Simulation.run(1, round(quick ? 2000 : 10_000, way))
        if (Exit.isFailure(exit)) throw new Error(`the run of ${way.name} failed`, { cause: exit.cause })
        return [way.name, exit.value] as const
      })
      const together = rows[1]?.[1]
      return yield* Effect.succeed({
        title: `${groups} groups, handlers of 5 to 50 ms, 50 at a time, 8 ms a call, in virtual time`,
        rows,
        ratio: {},
        bounds: [
          atMost("groups a send, together", together?.groupsPerSend ?? Number.NaN, 2),
          atMost("receives a delete, together", together?.receivesPerDelete ?? Number.NaN, 3)
        ],
        notes: [
          "counts on the emulator, by seed 1: no clock of this machine is in them",
          "a receive brings up to ten of one group, which run one after another; where permits run short, deletes wait for no others of their receive"
        ]
      })
    })
}
