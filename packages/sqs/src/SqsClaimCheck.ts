/**
 * Large bodies by way of an object store: the producer puts the body there and sends a pointer, the consumer fetches it.
 * Messages are those of the Amazon SQS Extended Client Library, so that Java and Python programs read and write them too.
 *
 * @see https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-managing-large-messages.html
 *
 * @example
 * const claimCheck = yield* SqsClaimCheck.make({ bucket: "order-bodies", deleteAfterAck: true })
 * const producer = yield* SqsProducer.make("orders", { claimCheck })
 * SqsConsumer.stream("orders").pipe(
 *   SqsClaimCheck.fetch(claimCheck),
 *   Pipeline.decodeJson(Order),
 *   Pipeline.process(fulfil)
 * )
 */
import { DecodeError, type Delivery } from "@millrace/core/Delivery"
import * as InvalidOptions from "@millrace/core/InvalidOptions"
import * as OpenBody from "@millrace/core/OpenBody"
import * as Pipeline from "@millrace/core/Pipeline"
import type { Tunable } from "@millrace/core/Tunable"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Fiber from "effect/Fiber"
import * as Random from "effect/Random"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { type Forked, fork, onEnd } from "./internal/effect/fork.js"
import * as pointer from "./internal/message/pointer.js"
import { type ObjectId, ObjectStore, type ObjectStoreError } from "./ObjectStore.js"

export interface Options {
  /** Where producers put bodies, and the only one that consumers fetch from unless `buckets` names more. */
  readonly bucket: string
  /** What the keys begin with, such as `orders/`. Default: nothing. */
  readonly prefix?: string | undefined
  /**
   * Producer: messages of more bytes than this, body and attributes as SQS counts them, go by the store; 0: all. Default:
   * those that the queue and the producer's calls do not take (1 MiB, unless the queue or `maxCallBytes` says less).
   */
  readonly above?: number | undefined
  /**
   * Consumer: other buckets to fetch from. A pointer to any other is refused, since whoever can send to the queue could
   * make the consumer read with its own rights.
   */
  readonly buckets?: ReadonlyArray<string> | undefined
  /**
   * Consumer: which other objects of those buckets may be fetched, and with `deleteAfterAck` deleted. By default only those
   * whose key is `prefix` and a name of letters, digits, "-" and "_"; without a prefix, a name as we or the Extended Client
   * Library make them. So a pointer cannot name any object of the bucket. `() => true` trusts whoever can send to the queue;
   * a key with a segment `.` or `..` is refused all the same.
   */
  readonly accept?: ((object: ObjectId) => boolean) | undefined
  /** The largest body: no larger one is stored, or fetched, so that a pointer cannot fill the memory. Default: 64 MiB. */
  readonly maxBytes?: number | undefined
  /**
   * Consumer: delete the object once the queue has confirmed the message's ack. A duplicate of that message, as standard
   * queues have them now and then, fails with `BodyMissing` then. Not where one object serves several queues. Default:
   * false; a lifecycle rule of the bucket, longer than the queue's retention, cleans up in any case.
   */
  readonly deleteAfterAck?: boolean | undefined
  /**
   * When to try an operation of the store again that may succeed in a moment. Default: four times, after 100 ms and twice
   * as long each time, jittered.
   */
  readonly retry?: Schedule.Schedule<unknown, ObjectStoreError> | undefined
}

/** A body on its way to the store. */
interface Parked {
  readonly object: ObjectId
  readonly put: Effect.Effect<void, ObjectStoreError>
}

/** For producers and consumers, any number of them. What is to be deleted is deleted within the scope of its making. */
export interface SqsClaimCheck {
  readonly bucket: string
  /** @internal */
  readonly above: number | undefined
  /** @internal */
  readonly maxBytes: number
  /** @internal */
  readonly park: (text: string) => Parked
  /** @internal Deletes in the background, as well as it can. */
  readonly discard: (object: ObjectId) => void
  /** @internal */
  readonly fetch: (body: string, delivery: Delivery<string, unknown>) => Effect.Effect<string, FetchError>
}

