/**
 * Amazon SQS in memory, on Effect's Clock: visibility timeouts, delays, long polls, deduplication and retention all
 * pass in virtual time under a `TestClock`. The layer gives the `SqsClient` that a program uses, and a handle for its
 * test: send, look inside, wait until so much is done, make calls fail.
 *
 * @example
 * Effect.gen(function* () {
 *   const sqs = yield* SqsEmulator.SqsEmulator
 *   yield* sqs.send("order-processing-queue", [{ order_id: 1 }])
 *   yield* Effect.fork(program)
 *   yield* sqs.settled("order-processing-queue", 1)
 * }).pipe(Effect.provide(SqsEmulator.layer({ queues: { "order-processing-queue": {} } })))
 */
import * as InvalidOptions from "@millrace/core/InvalidOptions"
import * as Context from "effect/Context"
import * as Data from "effect/Data"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Predicate from "effect/Predicate"
import * as Random from "effect/Random"
import type * as Scope from "effect/Scope"
import * as Calls from "../internal/emulator/Calls.js"
import { Engine } from "../internal/emulator/Engine.js"
import { isOperation } from "../internal/emulator/Operations.js"
import type { Queue } from "../internal/emulator/Queue.js"
import type { State, StoredMessage } from "../internal/emulator/StoredMessage.js"
import type { MessageAttribute, MessageAttributes } from "../SqsClient.js"
import { SqsClient } from "../SqsClient.js"
import type { SqsError } from "../SqsError.js"
import { QueueDoesNotExist } from "../SqsError.js"
import * as Fault from "./Fault.js"

/** What the emulator was asked for cannot be; the message says what to write instead. */
export class InvalidEmulatorOptions extends Data.TaggedError("InvalidEmulatorOptions")<{ readonly message: string }> {}

/** A queue to start with. Times are whole seconds; what is left out is as in AWS. A name with `.fifo` makes it FIFO. */
export interface QueueOptions {
  /** 0 seconds to 12 hours. Default: 30 seconds. */
  readonly visibilityTimeout?: Duration.DurationInput | undefined
  /** 0 seconds to 15 minutes. Default: 0. */
  readonly delay?: Duration.DurationInput | undefined
  /** 1 minute to 14 days. Default: 4 days. */
  readonly retention?: Duration.DurationInput | undefined
  /** How long a receive waits that does not say: 0 to 20 seconds. Default: 0. */
  readonly receiveWait?: Duration.DurationInput | undefined
  /** Where a message goes that was received `maxReceiveCount` times (1 to 1,000); the queue is made if need be. */
  readonly deadLetter?: { readonly queue: string; readonly maxReceiveCount: number } | undefined
  /** FIFO: a body sent again within 5 minutes is a duplicate. Default: false. */
  readonly contentBasedDeduplication?: boolean | undefined
  /** FIFO: where duplicates are looked for. Default: `queue`. */
  readonly deduplicationScope?: "queue" | "messageGroup" | undefined
  /** Any other attribute, by AWS's name. */
  readonly attributes?: Readonly<Record<string, string>> | undefined
  readonly tags?: Readonly<Record<string, string>> | undefined
}

export interface Options {
  /** Queues to start with, by name. */
  readonly queues?: Readonly<Record<string, QueueOptions>> | undefined
  /** How long each call takes; it takes effect at its start. Default: no time. */
  readonly latency?: Duration.DurationInput | undefined
  /** Default: `us-east-1`. */
  readonly region?: string | undefined
  /** 12 digits. Default: `000000000000`. */
  readonly accountId?: string | undefined
  /** What queue URLs begin with. Default: `http://localhost:9324`. */
  readonly url?: string | undefined
  /** How many of a queue's deleted messages are kept to be looked at. Default: 1,000. */
  readonly keepDeleted?: number | undefined
  /** Messages of a queue in flight at once: at the limit standard queues refuse, FIFO queues answer with nothing. Default: 120,000. */
  readonly inFlightLimit?: number | undefined
  /**
   * Whether a second purge of a queue, and a new queue by the name of a deleted one, must wait for 60 seconds, as in AWS.
   * Default: true.
   */
  readonly waits?: boolean | undefined
}

