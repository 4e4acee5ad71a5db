/**
 * A channel on a queue in memory: takes its messages as a producer of it would, shows what was sent, typed, and is the
 * queue that a route under test reads.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Channel from "../Channel.js"
import * as InvalidOptions from "../InvalidOptions.js"
import type * as LeaseQueue from "../LeaseQueue.js"
import type * as Message from "../Message.js"
import * as Reason from "../Reason.js"
import * as MemoryQueue from "./MemoryQueue.js"

/** What a sender learns of its message. */
export interface Receipt {
  readonly messageId: string
  /** Ordered queues: its place in the order, 20 digits that compare as text. */
  readonly sequenceNumber: string | undefined
}

/**
 * @typeParam M - the messages of the channel, as a union.
 */
export interface MemoryChannel<M extends Message.Any> {
  /** Where its messages go, in the channel's envelope: for `Consumer.stream`, and for what no producer of it would send. */
  readonly queue: MemoryQueue.MemoryQueue
  /**
   * Sends one message, as a producer of the channel does: it stands where a subject wants one's `send`. What does not fit its
   * Schema dies. Nothing is known again by its deduplication id.
   */
  readonly send: (message: Message.ValueOf<M>) => Effect.Effect<Receipt>
  /** What was sent by `send`, in order, each as a consumer of the channel reads it: to compare with `OrderPlaced.of({ … })`. */
  readonly sent: Effect.Effect<ReadonlyArray<Message.ValueOf<M>>>
}

/**
 * Makes an empty one, on a queue with these options. Dies where one is illegal, and where the queue is ordered and a message
 * declares no group.
 *
 * @example
 * const mails = yield* MemoryChannel.make(Mails)
 * yield* welcome(customer, mails)
 * expect(yield* mails.sent).toEqual([Welcome.of({ to: customer.email })])
 */
export const make = <M extends Message.Any>(
  channel: Channel.Channel<M>,
  options: MemoryQueue.Options = {}
): Effect.Effect<MemoryChannel<M>> =>
  Effect.gen(function* () {
    yield* Effect.orDie(InvalidOptions.argument("channel", channel, Channel.check))
    const queue = yield* MemoryQueue.make({ name: channel.name, ...options })
    const { ordered } = queue.limits
    const groupless = channel.messages.filter(({ grouped }) => !grouped).map(({ name }) => name)
    if (ordered && groupless.length > 0) {
      const message = `${groupless.join(", ")} of ${channel.name} declares no group, which an ordered queue demands; give Message.make a \`group\``
      return yield* Effect.die(new InvalidOptions.InvalidOptions({ option: "channel", message }))
    }
    const encode = Channel.encode(channel)
    const read = Channel.reading(channel)
    const sent: Array<Message.ValueOf<M>> = []
    return {
      queue,
      send: (value) =>
        Effect.gen(function* () {
          const { attributes = {}, body, group } = yield* encode(value)
          const typed = Object.fromEntries(
            Object.entries(attributes).map(([name, value]): [string, LeaseQueue.Attribute] => [
              name,
              { type: "String", value }
            ])
          )
          const message = { body, attributes: typed, ...(group === undefined ? {} : { group }) }
          const known = yield* read(body, {}, { ...message, id: "just sent" })
          const [messageId = ""] = yield* queue.send([message])
          sent.push(known)
          const place = messageId.slice(messageId.lastIndexOf("-") + 1).padStart(20, "0")
          return { messageId, sequenceNumber: ordered ? place : undefined }
        }).pipe(
          Effect.catchAllCause((cause) =>
            Effect.dieMessage(`MemoryChannel.send of ${channel.name}: ${Reason.of(Cause.squash(cause))}`)
          )
        ),
      sent: Effect.sync(() => [...sent])
    }
  })
