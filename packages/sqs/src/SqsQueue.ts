/**
 * A queue: found by name, URL or ARN, or made as it should be.
 *
 * @see https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-queue-message-identifiers.html
 */
import * as InvalidOptions from "@millrace/core/InvalidOptions"
import * as Data from "effect/Data"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Schedule from "effect/Schedule"
import * as lookUp from "./internal/queue/lookUp.js"
import { SqsClient } from "./SqsClient.js"
import { QueueDoesNotExist, type SqsError } from "./SqsError.js"

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

/** What was given for a queue cannot be one, or is not the queue that answered. The message says what to write. */
export class InvalidQueue extends Data.TaggedError("InvalidQueue")<{
  readonly queue: string
  readonly message: string
}> {}

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

/** What a string says of a queue, before anyone was asked. */
export interface Reference {
  readonly name: string
  readonly fifo: boolean
  readonly url: string | undefined
  readonly region: string | undefined
  readonly account: string | undefined
}

const forms =
  'Write a name ("orders", "orders.fifo"), a URL ("https://sqs.eu-west-1.amazonaws.com/123456789012/orders") or an ARN ("arn:aws:sqs:eu-west-1:123456789012:orders").'

const reference = (
  given: string,
  name: string,
  rest: Pick<Reference, "url" | "region" | "account">
): Either.Either<Reference, InvalidQueue> => {
  const fifo = name.endsWith(".fifo")
  const problem = !/^[\w-]*$/.test(fifo ? name.slice(0, -".fifo".length) : name)
    ? "has characters that a queue's name cannot have: only letters, digits, hyphens, underscores and the ending .fifo"
    : name === "" || name === ".fifo"
      ? "names no queue"
      : name.length > 80
        ? `has ${name.length} characters: a queue's name has at most 80`
        : undefined
  return problem === undefined
    ? Either.right({ name, fifo, ...rest })
    : Either.left(new InvalidQueue({ queue: given, message: `"${given}" ${problem}. ${forms}` }))
}

const refuse = (given: string, problem: string) =>
  Either.left(new InvalidQueue({ queue: given, message: `"${given}" ${problem}. ${forms}` }))

/** `sqs.<region>`, `sqs-fips.<region>`, `<region>.queue` and `queue`, with VPC endpoints' prefixes and every partition. */
const awsHost =
  /^(?:(?:[\w-]+\.)*sqs(?:-fips)?\.([a-z0-9-]+)|(?:([a-z0-9-]+)\.)?queue)(?:\.vpce)?\.(?:amazonaws\.com(?:\.cn)?|api\.aws|api\.amazonwebservices\.com\.cn)$/

const accountOfAws = /^\d{12}$/

/** An account as `GetQueueUrl` takes it: other services have owners of other forms. @internal */
export const ownerOf = (account: string): string | undefined => (accountOfAws.test(account) ? account : undefined)

const parseUrl = (given: string): Either.Either<Reference, InvalidQueue> => {
  if (!URL.canParse(given)) return refuse(given, "is not a URL")
  const url = new URL(given)
  const segments = url.pathname.split("/").filter((segment) => segment !== "")
  const name = segments.at(-1) ?? ""
  const account = segments.at(-2)
  const aws = awsHost.exec(url.hostname)
  if (url.search !== "" || url.hash !== "") return refuse(given, "has more than a queue's URL")
  if (aws === null) {
    // LocalStack, ElasticMQ and the like: a path of their own before the name, an account only where it looks like one.
    const known = account !== undefined && accountOfAws.test(account) ? account : undefined
    return reference(given, name, { url: given, region: undefined, account: known })
  }
  return segments.length === 2 && account !== undefined && accountOfAws.test(account)
    ? reference(given, name, { url: given, region: aws[1] ?? aws[2] ?? "us-east-1", account })
    : refuse(given, "is not the URL of a queue: its path must be an account of 12 digits and a name")
}

