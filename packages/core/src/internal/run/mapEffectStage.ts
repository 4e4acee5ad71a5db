/** The stage behind `mapEffect`: runs an effect on each delivery, and passes it on with what that gives. */
import type * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Stream from "effect/Stream"
import { type Delivery, inFlight, withBody } from "../../Delivery.js"
import type { InvalidOptions } from "../../InvalidOptions.js"
import { effectOf } from "../userCode/answer.js"
import { Claims } from "./claims.js"
import { run } from "./handler.js"
import { laneRules, type Sequence } from "./laneRules.js"
import { type Sharing, shareRules } from "./shareRules.js"
import type { Slots } from "./slots.js"
import { dispatch } from "./stage.js"
import { SizeWarning } from "./warnings.js"

export const mapEffectStage = <A, E, B, E2, R2, EX, RX>(
  self: Stream.Stream<Delivery<A, E>, EX, RX>,
  f: (body: A, delivery: Delivery<A, E>) => Effect.Effect<B, E2, R2>,
  makeSlots: () => Slots,
  rules: Sequence<A> & Sharing<A>
): Stream.Stream<Delivery<B, E | E2>, EX | InvalidOptions, RX | R2> =>
  dispatch<Delivery<A, E>, Delivery<B, E | E2>, EX, RX, R2>(self, () => {
    const claims = new Claims()
    const slots = makeSlots()
    const sizes = new SizeWarning(slots)
    const change = (body: A, delivery: Delivery<A, E>) => effectOf(f(body, delivery), "Pipeline.mapEffect")
    return {
      slots,
      claims,
      deliveries: (delivery) => [inFlight(delivery)],
      lanes: laneRules(rules),
      share: rules.share && shareRules(rules.share),
      settles: false,
      passedOn: inFlight,
      knows: (source) => sizes.onStart(source),
      start: (delivery, slot, runFork) => {
        sizes.begin(runFork)
        run<A, E, B, E | E2, R2>(claims, delivery, runFork, {
          handle: (body) => change(body, delivery),
          failed: (cause) => {
            if (Exit.isSuccess(delivery.body)) inFlight(delivery).failures.runsElsewhere = true
            slot.failed([withBody(delivery, Exit.failCause(cause))])
          },
          succeeded: (value) => slot.done([withBody(delivery, Exit.succeed(value))]),
          skipped: () => slot.failed()
        })
      }
    }
  })
