/** The queue that a string names, as SQS describes it. */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Predicate from "effect/Predicate"
import type * as Schedule from "effect/Schedule"
import { QueueDoesNotExist, type SqsError } from "../../SqsError.js"
import { SqsClient } from "../client/tag.js"
import * as lookUp from "./lookUp.js"
import { InvalidQueue, ofArn, ownerOf, parse, type Reference } from "./reference.js"

export interface SqsQueue {
  readonly name: string
  readonly url: string
  /** As the server says; the URL, where a service like SQS says none. */
  readonly arn: string
  /** Empty, as the account, where neither its ARN nor what was given says one. */
  readonly region: string
  readonly account: string
  /** Ordered within groups: its name ends in `.fifo`. */
  readonly fifo: boolean
  /** How long a receive leases a message, unless it says otherwise. */
  readonly visibilityTimeout: Duration.Duration
  /** How long a message is kept, in flight or not, before SQS drops it. */
  readonly retention: Duration.Duration
  /** Where SQS moves a message that was received `maxReceiveCount` times, if anywhere. */
  readonly deadLetter: DeadLetterTarget | undefined
  /** All attributes as SQS gave them when the queue was looked up, counts among them. */
  readonly attributes: Readonly<Record<string, string>>
}

export interface DeadLetterTarget {
  readonly arn: string
  readonly maxReceiveCount: number
}

export const isFound = (queue: string | SqsQueue): queue is SqsQueue =>
  Predicate.hasProperty(queue, "arn") && "url" in queue

const seconds = (attributes: Readonly<Record<string, string>>, name: string, otherwise: number) =>
  Duration.seconds(Number(attributes[name] ?? otherwise))

const deadLetterTarget = (policy: string | undefined): DeadLetterTarget | undefined => {
  if (policy === undefined || policy === "") return undefined
  try {
    const { deadLetterTargetArn, maxReceiveCount } = JSON.parse(policy)
    return typeof deadLetterTargetArn === "string"
      ? { arn: deadLetterTargetArn, maxReceiveCount: Number(maxReceiveCount) }
      : undefined
  } catch {
    return undefined
  }
}

/** Asks for the queue's attributes and checks that the queue which answers is the one that was meant. */
export const describe = Effect.fnUntraced(function* (given: string, reference: Reference, url: string) {
  const client = yield* SqsClient
  const attributes = yield* client.getQueueAttributes({ QueueUrl: url, AttributeNames: ["All"] })
  const arn = attributes["QueueArn"] ?? ""
  const actual = ofArn(arn)
  for (const part of ["name", "region", "account"] as const) {
    const meant = reference[part]
    const found = actual[part]
    if (arn === "" || meant === undefined || found === undefined) continue
    // Other services have accounts of their own form, and put digits into URLs.
    if (part === "account" && (ownerOf(meant) === undefined) !== (ownerOf(found) === undefined)) continue
    if (meant !== found) {
      return yield* new InvalidQueue({
        queue: given,
        message: `"${given}" is of ${part} ${meant}, but the queue that the client reaches is ${arn}. Give the client the region and endpoint of the queue that you mean.`
      })
    }
  }
  const { fifo, name } = reference
  const queue: SqsQueue = {
    name,
    url,
    arn: arn === "" ? url : arn,
    region: actual.region ?? reference.region ?? "",
    account: actual.account ?? reference.account ?? "",
    fifo,
    visibilityTimeout: seconds(attributes, "VisibilityTimeout", 30),
    retention: seconds(attributes, "MessageRetentionPeriod", 345_600),
    deadLetter: deadLetterTarget(attributes["RedrivePolicy"]),
    attributes
  }
  return queue
})

export const urlOf = Effect.fnUntraced(function* (reference: Reference) {
  const client = yield* SqsClient
  return (
    reference.url ??
    (yield* client.getQueueUrl({
      QueueName: reference.name,
      QueueOwnerAWSAccountId: reference.account && ownerOf(reference.account)
    }))
  )
})

/** AWS's words do not say which queue was meant, nor that a wrong region looks the same. */
const notFound = (given: string, fifo: boolean, error: QueueDoesNotExist) => {
  const name = fifo ? "its name" : "its name (that of a FIFO queue ends in .fifo)"
  return new QueueDoesNotExist({
    operation: error.operation,
    message: `"${given}" was not found: ${error.message} Check ${name}, and the region, account and endpoint of the client.`,
    cause: error
  })
}

export interface ResolveOptions {
  /**
   * When to ask again what may be answered later: throttled calls, network errors. Default: after 200 milliseconds and
   * twice as long each time, up to 20 seconds, jittered, for a minute.
   */
  readonly retry?: Schedule.Schedule<unknown> | undefined
}

/** As `SqsQueue.resolve`, of options that are checked. */
export const resolve = (
  queue: string | SqsQueue,
  options: ResolveOptions = {}
): Effect.Effect<SqsQueue, SqsError | InvalidQueue, SqsClient> =>
  !isFound(queue)
    ? Effect.flatMap(parse(queue), (reference) =>
        Effect.flatMap(urlOf(reference), (url) => describe(queue, reference, url)).pipe(
          Effect.mapError((error) =>
            error._tag === "QueueDoesNotExist" ? notFound(queue, reference.fifo, error) : error
          ),
          lookUp.retried(`look up ${reference.name}`, options.retry ?? lookUp.forAMinute)
        )
      )
    : Effect.succeed(queue)
