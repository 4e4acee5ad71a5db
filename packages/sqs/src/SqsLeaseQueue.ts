/**
 * Core's port over `SqsClient`: an SQS queue as a queue that leases its messages.
 */
import * as InvalidOptions from "@millrace/core/InvalidOptions"
import type * as LeaseQueue from "@millrace/core/LeaseQueue"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import type * as Schedule from "effect/Schedule"
import { bySize, done, inOrder } from "./internal/entries.js"
import * as lookUp from "./internal/lookUp.js"
import { legible, longestMessage, mostAttributes, sizeOf, toSqs } from "./internal/message.js"
import { allAttributes, toMessage } from "./internal/received.js"
import { spanAttributesOf, system } from "./internal/sendSpans.js"
import type { BatchResult, MessageAttribute, MessageAttributes, SendFields } from "./SqsClient.js"
import { SqsClient } from "./SqsClient.js"
import * as SqsEncoding from "./SqsEncoding.js"
import * as SqsError from "./SqsError.js"
import * as SqsQueue from "./SqsQueue.js"

export interface Options {
  /**
   * How long a receive leases its messages: 1 second to 12 hours, in whole seconds rounded up. Default: the queue's own
   * visibility timeout, as it was when the queue was looked up.
   *
   * @see https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-visibility-timeout.html
   */
  readonly visibilityTimeout?: Duration.DurationInput | undefined
  /**
   * When to look the queue up again where SQS throttles or cannot be reached; a consumer receives again by it too.
   * Default: exponential, 200 milliseconds to 20 seconds, jittered, without end.
   */
  readonly receiveRetry?: Schedule.Schedule<unknown> | undefined
  /** Encodings that the decode stages open where a message's attributes speak of them. Default: gzip, up to 16 MiB. */
  readonly encodings?: ReadonlyArray<SqsEncoding.Encoding> | undefined
}

/** What each option may be. */
export const checks: InvalidOptions.Checks<Options> = {
  visibilityTimeout: InvalidOptions.time({ min: "1 second", max: "12 hours" }),
  receiveRetry: InvalidOptions.schedule,
  encodings: InvalidOptions.list(SqsEncoding.check)
}

/** The name of the attribute that says why a message was dead-lettered. */
export const reasonAttribute = "millrace-dead-letter-reason"
/** Of the attribute with the tag or name of the error that was the reason. */
export const errorAttribute = "millrace-dead-letter-error"
/** Of the attribute with the number of the attempt that failed. */
export const attemptAttribute = "millrace-dead-letter-attempt"
/** Of the attribute with the ARN of the queue that it was taken from. */
export const sourceAttribute = "millrace-dead-letter-source"

const longestLease = 43_200
const longestReason = 1024
/** What is left of a reason must still say something. */
const shortestReason = 32

const wholeSeconds = (duration: Duration.Duration): number => Math.ceil(Duration.toSeconds(duration))

const tooLong = (duration: Duration.Duration): boolean => wholeSeconds(duration) > longestLease

/** Not sent: SQS might refuse the whole call for it. */
const rejected: LeaseQueue.EntryResult = Either.left({
  reason: "Rejected",
  message: "SQS leases a message for 12 hours at most"
})
const nothingSent: BatchResult<unknown> = { Successful: [], Failed: [] }

// ---------------------------------------------------------------------------------------------------------------------
// Dead letters
// ---------------------------------------------------------------------------------------------------------------------

/** The reason as SQS takes it for the value of an attribute. */
const reasonText = (reason: string): string => {
  const text = legible(reason.slice(0, longestReason))
  return text === "" ? "no reason given" : text
}

const text = (StringValue: string): MessageAttribute => ({ DataType: "String", StringValue })

const fits = (body: string, attributes: MessageAttributes): boolean =>
  Object.keys(attributes).length <= mostAttributes && sizeOf(body, attributes) <= longestMessage

/** As much of a text as fits into so many bytes of UTF-8. */
const cut = (value: string, bytes: number): string =>
  Buffer.byteLength(value) <= bytes
    ? value
    : Buffer.from(value)
        .subarray(0, bytes)
        .toString()
        .replace(/\uFFFD$/, "")