/**
 * The object is not there: a `DecodeError` that a policy can tell from others by `instanceof`. With `deleteAfterAck` on a
 * standard queue it is most likely a duplicate of a message that was handled.
 */
export class BodyMissing extends DecodeError {}

/**
 * A `DecodeError` is for good: the object is not there or too large, or the pointer is none or leads elsewhere. An
 * `ObjectStoreError` is not the message's fault, and left to the retry policy.
 */
export type FetchError = DecodeError | ObjectStoreError

/** How long closing waits for deletes that are under way. */
const closingTime = "5 seconds"

const defaultRetry = Schedule.exponential("100 millis").pipe(Schedule.jittered, Schedule.intersect(Schedule.recurs(4)))

/** Names as `park` makes them, and UUIDs, as the Extended Client Library and squiss-ts have them. */
const made = /^(?:[0-9a-z]+(?:-[0-9a-z]+){3}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})$/i

/** Below a prefix, which nothing else has, any name without a folder or an ending will do. */
const plainName = /^[\w-]+$/

/** Servers that resolve them would reach another bucket. */
const climbs = (key: string): boolean => key.split("/").some((segment) => segment === "." || segment === "..")

/** Node has no longer ones. */
const longestText = 2 ** 29

const checks: InvalidOptions.Checks<Options> = {
  bucket: InvalidOptions.required({ ...InvalidOptions.text, write: "the name of a bucket" }),
  prefix: {
    write: 'at most 900 letters, digits, ".", "/", "_" and "-", without a segment "." or ".."',
    fits: (value) => typeof value === "string" && /^[A-Za-z0-9./_-]{0,900}$/.test(value) && !climbs(value)
  },
  above: InvalidOptions.aWholeNumber({ min: 0 }),
  buckets: InvalidOptions.list(InvalidOptions.text),
  accept: InvalidOptions.func,
  maxBytes: InvalidOptions.aWholeNumber({ min: 1, max: longestText }),
  deleteAfterAck: InvalidOptions.flag,
  retry: InvalidOptions.schedule
}

/** What may stand where a claim check belongs. */
export const check: InvalidOptions.Check = InvalidOptions.having(
  "a claim check of SqsClaimCheck.make({ bucket })",
  "park",
  "fetch"
)

/**
 * Closing the scope waits up to 5 seconds for deletes that are under way. Fails with `InvalidOptions`.
 *
 * Producers need `s3:PutObject`, and `s3:DeleteObject` to clean up after messages that were not sent; consumers
 * `s3:GetObject`, with `deleteAfterAck` `s3:DeleteObject`, and `s3:ListBucket`, without which S3 says of a missing object
 * that access is denied.
 */
