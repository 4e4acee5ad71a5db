/** A queue made as it should be, and held against that where it exists. */
import * as InvalidOptions from "@millrace/core/InvalidOptions"
import * as Data from "effect/Data"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import type { QueueDoesNotExist, SqsError } from "../../SqsError.js"
import { SqsClient } from "../client/tag.js"
import * as lookUp from "./lookUp.js"
import { InvalidQueue, parse, type Reference } from "./reference.js"
import { describe, resolve, type SqsQueue, urlOf } from "./resolve.js"

/** The queue exists with other settings than `ensure` was asked for. */
export class QueueDiffers extends Data.TaggedError("QueueDiffers")<{
  readonly queue: string
  readonly differences: ReadonlyArray<Difference>
}> {
  override get message(): string {
    const list = this.differences.map(
      ({ actual, setting, wanted }) => `${setting} is ${actual ?? "not set"}, wanted ${wanted}`
    )
    return `The queue ${this.queue} exists and differs: ${list.join("; ")}. Give \`update: true\` to change it.`
  }
}

export interface Difference {
  /** An attribute's name, or `tag <key>`. */
  readonly setting: string
  readonly actual: string | undefined
  readonly wanted: string
}

/** @see https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_CreateQueue.html */
export interface EnsureOptions {
  /** Default: what the name says. `true` demands a name that ends in `.fifo`, `false` one that does not. */
  readonly fifo?: boolean | undefined
  /** 0 to 12 hours. SQS's default: 30 seconds. */
  readonly visibilityTimeout?: Duration.DurationInput | undefined
  /** 60 seconds to 14 days. SQS's default: 4 days. */
  readonly retention?: Duration.DurationInput | undefined
  /** Before a message sent can first be received: 0 to 15 minutes. SQS's default: 0. */
  readonly delay?: Duration.DurationInput | undefined
  /** FIFO: the body's hash stands for a deduplication id that is not given. SQS's default: false. */
  readonly contentBasedDeduplication?: boolean | undefined
  /** Other attributes, by SQS's names and in its form, e.g. `{ KmsMasterKeyId: "alias/orders" }`. */
  readonly attributes?: Readonly<Record<string, string>> | undefined
  readonly tags?: Readonly<Record<string, string>> | undefined
  /** Where messages go that were received `maxReceiveCount` times (1 to 1,000) without being deleted. */
  readonly deadLetter?:
    | {
        /**
         * Its name, URL or ARN. A name is created where it does not exist, with a retention of 14 days; a queue that
         * exists is left as it is. Default: this queue's name with `-dlq`.
         */
        readonly queue?: string | undefined
        readonly maxReceiveCount: number
      }
    | undefined
  /** Change what differs. Default: false, and a difference fails with `QueueDiffers`. */
  readonly update?: boolean | undefined
}

const ensureChecks: InvalidOptions.Checks<EnsureOptions> = {
  fifo: InvalidOptions.flag,
  visibilityTimeout: InvalidOptions.time(),
  retention: InvalidOptions.time(),
  delay: InvalidOptions.time(),
  contentBasedDeduplication: InvalidOptions.flag,
  attributes: InvalidOptions.record(InvalidOptions.anyText),
  tags: InvalidOptions.record(InvalidOptions.anyText),
  deadLetter: InvalidOptions.fields<NonNullable<EnsureOptions["deadLetter"]>>({
    queue: InvalidOptions.text,
    maxReceiveCount: InvalidOptions.required(InvalidOptions.aNumber({ min: 0 }))
  }),
  update: InvalidOptions.flag
}

const wholeSeconds = (
  queue: string,
  option: string,
  value: Duration.DurationInput,
  min: number,
  max: number
): Effect.Effect<string, InvalidQueue> => {
  const given = Duration.toSeconds(value)
  return Number.isInteger(given) && given >= min && given <= max
    ? Effect.succeed(String(given))
    : new InvalidQueue({
        queue,
        message: `${option} of ${queue} is ${Duration.format(value)}: write whole seconds from ${min} to ${max}.`
      })
}