/** The names that are ours: what a sender has put there says nothing, and would be believed when it is sent back. */
const ours: ReadonlySet<string> = new Set([reasonAttribute, errorAttribute, attemptAttribute, sourceAttribute])

/**
 * The message's own attributes, less those of our names, and beside them why it is here: the reason, the source, the
 * attempt and the error, as many as there is room for; the others are folded into the reason, cut to what is left of 1
 * MiB; nothing where ten attributes are taken.
 */
const deadLetterAttributes = (entry: LeaseQueue.DeadLetterEntry, source: string): MessageAttributes => {
  const { attempt, error, message } = entry
  const reason = reasonText(entry.reason)
  const own: Record<string, MessageAttribute> = {}
  for (const [name, attribute] of Object.entries(message.attributes)) {
    if (!ours.has(name)) own[name] = toSqs(attribute)
  }
  const facts: ReadonlyArray<readonly [name: string, value: MessageAttribute, words?: string]> = [
    [sourceAttribute, text(source), `from ${source}`],
    ...(attempt === undefined
      ? []
      : [[attemptAttribute, { DataType: "Number", StringValue: String(attempt) }, `attempt ${attempt}`] as const]),
    ...(error === undefined || error === ""
      ? []
      : [[errorAttribute, text(legible(error.slice(0, longestReason)))] as const])
  ]
  for (let apart = facts.length; apart >= 0; apart--) {
    const beside = { ...own, ...Object.fromEntries(facts.slice(0, apart)) }
    const words = facts.slice(apart).flatMap(([, , said]) => said ?? [])
    const whole = words.length === 0 ? reason : `${reason} (${words.join(", ")})`
    // Where there are attributes enough, only the size can be in the way: that of the reason gives way last.
    if (apart > 0) {
      const all = { ...beside, [reasonAttribute]: text(whole) }
      if (fits(message.body, all)) return all
      continue
    }
    const room = longestMessage - sizeOf(message.body, { ...beside, [reasonAttribute]: text("") })
    const folded = { ...beside, [reasonAttribute]: text(cut(whole, room)) }
    if (room >= shortestReason && fits(message.body, folded)) return folded
  }
  return own
}

/** The message as it was, with the reason where there is still room for it. */
const deadLetterOf = (
  entry: LeaseQueue.DeadLetterEntry,
  source: SqsQueue.SqsQueue
): { readonly fields: SendFields; readonly size: number } => {
  const { message } = entry
  const attributes = deadLetterAttributes(entry, source.arn)
  const trace = message.system["AWSTraceHeader"]
  return {
    size: sizeOf(message.body, attributes),
    fields: {
      MessageBody: message.body,
      ...(Object.keys(attributes).length > 0 && { MessageAttributes: attributes }),
      ...(trace !== undefined && {
        MessageSystemAttributes: { AWSTraceHeader: { DataType: "String", StringValue: trace } }
      }),
      ...(message.group !== undefined && { MessageGroupId: message.group }),
      ...(source.fifo && { MessageDeduplicationId: message.id })
    }
  }
}

/** How many messages to remember that are in the dead-letter queue and not yet deleted from their own. */
const remembered = 1000

