/** Whose a message is, and what its key may have. */
import * as Exit from "effect/Exit"
import * as Predicate from "effect/Predicate"
import type { Delivery } from "../../Delivery.js"
import { InvalidOptions } from "../../InvalidOptions.js"
import type * as Share from "../../Share.js"
import type { InFlight } from "../lease/inFlight.js"
import type { Source } from "../lease/source.js"
import { attempt } from "../userCode/attempt.js"
import { keyOf } from "./keys.js"
import type { Terms } from "./shares.js"

/** As `Pipeline.ConcurrencyOptions` have it. */
export interface Sharing<in A> {
  readonly share?: Share.Options<A> | undefined
}

/** How a stage shares: `In` are its items, one delivery each. */
export interface ShareRules<in In> {
  readonly key: (item: In) => string | undefined
  readonly terms: (key: string) => Terms
  /** Whether it goes by groups, which a queue's messages may not have. */
  readonly byGroup: boolean
  /** Why it cannot work for a consumer, where that is known as it starts. */
  readonly refuses: (source: Source<InFlight>) => InvalidOptions | undefined
  /** Whether a key has its slot until its message has ended, and not only while a handler runs on it. */
  readonly untilEnded: boolean
}

const heaviest = 1000

/** What the user's functions answer with counts where it is a number that can be; else there is no limit. */
const numberOf = (answer: unknown, least: number, otherwise: number): number =>
  typeof answer === "number" && answer > 0 ? Math.max(least, answer) : otherwise

const answerOf = <A>(given: A | ((key: string) => A), key: string): A | undefined =>
  given instanceof Function ? attempt(() => given(key), undefined) : given

const rateOf = (rate: unknown): Terms["rate"] => {
  if (!Predicate.hasProperty(rate, "perSecond")) return undefined
  const perSecond = numberOf(rate.perSecond, 0.001, 0)
  const burst = "burst" in rate ? numberOf(rate.burst, 1, 0) : 0
  return perSecond === 0 ? undefined : { perSecond, burst: burst || Math.max(1, Math.ceil(perSecond)) }
}

export const shareRules = <A, E>(
  { concurrency, key = "group", rate, waiting, weight }: Share.Options<A>,
  untilEnded = false
): ShareRules<Delivery<A, E>> => ({
  untilEnded,
  byGroup: key === "group",
  refuses: ({ queue }) =>
    key !== "group" || queue.groups
      ? undefined
      : new InvalidOptions({
          option: "share.key",
          message: `share.key is missing, and the messages of ${queue.name} have no groups; write a function of the body that says whose a message is`
        }),
  key: (delivery) => {
    if (key === "group") return delivery.message.group
    return Exit.isSuccess(delivery.body) ? keyOf(key, delivery.body.value) : undefined
  },
  terms: (name) => ({
    concurrency: numberOf(answerOf(concurrency, name), 1, Infinity),
    rate: rateOf(answerOf(rate, name)),
    weight: Math.min(heaviest, numberOf(answerOf(weight, name), 1, 1)),
    waiting: waiting ?? Infinity
  })
})

/**
 * How often a message may be received before it is not given back any more for others' sake: those that are left are for
 * its handler.
 */
export const spared = ({ message, source }: InFlight): boolean => message.attempt > sparedFrom(source)

/** The queue would take it away: it stays, whatever room there is. */
export const isLast = ({ message, source }: InFlight): boolean =>
  message.attempt >= (source.queue.maxAttempts ?? Infinity)

const sparedFrom = ({ queue }: Source<InFlight>): number => Math.floor((queue.maxAttempts ?? mostReceives) / 2)

/** What is said, once, of a queue that takes messages away soon. */
export const fewReceives = (source: Source<InFlight>): string | undefined => {
  const { maxAttempts, name } = source.queue
  if (maxAttempts === undefined || maxAttempts >= mostReceives / 2) return undefined
  const times = ["none back", "none back more than once", "none back more than twice"][sparedFrom(source)]
  return `share gives messages back that are over their key's share, which costs each a receive, and ${name} takes a message away after ${maxAttempts}: it gives ${times}; raise maxReceiveCount to ${mostReceives} or more`
}

/** What is said, once, of one whose messages have no groups, as it seems. */
export const noGroups = (seen: number, { queue }: Source<InFlight>): string =>
  `share goes by the message group, and none of the first ${seen} messages of ${queue.name} has one: nothing is shared. Send with a group, or say whose a message is by share.key`

/** Where the queue has no limit of its own; policies count receives as attempts. */
const mostReceives = 10
