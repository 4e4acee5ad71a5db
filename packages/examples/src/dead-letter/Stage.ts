/** Plays one way of consuming, and writes down, once a second, what the queues hold; at the end, the dead letters. */
import { type SqsClient, SqsLeaseQueue } from "@millrace/sqs"
import { SqsEmulator } from "@millrace/sqs/emulator"
import { Clock, Effect } from "effect"
import type { Handler } from "./Consumers.js"
import * as Orders from "./Orders.js"

export interface Sample {
  readonly at: number
  readonly done: number
  /** How often the two that cannot be done had been handed out. */
  readonly handedOut: number
  readonly dead: number
}

export interface DeadLetter {
  readonly body: string
  readonly reason: string | undefined
  readonly attempt: string | undefined
  /** Seconds from the beginning to the second in which it came there. */
  readonly at: number
}

export interface Played {
  readonly name: string
  readonly samples: ReadonlyArray<Sample>
  readonly deadLetters: ReadonlyArray<DeadLetter>
}

const until = 190

export const play = (
  name: string,
  consume: (handle: Handler) => Effect.Effect<void, { readonly message: string }, SqsClient.SqsClient>
) =>
  Effect.gen(function* () {
    const sqs = yield* SqsEmulator.SqsEmulator
    const begunAt = yield* Clock.currentTimeMillis
    const samples: Array<Sample> = []
    const diedAt = new Map<string, number>()
    const done = new Set<number>()

    const handle: Handler = (order) =>
      Effect.gen(function* () {
        yield* Effect.sleep("500 millis")
        if (order.item === "unicorn") return yield* new Orders.OutOfStock({ message: "there are no unicorns" })
        done.add(order.order_id)
      })

    const handedOut = Effect.gen(function* () {
      const { lastDeleted } = yield* sqs.snapshot(Orders.queue)
      const bad = [...(yield* sqs.messages(Orders.queue)), ...lastDeleted].filter(({ body }) => Orders.isBad(body))
      // What the queue itself has moved there has kept its count; what was sent there has begun anew.
      const moved = (yield* sqs.messages(Orders.deadLetters)).filter(({ receiveCount }) => receiveCount > 0)
      return [...bad, ...moved].reduce((sum, { receiveCount }) => sum + receiveCount, 0)
    })
    const sample = Effect.gen(function* () {
      const at = Math.round(((yield* Clock.currentTimeMillis) - begunAt) / 1000)
      const dead = yield* sqs.messages(Orders.deadLetters)
      for (const { body } of dead) if (!diedAt.has(body)) diedAt.set(body, at)
      samples.push({ at, done: done.size, handedOut: yield* handedOut, dead: dead.length })
    })
    const everySecond = Effect.repeatN(Effect.zipLeft(sample, Effect.sleep("1 second")), until)
    const produce = Effect.gen(function* () {
      for (let n = 0; n < Orders.total; n++) {
        yield* sqs.send(Orders.queue, [Orders.body(n)])
        yield* Effect.sleep("200 millis")
      }
    })
    const running = Effect.all([consume(handle), produce], { concurrency: "unbounded" })
    yield* Effect.raceFirst(everySecond, Effect.zipRight(running, Effect.never))

    const dead = yield* sqs.messages(Orders.deadLetters)
    const played: Played = {
      name,
      samples,
      deadLetters: dead.map(({ attributes, body }) => ({
        body,
        reason: attributes[SqsLeaseQueue.reasonAttribute]?.StringValue,
        attempt: attributes[SqsLeaseQueue.attemptAttribute]?.StringValue,
        at: diedAt.get(body) ?? 0
      }))
    }
    return played
  }).pipe(
    Effect.provide(
      SqsEmulator.layer({
        queues: {
          [Orders.queue]: {
            visibilityTimeout: Orders.visibilityTimeout,
            deadLetter: { queue: Orders.deadLetters, maxReceiveCount: Orders.maxReceiveCount }
          }
        },
        latency: "10 millis"
      })
    )
  )