/**
 * What an ARN says, as AWS and services like it write them: `arn:scw:sqs:fr-par:project-…:orders`,
 * `yrn:yc:ymq:ru-central1:…:orders`, without region or account. A server that has none gives the bare name, or nothing.
 *
 * @internal
 */
export const ofArn = (arn: string): Pick<Reference, "name" | "region" | "account"> => {
  const parts = arn.split(":")
  const [region, account] = parts.length < 6 ? [] : [parts[3], parts[4]]
  return { name: parts.at(-1) ?? "", region: region || undefined, account: account || undefined }
}

const parseArn = (given: string): Either.Either<Reference, InvalidQueue> => {
  const [, partition = "", service = "", ...rest] = given.split(":")
  const { account, name, region } = ofArn(given)
  if (/^aws/.test(partition)) {
    if (service !== "sqs") return refuse(given, "is not the ARN of a queue: its service is not sqs")
    // A server of one's own may have accounts and regions of its own form, or neither.
    const isAws = account !== undefined && region !== undefined && (accountOfAws.test(account) || /\D/.test(account))
    if (rest.length !== 3 || !(isAws || (account === undefined && region === undefined))) {
      return refuse(given, "is not the ARN of a queue: it must be arn:aws:sqs:<region>:<account of 12 digits>:<name>")
    }
  }
  return rest.length < 3
    ? refuse(given, "is not the ARN of a queue: it is too short")
    : reference(given, name, { url: undefined, region, account })
}

const isFound = (queue: string | SqsQueue): queue is SqsQueue =>
  typeof queue === "object" && queue !== null && "arn" in queue && "url" in queue

/** Reads a queue's name, URL or ARN; fails with `InvalidQueue` where it is none. Asks nobody. */
export const parse = (queue: string): Either.Either<Reference, InvalidQueue> =>
  // From JavaScript, most often a variable of the environment that is not set.
  typeof queue !== "string"
    ? Either.left(
        new InvalidQueue({
          queue: String(queue),
          message: `the queue is ${queue === null ? "null" : typeof queue}. ${forms}`
        })
      )
    : /^[a-z]+:[^/]*$/.test(queue)
      ? parseArn(queue)
      : queue.includes("/")
        ? parseUrl(queue)
        : reference(queue, queue, { url: undefined, region: undefined, account: undefined })

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
const describe = Effect.fnUntraced(function* (given: string, reference: Reference, url: string) {
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

const urlOf = Effect.fnUntraced(function* (reference: Reference) {
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

/**
 * Finds a queue by name, URL or ARN and reads its attributes once (needs `sqs:GetQueueAttributes`, and
 * `sqs:GetQueueUrl` for a name or an ARN). A queue that was found already is given back as it is. Fails with
 * `InvalidQueue` where the string names no queue, or the queue which answers is of another region or account, and with
 * `QueueDoesNotExist` where none answers. While SQS throttles or cannot be reached it is asked again, and a warning says
 * so.
 */
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

export interface Counts {
  /** Waiting to be received. */
  readonly visible: number
  /** Received and not yet deleted or visible again. */
  readonly inFlight: number
  /** Sent with a delay that is not over. */
  readonly delayed: number
}

/**
 * How many messages the queue holds, about: SQS counts behind time by up to a minute.
 *
 * @see https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-message-counts.html
 */
export const counts = (queue: SqsQueue): Effect.Effect<Counts, SqsError, SqsClient> =>
  Effect.flatMap(SqsClient, (client) =>
    Effect.map(
      client.getQueueAttributes({
        QueueUrl: queue.url,
        AttributeNames: [
          "ApproximateNumberOfMessages",
          "ApproximateNumberOfMessagesNotVisible",
          "ApproximateNumberOfMessagesDelayed"
        ]
      }),
      (attributes) => ({
        visible: Number(attributes["ApproximateNumberOfMessages"] ?? 0),
        inFlight: Number(attributes["ApproximateNumberOfMessagesNotVisible"] ?? 0),
        delayed: Number(attributes["ApproximateNumberOfMessagesDelayed"] ?? 0)
      })
    )
  )

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