/** The attributes that the options speak of, less the dead letters. */
const wantedAttributes = Effect.fnUntraced(function* (name: string, fifo: boolean, options: EnsureOptions) {
  const wanted: Record<string, string> = { ...options.attributes }
  const { contentBasedDeduplication, delay, retention, visibilityTimeout } = options
  if (visibilityTimeout !== undefined) {
    wanted["VisibilityTimeout"] = yield* wholeSeconds(name, "visibilityTimeout", visibilityTimeout, 0, 43_200)
  }
  if (retention !== undefined) {
    wanted["MessageRetentionPeriod"] = yield* wholeSeconds(name, "retention", retention, 60, 1_209_600)
  }
  if (delay !== undefined) wanted["DelaySeconds"] = yield* wholeSeconds(name, "delay", delay, 0, 900)
  if (contentBasedDeduplication !== undefined) {
    if (!fifo) {
      return yield* new InvalidQueue({
        queue: name,
        message: `contentBasedDeduplication is for FIFO queues: write "${name}.fifo", or leave it out.`
      })
    }
    wanted["ContentBasedDeduplication"] = String(contentBasedDeduplication)
  }
  return wanted
})

/** `RedrivePolicy` is JSON with the count as a number or a string: compared by what it says. */
const sameValue = (name: string, actual: string | undefined, wanted: string): boolean => {
  if (actual === wanted || (actual === undefined && wanted === "")) return true
  if (!/Policy$/.test(name) || actual === undefined) return false
  try {
    const canonical = (json: string) =>
      JSON.stringify(JSON.parse(json), (_, value: unknown) =>
        typeof value === "number"
          ? String(value)
          : typeof value === "object" && value !== null && !Array.isArray(value)
            ? Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)))
            : value
      )
    return canonical(actual) === canonical(wanted)
  } catch {
    return false
  }
}

interface Wanted {
  readonly reference: Reference
  readonly attributes: Readonly<Record<string, string>>
  readonly tags: Readonly<Record<string, string>>
}

/** A queue that was just made may be unknown for a second. */
const untilKnown = {
  while: (error: SqsError | InvalidQueue): error is QueueDoesNotExist => error._tag === "QueueDoesNotExist",
  schedule: Schedule.intersect(Schedule.spaced("500 millis"), Schedule.recurs(10))
}

const create = Effect.fnUntraced(function* ({ attributes, reference, tags }: Wanted) {
  const client = yield* SqsClient
  const url = yield* client.createQueue({
    QueueName: reference.name,
    Attributes: reference.fifo ? { ...attributes, FifoQueue: "true" } : attributes,
    ...(Object.keys(tags).length > 0 && { tags })
  })
  return yield* Effect.retry(describe(reference.name, reference, url), untilKnown)
})

const find = (reference: Reference) =>
  urlOf(reference).pipe(
    Effect.flatMap((url) => describe(reference.name, reference, url)),
    Effect.catchTag("QueueDoesNotExist", () => Effect.succeed(undefined))
  )

const difference = Effect.fnUntraced(function* (queue: SqsQueue, { attributes, tags }: Wanted) {
  const client = yield* SqsClient
  const actual = Object.keys(tags).length > 0 ? yield* client.listQueueTags({ QueueUrl: queue.url }) : {}
  const changed: Record<string, string> = {}
  for (const [name, value] of Object.entries(attributes)) {
    if (!sameValue(name, queue.attributes[name], value)) changed[name] = value
  }
  const retagged: Record<string, string> = {}
  for (const [key, value] of Object.entries(tags)) {
    if (actual[key] !== value) retagged[key] = value
  }
  const differences: ReadonlyArray<Difference> = [
    ...Object.entries(changed).map(([setting, wanted]) => ({ setting, actual: queue.attributes[setting], wanted })),
    ...Object.entries(retagged).map(([key, wanted]) => ({ setting: `tag ${key}`, actual: actual[key], wanted }))
  ]
  return { changed, retagged, differences }
})

/** Leaves the queue as it is where nothing differs; else changes it, or refuses. */
const conform = Effect.fnUntraced(function* (queue: SqsQueue, wanted: Wanted, update: boolean) {
  const client = yield* SqsClient
  const { changed, differences, retagged } = yield* difference(queue, wanted)
  if (differences.length === 0) return queue
  if (!update) return yield* new QueueDiffers({ queue: queue.name, differences })
  if (Object.keys(changed).length > 0) {
    yield* client.setQueueAttributes({ QueueUrl: queue.url, Attributes: changed })
  }
  if (Object.keys(retagged).length > 0) yield* client.tagQueue({ QueueUrl: queue.url, Tags: retagged })
  return yield* describe(queue.name, wanted.reference, queue.url)
})