/** A message to send with more than a body: see `message`. */
export class Outgoing extends Data.Class<{
  readonly body: unknown
  readonly attributes?: Readonly<Record<string, string | number | Uint8Array | MessageAttribute>> | undefined
  /** `MessageGroupId`; FIFO queues demand one. */
  readonly group?: string | undefined
  /** On FIFO queues without content-based deduplication each message gets one of its own by default. */
  readonly deduplicationId?: string | undefined
  /** 0 to 15 minutes, in whole seconds; standard queues only. */
  readonly delay?: Duration.DurationInput | undefined
}> {}

/** A message with attributes, a group, a delay. A body that is not a string is sent as JSON. */
export const message = (body: unknown, fields: Omit<Outgoing, "body"> = {}): Outgoing =>
  new Outgoing({ ...fields, body })

/** A message as it is in a queue. */
export interface Message {
  readonly id: string
  readonly body: string
  readonly state: State
  readonly group: string | undefined
  readonly deduplicationId: string | undefined
  readonly sequenceNumber: string | undefined
  readonly attributes: MessageAttributes
  readonly receiveCount: number
  /** In milliseconds since the epoch. */
  readonly sentAt: number
  /** When its lease or its delay ends, in milliseconds since the epoch. */
  readonly visibleAt: number | undefined
}

/** What a queue holds, and what has become of the rest since it was made. */
export interface Snapshot {
  readonly visible: number
  readonly inFlight: number
  readonly delayed: number
  /** Long polls that wait now. */
  readonly waiting: number
  /** Without duplicates that FIFO deduplication dropped. */
  readonly sent: number
  readonly duplicates: number
  /** Messages handed out, each time counted. */
  readonly receives: number
  readonly deleted: number
  /** Deletes by a handle that a later receive had made stale: the message stayed. */
  readonly staleDeletes: number
  readonly deadLettered: number
  /** Messages that move tasks have taken away. */
  readonly moved: number
  readonly expired: number
  readonly purged: number
  /** The latest deleted messages (see `keepDeleted`), in the order of their deletes. */
  readonly lastDeleted: ReadonlyArray<Omit<Message, "state" | "visibleAt">>
  readonly deadLetterQueue: string | undefined
}

export interface Service {
  /** What the emulated service answers to any client, the `SqsClient` of the same layer included. */
  readonly client: Calls.Api
  /** Sends past the faults and uncounted. A body that is not a string is sent as JSON. Returns the message ids. */
  readonly send: (queue: string, messages: ReadonlyArray<unknown>) => Effect.Effect<ReadonlyArray<string>, SqsError>
  /** Every message that the queue holds, in the order of sending. */
  readonly messages: (queue: string) => Effect.Effect<ReadonlyArray<Message>, SqsError>
  readonly snapshot: (queue: string) => Effect.Effect<Snapshot, SqsError>
  /** Waits until `count` messages in all have been deleted or dead-lettered since the queue was made. */
  readonly settled: (queue: string, count: number) => Effect.Effect<void, SqsError>
  /**
   * Waits until nothing is visible, in flight or delayed. A message whose retention has ended is noticed at the next
   * call on the queue.
   */
  readonly idle: (queue: string) => Effect.Effect<void, SqsError>
  readonly queueUrl: (queue: string) => string
  /** Calls so far by operation, failed ones included, the handle's own not. */
  readonly calls: Effect.Effect<Readonly<Partial<Record<Fault.Operation, number>>>>
  readonly faults: {
    /** What happens to the next calls of the operation, one fault a call; added to what is scripted already. */
    readonly script: (
      operation: Fault.Operation,
      faults: ReadonlyArray<Fault.Fault>
    ) => Effect.Effect<void, InvalidEmulatorOptions>
    /** Calls that no script speaks of suffer faults at these odds: all operations' or the named ones'. */
    readonly random: (
      odds: Fault.Odds,
      operations?: ReadonlyArray<Fault.Operation> | undefined
    ) => Effect.Effect<void, InvalidEmulatorOptions>
    readonly clear: Effect.Effect<void>
  }
}

