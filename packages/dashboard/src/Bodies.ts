/**
 * The bodies of the messages that a consumer received of late, for a page that is to show them. Without it the page shows
 * none: what is in a message is often not for everybody who may see that it failed.
 */
import type { Delivery } from "@millrace/core/Delivery"
import * as InvalidOptions from "@millrace/core/InvalidOptions"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"

export interface Options {
  /** Of how many messages, at most. From 1 to 100,000. Default 1,000. */
  readonly keep?: number | undefined
  /** How many characters of a body, at most. From 1. Default 4,096. */
  readonly longest?: number | undefined
}

export interface Bodies {
  /** A stage for the consumer's deliveries: it changes nothing, and remembers the bodies as they were received. */
  readonly through: <A, F, E, R>(deliveries: Stream.Stream<Delivery<A, F>, E, R>) => Stream.Stream<Delivery<A, F>, E, R>
  /** The body of a message, or its beginning; `undefined` where it is forgotten. */
  readonly of: (messageId: string) => Effect.Effect<string | undefined>
}

const checks: InvalidOptions.Checks<Options> = {
  keep: InvalidOptions.aWholeNumber({ min: 1, max: 100_000 }),
  longest: InvalidOptions.aWholeNumber({ min: 1, max: 1_048_576 })
}

/**
 * Takes at most `keep` × `longest` characters of memory. Fails with `InvalidOptions` where an option cannot work.
 *
 * @example
 * const bodies = yield* Bodies.make()
 * const pipeline = (deliveries) => deliveries.pipe(bodies.through, Pipeline.process(fulfil))
 */
export const make = (options: Options = {}): Effect.Effect<Bodies, InvalidOptions.InvalidOptions> =>
  Effect.gen(function* () {
    yield* InvalidOptions.check("Bodies", options, checks)
    const { keep = 1_000, longest = 4_096 } = options
    const bodies = new Map<string, string>()
    const remember = (id: string, body: string) => {
      // The latest last, so that the first is the one to forget.
      bodies.delete(id)
      bodies.set(id, body.length > longest ? `${body.slice(0, longest)}…` : body)
      if (bodies.size <= keep) return
      for (const oldest of bodies.keys()) {
        bodies.delete(oldest)
        return
      }
    }
    return {
      through: Stream.mapChunks((deliveries) => {
        for (const { message } of deliveries) remember(message.id, message.body)
        return deliveries
      }),
      of: (messageId) => Effect.sync(() => bodies.get(messageId))
    }
  })
