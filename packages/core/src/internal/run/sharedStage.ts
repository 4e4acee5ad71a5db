/** Before the batches of a stage that shares: passes deliveries on by whose turn it is, as fast as they are taken. */
import type * as Stream from "effect/Stream"
import { type Delivery, inFlight } from "../../Delivery.js"
import type { InvalidOptions } from "../../InvalidOptions.js"
import type * as Share from "../../Share.js"
import { Claims } from "./claims.js"
import { laneRules, type Sequence } from "./laneRules.js"
import { shareRules } from "./shareRules.js"
import { Passing } from "./slots.js"
import { dispatch } from "./stage.js"

/** `max` is how many make a full batch: so many are passed on before one is taken. */
export const sharedStage = <A, E, EX, RX>(
  self: Stream.Stream<Delivery<A, E>, EX, RX>,
  share: Share.Options<A>,
  { max, sequence }: Sequence<A> & { readonly max: number }
): Stream.Stream<Delivery<A, E>, EX | InvalidOptions, RX> =>
  dispatch<Delivery<A, E>, Delivery<A, E>, EX, RX, never>(self, () => {
    const claims = new Claims()
    return {
      slots: new Passing(max),
      claims,
      deliveries: (delivery) => [inFlight(delivery)],
      // In order, and no more: the batches wait for each other.
      lanes: laneRules({ sequence, ackAhead: true }),
      share: shareRules(share, true),
      settles: false,
      passedOn: inFlight,
      start: (delivery, slot) => {
        if (claims.claim(inFlight(delivery))) slot.done([delivery])
        else slot.failed()
      }
    }
  })