export class SqsEmulator extends Context.Tag("@millrace/sqs/emulator/SqsEmulator")<SqsEmulator, Service>() {}

/** The emulator and its `SqsClient`. */
export const layer = (options: Options = {}): Layer.Layer<SqsEmulator | SqsClient, InvalidEmulatorOptions> =>
  Layer.scopedContext(
    Effect.map(make(options), (sqs) => Context.make(SqsEmulator, sqs).pipe(Context.add(SqsClient, sqs.client)))
  )

/** The emulator's handle alone, for a Layer of one's own. Fails where the options cannot be. */
export const make = (options: Options = {}): Effect.Effect<Service, InvalidEmulatorOptions, Scope.Scope> =>
  Effect.gen(function* () {
    yield* ours(InvalidOptions.check("SqsEmulator", options, checks))
    const latency = Duration.decode(options.latency ?? 0)
    const accountId = options.accountId ?? "000000000000"
    const region = options.region ?? "us-east-1"
    const keepDeleted = options.keepDeleted ?? 1_000
    const inFlightLimit = options.inFlightLimit ?? 120_000
    const draw = Random.nextIntBetween(0, 2 ** 32)
    const engine = new Engine({
      region,
      accountId,
      url: (options.url ?? "http://localhost:9324").replace(/\/+$/, ""),
      keepDeleted,
      inFlightLimit,
      waits: options.waits ?? true,
      seed: [yield* draw, yield* draw]
    })
    const calls = yield* Calls.make(engine, latency)
    yield* createQueues(engine, calls, options.queues ?? {})
    yield* Effect.addFinalizer(() =>
      Effect.sync(() => {
        for (const queue of engine.all()) queue.answerAll([])
      })
    )

    const look = calls.stepOn
    const watchers = new WeakMap<Queue, Set<() => void>>()
    const until = (operation: string, name: string, done: (queue: Queue) => boolean): Effect.Effect<void, SqsError> =>
      Effect.flatMap(
        look(operation, name, (queue) => queue),
        (queue) =>
          Effect.async<void, SqsError>((resume) => {
            const watching = watchers.get(queue) ?? new Set()
            watchers.set(queue, watching)
            queue.onLeft = () => {
              for (const watch of watching) watch()
            }
            const watch = () => {
              if (!done(queue) && !queue.deleted) return
              watching.delete(watch)
              resume(
                queue.deleted
                  ? Effect.fail(
                      new QueueDoesNotExist({
                        operation,
                        message: `The queue ${name} was deleted while it was awaited.`
                      })
                    )
                  : Effect.void
              )
            }
            watching.add(watch)
            watch()
            return Effect.sync(() => watching.delete(watch))
          })
      )

    let sentByHand = 0
    const service: Service = {
      client: calls.api,
      send: (name, messages) =>
        look("send", name, (queue, now) =>
          messages.map((each) => {
            const outgoing = each instanceof Outgoing ? each : message(each)
            const fields = {
              MessageBody: typeof outgoing.body === "string" ? outgoing.body : JSON.stringify(outgoing.body),
              MessageAttributes: outgoing.attributes && attributesOf(outgoing.attributes),
              MessageGroupId: outgoing.group,
              MessageDeduplicationId:
                outgoing.deduplicationId ??
                (queue.fifo && queue.attributes["ContentBasedDeduplication"] !== "true"
                  ? `sent-by-hand-${++sentByHand}`
                  : undefined),
              DelaySeconds: outgoing.delay === undefined ? undefined : Duration.toSeconds(outgoing.delay)
            }
            queue.checkOrdering(fields)
            return queue.send(fields, now, "call").MessageId
          })
        ),
      messages: (name) =>
        look("messages", name, (queue) =>
          Array.from(queue.all(), (stored) => ({
            ...shown(stored),
            state: stored.state,
            visibleAt: stored.state === "visible" ? undefined : stored.due.at
          }))
        ),
      snapshot: (name) =>
        look("snapshot", name, (queue) => ({
          visible: queue.visible,
          inFlight: queue.inFlight,
          delayed: queue.delayed,
          waiting: queue.waiting,
          ...queue.totals,
          lastDeleted: (keepDeleted === 0 ? [] : queue.lastDeleted.slice(-keepDeleted)).map(shown),
          deadLetterQueue: queue.deadLetterTargetArn?.split(":").at(-1)
        })),
      settled: (name, count) => until("settled", name, ({ totals }) => totals.deleted + totals.deadLettered >= count),
      idle: (name) => until("idle", name, (queue) => queue.visible + queue.inFlight + queue.delayed === 0),
      queueUrl: (name) => engine.queueUrl(name),
      calls: Effect.sync(() => Object.fromEntries(calls.counts)),
      faults: {
        script: (operation, faults) =>
          ours(
            Effect.gen(function* () {
              yield* InvalidOptions.argument("operation", operation, anOperation)
              yield* InvalidOptions.argument("faults", faults, InvalidOptions.list(aFault))
              for (const fault of faults) {
                yield* Fault.check(fault)
                const misfit = Fault.misfit(operation, fault)
                if (misfit !== undefined) return yield* refuse(misfit)
              }
              calls.script(operation, faults)
            })
          ),
        random: (odds, operations) =>
          ours(
            Effect.gen(function* () {
              yield* Fault.checkOdds(odds)
              if (operations !== undefined) {
                yield* InvalidOptions.argument("operations", operations, InvalidOptions.list(anOperation))
              }
              calls.random(odds, operations)
            })
          ),
        clear: Effect.sync(calls.clearFaults)
      }
    }
    return service
  })

