/** What an SQS queue is, for the AsyncAPI document of a channel. */
import type * as AsyncApi from "@millrace/core/AsyncApi"
import * as InvalidOptions from "@millrace/core/InvalidOptions"
import * as Duration from "effect/Duration"
import * as Either from "effect/Either"
import { parse } from "./internal/queue/reference.js"
import type * as SqsQueue from "./SqsQueue.js"

/** Named and meant as `SqsQueue.ensure` has them, where that has them too. */
export interface Options
  extends Pick<SqsQueue.EnsureOptions, "visibilityTimeout" | "retention" | "delay" | "deadLetter" | "tags"> {
  /** How long a receive waits where it does not say: 0 to 20 seconds. */
  readonly wait?: Duration.DurationInput | undefined
  /** FIFO: among what a deduplication id counts. */
  readonly deduplicationScope?: "queue" | "messageGroup" | undefined
  /** FIFO: of what the quota of calls is. */
  readonly fifoThroughputLimit?: "perQueue" | "perMessageGroupId" | undefined
}

const checks: InvalidOptions.Checks<Options> = {
  visibilityTimeout: InvalidOptions.time({ max: "12 hours" }),
  retention: InvalidOptions.time({ min: "1 minute", max: "14 days" }),
  delay: InvalidOptions.time({ max: "15 minutes" }),
  deadLetter: InvalidOptions.fields<NonNullable<Options["deadLetter"]>>({
    queue: InvalidOptions.text,
    maxReceiveCount: InvalidOptions.required(InvalidOptions.aWholeNumber({ min: 1, max: 1000 }))
  }),
  tags: InvalidOptions.record(InvalidOptions.anyText),
  wait: InvalidOptions.time({ max: "20 seconds" }),
  deduplicationScope: InvalidOptions.oneOf("queue", "messageGroup"),
  fifoThroughputLimit: InvalidOptions.oneOf("perQueue", "perMessageGroupId")
}

/**
 * The bindings of a queue given by name, URL or ARN: its name, whether it is FIFO, and the settings that are given. Throws
 * `InvalidOptions` where it cannot be one, or a setting is for another kind of queue.
 *
 * @see https://github.com/asyncapi/bindings/blob/master/sqs/README.md
 *
 * @example
 * SqsAsyncApi.bindings("orders.fifo", { visibilityTimeout: "1 minute", deadLetter: { maxReceiveCount: 5 } })
 */
export const bindings = (queue: string, options: Options = {}): AsyncApi.Bindings => {
  InvalidOptions.checkOrThrow("SqsAsyncApi.bindings", options, checks)
  const { fifo, name } = named("queue", queue)
  const { deadLetter, deduplicationScope, delay, fifoThroughputLimit, retention, tags, visibilityTimeout, wait } =
    options
  for (const [option, value] of Object.entries({ deduplicationScope, fifoThroughputLimit })) {
    if (!fifo && value !== undefined) {
      throw refuse(option, `${option} is for FIFO queues, and ${name} is a standard queue; leave it out`)
    }
  }
  return {
    sqs: {
      queue: given({
        name,
        fifoQueue: fifo,
        deduplicationScope,
        fifoThroughputLimit,
        deliveryDelay: seconds("delay", delay),
        visibilityTimeout: seconds("visibilityTimeout", visibilityTimeout),
        receiveMessageWaitTime: seconds("wait", wait),
        messageRetentionPeriod: seconds("retention", retention),
        redrivePolicy: deadLetter && {
          deadLetterQueue: deadLetterQueue(name, fifo, deadLetter.queue),
          maxReceiveCount: deadLetter.maxReceiveCount
        },
        tags
      }),
      bindingVersion: "0.2.0"
    }
  }
}

const refuse = (option: string, message: string) => new InvalidOptions.InvalidOptions({ option, message })

const named = (option: string, queue: string) => {
  const parsed = parse(queue)
  if (Either.isLeft(parsed)) throw refuse(option, parsed.left.message)
  return parsed.right
}

const deadLetterQueue = (source: string, fifo: boolean, queue = dlqOf(source, fifo)) => {
  const letters = named("deadLetter.queue", queue)
  if (letters.fifo !== fifo) {
    const write = fifo ? "one whose name ends in .fifo" : "a standard queue"
    throw refuse(
      "deadLetter.queue",
      `deadLetter.queue is ${letters.name}, and ${source} is a ${fifo ? "FIFO" : "standard"} queue; write ${write}: SQS wants both FIFO, or neither`
    )
  }
  return queue.startsWith("arn:") ? { arn: queue } : { name: letters.name }
}

const dlqOf = (source: string, fifo: boolean) =>
  fifo ? `${source.slice(0, -".fifo".length)}-dlq.fifo` : `${source}-dlq`

const seconds = (option: string, time: Duration.DurationInput | undefined): number | undefined => {
  if (time === undefined) return undefined
  const given = Duration.toSeconds(time)
  if (Number.isInteger(given)) return given
  throw refuse(option, `${option} is ${Duration.format(time)}; write whole seconds`)
}

const given = (fields: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> =>
  Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined))
