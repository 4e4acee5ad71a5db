/** Which deliveries wait for which. */
import * as Exit from "effect/Exit"
import { type Delivery, inFlight } from "../../Delivery.js"
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
          const { message } = delivery
          const { queue } = inFlight(delivery).source
          if (typeof sequence === "function") {
            const key = Exit.isSuccess(delivery.body) ? keyOf(sequence, delivery.body.value) : undefined
            return key === undefined ? noLanes : [`${queue.name} key ${key}`]
          }
          return message.group !== undefined && (queue.ordered || sequence === "group")
            ? [`${queue.name} ${message.group}`]
            : noLanes
        }
      }

const noLanes: ReadonlyArray<string | undefined> = []