const anOperation: InvalidOptions.Check = {
  write: 'an operation of SQS, such as "ReceiveMessage"',
  fits: (value) => typeof value === "string" && isOperation(value)
}

const aFault: InvalidOptions.Check = { write: "a fault, such as Fault.throttle", fits: Predicate.isRecord }

/** A refusal as the emulator's own. */
const ours = <A, E extends InvalidOptions.InvalidOptions | InvalidEmulatorOptions>(effect: Effect.Effect<A, E>) =>
  Effect.mapError(effect, ({ message }) => new InvalidEmulatorOptions({ message }))

const refuse = (text: string) => Effect.fail(new InvalidEmulatorOptions({ message: text }))

const shown = (stored: StoredMessage): Omit<Message, "state" | "visibleAt"> => ({
  id: stored.id,
  body: stored.content.body,
  group: stored.content.group,
  deduplicationId: stored.deduplicationId,
  sequenceNumber: stored.sequence,
  attributes: stored.content.attributes ?? {},
  receiveCount: stored.receiveCount,
  sentAt: stored.sentAt
})

const attributesOf = (attributes: NonNullable<Outgoing["attributes"]>): MessageAttributes =>
  Object.fromEntries(
    Object.entries(attributes).map(([name, value]): [string, MessageAttribute] => {
      if (typeof value === "string") return [name, { DataType: "String", StringValue: value }]
      if (typeof value === "number") return [name, { DataType: "Number", StringValue: String(value) }]
      if (value instanceof Uint8Array) return [name, { DataType: "Binary", BinaryValue: value }]
      return [name, value]
    })
  )

const times = {
  visibilityTimeout: "VisibilityTimeout",
  delay: "DelaySeconds",
  retention: "MessageRetentionPeriod",
  receiveWait: "ReceiveMessageWaitTimeSeconds"
} as const

const texts = InvalidOptions.record(InvalidOptions.anyText)

const queueChecks: InvalidOptions.Checks<QueueOptions> = {
  visibilityTimeout: InvalidOptions.time({ max: "12 hours" }),
  delay: InvalidOptions.time({ max: "15 minutes" }),
  retention: InvalidOptions.time({ min: "1 minute", max: "14 days" }),
  receiveWait: InvalidOptions.time({ max: "20 seconds" }),
  deadLetter: InvalidOptions.fields<NonNullable<QueueOptions["deadLetter"]>>({
    queue: InvalidOptions.required(InvalidOptions.text),
    maxReceiveCount: InvalidOptions.required(InvalidOptions.aWholeNumber({ min: 1, max: 1_000 }))
  }),
  contentBasedDeduplication: InvalidOptions.flag,
  deduplicationScope: InvalidOptions.oneOf("queue", "messageGroup"),
  attributes: texts,
  tags: texts
}