const deadLetters = (
  client: SqsClient["Type"],
  queue: SqsQueue.SqsQueue,
  target: SqsQueue.DeadLetterTarget,
  ack: LeaseQueue.LeaseQueue<SqsError.SqsError>["ack"]
): NonNullable<LeaseQueue.LeaseQueue<SqsError.SqsError>["deadLetter"]> => {
  const { account, name } = SqsQueue.ofArn(target.arn)
  // Looked up at the first use: who never dead-letters needs no permission for it.
  let url: string | undefined
  const targetUrl = Effect.suspend(() =>
    url === undefined
      ? Effect.tap(
          client.getQueueUrl({ QueueName: name, QueueOwnerAWSAccountId: account && SqsQueue.ownerOf(account) }),
          (found) => {
            url = found
          }
        )
      : Effect.succeed(url)
  )
  // A delete that failed is tried again with its entry; the message must not be sent twice for it.
  const sent = new Set<string>()

  const send = (entries: ReadonlyArray<LeaseQueue.DeadLetterEntry>, results: Array<LeaseQueue.EntryResult>) =>
    Effect.gen(function* () {
      const unsent = entries
        .map((entry, position) => ({ ...deadLetterOf(entry, queue), id: entry.message.id, position }))
        .filter(({ id }) => !sent.has(id))
      if (unsent.length === 0) return
      const QueueUrl = yield* targetUrl
      for (const run of bySize(unsent)) {
        const answer = yield* client.sendMessageBatch({
          QueueUrl,
          Entries: run.map(({ fields }, index) => ({ ...fields, Id: String(index) }))
        })
        for (const [index, result] of inOrder(run.length, answer).entries()) {
          const entry = run[index]
          if (entry === undefined) continue
          results[entry.position] = result
          if (Either.isRight(result)) sent.add(entry.id)
        }
      }
      for (const id of sent) {
        if (sent.size <= remembered) break
        sent.delete(id)
      }
    })

  return (entries) =>
    Effect.gen(function* () {
      const results = entries.map(() => done)
      yield* send(entries, results)
      const stored = [...results.keys()].filter((position) => results[position] === done)
      const leases = stored.flatMap((position) => entries[position]?.message.lease ?? [])
      const deleted = yield* ack(leases)
      for (const [index, result] of deleted.entries()) {
        const position = stored[index]
        if (position === undefined) continue
        results[position] = result
        const over = Either.isRight(result) || result.left.reason !== "Transient"
        const id = entries[position]?.message.id
        if (over && id !== undefined) sent.delete(id)
      }
      return results
    })
}

// ---------------------------------------------------------------------------------------------------------------------
// Servers that say less
// ---------------------------------------------------------------------------------------------------------------------

/** The group of messages whose server does not say theirs. */
const oneGroup = "group-unknown"

/**
 * Some servers like SQS leave out what order and limits rest on. It is said once, and met on the safe side: messages of
 * a FIFO queue whose groups are not known are one group.
 */
const complete = ({ fifo, name }: SqsQueue.SqsQueue) => {
  const said = new Set<string>()
  const warn = (problem: string) =>
    Effect.suspend(() => {
      if (said.has(problem)) return Effect.void
      said.add(problem)
      return Effect.logWarning(`the server of ${name} ${problem}`)
    })
  const lacksGroup = ({ group }: LeaseQueue.Message) => fifo && group === undefined
  const lacksCount = ({ system }: LeaseQueue.Message) => system["ApproximateReceiveCount"] === undefined
  return (messages: ReadonlyArray<LeaseQueue.Message>): Effect.Effect<ReadonlyArray<LeaseQueue.Message>> =>
    !messages.some((message) => lacksGroup(message) || lacksCount(message))
      ? Effect.succeed(messages)
      : Effect.zipRight(
          Effect.zipRight(
            Effect.when(
              warn(
                "does not say the groups of its messages (MessageGroupId): they are taken for one group, one at a time"
              ),
              () => messages.some(lacksGroup)
            ),
            Effect.when(
              warn(
                "does not say how often a message was received (ApproximateReceiveCount): each attempt counts as the first, and a retry policy's limit of attempts is never reached; give the queue a maxReceiveCount"
              ),
              () => messages.some(lacksCount)
            )
          ),
          Effect.sync(() =>
            messages.map((message) => (lacksGroup(message) ? { ...message, group: oneGroup } : message))
          )
        )
}

// ---------------------------------------------------------------------------------------------------------------------
// The port
// ---------------------------------------------------------------------------------------------------------------------

const leaseDurationOf = (
  queue: SqsQueue.SqsQueue,
  options: Options
): Effect.Effect<Duration.Duration, InvalidOptions.InvalidOptions> => {
  const decoded = Duration.decode(options.visibilityTimeout ?? queue.visibilityTimeout)
  if (Duration.between(decoded, { minimum: "1 second", maximum: "12 hours" })) {
    return Effect.succeed(Duration.seconds(Math.ceil(Duration.toSeconds(decoded))))
  }
  return new InvalidOptions.InvalidOptions({
    option: "visibilityTimeout",
    message: `the queue ${queue.name} has a visibility timeout of ${Duration.format(decoded)}, which leases nothing; write \`visibilityTimeout\`, from 1 second to 12 hours`
  })
}

