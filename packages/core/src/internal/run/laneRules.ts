/** Which deliveries wait for which. */
import * as Exit from "effect/Exit"
import { type Delivery, inFlight } from "../../Delivery.js"
import type { InFlight } from "../lease/inFlight.js"
import { keyOf } from "./keys.js"
import type { LaneRules } from "./lanes.js"

/** As `Pipeline.ConcurrencyOptions` have it. */
export interface Sequence<in A> {
  readonly sequence?: "auto" | "group" | "none" | ((body: A) => string | undefined) | undefined
  readonly ackAhead?: boolean | undefined
}

export const laneRules = <A, E>({
  ackAhead = false,
  sequence = "auto"
}: Sequence<A>): LaneRules<Delivery<A, E>> | undefined =>
  sequence === "none"
    ? undefined
    : {
        ackAhead,
        mixed: false,
        of: (delivery) => {
          const held = inFlight(delivery)
          if (typeof sequence === "function") {
            const key = Exit.isSuccess(delivery.body) ? keyOf(sequence, delivery.body.value) : undefined
            return key === undefined ? noLanes : [[`${held.source.queue.name} key ${key}`]]
          }
          if (held.standsFor === undefined) {
            const lane = laneOf(held, sequence)
            return lane === undefined ? noLanes : [[lane]]
          }
          // What stands for several messages is in the lanes of all of them.
          const lanes = held.standsFor.flatMap((one) => laneOf(one, sequence) ?? [])
          return lanes.length === 0 ? noLanes : [lanes]
        }
      }

const noLanes: ReadonlyArray<ReadonlyArray<string>> = []

const laneOf = ({ message: { group }, source: { queue } }: InFlight, sequence: "auto" | "group"): string | undefined =>
  group !== undefined && (queue.ordered || sequence === "group") ? `${queue.name} ${group}` : undefined