const deadLetterQueue = Effect.fnUntraced(function* (source: Reference, given: string | undefined) {
  const named = given ?? (source.fifo ? `${source.name.slice(0, -".fifo".length)}-dlq.fifo` : `${source.name}-dlq`)
  const reference = yield* parse(named)
  if (reference.fifo !== source.fifo) {
    return yield* new InvalidQueue({
      queue: named,
      message: `"${named}" cannot hold the dead letters of "${source.name}": SQS wants both FIFO, or neither.`
    })
  }
  if (reference.url !== undefined || reference.account !== undefined) return yield* resolve(named)
  const wanted = { reference, attributes: { MessageRetentionPeriod: "1209600" }, tags: {} }
  return (
    (yield* find(reference)) ??
    (yield* Effect.catchTag(create(wanted), "QueueNameExists", () => resolve(reference.name)))
  )
})

/**
 * The queue of that name with those settings: created where it does not exist, with its dead-letter queue, and left
 * alone where it does and agrees; so it can run at each start. Settings that are not given are not looked at, nor are
 * other tags. Where it exists and differs it fails with `QueueDiffers`, which lists the differences, or changes them
 * with `update: true`. Settings that cannot be fail with `InvalidQueue`, and options that are none with `InvalidOptions`,
 * before anything is called. Throttled calls and network errors are tried again for a minute.
 *
 * Needs `sqs:GetQueueUrl`, `sqs:GetQueueAttributes` and `sqs:CreateQueue`; for tags `sqs:ListQueueTags` and
 * `sqs:TagQueue`; to change a queue `sqs:SetQueueAttributes`.
 */
export const ensure = Effect.fn("SqsQueue.ensure")(function* (
  name: string,
  options: EnsureOptions = {}
): Effect.fn.Return<SqsQueue, SqsError | InvalidQueue | InvalidOptions.InvalidOptions | QueueDiffers, SqsClient> {
  yield* InvalidOptions.check("SqsQueue.ensure", options, ensureChecks)
  const reference = yield* parse(name)
  if (reference.url !== undefined || reference.account !== undefined) {
    return yield* new InvalidQueue({ queue: name, message: `ensure makes queues by name: write "${reference.name}".` })
  }
  if (options.fifo !== undefined && options.fifo !== reference.fifo) {
    return yield* new InvalidQueue({
      queue: name,
      message: options.fifo
        ? `A FIFO queue's name ends in .fifo: write "${name}.fifo".`
        : `A name that ends in .fifo is a FIFO queue's: write "${name.slice(0, -".fifo".length)}".`
    })
  }
  const attributes = yield* wantedAttributes(name, reference.fifo, options)
  const { deadLetter, tags = {}, update = false } = options
  if (deadLetter !== undefined) {
    const { maxReceiveCount } = deadLetter
    if (!Number.isInteger(maxReceiveCount) || maxReceiveCount < 1 || maxReceiveCount > 1000) {
      return yield* new InvalidQueue({
        queue: name,
        message: `maxReceiveCount of ${name} is ${maxReceiveCount}: write a whole number from 1 to 1000.`
      })
    }
  }
  // Each of its calls may be repeated: what is there already is left as it is.
  return yield* lookUp.retried(
    `make sure of ${name}`,
    lookUp.forAMinute
  )(
    Effect.gen(function* () {
      const redrive = deadLetter && {
        deadLetterTargetArn: (yield* deadLetterQueue(reference, deadLetter.queue)).arn,
        maxReceiveCount: String(deadLetter.maxReceiveCount)
      }
      const wanted: Wanted = {
        reference,
        attributes: redrive === undefined ? attributes : { ...attributes, RedrivePolicy: JSON.stringify(redrive) },
        tags
      }
      const present = yield* find(reference)
      if (present !== undefined) return yield* conform(present, wanted, update)
      // Someone else may make it just now, with other settings.
      return yield* Effect.catchTag(create(wanted), "QueueNameExists", () =>
        Effect.flatMap(resolve(name), (queue) => conform(queue, wanted, update))
      )
    })
  )
})
