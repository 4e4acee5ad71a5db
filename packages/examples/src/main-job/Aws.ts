/** The job's queue on AWS, or whatever `AWS_ENDPOINT_URL_SQS` names, with the ordinary chain of credentials. */
import { SqsClient, SqsQueue } from "@millrace/sqs"
import { Data, Effect, Layer } from "effect"
import { Target } from "./Target.js"

/** The job deletes what it handles, so it takes no queue that others use. */
export class QueueInUse extends Data.TaggedError("QueueInUse")<{ readonly message: string }> {}

export const target = (given: string) => Layer.effect(Target, find(given))

const find = (given: string) =>
  Effect.gen(function* () {
    const queue = yield* SqsQueue.resolve(given)
    if (queue.fifo) {
      return yield* new QueueInUse({ message: `${queue.name} is a FIFO queue; the job sends to a standard one.` })
    }
    const client = yield* SqsClient.SqsClient
    const counts = Effect.provideService(SqsQueue.counts(queue), SqsClient.SqsClient, client)
    const left = Effect.map(counts, ({ delayed, inFlight, visible }) => delayed + inFlight + visible)
    const held = yield* left
    if (held > 0) {
      return yield* new QueueInUse({
        message: `${queue.name} holds about ${held} messages, which the job would handle and delete: give it an empty queue of its own.`
      })
    }
    return {
      queue,
      place: queue.arn,
      backlog: Effect.map(counts, ({ visible }) => visible),
      witness: Effect.map(left, (left) => ({ left }))
    }
  })

export const layer = (queue: string) => Layer.provideMerge(target(queue), SqsClient.layerConfig())
