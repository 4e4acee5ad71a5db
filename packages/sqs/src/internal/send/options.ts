/** What a producer can be told, what of it is refused, and what holds where nothing is said. */
import * as InvalidOptions from "@millrace/core/InvalidOptions"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import type { SendRate } from "../../SendRate.js"
import type { SqsClaimCheck } from "../../SqsClaimCheck.js"
import type { Encoding } from "../../SqsEncoding.js"
import type { SqsError } from "../../SqsError.js"
import type { SqsQueue } from "../../SqsQueue.js"
import { longestMessage } from "../message/limits.js"
import type { Codec } from "./codec.js"
import { type Attributes, attribute } from "./message.js"

export interface Options<in A = unknown> {
  /** In metrics, as the tag `producer`. Default: the queue's name. */
  readonly name?: string | undefined
  /** From a body to the text that is sent. Default: `plain`. */
  readonly codec?: Codec<A> | undefined
  /** How that text is written: `SqsEncoding.gzip` compresses it. Left out where 10 attributes are full. Default: as it is. */
  readonly encoding?: Encoding | undefined
  /** Bodies that are too large go to S3, and the message says where: `SqsClaimCheck.make`. Default: they are rejected. */
  readonly claimCheck?: SqsClaimCheck | undefined
  /** Of every message; a message's own are added to them. */
  readonly attributes?: Attributes | ((body: A) => Attributes) | undefined
  /** Of every message that does not say. */
  readonly group?: string | ((body: A) => string | undefined) | undefined
  /**
   * FIFO, for messages that do not say. `"content"`: equal bodies are duplicates, for 5 minutes (what a queue with
   * content-based deduplication does by itself). Default: the queue's content-based deduplication where it has it;
   * else each message gets an id of its own, so that retries make no duplicates and equal bodies are none.
   */
  readonly deduplicationId?: "content" | ((body: A) => string) | undefined
  /** Of every message that does not say. */
  readonly delay?: Duration.DurationInput | undefined
  /**
   * How the sender's span travels, where there is one, so that the consumer's is linked to it: as a W3C `traceparent`
   * attribute (the default; left out where 10 attributes or the size are full), as AWS's X-Ray header, or not.
   */
  readonly trace?: "traceparent" | "xray" | "none" | undefined
  /**
   * A span `send <queue>` for each call, linked to the senders' spans that travel; with `"child"`, a child of the one span that
   * sent all of its messages, where one did. Default: false.
   */
  readonly spans?: boolean | "child" | undefined
  /**
   * How long a message may wait for others to share its call. Zero: what is sent in the same turn still does.
   * Default: 20 milliseconds.
   */
  readonly linger?: Duration.DurationInput | undefined
  /** Calls under way at once. Default: 16. */
  readonly concurrency?: number | undefined
  /**
   * Messages accepted and not confirmed, at most; who sends more waits. Default: 20 for each of `concurrency`, two full
   * calls. Much more costs memory and CPU time, and sends no faster.
   */
  readonly buffer?: number | undefined
  /** The same in bytes; one larger message alone is let in. Default: 64 MiB. */
  readonly bufferBytes?: number | undefined
  /** The size of a call, and so of a message: up to 1 MiB, the default; 256 KiB where an older endpoint demands it. */
  readonly maxCallBytes?: number | undefined
  /**
   * FIFO: messages of one group in a call, 1 to 10. With more than 1 a busy group is faster, and costs fewer calls. What
   * SQS fails then while it takes a later message of the group in the same call fails with `SendFailed`, since it would
   * come behind. Default: 1, with which it is tried again, and order holds even where SQS does that in a call whose answer
   * is lost.
   *
   * @see https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/troubleshooting-fifo-throttling-issues.html
   */
  readonly maxPerGroup?: number | undefined
  /**
   * When to send again what failed by throttling, an error within SQS or the network; it is given the error. Default:
   * exponential from 100 milliseconds to 5 seconds, jittered, for a minute. On FIFO queues never for longer than SQS
   * remembers the deduplication id.
   */
  readonly retry?: Schedule.Schedule<unknown, SqsError> | undefined
  /** Messages a second, at most; give several producers the same `SendRate.make` to share it. Default: no limit. */
  readonly rate?: SendRate | undefined
  /** How long closing waits for what was accepted. Default: 10 seconds. */
  readonly flushTimeout?: Duration.DurationInput | undefined
}