export const make = (
  options: Options
): Effect.Effect<SqsClaimCheck, InvalidOptions.InvalidOptions, ObjectStore | Scope.Scope> =>
  Effect.gen(function* () {
    yield* InvalidOptions.check("SqsClaimCheck", options, checks)
    const { bucket, deleteAfterAck = false, maxBytes = 64 * 1_048_576, prefix = "" } = options
    const store = yield* ObjectStore
    const buckets = new Set([bucket, ...(options.buckets ?? [])])
    const form = prefix === "" ? made : plainName
    const isOurs = (object: ObjectId) =>
      !climbs(object.key) &&
      ((object.key.startsWith(prefix) && form.test(object.key.slice(prefix.length))) ||
        options.accept?.(object) === true)
    const retrying = { schedule: options.retry ?? defaultRetry, while: mayPass }

    const forked = yield* fork
    const background = new Set<Forked>()
    const inBackground = (effect: Effect.Effect<void>) => {
      const fiber = forked(effect)
      background.add(fiber)
      onEnd(fiber, () => background.delete(fiber))
    }
    yield* Effect.addFinalizer(() =>
      Effect.suspend(() => Fiber.awaitAll(background)).pipe(
        Effect.interruptible,
        Effect.timeoutOption(closingTime),
        Effect.zipRight(Effect.suspend(() => Fiber.interruptAll(background)))
      )
    )
    const remove = (object: ObjectId) =>
      store.delete(object).pipe(
        Effect.retry(retrying),
        Effect.catchAll((error) =>
          Effect.logWarning(`the object ${object.key} stays in the bucket ${object.bucket}: ${error.message}`)
        )
      )

    const draw = Random.nextIntBetween(0, 2 ** 32)
    const random = `${(yield* draw).toString(36)}-${(yield* draw).toString(36)}`
    const madeAt = yield* Clock.currentTimeMillis
    let parked = 0

    return {
      bucket,
      above: options.above,
      maxBytes,
      park: (text) => {
        const object = { bucket, key: `${prefix}${madeAt.toString(36)}-${random}-${(parked++).toString(36)}` }
        return { object, put: Effect.retry(store.put(object, text), retrying) }
      },
      discard: (object) => inBackground(remove(object)),
      fetch: (body, delivery): Effect.Effect<string, FetchError> => {
        const { message } = delivery
        // Another stage has changed it: it is no pointer any more.
        if (body !== message.body || !pointer.isNamed(message.attributes)) return Effect.succeed(body)
        const why = (what: string) => ({
          messageId: message.id,
          message: `the body of message ${message.id} does not decode: ${what}`
        })
        const poison = (what: string) => new DecodeError(why(what))
        const object = pointer.read(body)
        if (object === undefined) return poison("its attributes say that it is in S3, and it is no pointer")
        if (!buckets.has(object.bucket)) {
          return poison(
            `it is in a bucket from which nothing is fetched; write that in \`buckets\` of SqsClaimCheck.make to trust it`
          )
        }
        if (!isOurs(object)) {
          return poison(
            `its pointer names an object that no producer of this claim check makes; the same \`prefix\` as the producer's, or \`accept\` of SqsClaimCheck.make, lets it be fetched`
          )
        }
        if (deleteAfterAck) {
          inBackground(Effect.flatMap(delivery.ended, (how) => (how === "acked" ? remove(object) : Effect.void)))
        }
        return Effect.zipRight(OpenBody.room(delivery), store.get(object, maxBytes)).pipe(
          Effect.map((text) => Either.mapLeft(OpenBody.open(delivery, text), poison)),
          Effect.catchTags({
            ObjectNotFound: (error) => Effect.succeed(Either.left(new BodyMissing(why(error.message)))),
            ObjectTooLarge: (error) => Effect.succeed(Either.left(poison(error.message)))
          }),
          Effect.retry(retrying),
          Effect.flatten
        )
      }
    }
  })

const mayPass = ({ retryable }: ObjectStoreError): boolean => retryable

export interface FetchOptions {
  /**
   * Fetches at once. What has been fetched counts against the consumer's `maxOpenedBytes` until its message has ended; what
   * is being fetched, one body each, comes on top. Default: 10.
   */
  readonly concurrency?: number | Tunable | undefined
}

/**
 * A stage that stands before the one that decodes: fetches the bodies that are in the store, and passes on the others as
 * they are. It fetches no earlier than the next stage has use for it, in the order of a group; others overtake. The raw
 * body, in `delivery.message`, stays the pointer.
 *
 * A missing object makes its delivery a failed one with a `DecodeError` that says so: poison. A fetch that fails
 * otherwise is tried again by `retry`; then the delivery has failed with an `ObjectStoreError`, which
 * `RetryPolicy.standard` delivers again later.
 */
export const fetch =
  (claimCheck: SqsClaimCheck, options: FetchOptions = {}) =>
  <E, EX, RX>(
    self: Stream.Stream<Delivery<string, E>, EX, RX>
  ): Stream.Stream<Delivery<string, E | FetchError>, EX | InvalidOptions.InvalidOptions, RX> =>
    Stream.unwrap(
      Effect.map(
        Effect.zipRight(
          InvalidOptions.argument("claimCheck", claimCheck, check),
          InvalidOptions.check("SqsClaimCheck.fetch", options, { concurrency: InvalidOptions.checkedBelow })
        ),
        () =>
          Pipeline.mapEffect(
            (body: string, delivery: Delivery<string, E>) => claimCheck.fetch(body, delivery),
            options
          )(self)
      )
    )