/**
 * Leases messages of an SQS queue, given by name, URL or ARN, or as it was found. Each call is one SQS call of at most
 * 10 entries (`deadLetter`: a send, as many as sizes demand, and a delete). Durations are rounded up to whole seconds.
 *
 * `deadLetter` is there where the queue has a redrive policy: it sends to that queue and deletes only after. The message
 * keeps its body, attributes and group and gets a new id; the reason, the error's tag, the attempt and the ARN of the
 * source stand in attributes beside its own (`reasonAttribute` and so on; what its sender has put under these names is
 * dropped), folded into the reason where there are fewer than four places left, and cut or left out where ten attributes
 * or 1 MiB are full. Needs `sqs:SendMessage` and `sqs:GetQueueUrl`
 * there. A crash between the two calls leaves the message in both queues.
 */
export const make = Effect.fnUntraced(function* (
  queue: string | SqsQueue.SqsQueue,
  options: Options = {}
): Effect.fn.Return<
  LeaseQueue.LeaseQueue<SqsError.SqsError>,
  SqsError.SqsError | SqsQueue.InvalidQueue | InvalidOptions.InvalidOptions,
  SqsClient
> {
  yield* InvalidOptions.check("SqsLeaseQueue", options, checks)
  const client = yield* SqsClient
  const resolved = yield* SqsQueue.resolve(queue, { retry: options.receiveRetry ?? lookUp.forEver })
  const leaseDuration = yield* leaseDurationOf(resolved, options)
  const fromSqs = toMessage(options.encodings ?? SqsEncoding.standard)
  const whole = complete(resolved)
  const QueueUrl = resolved.url
  const VisibilityTimeout = Duration.toSeconds(leaseDuration)
  const limits: LeaseQueue.Limits = {
    batchSize: 10,
    maxWait: Duration.seconds(20),
    maxLease: Duration.seconds(longestLease),
    ordered: resolved.fifo
  }

  const ack: LeaseQueue.LeaseQueue<SqsError.SqsError>["ack"] = (leases) =>
    leases.length === 0
      ? Effect.succeed([])
      : Effect.map(
          client.deleteMessageBatch({
            QueueUrl,
            Entries: leases.map(({ handle }, position) => ({ Id: String(position), ReceiptHandle: handle }))
          }),
          (result) => inOrder(leases.length, result)
        )

  return {
    name: resolved.name,
    system,
    spanAttributes: spanAttributesOf(QueueUrl),
    limits,
    leaseDuration,
    maxAttempts: resolved.deadLetter?.maxReceiveCount,
    connections: client.connections,
    receive: ({ attemptId, max, stop, wait }) =>
      Effect.flatMap(
        client.receiveMessage(
          {
            QueueUrl,
            MaxNumberOfMessages: max,
            WaitTimeSeconds: Math.min(20, wholeSeconds(wait)),
            // Said each time: deadlines are reckoned from it, and the queue's own may be changed meanwhile.
            VisibilityTimeout,
            ...allAttributes,
            ...(resolved.fifo && { ReceiveRequestAttemptId: attemptId })
          },
          { stop }
        ),
        (messages) => whole(messages.map(fromSqs))
      ),
    ack,
    setLease: (entries) => {
      const possible = entries.flatMap(({ duration, lease }, position) =>
        tooLong(duration)
          ? []
          : [{ Id: String(position), ReceiptHandle: lease.handle, VisibilityTimeout: wholeSeconds(duration) }]
      )
      return Effect.map(
        possible.length === 0
          ? Effect.succeed(nothingSent)
          : client.changeMessageVisibilityBatch({ QueueUrl, Entries: possible }),
        (answer) => {
          const results = inOrder(entries.length, answer)
          for (const [position, { duration }] of entries.entries()) {
            if (tooLong(duration)) results[position] = rejected
          }
          return results
        }
      )
    },
    deadLetter: resolved.deadLetter === undefined ? undefined : deadLetters(client, resolved, resolved.deadLetter, ack),
    errorKind: SqsError.kind
  }
})