/** As a producer has them, but for what the declarations of the messages say. */
export interface ChannelOptions extends Omit<Options<never>, "codec" | "group" | "deduplicationId" | "attributes"> {
  /** Of every message, beside those of the channel's envelope. */
  readonly attributes?: Attributes | undefined
}

export const defaultRetry: Schedule.Schedule<unknown> = Schedule.exponential("100 millis").pipe(
  Schedule.union(Schedule.spaced("5 seconds")),
  Schedule.jittered,
  Schedule.upTo("1 minute")
)

export interface Checked {
  readonly linger: number
  readonly concurrency: number
  readonly buffer: number
  readonly bufferBytes: number
  readonly callBytes: number
  readonly maxPerGroup: number
  readonly flushTimeout: Duration.Duration
}

const atLeastOne = InvalidOptions.aWholeNumber({ min: 1 })

const checks: InvalidOptions.Checks<Options<never>> = {
  name: InvalidOptions.text,
  codec: InvalidOptions.having("a codec, such as SqsProducer.json(schema)", "encode"),
  encoding: InvalidOptions.having("an encoding, such as SqsEncoding.gzip()", "encode", "decode"),
  claimCheck: InvalidOptions.having("what SqsClaimCheck.make gives", "park", "maxBytes"),
  attributes: InvalidOptions.either(InvalidOptions.func, InvalidOptions.record(attribute)),
  group: InvalidOptions.either(InvalidOptions.text, InvalidOptions.func),
  deduplicationId: InvalidOptions.either(InvalidOptions.oneOf("content"), InvalidOptions.func),
  delay: InvalidOptions.time({ max: "15 minutes" }),
  trace: InvalidOptions.oneOf("traceparent", "xray", "none"),
  spans: InvalidOptions.either(InvalidOptions.flag, InvalidOptions.oneOf("child")),
  linger: InvalidOptions.time({ max: "1 minute" }),
  concurrency: InvalidOptions.aWholeNumber({ min: 1, max: 100_000 }),
  buffer: atLeastOne,
  bufferBytes: atLeastOne,
  maxCallBytes: InvalidOptions.aWholeNumber({ min: 1024, max: longestMessage }),
  maxPerGroup: InvalidOptions.aWholeNumber({ min: 1, max: 10 }),
  retry: InvalidOptions.schedule,
  rate: InvalidOptions.having("what SendRate.make gives", "perSecond", "bucket"),
  flushTimeout: InvalidOptions.time()
}

const { codec: _codec, deduplicationId: _deduplicationId, group: _group, ...others } = checks

/** Refuses what is not among them; what they have in common with a producer's is checked with that. */
export const checkForChannel = (options: ChannelOptions): Effect.Effect<void, InvalidOptions.InvalidOptions> =>
  InvalidOptions.check("SqsProducer.forChannel", options, {
    ...others,
    attributes: InvalidOptions.record(attribute)
  })

/** The options as they hold for this queue. */
export const check = <A>(queue: SqsQueue, options: Options<A>): Effect.Effect<Checked, InvalidOptions.InvalidOptions> =>
  Effect.gen(function* () {
    yield* InvalidOptions.check("SqsProducer", options, checks)
    const refuse = (option: string, message: string) =>
      new InvalidOptions.InvalidOptions({ option, message: `${option} ${message}` })
    if (queue.fifo && Duration.greaterThan(options.delay ?? 0, Duration.zero)) {
      return yield* refuse("delay", `is for standard queues, and ${queue.name} is FIFO; set the queue's own delay`)
    }
    if (!queue.fifo && options.deduplicationId !== undefined) {
      return yield* refuse("deduplicationId", `is for FIFO queues, and ${queue.name} is a standard queue; leave it out`)
    }
    if (!queue.fifo && options.maxPerGroup !== undefined) {
      return yield* refuse("maxPerGroup", `is for FIFO queues, and ${queue.name} is a standard queue; leave it out`)
    }
    const { delay, flushTimeout } = options
    yield* InvalidOptions.warnOfBareNumbers({ delay, flushTimeout })
    const concurrency = options.concurrency ?? 16
    return {
      linger: Duration.toMillis(options.linger ?? "20 millis"),
      concurrency,
      buffer: options.buffer ?? 20 * concurrency,
      bufferBytes: options.bufferBytes ?? 64 * 1_048_576,
      callBytes: options.maxCallBytes ?? longestMessage,
      maxPerGroup: options.maxPerGroup ?? 1,
      flushTimeout: Duration.decode(flushTimeout ?? "10 seconds")
    }
  })