const matching = (pattern: RegExp, write: string): InvalidOptions.Check => ({
  write,
  fits: (value) => typeof value === "string" && pattern.test(value)
})

const checks: InvalidOptions.Checks<Options> = {
  queues: InvalidOptions.record(InvalidOptions.fields(queueChecks)),
  latency: InvalidOptions.time({ max: "1 hour" }),
  region: matching(/^[a-z0-9-]+$/, 'a region, such as "us-east-1"'),
  accountId: matching(/^\d{12}$/, 'an account of 12 digits, such as "123456789012"'),
  url: InvalidOptions.url,
  keepDeleted: InvalidOptions.aWholeNumber({ min: 0 }),
  inFlightLimit: InvalidOptions.aWholeNumber({ min: 1 }),
  waits: InvalidOptions.flag
}

const isFifo = (name: string): boolean => name.endsWith(".fifo")

const createQueues = (
  engine: Engine,
  calls: Calls.Calls,
  queues: Readonly<Record<string, QueueOptions>>
): Effect.Effect<void, InvalidEmulatorOptions> =>
  Effect.gen(function* () {
    const all = new Map<string, QueueOptions>()
    for (const [name, options] of Object.entries(queues)) {
      const target = options.deadLetter?.queue
      if (target !== undefined && !Object.hasOwn(queues, target)) all.set(target, {})
      all.set(name, options)
    }
    const step = (name: string, run: (now: number) => void) =>
      Effect.mapError(
        calls.at("CreateQueue", run),
        (error) => new InvalidEmulatorOptions({ message: `queues["${name}"]: ${error.message}` })
      )
    for (const [name, options] of all) {
      const attributes = yield* attributesOfQueue(name, options)
      yield* step(name, (now) => engine.create({ QueueName: name, Attributes: attributes, tags: options.tags }, now))
    }
    for (const [name, { deadLetter }] of all) {
      if (deadLetter === undefined) continue
      const target = engine.find(deadLetter.queue).arn
      const policy = { deadLetterTargetArn: target, maxReceiveCount: deadLetter.maxReceiveCount }
      yield* step(name, (now) =>
        engine.setAttributes(engine.find(name), { RedrivePolicy: JSON.stringify(policy) }, now)
      )
    }
  })

const attributesOfQueue = (name: string, options: QueueOptions) =>
  Effect.gen(function* () {
    const where = `queues["${name}"]`
    const fifo = isFifo(name)
    const attributes: Record<string, string> = { ...options.attributes }
    if (!fifo) {
      const only = options.contentBasedDeduplication !== undefined || options.deduplicationScope !== undefined
      if (only || attributes["FifoQueue"] === "true") {
        return yield* refuse(`${where} has settings of a FIFO queue: call it "${name}.fifo", or leave them out.`)
      }
    }
    const { deadLetter } = options
    if (deadLetter !== undefined && isFifo(deadLetter.queue) !== fifo) {
      return yield* refuse(
        fifo
          ? `${where} is FIFO, so its dead-letter queue must be FIFO too: call it "${deadLetter.queue}.fifo".`
          : `${where} is a standard queue, so its dead-letter queue must be one too: call it "${deadLetter.queue.slice(0, -".fifo".length)}".`
      )
    }
    for (const [field, attribute] of Object.entries(times)) {
      const value = options[field as keyof typeof times]
      if (value === undefined) continue
      const seconds = Duration.toSeconds(value)
      if (!Number.isInteger(seconds)) return yield* refuse(`${where}.${field} must be whole seconds.`)
      attributes[attribute] = String(seconds)
    }
    if (fifo) {
      attributes["FifoQueue"] = "true"
      if (options.contentBasedDeduplication !== undefined) {
        attributes["ContentBasedDeduplication"] = String(options.contentBasedDeduplication)
      }
      if (options.deduplicationScope !== undefined) attributes["DeduplicationScope"] = options.deduplicationScope
    }
    return attributes
  })
