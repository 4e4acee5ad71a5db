/** What is done with a webhook: nothing real, but as uneven as real work is. */
import type { Delivery } from "@millrace/core/Delivery"
import { Data, Effect, Random } from "effect"
import type { Webhook } from "./Webhook.js"

/** The service that the work depends on did not answer; trying again helps. */
export class Unavailable extends Data.TaggedError("Unavailable")<{ readonly message: string }> {}

const oneIn = (n: number) => Effect.map(Random.next, (drawn) => drawn < 1 / n)

/**
 * Takes 10 to 80 ms, one in 100 a second; one in 30 fails. Which ones, is drawn from the seed, the webhook and the
 * attempt, so that it does not hang on the order in which they arrive.
 */
export const work =
  (seed: number) =>
  (webhook: Webhook, { attempt }: Delivery<Webhook, unknown>): Effect.Effect<Webhook, Unavailable> =>
    Effect.gen(function* () {
      const slow = yield* oneIn(100)
      yield* Effect.sleep(slow ? 1000 : yield* Random.nextRange(10, 80))
      if (yield* oneIn(30)) return yield* new Unavailable({ message: `no answer for ${webhook.delivery}` })
      return webhook
    }).pipe(Effect.withRandom(Random.make(`${seed} ${webhook.delivery} ${attempt}`)))
